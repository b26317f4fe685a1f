package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// textSlack is how long after its acceptance a message keeps its text at least: ids of
// messages made of parts are as old as their first part, and clocks differ. No id comes
// into the record later than that, except by a redrive, which notes it in text_purges_due.
const textSlack = message.TextLeast

// textPurge is how far a round has come with the texts of messages.
type textPurge struct {
	accounts []accountTexts // to be done, the next one last; nil: not read yet
	read     bool
	due      message.ID // the last one of text_purges_due that was looked at
	kept     map[message.ID]time.Time
}

// accountTexts is an account and before when the texts of its messages go.
type accountTexts struct {
	id     message.ID
	before time.Time
}

const selectTextAccounts = `
select id, content_retention_days
from accounts
order by id`

// selectTexts reads on in an account from where its texts are gone: which messages have
// something left.
const selectTexts = `
select id, body is not null or user_data_header is not null or tlvs is not null or subject is not null
from messages
where account_id = $1 and id > coalesce((select until_id from text_purges where account_id = $1), '00000000-0000-0000-0000-000000000000') and id < $2
order by id
limit $3`

// purgeTexts takes the texts of finished messages away, and returns the ids. A message
// from a handset has its text until all of its destinations are done with, for an hour,
// in which a fall-back is planned. Of rows that somebody works on it keeps off.
//
//	$1 ids  $2 final statuses
const purgeTexts = `
with finished as (
  select m.id
  from messages m
  where m.id = any($1::uuid[]) and m.status = any($2::text[])
    and (m.direction = 'outbound' or not exists (
      select
      from inbound_starts s
      where s.message_id = m.id
      offset 0) and not exists (
      select
      from inbound_outcomes o
      where o.message_id = m.id and (o.state = 'pending' or o.done_at > now() - interval '1 hour')
      offset 0))
  for update of m skip locked
)
update messages
set body = null, user_data_header = null, tlvs = null, subject = null
where id = any(array(select id from finished))
returning id`

// Their files go too, and what vendors sent of them: the message as it came, and its
// parts.
const (
	purgeMedia = `
delete from message_media
where message_id = any($1::uuid[])`

	purgeInbound = `
update inbound_messages
set body = null, raw = null, user_data_header = null, subject = null, media = null
where id = any($1::uuid[])`

	purgeInboundParts = `
update inbound_messages
set body = null, raw = null, user_data_header = null, subject = null, media = null
where whole_id = any($1::uuid[])`

	selectTextPayloads = `
select id, payload
from webhook_deliveries
where message_id = any($1::uuid[]) and id >= ids_near($2) and type = 'message.received' and state <> 'pending'`

	updatePayloads = `
update webhook_deliveries d
set payload = n.payload
from unnest($1::uuid[], $2::text[]) as n (id, payload)
where d.id = n.id`
)

const insertTextsDue = `
insert into text_purges_due (message_id, account_id)
select *
from unnest($1::uuid[], $2::uuid[])
on conflict do nothing`

const moveTextPurge = `
insert into text_purges (account_id, until_id)
values ($1, $2)
on conflict (account_id) do update
set until_id = excluded.until_id`

// readAccounts finds out, once a round, before when the texts of each account go.
func (u *Upkeep) readAccounts(ctx context.Context) error {
	t := &u.texts
	if t.read {
		return nil
	}
	rows, err := u.conn.Query(ctx, selectTextAccounts)
	if err != nil {
		return err
	}
	t.accounts, t.kept = nil, make(map[message.ID]time.Time)
	var id message.ID
	var days int
	_, err = pgx.ForEachRow(rows, []any{&id, &days}, func() error {
		before := u.bounds.now.Add(-max(time.Duration(days)*24*time.Hour, textSlack))
		t.accounts = append(t.accounts, accountTexts{id, before})
		t.kept[id] = before
		return nil
	})
	t.read = err == nil
	return err
}

// purgeTexts goes through the messages of one account after the other, from where it
// was the last time up to those whose text is still kept.
func (u *Upkeep) purgeTexts(ctx context.Context) (done message.Cared, err error) {
	if err := u.readAccounts(ctx); err != nil {
		return done, err
	}
	left := u.texts.accounts
	if len(left) == 0 {
		return done, nil
	}
	a, full := left[len(left)-1], false
	err = u.within(ctx, func(tx pgx.Tx) error {
		done.Rows, full = 0, false
		rows, err := tx.Query(ctx, selectTexts, a.id, idAt(a.before), upkeepBatch)
		if err != nil {
			return err
		}
		var id message.ID
		var has bool
		var ids []message.ID
		tag, err := pgx.ForEachRow(rows, []any{&id, &has}, func() error {
			if has {
				ids = append(ids, id)
			}
			return nil
		})
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		full = tag.RowsAffected() == upkeepBatch
		purged, err := purge(ctx, tx, ids)
		if err != nil {
			return err
		}
		done.Rows = len(purged)
		if late := without(ids, purged); len(late) > 0 {
			if _, err := tx.Exec(ctx, insertTextsDue, late, pick(late, func(message.ID) message.ID { return a.id })); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, moveTextPurge, a.id, id)
		return err
	})
	if err == nil && !full {
		u.texts.accounts = left[:len(left)-1]
	}
	done.More = len(u.texts.accounts) > 0
	return done, err
}

const selectTextsDue = `
select message_id, account_id, exists (select from messages m where m.id = message_id offset 0)
from text_purges_due
where message_id > $1
order by message_id
limit $2`

const deleteTextsDue = `
delete from text_purges_due
where message_id = any($1::uuid[])`

// purgeTextsDue looks once a round at each of those that were under way when the others
// of their account lost their texts.
func (u *Upkeep) purgeTextsDue(ctx context.Context) (done message.Cared, err error) {
	if err := u.readAccounts(ctx); err != nil {
		return done, err
	}
	last := u.texts.due
	err = u.within(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectTextsDue, u.texts.due, upkeepBatch)
		if err != nil {
			return err
		}
		var ids, over []message.ID
		var id, account message.ID
		var there bool
		tag, err := pgx.ForEachRow(rows, []any{&id, &account, &there}, func() error {
			switch {
			case !there:
				over = append(over, id)
			case timeOf(id).Before(u.texts.kept[account]):
				ids = append(ids, id)
			}
			return nil
		})
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		last, done.More = id, tag.RowsAffected() == upkeepBatch
		purged, err := purge(ctx, tx, ids)
		if err != nil {
			return err
		}
		done.Rows = len(purged)
		_, err = tx.Exec(ctx, deleteTextsDue, append(over, purged...))
		return err
	})
	if err == nil {
		u.texts.due = last
	}
	return done, err
}

// purge takes the texts of those messages away that are finished, wherever they are,
// and returns which.
func purge(ctx context.Context, tx pgx.Tx, ids []message.ID) ([]message.ID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, purgeTexts, ids, finals(message.Status.Final))
	if err != nil {
		return nil, err
	}
	purged, err := pgx.CollectRows(rows, pgx.RowTo[message.ID])
	if err != nil || len(purged) == 0 {
		return nil, err
	}
	for _, sql := range []string{purgeMedia, purgeInbound, purgeInboundParts} {
		if _, err := tx.Exec(ctx, sql, purged); err != nil {
			return nil, err
		}
	}
	rows, err = tx.Query(ctx, selectTextPayloads, purged, slices.MinFunc(purged, func(a, b message.ID) int { return bytes.Compare(a[:], b[:]) }))
	if err != nil {
		return nil, err
	}
	var id message.ID
	var payload string
	var told []message.ID
	var payloads []string
	if _, err := pgx.ForEachRow(rows, []any{&id, &payload}, func() error {
		told, payloads = append(told, id), append(payloads, withoutText(payload))
		return nil
	}); err != nil {
		return nil, err
	}
	if len(told) > 0 {
		if _, err := tx.Exec(ctx, updatePayloads, told, payloads); err != nil {
			return nil, err
		}
	}
	return purged, nil
}

// withoutText is an event of an inbound message, of either format, without what the
// message said. What cannot be read is not kept.
func withoutText(payload string) string {
	var event map[string]json.RawMessage
	if json.Unmarshal([]byte(payload), &event) != nil {
		return "{}"
	}
	if data, nested := event["data"]; nested {
		event["data"] = json.RawMessage(withoutText(string(data)))
	}
	if _, says := event["body"]; says {
		event["body"] = json.RawMessage("null")
	}
	for _, name := range []string{"subject", "media_urls"} {
		delete(event, name)
	}
	b, err := json.Marshal(event)
	if err != nil {
		return "{}"
	}
	return string(bytes.TrimSpace(b))
}

// without is the list without those that are in the other.
func without(list, other []message.ID) (rest []message.ID) {
	in := make(map[message.ID]bool, len(other))
	for _, id := range other {
		in[id] = true
	}
	for _, id := range list {
		if !in[id] {
			rest = append(rest, id)
		}
	}
	return rest
}
