package vendors

import (
	"context"
	"errors"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Enter waits until the submission may leave: for a pause to end, for a place in the
// window, and for its parts of the rate; then it asks s.Allowed. Without a share, and when
// shut, it fails at once with ReasonVendorUnreachable. Every error is a
// *message.SubmitError, or that of s.Allowed. When it has let the submission out, the
// caller says what came of it by one call of Took, Refused or Lost.
func (g *Gate) Enter(ctx context.Context, s message.Submission) error {
	g.mu.Lock()
	g.entered++
	g.mu.Unlock()
	err := g.leave(ctx, s)
	if err != nil {
		g.end(func() {})
	}
	return err
}

// end takes a submit out of the count and runs f before it wakes who waits.
func (g *Gate) end(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.entered--
	f()
	g.wakeLocked()
}

// leave waits until the message may leave and takes what it needs for it: a place in
// the window and its parts of the rate.
func (g *Gate) leave(ctx context.Context, s message.Submission) error {
	parts := max(1, s.Parts)
	for {
		off, err := g.reserve(ctx)
		if err != nil {
			return err
		}
		if err := g.bucket.Take(ctx, s.Class, parts, off); err != nil {
			g.release()
			if errors.Is(err, ErrCalledOff) {
				continue
			}
			return notInTime(err)
		}
		// The pause may have begun and the share may have gone while we waited.
		if !g.usable() {
			g.bucket.GiveBack(parts)
			g.release()
			continue
		}
		if err := s.Allowed(); err != nil {
			g.bucket.GiveBack(parts)
			g.release()
			return err
		}
		g.mu.Lock()
		g.flying++
		g.mu.Unlock()
		return nil
	}
}

// reserve waits for a pause to end and takes a place in the window. What it returns is
// closed when those who wait with a place are to look again.
func (g *Gate) reserve(ctx context.Context) (<-chan struct{}, error) {
	var until time.Time // of the wait for a place; zero: none began
	for {
		if ctx.Err() != nil {
			return nil, GaveUp(ctx.Err())
		}
		g.mu.Lock()
		if why := g.barredLocked(); why != "" {
			g.mu.Unlock()
			return nil, Unreachable(why, nil)
		}
		wait := time.Until(g.pausedUntil)
		if wait <= 0 && g.places < g.windowLocked() {
			g.places++
			off := g.off
			g.mu.Unlock()
			return off, nil
		}
		if wait <= 0 && g.cfg.PlaceWait > 0 {
			if until.IsZero() {
				until = time.Now().Add(g.cfg.PlaceWait)
			}
			if wait = time.Until(until); wait <= 0 {
				g.mu.Unlock()
				return nil, FullWindow()
			}
		}
		await := g.waitLocked(wait)
		g.mu.Unlock()
		if err := await(ctx); err != nil {
			return nil, GaveUp(err)
		}
	}
}

func (g *Gate) usable() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.barredLocked() == "" && !time.Now().Before(g.pausedUntil)
}

// release gives a place in the window back.
func (g *Gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.places--
	g.wakeLocked()
}

// landLocked is the end of a submit that was let out.
func (g *Gate) landLocked() {
	g.flying--
	g.places--
}

// Took is the vendor's yes to a submit of so many parts that began then.
func (g *Gate) Took(began time.Time, parts int) {
	g.end(func() {
		now := time.Now()
		g.landLocked()
		g.answered.Add(now, parts, false)
		g.timeLocked(now.Sub(began))
		g.saneLocked()
		if !began.Before(g.pausedUntil) {
			g.pauses = 0
		}
	})
}

// Refusal is a vendor's answer that is no yes.
type Refusal struct {
	Why   string // for people, without credentials, numbers and texts
	Began time.Time
	// Trouble: it tells of the vendor's trouble or ours, not of the message.
	Trouble bool
	// Fault counts towards shutting the gate; Shut does so at once.
	Fault, Shut bool
	// Pause: it concerns the whole link, and nothing goes out For so long; 0: longer each
	// time.
	Pause bool
	For   time.Duration
}

// Refused notes a refusal, and says for how long the link pauses because of it.
func (g *Gate) Refused(r Refusal) (pause time.Duration) {
	g.end(func() {
		now := time.Now()
		g.landLocked()
		g.answered.Add(now, 0, r.Trouble)
		g.timeLocked(now.Sub(r.Began))
		switch {
		case r.Shut:
			g.shutLocked(r.Why)
		case r.Pause:
			// The submits of one window are throttled together: they count as one.
			if !now.Before(g.pausedUntil) {
				g.pauses++
				d := r.For
				if d <= 0 {
					d = pauses[min(g.pauses, len(pauses))-1]
				}
				g.pausedUntil = now.Add(min(d, MaxPause))
				g.log.Info("vendor throttles", "pause", min(d, MaxPause))
			}
			pause = max(time.Millisecond, time.Until(g.pausedUntil))
		case r.Fault:
			g.faultLocked(r.Why)
		default:
			g.saneLocked()
		}
	})
	return pause
}

// Lost notes a submit to which no answer came. blame: that is the vendor's fault; else its
// caller has left.
func (g *Gate) Lost(why string, blame bool) {
	g.end(func() {
		g.landLocked()
		if !blame {
			return
		}
		g.answered.Add(time.Now(), 0, true)
		g.faultLocked(why)
	})
}

func (g *Gate) timeLocked(took time.Duration) {
	g.answerMilli += (float64(took.Microseconds())/1000 - g.answerMilli) / 16
}

// saneLocked opens the gate for good: the vendor does its work.
func (g *Gate) saneLocked() {
	g.faults = 0
	if g.shut { // what runs beside may have been answered before it was
		return
	}
	g.trying, g.gap, g.lastErr = false, 0, ""
}

// faultLocked counts a failure of the vendor's.
func (g *Gate) faultLocked(why string) {
	g.faults++
	g.lastErr = why
	if g.faults >= faultsToShut || g.trying {
		g.shutLocked(why)
	}
}

// shutLocked shuts the gate and begins to look at the vendor.
func (g *Gate) shutLocked(why string) {
	g.lastErr = why
	if g.shut {
		return
	}
	g.shut, g.trying = true, false
	g.gap = min(max(g.retry, 2*g.gap), maxRetry)
	g.log.Error("vendor takes no messages, the link waits", "why", why, "pause", g.gap)
	if gap := g.gap; !g.stopping {
		g.looks.Go(func() { g.look(gap) })
	}
}

// look asks the vendor now and then whether it lets us in, and lets a message try when it
// does.
func (g *Gate) look(gap time.Duration) {
	for {
		t := time.NewTimer(gap)
		select {
		case <-t.C:
		case <-g.looking.Done():
			t.Stop()
			return
		}
		err := g.cfg.Probe(g.looking)
		g.mu.Lock()
		if err == nil {
			g.shut, g.trying, g.faults = false, true, 0
			g.wakeLocked()
			g.mu.Unlock()
			g.log.Info("vendor lets us in again, a message is tried")
			return
		}
		gap = min(2*gap, maxRetry)
		g.gap = gap
		if g.looking.Err() == nil {
			g.lastErr = err.Error()
		}
		g.mu.Unlock()
	}
}

// Unreachable is a vendor that cannot be submitted to now; nothing was written.
func Unreachable(detail string, err error) error {
	return &message.SubmitError{Reason: message.ReasonVendorUnreachable, Detail: detail, Again: true, After: ShutDelay, Err: err}
}

// GaveUp is a context that ended before the write.
func GaveUp(err error) error {
	return &message.SubmitError{Reason: message.ReasonVendorUnreachable, Detail: "the wait for the link ended", Again: true, Err: err}
}

// FullWindow is a message for which no place came free in time.
func FullWindow() error {
	return &message.SubmitError{Reason: message.ReasonVendorThrottled, Detail: "too many messages wait for the vendor's answers", Again: true, After: pacedDelay}
}

// notInTime is a message whose turn by the rate comes too late for the caller.
func notInTime(err error) error {
	if errors.Is(err, ErrNoTurn) {
		return &message.SubmitError{Reason: message.ReasonVendorThrottled, Detail: "the vendor's rate leaves no room in time", Again: true, After: pacedDelay, Err: err}
	}
	return GaveUp(err)
}
