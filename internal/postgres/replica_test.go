package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// Two replicas write about the same messages in every order at once: all calls
// succeed, and the record adds up. Deadlocks between their groups are the
// expected thing here.
func TestReplicasOverTheSameMessages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	replicas := []*DB{b.DB, b.replica()}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const messages, segments = 12, 4
	var all []*message.Message
	var notes []message.Notification
	var work []func(*DB) error
	for i := range messages {
		var ids []string
		for p := range segments {
			ids = append(ids, fmt.Sprintf("m%d-%d", i, p))
		}
		m := b.sending(segments)
		note := b.notification(m, "message.sending")
		b.must(message.Change{MessageID: m.ID, Notifications: []message.Notification{note}})
		all, notes = append(all, m), append(notes, note)
		b.must(b.answered(m, ids...))
		for p, id := range ids {
			for range 3 {
				work = append(work,
					func(db *DB) error { _, err := db.Receipt(b.ctx, b.receipt(id, message.ReceiptDelivered)); return err },
					func(db *DB) error { _, err := db.Receipt(b.ctx, b.receipt(id, message.ReceiptEnroute)); return err },
					func(db *DB) error { _, err := db.EarlyReceipts(b.ctx, b.vendor.ID, ids); return err },
					func(db *DB) error {
						_, err := db.Advance(b.ctx, message.Change{MessageID: m.ID, Events: []message.Event{{Type: message.EventRead}}, Settled: p%2 == 0})
						return err
					},
					func(db *DB) error {
						return db.RecordAttempt(b.ctx, message.NotificationAttempt{DeliveryID: note.ID, MessageID: m.ID, Number: p + 1, State: message.NotificationPending})
					})
			}
		}
		work = append(work, func(db *DB) error { _, err := db.Advance(b.ctx, b.answered(m, ids...)); return err })
	}
	r := rand.New(rand.NewPCG(seed, 0))
	r.Shuffle(len(work), func(i, j int) { work[i], work[j] = work[j], work[i] })
	var wg sync.WaitGroup
	const callers = 64
	for c := range callers {
		wg.Go(func() {
			for i := c; i < len(work); i += callers {
				if err := work[i](replicas[i%2]); err != nil {
					t.Errorf("call %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	for i, m := range all {
		if p := b.progress(m); p.Settled != segments || p.Failed != 0 || p.Status != message.StatusSent {
			t.Errorf("message %d: %+v", i, p)
		}
		events := map[message.EventType]int{}
		for _, e := range b.timeline(m) {
			events[e.Type]++
		}
		if events[message.EventRead] != 3*segments || events[message.EventWebhookAttempt] < 1 || events[message.EventWebhookAttempt] > segments ||
			events[message.EventReceipt] < segments || events[message.EventReceipt] > 2*segments {
			t.Errorf("message %d: %v", i, events)
		}
		// Not by Notification: the replica that wrote it has it in memory for its own first
		// try, and the other may by chance have made them all.
		if n := scalar[int](b, "select attempts from webhook_deliveries where id = $1", notes[i].ID); n != segments {
			t.Errorf("message %d: %d tries", i, n)
		}
	}
}

// Two transactions that hold what the other needs: the server ends one, and its
// statement is repeated. A group whose first try fails is tried again one statement
// at a time in any case, so a group of one statement, which needs both rows, shows
// that it is repeated for the deadlock.
func TestDeadlockIsRepeated(t *testing.T) {
	for _, together := range []bool{true, false} {
		t.Run(map[bool]string{true: "several", false: "alone"}[together], func(t *testing.T) {
			t.Parallel()
			deadlockIsRepeated(t, together)
		})
	}
}

func deadlockIsRepeated(t *testing.T, together bool) {
	b := setup(t)
	// Postgres looks for a deadlock once, a while after a wait began. So that the
	// group is who finds it, its last wait has to begin last: it stands before the
	// gate until the other one waits for it.
	one, gate, two := b.accepted(1), b.accepted(1), b.accepted(1)
	b.exec("alter database " + b.cfg.Database + " set deadlock_timeout = '50ms'")
	db := b.replica()
	// The group repeats at once, and may have its first row again before the other one has
	// noticed that it is free; if its wait for the last one then begins long enough before
	// the other's, only the other one can find the circle. That is late, so that the first
	// one is the group's.
	hold := func(m *message.Message) pgx.Tx {
		tx, err := b.pool.Begin(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
		for _, sql := range []string{"set local deadlock_timeout = '10s'", "update messages set edge = edge where id = '" + m.ID.String() + "'"} {
			if _, err := tx.Exec(b.ctx, sql); err != nil {
				t.Fatal(err)
			}
		}
		return tx
	}
	other, keeper := hold(two), hold(gate)
	ids := []message.ID{one.ID, gate.ID, two.ID}
	queued := func(sql string, args ...any) *statement {
		return &statement{sql: sql, args: args, read: none, done: make(chan error, 1)}
	}
	var group []*statement
	if together {
		for _, id := range ids {
			sql, args := advanceStatement(message.Change{MessageID: id, To: message.StatusQueued, Events: line(message.StatusQueued)})
			group = append(group, queued(sql, args...))
		}
	} else {
		group = []*statement{queued(`
			with a as (update messages set event_seq = event_seq where id = $1 returning id),
			b as (update messages m set event_seq = m.event_seq from a where m.id = $2 returning m.id)
			update messages m set status = 'queued' from b where m.id = $3`, one.ID, gate.ID, two.ID)}
	}
	go db.groups.commit(group)
	b.waiting(1)
	moved := make(chan error, 1)
	go func() {
		_, err := other.Exec(b.ctx, "update messages set edge = edge where id = $1", one.ID)
		moved <- err
	}()
	// Not just somebody: whoever it is that waits, the circle must be closed by the group.
	b.until("the other one waits for the group", func() bool {
		return b.count("select cardinality(pg_blocking_pids($1))", other.Conn().PgConn().PID()) > 0
	})
	if err := keeper.Commit(b.ctx); err != nil {
		t.Fatal(err)
	}
	deadlocks := 1
	if err := <-moved; sqlState(err) == deadlockDetected { // the second one
		deadlocks = 2
		_ = other.Rollback(b.ctx)
	} else if err != nil {
		t.Fatal(err)
	} else if err := other.Commit(b.ctx); err != nil {
		t.Fatal(err)
	}
	for i, s := range group {
		if err := <-s.done; err != nil {
			t.Errorf("statement %d: %v", i, err)
		}
	}
	if n := b.count("select count(*) from messages where status = 'queued' and id = any($1)", ids); n != map[bool]int{true: 3, false: 1}[together] {
		t.Errorf("%d are queued", n)
	}
	b.until("the server has counted the deadlock", func() bool {
		return b.count("select deadlocks from pg_stat_database where datname = current_database()") >= deadlocks
	})
}
