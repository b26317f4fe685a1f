package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// ended marks the reservation of a message that has ended, with what the record
// says that it costs. What a status alone does not say, whether a vendor may have
// it, is looked up when it is settled: no attempt is journalled any more then.
// Another final status, as a receipt that comes late brings, finds it marked.
func (w *writer) ended(c message.Change) {
	if !c.To.Final() {
		return
	}
	went := "null"
	if gone(c.To) {
		went = "true"
	}
	w.clause("ended", "update reservations r\n  set ended_at = now(), went = "+went+`, price_micros = m.price_micros
  from moved m
  where r.message_id = $1 and r.ended_at is null`)
}

const selectReserved = `
select exists (
  select
  from reservations
  where message_id = $1 and ended_at is null)`

// reserved reports whether a message has a reservation.
func (db *DB) reserved(ctx context.Context, id message.ID) (held bool, err error) {
	err = db.pool.QueryRow(ctx, selectReserved, id).Scan(&held)
	return held, err
}

const selectReservation = `
select number, kind, parts, micros, prepaid, at
from reservations
where message_id = $1 and ended_at is null`

const updateReservation = `
update reservations
set parts = $2, micros = $3, kind = $4
where message_id = $1`

// reviseMetered writes a revision together with what the message takes from then
// on: more must fit into the period in which it was accepted, less is given back.
func (db *DB) reviseMetered(ctx context.Context, r message.Revision, body []byte) (changed bool, err error) {
	m := r.Message
	err = db.underLock(ctx, []message.ID{m.AccountID}, func(tx pgx.Tx) error {
		changed = false
		was := measured{account: m.AccountID}
		var parts int64
		var micros message.Micros
		var prepaid bool
		err := tx.QueryRow(ctx, selectReservation, m.ID).Scan(&was.from, &was.kind, &parts, &micros, &prepaid, &was.at)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // it has ended meanwhile: the caller looks again
		}
		if err != nil {
			return err
		}
		price := message.Price{Currency: m.Price.Currency}
		if prepaid {
			price.Amount = m.Price.Amount - micros
		}
		is := was
		is.kind = m.Kind
		back, more := &meters{}, int64(m.Segments)-parts
		if is.kind != was.kind { // counted apart
			if back, err = db.fitting(ctx, tx, was, -parts, message.Price{Currency: price.Currency}, prepaid); err != nil {
				return err
			}
			more = int64(m.Segments)
		}
		ms, err := db.fitting(ctx, tx, is, more, price, prepaid)
		if err != nil {
			return err
		}
		sql, args := reviseStatement(r, body, true)
		b := &pgx.Batch{}
		b.Queue(sql, args...).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				changed = true
			}
			return rows.Err()
		})
		b.Queue(updateReservation, m.ID, m.Segments, int64(micros+price.Amount), string(m.Kind))
		back.write(b, m.Price.Currency)
		ms.write(b, m.Price.Currency)
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		if !changed {
			return errUnchanged
		}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return false, nil
	}
	return changed && err == nil, err
}

// errUnchanged undoes a transaction whose message was not as it was read.
var errUnchanged = errors.New("the message has moved on")

// fitting takes parts and money for a message of one account, or returns the
// refusal.
func (db *DB) fitting(ctx context.Context, tx pgx.Tx, of measured, parts int64, price message.Price, prepaid bool) (*meters, error) {
	ms := &meters{}
	for {
		more, err := ms.load(ctx, tx, []message.ID{of.account}, []measured{of})
		if err != nil {
			return nil, err
		}
		if a := ms.of[of.account]; a != nil {
			a.prepaid = prepaid // as it was when the message was accepted
		}
		switch fit := ms.take(of, parts, price); {
		case fit.Refused == nil:
			return ms, nil
		case !more:
			return nil, fit.Refused
		}
	}
}

// adoptedFor is how long a reservation that was made after its message may have
// missed the end of it: as long as a commit may take.
const adoptedFor = 2 * commitTimeout

const endAdopted = `
with old as (
  select message_id
  from reservations
  where adopted_at < now() - $1::interval
  limit $2
)
update reservations r
set adopted_at = null,
    ended_at = case when m.status = any($3) then coalesce(r.ended_at, now()) else r.ended_at end,
    went = case when m.status = any($4) then true else r.went end
from messages m
where r.message_id = any(array(select message_id from old)) and m.id = r.message_id`

const selectUnsettled = `
select account_id
from (
  select distinct account_id
  from reservations
  where ended_at < now() - $1::interval
  union
  select (select account_id from usage_limits where id = c.limit_id)
  from usage_counters c
  where c.recount_at <= now()
) a
limit $2`

const selectRecounts = `
select c.limit_id, c.starts_at, c.ends_at
from usage_limits l
join usage_counters c on c.limit_id = l.id
where l.account_id = $1 and c.recount_at <= now()`

// purgeCounters keeps those that a revision may still ask for: a message waits for
// its time for 35 days at most. For minutes that are over nobody asks.
const purgeCounters = `
delete from usage_counters c
using usage_limits l
where l.account_id = $1 and c.limit_id = l.id
  and c.ends_at < now() - case when l.period = 'minute' then interval '1 hour' else interval '40 days' end`

// sweepAccounts bounds the accounts that one sweep settles.
const sweepAccounts = 64

// SettleUsage gives back and charges what has ended longer than age ago and was not
// settled by a later reservation of its account; it counts once more what was
// counted while some processes did not know of a limit yet, and forgets counters of
// periods that are long over. Any number of processes may do it at once.
func (db *DB) SettleUsage(ctx context.Context, age time.Duration) error {
	if _, err := db.pool.Exec(ctx, endAdopted, adoptedFor, foldBatch, finals(message.Status.Final), finals(gone)); err != nil {
		return fmt.Errorf("settle usage: %w", err)
	}
	rows, err := db.pool.Query(ctx, selectUnsettled, age, sweepAccounts)
	if err != nil {
		return fmt.Errorf("settle usage: %w", err)
	}
	accounts, err := pgx.CollectRows(rows, pgx.RowTo[message.ID])
	if err != nil {
		return fmt.Errorf("settle usage: %w", err)
	}
	for _, account := range accounts {
		if err := db.settleAccount(ctx, account); err != nil {
			return fmt.Errorf("settle usage of %s: %w", account, err)
		}
	}
	return nil
}

func finals(is func(message.Status) bool) []string {
	var out []string
	for _, s := range message.Statuses() {
		if is(s) {
			out = append(out, string(s))
		}
	}
	return out
}

// gone reports whether a vendor has a message with the status, whatever became of
// its attempts.
func gone(s message.Status) bool {
	return s == message.StatusDelivered || s == message.StatusUndelivered || s == message.StatusUnconfirmed
}

// settleAccount folds in batches, each with the lock for itself.
func (db *DB) settleAccount(ctx context.Context, account message.ID) error {
	for more := true; more; {
		if err := db.underLock(ctx, []message.ID{account}, func(tx pgx.Tx) (err error) {
			if more, err = (&meters{}).load(ctx, tx, []message.ID{account}, nil); err != nil {
				return err
			}
			return recount(ctx, tx, account)
		}); err != nil {
			return err
		}
	}
	return nil
}

func recount(ctx context.Context, tx pgx.Tx, account message.ID) error {
	var ids, firsts []message.ID
	var starts, ends []time.Time
	var counting []bool
	rows, err := tx.Query(ctx, selectRecounts, account)
	if err != nil {
		return err
	}
	var id message.ID
	var start, end time.Time
	if _, err := pgx.ForEachRow(rows, []any{&id, &start, &end}, func() error {
		ids, starts, ends = append(ids, id), append(starts, start), append(ends, end)
		firsts, counting = append(firsts, firstID(start)), append(counting, true)
		return nil
	}); err != nil {
		return err
	}
	if len(ids) > 0 {
		if _, err := tx.Exec(ctx, countUsage, ids, starts, ends, counting, firsts, countsAfter); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, purgeCounters, account)
	return err
}
