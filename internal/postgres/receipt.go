package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// matchReceipt applies a receipt to the newest part that the vendor gave this
// id to, if that part is still open; a vendor that takes whole messages has given it
// to all parts of one try. A part counts once, whichever of its
// attempts is heard of first; which parts did stands in the message's own row,
// because only that is read anew after waiting for another receipt. Those that did
// not are found by a query within the update: a function with a query inside would be
// planned anew for every receipt, which costs more than all the rest. The
// parameters are named by position in both statements that use it:
//
//	$1 vendor  $2 normalised id  $3 stat word  $4 err  $5 reason
//	$6 part state, null when the receipt decides nothing  $7 done at  $8 timeline detail
//	$9 the least id of a message that it may belong to, see receiptsFrom
const matchReceipt = `
with newest as (
  select message_id, part, attempt
  from segments
  where vendor_id = $1 and normalized_id = $2 and message_id >= $9
  order by sent_at desc, part
  limit 1
), updated as (
  update segments s
  set state = coalesce($6, s.state),
      receipt_stat = $3,
      receipt_err = $4,
      receipt_at = $7,
      reason = case when $6 = 'delivered' then '' else coalesce(nullif($5, ''), s.reason) end,
      settled_at = case when $6::text is not null then now() end
  where s.message_id = (select message_id from newest) and s.attempt = (select attempt from newest) and s.message_id >= $9
    and s.vendor_id = $1 and s.normalized_id = $2 and s.state in ('sending', 'submitted', 'in_doubt')
    and (s.receipt_stat <> $3 or $6::text is not null)
  returning s.part
), told as (
  select (select message_id from newest) as message_id, array_agg(part::smallint order by part) as parts
  from updated
  having count(*) > 0
), counted as (
  update messages m
  set event_seq = m.event_seq + 1,
      updated_at = now(),
      (parts_settled, parts_failed, parts_done) = (
        select m.parts_settled + cardinality(n.parts), m.parts_failed + case when $6 in ('undelivered', 'expired') then cardinality(n.parts) else 0 end,
          case when $6::text is null then m.parts_done else m.parts_done || n.parts end
        from (select coalesce(array_agg(p), '{}') as parts
          from unnest(t.parts) p
          where $6::text is not null and (m.parts_done is null or not p = any (m.parts_done))) n)
  from told t
  where m.id = t.message_id and m.id >= $9
  returning m.id, t.parts, m.event_seq, m.status, m.segments, m.parts_settled, m.parts_failed
), event as (
  insert into message_events (message_id, sequence, at, type, detail)
  select c.id, c.event_seq, clock_timestamp(), 'receipt',
    case when cardinality(c.parts) = 1 then jsonb_build_object('part', c.parts[1]) else jsonb_build_object('parts', c.parts) end || $8::jsonb
  from counted c
), due as (
  insert into settlements_due (message_id)
  select c.id
  from counted c
  where c.parts_failed > 0 or c.parts_settled >= c.segments
  on conflict do nothing
)`

// storeReceipt keeps the receipt whether or not it matches. The vendor's
// repetition of it raises a counter.
const storeReceipt = matchReceipt + `, kept as (
  insert into receipts (id, vendor_id, normalized_id, state, err, reason, source, destination, raw, done_at, message_id, part, try_at)
  select $10, $1, $2, $3, $4, $5, $11, $12, $13, $7,
    (select message_id from newest), (select part from newest), case when $6::text is null then 'infinity' else now() end
  on conflict (vendor_id, normalized_id, state) do update
  set seen = receipts.seen + 1,
      last_at = now(),
      message_id = coalesce(excluded.message_id, receipts.message_id),
      part = coalesce(excluded.part, receipts.part)
  returning message_id
)
select (select message_id from kept), c.id, c.parts[1], c.status, c.segments, c.parts_settled, c.parts_failed
from (select 1) one
left join counted c on true`

// rematchReceipt tries a stored receipt again.
const rematchReceipt = matchReceipt + `, kept as (
  update receipts
  set message_id = p.message_id, part = p.part
  from newest p
  where receipts.vendor_id = $1 and receipts.normalized_id = $2 and receipts.state = $3
  returning receipts.message_id
)
select (select message_id from kept), c.id, c.parts[1], c.status, c.segments, c.parts_settled, c.parts_failed
from (select 1) one
left join counted c on true`

// Receipt commits a receipt and applies it to the part it belongs to, if that
// is known by now. It is idempotent. Both sides of the race write, commit, then
// read the other side: a receipt that found no part looks once more after its
// commit, and the submit side calls EarlyReceipts after its own.
func (db *DB) Receipt(ctx context.Context, r message.Receipt) (message.Matched, error) {
	args := append(matchArgs(r), r.ID, storable(r.Source), storable(r.Destination), storable(r.Raw))
	matched, err := db.match(ctx, r, storeReceipt, args)
	if err != nil || matched.Known {
		return matched, err
	}
	if !r.Attempt.IsZero() {
		if _, err := db.pool.Exec(ctx, nameAttempt, r.Attempt.MessageID, r.Attempt.Attempt, r.VendorID, storable(r.VendorMessageID)); err != nil {
			return message.Matched{}, fmt.Errorf("receipt %s: %w", r.ID, err)
		}
	}
	return db.match(ctx, r, rematchReceipt, matchArgs(r))
}

// nameAttempt gives the parts of a try the id that the receipt carries, which the
// submit has not learnt yet, or never will. Another vendor's receipt names nothing.
const nameAttempt = `
update segments
set vendor_message_id = $4, normalized_id = $4
where message_id = $1 and attempt = $2 and vendor_id = $3 and normalized_id is null and state in ('sending', 'submitted', 'in_doubt')`

func matchArgs(r message.Receipt) []any {
	var state *string
	if s, ok := r.State.PartState(); ok {
		t := string(s)
		state = &t
	}
	detail := detailJSON(map[string]any{"stat": r.State, "err": r.Err})
	return []any{r.VendorID, storable(r.VendorMessageID), string(r.State), storable(r.Err), string(r.Reason), state, timeOrNull(r.DoneAt), detail,
		receiptsFrom(time.Now())}
}

// receiptsWithin is how long after its acceptance a message may get a receipt that
// finds it by the vendor's id: 35 days until it is sent, 72 hours until its validity
// ends, and two days for vendors that are late and clocks that differ. Vendors use ids
// again, so one that is older than that belongs to nothing we know.
const receiptsWithin = (35 + 3 + 2) * 24 * time.Hour

// receiptsFrom is the least id of a message that a receipt of a time may belong to:
// older partitions are not looked into.
func receiptsFrom(t time.Time) message.ID { return idAt(t.Add(-receiptsWithin)) }

func (db *DB) match(ctx context.Context, r message.Receipt, sql string, args []any) (message.Matched, error) {
	var out message.Matched
	read := func(rows pgx.Rows) error {
		out = message.Matched{}
		for rows.Next() {
			var known, id *message.ID
			var status *string
			var part, segments, settled, failed *int
			if err := rows.Scan(&known, &id, &part, &status, &segments, &settled, &failed); err != nil {
				return err
			}
			out.Known = known != nil
			if id == nil {
				continue // a repetition, or it decides nothing new
			}
			out.MessageID, out.Part, out.Applied = *id, *part, true
			out.Progress = message.Progress{Status: message.Status(*status), Segments: *segments, Settled: *settled, Failed: *failed}
		}
		return rows.Err()
	}
	// The lane is chosen by the vendor's id: repeated receipts of one part stay
	// in order and never wait for each other.
	err := db.groups.do(ctx, []byte(r.VendorMessageID), &statement{sql: sql, args: args, read: read})
	if err != nil {
		return message.Matched{}, fmt.Errorf("receipt %s: %w", r.ID, err)
	}
	return out, nil
}

const receiptColumns = `
select id, vendor_id, normalized_id, state, err, reason, source, destination, raw, done_at, received_at
from receipts`

// selectEarly finds receipts that wait for any of the ids: those that match
// nothing, and those that came for an id which the vendor had used before and
// were taken for a repetition. Each id is looked up by itself: with a list Postgres
// takes the index by its vendor alone while it believes that the table is small, and
// reads all that this vendor ever said.
const selectEarly = `
select r.id, r.vendor_id, r.normalized_id, r.state, r.err, r.reason, r.source, r.destination, r.raw, r.done_at, r.received_at
from unnest($2::text[]) as given (id)
cross join lateral (
  select *
  from receipts
  where vendor_id = $1 and normalized_id = given.id
  offset 0
) r
where r.message_id is null or exists (
    select
    from segments s
    where s.vendor_id = $1 and s.normalized_id = r.normalized_id and s.message_id >= $3
      and s.state in ('sending', 'submitted', 'in_doubt') and s.message_id <> r.message_id and s.sent_at <= r.last_at)
order by r.last_at, r.id`

// EarlyReceipts applies the receipts that came before the vendor's ids were
// stored, and reports whether any did. The submit side calls it after the
// commit of those ids.
func (db *DB) EarlyReceipts(ctx context.Context, vendor message.ID, normalized []string) (bool, error) {
	waiting, err := db.receipts(ctx, selectEarly, vendor, pick(normalized, storable), receiptsFrom(time.Now()))
	if err != nil {
		return false, err
	}
	for _, r := range waiting {
		if _, err := db.match(ctx, r, rematchReceipt, matchArgs(r)); err != nil {
			return false, err
		}
	}
	return len(waiting) > 0, nil
}

func (db *DB) receipts(ctx context.Context, sql string, args ...any) ([]message.Receipt, error) {
	rows, err := db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read receipts: %w", err)
	}
	return pgx.CollectRows(rows, scanReceipt)
}

// scanReceipt reads receiptColumns.
func scanReceipt(row pgx.CollectableRow) (message.Receipt, error) {
	var r message.Receipt
	var state, reason string
	var done *time.Time
	err := row.Scan(&r.ID, &r.VendorID, &r.VendorMessageID, &state, &r.Err, &reason, &r.Source, &r.Destination, &r.Raw, &done, &r.ReceivedAt)
	r.State, r.Reason, r.DoneAt = message.ReceiptState(state), message.Reason(reason), orZero(done)
	return r, err
}

// selectUnmatched takes receipts that decide something, longest due first. Those
// younger than the age are left to the race they may be part of.
const selectUnmatched = receiptColumns + `
where message_id is null and try_at < now() - $1::interval
order by try_at
limit $2`

// Unmatched lists receipts that have matched nothing for longer than age and
// whose turn it is: SettleDoubt puts one that stays a stranger off, for longer
// each time and for good after 72 hours, so that strangers do not stand in the
// way of those behind them.
func (db *DB) Unmatched(ctx context.Context, age time.Duration, limit int) ([]message.Receipt, error) {
	return db.receipts(ctx, selectUnmatched, age, limit)
}

const countUnmatched = `
select count(*)
from receipts
where message_id is null and try_at < 'infinity'`

// CountUnmatched is the number of receipts that decide something, match nothing
// and are still being tried.
func (db *DB) CountUnmatched(ctx context.Context) (int, error) {
	var n int
	err := db.pool.QueryRow(ctx, countUnmatched).Scan(&n)
	return n, err
}

// selectDoubtful finds the parts in doubt, or of which staff say that the vendor has
// them, that a receipt with a strange id may belong to: same vendor, sender and recipient, submitted before the receipt
// came and not longer ago than any validity lasts. An attempt that was followed
// by one whose id is not known either is out: the receipt may be of both.
const selectDoubtful = `
select s.message_id, s.part, s.attempt
from segments s
join messages m on m.id = s.message_id
where s.doubted and s.state in ('in_doubt', 'submitted') and s.vendor_id = $1 and s.normalized_id is null
  and s.sent_at between $4::timestamptz - interval '73 hours' and $4
  and s.message_id >= $5 and m.id >= $5
  and ltrim(m.to_addr, '+') = $2 and ltrim(m.from_addr, '+') = $3
  and not exists (
    select
    from segments n
    where n.message_id = s.message_id and n.message_id >= $5 and n.part = s.part and n.attempt > s.attempt and n.normalized_id is null)
order by s.message_id, s.part, s.attempt
limit 256`

// lockStranger keeps a second process from naming another part after the same
// receipt, and says whether the receipt still matches nothing.
const lockStranger = `
select coalesce(bool_or(free), false)
from (
  select message_id is null and state = $3 as free
  from receipts
  where vendor_id = $1 and normalized_id = $2
  for update
) r`

// nameDoubtful gives the part in doubt the id that the receipt carries, so that
// the receipt matches it like any other. No two open parts get the same.
const nameDoubtful = `
update segments
set vendor_message_id = $4, normalized_id = $4
where message_id = $1 and part = $2 and attempt = $3 and state in ('in_doubt', 'submitted') and normalized_id is null
  and not exists (
    select
    from segments o
    where o.vendor_id = $5 and o.normalized_id = $4 and o.message_id >= $6 and o.state in ('sending', 'submitted', 'in_doubt'))`

// postpone puts off the next look at a receipt by half its age.
const postpone = `
update receipts
set try_at = case when received_at < now() - interval '72 hours' then 'infinity' else now() + (now() - received_at) / 2 end
where vendor_id = $1 and normalized_id = $2 and state = $3 and message_id is null and try_at < 'infinity'`

// SettleDoubt applies a receipt whose id is unknown to the part in doubt that
// it must belong to: vendor, sender, recipient and time leave parts of one
// message only. Anything less certain is left alone, for a later look.
func (db *DB) SettleDoubt(ctx context.Context, r message.Receipt) (message.Matched, error) {
	matched, err := db.match(ctx, r, rematchReceipt, matchArgs(r))
	if err != nil || matched.Known {
		return matched, err
	}
	named, err := db.nameDoubt(ctx, r)
	if err != nil {
		return message.Matched{}, fmt.Errorf("settle doubt: %w", err)
	}
	if named {
		matched, err = db.match(ctx, r, rematchReceipt, matchArgs(r))
		if err != nil || matched.Known {
			return matched, err
		}
	}
	if _, err := db.pool.Exec(ctx, postpone, r.VendorID, storable(r.VendorMessageID), string(r.State)); err != nil {
		return message.Matched{}, fmt.Errorf("settle doubt: %w", err)
	}
	return message.Matched{}, nil
}

// nameDoubt gives the only candidate the receipt's id, and reports whether there
// is anything to match the receipt with.
func (db *DB) nameDoubt(ctx context.Context, r message.Receipt) (bool, error) {
	rows, err := db.pool.Query(ctx, selectDoubtful, r.VendorID, wireDigits(r.Source), wireDigits(r.Destination), r.ReceivedAt, receiptsFrom(r.ReceivedAt))
	if err != nil {
		return false, err
	}
	type candidate struct {
		MessageID     message.ID
		Part, Attempt int
	}
	candidates, err := pgx.CollectRows(rows, pgx.RowToStructByPos[candidate])
	if err != nil || len(candidates) == 0 {
		return false, err
	}
	first := candidates[0]
	for _, c := range candidates {
		if c.MessageID != first.MessageID {
			return false, nil
		}
	}
	id := storable(r.VendorMessageID)
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		free := false
		if err := tx.QueryRow(ctx, lockStranger, r.VendorID, id, string(r.State)).Scan(&free); err != nil || !free {
			return err
		}
		_, err := tx.Exec(ctx, nameDoubtful, first.MessageID, first.Part, first.Attempt, id, r.VendorID, receiptsFrom(time.Now()))
		return err
	})
	return err == nil, err
}

func wireDigits(address string) string {
	if len(address) > 0 && address[0] == '+' {
		return address[1:]
	}
	return address
}

// claimDue gives a settlement to one who asks: the next get it when that time has passed
// again. It waits for no row: one that is locked is being settled.
const claimDue = `
with due as materialized (
  select message_id
  from settlements_due
  where since < now() - $1::interval and (again_at is null or again_at < now())
  order by since
  limit $2
  for update skip locked
)
update settlements_due d
set again_at = now() + $1::interval
from due
where d.message_id = due.message_id
returning d.message_id`

// SettlementsDue takes on messages that receipts decided longer than age ago and whose
// workflow has not answered since: nobody else gets them within age.
func (db *DB) SettlementsDue(ctx context.Context, age time.Duration, limit int) ([]message.ID, error) {
	rows, err := db.pool.Query(ctx, claimDue, age, limit)
	if err != nil {
		return nil, fmt.Errorf("take on settlements: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[message.ID])
}

// dropDue keeps the row of a message that a receipt may still change: another may have
// come since.
var dropDue = `
delete from settlements_due d
using messages m
where d.message_id = $1 and m.id = $1 and m.status in ('` + strings.Join(finals(settled), "', '") + `')`

// toldDue is dropDue, or has the workflow told again after twice the time it was told
// after before: 10 s first, and an hour at most.
var toldDue = `
with gone as (` + dropDue + `)
update settlements_due d
set told = least(d.told + 1, 20), again_at = now() + least(interval '10 seconds' * 2 ^ d.told, interval '1 hour')
from messages m
where d.message_id = $1 and m.id = $1 and m.status not in ('` + strings.Join(finals(settled), "', '") + `')`

// SettlementTold notes that the workflow of a message that receipts have decided was told:
// the settlement is forgotten if its record shows an end that they cannot change, and is else due again
// later and later, for a workflow's history is not endless.
func (db *DB) SettlementTold(ctx context.Context, id message.ID) error {
	return db.one(ctx, id, toldDue, none, id)
}

func settled(s message.Status) bool { return s.Final() && s != message.StatusUnconfirmed }

// DropSettlement forgets that receipts have decided a message, once its record shows an end
// that they cannot change.
func (db *DB) DropSettlement(ctx context.Context, id message.ID) error {
	return db.one(ctx, id, dropDue, none, id)
}

// selectDeciding lets the attempt of each part speak that was heard of first, as
// matchReceipt counted them.
const selectDeciding = `
select state, receipt_stat, receipt_err, receipt_at, reason
from (
  select distinct on (part) part, state, receipt_stat, receipt_err, receipt_at, reason, settled_at
  from segments
  where message_id = $1 and state in ('delivered', 'undelivered', 'expired')
  order by part, settled_at, attempt
) s
order by (state <> 'delivered') desc, settled_at, part
limit 1`

// DecidingReceipt reads the receipt that speaks for the message: the first
// failure, or any delivery when all parts were delivered. ReasonNotFound when
// no receipt has decided anything.
func (db *DB) DecidingReceipt(ctx context.Context, id message.ID) (message.PartState, message.ReceiptSummary, message.Reason, error) {
	var state, reason string
	var r message.ReceiptSummary
	var at *time.Time
	err := db.pool.QueryRow(ctx, selectDeciding, id).Scan(&state, &r.Stat, &r.Err, &at, &reason)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", r, "", message.Refuse(message.ReasonNotFound, "no deciding receipt for %s", id)
	}
	r.At = orZero(at)
	return message.PartState(state), r, message.Reason(reason), err
}
