package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// registeredMask holds the bits of registered_delivery that ask for something
// (SMPP 3.4 §5.2.17); message.SMPPOrigin looks at no others.
const registeredMask = 0x13

// owed adds the deliver_sm that a sender over SMPP has asked for about the new
// status: its receipt, or the notice that it was sent. There is one of each for a
// status and an origin, so a late receipt after `unconfirmed` makes a second one. A
// credential that is gone is owed nothing.
func (w *writer) owed(c message.Change) {
	kind := message.DeliverReceipt
	if c.To == message.StatusSent {
		kind = message.DeliverNotice
	}
	wanted := wishes(kind, c.To)
	if len(wanted) == 0 {
		return
	}
	w.clause("owed", `insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, ordinal, expires_at)
  select case o.ordinal when 0 then `+w.arg(message.NewID(), "uuid")+" else gen_random_uuid() end, o.credential_id, m.account_id, m.id, "+
		w.arg(string(kind), "text")+", "+w.arg(string(c.To), "text")+`, o.ordinal,
    now() + c.mo_lifetime_seconds * interval '1 second'
  from moved m
  join smpp_origins o on o.message_id = m.id
  join smpp_credentials c on c.id = o.credential_id
  where o.registered & `+w.arg(int16(registeredMask), "smallint")+" = any("+w.arg(wanted, "smallint[]")+`)
  on conflict do nothing
  returning id`)
	w.owes = true
}

// wishes lists the values of the registered_delivery bits that ask for this kind
// of deliver_sm about the status.
func wishes(kind message.DeliveryKind, s message.Status) []int16 {
	var wanted []int16
	for bits := byte(0); bits <= registeredMask; bits++ {
		o := message.SMPPOrigin{Registered: bits}
		if bits&registeredMask == bits && (kind == message.DeliverNotice && o.WantsNotice() || kind == message.DeliverReceipt && o.WantsReceipt(s)) {
			wanted = append(wanted, int16(bits))
		}
	}
	return wanted
}

// claimDeliveries takes what is due for each credential, parks what must wait for
// the message before it, and ends what has expired for anyone. Rows that another
// process is looking at, and those that it ends, are skipped and never waited for,
// so it is in nobody's way. A delivery waits for the earlier ones of its message and
// origin, and of its conversation.
//
// However much waits, a claim looks at claimDepth rows of a kind beyond those that
// it takes. What it finds behind a message that waits for its retry it takes out of
// the way of the next claim.
//
//	$1 instance  $2 credentials  $3 limit of each  $4 lease
const claimDeliveries = `
with expired as (
  select d.id
  from smpp_deliveries d
  join messages m on m.id = d.message_id
  where d.state = 'pending' and d.expires_at <= now() and (d.claimed_until is null or d.claimed_until <= now())
  order by d.expires_at
  limit 100
  for update skip locked
), ended as (
  update smpp_deliveries d
  set state = 'expired', done_at = now(), claimed_by = null, claimed_until = null
  from expired e
  where d.id = e.id
  returning d.message_id, d.created_at, d.kind, d.state, jsonb_build_object('kind', d.kind, 'state', d.state, 'attempts', d.attempts) as detail
)` + tellEnded + `, due as materialized (
  select d.id
  from unnest($2::uuid[], $3::integer[]) as w (credential_id, most)
  cross join lateral (
    select id
    from (
      select *
      from (
        select c.id, c.created_at
        from (
          select d.id, d.created_at
          from smpp_deliveries d
          where d.credential_id = w.credential_id and d.state = 'pending' and d.attempts = 0 and not d.parked` + mayBeClaimed + `
          order by d.created_at, d.id
          limit w.most + ` + claimDepth + `
        ) c` + isNext + `
        order by c.created_at, c.id
        limit w.most
      ) untried
      union all
      select *
      from (
        select c.id, c.created_at
        from (
          select d.id, d.created_at, d.due_at
          from smpp_deliveries d
          where d.credential_id = w.credential_id and d.state = 'pending' and (d.attempts > 0 or d.parked)` + mayBeClaimed + `
          order by d.due_at
          limit w.most + ` + claimDepth + `
        ) c` + isNext + `
        order by c.due_at
        limit w.most
      ) tried
    ) both_kinds
    order by created_at, id
    limit w.most
  ) d
), behind as materialized (
  select l.id, f.until
  from unnest($2::uuid[], $3::integer[]) as w (credential_id, most)
  cross join lateral (
    select *
    from (
      select d.id, d.conversation, d.created_at, d.parked
      from smpp_deliveries d
      where d.credential_id = w.credential_id and d.state = 'pending' and d.attempts = 0 and not d.parked and d.conversation is not null` + isFree + `
      order by d.created_at, d.id
      limit w.most + ` + claimDepth + `
    ) untried
    union all
    select *
    from (
      select d.id, d.conversation, d.created_at, true
      from smpp_deliveries d
      where d.credential_id = w.credential_id and d.state = 'pending' and (d.attempts > 0 or d.parked)` + isFree + `
      order by d.due_at
      limit w.most + ` + claimDepth + `
    ) tried
  ) c
  cross join lateral (
    select greatest(least(e.due_at + interval '1 millisecond', e.expires_at), now() + interval '30 seconds') as until
    from (
      select e.due_at, e.expires_at
      from smpp_deliveries e
      where e.conversation = c.conversation and e.done_at is null and e.expires_at > now() and (e.created_at, e.id) < (c.created_at, c.id)
      order by e.created_at, e.id
      limit 1
    ) e
    where c.parked or e.due_at > now()
  ) f
  cross join lateral (
    select d.id
    from smpp_deliveries d
    where d.id = c.id and d.done_at is null` + isFree + `
    for update skip locked
  ) l
), parked as (
  update smpp_deliveries d
  set parked = true, due_at = b.until
  from unnest(array(select id from behind order by id), array(select until from behind order by id)) as b (id, until)
  where d.id = b.id
), claimed as (
  update smpp_deliveries d
  set claimed_by = $1, claimed_until = now() + $4::interval
  from due
  where d.id = due.id
  returning d.id, d.credential_id, d.message_id, d.kind, d.status, d.attempts, d.expires_at, d.created_at, d.ordinal
)
select d.id, d.credential_id, d.kind, d.status, d.attempts, d.expires_at, d.created_at,
  (select e.at from message_events e where e.message_id = d.message_id and e.type = d.status order by e.sequence desc limit 1),` + originFields + `, m.*
from claimed d
cross join lateral (
  select` + messageColumns + `
  from messages
  where id = d.message_id
) m
left join smpp_origins o on o.message_id = d.message_id and o.ordinal = d.ordinal
order by d.created_at, d.id`

// tellEnded is the clause that gives each delivery of ended its line in its message's
// timeline. Who sends over MM4 finds what is owed by it when he next looks.
const tellEnded = `, told as (
  select message_id, kind, state, detail, row_number() over (partition by message_id order by created_at) as number
  from ended
)` + arrives

// arrives gives each delivery of told its line in its message's timeline, and the message
// what that makes of it: an inbound one has arrived with the first that an ESME took. When
// this is its only destination, and has no fall-back, it has failed with it, and is left in
// the store when nobody came for it; in all other cases its workflow sees to that. Who
// handed it in over MM4 is owed the report.
const arrives = `, counted as (
  update messages m
  set event_seq = m.event_seq + t.lines,
      status = case when t.taken and m.status in ('accepted', 'failed') or t.kept and m.status = 'accepted' then 'delivered'
        when t.lost and m.status = 'accepted' then 'failed' else m.status end,
      delivered_at = case when t.taken and m.status in ('accepted', 'failed') then coalesce(m.delivered_at, now()) else m.delivered_at end,
      updated_at = case when t.taken or t.kept or t.lost then now() else m.updated_at end
  from (
    select g.message_id, g.lines, g.taken, g.expired and o.sole as kept, g.failed and o.sole as lost
    from (
      select message_id, count(*)::integer as lines,
        bool_or(kind = 'message' and state = 'delivered') as taken,
        bool_or(kind = 'message' and state = 'expired') as expired,
        bool_or(kind = 'message' and state = 'failed') as failed
      from told
      group by message_id
    ) g
    cross join lateral (
      select (g.expired or g.failed) and (
        select count(*) = 1 and bool_and(i.fallback is null)
        from inbound_deliveries i
        where i.message_id = g.message_id) as sole
      offset 0
    ) o
  ) t
  where m.id = t.message_id
  returning m.id, m.event_seq - t.lines as sequence, m.status, t.taken or t.kept or t.lost as arrived
), event as (
  insert into message_events (message_id, sequence, at, type, detail)
  select c.id, c.sequence + t.number, clock_timestamp(), 'deliver_sm_attempt', t.detail
  from counted c
  join told t on t.message_id = c.id
), moved as (
  select id, status
  from counted
  where arrived
)` + oweInboundReport

// claimDepth is how many rows of a kind a claim looks at that it may not take.
const claimDepth = `1000`

// mayBeClaimed asks a row whether it is due, as far as it knows itself.
const mayBeClaimed = isFree + ` and d.expires_at > now()`

const isFree = `
            and d.due_at <= now() and (d.claimed_until is null or d.claimed_until <= now())`

// isNext locks a candidate c that has nothing to wait for. It asks whether rows are
// done, and not for their state, which means the same: with the state, on a young
// table, each would be looked up among all that is pending, and the plan is kept
// when the table has grown.
const isNext = `
        cross join lateral (
          select
          from smpp_deliveries d
          where d.id = c.id and d.done_at is null` + mayBeClaimed + `
            and not exists (
              select
              from smpp_deliveries e
              where e.message_id = d.message_id and e.credential_id = d.credential_id and e.ordinal = d.ordinal and e.done_at is null and e.expires_at > now()
                and (e.created_at, e.id) < (d.created_at, d.id)
              offset 0)
            and not exists (
              select
              from smpp_deliveries e
              where e.conversation = d.conversation and e.done_at is null and e.expires_at > now()
                and (e.created_at, e.id) < (d.created_at, d.id)
              offset 0)
          for update skip locked
        ) l`

// ClaimDeliveries takes deliveries that are due for the credentials, oldest first
// and at most so many of each as wanted says, and keeps other processes off them
// for the lease; a claim that was neither recorded nor released lapses then. When
// more than the limit are due once more, those whose time came first are taken.
// Deliveries whose time is over end here, at most 100 a call and whoever they are
// for; with nothing wanted that is all. A message whose text cannot be opened is
// left out and named by the error that comes beside the others: they are claimed
// all the same.
func (db *DB) ClaimDeliveries(ctx context.Context, instance string, wanted map[message.ID]int, lease time.Duration) ([]message.SMPPDelivery, error) {
	credentials, limits := make([]message.ID, 0, len(wanted)), make([]int32, 0, len(wanted))
	for id, n := range wanted {
		if n > 0 {
			credentials, limits = append(credentials, id), append(limits, int32(n))
		}
	}
	rows, err := db.pool.Query(ctx, claimDeliveries, instance, credentials, limits, lease)
	if err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	defer rows.Close()
	var list []message.SMPPDelivery
	var unread []error
	for rows.Next() {
		var d message.SMPPDelivery
		var o originRow
		var kind, status string
		var at *time.Time
		targets := append([]any{&d.ID, &d.CredentialID, &kind, &status, &d.Attempts, &d.ExpiresAt, &d.CreatedAt, &at}, o.targets()...)
		m, err := db.scanMessage(wideRow{rows, targets})
		if err != nil {
			unread = append(unread, fmt.Errorf("delivery %s: %w", d.ID, err))
			continue
		}
		d.Kind, d.Status = message.DeliveryKind(kind), message.Status(status)
		d.Message, d.Origin, d.FinalAt = *m, o.origin(m.ID), m.UpdatedAt
		if at != nil {
			d.FinalAt = *at
		}
		list = append(list, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	var inbound []*message.Message
	for i := range list {
		if list[i].Kind == message.DeliverMessage {
			inbound = append(inbound, &list[i].Message)
		}
	}
	if err := db.fillMedia(ctx, inbound); err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err) // they are free again when the claim ends
	}
	return list, errors.Join(unread...)
}

// recordDelivered writes tries of different deliveries. One that was recorded before
// changes nothing, nor does one whose claim has lapsed and is another process's by
// now: that process has it under way, and its claim stays. What was delivered counts
// whoever says so and whatever was thought of it: the customer has it, and each
// further try would double it.
//
// The message that waits for one that is done with is looked at by the next claim.
//
//	$8 instance
const recordDelivered = `
with given as (
  select *
  from unnest($1::uuid[], $2::integer[], $3::text[], $4::double precision[], $5::bigint[], $6::text[], $7::jsonb[])
    with ordinality as g (id, number, state, again, status, error, detail, ord)
), tried as (
  update smpp_deliveries d
  set attempts = greatest(d.attempts, g.number),
      state = g.state,
      last_status = g.status,
      last_error = g.error,
      due_at = now() + g.again * interval '1 second',
      claimed_by = null,
      claimed_until = null,
      done_at = case when g.state <> 'pending' then now() end
  from given g
  where d.id = g.id
    and case when g.state = 'delivered' then d.state <> 'delivered' else d.state = 'pending' and d.attempts < g.number and coalesce(d.claimed_by, $8::text) = $8 end
  returning d.message_id, d.conversation, d.created_at, d.id, d.kind, d.state, g.detail, g.ord
), freed as (
  update smpp_deliveries d
  set due_at = now()
  from tried t
  cross join lateral (
    select e.id
    from smpp_deliveries e
    where e.conversation = t.conversation and e.done_at is null and (e.created_at, e.id) > (t.created_at, t.id)
    order by e.created_at, e.id
    limit 1
  ) next
  where t.state <> 'pending' and d.id = next.id and d.parked and d.id <> all ($1)
), told as (
  select message_id, kind, state, detail, row_number() over (partition by message_id order by ord) as number
  from tried
)` + arrives + `
select exists (select from owed)`

// maxTries bounds how many tries share a statement.
const maxTries = 256

// Delivered records what became of tries that the instance made, with a line in
// each message's timeline, and ends their claims. A try that is recorded twice counts
// once, and one whose claim has gone over to another instance only if it delivered.
func (db *DB) Delivered(ctx context.Context, instance string, tries []message.SMPPDelivered) error {
	for len(tries) > 0 {
		n := distinct(tries)
		if err := db.delivered(ctx, instance, tries[:n]); err != nil {
			return err
		}
		tries = tries[n:]
	}
	return nil
}

// distinct is how many of the first tries may share a statement: it changes a
// row once.
func distinct(tries []message.SMPPDelivered) int {
	seen := make(map[message.ID]bool, min(len(tries), maxTries))
	for i, t := range tries {
		if i == maxTries || seen[t.ID] {
			return i
		}
		seen[t.ID] = true
	}
	return len(tries)
}

func (db *DB) delivered(ctx context.Context, instance string, tries []message.SMPPDelivered) error {
	type t = message.SMPPDelivered
	owes := false
	err := db.one(ctx, tries[0].MessageID, recordDelivered, flag(&owes),
		pick(tries, func(d t) message.ID { return d.ID }),
		pick(tries, func(d t) int32 { return int32(d.Number) }),
		pick(tries, func(d t) string { return string(d.State) }),
		pick(tries, func(d t) float64 { return d.Again.Seconds() }),
		pick(tries, func(d t) int64 { return int64(d.Status) }),
		pick(tries, func(d t) string { return storable(d.Error) }),
		pick(tries, deliveredDetail),
		instance)
	if err != nil {
		return fmt.Errorf("record %d tries of deliver_sm: %w", len(tries), err)
	}
	if owes {
		db.owedMM4()
	}
	return nil
}

func deliveredDetail(d message.SMPPDelivered) *string {
	detail := map[string]any{"kind": d.Kind, "attempt": d.Number, "state": d.State}
	if d.Error != "" {
		detail["error"] = d.Error
	} else {
		detail["command_status"] = answerName(d.Status)
	}
	return detailJSON(detail)
}

// answerName is the command_status of a deliver_sm_resp as a person reads it: the
// names of those that a receiver gives (SMPP 3.4 §5.1.3), else the number.
func answerName(status uint32) string {
	if name, ok := answerNames[status]; ok {
		return name
	}
	return fmt.Sprintf("0x%08X", status)
}

var answerNames = map[uint32]string{
	0x00: "ROK", 0x01: "RINVMSGLEN", 0x02: "RINVCMDLEN", 0x03: "RINVCMDID", 0x04: "RINVBNDSTS", 0x08: "RSYSERR", 0x0A: "RINVSRCADR",
	0x0B: "RINVDSTADR", 0x14: "RMSGQFUL", 0x43: "RINVESMCLASS", 0x58: "RTHROTTLED", 0x64: "RX_T_APPN", 0x65: "RX_P_APPN", 0x66: "RX_R_APPN",
	0xFE: "RDELIVERYFAILURE", 0xFF: "RUNKNOWNERR",
}

const releaseDeliveries = `
update smpp_deliveries
set claimed_by = null, claimed_until = null
where id = any($1::uuid[]) and state = 'pending' and claimed_by = $2`

// ReleaseDeliveries gives the instance's claims back untried: the next to ask may
// have them. A claim that has gone over to another instance stays.
func (db *DB) ReleaseDeliveries(ctx context.Context, instance string, ids []message.ID) error {
	if _, err := db.pool.Exec(ctx, releaseDeliveries, ids, instance); err != nil {
		return fmt.Errorf("release %d deliveries: %w", len(ids), err)
	}
	return nil
}
