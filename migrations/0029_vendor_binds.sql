-- Vendors that bind to us: a system_id is an account's or a vendor's.
--
-- Locks: access exclusive on smpp_credentials, for a moment: the new column is null,
-- and the previous release reads what is an account's as before. Make no vendor's
-- credential until every replica runs this release.

alter table smpp_credentials
  alter column account_id drop not null,
  add column vendor_id uuid references vendors (id) on delete cascade,
  add constraint smpp_credentials_owner check (num_nonnulls(account_id, vendor_id) = 1);
create index smpp_credentials_vendor on smpp_credentials (vendor_id) where vendor_id is not null;
