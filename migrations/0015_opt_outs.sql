-- Who wants no more messages from whom. A row is ended, never deleted: it is kept
-- for at least five years as what the gateway knew and when (compliance).
--
-- Every process holds the active rows in memory and follows the table by version.
-- The version comes from a table of one row that the writing statement locks until
-- its transaction ends, so versions become visible in their order: who has seen one
-- has missed no smaller one. The rows of one statement have the same version.
--
-- Locks: access exclusive on accounts, for a moment: the new column has a constant
-- default. The previous release inserts without it.

create table opt_outs_version (
  only_row boolean primary key default true check (only_row),
  version  bigint not null default 0
);
insert into opt_outs_version default values;

create table opt_outs (
  id             uuid primary key, -- version 7: sorts by when it was recorded
  account_id     uuid not null,
  recipient      text not null check (recipient <> ''),
  scope          text not null check (scope in ('number', 'campaign', 'account')),
  sender         text not null default '' check ((sender <> '') = (scope = 'number')),
  campaign_id    text not null default '' check ((campaign_id <> '') = (scope = 'campaign')), -- the registry's id
  active         boolean not null default true,
  keyword        text not null default '', -- as it is listed, not as it was written
  source         text not null check (source in ('keyword', 'api', 'vendor', 'import')),
  message_id     uuid, -- the message it came by, or for
  actor          text not null default '',
  reason         text not null default '',
  version        bigint not null,
  created_at     timestamptz not null default now(), -- since when; of an import, as the file has it
  ended_at       timestamptz,
  ended_by       text not null default '',
  end_reason     text not null default '',
  end_message_id uuid,
  check (active = (ended_at is null))
);
create unique index opt_outs_active on opt_outs (account_id, recipient, scope, sender, campaign_id) where active;
create index opt_outs_version_order on opt_outs (version, id);
create index opt_outs_account on opt_outs (account_id, id);
create index opt_outs_ended on opt_outs (account_id, id) where not active;
create index opt_outs_recipient on opt_outs (account_id, recipient, id);
create index opt_outs_sender on opt_outs (account_id, sender, id) where sender <> '';
create index opt_outs_campaign on opt_outs (account_id, campaign_id, id) where campaign_id <> '';

create function opt_outs_turn() returns trigger language plpgsql as $$
begin
  update opt_outs_version set version = version + 1;
  perform pg_notify('optouts', '');
  return null;
end $$;
create trigger opt_outs_turn before insert or update on opt_outs for each statement execute function opt_outs_turn();

create function opt_outs_numbered() returns trigger language plpgsql as $$
begin
  new.version := (select version from opt_outs_version);
  return new;
end $$;
create trigger opt_outs_numbered before insert or update on opt_outs for each row execute function opt_outs_numbered();

-- A row that went away would stay in force in every process's memory.
create function opt_outs_kept() returns trigger language plpgsql as $$
begin
  raise exception 'opt-outs are ended, never deleted';
end $$;
create trigger opt_outs_kept before delete or truncate on opt_outs for each statement execute function opt_outs_kept();

-- What a recipient stops who writes STOP: the number that he wrote to, its campaign
-- if it has one, or all of the account.
alter table accounts add column opt_out_scope text not null default 'number' check (opt_out_scope in ('number', 'campaign', 'account'));
