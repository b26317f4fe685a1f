-- What each write to the large tables costs.
--
-- More room is left on the pages of notifications, so that the update of a row stays on
-- its page and writes no index (HOT): rows that were made together are changed together,
-- and every third found its page full. Each is changed once as a rule.
-- Later partitions are made as the one before them is (internal/postgres/partition.go).
-- Pages that are full stay as they are.
--
-- Columns that are written once and never changed are no longer checked: Postgres reads
-- the text of every check of a table anew in each statement that writes to it, which is
-- seven times a message for three of them, though they say nothing new after the first.
-- The gateway writes its own words there; the invariants (internal/postgres/invariants.go)
-- look at them. The states, which do change, are checked as before.
--
-- Locks: access exclusive on messages and segments, share update exclusive on the parts of
-- webhook_deliveries, for a moment: only the catalogue is written. Transactions that are under way are waited for, and everybody else waits
-- behind that: see that nothing long (a dump, a report) is running. The previous release
-- reads and writes as before.

-- All that is locked, before anything is changed.
lock table messages, segments in access exclusive mode;

do $$
declare
  p record;
begin
  for p in
    select inhrelid::regclass as name
    from pg_inherits
    where inhparent = 'webhook_deliveries'::regclass
  loop
    execute format('alter table %s set (fillfactor = 50)', p.name);
  end loop;
end $$;

alter table messages
  drop constraint messages_direction_check,
  drop constraint messages_kind_check,
  drop constraint messages_segments_check;
alter table segments
  drop constraint segments_part_check,
  drop constraint segments_attempt_check;
