-- Rates of numbers and bursts of accounts and keys, what was refused for a rate,
-- and which tables of the configuration have changed since it was last read.
--
-- Locks: access exclusive on accounts, api_credentials and numbers, for a moment:
-- the new columns have constant defaults, and the previous release inserts without
-- them. The rest are creates. The previous release reads config_version as before.

-- Messages a second that are taken with the number as sender, over all edges; 0: no
-- limit of its own.
alter table numbers
  add column rate_limit integer not null default 0 check (rate_limit between 0 and 100000);

-- How many messages above the rate may come within one second, as long as ten
-- seconds hold no more than ten times the rate; 0: none. That of a key goes with the
-- key's own rate_limit.
alter table accounts
  add column api_burst integer not null default 0 check (api_burst between 0 and 900000);
alter table api_credentials
  add column burst integer not null default 0 check (burst between 0 and 900000);

drop trigger api_credentials_changed on api_credentials;
create trigger api_credentials_changed after insert or delete or update of secret_hash, previous_secret_hash, previous_until, scopes, allowed_numbers, allowed_ips, rate_limit, burst, expires_at, revoked_at on api_credentials for each statement execute function config_changed();

-- How often messages were refused for a rate. This is statistics: each process adds
-- what it has counted every few seconds, and what it had counted when it died is
-- missing.
create table rate_refusals (
  account_id uuid not null,
  minute     timestamptz not null,
  edge       text not null,
  scope      text not null, -- account, key, number, bind, request
  count      bigint not null check (count > 0),
  primary key (account_id, minute, edge, scope)
);
create index rate_refusals_minute on rate_refusals (minute);

-- When each table of the configuration last changed. As long as a table's stamp is
-- the same, so is what is in it: a process that has read it need not read it again.
-- Stamps are random and not counted, since a database that was restored would count
-- to the same numbers again.
create table config_tables (
  name  text primary key,
  stamp uuid not null
);

-- The row of config_version is locked until the commit, so those who change the
-- configuration commit one after another, and so do the stamps.
create or replace function config_changed() returns trigger language plpgsql as $$
begin
  update config_version set version = version + 1;
  insert into config_tables (name, stamp)
  values (tg_table_name, gen_random_uuid())
  on conflict (name) do update set stamp = excluded.stamp;
  perform pg_notify('config', tg_table_schema);
  return null;
end $$;
