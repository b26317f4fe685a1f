package record_test

import (
	"testing"
	"time"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/internal/message"
)

// A schedule that is no longer true is not noted: the caller hears of the one that
// is. Who has it right hears nothing.
func TestTimesOfTheRecord(t *testing.T) {
	b := setup(t, 1, message.StatusAccepted)
	b.m.Status, b.m.SendAt, b.m.ExpiresAt = message.StatusAccepted, now.Add(time.Hour), now.Add(2*time.Hour)
	b.journal.Put(b.m)
	ask := func(times message.Times) record.Result {
		r, err := b.steps.RecordOutcome(t.Context(), record.Input{MessageID: b.m.ID, To: message.StatusScheduled, Times: times})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, old := range []message.Times{{SendAt: now.Add(time.Minute), ExpiresAt: b.m.ExpiresAt}, {SendAt: b.m.SendAt, ExpiresAt: now.Add(3 * time.Hour)}, {ExpiresAt: b.m.ExpiresAt}} {
		if r := ask(old); r.Times == nil || !r.Times.Equal(b.m.Times()) || r.Changed || r.Status != message.StatusAccepted || b.journal.Status(b.m.ID) != message.StatusAccepted {
			t.Errorf("%+v: %+v", old, r)
		}
	}
	if r := ask(b.m.Times()); r.Times != nil || !r.Changed || r.Status != message.StatusScheduled {
		t.Errorf("%+v", r)
	}
	if r := ask(b.m.Times()); r.Times != nil || r.Changed || r.Status != message.StatusScheduled {
		t.Errorf("again %+v", r)
	}
	b.journal.SetStatus(b.m.ID, message.StatusCanceled)
	if r := ask(message.Times{ExpiresAt: now}); r.Times != nil || r.Status != message.StatusCanceled {
		t.Errorf("withdrawn: %+v", r)
	}
}

// An end that is about a revision is not written of another; a withdrawal is about
// all of them.
func TestEndOfAnOldRevision(t *testing.T) {
	b := setup(t, 1, message.StatusAccepted)
	b.journal.Revise(b.m.ID, func(m *message.Message) { m.Body = "new" })
	zero := 0
	end := func(in record.Input) record.Result {
		in.MessageID = b.m.ID
		r, err := b.steps.RecordOutcome(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := end(record.Input{To: message.StatusExpired, Reason: message.ReasonExpired, Revision: &zero}); !r.Revised || r.Changed || b.journal.Status(b.m.ID) != message.StatusAccepted {
		t.Errorf("%+v", r)
	}
	if r := end(record.Input{To: message.StatusCanceled, Reason: message.ReasonCanceled}); r.Revised || !r.Changed || b.journal.Status(b.m.ID) != message.StatusCanceled {
		t.Errorf("%+v", r)
	}
}
