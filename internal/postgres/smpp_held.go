package postgres

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// selectHeld steps from account to account over what is pending, and counts no
// further than a little beyond each one's cap, so that its cost has a bound. It counts
// in the order of the index, which then is all that it reads.
//
//	$1 how much further
const selectHeld = `
with recursive holder as (
  select '00000000-0000-0000-0000-000000000000'::uuid as account_id
  union all
  select (
    select d.account_id
    from smpp_deliveries d
    where d.state = 'pending' and d.account_id > h.account_id
    order by d.account_id
    limit 1)
  from holder h
  where h.account_id is not null
)
select h.account_id, coalesce(a.company_name, ''), coalesce(a.smpp_max_held, 0), n.pending, oldest.created_at
from holder h
left join accounts a on a.id = h.account_id
cross join lateral (
  select count(*) as pending
  from (
    select
    from smpp_deliveries d
    where d.account_id = h.account_id and d.state = 'pending'
    order by d.created_at, d.id
    limit coalesce(a.smpp_max_held, 0) + $1::integer
  ) counted
) n
cross join lateral (
  select d.created_at
  from smpp_deliveries d
  where d.account_id = h.account_id and d.state = 'pending'
  order by d.created_at, d.id
  limit 1
) oldest
where h.account_id is not null
order by n.pending desc, h.account_id`

// heldBeyond is how far beyond an account's cap what is held for it is counted.
const heldBeyond = 100_000

// HeldDeliveries lists the accounts that deliver_sm wait for, those with the most
// first. Pending counts at most 100,000 beyond the cap.
func (db *DB) HeldDeliveries(ctx context.Context) ([]message.SMPPHeld, error) {
	rows, err := db.pool.Query(ctx, selectHeld, heldBeyond)
	if err != nil {
		return nil, fmt.Errorf("held deliveries: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h message.SMPPHeld, err error) {
		return h, row.Scan(&h.AccountID, &h.CompanyName, &h.Cap, &h.Pending, &h.Oldest)
	})
	if err != nil {
		return nil, fmt.Errorf("held deliveries: %w", err)
	}
	return list, nil
}

// lockHeld keeps two processes from ending the same surplus twice. Nobody else takes
// the lock, and it ends with the transaction.
const lockHeld = `
select pg_advisory_xact_lock($1)`

// endHeld ends the oldest of what an account has beyond its cap and was never tried:
// what was tried is about to be tried again, and what is claimed is on its way. It
// waits for nobody's rows.
//
//	$1 account  $2 at most
const endHeld = `
with over as materialized (
  select a.smpp_max_held as cap, least(n.pending - a.smpp_max_held, $2::bigint) as surplus
  from accounts a
  cross join lateral (
    select count(*) as pending
    from (
      select
      from smpp_deliveries d
      where d.account_id = a.id and d.state = 'pending'
      order by d.created_at, d.id
      limit a.smpp_max_held + $2::bigint
    ) counted
  ) n
  where a.id = $1
), surplus as (
  select d.id
  from over o
  cross join lateral (
    select d.id
    from smpp_deliveries d
    join messages m on m.id = d.message_id
    where d.account_id = $1 and d.state = 'pending' and d.attempts = 0 and (d.claimed_until is null or d.claimed_until <= now())
    order by d.created_at, d.id
    limit greatest(o.surplus, 0)
    for update skip locked
  ) d
), ended as (
  update smpp_deliveries d
  set state = 'failed', done_at = now(), claimed_by = null, claimed_until = null, last_error = 'more than ' || o.cap || ' were held for the account'
  from unnest(array(select id from surplus)) as s (id), over o
  where d.id = s.id
  returning d.message_id, d.created_at, d.kind, d.state, jsonb_build_object('kind', d.kind, 'state', d.state, 'attempts', d.attempts, 'error', d.last_error) as detail
)` + tellEnded + `
select count(*)
from ended`

// EndHeld ends the oldest untried deliveries of what the account has beyond its cap,
// at most so many, with a line in each message's timeline. It reports how many.
func (db *DB) EndHeld(ctx context.Context, account message.ID, most int) (int, error) {
	// Two statements of one transaction: the second counts what those before it under
	// the same lock have left.
	batch := &pgx.Batch{}
	batch.Queue(lockHeld, heldLock(account))
	batch.Queue(endHeld, account, int64(most))
	results := db.pool.SendBatch(ctx, batch)
	_, err := results.Exec()
	ended := 0
	if err == nil {
		err = results.QueryRow().Scan(&ended)
	}
	if cerr := results.Close(); err == nil {
		err = cerr // of the commit
	}
	if err != nil {
		return 0, fmt.Errorf("end what account %s has beyond its cap: %w", account, err)
	}
	return ended, nil
}

// heldLock names an account among advisory locks: by the random half of its id,
// turned round, so that it is no credential's.
func heldLock(id message.ID) int64 { return int64(^binary.BigEndian.Uint64(id[8:])) }
