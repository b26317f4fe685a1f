-- A request of an MM4 peer that comes again while its response is just being sent has the
-- response sent once more after that: it is no answer to what came after it.
--
-- Locks: an instant on mm4_mails, for a column with a constant default; the previous
-- release inserts without it.

alter table mm4_mails add column again boolean not null default false; -- its request has come again since it was claimed
