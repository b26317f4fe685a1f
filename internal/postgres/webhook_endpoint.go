package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// endpointDisabled is the type of the event that an endpoint was disabled; package
// notification lists it, and a test holds the two together.
const endpointDisabled = "endpoint.disabled"

const endpointColumns = `
select e.id, e.account_id, e.url, e.failover_url, e.event_types, e.format, e.active, e.disabled_reason,
  (select f.since from webhook_failing f where f.endpoint_id = e.id),
  case when e.old_until > now() then e.old_until end, e.created_at, e.updated_at, e.secret, e.old_secret
from webhook_endpoints e`

const selectOwnEndpoints = endpointColumns + `
where e.account_id = $1 and e.id < $2
order by e.id desc
limit $3`

const selectOwnEndpoint = endpointColumns + `
where e.id = $2 and e.account_id = $1`

const lockOwnEndpoint = selectOwnEndpoint + `
for update`

func (db *DB) scanEndpoint(row pgx.CollectableRow) (e message.WebhookEndpoint, err error) {
	var since, until *time.Time
	var sealed, old []byte
	if err = row.Scan(&e.ID, &e.AccountID, &e.URL, &e.FailoverURL, &e.EventTypes, &e.Format, &e.Active, &e.DisabledReason, &since,
		&until, &e.CreatedAt, &e.UpdatedAt, &sealed, &old); err != nil {
		return e, err
	}
	e.FailingSince, e.OldUntil = orZero(since), orZero(until)
	if e.Secret, err = db.opened(sealed, e.ID); err != nil {
		return e, fmt.Errorf("secret of webhook endpoint %s: %w", e.ID, err)
	}
	if until != nil {
		if e.OldSecret, err = db.opened(old, e.ID); err != nil {
			return e, fmt.Errorf("old secret of webhook endpoint %s: %w", e.ID, err)
		}
	}
	return e, nil
}

// WebhookEndpoints lists an account's endpoints, newest first, older than before. They
// are without their secrets.
func (db *DB) WebhookEndpoints(ctx context.Context, account, before message.ID, limit int) ([]message.WebhookEndpoint, error) {
	rows, err := db.pool.Query(ctx, selectOwnEndpoints, account, orLast(before), limit)
	if err != nil {
		return nil, fmt.Errorf("list webhook endpoints: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (message.WebhookEndpoint, error) {
		e, err := db.scanEndpoint(row)
		e.Secret, e.OldSecret = "", ""
		return e, err
	})
}

// WebhookEndpoint reads one with its secrets; another account's is ReasonNotFound.
func (db *DB) WebhookEndpoint(ctx context.Context, account, id message.ID) (message.WebhookEndpoint, error) {
	return db.readEndpoint(ctx, db.pool, selectOwnEndpoint, account, id)
}

func (db *DB) readEndpoint(ctx context.Context, q querier, sql string, account, id message.ID) (message.WebhookEndpoint, error) {
	rows, err := q.Query(ctx, sql, account, id)
	if err != nil {
		return message.WebhookEndpoint{}, fmt.Errorf("read webhook endpoint %s: %w", id, err)
	}
	e, err := pgx.CollectExactlyOneRow(rows, db.scanEndpoint)
	return e, noSuchRow(err, "webhook endpoint", id)
}

// shownEndpoint is an endpoint for the audit log: of its URLs the hosts would be enough,
// but who moved one must be found; secrets are never in it.
func shownEndpoint(e message.WebhookEndpoint) map[string]any {
	return map[string]any{"account_id": e.AccountID, "event_types": orNone(e.EventTypes), "format": e.Format, "active": e.Active}
}

func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

const countEndpoints = `
select count(*)
from webhook_endpoints
where account_id = $1`

const insertOwnEndpoint = `
insert into webhook_endpoints (id, account_id, url, failover_url, event_types, secret, format, active, created_at, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)`

// AddWebhookEndpoint stores a new one, with key the answer to the request as well.
// ReasonConflict when there are message.MaxWebhookEndpoints.
func (db *DB) AddWebhookEndpoint(ctx context.Context, by Actor, e message.WebhookEndpoint, key *message.Idempotency) error {
	return db.audited(ctx, by, "webhook_endpoint.create", e.ID.String(), shownEndpoint(e), func(tx pgx.Tx) error {
		if err := db.keepAnswer(ctx, tx, key); err != nil {
			return err
		}
		if err := roomFor(ctx, tx, e.AccountID, countEndpoints, e.AccountID, message.MaxWebhookEndpoints, "webhook endpoints"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, insertOwnEndpoint, e.ID, e.AccountID, storable(e.URL), storable(e.FailoverURL), orNone(e.EventTypes),
			db.sealer.Seal([]byte(e.Secret), e.ID[:]), e.Format, e.Active, e.CreatedAt)
		return err
	})
}

const updateEndpoint = `
update webhook_endpoints
set url = $2, failover_url = $3, event_types = $4, format = $5, active = $6, disabled_reason = $7, updated_at = now()
where id = $1
returning updated_at`

const deleteFailing = `
delete from webhook_failing
where endpoint_id = $1`

// ChangeWebhookEndpoint has change alter what is stored, which nobody else does meanwhile;
// its error ends it. One that becomes active has failed never.
func (db *DB) ChangeWebhookEndpoint(ctx context.Context, by Actor, account, id message.ID, change func(*message.WebhookEndpoint) error) (message.WebhookEndpoint, error) {
	var e message.WebhookEndpoint
	before, after := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, "webhook_endpoint.update", id.String(), before, after, func(tx pgx.Tx) error {
		var err error
		if e, err = db.readEndpoint(ctx, tx, lockOwnEndpoint, account, id); err != nil {
			return err
		}
		was := e
		if err := change(&e); err != nil {
			return err
		}
		if e.Active {
			e.DisabledReason = ""
		}
		if e.Active && !was.Active {
			e.FailingSince = time.Time{}
			if _, err := tx.Exec(ctx, deleteFailing, id); err != nil {
				return err
			}
		}
		for name, v := range shownEndpoint(was) {
			before[name] = v
		}
		for name, v := range shownEndpoint(e) {
			after[name] = v
		}
		after["url_changed"] = was.URL != e.URL || was.FailoverURL != e.FailoverURL
		return tx.QueryRow(ctx, updateEndpoint, id, storable(e.URL), storable(e.FailoverURL), orNone(e.EventTypes), e.Format, e.Active, e.DisabledReason).Scan(&e.UpdatedAt)
	})
	e.Secret, e.OldSecret = "", ""
	return e, err
}

const deleteEndpoint = `
delete from webhook_endpoints
where id = $1`

// RemoveWebhookEndpoint takes an endpoint away, if check finds nothing against it. What
// was on its way to it fails at its next try.
func (db *DB) RemoveWebhookEndpoint(ctx context.Context, by Actor, account, id message.ID, check func(message.WebhookEndpoint) error) error {
	before := map[string]any{}
	return db.auditedChange(ctx, by, "webhook_endpoint.delete", id.String(), before, nil, func(tx pgx.Tx) error {
		e, err := db.readEndpoint(ctx, tx, lockOwnEndpoint, account, id)
		if err != nil {
			return err
		}
		if err := check(e); err != nil {
			return err
		}
		for name, v := range shownEndpoint(e) {
			before[name] = v
		}
		return exactlyOne(tx.Exec(ctx, deleteEndpoint, id))
	})
}

const rotateEndpoint = `
update webhook_endpoints
set old_secret = case when $3 > 0 then secret end, old_until = case when $3 > 0 then now() + $3 * interval '1 second' end, secret = $2, updated_at = now()
where id = $1`

// RotateEndpointSecret gives an endpoint another secret. The one before signs as well for
// overlap, in whole seconds; one before that no more.
func (db *DB) RotateEndpointSecret(ctx context.Context, by Actor, account, id message.ID, secret string, overlap time.Duration, key *message.Idempotency) error {
	after := map[string]any{"account_id": account, "overlap_seconds": int(overlap / time.Second)}
	return db.audited(ctx, by, "webhook_endpoint.rotate", id.String(), after, func(tx pgx.Tx) error {
		if err := db.keepAnswer(ctx, tx, key); err != nil {
			return err
		}
		if _, err := db.readEndpoint(ctx, tx, lockOwnEndpoint, account, id); err != nil {
			return err
		}
		return exactlyOne(tx.Exec(ctx, rotateEndpoint, id, db.sealer.Seal([]byte(secret), id[:]), int(overlap/time.Second)))
	})
}

const rotateAccount = `
update accounts
set webhook_old_secret = case when $3 > 0 then webhook_secret end,
    webhook_old_until = case when $3 > 0 then now() + $3 * interval '1 second' end,
    webhook_secret = $2, updated_at = now()
where id = $1`

// RotateAccountSecret is RotateEndpointSecret for what signs where there is no other.
func (db *DB) RotateAccountSecret(ctx context.Context, by Actor, account message.ID, secret string, overlap time.Duration, key *message.Idempotency) error {
	after := map[string]any{"overlap_seconds": int(overlap / time.Second)}
	return db.audited(ctx, by, "account.webhook_secret", account.String(), after, func(tx pgx.Tx) error {
		if err := db.keepAnswer(ctx, tx, key); err != nil {
			return err
		}
		return exactlyOne(tx.Exec(ctx, rotateAccount, account, db.sealer.Seal([]byte(secret), account[:]), int(overlap/time.Second)))
	})
}

// noteFailing notes since when an endpoint fails, and tells whether that is too long and
// its tries in vain are too many. It does not see its own row, which is new.
const noteFailing = `
with noted as (
  insert into webhook_failing (endpoint_id)
  select id
  from webhook_endpoints
  where id = $1 and active
  on conflict do nothing
)
select f.since < now() - $3::interval and (
  select count(*)
  from (
    select
    from webhook_attempts a
    where a.endpoint_id = $1 and a.at >= f.since and a.http_status not between 200 and 299
    limit $2) tries) >= $2
from webhook_failing f
where f.endpoint_id = $1`

// EndpointFailed is told of a try at an endpoint that was in vain and is on record. When
// there was no other for so long, and so many of them, the endpoint is disabled: see
// DisableEndpoint.
func (db *DB) EndpointFailed(ctx context.Context, id message.ID, tries int, within time.Duration) (disabled bool, err error) {
	var over bool
	rows, err := db.pool.Query(ctx, noteFailing, id, tries, within)
	if err == nil {
		var list []bool
		list, err = pgx.CollectRows(rows, pgx.RowTo[bool])
		over = len(list) == 1 && list[0]
	}
	if err != nil {
		return false, fmt.Errorf("note a failed try at webhook endpoint %s: %w", id, err)
	}
	if !over {
		return false, nil
	}
	return db.DisableEndpoint(ctx, id, fmt.Sprintf("no try has succeeded for %d days, of %d and more", int(within/(24*time.Hour)), tries))
}

const disableEndpoint = `
update webhook_endpoints
set active = false, disabled_reason = $2, updated_at = now()
where id = $1 and active
returning account_id, url, updated_at`

// endpointEvent is what the event says, and its whole body in format flat.
type endpointEvent struct {
	EndpointID string `json:"endpoint_id"`
	URL        string `json:"url"`
	Reason     string `json:"reason"`
	DisabledAt string `json:"disabled_at"`
}

var errNotActive = message.Refuse(message.ReasonConflict, "the endpoint is not active")

// DisableEndpoint turns an endpoint off and tells its account's others. One that is off
// stays as it is. What is on its way to it fails at its next try, is listed, and can be
// replayed once the endpoint is enabled.
func (db *DB) DisableEndpoint(ctx context.Context, id message.ID, reason string) (disabled bool, err error) {
	err = db.audited(ctx, Actor{Name: "postrider", Role: "system"}, "webhook_endpoint.disable", id.String(), map[string]any{"reason": reason}, func(tx pgx.Tx) error {
		event := endpointEvent{EndpointID: id.String(), Reason: reason}
		var account message.ID
		var at time.Time
		rows, err := tx.Query(ctx, disableEndpoint, id, reason)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, []any{&account, &event.URL, &at}, func() error { return nil })
		if err != nil {
			return err
		}
		if account == (message.ID{}) {
			return errNotActive
		}
		if _, err := tx.Exec(ctx, deleteFailing, id); err != nil {
			return err
		}
		event.DisabledAt = at.UTC().Format("2006-01-02T15:04:05.000Z07:00")
		return tellEndpoints(ctx, tx, account, endpointDisabled, event)
	})
	if message.ReasonOf(err) == message.ReasonConflict {
		return false, nil
	}
	return err == nil, err
}
