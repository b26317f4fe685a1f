package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// Parts reads where each part of a message is: the newest attempt of each, in
// order; parts never tried have attempt 0.
func (db *DB) Parts(ctx context.Context, id message.ID, segments int) ([]message.Part, error) {
	m := &message.Message{ID: id, Segments: segments}
	if err := db.fillParts(ctx, []*message.Message{m}); err != nil {
		return nil, err
	}
	return m.Parts, nil
}

const selectOutcome = `
select status, segments, parts_settled, parts_failed, delivery
from messages
where id = $1`

// Progress reads how far the receipts of a message have come. ReasonNotFound
// when there is no such message.
func (db *DB) Progress(ctx context.Context, id message.ID) (message.Progress, error) {
	var p message.Progress
	var status, delivery string
	err := db.pool.QueryRow(ctx, selectOutcome, id).Scan(&status, &p.Segments, &p.Settled, &p.Failed, &delivery)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, message.Refuse(message.ReasonNotFound, "no message %s", id)
	}
	if err != nil {
		return p, fmt.Errorf("read progress of %s: %w", id, err)
	}
	p.Status, p.Delivery = message.Status(status), message.Delivery(delivery)
	return p, nil
}

// startClaim is how long a batch of the outbox belongs to who has read it. A process
// that is killed leaves its batch to the others after that, so it is short; who needs
// longer to start 256 messages finds some started by others, which does nothing.
const startClaim = 10 * time.Second

// claimUnstarted has its limit in its text: of a parameter the planner would
// assume a tenth of the table and read every message there is. Callers have few
// limits, so there are few such statements. It waits for no row: one that is locked is
// being claimed or deleted by somebody else.
const claimUnstarted = `
with due as materialized (
  select message_id
  from starts o
  where created_at < now() - $1::interval and not message_id = any($2::uuid[])
    and (claimed_until is null or claimed_until < now() or claimed_by = $3)
    and not exists (select from backlog b where b.message_id = o.message_id and b.waits)
  order by priority, message_id
  limit %d
  for update of o skip locked
), claimed as (
  update starts s
  set claimed_by = $3, claimed_until = now() + $4::interval
  from due
  where s.message_id = due.message_id
  returning s.message_id, s.priority
)
select s.message_id, m.account_id, s.priority, m.created_at, m.send_at, m.expires_at, m.segments, m.campaign_id,
  m.from_addr, m.to_addr, m.message_class, m.kind, m.edge
from claimed s
join messages m on m.id = s.message_id
order by s.priority, s.message_id`

// Unstarted takes on messages whose outbox row is older than age, most urgent
// first, leaving out those that this process (instance) is starting already, those that
// another has taken on within the last 10 s, and those that wait for their turn.
func (db *DB) Unstarted(ctx context.Context, instance string, age time.Duration, limit int, underway []message.ID) ([]message.Start, error) {
	if underway == nil {
		underway = []message.ID{}
	}
	rows, err := db.pool.Query(ctx, fmt.Sprintf(claimUnstarted, limit), age, underway, instance, startClaim)
	if err != nil {
		return nil, fmt.Errorf("take on unstarted messages: %w", err)
	}
	return pgx.CollectRows(rows, scanStart)
}

func scanStart(row pgx.CollectableRow) (message.Start, error) {
	var s message.Start
	var priority int16
	var from, to, class, kind string
	var sendAt *time.Time
	err := row.Scan(&s.MessageID, &s.AccountID, &priority, &s.CreatedAt, &sendAt, &s.ExpiresAt, &s.Segments, &s.CampaignID,
		&from, &to, &class, &kind, &s.Edge)
	s.SendAt = orZero(sendAt)
	s.From, s.To = message.Address(from), message.Address(to)
	s.Class, s.Kind = message.Class(class), message.Kind(kind)
	return s, err
}

// deleteStarts waits for nobody: a row that is locked is being deleted by the step that
// began, and one that stays after all is found by the sweeper, whose start does nothing.
const deleteStarts = `
delete from starts
where message_id in (
  select message_id
  from starts
  where message_id = any($1::uuid[])
  for update skip locked)`

// Started takes messages out of the outbox after their workflows were started.
func (db *DB) Started(ctx context.Context, ids []message.ID) error {
	if _, err := db.pool.Exec(ctx, deleteStarts, ids); err != nil {
		return fmt.Errorf("clear %d starts: %w", len(ids), err)
	}
	return nil
}

const countUnstarted = `
select count(*)
from starts`

// CountUnstarted is the number of messages whose workflow may not have been
// started.
func (db *DB) CountUnstarted(ctx context.Context) (int, error) {
	var n int
	err := db.pool.QueryRow(ctx, countUnstarted).Scan(&n)
	return n, err
}
