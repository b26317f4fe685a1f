package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const mm4PeerStateColumns = mm4PeerColumns + `,
  created_at, updated_at, (select count(*) from mm4_mails m where m.peer_id = p.id and m.state = 'pending')`

const selectMM4PeerStates = `select` + mm4PeerStateColumns + `
from mm4_peers p
where ($1::uuid is null or id < $1)
  and ($2::uuid is null or account_id = $2)
  and ($3::uuid is null or vendor_id = $3)
order by id desc
limit $4`

const selectMM4PeerState = `select` + mm4PeerStateColumns + `
from mm4_peers p
where id = $1`

func (db *DB) scanMM4PeerState(row pgx.CollectableRow) (p snapshot.MM4PeerState, err error) {
	err = db.scanMM4Peer(row, &p.MM4Peer, &p.CreatedAt, &p.UpdatedAt, &p.Pending)
	p.Broken, err = brokenness(err)
	return p, err
}

// MM4Peers lists peers of MM4 with their secrets, newest first: at most limit, older
// than the one `before` when that is not zero.
func (db *DB) MM4Peers(ctx context.Context, f snapshot.MM4PeerFilter, before message.ID, limit int) ([]snapshot.MM4PeerState, error) {
	rows, err := db.pool.Query(ctx, selectMM4PeerStates, idOrNull(before), idOrNull(f.AccountID), idOrNull(f.VendorID), limit)
	if err != nil {
		return nil, fmt.Errorf("list MM4 peers: %w", err)
	}
	return pgx.CollectRows(rows, db.scanMM4PeerState)
}

// MM4Peer reads a peer with its secrets. ReasonNotFound when there is none.
func (db *DB) MM4Peer(ctx context.Context, id message.ID) (snapshot.MM4PeerState, error) {
	return db.oneMM4Peer(ctx, db.pool, selectMM4PeerState, id)
}

func (db *DB) oneMM4Peer(ctx context.Context, q querier, sql string, id message.ID) (snapshot.MM4PeerState, error) {
	rows, err := q.Query(ctx, sql, id)
	if err != nil {
		return snapshot.MM4PeerState{}, fmt.Errorf("read MM4 peer %s: %w", id, err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, db.scanMM4PeerState)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, message.Refuse(message.ReasonNotFound, "there is no MM4 peer %s", id)
	}
	if err != nil {
		return p, fmt.Errorf("read MM4 peer %s: %w", id, err)
	}
	return p, nil
}

const selectMM4PeerNamed = `
select id
from mm4_peers
where name = $1`

// MM4PeerNamed finds a peer by its name. ReasonNotFound when there is none.
func (db *DB) MM4PeerNamed(ctx context.Context, name string) (message.ID, error) {
	var id message.ID
	err := db.pool.QueryRow(ctx, selectMM4PeerNamed, storable(name)).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return id, message.Refuse(message.ReasonNotFound, "there is no MM4 peer %q", name)
	}
	if err != nil {
		return id, fmt.Errorf("read MM4 peer %q: %w", name, err)
	}
	return id, nil
}

// lockMM4Peers lets one change at a time look at all peers.
const lockMM4Peers = `
lock table mm4_peers in share row exclusive mode`

const selectOtherMM4Peers = `select` + mm4PeerColumns + `
from mm4_peers
where enabled and id <> $1
order by name`

const selectProviderType = `
select provider_type
from vendors
where id = $1`

// ofMM4Vendor refuses a vendor of another kind: what its peer sends would be nobody's.
func ofMM4Vendor(ctx context.Context, tx pgx.Tx, vendor message.ID) error {
	if vendor == (message.ID{}) {
		return nil
	}
	var kind string
	err := tx.QueryRow(ctx, selectProviderType, vendor).Scan(&kind)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return message.Refuse(message.ReasonNotFound, "there is no vendor %s", vendor)
	case err == nil && kind != message.ProviderMM4:
		return message.Refuse(message.ReasonConflict, "the vendor is one of the kind %s; a peer of MM4 is for those of the kind mm4", kind)
	}
	return err
}

const insertMM4Peer = `
insert into mm4_peers (
  id, account_id, vendor_id, name, enabled, addresses, mail_domains, require_tls, username, password_hash,
  max_size, max_sessions, max_recipients, rate, host, port, mx, tls, tls_ca, tls_server_name, send_username, send_password,
  domain, system_user, mms_version, mo_lifetime_seconds, data_seconds)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)`

// The password is written only when it changes, so that it is not sealed anew for nothing.
const updateMM4Peer = `
update mm4_peers
set enabled = $5, addresses = $6, mail_domains = $7, require_tls = $8, username = $9, password_hash = $10,
    max_size = $11, max_sessions = $12, max_recipients = $13, rate = $14, host = $15, port = $16, mx = $17, tls = $18, tls_ca = $19,
    tls_server_name = $20, send_username = $21, send_password = case when $28 then $22 else send_password end,
    domain = $23, system_user = $24, mms_version = $25, mo_lifetime_seconds = $26, data_seconds = $27, updated_at = now()
where id = $1 and account_id is not distinct from $2 and vendor_id is not distinct from $3 and name = $4`

func (db *DB) mm4PeerRow(p snapshot.MM4Peer) []any {
	var sealed []byte
	if p.SendPassword != "" {
		sealed = db.sealer.Seal([]byte(p.SendPassword), p.ID[:])
	}
	return []any{p.ID, idOrNull(p.AccountID), idOrNull(p.VendorID), p.Name, p.Enabled, append([]netip.Prefix{}, p.Addresses...), append([]string{}, p.MailDomains...),
		p.RequireTLS, p.Username, p.PasswordHash, p.MaxSize, p.MaxSessions, p.MaxRecipients, p.Rate, p.Host, p.Port, p.MX, p.TLS, p.TLSCA, p.ServerName,
		p.SendUsername, sealed, p.Domain, p.SystemUser, p.Version, wholeSeconds(p.MOLifetime, 259_200), wholeSeconds(p.DataTime, 900)}
}

// CreateMM4Peer adds a peer of an account or of a vendor, all or nothing. ReasonConflict
// for a name that is taken, and for a peer that could not be told from another one;
// ReasonNotFound for an account or vendor that is not there.
func (db *DB) CreateMM4Peer(ctx context.Context, by Actor, p snapshot.MM4Peer) (snapshot.MM4PeerState, error) {
	var made snapshot.MM4PeerState
	shown := shownMM4Peer(p)
	err := db.audited(ctx, by, "mm4_peer.create", p.ID.String(), shown, func(tx pgx.Tx) (err error) {
		if err := ofMM4Vendor(ctx, tx, p.VendorID); err != nil {
			return err
		}
		if err := db.distinctMM4Peer(ctx, tx, p); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertMM4Peer, db.mm4PeerRow(p)...); err != nil {
			return mm4PeerFault(err, p)
		}
		made, err = db.oneMM4Peer(ctx, tx, selectMM4PeerState, p.ID)
		return err
	})
	return made, err
}

// distinctMM4Peer refuses a peer that, once enabled, could not be told from another one.
// No two changes look at the same time.
func (db *DB) distinctMM4Peer(ctx context.Context, tx pgx.Tx, p snapshot.MM4Peer) error {
	if _, err := tx.Exec(ctx, lockMM4Peers); err != nil || !p.Enabled {
		return err
	}
	rows, err := tx.Query(ctx, selectOtherMM4Peers, p.ID)
	if err != nil {
		return err
	}
	others, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o snapshot.MM4Peer, err error) {
		if err = db.scanMM4Peer(row, &o); isBroken(err) { // its password is no matter here
			err = nil
		}
		return o, err
	})
	if err != nil {
		return err
	}
	for _, o := range others {
		if why := p.Confused(&o); why != "" {
			return message.Refuse(message.ReasonConflict, "the peer could not be told from %s: %s", o.Name, why)
		}
	}
	return nil
}

// mm4PeerFault puts the database's refusals in words.
func mm4PeerFault(err error, p snapshot.MM4Peer) error {
	switch sqlState(err) {
	case uniqueViolation:
		return message.Because(message.ReasonConflict, err, "there is an MM4 peer %q already", p.Name)
	case foreignKeyViolation:
		return message.Because(message.ReasonNotFound, err, "there is no such account or vendor")
	}
	return err
}

// UpdateMM4Peer has change make a peer into what it is to be, and stores that. The name,
// and whose it is, stay. It returns the peer as it is then. ReasonConflict as for
// CreateMM4Peer.
func (db *DB) UpdateMM4Peer(ctx context.Context, by Actor, id message.ID, change func(*snapshot.MM4PeerState) error) (snapshot.MM4PeerState, error) {
	var p snapshot.MM4PeerState
	before, after := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, "mm4_peer.update", id.String(), before, after, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockMM4Peers); err != nil {
			return err
		}
		was, err := db.oneMM4Peer(ctx, tx, selectMM4PeerState, id)
		if err != nil {
			return err
		}
		p = was
		if err := change(&p); err != nil {
			return err
		}
		p.ID, p.Name, p.AccountID, p.VendorID = was.ID, was.Name, was.AccountID, was.VendorID
		if err := db.distinctMM4Peer(ctx, tx, p.MM4Peer); err != nil {
			return err
		}
		secret := p.SendPassword != was.SendPassword
		if err := exactlyOne(tx.Exec(ctx, updateMM4Peer, append(db.mm4PeerRow(p.MM4Peer), secret)...)); err != nil {
			return err
		}
		differences(shownMM4Peer(was.MM4Peer), shownMM4Peer(p.MM4Peer), before, after)
		if secret {
			after["send_password"] = "changed"
		}
		if p.PasswordHash != was.PasswordHash {
			after["password"] = "changed"
		}
		p, err = db.oneMM4Peer(ctx, tx, selectMM4PeerState, id)
		return err
	})
	return p, err
}

const deleteMM4Peer = `
delete from mm4_peers
where id = $1`

// DeleteMM4Peer takes a peer away; what is owed to it ends as failed. check looks at it
// first; its error is the answer.
func (db *DB) DeleteMM4Peer(ctx context.Context, by Actor, id message.ID, check func(snapshot.MM4PeerState) error) error {
	before := map[string]any{}
	return db.auditedChange(ctx, by, "mm4_peer.delete", id.String(), before, nil, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockMM4Peers); err != nil {
			return err
		}
		p, err := db.oneMM4Peer(ctx, tx, selectMM4PeerState, id)
		if err == nil {
			err = check(p)
		}
		if err != nil {
			return err
		}
		maps.Copy(before, shownMM4Peer(p.MM4Peer))
		return exactlyOne(tx.Exec(ctx, deleteMM4Peer, id))
	})
}

// shownMM4Peer is a peer in the audit log: nothing secret.
func shownMM4Peer(p snapshot.MM4Peer) map[string]any {
	shown := map[string]any{"name": p.Name, "enabled": p.Enabled, "addresses": p.Addresses, "mail_domains": p.MailDomains, "require_tls": p.RequireTLS,
		"username": p.Username, "max_size": p.MaxSize, "max_sessions": p.MaxSessions, "max_recipients": p.MaxRecipients, "rate": p.Rate, "host": p.Host, "port": p.Port,
		"mx": p.MX, "tls": p.TLS, "tls_ca": p.TLSCA, "tls_server_name": p.ServerName, "send_username": p.SendUsername, "domain": p.Domain,
		"system_user": p.SystemUser, "mms_version": p.Version, "mo_lifetime_seconds": int(p.MOLifetime / time.Second),
		"data_seconds": int(p.DataTime / time.Second)}
	for name, id := range map[string]message.ID{"account_id": p.AccountID, "vendor_id": p.VendorID} {
		if id != (message.ID{}) {
			shown[name] = id
		}
	}
	return shown
}
