-- Vendors that staff have named for messages.
--
-- Locks: a create only.

-- One row a message that somebody has named a vendor for: it is asked alone, by the
-- next routing. Staff write few of them, and they stay as long as the message.
create table route_overrides (
  message_id uuid primary key,
  vendor_id  uuid not null, -- one that is gone, or takes no messages, is passed over
  actor      text not null,
  reason     text not null default '',
  at         timestamptz not null default now()
);
