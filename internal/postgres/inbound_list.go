package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// receivedQuery lists an account's inbound messages from behind one, in the order in
// which they came into the record: who polls from where they were finds also those that
// waited for parts or for an owner, whose time and id lie before.
func receivedQuery(account message.ID, f message.ReceivedFilter, behind message.ID, limit int) (string, []any) {
	q := listing{args: []any{account}}
	q.WriteString("select" + messageColumns + "\nfrom messages\nwhere account_id = $1 and direction = 'inbound'")
	if behind != (message.ID{}) {
		q.and("(created_at, id) > (coalesce((select created_at from messages where id = $%[1]d), '-infinity'), $%[1]d)", behind)
	}
	if f.To != "" {
		q.and("to_addr = $%d", string(f.To))
	}
	if f.From != "" {
		q.and("from_addr = $%d", string(f.From))
	}
	if !f.After.IsZero() {
		q.and("created_at > $%d", f.After)
	}
	q.args = append(q.args, limit)
	fmt.Fprintf(&q, "\norder by created_at, id\nlimit $%d", len(q.args))
	return q.String(), q.args
}

const selectReceivedDetails = `
select m.id, m.complete, coalesce(i.keyword, ''), coalesce(i.received_at, m.created_at), i.subject, i.media, i.group_recipients
from messages m
left join inbound_messages i on i.id = m.id
where m.id = any($1) and m.id between $2 and $3`

const selectOutcomesOf = `
select` + outcomeColumns + `, o.message_id
from inbound_outcomes o
where o.message_id = any($1)
order by o.message_id, o.position`

// ReceivedMessages lists an account's inbound messages with what became of each,
// oldest first: at most limit, from behind the message `behind` when that is not zero.
func (db *DB) ReceivedMessages(ctx context.Context, account message.ID, f message.ReceivedFilter, behind message.ID, limit int) ([]message.ReceivedState, error) {
	sql, args := receivedQuery(account, f, behind, limit)
	return db.receivedStates(ctx, sql, args...)
}

const selectReceivedOf = `select` + messageColumns + `
from messages
where id = $2 and account_id = $1 and direction = 'inbound'`

// ReceivedMessage reads one of an account's inbound messages. Another account's is
// ReasonNotFound, as one that does not exist.
func (db *DB) ReceivedMessage(ctx context.Context, account, id message.ID) (message.ReceivedState, error) {
	list, err := db.receivedStates(ctx, selectReceivedOf, account, id)
	if err == nil && len(list) == 0 {
		err = message.Refuse(message.ReasonNotFound, "no inbound message %s", id)
	}
	if err != nil {
		return message.ReceivedState{}, err
	}
	return list[0], nil
}

func (db *DB) receivedStates(ctx context.Context, sql string, args ...any) ([]message.ReceivedState, error) {
	fail := func(err error) ([]message.ReceivedState, error) {
		return nil, fmt.Errorf("read inbound messages: %w", err)
	}
	rows, err := db.pool.Query(ctx, sql, args...)
	if err != nil {
		return fail(err)
	}
	messages, err := pgx.CollectRows(rows, db.scanMessage)
	if err != nil {
		return fail(err)
	}
	out := make([]message.ReceivedState, len(messages))
	at := make(map[message.ID]*message.ReceivedState, len(messages))
	ids := make([]message.ID, len(messages))
	for i, m := range messages {
		out[i].Message = m
		at[m.ID], ids[i] = &out[i], m.ID
	}
	if len(ids) == 0 {
		return out, nil
	}
	if rows, err = db.pool.Query(ctx, selectReceivedDetails, among(ids)...); err != nil {
		return fail(err)
	}
	var id message.ID
	var r message.Received
	var subject, media []byte
	if _, err = pgx.ForEachRow(rows, []any{&id, &r.Complete, &r.Keyword, &r.ReceivedAt, &subject, &media, &r.Group}, func() (err error) {
		to := at[id]
		to.Complete, to.Keyword, to.ReceivedAt, to.Group = r.Complete, r.Keyword, r.ReceivedAt, r.Group
		to.Subject, to.Media, err = db.openMMS(id, subject, media)
		return err
	}); err != nil {
		return fail(err)
	}
	files, err := db.mediaOf(ctx, ids, "")
	if err != nil {
		return fail(err)
	}
	for i := range out {
		out[i].Files = files[ids[i]]
	}
	if rows, err = db.pool.Query(ctx, selectOutcomesOf, ids); err != nil {
		return fail(err)
	}
	defer rows.Close()
	for rows.Next() {
		d, err := scanOutcome(rows, &id)
		if err != nil {
			return fail(err)
		}
		at[id].Deliveries = append(at[id].Deliveries, d)
	}
	if rows.Err() != nil {
		return fail(rows.Err())
	}
	return out, nil
}
