package postgres

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// zeta is another vendor than the bundle's.
var zeta = message.VendorRef{ID: message.NewID(), Name: "zeta"}

// sendAgain is the change that journals a part for another vendor.
func sendAgain(m *message.Message, instance string, number int) message.Change {
	return message.Change{MessageID: m.ID, Resend: true, MaybeDoubled: true, Events: line(message.StatusSending),
		Attempts: []message.Attempt{{Part: 1, Number: number, Vendor: zeta, Instance: instance}}}
}

// A message may be given to another vendor while one has it and no receipt has decided
// it, in no other status, and its own vendor stays until the other one takes it.
func TestResendTransitions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, status := range message.Statuses() {
		m := b.sent("1")
		b.exec("update messages set status = $2 where id = $1", m.ID, string(status))
		before := b.traces(m)
		adv, err := b.Advance(b.ctx, sendAgain(m, "one", 2))
		may := status == message.StatusSent || status == message.StatusInDoubt
		if err != nil || adv.Changed != may || !may && adv.Was != status {
			t.Errorf("%s: %+v, %v", status, adv, err)
		}
		if after := b.traces(m); (after != before) != may {
			t.Errorf("%s: wrote\n%s\nover\n%s", status, after, before)
		}
		if !may {
			continue
		}
		got, err := b.Message(b.ctx, m.ID)
		if err != nil || got.Status != status || !got.DuplicatePoss || got.VendorID != b.vendor.ID {
			t.Errorf("%s: %+v, %v", status, got, err)
		}
		if adv, err := b.Advance(b.ctx, sendAgain(m, "one", 2)); err != nil || adv.Changed {
			t.Errorf("%s: a second run of the same process may send as well", status)
		}
	}
}

// The receipts of either vendor decide the message, and count once.
func TestReceiptsOfBothVendors(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, first := range []bool{true, false} {
		m := b.sent("A1")
		b.must(sendAgain(m, "one", 2))
		b.must(message.Change{MessageID: m.ID, Vendor: zeta, Answers: []message.Answer{{Part: 1, Attempt: 2, State: message.PartSubmitted, VendorMessageID: "B1", NormalizedID: "b1"}}})
		ours, theirs := b.receipt("A1", message.ReceiptDelivered), b.receipt("B1", message.ReceiptUndeliverable)
		theirs.VendorID = zeta.ID
		list := []message.Receipt{ours, theirs}
		if !first {
			slices.Reverse(list)
		}
		for i, r := range list {
			got := b.received(r)
			if !got.Known || got.MessageID != m.ID || got.Applied && got.Progress.Settled != 1 || i == 0 && !got.Progress.Decided() {
				t.Errorf("first %v: receipt %d: %+v", first, i+1, got)
			}
		}
		if state, _, _, err := b.DecidingReceipt(b.ctx, m.ID); err != nil || (state == message.PartDelivered) != first {
			t.Errorf("first %v: decided by %s, %v", first, state, err)
		}
		if adv, err := b.Advance(b.ctx, sendAgain(m, "one", 3)); err != nil || adv.Changed {
			t.Error("it is sent again although it is decided")
		}
		b.exec("delete from segments") // the ids are used again
		b.exec("delete from receipts")
	}
}

// Two processes want to send it again: one does.
func TestResendRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	replicas := []*DB{b.DB, b.replica()}
	for range 30 {
		m := b.sent("1")
		var sends atomic.Int32
		var wg sync.WaitGroup
		for i, db := range replicas {
			for range 2 { // two runs in each
				wg.Go(func() {
					adv, err := db.Advance(b.ctx, sendAgain(m, string(rune('a'+i)), 2))
					if err == nil && adv.Changed {
						sends.Add(1)
					}
				})
			}
		}
		wg.Wait()
		if n := sends.Load(); n != 1 {
			t.Fatalf("%d runs may send", n)
		}
		b.timeline(m)
	}
}
