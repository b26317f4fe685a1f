package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// lockCredential keeps two binds of one credential from being counted at once.
// The lock ends with the transaction, which is over when the server has run it:
// nobody's silence can hold it.
const lockCredential = `
select pg_advisory_xact_lock($1)`

// insertBind counts the live binds of all processes. A bind that is entered again
// after a lost answer counts once.
const insertBind = `
insert into smpp_binds (id, credential_id, instance, mode, address, tls, version, bound_at, seen_at)
select $1, $2::uuid, $3, $4, $5, $6, $7, coalesce($8, now()), clock_timestamp()
where $9 > (
  select count(*)
  from smpp_binds
  where credential_id = $2 and id <> $1 and seen_at > now() - interval '30 seconds')
on conflict (id) do update
set seen_at = excluded.seen_at`

// Bind enters a bind into the registry unless the credential has max live binds
// over all processes; it reports whether it did. A bind lives for 30 seconds from
// here and from each BindsAlive.
func (db *DB) Bind(ctx context.Context, b message.SMPPBind, max int) (bool, error) {
	// The two statements are one transaction, and the second sees what those before
	// it under the same lock have committed.
	batch := &pgx.Batch{}
	batch.Queue(lockCredential, credentialLock(b.CredentialID))
	batch.Queue(insertBind, b.ID, b.CredentialID, b.Instance, b.Mode, storable(b.Address), b.TLS, int16(b.Version), timeOrNull(b.BoundAt), max)
	results := db.pool.SendBatch(ctx, batch)
	_, err := results.Exec()
	entered := false
	if err == nil {
		tag, eerr := results.Exec()
		entered, err = tag.RowsAffected() == 1, eerr
	}
	if cerr := results.Close(); err == nil {
		err = cerr // of the commit
	}
	if err != nil {
		return false, fmt.Errorf("enter bind %s: %w", b.ID, err)
	}
	return entered, nil
}

// credentialLock names a credential among advisory locks: by the random half of
// its id.
func credentialLock(id message.ID) int64 { return int64(binary.BigEndian.Uint64(id[8:])) }

const deleteBind = `
delete from smpp_binds
where id = $1`

// Unbind takes a bind out of the registry. One that is not there is no error.
func (db *DB) Unbind(ctx context.Context, id message.ID) error {
	if _, err := db.pool.Exec(ctx, deleteBind, id); err != nil {
		return fmt.Errorf("take out bind %s: %w", id, err)
	}
	return nil
}

// touchBinds is one heartbeat of a process. It clears away what dead processes
// left, but only when it was itself heard of a short while ago: after an outage
// of the database everybody's rows are old, and the first to come back must not
// take the others for dead. It waits for nobody, so it ends nobody's transaction.
const touchBinds = `
with seen as (
  update smpp_binds
  set seen_at = now()
  where instance = $1 and id = any($2::uuid[])
  returning id
), ended as (
  delete from smpp_binds
  where instance = $1 and not id = any($2::uuid[])
), dead as (
  delete from smpp_binds
  where id in (
      select id
      from smpp_binds
      where instance <> $1 and seen_at < now() - interval '5 minutes'
      for update skip locked)
    and exists (
      select
      from smpp_binds
      where instance = $1 and seen_at > now() - interval '30 seconds')
)
select id
from unnest($2::uuid[]) as n (id)
where id not in (select id from seen)`

// BindsAlive says that the instance's binds live: those named are entered as seen
// now, and others of the instance are taken out. Rows of other processes that
// were not seen for 5 minutes are deleted by whoever lives. Missing are those named
// that were deleted so: see EnterAgain.
func (db *DB) BindsAlive(ctx context.Context, instance string, binds []message.ID) (missing []message.ID, err error) {
	if binds == nil {
		binds = []message.ID{}
	}
	rows, err := db.pool.Query(ctx, touchBinds, instance, binds)
	if err == nil {
		missing, err = pgx.CollectRows(rows, pgx.RowTo[message.ID])
	}
	if err != nil {
		return nil, fmt.Errorf("binds alive: %w", err)
	}
	return missing, nil
}

const insertBindAgain = `
insert into smpp_binds (id, credential_id, instance, mode, address, tls, version, bound_at, seen_at)
select *, now()
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::smallint[], $8::timestamptz[])
on conflict (id) do update
set seen_at = excluded.seen_at`

// EnterAgain enters binds that live and whose rows were deleted while their process
// could not be heard of. It counts nothing: the sessions are there, and a registry
// that does not know them would let in more.
func (db *DB) EnterAgain(ctx context.Context, binds []message.SMPPBind) error {
	type b = message.SMPPBind
	_, err := db.pool.Exec(ctx, insertBindAgain,
		pick(binds, func(s b) message.ID { return s.ID }),
		pick(binds, func(s b) message.ID { return s.CredentialID }),
		pick(binds, func(s b) string { return s.Instance }),
		pick(binds, func(s b) string { return s.Mode }),
		pick(binds, func(s b) string { return storable(s.Address) }),
		pick(binds, func(s b) bool { return s.TLS }),
		pick(binds, func(s b) int16 { return int16(s.Version) }),
		pick(binds, func(s b) time.Time { return s.BoundAt }))
	if err != nil {
		return fmt.Errorf("enter %d binds again: %w", len(binds), err)
	}
	return nil
}

// surplusBinds are the live ones beyond the oldest. Who is among the oldest does not
// change when others go, so processes that ask one after the other agree.
const surplusBinds = `
select id
from smpp_binds
where credential_id = $1 and seen_at > now() - interval '30 seconds'
order by bound_at, id
offset $2`

// SurplusBinds lists the live binds of the credential, over all processes, beyond
// the max oldest.
func (db *DB) SurplusBinds(ctx context.Context, credential message.ID, max int) ([]message.ID, error) {
	rows, err := db.pool.Query(ctx, surplusBinds, credential, max)
	if err != nil {
		return nil, fmt.Errorf("surplus binds of %s: %w", credential, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[message.ID])
	if err != nil {
		return nil, fmt.Errorf("surplus binds of %s: %w", credential, err)
	}
	return ids, nil
}

const selectBindsToEnd = `
select id
from smpp_binds
where instance = $1 and end_asked_at is not null`

// BindsToEnd lists the instance's binds whose end staff have asked for.
func (db *DB) BindsToEnd(ctx context.Context, instance string) ([]message.ID, error) {
	return db.toEnd(ctx, selectBindsToEnd, instance)
}

func (db *DB) toEnd(ctx context.Context, sql, instance string) ([]message.ID, error) {
	rows, err := db.pool.Query(ctx, sql, instance)
	if err != nil {
		return nil, fmt.Errorf("sessions to end: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[message.ID])
	if err != nil {
		return nil, fmt.Errorf("sessions to end: %w", err)
	}
	return ids, nil
}

// AuditBind writes a line of the audit log about a bind: who came, from where,
// and what became of it. The event, such as smpp.bind, is the line's action. The
// account is zero for a system_id that nobody has.
// Lines follow one another over all processes, so it may wait.
func (db *DB) AuditBind(ctx context.Context, account message.ID, systemID, address, event, detail string) error {
	by := Actor{Name: storable(systemID), Role: "esme", Address: storable(address)}
	shown := map[string]any{"detail": storable(detail)}
	if account != (message.ID{}) {
		shown["account_id"] = account
	}
	return db.audited(ctx, by, event, by.Name, shown, func(pgx.Tx) error { return nil })
}
