package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// repeatWithin is how long after a message without an id of the vendor's another one
// that says the same may be the same once more, sent again since the answer to the
// first was lost: the vendor waits for an answer for up to a minute, binds again and
// goes on. Such a message is kept, for people repeat themselves too.
const repeatWithin = 5 * time.Minute

// insertInbound keeps what a vendor sent, once if the vendor gave it an id.
//
//	$1 id  $2 account  $3 vendor  $4 the vendor's id  $5 fingerprint  $6 from  $7 to
//	$8 body  $9 raw  $10 header  $11 encoding  $12 data_coding  $13 alphabet
//	$14 reference  $15 part  $16 parts  $17 keyword  $18 action  $19 for a human
//	$20 received at  $21 timeline detail  $22 how long a repetition may come after
const insertInbound = `
with earlier as (
  select id
  from inbound_messages
  where $4 = '' and vendor_message_id = '' and fingerprint = $5 and id <> $1
    and received_at between $20::timestamptz - $22::interval and $20::timestamptz + $22::interval
  order by received_at, id
  limit 1
), stored as (
  insert into inbound_messages (
    id, account_id, vendor_id, vendor_message_id, fingerprint, from_addr, to_addr, body, raw, user_data_header, encoding, data_coding,
    alphabet, reference, part, parts, keyword, keyword_action, for_human, received_at, repeat_of)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, (select id from earlier))
  on conflict do nothing
  returning id, repeat_of
), event as (
  insert into message_events (message_id, sequence, at, type, detail)
  select id, 1, clock_timestamp(), 'received', $21
  from stored
), again as (
  update inbound_messages
  set seen = seen + 1
  where vendor_message_id <> '' and vendor_id = $3 and vendor_message_id = $4 and fingerprint = $5 and not exists (select from stored)
)
select repeat_of is not null
from stored`

// Inbound commits a message from a vendor, or a part of one, with what its keyword
// changes and the answer that is owed for that. What came before under the same id of
// the vendor is not stored again, and does nothing again.
func (db *DB) Inbound(ctx context.Context, a message.Arrival) (message.Arrived, error) {
	args := db.inboundArgs(a)
	if a.Act == nil {
		return db.inboundAlone(ctx, a, args)
	}
	var out message.Arrived
	var written []message.OptOut
	var err error
	for range maxConflicts {
		err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) (err error) {
			out = message.Arrived{}
			written, err = db.inboundTx(ctx, tx, a, args, &out)
			return err
		})
		if !conflicted(err) {
			break
		}
	}
	if err != nil {
		return message.Arrived{}, fmt.Errorf("inbound %s: %w", a.ID, err)
	}
	db.optedOut(written)
	return out, nil
}

// inboundAlone commits a message that does nothing, with others.
func (db *DB) inboundAlone(ctx context.Context, a message.Arrival, args []any) (message.Arrived, error) {
	var out message.Arrived
	// The lane is chosen by what is said: what says the same stays in order.
	err := db.groups.do(ctx, args[4].([]byte), &statement{sql: insertInbound, args: args, read: func(rows pgx.Rows) error {
		out.Again = true
		for rows.Next() {
			out.Again = false
		}
		return rows.Err()
	}})
	if err != nil {
		return message.Arrived{}, fmt.Errorf("inbound %s: %w", a.ID, err)
	}
	return out, nil
}

func (db *DB) inboundTx(ctx context.Context, tx pgx.Tx, a message.Arrival, args []any, out *message.Arrived) ([]message.OptOut, error) {
	if err := lockPair(ctx, tx, a); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, insertInbound, args...)
	if err != nil {
		return nil, err
	}
	fresh, err := pgx.CollectRows(rows, pgx.RowTo[bool])
	if err != nil {
		return nil, err
	}
	if len(fresh) == 0 {
		out.Again = true
		return nil, nil
	}
	return db.act(ctx, tx, a, fresh[0], out)
}

func (db *DB) inboundArgs(a message.Arrival) []any {
	var body, raw, header []byte
	if a.Encoding != message.EncodingBinary {
		body = db.sealer.Seal([]byte(a.Text), a.ID[:])
	}
	if a.Raw != nil {
		raw = db.sealer.Seal(a.Raw, rawPlace(a.ID))
	}
	if len(a.Header) > 0 {
		header = db.sealer.Seal(a.Header, headerPlace(a.ID))
	}
	detail := map[string]any{"vendor_id": a.VendorID}
	if !a.Whole() {
		detail["part"], detail["parts"] = a.Part, a.Parts
	}
	if a.Action != message.KeywordNone {
		detail["keyword"] = a.Keyword
	}
	return []any{a.ID, idOrNull(a.AccountID), a.VendorID, storable(a.VendorRef), saidBy(a), storable(string(a.Sender)), storable(string(a.Number)),
		body, raw, header, string(a.Encoding), int16(a.DataCoding), a.Alphabet, a.Reference, int16(a.Part), int16(a.Parts),
		storable(a.Keyword), string(a.Action), a.ForHuman, a.ReceivedAt, detailJSON(detail), repeatWithin}
}

func rawPlace(id message.ID) []byte { return append(id[:], "raw"...) }

// saidBy is the same for two messages of a vendor that say the same in the same
// place: from where to where, which part of which set, and what.
func saidBy(a message.Arrival) []byte {
	h := sha256.New()
	field := func(b []byte) { // with its length, so that no two fields run into one
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
		h.Write(b)
	}
	field(a.VendorID[:])
	field([]byte(a.Sender))
	field([]byte(a.Number))
	field([]byte{byte(a.Part), byte(a.Parts), a.DataCoding})
	field(binary.BigEndian.AppendUint32(nil, uint32(a.Reference)))
	field(a.Header)
	field(a.Raw)
	field([]byte(a.Text))
	return h.Sum(nil)
}

const inboundColumns = `
select id, account_id, vendor_id, from_addr, to_addr, body, encoding, part, parts, keyword, keyword_action, changed, for_human, repeat_of, received_at
from inbound_messages`

// Which of them, newest first. Each has its index.
const (
	selectInboundOf = inboundColumns + `
where account_id = $1
order by id desc
limit $2`
	selectInboundUnrouted = inboundColumns + `
where account_id is null
order by id desc
limit $1`
	selectInboundHuman = inboundColumns + `
where for_human
order by id desc
limit $1`
)

// InboundOf lists an account's newest inbound messages and parts, newest first.
func (db *DB) InboundOf(ctx context.Context, account message.ID, limit int) ([]message.InboundRecord, error) {
	return db.inbound(ctx, selectInboundOf, account, limit)
}

// InboundUnrouted lists the newest whose number was nobody's.
func (db *DB) InboundUnrouted(ctx context.Context, limit int) ([]message.InboundRecord, error) {
	return db.inbound(ctx, selectInboundUnrouted, limit)
}

// InboundForHuman lists the newest, of all accounts, that may ask for an end of the
// messages in words of their own.
func (db *DB) InboundForHuman(ctx context.Context, limit int) ([]message.InboundRecord, error) {
	return db.inbound(ctx, selectInboundHuman, limit)
}

func (db *DB) inbound(ctx context.Context, sql string, args ...any) ([]message.InboundRecord, error) {
	rows, err := db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read inbound messages: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (message.InboundRecord, error) {
		var r message.InboundRecord
		var account, repeat *message.ID
		var body []byte
		var encoding, action string
		if err := row.Scan(&r.ID, &account, &r.VendorID, &r.From, &r.To, &body, &encoding, &r.Part, &r.Parts, &r.Keyword, &action,
			&r.Changed, &r.ForHuman, &repeat, &r.ReceivedAt); err != nil {
			return r, err
		}
		r.AccountID, r.RepeatOf = orZero(account), orZero(repeat)
		r.Encoding, r.Action = message.Encoding(encoding), message.KeywordAction(action)
		if body != nil {
			clear, err := db.sealer.Open(body, r.ID[:])
			if err != nil {
				return r, fmt.Errorf("text of inbound message %s: %w", r.ID, err)
			}
			r.Text = string(clear)
		}
		return r, nil
	})
}
