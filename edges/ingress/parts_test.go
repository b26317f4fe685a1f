package ingress_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// part is one of a message from the usual source, as GSM 7-bit octets.
func (b *bundle) part(reference, number, total int, octets string) ingress.Part {
	r := b.request()
	r.Edge, r.Body = message.EdgeSMPP, ""
	r.SMPP = &message.SMPPOrigin{CredentialID: b.account.ID, Registered: 1, Source: message.SMPPAddress{Text: "1"}, Dest: message.SMPPAddress{Text: "2"}}
	return ingress.Part{Request: r, Reference: reference, Number: number, Total: total, Octets: []byte(octets)}
}

func (b *bundle) take(t testing.TB, p ingress.Part) string {
	t.Helper()
	out, err := b.Part(t.Context(), p)
	if err != nil || out.Replay != nil || out.AnswerID == "" {
		t.Fatalf("%+v, %v", out, err)
	}
	return out.AnswerID
}

// answers lists all ids that lead to a message, its own first.
func answers(a message.Acceptance) []string {
	ids := []string{a.Origin.AnswerID}
	for _, o := range a.More {
		ids = append(ids, o.AnswerID)
	}
	return ids
}

func TestPartsAreJoined(t *testing.T) {
	b := setup(t)
	var seen []string
	b.Metrics.Status = func(_ *message.Message, s message.Status, _ message.Reason) { seen = append(seen, string(s)) }
	second := b.part(7, 2, 3, "two ")
	second.Request.SMPP.AnswerID = "0000a1b2"
	first := b.part(7, 1, 3, "one ")
	first.Request.ClientReference, first.Request.Validity, first.Request.Class = "order-1", time.Hour, message.ClassOTP
	ids := []string{b.take(t, second), b.take(t, first)}
	if len(b.journal.accepted) != 0 {
		t.Fatal("joined without its last part")
	}
	ids = append(ids, b.take(t, b.part(7, 3, 3, "three")))
	if len(b.journal.accepted) != 1 || len(b.journal.parts) != 0 {
		t.Fatalf("%d messages, %d parts left", len(b.journal.accepted), len(b.journal.parts))
	}
	a := b.journal.accepted[0]
	m := a.Message
	if message.Hex32(m.ID) != ids[1] || ids[0] != "0000a1b2" || !slices.Equal(answers(a), []string{ids[1], ids[0], ids[2]}) || !a.Owed {
		t.Errorf("message %s is known as %v, parts were answered %v", m.ID, answers(a), ids)
	}
	if m.Body != "one two three" || m.Status != message.StatusAccepted || m.Segments != 1 || m.ClientReference != "order-1" || m.Class != message.ClassOTP ||
		m.ExpiresAt.Sub(m.CreatedAt) != time.Hour || m.Edge != message.EdgeSMPP || m.CampaignID != "C1" || m.Price.Amount == 0 {
		t.Errorf("%+v", m)
	}
	if strings.Join(seen, " ") != "accepted" {
		t.Errorf("metrics %v", seen)
	}
}

// A character may lie across two parts.
func TestPartsSplitACharacter(t *testing.T) {
	for name, c := range map[string]struct {
		coding byte
		octets []string
		want   string
	}{
		"surrogates":  {8, []string{"\x00h\xd8\x3d", "\xde\x00\x00!"}, "h\U0001F600!"},
		"half a unit": {8, []string{"\x00h\x00", "i"}, "hi"},
		"escape":      {0, []string{"5 \x1b", "\x65"}, "5 €"},
	} {
		b := setup(t)
		for i, octets := range c.octets {
			p := b.part(1, i+1, len(c.octets), octets)
			p.Coding = c.coding
			if c.coding == 8 {
				p.Request.Encoding = message.EncodingUCS2
			}
			b.take(t, p)
		}
		if len(b.journal.accepted) != 1 || b.journal.accepted[0].Message.Body != c.want || b.journal.accepted[0].Message.Status != message.StatusAccepted {
			t.Errorf("%s: %+v", name, b.journal.accepted)
		}
	}
}

// What cannot be sent once it is joined is a refused message, with its receipts.
func TestPartsRefusedWhenJoined(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b *bundle, last *ingress.Part)
		reason message.Reason
	}{
		"other data_coding": {func(_ *bundle, p *ingress.Part) { p.Coding = 8 }, message.ReasonEncodingMismatch},
		"not in alphabet":   {func(_ *bundle, p *ingress.Part) { p.Octets = []byte{0xE9} }, message.ReasonEncodingMismatch},
		"too long":          {func(b *bundle, p *ingress.Part) { p.Octets = []byte(strings.Repeat("a", 1601)) }, message.ReasonMessageTooLong},
		"route gone": {func(b *bundle, p *ingress.Part) {
			b.journal.fault = func(string) (error, error) { b.config.Routes = nil; return nil, nil }
		}, message.ReasonNoRoute},
		"account gone": {func(b *bundle, p *ingress.Part) {
			b.journal.fault = func(string) (error, error) { delete(b.config.Accounts, b.account.ID); return nil, nil }
		}, message.ReasonAccountSuspended},
	} {
		b := setup(t)
		b.take(t, b.part(1, 1, 2, "one"))
		last := b.part(1, 2, 2, "two")
		c.change(b, &last)
		b.take(t, last)
		if len(b.journal.accepted) != 1 {
			t.Fatalf("%s: %d messages", name, len(b.journal.accepted))
		}
		a := b.journal.accepted[0]
		if a.Message.Status != message.StatusRejected || a.Message.Error == nil || a.Message.Error.Reason != c.reason || !a.Owed || len(a.More) != 1 || a.Message.From != number {
			t.Errorf("%s: %+v", name, a.Message)
		}
	}
}

// What is wrong with a part alone is its answer, and nothing is stored.
func TestPartRefused(t *testing.T) {
	b := setup(t)
	foreign := b.part(1, 1, 2, "one")
	foreign.Request.From = "+12025550199"
	if _, err := b.Part(t.Context(), foreign); message.ReasonOf(err) != message.ReasonUnauthorizedSender {
		t.Errorf("a foreign sender: %v", err)
	}
	b.account.Status = snapshot.AccountSuspended
	if _, err := b.Part(t.Context(), b.part(1, 1, 2, "one")); message.ReasonOf(err) != message.ReasonAccountSuspended {
		t.Errorf("suspended: %v", err)
	}
	b.account.Status = snapshot.AccountActive
	b.journal.down = errAway
	if _, err := b.Part(t.Context(), b.part(1, 1, 2, "one")); err == nil {
		t.Error("taken although it was not stored")
	}
	if len(b.journal.parts)+len(b.journal.accepted) != 0 {
		t.Error("something was stored")
	}
}

func TestPartWithKey(t *testing.T) {
	b := setup(t)
	p := b.part(1, 1, 2, "one")
	p.Request.Key = &ingress.Key{Operation: "submit_sm", Value: "k", Render: func(m *message.Message, _ *message.Error) (int, []byte, error) {
		return 0, []byte(message.Hex32(m.ID)), nil
	}}
	id := b.take(t, p)
	if out, err := b.Part(t.Context(), p); err != nil || out.Replay == nil || string(out.Replay.Response) != id || len(b.journal.parts) != 1 {
		t.Errorf("%+v, %v, %d parts", out, err, len(b.journal.parts))
	}
	// Also when the rules would refuse it by now: it was answered.
	b.account.Status = snapshot.AccountSuspended
	if out, err := b.Part(t.Context(), p); err != nil || out.Replay == nil || string(out.Replay.Response) != id {
		t.Errorf("after the account was suspended: %+v, %v", out, err)
	}
	p.Request.Key = nil
	if _, err := b.Part(t.Context(), p); message.ReasonOf(err) != message.ReasonAccountSuspended {
		t.Errorf("without a key: %v", err)
	}
}

// A set that stays incomplete fails 60 s after its newest part.
func TestMissingPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.Start(t.Context())
		defer b.Stop() // should it end early
		ids := []string{b.take(t, b.part(1, 3, 3, "three"))}
		pass(40 * time.Second)
		ids = append(ids, b.take(t, b.part(1, 2, 3, "two ")))
		pass(59 * time.Second)
		synctest.Wait()
		if len(b.journal.all()) != 0 {
			t.Fatal("given up too early")
		}
		pass(4 * time.Second)
		synctest.Wait()
		all := b.journal.all()
		if len(all) != 1 {
			t.Fatalf("%d messages", len(all))
		}
		a := all[0]
		m := a.Message
		if m.Status != message.StatusFailed || m.Error.Reason != message.ReasonMissingPart || message.Hex32(m.ID) != ids[1] || !a.Owed || m.Body != "two three" {
			t.Errorf("%+v %v", m, m.Error)
		}
		if !slices.Equal(answers(a), []string{ids[1], ids[0]}) {
			t.Errorf("known as %v, want %v", answers(a), ids)
		}
		// The part that comes now is alone.
		late := b.take(t, b.part(1, 1, 3, "one "))
		pass(63 * time.Second)
		b.Stop()
		if len(b.journal.accepted) != 2 || len(b.journal.parts) != 0 || answers(b.journal.accepted[1])[0] != late || b.server.asked != 0 {
			t.Errorf("%d messages, %d parts, %d starts", len(b.journal.accepted), len(b.journal.parts), b.server.asked)
		}
	})
}

// A part that comes again after its set was joined leads to the same message.
func TestRepeatedParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.Start(t.Context())
		defer b.Stop()
		ids := []string{b.take(t, b.part(1, 1, 2, "one ")), b.take(t, b.part(1, 2, 2, "two"))}
		ids = append(ids, b.take(t, b.part(1, 2, 2, "two")))                                     // one of them
		pass(70 * time.Second)                                                                   // alone it waits for the rest
		ids = append(ids, b.take(t, b.part(1, 1, 2, "one ")), b.take(t, b.part(1, 2, 2, "two"))) // all
		next := []string{b.take(t, b.part(1, 1, 2, "one ")), b.take(t, b.part(1, 2, 2, "more"))} // a message that begins alike
		alone := b.take(t, b.part(3, 1, 2, "alone"))
		pass(80 * time.Second)
		b.Stop()
		all := b.journal.all()
		texts := map[string]message.Acceptance{}
		for _, a := range all {
			texts[a.Message.Body] = a
		}
		if len(all) != 3 || len(b.journal.parts) != 0 || texts["one more"].Message == nil || texts["one two"].Message == nil {
			t.Fatalf("%d messages, %d parts left", len(all), len(b.journal.parts))
		}
		if got := answers(texts["one two"]); !slices.Equal(sorted(got), sorted(ids)) {
			t.Errorf("known as %v, answered %v", got, ids)
		}
		if got := answers(texts["one more"]); !slices.Equal(got, next) {
			t.Errorf("known as %v, answered %v", got, next)
		}
		if m := texts["alone"].Message; m == nil || m.Status != message.StatusFailed || answers(texts["alone"])[0] != alone {
			t.Errorf("%+v", m)
		}
		if b.journal.forgot == 0 {
			t.Error("nothing is ever forgotten")
		}
	})
}

func sorted(ids []string) []string { return slices.Sorted(slices.Values(ids)) }

// What repeats a message never ends up in the next one of the same reference, as
// long as that comes whole.
func TestRepeatedPartStaysOutOfTheNextMessage(t *testing.T) {
	b := setup(t)
	for n, octets := range []string{"a1 ", "a2 ", "a3"} {
		b.take(t, b.part(1, n+1, 3, octets))
	}
	b.take(t, b.part(1, 3, 3, "a3"))
	for n, octets := range []string{"b1 ", "b2 ", "b3"} {
		b.take(t, b.part(1, n+1, 3, octets))
	}
	if all := b.journal.all(); len(all) != 2 || all[1].Message.Body != "b1 b2 b3" {
		t.Errorf("%+v", all)
	}
}

// Whoever stores the message tells of it and starts it, also when that is the
// sweeper.
func TestSweptPartsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		var mu sync.Mutex
		var seen []string
		b.Metrics.Accepted = func(edge string, _ time.Duration) { mu.Lock(); defer mu.Unlock(); seen = append(seen, edge) }
		b.Metrics.Status = func(_ *message.Message, s message.Status, r message.Reason) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, string(s)+" "+string(r))
		}
		died := false
		b.journal.fault = func(step string) (error, error) {
			if step == "accept" && !died {
				died = true
				return errAway, nil
			}
			return nil, nil
		}
		b.take(t, b.part(1, 1, 2, "one "))
		b.take(t, b.part(1, 2, 2, "two")) // not joined
		b.take(t, b.part(2, 1, 2, "alone"))
		if len(seen) != 0 {
			t.Fatalf("told %q of messages that are not there", seen)
		}
		b.Start(t.Context())
		pass(70 * time.Second)
		b.Stop()
		want := []string{"smpp", "accepted ", "smpp", "failed missing_part"}
		if !slices.Equal(seen, want) {
			t.Errorf("told %q, want %q", seen, want)
		}
		if all := b.journal.all(); len(all) != 2 || b.server.begun[all[0].Message.ID] != 1 {
			t.Errorf("%d messages, starts %v", len(all), b.server.begun)
		}
	})
}

// A message that was stored before is neither told of nor started again.
func TestJoinedTwiceIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		told := 0
		b.Metrics.Accepted = func(string, time.Duration) { told++ }
		left := 2
		b.journal.fault = func(step string) (error, error) {
			if step == "mark" && left > 0 {
				left--
				return errAway, nil
			}
			return nil, nil
		}
		b.take(t, b.part(1, 1, 2, "one "))
		b.take(t, b.part(1, 2, 2, "two"))
		b.Start(t.Context())
		pass(30 * time.Second)
		b.Stop()
		if left != 0 || told != 1 || len(b.journal.parts) != 0 || len(b.journal.all()) != 1 {
			t.Errorf("told %d times, %d parts left", told, len(b.journal.parts))
		}
	})
}

// The customer's webhooks hear of a message that ends when its parts are put
// together, as of any other end; of one that goes on its workflow tells.
func TestPartsThatEndAreNotified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.config.Endpoints = map[message.ID][]snapshot.Endpoint{b.account.ID: {
			{ID: message.NewID(), URL: "https://shop.example/failed", EventTypes: []string{"message.failed"}},
			{ID: message.NewID(), URL: "https://shop.example/all"},
		}}
		b.Start(t.Context())
		b.take(t, b.part(1, 1, 2, "alone"))
		bad := b.part(2, 2, 2, "\xE9")
		b.take(t, b.part(2, 1, 2, "refused "))
		b.take(t, bad)
		b.take(t, b.part(3, 1, 2, "goes "))
		b.take(t, b.part(3, 2, 2, "on"))
		pass(70 * time.Second)
		b.Stop()
		got := map[string][]string{}
		for _, a := range b.journal.all() {
			urls := []string{}
			for _, n := range a.Notifications {
				urls = append(urls, n.Type+" "+n.URL)
				if !strings.Contains(n.Payload, message.SequencePlaceholder) || !strings.Contains(n.Payload, a.Message.ID.String()) {
					t.Errorf("%s", n.Payload)
				}
			}
			got[string(a.Message.Status)] = urls
		}
		want := map[string][]string{
			"failed":   {"message.failed https://shop.example/failed", "message.failed https://shop.example/all"},
			"rejected": {"message.rejected https://shop.example/all"},
			"accepted": {"message.accepted https://shop.example/all"},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

// What nobody has swept for long is no part of a message that comes now.
func TestLeftoversStayApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		old := b.take(t, b.part(1, 1, 2, "old "))
		pass(time.Hour) // all sweepers are down
		b.take(t, b.part(1, 2, 2, "new"))
		if all := b.journal.all(); len(all) != 0 {
			t.Fatalf("joined to %q", all[0].Message.Body)
		}
		b.take(t, b.part(1, 1, 2, "brand "))
		b.Start(t.Context())
		pass(10 * time.Second)
		b.Stop()
		all := b.journal.all()
		if len(all) != 2 || all[0].Message.Body != "brand new" || all[1].Message.Status != message.StatusFailed || answers(all[1])[0] != old {
			t.Errorf("%d messages: %+v", len(all), all)
		}
	})
}

// A send time that comes while the message waits for its parts is no mistake.
func TestScheduleComesWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		for n := range 3 {
			p := b.part(1, n+1, 3, "x")
			if n == 0 {
				p.Request.SendAt = time.Now().Add(10 * time.Second)
			}
			b.take(t, p)
			pass(50 * time.Second)
		}
		all := b.journal.all()
		if len(all) != 1 || all[0].Message.Status != message.StatusAccepted || !all[0].Message.SendAt.IsZero() {
			t.Errorf("%+v", all)
		}
	})
}

// cut is a text in parts, with the set that they make.
type cut struct {
	text   string
	coding byte
	octets [][]byte
}

// drawCut cuts a text as an ESME does, or anywhere.
func drawCut(rt *rapid.T, label string) cut {
	enc := rapid.SampledFrom([]message.Encoding{message.EncodingGSM7, message.EncodingUCS2}).Draw(rt, label+" encoding")
	alphabet := []rune("abc €[]é@")
	if enc == message.EncodingUCS2 {
		alphabet = []rune("aж漢\U0001F600\U0001F680\uFFFD")
	}
	c := cut{text: rapid.StringOfN(rapid.SampledFrom(alphabet), 170, 300, -1).Draw(rt, label+" text")}
	encode := func(s string) []byte {
		if enc == message.EncodingUCS2 {
			c.coding = 8
			return text.EncodeUCS2(s)
		}
		octets, err := text.EncodeGSM7(s)
		if err != nil {
			rt.Fatal(err)
		}
		return octets
	}
	if rapid.Bool().Draw(rt, label+" cut well") {
		parts, err := text.Split(c.text, enc, rapid.Bool().Draw(rt, label+" wide"))
		if err != nil {
			rt.Fatal(err)
		}
		for _, p := range parts {
			c.octets = append(c.octets, encode(p))
		}
		return c
	}
	all := encode(c.text)
	for len(all) > 100 && len(c.octets) < 9 {
		n := rapid.IntRange(1, 100).Draw(rt, label+" octets")
		c.octets, all = append(c.octets, all[:n]), all[n:]
	}
	c.octets = append(c.octets, all)
	return c
}

// Sets whose parts come in any order, some again and again, mixed with each other,
// and with a death at any step: each becomes one message with its text, nothing
// fails, and every id that was answered belongs to one message.
func TestPartsProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cuts := make([]cut, rapid.IntRange(1, 3).Draw(rt, "sets"))
		type piece struct{ set, number int }
		var order []piece
		for i := range cuts {
			cuts[i] = drawCut(rt, fmt.Sprint("set ", i))
			for n := range cuts[i].octets {
				order = append(order, piece{i, n + 1})
			}
		}
		order = rapid.Permutation(order).Draw(rt, "order")
		for range rapid.IntRange(0, len(order)).Draw(rt, "repetitions") {
			of := order[rapid.IntRange(0, len(order)-1).Draw(rt, "of")]
			order = slices.Insert(order, rapid.IntRange(0, len(order)).Draw(rt, "before"), of)
		}
		step := rapid.SampledFrom([]string{"none", "add", "accept", "mark"}).Draw(rt, "dies at")
		dieAt, after := rapid.IntRange(1, 2*len(order)).Draw(rt, "time"), rapid.Bool().Draw(rt, "after it was done")
		var wrong string
		synctest.Test(t, func(t *testing.T) {
			b := setup(t)
			calls := 0
			b.journal.fault = func(s string) (error, error) {
				if s == step {
					calls++
				}
				switch {
				case s != step || calls != dieAt:
					return nil, nil
				case after:
					return nil, errAway
				}
				return errAway, nil
			}
			answered := map[string]bool{}
			for _, p := range order {
				part := b.part(p.set, p.number, len(cuts[p.set].octets), string(cuts[p.set].octets[p.number-1]))
				part.Coding = cuts[p.set].coding
				if part.Coding == 8 {
					part.Request.Encoding = message.EncodingUCS2
				}
				out, err := b.Part(t.Context(), part)
				if err != nil { // stored or not: the ESME submits it again
					out, err = b.Part(t.Context(), part)
				}
				if err == nil {
					answered[out.AnswerID] = true
				}
				pass(time.Millisecond)
			}
			b.Start(t.Context())
			pass(80 * time.Second)
			b.Stop()
			wrong = b.judge(cuts, answered)
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// judge says what is wrong with the messages of the cuts.
func (b *bundle) judge(cuts []cut, answered map[string]bool) string {
	if len(b.journal.parts) != 0 {
		return fmt.Sprintf("%d parts are left", len(b.journal.parts))
	}
	var texts []string
	known := map[string]int{}
	for _, a := range b.journal.accepted {
		for _, id := range answers(a) {
			known[id]++
		}
		if answers(a)[0] != message.Hex32(a.Message.ID) {
			return "a message is not known by its id"
		}
		switch a.Message.Status {
		case message.StatusAccepted:
			texts = append(texts, a.Message.Body)
			if b.server.begun[a.Message.ID] == 0 {
				return "an accepted message was not started"
			}
		default:
			return fmt.Sprintf("%s: %v", a.Message.Status, a.Message.Error)
		}
	}
	for id := range answered {
		if known[id] != 1 {
			return fmt.Sprintf("an answered id belongs to %d messages", known[id])
		}
	}
	var want []string
	for _, c := range cuts {
		want = append(want, c.text)
	}
	slices.Sort(want)
	slices.Sort(texts)
	if !slices.Equal(texts, want) {
		return fmt.Sprintf("joined to\n%q\nwant\n%q", texts, want)
	}
	return ""
}
