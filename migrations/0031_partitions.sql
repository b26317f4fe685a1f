-- The large tables are made of partitions by time, so that old rows go with their
-- partition and not one by one. The ids are UUIDs of version 7 and sort by time, so the
-- ranges are of ids and the primary keys stay as they are.
--
-- The table that was there becomes the first partition as it is: it has no bounds yet,
-- so nothing is read to attach it, and its indexes become those of the whole. MakePartitions
-- (internal/postgres/partition.go) gives it its end once all its rows were read beside the traffic.
-- There is no default partition: while a table has one, none of the others can be
-- detached without blocking everybody. The last one has no upper end instead.
--
-- Locks: access exclusive on messages, message_events, segments and webhook_deliveries,
-- for a moment: only the catalogue is written, whatever they hold. Transactions that are
-- under way are waited for, and everybody else waits behind that: see that nothing long
-- (a dump, a report) is running. The previous release reads and writes the same names
-- as before.

-- One lock after the other: none is held while the next is waited for by a transaction
-- that holds it.
lock table messages, message_events, segments, webhook_deliveries in access exclusive mode;

-- The view names the table it was made of, whatever that is called later.
drop view inbound_outcomes;

do $$
declare
  t record;
  i record;
  a record;
begin
  for t in
    select c.oid, c.relname as name, p.key
    from (values ('messages', 'id'), ('message_events', 'message_id'), ('segments', 'message_id'), ('webhook_deliveries', 'id')) as p (name, key)
    join pg_class c on c.oid = p.name::regclass
  loop
    execute format('alter table %I rename to %I', t.name, t.name || '_first');
    execute format('create table %I (like %I including defaults including constraints including storage) partition by range (%I)', t.name, t.name || '_first', t.key);
    for i in
      select c.relname as name, pg_get_indexdef(x.indexrelid) as definition, con.conname, pg_get_constraintdef(con.oid) as condef
      from pg_index x
      join pg_class c on c.oid = x.indexrelid
      left join pg_constraint con on con.conindid = x.indexrelid and con.contype = 'p'
      where x.indrelid = t.oid
      order by c.relname
    loop
      execute format('alter index %I rename to %I', i.name, replace(i.name, t.name, t.name || '_first'));
      if i.conname is not null then
        execute format('alter table %I add constraint %I %s', t.name, i.conname, i.condef);
      else
        -- The definition names the table as it is called now.
        execute replace(i.definition, t.name || '_first USING', t.name || ' USING');
      end if;
    end loop;
    for a in select attname as name, attoptions as options from pg_attribute where attrelid = t.oid and attoptions is not null and attnum > 0 loop
      execute format('alter table %I alter column %I set (%s)', t.name, a.name, array_to_string(a.options, ', '));
    end loop;
    execute format('alter table %I attach partition %I for values from (minvalue) to (maxvalue)', t.name, t.name || '_first');
  end loop;
end $$;

-- The smallest id of a day before another id: what belongs to a message is not made
-- before it, except by clocks that differ. It keeps a search for what has ids of its
-- own out of the partitions of older times.
create function ids_near(id uuid) returns uuid
  language sql immutable strict parallel safe
  return encode(overlay(decode('00000000000000000000000000000000', 'hex')
    placing substring(int8send(greatest(('x' || encode(substring(uuid_send(id) from 1 for 6), 'hex'))::bit(48)::bigint - 86400000, 0)) from 3) from 1 for 6), 'hex')::uuid;

-- How far the destinations of a message have come, as before.
create view inbound_outcomes as
select d.message_id, d.position, d.method, d.route_id, d.email_address, d.fallback, d.created_at,
  case when d.state <> 'pending' then d.state else coalesce(w.state, s.state, d.state) end as state,
  coalesce(w.attempts, s.attempts, d.attempts) as attempts,
  coalesce(w.last_error, s.last_error, d.last_error) as last_error,
  coalesce(w.done_at, s.done_at, d.done_at) as done_at
from inbound_deliveries d
left join lateral (
  select
    case when bool_or(e.state = 'delivered') then 'delivered' when bool_or(e.state = 'pending') then 'pending' else 'failed' end as state,
    max(e.attempts) as attempts,
    case when bool_or(e.state = 'delivered') then '' else coalesce(max(e.last_error) filter (where e.last_error <> ''), max('HTTP ' || e.last_status) filter (where e.last_status <> 0), '') end as last_error,
    max(e.last_attempt_at) filter (where e.state <> 'pending') as done_at
  from webhook_deliveries e
  where e.message_id = d.message_id and e.id >= ids_near(d.message_id) and e.inbound_position = d.position
  having count(*) > 0
) w on d.method = 'webhook'
left join lateral (
  -- What nobody fetched in time is still to be had from the store.
  select case when e.state <> 'expired' then e.state when d.fallback is null then 'stored' else 'failed' end as state,
    e.attempts, e.last_error, e.done_at
  from smpp_deliveries e
  where e.message_id = d.message_id and e.kind = 'message' and e.ordinal = d.position
) s on d.method = 'smpp';
