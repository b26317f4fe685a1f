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

// hosts gives turns: so many tries at a time for each host, and none during a
// pause that it asked for. Nothing here is the only copy of anything; a restart
// forgets it.
type hosts struct {
	limit int
	mu    sync.Mutex
	byKey map[string]*host // guarded by mu
}

type host struct {
	turns  chan struct{} // holds a token for each try under way
	users  int           // who holds or waits for a turn; guarded by hosts.mu
	paused time.Time     // no try before; guarded by hosts.mu
}

// enter takes a turn, or tells after what time to ask again: at once during a
// pause, after wait if the turns stay taken. The error is ctx's.
func (s *hosts) enter(ctx context.Context, key string, now time.Time, wait time.Duration) (h *host, again time.Duration, err error) {
	s.mu.Lock()
	h = s.byKey[key]
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
	h.users++
	s.mu.Unlock()

	select {
	case h.turns <- struct{}{}:
		return h, 0, nil
	default:
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case h.turns <- struct{}{}:
		return h, 0, nil
	case <-timer.C:
		again = time.Second
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	h.users--
	s.mu.Unlock()
	return nil, again, err
}

// leave gives the turn back; with pause above 0 the host rests that long.
func (s *hosts) leave(h *host, now time.Time, pause time.Duration) {
	<-h.turns
	s.mu.Lock()
	defer s.mu.Unlock()
	h.users--
	if until := now.Add(min(pause, maxPause)); pause > 0 && until.After(h.paused) {
		h.paused = until
	}
}

// forget drops the hosts that nobody uses; s.mu is held.
func (s *hosts) forget(now time.Time) {
	for key, h := range s.byKey {
		if h.users == 0 && !h.paused.After(now) {
			delete(s.byKey, key)
		}
	}
}
