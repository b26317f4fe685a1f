package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// Fate is what the record says of a message, for those who look at the whole from
// outside.
type Fate struct {
	ID           message.ID
	AccountID    message.ID
	To           string
	Reference    string // the account's own; empty: it gave none
	Status       message.Status
	Reason       message.Reason
	MaybeDoubled bool
	Segments     int
	Since        time.Duration // no change for so long, by the database's clock

	Attempts         int           // of all parts, those refused among them
	Waits            bool          // for somebody to start its workflow
	WebhooksPending  int           // events that were not taken yet
	WebhooksFailed   int           // and never will be
	NextWebhook      time.Duration // until the earliest of the pending is tried; negative: it is late
	ReceiptsPending  int           // deliver_sm that were not taken yet
	ReceiptsGivenUp  int           // and never will be
	ReceiptsFinished int           // and were
}

const selectFates = `
select m.id, m.account_id, m.to_addr, coalesce(m.client_reference, ''), m.status, m.reason, m.possible_duplicate, m.segments, extract(epoch from clock_timestamp() - m.updated_at)::float8,
  (select count(*) from segments s where s.message_id = m.id),
  exists (select from starts s where s.message_id = m.id),
  w.pending, w.failed, w.next, d.pending, d.given_up, d.finished
from messages m
cross join lateral (
  select count(*) filter (where state = 'pending') as pending, count(*) filter (where state = 'failed') as failed,
    coalesce(extract(epoch from min(next_attempt_at) filter (where state = 'pending') - clock_timestamp()), 0)::float8 as next
  from webhook_deliveries
  where message_id = m.id
) w
cross join lateral (
  select count(*) filter (where state = 'pending') as pending, count(*) filter (where state in ('failed', 'expired')) as given_up,
    count(*) filter (where state = 'delivered') as finished
  from smpp_deliveries
  where message_id = m.id
) d
where `

// FatesTo gives the fates of all messages to the numbers, whoever sent them.
func (db *DB) FatesTo(ctx context.Context, numbers []string) ([]Fate, error) {
	return db.fates(ctx, selectFates+"m.direction = 'outbound' and m.to_addr = any($1::text[])", numbers)
}

// FatesReferred gives the fates of all messages that an account has given the references.
func (db *DB) FatesReferred(ctx context.Context, account message.ID, references []string) ([]Fate, error) {
	return db.fates(ctx, selectFates+"m.direction = 'outbound' and m.account_id = $1 and m.client_reference = any($2::text[])", account, references)
}

// FatesOf gives the fates of the messages; what is not there is left out.
func (db *DB) FatesOf(ctx context.Context, ids []message.ID) ([]Fate, error) {
	return db.fates(ctx, selectFates+"m.direction = 'outbound' and m.id = any($1::uuid[])", ids)
}

const selectArrived = `
select i.vendor_message_id, i.id
from inbound_messages i
where i.vendor_id = $1 and i.vendor_message_id = any($2::text[])`

// Arrived gives the fates of what came in of messages between our own numbers, by the
// messages that went out. Of one that has not come in there is none.
func (db *DB) Arrived(ctx context.Context, sent []message.ID) (map[message.ID][]Fate, error) {
	refs, of := make([]string, len(sent)), make(map[string]message.ID, len(sent))
	for i, id := range sent {
		refs[i] = message.Hex32(id)
		of[refs[i]] = id
	}
	rows, err := db.pool.Query(ctx, selectArrived, message.InternalVendor, refs)
	if err != nil {
		return nil, fmt.Errorf("read what came in: %w", err)
	}
	var ids []message.ID
	from := map[message.ID]message.ID{}
	var ref string
	var id message.ID
	if _, err := pgx.ForEachRow(rows, []any{&ref, &id}, func() error {
		ids, from[id] = append(ids, id), of[ref]
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read what came in: %w", err)
	}
	list, err := db.fates(ctx, selectFates+"m.id = any($1::uuid[])", ids)
	arrived := make(map[message.ID][]Fate, len(list))
	for _, f := range list {
		arrived[from[f.ID]] = append(arrived[from[f.ID]], f)
	}
	return arrived, err
}

// KeptMedia is what the record says of the octets of a file.
type KeptMedia struct {
	SHA256 [32]byte
	Size   int64
	Ready  bool // a file has them; else one that waited for them has not ended yet, or they are about to go
}

const selectKeptMedia = `
select o.sha256, o.size_bytes, exists (select from media_files f where f.sha256 = o.sha256 and f.ready and (f.expires_at is null or f.expires_at > now()))
from media_objects o`

// KeptMedia lists the octets that the record knows. It reads all of them.
func (db *DB) KeptMedia(ctx context.Context) ([]KeptMedia, error) {
	rows, err := db.pool.Query(ctx, selectKeptMedia)
	if err != nil {
		return nil, fmt.Errorf("list octets of media: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (KeptMedia, error) {
		var k KeptMedia
		var sum []byte
		err := row.Scan(&sum, &k.Size, &k.Ready)
		copy(k.SHA256[:], sum)
		return k, err
	})
}

func (db *DB) fates(ctx context.Context, sql string, of ...any) ([]Fate, error) {
	rows, err := db.pool.Query(ctx, sql, of...)
	if err != nil {
		return nil, fmt.Errorf("read fates: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Fate, error) {
		var f Fate
		var status, reason string
		var since, next float64
		err := row.Scan(&f.ID, &f.AccountID, &f.To, &f.Reference, &status, &reason, &f.MaybeDoubled, &f.Segments, &since, &f.Attempts, &f.Waits,
			&f.WebhooksPending, &f.WebhooksFailed, &next, &f.ReceiptsPending, &f.ReceiptsGivenUp, &f.ReceiptsFinished)
		f.Status, f.Reason, f.Since, f.NextWebhook = message.Status(status), message.Reason(reason), secondsOf(since), secondsOf(next)
		return f, err
	})
}

func secondsOf(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

const selectUnfinished = `
select id
from messages
where direction = 'outbound' and not status in `

// Unfinished lists outbound messages that have not ended and have not changed for
// the time idle, at most limit. It reads all messages.
func (db *DB) Unfinished(ctx context.Context, idle time.Duration, limit int) ([]message.ID, error) {
	rows, err := db.pool.Query(ctx, selectUnfinished+endedStatuses+" and updated_at < clock_timestamp() - $1::interval\nlimit $2", idle, limit)
	if err != nil {
		return nil, fmt.Errorf("list messages that have not ended: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[message.ID])
}

// selectHeldNow lists what a process holds for a while, and says for how long still.
const selectHeldNow = `
select 'vendor lease ' || l.vendor_id || ' slot ' || l.slot || ' of ' || l.instance
from vendor_leases l
where l.until > clock_timestamp()
union all
select 'bind ' || b.id || ' of ' || b.instance
from smpp_binds b
where b.seen_at > clock_timestamp() - interval '30 seconds'
union all
select 'deliver_sm ' || d.id || ' of ' || d.claimed_by
from smpp_deliveries d
where d.state = 'pending' and d.claimed_until > clock_timestamp()
union all
select 'request to the registry ' || r.id
from registry_requests r
where r.state = 'open' and r.sends > 0 and r.claimed_until > clock_timestamp()`

// Held lists what processes hold at this moment: leases, binds and claims. When none
// runs it is empty as soon as the terms of those that died are over.
func (db *DB) Held(ctx context.Context) ([]string, error) {
	rows, err := db.pool.Query(ctx, selectHeldNow)
	if err != nil {
		return nil, fmt.Errorf("list what is held: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
