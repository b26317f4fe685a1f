-- Who changed what. Each row's hash covers the row before it, so that a row
-- taken out or altered afterwards shows.
--
-- Locks: creates only; nothing existing is touched.

create table audit_log (
  id      bigint generated always as identity primary key,
  at      timestamptz not null default now(),
  actor   text not null,
  role    text not null,
  action  text not null,
  target  text not null,
  before  jsonb,
  after   jsonb,
  address text not null default '',
  hash    bytea not null
);
create index audit_log_target on audit_log (target, id);
