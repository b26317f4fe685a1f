-- Messages to several recipients: which were sent together, and who else has one.
--
-- Locks: an instant on messages with its partitions and on inbound_messages, for columns
-- without a default; the previous release inserts without them.

alter table messages add column group_recipients text[];         -- all of its group, in the sender's order; null: it is in none
alter table inbound_messages add column group_recipients text[]; -- the same, with the number that it came to
