-- A batch whose workflow died is found by the record: it is not done with, and nobody has
-- worked it for some minutes. When its rows were last worked is noted with them, which
-- costs nothing: the row of the batch is written then anyhow, and no index has the column.
--
-- Locks: batches for a moment, the default is a constant; and for writing while the index
-- is made, which reads it once: a row for each batch, well below a second.

alter table batches add column looked_at timestamptz not null default now();

create index batches_unfinished on batches (id) where status = 'running' or status = 'canceled' and completed_at is null;

-- Whose rate a row waits for, so that rows of other numbers go on meanwhile: the sender as
-- the row names it, null for that of the batch and for rows of before.
alter table batch_rows add column sender text;
