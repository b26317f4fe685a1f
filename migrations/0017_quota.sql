-- How much an account may send, and what it has paid in advance: limits as rows of
-- the configuration, counters of what was taken, reservations of what is on its
-- way, and the ledger.
--
-- Locks: access exclusive on accounts for a moment: the new column has a constant
-- default. The rest is a create. The previous release accepts without reserving:
-- run the two beside each other only while no account has a limit or pays in
-- advance.

alter table accounts add column prepaid boolean not null default false;

-- Parts that an account may send in a period of its time zone, over all its
-- numbers or from one of them. The limit's counters hang on its id, so that one
-- that is taken away and set again begins with what the journal holds.
create table usage_limits (
  id         uuid primary key default gen_random_uuid(),
  account_id uuid not null references accounts (id) on delete cascade,
  number     text not null default '', -- empty: all of them together
  kind       text not null check (kind in ('sms', 'mms')),
  period     text not null check (period in ('minute', 'day', 'month')),
  parts      bigint not null check (parts between 0 and 1000000000000),
  since      timestamptz not null default now(), -- from a little later on every process counts
  unique (account_id, number, kind, period)
);
create trigger usage_limits_changed after insert or update or delete on usage_limits for each statement execute function config_changed();

-- In another time zone a day begins at another moment, of which nobody has counted
-- what was sent since.
create function time_zone_changed() returns trigger language plpgsql as $$
begin
  update usage_limits set since = now() where account_id = new.id;
  return null;
end $$;
create trigger accounts_time_zone after update of time_zone on accounts for each row when (new.time_zone is distinct from old.time_zone) execute function time_zone_changed();

-- What was taken of a limit in one period: the parts of every message that the
-- journal has accepted in it, without those that ended here. Read and written only
-- under the lock on the account's row in balances.
create table usage_counters (
  limit_id   uuid not null references usage_limits (id) on delete cascade,
  starts_at  timestamptz not null,
  ends_at    timestamptz not null,
  used       bigint not null,
  recount_at timestamptz, -- when it is counted once more, for what was accepted by processes that did not know of the limit yet
  primary key (limit_id, starts_at)
) with (fillfactor = 50);
create index usage_counters_recount on usage_counters (recount_at) where recount_at is not null;

-- The money of an account, and its lock: whoever reserves, gives back or books for
-- an account with limits, or one that pays in advance, locks its row first, and
-- several rows in the order of their ids.
create table balances (
  account_id      uuid primary key references accounts (id),
  balance_micros  bigint not null default 0, -- the sum of the ledger
  reserved_micros bigint not null default 0, -- of that, for messages on their way
  currency        text not null default ''   -- of the first entry or reservation
) with (fillfactor = 50);

-- UUIDs of version 7 (RFC 9562 §5.7), for rows that the database makes itself.
create function uuid_v7() returns uuid language sql volatile as $$
  select encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid()) placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
      52, 1), 53, 1), 'hex')::uuid
$$;

-- The ledger. The sequence orders an account's entries: they are written under its
-- lock, so a later one is never seen before an earlier one.
create table balance_entries (
  id                   uuid primary key default uuid_v7(),
  sequence             bigint generated always as identity,
  account_id           uuid not null,
  kind                 text not null check (kind in ('credit', 'charge', 'refund', 'adjustment')),
  amount_micros        bigint not null, -- signed: a charge is negative
  currency             text not null,
  message_id           uuid,
  balance_after_micros bigint not null,
  actor                text not null default '',
  reason               text not null default '',
  reference            text not null default '', -- of a payment, so that none is booked twice
  at                   timestamptz not null default now()
);
create unique index balance_entries_account on balance_entries (account_id, sequence);
create unique index balance_entries_charge on balance_entries (message_id) where kind = 'charge';
create unique index balance_entries_reference on balance_entries (account_id, reference) where reference <> '';

create function ledger_kept() returns trigger language plpgsql as $$
begin
  raise exception 'the ledger is only ever added to';
end $$;
create trigger balance_entries_kept before update or delete on balance_entries for each row execute function ledger_kept();

-- What a message has taken of its account's limits and balance: in with the
-- message, marked when it has ended, and out when that was settled.
create table reservations (
  message_id   uuid primary key,
  account_id   uuid not null,
  number       text not null, -- the sender
  kind         text not null,
  parts        integer not null,
  micros       bigint not null default 0, -- held back of the balance
  prepaid      boolean not null,          -- it will be charged
  at           timestamptz not null,      -- when the message was accepted: what period it counts in
  ended_at     timestamptz,               -- null: it is on its way
  went         boolean,                   -- of an ended one: a vendor has it; null: its attempts say
  price_micros bigint not null default 0, -- of an ended one: what the record says that it costs
  adopted_at   timestamptz                -- it was made after the message, which may have ended unseen
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
create index reservations_ended on reservations (account_id, ended_at) where ended_at is not null;
create index reservations_adopted on reservations (adopted_at) where adopted_at is not null;
