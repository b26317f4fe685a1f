package smpp

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/postrider/postrider/internal/smpp"
)

// The words of vendors.LinkStatus.Bind.
const (
	stateUp         = "connected"
	stateConnecting = "connecting"
	stateDown       = "disconnected"
)

// Backoff between binds. Several vendors lock an account that tries a wrong
// password too often.
const (
	backoffMin         = time.Second
	backoffMax         = 60 * time.Second
	backoffRefused     = 10 * time.Second // any refused bind
	backoffCredentials = 60 * time.Second
	// settled is how long a bind must live for the next loss to begin at
	// backoffMin again.
	settled = 30 * time.Second
)

// unbindTimeout bounds the unbind after the last answer.
const unbindTimeout = 5 * time.Second

// maxSilent is how many submits in a row may stay unanswered before a bind is
// given up: each of them leaves a message in doubt, and a vendor that answers
// only enquire_link would go on doing so.
const maxSilent = 3

// bind is one live session. The link's mu guards its fields.
type bind struct {
	session  *smpp.Session
	slot     *slot // nil: the vendor has called us
	used     int   // window places taken or promised
	window   int
	silent   int // submits without answer since the last answer
	retiring bool
	retire   chan struct{} // closed with retiring: unbind and bind anew
	off      chan struct{} // closed when those who wait with a place here are to look elsewhere
	isOff    bool
}

func (l *Link) newBind(s *slot, mode smpp.Mode) *bind {
	b := &bind{slot: s, window: l.window(), retire: make(chan struct{}), off: make(chan struct{})}
	if !mode.CanSubmit() {
		b.window = 0
	}
	return b
}

func (b *bind) room() int {
	if b.retiring {
		return 0
	}
	return max(0, b.window-b.used)
}

// callOff ends the wait for the rate of those who have a place here.
func (b *bind) callOff() {
	if !b.isOff {
		b.isOff = true
		close(b.off)
	}
}

// keepBound keeps one bind up until its slot is given up.
func (l *Link) keepBound(s *slot) {
	defer l.vacated(s)
	backoff := backoffMin
	for s.ctx.Err() == nil {
		b := l.newBind(s, l.mode)
		session, err := smpp.Dial(s.ctx, l.dialConfig(l.mode))
		if err != nil {
			l.bindFailed(s.ctx, err)
			var wait time.Duration
			wait, backoff = nextBackoff(backoff, err)
			sleep(s.ctx, wait)
			continue
		}
		b.session = session
		l.bound(b)
		began := time.Now()
		l.serve(b)
		if time.Since(began) >= settled {
			backoff = backoffMin
		}
		var wait time.Duration
		wait, backoff = nextBackoff(backoff, nil)
		sleep(s.ctx, wait)
	}
}

// vacated is the end of a slot.
func (l *Link) vacated(s *slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.leaving, s)
	l.wakeLocked()
}

// serve holds a bind until it is lost, retired, or the link stops.
func (l *Link) serve(b *bind) {
	select {
	case <-b.session.Done():
	case <-b.retire:
		// Each answer comes, or is given up, within the response timer.
		ctx, cancel := context.WithTimeout(l.commits, l.responseTimeout()+unbindTimeout)
		_ = b.session.Unbind(ctx)
		cancel()
	case <-l.dialing.Done():
		// Stop's context closes the session when it ends first.
		_ = b.session.Unbind(l.commits)
	}
	l.lost(b)
	// Commits under way go on; binding anew does not wait for them, Stop does.
	l.loops.Go(b.session.Wait)
}

// nextBackoff gives the wait before the next bind, with jitter so that replicas
// do not bind in step, and the backoff after that.
func nextBackoff(d time.Duration, err error) (wait, next time.Duration) {
	var refused *smpp.BindError
	if errors.As(err, &refused) {
		d = max(d, backoffRefused)
		if refused.Credentials() {
			return backoffCredentials + rand.N(backoffCredentials/4), backoffMax
		}
	}
	return d/2 + rand.N(d/2), min(2*d, backoffMax)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// countLocked gives the number of live binds and tells Metrics of it; under the
// lock, so that of two changes the later is told last, and before anyone is
// woken who could submit over a bind that was not told of.
func (l *Link) countLocked() int {
	n := len(l.binds)
	if l.cfg.Metrics.Bound != nil {
		l.cfg.Metrics.Bound(l.vendor.Name, n)
	}
	return n
}

func (l *Link) bound(b *bind) {
	l.mu.Lock()
	l.binds[b] = struct{}{}
	if b.slot != nil {
		b.slot.bind = b
		l.alarmed, l.lastErr = false, ""
		if b.slot.ctx.Err() != nil { // given up while it was being made
			l.retireLocked(b)
		}
	} else {
		l.calls-- // from now on it counts as a bind
	}
	if l.stopping {
		b.callOff()
	}
	n := l.countLocked()
	l.judgeLocked()
	l.wakeLocked()
	l.mu.Unlock()
	l.log.Info("vendor bound", "binds", n, "system_id", b.session.PeerID(), "mode", b.session.Mode().String(), "called", b.slot == nil)
}

func (l *Link) lost(b *bind) {
	cause := b.session.Err()
	l.mu.Lock()
	delete(l.binds, b)
	b.callOff()
	n := l.countLocked()
	ours := l.stopping || b.retiring
	if b.slot != nil {
		b.slot.bind = nil
		if !ours {
			l.lastErr = cause.Error()
		}
	}
	l.judgeLocked()
	l.wakeLocked()
	l.mu.Unlock()
	if ours {
		l.log.Info("vendor unbound", "binds", n)
	} else {
		l.log.Warn("vendor bind lost", "binds", n, "error", cause)
	}
}

// bindFailed records and logs a bind that did not come about. Wrong credentials
// need a person: they are an error, once.
func (l *Link) bindFailed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	var refused *smpp.BindError
	credentials := errors.As(err, &refused) && refused.Credentials()
	l.mu.Lock()
	l.lastErr = err.Error()
	if l.upLocked() == 0 {
		l.setStateLocked(stateDown)
	}
	alarm := credentials && !l.alarmed
	l.alarmed = l.alarmed || credentials
	l.mu.Unlock()
	switch {
	case alarm:
		l.log.Error("vendor refuses our credentials", "error", err)
	case !credentials:
		l.log.Warn("vendor bind failed", "error", err)
	}
}

// retireLocked takes a bind out of use; its loop unbinds it and binds anew.
func (l *Link) retireLocked(b *bind) {
	if !b.retiring {
		b.retiring = true
		close(b.retire)
		b.callOff()
		l.wakeLocked()
	}
}

func (l *Link) setStateLocked(s string) {
	if l.state != s {
		l.state, l.since = s, time.Now()
	}
}
