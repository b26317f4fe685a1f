package postgres

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const (
	// mostInboundParts is how many parts of one reference may wait, repetitions apart:
	// twice the most that a message can have. What there is becomes messages then, whole
	// or not, so that looking at them stays cheap whatever a vendor sends; and of the
	// repetitions no more than as many are looked at beside them.
	mostInboundParts = 510
	// forgetRepeats is how long after it came a repetition may still complete another
	// message; see setRow.repeat.
	forgetRepeats = 10 * time.Minute
)

// setKey tells the parts of one message from others, together with the time: a
// reference comes again after hours.
type setKey struct {
	vendor    message.ID
	from, to  string
	reference int
	parts     int
}

func inboundKey(a message.Arrival) setKey {
	return setKey{a.VendorID, storable(string(a.Sender)), storable(string(a.Number)), a.Reference, a.Parts}
}

// lock is the number of the set's advisory lock.
func (k setKey) lock() int64 {
	h := fnv.New64a()
	h.Write(k.vendor[:])
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(k.reference)))
	h.Write([]byte{byte(k.parts)})
	h.Write([]byte(k.from + "\x00" + k.to))
	return int64(h.Sum64())
}

func (k setKey) args() []any { return []any{k.vendor, k.reference, k.from, k.to, int16(k.parts)} }

// selectOpen finds the parts of a key that wait, repetitions last.
const selectOpen = `
select id, part, repeat_of is not null, received_at
from inbound_messages
where vendor_id = $1 and reference = $2 and from_addr = $3 and to_addr = $4 and parts = $5 and parts > 1 and whole_id is null
order by repeat_of is not null, received_at, id
limit 1020`

// setRow is a part that waits for others.
type setRow struct {
	id   message.ID
	part int
	// repeat: an earlier one has said the same in its place. Nobody waits for the rest
	// of it, and it completes a message only that would stay incomplete: two messages
	// may begin alike.
	repeat bool
	at     time.Time // when it came
}

// setsOf puts the parts that wait under one key, sorted by when they came, into sets:
// those that are whole, and, when now is later than wait after the newest part of
// one, what there is of it. What is in no set goes on waiting.
//
// Of two different parts with one number the first belongs to the first set. Where
// nothing came for longer than wait a message has ended, whether or not somebody was
// there to see it.
func setsOf(rows []setRow, parts int, wait time.Duration, now time.Time) (sets [][]setRow) {
	var fresh, repeats []setRow
	for _, r := range rows {
		if r.repeat {
			repeats = append(repeats, r)
		} else {
			fresh = append(fresh, r)
		}
	}
	crowded := len(fresh) >= mostInboundParts
	for len(fresh) > 0 {
		end := 1
		for end < len(fresh) && fresh[end].at.Sub(fresh[end-1].at) <= wait {
			end++
		}
		run := fresh[:end]
		fresh = fresh[end:]
		over := crowded || len(fresh) > 0 || now.Sub(run[end-1].at) > wait
		for len(run) > 0 {
			set, rest := firstOfEach(run)
			if len(set) < parts && over {
				set = filledUp(set, repeats, parts, wait)
			}
			if len(set) < parts && !over {
				break
			}
			sets, run = append(sets, set), rest
		}
	}
	return sets
}

// firstOfEach takes the first part of each number.
func firstOfEach(run []setRow) (set, rest []setRow) {
	taken := map[int]bool{}
	for _, r := range run {
		if taken[r.part] {
			rest = append(rest, r)
		} else {
			taken[r.part], set = true, append(set, r)
		}
	}
	return set, rest
}

// filledUp is the set with the repetitions that it lacks, if it is whole with them; of
// those the last that came before the set was given up.
func filledUp(set, repeats []setRow, parts int, wait time.Duration) []setRow {
	has := map[int]bool{}
	first, last := set[0].at, set[0].at
	for _, r := range set {
		has[r.part] = true
		last = r.at // they are sorted
	}
	with := slices.Clone(set)
	for _, r := range slices.Backward(repeats) {
		if !has[r.part] && !r.at.Before(first.Add(-wait)) && !r.at.After(last.Add(wait)) {
			has[r.part], with = true, append(with, r)
		}
	}
	if len(with) < parts {
		return set
	}
	return with
}

// inboundPart commits a part, and with the last one of a message the message. One
// process at a time looks at a key: else two parts that come at once would each not
// see the other.
func (db *DB) inboundPart(ctx context.Context, a message.Arrival) (message.Arrived, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if err := db.inParts.take(ctx); err != nil {
		return message.Arrived{}, message.Because(message.ReasonUnavailable, err, "too many parts wait for the journal; nothing was stored")
	}
	defer db.inParts.leave()
	args, err := db.inboundArgs(a)
	if err != nil {
		return message.Arrived{}, err
	}
	var out message.Arrived
	err = db.inboundTx(ctx, func(tx pgx.Tx) (written []message.OptOut, err error) {
		out = message.Arrived{}
		k := inboundKey(a)
		batch := &pgx.Batch{}
		batch.Queue(lockPartSet, k.lock())
		batch.Queue(insertInboundPart, args...)
		batch.Queue(selectOpen, k.args()...)
		stored, rows, err := openRows(tx.SendBatch(ctx, batch))
		switch {
		case err != nil:
			return nil, err
		case !stored:
			out.Again = true
			return nil, nil
		}
		for _, set := range setsOf(rows, k.parts, a.Wait, a.ReceivedAt) {
			w, err := db.join(ctx, tx, k, set, a.Join, &out.Wholes)
			if err != nil {
				return nil, err
			}
			written = append(written, w...)
		}
		return written, nil
	})
	if err != nil {
		return message.Arrived{}, fmt.Errorf("inbound part %s: %w", a.ID, err)
	}
	return out, nil
}

// openRows reads the answers to a batch of lockPartSet, a statement that gives rows if
// it has stored something, and selectOpen.
func openRows(results pgx.BatchResults) (stored bool, open []setRow, err error) {
	defer func() { err = errors.Join(err, results.Close()) }()
	if _, err := results.Exec(); err != nil {
		return false, nil, err
	}
	tag, err := results.Exec()
	if err != nil {
		return false, nil, err
	}
	rows, err := results.Query()
	if err != nil {
		return false, nil, err
	}
	open, err = pgx.CollectRows(rows, setRowOf)
	return tag.RowsAffected() > 0, open, err
}

func setRowOf(row pgx.CollectableRow) (r setRow, err error) {
	err = row.Scan(&r.id, &r.part, &r.repeat, &r.at)
	return r, err
}

const keptColumns = `
  id, vendor_id, vendor_message_id, from_addr, to_addr, body, raw, user_data_header, encoding, data_coding, alphabet, reference, part, parts,
  kind, subject, media, joined, missing, received_at`

const selectKept = `
select` + keptColumns + `
from inbound_messages
where id = any($1)`

// markJoined takes the parts of a message out of those that wait, and with them the
// repetitions that came beside them.
const markJoined = `
update inbound_messages
set whole_id = $6
where vendor_id = $1 and reference = $2 and from_addr = $3 and to_addr = $4 and parts = $5 and parts > 1 and whole_id is null
  and (id = any($7) or repeat_of = any($7))`

// join makes the message of a set.
func (db *DB) join(ctx context.Context, tx pgx.Tx, k setKey, set []setRow, join func(message.InboundSet) message.Arrival, wholes *[]message.ArrivedWhole) ([]message.OptOut, error) {
	ids := pick(set, func(r setRow) message.ID { return r.id })
	parts, err := db.openInbound(ctx, tx, selectKept, ids)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(parts, func(a, b message.Unrouted) int { return a.Part - b.Part })
	whole := join(message.InboundSet{Parts: pick(parts, func(p message.Unrouted) message.InboundMessage { return p.InboundMessage })})
	var out message.Arrived
	written, err := db.keep(ctx, tx, whole, &out)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, markJoined, append(k.args(), whole.ID, ids)...); err != nil {
		return nil, err
	}
	*wholes = append(*wholes, message.ArrivedWhole{AccountID: whole.AccountID, Missing: whole.Missing, Reply: out.Reply, Start: out.Start})
	return written, nil
}

// openInbound reads keptColumns of messages or parts.
func (db *DB) openInbound(ctx context.Context, from querier, sql string, args ...any) ([]message.Unrouted, error) {
	rows, err := from.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p message.Unrouted, err error) {
		var body, raw, header, subject, media []byte
		var encoding, kind string
		var coding int16
		if err := row.Scan(&p.ID, &p.VendorID, &p.VendorRef, &p.From, &p.To, &body, &raw, &header, &encoding, &coding, &p.Alphabet, &p.Reference, &p.Part, &p.Parts,
			&kind, &subject, &media, &p.Joined, &p.Missing, &p.ReceivedAt); err != nil {
			return p, err
		}
		p.Encoding, p.Kind, p.DataCoding = message.Encoding(encoding), message.Kind(kind), byte(coding)
		if err := db.openPart(&p, body, raw, header); err != nil {
			return p, err
		}
		p.Subject, p.Media, err = db.openMMS(p.ID, subject, media)
		return p, err
	})
}

// openPart reads the sealed columns that a part has; nil ones are not there.
func (db *DB) openPart(p *message.Unrouted, body, raw, header []byte) error {
	for _, f := range []struct {
		sealed, place []byte
		into          func([]byte)
	}{
		{body, p.ID[:], func(b []byte) { p.Text = string(b) }},
		{raw, rawPlace(p.ID), func(b []byte) { p.Raw = b }},
		{header, headerPlace(p.ID), func(b []byte) { p.Header = b }},
	} {
		if f.sealed == nil {
			continue
		}
		clear, err := db.sealer.Open(f.sealed, f.place)
		if err != nil {
			return fmt.Errorf("inbound message %s: %w", p.ID, err)
		}
		f.into(clear)
	}
	return nil
}

// openMMS reads the sealed columns of an MMS; nil ones are not there.
func (db *DB) openMMS(id message.ID, subject, media []byte) (text string, files []message.InboundMedia, err error) {
	if subject != nil {
		clear, err := db.sealer.Open(subject, subjectPlace(id))
		if err != nil {
			return "", nil, fmt.Errorf("subject of inbound message %s: %w", id, err)
		}
		text = string(clear)
	}
	if media != nil {
		clear, err := db.sealer.Open(media, mediaPlace(id))
		if err == nil {
			err = json.Unmarshal(clear, &files)
		}
		if err != nil {
			return "", nil, fmt.Errorf("media of inbound message %s: %w", id, err)
		}
	}
	return text, files, nil
}

// selectOver finds keys with a part after which no other has come for as long as the
// age, the longest waiting first.
const selectOver = `
select vendor_id, reference, from_addr, to_addr, parts
from inbound_messages p
where parts > 1 and whole_id is null and repeat_of is null and received_at < now() - $1::interval
  and not exists (
    select
    from inbound_messages n
    where n.vendor_id = p.vendor_id and n.reference = p.reference and n.from_addr = p.from_addr and n.to_addr = p.to_addr and n.parts = p.parts
      and n.parts > 1 and n.whole_id is null and n.repeat_of is null and (n.received_at, n.id) > (p.received_at, p.id)
    offset 0)
order by received_at
limit $2`

// forgetRepeated takes repetitions of parts out of those that wait.
const forgetRepeated = `
update inbound_messages
set whole_id = repeat_of
where id in (
  select id
  from inbound_messages
  where parts > 1 and whole_id is null and repeat_of is not null and received_at < now() - $1::interval
  order by received_at
  limit $2
  for update skip locked)`

// InboundOver makes messages of the parts that have waited for others for longer than
// wait, at most of limit keys, whole or not, and gives them. A key whose parts cannot
// be read is left out and named by the error that comes beside the others.
func (db *DB) InboundOver(ctx context.Context, wait time.Duration, limit int, join func(message.InboundSet) message.Arrival) ([]message.ArrivedWhole, error) {
	rows, err := db.pool.Query(ctx, selectOver, wait, limit)
	if err != nil {
		return nil, fmt.Errorf("find parts that have waited: %w", err)
	}
	keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k setKey, err error) {
		err = row.Scan(&k.vendor, &k.reference, &k.from, &k.to, &k.parts)
		return k, err
	})
	if err != nil {
		return nil, fmt.Errorf("find parts that have waited: %w", err)
	}
	var all []message.ArrivedWhole
	var failed []error
	for _, k := range keys {
		wholes, err := db.endSet(ctx, k, wait, join)
		all, failed = append(all, wholes...), append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	if _, err := db.pool.Exec(ctx, forgetRepeated, max(wait, forgetRepeats), limit); err != nil {
		failed = append(failed, fmt.Errorf("forget repeated parts: %w", err))
	}
	return all, errors.Join(failed...)
}

// endSet makes messages of what there is of a key, if it still has waited for too
// long: what has come meanwhile goes on waiting.
func (db *DB) endSet(ctx context.Context, k setKey, wait time.Duration, join func(message.InboundSet) message.Arrival) (wholes []message.ArrivedWhole, err error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err = db.inboundTx(ctx, func(tx pgx.Tx) (written []message.OptOut, err error) {
		wholes = nil
		if _, err := tx.Exec(ctx, lockPartSet, k.lock()); err != nil {
			return nil, err
		}
		var now time.Time
		if err := tx.QueryRow(ctx, "select clock_timestamp()").Scan(&now); err != nil {
			return nil, err
		}
		found, err := tx.Query(ctx, selectOpen, k.args()...)
		if err != nil {
			return nil, err
		}
		rows, err := pgx.CollectRows(found, setRowOf)
		if err != nil {
			return nil, err
		}
		for _, set := range setsOf(rows, k.parts, wait, now) {
			w, err := db.join(ctx, tx, k, set, join, &wholes)
			if err != nil {
				return nil, err
			}
			written = append(written, w...)
		}
		return written, nil
	})
	if err != nil {
		return nil, fmt.Errorf("inbound parts: %w", err)
	}
	return wholes, nil
}
