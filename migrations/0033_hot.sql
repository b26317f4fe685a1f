-- More room is left on the pages of notifications, so that the update of a row stays on
-- its page and writes no index (HOT): rows that were made together are changed together,
-- and every third found its page full. Each is changed once as a rule.
-- Later partitions are made as the one before them is (internal/postgres/partition.go).
-- Pages that are full stay as they are.
--
-- Locks: share update exclusive on the parts of webhook_deliveries, for a moment: only the
-- catalogue is written, and nobody who reads or writes waits.

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
