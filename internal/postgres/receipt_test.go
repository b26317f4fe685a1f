package postgres

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// early is the submit side's look for receipts that overtook its answer.
func (b *bundle) early(ids ...string) bool {
	b.tb.Helper()
	came, err := b.EarlyReceipts(b.ctx, b.vendor.ID, pick(ids, message.NormalizeVendorID))
	if err != nil {
		b.tb.Fatal(err)
	}
	return came
}

// settlements lists what is to be settled, as the sweeper sees it.
func (b *bundle) settlements() []message.ID {
	b.tb.Helper()
	due, err := b.SettlementsDue(b.ctx, 0, 100)
	if err != nil {
		b.tb.Fatal(err)
	}
	return due
}

func TestReceiptAfterSubmit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sent("0A1")
	if b.early("0A1") {
		t.Error("a receipt was found that never came")
	}
	r := b.receipt("0A1", message.ReceiptDelivered)
	got := b.received(r)
	want := message.Matched{Known: true, Applied: true, MessageID: m.ID, Part: 1,
		Progress: message.Progress{Status: message.StatusSent, Segments: 1, Settled: 1}}
	if got != want || !got.Progress.Decided() {
		t.Errorf("%+v, want %+v", got, want)
	}
	if again := b.received(r); !again.Known || again.Applied {
		t.Errorf("the same once more: %+v", again)
	}
	p := b.parts(m)[0]
	if p.State != message.PartDelivered || p.Receipt == nil || p.Receipt.Stat != "DELIVRD" || p.Receipt.Err != "000" || !p.Receipt.At.Equal(r.DoneAt) {
		t.Errorf("part: %+v", p)
	}
	events := b.timeline(m)
	last := events[len(events)-1]
	if last.Type != message.EventReceipt || fmt.Sprint(last.Detail) != fmt.Sprint(map[string]any{"err": "000", "part": 1, "stat": "DELIVRD"}) {
		t.Errorf("timeline: %+v", last)
	}
	if due := b.settlements(); len(due) != 1 || due[0] != m.ID {
		t.Errorf("due: %v", due)
	}
	state, summary, reason, err := b.DecidingReceipt(b.ctx, m.ID)
	if err != nil || state != message.PartDelivered || summary.Stat != "DELIVRD" || reason != "" {
		t.Errorf("deciding: %s %+v %q %v", state, summary, reason, err)
	}
	// The status is the workflow's to change.
	if p := b.progress(m); p.Status != message.StatusSent || p.Delivery != message.AtMostOnce || p.Segments != 1 || p.Settled != 1 || p.Failed != 0 {
		t.Errorf("progress: %+v", p)
	}
	if n, _ := b.CountUnmatched(b.ctx); n != 0 {
		t.Errorf("%d unmatched", n)
	}
}

// A settlement is let go of once no receipt can change what the record shows; until then
// its workflow is told again later and later, by one of those who sweep.
func TestSettlementTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sent("A1")
	b.received(b.receipt("0A1", message.ReceiptDelivered))
	left := func() int { return scalar[int](b, "select count(*)::integer from settlements_due") }
	pause := func(want time.Duration) {
		t.Helper()
		if got := scalar[float64](b, "select extract(epoch from again_at - now())::float8 from settlements_due"); got > want.Seconds() || got < want.Seconds()-5 {
			t.Errorf("due in %.1f s, want %s", got, want)
		}
	}
	told := func() {
		t.Helper()
		if err := b.SettlementTold(b.ctx, m.ID); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.settlements()) != 1 {
		t.Fatal("nothing is due")
	}
	due, err := b.SettlementsDue(b.ctx, 0, 10)
	if err != nil || len(due) != 1 {
		t.Fatalf("of an age that is over: %v, %v", due, err)
	}
	b.exec("update settlements_due set since = now() - interval '1 minute', again_at = null")
	for _, want := range []int{1, 0} {
		if due, err := b.SettlementsDue(b.ctx, 30*time.Second, 10); err != nil || len(due) != want {
			t.Fatalf("%v, %v, want %d", due, err, want)
		}
	}
	pause(30 * time.Second)
	for _, want := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second} {
		told()
		pause(want)
	}
	b.exec("update settlements_due set told = 18")
	told()
	pause(time.Hour)
	b.must(message.Change{MessageID: m.ID, To: message.StatusUnconfirmed})
	if told(); left() != 1 {
		t.Error("a receipt that came late is forgotten")
	}
	b.must(message.Change{MessageID: m.ID, To: message.StatusDelivered})
	if told(); left() != 0 {
		t.Error("what is settled is due")
	}
	if err := b.DropSettlement(b.ctx, m.ID); err != nil {
		t.Error(err)
	}
}

func TestReceiptBeforeSubmit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sending(1)
	if got := b.received(b.receipt("0a1", message.ReceiptEnroute)); got != (message.Matched{}) {
		t.Errorf("matched before its id was known: %+v", got)
	}
	if got := b.received(b.receipt("00A1", message.ReceiptUndeliverable)); got != (message.Matched{}) {
		t.Errorf("matched before its id was known: %+v", got)
	}
	b.must(b.answered(m, "A1"))
	if !b.early("A1") {
		t.Error("the waiting receipt was not found")
	}
	if p := b.progress(m); !p.Decided() || p.Failed != 1 || p.Settled != 1 {
		t.Errorf("progress: %+v", p)
	}
	if p := b.parts(m)[0]; p.State != message.PartUndelivered || p.Reason != message.ReasonUnreachable || p.Receipt.Err != "011" {
		t.Errorf("part: %+v", p)
	}
	if due := b.settlements(); len(due) != 1 || due[0] != m.ID {
		t.Errorf("due: %v", due)
	}
	if b.early("A1") {
		t.Error("the receipts still wait after they were applied")
	}
	if n := b.count("select count(*) from receipts where message_id = $1 and part = 1", m.ID); n != 2 {
		t.Errorf("%d receipts name their part", n)
	}
	b.timeline(m)
}

// The race between a receipt and the answer that names its id, many times over,
// on two replicas: it is never lost and never counted twice.
func TestReceiptRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	submit, link := b.DB, b.replica()
	const rounds, segments = 60, 3
	for round := range rounds {
		m := b.sending(segments)
		var ids []string
		for p := range segments {
			ids = append(ids, fmt.Sprintf("r%d-%d", round, p))
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := submit.Advance(b.ctx, b.answered(m, ids...)); err != nil {
				t.Error(err)
			}
			if _, err := submit.EarlyReceipts(b.ctx, b.vendor.ID, ids); err != nil {
				t.Error(err)
			}
		})
		for _, id := range ids {
			for range 2 { // said twice
				wg.Go(func() {
					if _, err := link.Receipt(b.ctx, b.receipt(id, message.ReceiptDelivered)); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if p := b.progress(m); p.Settled != segments || p.Failed != 0 || p.Status != message.StatusSent {
			t.Fatalf("round %d: %+v", round, p)
		}
		if due := b.settlements(); len(due) != round+1 {
			t.Fatalf("round %d: %d due", round, len(due))
		}
		if events := b.timeline(m); len(events) != 1+1+segments+1+segments {
			t.Fatalf("round %d: %d events", round, len(events))
		}
	}
	if n, err := b.CountUnmatched(b.ctx); n != 0 || err != nil {
		t.Errorf("%d receipts match nothing, %v", n, err)
	}
}

// Repeated and contradicting receipts change nothing after the first that
// decides.
func TestReceiptRepeated(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sent("a1")
	steps := []struct {
		state         message.ReceiptState
		applied       bool
		settled, fail int
	}{
		{message.ReceiptEnroute, true, 0, 0},
		{message.ReceiptEnroute, false, 0, 0},
		{message.ReceiptAccepted, true, 0, 0},
		{message.ReceiptUnknown, true, 0, 0},
		{message.ReceiptDelivered, true, 1, 0},
		{message.ReceiptDelivered, false, 1, 0},
		{message.ReceiptUndeliverable, false, 1, 0},
		{message.ReceiptExpired, false, 1, 0},
		{message.ReceiptEnroute, false, 1, 0},
	}
	applied := 0
	for i, s := range steps {
		got := b.received(b.receipt("a1", s.state))
		if !got.Known || got.Applied != s.applied {
			t.Errorf("step %d, %s: %+v", i, s.state, got)
		}
		if s.applied {
			applied++
		}
		if p := b.progress(m); p.Settled != s.settled || p.Failed != s.fail {
			t.Errorf("step %d, %s: %+v", i, s.state, p)
		}
	}
	if p := b.parts(m)[0]; p.State != message.PartDelivered || p.Receipt.Stat != "DELIVRD" {
		t.Errorf("part: %+v", p)
	}
	if events := b.timeline(m); len(events) != 4+applied {
		t.Errorf("%d events", len(events))
	}
	if n := b.count("select seen from receipts where state = 'ENROUTE'"); n != 3 {
		t.Errorf("the repetitions were counted as %d", n)
	}
}

// The same receipt from many links at once counts once.
func TestReceiptDoubledConcurrently(t *testing.T) {
	t.Parallel()
	b := setup(t)
	replicas := []*DB{b.DB, b.replica()}
	m := b.sent("a1", "a2")
	var wg sync.WaitGroup
	var mu sync.Mutex
	applied := map[int]int{}
	for i := range 40 {
		wg.Go(func() {
			got, err := replicas[i%2].Receipt(b.ctx, b.receipt([]string{"a1", "a2"}[i/2%2], message.ReceiptDelivered))
			if err != nil {
				t.Error(err)
			}
			if got.Applied {
				mu.Lock()
				applied[got.Part]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if applied[1] != 1 || applied[2] != 1 {
		t.Errorf("applied: %v", applied)
	}
	if p := b.progress(m); p.Settled != 2 {
		t.Errorf("%+v", p)
	}
	if n := b.count("select sum(seen) from receipts"); n != 40 {
		t.Errorf("%d seen", n)
	}
}

// Long messages: each part counts once, whatever the order and the failures,
// and the first failure decides.
func TestReceiptsOfParts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	replicas := []*DB{b.DB, b.replica()}
	for failed := range 3 {
		const segments = 12
		var ids []string
		for p := range segments {
			ids = append(ids, fmt.Sprintf("f%d-%d", failed, p))
		}
		m := b.sent(ids...)
		var wg sync.WaitGroup
		for p, id := range ids {
			state := message.ReceiptDelivered
			if p%4 < failed {
				state = message.ReceiptExpired
			}
			for i := range 3 {
				wg.Go(func() {
					if _, err := replicas[(p+i)%2].Receipt(b.ctx, b.receipt(id, state)); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		p := b.progress(m)
		if p.Settled != segments || p.Failed != 3*failed {
			t.Errorf("%d of 4 failed: %+v", failed, p)
		}
		state, _, reason, err := b.DecidingReceipt(b.ctx, m.ID)
		want, why := message.PartDelivered, message.Reason("")
		if failed > 0 {
			want, why = message.PartExpired, message.ReasonUnreachable
		}
		if err != nil || state != want || reason != why {
			t.Errorf("deciding: %s %s, %v", state, reason, err)
		}
		b.timeline(m)
	}
}

func TestDecidingReceipt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sent("a1", "a2", "a3")
	b.received(b.receipt("a2", message.ReceiptDelivered))
	if b.progress(m).Decided() {
		t.Error("one delivered part of three decides")
	}
	r := b.receipt("a3", message.ReceiptRejected)
	r.Err, r.Reason = "15", message.ReasonFiltered
	if got := b.received(r); !got.Progress.Decided() {
		t.Errorf("a failure does not decide: %+v", got)
	}
	late := b.receipt("a1", message.ReceiptExpired)
	b.received(late)
	state, summary, reason, err := b.DecidingReceipt(b.ctx, m.ID)
	if err != nil || state != message.PartUndelivered || summary.Stat != "REJECTD" || summary.Err != "15" || reason != message.ReasonFiltered || !summary.At.Equal(r.DoneAt) {
		t.Errorf("not the first failure: %s %+v %s %v", state, summary, reason, err)
	}
}

// Ids belong to a vendor.
func TestReceiptOfOtherVendor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sent("a1")
	r := b.receipt("a1", message.ReceiptDelivered)
	r.VendorID = message.NewID()
	if got := b.received(r); got.Known || got.Applied {
		t.Errorf("matched across vendors: %+v", got)
	}
	if p := b.progress(m); p.Settled != 0 {
		t.Errorf("%+v", p)
	}
	if b.early("a1") {
		t.Error("another vendor's receipt was taken for this one's")
	}
	if got := b.received(b.receipt("a1", message.ReceiptDelivered)); !got.Applied {
		t.Errorf("the vendor's own: %+v", got)
	}
}

// A vendor that counts its ids from the beginning again: a receipt belongs to
// the newest part of that id, also when it overtakes the answer.
func TestReceiptOfReusedID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.sent("7")
	b.received(b.receipt("7", message.ReceiptDelivered))

	second := b.sent("7")
	if got := b.received(b.receipt("7", message.ReceiptDelivered)); !got.Applied || got.MessageID != second.ID {
		t.Errorf("the second use: %+v", got)
	}
	third := b.sending(1)
	if got := b.received(b.receipt("7", message.ReceiptDelivered)); got.Applied {
		t.Errorf("applied to a message that is done: %+v", got)
	}
	b.must(b.answered(third, "7"))
	if !b.early("7") || b.progress(third).Settled != 1 {
		t.Error("the receipt that overtook the third use is lost")
	}
	if b.early("7") {
		t.Error("a receipt is found again after it was applied")
	}
	// One that came before the part was sent cannot be its.
	fourth := b.sent("7")
	if b.early("7") || b.progress(fourth).Settled != 0 {
		t.Error("an old receipt was applied to a newer message")
	}
	for _, m := range []*message.Message{old, second, third} {
		if p := b.progress(m); p.Settled != 1 {
			t.Errorf("%+v", p)
		}
		b.timeline(m)
	}
}

// A receipt for a message whose process has ended still counts, and is due until the
// record shows it.
func TestReceiptAfterEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sent("a1")
	b.must(message.Change{MessageID: m.ID, To: message.StatusUnconfirmed, Settled: true, Error: message.Refuse(message.ReasonNoReceipt, "silence")})
	got := b.received(b.receipt("a1", message.ReceiptDelivered))
	if !got.Applied || got.Progress.Status != message.StatusUnconfirmed || len(b.settlements()) != 1 {
		t.Errorf("%+v", got)
	}
	b.must(message.Change{MessageID: m.ID, To: message.StatusDelivered, Settled: true})
	if len(b.settlements()) != 0 {
		t.Error("not settled")
	}
	if due, err := b.SettlementsDue(b.ctx, time.Hour, 10); err != nil || len(due) != 0 {
		t.Errorf("%v, %v", due, err)
	}
}

func TestUnmatched(t *testing.T) {
	t.Parallel()
	b := setup(t)
	list := func(age time.Duration, limit int) []string {
		t.Helper()
		rs, err := b.Unmatched(b.ctx, age, limit)
		if err != nil {
			t.Fatal(err)
		}
		return pick(rs, func(r message.Receipt) string { return r.VendorMessageID + " " + string(r.State) })
	}
	b.received(b.receipt("s1", message.ReceiptEnroute)) // decides nothing
	stranger := b.receipt("s2", message.ReceiptUndeliverable)
	b.received(stranger)
	b.received(b.receipt("s3", message.ReceiptDelivered))
	if got := list(0, 10); strings.Join(got, ",") != "s2 UNDELIV,s3 DELIVRD" {
		t.Errorf("unmatched: %v", got)
	}
	if got := list(0, 1); strings.Join(got, ",") != "s2 UNDELIV" {
		t.Errorf("unmatched, one: %v", got)
	}
	if got := list(time.Hour, 10); len(got) != 0 {
		t.Errorf("unmatched for an hour: %v", got)
	}
	rs, err := b.Unmatched(b.ctx, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	got, want := rs[0], stranger
	if got.ReceivedAt.IsZero() {
		t.Error("no time of arrival")
	}
	want.ReceivedAt = got.ReceivedAt
	got.DoneAt = got.DoneAt.UTC()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("stored\n%+v\nread\n%+v", want, got)
	}
	// A stranger does not stand in the way of those behind it.
	b.exec("update receipts set received_at = now() - interval '1 hour', try_at = now() - interval '1 hour' where normalized_id = 's2'")
	if m, err := b.SettleDoubt(b.ctx, rs[0]); err != nil || m != (message.Matched{}) {
		t.Errorf("%+v, %v", m, err)
	}
	if got := list(0, 10); strings.Join(got, ",") != "s3 DELIVRD" {
		t.Errorf("after a look: %v", got)
	}
	if n := b.count("select count(*) from receipts where normalized_id = 's2' and try_at between now() + interval '29 minutes' and now() + interval '31 minutes'"); n != 1 {
		t.Error("the next look is not put off by half the age")
	}
	if n, err := b.CountUnmatched(b.ctx); err != nil || n != 2 {
		t.Errorf("%d unmatched, %v", n, err)
	}
	b.exec("update receipts set received_at = now() - interval '73 hours' where normalized_id = 's2'")
	if _, err := b.SettleDoubt(b.ctx, rs[0]); err != nil {
		t.Fatal(err)
	}
	if n, err := b.CountUnmatched(b.ctx); err != nil || n != 1 {
		t.Errorf("%d unmatched after three days, %v", n, err)
	}
}
