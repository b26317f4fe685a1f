package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// selectUnseen and selectUnseenOf go by an index each from message to message: those
// of everybody, and of one account ($3). $1 is the message before, $2 how many.
const (
	selectUnseen   = unseen + unseenRest
	selectUnseenOf = unseen + `
  and h.account_id = $3` + unseenRest

	unseen = `
select h.message_id
from holds h
where h.rule = 'content'
  and h.until is null
  and h.message_id > $1`
	// Asked for each one: as a join the reviews of all time might be read.
	unseenRest = `
  and (
    select r.message_id
    from reviews r
    where r.message_id = h.message_id) is null
order by h.message_id
limit $2`
)

const selectMessages = `select` + messageColumns + `
from messages
where id = any($1) and id between $2 and $3
order by id`

// HeldMessages lists the messages that a content rule holds until somebody has looked
// at them, with their texts, oldest first, from behind one. account is whose; zero:
// everybody's.
func (db *DB) HeldMessages(ctx context.Context, account, after message.ID, limit int) ([]*message.Message, error) {
	sql, args := selectUnseen, []any{after, limit}
	if account != (message.ID{}) {
		sql, args = selectUnseenOf, append(args, account)
	}
	rows, err := db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list messages held for review: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[message.ID])
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	if rows, err = db.pool.Query(ctx, selectMessages, among(ids)...); err != nil {
		return nil, fmt.Errorf("read messages held for review: %w", err)
	}
	list, err := pgx.CollectRows(rows, db.scanMessage)
	if err != nil {
		return nil, fmt.Errorf("read messages held for review: %w", err)
	}
	return list, db.fillHolds(ctx, list)
}

// lockReviewed takes the message as every step of its life does, so that it neither
// goes on nor ends while its review is written.
const lockReviewed = `
select m.account_id, m.revision, m.status, exists (
  select
  from holds h
  where h.message_id = m.id and h.rule = 'content' and h.until is null)
from messages m
where m.id = $1
for update`

// insertReview writes a verdict unless there is one of this revision.
const insertReview = `
insert into reviews (message_id, revision, verdict, actor, reason)
values ($1, $2, $3, $4, $5)
on conflict (message_id) do update
set revision = excluded.revision, verdict = excluded.verdict, actor = excluded.actor, reason = excluded.reason, at = now()
where reviews.revision <> excluded.revision`

const insertStaffAction = `
with moved as (
  update messages
  set event_seq = event_seq + 1
  where id = $1
  returning event_seq as sequence
)
insert into message_events (message_id, sequence, at, type, detail)
select $1, sequence, now(), 'staff_action', $2::jsonb
from moved`

// maxReviewReason bounds the reason of a review, in characters.
const maxReviewReason = 300

// Review records what somebody says of a message that a content rule holds, with a
// line in its timeline. The customer sees the reason of a refusal. Repeated by the
// same words it changes nothing. ReasonConflict when the message does not wait for
// it, or somebody has said otherwise. Its workflow is to be told to look again; a
// sweep does it when nobody else does.
func (db *DB) Review(ctx context.Context, by Actor, id message.ID, verdict message.Verdict, reason string) error {
	reason = strings.TrimSpace(reason)
	switch {
	case verdict != message.VerdictRelease && verdict != message.VerdictRefuse:
		return message.Refuse(message.ReasonInvalidRequest, "verdict: want release or refuse")
	case verdict == message.VerdictRefuse && reason == "":
		return message.Refuse(message.ReasonInvalidRequest, "a refusal needs a reason")
	case utf8.RuneCountInString(reason) > maxReviewReason || storable(reason) != reason:
		return message.Refuse(message.ReasonInvalidRequest, "reason: at most %d characters of text", maxReviewReason)
	}
	tx, err := db.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("review %s: %w", id, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := review(ctx, tx, by, id, verdict, reason); err != nil {
		return fmt.Errorf("review %s: %w", id, err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("review %s: commit: %w", id, err)
	}
	return nil
}

func review(ctx context.Context, tx pgx.Tx, by Actor, id message.ID, verdict message.Verdict, reason string) error {
	var account message.ID
	var revision int
	var status message.Status
	var held bool
	err := tx.QueryRow(ctx, lockReviewed, id).Scan(&account, &revision, &status, &held)
	if errors.Is(err, pgx.ErrNoRows) {
		return message.Refuse(message.ReasonNotFound, "no message %s", id)
	}
	if err != nil {
		return err
	}
	var was message.Review
	err = tx.QueryRow(ctx, selectReview, id).Scan(&was.Verdict, &was.Revision, &was.Actor, &was.Reason, &was.At)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	switch {
	case err == nil && was.Revision == revision && was.Verdict == verdict:
		return nil
	case err == nil && was.Revision == revision:
		return message.Refuse(message.ReasonConflict, "somebody has reviewed the message already: %s", was.Verdict)
	case !held:
		return message.Refuse(message.ReasonConflict, "the message is %s and does not wait for a review", status)
	}
	if err := exactlyOne(tx.Exec(ctx, insertReview, id, revision, string(verdict), by.Name, reason)); err != nil {
		return err
	}
	// Customers see no member of a line but those on the list of what is shown; who it
	// was, and his note, stay inside.
	line := map[string]any{"action": "review_" + string(verdict), "actor": by.Name, "note": reason}
	if err := exactlyOne(tx.Exec(ctx, insertStaffAction, id, line)); err != nil {
		return err
	}
	shown := map[string]any{"account_id": account, "revision": revision, "reason": reason}
	return audit(ctx, tx, auditRow{by: by, action: "message.review_" + string(verdict), target: id.String()}, nil, shown)
}
