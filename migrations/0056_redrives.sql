-- Re-drives: one thing done to each message that a filter finds.
--
-- Locks: creates only. batch_tells, the outbox of batches, is that of re-drives as well;
-- their account_id there is all zeros.

create table redrives (
  id           uuid primary key, -- version 7
  actor        text not null,
  role         text not null,
  address      text not null default '',
  reason       text not null,
  action       text not null check (action in ('retry', 'cancel', 'release', 'refuse', 'reroute', 'resolve')),
  parameters   jsonb not null default '{}',
  filter       jsonb not null,
  dry_run      boolean not null default false,
  most         integer not null check (most between 1 and 100000),
  per_second   integer not null check (per_second between 1 and 500),
  expected     integer not null default 0, -- what a dry run before it has found; 0: there was none
  status       text not null default 'running' check (status in ('running', 'stopping', 'stopped', 'completed')),
  position     uuid,                       -- the message before which the search goes on; null: at the newest
  searched     boolean not null default false,
  more         boolean not null default false,
  looked       integer not null default 0, -- messages that were found
  done         integer not null default 0,
  passed       integer not null default 0,
  refused      integer not null default 0,
  tally        jsonb not null default '{}',
  created_at   timestamptz not null,
  looked_at    timestamptz not null default now(), -- when it last came on
  completed_at timestamptz,
  check ((status in ('stopped', 'completed')) = (completed_at is not null)),
  check (done >= 0 and passed >= 0 and refused >= 0 and done + passed + refused <= looked and looked <= most)
) with (fillfactor = 50);
create index redrives_unfinished on redrives (id) where status in ('running', 'stopping');

-- A message is taken on here, with the id of the message that is made of it, before
-- anything is done.
create table redrive_items (
  redrive_id     uuid not null,
  message_id     uuid not null,
  state          text not null check (state in ('claimed', 'done', 'passed', 'refused')),
  new_message_id uuid,             -- of a retry
  try            integer not null default 0, -- how often it was given out under that id; 0: it is not out
  claimed_at     timestamptz,      -- when the first of those tries was given out, or of other actions the last
  reason         text not null default '',
  detail         text not null default '',
  primary key (redrive_id, message_id)
);
create index redrive_items_state on redrive_items (redrive_id, state, message_id);
