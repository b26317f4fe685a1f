-- Files of media. The octets lie in the media store under their SHA-256, once however
-- many files have them; here is who has which, and until when.
--
-- A file is written before its octets are stored, and is ready after: from its row on
-- nobody takes the octets away. Octets go with the last row that names them. Whoever
-- removes them holds the lock of their row meanwhile, so that a new file of the same
-- octets waits, and stores them again.
--
-- Locks: creates only; nothing existing is touched.

create table media_objects (
  sha256       bytea primary key check (octet_length(sha256) = 32),
  size_bytes   bigint not null check (size_bytes >= 0),
  content_type text not null,
  created_at   timestamptz not null default now()
);

create table media_files (
  id         uuid primary key, -- version 7
  account_id uuid not null,
  token      uuid not null unique, -- 128 random bits
  sha256     bytea not null references media_objects,
  ready      boolean not null default false, -- its octets are stored
  created_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index media_files_object on media_files (sha256);
create index media_files_expires on media_files (expires_at);

-- Objects that may have lost their last file.
create table media_loose (
  sha256 bytea primary key,
  since  timestamptz not null default now()
);

-- Whoever removes a file, and in whatever way: nothing stays behind. Who finds the row
-- there waits for those who look at it, who may have seen the file that is removed here.
create function media_loosened() returns trigger
  language plpgsql
  as $$
begin
  insert into media_loose (sha256)
  select distinct sha256
  from gone
  order by sha256
  on conflict (sha256) do update set since = now();
  return null;
end
$$;
create trigger media_files_removed after delete on media_files referencing old table as gone for each statement execute function media_loosened();
