-- Of several processes that start workflows each takes other rows of the outbox: who reads
-- a batch takes it on for a while, and only he reads it again until then. Before, each of
-- them read the same most urgent rows and started what the others had started.
-- The columns are in no index, and a page of starts has room for the update of its rows.
--
-- Locks: access exclusive on starts, for a moment: only the catalogue is written.

alter table starts
  add column claimed_by    text,
  add column claimed_until timestamptz,
  set (fillfactor = 60);
