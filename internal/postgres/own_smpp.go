package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// ownSMPPColumns count the binds as insertBind does.
const ownSMPPColumns = `
  c.id, c.account_id, c.vendor_id, c.system_id, c.enabled, c.allowed_ips, c.max_binds, c.throughput, c."window",
  'receiver' = any(c.bind_types), 'transmitter' = any(c.bind_types), 'transceiver' = any(c.bind_types),
  c.require_tls, c.receipt_format = 'text_tlv', c.long_mo, c.mo_lifetime_seconds, c.alphabet,
  (select count(*)
   from smpp_binds b
   where b.credential_id = c.id and b.seen_at > now() - interval '30 seconds'),
  c.created_at, c.updated_at`

const selectOwnSMPPs = `select` + ownSMPPColumns + `
from smpp_credentials c
where c.account_id = $1 and c.deleted_at is null and ($2::uuid is null or c.id < $2)
order by c.id desc
limit $3`

const selectOwnSMPP = `select` + ownSMPPColumns + `
from smpp_credentials c
where c.account_id = $1 and c.id = $2 and c.deleted_at is null`

const lockOwnSMPP = selectOwnSMPP + `
for update of c`

func scanOwnSMPP(row pgx.CollectableRow) (c snapshot.SMPPCredentialState, err error) {
	var lifetime int
	var account, vendor *message.ID
	err = row.Scan(&c.ID, &account, &vendor, &c.SystemID, &c.Enabled, &c.AllowedIPs, &c.MaxBinds, &c.Throughput, &c.Window, &c.Receiver, &c.Transmitter, &c.Transceiver,
		&c.RequireTLS, &c.ReceiptTLVs, &c.LongMO, &lifetime, &c.Alphabet, &c.Binds, &c.CreatedAt, &c.UpdatedAt)
	c.AccountID, c.VendorID, c.MOLifetime = orZero(account), orZero(vendor), seconds(lifetime)
	return c, err
}

// OwnSMPPCredentials lists the SMPP credentials of an account, newest first: at most
// limit, older than the one `before` when that is not zero.
func (db *DB) OwnSMPPCredentials(ctx context.Context, account, before message.ID, limit int) ([]snapshot.SMPPCredentialState, error) {
	rows, err := db.pool.Query(ctx, selectOwnSMPPs, account, idOrNull(before), limit)
	if err != nil {
		return nil, fmt.Errorf("list SMPP credentials: %w", err)
	}
	return pgx.CollectRows(rows, scanOwnSMPP)
}

// OwnSMPPCredential reads an SMPP credential of an account; ReasonNotFound when that has
// none such.
func (db *DB) OwnSMPPCredential(ctx context.Context, account, id message.ID) (snapshot.SMPPCredentialState, error) {
	return one(ctx, db.pool, scanOwnSMPP, "SMPP credential", id, selectOwnSMPP, account, id)
}

const countSMPPCredentials = `
select count(*)
from smpp_credentials
where account_id = $1 and deleted_at is null`

// AddOwnSMPPCredential adds an SMPP credential, with the bcrypt hash of its password, to
// an account that has fewer than `most`; else, and for a system_id that somebody has or
// had, ReasonConflict. Zero fields get the defaults of the schema's documentation. For
// answer and replay see auditedOnce.
func (db *DB) AddOwnSMPPCredential(ctx context.Context, by Actor, c snapshot.SMPPCredential, most int, answer func(snapshot.SMPPCredentialState) (message.Idempotency, error)) (snapshot.SMPPCredentialState, *message.Idempotency, error) {
	s := smppSettingsOf(c)
	shown := s.shown()
	shown["system_id"], shown["account_id"] = c.SystemID, c.AccountID
	return auditedOnce(ctx, db, by, "smpp_credential.create", c.ID.String(), shown, answer, func(tx pgx.Tx) (made snapshot.SMPPCredentialState, err error) {
		if err = room(ctx, tx, c.AccountID, countSMPPCredentials, "SMPP credentials", most); err != nil {
			return made, err
		}
		_, err = tx.Exec(ctx, insertSMPPCredential, append([]any{c.ID, c.AccountID, nil, c.SystemID, c.PasswordHash}, s.args()...)...)
		if sqlState(err) == uniqueViolation {
			err = message.Because(message.ReasonConflict, err, "system_id %s is taken", c.SystemID)
		}
		if err != nil {
			return made, err
		}
		return one(ctx, tx, scanOwnSMPP, "SMPP credential", c.ID, selectOwnSMPP, c.AccountID, c.ID)
	})
}

// ChangeOwnSMPPCredential changes the settings of an account's SMPP credential; its id,
// system_id and password stay whatever change does. Sessions that could not bind any more
// are unbound within seconds. It returns it as it is then.
func (db *DB) ChangeOwnSMPPCredential(ctx context.Context, by Actor, account, id message.ID, change func(*snapshot.SMPPCredentialState) error) (snapshot.SMPPCredentialState, error) {
	return db.changeSMPP(ctx, by, ownESME(account, id), change)
}

// oneESME is how one SMPP credential is found: among those of an account, or of all.
type oneESME struct {
	id           message.ID
	read, locked string // both with args
	args         []any
}

func ownESME(account, id message.ID) oneESME {
	return oneESME{id, selectOwnSMPP, lockOwnSMPP, []any{account, id}}
}

func (e oneESME) get(ctx context.Context, q querier) (snapshot.SMPPCredentialState, error) {
	return one(ctx, q, scanOwnSMPP, "SMPP credential", e.id, e.read, e.args...)
}

// lock is get that keeps others from changing it until the transaction ends.
func (e oneESME) lock(ctx context.Context, tx pgx.Tx) (snapshot.SMPPCredentialState, error) {
	return one(ctx, tx, scanOwnSMPP, "SMPP credential", e.id, e.locked, e.args...)
}

func (db *DB) changeSMPP(ctx context.Context, by Actor, of oneESME, change func(*snapshot.SMPPCredentialState) error) (snapshot.SMPPCredentialState, error) {
	var made snapshot.SMPPCredentialState
	before, after := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, "smpp_credential.update", of.id.String(), before, after, func(tx pgx.Tx) error {
		was, err := of.lock(ctx, tx)
		if err != nil {
			return err
		}
		c := was
		if err := change(&c); err != nil {
			return err
		}
		s := smppSettingsOf(c.SMPPCredential)
		if _, err := tx.Exec(ctx, updateSMPPCredential, append([]any{of.id}, s.args()...)...); err != nil {
			return err
		}
		differences(smppSettingsOf(was.SMPPCredential).shown(), s.shown(), before, after)
		made, err = of.get(ctx, tx)
		return err
	})
	return made, err
}

// RegenerateOwnSMPPCredential gives an account's SMPP credential another password, by its
// bcrypt hash: sessions of the old one are unbound within seconds. For answer and replay
// see auditedOnce.
func (db *DB) RegenerateOwnSMPPCredential(ctx context.Context, by Actor, account, id message.ID, hash string, answer func(snapshot.SMPPCredentialState) (message.Idempotency, error)) (snapshot.SMPPCredentialState, *message.Idempotency, error) {
	return db.regenerateSMPP(ctx, by, ownESME(account, id), hash, answer)
}

func (db *DB) regenerateSMPP(ctx context.Context, by Actor, of oneESME, hash string, answer func(snapshot.SMPPCredentialState) (message.Idempotency, error)) (snapshot.SMPPCredentialState, *message.Idempotency, error) {
	return auditedOnce(ctx, db, by, "smpp_credential.regenerate", of.id.String(), nil, answer, func(tx pgx.Tx) (made snapshot.SMPPCredentialState, err error) {
		if _, err = of.lock(ctx, tx); err != nil {
			return made, err
		}
		if _, err = tx.Exec(ctx, updateSMPPPassword, of.id, hash); err != nil {
			return made, err
		}
		return of.get(ctx, tx)
	})
}

// selectSMPPRoutes finds what is set to deliver to a system_id.
const selectSMPPRoutes = `
select coalesce(number, '')
from inbound_routes
where account_id = $1 and active
  and (method = 'smpp' and smpp_system_id = $2 or fallback ->> 'method' = 'smpp' and fallback ->> 'smpp_system_id' = $2)
order by number nulls first
limit 1`

const removeSMPPCredential = `
update smpp_credentials
set enabled = false, deleted_at = now(), updated_at = now()
where id = $1`

// RemoveOwnSMPPCredential takes an account's SMPP credential away: its sessions are
// unbound within seconds, and what is held for them ends in its time. Its system_id stays
// taken. ReasonConflict while inbound messages are set to go to it.
func (db *DB) RemoveOwnSMPPCredential(ctx context.Context, by Actor, account, id message.ID, check func(snapshot.SMPPCredentialState) error) error {
	return db.removeSMPP(ctx, by, ownESME(account, id), check)
}

func (db *DB) removeSMPP(ctx context.Context, by Actor, of oneESME, check func(snapshot.SMPPCredentialState) error) error {
	shown := map[string]any{}
	return db.audited(ctx, by, "smpp_credential.delete", of.id.String(), shown, func(tx pgx.Tx) error {
		was, err := of.lock(ctx, tx)
		if err == nil {
			err = check(was)
		}
		if err != nil {
			return err
		}
		owner, whose := ownerOf(was.SMPPCredential)
		shown[owner+"_id"] = whose
		rows, err := tx.Query(ctx, selectSMPPRoutes, was.AccountID, was.SystemID) // a vendor's has none
		if err != nil {
			return err
		}
		routed, err := pgx.CollectRows(rows, pgx.RowTo[string])
		switch {
		case err != nil:
			return err
		case len(routed) > 0 && routed[0] == "":
			return message.Refuse(message.ReasonConflict, "inbound messages go to %s by default; change /v1/inbound-settings first", was.SystemID)
		case len(routed) > 0:
			return message.Refuse(message.ReasonConflict, "inbound messages to %s go to %s; change /v1/numbers/{number}/inbound first", routed[0], was.SystemID)
		}
		_, err = tx.Exec(ctx, removeSMPPCredential, of.id)
		return err
	})
}

const selectSessions = `
select b.id, b.mode, b.address, b.tls, b.version, b.bound_at, b.seen_at
from smpp_credentials c
join smpp_binds b on b.credential_id = c.id
where c.account_id = $1 and c.id = $2 and c.deleted_at is null and b.seen_at > now() - interval '30 seconds'
order by b.bound_at, b.id
limit 1000`

// OwnSMPPSessions lists the live binds of an account's SMPP credential over all
// processes, the oldest first: max_binds is 1000 at most. ReasonNotFound when the account
// has no such credential.
func (db *DB) OwnSMPPSessions(ctx context.Context, account, id message.ID) ([]snapshot.SMPPSession, error) {
	if _, err := db.OwnSMPPCredential(ctx, account, id); err != nil {
		return nil, err
	}
	rows, err := db.pool.Query(ctx, selectSessions, account, id)
	if err != nil {
		return nil, fmt.Errorf("list SMPP sessions: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s snapshot.SMPPSession, err error) {
		var version int16
		err = row.Scan(&s.ID, &s.Mode, &s.Address, &s.TLS, &version, &s.BoundAt, &s.SeenAt)
		s.Version = uint8(version)
		return s, err
	})
}
