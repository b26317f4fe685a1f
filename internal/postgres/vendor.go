package postgres

import (
	"context"
	"encoding/json"
	"net/netip"
	"regexp"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const insertVendor = `
insert into vendors (id, instance_name, display_name, provider_type, host, port, username, password, use_tls, tls_ca, tls_server_name,
  bind_type, system_type, throughput, priority, cost_per_sms, cost_per_mms, supports_alphanumeric, supports_unicode, supports_mms, is_active,
  "window", max_binds, id_format, long_message, default_alphabet, code_map, enquire_link_seconds, response_timeout_seconds, receipt_grace_seconds,
  pass_tlvs, base_url, account_sid, messaging_profile_id, signing_keys, tls_client_cert, tls_client_key, source_ton, source_npi, dest_ton, dest_npi,
  addr_ton, addr_npi, address_range, default_coding, receipt_id, receipts_unmarked, outbind_system_id, outbind_password, outbind_allowed_ips,
  media_profile, paused, draining, receipt_percent, receipt_expected_seconds)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16::numeric / 1000000, $17::numeric / 1000000, $18, $19, $20, $21,
  $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44, $45, $46, $47, $48, $49, $50,
  $51, $52, $53, $54, $55)`

// CreateVendor adds an upstream link. Every replica binds to it within
// seconds.
func (db *DB) CreateVendor(ctx context.Context, by Actor, v snapshot.Vendor) error {
	row, err := db.vendorRow(v)
	if err != nil {
		return err
	}
	shown := map[string]any{"instance_name": v.Name, "provider_type": v.ProviderType, "host": v.Host, "port": v.Port}
	return db.audited(ctx, by, "vendor.create", v.ID.String(), shown, func(tx pgx.Tx) error {
		if err := knownProfile(ctx, tx, v.MediaProfile); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, insertVendor, row...)
		return err
	})
}

// vendorRow is a new vendor's columns in the order of insertVendor.
func (db *DB) vendorRow(v snapshot.Vendor) ([]any, error) {
	if v.CodeMap == nil {
		v.CodeMap = map[string]message.Reason{}
	}
	codes, err := json.Marshal(v.CodeMap)
	if err != nil {
		return nil, err
	}
	sealed := db.sealVendor(v)
	return []any{v.ID, v.Name, v.DisplayName, orElse(v.ProviderType, "smpp"), v.Host, v.Port, v.Username, sealed.password,
		v.UseTLS, v.TLSCA, v.ServerName, orElse(v.BindType, "transceiver"), v.SystemType, v.Throughput, v.Priority, int64(v.CostPerSMS), int64(v.CostPerMMS),
		v.SupportsAlphanumeric, v.SupportsUnicode, v.SupportsMMS, v.Active, orElse(v.Window, 10), orElse(v.MaxBinds, 1),
		orElse(v.IDFormat, "same"), orElse(v.LongMessage, "udh"), orElse(v.DefaultAlphabet, "gsm7"), string(codes),
		wholeSeconds(v.EnquireLink, 30), wholeSeconds(v.ResponseTimeout, 30), wholeSeconds(v.ReceiptGrace, 900), append([]uint16{}, v.PassTLVs...),
		v.BaseURL, v.AccountSID, v.MessagingProfileID, sealed.signing, v.ClientCert, sealed.clientKey,
		octet(v.SourceTON), octet(v.SourceNPI), octet(v.DestTON), octet(v.DestNPI), int16(v.AddressTON), int16(v.AddressNPI), v.AddressRange,
		int16(v.DefaultCoding), orElse(v.ReceiptID, "auto"), v.ReceiptsUnmarked, v.OutbindSystemID, sealed.outbind, append([]netip.Prefix{}, v.OutbindAllowed...),
		v.MediaProfile, v.Paused, v.Draining, v.ReceiptPercent, wholeSeconds(v.ReceiptExpected, 300)}, nil
}

// sealVendor seals what of a vendor is secret. What is empty is not set, but for the
// password.
func (db *DB) sealVendor(v snapshot.Vendor) vendorSecrets {
	out := vendorSecrets{password: db.sealer.Seal([]byte(v.Password), v.ID[:]), signing: [][]byte{}}
	if v.ClientKey != "" {
		out.clientKey = db.sealer.Seal([]byte(v.ClientKey), clientKeyPlace(v.ID))
	}
	if v.OutbindPassword != "" {
		out.outbind = db.sealer.Seal([]byte(v.OutbindPassword), outbindPlace(v.ID))
	}
	for _, key := range v.SigningKeys {
		out.signing = append(out.signing, db.sealer.Seal([]byte(key), signingKeyPlace(v.ID)))
	}
	return out
}

// octet is a value for a column of octets, null for nil.
func octet(b *byte) *int16 {
	if b == nil {
		return nil
	}
	n := int16(*b)
	return &n
}

const insertRoute = `
insert into routing_rules (priority, dest_pattern, source_pattern, vendor_id, account_id, message_type, rate_per_msg, weight,
  name, message_class, capability, selection, max_cost, sticky, days, from_minute, until_minute, time_zone, effective_from, effective_until)
values ($1, nullif($2, ''), nullif($3, ''), $4, $5, nullif($6, ''), $7::numeric / 1000000, $8,
  $9, nullif($10, ''), nullif($11, ''), $12, nullif($13::numeric, 0) / 1000000, $14, $15, $16, $17, $18, $19, $20)
returning id`

// everyDay is all bits of a route's days.
const everyDay = 127

// CreateRoute adds a routing rule; the patterns are RE2 on digits without the
// plus sign, empty for any. It returns the rule's number.
func (db *DB) CreateRoute(ctx context.Context, by Actor, r snapshot.Route) (int64, error) {
	dest, source, zone := patternOf(r.DestPattern), patternOf(r.SourcePattern), "UTC"
	if r.Zone != nil {
		zone = r.Zone.String()
	}
	var id int64
	shown := map[string]any{"priority": r.Priority, "dest_pattern": dest, "source_pattern": source, "vendor_id": r.VendorID}
	err := db.audited(ctx, by, "route.create", dest, shown, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, insertRoute, r.Priority, dest, source, r.VendorID, idOrNull(r.AccountID), string(r.MessageType), int64(r.RatePerMsg), orElse(r.Weight, 1),
			r.Name, string(r.Class), r.Capability, orElse(r.Selection, "weighted"), int64(r.MaxCost), r.Sticky, int16(orElse(r.Days, everyDay)), r.FromMinute, r.UntilMinute,
			zone, timeOrNull(r.EffectiveFrom), timeOrNull(r.EffectiveUntil)).Scan(&id)
	})
	return id, err
}

// patternOf is a pattern as it is written, empty for none.
func patternOf(r *regexp.Regexp) string {
	if r == nil {
		return ""
	}
	return r.String()
}

const updateVendorAddress = `
update vendors
set host = $2, port = $3
where id = $1 and (host, port) is distinct from ($2, $3)`

// SetVendorAddress moves a vendor to another host and port. Its links are made
// anew within seconds; the same address again changes nothing.
func (db *DB) SetVendorAddress(ctx context.Context, by Actor, id message.ID, host string, port int) error {
	return db.audited(ctx, by, "vendor.address", id.String(), map[string]any{"host": host, "port": port}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, updateVendorAddress, id, host, port)
		return err
	})
}
