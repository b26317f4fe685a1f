package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// Bounds of parts, as the statements write them.
const (
	// repeatAge is how long after its message was settled a part that says the same
	// is taken for a repetition: an ESME that got no answer comes again within
	// minutes.
	repeatAge = "10 minutes"
	// mostRepeats is how often it is. What comes more often is no repetition of
	// something that was lost: it is an ESME that counts no references.
	mostRepeats = "20"
	// mostParts is how many parts an open set may have, those that came again
	// counted: four times the most that a message can have. It is settled then,
	// whole or not.
	mostParts = "1020"
)

// partTurns is how many parts are written at once by a process. Each needs a
// connection of the pool for its commit, and others need some too.
const partTurns = 6

// turns bounds what is under way at once.
type turns chan struct{}

func (t turns) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turns) leave() { <-t }

// fingerprintOf is the same for two parts that say the same in the same place:
// whose, from where to where, which of how many, its octets, what receipts it
// asks for and the mark that it gives. The times that it asks for may be relative,
// and are left out.
func fingerprintOf(p message.SMPPPart) []byte {
	h := sha256.New()
	field := func(b []byte) { // with its length, so that no two fields run into one
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
		h.Write(b)
	}
	o := p.Origin
	field(o.CredentialID[:])
	field(binary.BigEndian.AppendUint32(nil, uint32(p.Reference)))
	field([]byte{o.Source.TON, o.Source.NPI, o.Dest.TON, o.Dest.NPI, byte(p.Total), byte(p.Number), p.Coding, o.Registered})
	field([]byte(o.Source.Text))
	field([]byte(o.Dest.Text))
	field(o.Reference)
	field(p.Octets)
	return h.Sum(nil)
}

// The tables are looked up row by row: a plan that was made while they were empty
// would read them whole, and be kept.

// insertRepeats adds the answers of the parts in a set to those of the message
// that they repeat, once it is there.
const insertRepeats = `
insert into smpp_origins (
  message_id, account_id, credential_id, registered, source_ton, source_npi, source, dest_ton, dest_npi, dest, reference, answer_id, ordinal)
select
  m.id, p.account_id, p.credential_id, p.registered, p.source_ton, p.source_npi, p.source, p.dest_ton, p.dest_npi, p.dest, p.user_reference, p.answer_id,
  (select max(o.ordinal) from smpp_origins o where o.message_id = m.id) + row_number() over (order by p.number, p.created_at, p.id)
from smpp_parts p
cross join lateral (
  select id
  from messages
  where id = p.repeats
  offset 0
) m
where p.message_id = $1
  and not exists (
    select
    from smpp_origins o
    where o.message_id = p.repeats and o.answer_id = p.answer_id
    offset 0)`

// settleRepeats writes the receipts that those answers are owed, if the message
// has ended, and takes the parts away.
//
//	$1 set  $2 final statuses  $3, $4 the wishes for a receipt of delivered, and of the others  $5 mask of registered_delivery
const settleRepeats = `
with answered as (
  select p.id, m.id as message_id, m.account_id, m.status, o.ordinal, o.registered, o.credential_id
  from smpp_parts p
  cross join lateral (
    select id, account_id, status
    from messages
    where id = p.repeats
    offset 0
  ) m
  cross join lateral (
    select ordinal, registered, credential_id
    from smpp_origins
    where message_id = p.repeats and answer_id = p.answer_id
    offset 0
  ) o
  where p.message_id = $1
), owed as (
  insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, ordinal, expires_at)
  select gen_random_uuid(), a.credential_id, a.account_id, a.message_id, 'receipt', a.status, a.ordinal, now() + c.mo_lifetime_seconds * interval '1 second'
  from answered a
  join smpp_credentials c on c.id = a.credential_id
  where a.status = any($2::text[])
    and a.registered & $5::smallint = any(case a.status when 'delivered' then $3::smallint[] else $4::smallint[] end)
  on conflict do nothing
)
delete from smpp_parts p
using answered a
where p.id = a.id`

// RepeatParts lets the answers of a set lead to the message that it repeats, and
// takes its parts away. It is done twice, some seconds apart, before done is true:
// the first time makes the answers known, so that whoever ends the message owes
// them their receipts; the second, when nobody is left who could have looked
// before, writes those of a message that had ended. As long as the message is not
// there nothing happens.
func (db *DB) RepeatParts(ctx context.Context, set message.SMPPPartSet) (done bool, err error) {
	if len(set.Parts) == 0 {
		return true, nil
	}
	fail := func(err error) (bool, error) {
		return false, fmt.Errorf("parts that repeat message %s: %w", set.Repeats, err)
	}
	batch := &pgx.Batch{}
	batch.Queue(lockPartSet, lockOf(set.Parts[0])) // the ordinals follow one another
	batch.Queue(insertRepeats, set.MessageID)
	results := db.pool.SendBatch(ctx, batch)
	_, err = results.Exec()
	fresh := int64(0)
	if err == nil {
		tag, eerr := results.Exec()
		fresh, err = tag.RowsAffected(), eerr
	}
	if cerr := results.Close(); err == nil {
		err = cerr // of the commit
	}
	switch {
	case err != nil:
		return fail(err)
	case fresh > 0:
		return false, nil
	}
	var final []string
	for _, s := range message.Statuses() {
		if s.Final() {
			final = append(final, string(s))
		}
	}
	tag, err := db.pool.Exec(ctx, settleRepeats, set.MessageID, final, wishes(message.DeliverReceipt, message.StatusDelivered),
		wishes(message.DeliverReceipt, message.StatusFailed), int16(registeredMask))
	if err != nil {
		return fail(err)
	}
	return tag.RowsAffected() > 0, nil
}

const deleteJoined = `
delete from smpp_joined
where fingerprint in (
  select fingerprint
  from smpp_joined
  where joined_at <= now() - interval '` + repeatAge + `'
  order by joined_at
  limit $1
  for update skip locked)`

// ForgetJoined forgets what parts of messages have said that were joined long ago,
// at most limit of them.
func (db *DB) ForgetJoined(ctx context.Context, limit int) error {
	if _, err := db.pool.Exec(ctx, deleteJoined, limit); err != nil {
		return fmt.Errorf("forget joined parts: %w", err)
	}
	return nil
}
