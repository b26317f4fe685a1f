package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

const (
	esmeWindow = 50
	// What an ESME that means to stay bound waits for: a link that says nothing is
	// given up, and another door tried.
	esmeEnquire    = 2 * time.Second
	esmeSilence    = 4 * time.Second
	esmeAnswer     = 15 * time.Second
	esmeBind       = 5 * time.Second
	esmeAgain      = 500 * time.Millisecond // between two tries to bind
	esmeHome       = time.Second            // between two looks whether the own door opens again
	esmeUnbindTime = 20 * time.Second
)

// esme is a customer's PBX. It has a door that it prefers and goes to the other one
// while that does not let it in.
type esme struct {
	customer *Customer
	account  *Account
	systemID string
	doors    []string
	address  func(door string) string
	stopping context.CancelFunc
	works    sync.WaitGroup

	mu      sync.Mutex
	current *session      // nil: not bound
	changed chan struct{} // closed when current changes
}

// session is one bind of an ESME.
type session struct {
	*smpp.Session
	door string
}

func newESME(c *Customer, a *Account, systemID string, doors []string, address func(string) string) *esme {
	return &esme{customer: c, account: a, systemID: systemID, doors: doors, address: address, changed: make(chan struct{})}
}

// start keeps it bound until stop.
func (e *esme) start() {
	ctx, cancel := context.WithCancel(context.Background())
	e.stopping = cancel
	e.works.Go(func() { e.keep(ctx) })
}

// stop unbinds it.
func (e *esme) stop() {
	e.stopping()
	e.works.Wait()
}

// keep binds again whenever the session has ended.
func (e *esme) keep(ctx context.Context) {
	tick := time.NewTicker(esmeAgain)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		s, err := e.bind(ctx, e.doors[i%len(e.doors)])
		if err != nil {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
			continue
		}
		e.stay(ctx, s)
		i = -1 // the own door first
	}
}

// stay remains bound until the session ends, or the own door is open again.
func (e *esme) stay(ctx context.Context, s *session) {
	e.set(s)
	home := time.NewTicker(esmeHome)
	defer home.Stop()
	for {
		select {
		case <-s.Done():
			e.unset(s)
			return
		case <-ctx.Done():
			e.unset(s)
			leave(s)
			return
		case <-home.C:
			if s.door == e.doors[0] {
				continue
			}
			if own, err := e.bind(ctx, e.doors[0]); err == nil {
				e.set(own)
				left := s
				e.works.Go(func() { leave(left) })
				s = own
			}
		}
	}
}

// leave unbinds in order.
func leave(s *session) {
	ctx, cancel := context.WithTimeout(context.Background(), esmeUnbindTime)
	defer cancel()
	_ = s.Unbind(ctx)
}

func (e *esme) bind(ctx context.Context, door string) (*session, error) {
	s, err := smpp.Dial(ctx, smpp.DialConfig{
		Config: smpp.Config{Handler: smpp.HandlerFunc(e.handle), Window: esmeWindow, Inbound: esmeWindow,
			EnquireLink: esmeEnquire, EnquireTimeout: esmeSilence, ResponseTimeout: esmeAnswer},
		Address: e.address(door),
		Bind:    smpp.Bind{Mode: smpp.ModeTransceiver, SystemID: e.systemID, Password: e.account.Password, InterfaceVersion: smpp.Version34},
		Timeout: esmeBind,
	})
	if err != nil {
		return nil, err
	}
	return &session{s, door}, nil
}

func (e *esme) set(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.current = s
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *esme) unset(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == s {
		e.current = nil
	}
}

// now is the session that it has; nil: it is not bound.
func (e *esme) now() *session {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current != nil {
		select {
		case <-e.current.Done():
			return nil
		default:
		}
	}
	return e.current
}

// bound waits until it is bound.
func (e *esme) bound(ctx context.Context) (*session, error) {
	for {
		e.mu.Lock()
		changed := e.changed
		e.mu.Unlock()
		if s := e.now(); s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// handle takes what the gateway delivers.
func (e *esme) handle(r *smpp.Request) {
	m, ok := r.Body.(*smpp.DeliverSM)
	if !ok {
		_ = r.Respond(smpp.StatusInvCmdID, nil)
		return
	}
	receipt, ok := smpp.ReceiptOf(&m.Message, string(m.ShortMessage))
	if load := e.customer.load.Load(); ok && load != nil {
		// A receipt goes from the recipient of the message to its sender.
		id, err := message.ParseID(receipt.ID)
		if err != nil {
			load.ledger.stray("a receipt for %q, which no message was called", receipt.ID)
		} else {
			final := receipt.State != message.ReceiptEnroute && receipt.State != message.ReceiptAccepted
			load.ledger.Receipt("+"+strings.TrimPrefix(m.Source.Text, "+"), id, receipt.Stat, final)
		}
	}
	_ = r.Respond(smpp.StatusOK, nil)
}

// strangeSequence is the sequence_number of an unbind that our own session knows
// nothing of.
const strangeSequence = 0x7FFFFFF0

// unbindAtOnce sends unbind although submits are unanswered, as ESMEs do that are being
// stopped. The session ends when the SMSC has answered and closed.
func (s *session) unbindAtOnce() error {
	frame, err := smpp.Append(nil, smpp.StatusOK, strangeSequence, &smpp.Unbind{})
	if err != nil {
		return err
	}
	if _, err := s.Conn().Write(frame); err != nil && !errors.Is(err, context.Canceled) {
		s.Close() // it has ended meanwhile, which is as good
	}
	return nil
}

// die ends the connection as the end of its process does.
func (s *session) die() error {
	_ = s.Conn().Close()
	return nil
}
