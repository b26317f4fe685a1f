package loop_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/loop"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	to   message.Address = "+12025550143"
	from message.Address = "+12025550150"
)

// inbox takes what comes out of the loop.
type inbox struct {
	mu      sync.Mutex
	log     []string
	came    []message.InboundMessage
	receipt []message.Receipt
	fail    map[string]error // of "inbound" and "receipt"
	hold    chan struct{}    // inbound messages wait for it; nil: they do not
}

func (b *inbox) do(what string, f func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, what)
	if err := b.fail[what]; err != nil {
		return err
	}
	f()
	return nil
}

func (b *inbox) inbound(_ context.Context, m message.InboundMessage) error {
	if b.hold != nil {
		<-b.hold
	}
	return b.do("inbound", func() { b.came = append(b.came, m) })
}

func (b *inbox) receipts(_ context.Context, r message.Receipt) error {
	return b.do("receipt", func() { b.receipt = append(b.receipt, r) })
}

func (b *inbox) link(t *testing.T) *loop.Link {
	t.Helper()
	l, err := loop.New(loop.Config{Vendor: snapshot.Vendor{ID: message.InternalVendor}, OnInbound: b.inbound, OnReceipt: b.receipts,
		Enabled: func(n message.Address, k message.Kind) bool { return n == to && k == message.SMS }})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (b *inbox) open(t *testing.T) *loop.Link {
	t.Helper()
	l := b.link(t)
	l.Start(t.Context())
	l.SetShare(vendors.Share{Binds: 1})
	return l
}

func submission(text string) message.Submission {
	return message.Submission{MessageID: message.NewID(), Part: 1, Parts: 3, Attempt: 1, Whole: true, From: from, To: to, Text: text, Encoding: message.EncodingGSM7,
		ExpiresAt: time.Now().Add(time.Hour)}
}

var _ vendors.Link = (*loop.Link)(nil)

func TestSubmitComesIn(t *testing.T) {
	t.Parallel()
	b := &inbox{}
	l := b.open(t)
	s := submission(strings.Repeat("long ", 60))
	got, err := l.Submit(t.Context(), s)
	if err != nil || !l.Whole() {
		t.Fatal(err)
	}
	if fmt.Sprint(b.log) != "[inbound receipt]" {
		t.Errorf("in this order: %v", b.log)
	}
	m, r := b.came[0], b.receipt[0]
	if m.VendorID != message.InternalVendor || m.VendorRef != message.Hex32(s.MessageID) || m.From != from.Digits() || m.To != to.Digits() || m.FromTON != 1 || m.ToTON != 1 ||
		m.Text != s.Text || m.Encoding != message.EncodingGSM7 || !m.Whole() || m.Kind != message.SMS || m.ReceivedAt.IsZero() {
		t.Errorf("%+v", m)
	}
	if r.VendorID != message.InternalVendor || r.State != message.ReceiptDelivered || r.Attempt != s.Ref() || r.VendorMessageID != got.NormalizedID || r.ID == (message.ID{}) {
		t.Errorf("%+v beside %+v", r, got)
	}
	binary := submission("\x01\x02")
	binary.Encoding, binary.DataCoding, binary.Header = message.EncodingBinary, 4, []byte{5, 4, 1, 2, 3, 4}
	if _, err := l.Submit(t.Context(), binary); err != nil {
		t.Fatal(err)
	}
	if m := b.came[1]; string(m.Raw) != binary.Text || m.Text != "" || m.DataCoding != 4 || len(m.Header) != 6 || m.Encoding != message.EncodingBinary {
		t.Errorf("%+v", m)
	}
	named := submission("hi")
	named.From = "ACME"
	if _, err := l.Submit(t.Context(), named); err != nil || b.came[2].From != "ACME" || b.came[2].FromTON != 5 {
		t.Errorf("%v, %+v", err, b.came[2])
	}
}

func refusal(t *testing.T, err error) *message.SubmitError {
	t.Helper()
	var no *message.SubmitError
	if !errors.As(err, &no) {
		t.Fatalf("%v is no refusal", err)
	}
	return no
}

// What fails is said truthfully: a number that takes nothing for good, all else may come
// again, and when it does the receipt follows.
func TestSubmitFails(t *testing.T) {
	t.Parallel()
	b := &inbox{fail: map[string]error{}}
	l := b.open(t)
	strange := submission("x")
	strange.To = "+12025550199"
	if _, err := l.Submit(t.Context(), strange); refusal(t, err).Reason != message.ReasonUnknownSubscriber || refusal(t, err).Again || refusal(t, err).Ambiguous() {
		t.Errorf("a number of nobody's: %v", err)
	}
	mms := submission("x")
	mms.Media = []message.MediaLink{{URL: "https://gw.example/m", ContentType: "image/png", Size: 7}}
	if _, err := l.Submit(t.Context(), mms); refusal(t, err).Reason != message.ReasonUnknownSubscriber {
		t.Errorf("a number without MMS: %v", err)
	}
	old := submission("x")
	old.ExpiresAt = time.Now().Add(-time.Second)
	if _, err := l.Submit(t.Context(), old); refusal(t, err).Reason != message.ReasonExpired {
		t.Errorf("an old one: %v", err)
	}
	stopped := submission("x")
	gone := &message.SubmitError{Reason: message.ReasonCanceled}
	stopped.Still = func() error { return gone }
	if _, err := l.Submit(t.Context(), stopped); !errors.Is(err, gone) {
		t.Errorf("one that may not go: %v", err)
	}
	if len(b.log) != 0 {
		t.Errorf("%v", b.log)
	}
	s := submission("x")
	for _, what := range []string{"inbound", "receipt"} {
		b.fail[what] = errors.New("the journal is away")
		_, err := l.Submit(t.Context(), s)
		if no := refusal(t, err); !no.Again || no.Ambiguous() || !errors.Is(err, b.fail[what]) {
			t.Errorf("without %s: %v", what, err)
		}
		delete(b.fail, what)
	}
	if _, err := l.Submit(t.Context(), s); err != nil || len(b.receipt) != 1 || b.came[0].VendorRef != b.came[1].VendorRef {
		t.Errorf("again: %v, %v", err, b.log)
	}
	if st := l.Status(); st.LastError != string(message.ReasonVendorUnreachable) || st.InFlight != 0 {
		t.Errorf("%+v", st)
	}
}

func TestShareAndStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &inbox{hold: make(chan struct{})}
		l := b.link(t)
		if _, err := l.Submit(t.Context(), submission("x")); !refusal(t, err).Again || l.Room() != 0 || l.Status().Bind != "disconnected" {
			t.Errorf("not started: %v", err)
		}
		l.Start(t.Context())
		if _, err := l.Submit(t.Context(), submission("x")); !refusal(t, err).Again || l.Room() != 0 {
			t.Errorf("without a share: %v", err)
		}
		var ready, submits sync.WaitGroup
		ready.Go(func() {
			if err := l.WaitReady(t.Context()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		l.SetShare(vendors.Share{Binds: 1})
		ready.Wait()
		if st := l.Status(); st.Bind != "connected" || st.Binds != 1 {
			t.Errorf("%+v", st)
		}
		room := l.Room()
		for range room + 5 {
			submits.Go(func() {
				if _, err := l.Submit(t.Context(), submission("x")); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if l.Room() != 0 || l.Status().InFlight != room {
			t.Errorf("room %d, %+v", l.Room(), l.Status())
		}
		for range room + 5 {
			b.hold <- struct{}{}
		}
		submits.Wait()
		// One is on its way when the link stops: it is waited for, and no other is taken.
		submits.Go(func() {
			if _, err := l.Submit(t.Context(), submission("last")); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		submits.Go(func() { l.Stop(t.Context()) })
		synctest.Wait()
		if _, err := l.Submit(t.Context(), submission("x")); !refusal(t, err).Again {
			t.Errorf("stopping: %v", err)
		}
		close(b.hold)
		submits.Wait()
		if n := len(b.receipt); n != room+6 || l.Room() != 0 {
			t.Errorf("%d of %d", n, room+6)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.WaitReady(ctx); err == nil {
			t.Error("a stopped link is ready")
		}
		l.Stop(t.Context())
	})
}

func TestRateIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &inbox{}
		l := b.open(t)
		l.SetShare(vendors.Share{Binds: 1, Rate: 10})
		began := time.Now()
		for range 21 {
			if _, err := l.Submit(t.Context(), submission("x")); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 2*time.Second || took > 2100*time.Millisecond {
			t.Errorf("21 at 10 a second took %s", took)
		}
		if st := l.Status(); st.Throughput != 2.1 || st.Share.Rate != 10 {
			t.Errorf("%+v", st)
		}
	})
}
