-- Webhooks as their owners see and manage them: the tries of a delivery, deliveries that
-- failed, endpoints that take nothing.
--
-- Locks: an instant on webhook_deliveries with its partitions, webhooks_due and accounts,
-- for columns with constant defaults or none; the previous release inserts without them.
-- What has failed before is looked for in webhook_deliveries, which is read once from end
-- to end. What a process of the previous release gives up meanwhile is listed among all
-- deliveries, not among those of state failed.

alter table webhook_deliveries
  add column last_ms integer not null default 0,  -- how long the last try took
  add column replays integer not null default 0;  -- how often it was put back; attempts counts the tries since

-- Whose a delivery is that was tried in vain: set with the first such try, so that what is
-- new costs no index. Null: it was not tried, or not by this release.
alter table webhooks_due add column account_id uuid;
create index webhooks_due_account on webhooks_due (account_id, delivery_id) where account_id is not null;

-- Tries that did not succeed. The one that did is told by its delivery's row, so that
-- what succeeds at once costs no write.
create table webhook_attempts (
  delivery_id uuid not null,
  replay      integer not null, -- webhook_deliveries.replays at that time
  number      integer not null, -- from 1 in each replay
  endpoint_id uuid,             -- null: a URL of the message's or the number's own
  at          timestamptz not null default now(),
  http_status integer not null, -- 0: no answer
  ms          integer not null,
  error       text not null,
  primary key (delivery_id, replay, number)
);
create index webhook_attempts_endpoint on webhook_attempts (endpoint_id, at) where endpoint_id is not null;

-- Deliveries that have failed and were not put back. An index of webhook_deliveries by
-- state would be written by every delivery.
create table webhook_failed (
  delivery_id uuid primary key,
  account_id  uuid not null,
  endpoint_id uuid
);
create index webhook_failed_account on webhook_failed (account_id, delivery_id);

insert into webhook_failed (delivery_id, account_id, endpoint_id)
select id, account_id, endpoint_id
from webhook_deliveries
where state = 'failed';

-- Endpoints whose last try did not succeed, and since when there was none that did. Apart
-- from webhook_endpoints, whose every change all processes read.
create table webhook_failing (
  endpoint_id uuid primary key references webhook_endpoints (id) on delete cascade,
  since       timestamptz not null default now()
);

-- The account's secret is rotated with an overlap, as an endpoint's is.
alter table accounts
  add column webhook_old_secret bytea,       -- sealed; signs as well until webhook_old_until
  add column webhook_old_until  timestamptz;

-- An account's endpoints in the order in which they are listed.
create index webhook_endpoints_listed on webhook_endpoints (account_id, id);
drop index webhook_endpoints_account;
