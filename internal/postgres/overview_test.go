package postgres

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func TestOverview(t *testing.T) {
	t.Parallel()
	b := setup(t)
	look := func() message.Overview {
		t.Helper()
		o, err := b.Overview(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if o := look(); !o.Lately.Since.IsZero() || o.Backlog != (message.Pile{}) || o.InDoubt != (message.Pile{}) || len(o.Limits) > 0 {
		t.Fatalf("at first %+v", o)
	}
	later, first, second, doubted := b.draft(), b.draft(), b.draft(), b.draft()
	for _, m := range []*message.Message{later, first, second, doubted} {
		b.enter(message.Acceptance{Message: m})
	}
	b.exec("update messages set status = 'scheduled' where id = $1", later.ID)
	b.exec("update messages set status = 'in_doubt' where id = $1", doubted.ID)
	b.exec("delete from backlog where message_id = $1", doubted.ID)
	b.exec("delete from starts where message_id <> $1", second.ID)
	b.exec("insert into holds (message_id, account_id, rule) select id, account_id, 'content' from messages where id = $1", second.ID)
	b.exec("insert into webhooks_due (delivery_id, due_at) values ($1, now())", first.ID)
	b.exec("insert into webhook_failed (delivery_id, account_id) values ($1, $2)", second.ID, second.AccountID)
	b.exec("insert into accounts (id, company_name, webhook_secret) values ($1, 'a', 's'::bytea)", b.owner)
	b.exec("insert into usage_limits (account_id, kind, period, parts) values ($1, 'sms', 'day', 10), ($1, 'mms', 'day', 10)", b.owner)
	b.exec("insert into usage_counters (limit_id, starts_at, ends_at, used) select id, now() - interval '1 hour', now() + interval '1 hour', case kind when 'sms' then 7 else 9 end from usage_limits")
	b.exec("insert into usage_counters (limit_id, starts_at, ends_at, used) select id, now() - interval '25 hours', now() - interval '1 hour', 10 from usage_limits")
	o := look()
	for name, p := range map[string]struct {
		got   message.Pile
		count int
		first message.ID
	}{
		"backlog": {o.Backlog, 3, first.ID}, "unstarted": {o.Unstarted, 1, second.ID}, "in doubt": {o.InDoubt, 1, doubted.ID}, "held": {o.Held, 1, second.ID},
		"due": {o.WebhooksDue, 1, first.ID}, "failed": {o.WebhooksFailed, 1, second.ID}, "unrouted": {o.Unrouted, 0, message.ID{}}, "unmatched": {o.Unmatched, 0, message.ID{}},
	} {
		if p.got.Count != p.count || p.got.ID != p.first || p.count > 0 && !p.got.Oldest.Equal(timeOf(p.first)) {
			t.Errorf("%s: %+v, want %d, the first %s", name, p.got, p.count, p.first)
		}
	}
	if len(o.Limits) != 2 || o.Limits[0].Kind != message.MMS || o.Limits[0].Used != 9 || o.Limits[1].Used != 7 || o.Limits[0].AccountID != b.owner {
		t.Errorf("%+v", o.Limits)
	}
	counts := map[message.Status]int{}
	for _, c := range o.Lately.Counts {
		counts[c.Status] += c.Messages
	}
	if counts[message.StatusAccepted] != 2 || counts[message.StatusScheduled] != 1 || counts[message.StatusInDoubt] != 1 || o.Lately.Cut || time.Since(o.Lately.Since) > time.Hour {
		t.Errorf("%+v", o.Lately)
	}
	// What is below the watermark is found by its list.
	b.exec("insert into message_statuses (message_id, account_id, status) values ($1, $2, 'in_doubt')", doubted.ID, doubted.AccountID)
	b.exec("update message_statuses_until set until_id = $1", message.NewID())
	if o := look(); o.InDoubt.Count != 1 || o.InDoubt.ID != doubted.ID {
		t.Errorf("%+v", o.InDoubt)
	}
}
