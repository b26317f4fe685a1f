package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// insertAccountEvents writes events that are of no message, for the feed.
const insertAccountEvents = `
insert into account_events (id, account_id, type, payload)
select *
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[])
on conflict do nothing`

// insertEvents writes their deliveries. No workflow works on them, so they are due at once
// in the eyes of the sweeper, which leaves what is due a minute for those who do.
const insertEvents = `
with delivery as (
  insert into webhook_deliveries (id, event_id, account_id, endpoint_id, type, url, failover_url, payload)
  select n.id, n.event_id, n.account_id, n.endpoint_id, n.type, n.url, n.failover_url, n.payload
  from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[])
    as n (id, event_id, account_id, endpoint_id, type, url, failover_url, payload)
  on conflict do nothing
  returning id
)
insert into webhooks_due (delivery_id, due_at)
select d.id, now() - interval '60 seconds'
from delivery d`

// RecordEvents writes events that are of no message, with their deliveries, for facts that
// are in no transaction of their own. Events that were written before are not written
// again. Who writes a fact uses recordEvents in its transaction.
func (db *DB) RecordEvents(ctx context.Context, events ...message.AccountEvent) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error { return recordEvents(ctx, tx, events...) })
	if err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	for _, e := range events {
		db.feed.grown(e.AccountID)
	}
	return nil
}

// recordEvents writes events that are of no message in the transaction of what they tell
// of: for the account's feed, and for its webhooks.
func recordEvents(ctx context.Context, tx pgx.Tx, events ...message.AccountEvent) error {
	if len(events) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	queueEvents(b, events)
	return tx.SendBatch(ctx, b).Close()
}

func queueEvents(b *pgx.Batch, events []message.AccountEvent) {
	type e = message.AccountEvent
	b.Queue(insertAccountEvents, pick(events, func(e e) message.ID { return e.ID }), pick(events, func(e e) message.ID { return e.AccountID }),
		pick(events, func(e e) string { return e.Type }), pick(events, func(e e) string { return e.Payload }))
	var notes []message.Notification
	for _, e := range events {
		notes = append(notes, e.Deliveries...)
	}
	if len(notes) == 0 {
		return
	}
	type n = message.Notification
	texts := func(of func(n) string) []string { return pick(notes, of) }
	b.Queue(insertEvents, pick(notes, func(n n) message.ID { return n.ID }), pick(notes, func(n n) message.ID { return n.EventID }),
		pick(notes, func(n n) message.ID { return n.AccountID }), pick(notes, func(n n) *message.ID { return idOrNull(n.EndpointID) }),
		texts(func(n n) string { return n.Type }), texts(func(n n) string { return n.URL }),
		texts(func(n n) string { return n.FailoverURL }), texts(func(n n) string { return n.Payload }))
}
