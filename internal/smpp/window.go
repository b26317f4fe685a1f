package smpp

import (
	"context"
	"slices"
)

// SetWindow changes how many requests may be unanswered: own of ours, inbound of the
// peer's; 0 or less leaves a bound as it is. More takes effect at once. With less,
// what is under way goes on, and nothing new begins until it has shrunk to the new
// bound.
func (s *Session) SetWindow(own, inbound int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setWindowLocked(own, inbound)
}

func (s *Session) setWindowLocked(own, inbound int) {
	if own > 0 {
		s.window = own
		s.admitLocked()
	}
	if inbound > 0 {
		s.inboundLimit = inbound
		s.inboundRoom.Broadcast()
	}
}

// takePlace waits for a place in the window. Those who wait are served in order.
func (s *Session) takePlace(ctx context.Context) error {
	s.mu.Lock()
	switch s.state {
	case StateOpen:
		s.mu.Unlock()
		return &RequestError{Err: ErrNotBound}
	case StateUnbound, StateClosed:
		s.mu.Unlock()
		return s.refused()
	}
	if s.used < s.window && len(s.waiters) == 0 {
		s.used++
		s.mu.Unlock()
		return nil
	}
	place := make(chan struct{}) // closed by admitLocked
	s.waiters = append(s.waiters, place)
	s.mu.Unlock()

	var err error
	select {
	case <-place:
		return nil
	case <-ctx.Done():
		err = &RequestError{Err: ctx.Err()}
	case <-s.refusing:
		err = s.refused()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiters, place); i >= 0 {
		s.waiters = slices.Delete(s.waiters, i, i+1)
	} else {
		s.freeLocked() // it came at the same moment
	}
	return err
}

// freePlace gives back a place that no call has taken.
func (s *Session) freePlace() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.freeLocked()
}

func (s *Session) freeLocked() {
	s.used--
	s.admitLocked()
}

// admitLocked gives the places that are free to those who have waited longest.
func (s *Session) admitLocked() {
	for s.used < s.window && len(s.waiters) > 0 {
		s.used++
		close(s.waiters[0])
		s.waiters = slices.Delete(s.waiters, 0, 1)
	}
}
