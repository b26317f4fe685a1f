package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const selectReceived = `
select m.complete, coalesce(i.keyword, ''), coalesce(i.received_at, m.created_at), i.subject, i.media, i.group_recipients, coalesce(o.read_report, false)
from messages m
left join inbound_messages i on i.id = m.id
left join mm4_origins o on o.message_id = m.id
where m.id = $1 and m.direction = 'inbound'`

// Received reads an inbound message as its owner is told of it, whoever that is.
// ReasonNotFound when there is none.
func (db *DB) Received(ctx context.Context, id message.ID) (message.Received, error) {
	var r message.Received
	var subject, media []byte
	err := db.pool.QueryRow(ctx, selectReceived, id).Scan(&r.Complete, &r.Keyword, &r.ReceivedAt, &subject, &media, &r.Group, &r.ReadReport)
	if err == nil {
		r.Subject, r.Media, err = db.openMMS(id, subject, media)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return r, message.Refuse(message.ReasonNotFound, "no inbound message %s", id)
	}
	if err != nil {
		return r, fmt.Errorf("read inbound message %s: %w", id, err)
	}
	r.Message, err = db.Message(ctx, id)
	return r, err
}

// lockInbound keeps two who plan the same message apart.
const lockInbound = `
select clock_timestamp()
from messages
where id = $1 and direction = 'inbound'
for no key update`

const insertInboundDelivery = `
insert into inbound_deliveries (message_id, position, method, state, last_error, route_id, email_address, fallback, done_at)
values ($1, $2, $3, $4::text, $5, $6, $7, $8, case when $4::text <> 'pending' then now() end)`

const insertInboundWebhook = `
with delivery as (
  insert into webhook_deliveries (id, event_id, account_id, endpoint_id, message_id, type, url, failover_url, payload, inbound_route, inbound_position, method, retries)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
  returning id
)
insert into webhooks_due (delivery_id, due_at)
select id, now() + interval '60 seconds'
from delivery`

// insertInboundSMPP owes the message to a credential of its account, in the order of
// its conversation, which is that of coming in: workflows plan in any order. The ordinal
// tells several credentials apart, for one message.
const insertInboundSMPP = `
insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, ordinal, expires_at, created_at, conversation)
select $1, c.id, m.account_id, m.id, 'message', m.status, $4, now() + c.mo_lifetime_seconds * interval '1 second', m.created_at,
  smpp_conversation(c.id, m.from_addr, m.to_addr)
from messages m
join smpp_credentials c on c.id = $3 and c.account_id = m.account_id
where m.id = $2`

const loseInboundDelivery = `
update inbound_deliveries
set state = 'failed', last_error = $3, done_at = now()
where message_id = $1 and position = $2 and state = 'pending'`

// addInboundEvent adds a line to the message's timeline.
const addInboundEvent = `
with counted as (
  update messages
  set event_seq = event_seq + 1
  where id = $1
  returning id, event_seq
)
insert into message_events (message_id, sequence, at, type, detail)
select c.id, c.event_seq, clock_timestamp(), $2, $3::jsonb
from counted c`

// addPlannedEvent is addInboundEvent for the line at which the message is in its owner's
// feed.
const addPlannedEvent = `
with counted as (
  update messages
  set event_seq = event_seq + 1
  where id = $1
  returning id, event_seq, account_id
)
insert into message_events (message_id, sequence, at, type, detail, account_id, feed_xid, told)
select c.id, c.event_seq, $2, 'delivery_planned', $3::jsonb, c.account_id, pg_current_xact_id(), $4::jsonb
from counted c
returning account_id`

// PlanInbound writes where a message goes, with everything that has to be done for it,
// unless that was written before; and reads what is owed then. Nothing of it is done
// before the commit, and what it holds is not changed by settings any more. From here on
// the message is in its owner's feed; said is SaidOfNumber.
func (db *DB) PlanInbound(ctx context.Context, id message.ID, plan []message.InboundPlanned, said string) ([]message.InboundOwed, error) {
	var owed []message.InboundOwed
	var account message.ID
	fresh := false
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		at, err := lockInboundMessage(ctx, tx, id)
		if err != nil {
			return err
		}
		if owed, err = inboundOwed(ctx, tx, id); err != nil || len(owed) > 0 {
			return err
		}
		fresh = true
		methods := make([]message.InboundMethod, 0, len(plan))
		for i := range plan {
			p := happened(plan[i], at)
			plan[i] = p
			if err := insertPlanned(ctx, tx, id, p); err != nil {
				return err
			}
			methods = append(methods, p.Method)
		}
		detail := detailJSON(map[string]any{"methods": methods})
		if err := tx.QueryRow(ctx, addPlannedEvent, id, at, detail, orNull(withoutNUL(said))).Scan(&account); err != nil {
			return err
		}
		owed, err = inboundOwed(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("plan inbound message %s: %w", id, err)
	}
	if fresh {
		db.planned(id, plan...)
		db.feed.grown(account)
	}
	return owed, nil
}

// happened is a destination whose events say when they happened.
func happened(p message.InboundPlanned, at time.Time) message.InboundPlanned {
	p.Notifications = slices.Clone(p.Notifications)
	for i := range p.Notifications {
		p.Notifications[i].Payload = message.Filled(p.Notifications[i].Payload, 0, at)
	}
	return p
}

// planned tells who waits for it what was committed.
func (db *DB) planned(id message.ID, plan ...message.InboundPlanned) {
	for _, p := range plan {
		if p.Credential != (message.ID{}) {
			db.owed()
		}
		for _, n := range p.Notifications {
			n.MessageID, n.InboundPosition = id, p.Position
			db.untried.put(n.ID, untried{n, time.Now()})
		}
	}
}

// lockInboundMessage gives the time as well.
func lockInboundMessage(ctx context.Context, tx pgx.Tx, id message.ID) (at time.Time, err error) {
	err = tx.QueryRow(ctx, lockInbound, id).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return at, message.Refuse(message.ReasonNotFound, "no inbound message %s", id)
	}
	return at, err
}

// insertPlanned writes one destination.
func insertPlanned(ctx context.Context, tx pgx.Tx, id message.ID, p message.InboundPlanned) error {
	_, err := tx.Exec(ctx, insertInboundDelivery, id, p.Position, string(p.Method), string(p.State), storable(p.LastError), idOrNull(p.RouteID), p.Email, fallbackJSON(p.Fallback))
	if err != nil {
		return err
	}
	for _, n := range p.Notifications {
		if _, err := tx.Exec(ctx, insertInboundWebhook, n.ID, n.EventID, n.AccountID, idOrNull(n.EndpointID), id, n.Type, n.URL, n.FailoverURL, n.Payload,
			idOrNull(n.InboundRoute), p.Position, orElse(n.Method, "POST"), n.Retries); err != nil {
			return err
		}
	}
	if p.Credential == (message.ID{}) {
		return nil
	}
	made, err := tx.Exec(ctx, insertInboundSMPP, message.NewID(), id, p.Credential, p.Position)
	if err == nil && made.RowsAffected() == 0 { // the configuration in memory was behind
		_, err = tx.Exec(ctx, loseInboundDelivery, id, p.Position, "the SMPP credential is gone")
	}
	return err
}

const outcomeColumns = `
  o.position, o.method, o.state, o.attempts, o.last_error, o.route_id, o.email_address, o.fallback, o.created_at, o.done_at`

const selectOutcomes = `
select` + outcomeColumns + `
from inbound_outcomes o
where o.message_id = $1
order by o.position`

func scanOutcome(row pgx.CollectableRow, more ...any) (d message.InboundDelivery, err error) {
	var method, state string
	var route *message.ID
	var fallback []byte
	var done *time.Time
	targets := append([]any{&d.Position, &method, &state, &d.Attempts, &d.LastError, &route, &d.Email, &fallback, &d.CreatedAt, &done}, more...)
	if err = row.Scan(targets...); err != nil {
		return d, err
	}
	d.Method, d.State, d.RouteID, d.DoneAt = message.InboundMethod(method), message.InboundState(state), orZero(route), orZero(done)
	d.Fallback, err = fallbackOf(fallback)
	return d, err
}

// InboundOutcomes tells how far each destination of a message has come, in their
// order. A message that was not planned has none.
func (db *DB) InboundOutcomes(ctx context.Context, id message.ID) ([]message.InboundDelivery, error) {
	rows, err := db.pool.Query(ctx, selectOutcomes, id)
	if err != nil {
		return nil, fmt.Errorf("read deliveries of %s: %w", id, err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (message.InboundDelivery, error) { return scanOutcome(row) })
}

const selectOwed = `
select` + outcomeColumns + `,
  array(
    select e.id
    from webhook_deliveries e
    where e.message_id = o.message_id and e.id >= ids_near(o.message_id) and e.inbound_position = o.position and e.state = 'pending'
    order by e.id),
  (
    select e.expires_at
    from smpp_deliveries e
    where e.message_id = o.message_id and e.kind = 'message' and e.ordinal = o.position and e.state = 'pending')
from inbound_outcomes o
where o.message_id = $1
order by o.position`

func inboundOwed(ctx context.Context, tx pgx.Tx, id message.ID) ([]message.InboundOwed, error) {
	rows, err := tx.Query(ctx, selectOwed, id)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (o message.InboundOwed, err error) {
		var until *time.Time
		o.InboundDelivery, err = scanOutcome(row, &o.Notifications, &until)
		o.Until = orZero(until)
		return o, err
	})
}

const endWebhooks = `
with ended as (
  update webhook_deliveries
  set state = 'failed', last_error = case when last_error = '' then $3 else last_error end
  where message_id = $1 and id >= ids_near($1) and inbound_position = $2 and state = 'pending'
  returning id, account_id, endpoint_id
), listed as (
  insert into webhook_failed (delivery_id, account_id, endpoint_id)
  select id, account_id, endpoint_id
  from ended
  on conflict do nothing
)
delete from webhooks_due d
using ended e
where d.delivery_id = e.id`

const endSMPP = `
update smpp_deliveries
set state = 'failed', last_error = case when last_error = '' then $3 else last_error end, done_at = now(), claimed_by = null, claimed_until = null
where message_id = $1 and kind = 'message' and ordinal = $2 and state = 'pending'`

// selectPlannedAt is when the message's owner was told of it, or $2.
const selectPlannedAt = `
select coalesce(max(at), $2::timestamptz)
from message_events
where message_id = $1 and type = 'delivery_planned'`

// tookOver is why a destination failed whose fall-back took the message.
const tookOver = "not delivered in time: the fall-back has it"

// FallBack gives a destination of a message up for its fall-back, unless the message
// has arrived there. It returns what is owed of the fall-back, also when that was
// written before; nothing when there is no need of it. What an ESME or endpoint is
// just being told may arrive at both.
func (db *DB) FallBack(ctx context.Context, id message.ID, position int, to message.InboundPlanned) (*message.InboundOwed, error) {
	var out *message.InboundOwed
	fresh := false
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		out, fresh = nil, false
		at, err := lockInboundMessage(ctx, tx, id)
		if err != nil {
			return err
		}
		list, err := inboundOwed(ctx, tx, id)
		if err != nil {
			return err
		}
		ends := []string{loseInboundDelivery, endWebhooks, endSMPP}
		for _, o := range list {
			switch {
			case o.Position == to.Position:
				out = &o
				return nil
			case o.Position == position && o.State == message.InboundFailed:
				ends = nil
			case o.Position == position && o.State != message.InboundPending:
				return nil
			}
		}
		for _, end := range ends {
			if _, err := tx.Exec(ctx, end, id, position, tookOver); err != nil {
				return err
			}
		}
		// It is the event of then, under its id.
		if err := tx.QueryRow(ctx, selectPlannedAt, id, at).Scan(&at); err != nil {
			return err
		}
		to = happened(to, at)
		if err := insertPlanned(ctx, tx, id, to); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, addInboundEvent, id, string(message.EventFellBack), detailJSON(map[string]any{"to": to.Method})); err != nil {
			return err
		}
		fresh = true
		if list, err = inboundOwed(ctx, tx, id); err != nil {
			return err
		}
		for _, o := range list {
			if o.Position == to.Position {
				out = &o
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("fall back of inbound message %s: %w", id, err)
	}
	if fresh {
		db.planned(id, to)
	}
	return out, nil
}

// recordInboundTry writes a try at a destination that has no rows of its own
// elsewhere, with its line in the timeline.
//
//	$1 message  $2 position  $3 state  $4 error  $5 detail
const recordInboundTry = `
with tried as (
  update inbound_deliveries
  set state = $3, attempts = attempts + 1, last_error = $4, done_at = case when $3 <> 'pending' then now() end
  where message_id = $1 and position = $2 and state = 'pending'
  returning message_id, attempts, method
), counted as (
  update messages m
  set event_seq = m.event_seq + 1
  from tried t
  where m.id = t.message_id
  returning m.id, m.event_seq, t.attempts, t.method
)
insert into message_events (message_id, sequence, at, type, detail)
select c.id, c.event_seq, clock_timestamp(), case c.method when 'mm4' then 'mm4_attempt' else 'email_attempt' end, jsonb_build_object('attempt', c.attempts) || $5::jsonb
from counted c`

// RecordMail writes what became of a try to send a message by e-mail or over MM4. One that
// is done with is left alone.
func (db *DB) RecordMail(ctx context.Context, id message.ID, position int, state message.InboundState, failure string) error {
	detail := map[string]any{"state": state}
	if failure != "" {
		detail["error"] = storable(failure)
	}
	err := db.one(ctx, id, recordInboundTry, none, id, position, string(state), storable(failure), detailJSON(detail))
	if err != nil {
		return fmt.Errorf("record e-mail of %s: %w", id, err)
	}
	return nil
}

// settleInbound moves the message to what its destinations have come to, once all are
// done with or one has taken it, and owes who handed it in its report of that.
//
//	$1 message  $2 statuses before delivered  $3 before failed
const settleInbound = `
with sum as (
  select coalesce(bool_or(state = 'delivered') or not bool_or(state = 'pending') and bool_or(state = 'stored'), false) as taken,
    coalesce(bool_or(state = 'pending'), true) as pending
  from inbound_outcomes
  where message_id = $1
), moved as (
  update messages m
  set status = case when s.taken then 'delivered' else 'failed' end,
      delivered_at = case when s.taken then coalesce(m.delivered_at, now()) end,
      event_seq = m.event_seq + 1,
      updated_at = now()
  from sum s
  where m.id = $1 and m.direction = 'inbound' and (s.taken or not s.pending)
    and m.status = any(case when s.taken then $2::text[] else $3::text[] end)
  returning m.id, m.event_seq, m.status
), event as (
  insert into message_events (message_id, sequence, at, type, detail)
  select id, event_seq, clock_timestamp(), status, null
  from moved
)` + oweInboundReport + `
select coalesce((select status from moved), (select status from messages where id = $1), ''), exists (select from owed)`

// SettleInbound writes what has become of a message and returns its status, which is
// accepted while something is still under way.
func (db *DB) SettleInbound(ctx context.Context, id message.ID) (message.Status, error) {
	var status string
	owes := false
	err := db.one(ctx, id, settleInbound, func(rows pgx.Rows) error {
		for rows.Next() {
			if err := rows.Scan(&status, &owes); err != nil {
				return err
			}
		}
		return rows.Err()
	}, id, statusNames(message.InboundBefore(message.StatusDelivered)), statusNames(message.InboundBefore(message.StatusFailed)))
	if err != nil {
		return "", fmt.Errorf("settle inbound message %s: %w", id, err)
	}
	if owes {
		db.owedMM4()
	}
	return message.Status(status), nil
}

func statusNames(list []message.Status) []string {
	return pick(list, func(s message.Status) string { return string(s) })
}
