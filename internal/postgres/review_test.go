package postgres

import (
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// held puts a message into the journal that a content rule holds.
func (b *bundle) heldForReview() *message.Message {
	b.tb.Helper()
	m := b.accepted(1)
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Started: true, Hold: &message.Hold{Rule: "content", Detail: "class spam"}, Events: line(message.StatusQueued)})
	return m
}

func TestHeldMessagesAreListedUntilTheyAreReviewed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := b.heldForReview(), b.heldForReview()
	b.owner = message.NewID()
	other := b.heldForReview()
	paced := b.accepted(1)
	b.must(message.Change{MessageID: paced.ID, To: message.StatusQueued, Started: true, Hold: &message.Hold{Rule: "quiet_hours", Until: paced.ExpiresAt}})
	ids := func(account, after message.ID, limit int) []message.ID {
		list, err := b.HeldMessages(b.ctx, account, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		var ids []message.ID
		for _, m := range list {
			if m.Hold == nil || m.Hold.Detail != "class spam" || m.Body == "" {
				t.Errorf("listed as %+v", m)
			}
			ids = append(ids, m.ID)
		}
		return ids
	}
	same := func(got []message.ID, want ...message.ID) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%v, want %v", got, want)
			}
		}
	}
	same(ids(message.ID{}, message.ID{}, 10), first.ID, second.ID, other.ID)
	same(ids(message.ID{}, message.ID{}, 2), first.ID, second.ID)
	same(ids(message.ID{}, second.ID, 10), other.ID)
	same(ids(first.AccountID, message.ID{}, 10), first.ID, second.ID)
	if err := b.Review(b.ctx, actor, first.ID, message.VerdictRelease, ""); err != nil {
		t.Fatal(err)
	}
	same(ids(message.ID{}, message.ID{}, 10), second.ID, other.ID)
	r, err := b.ReviewOf(b.ctx, first.ID)
	if err != nil || r.Of(first) != message.VerdictRelease || r.Actor != actor.Name {
		t.Errorf("review %+v, %v", r, err)
	}
	events, err := b.Events(b.ctx, first.ID, 0, 10)
	if err != nil || len(events) != 3 || events[2].Sequence != 3 || events[2].Type != message.EventStaffAction || events[2].Detail["action"] != "review_release" {
		t.Errorf("timeline %+v, %v", events, err)
	}
	// The next line of the timeline has its own number.
	b.must(message.Change{MessageID: first.ID, Events: line(message.StatusSending)})
	if n, err := b.VerifyAudit(b.ctx); n != 0 || err != nil {
		t.Errorf("audit row %d, %v", n, err)
	}
}

func TestReviewIsSaidOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.heldForReview()
	waiting := b.accepted(1)
	for _, c := range []struct {
		id      message.ID
		verdict message.Verdict
		reason  string
		want    message.Reason
	}{
		{message.NewID(), message.VerdictRelease, "", message.ReasonNotFound},
		{waiting.ID, message.VerdictRelease, "", message.ReasonConflict},
		{m.ID, "later", "", message.ReasonInvalidRequest},
		{m.ID, message.VerdictRefuse, " ", message.ReasonInvalidRequest},
		{m.ID, message.VerdictRefuse, "a lottery", ""},
		{m.ID, message.VerdictRefuse, "once more", ""},
		{m.ID, message.VerdictRelease, "", message.ReasonConflict},
	} {
		if err := b.Review(b.ctx, actor, c.id, c.verdict, c.reason); message.ReasonOf(err) != c.want {
			t.Errorf("%s of %s: %v, want %q", c.verdict, c.id, err, c.want)
		}
	}
	if r, err := b.ReviewOf(b.ctx, m.ID); err != nil || r.Reason != "a lottery" {
		t.Errorf("review %+v, %v", r, err)
	}
	events, err := b.Events(b.ctx, m.ID, 0, 10)
	if err != nil || len(events) != 3 {
		t.Errorf("%d lines, %v", len(events), err)
	}
	if stale, err := b.StaleHolds(b.ctx, 1e9, 10); err != nil || len(stale) == 0 {
		t.Errorf("the sweep does not see it: %v, %v", stale, err)
	}
}

// Two people at once: one of them is told of the other.
func TestReviewsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 10 {
		m := b.heldForReview()
		var all sync.WaitGroup
		errs := make([]error, 2)
		for i, verdict := range []message.Verdict{message.VerdictRelease, message.VerdictRefuse} {
			all.Go(func() { errs[i] = b.Review(b.ctx, actor, m.ID, verdict, "because") })
		}
		all.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("both or none: %v", errs)
		}
		for _, err := range errs {
			if err != nil && message.ReasonOf(err) != message.ReasonConflict {
				t.Fatalf("the other one is told %v", err)
			}
		}
		r, err := b.ReviewOf(b.ctx, m.ID)
		if err != nil || (r.Verdict == message.VerdictRelease) != (errs[0] == nil) {
			t.Fatalf("review %+v, %v; %v", r, err, errs)
		}
	}
}
