-- The journal: messages, their parts, their timeline, receipts, and what is
-- still to be done about them. Statuses are no index's business, so that the
-- five or six updates of a message's life stay within its page (HOT); hence
-- the fill factors, and the small work tables instead of partial indexes.
--
-- Locks: creates only; nothing existing is touched.

create table messages (
  id                   uuid primary key, -- version 7: sorts by acceptance
  account_id           uuid not null,
  direction            text not null check (direction in ('outbound', 'inbound')),
  kind                 text not null check (kind in ('sms', 'mms')),
  status               text not null,
  from_addr            text not null,
  requested_from       text not null default '',
  to_addr              text not null,
  body                 bytea, -- sealed; null once the retention period has passed
  encoding             text not null,
  segments             integer not null check (segments between 0 and 255),
  message_class        text not null,
  delivery             text not null,
  campaign_id          text not null default '',
  client_reference     text,
  metadata             jsonb,
  webhook_url          text not null default '',
  webhook_failover_url text not null default '',
  price_micros         bigint not null default 0,
  currency             text not null default '',
  price_final          boolean not null default false,
  batch_id             uuid,
  group_id             uuid,
  retry_of             uuid,
  vendor_id            uuid,
  vendor_name          text not null default '',
  reason               text not null default '',
  reason_detail        text not null default '',
  vendor_code          text not null default '',
  receipt_stat         text not null default '',
  receipt_err          text not null default '',
  receipt_at           timestamptz,
  possible_duplicate   boolean not null default false,
  edge                 text not null,
  trace_parent         text not null default '',
  event_seq            integer not null default 1,
  parts_settled        integer not null default 0, -- parts that a receipt has decided
  parts_failed         integer not null default 0, -- of those, the ones not delivered
  parts_done           smallint[],                 -- which: a part in doubt may have been sent twice, and counts once
  send_at              timestamptz,
  expires_at           timestamptz not null,
  created_at           timestamptz not null,
  submitted_at         timestamptz,
  delivered_at         timestamptz,
  updated_at           timestamptz not null
) with (fillfactor = 60);
create index messages_account on messages (account_id, id);
create index messages_to on messages (account_id, to_addr, id);
create index messages_reference on messages (account_id, client_reference, id) where client_reference is not null;

-- Outbox of acceptance: a row here is a message whose workflow may not have
-- been started. It goes in with the message and out after the start; the
-- sweeper works on what stays.
create table starts (
  message_id uuid primary key,
  priority   smallint not null,
  created_at timestamptz not null default now()
);
create index starts_order on starts (priority, message_id);

-- Messages whose receipts have decided them, while the record does not show it
-- yet. In with the deciding receipt, out with the settlement; the sweeper tells
-- the workflow again about what stays.
create table settlements_due (
  message_id uuid primary key,
  since      timestamptz not null default now()
);

-- Submit journal: one row a part and attempt, written before the wire. A row
-- in state sending whose process is gone is in doubt.
create table segments (
  message_id        uuid not null,
  part              integer not null check (part between 1 and 255),
  attempt           integer not null check (attempt >= 1),
  vendor_id         uuid not null,
  vendor_name       text not null,
  instance          text not null, -- the process that wrote it
  state             text not null check (state in ('sending', 'submitted', 'refused', 'in_doubt', 'delivered', 'undelivered', 'expired')),
  vendor_message_id text not null default '',
  normalized_id     text,
  vendor_code       text not null default '',
  reason            text not null default '',
  receipt_stat      text not null default '',
  receipt_err       text not null default '',
  receipt_at        timestamptz,
  sent_at           timestamptz not null default now(),
  answered_at       timestamptz,
  settled_at        timestamptz,
  primary key (message_id, part, attempt)
) with (fillfactor = 70);
create index segments_vendor_id on segments (vendor_id, normalized_id) where normalized_id is not null;
create index segments_in_doubt on segments (vendor_id, sent_at) where state = 'in_doubt';

create table message_events (
  message_id uuid not null,
  sequence   integer not null,
  at         timestamptz not null,
  type       text not null,
  detail     jsonb,
  primary key (message_id, sequence)
);

create table receipts (
  id            uuid primary key,
  vendor_id     uuid not null,
  normalized_id text not null,
  state         text not null,
  err           text not null default '',
  reason        text not null default '',
  source        text not null default '',
  destination   text not null default '',
  raw           text not null default '',
  done_at       timestamptz,
  received_at   timestamptz not null default now(),
  last_at       timestamptz not null default now(), -- when the vendor last said it
  try_at        timestamptz not null default now(), -- when it is looked at again while it matches nothing; infinity: never
  seen          integer not null default 1,
  message_id    uuid, -- null: matches nothing yet
  part          integer,
  unique (vendor_id, normalized_id, state)
);
create index receipts_unmatched on receipts (try_at) where message_id is null;

-- First answers by Idempotency-Key. Kept 72 hours.
create table idempotency_keys (
  account_id  uuid not null,
  operation   text not null, -- method and path
  key         text not null,
  body_hash   bytea not null,
  message_id  uuid,
  http_status integer not null,
  response    bytea not null, -- sealed
  created_at  timestamptz not null default now(),
  primary key (account_id, operation, key)
);
create index idempotency_keys_age on idempotency_keys (created_at);

create table webhook_deliveries (
  id               uuid primary key,
  event_id         uuid not null, -- webhook-id
  account_id       uuid not null,
  endpoint_id      uuid,          -- null: the message's own URL
  message_id       uuid,
  type             text not null,
  url              text not null,
  failover_url     text not null default '',
  payload          text not null, -- the exact body
  state            text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
  attempts         integer not null default 0,
  last_status      integer not null default 0,
  last_error       text not null default '',
  last_answer      text not null default '', -- its first KiB
  first_attempt_at timestamptz,
  last_attempt_at  timestamptz,
  next_attempt_at  timestamptz not null default now(),
  created_at       timestamptz not null default now()
) with (fillfactor = 70);
create index webhook_deliveries_message on webhook_deliveries (message_id);
create index webhook_deliveries_account on webhook_deliveries (account_id, id);

-- Pending deliveries by when they are due, apart from the wide rows for the
-- same reason as `starts`.
create table webhooks_due (
  delivery_id uuid primary key,
  due_at      timestamptz not null
);
create index webhooks_due_at on webhooks_due (due_at);
