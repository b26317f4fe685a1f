-- What an ESME says of a message beside its text: octets of no alphabet, message
-- classes, user data headers, optional parameters for vendors; and the two
-- command_status values that an account may choose.
--
-- Locks: access exclusive on messages, accounts and vendors, for a moment: the new
-- columns are null or have constant defaults, and the previous release inserts
-- without them. Checks read accounts and vendors, which are small.

alter table messages
  add column data_coding      smallint, -- what SMPP vendors are told; null: what the encoding says, for octets 0
  add column user_data_header bytea,    -- sealed: its elements beside concatenation; null: none
  add column tlvs             bytea;    -- sealed: optional parameters for vendors; null: none

alter table accounts
  add column smpp_encoding_mismatch_status integer not null default 69 check (smpp_encoding_mismatch_status in (69, 260)), -- 45, 104 in hex
  add column smpp_opted_out_status         integer not null default 11 check (smpp_opted_out_status in (11, 69));          -- 0B, 45 in hex

-- Whether optional parameters with these tags may be passed on. The range that
-- vendors define (1400 to 3FFF) has our own three in it (2A01 to 2A03).
create function tlvs_may_pass(tags integer[]) returns boolean immutable language sql
return (
  select coalesce(bool_and(coalesce(tag between 5120 and 16383 and tag not between 10753 and 10755
    or tag in (5, 6, 7, 8, 13, 14, 15, 16, 25, 48, 513, 514, 515, 517, 522, 523, 525, 770, 771, 772, 897, 4609, 4611, 4612, 4876, 4992, 4995), false)), true)
  from unnest(tags) as tag);

alter table vendors
  add column pass_tlvs integer[] not null default '{}' check (tlvs_may_pass(pass_tlvs) and cardinality(pass_tlvs) <= 100);

drop trigger vendors_changed on vendors;
create trigger vendors_changed after insert or delete or update of instance_name, display_name, provider_type, host, port, username, password, use_tls, tls_ca, tls_server_name, bind_type, system_type, throughput, priority, cost_per_sms, cost_per_mms, supports_alphanumeric, supports_unicode, supports_mms, is_active, "window", max_binds, id_format, long_message, default_alphabet, code_map, enquire_link_seconds, response_timeout_seconds, receipt_grace_seconds, pass_tlvs on vendors for each statement execute function config_changed();
