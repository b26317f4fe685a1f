package smpp

import (
	"context"
	"time"
)

// maxSequence is the largest sequence_number (SMPP 3.4 §5.1.4); 1 follows.
const maxSequence = 0x7FFFFFFF

type callState byte

const (
	callReserved callState = iota // has its number, not yet queued
	callQueued                    // not handed to the socket
	callWritten                   // handed to it, whole or in part
	callEnded
)

// Call is one request of ours on its way. It is safe for concurrent use.
type Call struct {
	session    *Session // its mu guards what follows
	id         CommandID
	sequence   uint32
	deadline   time.Duration // since the session started
	sent       time.Duration
	state      callState
	slot       bool // holds a place in the window
	timed      bool // in the list of response timers
	done       func(Packet, error)
	prev, next *Call
}

// callList is a list of calls in order of deadline: all have the same timeout.
type callList struct {
	head, tail *Call
	n          int
}

func (l *callList) push(c *Call) {
	c.prev = l.tail
	if l.tail != nil {
		l.tail.next = c
	} else {
		l.head = c
	}
	l.tail = c
	l.n++
}

func (l *callList) remove(c *Call) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.tail = c.prev
	}
	c.prev, c.next = nil, nil
	l.n--
}

type callOptions struct {
	slot    bool // one of the window's
	enquire bool // has a timer of its own
	done    func(Packet, error)
}

// Start sends a request and returns once it is queued for the socket; done is
// then called exactly once, with the answer or with an error: *StatusError when
// the peer refused (the Packet is set as well), *RequestError when no answer
// came. done runs on the session's own goroutines and must not block or call
// Start.
//
// Start waits for a place in the window. Its own error is a *FieldError for a
// PDU that cannot be written, or a *RequestError that is not Written; done is
// not called then. body must not be changed before Start returns.
func (s *Session) Start(ctx context.Context, body PDU, done func(Packet, error)) error {
	_, err := s.Begin(ctx, body, done)
	return err
}

// TakeBack withdraws a request whose caller leaves, if it has not been handed
// to the socket: true, and done is not called. False: it was written, and done
// will be called or has been. A written request keeps its place in the window
// until its answer or timeout, since it still fills the peer's.
func (c *Call) TakeBack() bool { return c.session.abandon(c) == callQueued }

// Request sends a request and waits for its answer, with the results of Start.
// When ctx ends first the error tells whether the request was written; one that
// was still queued is taken back.
func (s *Session) Request(ctx context.Context, body PDU) (Packet, error) {
	type result struct {
		p   Packet
		err error
	}
	ch := make(chan result, 1)
	c, err := s.Begin(ctx, body, func(p Packet, err error) { ch <- result{p, err} })
	if err != nil {
		return Packet{}, err
	}
	select {
	case r := <-ch:
		return r.p, r.err
	case <-ctx.Done():
	}
	switch s.abandon(c) {
	case callQueued:
		return Packet{}, &RequestError{Err: ctx.Err()}
	case callWritten:
		return Packet{}, &RequestError{Written: true, Err: ctx.Err()}
	}
	r := <-ch // it ended at the same moment; done runs or has run
	return r.p, r.err
}

// Submit sends a submit_sm and waits for its answer, see Request.
func (s *Session) Submit(ctx context.Context, m *SubmitSM) (*SubmitSMResp, error) {
	p, err := s.Request(ctx, m)
	if err != nil {
		return nil, err
	}
	return p.Body.(*SubmitSMResp), nil
}

// Deliver sends a deliver_sm and waits for its answer, see Request.
func (s *Session) Deliver(ctx context.Context, m *DeliverSM) error {
	_, err := s.Request(ctx, m)
	return err
}

// Pending reports whether done has still to come for a reason that is not
// known yet: no answer, no timeout, no loss so far. Once false, done is running
// or has run, unless the call was taken back.
func (c *Call) Pending() bool {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.state != callEnded
}

// Begin is Start with a handle to take the request back.
func (s *Session) Begin(ctx context.Context, body PDU, done func(Packet, error)) (*Call, error) {
	if ctx.Err() != nil {
		return nil, &RequestError{Err: ctx.Err()}
	}
	if err := s.takePlace(ctx); err != nil {
		return nil, err
	}
	c, err := s.send(body, callOptions{slot: true, done: done})
	if err != nil {
		s.freePlace()
	}
	return c, err
}

// refused is the error of a request that a closed or unbinding session does not
// take.
func (s *Session) refused() error {
	if err := s.Err(); err != nil {
		return &RequestError{Err: err}
	}
	return &RequestError{Err: ErrUnbound}
}

// send queues a request. The pending map knows it before the writer can.
func (s *Session) send(body PDU, o callOptions) (*Call, error) {
	buf := getBuffer()
	c := &Call{session: s, id: body.CommandID(), slot: o.slot, done: o.done}
	s.mu.Lock()
	c.sequence = s.nextSequenceLocked()
	s.pending[c.sequence] = c // reserves the number
	s.mu.Unlock()

	frame, err := Append((*buf)[:0], StatusOK, c.sequence, body)
	*buf = frame
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = s.mayCallLocked(o)
	}
	if err != nil {
		delete(s.pending, c.sequence)
		putBuffer(buf)
		return nil, err
	}
	c.state = callQueued
	c.sent = s.since()
	c.deadline = c.sent + s.cfg.ResponseTimeout
	switch {
	case o.enquire:
		c.deadline = c.sent + s.cfg.EnquireTimeout
		s.enquire = c
	default:
		c.timed = true
		s.calls.push(c)
		s.lastTrans.Store(int64(c.sent))
	}
	s.wakeLocked(c.deadline)
	s.requests = append(s.requests, outFrame{buf: buf, call: c})
	s.writable.Signal()
	return c, nil
}

func (s *Session) mayCallLocked(o callOptions) error {
	switch {
	case s.err != nil:
		return &RequestError{Err: s.err}
	case s.finishing != nil:
		return &RequestError{Err: s.finishing}
	case s.state == StateUnbound && o.slot:
		return &RequestError{Err: ErrUnbound}
	}
	return nil
}

func (s *Session) nextSequenceLocked() uint32 {
	for {
		if s.sequence >= maxSequence {
			s.sequence = 0
		}
		s.sequence++
		if _, taken := s.pending[s.sequence]; !taken {
			return s.sequence
		}
	}
}

// abandon takes back a queued call and tells the state that it found.
func (s *Session) abandon(c *Call) callState {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := c.state
	if st == callQueued {
		s.endLocked(c)
	}
	return st
}

// endLocked removes the call; its done is the caller's business.
func (s *Session) endLocked(c *Call) {
	c.state = callEnded
	delete(s.pending, c.sequence)
	if c.timed {
		s.calls.remove(c)
		c.timed = false
	}
	if s.enquire == c {
		s.enquire = nil
	}
	if c.slot {
		c.slot = false
		s.freeLocked()
	}
	s.checkIdleLocked()
}

// endCalls ends every call after the loops have stopped: what the writer took
// is ambiguous, the rest is safe.
func (s *Session) endCalls() {
	s.mu.Lock()
	cause := s.err
	var ended []*Call
	var written []bool
	for _, c := range s.pending {
		if c.state == callReserved {
			continue // send finds the session closed
		}
		ended = append(ended, c)
		written = append(written, c.state == callWritten)
		s.endLocked(c)
	}
	s.requests, s.responses = nil, nil
	s.mu.Unlock()
	for i, c := range ended {
		s.safely(func() { c.done(Packet{}, &RequestError{Written: written[i], Err: cause}) })
	}
}

// endQueued ends the calls that the writer has not taken, which is safe.
func (s *Session) endQueued() {
	s.mu.Lock()
	var ended []*Call
	for _, c := range s.pending {
		if c.state == callQueued {
			ended = append(ended, c)
			s.endLocked(c)
		}
	}
	s.mu.Unlock()
	for _, c := range ended {
		s.safely(func() { c.done(Packet{}, &RequestError{Err: ErrUnbound}) })
	}
}

func (s *Session) safely(fn func()) {
	defer s.catch("callback")
	fn()
}
