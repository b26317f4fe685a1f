package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const insertCustomer = `
insert into accounts (id, company_name, webhook_secret)
values ($1, $2, $3)`

const updateCustomer = `
update accounts
set company_name = $2,
    external_id = nullif($3, ''),
    time_zone = $4,
    default_message_class = $5,
    delivery = $6,
    ordered_conversations = $7,
    internal_delivery = $8,
    mms_fallback = $9,
    smart_encoding = $10,
    max_parts = $11,
    content_retention_days = $12,
    default_country = $13,
    allowed_source_addresses = $14,
    force_source_address = $15,
    api_rate_limit = $16,
    api_burst = $17,
    max_backlog = $18,
    prepaid = $19,
    updated_at = now()
where id = $1`

// writeCustomer writes what staff set of an account: see shownCustomer.
func writeCustomer(ctx context.Context, tx pgx.Tx, a *snapshot.Account) error {
	allowed := a.AllowedSourceAddresses
	if allowed == nil {
		allowed = []string{}
	}
	err := exactlyOne(tx.Exec(ctx, updateCustomer, a.ID, a.CompanyName, storable(a.ExternalID), a.TimeZone, a.DefaultClass, a.Delivery,
		a.OrderedConversations, a.InternalDelivery, string(orElse(a.MMSFallback, snapshot.MMSFallbackNone)), a.SmartEncoding, a.MaxParts,
		a.ContentRetentionDays, a.DefaultCountry, allowed, string(a.ForceSourceAddress), a.APIRateLimit, a.APIBurst, a.MaxBacklog, a.Prepaid))
	if sqlState(err) == uniqueViolation {
		return message.Because(message.ReasonConflict, err, "another customer has the external_id %s", a.ExternalID)
	}
	return err
}

// shownCustomer is an account's settings for the audit log.
func shownCustomer(a *snapshot.Account) map[string]any {
	return map[string]any{"company_name": a.CompanyName, "external_id": a.ExternalID, "time_zone": a.TimeZone, "default_message_class": a.DefaultClass,
		"delivery": a.Delivery, "ordered_conversations": orderedWord(a.OrderedConversations), "internal_delivery": a.InternalDelivery, "mms_fallback": a.MMSFallback,
		"smart_encoding": a.SmartEncoding, "max_parts": a.MaxParts, "content_retention_days": a.ContentRetentionDays, "default_country": a.DefaultCountry,
		"allowed_source_addresses": append([]string{}, a.AllowedSourceAddresses...), "force_source_address": a.ForceSourceAddress,
		"api_rate_limit": a.APIRateLimit, "api_burst": a.APIBurst, "max_backlog": a.MaxBacklog, "prepaid": a.Prepaid}
}

// orderedWord is ordered_conversations as a value that can be compared.
func orderedWord(always *bool) any {
	if always == nil {
		return nil
	}
	return *always
}

// CreateCustomer adds a customer as staff have described it: the fields of WebhookSecret, which is not shown again. ReasonConflict when
// another one has the ExternalID.
func (db *DB) CreateCustomer(ctx context.Context, by Actor, a snapshot.Account) (snapshot.Customer, error) {
	var made snapshot.Customer
	err := db.audited(ctx, by, "account.create", a.ID.String(), shownCustomer(&a), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertCustomer, a.ID, a.CompanyName, db.sealer.Seal([]byte(a.WebhookSecret), a.ID[:])); err != nil {
			return err
		}
		if err := writeCustomer(ctx, tx, &a); err != nil {
			return err
		}
		var err error
		made, err = oneCustomer(ctx, tx, a.ID)
		return err
	})
	return made, err
}

// UpdateCustomer has change make an account into what it is to be; what it has beside the
// settings of a customer stays. ReasonConflict for one that is closed and for an ExternalID of
// another one, ReasonNotFound when there is none.
func (db *DB) UpdateCustomer(ctx context.Context, by Actor, id message.ID, change func(*snapshot.Customer) error) (snapshot.Customer, error) {
	var made snapshot.Customer
	before, after := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, "account.update", id.String(), before, after, func(tx pgx.Tx) error {
		if err := lockCustomer(ctx, tx, id); err != nil {
			return err
		}
		is, err := oneCustomer(ctx, tx, id)
		if err != nil {
			return err
		}
		was := shownCustomer(&is.Account)
		if err := change(&is); err != nil {
			return err
		}
		is.ID = id
		if err := writeCustomer(ctx, tx, &is.Account); err != nil {
			return err
		}
		differences(was, shownCustomer(&is.Account), before, after)
		made, err = oneCustomer(ctx, tx, id)
		return err
	})
	return made, err
}

// lockCustomer keeps others from changing an account until the transaction ends.
func lockCustomer(ctx context.Context, tx pgx.Tx, id message.ID) error {
	var status snapshot.AccountStatus
	err := tx.QueryRow(ctx, lockAccountStatus, id).Scan(&status)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return message.Refuse(message.ReasonNotFound, "there is no customer %s", id)
	case err == nil && status == snapshot.AccountClosed:
		return message.Refuse(message.ReasonConflict, "the account is closed")
	}
	return err
}

// countUnderWay goes by the account's own index, in whose order it asks.
//
//	$1 account  $2 how far to count
const countUnderWay = `
select count(*)
from (
  select
  from backlog
  where account_id = $1
  order by account_id, priority
  limit $2) as waiting`

// mostUnderWay is how far the messages of a customer are counted that are on their way.
const mostUnderWay = 1000

// CloseCustomer closes an account for good: nothing is taken from it any more, and what
// waits is refused at its next step. Unless forced that is ReasonConflict while messages
// are on their way to a vendor. One that is closed stays so.
func (db *DB) CloseCustomer(ctx context.Context, by Actor, id message.ID, forced bool, reason string) error {
	before := map[string]any{}
	shown := map[string]any{"status": snapshot.AccountClosed, "reason": reason}
	return db.auditedChange(ctx, by, "account.status", id.String(), before, shown, func(tx pgx.Tx) error {
		var was snapshot.AccountStatus
		err := tx.QueryRow(ctx, lockAccountStatus, id).Scan(&was)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return message.Refuse(message.ReasonNotFound, "there is no customer %s", id)
		case err != nil:
			return err
		}
		before["status"] = was
		if was == snapshot.AccountClosed {
			return nil
		}
		var waiting int
		if err := tx.QueryRow(ctx, countUnderWay, id, mostUnderWay).Scan(&waiting); err != nil {
			return err
		}
		if waiting > 0 && !forced {
			more := ""
			if waiting == mostUnderWay {
				more = "at least "
			}
			return message.Refuse(message.ReasonConflict, "%s%d messages of the customer are on their way: suspend it and wait, or say force=true to have them refused", more, waiting)
		}
		_, err = tx.Exec(ctx, updateAccountStatus, id, snapshot.AccountClosed)
		return err
	})
}

const deleteOtherLimits = `
delete from usage_limits l
where l.account_id = $1
  and not exists (
    select
    from unnest($2::text[], $3::text[], $4::text[]) as w (number, kind, period)
    where w.number = l.number and w.kind = l.kind and w.period = l.period)`

// SetUsageLimits replaces all limits of an account. A limit that stays keeps what is taken
// of it. For a new one the journal is read at the next look at the limits: let that be
// at once, and not when a customer waits.
func (db *DB) SetUsageLimits(ctx context.Context, by Actor, account message.ID, limits []message.UsageLimit) error {
	list := make([]map[string]any, len(limits))
	for i, l := range limits {
		list[i] = map[string]any{"number": l.Number, "type": l.Kind, "period": l.Period, "parts": l.Parts}
	}
	return db.audited(ctx, by, "usage_limits.set", account.String(), map[string]any{"limits": list}, func(tx pgx.Tx) error {
		if err := lockCustomer(ctx, tx, account); err != nil {
			return err
		}
		type l = message.UsageLimit
		_, err := tx.Exec(ctx, deleteOtherLimits, account, pick(limits, func(l l) string { return string(l.Number) }),
			pick(limits, func(l l) string { return string(l.Kind) }), pick(limits, func(l l) string { return string(l.Period) }))
		for _, l := range limits {
			if err == nil {
				_, err = tx.Exec(ctx, upsertLimit, account, string(l.Number), string(l.Kind), string(l.Period), l.Parts)
			}
		}
		return err
	})
}
