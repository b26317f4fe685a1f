-- Since when a vendor drains: it is removed once what waited for it has gone and the
-- receipts of what it had have had their time. And updated_at of a vendor tells of
-- changes by staff alone: what a link writes of its own health is not one.
--
-- Locks: access exclusive on vendors, for a moment: the table is small and the column
-- is null.

alter table vendors add column draining_since timestamptz;
update vendors set draining_since = now() where draining;

create or replace function vendor_version() returns trigger language plpgsql as $$
declare
  seen constant text[] := '{version,updated_at,health_status,last_bind_time}';
  told constant text[] := seen || '{vendor_replies,display_name,throughput,max_binds,priority,cost_per_sms,cost_per_mms,supports_alphanumeric,supports_unicode,supports_mms,media_profile,paused,draining,draining_since,receipt_percent,receipt_expected_seconds,receipt_grace_seconds}';
begin
  new.draining_since := case when new.draining then coalesce(old.draining_since, now()) end;
  if to_jsonb(new) - seen is distinct from to_jsonb(old) - seen then
    new.updated_at := now();
  end if;
  if to_jsonb(new) - told is distinct from to_jsonb(old) - told then
    new.version := old.version + 1;
  end if;
  return new;
end $$;
