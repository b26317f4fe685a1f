package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// holdLeases keeps what the instance holds and takes what nobody does. Rows are locked
// in the order of the key, so that two processes that want the same slots wait for each
// other and no more. A lease counts from before that wait.
const holdLeases = `
insert into vendor_leases as l (vendor_id, slot, instance, of_slots, until)
select n.vendor_id, n.slot, $1, n.of_slots, clock_timestamp() + $5 * interval '1 microsecond'
from unnest($2::uuid[], $3::smallint[], $4::integer[]) as n (vendor_id, slot, of_slots)
order by n.vendor_id, n.slot
on conflict (vendor_id, slot) do update
set instance = excluded.instance, of_slots = excluded.of_slots, until = excluded.until
where l.instance = excluded.instance or l.until <= clock_timestamp()
returning vendor_id, slot, instance, of_slots`

const reportLinks = `
insert into vendor_links (vendor_id, instance, serves, bind, binds, in_flight, throughput, rate_share, error_rate, latency_ms, last_error, since, seen_at)
select n.vendor_id, $1, n.serves, n.bind, n.binds, n.in_flight, n.throughput, n.rate_share, n.error_rate, n.latency_ms, n.last_error, n.since, clock_timestamp()
from unnest($2::uuid[], $3::boolean[], $4::text[], $5::integer[], $6::integer[], $7::double precision[], $8::double precision[], $9::double precision[],
  $10::integer[], $11::text[], $12::timestamptz[])
  as n (vendor_id, serves, bind, binds, in_flight, throughput, rate_share, error_rate, latency_ms, last_error, since)
on conflict (vendor_id, instance) do update
set serves = excluded.serves, bind = excluded.bind, binds = excluded.binds, in_flight = excluded.in_flight, throughput = excluded.throughput,
  rate_share = excluded.rate_share, error_rate = excluded.error_rate, latency_ms = excluded.latency_ms, last_error = excluded.last_error,
  since = excluded.since, seen_at = excluded.seen_at`

// sweepLinks takes out the rows of dead processes, and those of our own that we do not
// report any more. It waits for nobody.
const sweepLinks = `
delete from vendor_links
where (vendor_id, instance) in (
  select vendor_id, instance
  from vendor_links
  where seen_at < now() - interval '1 minute'
    or instance = $1 and not vendor_id = any($2::uuid[])
  for update skip locked)`

const sweepLeases = `
delete from vendor_leases
where (vendor_id, slot) in (
  select vendor_id, slot
  from vendor_leases
  where until < now() - interval '1 minute'
  for update skip locked)`

// VendorBeat is the heartbeat of a process: it enters what its links look like, keeps
// the leases that it names, takes those of them that are free, and returns those that
// it has now. What it holds and does not name ends by itself, or by LeaveVendors.
func (db *DB) VendorBeat(ctx context.Context, b message.VendorBeat) ([]message.VendorLease, error) {
	batch := &pgx.Batch{}
	queueReports(batch, b)
	batch.Queue(sweepLeases)
	batch.Queue(holdLeases, b.Instance,
		pick(b.Hold, func(l message.VendorLease) message.ID { return l.VendorID }),
		pick(b.Hold, func(l message.VendorLease) int16 { return int16(l.Slot) }),
		pick(b.Hold, func(l message.VendorLease) int32 { return int32(l.Of) }),
		b.Lease.Microseconds())
	results := db.pool.SendBatch(ctx, batch)
	var err error
	for range batch.Len() - 1 {
		if _, err = results.Exec(); err != nil {
			break
		}
	}
	var held []message.VendorLease
	if err == nil {
		var rows pgx.Rows
		if rows, err = results.Query(); err == nil {
			held, err = pgx.CollectRows(rows, vendorLease)
		}
	}
	if cerr := results.Close(); err == nil {
		err = cerr // of the commit
	}
	if err != nil {
		return nil, fmt.Errorf("vendor heartbeat: %w", err)
	}
	return held, nil
}

func queueReports(batch *pgx.Batch, b message.VendorBeat) {
	type r = message.VendorReport
	ids := pick(b.Links, func(l r) message.ID { return l.VendorID })
	batch.Queue(reportLinks, b.Instance, ids,
		pick(b.Links, func(l r) bool { return l.Serves }),
		pick(b.Links, func(l r) string { return l.Bind }),
		pick(b.Links, func(l r) int32 { return int32(l.Binds) }),
		pick(b.Links, func(l r) int32 { return int32(l.InFlight) }),
		pick(b.Links, func(l r) float64 { return l.Throughput }),
		pick(b.Links, func(l r) float64 { return l.RateShare }),
		pick(b.Links, func(l r) float64 { return l.ErrorRate }),
		pick(b.Links, func(l r) int32 { return int32(l.LatencyMillis) }),
		pick(b.Links, func(l r) string { return storable(l.LastError) }),
		pick(b.Links, func(l r) time.Time { return l.Since }))
	batch.Queue(sweepLinks, b.Instance, ids)
}

func vendorLease(row pgx.CollectableRow) (message.VendorLease, error) {
	var l message.VendorLease
	var slot int16
	var of int32
	err := row.Scan(&l.VendorID, &slot, &l.Instance, &of)
	l.Slot, l.Of = int(slot), int(of)
	return l, err
}

const leaveLeases = `
delete from vendor_leases l
using unnest($2::uuid[], $3::smallint[]) as n (vendor_id, slot)
where l.vendor_id = n.vendor_id and l.slot = n.slot and l.instance = $1`

// LeaveVendors gives leases of the instance back, once it uses them no more.
func (db *DB) LeaveVendors(ctx context.Context, instance string, leases []message.VendorLease) error {
	_, err := db.pool.Exec(ctx, leaveLeases, instance,
		pick(leases, func(l message.VendorLease) message.ID { return l.VendorID }),
		pick(leases, func(l message.VendorLease) int16 { return int16(l.Slot) }))
	if err != nil {
		return fmt.Errorf("give vendor leases back: %w", err)
	}
	return nil
}

const endLeases = `
with links as (
  delete from vendor_links
  where instance = $1
)
delete from vendor_leases
where instance = $1`

// EndVendors takes the instance out: it has unbound from all vendors and ends.
func (db *DB) EndVendors(ctx context.Context, instance string) error {
	if _, err := db.pool.Exec(ctx, endLeases, instance); err != nil {
		return fmt.Errorf("end vendor leases: %w", err)
	}
	return nil
}

const liveLeases = `
select vendor_id, slot, instance, of_slots
from vendor_leases
where until > clock_timestamp()
order by vendor_id, slot`

const vendorServers = `
select vendor_id, instance
from vendor_links
where serves and seen_at > now() - $1 * interval '1 microsecond'
order by vendor_id, instance`

// VendorLeases lists the leases that hold now, of all processes, and the processes that
// serve a vendor and were heard of within lease. What others have committed before is
// in it.
func (db *DB) VendorLeases(ctx context.Context, lease time.Duration) ([]message.VendorLease, []message.VendorServer, error) {
	batch := &pgx.Batch{}
	batch.Queue(liveLeases)
	batch.Queue(vendorServers, lease.Microseconds())
	results := db.pool.SendBatch(ctx, batch)
	var leases []message.VendorLease
	var servers []message.VendorServer
	rows, err := results.Query()
	if err == nil {
		leases, err = pgx.CollectRows(rows, vendorLease)
	}
	if err == nil {
		if rows, err = results.Query(); err == nil {
			servers, err = pgx.CollectRows(rows, pgx.RowToStructByPos[message.VendorServer])
		}
	}
	if cerr := results.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, nil, fmt.Errorf("vendor leases: %w", err)
	}
	return leases, servers, nil
}

const vendorLinks = `
select vendor_id, instance, bind, binds, in_flight, throughput, rate_share, error_rate, latency_ms, last_error, since, seen_at
from vendor_links
where seen_at > now() - interval '15 seconds'
order by vendor_id, instance`

// VendorLinks lists what the links to all vendors look like, of every process that was
// heard of in the last 15 seconds.
func (db *DB) VendorLinks(ctx context.Context) ([]message.VendorLinkState, error) {
	rows, err := db.pool.Query(ctx, vendorLinks)
	if err != nil {
		return nil, fmt.Errorf("vendor links: %w", err)
	}
	links, err := pgx.CollectRows(rows, pgx.RowToStructByPos[message.VendorLinkState])
	if err != nil {
		return nil, fmt.Errorf("vendor links: %w", err)
	}
	return links, nil
}
