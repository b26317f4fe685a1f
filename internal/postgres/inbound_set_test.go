package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

const partsWait = time.Minute

// inPart is one part of a text of the handset's.
func (b *bundle) inPart(reference, number, of int, text string, at time.Time) message.Arrival {
	a := b.owned(b.arrival(text))
	a.Raw, a.Reference, a.Part, a.Parts, a.ReceivedAt = []byte(text), reference, number, of, at.UTC().Truncate(time.Microsecond)
	a.Join, a.Wait = b.joining, partsWait
	return a
}

// joining is what ingress does with a set, in short: what is missing is a dot.
func (b *bundle) joining(set message.InboundSet) message.Arrival {
	texts := slices.Repeat([]string{"."}, set.Parts[0].Parts)
	for _, p := range set.Parts {
		texts[p.Part-1] = string(p.Raw)
	}
	a := b.owned(b.arrival(strings.Join(texts, "|")))
	a.Sender, a.Number = message.Address(set.Parts[0].From), message.Address(set.Parts[0].To)
	a.Joined, a.Missing = set.Parts[0].Parts, set.Missing()
	return b.toRecord(a)
}

// toRecord makes the arrival one that becomes a message of the record.
func (b *bundle) toRecord(a message.Arrival) message.Arrival {
	a.Message = &message.Message{ID: a.ID, AccountID: a.AccountID, Direction: message.Inbound, Kind: message.SMS, Status: message.StatusAccepted, From: a.Sender, To: a.Number,
		Body: a.Text, Encoding: a.Encoding, Segments: max(1, a.Joined), Class: message.ClassConversation, Delivery: message.AtLeastOnce, VendorID: a.VendorID, Vendor: b.vendor.Name,
		Edge: "smpp", Incomplete: a.Missing > 0, CreatedAt: a.ReceivedAt, ExpiresAt: a.ReceivedAt.Add(message.InboundValidity)}
	return a
}

// inboxed are the texts of the owner's inbound messages in the record, in order.
func (b *bundle) inboxed() []string {
	b.tb.Helper()
	list, err := b.Messages(b.ctx, b.owner, message.Filter{Direction: message.Inbound}, message.ID{}, 10_000)
	if err != nil {
		b.tb.Fatal(err)
	}
	var texts []string
	for _, m := range list {
		texts = append(texts, m.Body)
	}
	slices.Sort(texts)
	return texts
}

// over is what the sweep does.
func (b *bundle) over(wait time.Duration) []message.ArrivedWhole {
	b.tb.Helper()
	wholes, err := b.InboundOver(b.ctx, wait, 100, b.joining)
	if err != nil {
		b.tb.Fatal(err)
	}
	return wholes
}

func (b *bundle) waitingParts() int {
	b.tb.Helper()
	return b.count("select count(*) from inbound_messages where parts > 1 and whole_id is null")
}

func TestPartsBecomeAMessage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := time.Now()
	var last message.Arrived
	for i, n := range []int{3, 1, 3, 2, 2, 1} {
		out := b.came(b.inPart(7, n, 3, fmt.Sprint("p", n), now.Add(time.Duration(i)*time.Second)))
		if done := len(out.Wholes) == 1; done != (i == 3) || out.Start != nil || out.Again {
			t.Errorf("part %d: %+v", n, out)
		}
		if len(out.Wholes) == 1 {
			last = out
		}
	}
	if got := b.inboxed(); !slices.Equal(got, []string{"p1|p2|p3"}) {
		t.Fatalf("recorded %q", got)
	}
	w := last.Wholes[0]
	if w.Start == nil || w.Start.AccountID != b.owner || w.AccountID != b.owner || w.Missing != 0 {
		t.Errorf("%+v", w)
	}
	m, err := b.Message(b.ctx, w.Start.MessageID)
	if err != nil || m.Direction != message.Inbound || m.Status != message.StatusAccepted || m.From != handset || m.To != ours || m.Segments != 3 || m.Incomplete ||
		m.Vendor != "north" || m.VendorID != b.vendor.ID || m.Edge != "smpp" || m.Class != message.ClassConversation || m.DuplicatePoss || !m.ExpiresAt.After(m.CreatedAt.Add(71*time.Hour)) {
		t.Errorf("%+v, %v", m, err)
	}
	if got := b.story(m.ID); got != "received" || len(b.timeline(m)) != 1 {
		t.Errorf("its story: %s", got)
	}
	if d := b.timeline(m)[0].Detail; d["vendor"] != "north" {
		t.Errorf("it came from %v", d)
	}
	if n := b.count("select count(*) from inbound_starts where message_id = $1", m.ID); n != 1 {
		t.Errorf("%d rows in the outbox", n)
	}
	if wholes := b.over(0); len(wholes) != 0 {
		t.Errorf("the sweep makes %+v", wholes)
	}
	if records := b.records(); len(records) != 3 || records[0].ID != m.ID && records[1].ID != m.ID && records[2].ID != m.ID {
		t.Errorf("%+v", records) // the message, and what came again behind it
	}
}

// What stays incomplete is taken as it is, and one more part does not open it again.
func TestPartsThatNeverCome(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begin := time.Now().Add(-2 * time.Hour)
	b.came(b.inPart(7, 1, 3, "a", begin))
	b.came(b.inPart(7, 3, 3, "c", begin.Add(50*time.Second)))
	b.came(b.inPart(8, 2, 2, "d", time.Now()))
	wholes := b.over(partsWait)
	if got := b.inboxed(); len(wholes) != 1 || wholes[0].Missing != 1 || wholes[0].Start == nil || !slices.Equal(got, []string{"a|.|c"}) {
		t.Fatalf("%+v, recorded %q", wholes, got)
	}
	m, err := b.Message(b.ctx, wholes[0].Start.MessageID)
	if err != nil || !m.Incomplete || m.Segments != 3 {
		t.Errorf("%+v, %v", m, err)
	}
	// The vendor sends all once more: it is the same message, and now it is whole. What
	// is new in it is not enough by itself.
	again := begin.Add(2 * time.Minute)
	for i, text := range []string{"a", "b", "c"} {
		b.came(b.inPart(7, i+1, 3, text, again))
	}
	b.over(partsWait)
	if got := b.inboxed(); !slices.Equal(got, []string{"a|.|c", "a|b|c"}) {
		t.Errorf("recorded %q", got)
	}
	// And the same repeated without anything new is nothing.
	for i, text := range []string{"a", "b", "c"} {
		b.came(b.inPart(7, i+1, 3, text, again.Add(time.Minute)))
	}
	if wholes := b.over(partsWait); len(wholes) != 0 {
		t.Errorf("%+v", wholes)
	}
	if n := b.waitingParts(); n != 1 {
		t.Errorf("%d parts wait", n)
	}
}

// A reference comes again: hours later, and at once in messages that begin alike.
func TestReferencesComeAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := time.Now().Add(-time.Hour)
	b.came(b.inPart(7, 1, 2, "old", now.Add(-5*time.Hour)))
	b.came(b.inPart(7, 2, 2, "new", now))
	out := b.came(b.inPart(7, 1, 2, "brand", now.Add(time.Second)))
	if got := b.inboxed(); !slices.Equal(got, []string{"brand|new", "old|."}) || len(out.Wholes) == 0 {
		t.Errorf("recorded %q", got)
	}
	b.came(b.inPart(9, 1, 2, "Dear customer", now))
	b.came(b.inPart(9, 2, 2, "first", now))
	b.came(b.inPart(9, 2, 2, "second", now.Add(time.Second)))
	b.came(b.inPart(9, 1, 2, "Dear customer", now.Add(2*time.Second)))
	b.over(partsWait)
	if got := b.inboxed(); !slices.Equal(got, []string{"Dear customer|first", "Dear customer|second", "brand|new", "old|."}) {
		t.Errorf("recorded %q", got)
	}
	// Of another number of parts, another sender or another vendor it is another's.
	b.came(b.inPart(11, 1, 2, "x", now))
	b.came(b.inPart(11, 2, 3, "y", now))
	other := b.inPart(11, 2, 2, "z", now)
	other.Sender, other.From = "+13105550118", "13105550118"
	b.came(other)
	third := b.inPart(11, 2, 2, "v", now)
	third.VendorID = message.NewID()
	b.came(third)
	if got := b.inboxed(); len(got) != 4 {
		t.Errorf("recorded %q", got)
	}
}

// Parts that a release without reassembly has stored are joined, or end.
func TestPartsOfEarlierReleases(t *testing.T) {
	t.Parallel()
	b := setup(t)
	long := time.Now().Add(-30 * time.Hour)
	for i, p := range []struct {
		number int
		text   string
		after  time.Duration
	}{{1, "a", 0}, {2, "b", time.Second}, {1, "c", 10 * time.Hour}, {1, "d", 20 * time.Hour}, {2, "e", 20*time.Hour + time.Second}} {
		a := b.inPart(5, p.number, 2, p.text, long.Add(p.after))
		a.VendorRef = fmt.Sprint("old-", i)
		args, err := b.inboundArgs(a)
		if err != nil {
			t.Fatal(err)
		}
		b.exec(insertInbound, args...)
	}
	wholes := b.over(partsWait)
	if got := b.inboxed(); len(wholes) != 3 || !slices.Equal(got, []string{"a|b", "c|.", "d|e"}) {
		t.Errorf("%+v, recorded %q", wholes, got)
	}
}

// A keyword of a joined message is done in the same commit, and its answer is owed.
func TestKeywordInParts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := time.Now()
	parts := []message.Arrival{b.inPart(3, 1, 2, "ST", now), b.inPart(3, 2, 2, "OP", now)}
	for i := range parts {
		parts[i].Join = func(message.InboundSet) message.Arrival {
			a := b.toRecord(b.keyword(message.KeywordStop))
			a.Joined = 2
			return a
		}
	}
	if out := b.came(parts[0]); len(out.Wholes) != 0 {
		t.Errorf("%+v", out)
	}
	out := b.came(parts[1])
	if len(out.Wholes) != 1 || out.Wholes[0].Reply == nil || out.Wholes[0].Start == nil {
		t.Fatalf("%+v", out)
	}
	if active, _ := b.opted(); active != 1 {
		t.Errorf("%d opt-outs", active)
	}
	m, err := b.Message(b.ctx, out.Wholes[0].Start.MessageID)
	if err != nil || b.story(m.ID) != "received opt_out_recorded reply_owed" || len(b.timeline(m)) != 3 {
		t.Errorf("%v, %s", err, b.story(m.ID))
	}
	if out := b.came(parts[0]); len(out.Wholes) != 0 {
		t.Errorf("once more: %+v", out)
	}
}

// setsOf against a model: nothing is in two sets, nothing that is fresh is lost in the
// end, whole sets come at once, and time alone ends the others.
func TestSetsProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		parts := rapid.IntRange(2, 5).Draw(rt, "parts")
		at := time.Unix(0, 0)
		var rows []setRow
		for range rapid.IntRange(0, 30).Draw(rt, "rows") {
			at = at.Add(rapid.SampledFrom([]time.Duration{0, time.Second, partsWait, partsWait + 1, time.Hour}).Draw(rt, "gap"))
			rows = append(rows, setRow{id: message.NewID(), part: rapid.IntRange(1, parts).Draw(rt, "part"), repeat: rapid.IntRange(0, 3).Draw(rt, "repeat") == 0, at: at})
		}
		now := at.Add(rapid.SampledFrom([]time.Duration{0, partsWait, partsWait + 1}).Draw(rt, "later"))
		in := map[message.ID]bool{}
		for _, set := range setsOf(rows, parts, partsWait, now) {
			numbers := map[int]bool{}
			fresh := 0
			for _, r := range set {
				if numbers[r.part] || !r.repeat && in[r.id] {
					rt.Fatalf("%+v is in two places", r)
				}
				numbers[r.part] = true
				if !r.repeat {
					in[r.id] = true
					fresh++
				}
			}
			if fresh == 0 {
				rt.Fatalf("a set of repetitions: %+v", set)
			}
			last := slices.MaxFunc(set, func(a, b setRow) int { return a.at.Compare(b.at) }).at
			later := slices.ContainsFunc(rows, func(r setRow) bool { return !r.repeat && r.at.Sub(last) > partsWait })
			if len(set) < parts && !later && now.Sub(last) <= partsWait && !slices.ContainsFunc(rows, func(r setRow) bool { return !r.repeat && r.at.After(last) }) {
				rt.Fatalf("ended too early: %+v at %s", set, now)
			}
		}
		left := map[int]bool{}
		for _, r := range rows {
			if !r.repeat && !in[r.id] {
				left[r.part] = true
				if now.Sub(r.at) > time.Duration(len(rows)+1)*partsWait {
					rt.Fatalf("%+v waits for ever", r)
				}
			}
		}
		if len(left) == parts {
			rt.Fatal("a whole set waits")
		}
	})
}

// Parts of many messages, in any order and each several times, over several processes
// at once, some of which die after or before their commit: each message is there once
// and whole, and is to be started once.
func TestPartsArriveOnceAndWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	replicas := []*DB{b.DB, b.replica(), b.replica()}
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		if round > 8 { // each takes a second
			return
		}
		messages := rapid.IntRange(1, 12).Draw(rt, "messages")
		of := rapid.IntRange(2, 8).Draw(rt, "parts")
		now := time.Now()
		var all []message.Arrival
		var want []string
		for i := range messages {
			var texts []string
			for n := 1; n <= of; n++ {
				texts = append(texts, fmt.Sprintf("%d-%d-%d", round, i, n))
				for range rapid.IntRange(1, 3).Draw(rt, "times") {
					a := b.inPart(round<<8+i, n, of, texts[n-1], now)
					a.From, a.To, a.Sender = "+13105550117", string(ours), handset
					all = append(all, a)
				}
			}
			want = append(want, strings.Join(texts, "|"))
		}
		all = rapid.Permutation(all).Draw(rt, "order")
		deaths := rapid.SliceOfN(rapid.IntRange(0, 9), len(all), len(all)).Draw(rt, "deaths")
		var wg sync.WaitGroup
		turns := make(chan int)
		for _, db := range replicas {
			for range 4 {
				wg.Go(func() {
					for i := range turns {
						b.deliver(db, all[i], deaths[i])
					}
				})
			}
		}
		for i := range all {
			turns <- i
		}
		close(turns)
		wg.Wait()
		slices.Sort(want)
		if got := slices.DeleteFunc(b.inboxed(), func(s string) bool { return !strings.HasPrefix(s, fmt.Sprint(round, "-")) }); !slices.Equal(got, want) {
			rt.Fatalf("recorded %q\nwant %q", got, want)
		}
		if n, m := b.count("select count(*) from inbound_starts"), b.count("select count(*) from messages where direction = 'inbound'"); n != m {
			rt.Fatalf("%d messages and %d to be started", m, n)
		}
	})
	b.over(-time.Hour)
	if n := b.count("select count(*) from messages where not complete"); n != 0 {
		t.Errorf("%d are incomplete", n)
	}
}

// deliver hands a part over as a vendor link does: until it has an answer. A death of 0
// cuts the process off in the middle, of 1 loses its answer.
func (b *bundle) deliver(db *DB, a message.Arrival, death int) {
	for try := 0; ; try++ {
		ctx := b.ctx
		if try == 0 && death == 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			join := a.Join
			a.Join = func(s message.InboundSet) message.Arrival { cancel(); return join(s) }
			defer cancel()
		}
		_, err := db.Inbound(ctx, a)
		switch {
		case err == nil && try == 0 && death == 1:
			a.ID = message.NewID() // the vendor sends it again
		case err == nil:
			return
		case !errors.Is(err, context.Canceled):
			b.tb.Errorf("%v", err)
			return
		default:
			a.ID = message.NewID()
		}
	}
}
