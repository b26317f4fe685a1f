-- How long a peer may take for one mail, from DATA to its end. The previous release goes
-- by its own bound, which is the default.
--
-- Locks: an instant on mm4_peers, for a column with a constant default.

alter table mm4_peers add column data_seconds integer not null default 900 check (data_seconds between 60 and 3600);
