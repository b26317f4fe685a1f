package smpp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/telemetry/logtest"
)

var _ vendors.Link = (*Link)(nil)

// sink keeps what a link hands up.
type sink struct {
	receipts chan message.Receipt
	inbound  chan message.InboundMessage
	mu       sync.Mutex
	fail     error
}

func newSink() *sink {
	return &sink{receipts: make(chan message.Receipt, 200), inbound: make(chan message.InboundMessage, 200)}
}

func (s *sink) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *sink) failing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail
}

func (s *sink) receipt(_ context.Context, r message.Receipt) error {
	if err := s.failing(); err != nil {
		return err
	}
	s.receipts <- r
	return nil
}

func (s *sink) message(_ context.Context, m message.InboundMessage) error {
	if err := s.failing(); err != nil {
		return err
	}
	s.inbound <- m
	return nil
}

// pipes is a listener in memory: with it, synctest's clock rules both ends.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case p.conns <- b:
		return a, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func row() snapshot.Vendor {
	return snapshot.Vendor{
		ID: message.NewID(), Name: "acme", Host: "127.0.0.1", Username: "gw", Password: "s3cret", BindType: "transceiver",
	}
}

// stage is a link and its vendor.
type stage struct {
	t    testing.TB
	smsc *vendortest.SMSC
	link *Link
	sink *sink
	log  *logtest.Log
}

// play starts an SMSC and a link to it over a real socket; edit changes the
// vendor's row.
func play(t testing.TB, cfg vendortest.Config, edit func(*Config)) *stage {
	t.Helper()
	smsc, err := vendortest.Listen("", cfg)
	if err != nil {
		t.Fatal(err)
	}
	addr := smsc.Addr().(*net.TCPAddr)
	return join(t, smsc, func(c *Config) {
		c.Vendor.Port = addr.Port
		if edit != nil {
			edit(c)
		}
	})
}

// playInMemory is play for use in a synctest bubble.
func playInMemory(t testing.TB, cfg vendortest.Config, edit func(*Config)) *stage {
	t.Helper()
	ln := newPipes()
	return join(t, vendortest.Serve(ln, cfg), func(c *Config) {
		c.DialContext = ln.dial
		if edit != nil {
			edit(c)
		}
	})
}

func join(t testing.TB, smsc *vendortest.SMSC, edit func(*Config)) *stage {
	t.Helper()
	st := &stage{t: t, smsc: smsc, sink: newSink(), log: &logtest.Log{}}
	t.Cleanup(smsc.Close)
	cfg := Config{Vendor: row(), OnReceipt: st.sink.receipt, OnInbound: st.sink.message, Log: slog.New(st.log)}
	edit(&cfg)
	link, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	st.link = link
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		link.Stop(ctx)
	})
	link.SetShare(vendors.Share{Binds: max(1, cfg.Vendor.MaxBinds), Rate: float64(cfg.Vendor.Throughput)})
	link.Start(context.Background())
	return st
}

func (st *stage) ready() {
	st.t.Helper()
	if err := st.link.WaitReady(context.Background()); err != nil {
		st.t.Fatal(err)
	}
}

// bound waits until the link knows of n binds.
func (st *stage) bound(n int) {
	st.t.Helper()
	for {
		st.link.mu.Lock()
		live, wait := len(st.link.binds), st.link.waitLocked()
		st.link.mu.Unlock()
		if live == n {
			return
		}
		if err := wait(context.Background()); err != nil {
			st.t.Fatal(err)
		}
	}
}

func part(text string) message.Submission {
	return message.Submission{
		MessageID: message.NewID(), Part: 1, Parts: 1, Attempt: 1, From: "+12025550143", To: "+13105550117",
		Encoding: message.EncodingGSM7, Text: text,
	}
}

func (st *stage) submit(text string) (message.SubmitResult, *message.SubmitError) {
	return st.submitPart(context.Background(), part(text))
}

func (st *stage) submitPart(ctx context.Context, s message.Submission) (message.SubmitResult, *message.SubmitError) {
	st.t.Helper()
	r, err := st.link.Submit(ctx, s)
	if err == nil {
		return r, nil
	}
	var no *message.SubmitError
	if !errors.As(err, &no) {
		st.t.Fatalf("a foreign error: %v", err)
	}
	if !no.Reason.Known() {
		st.t.Errorf("unknown reason in %v", no)
	}
	return r, no
}

// verdict is what the journal must know of a failed submit.
type verdict struct {
	reason              message.Reason
	wire, ambiguous, re bool
	after               time.Duration
}

func verdictOf(e *message.SubmitError) verdict {
	if e == nil {
		return verdict{}
	}
	return verdict{e.Reason, e.OnWire(), e.Ambiguous(), e.Retryable(), e.RetryAfter()}
}

func answerWith(a vendortest.Answer) func(vendortest.Submit) vendortest.Answer {
	return func(vendortest.Submit) vendortest.Answer { return a }
}

func deliver(text string, esm byte, tlvs smpp.TLVs) *smpp.DeliverSM {
	return &smpp.DeliverSM{Message: smpp.Message{
		Source: smpp.Address{TON: 1, NPI: 1, Text: "13105550117"}, Dest: smpp.Address{TON: 1, NPI: 1, Text: "12025550143"},
		ESMClass: esm, ShortMessage: []byte(text), TLVs: tlvs,
	}}
}
