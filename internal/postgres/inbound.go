package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
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

// insertInbound keeps what a vendor sent, once if the vendor gave it an id, and puts it
// into the record and into the outbox if it is a message of somebody's. Parts are told
// apart by what they say, with an id of the vendor's or without: see insertInboundPart.
//
//	$1 id  $2 account  $3 vendor  $4 the vendor's id  $5 fingerprint  $6 from  $7 to
//	$8 body  $9 raw  $10 header  $11 encoding  $12 data_coding  $13 alphabet
//	$14 reference  $15 part  $16 parts  $17 keyword  $18 action  $19 for a human
//	$20 received at  $21 timeline detail  $22 how long a repetition may come after
//	$23 parts it was joined from  $24 of those missing  $25 kind  $26 subject  $27 media
//	$28 it goes into the record  $29 its body there  $30 segments  $31 name of the vendor
//	$32 kind of the vendor  $33 valid until  $34 class  $35 delivery  $36 data_coding there
//	$37 recipients of its group
const insertInbound = `
with earlier as (
  select id
  from inbound_messages
  where $4 = '' and vendor_message_id = '' and fingerprint = $5 and id <> $1
    and received_at between $20::timestamptz - $22::interval and $20::timestamptz + $22::interval
  order by received_at, id
  limit 1
)` + keepInbound

// insertInboundPart is insertInbound for a part. One that says in its place what an earlier
// one said is a repetition, whatever id the vendor gave it, for as long as parts are
// waited for and at least as for other messages: it is no part of a new message.
const insertInboundPart = `
with earlier as (
  select id
  from inbound_messages
  where parts > 1 and fingerprint = $5 and id <> $1
    and received_at between $20::timestamptz - $22::interval and $20::timestamptz + $22::interval
  order by received_at, id
  limit 1
)` + keepInbound

const keepInbound = `, stored as (
  insert into inbound_messages (
    id, account_id, vendor_id, vendor_message_id, fingerprint, from_addr, to_addr, body, raw, user_data_header, encoding, data_coding,
    alphabet, reference, part, parts, keyword, keyword_action, for_human, received_at, repeat_of, joined, missing, kind, subject, media, group_recipients)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, (select id from earlier), $23, $24, $25, $26, $27, $37)
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
), recorded as (
  insert into messages (
    id, account_id, direction, kind, status, from_addr, to_addr, body, encoding, segments, message_class, delivery, vendor_id, vendor_name,
    possible_duplicate, edge, expires_at, created_at, updated_at, data_coding, user_data_header, complete)
  select id, $2::uuid, 'inbound', $25, 'accepted', $6, $7, $29::bytea, $11, $30::integer, $34::text, $35::text, $3, $31::text,
    repeat_of is not null, $32::text, $33::timestamptz, greatest($20, clock_timestamp()), greatest($20, clock_timestamp()), $36::smallint, $10, $24 = 0
  from stored
  where $28
), outbox as (
  insert into inbound_starts (message_id, account_id)
  select id, $2::uuid
  from stored
  where $28
)
select repeat_of is not null
from stored`

// Inbound commits a message from a vendor, or a part of one, with what its keyword
// changes and the answer that is owed for that, and puts it into the record if it is
// somebody's: a part that was the last of its message puts that there. What came before
// under the same id of the vendor is not stored again, and does nothing again. The files
// that came with a message become its own in the same commit, and share their octets with
// those that were uploaded, which end by themselves; ReasonUnavailable: they have ended
// before. Those of a message that goes not into the record are not kept, and nobody is
// told what becomes of it.
func (db *DB) Inbound(ctx context.Context, a message.Arrival) (message.Arrived, error) {
	switch {
	case !a.Whole():
		return db.inboundPart(ctx, a)
	case a.Act == nil && len(a.Files) == 0 && a.MM4 == nil:
		return db.inboundAlone(ctx, a)
	}
	var out message.Arrived
	err := db.inboundTx(ctx, func(tx pgx.Tx) (written []message.OptOut, err error) {
		out = message.Arrived{}
		return db.keep(ctx, tx, a, &out)
	})
	if err != nil {
		return message.Arrived{}, fmt.Errorf("inbound %s: %w", a.ID, inboundError(err))
	}
	return out, nil
}

// inboundTx runs a transaction, again if another one made it fail, and tells of the
// opt-outs that it has written.
func (db *DB) inboundTx(ctx context.Context, do func(pgx.Tx) ([]message.OptOut, error)) error {
	var written []message.OptOut
	var err error
	for range maxConflicts {
		err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) (err error) {
			written, err = do(tx)
			return err
		})
		if !conflicted(err) {
			break
		}
	}
	if err == nil {
		db.optedOut(written)
	}
	return err
}

// inboundAlone commits a message that does nothing, with others.
func (db *DB) inboundAlone(ctx context.Context, a message.Arrival) (message.Arrived, error) {
	args, err := db.inboundArgs(a)
	if err != nil {
		return message.Arrived{}, err
	}
	var out message.Arrived
	// The lane is chosen by what is said: what says the same stays in order.
	err = db.groups.do(ctx, args[4].([]byte), &statement{sql: insertInbound, args: args, read: func(rows pgx.Rows) error {
		out = message.Arrived{Again: true}
		for rows.Next() {
			out = message.Arrived{Start: startOfInbound(a)}
		}
		return rows.Err()
	}})
	if err != nil {
		return message.Arrived{}, fmt.Errorf("inbound %s: %w", a.ID, err)
	}
	return out, nil
}

func startOfInbound(a message.Arrival) *message.InboundStart {
	if a.Message == nil {
		return nil
	}
	return &message.InboundStart{MessageID: a.ID, AccountID: a.AccountID}
}

// keep stores a whole message, and does what it asks for.
func (db *DB) keep(ctx context.Context, tx pgx.Tx, a message.Arrival, out *message.Arrived) ([]message.OptOut, error) {
	args, err := db.inboundArgs(a)
	if err != nil {
		return nil, err
	}
	if a.Act != nil {
		if err := lockPair(ctx, tx, a); err != nil {
			return nil, err
		}
	}
	rows, err := tx.Query(ctx, insertInbound, args...)
	if err != nil {
		return nil, err
	}
	fresh, err := pgx.CollectRows(rows, pgx.RowTo[bool])
	switch {
	case err != nil:
		return nil, err
	case len(fresh) == 0:
		out.Again = true
		return nil, nil
	}
	out.Start = startOfInbound(a)
	if err := giveFiles(ctx, tx, a); err != nil {
		return nil, err
	}
	if err := keepMM4Origin(ctx, tx, a); err != nil {
		return nil, err
	}
	if a.Act == nil {
		return nil, nil
	}
	return db.act(ctx, tx, a, fresh[0], out)
}

// insertReceived gives a message the files that it came with.
const insertReceived = `
with given as (
  select *
  from unnest($2::smallint[], $3::uuid[], $4::uuid[], $5::bytea[]) as g (position, file_id, token, sha256)
), own_files as (
  insert into media_files (id, account_id, token, sha256, ready, expires_at)
  select file_id, $6, token, sha256, true, null
  from given
  order by sha256 -- their rows are locked
)
insert into message_media (message_id, position, file_id)
select $1, position, file_id
from given`

func giveFiles(ctx context.Context, tx pgx.Tx, a message.Arrival) error {
	if a.Message == nil || len(a.Files) == 0 {
		return nil
	}
	positions, files, tokens := make([]int16, len(a.Files)), make([]message.ID, len(a.Files)), make([]message.ID, len(a.Files))
	for i := range a.Files {
		positions[i], files[i], tokens[i] = int16(i+1), message.NewID(), message.ID(message.NewMediaToken())
	}
	_, err := tx.Exec(ctx, insertReceived, a.ID, positions, files, tokens, pick(a.Files, func(f message.MediaFile) []byte { return f.SHA256[:] }), a.AccountID)
	return err
}

func inboundError(err error) error {
	if sqlState(err) == foreignKeyViolation && constraintOf(err) == mediaObjectKey {
		return message.Because(message.ReasonUnavailable, err, "a file of the message has ended before it was taken; send it again")
	}
	return err
}

// mediaOffered is what is kept of a message's files beside the files: of those that came
// with it, what they are.
func mediaOffered(a message.Arrival) []message.InboundMedia {
	if len(a.Files) == 0 || a.Message == nil {
		return a.Media
	}
	return pick(a.Files, func(f message.MediaFile) message.InboundMedia {
		return message.InboundMedia{ContentType: f.ContentType, Size: f.Size, SHA256: hex.EncodeToString(f.SHA256[:])}
	})
}

func (db *DB) inboundArgs(a message.Arrival) ([]any, error) {
	var body, raw, header, subject, media []byte
	if a.Encoding != message.EncodingBinary {
		body = db.sealer.Seal([]byte(a.Text), a.ID[:])
	}
	if a.Raw != nil {
		raw = db.sealer.Seal(a.Raw, rawPlace(a.ID))
	}
	if len(a.Header) > 0 {
		header = db.sealer.Seal(a.Header, headerPlace(a.ID))
	}
	if a.Subject != "" {
		subject = db.sealer.Seal([]byte(a.Subject), subjectPlace(a.ID))
	}
	if offered := mediaOffered(a); len(offered) > 0 {
		doc, err := json.Marshal(offered)
		if err != nil {
			return nil, fmt.Errorf("media of inbound message %s: %w", a.ID, err)
		}
		media = db.sealer.Seal(doc, mediaPlace(a.ID))
	}
	detail := map[string]any{"vendor_id": a.VendorID}
	if a.Message != nil && a.Message.Vendor != "" {
		detail["vendor"] = a.Message.Vendor
	}
	if !a.Whole() {
		detail["part"], detail["parts"] = a.Part, a.Parts
	}
	if a.Joined > 0 {
		detail["parts"], detail["missing"] = a.Joined, a.Missing
	}
	if a.Action != message.KeywordNone {
		detail["keyword"] = a.Keyword
	}
	kind := a.Kind
	if kind == "" {
		kind = message.SMS
	}
	args := []any{a.ID, idOrNull(a.AccountID), a.VendorID, storable(a.VendorRef), saidBy(a), storable(string(a.Sender)), storable(string(a.Number)),
		body, raw, header, string(a.Encoding), int16(a.DataCoding), a.Alphabet, a.Reference, int16(a.Part), int16(a.Parts),
		storable(a.Keyword), string(a.Action), a.ForHuman, a.ReceivedAt, detailJSON(detail), max(repeatWithin, a.Wait),
		int16(a.Joined), int16(a.Missing), string(kind), subject, media}
	return append(append(args, db.recordArgs(a)...), storableAll(a.Recipients)), nil
}

// recordArgs are what the record says of the message beside that.
func (db *DB) recordArgs(a message.Arrival) []any {
	m := a.Message
	if m == nil {
		return []any{false, nil, 0, "", "", a.ReceivedAt, "", "", nil}
	}
	return []any{true, db.sealer.Seal([]byte(m.Body), a.ID[:]), m.Segments, m.Vendor, m.Edge, m.ExpiresAt, string(m.Class), string(m.Delivery), codingOrNull(m.DataCoding)}
}

func rawPlace(id message.ID) []byte     { return append(id[:], "raw"...) }
func subjectPlace(id message.ID) []byte { return append(id[:], "subject"...) }
func mediaPlace(id message.ID) []byte   { return append(id[:], "media"...) }

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
	if a.Joined > 0 { // a message that came in parts is none that came whole
		field([]byte{byte(a.Joined), byte(a.Missing)})
	}
	for _, f := range a.Media {
		field([]byte(f.URL))
	}
	for _, f := range a.Files {
		field(f.SHA256[:])
	}
	return h.Sum(nil)
}

const inboundColumns = `
select id, account_id, vendor_id, from_addr, to_addr, body, encoding, part, parts, keyword, keyword_action, changed, for_human, repeat_of,
  joined, missing, received_at
from inbound_messages`

// Which of them, newest first. Each has its index.
const (
	selectInboundOf = inboundColumns + `
where account_id = $1 and whole_id is null
order by id desc
limit $2`
	selectInboundUnrouted = inboundColumns + `
where account_id is null and parts <= 1 and id < $1
order by id desc
limit $2`
	selectInboundUnroutedTo = inboundColumns + `
where account_id is null and parts <= 1 and to_addr = $3 and id < $1
order by id desc
limit $2`
	selectInboundHuman = inboundColumns + `
where for_human
order by id desc
limit $1`
)

// InboundOf lists an account's newest inbound messages and the parts that wait for
// others, newest first.
func (db *DB) InboundOf(ctx context.Context, account message.ID, limit int) ([]message.InboundRecord, error) {
	return db.inbound(ctx, selectInboundOf, account, limit)
}

// InboundUnrouted lists messages whose number was nobody's or was not enabled, newest
// first, older than before when that is not zero: to one number as it is kept, or,
// when that is empty, to all.
func (db *DB) InboundUnrouted(ctx context.Context, number message.Address, before message.ID, limit int) ([]message.InboundRecord, error) {
	if before == (message.ID{}) {
		before = lastID
	}
	if number == "" {
		return db.inbound(ctx, selectInboundUnrouted, before, limit)
	}
	return db.inbound(ctx, selectInboundUnroutedTo, before, limit, storable(string(number)))
}

// lastID sorts behind all that are made.
var lastID = message.ID(bytes.Repeat([]byte{0xFF}, 16))

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
			&r.Changed, &r.ForHuman, &repeat, &r.Joined, &r.Missing, &r.ReceivedAt); err != nil {
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
