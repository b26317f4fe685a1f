package postgres

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Wherever the connection is lost, before, in or after the transaction, what was
// accepted is counted once, and everybody hears what is stored of his message.
func TestQuotaLostConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w, db := b.through()
	const price = 4500
	for at := int64(1); ; at++ {
		account := b.customer("UTC", 4*price)
		b.limit(account, "", message.SMS, message.PeriodDay, 5)
		began := time.Now()
		lost := w.lost.Load()
		w.cutAt.Store(at)
		parts := []int{2, 4, 1, 1, 1} // the second does not fit the limit, the last not the balance
		items := make([]*acceptance, len(parts))
		for i, n := range parts {
			a := b.metered(account, n)
			if i%2 == 0 {
				a = withKey(a, fmt.Sprint("key", i))
			}
			items[i] = b.sealed(a)
		}
		db.meter.commit(items)
		if out := <-items[0].done; out.err != nil {
			if n := b.count("select count(*) from messages where account_id = $1", account); n != 0 || !strings.Contains(out.err.Error(), "nothing was stored") {
				t.Fatalf("lost at answer %d: %v, and %d are stored", at, out.err, n)
			}
			for _, item := range items[1:] {
				<-item.done
			}
			db.meter.commit(items) // as their customers do
		} else {
			items[0].done <- out
		}
		heard := ""
		for i, item := range items {
			got, err := db.accepted(b.ctx, item)
			switch {
			case err != nil:
				t.Fatalf("lost at answer %d: %v", at, err)
			case got.Replay != nil: // of a try whose answer was lost
				heard += strings.SplitN(string(got.Replay.Response), " ", 2)[0] + " "
			case got.Fit.Refused != nil:
				heard += string(got.Fit.Refused.Reason) + " "
			default:
				heard += "accepted "
			}
			stored := must2(b.Message(b.ctx, item.Message.ID))
			if (stored.Status == message.StatusAccepted) != strings.HasSuffix(" "+heard, " accepted ") {
				t.Errorf("lost at answer %d: heard %s, message %d is %s", at, heard, i, stored.Status)
			}
		}
		if want := "accepted quota_exceeded accepted accepted insufficient_balance "; heard != want {
			t.Fatalf("lost at answer %d: heard %s", at, heard)
		}
		if got := b.used(account, began) + b.money(account); got != "sms day 4/5; 0.018 0.018" {
			t.Fatalf("lost at answer %d: %s", at, got)
		}
		if n := b.count("select count(*) from messages where account_id = $1 and (status = 'accepted') = (reason = '')", account); n != len(parts) {
			t.Fatalf("lost at answer %d: %d messages", at, n)
		}
		if w.lost.Load() == lost {
			if w.cutAt.Store(0); at < 8 {
				t.Errorf("only %d answers were lost", at-1)
			}
			break
		}
	}
	b.whole()
}

// Two processes that reserve for the same accounts in any order do not stand in each
// other's way, and a message that is in the journal takes nothing when it comes again.
func TestQuotaRepeated(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := b.customer("UTC", 0), b.customer("UTC", 0)
	for _, account := range []message.ID{one, two} {
		b.limit(account, "", message.SMS, message.PeriodMonth, 3)
	}
	dbs := []*DB{b.DB, b.replica()}
	items := []message.Acceptance{b.metered(one, 2), b.metered(two, 2), b.metered(two, 2), b.metered(one, 2)}
	results := make(chan message.Accepted, 8)
	for i, a := range items {
		for _, db := range dbs {
			wait := db.Enter(a)
			go func() {
				got, err := wait(b.ctx)
				if err != nil {
					t.Errorf("%d: %v", i, err)
				}
				results <- got
			}()
		}
	}
	repeated, refused := 0, 0
	for range 8 {
		got := <-results
		if got.Repeated {
			repeated++
		}
		if got.Fit.Refused != nil {
			refused++
		}
	}
	if repeated != 4 || refused != 4 {
		t.Errorf("%d repeated, %d refused", repeated, refused)
	}
	for _, account := range []message.ID{one, two} {
		if got := b.used(account, time.Now()); got != "sms month 2/3; " {
			t.Error(got)
		}
	}
}

// A message that was answered part by part before it was refused is owed receipts,
// and its customer's webhook the news.
func TestQuotaRefusesParts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.customer("UTC", 0)
	b.limit(account, "", message.SMS, message.PeriodDay, 1)
	credential := b.esme(account, "acme-parts")
	a := b.metered(account, 2)
	a.Message.Edge, a.Owed = message.EdgeSMPP, true
	a.Origin = &message.SMPPOrigin{CredentialID: credential, Registered: 1, AnswerID: message.Hex32(a.Message.ID)}
	a.Unfit = func(m *message.Message) (*message.Idempotency, []message.Notification, error) {
		return nil, []message.Notification{b.notification(m, "message.rejected")}, nil
	}
	b.fits(a, message.ReasonQuotaExceeded)
	for table, want := range map[string]int{"smpp_deliveries": 1, "webhook_deliveries": 1, "reservations": 0} {
		if n := b.count("select count(*) from " + table); n != want {
			t.Errorf("%s: %d rows, want %d", table, n, want)
		}
	}
}

// An account's acceptances stay in one lane while some are under way, whatever is
// known of its limits; others are where they belong.
func TestLanes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	idle := func() *acceptor {
		a := &acceptor{}
		a.more.L = &a.mu
		return a
	}
	l := &lanes{plain: idle(), metered: idle(), at: map[message.ID]*place{}}
	one, two := message.NewID(), message.NewID()
	enter := func(account message.ID, metered bool) {
		t.Helper()
		a := b.metered(account, 1)
		a.Metered = metered
		if err := l.enter(&acceptance{Acceptance: a}); err != nil {
			t.Fatal(err)
		}
	}
	look := func(plain, metered int) {
		t.Helper()
		if len(l.plain.queue) != plain || len(l.metered.queue) != metered {
			t.Errorf("%d and %d, want %d and %d", len(l.plain.queue), len(l.metered.queue), plain, metered)
		}
	}
	enter(one, false)
	enter(one, true)
	enter(two, true)
	look(2, 1)
	plain, metered := apart(append(l.plain.queue, l.metered.queue...))
	if len(plain) != 0 || len(metered) != 3 || metered[0].Metered {
		t.Errorf("%d and %d", len(plain), len(metered))
	}
	l.leave(one)
	enter(one, true)
	look(3, 1)
	l.leave(one)
	l.leave(one)
	enter(one, true)
	look(3, 2)
	l.leave(one)
	l.leave(two)
	if len(l.at) != 0 {
		t.Errorf("%d accounts are remembered", len(l.at))
	}
	l.metered.closed = true
	if err := l.enter(&acceptance{Acceptance: b.metered(two, 1)}); err == nil || len(l.at) != 0 {
		t.Errorf("%v; %d accounts are remembered", err, len(l.at))
	}
	// A group with both kinds is committed by both ways.
	account, other := b.customer("UTC", 0), message.NewID()
	b.limit(account, "", message.SMS, message.PeriodDay, 1)
	group := []*acceptance{b.sealed(b.metered(account, 1)), b.sealed(b.metered(other, 1)), b.sealed(b.metered(account, 1))}
	group[1].Metered = false
	b.accept.commit(group)
	for i, want := range []bool{false, false, true} {
		if out := <-group[i].done; out.err != nil || !out.kept.stored || (out.kept.fit.Refused != nil) != want {
			t.Errorf("%d: %+v", i, out)
		}
	}
}

func TestQuotaPlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill()
	for _, sql := range []string{
		`insert into accounts (id, company_name, webhook_secret) select distinct account_id, 'x', ''::bytea from messages`,
		`insert into accounts (id, company_name, webhook_secret) select gen_random_uuid(), 'x', ''::bytea from generate_series(1, 3000)`,
		`insert into balances (account_id) select id from accounts`,
		`insert into usage_limits (account_id, number, kind, period, parts) select id, '', 'sms', p, 1 from accounts, unnest(array['minute', 'day', 'month']) p`,
		`insert into usage_limits (account_id, number, kind, period, parts) select (select account_id from messages limit 1), '+1' || n, 'sms', 'day', 1 from generate_series(1, 3000) n`,
		`insert into usage_counters (limit_id, starts_at, ends_at, used, recount_at)
		 select id, now() - n * interval '1 minute', now() + interval '1 minute' - n * interval '1 minute', 1, case when n = 3 and random() < 0.01 then now() end
		 from usage_limits, generate_series(0, 3) n`,
		`insert into balance_entries (account_id, kind, amount_micros, currency, message_id, balance_after_micros) select account_id, 'charge', -1, 'USD', id, 0 from messages`,
		analyze,
	} {
		b.exec(sql)
	}
	for _, q := range []struct {
		name, sql string
		params    int
		scan      string // tables that may be read from end to end
		uses      string
	}{
		{"lock", lockBalances, 1, "", "balances_pkey"},
		{"fold", fold, 2, "", "reservations_ended"},
		{"meters", selectMeters, 2, "", "usage_limits_account_id_number_kind_period_key"},
		{"counters", selectCounters, 4, "", "usage_counters_pkey"},
		{"count", countUsage, 6, "", "messages_account"},
		{"ids", selectStoredIDs, 3, "", "messages_pkey"},
		{"keys", selectStoredKeys, 3, "", "idempotency_keys_pkey"},
		{"reserve", insertReservations, 8, "", ""},
		{"use", addUsage, 3, "", "usage_counters_pkey"},
		{"hold", addReserved, 3, "", "balances_pkey"},
		{"reserved", selectReserved, 1, "", "reservations_pkey"},
		{"reservation", selectReservation, 1, "", "reservations_pkey"},
		{"adopted", endAdopted, 4, "", "reservations_adopted"},
		// What has ended and is not settled yet is all that the index holds.
		{"unsettled", selectUnsettled, 2, "", "usage_counters_recount"},
		{"recounts", selectRecounts, 1, "", "usage_limits_account_id_number_kind_period_key"},
		{"purge", purgeCounters, 1, "", "usage_counters_pkey"},
		{"limited", selectLimited, 1, "", "usage_limits_account_id_number_kind_period_key"},
		{"entries", selectEntries, 3, "", "balance_entries_account"},
		{"reference", selectReference, 2, "", "balance_entries_reference"},
	} {
		for _, seqscan := range []string{"on", "off"} {
			plan := b.explain(q.sql, q.params, seqscan)
			for _, table := range endToEnd(plan) {
				if !strings.Contains(q.scan, table) {
					t.Errorf("%s, enable_seqscan %s, reads %s from end to end:\n%s", q.name, seqscan, table, plan)
				}
			}
			if !strings.Contains(plan, q.uses) {
				t.Errorf("%s, enable_seqscan %s, does not use %s:\n%s", q.name, seqscan, q.uses, plan)
			}
		}
	}
}
