package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const (
	insertRedriveItems = `
insert into redrive_items (redrive_id, message_id, state, new_message_id, try, claimed_at, reason, detail)
select $1, n.message_id, n.state, n.new_message_id, 1, statement_timestamp(), n.reason, n.detail
from unnest($2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[]) as n (message_id, state, new_message_id, reason, detail)`

	// selectOpenItems gives the age of a claim in seconds.
	selectOpenItems = `
select message_id, new_message_id, try, coalesce(extract(epoch from clock_timestamp() - claimed_at), 0)::float8, reason, detail
from redrive_items
where redrive_id = $1 and state = 'claimed'
order by message_id desc
limit $2`

	// claimItems gives items out: under a new id when the try is the first, and of actions
	// that are not a retry with a new time.
	claimItems = `
update redrive_items i
set new_message_id = n.new_message_id, try = n.try, reason = '', detail = '',
    claimed_at = case when n.try = 1 or n.new_message_id is null then statement_timestamp() else i.claimed_at end
from unnest($2::uuid[], $3::uuid[], $4::integer[]) as n (message_id, new_message_id, try)
where i.redrive_id = $1 and i.message_id = n.message_id`

	// settleItems notes what has become of items. What is sure is so by whichever try; any other end is that of the
	// try that is out, if no earlier one may still come to something ($7, the retries):
	// otherwise why it was refused is noted, and time decides.
	//
	//	$1 re-drive  $2 messages  $3 states  $4 tries  $5 reasons  $6 details  $7 a retry
	//	$8 sure
	settleItems = `
update redrive_items i
set state = case when n.sure or n.state in ('passed', 'refused') and (n.try = 1 or not $7) then n.state else 'claimed' end,
    try = case when n.state = 'waits' and n.try = 1 then 0 else i.try end,
    reason = case when n.state = 'waits' then '' else n.reason end,
    detail = case when n.state = 'waits' then '' else n.detail end
from unnest($2::uuid[], $3::text[], $4::integer[], $5::text[], $6::text[], $8::boolean[]) as n (message_id, state, try, reason, detail, sure)
where i.redrive_id = $1 and i.message_id = n.message_id and i.state = 'claimed' and (n.sure or i.try = n.try)
returning i.message_id, i.state`

	// selectMade reads what has become of messages that retries make.
	selectMade = `
select id, status, coalesce(reason, ''), coalesce(reason_detail, '')
from messages
where id = any($1) and id between $2 and $3`

	countOpenItems = `
select count(*)
from redrive_items
where redrive_id = $1 and state = 'claimed'`
)

// actLasts is how long a try of an action may still change its message after it was given
// out: longer than an action may take. Only then it is tried again, which is harmless for
// a retry, whose new message has its id, and may be none for the others.
const actLasts = time.Minute

// TakeRedrive adds what a step has found to a re-drive, unless it is not running or has
// come on since the step looked: then taken is false. What is claimed is to be tried.
func (db *DB) TakeRedrive(ctx context.Context, id message.ID, p message.RedrivePage) (r *message.Redrive, taken bool, err error) {
	r, err = db.changeRedrive(ctx, id, func(tx pgx.Tx, r *message.Redrive) error {
		if taken = r.Status == message.RedriveRunning && !r.Searched && r.Position == p.From && r.Looked+len(p.Items) <= r.Limit; !taken {
			return nil
		}
		r.Count(p)
		if r.DryRun || len(p.Items) == 0 {
			return nil
		}
		type i = message.RedriveItem
		_, err := tx.Exec(ctx, insertRedriveItems, id, pick(p.Items, func(i i) message.ID { return i.MessageID }), pick(p.Items, func(i i) string { return string(i.State) }),
			pick(p.Items, func(i i) *message.ID { return idOrNull(i.NewMessageID) }), pick(p.Items, reasonOfItem), pick(p.Items, detailOfItem))
		return err
	})
	return r, taken, err
}

func reasonOfItem(i message.RedriveItem) string {
	if i.Error == nil {
		return ""
	}
	return string(i.Error.Reason)
}

func detailOfItem(i message.RedriveItem) string {
	if i.Error == nil {
		return ""
	}
	return storable(i.Error.Detail)
}

// ClaimRedrive gives out again what was taken on and not done with, at most limit: what
// has to wait, and tries that broke off. A retry comes with the id that it had for as long
// as an earlier try of it may be under way, and is done if its message is there. open is
// what is left, among it what only time can settle.
func (db *DB) ClaimRedrive(ctx context.Context, id message.ID, limit int) (r *message.Redrive, items []message.RedriveItem, err error) {
	r, err = db.changeRedrive(ctx, id, func(tx pgx.Tx, r *message.Redrive) error {
		items = nil
		if r.Status.Final() || r.Open() == 0 {
			return nil
		}
		rows, err := tx.Query(ctx, selectOpenItems, id, limit)
		if err != nil {
			return err
		}
		type open struct {
			message.RedriveItem
			age time.Duration
		}
		list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o open, err error) {
			var made *message.ID
			var age float64
			var why message.Error
			err = row.Scan(&o.MessageID, &made, &o.Try, &age, &why.Reason, &why.Detail)
			if o.NewMessageID, o.age, o.State = orZero(made), time.Duration(age*float64(time.Second)), message.ItemClaimed; why.Reason != "" {
				o.Error = &why
			}
			return o, err
		})
		if err != nil {
			return err
		}
		made, err := madeOf(ctx, tx, pick(list, func(o open) message.ID { return o.NewMessageID }))
		if err != nil {
			return err
		}
		var settled []message.RedriveItem
		for _, o := range list {
			i := o.RedriveItem
			switch decideItem(&i, r.Action, o.age, made[i.NewMessageID]) {
			case itemTried:
				items = append(items, i)
			case itemSettled:
				settled = append(settled, i)
			}
		}
		if err := settle(ctx, tx, r, settled); err != nil || len(items) == 0 {
			return err
		}
		type i = message.RedriveItem
		_, err = tx.Exec(ctx, claimItems, id, pick(items, func(i i) message.ID { return i.MessageID }),
			pick(items, func(i i) *message.ID { return idOrNull(i.NewMessageID) }), pick(items, func(i i) int32 { return int32(i.Try) }))
		return err
	})
	return r, items, err
}

// What is done with an item that is open.
const (
	itemWaits = iota
	itemTried
	itemSettled
)

// decideItem says what is done with an item that was given out so long ago, and makes it
// what it is then. The bounds are those of rows of batches: see claimLasts.
func decideItem(i *message.RedriveItem, action message.RedriveAction, age time.Duration, made *message.Message) int {
	retry := action == message.RedriveRetry
	switch {
	case made != nil:
		i.State, i.Error, i.Sure = message.ItemDone, made.Error, true
		if made.Error != nil {
			i.State = message.ItemRefused
		}
		return itemSettled
	case i.Try == 0, retry && age > idLasts && i.Error == nil: // no try is under way
		if i.Try, i.Error = 1, nil; retry {
			i.NewMessageID = message.NewID()
		}
		return itemTried
	case retry && age > idLasts: // a later try refused it, and the earlier ones came to nothing
		i.State, i.Sure = message.ItemRefused, true
		return itemSettled
	case retry && age < claimLasts && i.Error == nil, !retry && age > actLasts:
		i.Try++
		return itemTried
	}
	return itemWaits
}

// madeOf reads which of the messages are in the record, and why those were rejected that
// were; zero ids are not there.
func madeOf(ctx context.Context, tx pgx.Tx, all []message.ID) (map[message.ID]*message.Message, error) {
	ids := slices.DeleteFunc(all, func(id message.ID) bool { return id == (message.ID{}) })
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, selectMade, among(ids)...)
	if err != nil {
		return nil, err
	}
	made := map[message.ID]*message.Message{}
	var id message.ID
	var status message.Status
	var why message.Error
	_, err = pgx.ForEachRow(rows, []any{&id, &status, &why.Reason, &why.Detail}, func() error {
		m := &message.Message{ID: id, Status: status}
		if status == message.StatusRejected {
			m.Error = &message.Error{Reason: why.Reason, Detail: why.Detail}
		}
		made[id] = m
		return nil
	})
	return made, err
}

// RecordRedrive notes what has become of items that were given out: done, passed, refused,
// or that they wait. Of a retry that was given out before, only that it is done is
// believed at once; anything else when the earlier tries can come to nothing any more.
// Noting it twice is harmless. Items that are not named stay as they are.
func (db *DB) RecordRedrive(ctx context.Context, id message.ID, items []message.RedriveItem) (*message.Redrive, error) {
	return db.changeRedrive(ctx, id, func(tx pgx.Tx, r *message.Redrive) error { return settle(ctx, tx, r, items) })
}

func settle(ctx context.Context, tx pgx.Tx, r *message.Redrive, items []message.RedriveItem) error {
	if len(items) == 0 {
		return nil
	}
	type i = message.RedriveItem
	rows, err := tx.Query(ctx, settleItems, r.ID, pick(items, func(i i) message.ID { return i.MessageID }), pick(items, func(i i) string { return string(i.State) }),
		pick(items, func(i i) int32 { return int32(i.Try) }), pick(items, reasonOfItem), pick(items, detailOfItem), r.Action == message.RedriveRetry,
		pick(items, func(i i) bool { return i.State == message.ItemDone || i.Sure }))
	if err != nil {
		return err
	}
	ends := map[message.ID]message.RedriveItemState{}
	var id message.ID
	var state message.RedriveItemState
	if _, err := pgx.ForEachRow(rows, []any{&id, &state}, func() error {
		ends[id] = state
		return nil
	}); err != nil {
		return err
	}
	for _, i := range items {
		i.State = ends[i.MessageID]
		r.Settle(i)
	}
	return nil
}

// EndRedrive ends a re-drive that has come to its end, or was stopped, once nothing of it
// is open. Otherwise it stays as it is.
func (db *DB) EndRedrive(ctx context.Context, id message.ID) (*message.Redrive, error) {
	return db.changeRedrive(ctx, id, func(tx pgx.Tx, r *message.Redrive) error {
		var open int
		if err := tx.QueryRow(ctx, countOpenItems, id).Scan(&open); err != nil || open > 0 {
			return err
		}
		switch {
		case r.Status == message.RedriveStopping:
			r.Status, r.CompletedAt = message.RedriveStopped, db.Now()
		case r.Status == message.RedriveRunning && r.Searched:
			r.Status, r.CompletedAt = message.RedriveCompleted, db.Now()
		}
		return nil
	})
}

// takeRedriveItems and takeRedrives remove re-drives that have ended, their items first.
const (
	takeRedriveItems = `
delete from redrive_items
where ctid = any(array(
  select i.ctid
  from redrive_items i
  where i.redrive_id < $1 and exists (select from redrives r where r.id = i.redrive_id and r.completed_at is not null)
  order by i.redrive_id
  limit $2
  for update skip locked))`

	takeRedrives = `
delete from redrives
where ctid = any(array(
  select r.ctid
  from redrives r
  where r.id < $1 and r.completed_at is not null and not exists (select from redrive_items i where i.redrive_id = r.id)
  order by r.id
  limit $2
  for update skip locked))`
)
