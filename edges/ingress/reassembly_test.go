package ingress_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// piece is one part of a message from a handset: octets, as a link hands them up.
func (b *bundle) piece(number, of int, coding byte, octets []byte) message.InboundMessage {
	m := b.mo("")
	m.Part, m.Parts, m.Reference, m.DataCoding, m.Raw, m.Encoding = number, of, 7, coding, octets, message.EncodingBinary
	if s, ok := text.Decode(coding, "", octets); ok {
		m.Text, m.Encoding = s, message.EncodingUCS2
	}
	return m
}

func ucs2(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u>>8), byte(u))
	}
	return b
}

func TestInboundPartsAreJoined(t *testing.T) {
	pile := ucs2("a💩b")
	for _, tt := range []struct {
		name     string
		parts    []int
		codings  []byte
		octets   []string
		of       int
		text     string
		raw      string
		encoding message.Encoding
	}{
		{"plain", []int{2, 1}, []byte{0, 0}, []string{"world", "hello "}, 2, "hello world", "", message.EncodingGSM7},
		{"an escape at the cut", []int{1, 2}, []byte{0, 0}, []string{"10 \x1b", "\x65"}, 2, "10 €", "", message.EncodingGSM7},
		{"a pair at the cut", []int{1, 2}, []byte{8, 8}, []string{string(pile[:4]), string(pile[4:])}, 2, "a💩b", "", message.EncodingUCS2},
		{"an octet at the cut", []int{1, 2}, []byte{8, 8}, []string{string(pile[:5]), string(pile[5:])}, 2, "a💩b", "", message.EncodingUCS2},
		{"two alphabets", []int{1, 2, 3}, []byte{0, 8, 8}, []string{"x ", string(ucs2("ж")), string(ucs2("я"))}, 3, "x жя", "", message.EncodingUCS2},
		{"octets", []int{2, 1}, []byte{4, 4}, []string{"\x03\x04", "\x01\x02"}, 2, "", "\x01\x02\x03\x04", message.EncodingBinary},
		{"octets in a text", []int{1, 2}, []byte{0, 4}, []string{"a", "\x02"}, 2, "", "a\x02", message.EncodingBinary},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			var seen []int
			b.Metrics.Joined = func(missing int) { seen = append(seen, missing) }
			for i, n := range tt.parts {
				b.came(t, b.piece(n, tt.of, tt.codings[i], []byte(tt.octets[i])))
			}
			a := b.arrived()
			if a.Text != tt.text || !bytes.Equal(a.Raw, []byte(tt.raw)) || a.Encoding != tt.encoding || !a.Whole() || a.Joined != tt.of || a.Missing != 0 || a.AccountID != b.account.ID {
				t.Errorf("%+v", a)
			}
			m := a.Message
			if m == nil || m.ID != a.ID || m.Segments != tt.of || m.Incomplete || m.Body != tt.text+tt.raw || m.Edge != "smpp" || m.Vendor != "acme" || m.Direction != message.Inbound ||
				m.From != "+13105550117" || m.To != number || !m.ExpiresAt.Equal(a.ReceivedAt.Add(72*time.Hour)) {
				t.Errorf("%+v", m)
			}
			if len(seen) != 1 || seen[0] != 0 {
				t.Errorf("counted %v", seen)
			}
		})
	}
}

// Whatever a text and wherever it is cut, it comes out as it went in.
func TestJoinedTextProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := setup(t)
		want := strings.Map(func(r rune) rune {
			if r == 0 || r == 0xFFFD {
				return -1
			}
			return r
		}, rapid.String().Draw(rt, "text"))
		coding, octets := byte(8), ucs2(want)
		if enc, err := text.EncodeGSM7(want); err == nil && rapid.Bool().Draw(rt, "gsm") {
			coding, octets = 0, enc
		}
		of := rapid.IntRange(2, 8).Draw(rt, "parts")
		cuts := []int{0}
		for n := 1; n < of; n++ {
			cuts = append(cuts, rapid.IntRange(cuts[n-1], len(octets)).Draw(rt, "cut"))
		}
		cuts = append(cuts, len(octets))
		numbers := make([]int, of)
		for i := range numbers {
			numbers[i] = i + 1
		}
		for _, n := range rapid.Permutation(numbers).Draw(rt, "order") {
			if err := b.Inbound(t.Context(), b.piece(n, of, coding, octets[cuts[n-1]:cuts[n]])); err != nil {
				rt.Fatal(err)
			}
		}
		if got := b.arrived(); got.Text != want || got.Joined != of {
			rt.Fatalf("%q came out as %q", want, got.Text)
		}
	})
}

// What never comes leaves a mark in the text, and a word in what there is is none.
func TestInboundPartsThatNeverCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.PartsWait = 10 * time.Second
		number := b.config.Numbers[number]
		number.AutoReply = "we are closed"
		b.Start(t.Context())
		defer b.Stop()
		for _, n := range []int{2, 5} {
			b.came(t, b.piece(n, 6, 0, []byte(map[int]string{2: "STOP", 5: " it"}[n])))
		}
		b.server.until(func() bool { return len(b.server.begun) == 1 })
		a := b.arrived()
		if a.Text != "(...)STOP(...) it(...)" || a.Missing != 4 || a.Joined != 6 || a.Action != message.KeywordNone || a.Act != nil || a.Message == nil || !a.Message.Incomplete {
			t.Errorf("%+v", a)
		}
		if b.server.begun[a.ID] != 1 {
			t.Error("its workflow is not started")
		}
		b.journal.until(func() bool { return len(b.journal.inbounds.starts) == 0 })
	})
}

// A number of no set is a message by itself.
func TestImpossibleInboundParts(t *testing.T) {
	b := setup(t)
	for _, p := range [][2]int{{0, 3}, {4, 3}, {-1, 2}, {1, 256}} {
		if a := b.came(t, b.piece(p[0], p[1], 0, []byte("hello"))); !a.Whole() || a.Join != nil || a.Message == nil || a.Part != 0 {
			t.Errorf("part %d of %d: %+v", p[0], p[1], a)
		}
	}
}

// While Temporal is away inbound messages wait in their outbox.
func TestInboundIsStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.server.setDown(errAway)
		b.Start(t.Context())
		defer b.Stop()
		a := b.came(t, b.mo("hello"))
		pass(time.Minute)
		if n := b.journal.count(func() int { return len(b.journal.inbounds.starts) }); n != 1 {
			t.Errorf("%d wait", n)
		}
		b.server.setDown(nil)
		b.server.until(func() bool { return b.server.begun[a.ID] > 0 })
		b.journal.until(func() bool { return len(b.journal.inbounds.starts) == 0 })
		pass(time.Minute)
		if n := b.server.begun[a.ID]; n != 1 {
			t.Errorf("started %d times", n)
		}
	})
}

// Of nobody's and of disabled numbers' no message is made, but a STOP is one all the same.
func TestUnroutedAndRedriven(t *testing.T) {
	b := setup(t)
	n := b.config.Numbers[number]
	n.SMSEnabled = false
	a := b.came(t, b.mo("STOP"))
	if a.AccountID != (message.ID{}) || a.Message != nil || a.Act == nil || a.Act.Reply != nil {
		t.Errorf("%+v", a)
	}
	lost := b.mo("where is it?")
	lost.To = "12025550199"
	if a := b.came(t, lost); a.AccountID != (message.ID{}) || a.Message != nil || a.Number != "+12025550199" {
		t.Errorf("%+v", a)
	}
	id, id2 := message.NewID(), message.NewID()
	word := b.mo("START")
	word.To, word.ReceivedAt = "+12025550199", time.Now().Add(-time.Hour)
	lost.To, lost.ReceivedAt = "+12025550199", time.Now().Add(-100*time.Hour)
	b.journal.inbounds.unrouted = []message.Unrouted{{ID: id, InboundMessage: lost}, {ID: id2, InboundMessage: word}}
	by := message.Actor{Name: "tester"}
	if err := b.Redrive(t.Context(), by, id); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("of nobody's: %v", err)
	}
	if out, last, err := b.RedriveAll(t.Context(), by, "", message.ID{}); err != nil || out != (ingress.Redriven{Left: 2}) || last != id2 {
		t.Errorf("%+v, %v", out, err)
	}
	n.SMSEnabled = true
	b.config.Numbers["+12025550199"] = &snapshot.Number{Number: "+12025550199", AccountID: b.account.ID, SMSEnabled: true, AutoReply: "hi"}
	b.config.Index()
	var told []message.ID
	b.Metrics.Redriven = func(account message.ID) { told = append(told, account) }
	if err := b.Redrive(t.Context(), by, id); err != nil {
		t.Fatal(err)
	}
	if out, _, err := b.RedriveAll(t.Context(), by, "+12025550199", message.ID{}); err != nil || out != (ingress.Redriven{Taken: 1}) {
		t.Errorf("%+v, %v", out, err)
	}
	if err := b.Redrive(t.Context(), by, id); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("again: %v", err)
	}
	taken := b.journal.inbounds.redriven
	if len(taken) != 2 || taken[0].ID != id || taken[0].Message == nil || !taken[0].Message.ExpiresAt.After(time.Now().Add(71*time.Hour)) || taken[0].Act != nil ||
		taken[1].Action != message.KeywordStart || taken[1].Act != nil || !taken[1].ForHuman || len(told) != 2 {
		t.Errorf("%+v", taken)
	}
}

// A number answers people, once they have said something of their own.
func TestOwnAnswers(t *testing.T) {
	b := setup(t)
	n := b.config.Numbers[number]
	n.AutoReply = "we are closed"
	b.config.Numbers["+12025550188"] = &snapshot.Number{Number: "+12025550188", AccountID: message.NewID(), SMSEnabled: true, AutoReply: "so are we"}
	b.config.Index()
	if r := b.came(t, b.mo("hello")).Act; r == nil || r.Reply == nil || r.Reply.Text != n.AutoReply || r.Reply.From != number || r.Reply.To != "+13105550117" ||
		r.Reply.Action != message.KeywordNone || r.Reply.ID == (message.ID{}) {
		t.Fatalf("%+v", r)
	}
	for name, change := range map[string]func(m *message.InboundMessage){
		"a short code":     func(m *message.InboundMessage) { m.From, m.FromTON = "72345", 3 },
		"a name":           func(m *message.InboundMessage) { m.From, m.FromTON = "BANK", 5 },
		"a number of ours": func(m *message.InboundMessage) { m.From = "12025550188" },
		"itself":           func(m *message.InboundMessage) { m.From = number.Digits() },
		"octets": func(m *message.InboundMessage) {
			m.Text, m.Raw, m.Encoding = "", []byte{1}, message.EncodingBinary
			m.From = "72345"
		},
		"something human":   func(m *message.InboundMessage) { m.Text = "cancel my order please" },
		"an hour ago":       func(m *message.InboundMessage) { m.ReceivedAt = time.Now().Add(-time.Hour) },
		"a number disabled": func(m *message.InboundMessage) { n.SMSEnabled = false },
	} {
		m := b.mo("hello")
		n.SMSEnabled = true
		if change(&m); b.came(t, m).Act != nil {
			t.Errorf("%s is answered", name)
		}
	}
	n.SMSEnabled = true
	for _, word := range []string{"STOP", "START", "HELP"} {
		if a := b.came(t, b.mo(word)); a.Act == nil || a.Act.Reply == nil || a.Act.Reply.Text == n.AutoReply {
			t.Errorf("%s: %+v", word, a.Act)
		}
	}
}

// It goes out as a message of the customer's, which the rules look at.
func TestOwnAnswerBecomesAMessage(t *testing.T) {
	b := setup(t)
	b.config.Numbers[number].AutoReply = "we are closed"
	b.Start(t.Context())
	defer b.Stop()
	a := b.came(t, b.mo("hello"))
	b.journal.until(func() bool { return len(b.journal.accepted) == 1 && len(b.journal.inbounds.owed) == 0 })
	m := b.journal.all()[0].Message
	if m.ID != a.Act.Reply.ID || m.Automatic || m.Edge != message.EdgeAutomatic || m.Class != message.ClassConversation || m.Delivery != message.AtMostOnce || m.From != number ||
		m.ExpiresAt.Sub(m.CreatedAt) != time.Hour {
		t.Errorf("%+v", m)
	}
}

// A receipt that staff match tells the workflow as any other does.
func TestReceiptMatchedByHand(t *testing.T) {
	b := setup(t)
	b.Start(t.Context())
	defer b.Stop()
	id := message.NewID()
	b.journal.inbounds.match = message.Matched{Known: true, Applied: true, MessageID: id, Part: 1, Progress: message.Progress{Status: message.StatusSent, Segments: 1, Settled: 1}}
	if err := b.MatchReceipt(t.Context(), message.Actor{Name: "tester"}, message.NewID(), id, 1); err != nil {
		t.Fatal(err)
	}
	b.server.until(func() bool { return b.server.told[id] == 1 })
}

// What came from a handset is not the customer's to withdraw.
func TestInboundIsNotWithdrawn(t *testing.T) {
	b := setup(t)
	b.outcome.Status = message.StatusCanceled
	b.server.cancel = message.Refuse(message.ReasonNotFound, "no workflow")
	a := b.came(t, b.mo("hello"))
	b.journal.accepted = append(b.journal.accepted, message.Acceptance{Message: a.Message})
	if err := b.Cancel(t.Context(), a.ID); message.ReasonOf(err) != message.ReasonConflict || len(b.outcomes) != 0 {
		t.Errorf("%v, %+v", err, b.outcomes)
	}
}

// A message that the journal could not take is not passed over: who goes on after what
// was done begins with it.
func TestRedriveGoesOnWithWhatFailed(t *testing.T) {
	b := setup(t)
	var ids []message.ID
	for range 3 {
		m := b.mo("where is it?")
		m.To = string(number)
		ids = append(ids, message.NewID())
		b.journal.inbounds.unrouted = append(b.journal.inbounds.unrouted, message.Unrouted{ID: ids[len(ids)-1], InboundMessage: m})
	}
	calls := 0
	b.journal.fault = func(step string) (before, after error) {
		if step == "redrive" {
			calls++
		}
		if calls == 2 {
			return errors.New("no connection"), nil
		}
		return nil, nil
	}
	by := message.Actor{Name: "tester"}
	out, last, err := b.RedriveAll(t.Context(), by, "", message.ID{})
	if err == nil || out.Taken != 1 || last != ids[0] {
		t.Fatalf("%+v, to go on after %s, want %s: %v", out, last, ids[0], err)
	}
	calls = 10
	if out, _, err := b.RedriveAll(t.Context(), by, "", last); err != nil || out.Taken != 2 {
		t.Errorf("%+v, %v", out, err)
	}
}
