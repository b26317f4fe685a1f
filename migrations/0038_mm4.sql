-- MM4: the MMSCs that we exchange MMS with, what a message that came from one must
-- repeat, and the mails that are owed to them.
--
-- Locks: creates only.

-- An MMSC of a customer, or of a vendor. How it connects to us, and, of a customer, how
-- we connect to it: of a vendor its own row says that.
create table mm4_peers (
  id                  uuid primary key default gen_random_uuid(),
  account_id          uuid references accounts on delete cascade,
  vendor_id           uuid references vendors on delete cascade,
  name                text not null unique check (name ~ '^[A-Za-z0-9_.-]{1,50}$'),
  enabled             boolean not null default true,
  -- It to us.
  addresses           cidr[] not null default '{}',
  mail_domains        text[] not null default '{}', -- of its MAIL FROM, lower case; empty: any
  require_tls         boolean not null default false,
  username            text not null default '',     -- of its AUTH; empty: it has none
  password_hash       text not null default '',     -- by bcrypt
  max_size            integer not null default 8388608 check (max_size between 65536 and 104857600),
  max_sessions        integer not null default 20 check (max_sessions between 1 and 1000),
  max_recipients      integer not null default 20 check (max_recipients between 1 and 100),
  rate                integer not null default 0 check (rate between 0 and 100000), -- mails a second; 0: no limit
  -- We to it.
  host                text not null default '',     -- empty: nothing is sent to it, or its vendor's row says
  port                integer not null default 0 check (port between 0 and 65535), -- 0: 25, or 465 with implicit TLS
  mx                  boolean not null default false,
  tls                 text not null default 'opportunistic' check (tls in ('never', 'opportunistic', 'required', 'implicit')),
  tls_ca              text not null default '',     -- PEM
  tls_server_name     text not null default '',
  send_username       text not null default '',
  send_password       bytea,                        -- sealed
  domain              text not null default '',     -- of its users' addresses; empty: its host
  system_user         text not null default 'system-user',
  mms_version         text not null default '6.10.0',
  mo_lifetime_seconds integer not null default 259200 check (mo_lifetime_seconds between 60 and 2592000),
  created_at          timestamptz not null default now(),
  updated_at          timestamptz not null default now(),
  check (num_nonnulls(account_id, vendor_id) = 1)
);
create index mm4_peers_account on mm4_peers (account_id);
create index mm4_peers_vendor on mm4_peers (vendor_id);
create trigger mm4_peers_changed after insert or update or delete on mm4_peers for each statement execute function config_changed();

-- One row a message that came over MM4, written with the message and never changed.
-- Addresses and ids are octets as the peer wrote them.
create table mm4_origins (
  message_id      uuid primary key,
  account_id      uuid not null,
  peer_id         uuid not null,
  reference       bytea not null, -- X-Mms-Message-ID
  sender          bytea not null,
  recipient       bytea not null,
  system          bytea not null, -- where reports go: X-Mms-Originator-System, else the envelope's sender
  delivery_report boolean not null,
  read_report     boolean not null
);

-- One row a mail that a peer is owed beside the messages themselves: a response, or a
-- report. A report goes in with the status that it tells of.
create table mm4_mails (
  id             uuid primary key,
  peer_id        uuid not null,
  kind           text not null check (kind in ('forward_res', 'delivery_report', 'delivery_report_res', 'read_report', 'read_report_res')),
  message_id     uuid,  -- that it is about; null: of a response to what is no message of ours
  status         text not null default '', -- of a delivery report: the message's; of a read report: X-Mms-Read-Status
  reason         text not null default '', -- why it failed
  at             timestamptz not null default now(), -- when what it tells of happened
  transaction_id bytea not null default '', -- of a response: of the request
  ordinal        smallint not null default 0, -- of several responses to one request
  response       bytea, -- sealed; of a response: what it says
  state          text not null default 'pending' check (state in ('pending', 'sent', 'failed', 'expired')),
  attempts       integer not null default 0,
  last_code      text not null default '', -- SMTP code of the last answer
  last_error     text not null default '',
  due_at         timestamptz not null default now(), -- of one that is claimed: when the claim lapses
  expires_at     timestamptz not null,
  claimed_by     text,
  created_at     timestamptz not null default clock_timestamp(),
  done_at        timestamptz,
  check (kind like '%\_res' or message_id is not null)
) with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);
-- A request that comes again gets its response again, no second one.
create unique index mm4_mails_response on mm4_mails (peer_id, kind, transaction_id, ordinal) where kind like '%\_res';
create unique index mm4_mails_report on mm4_mails (message_id, kind, status) where kind not like '%\_res';
create index mm4_mails_due on mm4_mails (peer_id, due_at) where state = 'pending';
create index mm4_mails_claimed on mm4_mails (claimed_by) where claimed_by is not null;
create index mm4_mails_expires on mm4_mails (expires_at);

-- Whoever removes a peer, and in whatever way: nobody waits to send to it any more.
create function mm4_peers_removed() returns trigger
  language plpgsql
  as $$
begin
  update mm4_mails
  set state = 'failed', last_error = 'the peer was removed', done_at = now(), claimed_by = null
  where state = 'pending' and peer_id in (select id from gone);
  return null;
end
$$;
create trigger mm4_peers_removed after delete on mm4_peers referencing old table as gone for each statement execute function mm4_peers_removed();

-- What vendors have answered to our MM4_forward.REQ, for the process that waits for it.
-- A row goes once the record of the attempt shows what it says.
create table mm4_answers (
  message_id    uuid not null,
  attempt       integer not null,
  vendor_id     uuid not null,
  status        text not null, -- X-Mms-Request-Status-Code
  detail        bytea,         -- sealed; X-Mms-Status-Text
  came_at       timestamptz not null default now(),
  claimed_until timestamptz,   -- by a sweep that tells the record; null: by none
  primary key (message_id, attempt)
);
create index mm4_answers_came on mm4_answers (came_at);
