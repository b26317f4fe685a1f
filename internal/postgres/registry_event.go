package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/snapshot"
)

// campaignEvent is notification.CampaignStatusChanged, a package of the same floor; a
// test holds them together.
const campaignEvent = "campaign.status_changed"

// campaignChanged is what the event says, and its whole body in format flat.
type campaignChanged struct {
	ID         string             `json:"id"`
	CampaignID *string            `json:"campaign_id"` // the registry's
	BrandID    *string            `json:"brand_id"`    // the row's
	UseCase    string             `json:"use_case"`
	Status     registry.Status    `json:"status"`
	Previous   registry.Status    `json:"previous_status"`
	Carriers   []snapshot.Carrier `json:"carriers"`
}

const lockCampaign = `
select account_id, campaign_id, brand, use_case, status, carriers
from campaigns
where id = $1
for update`

const updateCampaignStatus = `
update campaigns
set status = $2,
    tcr_approval_date = case when $2 = 'active' then coalesce(tcr_approval_date, current_date) else tcr_approval_date end,
    updated_at = now()
where id = $1`

const bumpCampaignRevision = `
update campaign_details
set revision = revision + 1
where campaign = $1`

// campaignBecomes sets a campaign's status and tells its account's endpoints, if it
// is another one. It reports whether it was.
func campaignBecomes(ctx context.Context, tx pgx.Tx, id message.ID, to registry.Status) (bool, error) {
	var account message.ID
	var brand *message.ID
	c := campaignChanged{ID: id.String(), Status: to}
	err := tx.QueryRow(ctx, lockCampaign, id).Scan(&account, &c.CampaignID, &brand, &c.UseCase, &c.Previous, &c.Carriers)
	if err != nil {
		return false, noSuchRow(err, "campaign", id)
	}
	if c.Previous == to {
		return false, nil
	}
	if brand != nil {
		s := brand.String()
		c.BrandID = &s
	}
	if _, err := tx.Exec(ctx, updateCampaignStatus, id, to); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, bumpCampaignRevision, id); err != nil {
		return false, err
	}
	return true, tellEndpoints(ctx, tx, account, campaignEvent, c)
}

const selectEventEndpoints = `
select id, url, failover_url, format
from webhook_endpoints
where account_id = $1 and active and (event_types = '{}' or $2 = any(event_types))
order by id`

const insertAccountEvent = `
insert into webhook_deliveries (id, event_id, account_id, endpoint_id, type, url, failover_url, payload)
values ($1, $2, $3, $4, $5, $6, $7, $8)`

// insertAccountEventDue makes the delivery overdue at once: no workflow stands behind an
// event without a message, so the next sweep is what starts it.
const insertAccountEventDue = `
insert into webhooks_due (delivery_id, due_at)
values ($1, now() - interval '1 minute')`

// tellEndpoints writes an event that belongs to no message, one delivery for each
// endpoint of the account that wants it.
func tellEndpoints(ctx context.Context, tx pgx.Tx, account message.ID, kind string, data any) error {
	rows, err := tx.Query(ctx, selectEventEndpoints, account, kind)
	if err != nil {
		return fmt.Errorf("read the endpoints of %s: %w", account, err)
	}
	type endpoint struct {
		id                    message.ID
		url, failover, format string
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e endpoint, err error) {
		err = row.Scan(&e.id, &e.url, &e.failover, &e.format)
		return e, err
	})
	if err != nil {
		return fmt.Errorf("read the endpoints of %s: %w", account, err)
	}
	event, at := message.NewID(), time.Now()
	for _, e := range list {
		body, err := accountEvent(kind, at, data, e.format)
		if err != nil {
			return err
		}
		delivery := message.NewID()
		if _, err := tx.Exec(ctx, insertAccountEvent, delivery, event, account, e.id, kind, e.url, e.failover, body); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertAccountEventDue, delivery); err != nil {
			return err
		}
	}
	return nil
}

// accountEvent is the exact body, as in package notification.
func accountEvent(kind string, at time.Time, data any, format string) (string, error) {
	whole := data
	if format != "flat" {
		whole = struct {
			Type      string `json:"type"`
			Timestamp string `json:"timestamp"`
			Data      any    `json:"data"`
		}{kind, at.UTC().Format("2006-01-02T15:04:05.000Z07:00"), data}
	}
	b, err := json.Marshal(whole)
	if err != nil {
		return "", fmt.Errorf("event %s: %w", kind, err)
	}
	return string(b), nil
}
