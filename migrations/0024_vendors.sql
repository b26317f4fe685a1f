-- What a vendor's row can say of it, what a route can ask of a message and of the
-- time, and the vendor that stands for the gateway itself.
--
-- Locks: access exclusive on vendors, routing_rules and accounts, for a moment: all
-- three are small, the new columns are null or have constant defaults, and the previous
-- release inserts without them.

alter table vendors
  -- Vendors over HTTP.
  add column base_url             text not null default '', -- empty: the vendor's own
  add column account_sid          text not null default '',
  add column messaging_profile_id text not null default '',
  add column signing_keys         bytea[] not null default '{}', -- each sealed, newest first
  -- Vendors over SMPP.
  add column tls_client_cert      text not null default '',
  add column tls_client_key       bytea, -- sealed
  add column source_ton           smallint check (source_ton between 0 and 255), -- null, as of the next three: by the kind of the address
  add column source_npi           smallint check (source_npi between 0 and 255),
  add column dest_ton             smallint check (dest_ton between 0 and 255),
  add column dest_npi             smallint check (dest_npi between 0 and 255),
  add column addr_ton             smallint not null default 0 check (addr_ton between 0 and 255), -- of the bind, as the next two
  add column addr_npi             smallint not null default 0 check (addr_npi between 0 and 255),
  add column address_range        text not null default '' check (length(address_range) <= 40),
  add column default_coding       smallint not null default 0 check (default_coding in (0, 1, 3)), -- data_coding of text in the default alphabet
  add column receipt_id           text not null default 'auto' check (receipt_id in ('auto', 'tlv', 'text')), -- where a receipt says whose it is
  add column receipts_unmarked    boolean not null default false, -- receipts come without the bits of esm_class
  add column outbind_system_id    text not null default '', -- empty: it may not outbind
  add column outbind_password     bytea, -- sealed
  add column outbind_allowed_ips  inet[] not null default '{}', -- none: from anywhere
  -- All.
  add column media_profile            text not null default '',
  add column paused                   boolean not null default false, -- takes no messages; its binds stay, and receipts come
  add column draining                 boolean not null default false, -- what waits for it goes to others
  add column restarts                 integer not null default 0,     -- raised: its links are made anew
  add column receipt_percent          integer not null default 50 check (receipt_percent between 0 and 100), -- of the parts that it accepts, how many should get a final receipt; 0: it is not judged by them
  add column receipt_expected_seconds integer not null default 300 check (receipt_expected_seconds between 1 and 259200),
  drop constraint vendors_provider_type_check,
  add constraint vendors_provider_type_check check (provider_type in ('smpp', 'mm4', 'twilio', 'telnyx', 'internal'));

-- A link is made anew for what it is made from, and for nothing that it can be told
-- while it runs.
create or replace function vendor_version() returns trigger language plpgsql as $$
declare
  told constant text[] := '{version,updated_at,health_status,last_bind_time,vendor_replies,display_name,throughput,max_binds,priority,cost_per_sms,cost_per_mms,supports_alphanumeric,supports_unicode,supports_mms,media_profile,paused,draining,receipt_percent,receipt_expected_seconds,receipt_grace_seconds}';
begin
  new.updated_at := now();
  if to_jsonb(new) - told is distinct from to_jsonb(old) - told then
    new.version := old.version + 1;
  end if;
  return new;
end $$;

drop trigger vendors_changed on vendors;
create trigger vendors_changed after insert or delete or update of instance_name, display_name, provider_type, host, port, username, password, use_tls, tls_ca, tls_server_name, bind_type, system_type, throughput, priority, cost_per_sms, cost_per_mms, supports_alphanumeric, supports_unicode, supports_mms, is_active, "window", max_binds, id_format, long_message, default_alphabet, code_map, enquire_link_seconds, response_timeout_seconds, receipt_grace_seconds, pass_tlvs, vendor_replies,
  base_url, account_sid, messaging_profile_id, signing_keys, tls_client_cert, tls_client_key, source_ton, source_npi, dest_ton, dest_npi, addr_ton, addr_npi, address_range, default_coding, receipt_id, receipts_unmarked, outbind_system_id, outbind_password, outbind_allowed_ips, media_profile, paused, draining, restarts, receipt_percent, receipt_expected_seconds on vendors for each statement execute function config_changed();

alter table routing_rules
  add column name            text not null default '',
  add column message_class   text check (message_class in ('otp', 'conversation', 'bulk')),
  add column capability      text check (capability in ('unicode', 'alphanumeric', 'mms', 'binary', 'long')), -- only for messages that need it
  add column selection       text not null default 'weighted' check (selection in ('weighted', 'least_cost')), -- among routes of one priority
  add column max_cost        numeric(10, 6) check (max_cost > 0), -- of the vendor, a part; null: any
  add column sticky          boolean not null default false, -- a conversation stays with its vendor
  add column days            smallint not null default 127 check (days between 1 and 127), -- bit 0: Monday
  add column from_minute     smallint not null default 0 check (from_minute between 0 and 1440), -- of the day in time_zone
  add column until_minute    smallint not null default 0 check (until_minute between 0 and 1440), -- the same as from: the whole day
  add column time_zone       text not null default 'UTC',
  add column effective_from  timestamptz,
  add column effective_until timestamptz,
  add column version         bigint not null default 1;

create function route_version() returns trigger language plpgsql as $$
begin
  new.updated_at := now();
  new.version := old.version + 1;
  return new;
end $$;
create trigger routing_rules_version before update on routing_rules for each row execute function route_version();

-- A one-time password that may be sent twice goes to the next vendor when its receipt
-- stays away for so long. 0: never.
alter table accounts
  add column resend_after_seconds integer not null default 0 check (resend_after_seconds between 0 and 3600);

-- Messages between numbers of ours go over a vendor as well, so that all that is known
-- of others is known of it.
insert into vendors (id, instance_name, display_name, provider_type, throughput, supports_alphanumeric, receipt_percent)
values ('00000000-0000-7000-8000-000000000001', 'internal', 'Between our own numbers', 'internal', 0, true, 0);
