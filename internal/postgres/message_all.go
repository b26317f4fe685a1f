package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// WholeMessage reads one message with its parts and what it waits for, whoever owns
// it. ReasonNotFound when there is none.
func (db *DB) WholeMessage(ctx context.Context, id message.ID) (*message.Message, error) {
	m, err := db.Message(ctx, id)
	if err != nil {
		return nil, err
	}
	return m, db.fill(ctx, []*message.Message{m})
}

// AllMessages lists the messages of all accounts, or of the filter's, newest
// first, with their parts and what they wait for: at most limit, older than the
// message `before` when that is not zero.
func (db *DB) AllMessages(ctx context.Context, f message.Filter, before message.ID, limit int) ([]*message.Message, error) {
	sql, args := listAllQuery(f, before, limit)
	rows, err := db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list messages: %w", err)
	}
	list, err := pgx.CollectRows(rows, db.scanMessage)
	if err != nil {
		return nil, fmt.Errorf("list messages: %w", err)
	}
	return list, db.fill(ctx, list)
}

// idSlack is how long before its acceptance a message may have got its id: one that
// came in parts has the id of its first part.
const idSlack = time.Hour

// listAllQuery finds what the filter narrows most by its index; the rest it reads
// from the primary key, which is in the order of time.
func listAllQuery(f message.Filter, before message.ID, limit int) (string, []any) {
	q := listing{}
	q.WriteString("select" + messageColumns + "\nfrom messages\nwhere true")
	if f.AccountID != (message.ID{}) {
		q.and("account_id = $%d", f.AccountID)
	} else if !f.CreatedAfter.IsZero() {
		q.and("id > $%d", idAt(f.CreatedAfter.Add(-idSlack)))
	}
	if f.AccountID == (message.ID{}) && !f.CreatedBefore.IsZero() {
		q.and("id < $%d", idAt(f.CreatedBefore.Add(time.Millisecond)))
	}
	if f.Vendor != "" {
		if id, err := message.ParseID(f.Vendor); err == nil {
			q.and("vendor_id = $%d", id)
		} else {
			q.and("vendor_name = $%d", f.Vendor)
		}
	}
	q.narrow(f, before)
	return q.newest(limit)
}

// idAt is the smallest id of a time: 48 bits of milliseconds come first (RFC 9562
// §5.7).
func idAt(t time.Time) message.ID {
	var id message.ID
	ms := max(t.UnixMilli(), 0)
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}
