package submit_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// through has the submit go on to what follows at once; the customer's endpoint takes
// what wanted says.
func through(t *testing.T, wanted func(id message.ID) bool) (b *bundle, told *[]message.ID) {
	b = first(t, 1, message.AtMostOnce)
	b.in.Through = true
	told = new([]message.ID)
	tell := func(_ context.Context, deliveries []message.ID) (left []message.ID) {
		for _, id := range deliveries {
			*told = append(*told, id)
			if !wanted(id) {
				left = append(left, id)
			}
		}
		return left
	}
	b.steps.Tell = tell
	records := &record.Activities{Journal: b.journal, Snapshot: func() *snapshot.Snapshot { return b.config }, Now: func() time.Time { return now }, Tell: tell,
		Await: func(context.Context, message.ID) bool { return b.journal.Due(b.m.ID) }}
	b.steps.Outcome = records.RecordOutcome
	return b, told
}

func always(message.ID) bool { return true }

// The vendor's receipt comes before its answer is recorded: all is over in one step.
func TestThroughToTheEnd(t *testing.T) {
	b, told := through(t, always)
	b.vendor.gate = func(written bool) error {
		if written {
			b.receipt(t, "id-1-1", message.ReceiptDelivered)
		}
		return nil
	}
	r := b.submit(t)
	if r.Outcome != submit.Sent || !r.Tried || len(r.Notify) != 0 || r.Recorded == nil {
		t.Fatalf("%+v", r)
	}
	if got := r.Recorded; got.Status != message.StatusDelivered || !got.Tried || len(got.Notify) != 0 || got.Open {
		t.Errorf("%+v", got)
	}
	if b.journal.Status(b.m.ID) != message.StatusDelivered || len(*told) != 2 || b.journal.Due(b.m.ID) {
		t.Errorf("%s, told %d times", b.journal.Status(b.m.ID), len(*told))
	}
	// Lost with its process, and run anew by the next one.
	b.in.Queued = nil
	if again := b.submit(t); again.Outcome != submit.Ended || again.Status != message.StatusDelivered || b.vendor.written(1) != 1 {
		t.Errorf("again: %+v", again)
	}
}

// No receipt has come yet: that much the caller is told, and waits no second time.
func TestThroughWithoutAReceipt(t *testing.T) {
	b, told := through(t, always)
	r := b.submit(t)
	if r.Outcome != submit.Sent || r.Recorded == nil || !r.Recorded.Open || len(*told) != 1 || b.journal.Status(b.m.ID) != message.StatusSent {
		t.Errorf("%+v, told %d times", r, len(*told))
	}
}

// What the customer's endpoint did not take comes back, for more tries.
func TestThroughUntold(t *testing.T) {
	b, told := through(t, func(message.ID) bool { return false })
	if r := b.submit(t); !r.Tried || !slices.Equal(r.Notify, *told) || len(*told) != 1 {
		t.Errorf("%+v, told %v", r, *told)
	}
}

// The outcome cannot be recorded now: the message is sent all the same, and the caller
// records the outcome.
func TestThroughWithoutTheRecord(t *testing.T) {
	b, _ := through(t, always)
	b.steps.Outcome = func(context.Context, record.Input) (record.Result, error) {
		return record.Result{}, errors.New("the database is away")
	}
	if r := b.submit(t); r.Outcome != submit.Sent || r.Recorded != nil {
		t.Errorf("%+v", r)
	}
}

// Only what was sent has receipts to wait for.
func TestThroughRefused(t *testing.T) {
	b, _ := through(t, always)
	b.vendor.answer = refuse(answeredNo)
	b.steps.Outcome = func(context.Context, record.Input) (record.Result, error) {
		t.Error("asked for an outcome")
		return record.Result{}, nil
	}
	if r := b.submit(t); r.Outcome != submit.Refused || r.Recorded != nil {
		t.Errorf("%+v", r)
	}
}

// Who asks for no more gets no more: the workflows of former processes go on by
// themselves.
func TestNotThrough(t *testing.T) {
	b, told := through(t, always)
	b.in.Through = false
	if r := b.submit(t); r.Tried || r.Recorded != nil || len(r.Notify) != 1 || len(*told) != 0 {
		t.Errorf("%+v", r)
	}
}
