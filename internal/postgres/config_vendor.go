package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

const vendorColumns = `
  id, instance_name, display_name, provider_type, is_active, version, host, port, username, password, use_tls, tls_ca,
  tls_server_name, bind_type, system_type, throughput, priority, (cost_per_sms * 1000000)::bigint, (cost_per_mms * 1000000)::bigint, "window", max_binds,
  supports_alphanumeric, supports_unicode, supports_mms, id_format, long_message, default_alphabet, code_map,
  enquire_link_seconds, response_timeout_seconds, receipt_grace_seconds, pass_tlvs,
  base_url, account_sid, messaging_profile_id, signing_keys, tls_client_cert, tls_client_key,
  source_ton, source_npi, dest_ton, dest_npi, addr_ton, addr_npi, address_range,
  default_coding, receipt_id, receipts_unmarked, outbind_system_id, outbind_password, outbind_allowed_ips,
  media_profile, paused, draining, receipt_percent, receipt_expected_seconds`

const selectVendors = `select` + vendorColumns + `
from vendors`

func (db *DB) loadVendors(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	s.Vendors = map[message.ID]*snapshot.Vendor{}
	return each(ctx, tx, selectVendors, func(row pgx.CollectableRow) error {
		v := &snapshot.Vendor{}
		if out, err := leftOut(s, "vendors", db.scanVendor(row, v)); out || err != nil {
			return err
		}
		s.Vendors[v.ID] = v
		return nil
	})
}

// brokenRow is a row of the configuration that can be read and not used. It is left out
// of a snapshot; the rest of the configuration counts all the same.
type brokenRow struct{ err error }

func (e *brokenRow) Error() string { return e.err.Error() }
func (e *brokenRow) Unwrap() error { return e.err }

func broken(format string, args ...any) error { return &brokenRow{fmt.Errorf(format, args...)} }

// isBroken reports whether an error tells of a broken row. What is sealed with a key that
// this process does not have is no fault of the row: it stops the whole snapshot, for
// without the vendor its messages would be rejected.
func isBroken(err error) bool {
	return errors.As(err, new(*brokenRow)) && !errors.Is(err, secret.ErrUnknownKey)
}

// leftOut notes the problem with a row that is broken, and reports whether it is.
func leftOut(s *snapshot.Snapshot, table string, err error) (bool, error) {
	if !isBroken(err) {
		return false, err
	}
	s.Problem(table, "%v", err)
	return true, nil
}

// scanVendor reads the vendorColumns, and those that stand behind them into more. With
// an error that is a brokenRow everything is read that can be.
func (db *DB) scanVendor(row pgx.CollectableRow, v *snapshot.Vendor, more ...any) error {
	var codes []byte
	var secrets vendorSecrets
	var enquire, response, grace, expected int
	err := row.Scan(append([]any{&v.ID, &v.Name, &v.DisplayName, &v.ProviderType, &v.Active, &v.Version, &v.Host, &v.Port, &v.Username, &secrets.password,
		&v.UseTLS, &v.TLSCA, &v.ServerName, &v.BindType, &v.SystemType, &v.Throughput, &v.Priority, &v.CostPerSMS, &v.CostPerMMS, &v.Window, &v.MaxBinds,
		&v.SupportsAlphanumeric, &v.SupportsUnicode, &v.SupportsMMS, &v.IDFormat, &v.LongMessage, &v.DefaultAlphabet, &codes,
		&enquire, &response, &grace, &v.PassTLVs,
		&v.BaseURL, &v.AccountSID, &v.MessagingProfileID, &secrets.signing, &v.ClientCert, &secrets.clientKey,
		&v.SourceTON, &v.SourceNPI, &v.DestTON, &v.DestNPI, &v.AddressTON, &v.AddressNPI, &v.AddressRange,
		&v.DefaultCoding, &v.ReceiptID, &v.ReceiptsUnmarked, &v.OutbindSystemID, &secrets.outbind, &v.OutbindAllowed,
		&v.MediaProfile, &v.Paused, &v.Draining, &v.ReceiptPercent, &expected}, more...)...)
	if err != nil {
		return fmt.Errorf("read vendors: %w", err)
	}
	v.EnquireLink, v.ResponseTimeout, v.ReceiptGrace, v.ReceiptExpected = seconds(enquire), seconds(response), seconds(grace), seconds(expected)
	if err := json.Unmarshal(codes, &v.CodeMap); err != nil {
		return errors.Join(broken("code_map of vendor %s: %w", v.Name, err), db.openVendor(v, secrets))
	}
	return db.openVendor(v, secrets)
}

// vendorSecrets are the sealed columns of a vendor; nil: not set.
type vendorSecrets struct {
	password, clientKey, outbind []byte
	signing                      [][]byte
}

// The places that a vendor's sealed columns are bound to, beside the password, whose
// place is the row's id alone.
func clientKeyPlace(id message.ID) []byte  { return append(id[:], "tls_client_key"...) }
func outbindPlace(id message.ID) []byte    { return append(id[:], "outbind_password"...) }
func signingKeyPlace(id message.ID) []byte { return append(id[:], "signing_key"...) }

// openVendor opens those that can be opened.
func (db *DB) openVendor(v *snapshot.Vendor, in vendorSecrets) (failed error) {
	for _, c := range []struct {
		name   string
		sealed []byte
		place  []byte
		to     *string
	}{
		{"password", in.password, v.ID[:], &v.Password},
		{"tls_client_key", in.clientKey, clientKeyPlace(v.ID), &v.ClientKey},
		{"outbind_password", in.outbind, outbindPlace(v.ID), &v.OutbindPassword},
	} {
		if c.sealed == nil {
			continue
		}
		clear, err := db.sealer.Open(c.sealed, c.place)
		if err != nil {
			failed = errors.Join(failed, broken("%s of vendor %s: %w", c.name, v.Name, err))
			continue
		}
		*c.to = string(clear)
	}
	for _, sealed := range in.signing {
		clear, err := db.sealer.Open(sealed, signingKeyPlace(v.ID))
		if err != nil {
			failed = errors.Join(failed, broken("signing_keys of vendor %s: %w", v.Name, err))
			continue
		}
		v.SigningKeys = append(v.SigningKeys, string(clear))
	}
	return failed
}

const routingColumns = `
  id, priority, dest_pattern, source_pattern, vendor_id, account_id, coalesce(message_type, ''), (rate_per_msg * 1000000)::bigint, weight,
  name, coalesce(message_class, ''), coalesce(capability, ''), selection, coalesce((max_cost * 1000000)::bigint, 0), sticky, days, from_minute, until_minute,
  time_zone, effective_from, effective_until`

const selectRoutes = `select` + routingColumns + `
from routing_rules
where is_active`

func loadRoutes(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	zones := map[string]*time.Location{}
	return each(ctx, tx, selectRoutes, func(row pgx.CollectableRow) error {
		r, err := scanRoute(row, zones)
		if out, err := leftOut(s, "routing_rules", err); out || err != nil {
			return err
		}
		s.Routes = append(s.Routes, r)
		return nil
	})
}

// scanRoute reads the routingColumns, and those that stand behind them into more. What it
// reads of time zones it keeps in zones. With an error that is a brokenRow everything is
// read that can be.
func scanRoute(row pgx.CollectableRow, zones map[string]*time.Location, more ...any) (r snapshot.Route, err error) {
	var dest, source *string
	var account *message.ID
	var zone string
	var from, until *time.Time
	if err := row.Scan(append([]any{&r.ID, &r.Priority, &dest, &source, &r.VendorID, &account, &r.MessageType, &r.RatePerMsg, &r.Weight,
		&r.Name, &r.Class, &r.Capability, &r.Selection, &r.MaxCost, &r.Sticky, &r.Days, &r.FromMinute, &r.UntilMinute,
		&zone, &from, &until}, more...)...); err != nil {
		return r, fmt.Errorf("read routes: %w", err)
	}
	r.EffectiveFrom, r.EffectiveUntil, r.AccountID = orZero(from), orZero(until), orZero(account)
	if r.DestPattern, err = compile(dest); err != nil {
		return r, broken("dest_pattern of route %d: %w", r.ID, err)
	}
	if r.SourcePattern, err = compile(source); err != nil {
		return r, broken("source_pattern of route %d: %w", r.ID, err)
	}
	if zones[zone] == nil {
		if zones[zone], err = time.LoadLocation(zone); err != nil {
			return r, broken("time_zone of route %d: %w", r.ID, err)
		}
	}
	r.Zone = zones[zone]
	return r, nil
}

func compile(pattern *string) (*regexp.Regexp, error) {
	if pattern == nil || *pattern == "" {
		return nil, nil
	}
	return regexp.Compile(*pattern)
}
