package smpp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

func inboundOf(t testing.TB, body string, c snapshot.SMPPCredential, legacy bool) []*smpp.DeliverSM {
	t.Helper()
	d := deliverInbound(&c, "+13105550117", body)
	pdus, err := deliverySM(&d, &c, legacy)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range pdus {
		pdus[i] = deliverOverTheWire(t, m)
	}
	return pdus
}

// joined reads the parts of one message as the peer does.
func inboundJoined(pdus []*smpp.DeliverSM, alphabet string) (string, error) {
	var b strings.Builder
	reference := -1
	for i, m := range pdus {
		c, st := m.Content()
		if st != smpp.StatusOK {
			return "", fmt.Errorf("part %d: %v", i+1, st)
		}
		if len(pdus) > 1 && (c.Part != i+1 || c.Parts != len(pdus) || reference >= 0 && c.Reference != reference) {
			return "", fmt.Errorf("part %d says %d of %d, reference %x", i+1, c.Part, c.Parts, c.Reference)
		}
		if len(pdus) == 1 && c.Parts != 0 {
			return "", fmt.Errorf("the whole says part %d of %d", c.Part, c.Parts)
		}
		reference = c.Reference
		s, ok := text.Decode(m.DataCoding, alphabet, c.Octets)
		if !ok {
			return "", fmt.Errorf("part %d: data_coding %d", i+1, m.DataCoding)
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

func TestInboundText(t *testing.T) {
	tests := []struct {
		name     string
		alphabet string
		long     string
		legacy   bool
		body     string
		coding   byte
		parts    int
		octets   int // of the first part, header included
		payload  bool
	}{
		{name: "short", body: "Where is it?", parts: 1, octets: 12},
		{name: "empty", body: "", parts: 1},
		{name: "GSM 7-bit", body: "Grüße {€}", parts: 1, octets: 12},
		{name: "160 septets", body: strings.Repeat("é", 160), parts: 1, octets: 160},
		{name: "161 septets", body: strings.Repeat("é", 161), parts: 2, octets: 6 + 153},
		{name: "UCS-2", body: "日本語", coding: 8, parts: 1, octets: 6},
		{name: "70 units", body: strings.Repeat("я", 70), coding: 8, parts: 1, octets: 140},
		{name: "71 units", body: strings.Repeat("я", 71), coding: 8, parts: 2, octets: 6 + 134},
		{name: "surrogates", body: strings.Repeat("😀", 40), coding: 8, parts: 2, octets: 6 + 132},
		{name: "by sar", long: "sar", body: strings.Repeat("a", 161), parts: 2, octets: 153},
		{name: "short by sar", long: "sar", body: "a", parts: 1, octets: 1},
		{name: "by payload", long: "payload", body: strings.Repeat("a", 1600), parts: 1, octets: 1600, payload: true},
		{name: "UCS-2 by payload", long: "payload", body: strings.Repeat("я", 71), coding: 8, parts: 1, octets: 142, payload: true},
		{name: "more than 255 parts by payload", long: "payload", body: strings.Repeat("я", 20000), coding: 8, parts: 1, octets: 40000, payload: true},
		{name: "short by payload", long: "payload", body: strings.Repeat("a", 160), parts: 1, octets: 160},
		{name: "sar below version 3.4", long: "sar", legacy: true, body: strings.Repeat("a", 161), parts: 2, octets: 6 + 153},
		{name: "payload below version 3.4", long: "payload", legacy: true, body: strings.Repeat("a", 161), parts: 2, octets: 6 + 153},
		{name: "Latin-1", alphabet: "latin1", body: "Grüße `ç`", parts: 1, octets: 9},
		{name: "Latin-1 lacks it", alphabet: "latin1", body: "20 €", coding: 8, parts: 1, octets: 8},
		{name: "long Latin-1", alphabet: "latin1", body: strings.Repeat("ç", 320), parts: 3, octets: 6 + 153},
		{name: "long text of which one part would fit Latin-1", alphabet: "latin1", body: strings.Repeat("a", 200) + "€", coding: 8, parts: 3, octets: 6 + 134},
		{name: "ASCII", alphabet: "ascii", body: "[a_b]@", parts: 1, octets: 6},
		{name: "ASCII lacks it", alphabet: "ascii", body: "é", coding: 8, parts: 1, octets: 2},
		{name: "broken UTF-8", body: "a\xff", coding: 8, parts: 1, octets: 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pdus := inboundOf(t, tt.body, snapshot.SMPPCredential{Alphabet: tt.alphabet, LongMO: tt.long}, tt.legacy)
			if len(pdus) != tt.parts {
				t.Fatalf("%d parts, want %d", len(pdus), tt.parts)
			}
			m := pdus[0]
			payload, has := m.TLVs.Get(smpp.TagMessagePayload)
			if n := len(m.ShortMessage) + len(payload); has != tt.payload || n != tt.octets || m.DataCoding != tt.coding {
				t.Errorf("payload %v, %d octets, data_coding %d", has, n, m.DataCoding)
			}
			if tt.legacy && len(m.TLVs) > 0 {
				t.Errorf("TLVs for a peer below 3.4: %v", m.TLVs)
			}
			got, err := inboundJoined(pdus, tt.alphabet)
			if want := strings.ToValidUTF8(tt.body, "\uFFFD"); err != nil || got != want {
				t.Errorf("joined %q, %v", got, err)
			}
			for i, m := range pdus {
				if m.Source != (smpp.Address{TON: 1, NPI: 1, Text: "13105550117"}) || m.Dest != (smpp.Address{TON: 1, NPI: 1, Text: "12025550143"}) ||
					m.ESMClass&^smpp.ESMUDHI != 0 || m.RegisteredDelivery != 0 {
					t.Errorf("part %d: %+v", i+1, m)
				}
			}
		})
	}
}

// Messages that came together are told apart even by a reference of 8 bits.
func TestInboundReferencesDiffer(t *testing.T) {
	seen := map[byte]bool{}
	for range 256 {
		seen[byte(inboundReference(message.NewID()))] = true
	}
	if len(seen) < 64 {
		t.Errorf("%d references of 256 messages", len(seen))
	}
}

func TestInboundTooLong(t *testing.T) {
	for _, alphabet := range []string{"", "latin1"} {
		c := snapshot.SMPPCredential{Alphabet: alphabet}
		d := deliverInbound(&c, "+13105550117", strings.Repeat("a", 255*153+1))
		if pdus, err := deliverySM(&d, &c, false); err == nil {
			t.Errorf("%q: %d parts", alphabet, len(pdus))
		}
	}
}

func TestInboundAddresses(t *testing.T) {
	for a, want := range map[message.Address]smpp.Address{
		"+13105550117": {TON: 1, NPI: 1, Text: "13105550117"},
		"41411":        {TON: 3, Text: "41411"},
		"Postrider":    {TON: 5, Text: "Postrider"},
		"":             {},
	} {
		c := snapshot.SMPPCredential{}
		d := deliverInbound(&c, a, "Hi")
		pdus, err := deliverySM(&d, &c, false)
		if err != nil || pdus[0].Source != want {
			t.Errorf("%s: %+v %v", a, pdus[0].Source, err)
		}
	}
}

// Any text comes back whole from its parts, none of which is larger than a
// short message, and a repetition is the same octet for octet.
func TestInboundReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := snapshot.SMPPCredential{
			Alphabet: rapid.SampledFrom([]string{"", text.AlphabetGSM7, text.AlphabetLatin1, text.AlphabetASCII}).Draw(t, "alphabet"),
			LongMO:   rapid.SampledFrom([]string{"", "udh", "sar", "payload"}).Draw(t, "long_mo"),
		}
		unit := rapid.SampledFrom([]string{"a", "é", "€", "{", "`", "я", "😀", "a€", "😀é", "\xff"}).Draw(t, "unit")
		body := strings.Repeat(unit, rapid.IntRange(0, 700).Draw(t, "times")) + rapid.StringN(0, 20, -1).Draw(t, "end")
		body = strings.ReplaceAll(body, "\x00", "")
		legacy := rapid.Bool().Draw(t, "legacy")
		d := deliverInbound(&c, "+13105550117", body)
		pdus, err := deliverySM(&d, &c, legacy)
		if err != nil {
			t.Fatal(err)
		}
		got, err := inboundJoined(pdus, c.Alphabet)
		if want := strings.ToValidUTF8(body, "\uFFFD"); err != nil || got != want {
			t.Fatalf("joined %q, %v", got, err)
		}
		again, err := deliverySM(&d, &c, legacy)
		if err != nil || len(again) != len(pdus) {
			t.Fatal(err)
		}
		for i, m := range pdus {
			limit := 160
			if m.DataCoding == smpp.CodingUCS2 {
				limit = 140
			}
			if len(m.ShortMessage) > limit {
				t.Errorf("part %d has %d octets", i+1, len(m.ShortMessage))
			}
			if inboundWire(t, again[i]) != inboundWire(t, m) {
				t.Errorf("part %d differs in the repetition", i+1)
			}
		}
	})
}

func inboundWire(t *rapid.T, m *smpp.DeliverSM) string {
	b, err := smpp.Append(nil, smpp.StatusOK, 1, m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A long text is done when every part was taken; one that was not brings all of
// them again, with the same reference.
func TestLongInboundDelivery(t *testing.T) {
	for _, long := range []string{"udh", "sar"} {
		t.Run(long, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := deliverPlay(t, deliverPipes)
				c := s.credential(func(c *snapshot.SMPPCredential) { c.LongMO = long; c.Window = 2 })
				p := s.bind(c, deliverBind{answer: func(n int, _ *smpp.DeliverSM) (smpp.Status, bool) {
					if n == 2 {
						return smpp.StatusThrottled, true
					}
					return smpp.StatusOK, true
				}})
				body := strings.Repeat("0123456789", 40)
				r := s.owe(deliverInbound(c, "+13105550117", body))[0]
				got := s.journal.tried(r, 2)
				if got[0].State != message.NotificationPending || got[0].Status != 0x58 || got[0].Again != 5*time.Second || got[1].State != message.NotificationDelivered {
					t.Errorf("recorded %+v", got)
				}
				all := p.received()
				if len(all) != 2+3 {
					t.Fatalf("%d parts came, want 2 and 3", len(all))
				}
				if whole, err := inboundJoined(all[2:], ""); err != nil || whole != body {
					t.Errorf("joined %q, %v", whole, err)
				}
				for i := range 2 {
					if !bytes.Equal(all[i].ShortMessage, all[2+i].ShortMessage) || fmt.Sprint(all[i].TLVs) != fmt.Sprint(all[2+i].TLVs) {
						t.Errorf("part %d differs in the repetition", i+1)
					}
				}
				if p.peak() != 1 {
					t.Errorf("%d parts at once", p.peak())
				}
			})
		})
	}
}

// When the session ends between two parts the message has been tried.
func TestLongInboundIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		c := s.credential(nil)
		p := s.bind(c, deliverBind{answer: deliverHold})
		r := s.owe(deliverInbound(c, "+13105550117", strings.Repeat("0123456789", 40)))[0]
		first := <-p.held
		// The peer unbinds with its answer on the way: the next part is refused.
		_, _ = p.esme.Begin(t.Context(), &smpp.Unbind{}, func(smpp.Packet, error) {})
		synctest.Wait()
		p.answer(first, smpp.StatusOK)
		got := s.journal.tried(r, 1)[0]
		if got.State != message.NotificationPending || got.Again != 5*time.Second || got.Error != whyEnded || r.given != 0 {
			t.Errorf("recorded %+v", got)
		}
	})
}

// The same when the next part was queued and nothing of it left.
func TestLongInboundIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		c := s.credential(nil)
		release := make(chan struct{})
		defer close(release)
		first := make(chan *smpp.Request, 1)
		p := s.bind(c, deliverBind{handler: smpp.HandlerFunc(func(r *smpp.Request) {
			select {
			case first <- r:
			default:
				<-release // and reads no more
			}
		})})
		long := s.owe(deliverInbound(c, "+13105550117", strings.Repeat("0123456789", 40)))[0]
		<-time.After(time.Second)
		s.owe(deliverReceipt(c))
		<-time.After(time.Second)
		_ = (<-first).Respond(smpp.StatusOK, nil)
		<-time.After(time.Second)
		p.bound.session.Close()
		got := s.journal.tried(long, 1)[0]
		if got.State != message.NotificationPending || got.Again != 5*time.Second || got.Error != whyEnded || long.given != 0 {
			t.Errorf("recorded %+v, released %d times", got, long.given)
		}
	})
}

// A peer that takes its time over every part gets no more of them once the claim
// runs out: another process may have begun.
func TestLongInboundOutlastsItsClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		c := s.credential(nil)
		p := s.bind(c, deliverBind{window: 1, answer: deliverHold})
		r := s.owe(deliverInbound(c, "+13105550117", strings.Repeat("0123456789", 60)))[0]
		for range 2 {
			<-time.After(20 * time.Second)
			p.take(smpp.StatusOK)
		}
		got := s.journal.tried(r, 1)[0]
		if got.State != message.NotificationPending || got.Error != whySilent {
			t.Errorf("recorded %+v", got)
		}
		p.take(smpp.StatusOK) // of the third part, too late
		for range 4 {
			p.take(smpp.StatusOK)
		}
		s.journal.done()
		all := p.received()
		if whole, err := inboundJoined(all[3:], ""); len(all) != 3+4 || err != nil || whole != r.Message.Body {
			t.Errorf("%d parts; joined %q, %v", len(all), whole, err)
		}
	})
}
