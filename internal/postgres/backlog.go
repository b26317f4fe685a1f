package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// blocks is the condition under which an earlier row e of a conversation holds
// up those behind it: it waits itself, its workflow has not begun, or not long
// enough ago.
const blocks = `(e.began_at is null or e.began_at > now() - e.hold_seconds * interval '1 second')`

// insertBacklog is the clause of an acceptance that lines the messages up. One of
// a conversation waits when an earlier one is before it, in this group or in the
// table. The rows of this group are not in the table yet, hence both.
const insertBacklog = `, lined_up as (
  insert into backlog (message_id, account_id, priority, from_addr, to_addr, hold_seconds, waits)
  select f.id, f.account_id, f.priority, f.from_addr, f.to_addr, f.hold_seconds,
    f.hold_seconds is not null and (
      f.place > min(f.place) over (partition by f.account_id, f.from_addr, f.to_addr, f.hold_seconds is null)
      or exists (
        select
        from backlog e
        where e.account_id = f.account_id and e.from_addr = f.from_addr and e.to_addr = f.to_addr and e.hold_seconds is not null and ` + blocks + `))
  from fresh f
  join stored s on s.id = f.id
  where f.status = 'accepted'
  order by f.place
  returning message_id, waits
)`

// holdSeconds is null for a message in no order.
func holdSeconds(hold time.Duration) *int32 {
	if hold <= 0 {
		return nil
	}
	n := int32(max(1, hold/time.Second))
	return &n
}

// leaves reports whether a message with this status is out of the backlog: a
// vendor has it, may have it, or it has ended.
func leaves(s message.Status) bool {
	return s == message.StatusSent || s == message.StatusInDoubt || s.Final()
}

// backlog takes the message out of the backlog, and notes when its workflow has
// begun: from then on it holds up its conversation for a limited time. $1 is the
// message, the first parameter of every Change: by it the row is found whatever
// the planner thinks of the table.
func (w *writer) backlog(c message.Change) {
	switch {
	case leaves(c.To):
		w.clause("left_backlog", "delete from backlog\n  where message_id = $1 and exists (select from moved)\n  returning account_id, priority")
	case c.Started:
		w.clause("begun", "update backlog\n  set began_at = now(), waits = false\n  where message_id = $1 and hold_seconds is not null and began_at is null and exists (select from moved)")
	}
}

// takeTurns looks only at the first that waits in each conversation: nothing
// behind it can be free.
const takeTurns = `
with heads as (
  select distinct on (account_id, from_addr, to_addr) message_id, account_id, from_addr, to_addr, turn
  from backlog
  where waits
  order by account_id, from_addr, to_addr, turn
), free as (
  select h.message_id
  from heads h
  where not exists (
    select
    from backlog e
    where e.account_id = h.account_id and e.from_addr = h.from_addr and e.to_addr = h.to_addr and e.turn < h.turn
      and e.hold_seconds is not null and ` + blocks + `)
  order by h.turn
  limit $1
), mine as (
  select b.message_id
  from backlog b
  join free f on f.message_id = b.message_id
  where b.waits
  for update of b skip locked -- those of another process are its own to start
), taken as (
  update backlog b
  set waits = false
  from mine
  where b.message_id = mine.message_id
  returning b.message_id, b.turn
)
select h.some, t.message_id, m.account_id, m.created_at, m.send_at, m.expires_at, m.segments, m.campaign_id,
  m.from_addr, m.to_addr, m.message_class, m.kind, m.edge
from (select exists (select from heads) as some) h
left join taken t on true
left join lateral (
  select *
  from messages
  where id = t.message_id
  offset 0 -- goes to each by its id, however many the planner expects
) m on true
order by t.turn`

// TakeTurns lets go the messages whose turn in their conversation has come,
// oldest first and at most limit, and gives them: whoever has them starts their
// workflows. Should that process die first, they are in the outbox like any
// other. waiting reports whether some were waiting when it looked. Of two
// processes that look at once each message is given to one.
func (db *DB) TakeTurns(ctx context.Context, limit int) (free []message.Start, waiting bool, err error) {
	rows, err := db.pool.Query(ctx, takeTurns, limit)
	if err != nil {
		return nil, false, fmt.Errorf("take turns: %w", err)
	}
	var r nullableStart
	_, err = pgx.ForEachRow(rows, append([]any{&waiting}, r.targets()...), func() error {
		if r.id != nil {
			free = append(free, r.start())
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("take turns: %w", err)
	}
	return free, waiting, nil
}

// nullableStart is a message.Start, or nothing.
type nullableStart struct {
	id, account                           *message.ID
	created, sendAt, expires              *time.Time
	segments                              *int
	campaign, from, to, class, kind, edge *string
}

func (r *nullableStart) targets() []any {
	return []any{&r.id, &r.account, &r.created, &r.sendAt, &r.expires, &r.segments, &r.campaign, &r.from, &r.to, &r.class, &r.kind, &r.edge}
}

func (r *nullableStart) start() message.Start {
	return message.Start{MessageID: *r.id, AccountID: orZero(r.account), CreatedAt: orZero(r.created), SendAt: orZero(r.sendAt), ExpiresAt: orZero(r.expires),
		Segments: orZero(r.segments), CampaignID: orZero(r.campaign), From: message.Address(orZero(r.from)), To: message.Address(orZero(r.to)),
		Class: message.Class(orZero(r.class)), Kind: message.Kind(orZero(r.kind)), Edge: orZero(r.edge)}
}

const countBacklog = `
select account_id, priority, count(*)
from backlog
group by account_id, priority`

// Backlog counts the messages that are on their way out. It reads an index of
// them all: a tenth of a second for some hundred thousand.
func (db *DB) Backlog(ctx context.Context) ([]message.Backlog, error) {
	rows, err := db.pool.Query(ctx, countBacklog)
	if err != nil {
		return nil, fmt.Errorf("count the backlog: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (b message.Backlog, err error) {
		err = row.Scan(&b.AccountID, &b.Priority, &b.Messages)
		return b, err
	})
}
