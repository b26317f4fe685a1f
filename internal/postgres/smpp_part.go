package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// lockPartSet lets one process at a time look at a set. Without it two parts that
// come at once would each not see the other, and a set could be given up while its
// last part comes. Two sets whose hashes are the same wait for each other, no more.
const lockPartSet = "select pg_advisory_xact_lock($1)"

// insertPart writes a part, unless its key was seen before.
const insertPart = `
with keyed as (
  insert into idempotency_keys (account_id, operation, key, body_hash, message_id, http_status, response)
  select $2, $20, $21, $22, $1, $23, $24
  where $21::text is not null
  on conflict do nothing
  returning message_id
)
insert into smpp_parts (
  id, account_id, credential_id, source_ton, source_npi, source, dest_ton, dest_npi, dest, reference, total, number,
  data_coding, octets, request, registered, user_reference, answer_id)
select $1::uuid, $2::uuid, $3::uuid, $4::smallint, $5::smallint, $6::bytea, $7::smallint, $8::smallint, $9::bytea, $10::integer, $11::smallint, $12::smallint,
  $13::smallint, $14::bytea, $15::jsonb, $16::smallint, $17::bytea, $18::text
where $19::boolean or exists (select from keyed)
on conflict (id) do nothing`

// decidePartSet settles which parts belong to a message: those of a set that is
// whole, and with an age those of one whose newest part is as old. Later parts of
// the same reference are another set.
//
//	$1 credential  $2 reference  $3 total  $4-$6 source  $7-$9 destination  $10 age, null: only a whole one
const decidePartSet = `
with member as (
  select id, number, created_at
  from smpp_parts
  where message_id is null and credential_id = $1 and reference = $2 and total = $3
    and source_ton = $4 and source_npi = $5 and source = $6 and dest_ton = $7 and dest_npi = $8 and dest = $9
), verdict as (
  select (array_agg(id order by number, created_at desc, id desc))[1] as message_id
  from member
  having count(distinct number) = $3 or max(created_at) <= clock_timestamp() - $10::interval
)
update smpp_parts p
set message_id = v.message_id, decided_at = clock_timestamp()
from member m
cross join verdict v
where p.id = m.id
returning` + partColumns

const partColumns = `
  p.message_id, p.id, p.account_id, p.credential_id, p.source_ton, p.source_npi, p.source, p.dest_ton, p.dest_npi, p.dest, p.reference, p.total, p.number,
  p.data_coding, p.octets, p.request::text, p.registered, p.user_reference, p.answer_id, p.created_at`

// AddPart commits a part and returns after the commit. Added again it changes
// nothing. When it was the last that its set had missed, the set comes back: it is
// settled in the same commit. A part whose key was seen before is not stored, and
// the first answer comes back, or ReasonIdempotencyMismatch.
func (db *DB) AddPart(ctx context.Context, p message.SMPPPart, key *message.Idempotency) (message.SMPPPartAdded, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	args := append(partArgs(p), db.sealer.Seal(p.Octets, p.ID[:]), string(p.Request), int16(p.Origin.Registered), p.Origin.Reference, storable(p.Origin.AnswerID), key == nil)
	if key == nil {
		args = append(args, nil, nil, nil, nil, nil)
	} else {
		args = append(args, key.Operation, key.Key, key.BodyHash[:], key.Status, db.sealer.Seal(key.Response, []byte(key.Key)))
	}
	batch := &pgx.Batch{}
	batch.Queue(lockPartSet, lockOf(p))
	batch.Queue(insertPart, args...)
	batch.Queue(decidePartSet, decideArgs(p, nil)...)
	stored, sets, err := db.decideParts(ctx, batch)
	switch {
	case err != nil:
		return message.SMPPPartAdded{}, acceptError(err)
	case !stored && key != nil:
		again, err := db.replay(ctx, *key)
		return message.SMPPPartAdded{Replay: again.Replay}, err
	case len(sets) > 0:
		return message.SMPPPartAdded{Set: &sets[0]}, nil
	}
	return message.SMPPPartAdded{}, nil
}

// decideParts runs a batch that begins with lockPartSet and ends with
// decidePartSet, as one transaction. stored says whether the statement between the
// two, if there is one, has written a row.
func (db *DB) decideParts(ctx context.Context, batch *pgx.Batch) (stored bool, sets []message.SMPPPartSet, err error) {
	results := db.pool.SendBatch(ctx, batch)
	defer func() { err = errors.Join(err, results.Close()) }()
	for range batch.Len() - 1 {
		tag, err := results.Exec()
		if err != nil {
			return false, nil, fmt.Errorf("journal a part: %w", err)
		}
		stored = tag.RowsAffected() > 0
	}
	rows, err := results.Query()
	if err != nil {
		return false, nil, fmt.Errorf("settle a set of parts: %w", err)
	}
	sets, err = db.partSets(rows)
	return stored, sets, err
}

// lockOf is the number of the set's advisory lock.
func lockOf(p message.SMPPPart) int64 {
	h := fnv.New64a()
	h.Write(p.Origin.CredentialID[:])
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(p.Reference)))
	h.Write([]byte(p.Origin.Source.Text + "\x00" + p.Origin.Dest.Text))
	return int64(h.Sum64())
}

func partArgs(p message.SMPPPart) []any {
	o := p.Origin
	return []any{p.ID, p.AccountID, o.CredentialID, int16(o.Source.TON), int16(o.Source.NPI), []byte(o.Source.Text),
		int16(o.Dest.TON), int16(o.Dest.NPI), []byte(o.Dest.Text), p.Reference, int16(p.Total), int16(p.Number), int16(p.Coding)}
}

func decideArgs(p message.SMPPPart, age *time.Duration) []any {
	o := p.Origin
	return []any{o.CredentialID, p.Reference, int16(p.Total), int16(o.Source.TON), int16(o.Source.NPI), []byte(o.Source.Text),
		int16(o.Dest.TON), int16(o.Dest.NPI), []byte(o.Dest.Text), age}
}

// partSets reads partColumns and puts the parts of each message together. A part
// that cannot be opened keeps its set back and is named by the error that comes
// beside the others.
func (db *DB) partSets(rows pgx.Rows) ([]message.SMPPPartSet, error) {
	defer rows.Close()
	sets := map[message.ID]*message.SMPPPartSet{}
	var order []message.ID
	var unread []error
	broken := map[message.ID]bool{}
	for rows.Next() {
		var p message.SMPPPart
		var id message.ID
		var registered, sourceTON, sourceNPI, destTON, destNPI, coding int16
		var source, dest, sealed []byte
		var request string
		if err := rows.Scan(&id, &p.ID, &p.AccountID, &p.Origin.CredentialID, &sourceTON, &sourceNPI, &source, &destTON, &destNPI, &dest, &p.Reference, &p.Total, &p.Number,
			&coding, &sealed, &request, &registered, &p.Origin.Reference, &p.Origin.AnswerID, &p.CreatedAt); err != nil {
			return nil, fmt.Errorf("read parts: %w", err)
		}
		p.Origin.Source = message.SMPPAddress{TON: byte(sourceTON), NPI: byte(sourceNPI), Text: string(source)}
		p.Origin.Dest = message.SMPPAddress{TON: byte(destTON), NPI: byte(destNPI), Text: string(dest)}
		p.Origin.Registered, p.Coding, p.Request = byte(registered), byte(coding), []byte(request)
		var err error
		if p.Octets, err = db.sealer.Open(sealed, p.ID[:]); err != nil {
			unread, broken[id] = append(unread, fmt.Errorf("part %s of message %s: %w", p.ID, id, err)), true
		}
		if sets[id] == nil {
			sets[id], order = &message.SMPPPartSet{MessageID: id}, append(order, id)
		}
		sets[id].Parts = append(sets[id].Parts, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read parts: %w", err)
	}
	var list []message.SMPPPartSet
	for _, id := range order {
		if !broken[id] {
			sets[id].Sort()
			list = append(list, *sets[id])
		}
	}
	return list, errors.Join(unread...)
}

const selectOpenSets = `
select credential_id, reference, total, source_ton, source_npi, source, dest_ton, dest_npi, dest
from smpp_parts
where message_id is null
group by credential_id, reference, total, source_ton, source_npi, source, dest_ton, dest_npi, dest
having max(created_at) <= clock_timestamp() - $1::interval
order by max(created_at)
limit $2`

const selectDecidedParts = `
select` + partColumns + `
from smpp_parts p
where p.message_id in (
  select message_id
  from smpp_parts
  where message_id is not null and decided_at <= clock_timestamp() - $1::interval
  group by message_id
  order by min(decided_at)
  limit $2)`

// PartsDue gives the sets of parts that the sweeper has to make messages of, at
// most limit of each kind: those that were settled longer than join ago and are not
// marked as joined, and those whose newest part is older than missing, which are
// settled by this. The latter are not whole. A set that cannot be read is left out
// and named by the error that comes beside the others.
func (db *DB) PartsDue(ctx context.Context, join, missing time.Duration, limit int) ([]message.SMPPPartSet, error) {
	rows, err := db.pool.Query(ctx, selectDecidedParts, join, limit)
	if err != nil {
		return nil, fmt.Errorf("find parts to be joined: %w", err)
	}
	due, failed := db.partSets(rows)
	rows, err = db.pool.Query(ctx, selectOpenSets, missing, limit)
	if err != nil {
		return due, errors.Join(failed, fmt.Errorf("find sets with missing parts: %w", err))
	}
	open, err := pgx.CollectRows(rows, partKey)
	if err != nil {
		return due, errors.Join(failed, fmt.Errorf("find sets with missing parts: %w", err))
	}
	for _, p := range open {
		batch := &pgx.Batch{}
		batch.Queue(lockPartSet, lockOf(p))
		batch.Queue(decidePartSet, decideArgs(p, &missing)...)
		_, sets, err := db.decideParts(ctx, batch)
		due, failed = append(due, sets...), errors.Join(failed, err)
	}
	return due, failed
}

// partKey reads what tells a set from others.
func partKey(row pgx.CollectableRow) (message.SMPPPart, error) {
	var p message.SMPPPart
	var sourceTON, sourceNPI, destTON, destNPI int16
	var source, dest []byte
	err := row.Scan(&p.Origin.CredentialID, &p.Reference, &p.Total, &sourceTON, &sourceNPI, &source, &destTON, &destNPI, &dest)
	p.Origin.Source = message.SMPPAddress{TON: byte(sourceTON), NPI: byte(sourceNPI), Text: string(source)}
	p.Origin.Dest = message.SMPPAddress{TON: byte(destTON), NPI: byte(destNPI), Text: string(dest)}
	return p, err
}

// MarkJoined takes the parts of a message away: it is in the journal, with all
// that its parts are owed.
func (db *DB) MarkJoined(ctx context.Context, id message.ID) error {
	if _, err := db.pool.Exec(ctx, "delete from smpp_parts where message_id = $1", id); err != nil {
		return fmt.Errorf("clear the parts of message %s: %w", id, err)
	}
	return nil
}

const selectAnsweredPart = `
select p.id, p.account_id, p.credential_id, p.registered, p.source_ton, p.source_npi, p.source, p.dest_ton, p.dest_npi, p.dest, p.user_reference, p.created_at
from smpp_parts p
where p.account_id = (select account_id from smpp_credentials where id = $1) and p.answer_id = $2
order by p.created_at desc
limit 1`

// answeredPart finds a part whose message is not there yet.
func (db *DB) answeredPart(ctx context.Context, credential message.ID, answerID string) ([]message.Message, []message.SMPPOrigin, error) {
	m := message.Message{Direction: message.Outbound, Kind: message.SMS, Status: message.StatusAccepted, Edge: message.EdgeSMPP}
	o := message.SMPPOrigin{AnswerID: answerID, Part: true}
	var registered, sourceTON, sourceNPI, destTON, destNPI int16
	var source, dest []byte
	err := db.pool.QueryRow(ctx, selectAnsweredPart, credential, storable(answerID)).Scan(&m.ID, &m.AccountID, &o.CredentialID, &registered,
		&sourceTON, &sourceNPI, &source, &destTON, &destNPI, &dest, &o.Reference, &m.CreatedAt)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil, message.Refuse(message.ReasonNotFound, "no message was answered with this id")
	case err != nil:
		return nil, nil, fmt.Errorf("find the part of an answer: %w", err)
	}
	o.Registered, m.UpdatedAt = byte(registered), m.CreatedAt
	o.Source = message.SMPPAddress{TON: byte(sourceTON), NPI: byte(sourceNPI), Text: string(source)}
	o.Dest = message.SMPPAddress{TON: byte(destTON), NPI: byte(destNPI), Text: string(dest)}
	return []message.Message{m}, []message.SMPPOrigin{o}, nil
}
