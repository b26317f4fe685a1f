package postgres

import (
	"context"
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
