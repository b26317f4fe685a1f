-- What the upkeep of the tables needs: how far it has come, and indexes for what is
-- found by its age.
--
-- Locks: share on receipts and inbound_messages, one after the other, while their new
-- indexes are made: some seconds for each ten million rows, during which receipts and
-- messages from vendors wait. The rest are creates.

-- The last round of upkeep. Whoever does one holds an advisory lock as well, so the row
-- of one that died shows a begin without an end.
create table upkeep_rounds (
  only_row boolean primary key default true check (only_row),
  instance text not null default '', -- the process that began it
  began_at timestamptz,
  ended_at timestamptz               -- null, or before the begin: it was not finished
);
insert into upkeep_rounds default values;

-- Up to which message the texts of an account have been taken away.
create table text_purges (
  account_id uuid primary key,
  until_id   uuid not null
);

-- Messages up to there that still had theirs, as they were under way, and those that
-- came into the record later. Out when the text is gone.
create table text_purges_due (
  message_id uuid primary key,
  account_id uuid not null
);

-- Receipts that match nothing, by when they came.
create index receipts_strays on receipts (id) where message_id is null;
-- Inbound messages of nobody's, and their parts, by the same.
create index inbound_messages_strays on inbound_messages (id) where account_id is null;
-- The parts of an inbound message, whose text goes with that of the message.
create index inbound_messages_parts on inbound_messages (whole_id) where whole_id is not null;
