-- What campaigns may send a minute and companies a day: where the parts of messages
-- have been given their place. internal/pace says what the counters mean.
--
-- Locks: creates only; nothing existing is touched.

-- One row a counter. Its lock is the counter's: whoever places messages takes the
-- locks of all their counters, in the order of the keys.
create table pacers (
  key  text primary key,
  open bigint not null default 0, -- second since 1970; none before it has room for a part more,
  cap  integer not null default 0 -- as far as this many parts a minute go
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- Parts whose place is in one second. What is too old to matter goes when its
-- counter is next used.
create table pace_slots (
  key    text not null,
  second bigint not null,
  parts  integer not null check (parts >= 0),
  primary key (key, second)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

-- Parts of one day in US Pacific time. Kept for a week.
create table pace_days (
  key      text not null,
  day      date not null,
  used     integer not null default 0,
  cap      integer not null default 0,          -- when it was last used; 0: none
  closed   boolean not null default false,      -- a vendor said that the carrier takes no more
  told_80  boolean not null default false,      -- the customer knows
  told_100 boolean not null default false,
  primary key (key, day)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
create index pace_days_day on pace_days (day);

-- Slots that were given back, or that another one stands instead of, so that none is
-- twice. Kept while their parts still count.
create table pace_spent (
  id    uuid not null,
  turn  integer not null,
  until timestamptz not null,
  primary key (id, turn)
);
create index pace_spent_until on pace_spent (until);
