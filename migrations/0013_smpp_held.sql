-- Inbound messages go to a customer in the order of their conversation, also
-- across claims; and what is held for an account while nobody is bound has a cap.
--
-- Locks: access exclusive on accounts for a moment, and on smpp_deliveries while
-- its indexes are made, which takes seconds for millions of rows. The new columns
-- have constant defaults or none; the previous release inserts without them, and
-- it inserts no inbound messages.

-- Deliver_sm that may wait for an account's ESMEs. Over it the oldest that were
-- never tried end as failed.
alter table accounts
  add column smpp_max_held integer not null default 100000 check (smpp_max_held between 1 and 10000000);

-- The conversation that an inbound message belongs to: whoever inserts one of kind
-- `message` asks this function. Two conversations with one number only wait for
-- each other.
create function smpp_conversation(credential uuid, from_addr text, to_addr text) returns bigint
  language sql immutable strict parallel safe
  return hashtextextended(credential || ' ' || from_addr || ' ' || to_addr, 0);

-- A message that is behind one which waits for its retry is parked: it is looked
-- at again when that one has had its turn, and not at every claim. Its due_at says
-- when.
alter table smpp_deliveries
  add column conversation bigint, -- null: a receipt or a notice
  add column parked       boolean not null default false,
  add constraint smpp_deliveries_in_order check (kind <> 'message' or conversation is not null) not valid;
update smpp_deliveries d
set conversation = smpp_conversation(d.credential_id, m.from_addr, m.to_addr)
from messages m
where d.kind = 'message' and m.id = d.message_id;
alter table smpp_deliveries validate constraint smpp_deliveries_in_order;

drop index smpp_deliveries_untried;
drop index smpp_deliveries_tried;
create index smpp_deliveries_untried on smpp_deliveries (credential_id, created_at, id) where state = 'pending' and attempts = 0 and not parked;
create index smpp_deliveries_tried on smpp_deliveries (credential_id, due_at) where state = 'pending' and (attempts > 0 or parked);
-- What may have to be parked. Receipts are not in it.
create index smpp_deliveries_inbound on smpp_deliveries (credential_id, created_at, id) where state = 'pending' and attempts = 0 and not parked and conversation is not null;
-- What an inbound message waits for.
create index smpp_deliveries_conversation on smpp_deliveries (conversation, created_at, id) where conversation is not null and done_at is null;
-- What is held for an account.
create index smpp_deliveries_account on smpp_deliveries (account_id, created_at, id) where state = 'pending';
