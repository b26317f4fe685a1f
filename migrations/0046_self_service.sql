-- What customers manage themselves: an index for the pages of their numbers, SMPP
-- credentials that are taken away without giving their system_id to somebody else, and
-- the users of the portal with their invitations.
--
-- Locks: share on numbers while its index is made, a second for each million of them:
-- the configuration can be read meanwhile. Access exclusive on smpp_credentials for a
-- moment: the new column is null. The rest are creates.

create index numbers_account_order on numbers (account_id, number);
drop index numbers_account;

-- A system_id that was taken away stays taken: what is held for its ESMEs must not go
-- to whoever thinks of the same word next.
alter table smpp_credentials add column deleted_at timestamptz check (deleted_at is null or not enabled);

-- Who may use the portal for an account. The same person may do so for several
-- accounts, and is a row with a password of its own in each.
create table portal_users (
  id            uuid primary key,
  account_id    uuid not null references accounts (id) on delete cascade,
  email         text not null check (email = lower(email) and length(email) <= 254 and email ~ '^[^[:space:]@]+@[^[:space:]@]+$'),
  name          text not null default '' check (length(name) <= 200),
  scopes        text[] not null default '{}',
  active        boolean not null default true,
  password_hash text, -- bcrypt, since people choose passwords; null: the invitation was not taken up yet
  password_id   uuid not null, -- another one with each password: what it opens names it and ends with it
  last_login_at timestamptz,
  created_at    timestamptz not null default now(),
  updated_at    timestamptz not null default now(),
  unique (account_id, email)
);
create index portal_users_account on portal_users (account_id, id);

-- The one link with which a user chooses a password: a new one takes the place of the
-- one before, and it goes when it is used. Of its token only the keyed hash is here.
create table portal_invitations (
  user_id    uuid primary key references portal_users (id) on delete cascade,
  token_hash bytea not null unique,
  expires_at timestamptz not null,
  sent_at    timestamptz, -- null: the e-mail relay has not taken it
  created_at timestamptz not null default now()
);
