package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// insertOrigins is the clause of an acceptance that writes what the senders over
// SMPP are owed, for the messages that this statement stores. Its parameters, as
// those of the clauses after it, count from 1 and are moved to their place.
const insertOrigins = `, given_origin as (
  select *
  from unnest(
    $1::uuid[], $2::uuid[], $3::smallint[], $4::smallint[], $5::smallint[], $6::bytea[], $7::smallint[], $8::smallint[], $9::bytea[],
    $10::bytea[], $11::text[], $12::smallint[], $13::smallint[])
  as g(message_id, credential_id, registered, source_ton, source_npi, source, dest_ton, dest_npi, dest, reference, answer_id, ordinal, data_coding)
), origin as (
  insert into smpp_origins (
    message_id, account_id, credential_id, registered, source_ton, source_npi, source, dest_ton, dest_npi, dest, reference, answer_id, ordinal,
    data_coding)
  select
    g.message_id, f.account_id, g.credential_id, g.registered, g.source_ton, g.source_npi, g.source, g.dest_ton, g.dest_npi, g.dest, g.reference, g.answer_id,
    g.ordinal, g.data_coding
  from given_origin g
  join fresh f on f.id = g.message_id
  join stored s on s.id = g.message_id
  on conflict do nothing
)`

// insertOwed is the clause of an acceptance that writes the receipts of messages
// which were refused or have failed after their parts had been answered. What is
// owed says $1: the registered_delivery values that want such a receipt.
const insertOwed = `, owed as (
  insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, ordinal, expires_at)
  select gen_random_uuid(), g.credential_id, f.account_id, f.id, 'receipt', f.status, g.ordinal, now() + c.mo_lifetime_seconds * interval '1 second'
  from given_origin g
  join fresh f on f.id = g.message_id
  join stored s on s.id = g.message_id
  join smpp_credentials c on c.id = g.credential_id
  where f.status in ('rejected', 'failed') and g.registered & $2::smallint = any($1::smallint[])
  on conflict do nothing
)`

// insertTold is the clause of an acceptance that writes what the customers'
// webhooks are told of the same messages. Nobody works on those whose first event is
// their end, so they are overdue from the start: the next sweep takes them. Whoever has
// accepted a message makes the first try of the others; if he dies, the sweep takes
// them half a minute later.
const insertTold = `, given_told as (
  select *
  from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
  as g(id, message_id, event_id, endpoint_id, type, url, failover_url, payload, format, method)
), told as (
  insert into webhook_deliveries (id, event_id, account_id, endpoint_id, message_id, type, url, failover_url, payload, format, method)
  select g.id, g.event_id, f.account_id, g.endpoint_id, g.message_id, g.type, g.url, g.failover_url, g.payload, g.format, g.method
  from given_told g
  join fresh f on f.id = g.message_id
  join stored s on s.id = g.message_id
  on conflict do nothing
  returning id
), told_due as (
  insert into webhooks_due (delivery_id, due_at)
  select t.id, now() - case when f.status = 'accepted' then interval '30 seconds' else interval '1 hour' end
  from told t
  join given_told g on g.id = t.id
  join fresh f on f.id = g.message_id
  on conflict do nothing
)`

// firstNotification is what is told of the first line of a timeline.
func firstNotification(i *acceptance, n message.Notification) message.Notification {
	n.MessageID, n.EventID = i.Message.ID, message.EventID(i.Message.ID, 1)
	n.Payload = message.Filled(n.Payload, 1, i.Message.CreatedAt)
	return n
}

func toldColumns(group []*acceptance) []any {
	var list []message.Notification
	for _, i := range group {
		for _, n := range i.Notifications {
			list = append(list, firstNotification(i, n))
		}
	}
	texts := func(of func(message.Notification) string) []string { return pick(list, of) }
	return []any{
		pick(list, func(n message.Notification) message.ID { return n.ID }),
		pick(list, func(n message.Notification) message.ID { return n.MessageID }),
		pick(list, func(n message.Notification) message.ID { return n.EventID }),
		pick(list, func(n message.Notification) *message.ID { return idOrNull(n.EndpointID) }),
		texts(func(n message.Notification) string { return n.Type }),
		texts(func(n message.Notification) string { return n.URL }),
		texts(func(n message.Notification) string { return n.FailoverURL }),
		texts(func(n message.Notification) string { return n.Payload }),
		texts(func(n message.Notification) string { return n.Format }),
		texts(func(n message.Notification) string { return orElse(n.Method, "POST") }),
	}
}

// answer is an origin with the message that it belongs to.
type answer struct {
	message *message.Message
	origin  *message.SMPPOrigin
	ordinal int16 // 0: the message's own
}

// answersOwed gives the origins of the acceptances whose senders are owed
// something: a message that is refused was answered with its refusal, and that is
// all. refused reports whether there are some that were answered before.
func answersOwed(group []*acceptance) (owed []answer, refused bool) {
	for _, i := range group {
		goesOn := i.Message.Status == message.StatusAccepted || i.Message.Status == message.StatusScheduled
		if i.Origin == nil || !goesOn && !i.Owed {
			continue
		}
		refused = refused || !goesOn
		owed = append(owed, answer{message: i.Message, origin: i.Origin})
		for n := range i.More {
			owed = append(owed, answer{message: i.Message, origin: &i.More[n], ordinal: int16(n + 1)})
		}
	}
	return owed, refused
}

func originColumns(list []answer) []any {
	octet := func(of func(*message.SMPPOrigin) byte) []int16 {
		return pick(list, func(a answer) int16 { return int16(of(a.origin)) })
	}
	return []any{
		pick(list, func(a answer) message.ID { return a.message.ID }),
		pick(list, func(a answer) message.ID { return a.origin.CredentialID }),
		octet(func(o *message.SMPPOrigin) byte { return o.Registered }),
		octet(func(o *message.SMPPOrigin) byte { return o.Source.TON }),
		octet(func(o *message.SMPPOrigin) byte { return o.Source.NPI }),
		pick(list, func(a answer) []byte { return []byte(a.origin.Source.Text) }),
		octet(func(o *message.SMPPOrigin) byte { return o.Dest.TON }),
		octet(func(o *message.SMPPOrigin) byte { return o.Dest.NPI }),
		pick(list, func(a answer) []byte { return []byte(a.origin.Dest.Text) }),
		pick(list, func(a answer) []byte { return a.origin.Reference }),
		pick(list, func(a answer) *string {
			if a.origin.AnswerID == message.Hex32(a.message.ID) {
				return nil
			}
			return &a.origin.AnswerID
		}),
		pick(list, func(a answer) int16 { return a.ordinal }),
		pick(list, func(a answer) *int16 {
			if a.origin.Coding == nil {
				return nil
			}
			c := int16(*a.origin.Coding)
			return &c
		}),
	}
}

const originFields = `
  o.credential_id, o.registered, o.source_ton, o.source_npi, o.source, o.dest_ton, o.dest_npi, o.dest, o.reference, o.answer_id, o.data_coding`

// originRow takes originFields. All are null when a message has no origin.
type originRow struct {
	credential                                         *message.ID
	registered, sourceTON, sourceNPI, destTON, destNPI *int16
	source, dest, reference                            []byte
	answer                                             *string
	coding                                             *int16
}

func (r *originRow) targets() []any {
	return []any{&r.credential, &r.registered, &r.sourceTON, &r.sourceNPI, &r.source, &r.destTON, &r.destNPI, &r.dest, &r.reference, &r.answer, &r.coding}
}

// origin gives the origin of the message with this id, zero when it has none.
func (r *originRow) origin(id message.ID) message.SMPPOrigin {
	if r.credential == nil {
		return message.SMPPOrigin{}
	}
	octet := func(n *int16) byte { return byte(orZero(n)) }
	o := message.SMPPOrigin{CredentialID: *r.credential, Registered: octet(r.registered), Reference: r.reference, AnswerID: message.Hex32(id),
		Source: message.SMPPAddress{TON: octet(r.sourceTON), NPI: octet(r.sourceNPI), Text: string(r.source)},
		Dest:   message.SMPPAddress{TON: octet(r.destTON), NPI: octet(r.destNPI), Text: string(r.dest)}}
	if r.answer != nil {
		o.AnswerID = *r.answer
	}
	if r.coding != nil {
		c := byte(*r.coding)
		o.Coding = &c
	}
	return o
}

// wideRow is a row that has other columns before those of a message.
type wideRow struct {
	pgx.CollectableRow
	before []any // where they go
}

// Scan fills the row's own targets, then dest.
func (r wideRow) Scan(dest ...any) error {
	return r.CollectableRow.Scan(slices.Concat(r.before, dest)...)
}

const (
	// mostAnswered bounds what one id may find: a batch has 254 recipients at most.
	mostAnswered = 256
	// batchTime is longer than a submit_multi can take. The 8 digits of an old peer's
	// ids come round again; what is older than the newest by so much was another
	// submit.
	batchTime = 5 * time.Minute
)

// selectAnswered finds the messages of the credential's account. The newest of
// too many stay.
const selectAnswered = `
with found as (
  select o.*
  from smpp_origins o
  where o.account_id = (select account_id from smpp_credentials where id = $1) and o.answer_id = $2
  union all
  select o.*
  from smpp_origins o
  where o.message_id = $3 and o.answer_id is null and o.account_id = (select account_id from smpp_credentials where id = $1)
  order by message_id desc
  limit $4
)
select` + originFields + `,
  exists (select from smpp_origins p where p.message_id = o.message_id and p.ordinal > 0), m.*
from found o
cross join lateral (
  select` + messageColumns + `
  from messages
  where id = o.message_id
) m
order by o.message_id`

// Answered finds messages by the id that their submit was answered with, oldest
// first, each with its origin beside it: several when the id is a batch's. Only
// messages of the credential's account are found, whichever of its credentials
// they came through; ReasonNotFound when there is none. Of several submits with
// one short id the newest is found. The messages' parts are not filled in. A part
// whose message is not there yet is found as an accepted message of its own, with
// nothing in it but ids and time.
func (db *DB) Answered(ctx context.Context, credential message.ID, answerID string) ([]message.Message, []message.SMPPOrigin, error) {
	var own *message.ID
	if id, err := message.ParseID(answerID); err == nil && message.Hex32(id) == answerID {
		own = &id
	}
	rows, err := db.pool.Query(ctx, selectAnswered, credential, storable(answerID), own, mostAnswered)
	if err != nil {
		return nil, nil, fmt.Errorf("find the message of an answer: %w", err)
	}
	defer rows.Close()
	var list []message.Message
	var origins []message.SMPPOrigin
	for rows.Next() {
		var o originRow
		part := false
		m, err := db.scanMessage(wideRow{rows, append(o.targets(), &part)})
		if err != nil {
			return nil, nil, fmt.Errorf("find the message of an answer: %w", err)
		}
		origin := o.origin(m.ID)
		origin.Part = part
		list, origins = append(list, *m), append(origins, origin)
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("find the message of an answer: %w", err)
	}
	if len(list) == 0 {
		return db.answeredPart(ctx, credential, answerID)
	}
	older := 0
	for own == nil && list[len(list)-1].CreatedAt.Sub(list[older].CreatedAt) > batchTime {
		older++
	}
	return list[older:], origins[older:], nil
}

// selectBetween looks at what the account has under way: that is little beside
// what a pair has said to each other in years.
const selectBetween = `
with under_way as materialized (
  select message_id
  from backlog
  where account_id = (select account_id from smpp_credentials where id = $1)
)
select u.message_id
from under_way u
cross join lateral (
  select dest, source
  from smpp_origins
  where message_id = u.message_id and ordinal = 0
  offset 0 -- goes to each by its id
) o
cross join lateral (
  select status
  from messages
  where id = u.message_id
  offset 0
) m
where o.dest = any($2::bytea[]) and o.source = any($3::bytea[]) and m.status = any($4::text[])
order by u.message_id
limit $5`

// Between lists the messages of the credential's account from source to dest, as
// the ESME wrote them, that may still be withdrawn: oldest first, at most limit.
// A plus sign and the types of the numbers make no difference: peers leave them
// off in what is not a submit.
func (db *DB) Between(ctx context.Context, credential message.ID, source, dest message.SMPPAddress, limit int) ([]message.ID, error) {
	var may []string
	for _, s := range message.Statuses() {
		if s.Cancelable() {
			may = append(may, string(s))
		}
	}
	spelled := func(a message.SMPPAddress) [][]byte {
		bare := strings.TrimPrefix(a.Text, "+")
		return [][]byte{[]byte(bare), []byte("+" + bare)}
	}
	rows, err := db.pool.Query(ctx, selectBetween, credential, spelled(dest), spelled(source), may, limit)
	if err != nil {
		return nil, fmt.Errorf("list messages of a pair: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[message.ID])
}
