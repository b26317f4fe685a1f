package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

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
	page, err := db.list(ctx, byStatus(f), sql, args)
	if err != nil || f.AccountID == (message.ID{}) {
		return page, err
	}
	return db.withLate(ctx, f.AccountID, f, before, limit, page)
}

// idSlack is how long before its acceptance a message may have got its id: one that
// came in parts has the id of its first part.
const idSlack = time.Hour

// idAhead is how long after its acceptance a message's id may seem to be made: so far may
// the clock of the process that made it be ahead of the database's.
const idAhead = time.Hour

// listAllQuery finds what the filter narrows most by its index; the rest it reads
// from the primary key, which is in the order of time.
func listAllQuery(f message.Filter, before message.ID, limit int) (string, []any) {
	q := listing{}
	var ids []string // what the ids are known to be, of @
	if !f.CreatedAfter.IsZero() {
		slack := idSlack
		if f.AccountID != (message.ID{}) {
			slack = partitionMargin // see withLate
		}
		ids = append(ids, fmt.Sprintf("@ > $%d", q.put(idAt(f.CreatedAfter.Add(-slack)))))
	}
	if !f.CreatedBefore.IsZero() {
		ids = append(ids, fmt.Sprintf("@ < $%d", q.put(idAt(f.CreatedBefore.Add(idAhead)))))
	}
	q.from(f.AccountID, f, ids, before)
	q.byVendor(f)
	return q.newest(limit)
}

// byVendor adds what the filter says of the vendor.
func (q *listing) byVendor(f message.Filter) {
	if f.Vendor != "" {
		if id, err := message.ParseID(f.Vendor); err == nil {
			q.and("vendor_id = $%d", id)
		} else {
			q.and("vendor_name = $%d", f.Vendor)
		}
	}
	if f.VendorMessageID != "" {
		q.and(withVendorID, pick([]string{f.VendorMessageID, strings.ToLower(f.VendorMessageID)}, storable))
	}
}

// withVendorID finds messages by the id that a vendor gave one of their parts. The index
// begins with the vendor, so each is looked up by itself; a vendor uses ids again, but
// not a thousand times.
const withVendorID = `id = any(array(
    select s.message_id
    from vendors v
    cross join lateral (
      select message_id
      from segments
      where vendor_id = v.id and normalized_id = any($%d)
      order by normalized_id
      limit 1000
    ) s))`

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
