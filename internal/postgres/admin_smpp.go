package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const insertSMPPCredential = `
insert into smpp_credentials (id, account_id, vendor_id, system_id, password_hash, enabled, allowed_ips, max_binds, throughput, "window",
  bind_types, require_tls, receipt_format, long_mo, mo_lifetime_seconds, alphabet)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`

// CreateSMPPCredential adds a system_id with the bcrypt hash of its password and
// with its settings, all or nothing. Zero fields get the defaults of the schema's
// documentation, no bind type at all means each. It is an account's or a vendor's. A
// system_id that somebody has is ReasonConflict, an account or vendor that is not there
// ReasonNotFound.
func (db *DB) CreateSMPPCredential(ctx context.Context, by Actor, c snapshot.SMPPCredential) error {
	s := smppSettingsOf(c)
	shown := s.shown()
	shown["system_id"] = c.SystemID
	owner, whose := ownerOf(c)
	shown[owner+"_id"] = whose
	return db.audited(ctx, by, "smpp_credential.create", c.ID.String(), shown, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertSMPPCredential, append([]any{c.ID, idOrNull(c.AccountID), idOrNull(c.VendorID), c.SystemID, c.PasswordHash}, s.args()...)...)
		switch sqlState(err) {
		case uniqueViolation:
			return message.Because(message.ReasonConflict, err, "system_id %s is taken", c.SystemID)
		case foreignKeyViolation:
			return message.Because(message.ReasonNotFound, err, "there is no %s %s", owner, whose)
		}
		return err
	})
}

// ownerOf says what a credential belongs to, an account or a vendor, and to which.
func ownerOf(c snapshot.SMPPCredential) (what string, id message.ID) {
	if c.VendorID != (message.ID{}) {
		return "vendor", c.VendorID
	}
	return "account", c.AccountID
}

const updateSMPPCredential = `
update smpp_credentials
set enabled = $2,
    allowed_ips = $3,
    max_binds = $4,
    throughput = $5,
    "window" = $6,
    bind_types = $7,
    require_tls = $8,
    receipt_format = $9,
    long_mo = $10,
    mo_lifetime_seconds = $11,
    alphabet = $12,
    updated_at = now()
where id = $1`

// UpdateSMPPCredential writes all settings of an SMPP credential; its id,
// account, system_id and password stay as they are, whatever c says. Zero fields
// get the defaults of the schema's documentation, no bind type at all means each.
func (db *DB) UpdateSMPPCredential(ctx context.Context, by Actor, id message.ID, c snapshot.SMPPCredential) error {
	s := smppSettingsOf(c)
	return db.audited(ctx, by, "smpp_credential.update", id.String(), s.shown(), func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateSMPPCredential, append([]any{id}, s.args()...)...))
	})
}

// smppSettings are the settings of an SMPP credential as its row has them.
type smppSettings struct {
	c        snapshot.SMPPCredential
	binds    []string
	receipts string
	lifetime int // seconds
}

// smppSettingsOf fills in the defaults.
func smppSettingsOf(c snapshot.SMPPCredential) smppSettings {
	if c.AllowedIPs == nil {
		c.AllowedIPs = []netip.Prefix{}
	}
	c.MaxBinds, c.Throughput, c.Window = orElse(c.MaxBinds, 2), orElse(c.Throughput, 100), orElse(c.Window, 10)
	c.LongMO, c.Alphabet = orElse(c.LongMO, "udh"), orElse(c.Alphabet, "gsm7")
	s := smppSettings{c: c, binds: bindTypes(c), receipts: "text", lifetime: wholeSeconds(c.MOLifetime, 259_200)}
	if c.ReceiptTLVs {
		s.receipts = "text_tlv"
	}
	return s
}

// args are the settings in the order of both statements.
func (s smppSettings) args() []any {
	c := s.c
	return []any{c.Enabled, c.AllowedIPs, c.MaxBinds, c.Throughput, c.Window, s.binds, c.RequireTLS, s.receipts, c.LongMO, s.lifetime, c.Alphabet}
}

// shown are the settings for the audit log.
func (s smppSettings) shown() map[string]any {
	c := s.c
	return map[string]any{"enabled": c.Enabled, "allowed_ips": c.AllowedIPs, "max_binds": c.MaxBinds, "throughput": c.Throughput, "window": c.Window,
		"bind_types": s.binds, "require_tls": c.RequireTLS, "receipt_format": s.receipts, "long_mo": c.LongMO, "mo_lifetime_seconds": s.lifetime, "alphabet": c.Alphabet}
}

func bindTypes(c snapshot.SMPPCredential) []string {
	var types []string
	for _, t := range []struct {
		name string
		may  bool
	}{{"receiver", c.Receiver}, {"transmitter", c.Transmitter}, {"transceiver", c.Transceiver}} {
		if t.may || !c.Receiver && !c.Transmitter && !c.Transceiver {
			types = append(types, t.name)
		}
	}
	return types
}

const updateSMPPEnabled = `
update smpp_credentials
set enabled = $2, updated_at = now()
where id = $1 and deleted_at is null`

// SetSMPPEnabled lets an SMPP credential bind, or no longer: its sessions are
// unbound within seconds, and what is owed to them waits for its time.
func (db *DB) SetSMPPEnabled(ctx context.Context, by Actor, id message.ID, enabled bool) error {
	return db.audited(ctx, by, "smpp_credential.enabled", id.String(), map[string]any{"enabled": enabled}, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateSMPPEnabled, id, enabled))
	})
}

const updateSMPPPassword = `
update smpp_credentials
set password_hash = $2, updated_at = now()
where id = $1`

// SetSMPPPassword gives an SMPP credential another password, by its bcrypt hash.
// Sessions of the old one are unbound within seconds.
func (db *DB) SetSMPPPassword(ctx context.Context, by Actor, id message.ID, hash string) error {
	return db.audited(ctx, by, "smpp_credential.regenerate", id.String(), nil, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateSMPPPassword, id, hash))
	})
}

const selectSMPPID = `
select id
from smpp_credentials
where system_id = $1 and deleted_at is null`

// SMPPCredentialID is the id of the credential with the system_id; ReasonNotFound
// when there is none.
func (db *DB) SMPPCredentialID(ctx context.Context, systemID string) (id message.ID, err error) {
	err = db.pool.QueryRow(ctx, selectSMPPID, storable(systemID)).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return id, message.Refuse(message.ReasonNotFound, "there is no system_id %s", systemID)
	}
	if err != nil {
		return id, fmt.Errorf("find system_id %s: %w", systemID, err)
	}
	return id, nil
}

// SMPPState is an SMPP credential without its password, and how many binds of it
// live over all processes.
type SMPPState struct {
	snapshot.SMPPCredential // PasswordHash is empty
	Binds                   int
}

// listSMPPCredentials counts the binds as insertBind does.
//
//	$1 account, null for all
const listSMPPCredentials = `
select c.id, c.account_id, c.vendor_id, c.system_id, c.enabled, c.allowed_ips, c.max_binds, c.throughput, c."window",
  'receiver' = any(c.bind_types), 'transmitter' = any(c.bind_types), 'transceiver' = any(c.bind_types),
  c.require_tls, c.receipt_format = 'text_tlv', c.long_mo, c.mo_lifetime_seconds, c.alphabet,
  (select count(*)
   from smpp_binds b
   where b.credential_id = c.id and b.seen_at > now() - interval '30 seconds')
from smpp_credentials c
where ($1::uuid is null or c.account_id = $1) and c.deleted_at is null
order by c.system_id`

// SMPPCredentials lists the SMPP credentials of an account, those of all for the
// zero id, by system_id.
func (db *DB) SMPPCredentials(ctx context.Context, account message.ID) ([]SMPPState, error) {
	rows, err := db.pool.Query(ctx, listSMPPCredentials, idOrNull(account))
	if err != nil {
		return nil, fmt.Errorf("list SMPP credentials: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c SMPPState, err error) {
		var lifetime int
		var account, vendor *message.ID
		err = row.Scan(&c.ID, &account, &vendor, &c.SystemID, &c.Enabled, &c.AllowedIPs, &c.MaxBinds, &c.Throughput, &c.Window,
			&c.Receiver, &c.Transmitter, &c.Transceiver, &c.RequireTLS, &c.ReceiptTLVs, &c.LongMO, &lifetime, &c.Alphabet, &c.Binds)
		c.AccountID, c.VendorID, c.MOLifetime = orZero(account), orZero(vendor), seconds(lifetime)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("list SMPP credentials: %w", err)
	}
	return list, nil
}
