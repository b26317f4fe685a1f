-- What is on its way out: how much of it each account has, and whose turn it is
-- in a conversation.
--
-- Locks: access exclusive on accounts for a moment (no row is rewritten but
-- those of accounts). The rest is a create. The previous release reads
-- ordered_conversations as true or false: run the two beside each other only
-- until the migration, which is when no account has a null there yet.

alter table accounts
  alter column ordered_conversations drop not null,
  alter column ordered_conversations drop default,
  add column conversation_hold_seconds integer not null default 10 check (conversation_hold_seconds between 1 and 3600),
  add column max_backlog               integer not null default 100000 check (max_backlog between 1 and 100000000);
update accounts set ordered_conversations = null where not ordered_conversations; -- null: in order over SMPP, else not

-- One row a message from its acceptance until a vendor has it, it is in doubt,
-- or it has ended. With hold_seconds it goes in the order of its conversation:
-- behind every earlier row of the same account, sender and recipient, except
-- those whose workflow began hold_seconds ago. Messages accepted before this
-- migration have none; they are not counted and hold up nobody.
create table backlog (
  message_id   uuid primary key,
  account_id   uuid not null,
  priority     smallint not null,
  from_addr    text not null,
  to_addr      text not null,
  turn         bigint generated always as identity (cache 1), -- the order of acceptance, whatever clocks say
  hold_seconds integer,                       -- null: in no order
  waits        boolean not null default false, -- for its turn: its workflow is not to be started yet
  began_at     timestamptz                    -- of a message in order: when its workflow's first step ran
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
create index backlog_account on backlog (account_id, priority);
create index backlog_conversation on backlog (account_id, from_addr, to_addr, turn) where hold_seconds is not null;
create index backlog_waiting on backlog (account_id, from_addr, to_addr, turn) include (message_id) where waits;
