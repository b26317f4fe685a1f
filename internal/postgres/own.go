package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// answerOf makes the answer that is kept for the key of a request out of what the
// request has made; nil: the request has no key.
type answerOf[T any] = func(made T) (message.Idempotency, error)

// auditedOnce is audited for a request that may have a key: its answer is kept with the
// change. A replay is the first answer, when that was kept meanwhile; nothing is changed
// then.
func auditedOnce[T any](ctx context.Context, db *DB, by Actor, action, target string, shown any, answer answerOf[T], change func(pgx.Tx) (T, error)) (made T, replay *message.Idempotency, err error) {
	var key message.Idempotency
	err = db.audited(ctx, by, action, target, shown, func(tx pgx.Tx) (err error) {
		if made, err = change(tx); err != nil || answer == nil {
			return err
		}
		if key, err = answer(made); err != nil {
			return err
		}
		return db.keepKey(ctx, tx, key)
	})
	if errors.Is(err, errKeySeen) {
		var none T
		first, err := db.replay(ctx, key)
		return none, first.Replay, err
	}
	return made, nil, err
}

// one reads what a query gives at most one of; what it gives none of is ReasonNotFound.
func one[T any](ctx context.Context, q querier, scan pgx.RowToFunc[T], what string, id fmt.Stringer, sql string, args ...any) (T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		var none T
		return none, fmt.Errorf("read %s %s: %w", what, id, err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, scan)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return row, message.Refuse(message.ReasonNotFound, "there is no %s %s", what, id)
	case err != nil:
		return row, fmt.Errorf("read %s %s: %w", what, id, err)
	}
	return row, nil
}

const selectLockedCustomer = `select` + customerColumns + `
from accounts a
where a.id = $1
for no key update of a`

const updateOwnAccount = `
update accounts
set company_name = $2,
    time_zone = $3,
    default_message_class = $4,
    delivery = $5,
    ordered_conversations = $6,
    internal_delivery = $7,
    media_transcoding = $8,
    smart_encoding = $9,
    max_parts = $10,
    content_retention_days = $11,
    default_country = $12,
    updated_at = now()
where id = $1`

const selectInZone = `
select now() at time zone $1`

// invalidParameter is what Postgres says of a time zone that it does not know.
const invalidParameter = "22023"

// ChangeOwnAccount changes the settings of an account that are the customer's to change,
// and leaves the others as they are whatever change does to them. It returns the account
// as it is then. A time zone that Postgres does not know is ReasonInvalidRequest.
func (db *DB) ChangeOwnAccount(ctx context.Context, by Actor, id message.ID, change func(*snapshot.Customer) error) (snapshot.Customer, error) {
	var made snapshot.Customer
	before, after := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, "account.update", id.String(), before, after, func(tx pgx.Tx) error {
		was, err := one(ctx, tx, scanCustomer, "account", id, selectLockedCustomer, id)
		if err != nil {
			return err
		}
		c := was
		if err := change(&c); err != nil {
			return err
		}
		if c.TimeZone != was.TimeZone {
			if _, err := tx.Exec(ctx, selectInZone, c.TimeZone); sqlState(err) == invalidParameter {
				return message.Because(message.ReasonInvalidRequest, err, "there is no time zone %s", c.TimeZone)
			} else if err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, updateOwnAccount, id, c.CompanyName, c.TimeZone, c.DefaultClass, c.Delivery, c.OrderedConversations, c.InternalDelivery,
			c.MediaTranscoding, c.SmartEncoding, c.MaxParts, c.ContentRetentionDays, c.DefaultCountry); err != nil {
			return err
		}
		differences(ownSettings(was), ownSettings(c), before, after)
		made, err = oneCustomer(ctx, tx, id)
		return err
	})
	return made, err
}

func ownSettings(c snapshot.Customer) map[string]any {
	return map[string]any{"company_name": c.CompanyName, "time_zone": c.TimeZone, "default_message_class": c.DefaultClass, "delivery": c.Delivery,
		"ordered_conversations": c.OrderedConversations, "internal_delivery": c.InternalDelivery, "media_transcoding": c.MediaTranscoding,
		"smart_encoding": c.SmartEncoding, "max_parts": c.MaxParts, "content_retention_days": c.ContentRetentionDays, "default_country": c.DefaultCountry}
}

const numberColumns = `
  n.number, n.account_id, n.vendor_id, n.type, n.sms_enabled, n.mms_enabled, n.campaign, n.verification, n.tag, n."group", n.leased_until, n.rate_limit,
  n.auto_reply, coalesce(c.campaign_id, ''), n.created_at, n.updated_at`

// $1 account  $2 the number before; empty: from the first  $3 to $6 what must be so; empty: anything
const selectOwnNumbers = fromNumbers + `
where n.account_id = $1 and n.number > $2
  and ($3 = '' or n.type = $3) and ($4 = '' or n.tag = $4) and ($5 = '' or n."group" = $5) and ($6 = '' or c.campaign_id = $6)
order by n.number
limit $7`

const selectOwnNumber = fromNumbers + `
where n.account_id = $1 and n.number = $2`

func scanNumber(row pgx.CollectableRow) (snapshot.NumberState, error) {
	var n snapshot.NumberState
	var vendor, campaign *message.ID
	var leased *time.Time
	err := row.Scan((*string)(&n.Number.Number), &n.AccountID, &vendor, &n.Type, &n.SMSEnabled, &n.MMSEnabled, &campaign, &n.Verification, &n.Tag, &n.Group, &leased,
		&n.RateLimit, &n.AutoReply, &n.CampaignID, &n.CreatedAt, &n.UpdatedAt)
	n.VendorID, n.Campaign, n.LeasedUntil = orZero(vendor), orZero(campaign), orZero(leased)
	return n, err
}

// OwnNumbers lists an account's numbers in order: at most limit, behind the one `after`
// when that is not empty.
func (db *DB) OwnNumbers(ctx context.Context, account message.ID, f snapshot.NumberFilter, after message.Address, limit int) ([]snapshot.NumberState, error) {
	rows, err := db.pool.Query(ctx, selectOwnNumbers, account, string(after), string(f.Type), storable(f.Tag), storable(f.Group), storable(f.CampaignID), limit)
	if err != nil {
		return nil, fmt.Errorf("list numbers: %w", err)
	}
	return pgx.CollectRows(rows, scanNumber)
}

// named is an address that can name itself.
type named string

func (n named) String() string { return string(n) }

// OwnNumber reads a number of an account; ReasonNotFound when that has none such.
func (db *DB) OwnNumber(ctx context.Context, account message.ID, number message.Address) (snapshot.NumberState, error) {
	return one(ctx, db.pool, scanNumber, "number", named(number), selectOwnNumber, account, string(number))
}

const lockOwnNumber = selectOwnNumber + `
for no key update of n`

const updateNumberWords = `
update numbers
set tag = $2, "group" = $3, updated_at = now()
where number = $1`

// ChangeOwnNumber changes tag and group of an account's number, and nothing else of it
// whatever change does. It returns the number as it is then; ReasonNotFound when the
// account has none such.
func (db *DB) ChangeOwnNumber(ctx context.Context, by Actor, account message.ID, number message.Address, change func(*snapshot.NumberState) error) (snapshot.NumberState, error) {
	var made snapshot.NumberState
	before, after := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, "number.update", string(number), before, after, func(tx pgx.Tx) error {
		was, err := one(ctx, tx, scanNumber, "number", named(number), lockOwnNumber, account, string(number))
		if err != nil {
			return err
		}
		n := was
		if err := change(&n); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, updateNumberWords, string(number), storable(n.Tag), storable(n.Group)); err != nil {
			return err
		}
		note(before, after, "tag", was.Tag, &n.Tag)
		note(before, after, "group", was.Group, &n.Group)
		made, err = one(ctx, tx, scanNumber, "number", named(number), selectOwnNumber, account, string(number))
		return err
	})
	return made, err
}

// networks is never null.
func networks(list []netip.Prefix) []netip.Prefix {
	if list == nil {
		return []netip.Prefix{}
	}
	return list
}

// texts is never null.
func texts(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
