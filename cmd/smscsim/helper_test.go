package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/text"
)

// patience ends a test that waits for what does not come.
const patience = 30 * time.Second

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func testOptions() options {
	o := options{
		Listen: "127.0.0.1:0", HTTP: "127.0.0.1:0", LogLevel: "error", MaxDestinations: 1 << 20,
		ResponseTimeout: duration(patience), Config: defaultConfig(),
	}
	o.Config.ReceiptDelay = 0
	o.Config.ReceiptRetry = duration(time.Millisecond)
	return o
}

// simulate runs a simulator that answers and reports at once, but for what edit
// changes.
func simulate(t testing.TB, edit func(o *options)) *simulator {
	t.Helper()
	o := testOptions()
	if edit != nil {
		edit(&o)
	}
	s, err := start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

// configured is a simulator with a changed behaviour.
func configured(t testing.TB, edit func(c *config)) *simulator {
	t.Helper()
	return simulate(t, func(o *options) { edit(&o.Config) })
}

// esme is a bound client.
type esme struct {
	t       testing.TB
	session *smpp.Session
	got     chan *smpp.DeliverSM // what came and was answered
}

// connect binds and answers each deliver_sm with ROK, or as answer says.
func connect(t testing.TB, address string, mode smpp.Mode, answer func(r *smpp.Request)) *esme {
	t.Helper()
	e := &esme{t: t, got: make(chan *smpp.DeliverSM, 1024)}
	if answer == nil {
		answer = func(r *smpp.Request) { _ = r.Respond(smpp.StatusOK, nil) }
	}
	session, err := smpp.Dial(within(t), smpp.DialConfig{
		Config: smpp.Config{Window: 1000, Inbound: 1000, Handler: smpp.HandlerFunc(func(r *smpp.Request) {
			answer(r)
			e.got <- r.Body.(*smpp.DeliverSM)
		})},
		Address: address, Bind: smpp.Bind{Mode: mode, SystemID: "acme", Password: "pw"},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.session = session
	t.Cleanup(func() { session.Close(); session.Wait() })
	return e
}

func dial(t testing.TB, s *simulator) *esme {
	t.Helper()
	return connect(t, s.ready().SMPP, smpp.ModeTransceiver, nil)
}

// sms is a whole GSM message that asks for a receipt.
func sms(destination, words string) *smpp.SubmitSM {
	m := &smpp.SubmitSM{Message: smpp.Message{
		Source: smpp.Address{TON: 1, NPI: 1, Text: "15550001000"},
		Dest:   smpp.Address{TON: 1, NPI: 1, Text: destination}, RegisteredDelivery: 1,
	}}
	b, err := text.EncodeGSM7(words)
	if err != nil {
		panic(err)
	}
	m.ShortMessage = b
	return m
}

// cutSMS is a message in parts as long messages go out.
func cutSMS(t testing.TB, destination, words string, long smpp.LongMessage, ref uint16) []*smpp.SubmitSM {
	t.Helper()
	layout, err := text.Plan(words, message.EncodingAuto, false)
	if err != nil {
		t.Fatal(err)
	}
	parts := layout.Parts
	if long == smpp.LongPayload {
		parts = []string{words}
	}
	var out []*smpp.SubmitSM
	for i, part := range parts {
		m := sms(destination, "")
		err := m.SetText(smpp.Outgoing{
			Text: part, Encoding: layout.Encoding, Long: long, Ref: ref, Part: i + 1, Parts: len(parts),
		})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// submit sends and gives the id.
func (e *esme) submit(m *smpp.SubmitSM) string {
	e.t.Helper()
	resp, err := e.session.Submit(within(e.t), m)
	if err != nil {
		e.t.Fatal(err)
	}
	return resp.MessageID
}

// refused sends and wants the refusal.
func (e *esme) refused(m *smpp.SubmitSM, want smpp.Status) {
	e.t.Helper()
	_, err := e.session.Submit(within(e.t), m)
	refusal, ok := err.(*smpp.StatusError)
	if !ok || refusal.Status != want {
		e.t.Errorf("submit answered %v, want %v", err, want)
	}
}

// settle returns when the simulator has read everything that the client said
// before: answers are read in order, and this one changes nothing.
func (e *esme) settle() {
	e.t.Helper()
	e.refused(sms("", "x"), smpp.StatusInvDest)
}

func (e *esme) receive() *smpp.DeliverSM {
	e.t.Helper()
	select {
	case m := <-e.got:
		return m
	case <-within(e.t).Done():
		e.t.Fatal("nothing was delivered")
		return nil
	}
}

func (e *esme) receipt() smpp.Receipt {
	e.t.Helper()
	m := e.receive()
	r, ok := smpp.ReceiptOf(&m.Message, string(m.ShortMessage))
	if !ok {
		e.t.Fatalf("no receipt: %+v", m)
	}
	return r
}

// nothing fails when something was delivered up to now.
func (e *esme) nothing() {
	e.t.Helper()
	e.settle()
	select {
	case m := <-e.got:
		e.t.Errorf("delivered: %q", m.ShortMessage)
	default:
	}
}

func (s *simulator) seen() statsView { return s.stats.view(s.ledger.counts(), time.Now()) }

// call does an HTTP request and reads the answer into out, unless it is nil.
func call(t testing.TB, address, method, path, body string, want int, out any) http.Header {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), method, "http://"+address+path, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want {
		t.Fatalf("%s %s answered %d %s, want %d", method, path, resp.StatusCode, b, want)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, b)
		}
	}
	return resp.Header
}

func (s *simulator) call(t testing.TB, method, path, body string, want int, out any) http.Header {
	t.Helper()
	return call(t, s.ready().HTTP, method, path, body, want, out)
}
