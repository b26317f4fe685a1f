package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const (
	// refusalsKept is how long refusals for rates can be looked up.
	refusalsKept = 90 * 24 * time.Hour
	// refusalsForgotten is how many old entries one writing takes away at most: more
	// than it adds, so that the table does not grow for ever.
	refusalsForgotten = 50_000
	// maxRefusalsListed is how many entries one look gives.
	maxRefusalsListed = 10_000
)

const addRefusals = `
insert into rate_refusals (account_id, minute, edge, scope, count)
select *
from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::bigint[])
on conflict (account_id, minute, edge, scope) do update
set count = rate_refusals.count + excluded.count`

const forgetRefusals = `
delete from rate_refusals
where ctid in (
  select ctid
  from rate_refusals
  where minute < now() - $1::interval
  order by minute
  limit $2
  for update skip locked)`

// AddRefusals adds to what was refused for rates in the minutes of the list, whose
// entries must differ, and forgets what is older than 90 days.
func (db *DB) AddRefusals(ctx context.Context, list []message.RateRefusals) error {
	list = slices.Clone(list)
	// Writers of several processes take the rows in one order.
	slices.SortFunc(list, func(a, b message.RateRefusals) int {
		if c := slices.Compare(a.AccountID[:], b.AccountID[:]); c != 0 {
			return c
		}
		if c := a.Minute.Compare(b.Minute); c != 0 {
			return c
		}
		return slices.Compare([]string{a.Edge, a.Scope}, []string{b.Edge, b.Scope})
	})
	accounts, minutes := make([]message.ID, len(list)), make([]time.Time, len(list))
	edges, scopes, counts := make([]string, len(list)), make([]string, len(list)), make([]int64, len(list))
	for i, e := range list {
		accounts[i], minutes[i], edges[i], scopes[i], counts[i] = e.AccountID, e.Minute, e.Edge, e.Scope, e.Count
	}
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		// Statistics need not wait for the disk.
		if _, err := tx.Exec(ctx, "set local synchronous_commit = off"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, addRefusals, accounts, minutes, edges, scopes, counts)
		return err
	})
	if err != nil {
		return fmt.Errorf("add refusals: %w", err)
	}
	// By itself: a delete and an upsert in one transaction could wait for each other's
	// rows.
	if _, err := db.pool.Exec(ctx, forgetRefusals, refusalsKept, refusalsForgotten); err != nil {
		return fmt.Errorf("forget refusals: %w", err)
	}
	return nil
}

const selectRefusals = `
select account_id, minute, edge, scope, count
from rate_refusals
where account_id = $1 and minute >= $2
order by minute desc, edge, scope
limit $3`

// Refusals lists what an account was refused for rates since a time, the newest
// minute first, at most 10,000 entries.
func (db *DB) Refusals(ctx context.Context, account message.ID, since time.Time) ([]message.RateRefusals, error) {
	rows, err := db.pool.Query(ctx, selectRefusals, account, since, maxRefusalsListed)
	if err != nil {
		return nil, fmt.Errorf("list refusals: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e message.RateRefusals, err error) {
		err = row.Scan(&e.AccountID, &e.Minute, &e.Edge, &e.Scope, &e.Count)
		e.Minute = e.Minute.UTC()
		return e, err
	})
}
