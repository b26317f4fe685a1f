package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// untried is a notification as it was written, and when.
type untried struct {
	message.Notification
	at time.Time
}

// untriedFor is how long nobody else tries a new notification: half of what it
// takes to be overdue.
const untriedFor = 30 * time.Second

const selectNotification = `
select id, event_id, account_id, endpoint_id, message_id, type, url, failover_url, payload, attempts, first_attempt_at, state,
  inbound_route, coalesce(inbound_position, 0), coalesce(nullif(method, 'POST'), ''), retries, replays, format
from webhook_deliveries
where id = $1`

// Notification reads one delivery with its state. ReasonNotFound when there is
// none. The first reader after the write in this process gets it from memory:
// nobody else has heard of it yet.
func (db *DB) Notification(ctx context.Context, id message.ID) (message.Notification, message.NotificationState, error) {
	if u, ok := db.untried.take(id); ok && time.Since(u.at) < untriedFor {
		return u.Notification, message.NotificationPending, nil
	}
	var n message.Notification
	var endpoint, about, route *message.ID
	var first *time.Time
	var state string
	err := db.pool.QueryRow(ctx, selectNotification, id).Scan(&n.ID, &n.EventID, &n.AccountID, &endpoint, &about, &n.Type, &n.URL,
		&n.FailoverURL, &n.Payload, &n.Attempts, &first, &state, &route, &n.InboundPosition, &n.Method, &n.Retries, &n.Replays, &n.Format)
	if errors.Is(err, pgx.ErrNoRows) {
		return n, "", message.Refuse(message.ReasonNotFound, "no webhook delivery %s", id)
	}
	if err != nil {
		return n, "", fmt.Errorf("read webhook delivery %s: %w", id, err)
	}
	n.EndpointID, n.MessageID, n.FirstTry, n.InboundRoute = orZero(endpoint), orZero(about), orZero(first), orZero(route)
	return n, message.NotificationState(state), nil
}

const selectDeliveryAccount = `
select account_id
from webhook_deliveries
where id = $1`

// DeliveryAccount tells whose a webhook delivery is. ReasonNotFound when there is none.
func (db *DB) DeliveryAccount(ctx context.Context, id message.ID) (account message.ID, err error) {
	if err = db.pool.QueryRow(ctx, selectDeliveryAccount, id).Scan(&account); err != nil {
		return account, noSuchRow(err, "webhook delivery", id)
	}
	return account, nil
}

const selectPending = `
select id
from webhook_deliveries
where message_id = $1 and id >= ids_near($1) and state = 'pending'
order by id`

// PendingNotifications lists the deliveries of a message that are not done, in
// the order they were made.
func (db *DB) PendingNotifications(ctx context.Context, about message.ID) ([]message.ID, error) {
	rows, err := db.pool.Query(ctx, selectPending, about)
	if err != nil {
		return nil, fmt.Errorf("list webhook deliveries of %s: %w", about, err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[message.ID])
}

// recordAttempt writes one try, its line in the timeline, and when the next is
// due. A try that was recorded before changes nothing, nor does one from before a
// replay. When two processes made a try of the same number, the one that delivered
// counts.
const recordAttempt = `
with tried as (
  update webhook_deliveries
  set attempts = greatest(attempts, $2),
      state = $3,
      last_status = $4,
      last_error = $5,
      last_answer = $6,
      first_attempt_at = coalesce(first_attempt_at, now()),
      last_attempt_at = now(),
      next_attempt_at = now() + $7 * interval '1 second',
      last_ms = $10
  where id = $1 and replays = $11 and state = 'pending' and (attempts < $2 or $3 = 'delivered')
  returning id, account_id, endpoint_id, message_id
), counted as (
  update messages
  set event_seq = event_seq + 1
  where id = $9 and exists (select from tried where message_id = $9)
  returning id, event_seq
), event as (
  insert into message_events (message_id, sequence, at, type, detail)
  select id, event_seq, clock_timestamp(), 'webhook_attempt', $8::jsonb
  from counted
)`

// What a try changes beside it: another comes, none does, or it has arrived. Only tries
// in vain have rows of their own; and an endpoint that took one fails no more, see
// EndpointFailed. That row waits for nobody, or two groups could wait for each other.
const (
	recordTried = recordAttempt + `, attempt as (
  insert into webhook_attempts (delivery_id, replay, number, endpoint_id, http_status, ms, error)
  select id, $11, $2, endpoint_id, $4, $10, $5
  from tried
  on conflict do nothing
)`
	recordPending = recordTried + `
update webhooks_due
set due_at = now() + ($7 + 120) * interval '1 second', account_id = (select account_id from tried)
where delivery_id = $1 and exists (select from tried)`
	recordFailed = recordTried + `, listed as (
  insert into webhook_failed (delivery_id, account_id, endpoint_id)
  select id, account_id, endpoint_id
  from tried
  on conflict do nothing
)
delete from webhooks_due
where delivery_id = $1 and exists (select from tried)`
	recordArrived = recordAttempt + `, well as (
  delete from webhook_failing
  where endpoint_id = (
    select f.endpoint_id
    from webhook_failing f
    where f.endpoint_id = $12
    for update skip locked) and exists (select from tried)
)
delete from webhooks_due
where delivery_id = $1 and exists (select from tried)`
)

// RecordAttempt writes what became of one try.
func (db *DB) RecordAttempt(ctx context.Context, a message.NotificationAttempt) error {
	db.untried.take(a.DeliveryID) // it is tried now, and not as it was remembered
	detail := map[string]any{"attempt": a.Number, "http_status": a.HTTPStatus, "ms": a.Millis}
	if a.Error != "" {
		detail["error"] = a.Error
	}
	if a.Type != "" {
		detail["type"] = a.Type
	}
	key := a.MessageID
	if key == (message.ID{}) {
		key = a.DeliveryID
	}
	args := []any{a.DeliveryID, a.Number, string(a.State), a.HTTPStatus, storable(a.Error), storable(a.Answer), a.NextInSecs, detailJSON(detail), a.MessageID, a.Millis, a.Replay}
	sql := recordPending
	switch a.State {
	case message.NotificationDelivered:
		sql, args = recordArrived, append(args, idOrNull(a.EndpointID))
	case message.NotificationFailed:
		sql = recordFailed
	}
	err := db.one(ctx, key, sql, none, args...)
	if err != nil {
		return fmt.Errorf("record try %d of webhook delivery %s: %w", a.Number, a.DeliveryID, err)
	}
	return nil
}

const selectOverdue = `
select delivery_id
from webhooks_due
where due_at < now() - $1::interval
order by due_at
limit $2`

// OverdueNotifications lists pending deliveries whose next try is overdue by
// more than age: nothing seems to be working on them.
func (db *DB) OverdueNotifications(ctx context.Context, age time.Duration, limit int) ([]message.ID, error) {
	rows, err := db.pool.Query(ctx, selectOverdue, age, limit)
	if err != nil {
		return nil, fmt.Errorf("list overdue webhook deliveries: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[message.ID])
}

const deferOverdue = `
update webhooks_due
set due_at = now() + $2::interval
where delivery_id = any($1::uuid[])`

// DeferNotifications moves the time at which deliveries count as overdue,
// after something was started that works on them.
func (db *DB) DeferNotifications(ctx context.Context, ids []message.ID, by time.Duration) error {
	_, err := db.pool.Exec(ctx, deferOverdue, ids, by)
	return err
}
