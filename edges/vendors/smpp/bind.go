package smpp

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/postrider/postrider/edges/vendors"
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

// maxSilent is how many submits in a row may stay unanswered before a bind is
// given up: each of them leaves a message in doubt, and a vendor that answers
// only enquire_link would go on doing so.
const maxSilent = 3

// bind is one live session. The link's mu guards its fields.
type bind struct {
	session  *smpp.Session
	used     int // window places taken or promised
	window   int
	silent   int // submits without answer since the last answer
	retiring bool
	retire   chan struct{} // closed with retiring: unbind and bind anew
}

func (b *bind) room() int {
	if b.retiring {
		return 0
	}
	return max(0, b.window-b.used)
}

// keepBound keeps one bind up until the link stops.
func (l *Link) keepBound() {
	backoff := backoffMin
	for l.dialing.Err() == nil {
		b := &bind{window: l.window(), retire: make(chan struct{})}
		if !l.mode.CanSubmit() {
			b.window = 0
		}
		session, err := smpp.Dial(l.dialing, l.dialConfig(b))
		if err != nil {
			l.bindFailed(err)
			var wait time.Duration
			wait, backoff = nextBackoff(backoff, err)
			sleep(l.dialing, wait)
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
		sleep(l.dialing, wait)
	}
}

// serve holds a bind until it is lost, retired, or the link stops.
func (l *Link) serve(b *bind) {
	select {
	case <-b.session.Done():
	case <-b.retire:
		ctx, cancel := context.WithTimeout(l.commits, l.responseTimeout())
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

func (l *Link) bound(b *bind) {
	l.mu.Lock()
	l.binds[b] = struct{}{}
	n := len(l.binds)
	l.alarmed, l.lastErr = false, ""
	l.setStateLocked(stateUp)
	l.wakeLocked()
	l.mu.Unlock()
	l.log.Info("vendor bound", "binds", n, "system_id", b.session.PeerID(), "mode", l.mode.String())
	if l.cfg.Metrics.Bound != nil {
		l.cfg.Metrics.Bound(l.vendor.Name, n)
	}
}

func (l *Link) lost(b *bind) {
	cause := b.session.Err()
	l.mu.Lock()
	delete(l.binds, b)
	n := len(l.binds)
	ours := l.stopping || b.retiring
	if !ours {
		l.lastErr = cause.Error()
	}
	switch {
	case l.stopping && n == 0:
		l.setStateLocked(stateDown)
	case n == 0:
		l.setStateLocked(stateConnecting)
	}
	l.wakeLocked()
	l.mu.Unlock()
	if ours {
		l.log.Info("vendor unbound", "binds", n)
	} else {
		l.log.Warn("vendor bind lost", "binds", n, "error", cause)
	}
	if l.cfg.Metrics.Bound != nil {
		l.cfg.Metrics.Bound(l.vendor.Name, n)
	}
}

// bindFailed records and logs a bind that did not come about. Wrong credentials
// need a person: they are an error, once.
func (l *Link) bindFailed(err error) {
	if l.dialing.Err() != nil {
		return
	}
	var refused *smpp.BindError
	credentials := errors.As(err, &refused) && refused.Credentials()
	l.mu.Lock()
	l.lastErr = err.Error()
	if len(l.binds) == 0 {
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
		l.wakeLocked()
	}
}

func (l *Link) setStateLocked(s string) {
	if l.state != s {
		l.state, l.since = s, time.Now()
	}
}

// Status is what the link looks like now.
func (l *Link) Status() vendors.LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := vendors.LinkStatus{
		Bind: l.state, Since: l.since, Binds: len(l.binds), Throughput: l.answered.rate(time.Now()),
		SlowestMilli: int(l.answerMilli + 0.5), LastError: l.lastErr,
	}
	for b := range l.binds {
		st.InFlight += b.session.InFlight()
	}
	return st
}

// meter counts per second over the last ten; the link's mu guards it.
type meter struct {
	counts [meterSeconds]int
	at     int64 // the newest second
}

const meterSeconds = 10

func (m *meter) advance(now time.Time) {
	sec := now.Unix()
	for s := max(m.at+1, sec-meterSeconds+1); s <= sec; s++ {
		m.counts[s%meterSeconds] = 0
	}
	m.at = max(m.at, sec)
}

func (m *meter) add(now time.Time) {
	m.advance(now)
	m.counts[m.at%meterSeconds]++
}

// rate is the mean of the whole seconds before now.
func (m *meter) rate(now time.Time) float64 {
	m.advance(now)
	n := 0
	for i, c := range m.counts {
		if int64(i) != m.at%meterSeconds {
			n += c
		}
	}
	return float64(n) / (meterSeconds - 1)
}
