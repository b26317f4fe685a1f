package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const setBatchStatus = `
update batches
set status = $2
where id = $1`

// SetBatch pauses a batch of an account, lets it go on or cancels it, and has its workflow
// told. A batch that is in that status already stays as it is; one that has ended is
// ReasonConflict, another account's ReasonNotFound. answer makes what is stored beside the
// request's key; nil: it has none. When the key was seen before nothing is changed, and the
// first answer comes back.
func (db *DB) SetBatch(ctx context.Context, account, id message.ID, to message.BatchStatus, answer func(message.BatchProgress) (message.Idempotency, error)) (out message.BatchProgress, first *message.Idempotency, err error) {
	var key message.Idempotency
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		b, err := db.oneBatch(ctx, tx, id, lockAccountBatch, id, account)
		if err != nil {
			return err
		}
		if err := db.setBatch(ctx, tx, b, to); err != nil {
			return err
		}
		p, err := db.progressOf(ctx, tx, account, []*message.Batch{b})
		if err != nil {
			return err
		}
		if out = p[0]; answer == nil {
			return nil
		}
		if key, err = answer(out); err != nil {
			return err
		}
		return db.keepKey(ctx, tx, key)
	})
	if errors.Is(err, errKeySeen) {
		r, err := db.replay(ctx, key)
		return out, r.Replay, err
	}
	if err != nil {
		return out, nil, batchError("change batch", err)
	}
	return out, nil, nil
}

func (db *DB) setBatch(ctx context.Context, tx pgx.Tx, b *message.Batch, to message.BatchStatus) error {
	if b.Status == to {
		return nil
	}
	if b.Status.Final() {
		return message.Refuse(message.ReasonConflict, "the batch is %s", b.Status)
	}
	if _, err := tx.Exec(ctx, setBatchStatus, b.ID, string(to)); err != nil {
		return err
	}
	b.Status = to
	_, err := tx.Exec(ctx, tellBatch, b.ID, b.AccountID)
	return err
}

// takeBatchTells gives what nobody has taken on for a time to the one who asks.
const takeBatchTells = `
with due as materialized (
  select batch_id
  from batch_tells
  where taken_at < now() - $1::interval
  order by taken_at
  limit $2
  for update skip locked
), taken as (
  update batch_tells t
  set taken_at = now()
  from due
  where t.batch_id = due.batch_id
  returning t.batch_id, t.account_id, t.asked
)
select t.batch_id, t.account_id, coalesce(b.name, r.action), coalesce(b.total, r.most), t.asked, coalesce(b.created_at, r.created_at), r.id is not null
from taken t
left join batches b on b.id = t.batch_id
left join redrives r on r.id = t.batch_id
where b.id is not null or r.id is not null`

const selectBatchTell = `
select t.batch_id, t.account_id, coalesce(b.name, r.action), coalesce(b.total, r.most), t.asked, coalesce(b.created_at, r.created_at), r.id is not null
from batch_tells t
left join batches b on b.id = t.batch_id
left join redrives r on r.id = t.batch_id
where t.batch_id = $1 and (b.id is not null or r.id is not null)`

const deleteBatchTell = `
delete from batch_tells
where batch_id = $1 and asked <= $2`

// BatchesToTell takes on batches and re-drives whose workflow was not told of something,
// and which nobody has taken on within age.
func (db *DB) BatchesToTell(ctx context.Context, age time.Duration, limit int) ([]message.BatchTell, error) {
	rows, err := db.pool.Query(ctx, takeBatchTells, age, limit)
	if err != nil {
		return nil, fmt.Errorf("batches to be told of: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[message.BatchTell])
}

// BatchToTell is what the workflow of a batch is to be told; false: nothing.
func (db *DB) BatchToTell(ctx context.Context, id message.ID) (message.BatchTell, bool, error) {
	rows, err := db.pool.Query(ctx, selectBatchTell, id)
	if err != nil {
		return message.BatchTell{}, false, fmt.Errorf("batch %s: %w", id, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[message.BatchTell])
	if err != nil || len(list) == 0 {
		return message.BatchTell{}, false, err
	}
	return list[0], true, nil
}

// BatchTold notes that the workflow of a batch was told of what was asked for up to then.
func (db *DB) BatchTold(ctx context.Context, id message.ID, asked int64) error {
	if _, err := db.pool.Exec(ctx, deleteBatchTell, id, asked); err != nil {
		return fmt.Errorf("batch %s: %w", id, err)
	}
	return nil
}

// tellStalled has the workflows told of batches that are not done with and that nobody has
// worked for a time: one that lives looks once more, one that died is started again. A
// batch that is paused is told of when it goes on.
//
//	$1 how long  $2 at most
const tellStalled = `
with stalled as materialized (
  select id, account_id
  from batches
  where (status = 'running' or status = 'canceled' and completed_at is null) and looked_at < now() - $1::interval
  order by id
  limit $2
  for update skip locked
), looked as (
  update batches b
  set looked_at = now()
  from stalled s
  where b.id = s.id
)
insert into batch_tells (batch_id, account_id)
select id, account_id
from stalled
order by id
on conflict (batch_id) do update
set asked = batch_tells.asked + 1`

// tellStalledRedrives is tellStalled for re-drives.
const tellStalledRedrives = `
with stalled as materialized (
  select id
  from redrives
  where status in ('running', 'stopping') and looked_at < now() - $1::interval
  order by id
  limit $2
  for update skip locked
), looked as (
  update redrives r
  set looked_at = now()
  from stalled s
  where r.id = s.id
)
insert into batch_tells (batch_id, account_id)
select id, '00000000-0000-0000-0000-000000000000'::uuid
from stalled
order by id
on conflict (batch_id) do update
set asked = batch_tells.asked + 1`

// TellStalledBatches notes that the workflows of batches and re-drives are to be told that
// nobody has worked for age, at most limit of each, and says how many. They are not found
// again within age.
func (db *DB) TellStalledBatches(ctx context.Context, age time.Duration, limit int) (n int, err error) {
	for _, sql := range []string{tellStalled, tellStalledRedrives} {
		tag, err := db.pool.Exec(ctx, sql, age, limit)
		if err != nil {
			return n, fmt.Errorf("batches that nobody works: %w", err)
		}
		n += int(tag.RowsAffected())
	}
	return n, nil
}

// BatchesRunning counts the batches that are running, of all accounts.
func (db *DB) BatchesRunning(ctx context.Context) (int, error) {
	var n int
	err := db.pool.QueryRow(ctx, "select count(*) from batches where status = 'running'").Scan(&n)
	return n, err
}

// selectBatchTexts finds batches that have ended for so long that their account does not
// keep texts of that time.
const selectBatchTexts = `
select b.id
from batches b
where b.completed_at is not null and not b.purged
  and b.completed_at < $1::timestamptz - coalesce((
    select greatest(a.content_retention_days * interval '1 day', $2::interval)
    from accounts a
    where a.id = b.account_id), $2::interval)
order by b.id
limit 1`

const purgeBatchRows = `
update batch_rows
set content = null
where batch_id = $1 and content is not null`

const purgeBatch = `
update batches
set defaults = null, purged = true
where id = $1`

// purgeBatches takes the texts of one ended batch away, of its defaults and of the rows
// that became no message. Of the others the messages have them.
func (u *Upkeep) purgeBatches(ctx context.Context) (done message.Cared, err error) {
	err = u.within(ctx, func(tx pgx.Tx) error {
		done = message.Cared{}
		var id message.ID
		err := tx.QueryRow(ctx, selectBatchTexts, u.bounds.now, textSlack).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, purgeBatchRows, id)
		if err != nil {
			return err
		}
		done.Rows, done.More = int(tag.RowsAffected()), true
		_, err = tx.Exec(ctx, purgeBatch, id)
		return err
	})
	return done, err
}

// takeBatchRows and takeBatches remove batches that have ended and are older than all
// messages, the rows first.
const (
	takeBatchRows = `
delete from batch_rows
where ctid = any(array(
  select r.ctid
  from batch_rows r
  where r.batch_id < $1 and exists (select from batches b where b.id = r.batch_id and b.completed_at is not null)
  order by r.batch_id
  limit $2
  for update skip locked))`

	takeBatches = `
delete from batches
where ctid = any(array(
  select b.ctid
  from batches b
  where b.id < $1 and b.completed_at is not null and not exists (select from batch_rows r where r.batch_id = b.id)
  order by b.id
  limit $2
  for update skip locked))`
)
