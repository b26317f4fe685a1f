package postgres

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func TestQuota(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.customer("America/Los_Angeles", 0)
	at := time.Now()
	b.limit(account, "", message.SMS, message.PeriodDay, 4)
	b.limit(account, "+12025550143", message.SMS, message.PeriodMonth, 5)
	b.limit(account, "", message.MMS, message.PeriodDay, 1)
	first := b.fits(b.metered(account, 3), "")
	refused := b.metered(account, 2)
	got := b.entered(b.DB, withKey(refused, "k"))
	if got.Fit.Refused == nil || got.Fit.Refused.Reason != message.ReasonQuotaExceeded || got.Waits || got.Repeated {
		t.Fatalf("%+v", got)
	}
	_, end := message.PeriodDay.Span(refused.Message.CreatedAt, must2(time.LoadLocation("America/Los_Angeles")))
	want := "3 of 4 sms parts a day are used and this message needs 2; resets_at " + end.Format(time.RFC3339)
	if d := got.Fit.Refused.Detail; d != want || got.Fit.Refused.RetryAfter() != end.Sub(refused.Message.CreatedAt) {
		t.Errorf("%s\nwant %s", d, want)
	}
	stored := must2(b.Message(b.ctx, refused.Message.ID))
	if stored.Status != message.StatusRejected || stored.Error.Reason != message.ReasonQuotaExceeded || stored.Error.Detail != want {
		t.Errorf("%+v", stored)
	}
	line := b.timeline(stored)
	if trail := fmt.Sprint(line[0].Detail["trail"]); len(line) != 1 || line[0].Type != "rejected" || !strings.Contains(trail, "rule:quota") || strings.Index(trail, "rule:quota") > strings.Index(trail, "rule:route") {
		t.Errorf("%+v", line)
	}
	if refused.Message.Status != message.StatusAccepted {
		t.Error("the caller's message was changed")
	}
	for _, table := range []string{"starts", "backlog", "reservations"} {
		if n := b.count("select count(*) from " + table + " where message_id = '" + refused.Message.ID.String() + "'"); n != 0 {
			t.Errorf("the refused message is in %s", table)
		}
	}
	// The key is free: what fits is accepted with it, once.
	again := withKey(b.metered(account, 1), "k")
	b.fits(again, "")
	if got := b.entered(b.DB, withKey(b.metered(account, 1), "k")); got.Replay == nil || string(got.Replay.Response) != "accepted "+again.Message.ID.String() {
		t.Errorf("%+v", got)
	}
	if got := b.used(account, at); got != "mms day 0/1; sms day 4/4; +12025550143sms month 4/5; " {
		t.Error(got)
	}
	// Another number is counted by the account alone; what is given back fits again.
	b.ends(first, "canceled")
	other := b.metered(account, 2)
	other.Message.From = "+12025550199"
	b.fits(other, "")
	if got := b.used(account, at); got != "mms day 0/1; sms day 3/4; +12025550143sms month 1/5; " {
		t.Error(got)
	}
	mms := b.metered(account, 2)
	mms.Message.Kind = message.MMS
	b.fits(mms, message.ReasonQuotaExceeded)
}

func TestPrepaid(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.customer("UTC", 10_000)
	first := b.fits(b.metered(account, 2), "") // costs 9000
	refused := withKey(b.metered(account, 1), "k")
	b.fits(refused, message.ReasonInsufficientBalance)
	if got := b.entered(b.DB, withKey(b.metered(account, 1), "k")); got.Replay == nil || got.Replay.Status != 402 || string(got.Replay.Response) != "insufficient_balance" {
		t.Errorf("%+v", got)
	}
	if got := b.money(account); got != "0.01 0.009" {
		t.Error(got)
	}
	b.ends(first, "late")
	if got := b.money(account); got != "0.001 0.00" {
		t.Error(got)
	}
	entries := must2(b.BalanceEntries(b.ctx, account, 0, 10))
	if len(entries) != 2 || entries[0].Kind != message.EntryCharge || entries[0].MessageID != first.ID || entries[0].Amount != -9000 || entries[0].Currency != "USD" {
		t.Errorf("%+v", entries)
	}
	if page := must2(b.BalanceEntries(b.ctx, account, entries[0].Sequence, 10)); len(page) != 1 || page[0].Kind != message.EntryCredit || page[0].Actor != actor.Name {
		t.Errorf("%+v", page)
	}
	// What was accepted in advance is charged, what was accepted after it is not.
	b.credit(account, 5000)
	before := b.fits(b.metered(account, 1), "")
	if err := b.SetPrepaid(b.ctx, actor, account, false); err != nil {
		t.Fatal(err)
	}
	after := b.fits(b.metered(account, 7), "")
	b.ends(after, "delivered")
	b.ends(before, "delivered")
	if got := b.money(account); got != "0.0015 0.00" {
		t.Error(got)
	}
	for _, sql := range []string{"update balance_entries set reason = 'x'", "delete from balance_entries"} {
		if _, err := b.pool.Exec(b.ctx, sql); err == nil {
			t.Error("done: " + sql)
		}
	}
}

func TestBook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.customer("UTC", 0)
	entry := message.BalanceEntry{AccountID: account, Kind: message.EntryCredit, Amount: 700, Currency: "USD", Reference: "inv-1", Reason: "paid"}
	first := must2(b.Book(b.ctx, actor, entry))
	if again := must2(b.Book(b.ctx, actor, entry)); again.ID != first.ID || first.ID[6]>>4 != 7 || first.After != 700 {
		t.Errorf("%+v, then %+v", first, again)
	}
	for want, change := range map[message.Reason]func(*message.BalanceEntry){
		message.ReasonConflict:       func(e *message.BalanceEntry) { e.Amount = 701 },
		message.ReasonNotFound:       func(e *message.BalanceEntry) { e.AccountID = message.NewID() },
		message.ReasonInvalidRequest: func(e *message.BalanceEntry) { e.Kind = message.EntryCharge },
	} {
		e := entry
		change(&e)
		if _, err := b.Book(b.ctx, actor, e); message.ReasonOf(err) != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, e := range []message.BalanceEntry{
		{AccountID: account, Kind: message.EntryCredit, Amount: -1, Currency: "USD"}, {AccountID: account, Kind: message.EntryAdjustment, Currency: "USD"},
		{AccountID: account, Kind: message.EntryRefund, Amount: 1, Currency: ""}, {AccountID: account, Kind: message.EntryRefund, Amount: 1, Currency: "EUR"},
	} {
		if _, err := b.Book(b.ctx, actor, e); err == nil {
			t.Errorf("booked: %+v", e)
		}
	}
	must2(b.Book(b.ctx, actor, message.BalanceEntry{AccountID: account, Kind: message.EntryAdjustment, Amount: -900, Currency: "USD"}))
	if got := b.money(account); got != "-0.0002 0.00" {
		t.Error(got)
	}
	if broken, err := b.VerifyAudit(b.ctx); broken != 0 || err != nil {
		t.Errorf("%d, %v", broken, err)
	}
}

// A limit counts what was sent in the period before it was set, also what is still
// on its way, and by processes that do not know of it yet.
func TestLimitSetLater(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.customer("UTC", 0)
	plain := func(parts int) *message.Message {
		a := b.metered(account, parts)
		a.Metered = false
		b.fits(a, "")
		return a.Message
	}
	sent, gone, under := plain(1), plain(2), plain(4)
	refused := b.metered(account, 64)
	refused.Message.Status, refused.Message.Error = message.StatusRejected, message.Refuse(message.ReasonNoRoute, "none")
	b.entered(b.DB, refused)
	automatic := b.metered(account, 32)
	automatic.Metered, automatic.Message.Automatic = false, true
	b.entered(b.DB, automatic)
	old := b.metered(account, 128)
	old.Metered, old.Message.CreatedAt = false, time.Now().Add(-33*24*time.Hour)
	b.entered(b.DB, old)
	b.ends(sent, "delivered")
	b.ends(gone, "canceled")
	at := time.Now()
	b.limit(account, "", message.SMS, message.PeriodMonth, 100)
	if got := b.used(account, at); got != "sms month 5/100; " {
		t.Fatal(got)
	}
	late := plain(8) // by a process that has not heard of it
	b.fits(b.metered(account, 16), "")
	if got := b.used(account, at); got != "sms month 21/100; " {
		t.Fatal(got)
	}
	b.exec("update usage_counters set recount_at = now()")
	b.settlesUsage()
	if got := b.used(account, at); got != "sms month 29/100; " {
		t.Fatal(got)
	}
	b.ends(late, "canceled")
	b.ends(under, "refused")
	if got := b.used(account, at); got != "sms month 17/100; " {
		t.Fatal(got)
	}
	// One that ended while it was being adopted.
	missed := plain(2)
	b.ends(missed, "canceled")
	b.exec("insert into reservations (message_id, account_id, number, kind, parts, prepaid, at, adopted_at) select id, account_id, from_addr, kind, segments, false, created_at, now() - interval '1 hour' from messages where id = $1", missed.ID)
	b.exec("update usage_counters set used = used + 2")
	b.settlesUsage()
	b.settlesUsage()
	if got := b.used(account, at); got != "sms month 17/100; " {
		t.Fatal(got)
	}
	if n := b.count("select count(*) from reservations where adopted_at is not null and adopted_at < now() - interval '10 minutes'"); n != 0 {
		t.Errorf("%d are still looked for", n)
	}
	// A limit that is set again, or whose days begin elsewhere, counts anew.
	if err := b.RemoveUsageLimit(b.ctx, actor, message.UsageLimit{AccountID: account, Kind: message.SMS, Period: message.PeriodMonth}); err != nil {
		t.Fatal(err)
	}
	plain(1)
	b.limit(account, "", message.SMS, message.PeriodDay, 50)
	if got := b.used(account, at); got != "sms day 18/50; " {
		t.Fatal(got)
	}
	b.exec("update accounts set time_zone = 'Pacific/Kiritimati' where id = $1", account)
	if got := b.used(account, at); got != "sms day 18/50; " && time.Now().UTC().Hour() != 10 {
		t.Fatal(got)
	}
}

func (b *bundle) settlesUsage() {
	b.tb.Helper()
	b.exec("update reservations set ended_at = ended_at - interval '1 minute' where ended_at is not null")
	if err := b.SettleUsage(b.ctx, time.Second); err != nil {
		b.tb.Fatal(err)
	}
}

// Nobody needs to look for what is given back to be given back.
func TestSettleUsage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.customer("UTC", 1_000_000)
	b.limit(account, "", message.SMS, message.PeriodDay, 100)
	b.limit(account, "", message.SMS, message.PeriodMinute, 100)
	for how := range endings {
		b.ends(b.fits(b.metered(account, 1), ""), how)
	}
	b.exec("insert into usage_counters (limit_id, starts_at, ends_at, used) select id, now() - interval '50 days', now() - interval '49 days', 1 from usage_limits")
	b.exec("insert into usage_counters (limit_id, starts_at, ends_at, used) select id, now() - interval '2 days', now() - interval '1 day', 1 from usage_limits")
	b.settlesUsage()
	if n := b.count("select count(*) from reservations"); n != 0 {
		t.Errorf("%d reservations are left", n)
	}
	if n := b.count("select used from usage_counters c join usage_limits l on l.id = limit_id where period = 'day' and ends_at > now()"); n != 6 {
		t.Errorf("%d used", n)
	}
	if n := b.count("select balance_micros + reserved_micros from balances"); n != 1_000_000-5*4500 {
		t.Errorf("%d left", n)
	}
	if n := b.count("select count(*) from usage_counters where ends_at < now() - interval '1 hour'"); n != 1 {
		t.Errorf("%d old counters", n)
	}
}

// Fits tells and takes nothing.
func TestFits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.customer("UTC", 10_000)
	b.limit(account, "", message.SMS, message.PeriodDay, 2)
	look := func(parts int) string {
		t.Helper()
		fit := must2(b.Fits(b.ctx, b.metered(account, parts).Message))
		s := ""
		for _, e := range fit.Trail {
			s += e.Rule + " " + string(e.Result) + ": " + e.Detail + "; "
		}
		return s
	}
	want := "quota pass: 1 of 2 sms parts a day; balance pass: 0.0045 of 0.01 USD; "
	for range 2 {
		if got := look(1); got != want {
			t.Error(got)
		}
	}
	if got := look(3); !strings.HasPrefix(got, "quota refuse: 0 of 2 sms parts a day are used and this message needs 3; resets_at ") {
		t.Error(got)
	}
	b.fits(b.metered(account, 1), "")
	b.limit(account, "", message.SMS, message.PeriodDay, 9)
	if got := look(3); !strings.HasSuffix(got, "balance refuse: the message costs 0.0135 USD and 0.0055 of the balance may be spent; ") {
		t.Error(got)
	}
}

// A revision takes and gives back the difference, or is refused and changes nothing.
func TestReviseMetered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.customer("UTC", 20_000)
	at := time.Now()
	b.limit(account, "", message.SMS, message.PeriodDay, 4)
	m := b.fits(b.metered(account, 2), "")
	b.fits(b.metered(account, 1), "")
	to := func(parts int) (bool, error) {
		now := must2(b.Message(b.ctx, m.ID))
		now.Segments, now.Price.Amount = parts, message.Micros(parts)*4500
		return b.Revise(b.ctx, message.Revision{Message: now, Detail: map[string]any{}})
	}
	for _, c := range []struct {
		parts  int
		reason message.Reason
		used   string
		money  string
	}{
		{3, "", "sms day 4/4; ", "0.02 0.018"}, {4, message.ReasonQuotaExceeded, "sms day 4/4; ", "0.02 0.018"},
		{1, "", "sms day 2/4; ", "0.02 0.009"}, {3, "", "sms day 4/4; ", "0.02 0.018"},
	} {
		done, err := to(c.parts)
		if message.ReasonOf(err) != c.reason || done != (c.reason == "") {
			t.Fatalf("%d parts: %v, %v", c.parts, done, err)
		}
		if used, money := b.used(account, at), b.money(account); used != c.used || money != c.money {
			t.Errorf("%d parts: %s, %s", c.parts, used, money)
		}
	}
	b.limit(account, "", message.SMS, message.PeriodDay, 9)
	if _, err := to(4); message.ReasonOf(err) != message.ReasonInsufficientBalance {
		t.Error(err)
	}
	stale := must2(b.Message(b.ctx, m.ID))
	stale.Revision--
	stale.Segments = 1
	if done, err := b.Revise(b.ctx, message.Revision{Message: stale}); done || err != nil || b.used(account, at) != "sms day 4/9; " {
		t.Errorf("%v, %v, %s", done, err, b.used(account, at))
	}
	m.Segments, m.Price.Amount = 3, 13_500
	b.ends(m, "delivered")
	if got := b.used(account, at) + b.money(account); got != "sms day 4/9; 0.0065 0.0045" {
		t.Error(got)
	}
}

// Of what fifty senders send at once over two processes exactly as much is accepted
// as is allowed, of each of many accounts, some of which pay.
func TestQuotaConcurrent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const senders, limit = 50, 23
	dbs := []*DB{b.DB, b.replica()}
	for round := range 12 {
		account := b.customer("UTC", message.Micros(round%2)*limit*4500)
		if round%2 == 0 {
			b.limit(account, "", message.SMS, message.PeriodMonth, limit)
		}
		var accepted atomic.Int64
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for s := range senders {
			wg.Go(func() {
				a := b.metered(account, 1)
				<-begin
				if got, err := dbs[s%2].Accept(b.ctx, a); err != nil {
					t.Error(err)
				} else if got.Fit.Refused == nil {
					accepted.Add(1)
				}
			})
		}
		close(begin)
		wg.Wait()
		if n := accepted.Load(); n != limit {
			t.Fatalf("round %d: %d accepted, want %d", round, n, limit)
		}
		if got := b.used(account, time.Now()) + b.money(account); got != []string{"sms month 23/23; 0.00 0.00", "0.1035 0.1035"}[round%2] {
			t.Fatalf("round %d: %s", round, got)
		}
	}
}

// What ends while others come in is given back once, and taken again.
func TestQuotaGivenBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const senders, each, limit = 50, 12, 300
	account := b.customer("UTC", 0)
	b.limit(account, "", message.SMS, message.PeriodMonth, limit)
	dbs := []*DB{b.DB, b.replica()}
	var accepted, given atomic.Int64
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for n := range each {
				a := b.metered(account, 1)
				if got, err := dbs[s%2].Accept(b.ctx, a); err != nil {
					t.Error(err)
				} else if got.Fit.Refused == nil {
					accepted.Add(1)
					if n%4 == 0 {
						if _, err := dbs[s%2].Advance(b.ctx, message.Change{MessageID: a.Message.ID, To: message.StatusCanceled}); err != nil {
							t.Error(err)
						}
						given.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	n := accepted.Load() - given.Load()
	if got := b.used(account, time.Now()); n > limit || got != fmt.Sprintf("sms month %d/%d; ", n, limit) {
		t.Errorf("%d accepted and not given back: %s", n, got)
	}
}

// The snapshot says which accounts are metered, and every change of that is one of
// the configuration.
func TestMeteredAccounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.customer("UTC", 0)
	before := must2(b.ConfigVersion(b.ctx))
	look := func(want string) {
		t.Helper()
		a := must2(b.LoadSnapshot(b.ctx)).Accounts[account]
		if got := fmt.Sprint(a.Limited, a.Prepaid, a.Metered()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if v := must2(b.ConfigVersion(b.ctx)); v <= before {
			t.Error("the configuration has not changed")
		} else {
			before = v
		}
	}
	b.limit(account, "", message.SMS, message.PeriodDay, 1)
	look("true false true")
	if err := b.RemoveUsageLimit(b.ctx, actor, message.UsageLimit{AccountID: account, Kind: message.SMS, Period: message.PeriodDay}); err != nil {
		t.Fatal(err)
	}
	look("false false false")
	if err := b.SetPrepaid(b.ctx, actor, account, true); err != nil {
		t.Fatal(err)
	}
	look("false true true")
}

// An MMS is one part of its own kind, reserved at what it costs, charged when a vendor has
// taken it and given back when none has.
func TestPrepaidMMS(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.customer("UTC", 40_000)
	mms := func() message.Acceptance {
		a := b.metered(account, 1)
		a.Message.Kind, a.Message.Price.Amount = message.MMS, 18_000
		return a
	}
	sent, refused := b.fits(mms(), ""), b.fits(mms(), "")
	b.fits(mms(), message.ReasonInsufficientBalance)
	if got := b.money(account); got != "0.04 0.036" {
		t.Errorf("reserved: %s", got)
	}
	b.ends(refused, "refused")
	b.ends(sent, "delivered")
	if got := b.money(account); got != "0.022 0.00" {
		t.Errorf("charged: %s", got)
	}
	if entries := must2(b.BalanceEntries(b.ctx, account, 0, 10)); len(entries) != 2 || entries[0].Kind != message.EntryCharge || entries[0].MessageID != sent.ID || entries[0].Amount != -18_000 {
		t.Errorf("%+v", entries)
	}
}
