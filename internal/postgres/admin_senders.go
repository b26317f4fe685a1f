package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// NumberChange is what ChangeNumber sets; nil fields leave what there is.
type NumberChange struct {
	Verification *string    // of a toll-free number: unverified, pending, approved, rejected
	LeasedUntil  *time.Time // of a short code; the zero time: not known
	SMSEnabled   *bool
	MMSEnabled   *bool
	AutoReply    *string     // what it answers by itself; empty: nothing
	VendorID     *message.ID // which vendor hosts it; the zero id: none in particular
}

const updateNumber = `
update numbers
set verification = coalesce($2, verification),
    leased_until = case when $3 then $4 else leased_until end,
    sms_enabled = coalesce($5, sms_enabled),
    mms_enabled = coalesce($6, mms_enabled),
    auto_reply = coalesce($7, auto_reply),
    vendor_id = case when $8 then $9 else vendor_id end,
    updated_at = now()
where number = $1`

// ChangeNumber sets what a number may send, what it answers by itself, and who hosts it.
func (db *DB) ChangeNumber(ctx context.Context, by Actor, number message.Address, c NumberChange) error {
	shown := map[string]any{"verification": c.Verification, "leased_until": c.LeasedUntil, "sms_enabled": c.SMSEnabled, "mms_enabled": c.MMSEnabled, "auto_reply": c.AutoReply, "vendor_id": c.VendorID}
	return db.audited(ctx, by, "number.update", string(number), shown, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateNumber, number, c.Verification, c.LeasedUntil != nil, timeOrNull(orZero(c.LeasedUntil)), c.SMSEnabled, c.MMSEnabled, c.AutoReply,
			c.VendorID != nil, idOrNull(orZero(c.VendorID))))
	})
}

const updateDestinations = `
update accounts
set allowed_destinations = $2, updated_at = now()
where id = $1`

// SetDestinations sets the digits, without +, that the recipients of an account must
// begin with; none: it may send anywhere.
func (db *DB) SetDestinations(ctx context.Context, by Actor, account message.ID, prefixes []string) error {
	if prefixes == nil {
		prefixes = []string{}
	}
	return db.audited(ctx, by, "account.destinations", account.String(), map[string]any{"allowed_destinations": prefixes}, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateDestinations, account, prefixes))
	})
}

// CampaignPace is how fast a campaign may send, in parts; nil fields leave what there
// is, 0 takes a limit away.
type CampaignPace struct {
	Throughput    *int  // of SMS, a minute
	MMSThroughput *int  // of MMS, a minute
	PerNumber     *bool // both are each number's
	DailyCap      *int  // a day in US Pacific time
}

const updateCampaignPace = `
update campaigns
set throughput_limit = coalesce($2, throughput_limit),
    mms_throughput = coalesce($3, mms_throughput),
    per_number = coalesce($4, per_number),
    daily_cap = coalesce($5, daily_cap),
    updated_at = now()
where id = $1`

// SetCampaignPace sets it by hand, as the vendor has said. A sync with the campaign
// registry that reports other figures sets those.
func (db *DB) SetCampaignPace(ctx context.Context, by Actor, campaign message.ID, p CampaignPace) error {
	shown := map[string]any{"throughput": p.Throughput, "mms_throughput": p.MMSThroughput, "per_number": p.PerNumber, "daily_cap": p.DailyCap}
	return db.audited(ctx, by, "campaign.pace", campaign.String(), shown, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateCampaignPace, campaign, p.Throughput, p.MMSThroughput, p.PerNumber, p.DailyCap))
	})
}

const updateBrandCap = `
update brands
set daily_cap = $2, updated_at = now()
where id = $1`

// SetBrandCap sets how many parts a brand may send a day in US Pacific time, over all
// vendors; 0: as many as it likes.
func (db *DB) SetBrandCap(ctx context.Context, by Actor, brand message.ID, parts int) error {
	return db.audited(ctx, by, "brand.cap", brand.String(), map[string]any{"daily_cap": parts}, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateBrandCap, brand, parts))
	})
}
