-- The pull feed of events. What customers are told of a message is a line of its timeline,
-- so that the feed stores nothing twice: such a line says whose it is, in which transaction
-- it was written, and what the event said that the message's row may not say any more.
-- Events of no message have a table of their own.
--
-- The order is that of the transactions. A reader shows what lies below all that are under
-- way (pg_snapshot_xmin): no position below that can come any more, so nobody who reads on
-- from where he was misses one. Lines of before this migration are not in the feed.
--
-- Locks: an instant on message_events with its partitions, for columns without a default. The
-- index is built over all partitions while they cannot be written: its condition holds for
-- no row yet, so it reads each page once and writes nothing, some seconds for ten million
-- messages. The previous release inserts without the columns; what it writes is not in
-- the feed.

alter table message_events add column account_id uuid;  -- of a line that is in the feed; null: it is not
alter table message_events add column feed_xid xid8;    -- its transaction; likewise
alter table message_events add column told jsonb;       -- message.Said; null: nothing

create index message_events_feed on message_events (account_id, feed_xid, message_id, sequence) where feed_xid is not null;

create table account_events (
  id         uuid primary key,
  account_id uuid not null,
  feed_xid   xid8 not null default pg_current_xact_id(),
  type       text not null,
  payload    text not null, -- the body of format event
  at         timestamptz not null default now()
);
create index account_events_feed on account_events (account_id, feed_xid, id);
create index account_events_at on account_events (at);

-- Which transactions had ended at which time. The oldest row is where the feed begins: the
-- upkeep adds one an hour and removes those that are too old.
create table feed_marks (
  at  timestamptz primary key default now(),
  xid xid8 not null
);
insert into feed_marks (xid) values (pg_current_xact_id());

-- The id of what a customer is told by a line of a message's timeline: webhook-id, and id in
-- the feed. message.EventID is the same in Go. It has the message's time and version, so it
-- is a UUID of version 7 as all are.
create function event_id(message uuid, sequence integer) returns uuid
  language sql immutable strict parallel safe
  return encode(substring(uuid_send(message) from 1 for 9) || substring(sha256(uuid_send(message) || int4send(sequence)) from 1 for 7), 'hex')::uuid;
