package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const vendorStateColumns = vendorColumns + `,
  vendor_replies, restarts, health_status, last_bind_time, draining_since, created_at, updated_at`

const selectVendorStates = `select` + vendorStateColumns + `
from vendors
where ($1::uuid is null or id < $1)
  and ($2::text = '' or provider_type = $2)
  and (not $3 or is_active)
order by id desc
limit $4`

const selectVendorState = `select` + vendorStateColumns + `
from vendors
where id = $1`

func (db *DB) scanVendorState(row pgx.CollectableRow) (snapshot.VendorState, error) {
	var v snapshot.VendorState
	var itself *bool
	var bind, draining *time.Time
	err := db.scanVendor(row, &v.Vendor, &itself, &v.Restarts, &v.Health, &bind, &draining, &v.CreatedAt, &v.UpdatedAt)
	v.Broken, err = brokenness(err)
	v.LastBind, v.DrainingSince = orZero(bind), orZero(draining)
	if itself != nil {
		v.Replies = snapshot.RepliesGateway
		if *itself {
			v.Replies = snapshot.RepliesVendor
		}
	}
	return v, err
}

// brokenness is what is wrong with a row that staff are to mend.
func brokenness(err error) (string, error) {
	if isBroken(err) {
		return err.Error(), nil
	}
	return "", err
}

// Vendors lists vendors with their secrets, newest first: at most limit, older than the
// one `before` when that is not zero.
func (db *DB) Vendors(ctx context.Context, f snapshot.VendorFilter, before message.ID, limit int) ([]snapshot.VendorState, error) {
	rows, err := db.pool.Query(ctx, selectVendorStates, idOrNull(before), f.ProviderType, f.Active, limit)
	if err != nil {
		return nil, fmt.Errorf("list vendors: %w", err)
	}
	return pgx.CollectRows(rows, db.scanVendorState)
}

// Vendor reads a vendor with its secrets. ReasonNotFound when there is none.
func (db *DB) Vendor(ctx context.Context, id message.ID) (snapshot.VendorState, error) {
	return db.oneVendor(ctx, db.pool, selectVendorState, id)
}

func (db *DB) oneVendor(ctx context.Context, q querier, sql string, id message.ID) (snapshot.VendorState, error) {
	rows, err := q.Query(ctx, sql, id)
	if err != nil {
		return snapshot.VendorState{}, fmt.Errorf("read vendor %s: %w", id, err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, db.scanVendorState)
	if errors.Is(err, pgx.ErrNoRows) {
		return v, message.Refuse(message.ReasonNotFound, "there is no vendor %s", id)
	}
	if err != nil {
		return v, fmt.Errorf("read vendor %s: %w", id, err)
	}
	return v, nil
}

const selectVendorNamed = `
select id
from vendors
where instance_name = $1`

// VendorNamed finds a vendor by its name. ReasonNotFound when there is none.
func (db *DB) VendorNamed(ctx context.Context, name string) (message.ID, error) {
	var id message.ID
	err := db.pool.QueryRow(ctx, selectVendorNamed, withoutNUL(name)).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return id, message.Refuse(message.ReasonNotFound, "there is no vendor %q", name)
	}
	if err != nil {
		return id, fmt.Errorf("read vendor %q: %w", name, err)
	}
	return id, nil
}

// AddVendor is CreateVendor that says what is wrong in the words of staff:
// ReasonConflict when there is a vendor of that name, ReasonInvalidRequest for a media
// profile that nobody knows.
func (db *DB) AddVendor(ctx context.Context, by Actor, v snapshot.Vendor) (snapshot.VendorState, error) {
	row, err := db.vendorRow(v)
	if err != nil {
		return snapshot.VendorState{}, err
	}
	var made snapshot.VendorState
	err = db.audited(ctx, by, "vendor.create", v.ID.String(), shownVendor(snapshot.VendorState{Vendor: v}), func(tx pgx.Tx) error {
		if err := knownProfile(ctx, tx, v.MediaProfile); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertVendor, row...); err != nil {
			return vendorFault(err, v.Name)
		}
		if _, err := tx.Exec(ctx, updateVendorReplies, v.Name, repliesColumn(v.Replies)); err != nil {
			return err
		}
		made, err = db.oneVendor(ctx, tx, selectVendorState, v.ID)
		return err
	})
	return made, err
}

// vendorFault puts the database's refusals in words.
func vendorFault(err error, name string) error {
	switch sqlState(err) {
	case uniqueViolation:
		return message.Refuse(message.ReasonConflict, "there is a vendor %q already", name)
	case foreignKeyViolation:
		return message.Refuse(message.ReasonConflict, "something still names the vendor %s", name)
	}
	return err
}

const lockVendor = selectVendorState + `
for update`

// The secrets are written only when they change: sealed anew they would look changed,
// and the vendor's links would be made anew for nothing.
const updateVendor = `
update vendors
set display_name = $2, host = $3, port = $4, username = $5, use_tls = $6, tls_ca = $7, tls_server_name = $8, bind_type = $9, system_type = $10,
    throughput = $11, priority = $12, cost_per_sms = $13::numeric / 1000000, cost_per_mms = $14::numeric / 1000000, supports_alphanumeric = $15,
    supports_unicode = $16, supports_mms = $17, is_active = $18, "window" = $19, max_binds = $20, id_format = $21, long_message = $22,
    default_alphabet = $23, code_map = $24, enquire_link_seconds = $25, response_timeout_seconds = $26, receipt_grace_seconds = $27, pass_tlvs = $28,
    base_url = $29, account_sid = $30, messaging_profile_id = $31, tls_client_cert = $32, source_ton = $33, source_npi = $34, dest_ton = $35,
    dest_npi = $36, addr_ton = $37, addr_npi = $38, address_range = $39, default_coding = $40, receipt_id = $41, receipts_unmarked = $42,
    outbind_system_id = $43, outbind_allowed_ips = $44, media_profile = $45, paused = $46, draining = $47, receipt_percent = $48,
    receipt_expected_seconds = $49, vendor_replies = $50, restarts = $51,
    password = case when $52 then $53 else password end,
    signing_keys = case when $54 then $55 else signing_keys end,
    tls_client_key = case when $56 then $57 else tls_client_key end,
    outbind_password = case when $58 then $59 else outbind_password end
where id = $1`

// ChangeVendor has change make a vendor into what it is to be, and stores that. The
// name, the kind and the id stay. It returns the vendor as it is then. ReasonConflict
// for the vendor that stands for the gateway itself, ReasonInvalidRequest for a media
// profile that nobody knows.
func (db *DB) ChangeVendor(ctx context.Context, by Actor, id message.ID, action string, change func(*snapshot.VendorState) error) (snapshot.VendorState, error) {
	var v snapshot.VendorState
	before, after := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, action, id.String(), before, after, func(tx pgx.Tx) error {
		was, err := db.lockedVendor(ctx, tx, id)
		if err != nil {
			return err
		}
		v = was
		if err := change(&v); err != nil {
			return err
		}
		v.ID, v.Name, v.ProviderType = was.ID, was.Name, was.ProviderType
		// One from before this was looked at stays, so that the rest can be changed.
		if v.MediaProfile != was.MediaProfile {
			if err := knownProfile(ctx, tx, v.MediaProfile); err != nil {
				return err
			}
		}
		if err := db.writeVendor(ctx, tx, was, v); err != nil {
			return vendorFault(err, was.Name)
		}
		differences(shownVendor(was), shownVendor(v), before, after)
		secretsChanged(was.Vendor, v.Vendor, after)
		v, err = db.oneVendor(ctx, tx, selectVendorState, id)
		return err
	})
	return v, err
}

// lockedVendor reads a vendor that is to be changed.
func (db *DB) lockedVendor(ctx context.Context, tx pgx.Tx, id message.ID) (snapshot.VendorState, error) {
	v, err := db.oneVendor(ctx, tx, lockVendor, id)
	if err == nil && v.ProviderType == message.ProviderInternal {
		err = message.Refuse(message.ReasonConflict, "the vendor %s is the gateway itself: it cannot be changed", v.Name)
	}
	return v, err
}

func (db *DB) writeVendor(ctx context.Context, tx pgx.Tx, was, v snapshot.VendorState) error {
	if v.CodeMap == nil {
		v.CodeMap = map[string]message.Reason{}
	}
	codes, err := json.Marshal(v.CodeMap)
	if err != nil {
		return err
	}
	sealed := db.sealVendor(v.Vendor)
	return exactlyOne(tx.Exec(ctx, updateVendor, v.ID, v.DisplayName, v.Host, v.Port, v.Username, v.UseTLS, v.TLSCA, v.ServerName, v.BindType, v.SystemType,
		v.Throughput, v.Priority, int64(v.CostPerSMS), int64(v.CostPerMMS), v.SupportsAlphanumeric,
		v.SupportsUnicode, v.SupportsMMS, v.Active, v.Window, v.MaxBinds, v.IDFormat, v.LongMessage,
		v.DefaultAlphabet, string(codes), wholeSeconds(v.EnquireLink, 30), wholeSeconds(v.ResponseTimeout, 30), wholeSeconds(v.ReceiptGrace, 0), append([]uint16{}, v.PassTLVs...),
		v.BaseURL, v.AccountSID, v.MessagingProfileID, v.ClientCert, octet(v.SourceTON), octet(v.SourceNPI), octet(v.DestTON),
		octet(v.DestNPI), int16(v.AddressTON), int16(v.AddressNPI), v.AddressRange, int16(v.DefaultCoding), v.ReceiptID, v.ReceiptsUnmarked,
		v.OutbindSystemID, append([]netip.Prefix{}, v.OutbindAllowed...), v.MediaProfile, v.Paused, v.Draining, v.ReceiptPercent,
		wholeSeconds(v.ReceiptExpected, 300), repliesColumn(v.Replies), v.Restarts,
		v.Password != was.Password, sealed.password,
		!slices.Equal(v.SigningKeys, was.SigningKeys), sealed.signing,
		v.ClientKey != was.ClientKey, sealed.clientKey,
		v.OutbindPassword != was.OutbindPassword, sealed.outbind))
}

// shownVendor is a vendor in the audit log: nothing secret.
func shownVendor(v snapshot.VendorState) map[string]any {
	return map[string]any{"instance_name": v.Name, "provider_type": v.ProviderType, "display_name": v.DisplayName, "is_active": v.Active, "host": v.Host, "port": v.Port,
		"username": v.Username, "use_tls": v.UseTLS, "tls_ca": v.TLSCA, "tls_server_name": v.ServerName, "tls_client_cert": v.ClientCert,
		"bind_type": v.BindType, "system_type": v.SystemType, "throughput": v.Throughput, "max_binds": v.MaxBinds, "window": v.Window, "priority": v.Priority,
		"cost_per_sms": v.CostPerSMS.String(), "cost_per_mms": v.CostPerMMS.String(), "supports_alphanumeric": v.SupportsAlphanumeric,
		"supports_unicode": v.SupportsUnicode, "supports_mms": v.SupportsMMS, "id_format": v.IDFormat, "long_message": v.LongMessage,
		"default_alphabet": v.DefaultAlphabet, "default_coding": v.DefaultCoding, "code_map": v.CodeMap, "pass_tlvs": v.PassTLVs,
		"enquire_link_seconds": int(v.EnquireLink.Seconds()), "response_timeout_seconds": int(v.ResponseTimeout.Seconds()),
		"receipt_grace_seconds": int(v.ReceiptGrace.Seconds()), "receipt_percent": v.ReceiptPercent, "receipt_expected_seconds": int(v.ReceiptExpected.Seconds()),
		"base_url": v.BaseURL, "account_sid": v.AccountSID, "messaging_profile_id": v.MessagingProfileID, "source_ton": v.SourceTON, "source_npi": v.SourceNPI,
		"dest_ton": v.DestTON, "dest_npi": v.DestNPI, "addr_ton": v.AddressTON, "addr_npi": v.AddressNPI, "address_range": v.AddressRange,
		"receipt_id": v.ReceiptID, "receipts_unmarked": v.ReceiptsUnmarked, "outbind_system_id": v.OutbindSystemID, "outbind_allowed_ips": v.OutbindAllowed,
		"media_profile": v.MediaProfile, "vendor_replies": v.Replies, "paused": v.Paused, "draining": v.Draining, "restarts": v.Restarts}
}

// differences keeps what is not the same in both.
func differences(was, is, before, after map[string]any) {
	for name, v := range is {
		if !reflect.DeepEqual(was[name], v) {
			before[name], after[name] = was[name], v
		}
	}
}

// secretsChanged says which secrets changed, and nothing of them.
func secretsChanged(was, is snapshot.Vendor, after map[string]any) {
	for name, changed := range map[string]bool{"password": was.Password != is.Password, "tls_client_key": was.ClientKey != is.ClientKey,
		"outbind_password": was.OutbindPassword != is.OutbindPassword, "signing_keys": !slices.Equal(was.SigningKeys, is.SigningKeys)} {
		if changed {
			after[name] = "changed"
		}
	}
}

// $1 vendor  $2 how far to count
const countWaiting = `
select count(*)
from (
  select
  from backlog b
  join messages m on m.id = b.message_id
  where m.vendor_id = $1
    and not exists (select from holds h where h.message_id = b.message_id)
  limit $2
) waiting`

const countInDoubt = `
select count(*)
from (
  select
  from segments
  where vendor_id = $1 and doubted and state = 'in_doubt'
  limit $2
) doubt`

const selectRoutesOf = `
select id
from routing_rules
where vendor_id = $1
order by id`

const countNumbersOf = `
select count(*)
from numbers
where vendor_id = $1`

// hadMessages looks at the ids that the vendor gave, which have an index.
const hadMessages = `
select exists (select from segments where vendor_id = $1 and normalized_id is not null)`

const drainedFor = `
select coalesce(extract(epoch from now() - draining_since), 0)::double precision
from vendors
where id = $1`

// knownWithin is how soon every process knows of a change of the configuration.
const knownWithin = 5 * time.Second

// VendorUse tells what stands in the way of a vendor's removal.
func (db *DB) VendorUse(ctx context.Context, id message.ID) (snapshot.VendorUse, error) {
	var use snapshot.VendorUse
	err := pgx.BeginTxFunc(ctx, db.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		v, err := db.oneVendor(ctx, tx, selectVendorState, id)
		if err == nil {
			use, err = vendorUse(ctx, tx, v)
		}
		return err
	})
	return use, err
}

func vendorUse(ctx context.Context, tx pgx.Tx, v snapshot.VendorState) (use snapshot.VendorUse, err error) {
	var had bool
	var drained float64
	for _, q := range []struct {
		sql  string
		args []any
		into any
	}{
		{countWaiting, []any{v.ID, snapshot.MaxWaiting}, &use.Waiting},
		{countInDoubt, []any{v.ID, snapshot.MaxWaiting}, &use.InDoubt},
		{countNumbersOf, []any{v.ID}, &use.Numbers},
		{hadMessages, []any{v.ID}, &had},
		{drainedFor, []any{v.ID}, &drained},
	} {
		if err := tx.QueryRow(ctx, q.sql, q.args...).Scan(q.into); err != nil {
			return use, fmt.Errorf("use of vendor %s: %w", v.ID, err)
		}
	}
	rows, err := tx.Query(ctx, selectRoutesOf, v.ID)
	if err == nil {
		use.Routes, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	}
	if err != nil {
		return use, fmt.Errorf("use of vendor %s: %w", v.ID, err)
	}
	switch {
	case !v.Active: // it has no link: no receipt can come any more
	case had:
		use.Rest = max(knownWithin, v.ReceiptExpected)
	case len(use.Routes)+use.Numbers > 0:
		use.Rest = knownWithin
	}
	use.Rest = max(0, use.Rest-time.Duration(drained*float64(time.Second)))
	return use, nil
}

const deleteRoutesOf = `
delete from routing_rules
where vendor_id = $1`

const freeNumbersOf = `
update numbers
set vendor_id = null, updated_at = now()
where vendor_id = $1`

const deleteVendor = `
delete from vendors
where id = $1`

// RemoveVendor takes a vendor away once nothing is in the way. With drain it begins to
// drain: what waits for it goes to other vendors; its routes and the numbers' mention
// of it go with it at the end. It tells whether it is gone, and what is in the way if
// not; without drain that is ReasonConflict. check looks at the vendor first; its error
// is the answer.
func (db *DB) RemoveVendor(ctx context.Context, by Actor, id message.ID, drain bool, check func(snapshot.VendorState) error) (snapshot.VendorUse, bool, error) {
	if drain {
		if err := db.drainVendor(ctx, by, id, check); err != nil {
			return snapshot.VendorUse{}, false, err
		}
	}
	var use snapshot.VendorUse
	before := map[string]any{}
	err := db.auditedChange(ctx, by, "vendor.delete", id.String(), before, nil, func(tx pgx.Tx) error {
		v, err := db.lockedVendor(ctx, tx, id)
		if err != nil {
			return err
		}
		if !drain { // with drain its state was checked before that changed
			if err := check(v); err != nil {
				return err
			}
		}
		if use, err = vendorUse(ctx, tx, v); err != nil {
			return err
		}
		if use.Waiting+use.InDoubt > 0 || drain && use.Rest > 0 || !drain && len(use.Routes)+use.Numbers > 0 {
			return inUse(v.Name, use)
		}
		maps.Copy(before, shownVendor(v))
		before["routes"], before["numbers"] = use.Routes, use.Numbers
		for _, sql := range []string{deleteRoutesOf, freeNumbersOf} {
			if _, err := tx.Exec(ctx, sql, id); err != nil {
				return err
			}
		}
		return vendorFault(exactlyOne(tx.Exec(ctx, deleteVendor, id)), v.Name)
	})
	if drain && errors.As(err, new(*usedError)) {
		return use, false, nil
	}
	return use, err == nil, err
}

// drainVendor has a vendor drain, if it does not yet.
func (db *DB) drainVendor(ctx context.Context, by Actor, id message.ID, check func(snapshot.VendorState) error) error {
	v, err := db.Vendor(ctx, id)
	if err != nil || v.Draining {
		if err == nil {
			err = check(v)
		}
		return err
	}
	_, err = db.ChangeVendor(ctx, by, id, "vendor.drain", func(v *snapshot.VendorState) error {
		if err := check(*v); err != nil { // as the caller has seen it
			return err
		}
		v.Draining = true
		return nil
	})
	return err
}

// usedError says that a vendor cannot go yet.
type usedError struct{ refusal *message.Error }

func (e *usedError) Error() string { return e.refusal.Error() }
func (e *usedError) Unwrap() error { return e.refusal }

func inUse(name string, use snapshot.VendorUse) error {
	return &usedError{message.Refuse(message.ReasonConflict,
		"the vendor %s is in use: messages waiting %d, parts in doubt %d, routes %d, numbers %d; with drain=true what waits goes to others, and routes and numbers let it go",
		name, use.Waiting, use.InDoubt, len(use.Routes), use.Numbers)}
}

// $1 tables; null: all that the configuration is read from
const restampTables = `
insert into config_tables (name, stamp)
select c.relname, gen_random_uuid()
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
join pg_proc p on p.oid = t.tgfoid
where p.proname = 'config_changed'
  and c.relnamespace = current_schema::regnamespace
  and ($1::text[] is null or c.relname = any($1))
group by c.relname
on conflict (name) do update set stamp = excluded.stamp`

const raiseVersion = `
update config_version
set version = version + 1`

const notifyConfig = `
select pg_notify('config', current_schema)`

// Reread has every process read these tables of the configuration anew, all when none
// is named, although nothing has changed.
func (db *DB) Reread(ctx context.Context, by Actor, tables ...string) error {
	var names []string
	if len(tables) > 0 {
		names = tables
	}
	return db.audited(ctx, by, "config.reload", "", map[string]any{"tables": names}, func(tx pgx.Tx) error {
		// The version first, as the trigger does: who changes the configuration waits here.
		if _, err := tx.Exec(ctx, raiseVersion); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, restampTables, names); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, notifyConfig)
		return err
	})
}
