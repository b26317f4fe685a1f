-- Messages to several recipients: which were sent together, and who else has one.
--
-- Locks: an instant on messages with its partitions and on inbound_messages, for columns
-- without a default; the previous release inserts without them.

alter table messages add column group_recipients text[];         -- all of its group, in the sender's order; null: it is in none
alter table inbound_messages add column group_recipients text[]; -- the same, with the number that it came to

-- Accounts may have an MMS that no vendor takes go as a text with links.
--
-- Locks: the same on accounts and messages.
alter table accounts add column mms_fallback text not null default 'none' check (mms_fallback in ('none', 'sms_link'));
alter table messages add column requested_kind text check (requested_kind in ('mms')); -- what it was, before it went as its kind; null: the same
