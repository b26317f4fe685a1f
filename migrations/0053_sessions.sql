-- Live sessions as staff see and end them: a mark at the binds of SMPP, and a register of
-- the sessions of MM4. And opt-outs of a recipient at whichever account, for staff.
--
-- Locks: access exclusive on smpp_binds, for a moment: the new column is null, and the
-- previous release inserts without it. A process of the previous release does not look at
-- the mark, and its MM4 sessions are not listed. Opt-outs cannot be written while their
-- new index is made: some seconds a million.

-- When staff have asked for the end of the session; null: nobody has. Each process asks
-- for its own every two seconds, and finds an empty index nearly always. The heartbeats do
-- not touch it, and stay within their page (HOT).
alter table smpp_binds add column end_asked_at timestamptz;
create index smpp_binds_end_asked on smpp_binds (instance) where end_asked_at is not null;

-- Sessions that peers of MM4 have opened to us, of all processes. A row that is not seen
-- for 30 seconds counts for nothing.
create table mm4_sessions (
  id           uuid primary key,
  peer_id      uuid, -- null: it has not shown who it is
  instance     text not null, -- the process that holds it
  address      text not null default '',
  tls          boolean not null,
  state        text not null,
  mails        integer not null, -- that were taken
  began_at     timestamptz not null,
  seen_at      timestamptz not null default now(),
  end_asked_at timestamptz
) with (fillfactor = 40);
create index mm4_sessions_end_asked on mm4_sessions (instance) where end_asked_at is not null;

-- The recipient comes first now: it serves an account's list as before, and that of all.
drop index opt_outs_recipient;
create index opt_outs_recipient on opt_outs (recipient, account_id, id);
