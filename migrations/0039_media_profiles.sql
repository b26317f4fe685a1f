-- What vendors and carriers take of files, beside what the release brings: a row takes
-- the place of the built-in profile of its name. Vendors name one in media_profile; that
-- it exists is checked when it is set, under the lock of its row, for a built-in one has
-- no row that a foreign key could point to.
--
-- Locks: creates only.

create table media_profiles (
  name       text primary key check (name ~ '^[a-z0-9_-]{1,50}$'),
  definition jsonb not null check (jsonb_typeof(definition) = 'object'),
  updated_at timestamptz not null default now()
);
create trigger media_profiles_changed after insert or update or delete on media_profiles for each statement execute function config_changed();
