package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const selectStrangers = receiptColumns + `
where message_id is null and state in ('DELIVRD', 'UNDELIV', 'REJECTD', 'DELETED', 'EXPIRED') and id < $1
order by id desc
limit $2`

// UnmatchedReceipts lists the receipts that decide something and match nothing, newest
// first, older than before when that is not zero.
func (db *DB) UnmatchedReceipts(ctx context.Context, before message.ID, limit int) ([]message.Receipt, error) {
	if before == (message.ID{}) {
		before = lastID
	}
	return db.receipts(ctx, selectStrangers, before, limit)
}

const selectStranger = receiptColumns + `
where id = $1 and message_id is null`

// UnmatchedReceipt reads a receipt that matches nothing. ReasonNotFound when there is none
// of the id.
func (db *DB) UnmatchedReceipt(ctx context.Context, id message.ID) (message.Receipt, error) {
	list, err := db.receipts(ctx, selectStranger, id)
	if err == nil && len(list) == 0 {
		err = message.Refuse(message.ReasonNotFound, "no receipt %s waits: it may have found its message meanwhile", id)
	}
	if err != nil {
		return message.Receipt{}, err
	}
	return list[0], nil
}

const lockReceipt = receiptColumns + `
where id = $1
for update`

const selectMatched = `
select message_id is not null
from receipts
where id = $1`

// lockNewest takes the newest attempt of a part, which speaks for it.
const lockNewest = `
select attempt, vendor_id, state
from segments
where message_id = $1 and part = $2
order by attempt desc
limit 1
for update`

// nameByHand gives a part the id that the receipt carries, and with it those of the
// same try that had one id. No two tries get the same.
const nameByHand = `
update segments
set normalized_id = $4,
    vendor_message_id = case when vendor_message_id = '' then $4 else vendor_message_id end
where message_id = $1 and attempt = $3
  and (part = $2 or normalized_id = (select normalized_id from segments where message_id = $1 and part = $2 and attempt = $3))
  and not exists (
    select
    from segments o
    where o.vendor_id = $5 and o.normalized_id = $4 and o.message_id >= $6 and o.state in ('sending', 'submitted', 'in_doubt')
      and (o.message_id, o.attempt) <> ($1, $3))`

// tryNow lets the next look at receipts that match nothing find this one.
const tryNow = `
update receipts
set try_at = now()
where id = $1`

// MatchReceipt gives a receipt that matches nothing to the part that staff name: the
// part gets the receipt's id, so that the receipt matches it like any other, now or, if
// this process dies, by the next look. ReasonNotFound when there is no such receipt or
// part, ReasonConflict when the receipt has its part, or the part is of another vendor
// or decided.
func (db *DB) MatchReceipt(ctx context.Context, by Actor, receipt, id message.ID, part int) (message.Matched, error) {
	var r message.Receipt
	shown := map[string]any{"message_id": id, "part": part}
	err := db.audited(ctx, by, "receipt.match", receipt.String(), shown, func(tx pgx.Tx) (err error) {
		if r, err = stranger(ctx, tx, receipt); err != nil {
			return err
		}
		shown["state"], shown["vendor_id"] = r.State, r.VendorID
		if err := nameAfter(ctx, tx, r, id, part); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, tryNow, receipt); err != nil {
			return err
		}
		detail := detailJSON(map[string]any{"action": "match_receipt", "actor": by.Name, "part": part, "stat": r.State})
		_, err = tx.Exec(ctx, insertStaffAction, id, detail)
		return err
	})
	if err != nil {
		return message.Matched{}, err
	}
	return db.match(ctx, r, rematchReceipt, matchArgs(r))
}

// stranger takes the receipt if it matches nothing.
func stranger(ctx context.Context, tx pgx.Tx, id message.ID) (message.Receipt, error) {
	matched := false
	err := tx.QueryRow(ctx, selectMatched, id).Scan(&matched)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return message.Receipt{}, message.Refuse(message.ReasonNotFound, "no receipt %s", id)
	case err != nil:
		return message.Receipt{}, err
	case matched:
		return message.Receipt{}, message.Refuse(message.ReasonConflict, "the receipt is a part's already")
	}
	rows, err := tx.Query(ctx, lockReceipt, id)
	if err != nil {
		return message.Receipt{}, err
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanReceipt)
	if err != nil {
		return r, err
	}
	if _, decides := r.State.PartState(); !decides {
		return r, message.Refuse(message.ReasonConflict, "the receipt decides nothing")
	}
	return r, nil
}

// nameAfter gives the part the receipt's id.
func nameAfter(ctx context.Context, tx pgx.Tx, r message.Receipt, id message.ID, part int) error {
	var attempt int
	var vendor message.ID
	var state message.PartState
	err := tx.QueryRow(ctx, lockNewest, id, part).Scan(&attempt, &vendor, &state)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return message.Refuse(message.ReasonNotFound, "part %d of message %s was never submitted", part, id)
	case err != nil:
		return err
	case vendor != r.VendorID:
		return message.Refuse(message.ReasonConflict, "the part is with another vendor")
	case state != message.PartSending && state != message.PartSubmitted && state != message.PartInDoubt:
		return message.Refuse(message.ReasonConflict, "the part is %s", state)
	}
	tag, err := tx.Exec(ctx, nameByHand, id, part, attempt, storable(r.VendorMessageID), r.VendorID, receiptsFrom(time.Now()))
	if err == nil && tag.RowsAffected() == 0 {
		return message.Refuse(message.ReasonConflict, "another part has the receipt's id")
	}
	return err
}
