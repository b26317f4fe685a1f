package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// takeInboundStarts gives the messages that nobody has taken on for a time to the one
// who asks: the next who asks does not get them before that time has passed again.
const takeInboundStarts = `
with due as materialized (
  select message_id
  from inbound_starts
  where taken_at < now() - $1::interval
  order by taken_at
  limit $2
  for update skip locked
)
update inbound_starts s
set taken_at = now()
from due
where s.message_id = due.message_id
returning s.message_id, s.account_id`

// InboundUnstarted takes on inbound messages whose workflow may not have been started
// and that were last taken on longer than age ago.
func (db *DB) InboundUnstarted(ctx context.Context, age time.Duration, limit int) ([]message.InboundStart, error) {
	rows, err := db.pool.Query(ctx, takeInboundStarts, age, limit)
	if err != nil {
		return nil, fmt.Errorf("inbound messages to be started: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[message.InboundStart])
}

const deleteInboundStart = `
delete from inbound_starts
where message_id = $1`

// InboundStarted takes an inbound message whose workflow exists out of the outbox.
func (db *DB) InboundStarted(ctx context.Context, id message.ID) error {
	return db.one(ctx, id, deleteInboundStart, none, id)
}

const countInboundStarts = `
select count(*)
from inbound_starts`

// CountInboundUnstarted is the number of inbound messages whose workflow may not have
// been started.
func (db *DB) CountInboundUnstarted(ctx context.Context) (int, error) {
	var n int
	err := db.pool.QueryRow(ctx, countInboundStarts).Scan(&n)
	return n, err
}

const selectInboundExtras = `
select subject, media
from inbound_messages
where id = $1`

// InboundExtras gives what an inbound message has beside its text: the subject of an
// MMS and where the vendor offers its files. Nothing for a message that is not known.
func (db *DB) InboundExtras(ctx context.Context, id message.ID) (subject string, media []message.InboundMedia, err error) {
	rows, err := db.pool.Query(ctx, selectInboundExtras, id)
	if err != nil {
		return "", nil, fmt.Errorf("inbound message %s: %w", id, err)
	}
	var sealedSubject, sealedMedia []byte
	_, err = pgx.ForEachRow(rows, []any{&sealedSubject, &sealedMedia}, func() (err error) {
		subject, media, err = db.openMMS(id, sealedSubject, sealedMedia)
		return err
	})
	return subject, media, err
}
