-- Batches: many messages by one request, worked row by row.
--
-- Locks: share on messages with its partitions while the new index is made, which reads
-- them once: a few seconds for each ten million rows, during which acceptance waits. It
-- stays empty for messages of no batch. The rest are creates.

create table batches (
  id                   uuid primary key, -- version 7
  account_id           uuid not null,
  credential_id        uuid not null,
  name                 text not null default '',
  status               text not null default 'running' check (status in ('running', 'paused', 'completed', 'canceled')),
  defaults             bytea,            -- sealed; null once the retention period has passed
  throttle             integer check (throttle > 0), -- rows a second; null: as many as the account may
  webhook_url          text not null default '',
  webhook_failover_url text not null default '',
  total                integer not null check (total between 1 and 10000),
  worked               integer not null default 0, -- rows that are made or refused
  refused              integer not null default 0, -- of them, those without a message
  purged               boolean not null default false,
  created_at           timestamptz not null default now(),
  started_at           timestamptz,
  completed_at         timestamptz,      -- completed, or the cancellation was carried out
  check (refused between 0 and worked and worked <= total)
) with (fillfactor = 70);
create index batches_account on batches (account_id, id);
create index batches_running on batches (account_id) where status = 'running';
create index batches_texts on batches (id) where completed_at is not null and not purged;

-- A row gets the id of its message before the message is accepted: whoever works it again
-- makes the same one.
create table batch_rows (
  batch_id   uuid not null,
  row        integer not null check (row > 0),
  content    bytea,            -- sealed; null: the message has it, or the retention period has passed
  state      text not null default 'pending' check (state in ('pending', 'claimed', 'made', 'refused')),
  message_id uuid,
  claimed_at timestamptz,
  reason     text not null default '', -- of a refusal without a message
  detail     text not null default '',
  primary key (batch_id, row),
  check ((state in ('claimed', 'made')) = (message_id is not null))
);
create index batch_rows_open on batch_rows (batch_id, row) where state in ('pending', 'claimed');
create index messages_batch on messages (batch_id, id) where batch_id is not null;

-- Outbox of batches: a row here is a batch whose workflow may not have been started, or
-- may not know that the batch goes on or was canceled. Out when it was told of what was
-- asked for last.
create table batch_tells (
  batch_id   uuid primary key,
  account_id uuid not null,
  asked      bigint not null default 1,
  taken_at   timestamptz not null default now() -- when somebody last took it on
);
create index batch_tells_taken on batch_tells (taken_at);

-- When the next row of an account, an API key or a batch may be worked: what all
-- processes that work rows go by.
create table batch_paces (
  of_id   uuid primary key,
  next_at timestamptz not null
) with (fillfactor = 50);
create index batch_paces_next on batch_paces (next_at);
