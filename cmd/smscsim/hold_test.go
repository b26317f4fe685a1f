package main

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/text"
)

func TestReceiptsWaitForAReceiver(t *testing.T) {
	s := simulate(t, nil)
	tx := connect(t, s.ready().SMPP, smpp.ModeTransmitter, nil)
	var ids []string
	for range 20 {
		ids = append(ids, tx.submit(sms("15551230001", "x")))
	}
	tx.session.Close()
	if got := s.seen(); got.ReceiptsPending != 20 || got.ReceiptsSent != 0 {
		t.Errorf("stats %+v", got)
	}
	trx := dial(t, s)
	for _, id := range ids {
		if r := trx.receipt(); r.ID != id {
			t.Errorf("receipt %s, want %s", r.ID, id)
		}
	}
	trx.settle()
	if got := s.seen(); got.ReceiptsPending != 0 || got.ReceiptsAcked != 20 {
		t.Errorf("stats %+v", got)
	}
}

// A receipt that was sent and not answered goes to the next bind.
func TestReceiptsSurviveALostSession(t *testing.T) {
	s := configured(t, func(c *config) { c.ReceiptRetry = duration(time.Hour) })
	mute := connect(t, s.ready().SMPP, smpp.ModeTransceiver, func(*smpp.Request) {})
	sent := map[string]bool{}
	for range 20 {
		sent[mute.submit(sms("15551230001", "x"))] = true
	}
	for range 20 {
		mute.receive()
	}
	mute.session.Close()
	again := dial(t, s)
	for range 20 {
		r := again.receipt()
		if !sent[r.ID] {
			t.Errorf("receipt %s is unknown or came twice", r.ID)
		}
		delete(sent, r.ID)
	}
	again.nothing()
	if got := s.seen(); got.ReceiptsSent != 40 || got.ReceiptsRetried != 20 || got.ReceiptsAcked != 20 || got.ReceiptsPending != 0 {
		t.Errorf("stats %+v", got)
	}
}

// Another account's bind does not get them.
func TestReceiptsBelongToTheSystemID(t *testing.T) {
	s := simulate(t, nil)
	tx := connect(t, s.ready().SMPP, smpp.ModeTransmitter, nil)
	id := tx.submit(sms("15551230001", "x"))
	got := make(chan string, 1)
	other, err := smpp.Dial(within(t), smpp.DialConfig{
		Config:  smpp.Config{Handler: smpp.HandlerFunc(func(r *smpp.Request) { _ = r.Respond(0, nil); got <- "delivered" })},
		Address: s.ready().SMPP, Bind: smpp.Bind{Mode: smpp.ModeTransceiver, SystemID: "other"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close(); other.Wait() })
	if _, err := other.Submit(within(t), sms("", "x")); err == nil {
		t.Error("a submit without destination was taken")
	}
	if r := dial(t, s).receipt(); r.ID != id {
		t.Errorf("receipt %+v", r)
	}
	if len(got) > 0 {
		t.Error("another system_id got the receipt")
	}
}

func TestReceiptRetries(t *testing.T) {
	for _, row := range []struct {
		name   string
		status smpp.Status
		again  bool
	}{
		{"temporary", smpp.StatusTempAppError, true},
		{"system error", smpp.StatusSystemError, true},
		{"queue full", smpp.StatusMsgQueueFull, true},
		{"throttled", smpp.StatusThrottled, true},
		{"permanent", smpp.StatusPermAppError, false},
		{"rejected", smpp.StatusRejectAppError, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := simulate(t, nil)
			tries := 0 // touched on the session's reader alone
			e := connect(t, s.ready().SMPP, smpp.ModeTransceiver, func(r *smpp.Request) {
				tries++
				if tries == 1 {
					_ = r.Respond(row.status, nil)
					return
				}
				_ = r.Respond(smpp.StatusOK, nil)
			})
			id := e.submit(sms("15551230001", "x"))
			e.receive()
			if row.again {
				if r := e.receipt(); r.ID != id {
					t.Errorf("receipt %+v", r)
				}
			}
			e.nothing()
			got := s.seen()
			if row.again && (got.ReceiptsAcked != 1 || got.ReceiptsRetried != 1) || !row.again && (got.ReceiptsRefused != 1 || got.ReceiptsAcked != 0) {
				t.Errorf("stats %+v", got)
			}
			if got.ReceiptsPending != 0 {
				t.Errorf("%d receipts pend", got.ReceiptsPending)
			}
		})
	}
}

// An ESME that answers nothing gets the receipt again, on the same session.
func TestReceiptWithoutAnswer(t *testing.T) {
	s := simulate(t, func(o *options) { o.ResponseTimeout = duration(1) })
	e := connect(t, s.ready().SMPP, smpp.ModeTransceiver, func(*smpp.Request) {})
	id := e.submit(sms("15551230001", "x"))
	for range 3 {
		if r := e.receipt(); r.ID != id {
			t.Errorf("receipt %+v", r)
		}
	}
}

func TestReceiptCap(t *testing.T) {
	s := configured(t, func(c *config) { c.ReceiptCap = 3 })
	tx := connect(t, s.ready().SMPP, smpp.ModeTransmitter, nil)
	for range 5 {
		tx.submit(sms("15551230001", "x"))
	}
	if got := s.seen(); got.ReceiptsPending != 3 || got.ReceiptsDropped != 2 || got.Accepted != 5 {
		t.Errorf("stats %+v", got)
	}
	if _, err := s.inject(inbound{SystemID: "acme", From: "1", To: "2", Text: "x"}); err != errTooMuch {
		t.Errorf("inject: %v", err)
	}
}

func TestInbound(t *testing.T) {
	long := "An inbound message that is longer than one part: " +
		"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna aliqua."
	for _, row := range []struct {
		name, body string
		parts      int
		words      string
	}{
		{"gsm", `{"from":"+15550100007","to":"15550001000","text":"Hi [there]"}`, 1, "Hi [there]"},
		{"ucs2", `{"from":"15550100007","to":"15550001000","text":"Grüße 😀 你好"}`, 1, "Grüße 😀 你好"},
		{"asked ucs2", `{"from":"15550100007","to":"15550001000","text":"plain","encoding":"ucs2"}`, 1, "plain"},
		{"udh", `{"from":"15550100007","to":"15550001000","text":"` + long + `"}`, 2, long},
		{"sar", `{"from":"15550100007","to":"15550001000","text":"` + long + `","long":"sar"}`, 2, long},
		{"payload", `{"from":"15550100007","to":"15550001000","text":"` + long + `","long":"payload"}`, 1, long},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := simulate(t, nil)
			e := dial(t, s)
			e.settle() // the bind is answered a moment before it counts as a receiver
			var q queued
			s.call(t, "POST", "/mo", row.body, 202, &q)
			if q.Parts != row.parts || q.SystemID != "acme" || q.Held {
				t.Errorf("answer %+v", q)
			}
			words := ""
			for part := 1; part <= row.parts; part++ {
				m := e.receive()
				c, st := m.Content()
				if st != smpp.StatusOK || row.parts > 1 && (c.Part != part || c.Parts != row.parts) {
					t.Errorf("part %d: %+v, %v", part, c, st)
				}
				if m.Source.Text != "15550100007" || m.Source.TON != 1 || m.Dest.Text != "15550001000" || m.ESMClass&^smpp.ESMUDHI != 0 {
					t.Errorf("part %d: %+v", part, m)
				}
				s, _ := text.Decode(m.DataCoding, "", c.Octets)
				words += s
			}
			if words != row.words {
				t.Errorf("text %q, want %q", words, row.words)
			}
			e.settle()
			if got := s.seen(); got.MOSent != row.parts || got.MOAcked != row.parts || got.MOPending != 0 || got.ReceiptsSent != 0 {
				t.Errorf("stats %+v", got)
			}
		})
	}
}

func TestInboundAnswersTheLatestSubmit(t *testing.T) {
	s := simulate(t, nil)
	e := dial(t, s)
	s.call(t, "POST", "/mo", `{"text":"too early"}`, 409, nil)
	e.submit(sms("15551230001", "x"))
	e.receipt()
	s.call(t, "POST", "/mo", `{"text":"STOP"}`, 202, nil)
	if m := e.receive(); m.Source.Text != "15551230001" || m.Dest.Text != "15550001000" {
		t.Errorf("delivered %+v", m)
	}
}

func TestInboundIsHeld(t *testing.T) {
	s := simulate(t, nil)
	s.call(t, "POST", "/mo", `{"from":"1555","to":"2555","text":"x"}`, 409, nil)
	var q queued
	s.call(t, "POST", "/mo", `{"system_id":"acme","from":"1555","to":"2555","text":"x"}`, 202, &q)
	if !q.Held || s.seen().MOPending != 1 {
		t.Errorf("answer %+v", q)
	}
	if m := dial(t, s).receive(); string(m.ShortMessage) != "x" || m.Source != (smpp.Address{TON: 3, Text: "1555"}) {
		t.Errorf("delivered %+v", m)
	}
}

func TestInboundRefused(t *testing.T) {
	s := simulate(t, nil)
	for _, body := range []string{
		`{`, `{"nonsense":1}`,
		`{"system_id":"a","from":"1","to":"2","text":"x","long":"zip"}`,
		`{"system_id":"a","from":"1","to":"2","text":"x","encoding":"morse"}`,
		`{"system_id":"a","from":"1","to":"2","text":"ü你","encoding":"gsm7"}`,
		`{"system_id":"a","from":"123456789012345678901","to":"2","text":"x"}`,
	} {
		s.call(t, "POST", "/mo", body, 400, nil)
	}
	if got := s.seen(); got.MOPending != 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestInboundAtARate(t *testing.T) {
	s := simulate(t, nil)
	e := dial(t, s)
	s.call(t, "PUT", "/config", `{"mo_rate":500,"mo_from":"15550100007","mo_to":"15550001000","mo_text":"tick"}`, 200, nil)
	for n, want := range []string{"tick 1", "tick 2", "tick 3"} {
		if m := e.receive(); string(m.ShortMessage) != want {
			t.Errorf("message %d: %q", n, m.ShortMessage)
		}
	}
	s.call(t, "PUT", "/config", `{"mo_rate":0}`, 200, nil)
}

func TestOldPeersGetNoTLVs(t *testing.T) {
	d := &delivery{receipt: &receipt{answerID: "1", receiptID: "1", state: message.ReceiptDelivered}}
	if m := d.pdu(receiptTLV, 0x33); len(m.TLVs) != 0 || len(m.ShortMessage) == 0 {
		t.Errorf("%+v", m)
	}
}

// What was on its way goes before what waits, and memory of what is gone is
// given up.
func TestQueueOrder(t *testing.T) {
	a := newAccount("acme")
	waiting := make([]*delivery, 5000)
	for i := range waiting {
		waiting[i] = new(delivery)
		a.push(waiting[i])
	}
	first := new(delivery)
	a.pushFirst(first)
	if a.next(nil) != first {
		t.Error("pushFirst did not go first")
	}
	for i, want := range waiting {
		if a.next(nil) != want {
			t.Fatalf("delivery %d is out of order", i)
		}
		if a.head > 2500+1024 {
			t.Fatalf("%d places of the queue are kept for nothing", a.head)
		}
	}
}
