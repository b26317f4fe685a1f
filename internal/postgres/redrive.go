package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const (
	insertRedrive = `
insert into redrives (id, actor, role, address, reason, action, parameters, filter, dry_run, most, per_second, expected, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`

	redriveColumns = `
  id, actor, role, address, reason, action, parameters, filter, dry_run, most, per_second, expected, status, position, searched, more,
  looked, done, passed, refused, tally, created_at, looked_at, completed_at`

	selectRedrive = `
select` + redriveColumns + `
from redrives
where id = $1`

	lockRedrive = selectRedrive + `
for update`

	selectRedrives = `
select` + redriveColumns + `
from redrives
where id < $1
order by id desc
limit $2`

	updateRedrive = `
update redrives
set status = $2, position = $3, searched = $4, more = $5, looked = $6, done = $7, passed = $8, refused = $9, tally = $10, looked_at = now(), completed_at = $11
where id = $1`

	selectRedriveItems = `
select message_id, state, new_message_id, try, reason, detail
from redrive_items
where redrive_id = $1 and message_id < $2
order by message_id desc
limit $3`

	selectRedriveItemsIn = `
select message_id, state, new_message_id, try, reason, detail
from redrive_items
where redrive_id = $1 and message_id < $2 and state = $4
order by message_id desc
limit $3`
)

// CreateRedrive stores a re-drive, the answer to its request if key is not nil, a line of
// the audit log, and that its workflow is to be started: all of it or nothing. When the
// key was seen before nothing is stored, and the first answer comes back.
func (db *DB) CreateRedrive(ctx context.Context, r *message.Redrive, key *message.Idempotency) (*message.Idempotency, error) {
	parameters, err := json.Marshal(r.RedriveParameters)
	if err != nil {
		return nil, fmt.Errorf("create re-drive: %w", err)
	}
	filter, err := json.Marshal(r.Filter)
	if err != nil {
		return nil, fmt.Errorf("create re-drive: %w", err)
	}
	shown := map[string]any{"action": r.Action, "dry_run": r.DryRun, "limit": r.Limit, "per_second": r.PerSecond, "reason": r.Reason,
		"parameters": json.RawMessage(parameters), "statuses": r.Filter.Statuses, "account_id": idOrNull(r.Filter.AccountID), "vendor": r.Filter.Vendor}
	err = db.audited(ctx, r.By, "redrive.create", r.ID.String(), shown, func(tx pgx.Tx) error {
		if key != nil {
			if err := db.keepKey(ctx, tx, *key); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, insertRedrive, r.ID, r.By.Name, r.By.Role, r.By.Address, r.Reason, string(r.Action), string(parameters), withoutNUL(string(filter)),
			r.DryRun, r.Limit, r.PerSecond, r.Expected, r.CreatedAt); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, tellBatch, r.ID, message.ID{})
		return err
	})
	if errors.Is(err, errKeySeen) {
		first, err := db.replay(ctx, *key)
		return first.Replay, err
	}
	if err != nil {
		return nil, batchError("create re-drive", err)
	}
	return nil, nil
}

// StopRedrive has a re-drive take nothing more on, and its workflow told. One that is
// stopping or stopped already stays as it is; one that has completed is ReasonConflict.
func (db *DB) StopRedrive(ctx context.Context, by Actor, id message.ID) (*message.Redrive, error) {
	errSame := errors.New("it is stopping already")
	var out *message.Redrive
	err := db.audited(ctx, by, "redrive.stop", id.String(), nil, func(tx pgx.Tx) (err error) {
		if out, err = oneRedrive(ctx, tx, id, lockRedrive, id); err != nil {
			return err
		}
		switch out.Status {
		case message.RedriveStopping, message.RedriveStopped:
			return errSame
		case message.RedriveCompleted:
			return message.Refuse(message.ReasonConflict, "the re-drive has completed")
		}
		out.Status = message.RedriveStopping
		if err := writeRedrive(ctx, tx, out); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, tellBatch, id, message.ID{})
		return err
	})
	if errors.Is(err, errSame) {
		err = nil
	}
	return out, err
}

// RedriveByID reads a re-drive; ReasonNotFound when there is none.
func (db *DB) RedriveByID(ctx context.Context, id message.ID) (*message.Redrive, error) {
	return oneRedrive(ctx, db.pool, id, selectRedrive, id)
}

// Redrives lists them, newest first: at most limit, older than before when that is not
// zero.
func (db *DB) Redrives(ctx context.Context, before message.ID, limit int) ([]*message.Redrive, error) {
	if before == (message.ID{}) {
		before = lastID
	}
	rows, err := db.pool.Query(ctx, selectRedrives, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list re-drives: %w", err)
	}
	return pgx.CollectRows(rows, scanRedrive)
}

// RedriveItems lists messages of a re-drive in the order in which they were found, from
// behind one: at most limit. State is what has become of them; empty: any.
func (db *DB) RedriveItems(ctx context.Context, id message.ID, state message.RedriveItemState, after message.ID, limit int) ([]message.RedriveItem, error) {
	if after == (message.ID{}) {
		after = lastID
	}
	sql, args := selectRedriveItems, []any{id, after, limit}
	if state != "" {
		sql, args = selectRedriveItemsIn, append(args, string(state))
	}
	rows, err := db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("items of re-drive %s: %w", id, err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (i message.RedriveItem, err error) {
		var made *message.ID
		var why message.Error
		err = row.Scan(&i.MessageID, &i.State, &made, &i.Try, &why.Reason, &why.Detail)
		if i.NewMessageID = orZero(made); why.Reason != "" {
			i.Error = &why
		}
		return i, err
	})
}

func oneRedrive(ctx context.Context, from querier, id message.ID, sql string, args ...any) (*message.Redrive, error) {
	rows, err := from.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("re-drive %s: %w", id, err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanRedrive)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, message.Refuse(message.ReasonNotFound, "no re-drive %s", id)
	case err != nil:
		return nil, fmt.Errorf("re-drive %s: %w", id, err)
	}
	return r, nil
}

func scanRedrive(row pgx.CollectableRow) (*message.Redrive, error) {
	r := &message.Redrive{}
	var parameters, filter, tally []byte
	var position *message.ID
	var completed *time.Time
	if err := row.Scan(&r.ID, &r.By.Name, &r.By.Role, &r.By.Address, &r.Reason, &r.Action, &parameters, &filter, &r.DryRun, &r.Limit, &r.PerSecond, &r.Expected,
		&r.Status, &position, &r.Searched, &r.More, &r.Looked, &r.Done, &r.Passed, &r.Refused, &tally, &r.CreatedAt, &r.LookedAt, &completed); err != nil {
		return nil, err
	}
	r.Position, r.CompletedAt = orZero(position), orZero(completed)
	for text, into := range map[*[]byte]any{&parameters: &r.RedriveParameters, &filter: &r.Filter, &tally: &r.Tally} {
		if err := json.Unmarshal(*text, into); err != nil {
			return nil, fmt.Errorf("re-drive %s: %w", r.ID, err)
		}
	}
	return r, nil
}

// writeRedrive writes what changes of a re-drive, which is locked.
func writeRedrive(ctx context.Context, tx pgx.Tx, r *message.Redrive) error {
	tally, err := json.Marshal(r.Tally)
	if err != nil {
		return err
	}
	return exactlyOne(tx.Exec(ctx, updateRedrive, r.ID, string(r.Status), idOrNull(r.Position), r.Searched, r.More, r.Looked, r.Done, r.Passed, r.Refused, string(tally), timeOrNull(r.CompletedAt)))
}

// changeRedrive lets change alter a re-drive that nobody else alters meanwhile, and writes
// it.
func (db *DB) changeRedrive(ctx context.Context, id message.ID, change func(tx pgx.Tx, r *message.Redrive) error) (r *message.Redrive, err error) {
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) (err error) {
		if r, err = oneRedrive(ctx, tx, id, lockRedrive, id); err != nil {
			return err
		}
		if err := change(tx, r); err != nil {
			return err
		}
		return writeRedrive(ctx, tx, r)
	})
	if err != nil {
		return nil, fmt.Errorf("re-drive %s: %w", id, err)
	}
	return r, nil
}
