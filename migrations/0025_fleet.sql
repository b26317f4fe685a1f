-- Which process may use how much of a vendor, what the links look like, and what the
-- health of vendors is judged by.
--
-- Locks: creates only; nothing existing is touched.

-- One row a slot of a vendor that somebody holds: a bind, and a part of the rate. No
-- two processes hold one slot, and no process uses one beyond `until`. There is no
-- foreign key: a vendor that goes must not break the heartbeat of those that still
-- unbind from it. Heartbeats stay within the page (HOT), as in the next table.
create table vendor_leases (
  vendor_id uuid not null,
  slot      smallint not null check (slot >= 0),
  instance  text not null,
  of_slots  integer not null check (of_slots > 0), -- the holder may use this part of the rate for it
  until     timestamptz not null,
  primary key (vendor_id, slot)
) with (fillfactor = 40);

-- One row a process that serves a vendor, as it last said.
create table vendor_links (
  vendor_id  uuid not null,
  instance   text not null,
  serves     boolean not null, -- it would use slots
  bind       text not null,
  binds      integer not null,
  in_flight  integer not null,
  throughput double precision not null,
  rate_share double precision not null,
  error_rate double precision not null,
  latency_ms integer not null,
  last_error text not null,
  since      timestamptz not null,
  seen_at    timestamptz not null,
  primary key (vendor_id, instance)
) with (fillfactor = 40);

-- What each process saw of a vendor in ten seconds; written some times while they last,
-- always the whole. Kept for an hour.
create table vendor_samples (
  at         timestamptz not null,
  vendor_id  uuid not null,
  instance   text not null,
  accepted   integer not null,
  refused    integer not null,
  other      integer not null,
  silent     integer not null,
  receipts   integer not null,
  primary key (at, vendor_id, instance)
) with (fillfactor = 70);
