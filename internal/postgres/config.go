package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/quiet"
	"github.com/postrider/postrider/internal/snapshot"
)

const selectVersion = `
select version
from config_version`

const selectVersionAndClock = `
select version, clock_timestamp()
from config_version`

// ConfigVersion is the number that every change of the configuration raises. As every
// process asks for it every few seconds, it brings the database's time along; see Now.
func (db *DB) ConfigVersion(ctx context.Context) (int64, error) {
	var v int64
	var said time.Time
	asked := time.Now()
	if err := db.pool.QueryRow(ctx, selectVersionAndClock).Scan(&v, &said); err != nil {
		return 0, err
	}
	db.clock.learn(asked, said, time.Now())
	return v, nil
}

// ListenConfig calls changed once at the start and after each notification of a
// changed configuration.
func (db *DB) ListenConfig(ctx context.Context, changed func()) error {
	return db.listen(ctx, listening{channel: "config", began: changed, heard: func(context.Context, *pgx.Conn, string) error {
		changed()
		return nil
	}})
}

// each runs a query and calls row for every row.
func each(ctx context.Context, tx pgx.Tx, sql string, row func(pgx.CollectableRow) error) error {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

const selectAccounts = `
select id, coalesce(external_id, ''), company_name, status, time_zone, default_message_class, delivery, ordered_conversations,
  internal_delivery, smart_encoding, max_parts, content_retention_days, default_country, allowed_source_addresses,
  force_source_address, api_rate_limit, webhook_secret, conversation_hold_seconds, max_backlog,
  smpp_encoding_mismatch_status, smpp_opted_out_status, smpp_max_held, allowed_destinations, api_burst,
  prepaid, exists (select from usage_limits l where l.account_id = accounts.id),
  opt_out_scope,
  quiet_hours, quiet_windows,
  resend_after_seconds, mms_fallback,
  media_transcoding, webhook_old_secret, webhook_old_until
from accounts`

func (db *DB) loadAccounts(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	s.Accounts = map[message.ID]*snapshot.Account{}
	var sealed []byte
	var hold, resend int
	return each(ctx, tx, selectAccounts, func(row pgx.CollectableRow) error {
		a := &snapshot.Account{}
		var windows, old []byte
		var oldUntil *time.Time
		err := row.Scan(&a.ID, &a.ExternalID, &a.CompanyName, &a.Status, &a.TimeZone, &a.DefaultClass, &a.Delivery, &a.OrderedConversations,
			&a.InternalDelivery, &a.SmartEncoding, &a.MaxParts, &a.ContentRetentionDays, &a.DefaultCountry, &a.AllowedSourceAddresses,
			&a.ForceSourceAddress, &a.APIRateLimit, &sealed, &hold, &a.MaxBacklog,
			&a.EncodingMismatchStatus, &a.OptedOutStatus, &a.MaxHeld, &a.AllowedDestinations, &a.APIBurst,
			&a.Prepaid, &a.Limited,
			&a.OptOutScope,
			&a.QuietHours, &windows,
			&resend, &a.MMSFallback,
			&a.MediaTranscoding, &old, &oldUntil)
		if err != nil {
			return fmt.Errorf("read accounts: %w", err)
		}
		if windows != nil {
			// Without them the hours of the recipient's region hold.
			if a.QuietWindows, err = quiet.ParseOverride(windows); err != nil {
				s.Problem("accounts", "quiet_windows of account %s: %v", a.ID, err)
			}
		}
		if a.WebhookSecret, err = db.opened(sealed, a.ID); err != nil {
			return fmt.Errorf("webhook secret of account %s: %w", a.ID, err)
		}
		if old != nil {
			if a.WebhookOldSecret, err = db.opened(old, a.ID); err != nil {
				return fmt.Errorf("old webhook secret of account %s: %w", a.ID, err)
			}
			a.WebhookOldUntil = orZero(oldUntil)
		}
		a.ConversationHold, a.ResendAfter = seconds(hold), seconds(resend)
		s.Accounts[a.ID] = a
		return nil
	})
}

// opened opens an envelope that belongs to the row with the id.
func (db *DB) opened(sealed []byte, id message.ID) (string, error) {
	clear, err := db.sealer.Open(sealed, id[:])
	return string(clear), err
}

const selectCredentials = `
select id, account_id, name, key, secret_hash, previous_secret_hash, previous_until, scopes, allowed_numbers, allowed_ips, rate_limit, burst, expires_at
from api_credentials
where revoked_at is null`

func loadCredentials(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	s.Credentials = map[string]*snapshot.Credential{}
	return each(ctx, tx, selectCredentials, func(row pgx.CollectableRow) error {
		c := &snapshot.Credential{}
		var until, expires *time.Time
		err := row.Scan(&c.ID, &c.AccountID, &c.Name, &c.Key, &c.SecretHash, &c.PreviousSecretHash, &until, &c.Scopes,
			&c.AllowedNumbers, &c.AllowedIPs, &c.RateLimit, &c.Burst, &expires)
		if err != nil {
			return fmt.Errorf("read API credentials: %w", err)
		}
		c.PreviousUntil, c.ExpiresAt = orZero(until), orZero(expires)
		s.Credentials[c.Key] = c
		return nil
	})
}

// selectSMPPCredentials reads disabled ones as well: what is held for them has an
// owner, and their binds are refused by name.
const selectSMPPCredentials = `
select id, account_id, vendor_id, system_id, password_hash, enabled, allowed_ips, max_binds, throughput, "window",
  'receiver' = any(bind_types), 'transmitter' = any(bind_types), 'transceiver' = any(bind_types),
  require_tls, receipt_format = 'text_tlv', long_mo, mo_lifetime_seconds, alphabet
from smpp_credentials`

func loadSMPPCredentials(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	s.SMPPCredentials = map[string]*snapshot.SMPPCredential{}
	return each(ctx, tx, selectSMPPCredentials, func(row pgx.CollectableRow) error {
		c := &snapshot.SMPPCredential{}
		var lifetime int
		var account, vendor *message.ID
		err := row.Scan(&c.ID, &account, &vendor, &c.SystemID, &c.PasswordHash, &c.Enabled, &c.AllowedIPs, &c.MaxBinds, &c.Throughput, &c.Window,
			&c.Receiver, &c.Transmitter, &c.Transceiver, &c.RequireTLS, &c.ReceiptTLVs, &c.LongMO, &lifetime, &c.Alphabet)
		if err != nil {
			return fmt.Errorf("read SMPP credentials: %w", err)
		}
		c.AccountID, c.VendorID, c.MOLifetime = orZero(account), orZero(vendor), seconds(lifetime)
		s.SMPPCredentials[c.SystemID] = c
		return nil
	})
}

const selectNumbers = `
select number, account_id, vendor_id, type, sms_enabled, mms_enabled, campaign, verification, tag, "group", leased_until, rate_limit, auto_reply
from numbers`

func loadNumbers(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	s.Numbers = map[message.Address]*snapshot.Number{}
	seen := words{}
	kind, verification, tag, group := word{seen: seen}, word{seen: seen}, word{seen: seen}, word{seen: seen}
	return each(ctx, tx, selectNumbers, func(row pgx.CollectableRow) error {
		n := &snapshot.Number{}
		var leased *time.Time
		err := row.Scan((*string)(&n.Number), &n.AccountID, &n.VendorID, &kind, &n.SMSEnabled, &n.MMSEnabled, &n.Campaign, &verification, &tag, &group, &leased, &n.RateLimit, &n.AutoReply)
		if err != nil {
			return fmt.Errorf("read numbers: %w", err)
		}
		n.Type, n.Verification, n.Tag, n.Group = snapshot.NumberType(kind.text), verification.text, tag.text, group.text
		n.LeasedUntil = orZero(leased)
		s.Numbers[n.Number] = n
		return nil
	})
}

// selectCampaigns knows what a campaign's texts have in them only of those that were
// filed: then it is what the registry was told.
const selectCampaigns = `
select c.id, c.account_id, coalesce(c.campaign_id, ''), c.brand, c.use_case, c.class, c.status, c.throughput_limit, c.mms_throughput, c.per_number,
  c.daily_cap, c.carriers, c.stop_reply, c.help_reply, c.start_reply,
  d.filed_at is not null and not d.embedded_link, d.filed_at is not null and not d.embedded_phone
from campaigns c
left join campaign_details d on d.campaign = c.id`

func loadCampaigns(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	s.Campaigns = map[message.ID]*snapshot.Campaign{}
	return each(ctx, tx, selectCampaigns, func(row pgx.CollectableRow) error {
		c := &snapshot.Campaign{}
		var brand *message.ID
		if err := row.Scan(&c.ID, &c.AccountID, &c.CampaignID, &brand, &c.UseCase, &c.Class, &c.Status, &c.Throughput, &c.MMSThroughput, &c.PerNumber,
			&c.DailyCap, &c.Carriers, &c.StopReply, &c.HelpReply, &c.StartReply, &c.NoLinks, &c.NoPhones); err != nil {
			return fmt.Errorf("read campaigns: %w", err)
		}
		c.Brand = orZero(brand)
		s.Campaigns[c.ID] = c
		return nil
	})
}

const selectBrands = `
select id, account_id, coalesce(brand_id, ''), name, status, identity_status, coalesce(vetting_score, -1), tier, daily_cap, cap_key
from brands`

func loadBrands(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	s.Brands = map[message.ID]*snapshot.Brand{}
	return each(ctx, tx, selectBrands, func(row pgx.CollectableRow) error {
		b := &snapshot.Brand{}
		if err := row.Scan(&b.ID, &b.AccountID, &b.BrandID, &b.Name, &b.Status, &b.IdentityStatus, &b.VettingScore, &b.Tier, &b.DailyCap, &b.CapKey); err != nil {
			return fmt.Errorf("read brands: %w", err)
		}
		s.Brands[b.ID] = b
		return nil
	})
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

const selectEndpoints = `
select id, account_id, url, failover_url, event_types, secret, old_secret, old_until, format
from webhook_endpoints
where active
order by id`

func (db *DB) loadEndpoints(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	s.Endpoints = map[message.ID][]snapshot.Endpoint{}
	return each(ctx, tx, selectEndpoints, func(row pgx.CollectableRow) error {
		var e snapshot.Endpoint
		var secret, old []byte
		var until *time.Time
		if err := row.Scan(&e.ID, &e.AccountID, &e.URL, &e.FailoverURL, &e.EventTypes, &secret, &old, &until, &e.Format); err != nil {
			return fmt.Errorf("read webhook endpoints: %w", err)
		}
		var err error
		if e.Secret, err = db.opened(secret, e.ID); err != nil {
			return fmt.Errorf("secret of webhook endpoint %s: %w", e.ID, err)
		}
		e.OldUntil = orZero(until)
		if old != nil {
			if e.OldSecret, err = db.opened(old, e.ID); err != nil {
				return fmt.Errorf("old secret of webhook endpoint %s: %w", e.ID, err)
			}
		}
		s.Endpoints[e.AccountID] = append(s.Endpoints[e.AccountID], e)
		return nil
	})
}

const selectSigningKeys = `
select kid, algorithm, secret, signs_from, retired_at
from signing_keys
order by signs_from desc, kid`

func (db *DB) loadSigningKeys(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	return each(ctx, tx, selectSigningKeys, func(row pgx.CollectableRow) error {
		var k snapshot.SigningKey
		var sealed []byte
		var retired *time.Time
		if err := row.Scan(&k.KID, &k.Algorithm, &sealed, &k.SignsFrom, &retired); err != nil {
			return fmt.Errorf("read signing keys: %w", err)
		}
		secret, err := db.sealer.Open(sealed, []byte(k.KID))
		if err != nil {
			return fmt.Errorf("signing key %s: %w", k.KID, err)
		}
		k.Secret, k.RetiredAt = secret, orZero(retired)
		s.SigningKeys = append(s.SigningKeys, k)
		return nil
	})
}
