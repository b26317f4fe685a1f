-- What the gateway is configured by: accounts and their credentials, numbers,
-- campaigns, vendors, routes, webhook endpoints. Every change of these tables
-- raises config_version and notifies the channel `config`, which is how each
-- replica learns of it within seconds.
--
-- Locks: creates only; nothing existing is touched.

create table config_version (
  only_row boolean primary key default true check (only_row),
  version  bigint not null default 1
);
insert into config_version default values;

create function config_changed() returns trigger language plpgsql as $$
begin
  update config_version set version = version + 1;
  perform pg_notify('config', tg_table_schema);
  return null;
end $$;

create table accounts (
  id                       uuid primary key,
  external_id              text unique,
  company_name             text not null check (company_name <> ''),
  status                   text not null default 'active' check (status in ('active', 'suspended', 'closed')),
  time_zone                text not null default 'UTC',
  default_message_class    text not null default 'conversation' check (default_message_class in ('otp', 'conversation', 'bulk')),
  delivery                 text not null default 'at_most_once' check (delivery in ('at_most_once', 'at_least_once')),
  ordered_conversations    boolean not null default false,
  internal_delivery        boolean not null default false,
  media_transcoding        text not null default 'auto' check (media_transcoding in ('auto', 'bypass')),
  smart_encoding           boolean not null default false,
  max_parts                integer not null default 10 check (max_parts between 1 and 255),
  content_retention_days   integer not null default 30 check (content_retention_days between 0 and 3650),
  default_country          text not null default 'US' check (length(default_country) = 2),
  allowed_source_addresses text[] not null default '{}',
  force_source_address     text not null default '',
  api_rate_limit           integer not null default 10 check (api_rate_limit between 1 and 100000),
  webhook_secret           bytea not null, -- sealed; signs for URLs without a secret of their own
  created_at               timestamptz not null default now(),
  updated_at               timestamptz not null default now()
);

-- API keys. The secret is 256 random bits, kept only as a keyed hash: a slow
-- hash would cost more than everything else in a request and protect nothing
-- that cannot be guessed anyway.
create table api_credentials (
  id                   uuid primary key,
  account_id           uuid not null references accounts (id) on delete cascade,
  name                 text not null default '',
  key                  text not null unique,
  secret_hash          bytea not null,
  previous_secret_hash bytea,
  previous_until       timestamptz,
  scopes               text[] not null default '{}',
  allowed_numbers      text[] not null default '{}',
  allowed_ips          cidr[] not null default '{}',
  rate_limit           integer not null default 0 check (rate_limit between 0 and 100000),
  expires_at           timestamptz,
  revoked_at           timestamptz,
  last_used_at         timestamptz,
  created_at           timestamptz not null default now(),
  updated_at           timestamptz not null default now()
);
create index api_credentials_account on api_credentials (account_id);

-- SMPP credentials of customers; passwords by bcrypt, since people choose them.
create table smpp_credentials (
  id            uuid primary key,
  account_id    uuid not null references accounts (id) on delete cascade,
  system_id     text not null unique check (length(system_id) between 1 and 15),
  password_hash text not null,
  enabled       boolean not null default true,
  allowed_ips   cidr[] not null default '{}',
  max_binds     integer not null default 2 check (max_binds between 1 and 1000),
  throughput    integer not null default 100 check (throughput between 1 and 100000),
  created_at    timestamptz not null default now(),
  updated_at    timestamptz not null default now()
);
create index smpp_credentials_account on smpp_credentials (account_id);

-- Keys that sign access tokens. The private half is sealed.
create table signing_keys (
  kid        text primary key,
  algorithm  text not null check (algorithm in ('EdDSA', 'HS256')),
  secret     bytea not null,
  public     bytea,
  created_at timestamptz not null default now(),
  signs_from timestamptz not null default now(),
  retired_at timestamptz
);

create table campaigns (
  id                  uuid primary key,
  account_id          uuid not null references accounts (id) on delete cascade,
  campaign_id         text unique, -- the registry's id
  brand_id            text not null default '',
  use_case            text not null default '',
  description         text not null default '',
  sample_messages     text[] not null default '{}',
  message_flow        text not null default '',
  throughput_limit    integer not null default 0 check (throughput_limit >= 0), -- segments a minute; 0: none
  daily_cap           integer not null default 0 check (daily_cap >= 0),        -- segments a day; 0: none
  status              text not null default 'draft' check (status in ('draft', 'pending', 'active', 'suspended', 'rejected', 'expired')),
  tcr_submission_date date,
  tcr_approval_date   date,
  created_at          timestamptz not null default now(),
  updated_at          timestamptz not null default now()
);
create index campaigns_account on campaigns (account_id);

create table vendors (
  id                        uuid primary key,
  instance_name             text not null unique check (instance_name ~ '^[A-Za-z0-9_-]{1,50}$'),
  display_name              text not null default '',
  provider_type             text not null default 'smpp' check (provider_type in ('smpp', 'mm4', 'twilio', 'telnyx')),
  host                      text not null default '',
  port                      integer not null default 0 check (port between 0 and 65535),
  username                  text not null default '',
  password                  bytea, -- sealed
  use_tls                   boolean not null default false,
  tls_ca                    text not null default '',
  tls_server_name           text not null default '',
  bind_type                 text not null default 'transceiver' check (bind_type in ('transmitter', 'receiver', 'transceiver')),
  system_type               text not null default '',
  throughput                integer not null default 100 check (throughput >= 0), -- parts a second; 0: unlimited
  priority                  integer not null default 100,
  cost_per_sms              numeric(10, 6) not null default 0,
  cost_per_mms              numeric(10, 6) not null default 0,
  supports_alphanumeric     boolean not null default false,
  supports_unicode          boolean not null default true,
  supports_mms              boolean not null default false,
  is_active                 boolean not null default true,
  "window"                  integer not null default 10 check ("window" between 1 and 10000),
  max_binds                 integer not null default 1 check (max_binds between 1 and 100),
  id_format                 text not null default 'same' check (id_format in ('same', 'hex_to_dec', 'dec_to_hex')),
  long_message              text not null default 'udh' check (long_message in ('udh', 'sar', 'payload')),
  default_alphabet          text not null default 'gsm7' check (default_alphabet in ('gsm7', 'latin1', 'ascii')),
  code_map                  jsonb not null default '{}',
  enquire_link_seconds      integer not null default 30 check (enquire_link_seconds between 1 and 3600),
  response_timeout_seconds  integer not null default 30 check (response_timeout_seconds between 1 and 600),
  receipt_grace_seconds     integer not null default 900 check (receipt_grace_seconds between 0 and 259200),
  health_status             text not null default 'unknown',
  last_bind_time            timestamptz,
  version                   bigint not null default 1,
  created_at                timestamptz not null default now(),
  updated_at                timestamptz not null default now()
);

create table numbers (
  number       text primary key check (number ~ '^(\+[1-9][0-9]{6,14}|[0-9]{3,8})$'),
  account_id   uuid not null references accounts (id) on delete cascade,
  vendor_id    uuid references vendors (id),
  type         text not null check (type in ('long_code', 'toll_free', 'short_code')),
  sms_enabled  boolean not null default true,
  mms_enabled  boolean not null default false,
  campaign     uuid references campaigns (id),
  verification text not null default 'unverified' check (verification in ('unverified', 'pending', 'approved', 'rejected')),
  tag          text not null default '',
  "group"      text not null default '',
  created_at   timestamptz not null default now(),
  updated_at   timestamptz not null default now()
);
create index numbers_account on numbers (account_id);
create index numbers_campaign on numbers (campaign);

create table routing_rules (
  id             bigint generated always as identity primary key,
  priority       integer not null,
  dest_pattern   text,
  source_pattern text,
  vendor_id      uuid not null references vendors (id),
  account_id     uuid references accounts (id) on delete cascade,
  message_type   text check (message_type in ('sms', 'mms')),
  rate_per_msg   numeric(10, 6) not null default 0,
  weight         integer not null default 1 check (weight between 1 and 1000),
  is_active      boolean not null default true,
  created_at     timestamptz not null default now(),
  updated_at     timestamptz not null default now()
);
create index routing_rules_vendor on routing_rules (vendor_id);

create table webhook_endpoints (
  id              uuid primary key,
  account_id      uuid not null references accounts (id) on delete cascade,
  url             text not null,
  failover_url    text not null default '',
  event_types     text[] not null default '{}',
  secret          bytea not null, -- sealed
  old_secret      bytea,          -- sealed; signs as well until old_until
  old_until       timestamptz,
  format          text not null default 'event' check (format in ('event', 'flat')),
  active          boolean not null default true,
  disabled_reason text not null default '',
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now()
);
create index webhook_endpoints_account on webhook_endpoints (account_id);

-- A vendor's connection is made anew when its row changes in what the link
-- depends on; health is written by the link itself and must not count.
create function vendor_version() returns trigger language plpgsql as $$
begin
  new.updated_at := now();
  if to_jsonb(new) - '{version,updated_at,health_status,last_bind_time}'::text[]
     is distinct from to_jsonb(old) - '{version,updated_at,health_status,last_bind_time}'::text[] then
    new.version := old.version + 1;
  end if;
  return new;
end $$;
create trigger vendors_version before update on vendors for each row execute function vendor_version();

create trigger accounts_changed after insert or update or delete on accounts for each statement execute function config_changed();
create trigger api_credentials_changed after insert or delete or update of secret_hash, previous_secret_hash, previous_until, scopes, allowed_numbers, allowed_ips, rate_limit, expires_at, revoked_at on api_credentials for each statement execute function config_changed();
create trigger smpp_credentials_changed after insert or update or delete on smpp_credentials for each statement execute function config_changed();
create trigger signing_keys_changed after insert or update or delete on signing_keys for each statement execute function config_changed();
create trigger campaigns_changed after insert or update or delete on campaigns for each statement execute function config_changed();
create trigger vendors_changed after insert or delete or update of instance_name, display_name, provider_type, host, port, username, password, use_tls, tls_ca, tls_server_name, bind_type, system_type, throughput, priority, cost_per_sms, cost_per_mms, supports_alphanumeric, supports_unicode, supports_mms, is_active, "window", max_binds, id_format, long_message, default_alphabet, code_map, enquire_link_seconds, response_timeout_seconds, receipt_grace_seconds on vendors for each statement execute function config_changed();
create trigger numbers_changed after insert or update or delete on numbers for each statement execute function config_changed();
create trigger routing_rules_changed after insert or update or delete on routing_rules for each statement execute function config_changed();
create trigger webhook_endpoints_changed after insert or update or delete on webhook_endpoints for each statement execute function config_changed();
