-- Inbound messages that came in parts are joined, and each that is somebody's becomes
-- a message of the record; the numbers' own answers.
--
-- Locks: access exclusive on messages, numbers, inbound_messages, keyword_pairs and
-- automatic_replies, for a moment: the new columns have constant defaults or none, and
-- the previous release inserts without them. The indexes are made under a share lock
-- on inbound_messages and receipts, which takes seconds for millions of rows; what
-- vendors send waits meanwhile.

alter table messages add column complete boolean not null default true; -- false: an inbound message of which parts never came

alter table numbers add column auto_reply text not null default '' check (char_length(auto_reply) <= 459); -- to who writes to it; empty: none

alter table inbound_messages
  add column whole_id uuid,                      -- of a part: the row of the message that it was joined into
  add column joined   smallint not null default 0, -- of a message that came in parts: how many it has
  add column missing  smallint not null default 0, -- of those, how many never came
  add column kind     text not null default 'sms' check (kind in ('sms', 'mms')),
  add column subject  bytea,                     -- sealed
  add column media    bytea;                     -- sealed: JSON
-- Parts that wait for the others of their message, and by how long they have.
create index inbound_messages_open on inbound_messages (vendor_id, reference, from_addr, to_addr, parts) where parts > 1 and whole_id is null;
create index inbound_messages_waiting on inbound_messages (received_at) where parts > 1 and whole_id is null;
create index inbound_messages_said_part on inbound_messages (fingerprint, received_at) where parts > 1;
-- Parts are no matter for staff: what they are joined into is.
drop index inbound_messages_unrouted;
create index inbound_messages_unrouted on inbound_messages (id) where account_id is null and parts <= 1;
create index inbound_messages_unrouted_to on inbound_messages (to_addr, id) where account_id is null and parts <= 1;

-- Outbox of inbound messages: a row here is a message whose workflow may not have been
-- started. In with the message, out after the start.
create table inbound_starts (
  message_id uuid primary key,
  account_id uuid not null,
  created_at timestamptz not null default now(),
  taken_at   timestamptz not null default now() -- when somebody last took it on
);
create index inbound_starts_taken on inbound_starts (taken_at);

-- What a number answers by itself is counted apart from the answers to keywords.
alter table keyword_pairs
  add column own    integer not null default 0, -- of the day
  add column own_at timestamptz;
alter table automatic_replies
  drop constraint automatic_replies_action_check,
  add constraint automatic_replies_action_check check (action in ('', 'stop', 'start', 'help'));

-- What staff look at: receipts that decide something and match nothing.
create index receipts_unmatched_id on receipts (id) where message_id is null and state in ('DELIVRD', 'UNDELIV', 'REJECTD', 'DELETED', 'EXPIRED');
