// Package vendortest holds a vendor that does as it is told: an SMSC on a real
// socket, whose answers to each submit are decided by a function. Tests of the
// SMPP link use it, and the simulator is made of it.
//
// It keeps no promises of its own: what it was given is in memory and is
// counted, nothing more.
package vendortest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// Submit is a submit_sm as it came.
type Submit struct {
	Number  int // from 1, over all sessions
	ID      string
	PDU     *smpp.SubmitSM
	Session *smpp.Session
	At      time.Time
}

// Answer is what the SMSC does with a submit. The zero Answer accepts it.
type Answer struct {
	Status     smpp.Status
	Nack       bool            // answer with a generic_nack of the Status
	Delay      time.Duration   // before anything is done
	Hold       <-chan struct{} // nothing is done before it is closed; nil: at once
	Silence    bool            // no answer at all
	Disconnect bool            // close the connection instead of answering
	ID         string          // overrides the Submit's
	Before     []smpp.PDU      // sent to the submitter, and answered, before the submit_sm_resp
	After      []smpp.PDU      // sent to any receiver after it, in order
	Leaving    func()          // called right before the answer; may be nil
}

// Config is an SMSC. The zero Config takes any bind and any submit.
type Config struct {
	// SystemID and Password must be those of a bind; both empty: any.
	SystemID, Password string
	// OnBind decides a bind instead, when it is not nil.
	OnBind func(b *smpp.Bind) smpp.Decision
	// OnSubmit decides a submit; nil: accepted. It is called from several
	// goroutines.
	OnSubmit func(s Submit) Answer
	// OnDelivered is told how the ESME answered what the SMSC sent it; it may be
	// nil.
	OnDelivered func(p smpp.PDU, err error)
	// NewID names the n-th submit; nil: its number in eight hex digits.
	NewID func(n int) string
	// Session holds timers and windows; its Handler is not used. Inbound 0: 100.
	Session smpp.Config
	TLS     *tls.Config // nil: none
	Log     *slog.Logger
}

// SMSC is a listening SMSC. It is safe for concurrent use.
type SMSC struct {
	cfg   Config
	ln    net.Listener
	ctx   context.Context
	stop  context.CancelFunc
	loops sync.WaitGroup

	mu       sync.Mutex
	sessions map[*smpp.Session]bool // true: bound
	binds    int                    // accepted so far
	submits  []Submit
	changed  chan struct{} // closed and replaced at each change
	next     int           // picks the receiver of the next deliver_sm
	closed   bool
}

// Listen starts an SMSC on address; empty is a free port of the loopback. Close
// ends it.
func Listen(address string, cfg Config) (*SMSC, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return Serve(ln, cfg), nil
}

// Serve runs an SMSC on a listener, which it owns from now on.
func Serve(ln net.Listener, cfg Config) *SMSC {
	if cfg.TLS != nil {
		ln = tls.NewListener(ln, cfg.TLS)
	}
	if cfg.NewID == nil {
		cfg.NewID = func(n int) string { return fmt.Sprintf("%08X", n) }
	}
	if cfg.Session.Inbound == 0 {
		cfg.Session.Inbound = 100
	}
	if cfg.Session.Log == nil {
		cfg.Session.Log = cfg.Log
	}
	s := &SMSC{cfg: cfg, ln: ln, sessions: make(map[*smpp.Session]bool), changed: make(chan struct{})}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.cfg.Session.Handler = smpp.HandlerFunc(s.handle)
	s.loops.Go(s.accept)
	return s
}

// Addr is where it listens.
func (s *SMSC) Addr() net.Addr { return s.ln.Addr() }

// Close ends every session without unbind, and the listener, and waits.
func (s *SMSC) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	_ = s.ln.Close()
	s.Disconnect()
	s.loops.Wait()
}

// Disconnect closes every connection at once; new ones are welcome.
func (s *SMSC) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for session := range s.sessions {
		session.Close()
	}
}

func (s *SMSC) accept() {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.attend(conn)
	}
}

// attend runs the session of a connection.
func (s *SMSC) attend(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return
	}
	session := smpp.NewServerSession(conn, smpp.ServerConfig{
		Config: s.cfg.Session, SystemID: "smsc",
		Bind: func(_ context.Context, _ *smpp.Session, b *smpp.Bind) smpp.Decision { return s.bind(b) },
		Bound: func(session *smpp.Session) {
			s.change(func() {
				s.binds++
				s.sessions[session] = true
			})
		},
	})
	if _, bound := s.sessions[session]; !bound {
		s.sessions[session] = false
	}
	s.loops.Go(func() {
		session.Wait()
		s.change(func() { delete(s.sessions, session) })
	})
}

// Call connects to an ESME, asks by an outbind to be bound to, and attends the
// connection like one that was made to it.
func (s *SMSC) Call(ctx context.Context, address, systemID, password string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	frame, err := smpp.Append(nil, smpp.StatusOK, 1, &smpp.Outbind{SystemID: systemID, Password: password})
	if err == nil {
		_, err = conn.Write(frame)
	}
	if err != nil {
		_ = conn.Close()
		return err
	}
	s.attend(conn)
	return nil
}

func (s *SMSC) bind(b *smpp.Bind) smpp.Decision {
	switch {
	case s.cfg.OnBind != nil:
		return s.cfg.OnBind(b)
	case s.cfg.SystemID == "" && s.cfg.Password == "":
		return smpp.Decision{}
	case b.SystemID != s.cfg.SystemID:
		return smpp.Decision{Status: smpp.StatusInvSystemID}
	case b.Password != s.cfg.Password:
		return smpp.Decision{Status: smpp.StatusInvPassword}
	}
	return smpp.Decision{}
}

// handle takes what an ESME sends. Queries and the like are not supported.
func (s *SMSC) handle(r *smpp.Request) {
	pdu, ok := r.Body.(*smpp.SubmitSM)
	if !ok {
		_ = r.Respond(smpp.StatusInvCmdID, nil)
		return
	}
	var sub Submit
	s.change(func() {
		n := len(s.submits) + 1
		sub = Submit{Number: n, ID: s.cfg.NewID(n), PDU: pdu, Session: r.Session(), At: time.Now()}
		s.submits = append(s.submits, sub)
	})
	var a Answer
	if s.cfg.OnSubmit != nil {
		a = s.cfg.OnSubmit(sub)
	}
	if a.ID == "" {
		a.ID = sub.ID
	}
	if a.Delay == 0 && a.Hold == nil && len(a.Before) == 0 && len(a.After) == 0 {
		s.answer(r, a)
		return
	}
	r.Go(func() { s.play(r, sub, a) })
}

// play does what takes time, beside the reader.
func (s *SMSC) play(r *smpp.Request, sub Submit, a Answer) {
	if a.Delay > 0 {
		t := time.NewTimer(a.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
	}
	if a.Hold != nil {
		select {
		case <-a.Hold:
		case <-r.Context().Done():
			return
		}
	}
	for _, p := range a.Before {
		_, err := sub.Session.Request(s.ctx, p)
		s.delivered(p, err)
	}
	s.answer(r, a)
	for _, p := range a.After {
		_ = s.Deliver(s.ctx, p)
	}
}

func (s *SMSC) answer(r *smpp.Request, a Answer) {
	if a.Leaving != nil {
		a.Leaving()
	}
	switch {
	case a.Disconnect:
		r.Session().Close()
	case a.Silence:
		_ = r.Ignore()
	case a.Nack:
		_ = r.Respond(a.Status, &smpp.GenericNack{})
	default:
		_ = r.Respond(a.Status, &smpp.SubmitSMResp{MessageID: a.ID})
	}
}

func (s *SMSC) delivered(p smpp.PDU, err error) {
	if s.cfg.OnDelivered != nil {
		s.cfg.OnDelivered(p, err)
	}
}

// ErrNoReceiver means that nobody is bound to receive.
var ErrNoReceiver = errors.New("vendortest: nobody is bound to receive")

// Deliver sends a deliver_sm or data_sm to one of the receiving sessions, in
// turn, and waits for the answer.
func (s *SMSC) Deliver(ctx context.Context, p smpp.PDU) error {
	session := s.receiver()
	err := ErrNoReceiver
	if session != nil {
		_, err = session.Request(ctx, p)
	}
	s.delivered(p, err)
	return err
}

func (s *SMSC) receiver() *smpp.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*smpp.Session
	for session := range s.sessions { // an ESME may know of its bind before us
		if session.Mode().CanDeliver() && session.Err() == nil {
			all = append(all, session)
		}
	}
	if len(all) == 0 {
		return nil
	}
	s.next++
	return all[s.next%len(all)]
}

// change runs f under the lock and wakes who waits.
func (s *SMSC) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Submits lists what came, refused and unanswered ones among it.
func (s *SMSC) Submits() []Submit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Submit(nil), s.submits...)
}

// WaitSubmits waits until at least n submits came.
func (s *SMSC) WaitSubmits(ctx context.Context, n int) ([]Submit, error) {
	err := s.wait(ctx, func() bool { return len(s.submits) >= n })
	return s.Submits(), err
}

// WaitBinds waits until n binds were accepted, ended ones counted.
func (s *SMSC) WaitBinds(ctx context.Context, n int) error {
	return s.wait(ctx, func() bool { return s.binds >= n })
}

// Binds is how many binds were accepted, ended ones counted.
func (s *SMSC) Binds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.binds
}

// Bound is how many sessions are bound now.
func (s *SMSC) Bound() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.boundLocked()
}

func (s *SMSC) boundLocked() int {
	n := 0
	for _, bound := range s.sessions {
		if bound {
			n++
		}
	}
	return n
}

// WaitBound waits until exactly n sessions are bound.
func (s *SMSC) WaitBound(ctx context.Context, n int) error {
	return s.wait(ctx, func() bool { return s.boundLocked() == n })
}

// WaitGone waits until no session is left.
func (s *SMSC) WaitGone(ctx context.Context) error {
	return s.wait(ctx, func() bool { return len(s.sessions) == 0 })
}

func (s *SMSC) wait(ctx context.Context, ok func() bool) error {
	for {
		s.mu.Lock()
		done, changed := ok(), s.changed
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Receipt is the usual receipt for a submit, sent back the way it came. errCode
// empty is 000.
func Receipt(s Submit, state message.ReceiptState, errCode string) *smpp.DeliverSM {
	r := smpp.Receipt{ID: s.ID, Sub: 1, Submit: s.At, Done: time.Now(), State: state, Err: errCode}
	if state == message.ReceiptDelivered {
		r.Dlvrd = 1
	}
	d := &smpp.DeliverSM{Message: smpp.Message{
		Source: s.PDU.Dest, Dest: s.PDU.Source, ESMClass: smpp.ESMReceipt, ShortMessage: []byte(r.String()),
	}}
	r.AppendTLVs(&d.TLVs)
	return d
}
