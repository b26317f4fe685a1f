-- Messages that came through a door for another gateway's interface are told of in that
-- gateway's form: which, is kept with the message, and with each delivery.
--
-- Locks: access exclusive on messages and webhook_deliveries with their partitions, for the
-- change of the catalogue alone: the new columns have constant defaults. The previous release
-- inserts without them; what it tries meanwhile of the new deliveries goes out as JSON is.

alter table messages add column callback text not null default '';         -- message.Callback; empty: events
alter table webhook_deliveries add column format text not null default ''; -- of payload and request; empty: events
