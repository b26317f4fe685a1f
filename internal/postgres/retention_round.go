package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postrider/postrider/internal/message"
)

const (
	// upkeepBatch is how many rows one step removes at most: some milliseconds' work.
	upkeepBatch = 500
	// partitionsAhead is how far ahead partitions are made: nobody needs to notice when
	// no process does the upkeep for days.
	partitionsAhead = 14 * 24 * time.Hour
)

// tryUpkeep takes the lock of the upkeep, which ends with its session at the latest:
// when the process dies, or the way to it is gone and the server has noticed.
const tryUpkeep = `
select pg_try_advisory_lock(hashtext('upkeep'), hashtext(current_schema()))`

const leaveUpkeep = `
select pg_advisory_unlock(hashtext('upkeep'), hashtext(current_schema()))`

// beginUpkeep gives a row when a round is due: the last one was not finished, or ended
// longer than $2 ago.
const beginUpkeep = `
update upkeep_rounds
set instance = $1, began_at = clock_timestamp()
where ended_at is null or ended_at < began_at or ended_at < clock_timestamp() - $2::interval
returning began_at`

const endUpkeep = `
update upkeep_rounds
set ended_at = clock_timestamp()`

const selectFirstMessage = `
select id
from messages
order by id
limit 1`

// limitUpkeep bounds what a step may cost others for the length of its transaction. It
// waits for a lock for less than it takes to find a deadlock, so whoever waits for a
// row of it goes on. What it did need not be on disk when it ends: it would be done
// again.
const limitUpkeep = `
select set_config('lock_timeout', '500ms', true), set_config('statement_timeout', '30s', true), set_config('synchronous_commit', 'off', true)`

// Upkeep is a round of upkeep: the right to it, and how far it has come. It removes
// what is due by tableRules. No two processes do one at the same time; steps change
// nothing that another one could not do again. Not safe for concurrent use.
type Upkeep struct {
	db     *DB
	conn   *pgxpool.Conn // holds the lock: without it no step can be done
	bounds upkeepBounds
	steps  []upkeepStep
	at     int  // the step that is next
	bound  bool // bounds.first is known
	texts  textPurge
}

// upkeepStep is done again and again until there is no more of it to do.
type upkeepStep struct {
	table string
	do    func(ctx context.Context) (message.Cared, error)
}

// BeginUpkeep begins a round if none has ended within `every` and no other process does
// one; nil without an error when it is not to be. The caller ends it.
func (db *DB) BeginUpkeep(ctx context.Context, instance string, keep message.Retention, every time.Duration) (*Upkeep, error) {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin upkeep: %w", err)
	}
	u := &Upkeep{db: db, conn: conn, bounds: upkeepBounds{keep: keep}}
	mine := false
	if err = conn.QueryRow(ctx, tryUpkeep).Scan(&mine); err == nil && mine {
		err = conn.QueryRow(ctx, beginUpkeep, instance, every).Scan(&u.bounds.now)
	}
	switch {
	case err == nil && mine:
		u.plan()
		return u, nil
	case err == nil: // another process has it
		conn.Release()
		return nil, nil
	}
	u.leave(ctx)
	if errors.Is(err, pgx.ErrNoRows) { // it is not due
		return nil, nil
	}
	return nil, fmt.Errorf("begin upkeep: %w", err)
}

// plan lists the steps of a round. Partitions come first, since what belongs to the
// messages in them goes after them.
func (u *Upkeep) plan() {
	u.steps = []upkeepStep{
		// What goes with its partition must be counted before.
		{"usage_days", u.countUsagePiece},
		{"usage_late", u.countUsageLate},
		{"messages", u.makePartitions},
		{"messages", u.dropPartitions},
		{"texts", u.purgeTexts},
		{"texts", u.purgeTextsDue},
		{"texts", u.purgeBatches},
		{"feed_marks", u.moveFeed},
	}
	for _, r := range append(append([]tableRule{}, strayRules...), tableRules...) {
		if r.take != "" {
			u.steps = append(u.steps, upkeepStep{r.table, func(ctx context.Context) (message.Cared, error) { return u.takeRows(ctx, r) }})
		}
	}
}

// Table is what the next step is about, or "texts" for those of messages; empty: the
// round is done.
func (u *Upkeep) Table() string {
	if u.at == len(u.steps) {
		return ""
	}
	return u.steps[u.at].table
}

// Step does some milliseconds of the round, or for partitions as long as they take. The
// next call goes on with what is next: after an error with the next step, for this one
// can wait for the next round.
func (u *Upkeep) Step(ctx context.Context) (message.Cared, error) {
	if u.at == len(u.steps) {
		return message.Cared{}, nil
	}
	step := u.steps[u.at]
	done, err := step.do(ctx)
	if err != nil || !done.More {
		u.at++
	}
	if u.conn.Conn().IsClosed() { // and with it the lock
		u.at = len(u.steps)
	}
	done.More = u.at < len(u.steps)
	if err != nil {
		return done, fmt.Errorf("upkeep of %s: %w", step.table, err)
	}
	return done, nil
}

// End gives the right to a round back. Whole: all was done that was due; else the next
// round is due at once. Calling it again is harmless.
func (u *Upkeep) End(ctx context.Context, whole bool) error {
	if u.conn == nil {
		return nil
	}
	var err error
	if whole {
		if _, err = u.conn.Exec(ctx, endUpkeep); err != nil {
			err = fmt.Errorf("end upkeep: %w", err)
		}
	}
	u.leave(ctx)
	return err
}

// leave gives up the lock, if need be with the session.
func (u *Upkeep) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	if _, err := u.conn.Exec(ctx, leaveUpkeep); err != nil {
		_ = u.conn.Conn().Close(ctx)
	}
	u.conn.Release()
	u.conn, u.at = nil, len(u.steps)
}

func (u *Upkeep) makePartitions(ctx context.Context) (message.Cared, error) {
	made, err := u.db.MakePartitions(ctx, partitionsAhead)
	return message.Cared{Made: made}, err
}

func (u *Upkeep) dropPartitions(ctx context.Context) (message.Cared, error) {
	dropped, err := u.db.DropPartitions(ctx, u.bounds.now.Add(-u.bounds.keep.Messages))
	return message.Cared{Partitions: dropped}, err
}

// takeRows removes some rows of a table.
func (u *Upkeep) takeRows(ctx context.Context, r tableRule) (done message.Cared, err error) {
	if err := u.findFirst(ctx); err != nil {
		return done, err
	}
	err = u.within(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, r.take, r.before(&u.bounds), upkeepBatch)
		done.Rows = int(tag.RowsAffected())
		done.More = done.Rows == upkeepBatch
		return err
	})
	return done, err
}

// findFirst looks for the oldest message that is left, once a round. What belongs to
// older ones goes, if they are older than messages are kept: an id may come into the
// record late, but not by that much.
func (u *Upkeep) findFirst(ctx context.Context) error {
	if u.bound {
		return nil
	}
	u.bounds.first = idAt(u.bounds.now.Add(-u.bounds.keep.Messages))
	var id message.ID
	switch err := u.conn.QueryRow(ctx, selectFirstMessage).Scan(&id); {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return err
	case timeOf(id).Before(timeOf(u.bounds.first)):
		u.bounds.first = id
	}
	u.bound = true
	return nil
}

// within runs a step in a transaction of the session that has the lock.
func (u *Upkeep) within(ctx context.Context, do func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, u.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, limitUpkeep); err != nil {
			return err
		}
		return do(tx)
	})
}

// OldestRows tells how old the oldest row is of each table whose rows end by age.
func (db *DB) OldestRows(ctx context.Context) (map[string]time.Time, error) {
	oldest := make(map[string]time.Time)
	for _, r := range tableRules {
		at, err := oldestRow(ctx, db.pool, r.oldest)
		if err != nil {
			return nil, fmt.Errorf("oldest row of %s: %w", r.table, err)
		}
		if !at.IsZero() {
			oldest[r.table] = at
		}
	}
	return oldest, nil
}
