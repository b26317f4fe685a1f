-- Some senders want to hear of their message only if it fails: their platform asks for no
-- delivery reports (dlr_requested of POST /api/v1/messages).
--
-- Locks: access exclusive on messages, for the change of the catalogue alone.

alter table messages add column failures_only boolean not null default false; -- told of failed and rejected alone
