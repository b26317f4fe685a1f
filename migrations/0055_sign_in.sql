-- Signing in to the web pages: sessions, second factors, and the links with which a
-- password is chosen.
--
-- Locks: creates; share on portal_users while its index is made, a moment: nobody can be
-- invited meanwhile.
--
-- While the previous release still runs: passwords are hashed with Argon2id from here on,
-- which it does not know, so that it refuses those who choose one, or whose hash is made
-- anew at a sign-in, until it is gone.

-- Somebody signs in by an address, and may have one in several accounts.
create index portal_users_email on portal_users (email);

-- Each row of these tables is of a member of staff or of a user of the portal; person is
-- whose, since no two have one id.

-- A browser in which somebody is signed in. Its token is here as keyed hash only.
create table web_sessions (
  id            uuid primary key,
  staff_id      uuid references staff (id) on delete cascade,
  user_id       uuid references portal_users (id) on delete cascade,
  person        uuid not null generated always as (coalesce(staff_id, user_id)) stored,
  password_id   uuid not null, -- of the password that has opened it: with another one it ends
  token_hash    bytea not null unique,
  before_hash   bytea unique, -- of the token before: good until a moment after the newer one was seen first
  rotated_at    timestamptz not null default now(),
  token_used_at timestamptz, -- when the newer token was seen first; null: not yet
  waiting       boolean not null, -- for the second factor: nothing else can be done
  second_factor boolean not null default false, -- it was passed
  address       text not null,
  user_agent    text not null check (length(user_agent) <= 200),
  created_at    timestamptz not null default now(),
  seen_at       timestamptz not null default now(), -- written once a minute at most
  expires_at    timestamptz not null,
  check (num_nonnulls(staff_id, user_id) = 1),
  check (not (waiting and second_factor))
);
create index web_sessions_person on web_sessions (person);
create index web_sessions_expires_at on web_sessions (expires_at);

-- What somebody's authenticator app and we share, sealed; and the codes that stand in for
-- it once each, as keyed hashes.
create table second_factors (
  staff_id     uuid references staff (id) on delete cascade,
  user_id      uuid references portal_users (id) on delete cascade,
  person       uuid primary key generated always as (coalesce(staff_id, user_id)) stored,
  secret       bytea not null,
  confirmed_at timestamptz, -- null: proposed, and not asked for at sign-in
  last_step    bigint not null default 0, -- the newest step of time whose code was taken: none is taken twice
  recovery     bytea[] not null default '{}',
  created_at   timestamptz not null default now(),
  check (num_nonnulls(staff_id, user_id) = 1)
);

-- The open links with which somebody chooses a password, one for each purpose: a new one
-- takes the place of the one before. Invitations to the portal are in
-- portal_invitations.
create table sign_in_links (
  staff_id   uuid references staff (id) on delete cascade,
  user_id    uuid references portal_users (id) on delete cascade,
  person     uuid not null generated always as (coalesce(staff_id, user_id)) stored,
  purpose    text not null check (purpose in ('invitation', 'reset')),
  token_hash bytea not null unique,
  expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  primary key (person, purpose),
  check (num_nonnulls(staff_id, user_id) = 1)
);
create index sign_in_links_expires_at on sign_in_links (expires_at);
