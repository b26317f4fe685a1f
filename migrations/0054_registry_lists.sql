-- Pages of an account's brands and campaigns in the order in which they are shown: with
-- the account alone in the index, the planner may read all accounts' from the newest on.
--
-- Locks: share on brands and campaigns while their indexes are made, a moment: the
-- configuration can be read meanwhile.

create index brands_account_order on brands (account_id, id);
drop index brands_account;
create index campaigns_account_order on campaigns (account_id, id);
drop index campaigns_account;
