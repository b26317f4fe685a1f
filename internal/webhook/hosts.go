package webhook

import (
	"context"
	"sync"
	"time"
)

// maxPause bounds how long one answer slows a host down for its other events:
// longer waits are asked of the event that got the answer, by its RetryAfter.
const maxPause = time.Minute

// defaultPause follows a slow-down answer that does not say how long.
const defaultPause = 5 * time.Second

// maxHosts is how many hosts are remembered before those with nothing under way
// and no pause are forgotten.
const maxHosts = 1024

// The bounds that keep slow hosts from holding up others. A host is slow when its answers
// take slowAfter on the average; a try in a workflow's task is given up after 2.5 s, so one
// that answers never is slow after a dozen of them.
const (
	slowAfter = 2 * time.Second
	// maxWaiters is how many tries wait for a turn of one host at most; the others come
	// back later. At a slow one nobody waits.
	maxWaiters = 64
	// maxSlow is how many tries to slow hosts run at a time, over all of them: half of the
	// notify worker's slots. maxQuickSlow is the same of those in workflows' tasks, of
	// which a slow host has one at a time.
	maxSlow      = 128
	maxQuickSlow = 32
	// maxLine bounds when a try that finds no turn is told to come back.
	maxLine = 5 * time.Minute
)

// hosts gives turns: so many tries at a time for each host, and none during a
// pause that it asked for. Nothing here is the only copy of anything; a restart
// forgets it.
type hosts struct {
	limit     int
	mu        sync.Mutex
	byKey     map[string]*host // guarded by mu
	slow      int              // tries under way at slow hosts, without quick ones; guarded by mu
	quickSlow int              // quick ones; guarded by mu
}

type host struct {
	turns   chan struct{} // holds a token for each try under way
	users   int           // who holds or waits for a turn; guarded by hosts.mu
	waiters int           // who waits for one; guarded by hosts.mu
	quick   int           // who holds one in a workflow's task; guarded by hosts.mu
	paused  time.Time     // no try before; guarded by hosts.mu
	took    time.Duration // of a try, on the average; guarded by hosts.mu
	line    time.Time     // when who was turned away last is to come back; guarded by hosts.mu
}

// turn is what a try holds of a host.
type turn struct {
	host            *host
	quick           bool
	slow, quickSlow int // what it counts as, of the fields of hosts
}

// enter takes a turn, or tells after what time to ask again: at once during a
// pause, at a slow host or behind too many, after wait if the turns stay taken. A quick
// try is one that holds a workflow's task. The error is ctx's.
func (s *hosts) enter(ctx context.Context, key string, now time.Time, wait time.Duration, quick bool) (t *turn, again time.Duration, err error) {
	s.mu.Lock()
	h := s.byKey[key]
	if h == nil {
		if len(s.byKey) >= maxHosts {
			s.forget(now)
		}
		h = &host{turns: make(chan struct{}, s.limit)}
		s.byKey[key] = h
	}
	if d := h.paused.Sub(now); d > 0 {
		s.mu.Unlock()
		return nil, d, nil
	}
	t = &turn{host: h, quick: quick}
	slow := h.took >= slowAfter
	switch {
	case slow && quick && (h.quick > 0 || s.quickSlow >= maxQuickSlow), slow && !quick && s.slow >= maxSlow:
		again = h.later(now, s.limit)
		s.mu.Unlock()
		return nil, again, nil
	case slow && quick:
		t.quickSlow = 1
	case slow:
		t.slow = 1
	}
	select {
	case h.turns <- struct{}{}:
		h.users++
		s.hold(t, 1)
		s.mu.Unlock()
		return t, 0, nil
	default:
	}
	if slow || h.waiters >= maxWaiters {
		again = h.later(now, s.limit)
		s.mu.Unlock()
		return nil, again, nil
	}
	h.users++
	h.waiters++
	s.mu.Unlock()

	timer := time.NewTimer(wait)
	defer timer.Stop()
	got := false
	select {
	case h.turns <- struct{}{}:
		got = true
	case <-timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h.waiters--
	if got {
		s.hold(t, 1)
		return t, 0, nil
	}
	h.users--
	if err == nil {
		again = h.later(now.Add(wait), s.limit)
	}
	return nil, again, err
}

// hold counts a turn in or out; s.mu is held.
func (s *hosts) hold(t *turn, n int) {
	s.slow += n * t.slow
	s.quickSlow += n * t.quickSlow
	if t.quick {
		t.host.quick += n
	}
}

// later is after what time one that is turned away is to come back: in a second, or when
// those before it have had their turns. So what is behind a slow host comes back about
// once each, not every second.
func (h *host) later(now time.Time, limit int) time.Duration {
	first := now.Add(time.Second)
	step := max(h.took, 50*time.Millisecond) / time.Duration(limit)
	if h.line.Before(first) {
		h.line = first
	} else if h.line = h.line.Add(step); h.line.Sub(now) > maxLine {
		h.line = now.Add(maxLine)
	}
	return h.line.Sub(now)
}

// leave gives the turn back after a try that took so long; with pause above 0 the host
// rests that long.
func (s *hosts) leave(t *turn, now time.Time, took, pause time.Duration) {
	h := t.host
	<-h.turns
	s.mu.Lock()
	defer s.mu.Unlock()
	h.users--
	s.hold(t, -1)
	h.took += (took - h.took) / 8
	if until := now.Add(min(pause, maxPause)); pause > 0 && until.After(h.paused) {
		h.paused = until
	}
}

// forget drops the hosts that nobody uses; s.mu is held.
func (s *hosts) forget(now time.Time) {
	for key, h := range s.byKey {
		if h.users == 0 && !h.paused.After(now) && !h.line.After(now) {
			delete(s.byKey, key)
		}
	}
}
