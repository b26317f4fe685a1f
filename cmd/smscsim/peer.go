package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/smpp"
)

// peer is one connection of an ESME.
type peer struct {
	sim     *simulator
	session *smpp.Session // set and read under sim.mu
	account *account      // set once bound, before any request
	open    atomic.Int64  // submits whose answer is still to come
}

// bound is called before the first request is read.
func (p *peer) bound(session *smpp.Session) {
	p.account = p.sim.account(session.PeerID())
	p.sim.stats.count(func(c *counts) { c.Sessions++; c.Binds++ })
	p.sim.log.Info("bound", "system_id", session.PeerID(), "mode", session.Mode().String())
	if session.Mode().CanDeliver() {
		p.account.addReceivers(1)
		p.sim.loops.Go(func() { p.deliverAll(session) })
	}
}

// outlive waits for the end of the session and clears up after it.
func (p *peer) outlive() {
	p.sim.mu.Lock()
	session := p.session
	p.sim.mu.Unlock()
	session.Wait()
	p.sim.mu.Lock()
	delete(p.sim.peers, p)
	p.sim.mu.Unlock()
	if p.account == nil {
		return
	}
	if session.Mode().CanDeliver() {
		p.account.addReceivers(-1)
		p.account.wakeAll()
	}
	p.sim.stats.count(func(c *counts) { c.Sessions-- })
	p.sim.log.Info("gone", "system_id", session.PeerID(), "cause", session.Err())
}

// leave unbinds, or hangs up on who has not bound.
func (p *peer) leave(ctx context.Context) {
	p.sim.mu.Lock()
	session := p.session
	p.sim.mu.Unlock()
	if session.Mode() == smpp.ModeNone {
		session.Close()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, unbindTimeout)
	defer cancel()
	_ = session.Unbind(ctx)
}

// deliverAll gives the session what its account has, as fast as the window
// allows.
func (p *peer) deliverAll(session *smpp.Session) {
	for {
		d := p.account.next(session)
		if d == nil {
			return
		}
		m := d.pdu(p.sim.config.Load().ReceiptTLVs, session.PeerVersion())
		p.sim.sent(d, 1)
		err := session.Start(p.sim.ctx, m, func(_ smpp.Packet, err error) { p.sim.delivered(d, session, err) })
		if err == nil {
			continue
		}
		p.sim.sent(d, -1)
		var field *smpp.FieldError
		if errors.As(err, &field) {
			p.sim.log.Warn("a delivery cannot be written", "error", err)
			p.sim.settled(d, false)
			continue
		}
		p.account.pushFirst(d) // the session ends
		return
	}
}

func (s *simulator) sent(d *delivery, n int) {
	s.stats.count(func(c *counts) {
		if d.receipt != nil {
			c.ReceiptsSent += n
		} else {
			c.MOSent += n
		}
	})
}

// settled ends a delivery: the ESME has it, or refuses it for good.
func (s *simulator) settled(d *delivery, acked bool) {
	s.stats.count(func(c *counts) {
		pending, got, refused := &c.MOPending, &c.MOAcked, &c.MORefused
		if d.receipt != nil {
			pending, got, refused = &c.ReceiptsPending, &c.ReceiptsAcked, &c.ReceiptsRefused
		}
		*pending--
		if acked {
			*got++
		} else {
			*refused++
		}
	})
	if d.tried != nil {
		d.tried()
	}
}

// delivered is called once for each attempt, on the session's goroutines.
func (s *simulator) delivered(d *delivery, session *smpp.Session, err error) {
	var refused *smpp.StatusError
	switch {
	case err == nil:
		s.settled(d, true)
		return
	case errors.As(err, &refused) && !temporary(refused):
		s.settled(d, false)
		return
	}
	s.stats.count(func(c *counts) {
		if d.receipt != nil {
			c.ReceiptsRetried++
		} else {
			c.MORetried++
		}
	})
	if tried := d.tried; tried != nil {
		d.tried = nil
		tried()
	}
	if session.Err() != nil { // the next bind gets it at once
		d.account.pushFirst(d)
		return
	}
	s.later.after(time.Duration(s.config.Load().ReceiptRetry), func() { d.account.push(d) })
}

// temporary tells the answers to a deliver_sm after which an SMSC tries again.
func temporary(e *smpp.StatusError) bool {
	switch e.Status {
	case smpp.StatusTempAppError, smpp.StatusSystemError, smpp.StatusMsgQueueFull, smpp.StatusThrottled:
		return !e.Nack
	}
	return false
}
