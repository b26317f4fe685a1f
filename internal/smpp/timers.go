package smpp

import (
	"context"
	"errors"
	"math"
	"time"
)

// never is a wake time that does not come.
const never = time.Duration(math.MaxInt64)

// keepLoop runs the session's timers: response, enquire_link, inactivity,
// session_init (SMPP 3.4 §7.2). It sleeps until the earliest and is woken only
// when an earlier one appears.
func (s *Session) keepLoop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next := s.tick()
		if next == never {
			timer.Stop()
		} else {
			timer.Reset(next - s.since())
		}
		select {
		case <-s.closing:
			return
		case <-s.keeper:
		case <-timer.C:
		}
	}
}

// wakeLocked makes the timer goroutine look at its timers no later than at.
func (s *Session) wakeLocked(at time.Duration) {
	if at >= s.nextWake {
		return
	}
	s.nextWake = at
	select {
	case s.keeper <- struct{}{}:
	default:
	}
}

// tick does what is due and tells when to look again.
func (s *Session) tick() time.Duration {
	now := s.since()
	s.mu.Lock()
	expired := s.expireLocked(now)
	sendEnquire, cause := s.dueLocked(now)
	unbind := errors.Is(cause, ErrInactive)
	s.mu.Unlock()

	for _, e := range expired {
		s.safely(func() { e.call.done(Packet{}, &RequestError{Written: e.written, Err: ErrTimeout}) })
	}
	switch {
	case unbind:
		s.unbindInactive()
	case cause != nil:
		s.fail(cause)
	case sendEnquire:
		_, _ = s.send(&EnquireLink{}, callOptions{enquire: true, done: func(Packet, error) {}})
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextWake = s.nextLocked()
	return s.nextWake
}

type expiredCall struct {
	call    *Call
	written bool
}

func (s *Session) expireLocked(now time.Duration) []expiredCall {
	var out []expiredCall
	for c := s.calls.head; c != nil && c.deadline <= now; c = s.calls.head {
		out = append(out, expiredCall{c, c.state == callWritten})
		s.endLocked(c)
	}
	return out
}

// dueLocked tells whether an enquire_link is due and whether the session must
// end.
func (s *Session) dueLocked(now time.Duration) (sendEnquire bool, end error) {
	read := time.Duration(s.lastRead.Load())
	switch {
	case s.finishing != nil, s.err != nil:
		return false, nil
	case s.state == StateOpen && s.server != nil:
		if !s.binding && now >= s.server.SessionInit {
			return false, ErrSessionInit
		}
		return false, nil
	case s.state == StateOpen, s.state == StateClosed, s.readPaused:
		return false, nil
	}
	if c := s.enquire; c != nil && now >= c.deadline {
		if read <= c.sent {
			return false, ErrEnquireTimeout
		}
		s.endLocked(c) // it talks, if not of this
	}
	if s.state != StateUnbound && s.cfg.Inactivity > 0 && now-time.Duration(s.lastTrans.Load()) >= s.cfg.Inactivity {
		return false, ErrInactive
	}
	return s.enquire == nil && s.cfg.EnquireLink > 0 && s.state != StateUnbound && now-read >= s.cfg.EnquireLink, nil
}

func (s *Session) nextLocked() time.Duration {
	next := never
	earlier := func(t time.Duration) { next = min(next, t) }
	if s.calls.head != nil {
		earlier(s.calls.head.deadline)
	}
	switch {
	case s.finishing != nil, s.err != nil:
		return never
	case s.state == StateOpen && s.server != nil && !s.binding:
		earlier(s.server.SessionInit)
	case s.state == StateOpen, s.state == StateClosed, s.readPaused:
		return next
	}
	if s.enquire != nil {
		earlier(s.enquire.deadline)
	} else if s.cfg.EnquireLink > 0 && s.state != StateOpen && s.state != StateUnbound { // who leaves asks nothing more: the timer would find no end
		earlier(time.Duration(s.lastRead.Load()) + s.cfg.EnquireLink)
	}
	if s.cfg.Inactivity > 0 && (s.state == StateBoundTX || s.state == StateBoundRX || s.state == StateBoundTRX) {
		earlier(time.Duration(s.lastTrans.Load()) + s.cfg.Inactivity)
	}
	return next
}

// unbindInactive unbinds without holding up the timers.
func (s *Session) unbindInactive() {
	s.mu.Lock()
	already := s.state == StateUnbound || s.state == StateClosed
	s.mu.Unlock()
	if already {
		return
	}
	s.handlers.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.UnbindTimeout)
		defer cancel()
		_ = s.Unbind(ctx)
	})
}
