-- Inbound messages as vendors send them, what a stop, start or help word among them
-- does, and the answers that are owed to it.
--
-- Locks: access exclusive on accounts and vendors, for a moment: the new columns have
-- constant defaults or none, and the previous release inserts without them. The rest
-- is a create.

-- Words of an account beside those of everybody, and its answers where a campaign has
-- none of its own.
alter table accounts
  add column keywords    jsonb not null default '{}' check (jsonb_typeof(keywords) = 'object'), -- {"stop", "start", "help"}: lists of words
  add column stop_reply  text not null default '',
  add column start_reply text not null default '',
  add column help_reply  text not null default '';

-- Whether the vendor answers STOP, START and HELP itself. Null: the gateway does, but
-- for STOP and START to toll-free numbers, which the network answers.
alter table vendors add column vendor_replies boolean;
-- The link does not depend on it.
create or replace function vendor_version() returns trigger language plpgsql as $$
begin
  new.updated_at := now();
  if to_jsonb(new) - '{version,updated_at,health_status,last_bind_time,vendor_replies}'::text[]
     is distinct from to_jsonb(old) - '{version,updated_at,health_status,last_bind_time,vendor_replies}'::text[] then
    new.version := old.version + 1;
  end if;
  return new;
end $$;
drop trigger vendors_changed on vendors;
create trigger vendors_changed after insert or delete or update of instance_name, display_name, provider_type, host, port, username, password, use_tls, tls_ca, tls_server_name, bind_type, system_type, throughput, priority, cost_per_sms, cost_per_mms, supports_alphanumeric, supports_unicode, supports_mms, is_active, "window", max_binds, id_format, long_message, default_alphabet, code_map, enquire_link_seconds, response_timeout_seconds, receipt_grace_seconds, pass_tlvs, vendor_replies on vendors for each statement execute function config_changed();

-- One row for each message from a vendor, or for each part of one. What is sealed is
-- bound to the row and the column.
create table inbound_messages (
  id                uuid primary key, -- version 7
  account_id        uuid,             -- null: the number was nobody's; kept for staff
  vendor_id         uuid not null,
  vendor_message_id text not null default '',
  fingerprint       bytea not null,   -- the same for two that say the same
  repeat_of         uuid,             -- one without an id of the vendor's that says what this earlier one said
  seen              integer not null default 1,
  from_addr         text not null,
  to_addr           text not null,
  body              bytea,            -- sealed: the text; null: it is not known, see raw
  raw               bytea,            -- sealed: the octets of a part, or of what is no text
  user_data_header  bytea,            -- sealed: its elements beside concatenation
  encoding          text not null,
  data_coding       smallint not null default 0,
  alphabet          text not null default '', -- what data_coding 0 meant at the vendor
  reference         integer not null default 0, -- of the parts of one message, its kind above bit 15
  part              smallint not null default 0 check (part between 0 and 255), -- 0: it is whole
  parts             smallint not null default 0 check (parts between 0 and 255),
  keyword           text not null default '',
  keyword_action    text not null default '' check (keyword_action in ('', 'stop', 'start', 'help')),
  changed           boolean not null default false, -- the keyword recorded or ended an opt-out
  for_human         boolean not null default false, -- it may ask for an end of the messages
  event_seq         integer not null default 1,
  received_at       timestamptz not null
);
create unique index inbound_messages_vendor_id on inbound_messages (vendor_id, vendor_message_id, fingerprint) where vendor_message_id <> '';
create index inbound_messages_said on inbound_messages (fingerprint, received_at) where vendor_message_id = '';
create index inbound_messages_account on inbound_messages (account_id, id);
create index inbound_messages_unrouted on inbound_messages (id) where account_id is null;
create index inbound_messages_human on inbound_messages (id) where for_human;

-- Who wrote a keyword to which number. Its row is locked while a keyword of the pair
-- is worked on, so that one answer is owed for one change whatever runs beside it;
-- and it bounds the answers, or two machines would talk for ever.
create table keyword_pairs (
  number    text not null,
  recipient text not null,
  day       date not null,             -- in UTC: of answers
  answers   integer not null default 0,
  helped_at timestamptz,
  primary key (number, recipient)
);
create index keyword_pairs_day on keyword_pairs (day);

-- Answers that are owed. In with the keyword that asks for it, out when it was
-- accepted as a message of this id, or refused for good.
create table automatic_replies (
  id         uuid primary key, -- of the message that it becomes
  inbound_id uuid not null,
  account_id uuid not null,
  from_addr  text not null,
  to_addr    text not null,
  body       bytea not null, -- sealed
  action     text not null check (action in ('stop', 'start', 'help')),
  created_at timestamptz not null default now(),
  taken_at   timestamptz not null default now() -- when somebody last took it on
);
create index automatic_replies_taken on automatic_replies (taken_at);
