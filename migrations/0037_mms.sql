-- Messages with files. A message has files of its own, which go with it: what a customer
-- has uploaded is not touched by that, and shares its octets.
--
-- Locks: an instant on messages and its partitions, for columns whose default needs no
-- row to be written, and on media_files; one row of vendors; the rest are creates.

alter table messages
  add column subject     bytea,                         -- sealed; of an MMS
  add column media_as_is boolean not null default false; -- its files are sent as they are, or not at all

-- Null: the file of a message, as long as that has it.
alter table media_files alter column expires_at drop not null;

-- The files of messages: as they came, and as they were made for what a vendor takes.
create table message_media (
  message_id uuid not null,
  profile    text not null default '', -- what they were made for; empty: as they came
  position   smallint not null check (position > 0),
  file_id    uuid unique references media_files, -- null: it has not been fetched yet
  source     bytea, -- sealed: the URL where it is fetched
  primary key (message_id, profile, position),
  check (file_id is not null or source is not null)
);

-- Whoever removes a row here, and in whatever way: its file goes with it.
create function message_media_removed() returns trigger
  language plpgsql
  as $$
begin
  delete from media_files where id in (select file_id from gone);
  return null;
end
$$;
create trigger message_media_removed after delete on message_media referencing old table as gone for each statement execute function message_media_removed();

-- What a conversion gave, by everything that it depends on. It goes with its octets.
create table media_results (
  key          text primary key,
  sha256       bytea not null references media_objects on delete cascade,
  made_at      timestamptz not null default now()
);
create index media_results_object on media_results (sha256);

-- Who delivers between our own numbers takes what they take.
update vendors set supports_mms = true where provider_type = 'internal';
