-- Where the messages to a number go, and how far each has come.
--
-- Locks: access exclusive on webhook_deliveries, for a moment: the new columns are
-- null or have a constant default, and the previous release inserts without them. The
-- indexes are made under a share lock on messages, which is read through twice: some
-- seconds for each ten million rows, during which messages wait to be accepted. The
-- rest are creates.

-- One row a destination. Those of a number stand in for those of its account.
create table inbound_routes (
  id                   uuid primary key,
  account_id           uuid not null references accounts (id) on delete cascade,
  number               text references numbers (number) on delete cascade, -- null: of the account's numbers that have no rows of their own
  position             smallint not null check (position between 1 and 10),
  method               text not null check (method in ('webhook', 'smpp', 'mm4', 'email', 'storage')),
  webhook_url          text not null default '', -- empty: the account's endpoints
  webhook_method       text not null default 'POST' check (webhook_method in ('POST', 'PUT')),
  webhook_secret       bytea, -- sealed; null: the account's
  webhook_failover_url text not null default '',
  webhook_retry_count  smallint check (webhook_retry_count between 0 and 9), -- after the first try; null: the whole schedule
  format               text not null default 'event' check (format in ('event', 'flat')),
  smpp_system_id       text not null default '',
  email_address        text not null default '',
  active               boolean not null default true,
  fallback             jsonb check (jsonb_typeof(fallback) = 'object'),
  created_at           timestamptz not null default now(),
  updated_at           timestamptz not null default now(),
  unique nulls not distinct (account_id, number, position)
);
create index inbound_routes_number on inbound_routes (number);
create trigger inbound_routes_changed after insert or update or delete on inbound_routes for each statement execute function config_changed();

-- One row a message and destination, written when the message was planned: what the
-- settings were then holds for it. The fall-back of a destination has its position
-- plus 100.
create table inbound_deliveries (
  message_id    uuid not null,
  position      smallint not null,
  method        text not null,
  -- What has rows of its own in webhook_deliveries or smpp_deliveries stays pending
  -- here: those rows say what became of it, see inbound_outcomes.
  state         text not null default 'pending' check (state in ('pending', 'delivered', 'stored', 'failed')),
  attempts      integer not null default 0,
  last_error    text not null default '',
  route_id      uuid, -- null: nothing is set for the number
  email_address text not null default '',
  fallback      jsonb, -- as it was set; null: none
  created_at    timestamptz not null default now(),
  done_at       timestamptz,
  primary key (message_id, position)
) with (fillfactor = 80);

alter table webhook_deliveries
  add column inbound_route    uuid,     -- whose secret signs; null: the endpoint's or the account's
  add column inbound_position smallint, -- of inbound_deliveries; null: the event is no inbound message
  add column method           text not null default 'POST',
  add column retries          smallint; -- after the first try; null: the whole schedule

-- How far the destinations of a message have come.
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
  where e.message_id = d.message_id and e.inbound_position = d.position
  having count(*) > 0
) w on d.method = 'webhook'
left join lateral (
  -- What nobody fetched in time is still to be had from the store.
  select case when e.state <> 'expired' then e.state when d.fallback is null then 'stored' else 'failed' end as state,
    e.attempts, e.last_error, e.done_at
  from smpp_deliveries e
  where e.message_id = d.message_id and e.kind = 'message' and e.ordinal = d.position
) s on d.method = 'smpp';

-- An account's inbound messages, which its own may outnumber by far.
create index messages_inbound on messages (account_id, id) where direction = 'inbound';
create index messages_received on messages (account_id, created_at, id) where direction = 'inbound';
