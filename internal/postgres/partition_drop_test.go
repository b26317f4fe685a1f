package postgres

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// old gives the bundle partitions of the past, with a message in each of the spans, the
// oldest first, and the time from which on rows are kept.
func (b *bundle) old(spans int) (list []*message.Message, keep time.Time) {
	b.tb.Helper()
	now := time.Now()
	b.made(now.Add(-time.Duration(spans)*partitionSpan), partitionSpan)
	for i := range spans {
		at := now.Add(-time.Duration(spans-i) * partitionSpan)
		m := b.at(at)
		m.Status, m.Error = message.StatusRejected, message.Refuse(message.ReasonNoRoute, "no")
		b.store(m)
		id := idAt(at)
		b.exec(`insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state) values ($1, 1, 1, $1, 'v', 'i', 'refused')`, m.ID)
		b.exec(`insert into webhook_deliveries (id, event_id, account_id, message_id, type, url, payload, state) values ($1, $1, $1, $2, 't', 'u', 'p', 'delivered')`, id, m.ID)
		list = append(list, m)
		b.made(at.Add(partitionSpan), partitionSpan)
	}
	return list, spanEnd(now.Add(-2 * partitionSpan))
}

func (b *bundle) dropped(before time.Time) []string {
	b.tb.Helper()
	list, err := b.DropPartitions(b.ctx, before)
	if err != nil {
		b.tb.Fatal(err)
	}
	for _, table := range partitionTables {
		b.layout(table)
	}
	return list
}

func TestDropPartitions(t *testing.T) {
	t.Parallel()
	b := fresh(t)
	list, keep := b.old(5)
	before := b.layout(messagesTable)
	if none := b.dropped(timeOf(before[0].to).Add(-time.Second)); len(none) != 0 {
		t.Fatalf("dropped before its time: %v", none)
	}
	gone := b.dropped(keep)
	if len(gone) < 3*len(partitionTables) {
		t.Errorf("dropped only %v", gone)
	}
	for i, m := range list {
		_, err := b.Message(b.ctx, m.ID)
		if was := message.ReasonOf(err) == message.ReasonNotFound; was != m.CreatedAt.Before(keep) {
			t.Errorf("message %d of %s: %v", i, m.CreatedAt, err)
		}
	}
	for _, table := range partitionTables {
		q := "select count(*) from " + table.table + " where " + table.key + " < $1"
		if n := b.count(q, idAt(keep)); n != 0 {
			t.Errorf("%d rows of %s are left", n, table.table)
		}
		if first := b.layout(table)[0]; first.name != table.table+"_floor" || first.to != idAt(keep) {
			t.Errorf("%s begins with %+v", table.table, first)
		}
	}
	if again := b.dropped(keep); len(again) != 0 {
		t.Errorf("dropped again: %v", again)
	}
	// A table that somebody has detached to keep it stays.
	p := b.layout(messagesTable)[1]
	b.exec("alter table messages detach partition " + p.name)
	if later := b.dropped(timeOf(p.to)); slices.Contains(later, p.name) || b.count("select count(*) from "+p.name) != 1 {
		t.Errorf("what was detached by hand was dropped: %v", later)
	}
	accepted := b.accepted(1)
	b.readable(accepted)
}

// What is not finished stays, with all that belongs to it and all that is younger.
func TestDropPartitionsUnfinished(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ begin, end string }{
		"under way": {"update messages set status = 'sent' where id = $1", "update messages set status = 'delivered' where id = $1"},
		"deliver_sm": {"insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, expires_at) values ($1, $1, $1, $1, 'receipt', 'delivered', now())",
			"update smpp_deliveries set state = 'delivered' where message_id = $1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fresh(t)
			list, keep := b.old(4)
			b.exec(c.begin, list[1].ID)
			gone := b.dropped(keep)
			if slices.Contains(gone, b.home(messagesTable, list[1].ID)) || !slices.ContainsFunc(gone, func(n string) bool { return strings.HasPrefix(n, "webhook_deliveries_") }) {
				t.Errorf("dropped %v", gone)
			}
			b.readable(list[1])
			b.readable(list[2])
			for _, table := range ofMessages {
				b.home(table, list[1].ID)
			}
			b.exec(c.end, list[1].ID)
			if gone := b.dropped(keep); !slices.Contains(gone, "messages_"+strings.TrimPrefix(gone[0], "messages_")) || len(gone) < len(ofMessages)+1 {
				t.Errorf("then dropped %v", gone)
			}
			if _, err := b.Message(b.ctx, list[1].ID); message.ReasonOf(err) != message.ReasonNotFound {
				t.Errorf("it is there: %v", err)
			}
		})
	}
	t.Run("webhook", func(t *testing.T) {
		t.Parallel()
		b := fresh(t)
		list, keep := b.old(4)
		b.exec("insert into webhooks_due (delivery_id, due_at) select id, now() from webhook_deliveries where message_id = $1", list[1].ID)
		b.dropped(keep)
		if n := b.count("select count(*) from webhook_deliveries where message_id = $1", list[1].ID); n != 1 {
			t.Error("a pending delivery is gone")
		}
		if _, err := b.Message(b.ctx, list[1].ID); message.ReasonOf(err) != message.ReasonNotFound {
			t.Errorf("its message is there: %v", err)
		}
	})
}

// While a partition waits for who may still look into it, nobody waits for it: all
// that messages do goes on.
func TestDropPartitionsBlocksNobody(t *testing.T) {
	t.Parallel()
	b := fresh(t)
	list, keep := b.old(4)
	before := b.sent("a1")
	reader, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback(context.WithoutCancel(b.ctx)) }()
	n := 0
	if err := reader.QueryRow(b.ctx, "select count(*) from messages").Scan(&n); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1) // written once
	var gone []string
	go func() {
		var err error
		gone, err = b.DropPartitions(b.ctx, keep)
		done <- err
	}()
	b.until("the drop waits for the reader", func() bool {
		return b.count("select count(*) from pg_stat_activity where datname = current_database() and query like 'alter table%concurrently' and wait_event_type = 'Lock'") == 1
	})
	// Everybody else gives up at once if they must wait.
	db := b.impatient()
	m := b.draft()
	if _, err := db.Accept(b.ctx, message.Acceptance{Message: m}); err != nil {
		t.Error(err)
	}
	if _, err := db.Advance(b.ctx, message.Change{MessageID: m.ID, To: message.StatusQueued, Events: line(message.StatusQueued), Vendor: b.vendor, Started: true}); err != nil {
		t.Error(err)
	}
	if matched, err := db.Receipt(b.ctx, b.receipt("a1", message.ReceiptDelivered)); err != nil || matched.MessageID != before.ID {
		t.Errorf("%+v, %v", matched, err)
	}
	if page, err := db.Messages(b.ctx, b.owner, message.Filter{}, message.ID{}, 100); err != nil || len(page) < 3 {
		t.Errorf("%d messages, %v", len(page), err)
	}
	if blocked := b.count("select count(*) from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0 and query not like 'alter table%concurrently'"); blocked != 0 {
		t.Errorf("%d wait", blocked)
	}
	select {
	case err := <-done:
		t.Fatalf("the drop did not wait: %v, %v", gone, err)
	default:
	}
	if err := reader.Commit(b.ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || len(gone) == 0 {
		t.Fatalf("dropped %v, %v", gone, err)
	}
	if _, err := b.Message(b.ctx, list[0].ID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("the oldest is there: %v", err)
	}
	b.readable(m)
}

// impatient is a process whose statements fail when they have to wait for a lock.
func (b *bundle) impatient() *DB {
	b.tb.Helper()
	b.exec("alter role current_user in database " + quoted(b.cfg.Database) + " set lock_timeout = '2s'")
	db := b.replica()
	b.exec("alter role current_user in database " + quoted(b.cfg.Database) + " reset lock_timeout")
	return db
}

// A drop that was ended while it waited is finished by the next.
func TestDropPartitionsEnded(t *testing.T) {
	t.Parallel()
	b := fresh(t)
	list, keep := b.old(4)
	reader, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback(context.WithoutCancel(b.ctx)) }()
	if _, err := reader.Exec(b.ctx, "select count(*) from messages"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan error, 1) // written once
	go func() {
		_, err := b.DropPartitions(ctx, keep)
		done <- err
	}()
	b.until("the drop waits for the reader", func() bool {
		return b.count("select count(*) from pg_stat_activity where datname = current_database() and query like 'alter table%concurrently' and wait_event_type = 'Lock'") == 1
	})
	cancel()
	if err := <-done; err == nil {
		t.Fatal("the drop ended well")
	}
	b.readable(b.accepted(1)) // meanwhile messages come
	if err := reader.Commit(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.made(time.Now(), 3*partitionSpan)
	if gone := b.dropped(keep); len(gone) < 2*len(partitionTables) {
		t.Errorf("dropped %v", gone)
	}
	if _, err := b.Message(b.ctx, list[0].ID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("the oldest is there: %v", err)
	}
	if n := b.count("select count(*) from pg_class c where relkind = 'r' and obj_description(c.oid, 'pg_class') = $1", leavingMark); n != 0 {
		t.Errorf("%d tables are left behind", n)
	}
}
