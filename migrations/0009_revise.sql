-- Messages that are changed after they were accepted and before they leave.
--
-- Locks: access exclusive on messages and on smpp_origins, for a moment: the new
-- columns have a constant default or none. The rest is a create. The previous
-- release inserts without them; its steps do not look at the revision, so a
-- message that is revised while it works on it may still leave as it was.

-- How often the message was revised. The step that takes it out of accepted or
-- scheduled names the revision that it has read, and fails when there is another.
alter table messages add column revision integer not null default 0;

-- data_coding of the submit: a replace_sm brings octets and none of its own. Null:
-- not known, of what was accepted before.
alter table smpp_origins add column data_coding smallint;

-- Revised messages whose workflow may still wait for the old send time. In with
-- the revision, out when the workflow was told; the sweeper tells it again.
create table revisions_due (
  message_id uuid primary key,
  revision   integer not null, -- the newest
  since      timestamptz not null default now()
);
create index revisions_due_since on revisions_due (since);
