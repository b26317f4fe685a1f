package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// countSample counts by the primary key, whose order is that of time.
const countSample = `
select count(*)
from messages
where id >= $1 and id < $2`

// selectSample picks by an octet pair of the id that is random (RFC 9562 §5.7: the last
// 62 bits are), so that the same messages are picked whenever it is asked. It finds
// them in the primary key alone, and reads only those. $3 of 65536 are picked.
const selectSample = `
select m.id, m.account_id, m.kind, m.from_addr, m.to_addr, m.encoding, m.user_data_header is not null, m.segments, m.message_class,
  m.delivery, m.status, m.vendor_id, m.vendor_name, m.send_at, m.expires_at, m.created_at
from (
  select id
  from messages
  where id >= $1 and id < $2
    and get_byte(uuid_send(id), 14) * 256 + get_byte(uuid_send(id), 15) < $3
  order by id
  limit $4
) p
join messages m on m.id = p.id
where m.direction = 'outbound'
  and (m.vendor_id is not null or m.reason = 'no_route')
order by m.id`

// sampleSpan is how many there are to be picked from.
const sampleSpan = 65536

// SampleMessages hands on, one by one and in the order of their ids, messages that were
// accepted from a time until another and were routed, or found no route: all of them, or
// about limit that are picked evenly when there are more. They come without texts,
// metadata and what became of them; of a user data header only that there is one. An
// error of take ends it and is returned.
func (db *DB) SampleMessages(ctx context.Context, from, until time.Time, limit int, take func(*message.Message) error) error {
	low, high := idAt(from), idAt(until)
	var n int
	if err := db.pool.QueryRow(ctx, countSample, low, high).Scan(&n); err != nil {
		return fmt.Errorf("sample messages: %w", err)
	}
	share := sampleSpan
	if n > limit {
		share = max(1, int(int64(limit)*sampleSpan/int64(n)))
	}
	// What is picked may be a little more than limit, by chance; twice as much is not.
	rows, err := db.pool.Query(ctx, selectSample, low, high, share, 2*int64(limit))
	if err != nil {
		return fmt.Errorf("sample messages: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		m, err := scanSample(rows)
		if err != nil {
			return fmt.Errorf("sample messages: %w", err)
		}
		if err := take(m); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("sample messages: %w", err)
	}
	return nil
}

func scanSample(rows pgx.Rows) (*message.Message, error) {
	m := &message.Message{Direction: message.Outbound}
	var header bool
	var vendor *message.ID
	var sendAt *time.Time
	err := rows.Scan(&m.ID, &m.AccountID, &m.Kind, &m.From, &m.To, &m.Encoding, &header, &m.Segments, &m.Class,
		&m.Delivery, &m.Status, &vendor, &m.Vendor, &sendAt, &m.ExpiresAt, &m.CreatedAt)
	if header {
		m.Header = []byte{0}
	}
	m.VendorID, m.SendAt = orZero(vendor), orZero(sendAt)
	return m, err
}
