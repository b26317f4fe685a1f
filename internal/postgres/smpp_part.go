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

// insertPart writes a part, unless its key was seen before. One without a key says
// whether it repeats a part of a message that was joined a short while ago.
const insertPart = `
with repeated as (
  update smpp_joined
  set repeated = repeated + 1
  where fingerprint = $25 and $19::boolean and repeated < ` + mostRepeats + ` and joined_at > clock_timestamp() - interval '` + repeatAge + `'
  returning message_id
), keyed as (
  insert into idempotency_keys (account_id, operation, key, body_hash, message_id, http_status, response)
  select $2, $20, $21, $22, $1, $23, $24
  where $21::text is not null
  on conflict do nothing
  returning message_id
)
insert into smpp_parts (
  id, account_id, credential_id, source_ton, source_npi, source, dest_ton, dest_npi, dest, reference, total, number,
  data_coding, octets, request, registered, user_reference, answer_id, fingerprint, repeats)
select $1::uuid, $2::uuid, $3::uuid, $4::smallint, $5::smallint, $6::bytea, $7::smallint, $8::smallint, $9::bytea, $10::integer, $11::smallint, $12::smallint,
  $13::smallint, $14::bytea, $15::jsonb, $16::smallint, $17::bytea, $18::text, $25::bytea, (select message_id from repeated)
where $19::boolean or exists (select from keyed)
on conflict (id) do nothing`

// decidePartSet settles which parts belong to a message: those of a set that is
// whole or has grown too large, and with an age those of one whose newest part is
// as old. Later parts of the same reference are another set.
//
// Parts that repeat a message are a set of their own beside it, and belong to that
// message: one that comes late must not end up in the next message that has its
// reference. Only what would stay incomplete takes them in, when it is whole with
// them: two messages may begin alike. Of a whole set it is noted what its parts
// said.
//
//	$1 credential  $2 reference  $3 total  $4-$6 source  $7-$9 destination  $10 age, null: only a whole one
const decidePartSet = `
with member as (
  select id, number, created_at, fingerprint, repeats
  from smpp_parts
  where message_id is null and credential_id = $1 and reference = $2 and total = $3
    and source_ton = $4 and source_npi = $5 and source = $6 and dest_ton = $7 and dest_npi = $8 and dest = $9
), state as (
  select
    coalesce(max(created_at) <= clock_timestamp() - $10::interval, false) as over,
    count(distinct number) = $3 as whole,
    array_agg(number) filter (where repeats is null) as fresh
  from member
), sorted as (
  select m.id, m.number, m.created_at, m.fingerprint,
    case when s.over and s.whole and m.number <> all (s.fresh) then null else m.repeats end as repeats
  from member m
  cross join state s
), verdict as (
  select
    m.repeats,
    (array_agg(m.id order by m.number, m.created_at desc, m.id desc))[1] as message_id,
    count(distinct m.number) = $3 as whole
  from sorted m
  cross join state s
  group by m.repeats, s.over
  having count(distinct m.number) = $3 or count(*) >= ` + mostParts + ` or s.over
), noted as (
  insert into smpp_joined (fingerprint, message_id)
  select distinct m.fingerprint, v.message_id
  from sorted m
  cross join verdict v
  where v.whole and v.repeats is null and m.repeats is null and m.fingerprint is not null
  on conflict (fingerprint) do update
  set message_id = excluded.message_id, joined_at = excluded.joined_at, repeated = 0
)
update smpp_parts p
set message_id = v.message_id, decided_at = clock_timestamp(), repeats = v.repeats
from sorted m
join verdict v on v.repeats is not distinct from m.repeats
where p.id = m.id
returning` + partColumns

const partColumns = `
  p.message_id, p.id, p.account_id, p.credential_id, p.source_ton, p.source_npi, p.source, p.dest_ton, p.dest_npi, p.dest, p.reference, p.total, p.number,
  p.data_coding, p.octets, p.request::text, p.registered, p.user_reference, p.answer_id, p.created_at, p.repeats`

// AddPart commits a part and returns after the commit. Added again it changes
// nothing. When it was the last that its set had missed, the set comes back: it is
// settled in the same commit. A part whose key was seen before is not stored, and
// the first answer comes back, or ReasonIdempotencyMismatch.
//
// What is left of a set that nobody has given up in time does not become part of
// this one.
func (db *DB) AddPart(ctx context.Context, p message.SMPPPart, key *message.Idempotency) (message.SMPPPartAdded, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if err := db.parts.take(ctx); err != nil {
		return message.SMPPPartAdded{}, message.Because(message.ReasonUnavailable, err, "too many parts wait for the journal; nothing was stored")
	}
	defer db.parts.leave()
	args := append(partArgs(p), db.sealer.Seal(p.Octets, p.ID[:]), string(p.Request), int16(p.Origin.Registered), p.Origin.Reference, storable(p.Origin.AnswerID), key == nil)
	if key == nil {
		args = append(args, nil, nil, nil, nil, nil)
	} else {
		args = append(args, key.Operation, key.Key, key.BodyHash[:], key.Status, db.sealer.Seal(key.Response, []byte(key.Key)))
	}
	age := message.SMPPPartWait
	batch := &pgx.Batch{}
	batch.Queue(lockPartSet, lockOf(p))
	batch.Queue(decidePartSet, decideArgs(p, &age)...) // the sweeper takes it from there
	batch.Queue(insertPart, append(args, fingerprintOf(p))...)
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
// decidePartSet, as one transaction. stored says whether the statement before the
// last has written a row.
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
		var repeats *message.ID
		if err := rows.Scan(&id, &p.ID, &p.AccountID, &p.Origin.CredentialID, &sourceTON, &sourceNPI, &source, &destTON, &destNPI, &dest, &p.Reference, &p.Total, &p.Number,
			&coding, &sealed, &request, &registered, &p.Origin.Reference, &p.Origin.AnswerID, &p.CreatedAt, &repeats); err != nil {
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
			sets[id], order = &message.SMPPPartSet{MessageID: id, Repeats: orZero(repeats)}, append(order, id)
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

// selectOpenSets finds the newest parts of open sets that have waited long enough.
const selectOpenSets = `
select p.credential_id, p.reference, p.total, p.source_ton, p.source_npi, p.source, p.dest_ton, p.dest_npi, p.dest
from smpp_parts p
where p.message_id is null and p.created_at <= now() - $1::interval
  and not exists (
    select
    from smpp_parts n
    where n.message_id is null and n.credential_id = p.credential_id and n.reference = p.reference and n.total = p.total
      and n.source_ton = p.source_ton and n.source_npi = p.source_npi and n.source = p.source
      and n.dest_ton = p.dest_ton and n.dest_npi = p.dest_npi and n.dest = p.dest
      and (n.created_at, n.id) > (p.created_at, p.id)
    offset 0)
order by p.created_at
limit $2`

// takeSettledSets takes sets that are settled and not joined: the longest waiting
// first, and each away from others for as long as it has waited. So one that
// cannot be joined does not stand before the rest. A set is taken by the row that
// its message is named after; all of its rows are there, or none.
const takeSettledSets = `
with due as (
  select id
  from smpp_parts
  where id = message_id and decided_at <= now() - $1::interval
  order by decided_at
  limit $2
  for update skip locked
), taken as (
  update smpp_parts p
  set decided_at = clock_timestamp()
  from due
  where p.id = due.id
  returning p.id
)
select` + partColumns + `
from taken t
join smpp_parts p on p.message_id = t.id
order by p.decided_at, p.id`

// PartsDue gives the sets of parts that the sweeper has to make messages of, at
// most limit of each kind: those that were settled longer than join ago and are not
// marked as joined, and those whose newest part is older than missing, which are
// settled by this. Of the latter most are not whole. A set of the first kind is
// given to one caller, and again after join. One that cannot be read is left out
// and named by the error that comes beside the others.
func (db *DB) PartsDue(ctx context.Context, join, missing time.Duration, limit int) ([]message.SMPPPartSet, error) {
	rows, err := db.pool.Query(ctx, takeSettledSets, join, limit)
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
