package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// insertMM4Origins is the clause of an acceptance that writes what must be repeated to
// senders over MM4, for the messages that this statement stores.
const insertMM4Origins = `, given_mm4 as (
  select *
  from unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::boolean[], $8::boolean[])
  as g(message_id, peer_id, reference, sender, recipient, system, delivery_report, read_report)
), mm4_origin as (
  insert into mm4_origins (message_id, account_id, peer_id, reference, sender, recipient, system, delivery_report, read_report)
  select g.message_id, f.account_id, g.peer_id, g.reference, g.sender, g.recipient, g.system, g.delivery_report, g.read_report
  from given_mm4 g
  join fresh f on f.id = g.message_id
  join stored s on s.id = g.message_id
  on conflict do nothing
)`

// mm4Origins gives the acceptances whose senders over MM4 may be told more: a message
// that is refused was answered with its refusal, and that is all.
func mm4Origins(group []*acceptance) (list []*acceptance) {
	for _, i := range group {
		if i.MM4 != nil && (i.Message.Status == message.StatusAccepted || i.Message.Status == message.StatusScheduled) {
			list = append(list, i)
		}
	}
	return list
}

func mm4OriginColumns(list []*acceptance) []any {
	type a = *acceptance
	octets := func(of func(*message.MM4Origin) string) [][]byte {
		return column(list, func(i a) []byte { return []byte(of(i.MM4)) })
	}
	return []any{
		column(list, func(i a) message.ID { return i.Message.ID }),
		column(list, func(i a) message.ID { return i.MM4.PeerID }),
		octets(func(o *message.MM4Origin) string { return o.Reference }),
		octets(func(o *message.MM4Origin) string { return o.Sender }),
		octets(func(o *message.MM4Origin) string { return o.Recipient }),
		octets(func(o *message.MM4Origin) string { return o.System }),
		column(list, func(i a) bool { return i.MM4.DeliveryReport }),
		column(list, func(i a) bool { return i.MM4.ReadReport }),
	}
}

const insertMM4Origin = `
insert into mm4_origins (message_id, account_id, peer_id, reference, sender, recipient, system, delivery_report, read_report)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`

// keepMM4Origin writes what a vendor's MMSC wants to be told of an inbound message.
func keepMM4Origin(ctx context.Context, tx pgx.Tx, a message.Arrival) error {
	o := a.MM4
	if a.Message == nil || o == nil {
		return nil
	}
	_, err := tx.Exec(ctx, insertMM4Origin, a.ID, a.AccountID, o.PeerID, []byte(o.Reference), []byte(o.Sender), []byte(o.Recipient), []byte(o.System), o.DeliveryReport, o.ReadReport)
	return err
}

// oweInboundReport is the clause that owes a vendor over MM4 the delivery report that it
// has asked for, of the inbound messages in moved, which have their last status for now: one
// that has failed may arrive after all, and is reported again. As in writer.owedMM4 a peer
// that is gone is owed nothing. The interval is message.MM4ReportLife.
const oweInboundReport = `, owed as (
  insert into mm4_mails (id, peer_id, kind, message_id, status, expires_at)
  select gen_random_uuid(), p.id, 'delivery_report', m.id, m.status, now() + interval '72 hours'
  from moved m
  cross join lateral (
    select o.peer_id
    from mm4_origins o
    where o.message_id = m.id and o.delivery_report
    offset 0
  ) o
  cross join lateral (
    select p.id
    from mm4_peers p
    where p.id = o.peer_id
    for key share
  ) p
  on conflict do nothing
  returning id
)`
