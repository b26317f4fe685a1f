package smpp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/linxGnu/gosmpp"
	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"github.com/postrider/postrider/internal/message"
)

// foreignWindow is the largest that gosmpp can count to.
const foreignWindow = 255

// foreign is a peer that is not ours: gosmpp's client with its window. It
// counts what it is told.
//
// The client enters a request into its window after writing it. An answer that
// comes in between is called unexpected, and its place in the window is free
// again only when the request expires.
type foreign struct {
	t       testing.TB
	session *gosmpp.Session
	room    chan struct{} // one element for each free place in the client's window

	mu       sync.Mutex
	changed  sync.Cond
	ids      map[int32]string // message ids by sequence number
	again    []pdu.PDU        // for which the window had no room
	receipts map[string]int   // by message id
	texts    []string         // of inbound messages
	odd      []string         // what should not have come
	leaving  bool             // we are about to unbind it
	closed   []gosmpp.State
}

// dialForeign binds gosmpp's client; config nil: without TLS.
func dialForeign(t testing.TB, address string, config *tls.Config) *foreign {
	t.Helper()
	f := &foreign{t: t, room: make(chan struct{}, foreignWindow), ids: map[int32]string{}, receipts: map[string]int{}}
	f.changed.L = &f.mu
	for range foreignWindow {
		f.room <- struct{}{}
	}
	dial := gosmpp.NonTLSDialer
	if config != nil {
		dial = func(addr string) (net.Conn, error) { return tls.Dial("tcp", addr, config) }
	}
	var err error
	f.session, err = gosmpp.NewSession(
		gosmpp.TRXConnector(dial, gosmpp.Auth{SMSC: address, SystemID: "acme", Password: serverPassword}),
		gosmpp.Settings{
			ReadTimeout: time.Minute, WriteTimeout: time.Minute, EnquireLink: 20 * time.Millisecond,
			OnSubmitError:    f.notSubmitted,
			OnReceivingError: f.notReceived,
			OnClosed: func(s gosmpp.State) {
				f.tell(func() { f.closed = append(f.closed, s) })
			},
			WindowedRequestTracking: &gosmpp.WindowedRequestTracking{
				OnReceivedPduRequest:    f.request,
				OnExpectedPduResponse:   func(r gosmpp.Response) { f.answer(r.PDU); f.free(r.PDU) },
				OnUnexpectedPduResponse: f.answer,
				OnExpiredPduRequest:     func(p pdu.PDU) bool { f.free(p.GetResponse()); return false },
				PduExpireTimeOut:        2 * time.Second, ExpireCheckTimer: 100 * time.Millisecond,
				MaxWindowSize: foreignWindow, EnableAutoRespond: true,
				StoreAccessTimeOut: 5000, // multiplied by a millisecond again
			},
		}, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.session.Close() })
	return f
}

// tell changes what is known.
func (f *foreign) tell(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
	f.changed.Broadcast()
}

func (f *foreign) strange(format string, args ...any) {
	f.tell(func() { f.odd = append(f.odd, fmt.Sprintf(format, args...)) })
}

// notReceived is told of the end of the stream. We close it once unbind is
// answered; the client waits 50 ms for that.
func (f *foreign) notReceived(err error) {
	f.tell(func() {
		if !f.leaving || !errors.Is(err, io.EOF) {
			f.odd = append(f.odd, fmt.Sprintf("receiving: %v", err))
		}
	})
}

// await waits until ok, which runs under the lock; it fails on what is odd.
func (f *foreign) await(ok func() bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !ok() && len(f.odd) == 0 {
		f.changed.Wait()
	}
	for _, odd := range f.odd {
		f.t.Error(odd)
	}
	if len(f.odd) > 0 {
		f.t.FailNow()
	}
}

// free gives a place in the window back.
func (f *foreign) free(response pdu.PDU) {
	if _, ok := response.(*pdu.SubmitSMResp); ok {
		f.room <- struct{}{}
	}
}

// notSubmitted is told of a PDU that was not written: enquire_link takes places
// in the window too.
func (f *foreign) notSubmitted(p pdu.PDU, err error) {
	_, submit := p.(*pdu.SubmitSM)
	f.mu.Lock()
	leaving := f.leaving
	f.mu.Unlock()
	switch {
	case leaving && !submit: // an enquire_link that met the end
	case !errors.Is(err, gosmpp.ErrWindowsFull):
		f.strange("submitting: %v", err)
	case submit:
		f.tell(func() { f.again = append(f.again, p) })
		f.room <- struct{}{}
	}
}

func (f *foreign) answer(p pdu.PDU) {
	resp, ok := p.(*pdu.SubmitSMResp)
	switch {
	case !ok: // of an enquire_link
	case resp.CommandStatus != data.ESME_ROK:
		f.strange("a submit was answered %v", resp.CommandStatus)
	default:
		f.tell(func() {
			if first := f.ids[resp.SequenceNumber]; first != "" {
				f.odd = append(f.odd, "a second answer to one submit")
			}
			f.ids[resp.SequenceNumber] = resp.MessageID
		})
	}
}

func (f *foreign) request(p pdu.PDU) (pdu.PDU, bool) {
	m, ok := p.(*pdu.DeliverSM)
	if !ok {
		f.strange("got a %T", p)
		return p.GetResponse(), false
	}
	text, err := m.Message.GetMessage()
	if err != nil {
		f.strange("the text of a deliver_sm: %v", err)
	}
	id := m.OptionalParameters[pdu.TagReceiptedMessageID]
	f.tell(func() {
		switch {
		case m.EsmClass == 0:
			f.texts = append(f.texts, text)
		case m.EsmClass != 4 || !strings.HasPrefix(text, "id:"+id.String()+" ") || !strings.Contains(text, " stat:DELIVRD "):
			f.odd = append(f.odd, fmt.Sprintf("esm_class %d: %q", m.EsmClass, text))
		default:
			f.receipts[id.String()]++
		}
	})
	return p.GetResponse(), false
}

// submit keeps the window full until n messages have been answered.
func (f *foreign) submit(n int) {
	f.t.Helper()
	send := func(p pdu.PDU) {
		<-f.room
		if err := f.session.Transceiver().Submit(p); err != nil {
			f.strange("submit: %v", err)
		}
	}
	for i := range n {
		p := pdu.NewSubmitSM().(*pdu.SubmitSM)
		p.SourceAddr, p.DestAddr = foreignAddress("12025550143"), foreignAddress(fmt.Sprintf("1310555%04d", i%10000))
		p.RegisteredDelivery = 1
		if err := p.Message.SetMessageWithEncoding(fmt.Sprintf("message %d", i), data.GSM7BIT); err != nil {
			f.t.Fatal(err)
		}
		send(p)
	}
	for done := false; !done; {
		var again []pdu.PDU
		f.await(func() bool {
			again, f.again = f.again, nil
			done = len(f.ids) == n
			return done || len(again) > 0
		})
		for _, p := range again {
			send(p)
		}
	}
}

func foreignAddress(digits string) pdu.Address {
	a := pdu.NewAddressWithTonNpi(1, 1)
	if err := a.SetAddress(digits); err != nil {
		panic(err)
	}
	return a
}

// TestGosmppClient is traffic in both directions with gosmpp's client, its
// window and ours at 255.
func TestGosmppClient(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			const n, inbound = 2000, 100
			w := newCrowd(t, "acme")
			w.credential("acme").Window = foreignWindow
			var config *tls.Config
			if secure {
				ca := newServerCA(t)
				w.TLS, config = &tls.Config{GetCertificate: ca.files(t).GetCertificate}, ca.client()
			}
			full := w.holdUntil(foreignWindow)
			address := w.listen()
			f := dialForeign(t, address, config)

			c := w.credential("acme")
			for i := range inbound {
				w.owe(deliverInbound(c, message.Address(fmt.Sprintf("+1310556%04d", i)), fmt.Sprintf("inbound %d", i)))
			}
			f.submit(n)
			if most := full(); most != foreignWindow {
				t.Errorf("%d submits were unanswered at once, want %d", most, foreignWindow)
			}
			f.await(func() bool { return len(f.receipts) >= n && len(f.texts) >= inbound })
			w.journal.deliveries.done() // acknowledged, each once
			f.mu.Lock()
			distinct := map[string]bool{}
			for _, id := range f.ids {
				distinct[id] = true
				if f.receipts[id] != 1 {
					t.Errorf("%d receipts of %s", f.receipts[id], id)
				}
			}
			if len(distinct) != n || len(f.receipts) != n || len(f.texts) != inbound || len(w.store.taken()) != n {
				t.Errorf("%d ids, %d receipts, %d inbound messages, %d stored; want %d and %d", len(distinct), len(f.receipts), len(f.texts), len(w.store.taken()), n, inbound)
			}
			f.mu.Unlock()

			if secure { // we leave first
				f.tell(func() { f.leaving = true })
				if err := w.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				f.await(func() bool { return len(f.closed) > 0 })
				w.events.await("smpp.unbind known acme 127.0.0.1: shutting down", 1)
				return
			}
			// The client sends unbind and closes without waiting for the answer, at
			// times twice: its error tells nothing.
			_ = f.session.Close()
			w.events.await("row out", 1)
		})
	}
}

// holdUntil keeps messages from being committed until so many wait, and then no
// longer. It gives a function that tells how many have waited at most.
func (w *crowd) holdUntil(n int) (most func() int) {
	var mu sync.Mutex
	now, peak := 0, 0
	full := make(chan struct{})
	w.store.down = func(message.Acceptance) error {
		mu.Lock()
		now++
		if peak = max(peak, now); now == n {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		mu.Unlock()
		<-full
		mu.Lock()
		now--
		mu.Unlock()
		return nil
	}
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return peak
	}
}
