package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/quiet"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/snapshot"
)

const insertAccount = `
insert into accounts (id, external_id, company_name, default_message_class, delivery, smart_encoding, max_parts, api_rate_limit,
  allowed_source_addresses, force_source_address, webhook_secret, time_zone, content_retention_days, ordered_conversations,
  internal_delivery, default_country, conversation_hold_seconds, max_backlog, smpp_encoding_mismatch_status, smpp_opted_out_status,
  smpp_max_held, api_burst, quiet_hours, quiet_windows, resend_after_seconds, mms_fallback)
values ($1, nullif($2, ''), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)`

// CreateAccount adds a customer. Zero fields get the defaults of the schema's
// documentation; WebhookSecret must be given.
func (db *DB) CreateAccount(ctx context.Context, by Actor, a snapshot.Account) error {
	sealed := db.sealer.Seal([]byte(a.WebhookSecret), a.ID[:])
	if a.AllowedSourceAddresses == nil {
		a.AllowedSourceAddresses = []string{}
	}
	a.ConversationHold, a.MaxBacklog = orElse(a.ConversationHold, snapshot.DefaultConversationHold), orElse(a.MaxBacklog, snapshot.DefaultMaxBacklog)
	a.MaxHeld = orElse(a.MaxHeld, snapshot.DefaultMaxHeld)
	a.EncodingMismatchStatus = orElse(a.EncodingMismatchStatus, message.ReasonEncodingMismatch.Entry().SMPP)
	a.OptedOutStatus = orElse(a.OptedOutStatus, message.ReasonOptedOut.Entry().SMPP)
	hold := wholeSeconds(a.ConversationHold, 0)
	windows, err := windowsDoc(a.QuietWindows)
	if err != nil {
		return err
	}
	shown := map[string]any{"company_name": a.CompanyName, "api_rate_limit": a.APIRateLimit, "ordered_conversations": a.OrderedConversations,
		"conversation_hold_seconds": hold, "max_backlog": a.MaxBacklog, "smpp_max_held": a.MaxHeld,
		"smpp_encoding_mismatch_status": a.EncodingMismatchStatus, "smpp_opted_out_status": a.OptedOutStatus,
		"internal_delivery": a.InternalDelivery, "resend_after_seconds": wholeSeconds(a.ResendAfter, 0),
		"mms_fallback": orElse(a.MMSFallback, snapshot.MMSFallbackNone)}
	return db.audited(ctx, by, "account.create", a.ID.String(), shown, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertAccount, a.ID, a.ExternalID, a.CompanyName, orElse(a.DefaultClass, message.ClassConversation),
			orElse(a.Delivery, message.AtMostOnce), a.SmartEncoding, orElse(a.MaxParts, 10), orElse(a.APIRateLimit, 10),
			a.AllowedSourceAddresses, string(a.ForceSourceAddress), sealed, orElse(a.TimeZone, "UTC"), orElse(a.ContentRetentionDays, 30),
			a.OrderedConversations, a.InternalDelivery, orElse(a.DefaultCountry, "US"),
			hold, a.MaxBacklog, a.EncodingMismatchStatus, a.OptedOutStatus, a.MaxHeld, a.APIBurst,
			string(orElse(a.QuietHours, quiet.PolicyWait)), windows, wholeSeconds(a.ResendAfter, 0), string(orElse(a.MMSFallback, snapshot.MMSFallbackNone)))
		return err
	})
}

// AccountChange is what ChangeAccount sets. Fields that are nil or 0 leave what the
// account has.
type AccountChange struct {
	OrderedConversations   *Ordered
	ConversationHold       time.Duration // whole seconds, 1 s to 1 h
	MaxBacklog             int           // 1 to 100,000,000 messages
	MaxHeld                int           // 1 to 10,000,000 deliveries
	EncodingMismatchStatus uint32        // 0x45 or 0x104
	OptedOutStatus         uint32        // 0x0B or 0x45
	QuietHours             quiet.Policy
	QuietWindows           *Windows
	InternalDelivery       *bool          // messages between our own numbers stay in the house
	ResendAfter            *time.Duration // whole seconds, 0 (never) to 1 h
	ContentRetentionDays   *int           // 0 to 3650; 0: texts go within hours of the end
	MMSFallback            snapshot.MMSFallback
}

// Windows are the account's own windows for bulk messages; nil in it: none, those of
// the recipient's region hold.
type Windows struct{ Override *quiet.Override }

// Ordered says which messages leave in the order of their conversation, as
// snapshot.Account.OrderedConversations: all, none, or (nil) as their edge has it.
type Ordered struct{ Always *bool }

const updateAccount = `
update accounts
set ordered_conversations = case when $2 then $3 else ordered_conversations end,
    conversation_hold_seconds = coalesce(nullif($4::integer, 0), conversation_hold_seconds),
    max_backlog = coalesce(nullif($5::integer, 0), max_backlog),
    smpp_max_held = coalesce(nullif($6::integer, 0), smpp_max_held),
    smpp_encoding_mismatch_status = coalesce(nullif($7::integer, 0), smpp_encoding_mismatch_status),
    smpp_opted_out_status = coalesce(nullif($8::integer, 0), smpp_opted_out_status),
    quiet_hours = coalesce(nullif($9::text, ''), quiet_hours),
    quiet_windows = case when $10 then $11::jsonb else quiet_windows end,
    internal_delivery = coalesce($12, internal_delivery),
    resend_after_seconds = coalesce($13, resend_after_seconds),
    content_retention_days = coalesce($14, content_retention_days),
    mms_fallback = coalesce(nullif($15::text, ''), mms_fallback),
    updated_at = now()
where id = $1`

// ChangeAccount changes settings of an account, and leaves the rest as it is.
func (db *DB) ChangeAccount(ctx context.Context, by Actor, id message.ID, c AccountChange) error {
	shown := map[string]any{}
	var always *bool
	if c.OrderedConversations != nil {
		always = c.OrderedConversations.Always
		shown["ordered_conversations"] = always
	}
	hold := wholeSeconds(c.ConversationHold, 0)
	for name, n := range map[string]int{"conversation_hold_seconds": hold, "max_backlog": c.MaxBacklog, "smpp_max_held": c.MaxHeld,
		"smpp_encoding_mismatch_status": int(c.EncodingMismatchStatus), "smpp_opted_out_status": int(c.OptedOutStatus)} {
		if n != 0 {
			shown[name] = n
		}
	}
	if c.QuietHours != "" {
		shown["quiet_hours"] = c.QuietHours
	}
	var windows *string
	if w := c.QuietWindows; w != nil {
		var err error
		if windows, err = windowsDoc(w.Override); err != nil {
			return err
		}
		shown["quiet_windows"] = w.Override
	}
	if c.InternalDelivery != nil {
		shown["internal_delivery"] = *c.InternalDelivery
	}
	var resend *int
	if c.ResendAfter != nil {
		resend = new(wholeSeconds(*c.ResendAfter, 0))
		shown["resend_after_seconds"] = *resend
	}
	if c.ContentRetentionDays != nil {
		shown["content_retention_days"] = *c.ContentRetentionDays
	}
	if c.MMSFallback != "" {
		shown["mms_fallback"] = c.MMSFallback
	}
	return db.audited(ctx, by, "account.update", id.String(), shown, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateAccount, id, c.OrderedConversations != nil, always, hold, c.MaxBacklog, c.MaxHeld,
			c.EncodingMismatchStatus, c.OptedOutStatus, string(c.QuietHours), c.QuietWindows != nil, windows, c.InternalDelivery, resend,
			c.ContentRetentionDays, string(c.MMSFallback)))
	})
}

// windowsDoc is an override as its column has it, nil for none.
func windowsDoc(o *quiet.Override) (*string, error) {
	if o == nil {
		return nil, nil
	}
	doc, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	text := string(doc)
	return &text, nil
}

const updateAccountStatus = `
update accounts
set status = $2, updated_at = now()
where id = $1`

// SetAccountStatus suspends, closes or resumes an account.
func (db *DB) SetAccountStatus(ctx context.Context, by Actor, id message.ID, status snapshot.AccountStatus) error {
	return db.audited(ctx, by, "account.status", id.String(), map[string]any{"status": status}, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateAccountStatus, id, status))
	})
}

const insertCredential = `
insert into api_credentials (id, account_id, name, key, secret_hash, scopes, allowed_numbers, allowed_ips, rate_limit, burst, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`

// CreateCredential adds an API key; only the keyed hash of its secret is given.
func (db *DB) CreateCredential(ctx context.Context, by Actor, c snapshot.Credential) error {
	if c.Scopes == nil {
		c.Scopes = []string{}
	}
	if c.AllowedNumbers == nil {
		c.AllowedNumbers = []string{}
	}
	if c.AllowedIPs == nil {
		c.AllowedIPs = []netip.Prefix{}
	}
	shown := map[string]any{"account_id": c.AccountID, "name": c.Name, "key": c.Key, "scopes": c.Scopes}
	return db.audited(ctx, by, "api_credential.create", c.ID.String(), shown, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertCredential, c.ID, c.AccountID, c.Name, c.Key, c.SecretHash, c.Scopes, c.AllowedNumbers, c.AllowedIPs, c.RateLimit, c.Burst, timeOrNull(c.ExpiresAt))
		return err
	})
}

const revokeCredential = `
update api_credentials
set revoked_at = now(), updated_at = now()
where id = $1 and revoked_at is null`

// RevokeCredential ends an API key and, within seconds, its tokens.
func (db *DB) RevokeCredential(ctx context.Context, by Actor, id message.ID) error {
	return db.audited(ctx, by, "api_credential.revoke", id.String(), nil, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, revokeCredential, id))
	})
}

const insertCampaign = `
insert into campaigns (id, account_id, campaign_id, brand, use_case, description, status, throughput_limit, mms_throughput, per_number, daily_cap)
values ($1, $2, nullif($3, ''), $4, $5, $6, $7, $8, $9, $10, $11)`

// CreateCampaign adds a 10DLC campaign as the registry knows it.
func (db *DB) CreateCampaign(ctx context.Context, by Actor, c snapshot.Campaign, description string) error {
	shown := map[string]any{"account_id": c.AccountID, "campaign_id": c.CampaignID, "status": c.Status}
	return db.audited(ctx, by, "campaign.create", c.ID.String(), shown, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertCampaign, c.ID, c.AccountID, c.CampaignID, idOrNull(c.Brand), c.UseCase, description, c.Status,
			c.Throughput, c.MMSThroughput, c.PerNumber, c.DailyCap)
		return err
	})
}

const insertBrand = `
insert into brands (id, account_id, brand_id, name, status, identity_status, vetting_score, tier, daily_cap, cap_key)
values ($1, $2, nullif($3, ''), $4, $5, $6, nullif($7, -1), $8, $9, $10)`

// CreateBrand adds a 10DLC brand as the registry knows it. Without a CapKey it
// shares its cap with nobody.
func (db *DB) CreateBrand(ctx context.Context, by Actor, b snapshot.Brand) error {
	shown := map[string]any{"account_id": b.AccountID, "brand_id": b.BrandID, "name": b.Name, "daily_cap": b.DailyCap}
	return db.audited(ctx, by, "brand.create", b.ID.String(), shown, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertBrand, b.ID, b.AccountID, b.BrandID, b.Name, cmp.Or(b.Status, "unregistered"), b.IdentityStatus, b.VettingScore,
			b.Tier, b.DailyCap, cmp.Or(b.CapKey, b.ID.String()))
		return err
	})
}

// SetCampaignStatus records what the registry says of a campaign, and tells its
// account.
func (db *DB) SetCampaignStatus(ctx context.Context, by Actor, id message.ID, status snapshot.CampaignStatus) error {
	return db.audited(ctx, by, "campaign.status", id.String(), map[string]any{"status": status}, func(tx pgx.Tx) error {
		_, err := campaignBecomes(ctx, tx, id, registry.Status(status))
		return err
	})
}

const insertNumber = `
insert into numbers (number, account_id, vendor_id, type, sms_enabled, mms_enabled, campaign, verification, tag, "group", rate_limit)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`

// CreateNumber gives a number to an account.
func (db *DB) CreateNumber(ctx context.Context, by Actor, n snapshot.Number) error {
	shown := map[string]any{"account_id": n.AccountID, "type": n.Type, "campaign": n.Campaign}
	return db.audited(ctx, by, "number.create", string(n.Number), shown, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertNumber, string(n.Number), n.AccountID, idOrNull(n.VendorID), n.Type, n.SMSEnabled, n.MMSEnabled,
			idOrNull(n.Campaign), orElse(n.Verification, "unverified"), n.Tag, n.Group, n.RateLimit)
		return err
	})
}

func wholeSeconds(d time.Duration, otherwise int) int {
	if d == 0 {
		return otherwise
	}
	return int(d / time.Second)
}

const insertEndpoint = `
insert into webhook_endpoints (id, account_id, url, failover_url, event_types, secret, format)
values ($1, $2, $3, $4, $5, $6, $7)`

// CreateEndpoint adds a place where an account wants its events.
func (db *DB) CreateEndpoint(ctx context.Context, by Actor, e snapshot.Endpoint) error {
	sealed := db.sealer.Seal([]byte(e.Secret), e.ID[:])
	if e.EventTypes == nil {
		e.EventTypes = []string{}
	}
	shown := map[string]any{"account_id": e.AccountID, "event_types": e.EventTypes}
	return db.audited(ctx, by, "webhook_endpoint.create", e.ID.String(), shown, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertEndpoint, e.ID, e.AccountID, e.URL, e.FailoverURL, e.EventTypes, sealed, orElse(e.Format, "event"))
		return err
	})
}

const insertSigningKey = `
insert into signing_keys (kid, algorithm, secret, signs_from)
values ($1, $2, $3, $4)
on conflict do nothing`

// AddSigningKey stores a key for access tokens, from when it signs.
func (db *DB) AddSigningKey(ctx context.Context, by Actor, k snapshot.SigningKey) error {
	sealed := db.sealer.Seal(k.Secret, []byte(k.KID))
	return db.audited(ctx, by, "signing_key.add", k.KID, map[string]any{"algorithm": k.Algorithm}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertSigningKey, k.KID, k.Algorithm, sealed, k.SignsFrom)
		return err
	})
}

const touchCredential = `
update api_credentials
set last_used_at = now()
where id = $1`

// CredentialUsed notes that an API key was used. The caller thins the calls
// out; a lost one does not matter.
func (db *DB) CredentialUsed(ctx context.Context, id message.ID) error {
	_, err := db.pool.Exec(ctx, touchCredential, id)
	return err
}
