-- Which messages have a status that few have: a list of what failed, or of what waits,
-- must not read an account's whole history. An index of messages by their status would
-- cost each of a message's five or six updates a write in every index of its row (it
-- leaves its page then), so what is not delivered soon has a row of its own here.
--
-- Exact below the watermark, which is three to four minutes back: there every message has
-- a row, but for those that are delivered and those in the backlog. Above it messages are
-- asked themselves. A message that is delivered within a minute costs nothing here. The
-- triggers begin after one minute: a transaction that began before them has ended long
-- before its message is listed.
--
-- After this migration the watermark moves through what is there in some minutes; until
-- then lists read as much as they did before.
--
-- Locks: share row exclusive on messages for a moment, for the triggers: who reads does
-- not wait. The rest are creates.

create table message_statuses (
  message_id uuid primary key,
  account_id uuid not null,
  status     text not null
);
create index message_statuses_account on message_statuses (account_id, status, message_id);
create index message_statuses_status on message_statuses (status, message_id);

create table message_statuses_until (
  only_row boolean primary key default true check (only_row),
  until_id uuid not null default '00000000-0000-0000-0000-000000000000' -- messages below are listed
);
insert into message_statuses_until default values;

create function list_status() returns trigger language plpgsql as $$
begin
  if new.status = 'delivered' then
    delete from message_statuses where message_id = new.id;
  elsif new.direction = 'outbound' and new.status in ('accepted', 'scheduled', 'queued', 'sending') then
    update message_statuses set status = new.status where message_id = new.id; -- else it is in the backlog
  else
    insert into message_statuses (message_id, account_id, status) values (new.id, new.account_id, new.status)
    on conflict (message_id) do update set status = excluded.status;
  end if;
  return null;
end $$;

create trigger messages_status_changed after update on messages for each row
  when (old.status is distinct from new.status and new.id < id_at(now() - interval '1 minute'))
  execute function list_status();
create trigger messages_status_added after insert on messages for each row
  when (new.status <> 'delivered' and new.id < id_at(now() - interval '1 minute'))
  execute function list_status();
