-- The same condition, told by a fifth of the work: whether an id is older than ten minutes
-- is seen from its first six octets, without making an id of the moment out of text. It is
-- asked for every message; BenchmarkUsageTriggers has what it costs.
--
-- Locks: access exclusive on messages for a moment, for the trigger that goes.

drop trigger messages_usage_added on messages;
create trigger messages_usage_added after insert on messages for each row
  when (uuid_send(new.id) < substring(int8send((date_part('epoch', now()) * 1000)::bigint - 600000) from 3))
  execute function usage_late();
