-- Parts that an ESME submits again after their message was made of them: what
-- they said is known for a while, so that they lead to that message.
--
-- Locks: access exclusive on smpp_parts, for a moment: the new columns have no
-- default, the table is small, and the previous release inserts without them.

alter table smpp_parts
  add column fingerprint bytea, -- of what the submit said
  add column repeats     uuid;  -- the message whose part said the same

-- Sets that are settled wait here for their message: one row of each, the one
-- that its message is named after.
create index smpp_parts_settled on smpp_parts (decided_at) where id = message_id;

-- One row a part of a message that was whole, for ten minutes.
create table smpp_joined (
  fingerprint bytea primary key,
  message_id  uuid not null,
  joined_at   timestamptz not null default clock_timestamp(),
  repeated    smallint not null default 0
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
create index smpp_joined_age on smpp_joined (joined_at);
