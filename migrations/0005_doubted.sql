-- Parts in doubt are found by a column that hardly ever changes. An index with
-- the state in its condition takes part in every change of a state, and keeps
-- each receipt's update from staying within its page (HOT).
--
-- Locks: access exclusive on segments, for as long as the index takes to build.

alter table segments add column doubted boolean not null default false; -- was in doubt once
update segments set doubted = true where state = 'in_doubt';
drop index segments_in_doubt;
create index segments_doubted on segments (vendor_id, sent_at) where doubted;
