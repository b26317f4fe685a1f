package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// advance writes one Change. Everything hangs on the update of the message: if
// the status does not allow the change, nothing at all is written. The same
// holds for answers that bring no new status and were written before, so that
// their lines do not come into the timeline twice.
//
// A row of the submit journal that this process wrote already is left alone.
// One of another process is a duplicate key, on purpose: the statement fails
// and the caller must not send.
const advance = `
with was as (
  select status, event_seq
  from messages
  where id = $1
), moved as (
  update messages
  set status = coalesce($3, status),
      event_seq = event_seq + cardinality($4::text[]),
      updated_at = now(),
      vendor_id = coalesce($6, vendor_id),
      vendor_name = coalesce($7, vendor_name),
      reason = case when $3 = 'delivered' then '' else coalesce($8, reason) end,
      reason_detail = case when $3 = 'delivered' then '' else coalesce($9, reason_detail) end,
      vendor_code = case when $3 = 'delivered' then '' else coalesce($10, vendor_code) end,
      price_micros = coalesce($11, price_micros),
      price_final = price_final or $11::bigint is not null,
      receipt_stat = coalesce($12, receipt_stat),
      receipt_err = coalesce($13, receipt_err),
      receipt_at = coalesce($14, receipt_at),
      possible_duplicate = possible_duplicate or $15,
      submitted_at = case when $16 then coalesce(submitted_at, now()) else submitted_at end,
      delivered_at = case when $17 then coalesce(delivered_at, now()) else delivered_at end
  where id = $1 and status = any($2::text[])
    and ($3::text is not null or cardinality($23::int[]) = 0 or exists (
      select
      from unnest($23::int[], $24::int[], $25::text[]) as a (part, attempt, state)
      join segments s on s.message_id = $1 and s.part = a.part and s.attempt = a.attempt
      where s.state in ('sending', 'in_doubt') and s.state <> a.state))
  returning id, event_seq, account_id
), event as (
  insert into message_events (message_id, sequence, at, type, detail)
  select m.id, m.event_seq - cardinality($4::text[]) + e.ord, clock_timestamp(), e.type, e.detail
  from moved m, unnest($4::text[], $5::jsonb[]) with ordinality as e (type, detail, ord)
), attempt as (
  insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state)
  select m.id, a.part, a.attempt, a.vendor_id, a.vendor_name, a.instance, 'sending'
  from moved m, unnest($18::int[], $19::int[], $20::uuid[], $21::text[], $22::text[]) as a (part, attempt, vendor_id, vendor_name, instance)
  where not exists (
    select
    from segments s
    where s.message_id = m.id and s.part = a.part and s.attempt = a.attempt and s.instance = a.instance)
), answer as (
  update segments s
  set state = a.state,
      vendor_message_id = a.vendor_message_id,
      normalized_id = coalesce(nullif(a.normalized_id, ''), s.normalized_id),
      vendor_code = a.vendor_code,
      reason = a.reason,
      answered_at = now()
  from moved m, unnest($23::int[], $24::int[], $25::text[], $26::text[], $27::text[], $28::text[], $29::text[])
    as a (part, attempt, state, vendor_message_id, normalized_id, vendor_code, reason)
  where s.message_id = m.id and s.part = a.part and s.attempt = a.attempt and s.state in ('sending', 'in_doubt')
), notification as (
  insert into webhook_deliveries (id, event_id, account_id, endpoint_id, message_id, type, url, failover_url, payload)
  select n.id, n.event_id, m.account_id, n.endpoint_id, m.id, n.type, n.url, n.failover_url,
    replace(n.payload, '"sequence":-1', '"sequence":' || m.event_seq)
  from moved m, unnest($30::uuid[], $31::uuid[], $32::uuid[], $33::text[], $34::text[], $35::text[], $36::text[])
    as n (id, event_id, endpoint_id, type, url, failover_url, payload)
  on conflict do nothing
), due as (
  insert into webhooks_due (delivery_id, due_at)
  select n.id, now() + interval '60 seconds'
  from moved m, unnest($30::uuid[]) as n (id)
  on conflict do nothing
), settled as (
  delete from settlements_due d
  using moved m
  where d.message_id = m.id and $37
), started as (
  delete from starts s
  using moved m
  where s.message_id = m.id and $38
)
select w.status, coalesce(m.event_seq, w.event_seq), m.id is not null
from was w
left join moved m on true`

// Advance writes a Change in one transaction, shared with others, and returns
// after the commit. A message that is not there is ReasonNotFound. When the
// status does not allow the change nothing is written and Changed is false:
// the caller looks at Was to tell a repetition from a refusal. An attempt that
// another process has journalled is an error.
func (db *DB) Advance(ctx context.Context, c message.Change) (message.Advanced, error) {
	for range maxConflicts {
		out, err := db.advanceOnce(ctx, c)
		if err != nil || out.Changed {
			return out, err
		}
		// Another process may have moved the message while the statement waited
		// for the row: Was is then older than what refused the change.
		was := ""
		if err := db.pool.QueryRow(ctx, selectStatus, c.MessageID).Scan(&was, &out.Sequence); err != nil {
			return message.Advanced{}, fmt.Errorf("advance %s to %q: %w", c.MessageID, c.To, err)
		}
		out.Was = message.Status(was)
		if c.To == "" || !out.Was.CanBecome(c.To) {
			return out, nil
		}
	}
	return message.Advanced{}, fmt.Errorf("advance %s to %q: its status does not stay", c.MessageID, c.To)
}

const selectStatus = `
select status, event_seq
from messages
where id = $1`

func (db *DB) advanceOnce(ctx context.Context, c message.Change) (message.Advanced, error) {
	var out message.Advanced
	found := false
	err := db.one(ctx, c.MessageID, advance, func(rows pgx.Rows) error {
		found = false
		for rows.Next() {
			found = true
			if err := rows.Scan(&out.Was, &out.Sequence, &out.Changed); err != nil {
				return err
			}
		}
		return rows.Err()
	}, advanceArgs(c)...)
	if sqlState(err) == uniqueViolation {
		err = fmt.Errorf("another process has journalled an attempt of the same number: %w", err)
	}
	if err != nil {
		return message.Advanced{}, fmt.Errorf("advance %s to %q: %w", c.MessageID, c.To, err)
	}
	if !found {
		return message.Advanced{}, message.Refuse(message.ReasonNotFound, "no message %s", c.MessageID)
	}
	return out, nil
}

// statusesBefore gives the statuses that allow the change.
func statusesBefore(to message.Status) []string {
	from := message.Statuses()
	if to != "" {
		from = message.Before(to)
	}
	out := make([]string, len(from))
	for i, s := range from {
		out[i] = string(s)
	}
	return out
}

func pick[T, V any](list []T, of func(T) V) []V {
	out := make([]V, len(list))
	for i, v := range list {
		out[i] = of(v)
	}
	return out
}

func advanceArgs(c message.Change) []any {
	var reason, detail, code, stat, rerr *string
	if c.Error != nil {
		r, d := string(c.Error.Reason), storable(c.Error.Detail)
		reason, detail = &r, &d
	}
	code = orNull(storable(c.VendorCode))
	args := []any{c.MessageID, statusesBefore(c.To), orNull(string(c.To)),
		pick(c.Events, func(e message.Event) string { return string(e.Type) }),
		pick(c.Events, func(e message.Event) *string { return detailJSON(e.Detail) }),
		idOrNull(c.Vendor.ID), orNull(c.Vendor.Name), reason, detail, code}
	var price *int64
	if c.Price != nil {
		p := int64(c.Price.Amount)
		price = &p
	}
	args = append(args, price)
	if c.Receipt != nil {
		s, e := storable(c.Receipt.Stat), storable(c.Receipt.Err)
		stat, rerr = &s, &e
		args = append(args, stat, rerr, timeOrNull(c.Receipt.At))
	} else {
		args = append(args, stat, rerr, nil)
	}
	args = append(args, c.MaybeDoubled, c.Submitted, c.Delivered,
		pick(c.Attempts, func(a message.Attempt) int32 { return int32(a.Part) }),
		pick(c.Attempts, func(a message.Attempt) int32 { return int32(a.Number) }),
		pick(c.Attempts, func(a message.Attempt) message.ID { return a.Vendor.ID }),
		pick(c.Attempts, func(a message.Attempt) string { return a.Vendor.Name }),
		pick(c.Attempts, func(a message.Attempt) string { return a.Instance }),
		pick(c.Answers, func(a message.Answer) int32 { return int32(a.Part) }),
		pick(c.Answers, func(a message.Answer) int32 { return int32(a.Attempt) }),
		pick(c.Answers, func(a message.Answer) string { return string(a.State) }),
		pick(c.Answers, func(a message.Answer) string { return storable(a.VendorMessageID) }),
		pick(c.Answers, func(a message.Answer) string { return storable(a.NormalizedID) }),
		pick(c.Answers, func(a message.Answer) string { return storable(a.VendorCode) }),
		pick(c.Answers, func(a message.Answer) string { return string(a.Reason) }),
		pick(c.Notifications, func(n message.Notification) message.ID { return n.ID }),
		pick(c.Notifications, func(n message.Notification) message.ID { return n.EventID }),
		pick(c.Notifications, func(n message.Notification) *message.ID { return idOrNull(n.EndpointID) }),
		pick(c.Notifications, func(n message.Notification) string { return n.Type }),
		pick(c.Notifications, func(n message.Notification) string { return n.URL }),
		pick(c.Notifications, func(n message.Notification) string { return n.FailoverURL }),
		pick(c.Notifications, func(n message.Notification) string { return n.Payload }),
		c.Settled, c.Started)
	return args
}

func detailJSON(detail map[string]any) *string {
	if len(detail) == 0 {
		return nil
	}
	b, err := json.Marshal(detail)
	if err != nil {
		b, _ = json.Marshal(map[string]string{"unreadable": err.Error()})
	}
	s := withoutNUL(string(b))
	return &s
}
