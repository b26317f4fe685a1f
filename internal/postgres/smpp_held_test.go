package postgres

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func (b *bundle) held() []message.SMPPHeld {
	b.tb.Helper()
	held, err := b.HeldDeliveries(b.ctx)
	if err != nil {
		b.tb.Fatal(err)
	}
	return held
}

func (b *bundle) endHeld(account message.ID, most int) int {
	b.tb.Helper()
	n, err := b.EndHeld(b.ctx, account, most)
	if err != nil {
		b.tb.Fatal(err)
	}
	return n
}

func TestHeldDeliveries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if held := b.held(); len(held) != 0 {
		t.Errorf("of nothing %+v", held)
	}
	one := b.esme(b.owner, "acme")
	few := message.NewID()
	other := b.esme(few, "other")
	first := b.owing(one)
	b.owing(one)
	b.owing(one)
	done := b.owing(one)
	b.record(b.try1(done, message.NotificationDelivered))
	m := b.accepted(1)
	b.exec("update messages set account_id = $2 where id = $1", m.ID, few)
	b.exec(`insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, expires_at) values ($1, $2, $3, $1, 'receipt', 'sent', now() + interval '1 hour')`, m.ID, other, few)
	b.exec("update accounts set smpp_max_held = 2 where id = $1", b.owner)
	held := b.held()
	if len(held) != 2 || held[0].AccountID != b.owner || held[0].Pending != 3 || held[0].Cap != 2 || held[1].AccountID != few || held[1].Pending != 1 ||
		held[1].Cap != 100_000 || held[1].CompanyName != "Of other" {
		t.Fatalf("%+v", held)
	}
	if !held[0].Oldest.Equal(scalar[time.Time](b, "select created_at from smpp_deliveries where message_id = $1", first.ID)) {
		t.Errorf("oldest %v", held[0].Oldest)
	}
}

// Beyond the cap the oldest that were never tried end, and nothing else.
func TestEndHeld(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	tried, claimed := b.owing(credential), b.owing(credential)
	b.wants("to be tried", credential, 2, tried, claimed)
	again := b.try1(tried, message.NotificationPending)
	again.Again = 1
	b.record(again)
	var list []*message.Message
	for range 6 {
		list = append(list, b.owing(credential))
	}
	if n := b.endHeld(b.owner, 100); n != 0 {
		t.Errorf("%d ended below the cap", n)
	}
	b.exec("update accounts set smpp_max_held = 4 where id = $1", b.owner)
	if n := b.endHeld(b.owner, 3); n != 3 {
		t.Errorf("%d ended of a batch of 3", n)
	}
	if n := b.endHeld(b.owner, 3); n != 1 {
		t.Errorf("%d ended of what was left", n)
	}
	if n := b.endHeld(b.owner, 3); n != 0 {
		t.Errorf("%d ended at the cap", n)
	}
	for _, m := range list[:4] {
		if got := scalar[string](b, "select concat_ws(' ', state, attempts, last_error) from smpp_deliveries where message_id = $1 and done_at is not null", m.ID); got != "failed 0 more than 4 were held for the account" {
			t.Errorf("%q", got)
		}
		if got := b.attempts(m); !slices.Equal(got, []string{"map[attempts:0 error:more than 4 were held for the account kind:receipt state:failed]"}) {
			t.Errorf("timeline %q", got)
		}
	}
	if n := b.count("select count(*) from smpp_deliveries where state = 'pending'"); n != 4 {
		t.Errorf("%d are left", n)
	}
	// Nothing but what was tried: nothing ends.
	b.exec("update smpp_deliveries set attempts = 1 where state = 'pending'")
	b.exec("update accounts set smpp_max_held = 1 where id = $1", b.owner)
	if n := b.endHeld(b.owner, 100); n != 0 {
		t.Errorf("%d ended that were tried", n)
	}
	if n := b.endHeld(message.NewID(), 100); n != 0 {
		t.Errorf("%d of an account that is not there", n)
	}
}

// Processes that look at the same time do not end the same surplus twice.
func TestEndHeldAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	m := b.accepted(1)
	b.exec(`insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, expires_at)
		select gen_random_uuid(), $2, account_id, id, 'receipt', 'sent' || n, now() + interval '1 hour' from messages, generate_series(1, 1000) n where id = $1`, m.ID, credential)
	b.exec("update accounts set smpp_max_held = 700 where id = $1", b.owner)
	var total atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			n, err := b.EndHeld(b.ctx, b.owner, 300)
			if err != nil {
				t.Error(err)
			}
			total.Add(int64(n))
		})
	}
	all.Wait()
	if n := b.count("select count(*) from smpp_deliveries where state = 'pending'"); n != 700 || total.Load() != 300 {
		t.Errorf("%d are left, %d ended", n, total.Load())
	}
	if n := len(b.attempts(m)); n != 300 {
		t.Errorf("%d lines in the timeline", n)
	}
}

// Who is owed a deliver_sm is told of at once, after the commit; who is owed nothing
// is not.
func TestOnOwed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	b.owing(credential) // nobody listens yet
	var told []int
	b.OnOwed(func() { told = append(told, b.count("select count(*) from smpp_deliveries")) })
	b.owing(credential)
	if !slices.Equal(told, []int{2}) {
		t.Errorf("told with %v committed, want 2", told)
	}
	silent := b.taken(b.submitted(credential, 0))
	b.becomes(silent, message.StatusDelivered)
	late := b.taken(b.submitted(credential, 1))
	b.must(message.Change{MessageID: late.ID, To: message.StatusQueued, Events: line(message.StatusQueued), Vendor: b.vendor})
	if len(told) != 1 {
		t.Errorf("told %d times", len(told))
	}
	refused := b.submitted(credential, 1)
	refused.Message.Status, refused.Owed = message.StatusRejected, true
	refused.Message.Error = message.Refuse(message.ReasonUnauthorizedSender, "x")
	b.taken(refused)
	if !slices.Equal(told, []int{2, 3}) {
		t.Errorf("told with %v committed, want 2 and 3", told)
	}
}
