package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// holds notes what the message waits for, or that it waits no more. $1 is the
// message, as in backlog.
func (w *writer) holds(c message.Change) {
	switch h := c.Hold; {
	case h != nil:
		w.clause("held", `insert into holds (message_id, account_id, rule, until, campaign_id, detail)
  select m.id, m.account_id, `+w.arg(h.Rule, "text")+", "+w.arg(timeOrNull(h.Until), "timestamptz")+", m.campaign_id, "+w.arg(h.Detail, "text")+`
  from moved m
  on conflict (message_id) do update
  set rule = excluded.rule, until = excluded.until, detail = excluded.detail, asked_at = null`)
	case c.Ends():
		w.clause("unheld", "delete from holds\n  where message_id = $1 and exists (select from moved)")
	}
}

const selectHolds = `
select message_id, rule, until, detail
from holds
where message_id = any($1)`

// fillHolds adds to queued messages what they wait for.
func (db *DB) fillHolds(ctx context.Context, list []*message.Message) error {
	queued := make(map[message.ID]*message.Message)
	var ids []message.ID
	for _, m := range list {
		if m.Status == message.StatusQueued {
			queued[m.ID] = m
			ids = append(ids, m.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := db.pool.Query(ctx, selectHolds, ids)
	if err != nil {
		return fmt.Errorf("read holds: %w", err)
	}
	var id message.ID
	var h message.Hold
	var until *time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &h.Rule, &until, &h.Detail}, func() error {
		kept := h
		kept.Until = orZero(until)
		queued[id].Hold = &kept
		return nil
	})
	if err != nil {
		return fmt.Errorf("read holds: %w", err)
	}
	return nil
}

const selectReview = `
select verdict, revision, actor, reason, at
from reviews
where message_id = $1`

// ReviewOf reads what somebody said of a message that waited for it; the zero
// Review when nobody has.
func (db *DB) ReviewOf(ctx context.Context, id message.ID) (message.Review, error) {
	var r message.Review
	err := db.pool.QueryRow(ctx, selectReview, id).Scan(&r.Verdict, &r.Revision, &r.Actor, &r.Reason, &r.At)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return message.Review{}, fmt.Errorf("read the review of %s: %w", id, err)
	}
	return r, nil
}

// takeStale finds the messages that wait for something that is no longer the
// point: their campaign or account may not send, or somebody has looked at them.
const takeStale = `
with stale as (
  select h.message_id
  from holds h
  left join campaigns c on c.campaign_id = h.campaign_id
  left join accounts a on a.id = h.account_id
  where (h.asked_at is null or h.asked_at < now() - $2 * interval '1 second')
    and (h.campaign_id <> '' and c.status is distinct from 'active' or a.status is distinct from 'active'
      or h.until is null and exists (select from reviews r where r.message_id = h.message_id))
  limit $1
  for update of h skip locked
)
update holds h
set asked_at = case when h.asked_at is null then now() else now() + least(now() - h.since, interval '1 hour') end
from stale s
where h.message_id = s.message_id
returning h.message_id`

// StaleHolds gives messages that wait in vain, at most limit: their workflows are
// to look again. One that was given is not given again before every has passed,
// to whichever process, and from the second time on not before it has waited about
// twice as long, or an hour: who has been told twice and still waits may do so, and
// each look makes its history longer.
func (db *DB) StaleHolds(ctx context.Context, every time.Duration, limit int) ([]message.ID, error) {
	rows, err := db.pool.Query(ctx, takeStale, limit, every.Seconds())
	if err != nil {
		return nil, fmt.Errorf("find stale holds: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[message.ID])
	if err != nil {
		return nil, fmt.Errorf("find stale holds: %w", err)
	}
	return ids, nil
}

const countHolds = `
select rule, count(*)
from holds
group by rule`

// Holds counts the messages that wait, by the rule that they wait for.
func (db *DB) Holds(ctx context.Context) (map[string]int, error) {
	rows, err := db.pool.Query(ctx, countHolds)
	if err != nil {
		return nil, fmt.Errorf("count holds: %w", err)
	}
	out := make(map[string]int)
	var rule string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&rule, &n}, func() error {
		out[rule] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count holds: %w", err)
	}
	return out, nil
}
