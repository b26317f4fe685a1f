package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/registry"
)

// offset 0 keeps the planner from reading the details of all accounts along with a page
// of one.
const selectCampaignColumns = `
select c.id, c.account_id, coalesce(c.campaign_id, ''), c.brand, c.status, c.use_case, c.description, c.message_flow, c.sample_messages,
  c.start_reply, c.stop_reply, c.help_reply, c.class, c.throughput_limit, c.mms_throughput, c.per_number, c.daily_cap,
  c.tcr_approval_date, c.created_at, c.updated_at,
  d.sub_use_cases, d.optin_keywords, d.optout_keywords, d.help_keywords, d.embedded_link, d.embedded_phone, d.number_pool, d.age_gated,
  d.direct_lending, d.affiliate_marketing, d.subscriber_optin, d.subscriber_optout, d.subscriber_help, d.auto_renewal,
  d.registry_status, d.suspended_by, d.failure, d.requested_at, d.filed_at, d.revision,
  array(
    select n.number
    from numbers n
    where n.campaign = c.id
    order by n.number
    limit 1000),
  coalesce((
    select jsonb_agg(jsonb_build_object('NetworkID', k.network_id, 'Network', k.network, 'Status', k.status, 'Class', k.class, 'TPM', k.tpm,
      'MMSTPM', k.mms_tpm, 'BrandTier', k.brand_tier, 'Surcharge', k.surcharge) order by k.network_id)
    from campaign_carriers k
    where k.campaign = c.id), '[]')
from campaigns c
join lateral (select * from campaign_details where campaign = c.id offset 0) d on true`

func scanCampaign(row pgx.CollectableRow) (*registry.Campaign, error) {
	c := &registry.Campaign{}
	var brand *message.ID
	var approved, requested, filed *time.Time
	err := row.Scan(&c.ID, &c.AccountID, &c.CampaignID, &brand, &c.Status, &c.UseCase, &c.Description, &c.MessageFlow, &c.Samples,
		&c.StartReply, &c.StopReply, &c.HelpReply, &c.Class, &c.Throughput, &c.MMSThroughput, &c.PerNumber, &c.DailyCap,
		&approved, &c.CreatedAt, &c.UpdatedAt,
		&c.SubUseCases, &c.OptInKeywords, &c.OptOutKeywords, &c.HelpKeywords, &c.EmbeddedLink, &c.EmbeddedPhone, &c.NumberPool, &c.AgeGated,
		&c.DirectLending, &c.AffiliateMarketing, &c.SubscriberOptIn, &c.SubscriberOptOut, &c.SubscriberHelp, &c.AutoRenewal,
		&c.RegistryStatus, &c.SuspendedBy, &c.Failure, &requested, &filed, &c.Revision, &c.Numbers, &c.Carriers)
	c.Brand, c.ApprovedAt, c.RequestedAt, c.FiledAt = orZero(brand), orZero(approved), orZero(requested), orZero(filed)
	return c, err
}

const selectCampaign = selectCampaignColumns + `
where c.id = $1 and ($2::uuid is null or c.account_id = $2)`

// RegistryCampaign reads a campaign; another account's is ReasonNotFound. A zero
// account is any.
func (db *DB) RegistryCampaign(ctx context.Context, account, id message.ID) (*registry.Campaign, error) {
	return readCampaign(ctx, db.pool, account, id)
}

func readCampaign(ctx context.Context, q querier, account, id message.ID) (*registry.Campaign, error) {
	rows, err := q.Query(ctx, selectCampaign, id, idOrNull(account))
	if err != nil {
		return nil, fmt.Errorf("read campaign %s: %w", id, err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, scanCampaign)
	if err != nil {
		return nil, noSuchRow(err, "campaign", id)
	}
	return c, nil
}

const selectAccountCampaigns = selectCampaignColumns + `
where c.account_id = $1 and ($2::uuid is null or c.id < $2)
order by c.id desc
limit $3`

const selectAllCampaigns = selectCampaignColumns + `
where $1::uuid is null and ($2::uuid is null or c.id < $2)
order by c.id desc
limit $3`

// RegistryCampaigns lists an account's campaigns, newest first, older than before;
// those of all accounts for the zero id.
func (db *DB) RegistryCampaigns(ctx context.Context, account, before message.ID, limit int) ([]*registry.Campaign, error) {
	sql := selectAccountCampaigns
	if account == (message.ID{}) {
		sql = selectAllCampaigns
	}
	rows, err := db.pool.Query(ctx, sql, idOrNull(account), idOrNull(before), limit)
	if err != nil {
		return nil, fmt.Errorf("list campaigns: %w", err)
	}
	return pgx.CollectRows(rows, scanCampaign)
}

// shownCampaign is a campaign for the audit log.
func shownCampaign(c *registry.Campaign) map[string]any {
	return map[string]any{"account_id": c.AccountID, "brand": idOrNull(c.Brand), "use_case": c.UseCase, "sub_use_cases": c.SubUseCases,
		"stop_reply": c.StopReply, "help_reply": c.HelpReply, "start_reply": c.StartReply, "registration_asked": !c.RequestedAt.IsZero()}
}

const lockOwnBrand = `
select
from brands
where id = $1 and account_id = $2
for key share`

const countCampaigns = `
select count(*)
from campaigns
where brand = $1`

const countBrandless = `
select count(*)
from campaigns
where account_id = $1 and brand is null`

const insertCampaignDraft = `
insert into campaigns (id, account_id, brand, use_case, status, created_at, updated_at)
values ($1, $2, $3, $4, 'draft', $5, $5)`

// AddCampaignDraft stores a draft, with key the answer to the request as well. Its
// brand must be of the same account.
func (db *DB) AddCampaignDraft(ctx context.Context, by registry.Actor, c *registry.Campaign, key *message.Idempotency) error {
	return db.audited(ctx, by, "campaign.draft", c.ID.String(), shownCampaign(c), func(tx pgx.Tx) error {
		if err := db.keepAnswer(ctx, tx, key); err != nil {
			return err
		}
		if err := ownBrand(ctx, tx, c); err != nil {
			return err
		}
		if err := roomForCampaign(ctx, tx, c); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertCampaignDraft, c.ID, c.AccountID, idOrNull(c.Brand), c.UseCase, c.CreatedAt); err != nil {
			return err
		}
		return writeCampaign(ctx, tx, c)
	})
}

// roomForCampaign says when the campaign's brand has as many as it may have.
func roomForCampaign(ctx context.Context, tx pgx.Tx, c *registry.Campaign) error {
	count, of := countBrandless, c.AccountID
	if c.Brand != (message.ID{}) {
		count, of = countCampaigns, c.Brand
	}
	return roomFor(ctx, tx, c.AccountID, count, of, registry.MaxCampaigns, "campaigns of the brand")
}

// ownBrand wants the campaign's brand to be its account's.
func ownBrand(ctx context.Context, tx pgx.Tx, c *registry.Campaign) error {
	if c.Brand == (message.ID{}) {
		return nil
	}
	err := tx.QueryRow(ctx, lockOwnBrand, c.Brand, c.AccountID).Scan()
	if errors.Is(err, pgx.ErrNoRows) {
		const says = "there is no such brand; see GET /v1/brands"
		return &message.Error{Reason: message.ReasonInvalidRequest, Detail: "body.brand_id: " + says,
			Fields: []message.FieldError{{Location: "body.brand_id", Message: says}}}
	}
	return err
}

const updateCampaignDraft = `
update campaigns
set brand = $2, use_case = $3, description = $4, message_flow = $5, sample_messages = $6,
    start_reply = $7, stop_reply = $8, help_reply = $9, updated_at = now()
where id = $1`

const updateCampaignDetails = `
update campaign_details
set sub_use_cases = $2, optin_keywords = $3, optout_keywords = $4, help_keywords = $5,
    embedded_link = $6, embedded_phone = $7, number_pool = $8, age_gated = $9, direct_lending = $10, affiliate_marketing = $11,
    subscriber_optin = $12, subscriber_optout = $13, subscriber_help = $14, auto_renewal = $15,
    requested_at = $16, failure = $17, revision = $18
where campaign = $1`

func writeCampaign(ctx context.Context, tx pgx.Tx, c *registry.Campaign) error {
	_, err := tx.Exec(ctx, updateCampaignDraft, c.ID, idOrNull(c.Brand), c.UseCase, storable(c.Description), storable(c.MessageFlow), storableList(c.Samples),
		storable(c.StartReply), storable(c.StopReply), storable(c.HelpReply))
	if err != nil {
		return err
	}
	return exactlyOne(tx.Exec(ctx, updateCampaignDetails, c.ID, storableList(c.SubUseCases), storableList(c.OptInKeywords), storableList(c.OptOutKeywords),
		storableList(c.HelpKeywords), c.EmbeddedLink, c.EmbeddedPhone, c.NumberPool, c.AgeGated, c.DirectLending, c.AffiliateMarketing,
		c.SubscriberOptIn, c.SubscriberOptOut, c.SubscriberHelp, c.AutoRenewal, timeOrNull(c.RequestedAt), storable(c.Failure), c.Revision))
}

// storableList is never nil: the columns are not null.
func storableList(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = storable(s)
	}
	return out
}

const lockCampaignDraft = `
select c.status, d.revision, exists (
  select
  from registry_requests r
  where r.target = c.id and r.state = 'open'), c.brand
from campaigns c
join campaign_details d on d.campaign = c.id
where c.id = $1 and c.account_id = $2
for update of c`

// ChangeCampaignDraft stores what was changed since c.Revision. What may be changed
// of a campaign that is no draft, the registrar has decided.
func (db *DB) ChangeCampaignDraft(ctx context.Context, by registry.Actor, c *registry.Campaign) error {
	return db.audited(ctx, by, "campaign.change", c.ID.String(), shownCampaign(c), func(tx pgx.Tx) error {
		var status registry.Status
		var revision int
		var filing bool
		var brand *message.ID
		if err := tx.QueryRow(ctx, lockCampaignDraft, c.ID, c.AccountID).Scan(&status, &revision, &filing, &brand); err != nil {
			return noSuchRow(err, "campaign", c.ID)
		}
		if err := changeable(filing, status == c.Status, revision == c.Revision); err != nil {
			return err
		}
		if err := ownBrand(ctx, tx, c); err != nil {
			return err
		}
		if orZero(brand) != c.Brand {
			if err := roomForCampaign(ctx, tx, c); err != nil {
				return err
			}
		}
		c.Revision++
		return writeCampaign(ctx, tx, c)
	})
}

const lockCampaignNumbers = `
select c.status, c.use_case, d.number_pool, (
  select count(*)
  from numbers n
  where n.campaign = c.id and not n.number = any($3::text[]))
from campaigns c
join campaign_details d on d.campaign = c.id
where c.id = $1 and c.account_id = $2
for update of c`

const lockNumbers = `
select number, account_id, campaign
from numbers
where number = any($1::text[])
order by number
for update`

const assignNumbers = `
update numbers
set campaign = $2, updated_at = now()
where number = any($1::text[]) and campaign is distinct from $2`

// AssignNumbers puts numbers of the account into one of its campaigns, all or none.
func (db *DB) AssignNumbers(ctx context.Context, by registry.Actor, account, campaign message.ID, numbers []message.Address) error {
	return db.audited(ctx, by, "campaign.numbers", campaign.String(), map[string]any{"assigned": numbers}, func(tx pgx.Tx) error {
		c := registry.Campaign{ID: campaign, AccountID: account}
		var others int
		if err := tx.QueryRow(ctx, lockCampaignNumbers, campaign, account, numbers).Scan(&c.Status, &c.UseCase, &c.NumberPool, &others); err != nil {
			return noSuchRow(err, "campaign", campaign)
		}
		if c.Status == registry.Rejected || c.Status == registry.Expired {
			return message.Refuse(message.ReasonConflict, "the campaign is %s and takes no numbers", c.Status)
		}
		if most := c.MaxNumbers(); most > 0 && others+len(numbers) > most {
			return message.Refuse(message.ReasonConflict, "the campaign would have %d numbers; %d are allowed unless it is approved as a number pool", others+len(numbers), most)
		}
		if err := assignable(ctx, tx, account, campaign, numbers); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, assignNumbers, numbers, campaign)
		return err
	})
}

// assignable looks at each number; those that exist are locked.
func assignable(ctx context.Context, tx pgx.Tx, account, campaign message.ID, numbers []message.Address) error {
	rows, err := tx.Query(ctx, lockNumbers, numbers)
	if err != nil {
		return err
	}
	type row struct{ account, campaign message.ID }
	found := map[message.Address]row{}
	var number message.Address
	var owner message.ID
	var in *message.ID
	if _, err := pgx.ForEachRow(rows, []any{&number, &owner, &in}, func() error {
		found[number] = row{owner, orZero(in)}
		return nil
	}); err != nil {
		return err
	}
	var wrong []message.FieldError
	for i, n := range numbers {
		r, ok := found[n]
		location := fmt.Sprintf("body.numbers[%d]", i)
		switch {
		case !ok || r.account != account:
			wrong = append(wrong, message.FieldError{Location: location, Message: "is no number of the account; see GET /v1/numbers"})
		case !n.USLongCode():
			wrong = append(wrong, message.FieldError{Location: location, Message: "is no US long code; only those belong into a 10DLC campaign"})
		case r.campaign != (message.ID{}) && r.campaign != campaign:
			return message.Refuse(message.ReasonConflict, "%s is in another campaign; take it out there first", n)
		}
	}
	if wrong != nil {
		return &message.Error{Reason: message.ReasonInvalidRequest, Detail: fmt.Sprintf("%d numbers cannot be in the campaign", len(wrong)), Fields: wrong}
	}
	return nil
}

const releaseNumber = `
update numbers
set campaign = null, updated_at = now()
where number = $1 and account_id = $2 and campaign = $3`

// ReleaseNumber takes a number out of a campaign of the account.
func (db *DB) ReleaseNumber(ctx context.Context, by registry.Actor, account, campaign message.ID, number message.Address) error {
	return db.audited(ctx, by, "campaign.numbers", campaign.String(), map[string]any{"released": number}, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, releaseNumber, string(number), account, campaign)
		if err == nil && tag.RowsAffected() == 0 {
			return message.Refuse(message.ReasonNotFound, "the campaign has no number %s", number)
		}
		return err
	})
}
