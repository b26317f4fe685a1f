-- What the registration of 10DLC brands and campaigns needs beside what sending
-- needs. It lies in tables of its own, so that neither a sync that finds nothing new
-- nor a change of a company's address makes every process read the configuration.
--
-- Locks: share row exclusive on brands and campaigns for a moment, for the triggers.

create table brand_details (
  brand                uuid primary key references brands (id) on delete cascade,
  entity_type          text not null default '',
  legal_name           text not null default '',
  first_name           text not null default '', -- of a sole proprietor
  last_name            text not null default '',
  tax_id               bytea, -- sealed
  tax_id_shown         text not null default '', -- its last four characters
  tax_id_country       text not null default '',
  phone                text not null default '',
  email                text not null default '',
  website              text not null default '',
  street               text not null default '',
  city                 text not null default '',
  state                text not null default '',
  postal_code          text not null default '',
  country              text not null default '',
  vertical             text not null default '',
  stock_symbol         text not null default '',
  stock_exchange       text not null default '',
  alt_business_id      text not null default '',
  alt_business_id_type text not null default '',
  vetting_class        text not null default '',
  vetted_at            timestamptz,
  vetting_expires_at   timestamptz,
  failure              text not null default '', -- why the registry refuses it
  requested_at         timestamptz, -- when the customer asked for registration
  filed_at             timestamptz, -- when the registry took it
  revision             integer not null default 1
);

create table campaign_details (
  campaign            uuid primary key references campaigns (id) on delete cascade,
  sub_use_cases       text[] not null default '{}',
  optin_keywords      text[] not null default '{}',
  optout_keywords     text[] not null default '{}',
  help_keywords       text[] not null default '{}',
  embedded_link       boolean not null default false,
  embedded_phone      boolean not null default false,
  number_pool         boolean not null default false,
  age_gated           boolean not null default false,
  direct_lending      boolean not null default false,
  affiliate_marketing boolean not null default false,
  subscriber_optin    boolean not null default true,
  subscriber_optout   boolean not null default true,
  subscriber_help     boolean not null default true,
  auto_renewal        boolean not null default true,
  registry_status     text not null default '', -- the registry's own word
  suspended_by        text not null default '', -- a member of staff; holds whatever the registry says
  failure             text not null default '',
  requested_at        timestamptz,
  filed_at            timestamptz,
  revision            integer not null default 1
);

-- Rows that other statements insert have their details too.
create function brand_details_made() returns trigger language plpgsql as $$
begin
  insert into brand_details (brand) values (new.id) on conflict do nothing;
  return null;
end $$;
create function campaign_details_made() returns trigger language plpgsql as $$
begin
  insert into campaign_details (campaign) values (new.id) on conflict do nothing;
  return null;
end $$;
create trigger brands_details after insert on brands for each row execute function brand_details_made();
create trigger campaigns_details after insert on campaigns for each row execute function campaign_details_made();
insert into brand_details (brand) select id from brands;
insert into campaign_details (campaign) select id from campaigns;

-- One company, one cap: the keyed hash of a tax id gives the cap_key of its brands.
-- After a change of the key the same company has a row for each key.
create table tax_ids (
  hash    bytea primary key,
  cap_key text not null
);

-- What each carrier says of a campaign. campaigns.carriers has of it what sending
-- needs, written by the same transaction.
create table campaign_carriers (
  campaign   uuid not null references campaigns (id) on delete cascade,
  network_id integer not null,
  network    text not null,
  status     text not null default '' check (status in ('', 'review', 'approved', 'rejected', 'suspended')),
  class      text not null default '',
  tpm        integer not null default 0,
  mms_tpm    integer not null default 0,
  brand_tier text not null default '',
  surcharge  text not null default '', -- a decimal, as reported
  updated_at timestamptz not null default now(),
  primary key (campaign, network_id)
);

-- What is filed with the registry. Open from before the request is on the wire
-- until its answer is stored: an open one that was sent is looked up by its
-- reference before it is sent again.
create table registry_requests (
  id            uuid primary key,
  operation     text not null check (operation in ('brand', 'campaign')),
  target        uuid not null,
  account_id    uuid not null,
  reference     text not null,
  state         text not null default 'open' check (state in ('open', 'done', 'refused')),
  sends         integer not null default 0,
  registry_id   text not null default '',
  error         text not null default '',
  actor         text not null,
  claimed_until timestamptz not null default now(),
  created_at    timestamptz not null default now(),
  done_at       timestamptz
);
create unique index registry_requests_target on registry_requests (target) where state = 'open';
create index registry_requests_open on registry_requests (claimed_until) where state = 'open';

-- When a brand or campaign is compared with the registry again.
create table registry_syncs (
  target     uuid primary key,
  kind       text not null check (kind in ('brand', 'campaign')),
  next_at    timestamptz not null default now(),
  failures   integer not null default 0,
  last_at    timestamptz,
  last_error text not null default ''
);
create index registry_syncs_next on registry_syncs (next_at);
