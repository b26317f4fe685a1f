package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// insertSamples writes what an instance has counted so far. The counts are whole, so
// writing them twice does no harm.
const insertSamples = `
insert into vendor_samples (at, vendor_id, instance, accepted, refused, other, silent, receipts)
select n.at, n.vendor_id, $1, n.accepted, n.refused, n.other, n.silent, n.receipts
from unnest($2::timestamptz[], $3::uuid[], $4::integer[], $5::integer[], $6::integer[], $7::integer[], $8::integer[])
  as n (at, vendor_id, accepted, refused, other, silent, receipts)
on conflict (at, vendor_id, instance) do update
set accepted = excluded.accepted, refused = excluded.refused, other = excluded.other, silent = excluded.silent,
  receipts = excluded.receipts`

// sweepSamples waits for nobody.
const sweepSamples = `
delete from vendor_samples
where (at, vendor_id, instance) in (
  select at, vendor_id, instance
  from vendor_samples
  where at < now() - interval '1 hour'
  limit 10000
  for update skip locked)`

// AddVendorSamples writes what the instance has counted of vendors in some ten seconds;
// later counts of the same ones take their place. What is older than an hour goes.
func (db *DB) AddVendorSamples(ctx context.Context, instance string, samples []message.VendorSample) error {
	type s = message.VendorSample
	batch := &pgx.Batch{}
	batch.Queue(insertSamples, instance,
		pick(samples, func(v s) time.Time { return v.At }),
		pick(samples, func(v s) message.ID { return v.VendorID }),
		pick(samples, func(v s) int32 { return int32(v.Accepted) }),
		pick(samples, func(v s) int32 { return int32(v.Refused) }),
		pick(samples, func(v s) int32 { return int32(v.Other) }),
		pick(samples, func(v s) int32 { return int32(v.Silent) }),
		pick(samples, func(v s) int32 { return int32(v.Receipts) }))
	batch.Queue(sweepSamples)
	if err := db.pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("add vendor samples: %w", err)
	}
	return nil
}

const vendorSamples = `
select vendor_id, at, sum(accepted)::bigint, sum(refused)::bigint, sum(other)::bigint, sum(silent)::bigint, sum(receipts)::bigint
from vendor_samples
where at >= $1
group by at, vendor_id
order by at, vendor_id`

// VendorSamples lists what was counted of vendors from then on, of all processes
// together.
func (db *DB) VendorSamples(ctx context.Context, since time.Time) ([]message.VendorSample, error) {
	rows, err := db.pool.Query(ctx, vendorSamples, since)
	if err != nil {
		return nil, fmt.Errorf("vendor samples: %w", err)
	}
	samples, err := pgx.CollectRows(rows, pgx.RowToStructByPos[message.VendorSample])
	if err != nil {
		return nil, fmt.Errorf("vendor samples: %w", err)
	}
	return samples, nil
}

const updateHealth = `
update vendors
set health_status = $2
where id = $1 and health_status is distinct from $2`

// VendorHealth notes how a vendor does its work, for staff. Its link does not depend
// on it.
func (db *DB) VendorHealth(ctx context.Context, id message.ID, health message.VendorHealth) error {
	if _, err := db.pool.Exec(ctx, updateHealth, id, string(health)); err != nil {
		return fmt.Errorf("health of vendor %s: %w", id, err)
	}
	return nil
}

const updateLastBind = `
update vendors
set last_bind_time = $2
where id = $1 and (last_bind_time is null or last_bind_time < $2)`

// VendorBound notes when a vendor was bound last, for staff.
func (db *DB) VendorBound(ctx context.Context, id message.ID, at time.Time) error {
	if _, err := db.pool.Exec(ctx, updateLastBind, id, at); err != nil {
		return fmt.Errorf("last bind of vendor %s: %w", id, err)
	}
	return nil
}
