package smpp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// numberRate gives reqFrom a rate and the credential one, in parts.
func (w *reqWorld) numberRate(number, parts int) {
	w.config.Numbers["+12025550143"].RateLimit = number
	w.smpp.Throughput = parts
}

// from72345 is a sender without a rate of its own.
func from72345(m *smpp.Message) { m.Source = smpp.Address{TON: 3, Text: "72345"} }

// Over the sender's rate a submit is RTHROTTLED, nothing is stored, and nothing of
// the credential's rate is used up.
func TestNumberRate(t *testing.T) {
	w := reqSetup(t)
	now := reqNow
	w.server.Now = func() time.Time { return now }
	w.numberRate(2, 4)
	steps := []struct {
		change func(*smpp.Message)
		want   smpp.Status
		told   string
	}{
		{nil, smpp.StatusOK, ""},
		{nil, smpp.StatusOK, ""},
		{nil, smpp.StatusThrottled, "number 1"},
		{nil, smpp.StatusThrottled, "number 1"},
		{nil, smpp.StatusThrottled, "number 1"},
		{from72345, smpp.StatusOK, ""},
		{from72345, smpp.StatusOK, ""},
		{from72345, smpp.StatusThrottled, "bind 1"},
		{nil, smpp.StatusThrottled, "bind 1"},
	}
	for i, s := range steps {
		stored, counts := w.store.stored(), len(w.counts)
		p := w.ask(reqText(s.change))
		if p.Status != s.want || (w.store.stored() > stored) != (s.want == smpp.StatusOK) {
			t.Errorf("submit %d: %s, %d stored", i, p.Status, w.store.stored()-stored)
		}
		told := ""
		if new := strings.Split(w.counted(), ", ")[counts:]; strings.HasPrefix(new[0], "throttled") {
			told = strings.TrimPrefix(new[0], fmt.Sprintf("throttled %s ", w.account.ID))
		}
		if told != s.told {
			t.Errorf("submit %d: told of %q, want %q", i, told, s.told)
		}
	}
	now = now.Add(time.Second)
	if p := w.ask(reqText(nil)); p.Status != smpp.StatusOK {
		t.Errorf("a second later: %s", p.Status)
	}
	trail := w.store.taken()[0].Trail
	if e := trail[len(trail)-2]; e != (message.TrailEntry{Rule: "rate", Result: message.Pass, Detail: "1 of 2 messages in a second from +12025550143"}) {
		t.Errorf("trail %+v", trail)
	}
}

// The number that counts is the one that the message leaves with, and only if it is
// the account's own.
func TestNumberRateOfTheSenderUsed(t *testing.T) {
	w := reqSetup(t)
	w.numberRate(1, 100)
	w.account.ForceSourceAddress = "+12025550143"
	if p := w.ask(reqText(from72345)); p.Status != smpp.StatusOK {
		t.Fatal(p.Status)
	}
	if p := w.ask(reqText(func(m *smpp.Message) { m.Source = smpp.Address{} })); p.Status != smpp.StatusThrottled {
		t.Errorf("the forced sender: %s", p.Status)
	}
	w = reqSetup(t)
	w.numberRate(1, 100)
	stranger := *w.config.Numbers["+12025550143"]
	stranger.AccountID = message.NewID()
	w.config.Numbers = map[message.Address]*snapshot.Number{"+12025550143": &stranger}
	for range 3 {
		if p := w.ask(reqText(nil)); p.Status != smpp.StatusOf(message.ReasonUnauthorizedSender) {
			t.Errorf("somebody else's number: %s", p.Status)
		}
	}
}

// Of a submit_multi as many numbers are taken as the rate has room for; the others
// are named in the answer and cost nothing.
func TestNumberRateOfMulti(t *testing.T) {
	w := reqSetup(t)
	w.numberRate(3, 5)
	p := w.ask(reqMulti(nil, "13105550117", "1", "13105550118", "13105550119", "13105550120"))
	resp, ok := p.Body.(*smpp.SubmitMultiResp)
	if !ok || p.Status != smpp.StatusOK || len(resp.Unsuccess) != 2 {
		t.Fatalf("%s %+v", p.Status, p.Body)
	}
	if u := resp.Unsuccess[1]; u.Address.Text != "13105550120" || u.Status != smpp.StatusThrottled || w.store.stored() != 3 {
		t.Errorf("%+v, %d stored", resp.Unsuccess, w.store.stored())
	}
	if p := w.ask(reqMulti(nil, "13105550121", "13105550122")); p.Status != smpp.StatusThrottled || w.store.stored() != 3 {
		t.Errorf("none has room: %s, %d stored", p.Status, w.store.stored())
	}
	if p := w.ask(reqText(from72345)); p.Status != smpp.StatusOK {
		t.Errorf("what was not taken was given back: %s", p.Status)
	}
	if p := w.ask(reqText(from72345)); p.Status != smpp.StatusThrottled {
		t.Errorf("beyond the credential's rate: %s", p.Status)
	}
}

// A message in parts counts once, with its first part.
func TestNumberRateOfParts(t *testing.T) {
	w := reqSetup(t)
	w.numberRate(1, 100)
	for n := range byte(3) {
		w.taken(partUDH(1, false, n+1, 3, "part"))
	}
	if p := w.ask(partUDH(2, false, 1, 2, "part")); p.Status != smpp.StatusThrottled {
		t.Errorf("the next message: %s", p.Status)
	}
	if p := w.ask(reqText(nil)); p.Status != smpp.StatusThrottled {
		t.Errorf("a whole message: %s", p.Status)
	}
}

// Edges that count together count a number together.
func TestNumberRateOverEdges(t *testing.T) {
	l := limit.New(0)
	for i := range 2 {
		w := reqSetup(t)
		w.server.numbers = l
		w.numberRate(2, 100)
		if i == 0 {
			w.ask(reqText(nil))
			continue
		}
		if a, b := w.ask(reqText(nil)), w.ask(reqText(nil)); a.Status != smpp.StatusOK || b.Status != smpp.StatusThrottled {
			t.Errorf("%s and %s", a.Status, b.Status)
		}
	}
}

// What is given back fills a bucket no further than it goes.
func TestGiveBack(t *testing.T) {
	var r rateBook
	id, now := message.NewID(), time.Now()
	r.give(id, 5) // nobody has taken anything
	if !r.take(id, 10, 8, now) {
		t.Fatal("not from a full bucket")
	}
	r.give(id, 3)
	if r.take(id, 10, 6, now) || !r.take(id, 10, 5, now) {
		t.Error("not what was given back")
	}
	r.give(id, 100)
	if !r.take(id, 10, 10, now) || r.take(id, 10, 1, now) {
		t.Error("more than a second's worth")
	}
}
