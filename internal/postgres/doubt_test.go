package postgres

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// doubtful is a message whose parts went on the wire without an answer.
func (b *bundle) doubtful(segments int) *message.Message {
	b.tb.Helper()
	m := b.sending(segments)
	c := message.Change{MessageID: m.ID, To: message.StatusInDoubt, Events: line(message.StatusInDoubt)}
	for p := range segments {
		c.Answers = append(c.Answers, message.Answer{Part: p + 1, Attempt: 1, State: message.PartInDoubt, Reason: message.ReasonSubmitInDoubt})
	}
	b.must(c)
	return m
}

// strange is a receipt that matched nothing, as the sweeper hands it to
// SettleDoubt.
func (b *bundle) strange(id string, state message.ReceiptState, change func(*message.Receipt)) message.Receipt {
	b.tb.Helper()
	r := b.receipt(id, state)
	if change != nil {
		change(&r)
	}
	if got := b.received(r); got.Known {
		b.tb.Fatalf("no stranger: %+v", got)
	}
	waiting, err := b.Unmatched(b.ctx, 0, 100)
	if err != nil {
		b.tb.Fatal(err)
	}
	for _, w := range waiting {
		if w.ID == r.ID {
			return w
		}
	}
	b.tb.Fatalf("receipt %s does not wait", id)
	return r
}

func (b *bundle) settle(r message.Receipt) message.Matched {
	b.tb.Helper()
	got, err := b.SettleDoubt(b.ctx, r)
	if err != nil {
		b.tb.Fatal(err)
	}
	return got
}

func TestSettleDoubt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.doubtful(1)
	r := b.strange("beef", message.ReceiptDelivered, nil)
	got := b.settle(r)
	if !got.Applied || got.MessageID != m.ID || got.Part != 1 || !got.Progress.Decided() || got.Progress.Status != message.StatusInDoubt {
		t.Errorf("%+v", got)
	}
	if p := b.parts(m)[0]; p.State != message.PartDelivered || p.VendorMessageID != "beef" || p.Reason != "" {
		t.Errorf("part: %+v", p)
	}
	if n, _ := b.CountUnmatched(b.ctx); n != 0 {
		t.Errorf("%d still wait", n)
	}
	if got := b.settle(r); !got.Known || got.Applied {
		t.Errorf("again: %+v", got)
	}
	if p := b.progress(m); p.Settled != 1 {
		t.Errorf("%+v", p)
	}
	b.timeline(m)
}

// Addresses are compared as vendors write them: with or without a plus sign.
func TestSettleDoubtAddresses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.doubtful(1)
	r := b.strange("x", message.ReceiptUndeliverable, func(r *message.Receipt) { r.Source, r.Destination = "+13105550117", "+12025550143" })
	if got := b.settle(r); got.MessageID != m.ID || got.Progress.Failed != 1 {
		t.Errorf("%+v", got)
	}
}

func TestSettleDoubtLeavesAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(*bundle)
		change  func(*message.Receipt)
	}{
		"nothing in doubt":  {func(b *bundle) { b.sent("a1") }, nil},
		"two messages":      {func(b *bundle) { b.doubtful(1); b.doubtful(1) }, nil},
		"another recipient": {func(b *bundle) { b.doubtful(1) }, func(r *message.Receipt) { r.Source = "13105550118" }},
		"another sender":    {func(b *bundle) { b.doubtful(1) }, func(r *message.Receipt) { r.Destination = "12025550144" }},
		"another vendor":    {func(b *bundle) { b.doubtful(1); b.vendor.ID = message.NewID() }, nil},
		"sent later": {func(b *bundle) {
			b.doubtful(1)
			b.exec("update segments set sent_at = now() + interval '1 hour'")
		}, nil},
		"too long ago": {func(b *bundle) {
			b.doubtful(1)
			b.exec("update segments set sent_at = now() - interval '4 days'")
		}, nil},
		"sent again": {func(b *bundle) {
			m := b.doubtful(1)
			b.must(message.Change{MessageID: m.ID, To: message.StatusQueued})
			b.must(message.Change{MessageID: m.ID, To: message.StatusSending,
				Attempts: []message.Attempt{{Part: 1, Number: 2, Vendor: b.vendor, Instance: "two"}}})
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			c.prepare(b)
			before := scalar[string](b, "select jsonb_agg(s)::text from segments s")
			if got := b.settle(b.strange("x", message.ReceiptDelivered, c.change)); got != (message.Matched{}) {
				t.Errorf("%+v", got)
			}
			if after := scalar[string](b, "select jsonb_agg(s)::text from segments s"); after != before {
				t.Errorf("parts were touched:\n%s\nbefore\n%s", after, before)
			}
			if n, _ := b.CountUnmatched(b.ctx); n != 1 {
				t.Errorf("%d wait", n)
			}
		})
	}
}

// Once the second attempt's id is known, a strange receipt can only be the first's: it
// came while nobody doubted that one yet, or late.
func TestSettleDoubtOfAnEarlierAttempt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.doubtful(1)
	r := b.strange("one", message.ReceiptDelivered, nil)
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued})
	b.must(message.Change{MessageID: m.ID, To: message.StatusSending, MaybeDoubled: true,
		Attempts: []message.Attempt{{Part: 1, Number: 2, Vendor: b.vendor, Instance: "two"}}})
	b.must(message.Change{MessageID: m.ID, To: message.StatusSent,
		Answers: []message.Answer{{Part: 1, Attempt: 2, State: message.PartSubmitted, VendorMessageID: "two", NormalizedID: "two"}}})
	if got := b.settle(r); !got.Applied || got.MessageID != m.ID || got.Part != 1 {
		t.Errorf("%+v", got)
	}
	if n, _ := b.CountUnmatched(b.ctx); n != 0 {
		t.Errorf("%d still wait", n)
	}
	if got := b.received(b.receipt("two", message.ReceiptDelivered)); !got.Applied {
		t.Errorf("the second one's: %+v", got)
	}
	if p := b.progress(m); p.Settled != 1 || p.Failed != 0 {
		t.Errorf("%+v", p)
	}
	b.timeline(m)
}

// Parts of one message cannot be told apart and need not be: each receipt
// settles one.
func TestSettleDoubtParts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.doubtful(3)
	for i, id := range []string{"x1", "x2", "x3"} {
		r := b.strange(id, message.ReceiptDelivered, nil)
		if got := b.settle(r); !got.Applied || got.Part != i+1 || got.Progress.Settled != i+1 {
			t.Errorf("%s: %+v", id, got)
		}
	}
	if p := b.progress(m); !p.Decided() || p.Failed != 0 {
		t.Errorf("%+v", p)
	}
	if got := b.settle(b.strange("x4", message.ReceiptDelivered, nil)); got.Known {
		t.Errorf("one receipt too many: %+v", got)
	}
}

// A process that ended between naming a part and applying the receipt leaves
// something that the next look finishes.
func TestSettleDoubtInterrupted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.doubtful(2)
	r := b.strange("x1", message.ReceiptDelivered, nil)
	if named, err := b.nameDoubt(b.ctx, r); err != nil || !named {
		t.Fatal(named, err)
	}
	if got := b.settle(b.strange("x2", message.ReceiptDelivered, nil)); !got.Applied || got.Part != 2 {
		t.Errorf("the other receipt: %+v", got)
	}
	if got := b.settle(r); !got.Applied || got.Part != 1 || got.MessageID != m.ID {
		t.Errorf("the interrupted one: %+v", got)
	}
}

// A second process that has seen the receipt as a stranger names nothing more,
// whether the first has just named a part or has finished.
func TestNameDoubtTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.doubtful(2)
	r := b.strange("x1", message.ReceiptDelivered, nil)
	name := func() {
		t.Helper()
		if _, err := b.nameDoubt(b.ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	named := func() int {
		t.Helper()
		return b.count("select count(*) from segments where normalized_id is not null")
	}
	name()
	name()
	if n := named(); n != 1 {
		t.Errorf("%d parts have the id", n)
	}
	if got := b.settle(r); got.Part != 1 || got.MessageID != m.ID {
		t.Errorf("%+v", got)
	}
	name()
	if n := named(); n != 1 {
		t.Errorf("%d parts have the id after the end", n)
	}
}

// The sweepers of two replicas look at the same receipts.
func TestSettleDoubtTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.replica()
	const segments = 6
	m := b.doubtful(segments)
	var strangers []message.Receipt
	for _, id := range []string{"x1", "x2", "x3", "x4", "x5", "x6"} {
		strangers = append(strangers, b.strange(id, message.ReceiptDelivered, nil))
	}
	for range segments { // each look settles one at least
		done := make(chan error, 2)
		for _, db := range []*DB{b.DB, other} {
			go func() {
				var err error
				for _, r := range strangers {
					if err == nil {
						_, err = db.SettleDoubt(b.ctx, r)
					}
				}
				done <- err
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	if p := b.progress(m); p.Settled != segments || p.Failed != 0 {
		t.Errorf("%+v", p)
	}
	if n := b.count("select count(distinct normalized_id) from segments where message_id = $1", m.ID); n != segments {
		t.Errorf("%d ids for %d parts", n, segments)
	}
	b.timeline(m)
}

// A part that was sent twice counts once, whichever attempt is heard of.
func TestTwoAttemptsCountOnce(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]int{"the first is heard of first": 0, "the second is heard of first": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			m := b.doubtful(2)
			// The sweeper names part 1 while the message is being sent again.
			r := b.strange("one", message.ReceiptDelivered, nil)
			if _, err := b.nameDoubt(b.ctx, r); err != nil {
				t.Fatal(err)
			}
			b.must(message.Change{MessageID: m.ID, To: message.StatusQueued})
			b.must(message.Change{MessageID: m.ID, To: message.StatusSending, MaybeDoubled: true, Attempts: []message.Attempt{
				{Part: 1, Number: 2, Vendor: b.vendor, Instance: "two"}, {Part: 2, Number: 2, Vendor: b.vendor, Instance: "two"}}})
			b.must(message.Change{MessageID: m.ID, To: message.StatusSent, Answers: []message.Answer{
				{Part: 1, Attempt: 2, State: message.PartSubmitted, VendorMessageID: "two", NormalizedID: "two"},
				{Part: 2, Attempt: 2, State: message.PartSubmitted, VendorMessageID: "three", NormalizedID: "three"}}})
			states := []message.ReceiptState{message.ReceiptUndeliverable, message.ReceiptUndeliverable}
			states[first] = message.ReceiptDelivered
			order := []func() message.Matched{
				func() message.Matched { return b.received(b.receipt("one", states[0])) },
				func() message.Matched { return b.received(b.receipt("two", states[1])) },
			}
			for i := range order {
				if got := order[(first+i)%2](); !got.Applied {
					t.Errorf("not applied: %+v", got)
				}
			}
			if p := b.progress(m); p.Settled != 1 || p.Failed != 0 {
				t.Errorf("one part of two was delivered: %+v", p)
			}
			b.received(b.receipt("three", message.ReceiptDelivered))
			if p := b.progress(m); !p.Decided() || p.Failed != 0 {
				t.Errorf("%+v", p)
			}
			if state, _, _, err := b.DecidingReceipt(b.ctx, m.ID); err != nil || state != message.PartDelivered {
				t.Errorf("deciding: %s, %v", state, err)
			}
			b.timeline(m)
		})
	}
}
