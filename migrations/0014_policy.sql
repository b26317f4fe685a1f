-- What the policy decides by beside what there was: brands, what a campaign may
-- send, messages that must wait and what somebody said of them.
--
-- Locks: access exclusive on messages and campaigns, for a moment: the new columns
-- have constant defaults. The previous release inserts without them. campaigns
-- loses brand_id, which nothing read.

-- 10DLC brands. Several accounts may have a brand of one company: what carriers
-- allow a day they allow the company, so brands with the same cap_key share it.
create table brands (
  id              uuid primary key,
  account_id      uuid not null references accounts (id) on delete cascade,
  brand_id        text unique, -- the registry's id
  name            text not null check (name <> ''),
  status          text not null default 'unregistered' check (status in ('unregistered', 'pending', 'approved', 'failed')),
  identity_status text not null default '',
  vetting_score   integer check (vetting_score between 0 and 100),
  tier            text not null default '',
  daily_cap       integer not null default 0 check (daily_cap >= 0), -- parts a day in US Pacific time; 0: none
  cap_key         text not null check (cap_key <> ''),
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now()
);
create index brands_account on brands (account_id);
create trigger brands_changed after insert or update or delete on brands for each statement execute function config_changed();

alter table campaigns
  drop column brand_id,
  add column brand          uuid references brands (id),
  add column class          text not null default '',    -- AT&T message class
  add column mms_throughput integer not null default 0 check (mms_throughput >= 0), -- as throughput_limit, of MMS
  add column per_number     boolean not null default false, -- both are each number's
  add column carriers       jsonb not null default '[]',  -- [{"network", "status", "tpm"}]
  add column stop_reply     text not null default '',
  add column help_reply     text not null default '',
  add column start_reply    text not null default '';
create index campaigns_brand on campaigns (brand);

-- Answers that the gateway itself gives to STOP, START and HELP.
alter table messages add column automatic boolean not null default false;

-- Messages that are admitted and must wait: for a time, or for somebody to look at
-- them. In with the status queued, out when the message goes on or ends.
create table holds (
  message_id  uuid primary key,
  account_id  uuid not null,
  rule        text not null,
  until       timestamptz, -- null: until somebody has looked at it
  campaign_id text not null default '',
  detail      text not null default '',
  since       timestamptz not null default now(),
  asked_at    timestamptz -- when its workflow was last told to look again
);
create index holds_account on holds (account_id, rule, message_id);
create index holds_rule on holds (rule, message_id);

-- What somebody said of a message that waited for it. It holds of the revision
-- that was looked at.
create table reviews (
  message_id uuid primary key,
  revision   integer not null,
  verdict    text not null check (verdict in ('release', 'refuse')),
  actor      text not null,
  reason     text not null default '',
  at         timestamptz not null default now()
);
