package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const selectUnrouted = `
select` + keptColumns + `
from inbound_messages
where account_id is null and parts <= 1 and id = $1`

const selectUnroutedFrom = `
select` + keptColumns + `
from inbound_messages
where account_id is null and parts <= 1 and id > $1
order by id
limit $2`

const selectUnroutedToFrom = `
select` + keptColumns + `
from inbound_messages
where account_id is null and parts <= 1 and to_addr = $3 and id > $1
order by id
limit $2`

// UnroutedMessage reads a message to a number that was nobody's; ReasonNotFound when
// there is none.
func (db *DB) UnroutedMessage(ctx context.Context, id message.ID) (message.Unrouted, error) {
	list, err := db.openInbound(ctx, db.pool, selectUnrouted, id)
	switch {
	case err != nil:
		return message.Unrouted{}, fmt.Errorf("read inbound message %s: %w", id, err)
	case len(list) == 0:
		return message.Unrouted{}, message.Refuse(message.ReasonNotFound, "no inbound message %s waits for an owner", id)
	}
	return list[0], nil
}

// UnroutedMessages reads messages to numbers that were nobody's, oldest first, from
// behind one: those to one number as it is kept, or, when that is empty, to all.
func (db *DB) UnroutedMessages(ctx context.Context, number message.Address, after message.ID, limit int) ([]message.Unrouted, error) {
	sql, args := selectUnroutedFrom, []any{after, limit}
	if number != "" {
		sql, args = selectUnroutedToFrom, append(args, storable(string(number)))
	}
	list, err := db.openInbound(ctx, db.pool, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read inbound messages: %w", err)
	}
	return list, nil
}

// takeUnrouted gives a message to its account, unless it is somebody's.
const takeUnrouted = `
update inbound_messages
set account_id = $2,
    keyword = $3,
    keyword_action = $4,
    for_human = for_human or $5,
    event_seq = event_seq + 1
where id = $1 and account_id is null and parts <= 1
returning event_seq`

const selectExists = `
select exists (
  select
  from inbound_messages
  where id = $1)`

// insertRedriven puts it into the record and the outbox.
//
//	$1 id  $2 account  $3 kind  $4 from  $5 to  $6 body  $7 encoding  $8 segments
//	$9 class  $10 delivery  $11 vendor  $12 its name  $13 its kind  $14 valid until
//	$15 received at  $16 data_coding  $17 header  $18 parts missing  $19 number of its last event
const insertRedriven = `
with recorded as (
  insert into messages (
    id, account_id, direction, kind, status, from_addr, to_addr, body, encoding, segments, message_class, delivery, vendor_id, vendor_name,
    possible_duplicate, edge, expires_at, created_at, updated_at, data_coding, user_data_header, complete, event_seq)
  select $1::uuid, $2::uuid, 'inbound', $3::text, 'accepted', $4::text, $5::text, $6::bytea, $7::text, $8::integer, $9::text, $10::text, $11::uuid, $12::text,
    repeat_of is not null, $13::text, $14::timestamptz, greatest($15::timestamptz, clock_timestamp()), now(), $16::smallint, $17::bytea, $18::integer = 0, $19::integer
  from inbound_messages
  where id = $1
)
insert into inbound_starts (message_id, account_id)
values ($1, $2)`

// Redrive gives a message that was nobody's to its account: it is in the record and in
// the outbox then, and its keyword is done as that of a message that may be repeated.
// ReasonNotFound when there is no such message, ReasonConflict when it is somebody's.
func (db *DB) Redrive(ctx context.Context, by Actor, a message.Arrival) (message.Arrived, error) {
	var out message.Arrived
	err := db.inboundTx(ctx, func(tx pgx.Tx) (written []message.OptOut, err error) {
		out = message.Arrived{Start: startOfInbound(a)}
		if a.Act != nil {
			if err := lockPair(ctx, tx, a); err != nil {
				return nil, err
			}
		}
		if err := db.takeRedriven(ctx, tx, a, by); err != nil {
			return nil, err
		}
		if a.Act != nil {
			if written, err = db.act(ctx, tx, a, true, &out); err != nil {
				return nil, err
			}
		}
		return written, audit(ctx, tx, auditRow{by: by, action: "inbound.redrive", target: a.ID.String()}, nil, map[string]any{"account_id": a.AccountID})
	})
	if err != nil {
		return message.Arrived{}, fmt.Errorf("redrive %s: %w", a.ID, err)
	}
	return out, nil
}

func (db *DB) takeRedriven(ctx context.Context, tx pgx.Tx, a message.Arrival, by Actor) error {
	var sequence int
	err := tx.QueryRow(ctx, takeUnrouted, a.ID, a.AccountID, storable(a.Keyword), string(a.Action), a.ForHuman).Scan(&sequence)
	if errors.Is(err, pgx.ErrNoRows) {
		known := false
		if err := tx.QueryRow(ctx, selectExists, a.ID).Scan(&known); err != nil {
			return err
		}
		if !known {
			return message.Refuse(message.ReasonNotFound, "no inbound message %s", a.ID)
		}
		return message.Refuse(message.ReasonConflict, "the message is somebody's already")
	}
	if err != nil {
		return err
	}
	m := a.Message
	var header []byte
	if len(m.Header) > 0 {
		header = db.sealer.Seal(m.Header, headerPlace(a.ID))
	}
	if _, err := tx.Exec(ctx, insertRedriven, a.ID, a.AccountID, string(m.Kind), storable(string(m.From)), storable(string(m.To)), db.sealer.Seal([]byte(m.Body), a.ID[:]),
		string(m.Encoding), m.Segments, string(m.Class), string(m.Delivery), m.VendorID, m.Vendor, m.Edge, m.ExpiresAt, a.ReceivedAt, codingOrNull(m.DataCoding),
		header, a.Missing, sequence); err != nil {
		return err
	}
	// Its id may lie among those whose texts are gone already.
	if _, err := tx.Exec(ctx, insertTextsDue, []message.ID{a.ID}, []message.ID{a.AccountID}); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, insertInboundEvent, a.ID, sequence, string(message.EventStaffAction), detailJSON(map[string]any{"action": "redrive", "actor": by.Name}))
	return err
}
