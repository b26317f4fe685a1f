-- What texts are looked at for, and when bulk messages of an account may arrive.
--
-- Locks: access exclusive on accounts for a moment; the new columns have constant
-- defaults or none, and the previous release inserts without them. Share row exclusive
-- on campaign_details for the trigger, and share on holds while an index is made.

create table content_rules (
  id             uuid primary key,
  account_id     uuid references accounts (id) on delete cascade, -- null: for all accounts
  name           text not null check (name <> '' and length(name) <= 100),
  kind           text not null check (kind in ('word', 'regex', 'link', 'phone')),
  class          text not null,
  pattern        text not null check (pattern <> '' and length(pattern) <= 16384),
  action         text not null check (action in ('allow', 'flag', 'hold', 'refuse')),
  message_class  text not null default '' check (message_class in ('', 'otp', 'conversation', 'bulk')),
  effective_from timestamptz not null default now(),
  active         boolean not null default false,
  actor          text not null default '', -- who changed it last
  created_at     timestamptz not null default now(),
  updated_at     timestamptz not null default now(),
  unique nulls not distinct (account_id, name),
  check (action <> 'allow' or account_id is not null)
);
create trigger content_rules_changed after insert or update or delete on content_rules for each statement execute function config_changed();

alter table accounts
  add column quiet_hours   text not null default 'wait' check (quiet_hours in ('off', 'wait', 'refuse')),
  add column quiet_windows jsonb; -- null: those of the recipient's region

-- Whether a campaign was filed with links and phone numbers in its texts is part of
-- what they are looked at for.
create trigger campaign_details_changed after update of filed_at, embedded_link, embedded_phone on campaign_details for each statement execute function config_changed();

-- Messages that wait for somebody to look at them, oldest first, of one account or
-- all.
create index holds_unseen on holds (rule, message_id) where until is null;
