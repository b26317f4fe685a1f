package postgres

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// at is a new id of a time.
func at(t time.Time) message.ID {
	id, when := message.NewID(), idAt(t)
	copy(id[:6], when[:6])
	return id
}

// stored writes a message as it would be some time after its acceptance.
func (b *bundle) stored(id, account message.ID, d message.Direction, s message.Status) {
	b.tb.Helper()
	b.exec(`insert into messages (id, account_id, direction, kind, status, from_addr, to_addr, body, encoding, segments, message_class, delivery, edge, expires_at, created_at, updated_at)
		values ($1, $2, $3, 'sms', 'accepted', '+12025550143', '+13105550100', null, 'gsm7', 1, 'bulk', 'at_most_once', 'rest', now() + interval '1 hour', now(), now())`, id, account, string(d))
	if d == message.Outbound {
		b.exec("insert into backlog (message_id, account_id, priority, from_addr, to_addr) values ($1, $2, 3, '', '')", id, account)
	}
	b.turns(id, s)
}

func (b *bundle) turns(id message.ID, s message.Status) {
	b.tb.Helper()
	b.exec("update messages set status = $2 where id = $1", id, string(s))
	if leaves(s) {
		b.exec("delete from backlog where message_id = $1", id)
	}
}

// wantLists compares the lists by status with what the messages say themselves.
func (b *bundle) wantLists(account message.ID, sets [][]message.Status) {
	b.tb.Helper()
	for _, set := range sets {
		for _, of := range []message.ID{account, {}} {
			var want, got []message.ID
			rows, err := b.pool.Query(b.ctx, "select id from messages where status = any($1) and ($2::uuid is null or account_id = $2) order by id desc", statusNames(set), ptrUnlessZero(of))
			if err != nil {
				b.tb.Fatal(err)
			}
			for rows.Next() {
				var id message.ID
				if err := rows.Scan(&id); err != nil {
					b.tb.Fatal(err)
				}
				want = append(want, id)
			}
			for before := (message.ID{}); ; { // page by page
				list := b.AllMessages
				if of != (message.ID{}) {
					list = func(ctx context.Context, f message.Filter, before message.ID, limit int) ([]*message.Message, error) {
						return b.Messages(ctx, of, f, before, limit)
					}
				}
				page, err := list(b.ctx, message.Filter{Statuses: set}, before, 3)
				if err != nil {
					b.tb.Fatal(err)
				}
				for _, m := range page {
					got, before = append(got, m.ID), m.ID
				}
				if len(page) < 3 {
					break
				}
			}
			if !slices.Equal(got, want) {
				b.tb.Fatalf("%v, account %v: %d found, want %d\n%v\n%v", set, of, len(got), len(want), got, want)
			}
		}
	}
}

func ptrUnlessZero(id message.ID) *message.ID {
	if id == (message.ID{}) {
		return nil
	}
	return &id
}

// Lists by status say what the messages say, whatever changes, and whether the watermark
// is behind a message or before it.
func TestMessagesByStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var sets [][]message.Status
	for _, s := range message.Statuses() {
		sets = append(sets, []message.Status{s})
	}
	sets = append(sets, message.Statuses(), waitingStatuses, []message.Status{message.StatusFailed, message.StatusRejected, message.StatusUndelivered},
		[]message.Status{message.StatusSent, message.StatusInDoubt, message.StatusQueued})
	r := rand.New(rand.NewPCG(7, 11))
	other := message.NewID()
	var all []message.ID
	now := time.Now()
	for i := range 60 {
		id := at(now.Add(-time.Duration(i*i) * time.Second)) // up to an hour ago
		d, account := message.Outbound, b.owner
		if i%5 == 4 {
			d = message.Inbound
		}
		if i%7 == 6 {
			account = other
		}
		b.stored(id, account, d, message.Statuses()[r.IntN(len(message.Statuses()))])
		all = append(all, id)
	}
	b.wantLists(b.owner, sets)
	// Half of them come into the list by the watermark alone.
	b.exec("delete from message_statuses")
	b.wantLists(b.owner, sets[:0])
	if more, err := b.ListStatuses(b.ctx); more || err != nil {
		t.Fatal(more, err)
	}
	b.wantLists(b.owner, sets)
	for range 20 {
		for range 5 {
			id := all[r.IntN(len(all))]
			var from string
			if err := b.pool.QueryRow(b.ctx, "select status from messages where id = $1", id).Scan(&from); err != nil {
				t.Fatal(err)
			}
			var next []message.Status
			for _, s := range message.Statuses() {
				if message.Status(from).CanBecome(s) {
					next = append(next, s)
				}
			}
			if len(next) > 0 {
				b.turns(id, next[r.IntN(len(next))])
			}
		}
		b.wantLists(b.owner, sets)
	}
	if n := b.count("select count(*) from message_statuses where status = 'delivered'"); n > 0 {
		t.Errorf("%d delivered ones are listed", n)
	}
}

// The watermark moves in pieces, by one process at a time, and not for nothing.
func TestListStatuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	young := at(time.Now().Add(-2 * time.Minute))
	b.stored(young, b.owner, message.Outbound, message.StatusFailed)
	b.exec(`insert into messages (id, account_id, direction, kind, status, from_addr, to_addr, body, encoding, segments, message_class, delivery, edge, expires_at, created_at, updated_at)
		select (lpad(to_hex(n), 8, '0') || '-0000-7000-8000-000000000000')::uuid, $1, 'outbound', 'sms', case when n % 100 = 0 then 'failed' else 'delivered' end, '', '', null, 'gsm7', 1, 'bulk', 'at_most_once', 'rest', now(), now(), now()
		from generate_series(1, $2::int) n`, b.owner, statusesPiece+100)
	b.exec("delete from message_statuses")
	tx, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(b.ctx, takeStatusesTurn); err != nil {
		t.Fatal(err)
	}
	if more, err := b.ListStatuses(b.ctx); more || err != nil || b.count("select count(*) from message_statuses") > 0 {
		t.Errorf("while another process does it: %t, %v", more, err)
	}
	if err := tx.Rollback(b.ctx); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		more bool
		rows int
	}{{true, statusesPiece / 100}, {false, statusesPiece/100 + 1}, {false, statusesPiece/100 + 1}} {
		more, err := b.ListStatuses(b.ctx)
		if n := b.count("select count(*) from message_statuses"); err != nil || more != c.more || n != c.rows {
			t.Errorf("look %d: %t, %v, %d rows, want %+v", i, more, err, n, c)
		}
	}
	if n := b.count("select count(*) from message_statuses_until where until_id > $1", young); n > 0 {
		t.Error("the watermark is less than three minutes back")
	}
}
