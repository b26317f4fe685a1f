-- Statements are planned for any account. With the true, small number of
-- accounts the planner takes an account's newest messages from the index of all
-- messages, and whoever has few waits until everybody's were read. The number
-- is a share of the rows, and holds from the next ANALYZE on.
--
-- Locks: share update exclusive on messages, which readers and writers do not
-- notice.

alter table messages alter column account_id set (n_distinct = -0.01);
