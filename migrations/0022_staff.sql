-- Who may use the internal API: staff, with a password and one role each, and the
-- platform's own services, with a key and a secret. Both are part of the
-- configuration that every process holds.
--
-- Locks: creates; share on audit_log while its indexes are made: changes of the
-- configuration wait that long. Access exclusive on messages while one of its
-- indexes is made anew: nothing is accepted meanwhile, a second or two for each
-- million messages.

create table staff (
  id             uuid primary key,
  email          text not null unique check (email = lower(email) and length(email) <= 254 and email ~ '^[^[:space:]@]+@[^[:space:]@]+$'),
  name           text not null default '' check (length(name) <= 200),
  password_hash  text not null, -- bcrypt, since people choose passwords
  password_id    uuid not null, -- another one with each password: access tokens name it and end with it
  role           text not null check (role in ('admin', 'operator', 'support', 'compliance', 'viewer')),
  active         boolean not null default true,
  last_login_at  timestamptz,
  failed_tries   integer not null default 0, -- since the last login
  last_failed_at timestamptz,
  created_at     timestamptz not null default now(),
  updated_at     timestamptz not null default now()
);

-- The secret is 256 random bits, kept as a keyed hash as that of an API key is.
create table service_credentials (
  id           uuid primary key,
  name         text not null check (length(name) between 1 and 200),
  key          text not null unique,
  secret_hash  bytea not null,
  scopes       text[] not null check (scopes <@ '{service:messages}' and cardinality(scopes) > 0),
  active       boolean not null default true,
  expires_at   timestamptz,
  last_used_at timestamptz,
  created_at   timestamptz not null default now(),
  updated_at   timestamptz not null default now()
);

-- A login is no change of the configuration.
create trigger staff_changed after insert or delete or update of email, name, password_hash, password_id, role, active on staff for each statement execute function config_changed();
create trigger service_credentials_changed after insert or delete or update of name, key, secret_hash, scopes, active, expires_at on service_credentials for each statement execute function config_changed();

-- What somebody did, who did a thing, and when, newest first.
create index audit_log_actor on audit_log (actor, id);
create index audit_log_action on audit_log (action, id);
create index audit_log_at on audit_log (at);

-- Staff look for a recipient in all accounts, customers in theirs: this order
-- serves both.
drop index messages_to;
create index messages_to on messages (to_addr, account_id, id);
