package postgres

import (
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// held is a message that waits for a time, or with none for somebody to look at it.
func (b *bundle) heldUntil(until time.Time) *message.Message {
	b.tb.Helper()
	m := b.accepted(1)
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Events: line(message.StatusQueued), Vendor: b.vendor, Started: true,
		Hold: &message.Hold{Rule: "rate", Until: until, Detail: "600 parts a minute"}})
	return m
}

func (b *bundle) holdOf(m *message.Message) *message.Hold {
	b.tb.Helper()
	got, err := b.AccountMessage(b.ctx, m.AccountID, m.ID)
	if err != nil {
		b.tb.Fatal(err)
	}
	return got.Hold
}

func TestHold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	until := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	m := b.heldUntil(until)
	if h := b.holdOf(m); h == nil || h.Rule != "rate" || !h.Until.Equal(until) || h.Detail != "600 parts a minute" {
		t.Fatalf("%+v", h)
	}
	list, err := b.Messages(b.ctx, m.AccountID, message.Filter{}, message.ID{}, 10)
	if err != nil || len(list) != 1 || list[0].Hold == nil {
		t.Errorf("the list says %+v, %v", list, err)
	}
	b.must(message.Change{MessageID: m.ID, Hold: &message.Hold{Rule: "content"}})
	if h := b.holdOf(m); h == nil || h.Rule != "content" || !h.Until.IsZero() {
		t.Errorf("it waits for something else: %+v", h)
	}
	if n, err := b.Holds(b.ctx); err != nil || n["content"] != 1 || len(n) != 1 {
		t.Errorf("counted %v, %v", n, err)
	}
	b.must(message.Change{MessageID: m.ID, To: message.StatusSending, Events: line(message.StatusSending), Unheld: true})
	if n := b.count("select count(*) from holds"); n != 0 || b.holdOf(m) != nil {
		t.Errorf("%d holds of a message that goes", n)
	}
	m = b.heldUntil(until)
	b.must(message.Change{MessageID: m.ID, Unheld: true})
	if n := b.count("select count(*) from holds"); n != 0 {
		t.Errorf("%d holds of a message that waits no more", n)
	}
	b.must(message.Change{MessageID: m.ID, To: message.StatusSending, Events: line(message.StatusSending)})
	// A step that comes late does not make it wait again.
	adv, err := b.Advance(b.ctx, message.Change{MessageID: m.ID, Hold: &message.Hold{Rule: "content"}})
	if err != nil || adv.Changed || b.count("select count(*) from holds") != 0 {
		t.Errorf("%+v, %v", adv, err)
	}
}

// However a waiting message ends, nothing says any more that it waits.
func TestHoldEndsWithItsMessage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, to := range []message.Status{message.StatusRejected, message.StatusCanceled, message.StatusExpired, message.StatusFailed} {
		m := b.heldUntil(time.Now().Add(time.Hour))
		b.must(message.Change{MessageID: m.ID, To: to, Events: line(to)})
		if n := b.count("select count(*) from holds"); n != 0 {
			t.Errorf("%s: %d holds", to, n)
		}
	}
}

func TestStaleHolds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.configured()
	var campaign string
	for _, c := range s.Campaigns {
		campaign = c.CampaignID
	}
	queued := func(account message.ID, campaign string, until time.Time) message.ID {
		m := b.draft()
		m.AccountID, m.CampaignID = account, campaign
		b.store(m)
		b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Events: line(message.StatusQueued), Started: true, Hold: &message.Hold{Rule: "rate", Until: until}})
		return m.ID
	}
	stale := func() []message.ID {
		t.Helper()
		ids, err := b.StaleHolds(b.ctx, time.Minute, 10)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	later := time.Now().Add(time.Hour)
	paced, review, none := queued(b.owner, campaign, later), queued(b.owner, campaign, time.Time{}), queued(b.owner, "", later)
	if ids := stale(); len(ids) != 0 {
		t.Errorf("nothing has changed: %v", ids)
	}
	b.exec("insert into reviews (message_id, revision, verdict, actor) values ($1, 0, 'release', 'somebody')", review)
	if ids := stale(); !slices.Equal(ids, []message.ID{review}) {
		t.Errorf("after a verdict: %v", ids)
	}
	if r, err := b.ReviewOf(b.ctx, review); err != nil || r.Verdict != message.VerdictRelease || r.Actor != "somebody" || r.At.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := b.ReviewOf(b.ctx, paced); err != nil || r.Verdict != "" {
		t.Errorf("%+v, %v", r, err)
	}
	b.exec("update campaigns set status = 'suspended'")
	if ids := stale(); !slices.Equal(ids, []message.ID{paced}) { // the other was told a moment ago
		t.Errorf("after the suspension: %v", ids)
	}
	b.exec("update accounts set status = 'suspended'")
	if ids := stale(); !slices.Equal(ids, []message.ID{none}) {
		t.Errorf("after the account's: %v", ids)
	}
	if ids := stale(); len(ids) != 0 {
		t.Errorf("told again at once: %v", ids)
	}
	b.exec("update holds set asked_at = now() - interval '2 minutes', since = now() - interval '10 minutes'")
	if ids := stale(); len(ids) != 3 {
		t.Errorf("told again later: %v", ids)
	}
	// Who has been told twice and still waits is told less and less often.
	b.exec("update holds set asked_at = asked_at - interval '8 minutes'")
	if ids := stale(); len(ids) != 0 {
		t.Errorf("told a third time: %v", ids)
	}
	b.exec("update holds set asked_at = asked_at - interval '4 minutes'")
	if ids := stale(); len(ids) != 3 {
		t.Errorf("told a third time, later: %v", ids)
	}
}
