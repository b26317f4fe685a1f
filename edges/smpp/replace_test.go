package smpp

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// A message may be replaced while it is accepted or scheduled.
func TestReplaceByStatus(t *testing.T) {
	for _, s := range message.Statuses() {
		w := reqSetup(t)
		id := w.journal.add(w, "", s, nil)
		want, asked := smpp.StatusReplaceFail, 0
		if s == message.StatusAccepted || s == message.StatusScheduled {
			want, asked = smpp.StatusOK, 1
		}
		p := w.ask(&smpp.ReplaceSM{MessageID: message.Hex32(id), Source: reqFrom, RegisteredDelivery: 1, ShortMessage: []byte("new")})
		if p.Status != want || len(p.Raw) != smpp.HeaderSize || len(w.ingress.revised) != asked {
			t.Errorf("%s: %s, asked %d times", s, p.Status, len(w.ingress.revised))
		}
		if w.counted() != "replace_sm "+want.String() {
			t.Errorf("counted %q", w.counted())
		}
	}
}

// held adds a message that may be replaced.
func (w *reqWorld) held(change func(*message.Message, *message.SMPPOrigin)) message.ID {
	return w.journal.add(w, "", message.StatusScheduled, func(m *message.Message, o *message.SMPPOrigin) {
		m.Encoding = message.EncodingGSM7
		if change != nil {
			change(m, o)
		}
	})
}

// What ingress is asked for: what is empty stays, and registered_delivery never is.
func TestReplaceAsks(t *testing.T) {
	const absolute, relative = "261122100000000+", "000001000000000R"
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	coded := func(coding byte) func(*message.Message, *message.SMPPOrigin) {
		return func(_ *message.Message, o *message.SMPPOrigin) { o.Coding = &coding }
	}
	reg := func(b byte) *byte { return &b }
	for _, c := range []struct {
		name   string
		change func(*message.Message, *message.SMPPOrigin)
		pdu    smpp.ReplaceSM
		want   ingress.Revision
	}{
		{"all", coded(0), smpp.ReplaceSM{Schedule: absolute, Validity: "261122130000000+", RegisteredDelivery: 0x12, ShortMessage: []byte("new")},
			ingress.Revision{Body: "new", Encoding: message.EncodingAuto, SendAt: at, ExpiresAt: at.Add(3 * time.Hour), Registered: reg(0x12)}},
		{"nothing", coded(0), smpp.ReplaceSM{}, ingress.Revision{Registered: reg(0)}},
		{"relative times", coded(0), smpp.ReplaceSM{Schedule: relative, Validity: "000001010000000R"},
			ingress.Revision{SendAt: reqNow.Add(24 * time.Hour), ExpiresAt: reqNow.Add(25 * time.Hour), Registered: reg(0)}},
		{"validity alone", coded(0), smpp.ReplaceSM{Validity: relative}, ingress.Revision{ExpiresAt: reqNow.Add(24 * time.Hour), Registered: reg(0)}},
		{"at once", coded(0), smpp.ReplaceSM{Schedule: "261121201500000+"}, ingress.Revision{SendAt: reqNow.Add(-4 * time.Second), Registered: reg(0)}},
		{"GSM", coded(0), smpp.ReplaceSM{ShortMessage: []byte{0x00, 0x1B, 0x65}}, ingress.Revision{Body: "@€", Encoding: message.EncodingAuto, Registered: reg(0)}},
		{"UCS-2", coded(8), smpp.ReplaceSM{ShortMessage: []byte("\x04\x36\x00a")}, ingress.Revision{Body: "жa", Encoding: message.EncodingUCS2, Registered: reg(0)}},
		{"Latin-1", coded(3), smpp.ReplaceSM{ShortMessage: []byte{0xE7}}, ingress.Revision{Body: "ç", Encoding: message.EncodingAuto, Registered: reg(0)}},
		{"Cyrillic, stored as UCS-2", func(m *message.Message, o *message.SMPPOrigin) {
			coded(6)(m, o)
			m.Encoding = message.EncodingUCS2
		}, smpp.ReplaceSM{ShortMessage: []byte{0xD0, 0xD1}}, ingress.Revision{Body: "аб", Encoding: message.EncodingAuto, Registered: reg(0)}},
		{"coding not kept, GSM", nil, smpp.ReplaceSM{ShortMessage: []byte{0x00}}, ingress.Revision{Body: "@", Encoding: message.EncodingAuto, Registered: reg(0)}},
		{"coding not kept, UCS-2", func(m *message.Message, _ *message.SMPPOrigin) { m.Encoding = message.EncodingUCS2 },
			smpp.ReplaceSM{ShortMessage: []byte("\x04\x36")}, ingress.Revision{Body: "ж", Encoding: message.EncodingUCS2, Registered: reg(0)}},
	} {
		w := reqSetup(t)
		id := w.held(c.change)
		c.pdu.MessageID, c.pdu.Source = message.Hex32(id), reqFrom
		p := w.ask(&c.pdu)
		c.want.MessageID, c.want.AccountID, c.want.Edge = id, w.account.ID, message.EdgeSMPP
		if p.Status != smpp.StatusOK || len(w.ingress.revised) != 1 || !reflect.DeepEqual(w.ingress.revised[0], c.want) {
			t.Errorf("%s: %s, %+v, want %+v", c.name, p.Status, w.ingress.revised, c.want)
		}
	}
}

// Data_coding 0 is read by the credential's alphabet.
func TestReplaceAlphabet(t *testing.T) {
	w := reqSetup(t)
	w.smpp.Alphabet = "latin1"
	id := w.held(nil)
	if p := w.ask(&smpp.ReplaceSM{MessageID: message.Hex32(id), Source: reqFrom, ShortMessage: []byte{0xE9}}); p.Status != smpp.StatusOK || w.ingress.revised[0].Body != "é" {
		t.Errorf("%s, %+v", p.Status, w.ingress.revised)
	}
}

// Every way in which a replace_sm is refused, and that nothing is asked for where
// it need not be.
func TestReplaceRefused(t *testing.T) {
	w := reqSetup(t)
	held := w.held(nil)
	coding := byte(1)
	ascii := w.held(func(_ *message.Message, o *message.SMPPOrigin) { o.Coding = &coding })
	data := byte(4)
	binary := w.held(func(_ *message.Message, o *message.SMPPOrigin) { o.Coding = &data })
	part := w.held(func(_ *message.Message, o *message.SMPPOrigin) { o.Part = true })
	gone := w.journal.add(w, "", message.StatusQueued, nil)
	batch := message.Hex32(message.NewID())
	for range 2 {
		w.journal.add(w, batch, message.StatusScheduled, nil)
	}
	refused := func(err error) message.ID {
		id := w.held(nil)
		w.ingress.refuse[id] = err
		return id
	}
	at := func(where string) error {
		e := message.Refuse(message.ReasonInvalidSchedule, "x")
		e.Fields = []message.FieldError{{Location: where, Message: "x"}}
		return e
	}
	to := func(id message.ID, change func(*smpp.ReplaceSM)) *smpp.ReplaceSM {
		p := &smpp.ReplaceSM{MessageID: message.Hex32(id), Source: reqFrom, RegisteredDelivery: 1, ShortMessage: []byte("new")}
		if change != nil {
			change(p)
		}
		return p
	}
	for _, c := range []struct {
		name  string
		pdu   *smpp.ReplaceSM
		want  smpp.Status
		asked int
	}{
		{"unknown", to(message.NewID(), nil), 0x0C, 0},
		{"another source", to(held, func(p *smpp.ReplaceSM) { p.Source.Text = "12025550144" }), 0x0C, 0},
		{"a batch", &smpp.ReplaceSM{MessageID: batch, Source: reqFrom}, 0x0C, 0},
		{"a part", to(part, nil), 0x13, 0},
		{"left", to(gone, nil), 0x13, 0},
		{"left since", to(refused(message.Refuse(message.ReasonConflict, "too late")), nil), 0x13, 1},
		{"gone since", to(refused(message.Refuse(message.ReasonNotFound, "none")), nil), 0x13, 1},
		{"default message", to(held, func(p *smpp.ReplaceSM) { p.DefaultMsgID = 1 }), 0x63, 0},
		{"reserved bits", to(held, func(p *smpp.ReplaceSM) { p.RegisteredDelivery = 0x20 }), 0x07, 0},
		{"receipt of a reserved kind", to(held, func(p *smpp.ReplaceSM) { p.RegisteredDelivery = 3 }), 0x07, 0},
		{"schedule unreadable", to(held, func(p *smpp.ReplaceSM) { p.Schedule = "261322100000000+" }), 0x61, 0},
		{"validity unreadable", to(held, func(p *smpp.ReplaceSM) { p.Validity = "2611221000000000" }), 0x62, 0},
		{"validity in the past", to(held, func(p *smpp.ReplaceSM) { p.Validity = "261120100000000+" }), 0x62, 0},
		{"valid until before the schedule", to(held, func(p *smpp.ReplaceSM) { p.Schedule, p.Validity = "261123100000000+", "261122100000000+" }), 0x61, 0},
		{"schedule out of range", to(refused(at("body.send_at")), nil), 0x61, 1},
		{"validity out of range", to(refused(at("body.validity_seconds")), nil), 0x62, 1},
		{"octets that the alphabet lacks", to(ascii, func(p *smpp.ReplaceSM) { p.ShortMessage = []byte{0xE9} }), 0x45, 0},
		{"of no text", to(binary, nil), 0x45, 0},
		{"nothing but an end of text", to(ascii, func(p *smpp.ReplaceSM) { p.ShortMessage = []byte{0} }), smpp.StatusOf(message.ReasonInvalidRequest), 0},
		{"suspended", to(refused(message.Refuse(message.ReasonAccountSuspended, "x")), nil), smpp.StatusOf(message.ReasonAccountSuspended), 1},
		{"too long", to(refused(message.Refuse(message.ReasonMessageTooLong, "x")), nil), 0x01, 1},
		{"our fault", to(refused(errors.New("away")), nil), 0x08, 1},
	} {
		w.ingress.revised = nil
		if p := w.ask(c.pdu); p.Status != c.want || len(p.Raw) != smpp.HeaderSize || len(w.ingress.revised) != c.asked {
			t.Errorf("%s: %s, want %s; asked %d times", c.name, p.Status, c.want, len(w.ingress.revised))
		}
	}
	// By the catalogue, whatever the reason.
	for _, e := range message.Catalogue() {
		want := smpp.StatusOf(e.Reason)
		if e.Reason == message.ReasonConflict || e.Reason == message.ReasonNotFound {
			want = smpp.StatusReplaceFail
		}
		if p := w.ask(to(refused(message.Refuse(e.Reason, "x")), nil)); p.Status != want {
			t.Errorf("%s: %s, want %s", e.Reason, p.Status, want)
		}
	}
	w.journal.down = errors.New("away")
	if p := w.ask(to(held, nil)); p.Status != smpp.StatusSystemError {
		t.Errorf("journal away: %s", p.Status)
	}
}

// A new text costs its parts of the rate, as that of a submit.
func TestReplaceCosts(t *testing.T) {
	w := reqSetup(t)
	w.smpp.Throughput = 5
	id := w.held(nil)
	ask := func(text string) smpp.Status {
		return w.ask(&smpp.ReplaceSM{MessageID: message.Hex32(id), Source: reqFrom, ShortMessage: []byte(text)}).Status
	}
	for i, c := range []struct {
		text string
		want smpp.Status
	}{
		{strings.Repeat("a", 254), 0}, // 2 parts
		{"short", 0},
		{"", 0},
		{strings.Repeat("a", 254), smpp.StatusThrottled},
		{"short", 0},
		{"", smpp.StatusThrottled},
	} {
		if st := ask(c.text); st != c.want {
			t.Errorf("%d: %s, want %s", i, st, c.want)
		}
	}
	if len(w.ingress.revised) != 4 || !strings.Contains(w.counted(), "throttled "+w.account.ID.String()) {
		t.Errorf("%d revised, counted %q", len(w.ingress.revised), w.counted())
	}
	// What is refused before costs nothing.
	if p := w.ask(&smpp.ReplaceSM{MessageID: message.Hex32(message.NewID()), Source: reqFrom}); p.Status != smpp.StatusInvMsgID {
		t.Errorf("%s", p.Status)
	}
}

// The submit's data_coding is kept for the replace_sm that may come.
func TestSubmitKeepsItsCoding(t *testing.T) {
	for _, coding := range []byte{0, 3, 8} {
		w := reqSetup(t)
		w.ask(reqText(func(m *smpp.Message) { m.DataCoding, m.ShortMessage = coding, []byte("\x00a") }))
		if o := w.last().Origin; o.Coding == nil || *o.Coding != coding {
			t.Errorf("%d: %+v", coding, o)
		}
	}
}

// A repeat whose times the clock has overtaken gets its first answer; without one
// it is refused as if it had no key.
func TestRepeatAfterItsTime(t *testing.T) {
	absolute := func(d time.Duration) string { return smpp.FormatTime(reqNow.Add(d)) }
	for _, c := range []struct {
		name               string
		schedule, validity string
		fresh              smpp.Status // without a first answer
	}{
		{"validity", "", absolute(time.Hour), smpp.StatusInvExpiry},
		{"schedule", absolute(time.Hour), "", smpp.StatusInvSchedule},
		{"schedule and validity", absolute(time.Hour), absolute(2 * time.Hour), smpp.StatusInvExpiry},
		{"a relative schedule", "000000010000000R", absolute(26*time.Hour + 30*time.Minute), smpp.StatusInvSchedule},
	} {
		for _, pdu := range []string{"submit_sm", "part", "submit_multi"} {
			t.Run(c.name+" of "+pdu, func(t *testing.T) {
				w := reqSetup(t)
				now := reqNow
				w.server.Now = func() time.Time { return now }
				w.ingress.Now = w.server.Now
				request := func(key string) smpp.PDU {
					m := reqText(func(m *smpp.Message) { m.Schedule, m.Validity = c.schedule, c.validity }).Message
					if key != "" {
						m.TLVs.AddCString(smpp.TagIdempotencyKey, key)
					}
					switch pdu {
					case "part":
						m.ESMClass, m.ShortMessage = smpp.ESMUDHI, []byte("\x05\x00\x03\x07\x02\x01hello")
					case "submit_multi":
						return &smpp.SubmitMulti{Message: m, Dests: []smpp.Destination{{Address: reqTo}, {Address: smpp.Address{TON: 1, NPI: 1, Text: "13105550118"}}}}
					}
					return &smpp.SubmitSM{Message: m}
				}
				first := w.ask(request("k"))
				if first.Status != smpp.StatusOK {
					t.Fatalf("first: %s", first.Status)
				}
				now = now.Add(26 * time.Hour)
				if again := w.ask(request("k")); again.Status != smpp.StatusOK || !reflect.DeepEqual(again.Body, first.Body) {
					t.Errorf("again: %s %+v, want %+v", again.Status, again.Body, first.Body)
				}
				stored := w.store.stored() + len(w.store.parts)
				if p := w.ask(request("fresh")); p.Status != c.fresh {
					t.Errorf("a fresh key: %s, want %s", p.Status, c.fresh)
				}
				if p := w.ask(request("")); p.Status != c.fresh {
					t.Errorf("no key: %s, want %s", p.Status, c.fresh)
				}
				if n := w.store.stored() + len(w.store.parts); n != stored {
					t.Errorf("%d stored, then %d", stored, n)
				}
			})
		}
	}
}
