package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const (
	// latelyMost is how many messages the counts of the last hour read at most: some tens
	// of milliseconds' work. A busy gateway has them of less than an hour.
	latelyMost = 20_000
	// pileMost is how far a pile is counted.
	pileMost = 10_000
	// backlogAhead is how many of the oldest of the backlog may wait for a time that their
	// customers asked for before the first that does not is no longer looked for.
	backlogAhead = 1000
	// limitsShown is how many limits are listed.
	limitsShown = 10
)

// selectLately counts the newest messages by what has become of them.
//
//	$1 the first id of the hour  $2 an id that is to come  $3 the first id of the minute  $4 how many at most
const selectLately = `
select direction, status, count(*), count(*) filter (where id >= $3), count(*) filter (where updated_at > now() - interval '1 minute'), min(created_at)
from (
  select id, direction, status, updated_at, created_at
  from messages
  where id >= $1 and id < $2
  order by id desc
  limit $4
) m
group by direction, status`

// Each gives how many there are, up to $2, and the id of the oldest. $1 is the zero id:
// the piles are read in the order of their indexes.
const (
	pile = `
select count(*), min(id::text)
from (`
	pileEnd = `
) p`

	pileBacklog = pile + `
  select message_id as id
  from backlog
  where message_id > $1
  order by message_id
  limit $2` + pileEnd

	pileUnstarted = pile + `
  select s.message_id as id
  from starts s
  where s.message_id > $1 and not coalesce((select b.waits from backlog b where b.message_id = s.message_id), false)
  order by s.message_id
  limit $2` + pileEnd

	// Below the watermark of message_statuses they are listed there; of those above it the
	// newest are asked themselves.
	pileInDoubt = pile + `
  (select message_id as id
  from message_statuses
  where status = 'in_doubt' and message_id > $1 and message_id < (select until_id from message_statuses_until)
  order by message_id
  limit $2)
  union all
  select id
  from (
    select id, status
    from messages
    where id >= (select until_id from message_statuses_until)
    order by id desc
    limit $2) m
  where status = 'in_doubt'` + pileEnd

	pileHeld = pile + `
  select message_id as id
  from (` + selectUnseen + `
  ) h` + pileEnd

	pileDue = pile + `
  select delivery_id as id
  from webhooks_due
  where delivery_id > $1
  order by delivery_id
  limit $2` + pileEnd

	pileFailed = pile + `
  select delivery_id as id
  from webhook_failed
  where delivery_id > $1
  order by delivery_id
  limit $2` + pileEnd

	pileUnrouted = pile + `
  select id
  from inbound_messages
  where account_id is null and parts <= 1 and id > $1
  order by id
  limit $2` + pileEnd

	pileUnmatched = pile + `
  select id
  from receipts
  where message_id is null and state in ('DELIVRD', 'UNDELIV', 'REJECTD', 'DELETED', 'EXPIRED') and id > $1
  order by id
  limit $2` + pileEnd
)

// selectOldestWaiting finds the oldest of the backlog that does not wait for a time that
// was asked for, among the $2 oldest.
const selectOldestWaiting = `
select b.message_id
from (
  select message_id
  from backlog
  where message_id > $1
  order by message_id
  limit $2
) b
cross join lateral (
  select status
  from messages
  where id = b.message_id
  offset 0 -- goes to each by its id
) m
where m.status <> 'scheduled'
order by b.message_id
limit 1`

// selectLimitsUsed reads the limits of all accounts, which are rows of the configuration,
// each with its counter of now.
const selectLimitsUsed = `
select l.account_id, l.number, l.kind, l.period, l.parts, c.used, c.ends_at
from usage_limits l
cross join lateral (
  select used, ends_at
  from usage_counters
  where limit_id = l.id and starts_at <= now()
  order by starts_at desc
  limit 1
) c
where c.ends_at > now() and c.used > 0
order by c.used / greatest(l.parts, 1)::float8 desc, l.account_id, l.number, l.kind, l.period
limit $1`

// Overview tells how the gateway stands. What it reads is bounded, however many messages
// are stored.
func (db *DB) Overview(ctx context.Context) (message.Overview, error) {
	var o message.Overview
	now, first := db.Now(), message.ID{}
	batch := &pgx.Batch{}
	batch.Queue(selectLately, idAt(now.Add(-time.Hour)), idAt(now.Add(time.Hour)), idAt(now.Add(-time.Minute)), latelyMost).Query(func(rows pgx.Rows) (err error) {
		o.Lately, err = scanLately(rows)
		return err
	})
	for sql, into := range map[string]*message.Pile{pileBacklog: &o.Backlog, pileUnstarted: &o.Unstarted, pileInDoubt: &o.InDoubt, pileHeld: &o.Held,
		pileDue: &o.WebhooksDue, pileFailed: &o.WebhooksFailed, pileUnrouted: &o.Unrouted, pileUnmatched: &o.Unmatched} {
		batch.Queue(sql, first, pileMost).QueryRow(func(row pgx.Row) error { return scanPile(row, into) })
	}
	var oldest []message.ID
	batch.Queue(selectOldestWaiting, first, backlogAhead).Query(func(rows pgx.Rows) (err error) {
		oldest, err = pgx.CollectRows(rows, pgx.RowTo[message.ID])
		return err
	})
	batch.Queue(selectLimitsUsed, limitsShown).Query(func(rows pgx.Rows) (err error) {
		o.Limits, err = pgx.CollectRows(rows, scanLimitUsed)
		return err
	})
	if err := db.pool.SendBatch(ctx, batch).Close(); err != nil {
		return message.Overview{}, fmt.Errorf("read the overview: %w", err)
	}
	o.Backlog.ID, o.Backlog.Oldest = message.ID{}, time.Time{}
	for _, id := range oldest {
		o.Backlog.ID, o.Backlog.Oldest = id, timeOf(id)
	}
	return o, nil
}

func scanLately(rows pgx.Rows) (message.Lately, error) {
	var l message.Lately
	var c message.LatelyCount
	var direction, status string
	var since time.Time
	n := 0
	_, err := pgx.ForEachRow(rows, []any{&direction, &status, &c.Messages, &c.Minute, &c.Moved, &since}, func() error {
		n += c.Messages
		c.Direction, c.Status = message.Direction(direction), message.Status(status)
		l.Counts = append(l.Counts, c)
		if l.Since.IsZero() || since.Before(l.Since) {
			l.Since = since
		}
		return nil
	})
	l.Cut = n >= latelyMost
	return l, err
}

func scanPile(row pgx.Row, p *message.Pile) error {
	var oldest *string
	if err := row.Scan(&p.Count, &oldest); err != nil || oldest == nil {
		return err
	}
	id, err := message.ParseID(*oldest)
	p.ID, p.Oldest = id, timeOf(id)
	return err
}

func scanLimitUsed(row pgx.CollectableRow) (u message.Usage, err error) {
	var number, kind, period string
	err = row.Scan(&u.AccountID, &number, &kind, &period, &u.Parts, &u.Used, &u.ResetsAt)
	u.Number, u.Kind, u.Period = message.Address(number), message.Kind(kind), message.Period(period)
	return u, err
}
