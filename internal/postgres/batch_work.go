package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// takePace gives n rows the next moment of each rate, and says how long it is until the
// latest of them. The rows are locked in the order of their ids, as everybody does.
//
//	$1 whose  $2 rows a second  $3 n
const takePace = `
with asked as (
  select *
  from unnest($1::uuid[], $2::integer[]) as a (of_id, per)
), locked as materialized (
  select p.of_id
  from batch_paces p
  where p.of_id = any($1::uuid[])
  order by p.of_id
  for update
), moved as (
  update batch_paces p
  set next_at = greatest(p.next_at, clock_timestamp()) + make_interval(secs => $3::float8 / a.per)
  from asked a
  join locked l on l.of_id = a.of_id
  where p.of_id = a.of_id and (select count(*) from locked) = cardinality($1::uuid[])
  returning p.next_at - make_interval(secs => $3::float8 / a.per) as at
)
select count(*), coalesce(greatest(extract(epoch from max(at) - clock_timestamp()), 0), 0)::float8
from moved`

const insertPaces = `
insert into batch_paces (of_id, next_at)
select of_id, now()
from unnest($1::uuid[]) as p (of_id)
order by of_id
on conflict do nothing`

// PaceBatch gives the next n rows of a batch a moment at which they may be worked, by all
// of the rates, and says how long it is until then. Each rate counts what it has given to
// anybody, of all processes; the moment passes whether the rows are worked or not.
func (db *DB) PaceBatch(ctx context.Context, rates []message.BatchPace, n int) (time.Duration, error) {
	whose, per := pick(rates, func(r message.BatchPace) message.ID { return r.Of }), pick(rates, func(r message.BatchPace) int32 { return int32(r.PerSecond) })
	for {
		var found int
		var seconds float64
		if err := db.pool.QueryRow(ctx, takePace, whose, per, n).Scan(&found, &seconds); err != nil {
			return 0, fmt.Errorf("pace of a batch: %w", err)
		}
		if found == len(rates) {
			return time.Duration(seconds * float64(time.Second)), nil
		}
		if _, err := db.pool.Exec(ctx, insertPaces, whose); err != nil {
			return 0, fmt.Errorf("pace of a batch: %w", err)
		}
	}
}

const (
	// lockBatch comes before the locks of rows, for everybody.
	lockBatch = selectBatch + `
for update`

	startBatchRow = `
update batches
set started_at = clock_timestamp()
where id = $1 and started_at is null`

	// selectOpenRows leaves out claimed rows that only time can settle: those that a later
	// try refused, and those whose id is too old to be given out again.
	//
	//	$1 batch  $2 limit  $3 how long a claim lasts  $4 senders that are held  $5 oldest id
	selectOpenRows = `
select row, state, content, message_id, claimed_at, claimed_at < clock_timestamp() - $3::interval, coalesce(sender, ''), reason, detail
from batch_rows
where batch_id = $1 and state in ('pending', 'claimed') and coalesce(sender, '') <> all($4::text[])
  and (state = 'pending' or claimed_at < clock_timestamp() - $3::interval or reason = '' and message_id >= $5)
order by row
limit $2
for update`

	claimRows = `
with claimed as (
  update batch_rows r
  set state = 'claimed', message_id = n.message_id, claimed_at = statement_timestamp(), reason = '', detail = ''
  from unnest($2::integer[], $3::uuid[]) as n (row, message_id)
  where r.batch_id = $1 and r.row = n.row
)
select statement_timestamp()`

	selectThere = `
select id
from messages
where id = any($1) and id between $2 and $3`
)

// claimLasts is how long a try of a row may still become a message after it was given
// out: longer than an activity runs and its acceptance is repeated. idLasts is how old the
// id of a row may be that is given out again. Together they are below textSlack, so that no
// text comes into the record behind the purge.
const (
	claimLasts = 5 * time.Minute
	idLasts    = 10 * time.Minute
)

// ClaimBatch takes on the next rows of a running batch, at most limit and none of the
// senders that are held, as rows name them, and gives each the
// id of its message, the same as before if it has been taken on already. Rows whose
// message is in the record come with RowMade. One who works a batch that is not running
// gets no rows.
func (db *DB) ClaimBatch(ctx context.Context, id message.ID, limit int, held []string) (b *message.Batch, list []message.BatchRow, err error) {
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) (err error) {
		if b, err = db.oneBatch(ctx, tx, id, lockBatch, id); err != nil || b.Status != message.BatchRunning {
			return err
		}
		if list, err = db.claim(ctx, tx, id, limit, held); err != nil {
			return err
		}
		if b.StartedAt.IsZero() && len(list) > 0 {
			_, err = tx.Exec(ctx, startBatchRow, id)
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("claim rows of batch %s: %w", id, err)
	}
	return b, list, nil
}

// claim gives rows that are open an id, and finds those whose message is there. Those that
// were refused while an earlier try was under way are so now that it has ended.
func (db *DB) claim(ctx context.Context, tx pgx.Tx, id message.ID, limit int, held []string) ([]message.BatchRow, error) {
	list, over, err := db.openRows(ctx, tx, id, limit, held)
	if err != nil {
		return nil, err
	}
	there, err := thereOf(ctx, tx, list)
	if err != nil {
		return nil, err
	}
	var tries []*message.BatchRow
	for i := range list {
		r := &list[i]
		r.Before, r.Claimed = r.Claimed, time.Time{}
		switch {
		case there[r.MessageID]:
			r.State, r.Error = message.RowMade, nil
			continue
		case over[i] && r.Error != nil:
			r.State, r.Before = message.RowRefused, time.Time{}
			continue
		case r.State == message.RowPending || over[i]:
			r.State, r.MessageID, r.Before = message.RowClaimed, message.NewID(), time.Time{}
		}
		tries = append(tries, r)
	}
	if len(tries) == 0 {
		return list, nil
	}
	var at time.Time
	err = tx.QueryRow(ctx, claimRows, id, pick(tries, func(r *message.BatchRow) int32 { return int32(r.Row) }), pick(tries, func(r *message.BatchRow) message.ID { return r.MessageID })).Scan(&at)
	for _, r := range tries {
		r.Claimed = at
	}
	return list, err
}

// openRows locks rows that are not done with, and says of which the claim is over.
func (db *DB) openRows(ctx context.Context, tx pgx.Tx, id message.ID, limit int, held []string) (list []message.BatchRow, over []bool, err error) {
	rows, err := tx.Query(ctx, selectOpenRows, id, limit, claimLasts, orNone(held), idAt(db.Now().Add(-idLasts)))
	if err != nil {
		return nil, nil, err
	}
	list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r message.BatchRow, err error) {
		var content []byte
		var made *message.ID
		var old *bool
		var claimed *time.Time
		var reason message.Error
		if err := row.Scan(&r.Row, &r.State, &content, &made, &claimed, &old, &r.Sender, &reason.Reason, &reason.Detail); err != nil {
			return r, err
		}
		if reason.Reason != "" {
			r.Error = &reason
		}
		r.MessageID, r.Claimed, over = orZero(made), orZero(claimed), append(over, orZero(old))
		r.Content, err = db.openRow(id, r.Row, content)
		return r, err
	})
	return list, over, err
}

// thereOf finds which of the rows' messages are in the record.
func thereOf(ctx context.Context, tx pgx.Tx, list []message.BatchRow) (map[message.ID]bool, error) {
	var ids []message.ID
	for _, r := range list {
		if r.MessageID != (message.ID{}) {
			ids = append(ids, r.MessageID)
		}
	}
	there := make(map[message.ID]bool)
	if len(ids) == 0 {
		return there, nil
	}
	rows, err := tx.Query(ctx, selectThere, among(ids)...)
	if err != nil {
		return nil, err
	}
	var id message.ID
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		there[id] = true
		return nil
	})
	return there, err
}

// recordRows notes what has become of claimed rows, and counts them. What is no message is
// so only if the row was given to nobody else since ($6), and no earlier try is under way
// ($7): otherwise the row stays claimed by that one, with the reason if it was refused.
//
//	$1 batch  $2 rows  $3 states  $4 reasons  $5 details  $6 claimed  $7 claimed before
//	$8 first message
const recordRows = `
with locked as materialized (
  select id
  from batches
  where id = $1
  for update
), tried as (
  select n.row, n.reason, n.detail, n.claimed, n.before, case when n.before is null then n.state else 'claimed' end as state
  from unnest($2::integer[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[]) as n (row, state, reason, detail, claimed, before)
), done as (
  update batch_rows r
  set state = n.state,
      content = case when n.state = 'made' then null else r.content end,
      message_id = case when n.state in ('made', 'claimed') then r.message_id end,
      claimed_at = case n.state when 'made' then r.claimed_at when 'claimed' then n.before end,
      reason = n.reason,
      detail = n.detail
  from tried n
  where r.batch_id = (select id from locked) and r.row = n.row and r.state = 'claimed'
    and (n.state = 'made' or (n.claimed is null or n.claimed = r.claimed_at) and not exists (select from messages m where m.id = r.message_id and m.id >= $8))
  returning n.state
)
update batches
set worked = worked + (select count(*) from done where state in ('made', 'refused')),
    refused = refused + (select count(*) from done where state = 'refused'),
    looked_at = clock_timestamp()
where id = $1
returning` + batchColumns

// RecordBatch notes what has become of rows that ClaimBatch gave: RowMade, RowRefused, or
// RowPending for one that this try has certainly made no message of. A row of which an
// earlier try may still make one, or that was given out again, stays as it is until that
// is known. Rows that are not named stay as they are. Noting it twice is harmless. It
// returns the batch.
func (db *DB) RecordBatch(ctx context.Context, id message.ID, list []message.BatchRow) (*message.Batch, error) {
	reason := func(r message.BatchRow) message.Error {
		if r.Error == nil || r.State != message.RowRefused {
			return message.Error{}
		}
		return *r.Error
	}
	before := func(r message.BatchRow) *time.Time {
		if r.State == message.RowMade {
			return nil
		}
		return timeOrNull(r.Before)
	}
	return db.oneBatch(ctx, db.pool, id, recordRows, id,
		pick(list, func(r message.BatchRow) int32 { return int32(r.Row) }), pick(list, func(r message.BatchRow) string { return string(r.State) }),
		pick(list, func(r message.BatchRow) string { return string(reason(r).Reason) }),
		pick(list, func(r message.BatchRow) string { return storable(reason(r).Detail) }),
		pick(list, func(r message.BatchRow) *time.Time { return timeOrNull(r.Claimed) }), pick(list, before), firstMessage(id))
}

const completeBatch = `
update batches
set status = 'completed', completed_at = clock_timestamp()
where id = $1 and status in ('running', 'paused') and worked = total
returning` + batchColumns

const endCanceled = `
update batches
set completed_at = clock_timestamp()
where id = $1 and status = 'canceled' and completed_at is null`

// CompleteBatch ends a batch all of whose rows are worked, and writes in the same commit
// what the customer is told of it. Of one that has ended, or has rows left, nothing is
// written.
func (db *DB) CompleteBatch(ctx context.Context, id message.ID, tell func(message.BatchProgress) (message.AccountEvent, error)) error {
	var account message.ID // that has heard of it
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		b, err := db.oneBatch(ctx, tx, id, completeBatch, id)
		if message.ReasonOf(err) == message.ReasonNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		p, err := db.progressOf(ctx, tx, b.AccountID, []*message.Batch{b})
		if err != nil {
			return err
		}
		event, err := tell(p[0])
		if err != nil {
			return err
		}
		account = b.AccountID
		return recordEvents(ctx, tx, event)
	})
	if err != nil {
		return fmt.Errorf("complete batch %s: %w", id, err)
	}
	if account != (message.ID{}) {
		db.feed.grown(account)
	}
	return nil
}

// dropClaims lets go of rows of a canceled batch whose message did not come and cannot
// come any more, and takes those as worked whose message is there; it counts what may
// still become a message.
//
//	$1 batch  $2 how long a claim lasts  $3 first message
const dropClaims = `
with locked as materialized (
  select id
  from batches
  where id = $1
  for update
), claimed as (
  select r.row, r.claimed_at < clock_timestamp() - $2::interval as over,
    exists (select from messages m where m.id = r.message_id and m.id >= $3) as there
  from batch_rows r
  where r.batch_id = (select id from locked) and r.state = 'claimed'
  for update
), changed as (
  update batch_rows r
  set state = case when c.there then 'made' else 'pending' end,
      content = case when c.there then null else r.content end,
      message_id = case when c.there then r.message_id end,
      reason = '',
      detail = ''
  from claimed c
  where r.batch_id = $1 and r.row = c.row and (c.there or c.over)
  returning c.there
), counted as (
  update batches
  set worked = worked + (select count(*) from changed where there)
  where id = $1
)
select (select count(*) from claimed) - (select count(*) from changed)`

// selectCancelable lists messages of a batch that can be withdrawn.
const selectCancelable = `
select id
from messages
where batch_id = $1 and id > $2 and status = any($3::text[])
order by id
limit $4`

// DroppedBatch settles what was under way when a batch was canceled. The rows that it
// counts may still become messages: it is to be asked again.
func (db *DB) DroppedBatch(ctx context.Context, id message.ID) (open int, err error) {
	err = db.pool.QueryRow(ctx, dropClaims, id, claimLasts, firstMessage(id)).Scan(&open)
	if err != nil {
		return 0, fmt.Errorf("drop rows of batch %s: %w", id, err)
	}
	return open, nil
}

// CancelableOfBatch lists messages of a batch that can still be withdrawn, from behind
// one, in the order of their ids.
func (db *DB) CancelableOfBatch(ctx context.Context, id, after message.ID, limit int) ([]message.ID, error) {
	if after == (message.ID{}) {
		after = firstMessage(id)
	}
	rows, err := db.pool.Query(ctx, selectCancelable, id, after, finals(message.Status.Cancelable), limit)
	if err != nil {
		return nil, fmt.Errorf("messages of batch %s: %w", id, err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[message.ID])
}

// EndCanceledBatch notes that the cancellation of a batch was carried out.
func (db *DB) EndCanceledBatch(ctx context.Context, id message.ID) error {
	if _, err := db.pool.Exec(ctx, endCanceled, id); err != nil {
		return fmt.Errorf("end batch %s: %w", id, err)
	}
	return nil
}
