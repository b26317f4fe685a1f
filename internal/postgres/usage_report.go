package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const (
	// usageBehind is how far the watermark of usage is back at least; the triggers of
	// migration 0047 go by it.
	usageBehind = 15 * time.Minute
	// usageKept is how long usage can be looked up: longer than its messages.
	usageKept = 3 * 366 * 24 * time.Hour
	// usagePiece is how many messages are counted in one step: some tens of milliseconds'
	// work, for which changes of messages older than ten minutes wait.
	usagePiece = 5000
)

// takeUsageTurn waits for changes of old messages to end, and keeps others back until the
// transaction ends.
const takeUsageTurn = `
select pg_advisory_xact_lock(hashtext('usage'), hashtext(current_schema()))`

const selectUsageUntil = `
select until_id
from usage_counted`

// selectUsagePiece is where a piece ends that begins at $1, below $2.
const selectUsagePiece = `
select id
from messages
where id >= $1 and id < $2
order by id
offset $3
limit 1`

// usageGroups is what messages count as.
const usageGroups = `m.account_id, (m.created_at at time zone 'UTC')::date, m.direction, m.kind, case m.direction when 'inbound' then m.to_addr else m.from_addr end, m.campaign_id`

const addToDays = `
on conflict (account_id, day, direction, kind, number, campaign_id, status, currency) do update
set messages = usage_days.messages + excluded.messages, parts = usage_days.parts + excluded.parts, micros = usage_days.micros + excluded.micros`

const countPiece = `
insert into usage_days (account_id, day, direction, kind, number, campaign_id, status, currency, messages, parts, micros)
select ` + usageGroups + `, m.status, m.currency, count(*), sum(m.segments), sum(case when m.price_final then m.price_micros else 0 end)
from messages m
where m.id >= $1 and m.id < $2
group by 1, 2, 3, 4, 5, 6, 7, 8` + addToDays

const moveUsage = `
update usage_counted
set until_id = $1`

// countUsagePiece counts a piece of the journal behind the watermark, and moves that.
func (u *Upkeep) countUsagePiece(ctx context.Context) (done message.Cared, err error) {
	end := idAt(u.bounds.now.Add(-usageBehind))
	err = u.within(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, takeUsageTurn); err != nil {
			return err
		}
		var from message.ID
		if err := tx.QueryRow(ctx, selectUsageUntil).Scan(&from); err != nil {
			return err
		}
		to := end
		switch err := tx.QueryRow(ctx, selectUsagePiece, from, end, usagePiece).Scan(&to); {
		case errors.Is(err, pgx.ErrNoRows):
			to = end
		case err != nil:
			return err
		default:
			done.More = true
		}
		if timeOf(to).Before(timeOf(from)) {
			return nil
		}
		if _, err := tx.Exec(ctx, countPiece, from, to); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, moveUsage, to)
		return err
	})
	return done, err
}

// countLate takes away how messages were counted, and counts them as they are. A message
// that is gone from the record stays counted as it was.
const countLate = `
with late as (
  delete from usage_late
  where message_id = any(array(select message_id from usage_late limit $1))
  returning *
), change as (
  select ` + usageGroups + `, l.status, m.currency, -1 as messages, -l.parts as parts, -l.micros as micros
  from late l
  join messages m on m.id = l.message_id
  where l.status is not null
  union all
  select ` + usageGroups + `, m.status, m.currency, 1, m.segments, case when m.price_final then m.price_micros else 0 end
  from late l
  join messages m on m.id = l.message_id
), added as (
  insert into usage_days (account_id, day, direction, kind, number, campaign_id, status, currency, messages, parts, micros)
  select c.account_id, c.date, c.direction, c.kind, c.number, c.campaign_id, c.status, c.currency, sum(c.messages), sum(c.parts), sum(c.micros)
  from change as c (account_id, date, direction, kind, number, campaign_id, status, currency, messages, parts, micros)
  group by 1, 2, 3, 4, 5, 6, 7, 8` + addToDays + `
)
select count(*)
from late`

// countUsageLate puts right what has changed since it was counted.
func (u *Upkeep) countUsageLate(ctx context.Context) (done message.Cared, err error) {
	err = u.within(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, takeUsageTurn); err != nil {
			return err
		}
		n := 0
		err := tx.QueryRow(ctx, countLate, upkeepBatch).Scan(&n)
		done.More = n == upkeepBatch
		return err
	})
	return done, err
}

// selectUsage adds up what is counted by day, and what is above the watermark. Both are
// read as of one moment.
//
//	$1 account  $2 first day  $3 behind the last  $4 first id of the first day  $5 to $9 by what
const selectUsage = `
with counted as (
  select day, direction, kind, number, campaign_id, status, currency, messages, parts, micros
  from usage_days
  where account_id = $1 and day >= $2::date and day < $3::date
  union all
  select (m.created_at at time zone 'UTC')::date, m.direction, m.kind, case m.direction when 'inbound' then m.to_addr else m.from_addr end, m.campaign_id, m.status, m.currency,
    1, m.segments, case when m.price_final then m.price_micros else 0 end
  from messages m
  where m.account_id = $1 and m.id >= greatest($4::uuid, (select until_id from usage_counted))
    and m.created_at >= $2::date::timestamp at time zone 'UTC' and m.created_at < $3::date::timestamp at time zone 'UTC'
)
select case when $5 then day end, direction, case when $6 then number else '' end, case when $7 then campaign_id else '' end, case when $8 then status else '' end,
  case when $9 then kind else '' end, currency, sum(messages)::bigint, sum(parts)::bigint, sum(micros)::bigint
from counted
group by 1, 2, 3, 4, 5, 6, 7
having sum(messages) <> 0
order by 1 desc nulls last, 2 desc, 3, 4, 5, 6, 7
offset $10
limit $11`

// UsageReport adds up what an account has sent and received, of the UTC days from `from`
// to before `to`, which are midnights: at most limit rows behind the first `skip`. The
// newest days come first. A message that changed more than ten minutes after its
// acceptance shows so after the next round of upkeep.
func (db *DB) UsageReport(ctx context.Context, account message.ID, from, to time.Time, by message.UsageBy, skip, limit int) ([]message.UsageRow, error) {
	rows, err := db.pool.Query(ctx, selectUsage, account, from, to, idAt(from.Add(-time.Hour)), by.Day, by.Number, by.Campaign, by.Status, by.Kind, skip, limit)
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (u message.UsageRow, err error) {
		var day *time.Time
		var cost int64
		err = row.Scan(&day, &u.Direction, (*string)(&u.Number), &u.CampaignID, &u.Status, &u.Kind, &u.Currency, &u.Messages, &u.Parts, &cost)
		u.Day, u.Cost = orZero(day), message.Micros(cost)
		return u, err
	})
}
