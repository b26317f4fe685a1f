package smpp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

// Handler gets the requests of the peer.
//
// Handle runs on the session's reader, in the order of arrival: while it runs
// nothing else is read, responses to our own requests included. It answers at
// once by Respond, or hands the Request on (Request.Go) and returns. At most
// Config.Inbound requests are unanswered; then reading stops until one is
// answered, which holds the peer by TCP. Every Request must be answered once. A
// Handle that waits for a Request of its own on the same session stops that
// answer from being read and ends by its timeout. A panic ends the session.
type Handler interface {
	Handle(r *Request)
}

// HandlerFunc is a Handler.
type HandlerFunc func(r *Request)

// Handle calls the function.
func (f HandlerFunc) Handle(r *Request) { f(r) }

// Request is a request of the peer.
type Request struct {
	Packet
	session  *Session
	answered atomic.Bool
}

// Session is the session that it came by.
func (r *Request) Session() *Session { return r.session }

// Context ends with the session.
func (r *Request) Context() context.Context { return r.session.ctx }

// Respond answers the request; a nil body is an empty one of the right type. It
// does not wait for the socket. The error is ErrAnswered for a second call, a
// *FieldError when body cannot be written (the peer then gets RSYSERR), or why
// the session has ended.
func (r *Request) Respond(st Status, body PDU) error {
	if r.answered.Swap(true) {
		return ErrAnswered
	}
	s := r.session
	if body == nil {
		body = emptyResponse(r.Body)
	}
	err := s.respond(st, r.Sequence, body)
	var field *FieldError
	if errors.As(err, &field) {
		_ = s.respond(StatusSystemError, r.Sequence, emptyResponse(r.Body))
	}
	s.releaseInbound()
	return err
}

// Ignore gives the request up without an answer, for simulators of bad peers:
// its place among the unanswered ones is free again. The error is ErrAnswered
// after an answer.
func (r *Request) Ignore() error {
	if r.answered.Swap(true) {
		return ErrAnswered
	}
	r.session.releaseInbound()
	return nil
}

func (s *Session) releaseInbound() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inbound--
	s.inboundRoom.Broadcast()
	s.checkIdleLocked()
}

// Go runs fn on a goroutine that Session.Wait waits for; its panic ends the
// session. It is called in Handle, or within another Go.
func (r *Request) Go(fn func()) {
	r.session.handlers.Go(func() {
		defer r.session.catch("handler")
		fn()
	})
}

func emptyResponse(request PDU) PDU {
	if b, ok := request.(*Bind); ok {
		return &BindResp{Mode: b.Mode}
	}
	return ResponseTo(request.CommandID())
}

// lingerBytes bounds what is read and dropped at the end of a session.
const lingerBytes = 1 << 20

func (s *Session) readLoop() {
	for {
		frame, err := s.frames.next(s.frameLimit())
		if err == nil {
			now := int64(s.since())
			s.lastRead.Store(now)
			err = s.handleFrame(frame)
		}
		var bad *DecodeError
		outOfStep := errors.As(err, &bad) && bad.OutOfStep
		if outOfStep {
			s.cfg.Log.Warn("smpp framing lost", "command_length", bad.Header.Length, "peer", s.PeerID())
			_ = s.respond(StatusInvCmdLen, bad.Header.Sequence, &GenericNack{})
			s.finish(ErrFraming)
		} else if err != nil {
			s.fail(fmt.Errorf("smpp: connection lost: %w", err))
			return
		}
		// Out of step there is nothing to go on with, also when the session has ended
		// already and finish did nothing: the broken length is still in the buffer.
		if outOfStep || s.ending() {
			_, _ = io.CopyN(io.Discard, s.frames.br, lingerBytes)
			s.fail(ErrClosed)
			return
		}
	}
}

func (s *Session) ending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.finishing != nil
}

func (s *Session) frameLimit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mode == ModeNone {
		return MaxFrameOpen
	}
	return MaxFrame
}

// handleFrame deals with one frame. Its error ends the session.
func (s *Session) handleFrame(frame []byte) error {
	p, err := Decode(frame)
	var bad *DecodeError
	if errors.As(err, &bad) && bad.OutOfStep {
		return err
	}
	if isResponse(p.ID) {
		s.handleResponse(p, err)
		return nil
	}
	s.waitResponseRoom()
	if bad != nil && bad.Status == StatusInvCmdID {
		s.cfg.Log.Info("smpp unknown command", "command_id", uint32(p.ID), "peer", s.PeerID())
		_ = s.respond(StatusInvCmdID, p.Sequence, &GenericNack{})
		return nil
	}
	switch body := p.Body.(type) {
	case *EnquireLink:
		_ = s.respond(StatusOK, p.Sequence, &EnquireLinkResp{})
		return nil
	case *Unbind:
		s.handleUnbind(p.Sequence)
		return nil
	case *Outbind, *AlertNotification:
		return nil
	case *Bind:
		s.handleBind(p, body, bad)
		return nil
	}
	s.lastTrans.Store(s.lastRead.Load())
	if st := s.checkState(p.ID); st != StatusOK {
		_ = s.respond(st, p.Sequence, emptyResponse(p.Body))
		return nil
	}
	if bad != nil {
		s.cfg.Log.Info("smpp request refused", "field", bad.Field, "status", bad.Status.String(), "peer", s.PeerID())
		_ = s.respond(bad.Status, p.Sequence, emptyResponse(p.Body))
		return nil
	}
	if s.turnsAway() {
		_ = s.respond(StatusSystemError, p.Sequence, emptyResponse(p.Body))
		return nil
	}
	if !s.takeInbound() {
		return nil
	}
	s.cfg.Handler.Handle(&Request{Packet: p, session: s})
	return nil
}

// turnsAway reports whether new requests of the peer are for its next session.
func (s *Session) turnsAway() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving
}

// checkState tells whether the peer may send the request now (SMPP 3.4 §2.3).
func (s *Session) checkState(id CommandID) Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	mode := s.mode
	if s.state == StateOpen || s.finishing != nil {
		return StatusInvBindState
	}
	toESME := s.server == nil
	ok := false
	switch id {
	case IDSubmitSM, IDSubmitMulti, IDQuerySM, IDCancelSM, IDReplaceSM:
		ok = !toESME && mode.CanSubmit()
	case IDDeliverSM:
		ok = toESME && mode.CanDeliver() || !toESME && s.deliver && mode.CanSubmit()
	case IDDataSM:
		ok = toESME && mode.CanDeliver() || !toESME && mode.CanSubmit()
	}
	if !ok {
		return StatusInvBindState
	}
	return StatusOK
}

// takeInbound waits for a place among the peer's unanswered requests; false:
// the session has ended.
func (s *Session) takeInbound() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.inbound >= s.inboundLimit && s.err == nil {
		s.readPaused = true
		s.inboundRoom.Wait()
	}
	if s.readPaused {
		s.readPaused = false
		s.lastRead.Store(int64(s.since()))
		s.wakeLocked(0)
	}
	if s.err != nil {
		return false
	}
	s.inbound++
	return true
}

// handleResponse gives an answer to its request. One that belongs to none came
// after its timeout, or is the peer's error.
func (s *Session) handleResponse(p Packet, decodeErr error) {
	s.mu.Lock()
	c := s.pending[p.Sequence]
	if c == nil || c.state != callWritten || (p.ID != responseID(c.id) && p.ID != IDGenericNack) {
		s.mu.Unlock()
		s.cfg.Log.Info("smpp response to no request", "command_id", uint32(p.ID), "status", p.Status.String(), "peer", s.PeerID())
		return
	}
	if b, ok := p.Body.(*BindResp); ok && p.Status == StatusOK {
		s.peerID = b.SystemID
		if v, ok := b.TLVs.Byte(TagSCInterfaceVersion); ok {
			s.version = v
		}
		s.setBoundLocked(b.Mode)
	}
	if c != s.enquire {
		s.lastTrans.Store(s.lastRead.Load())
	}
	s.endLocked(c)
	s.mu.Unlock()

	var err error
	switch {
	case p.ID == IDGenericNack:
		err = &StatusError{ID: c.id, Status: p.Status, Nack: true}
	case p.Status != StatusOK:
		err = &StatusError{ID: c.id, Status: p.Status}
	case decodeErr != nil:
		err = &RequestError{Written: true, Err: decodeErr}
	}
	c.done(p, err)
}

// handleBind decides a bind, or refuses it where it does not belong.
func (s *Session) handleBind(p Packet, b *Bind, bad *DecodeError) {
	resp := &BindResp{Mode: b.Mode}
	s.mu.Lock()
	state := s.state
	s.binding = state == StateOpen && s.server != nil
	s.mu.Unlock()
	switch {
	case s.server == nil:
		_ = s.respond(StatusInvBindState, p.Sequence, resp)
		return
	case state != StateOpen:
		_ = s.respond(StatusAlreadyBound, p.Sequence, resp)
		return
	}
	d := Decision{Status: StatusBindFail}
	if bad != nil {
		d.Status = bad.Status
	} else if s.server.Bind != nil {
		d = s.server.Bind(s.ctx, s, b)
	}
	if d.Status != StatusOK {
		_ = s.respond(d.Status, p.Sequence, resp)
		s.finish(&BindError{Status: d.Status})
		return
	}
	resp.SystemID = s.server.SystemID
	if b.InterfaceVersion >= Version34 {
		resp.TLVs.AddByte(TagSCInterfaceVersion, Version34)
	}
	s.accept(p, b, resp, d)
}

// accept queues the bind_resp and enters the bound state in one step, so that
// nothing of ours can overtake the bind_resp.
func (s *Session) accept(p Packet, b *Bind, resp *BindResp, d Decision) {
	buf := getBuffer()
	frame, err := Append((*buf)[:0], StatusOK, p.Sequence, resp)
	*buf = frame
	if err != nil {
		s.fail(err)
		return
	}
	s.mu.Lock()
	s.binding = false
	s.peerID, s.version, s.deliver = b.SystemID, b.InterfaceVersion, d.AllowDeliver
	s.setWindowLocked(d.Window, d.Inbound)
	_ = s.respondLocked(buf)
	s.setBoundLocked(b.Mode)
	s.mu.Unlock()
	if s.server.Bound != nil {
		s.server.Bound(s)
	}
}

// handleUnbind answers an unbind after the outstanding requests have ended,
// within UnbindTimeout; reading goes on meanwhile, for their answers. What is not
// on the wire yet stays off it: a peer that leaves may not answer any more.
func (s *Session) handleUnbind(sequence uint32) {
	s.mu.Lock()
	already := s.state == StateUnbound
	if s.err == nil {
		s.refuseLocked(StateUnbound)
	}
	s.mu.Unlock()
	s.endQueued()
	s.mu.Lock()
	idle := s.idleLocked()
	s.mu.Unlock()
	if already { // both sides unbind at once
		_ = s.respond(StatusOK, sequence, &UnbindResp{})
		return
	}
	s.loops.Go(func() {
		t := time.NewTimer(s.cfg.UnbindTimeout)
		defer t.Stop()
		select {
		case <-idle:
		case <-t.C:
			s.cfg.Log.Warn("smpp unbind with requests outstanding", slog.Int("unanswered", s.InFlight()), "peer", s.PeerID())
		case <-s.closing:
			return
		}
		_ = s.respond(StatusOK, sequence, &UnbindResp{})
		s.finish(ErrUnbound)
	})
}
