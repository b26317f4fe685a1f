-- What accounts have sent and received by day: counted in the rounds of upkeep, a piece
-- of the journal at a time, up to a watermark a quarter of an hour back. Nothing is
-- written for a message that is done by then. One that changes later, or comes into the
-- record later, leaves one row, by which what was counted is put right.
--
-- Exact: a message below the watermark was counted as it was, or has a row here that says
-- how it was counted. A change of an old message holds usage_turn shared until it commits,
-- and whoever counts holds it alone: so he sees every old change with its row, or neither.
--
-- Locks: share row exclusive on messages for a moment, for the triggers: who reads does
-- not wait. The rest are creates.

create table usage_days (
  account_id  uuid not null,
  day         date not null, -- in UTC, of the acceptance
  direction   text not null,
  kind        text not null,
  number      text not null, -- the account's: the sender, or to whom it came
  campaign_id text not null,
  status      text not null,
  currency    text not null,
  messages    bigint not null,
  parts       bigint not null,
  micros      bigint not null, -- of the prices that are final
  primary key (account_id, day, direction, kind, number, campaign_id, status, currency)
);
create index usage_days_day on usage_days (day);

create table usage_counted (
  only_row boolean primary key default true check (only_row),
  until_id uuid not null default '00000000-0000-0000-0000-000000000000' -- messages below are in usage_days
);
insert into usage_counted default values;

-- How a message was counted that is no longer so; status null: it was not.
create table usage_late (
  message_id uuid primary key,
  status     text,
  parts      integer not null,
  micros     bigint not null
);

-- The smallest id of a moment.
create function id_at(at timestamptz) returns uuid
  language sql immutable strict parallel safe
  return encode(overlay(decode('00000000000000000000000000000000', 'hex')
    placing substring(int8send((extract(epoch from at) * 1000)::bigint) from 3) from 1 for 6), 'hex')::uuid;

create function usage_late() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(hashtext('usage'), hashtext(current_schema()));
  if new.id < (select until_id from usage_counted) then
    if tg_op = 'INSERT' then
      insert into usage_late values (new.id, null, 0, 0) on conflict do nothing;
    else
      insert into usage_late values (old.id, old.status, old.segments, case when old.price_final then old.price_micros else 0 end) on conflict do nothing;
    end if;
  end if;
  return null;
end $$;

-- The watermark is a quarter of an hour back, and these begin after ten minutes: a
-- transaction that began before them has ended long before its message is counted.
create trigger messages_usage_changed after update on messages for each row
  when (old.created_at < now() - interval '10 minutes'
    and (old.status, old.segments, old.price_micros, old.price_final) is distinct from (new.status, new.segments, new.price_micros, new.price_final))
  execute function usage_late();
create trigger messages_usage_added after insert on messages for each row
  when (new.id < id_at(now() - interval '10 minutes'))
  execute function usage_late();
