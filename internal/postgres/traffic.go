package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// A sample of ten seconds is written when they are over: the last six that there are make
// the last minute. Inbound messages are read by their ids, which are in the order of time.
//
// The upper bound tells the planner that it is a small part of them.
//
//	$1 the first id of the hour  $2 the first id of the minute  $3 an id that is to come
const selectTraffic = `
with given as (
  select vendor_id,
    sum(accepted) filter (where at > now() - interval '70 seconds') as accepted_minute,
    sum(refused + silent) filter (where at > now() - interval '70 seconds') as failed_minute,
    sum(other) filter (where at > now() - interval '70 seconds') as refused_minute,
    sum(accepted) as accepted, sum(refused + silent) as failed, sum(other) as refused
  from vendor_samples
  where at > now() - interval '3610 seconds'
  group by vendor_id
), came as (
  select vendor_id, count(*) filter (where id >= $2) as minute, count(*) as hour
  from inbound_messages
  where id >= $1 and id < $3
  group by vendor_id
)
select coalesce(g.vendor_id, c.vendor_id),
  coalesce(c.minute, 0), coalesce(g.accepted_minute, 0)::bigint, coalesce(g.failed_minute, 0)::bigint, coalesce(g.refused_minute, 0)::bigint,
  coalesce(c.hour, 0), coalesce(g.accepted, 0)::bigint, coalesce(g.failed, 0)::bigint, coalesce(g.refused, 0)::bigint
from given g
full join came c on c.vendor_id = g.vendor_id`

// Traffic counts what went between all processes and the vendors over the last minute and
// hour; a vendor without any is missing. It reads the inbound messages of an hour.
func (db *DB) Traffic(ctx context.Context) ([]message.VendorTraffic, error) {
	now := db.Now()
	rows, err := db.pool.Query(ctx, selectTraffic, idAt(now.Add(-time.Hour)), idAt(now.Add(-time.Minute)), idAt(now.Add(time.Hour)))
	if err != nil {
		return nil, fmt.Errorf("count traffic: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t message.VendorTraffic, err error) {
		err = row.Scan(&t.VendorID, &t.Minute.In, &t.Minute.Accepted, &t.Minute.Failed, &t.Minute.Refused, &t.Hour.In, &t.Hour.Accepted, &t.Hour.Failed, &t.Hour.Refused)
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("count traffic: %w", err)
	}
	return list, nil
}
