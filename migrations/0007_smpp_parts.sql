-- Submissions in parts: what waits for the rest of its message, and several
-- answers that belong to one message.
--
-- Locks: access exclusive on smpp_origins and smpp_deliveries while their indexes
-- are made anew, which takes seconds for millions of rows. The new columns have
-- constant defaults; the previous release inserts without them, and its inserts
-- name no index for their conflicts.

-- One row an answer: the message's own is 0, those of its other parts count up.
alter table smpp_origins
  add column ordinal smallint not null default 0,
  drop constraint smpp_origins_pkey,
  add primary key (message_id, ordinal);

-- Each answer is owed receipts of its own.
alter table smpp_deliveries
  add column ordinal smallint not null default 0; -- of the origin
drop index smpp_deliveries_message;
create unique index smpp_deliveries_message on smpp_deliveries (message_id, kind, status, ordinal);

-- One row a part that was answered and whose message is not in the journal yet.
-- The message, once stored, takes its rows away, so the table is small and there
-- is one place with the text. What tells sets apart is what the ESME wrote.
create table smpp_parts (
  id            uuid primary key,
  account_id    uuid not null,
  credential_id uuid not null,
  source_ton    smallint not null,
  source_npi    smallint not null,
  source        bytea not null,
  dest_ton      smallint not null,
  dest_npi      smallint not null,
  dest          bytea not null,
  reference     integer not null, -- concatenation reference, its kind above bit 15
  total         smallint not null check (total between 2 and 255),
  number        smallint not null check (number between 1 and total),
  data_coding   smallint not null,
  octets        bytea not null, -- sealed
  request       jsonb not null, -- what else the submit asked for, without text
  registered    smallint not null, -- registered_delivery
  user_reference bytea, -- user_message_reference
  answer_id     text not null,
  created_at    timestamptz not null default clock_timestamp(), -- of two with one number the later counts
  message_id    uuid, -- null: the set is still open
  decided_at    timestamptz -- when message_id was given
) with (autovacuum_vacuum_scale_factor = 0.02);
create index smpp_parts_set on smpp_parts (credential_id, reference, dest, source) where message_id is null;
create index smpp_parts_open on smpp_parts (created_at) where message_id is null;
create index smpp_parts_message on smpp_parts (message_id) where message_id is not null;
create index smpp_parts_answer on smpp_parts (account_id, answer_id);
