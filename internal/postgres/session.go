package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// touchMM4Sessions is touchBinds for the sessions of MM4. Whoever was taken for dead enters
// himself again with the next one.
const touchMM4Sessions = `
with ended as (
  delete from mm4_sessions
  where instance = $1 and not id = any($2::uuid[])
), dead as (
  delete from mm4_sessions
  where id in (
    select id
    from mm4_sessions
    where instance <> $1 and seen_at < now() - interval '5 minutes'
    for update skip locked)
)
insert into mm4_sessions (instance, id, peer_id, address, tls, state, mails, began_at)
select $1, n.*
from unnest($2::uuid[], $3::uuid[], $4::text[], $5::boolean[], $6::text[], $7::integer[], $8::timestamptz[]) as n
on conflict (id) do update
set peer_id = excluded.peer_id, address = excluded.address, tls = excluded.tls, state = excluded.state, mails = excluded.mails, seen_at = now()`

// MM4SessionsAlive says that the instance's sessions live: those are entered as seen now,
// and others of the instance are taken out. Those of other processes that were not seen for
// 5 minutes are deleted by whoever lives.
func (db *DB) MM4SessionsAlive(ctx context.Context, instance string, sessions []message.MM4Session) error {
	type s = message.MM4Session
	_, err := db.pool.Exec(ctx, touchMM4Sessions, instance,
		pick(sessions, func(s s) message.ID { return s.ID }), pick(sessions, func(s s) *message.ID { return idOrNull(s.PeerID) }),
		pick(sessions, func(s s) string { return storable(s.Address) }), pick(sessions, func(s s) bool { return s.TLS }),
		pick(sessions, func(s s) string { return s.State }), pick(sessions, func(s s) int { return s.Mails }),
		pick(sessions, func(s s) time.Time { return s.BeganAt }))
	if err != nil {
		return fmt.Errorf("%d MM4 sessions alive: %w", len(sessions), err)
	}
	return nil
}

const selectMM4SessionsToEnd = `
select id
from mm4_sessions
where instance = $1 and end_asked_at is not null`

// MM4SessionsToEnd lists the instance's MM4 sessions whose end staff have asked for.
func (db *DB) MM4SessionsToEnd(ctx context.Context, instance string) ([]message.ID, error) {
	return db.toEnd(ctx, selectMM4SessionsToEnd, instance)
}

const liveSessions = `
select *
from (
  select b.id, 'smpp' as protocol, c.account_id, c.vendor_id, c.system_id as name, b.mode, 'bound' as state, b.address, b.tls, b.version, 0 as mails, b.instance,
    b.bound_at as began_at, b.seen_at, b.end_asked_at is not null as ending
  from smpp_binds b
  join smpp_credentials c on c.id = b.credential_id
  union all
  select s.id, 'mm4', p.account_id, p.vendor_id, coalesce(p.name, ''), '', s.state, s.address, s.tls, 0, s.mails, s.instance,
    s.began_at, s.seen_at, s.end_asked_at is not null
  from mm4_sessions s
  left join mm4_peers p on p.id = s.peer_id
) as l
where l.seen_at > now() - interval '30 seconds'`

// The sessions of all processes are some thousands, and all of them are read.
//
//	$1 before, null: from the newest  $2 account  $3 vendor, null for all  $4 kind of owner
//	$5 protocol  $6 instance, empty for all
const selectSessionsOfAll = liveSessions + `
  and ($1::uuid is null or l.id < $1)
  and ($2::uuid is null or l.account_id = $2)
  and ($3::uuid is null or l.vendor_id = $3)
  and ($4 = '' or $4 = 'vendor' and l.vendor_id is not null or $4 = 'customer' and l.account_id is not null)
  and ($5 = '' or l.protocol = $5)
  and ($6 = '' or l.instance = $6)
order by l.id desc
limit $7`

const selectSession = liveSessions + `
  and l.id = $1`

func scanSession(row pgx.CollectableRow) (s snapshot.Session, err error) {
	var account, vendor *message.ID
	var version int16
	err = row.Scan(&s.ID, &s.Protocol, &account, &vendor, &s.Name, &s.Mode, &s.State, &s.Address, &s.TLS, &version, &s.Mails, &s.Replica, &s.BeganAt, &s.SeenAt, &s.Ending)
	s.AccountID, s.VendorID, s.Version = orZero(account), orZero(vendor), uint8(version)
	return s, err
}

// Sessions lists the live sessions of SMPP and MM4 over all processes, the newest first: at
// most limit, older than the one `before` when that is not zero. Those of a process that has
// died are not among them 30 seconds later.
func (db *DB) Sessions(ctx context.Context, f snapshot.SessionFilter, before message.ID, limit int) ([]snapshot.Session, error) {
	rows, err := db.pool.Query(ctx, selectSessionsOfAll, idOrNull(before), idOrNull(f.AccountID), idOrNull(f.VendorID), string(f.Kind), f.Protocol, storable(f.Replica), limit)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return pgx.CollectRows(rows, scanSession)
}

const askEndOfBind = `
update smpp_binds
set end_asked_at = coalesce(end_asked_at, now())
where id = $1`

const askEndOfMM4Session = `
update mm4_sessions
set end_asked_at = coalesce(end_asked_at, now())
where id = $1`

// EndSession asks the process that has a session to end it, which it does within 5 seconds:
// it looks every 2. ReasonNotFound when there is no such session, or it ends just then.
func (db *DB) EndSession(ctx context.Context, by Actor, id message.ID) error {
	shown := map[string]any{}
	return db.audited(ctx, by, "session.end", id.String(), shown, func(tx pgx.Tx) error {
		s, err := one(ctx, tx, scanSession, "session", id, selectSession, id)
		if err != nil {
			return err
		}
		shown["protocol"], shown["name"], shown["address"], shown["replica"] = s.Protocol, s.Name, s.Address, s.Replica
		shown["account_id"], shown["vendor_id"] = idOrNull(s.AccountID), idOrNull(s.VendorID)
		ask := askEndOfBind
		if s.Protocol == "mm4" {
			ask = askEndOfMM4Session
		}
		return exactlyOne(tx.Exec(ctx, ask, id))
	})
}
