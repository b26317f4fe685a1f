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

// tellEndpoints writes an event that belongs to no message, with one delivery for each
// endpoint of the account that wants it: notification.OfAccount for who has no
// configuration at hand.
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
	at := time.Now()
	e := message.AccountEvent{ID: message.NewID(), AccountID: account, Type: kind}
	if e.Payload, err = accountEvent(kind, at, data, "event"); err != nil {
		return err
	}
	for _, to := range list {
		body, err := accountEvent(kind, at, data, to.format)
		if err != nil {
			return err
		}
		e.Deliveries = append(e.Deliveries, message.Notification{ID: message.NewID(), EventID: e.ID, AccountID: account, EndpointID: to.id, Type: kind,
			URL: to.url, FailoverURL: to.failover, Payload: body})
	}
	return recordEvents(ctx, tx, e)
}

// accountEvent is the exact body, as in package notification.
func accountEvent(kind string, at time.Time, data any, format string) (string, error) {
	whole := data
	if format != "flat" {
		whole = struct {
			Type      string `json:"type"`
			Timestamp string `json:"timestamp"`
			Data      any    `json:"data"`
		}{kind, at.UTC().Format(message.StampLayout), data}
	}
	b, err := json.Marshal(whole)
	if err != nil {
		return "", fmt.Errorf("event %s: %w", kind, err)
	}
	return string(b), nil
}
