package postgres

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const insertBatch = `
insert into batches (id, account_id, credential_id, name, defaults, throttle, webhook_url, webhook_failover_url, total, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`

// tellBatch has the sweep tell the workflow of a batch.
const tellBatch = `
insert into batch_tells (batch_id, account_id)
values ($1, $2)
on conflict (batch_id) do update
set asked = batch_tells.asked + 1`

var batchRowColumns = []string{"batch_id", "row", "content", "sender"}

// CreateBatch stores a batch with its rows, the answer to its request if key is not nil,
// and that its workflow is to be started: all of it or nothing. When the key was seen
// before nothing is stored, and the first answer comes back.
func (db *DB) CreateBatch(ctx context.Context, b *message.Batch, rows []message.BatchContent, key *message.Idempotency) (*message.Idempotency, error) {
	defaults, err := json.Marshal(b.Defaults)
	if err != nil {
		return nil, fmt.Errorf("create batch: %w", err)
	}
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if key != nil { // first, since a repetition needs not send its rows
			if err := db.keepKey(ctx, tx, *key); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, insertBatch, b.ID, b.AccountID, b.Credential, b.Name, db.sealer.Seal(defaults, b.ID[:]), orNullInt(b.Throttle),
			b.WebhookURL, b.WebhookFailover, len(rows), b.CreatedAt); err != nil {
			return err
		}
		n := 0
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"batch_rows"}, batchRowColumns, pgx.CopyFromFunc(func() ([]any, error) {
			if n == len(rows) {
				return nil, nil
			}
			n++
			content, err := json.Marshal(&rows[n-1])
			return []any{b.ID, n, db.sealer.Seal(content, rowKey(b.ID, n)), orNullText(rows[n-1].From)}, err
		})); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, tellBatch, b.ID, b.AccountID)
		return err
	})
	if errors.Is(err, errKeySeen) {
		first, err := db.replay(ctx, *key)
		return first.Replay, err
	}
	if err != nil {
		return nil, batchError("create batch", err)
	}
	return nil, nil
}

// batchError gives the reason for a failed write of a batch.
func batchError(what string, err error) error {
	switch {
	case sqlState(err) == characterNotInText:
		return message.Because(message.ReasonInvalidRequest, err, "the name or a URL holds a character that cannot be stored")
	case !Unavailable(err):
		return fmt.Errorf("%s: %w", what, err)
	case nothingDone(err):
		return message.Because(message.ReasonUnavailable, err, "the journal cannot be written now; nothing was stored")
	}
	return message.Because(message.ReasonUnavailable, err, "the journal went away before it confirmed; repeat with the same Idempotency-Key")
}

// rowKey binds the sealed content of a row to it.
func rowKey(batch message.ID, row int) []byte {
	return binary.BigEndian.AppendUint32(slices.Clone(batch[:]), uint32(row))
}

func orNullText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func orNullInt(n int) *int32 {
	if n == 0 {
		return nil
	}
	return new(int32(n))
}

const batchColumns = `
  id, account_id, credential_id, name, status, defaults, purged, throttle, webhook_url, webhook_failover_url, total, worked, refused,
  created_at, started_at, completed_at`

func (db *DB) scanBatch(row pgx.CollectableRow) (*message.Batch, error) {
	b := &message.Batch{}
	var status string
	var defaults []byte
	var throttle *int
	var started, completed *time.Time
	if err := row.Scan(&b.ID, &b.AccountID, &b.Credential, &b.Name, &status, &defaults, &b.Purged, &throttle, &b.WebhookURL, &b.WebhookFailover,
		&b.Total, &b.Worked, &b.Refused, &b.CreatedAt, &started, &completed); err != nil {
		return nil, err
	}
	b.Status, b.Throttle, b.StartedAt, b.CompletedAt = message.BatchStatus(status), orZero(throttle), orZero(started), orZero(completed)
	if defaults == nil {
		return b, nil
	}
	text, err := db.sealer.Open(defaults, b.ID[:])
	if err == nil {
		err = json.Unmarshal(text, &b.Defaults)
	}
	if err != nil {
		return nil, fmt.Errorf("defaults of batch %s: %w", b.ID, err)
	}
	return b, nil
}

const (
	selectBatch = `
select` + batchColumns + `
from batches
where id = $1`

	selectAccountBatch = selectBatch + ` and account_id = $2`

	lockAccountBatch = selectAccountBatch + `
for update`

	selectBatches = `
select` + batchColumns + `
from batches
where account_id = $1 and id < $2
order by id desc
limit $3`
)

// oneBatch reads a batch; ReasonNotFound when there is none.
func (db *DB) oneBatch(ctx context.Context, from querier, id message.ID, sql string, args ...any) (*message.Batch, error) {
	rows, err := from.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("batch %s: %w", id, err)
	}
	b, err := pgx.CollectExactlyOneRow(rows, db.scanBatch)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, message.Refuse(message.ReasonNotFound, "no batch %s", id)
	case err != nil:
		return nil, fmt.Errorf("batch %s: %w", id, err)
	}
	return b, nil
}

// BatchByID reads a batch, of whatever account.
func (db *DB) BatchByID(ctx context.Context, id message.ID) (*message.Batch, error) {
	return db.oneBatch(ctx, db.pool, id, selectBatch, id)
}

// Batch reads a batch of an account with what has become of its rows. Another account's
// is ReasonNotFound, as one that does not exist.
func (db *DB) Batch(ctx context.Context, account, id message.ID) (message.BatchProgress, error) {
	b, err := db.oneBatch(ctx, db.pool, id, selectAccountBatch, id, account)
	if err != nil {
		return message.BatchProgress{}, err
	}
	list, err := db.progressOf(ctx, db.pool, account, []*message.Batch{b})
	if err != nil {
		return message.BatchProgress{}, err
	}
	return list[0], nil
}

// Batches lists an account's batches, newest first: at most limit, older than before when
// that is not zero.
func (db *DB) Batches(ctx context.Context, account, before message.ID, limit int) ([]message.BatchProgress, error) {
	if before == (message.ID{}) {
		before = lastID
	}
	rows, err := db.pool.Query(ctx, selectBatches, account, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list batches: %w", err)
	}
	list, err := pgx.CollectRows(rows, db.scanBatch)
	if err != nil {
		return nil, fmt.Errorf("list batches: %w", err)
	}
	return db.progressOf(ctx, db.pool, account, list)
}

// countBatches counts the messages of batches by their status. What they cost is what
// those cost that have left the gateway, or still may. $2 is before all of them.
//
//	$3 final statuses
const countBatches = `
select batch_id, status, count(*), coalesce(sum(price_micros) filter (where counts), 0)::bigint,
  coalesce(max(currency) filter (where counts), ''), coalesce(bool_or(not price_final) filter (where counts), false)
from (
  select batch_id, status, price_micros, currency, price_final, submitted_at is not null or status <> all($3::text[]) as counts
  from messages
  where batch_id = any($1::uuid[]) and id >= $2
) m
group by batch_id, status`

const countRunning = `
select count(*)
from batches
where account_id = $1 and status = 'running'`

// progressOf adds to batches of an account what has become of their rows.
func (db *DB) progressOf(ctx context.Context, from querier, account message.ID, list []*message.Batch) ([]message.BatchProgress, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out, at := make([]message.BatchProgress, len(list)), make(map[message.ID]*message.BatchProgress, len(list))
	ids := make([]message.ID, len(list))
	for i, b := range list {
		out[i] = message.BatchProgress{Batch: *b, Statuses: map[message.Status]int{}}
		ids[i], at[b.ID] = b.ID, &out[i]
	}
	rows, err := from.Query(ctx, countRunning, account)
	if err != nil {
		return nil, fmt.Errorf("count batches: %w", err)
	}
	running, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
	if err != nil {
		return nil, fmt.Errorf("count batches: %w", err)
	}
	rows, err = from.Query(ctx, countBatches, ids, firstMessage(among(ids)[1].(message.ID)), finals(message.Status.Final))
	if err != nil {
		return nil, fmt.Errorf("count batches: %w", err)
	}
	var id message.ID
	var status, currency string
	var n int
	var price message.Micros
	var estimated bool
	_, err = pgx.ForEachRow(rows, []any{&id, &status, &n, &price, &currency, &estimated}, func() error {
		p := at[id]
		p.Statuses[message.Status(status)] = n
		p.Price.Amount += price
		p.Price.Estimated = p.Price.Estimated || estimated
		p.Price.Currency = orElse(p.Price.Currency, currency)
		return nil
	})
	for i := range out {
		out[i].Running = running
	}
	if err != nil {
		return nil, fmt.Errorf("count batches: %w", err)
	}
	return out, nil
}

// firstMessage is before the ids of all messages of a batch: they are made after it, by
// clocks that differ.
func firstMessage(batch message.ID) message.ID { return idAt(timeOf(batch).Add(-idSkew)) }

// selectBatchRows lists rows with their messages, in order. Without a status all of them
// are listed; 'pending' and 'dropped' are those without a message or a refusal.
//
//	$1 batch  $2 after  $3 limit  $4 first message  $5 statuses  $6 what open rows are called
const selectBatchRows = `
select r.row, r.state, r.content, r.message_id, r.reason, r.detail, coalesce(m.status, ''), coalesce(m.to_addr, ''), coalesce(m.reason, ''), coalesce(m.reason_detail, '')
from batch_rows r
left join messages m on m.id = r.message_id and m.id >= $4 and r.state = 'made'
where r.batch_id = $1 and r.row > $2
  and ($5::text[] is null or case r.state when 'made' then m.status when 'refused' then 'rejected' else $6 end = any($5::text[]))
order by r.row
limit $3`

// BatchRows lists rows of a batch in their order, from behind a row: at most limit. The
// statuses are those of messages; rows without one are 'pending' while they may be worked,
// 'rejected', or 'canceled' when the batch was. None: any.
func (db *DB) BatchRows(ctx context.Context, account, id message.ID, statuses []string, after, limit int) ([]message.BatchRow, error) {
	b, err := db.oneBatch(ctx, db.pool, id, selectAccountBatch, id, account)
	if err != nil {
		return nil, err
	}
	open := "pending"
	if b.Status == message.BatchCanceled {
		open = string(message.StatusCanceled)
	}
	rows, err := db.pool.Query(ctx, selectBatchRows, id, after, limit, firstMessage(id), statuses, open)
	if err != nil {
		return nil, fmt.Errorf("rows of batch %s: %w", id, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (message.BatchRow, error) {
		r, err := db.scanBatchRow(id, row)
		switch r.State {
		case message.RowMade:
		case message.RowRefused:
			r.Status = message.StatusRejected
		default:
			r.Status = message.Status(open)
		}
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("rows of batch %s: %w", id, err)
	}
	return list, nil
}

func (db *DB) scanBatchRow(batch message.ID, row pgx.CollectableRow) (r message.BatchRow, err error) {
	var content []byte
	var state, reason, detail, status, to, why, whyDetail string
	var id *message.ID
	if err := row.Scan(&r.Row, &state, &content, &id, &reason, &detail, &status, &to, &why, &whyDetail); err != nil {
		return r, err
	}
	r.State, r.Status, r.To = message.BatchRowState(state), message.Status(status), message.Address(to)
	if r.State == message.RowMade {
		r.MessageID, reason, detail = orZero(id), why, whyDetail
	}
	if reason != "" {
		r.Error = &message.Error{Reason: message.Reason(reason), Detail: detail}
	}
	r.Content, err = db.openRow(batch, r.Row, content)
	return r, err
}

// openRow opens the content of a row; nil for none.
func (db *DB) openRow(batch message.ID, row int, sealed []byte) (*message.BatchContent, error) {
	if sealed == nil {
		return nil, nil
	}
	c := &message.BatchContent{}
	text, err := db.sealer.Open(sealed, rowKey(batch, row))
	if err == nil {
		err = json.Unmarshal(text, c)
	}
	if err != nil {
		return nil, fmt.Errorf("content of row %d of batch %s: %w", row, batch, err)
	}
	return c, nil
}
