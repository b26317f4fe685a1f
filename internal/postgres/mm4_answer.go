package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// answerLease is how long an answer that a process tells the record of is left to it.
const answerLease = 2 * time.Minute

// insertAnswer keeps an answer to an attempt that was made at that vendor, the first one.
const insertAnswer = `
with attempt as (
  select
  from segments
  where message_id = $1 and part = 1 and attempt = $2 and vendor_id = $3
), stored as (
  insert into mm4_answers (message_id, attempt, vendor_id, status, detail, came_at)
  select $1, $2, $3, $4, $5, coalesce($6, now())
  where exists (select from attempt)
  on conflict do nothing
)
select exists (select from attempt)`

// PutMM4Answer keeps what a vendor has answered to an attempt, for whoever waits for it.
// The first answer counts; a repetition changes nothing. ReasonNotFound: no such attempt
// was made at that vendor.
func (db *DB) PutMM4Answer(ctx context.Context, a message.MM4Answer) error {
	var detail []byte
	if a.Detail != "" {
		detail = db.sealer.Seal([]byte(a.Detail), answerPlace(a))
	}
	var known bool
	err := db.one(ctx, a.MessageID, insertAnswer, func(rows pgx.Rows) (err error) {
		known, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
		return err
	}, a.MessageID, a.Attempt, a.VendorID, storable(a.Status), detail, timeOrNull(a.CameAt))
	if err != nil {
		return fmt.Errorf("keep the answer to %s: %w", a.Ref(), err)
	}
	if !known {
		return message.Refuse(message.ReasonNotFound, "no attempt %s was made at the vendor", a.Ref())
	}
	return nil
}

const selectAnswers = `
select a.message_id, a.attempt, a.vendor_id, a.status, a.detail, a.came_at
from unnest($2::uuid[], $3::integer[]) as w (message_id, attempt)
cross join lateral (
  select *
  from mm4_answers a
  where a.message_id = w.message_id and a.attempt = w.attempt
  offset 0
) a
where a.vendor_id = $1`

// TakeMM4Answers gives the answers that have come to some attempts at a vendor. They
// stay until the record of the attempt shows what they say: a process that dies with
// them loses none, and to ask again is harmless.
func (db *DB) TakeMM4Answers(ctx context.Context, vendor message.ID, attempts []message.AttemptRef) ([]message.MM4Answer, error) {
	type r = message.AttemptRef
	return db.mm4Answers(ctx, selectAnswers, vendor,
		pick(attempts, func(r r) message.ID { return r.MessageID }),
		pick(attempts, func(r r) int32 { return int32(r.Attempt) }))
}

// staleAnswers removes answers whose attempt is decided in the record, or gone with its
// message, and takes those whose attempt is in doubt there. What is being sent is left to
// the process that waits, or to whoever finds that it has died.
//
//	$1 age  $2 limit  $3 lease
const staleAnswers = `
with old as materialized (
  select a.ctid as place, s.state
  from mm4_answers a
  left join lateral (
    select state
    from segments
    where message_id = a.message_id and part = 1 and attempt = a.attempt
    offset 0
  ) s on true
  where a.came_at < now() - $1::interval and (a.claimed_until is null or a.claimed_until <= now()) and s.state is distinct from 'sending'
  order by a.came_at
  limit $2
  for update of a skip locked
), dropped as (
  delete from mm4_answers
  where ctid = any(array(select place from old where state is distinct from 'in_doubt'))
), claimed as (
  update mm4_answers
  set claimed_until = now() + $3::interval
  where ctid = any(array(select place from old where state = 'in_doubt'))
  returning message_id, attempt, vendor_id, status, detail, came_at
)
select *
from claimed
order by came_at`

// StaleMM4Answers gives answers, at most limit, that came longer than age ago and whose
// attempt is in doubt in the record: nobody waits for them any more, so they are to be
// told to it. Each goes to one process at a time, and comes back in two minutes until
// MM4AnswerDone. Answers whose attempt is decided go away here.
func (db *DB) StaleMM4Answers(ctx context.Context, age time.Duration, limit int) ([]message.MM4Answer, error) {
	list, err := db.mm4Answers(ctx, staleAnswers, age, limit, answerLease)
	for i := range list {
		list[i].Doubtful = true
	}
	return list, err
}

const deleteAnswer = `
delete from mm4_answers
where message_id = $1 and attempt = $2`

// MM4AnswerDone says that the record was told of an answer: it goes.
func (db *DB) MM4AnswerDone(ctx context.Context, a message.MM4Answer) error {
	if err := db.one(ctx, a.MessageID, deleteAnswer, none, a.MessageID, a.Attempt); err != nil {
		return fmt.Errorf("end the answer to %s: %w", a.Ref(), err)
	}
	return nil
}

// mm4Answers reads answers. What of them cannot be opened is left out of the detail and
// named beside them.
func (db *DB) mm4Answers(ctx context.Context, sql string, args ...any) ([]message.MM4Answer, error) {
	rows, err := db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read answers of MM4: %w", err)
	}
	var unread []error
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a message.MM4Answer, err error) {
		var sealed []byte
		if err := row.Scan(&a.MessageID, &a.Attempt, &a.VendorID, &a.Status, &sealed, &a.CameAt); err != nil || sealed == nil {
			return a, err
		}
		detail, err := db.sealer.Open(sealed, answerPlace(a))
		if err != nil {
			unread = append(unread, fmt.Errorf("words of the answer to %s: %w", a.Ref(), err))
		}
		a.Detail = string(detail)
		return a, nil
	})
	if err != nil {
		return nil, fmt.Errorf("read answers of MM4: %w", err)
	}
	return list, errors.Join(unread...)
}

// answerPlace is what the words of a vendor's answer are bound to.
func answerPlace(a message.MM4Answer) []byte {
	return append(a.MessageID[:], "mm4_answer "+strconv.Itoa(a.Attempt)...)
}
