package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const customerColumns = `
  a.id, coalesce(a.external_id, ''), a.company_name, a.status, a.time_zone, a.default_message_class, a.delivery,
  a.ordered_conversations, a.internal_delivery, a.smart_encoding, a.max_parts, a.content_retention_days,
  a.default_country, a.allowed_source_addresses, a.force_source_address, a.api_rate_limit, a.api_burst, a.max_backlog, a.mms_fallback, a.media_transcoding, a.prepaid,
  exists (select from api_credentials c where c.account_id = a.id and c.revoked_at is null and (c.expires_at is null or c.expires_at > now())),
  exists (select from smpp_credentials c where c.account_id = a.id and c.enabled),
  a.created_at, a.updated_at`

const selectCustomers = `select` + customerColumns + `
from accounts a
where ($1::uuid is null or a.id < $1)
  and ($2::text = '' or a.status = $2)
  and ($3::text = '' or a.external_id = $3)
  and ($4::text = '' or strpos(lower(a.company_name), lower($4)) > 0)
order by a.id desc
limit $5`

const selectCustomer = `select` + customerColumns + `
from accounts a
where a.id = $1`

func scanCustomer(row pgx.CollectableRow) (snapshot.Customer, error) {
	var c snapshot.Customer
	err := row.Scan(&c.ID, &c.ExternalID, &c.CompanyName, &c.Status, &c.TimeZone, &c.DefaultClass, &c.Delivery,
		&c.OrderedConversations, &c.InternalDelivery, &c.SmartEncoding, &c.MaxParts, &c.ContentRetentionDays,
		&c.DefaultCountry, &c.AllowedSourceAddresses, &c.ForceSourceAddress, &c.APIRateLimit, &c.APIBurst, &c.MaxBacklog, &c.MMSFallback, &c.MediaTranscoding, &c.Prepaid,
		&c.APIKeys, &c.ESMEs, &c.CreatedAt, &c.UpdatedAt)
	return c, err
}

// Customers lists accounts, newest first: at most limit, older than the one
// `before` when that is not zero. Their secrets are not filled in.
func (db *DB) Customers(ctx context.Context, f snapshot.CustomerFilter, before message.ID, limit int) ([]snapshot.Customer, error) {
	rows, err := db.pool.Query(ctx, selectCustomers, idOrNull(before), string(f.Status), f.ExternalID, f.Name, limit)
	if err != nil {
		return nil, fmt.Errorf("list customers: %w", err)
	}
	return pgx.CollectRows(rows, scanCustomer)
}

// Customer reads an account as staff see it. ReasonNotFound when there is none.
func (db *DB) Customer(ctx context.Context, id message.ID) (snapshot.Customer, error) {
	return oneCustomer(ctx, db.pool, id)
}

func oneCustomer(ctx context.Context, q querier, id message.ID) (snapshot.Customer, error) {
	rows, err := q.Query(ctx, selectCustomer, id)
	if err != nil {
		return snapshot.Customer{}, fmt.Errorf("read customer %s: %w", id, err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, scanCustomer)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, message.Refuse(message.ReasonNotFound, "there is no customer %s", id)
	}
	return c, err
}

const lockAccountStatus = `
select status
from accounts
where id = $1
for update`

// SuspendCustomer suspends an account, or lets a suspended one go on, and says why
// in the audit log. One that is so already stays so. ReasonConflict for a closed
// one, ReasonNotFound when there is none.
func (db *DB) SuspendCustomer(ctx context.Context, by Actor, id message.ID, suspended bool, reason string) (snapshot.Customer, error) {
	to := snapshot.AccountActive
	if suspended {
		to = snapshot.AccountSuspended
	}
	var made snapshot.Customer
	before := map[string]any{}
	shown := map[string]any{"status": to, "reason": reason}
	err := db.auditedChange(ctx, by, "account.status", id.String(), before, shown, func(tx pgx.Tx) error {
		var was snapshot.AccountStatus
		err := tx.QueryRow(ctx, lockAccountStatus, id).Scan(&was)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return message.Refuse(message.ReasonNotFound, "there is no customer %s", id)
		case err != nil:
			return err
		case was == snapshot.AccountClosed:
			return message.Refuse(message.ReasonConflict, "the account is closed")
		}
		before["status"] = was
		if was != to {
			if _, err := tx.Exec(ctx, updateAccountStatus, id, to); err != nil {
				return err
			}
		}
		made, err = oneCustomer(ctx, tx, id)
		return err
	})
	return made, err
}
