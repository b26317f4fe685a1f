-- How long a short code is ours, and where an account may send to.
--
-- Locks: access exclusive on numbers and accounts, for a moment: the new columns
-- are null or have a constant default.

alter table numbers
  add column leased_until timestamptz; -- of a short code; null: not known, which is no objection

-- Digits without + that recipients must begin with; none: anywhere.
alter table accounts
  add column allowed_destinations text[] not null default '{}'
    check (array_to_string(allowed_destinations, ',') ~ '^([1-9][0-9]{0,14}(,[1-9][0-9]{0,14})*)?$');
