-- What the SMPP edge for customers stands on: the settings of a credential, what
-- the sender of a message is owed, the registry of binds, and the deliver_sm that
-- are owed and how far they have come.
--
-- Locks: access exclusive on smpp_credentials, for a moment: the new columns have
-- constant defaults, and the previous release inserts without them. The rest are
-- creates.

alter table smpp_credentials
  add column bind_types          text[] not null default '{receiver,transmitter,transceiver}'
    check (bind_types <@ '{receiver,transmitter,transceiver}' and cardinality(bind_types) > 0),
  add column require_tls         boolean not null default false,
  add column "window"            integer not null default 10 check ("window" between 1 and 1000),
  add column receipt_format      text not null default 'text_tlv' check (receipt_format in ('text', 'text_tlv')),
  add column long_mo             text not null default 'udh' check (long_mo in ('udh', 'payload', 'sar')),
  add column mo_lifetime_seconds integer not null default 259200 check (mo_lifetime_seconds between 60 and 2592000),
  add column alphabet            text not null default 'gsm7' check (alphabet in ('gsm7', 'latin1', 'ascii'));

-- One row a message that came over SMPP, written with the message and never
-- changed: to whom its receipts go, and the words they must repeat. The addresses
-- are octets as the ESME wrote them.
create table smpp_origins (
  message_id    uuid primary key,
  account_id    uuid not null,
  credential_id uuid not null,
  registered    smallint not null, -- registered_delivery
  source_ton    smallint not null,
  source_npi    smallint not null,
  source        bytea not null,
  dest_ton      smallint not null,
  dest_npi      smallint not null,
  dest          bytea not null,
  reference     bytea, -- user_message_reference
  answer_id     text   -- null: the message's own id, which the primary key finds
);
create index smpp_origins_answer on smpp_origins (account_id, answer_id) where answer_id is not null;
create index smpp_origins_pair on smpp_origins (account_id, dest, source, message_id);

-- Binds of customers, of all processes. A row that is not seen for 30 seconds
-- counts for nothing. seen_at is no index's business, so that the heartbeats stay
-- within their page (HOT).
create table smpp_binds (
  id            uuid primary key,
  credential_id uuid not null,
  instance      text not null, -- the process that holds it
  mode          text not null check (mode in ('receiver', 'transmitter', 'transceiver')),
  address       text not null default '',
  tls           boolean not null,
  version       smallint not null, -- interface_version; 0: none was given
  bound_at      timestamptz not null default now(),
  seen_at       timestamptz not null
) with (fillfactor = 40);
create index smpp_binds_credential on smpp_binds (credential_id);

-- One row a deliver_sm that a customer is owed. It goes in with the status that
-- it tells of. Claims are no index's business (HOT); the end of a delivery takes
-- its row out of every index that is searched for work, and what it leaves there
-- is vacuumed away early.
create table smpp_deliveries (
  id            uuid primary key,
  credential_id uuid not null,
  account_id    uuid not null,
  message_id    uuid not null,
  kind          text not null check (kind in ('receipt', 'notice', 'message')),
  status        text not null, -- of the message when it was owed
  state         text not null default 'pending' check (state in ('pending', 'delivered', 'failed', 'expired')),
  attempts      integer not null default 0,
  last_status   bigint not null default 0, -- command_status of the last answer
  last_error    text not null default '',
  due_at        timestamptz not null default now(),
  expires_at    timestamptz not null,
  claimed_by    text,
  claimed_until timestamptz,
  created_at    timestamptz not null default clock_timestamp(), -- orders those of one commit as well
  done_at       timestamptz
) with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);
create unique index smpp_deliveries_message on smpp_deliveries (message_id, kind, status);
-- Those that were never tried are due, oldest first, and may be very many while
-- nobody is bound. Those that were tried are few and wait for their time.
create index smpp_deliveries_untried on smpp_deliveries (credential_id, created_at, id) where state = 'pending' and attempts = 0;
create index smpp_deliveries_tried on smpp_deliveries (credential_id, due_at) where state = 'pending' and attempts > 0;
create index smpp_deliveries_expiry on smpp_deliveries (expires_at) where state = 'pending';
