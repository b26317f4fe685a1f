package postgres

import (
	"sync"
	"testing"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func (b *bundle) resolve(m *message.Message, as message.Resolution) error {
	steps := record.Activities{Journal: b.DB, Snapshot: func() *snapshot.Snapshot { return &snapshot.Snapshot{} }, Now: b.Now}
	_, err := steps.RecordOutcome(b.ctx, record.Input{MessageID: m.ID, Staff: &record.Finding{As: as, Actor: "ada", Note: "their log"}})
	return err
}

// Of several who resolve a message at once one does, and the workflow is due to be told.
func TestResolveOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.doubtful(2)
	var wg sync.WaitGroup
	errs := make([]error, 12)
	for i := range errs {
		wg.Go(func() { errs[i] = b.resolve(m, message.Resolutions()[i%3]) })
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		switch message.ReasonOf(err) {
		case "":
			done++
		case message.ReasonConflict:
		default:
			t.Error(err)
		}
	}
	if n := b.count("select count(*) from message_events where message_id = $1 and type = 'staff_action'", m.ID); done != 1 || n != 1 {
		t.Errorf("%d have resolved it, %d lines", done, n)
	}
	if b.count("select count(*) from settlements_due where message_id = $1", m.ID) != 1 {
		t.Error("nobody is to tell the workflow")
	}
}

// A message that is no longer in doubt is not taken back, whatever has become of it.
func TestResolveTooLate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	moved := b.doubtful(1)
	b.must(message.Change{MessageID: moved.ID, To: message.StatusQueued})
	b.must(message.Change{MessageID: moved.ID, To: message.StatusSending, Attempts: []message.Attempt{{Part: 1, Number: 2, Vendor: b.vendor, Instance: "two"}}})
	decided := b.doubtful(1)
	b.exec("update segments set normalized_id = 'a9' where message_id = $1", decided.ID)
	b.received(b.receipt("a9", message.ReceiptDelivered))
	resent := b.doubtful(1)
	b.exec("insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state) values ($1, 1, 2, gen_random_uuid(), 'other', 'one', 'sending')", resent.ID)
	for name, m := range map[string]*message.Message{"on its way again": moved, "decided": decided, "being given to another vendor": resent} {
		before := b.count("select event_seq from messages where id = $1", m.ID)
		for _, as := range message.Resolutions() {
			if err := b.resolve(m, as); message.ReasonOf(err) != message.ReasonConflict {
				t.Errorf("%s %s: %v", name, as, err)
			}
		}
		if after := b.count("select event_seq from messages where id = $1", m.ID); after != before {
			t.Errorf("%s: something was written", name)
		}
	}
}

// A receipt with a strange id still finds the message of which staff say that the vendor
// has it, and one that names the attempt as well.
func TestReceiptOfAResolvedMessage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.doubtful(1)
	if err := b.resolve(m, message.ResolvedSent); err != nil {
		t.Fatal(err)
	}
	got := b.settle(b.strange("beef", message.ReceiptDelivered, nil))
	if !got.Applied || got.MessageID != m.ID || !got.Progress.Decided() || got.Progress.Status != message.StatusSent {
		t.Errorf("%+v", got)
	}
	named := b.doubtful(1)
	if err := b.resolve(named, message.ResolvedSent); err != nil {
		t.Fatal(err)
	}
	r := b.receipt("cafe", message.ReceiptUndeliverable)
	r.Attempt = message.AttemptRef{MessageID: named.ID, Attempt: 1}
	if got := b.received(r); !got.Applied || got.MessageID != named.ID {
		t.Errorf("%+v", got)
	}
}

// The first answer that is kept for a key is the one that everybody gets.
func TestKeepAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := message.Idempotency{AccountID: b.owner, Operation: "POST /x", Key: "k", BodyHash: [32]byte{1}, Status: 200, Response: []byte("one")}
	if first, err := b.KeepAnswer(b.ctx, k); first != nil || err != nil {
		t.Fatal(first, err)
	}
	k.Response = []byte("two")
	if first, err := b.KeepAnswer(b.ctx, k); err != nil || string(first.Response) != "one" || first.Status != 200 {
		t.Errorf("%+v %v", first, err)
	}
	k.BodyHash[0] = 2
	if _, err := b.KeepAnswer(b.ctx, k); message.ReasonOf(err) != message.ReasonIdempotencyMismatch {
		t.Error(err)
	}
}

// What a message is told of, and what it repeats, is in the record.
func TestFailuresOnlyIsStored(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.draft()
	m.FailuresOnly, m.RetryOf = true, message.NewID()
	b.store(m)
	got, err := b.Message(b.ctx, m.ID)
	if err != nil || !got.FailuresOnly || got.RetryOf != m.RetryOf {
		t.Errorf("%+v %v", got, err)
	}
	if other, err := b.Message(b.ctx, b.accepted(1).ID); err != nil || other.FailuresOnly {
		t.Errorf("%+v %v", other, err)
	}
}

// A change of one status is made in that alone, though others may become the same.
func TestAdvanceWhile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.accepted(1)
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued})
	got, err := b.Advance(b.ctx, message.Change{MessageID: m.ID, To: message.StatusFailed, While: message.StatusInDoubt})
	if err != nil || got.Changed || got.Was != message.StatusQueued {
		t.Errorf("%+v %v", got, err)
	}
}
