package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// Bounds of automatic answers to one recipient from one number. A person never meets
// them; a machine that answers our answers does.
const (
	repliesPerDay = 10 // in UTC, to keywords of all kinds
	helpEvery     = time.Minute
	// The same of what a number answers by itself.
	ownPerDay = 3
	ownEvery  = time.Hour
)

// takePair locks the row of a pair, and makes it first.
const takePair = `
insert into keyword_pairs as p (number, recipient, day)
values ($1, $2, current_date)
on conflict (number, recipient) do update set number = p.number`

// lockPair keeps everybody else from working on a keyword of the same pair until the
// transaction ends.
func lockPair(ctx context.Context, tx pgx.Tx, a message.Arrival) error {
	_, err := tx.Exec(ctx, takePair, storable(string(a.Number)), storable(string(a.Sender)))
	return err
}

// act does what the keyword of a stored message asks for, and gives the opt-outs that
// it has written: the caller, who has locked the pair, tells of them after the commit.
// repeat: the message may be one that was worked on before.
//
// A stop is done whenever it is asked for: done twice it changes nothing, and a
// repetition that comes after a start errs on the side of silence. A start that may
// be a repetition does nothing, for a stop may have come since.
func (db *DB) act(ctx context.Context, tx pgx.Tx, a message.Arrival, repeat bool, out *message.Arrived) (written []message.OptOut, err error) {
	var events []message.Event
	answer := false
	switch a.Action {
	case message.KeywordStop:
		if written, answer, err = db.stop(ctx, tx, a); len(written) > 0 {
			events = append(events, message.Event{Type: message.EventOptOutRecorded, Detail: map[string]any{"keyword": a.Keyword, "scope": a.Act.OptOut.Scope}})
		}
	case message.KeywordStart:
		if !repeat {
			written, answer, err = start(ctx, tx, &a)
		} else {
			a.ForHuman = true // should it be none, somebody can see what was not done
		}
		if a.IfStopped && len(written) == 0 {
			a.Keyword, a.Action = "", message.KeywordNone // the answer to a question
		}
		if len(written) > 0 {
			events = append(events, message.Event{Type: message.EventOptOutEnded, Detail: map[string]any{"keyword": a.Keyword}})
		}
	case message.KeywordHelp:
		answer = true
	case message.KeywordNone:
		answer = !repeat
	}
	if err != nil {
		return nil, err
	}
	out.Changed = len(written) > 0
	if answer && a.Act.Reply != nil {
		if err := db.owe(ctx, tx, a, out); err != nil {
			return nil, err
		}
	}
	if out.Reply != nil {
		events = append(events, message.Event{Type: message.EventReplyOwed, Detail: map[string]any{"message_id": out.Reply.ID}})
	}
	return written, finishInbound(ctx, tx, a, out.Changed, events)
}

// inForce waits for the turn to write opt-outs and gives what is in force for the
// recipient then.
func inForce(ctx context.Context, tx pgx.Tx, o message.OptOut) ([]message.OptOut, error) {
	if _, err := tx.Exec(ctx, lockOptOuts); err != nil {
		return nil, err
	}
	return activeOptOuts(ctx, tx, o.AccountID, o.Recipient)
}

// stops reports whether any of them keeps the sender of o from its recipient.
func stops(list []message.OptOut, o message.OptOut) bool {
	return slices.ContainsFunc(list, func(is message.OptOut) bool { return is.Stops(o.Sender, o.CampaignID) })
}

// stop records the opt-out. An answer is due unless the recipient got nothing from
// the sender already.
func (db *DB) stop(ctx context.Context, tx pgx.Tx, a message.Arrival) (written []message.OptOut, answer bool, err error) {
	o := a.Act.OptOut
	list, err := inForce(ctx, tx, o)
	if err != nil {
		return nil, false, err
	}
	scopes := []message.OptOutScope{o.Scope}
	if o.Scope == message.OptOutCampaign {
		// The customer may put the number into another campaign, and one that ends is
		// followed by another: the number that the recipient wrote to stays stopped.
		scopes = append(scopes, message.OptOutNumber)
	}
	for _, scope := range scopes {
		of := o
		of.Scope = scope
		is, fresh, err := db.recordOptOut(ctx, tx, ofScope(of, message.NewID(), a.ID), a.Act.Tell)
		if err != nil {
			return nil, false, err
		}
		if fresh {
			written = append(written, is)
		}
	}
	return written, len(written) > 0 && !stops(list, o), nil
}

// ofScope is the opt-out with the fields that its scope has.
func ofScope(o message.OptOut, id, by message.ID) message.OptOut {
	o.ID, o.MessageID = id, by
	if o.Scope != message.OptOutNumber {
		o.Sender = ""
	}
	if o.Scope != message.OptOutCampaign {
		o.CampaignID = ""
	}
	return o
}

// start ends the number's opt-out, and the campaign's or the account's where that is
// what a stop records. An answer is due when messages go again.
func start(ctx context.Context, tx pgx.Tx, a *message.Arrival) (written []message.OptOut, answer bool, err error) {
	o := a.Act.OptOut
	list, err := inForce(ctx, tx, o)
	if err != nil {
		return nil, false, err
	}
	var ids []message.ID
	left := list[:0:0]
	for _, is := range list {
		if is.Stops(o.Sender, o.CampaignID) && (is.Scope == message.OptOutNumber || is.Scope == o.Scope) {
			ids = append(ids, is.ID)
		} else {
			left = append(left, is)
		}
	}
	if written, err = endThem(ctx, tx, ids, message.OptOutEnd{MessageID: a.ID}, a.Act.Tell); err != nil {
		return nil, false, err
	}
	// What no word of the recipient ends, such as an entry of the customer's own for
	// the whole account, somebody has to look at.
	a.ForHuman = stops(left, o) && !(a.IfStopped && len(written) == 0)
	return written, len(written) > 0 && !stops(left, o), nil
}

// countReply notes one more answer of the pair, unless it has had enough.
//
//	$1 number  $2 recipient  $3 it is to a call for help  $4 answers a day  $5 time between two of help
const countReply = `
update keyword_pairs
set answers = case when day = current_date then answers + 1 else 1 end,
    own = case when day = current_date then own else 0 end,
    day = current_date,
    helped_at = case when $3 then now() else helped_at end
where number = $1 and recipient = $2
  and (day < current_date or answers < $4)
  and (not $3 or helped_at is null or helped_at < now() - $5::interval)`

// countOwn notes one more answer of the number's own, unless the pair has had enough.
//
//	$1 number  $2 recipient  $3 answers a day  $4 time between two
const countOwn = `
update keyword_pairs
set own = case when day = current_date then own + 1 else 1 end,
    answers = case when day = current_date then answers else 0 end,
    day = current_date,
    own_at = now()
where number = $1 and recipient = $2
  and (day < current_date or own < $3)
  and (own_at is null or own_at < now() - $4::interval)`

const insertReply = `
insert into automatic_replies (id, inbound_id, account_id, from_addr, to_addr, body, action)
values ($1, $2, $3, $4, $5, $6, $7)`

// owe keeps the answer, if the pair may have one.
func (db *DB) owe(ctx context.Context, tx pgx.Tx, a message.Arrival, out *message.Arrived) error {
	r := *a.Act.Reply
	r.InboundID, r.Action = a.ID, a.Action
	sql, args := countReply, []any{string(a.Number), string(a.Sender), a.Action == message.KeywordHelp, repliesPerDay, helpEvery}
	if a.Act.OptOut.Recipient == "" { // of no keyword
		sql, args = countOwn, []any{string(a.Number), string(a.Sender), ownPerDay, ownEvery}
	}
	tag, err := tx.Exec(ctx, sql, args...)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	if _, err := tx.Exec(ctx, insertReply, r.ID, r.InboundID, r.AccountID, string(r.From), string(r.To), db.sealer.Seal([]byte(r.Text), r.ID[:]), string(r.Action)); err != nil {
		return err
	}
	out.Reply = &r
	return nil
}

const updateInbound = `
update inbound_messages
set keyword = $2,
    keyword_action = $3,
    changed = $4,
    for_human = $5,
    event_seq = event_seq + $6
where id = $1
returning event_seq`

// countInboundEvents keeps the number of events that the record knows. Nobody else has
// seen the message yet.
const countInboundEvents = `
update messages
set event_seq = $2
where id = $1`

const insertInboundEvent = `
insert into message_events (message_id, sequence, at, type, detail)
values ($1, $2, clock_timestamp(), $3, $4)`

func finishInbound(ctx context.Context, tx pgx.Tx, a message.Arrival, changed bool, events []message.Event) error {
	var last int
	if err := tx.QueryRow(ctx, updateInbound, a.ID, storable(a.Keyword), string(a.Action), changed, a.ForHuman, len(events)).Scan(&last); err != nil {
		return err
	}
	if a.Message != nil && len(events) > 0 {
		if _, err := tx.Exec(ctx, countInboundEvents, a.ID, last); err != nil {
			return err
		}
	}
	for i, e := range events {
		if _, err := tx.Exec(ctx, insertInboundEvent, a.ID, last-len(events)+1+i, string(e.Type), detailJSON(e.Detail)); err != nil {
			return err
		}
	}
	return nil
}

// takeReplies gives the answers that nobody has taken on for a time to the one who
// asks: the next who asks does not get them before that time has passed again.
const takeReplies = `
with due as materialized (
  select id
  from automatic_replies
  where taken_at < now() - $1::interval
  order by taken_at
  limit $2
  for update skip locked
)
update automatic_replies r
set taken_at = now()
from due
where r.id = due.id
returning r.id, r.inbound_id, r.account_id, r.from_addr, r.to_addr, r.body, r.action, r.created_at`

// RepliesDue takes on answers that are owed and were last taken on longer than age
// ago. An answer that cannot be read is an error beside the others.
func (db *DB) RepliesDue(ctx context.Context, age time.Duration, limit int) ([]message.AutomaticReply, error) {
	rows, err := db.pool.Query(ctx, takeReplies, age, limit)
	if err != nil {
		return nil, fmt.Errorf("answers due: %w", err)
	}
	var list []message.AutomaticReply
	var unread []error
	var r message.AutomaticReply
	var body []byte
	var action string
	_, err = pgx.ForEachRow(rows, []any{&r.ID, &r.InboundID, &r.AccountID, &r.From, &r.To, &body, &action, &r.CreatedAt}, func() error {
		clear, err := db.sealer.Open(body, r.ID[:])
		if err != nil {
			unread = append(unread, fmt.Errorf("answer %s: %w", r.ID, err))
			return nil
		}
		r.Text, r.Action = string(clear), message.KeywordAction(action)
		list = append(list, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("answers due: %w", err)
	}
	return list, errors.Join(unread...)
}

const deleteReply = `
delete from automatic_replies
where id = $1`

// DropReply forgets an answer that has become a message, or never will.
func (db *DB) DropReply(ctx context.Context, id message.ID) error {
	_, err := db.pool.Exec(ctx, deleteReply, id)
	return err
}

const countReplies = `
select count(*)
from automatic_replies`

// CountReplies is the number of answers that are owed.
func (db *DB) CountReplies(ctx context.Context) (int, error) {
	var n int
	err := db.pool.QueryRow(ctx, countReplies).Scan(&n)
	return n, err
}

const deletePairs = `
delete from keyword_pairs
where (number, recipient) in (
  select number, recipient
  from keyword_pairs
  where day < current_date - 1
  order by day
  limit $1
  for update skip locked)`

// ForgetPairs forgets whom answers were counted for on days that are over.
func (db *DB) ForgetPairs(ctx context.Context, limit int) error {
	_, err := db.pool.Exec(ctx, deletePairs, limit)
	return err
}
