-- Of several processes that sweep, each took on every settlement that was due, and told its
-- workflow: six processes told one workflow six times, most of all when all of them were slow. A settlement
-- is now taken on by one for a while, and what a workflow that was told could not settle is told
-- less and less often, whoever sweeps.
-- The columns are in no index, and a page has room for the update of its rows.
--
-- Locks: access exclusive on settlements_due, for a moment: only the catalogue is written.

alter table settlements_due
  add column again_at timestamptz,                 -- nobody takes it on before; none: it was not taken on yet
  add column told     smallint not null default 0, -- how often its workflow was told and had not settled it
  set (fillfactor = 60);
