package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const deliveryColumns = `
  d.id, d.event_id, d.account_id, d.endpoint_id, d.message_id, d.type, d.url, d.failover_url, d.attempts, d.replays, d.state,
  d.last_status, d.last_error, d.last_answer, d.next_attempt_at, d.last_attempt_at, d.created_at, d.last_ms`

const deliveries = `
select` + deliveryColumns + `
from webhook_deliveries d`

// The lists: of an account or of all, newest first. By endpoint there is no index, which
// every delivery would write; so the newest are looked at, and the page ends there.
const (
	selectAccountDeliveries = deliveries + `
where d.account_id = $1 and d.id < $2
order by d.id desc
limit $3`
	selectAllDeliveries = deliveries + `
where d.id < $1
order by d.id desc
limit $2`
	selectMessageDeliveries = deliveries + `
where ($1::uuid is null or d.account_id = $1) and d.id < $2 and d.message_id = $4 and d.id >= ids_near($4)
order by d.id desc
limit $3`
	selectLookedDeliveries = selectAccountDeliveries
	selectFailedDeliveries = `
select` + deliveryColumns + `
from webhook_failed f
join webhook_deliveries d on d.id = f.delivery_id
where f.account_id = $1 and f.delivery_id < $2 and ($4::uuid is null or f.endpoint_id = $4) and d.state = 'failed'
order by f.delivery_id desc
limit $3`
	selectAllFailed = `
select` + deliveryColumns + `
from webhook_failed f
join webhook_deliveries d on d.id = f.delivery_id
where f.delivery_id < $1 and ($3::uuid is null or f.endpoint_id = $3) and d.state = 'failed'
order by f.delivery_id desc
limit $2`
	// What is under way is a small table; of what was tried in vain it says whose it is.
	selectPendingDeliveries = `
select` + deliveryColumns + `
from webhooks_due w
join lateral (
  select *
  from webhook_deliveries d
  where d.id = w.delivery_id and ($1::uuid is null or d.account_id = $1) and ($4::uuid is null or d.endpoint_id = $4) and d.state = 'pending'
  offset 0) d on true
where ($1::uuid is null or coalesce(w.account_id, $1) = $1) and w.delivery_id < $2
order by w.delivery_id desc
limit $3`
	selectDelivery = deliveries + `
where d.id = $2 and ($1::uuid is null or d.account_id = $1)`
)

// orLast is an id, or for the zero one that behind all: a condition by it uses the index.
func orLast(id message.ID) message.ID {
	if id == (message.ID{}) {
		for i := range id {
			id[i] = 0xff
		}
	}
	return id
}

func scanDelivery(row pgx.CollectableRow) (d message.WebhookDelivery, err error) {
	var endpoint, about *message.ID
	var next, last *time.Time
	var state string
	var ms int
	err = row.Scan(&d.ID, &d.EventID, &d.AccountID, &endpoint, &about, &d.Type, &d.URL, &d.FailoverURL, &d.Attempts, &d.Replays, &state,
		&d.LastStatus, &d.LastError, &d.LastAnswer, &next, &last, &d.CreatedAt, &ms)
	d.EndpointID, d.MessageID, d.LastAttemptAt, d.State = orZero(endpoint), orZero(about), orZero(last), message.NotificationState(state)
	switch d.State {
	case message.NotificationPending:
		d.NextAttemptAt = orZero(next)
	case message.NotificationDelivered: // tries in vain have rows of their own
		d.Tries = []message.WebhookTry{{At: d.LastAttemptAt, HTTPStatus: d.LastStatus, Millis: ms}}
	}
	return d, err
}

// WebhookDeliveries lists deliveries of an account, or for the zero id of all, newest
// first, older than before; without their tries. With a filter for an endpoint alone it
// looks at message.MaxWebhookLooked of them: behind is not zero if more may lie behind it.
func (db *DB) WebhookDeliveries(ctx context.Context, account message.ID, f message.WebhookFilter, before message.ID, limit int) (list []message.WebhookDelivery, behind message.ID, err error) {
	looked := 0
	sql, args := selectAccountDeliveries, []any{account, orLast(before), limit}
	anyAccount := account == (message.ID{})
	switch {
	case f.Message != (message.ID{}):
		sql, args = selectMessageDeliveries, []any{idOrNull(account), orLast(before), limit, f.Message}
	case f.State == message.NotificationFailed && anyAccount:
		sql, args = selectAllFailed, []any{orLast(before), limit, idOrNull(f.Endpoint)}
	case f.State == message.NotificationFailed:
		sql, args = selectFailedDeliveries, append(args, idOrNull(f.Endpoint))
	case f.State == message.NotificationPending:
		sql, args = selectPendingDeliveries, []any{idOrNull(account), orLast(before), limit, idOrNull(f.Endpoint)}
	default:
		if f != (message.WebhookFilter{}) {
			looked = message.MaxWebhookLooked
			args[2] = looked
		}
		if anyAccount {
			sql, args = selectAllDeliveries, args[1:]
		}
	}
	rows, err := db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, behind, fmt.Errorf("list webhook deliveries: %w", err)
	}
	defer rows.Close()
	seen := 0
	for rows.Next() && len(list) < limit {
		d, err := scanDelivery(rows)
		if err != nil {
			return nil, behind, fmt.Errorf("list webhook deliveries: %w", err)
		}
		if seen++; seen == looked {
			behind = d.ID
		}
		if (f.Endpoint == (message.ID{}) || d.EndpointID == f.Endpoint) && (f.State == "" || d.State == f.State) {
			d.Tries = nil
			list = append(list, d)
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, behind, fmt.Errorf("list webhook deliveries: %w", err)
	}
	return list, behind, nil
}

const selectTries = `
select at, http_status, ms, error
from webhook_attempts
where delivery_id = $1
order by replay, number`

// WebhookDelivery reads one with its tries; one of another account is ReasonNotFound. The
// zero account is any.
func (db *DB) WebhookDelivery(ctx context.Context, account, id message.ID) (message.WebhookDelivery, error) {
	rows, err := db.pool.Query(ctx, selectDelivery, idOrNull(account), id)
	if err != nil {
		return message.WebhookDelivery{}, fmt.Errorf("read webhook delivery %s: %w", id, err)
	}
	d, err := pgx.CollectExactlyOneRow(rows, scanDelivery)
	if err != nil {
		return d, noSuchRow(err, "webhook delivery", id)
	}
	if rows, err = db.pool.Query(ctx, selectTries, id); err != nil {
		return d, fmt.Errorf("read the tries of webhook delivery %s: %w", id, err)
	}
	tries, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t message.WebhookTry, err error) {
		err = row.Scan(&t.At, &t.HTTPStatus, &t.Millis, &t.Error)
		return t, err
	})
	d.Tries = append(tries, d.Tries...)
	return d, err
}

// replayDeliveries puts deliveries back that are done. The sweep starts them, fifty a
// second, so that the deliveries of others come in between. The try that succeeded is
// kept, since its row tells of the next.
const replayDeliveries = `
with was as (
  select id, account_id, endpoint_id, state, attempts, replays, last_attempt_at, last_status, last_ms
  from webhook_deliveries
  where id = any($1::uuid[]) and state <> 'pending'
  for update
), kept as (
  insert into webhook_attempts (delivery_id, replay, number, endpoint_id, at, http_status, ms, error)
  select id, replays, attempts, endpoint_id, last_attempt_at, last_status, last_ms, ''
  from was
  where state = 'delivered' and last_attempt_at is not null
  on conflict do nothing
), unlisted as (
  delete from webhook_failed f
  using was
  where f.delivery_id = was.id
), back as (
  update webhook_deliveries d
  set state = 'pending', replays = was.replays + 1, attempts = 0, first_attempt_at = null, next_attempt_at = now(),
      url = coalesce((select e.url from webhook_endpoints e where e.id = was.endpoint_id), d.url),
      failover_url = coalesce((select e.failover_url from webhook_endpoints e where e.id = was.endpoint_id), d.failover_url)
  from was
  where d.id = was.id and d.id = any($1::uuid[])
  returning d.id
)
insert into webhooks_due (delivery_id, due_at, account_id)
select was.id, now() - interval '1 minute' + row_number() over (order by was.id) * interval '20 milliseconds', was.account_id
from was
join back on back.id = was.id
on conflict (delivery_id) do update
set due_at = excluded.due_at`

const selectReplayable = `
select d.state = 'pending', d.endpoint_id is not null and e.id is null, e.id is not null and not e.active
from webhook_deliveries d
left join webhook_endpoints e on e.id = d.endpoint_id
where d.id = $2 and ($1::uuid is null or d.account_id = $1)`

// ReplayDelivery puts one back, and reports whether it was not on its way anyhow. The
// zero account is any. ReasonConflict when its endpoint is gone or not active.
func (db *DB) ReplayDelivery(ctx context.Context, by Actor, account, id message.ID, key *message.Idempotency) (queued bool, err error) {
	err = db.audited(ctx, by, "webhook_delivery.replay", id.String(), nil, func(tx pgx.Tx) error {
		queued = false
		if err := db.keepAnswer(ctx, tx, key); err != nil {
			return err
		}
		var pending, gone, off bool
		if err := tx.QueryRow(ctx, selectReplayable, idOrNull(account), id).Scan(&pending, &gone, &off); err != nil {
			return noSuchRow(err, "webhook delivery", id)
		}
		switch {
		case gone:
			return message.Refuse(message.ReasonConflict, "its endpoint is gone: GET /v1/messages has what it told of")
		case off:
			return message.Refuse(message.ReasonConflict, "its endpoint is not active: enable it first")
		case pending:
			return nil
		}
		tag, err := tx.Exec(ctx, replayDeliveries, []message.ID{id})
		queued = err == nil && tag.RowsAffected() == 1
		return err
	})
	return queued, err
}

const rangeColumns = `
select d.id, d.endpoint_id, d.type, d.state <> 'pending' and (d.endpoint_id is null or coalesce((select e.active from webhook_endpoints e where e.id = d.endpoint_id), false))
from (`

const (
	selectFailedRange = rangeColumns + `
  select delivery_id as id
  from webhook_failed
  where account_id = $1 and delivery_id >= $2 and delivery_id < $3
  order by delivery_id
  limit $4) r
join webhook_deliveries d on d.id = r.id
order by d.id`
	selectAllRange = rangeColumns + `
  select id, endpoint_id, type, state
  from webhook_deliveries
  where account_id = $1 and id >= $2 and id < $3
  order by id
  limit $4) d
order by d.id`
)

// ReplayDeliveries puts back what r names, oldest first, up to message.MaxReplayed. What
// is on its way already stays as it is, so asking twice does nothing twice. What goes to
// endpoints that are gone or not active is left out; an endpoint that r names must be
// there and active. answer renders what an idempotency key keeps; nil: there is no key.
func (db *DB) ReplayDeliveries(ctx context.Context, by Actor, r message.WebhookReplay, answer func(message.WebhookReplayed) (*message.Idempotency, error)) (message.WebhookReplayed, error) {
	var out message.WebhookReplayed
	after := map[string]any{"account_id": r.Account, "after": r.After, "before": r.Before, "all": r.All}
	target := r.Account
	if r.Endpoint != (message.ID{}) {
		target = r.Endpoint
	}
	err := db.audited(ctx, by, "webhook_delivery.replay_range", target.String(), after, func(tx pgx.Tx) error {
		out = message.WebhookReplayed{}
		if r.Endpoint != (message.ID{}) {
			e, err := db.readEndpoint(ctx, tx, lockOwnEndpoint, r.Account, r.Endpoint)
			if err != nil {
				return err
			}
			if !e.Active {
				return message.Refuse(message.ReasonConflict, "the endpoint is not active: enable it first")
			}
		}
		ids, next, err := replayable(ctx, tx, r)
		if err != nil {
			return err
		}
		out.NextAfter = next
		for chunk := range slices.Chunk(ids, 1000) {
			tag, err := tx.Exec(ctx, replayDeliveries, chunk)
			if err != nil {
				return err
			}
			out.Queued += int(tag.RowsAffected())
		}
		after["queued"] = out.Queued
		if answer == nil {
			return nil
		}
		key, err := answer(out)
		if err != nil {
			return err
		}
		return db.keepAnswer(ctx, tx, key)
	})
	return out, err
}

// replayable lists what r names, and where to go on if that is not all.
func replayable(ctx context.Context, tx pgx.Tx, r message.WebhookReplay) (ids []message.ID, next time.Time, err error) {
	sql := selectFailedRange
	if r.All {
		sql = selectAllRange
	}
	rows, err := tx.Query(ctx, sql, r.Account, idAt(r.After), idAt(r.Before), message.MaxReplayLooked+1)
	if err != nil {
		return nil, next, err
	}
	defer rows.Close()
	for seen := 1; rows.Next(); seen++ {
		var id message.ID
		var endpoint *message.ID
		var kind string
		var can bool
		if err := rows.Scan(&id, &endpoint, &kind, &can); err != nil {
			return nil, next, err
		}
		if seen > message.MaxReplayLooked || len(ids) == message.MaxReplayed {
			return ids, timeOf(id), nil
		}
		if can && (r.Endpoint == (message.ID{}) || orZero(endpoint) == r.Endpoint) && (len(r.Types) == 0 || slices.Contains(r.Types, kind)) {
			ids = append(ids, id)
		}
	}
	return ids, next, rows.Err()
}

const insertTested = `
with made as (
  insert into webhook_deliveries (id, event_id, account_id, endpoint_id, type, url, failover_url, payload, state, attempts,
    last_status, last_error, last_answer, first_attempt_at, last_attempt_at, last_ms)
  values ($1, $2, $3, $4, $5, $6, '', $7, $8, 1, $9, $10, $11, now(), now(), $12)
  returning id, account_id, endpoint_id, state
), attempt as (
  insert into webhook_attempts (delivery_id, replay, number, endpoint_id, http_status, ms, error)
  select id, 0, 1, endpoint_id, $9, $12, $10
  from made
  where state = 'failed'
)
insert into webhook_failed (delivery_id, account_id, endpoint_id)
select id, account_id, endpoint_id
from made
where state = 'failed'`

// RecordTested writes a delivery of which one try was made and no other will be.
func (db *DB) RecordTested(ctx context.Context, n message.Notification, a message.NotificationAttempt) error {
	_, err := db.pool.Exec(ctx, insertTested, n.ID, n.EventID, n.AccountID, idOrNull(n.EndpointID), n.Type, n.URL, n.Payload, string(a.State),
		a.HTTPStatus, storable(a.Error), storable(a.Answer), a.Millis)
	if err != nil {
		return fmt.Errorf("record test of webhook endpoint %s: %w", n.EndpointID, err)
	}
	return nil
}
