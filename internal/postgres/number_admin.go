package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const fromNumbers = `select` + numberColumns + `
from numbers n
left join campaigns c on c.id = n.campaign`

// $1 behind this number, empty from the first  $2 account, null for all  $3 vendor, null
// for all  $4 type, empty for all  $5 how many
const selectNumberStates = fromNumbers + `
where n.number > $1
  and ($2::uuid is null or n.account_id = $2)
  and ($3::uuid is null or n.vendor_id = $3)
  and ($4::text = '' or n.type = $4)
order by n.number
limit $5`

const selectNumberState = fromNumbers + `
where n.number = $1`

const lockNumberState = selectNumberState + `
for update of n`

// Numbers lists numbers of all accounts in the order of their digits: at most limit,
// behind the number `after` when that is not empty.
func (db *DB) Numbers(ctx context.Context, f snapshot.NumberFilter, after message.Address, limit int) ([]snapshot.NumberState, error) {
	rows, err := db.pool.Query(ctx, selectNumberStates, string(after), idOrNull(f.AccountID), idOrNull(f.VendorID), string(f.Type), limit)
	if err != nil {
		return nil, fmt.Errorf("list numbers: %w", err)
	}
	return pgx.CollectRows(rows, scanNumber)
}

// Number reads one. ReasonNotFound when there is none.
func (db *DB) Number(ctx context.Context, number message.Address) (snapshot.NumberState, error) {
	return oneNumber(ctx, db.pool, selectNumberState, number)
}

func oneNumber(ctx context.Context, q querier, sql string, number message.Address) (snapshot.NumberState, error) {
	rows, err := q.Query(ctx, sql, string(number))
	if err != nil {
		return snapshot.NumberState{}, fmt.Errorf("read a number: %w", err)
	}
	n, err := pgx.CollectExactlyOneRow(rows, scanNumber)
	if errors.Is(err, pgx.ErrNoRows) {
		return n, message.Refuse(message.ReasonNotFound, "there is no such number")
	}
	return n, err
}

const insertNumbers = `
insert into numbers (number, account_id, vendor_id, type, sms_enabled, mms_enabled, verification, tag, "group", leased_until, rate_limit, auto_reply)
select *
from unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::boolean[], $6::boolean[], $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::integer[], $12::text[])`

// lockNumberOwners keeps the accounts and vendors of new numbers until the transaction
// ends, and tells which there are.
const lockNumberOwners = `
select id
from accounts
where id = any($1::uuid[]) and status <> 'closed'
order by id
for key share`

const lockNumberHosts = `
select id
from vendors
where id = any($1::uuid[])
order by id
for key share`

const selectTaken = `
select number
from numbers
where number = any($1::text[])`

// errRehearsed ends the transaction of what was only to be tried.
var errRehearsed = errors.New("it was only tried")

// AddNumbers gives numbers to accounts, all or none of them. When something is against
// it the error names each number that it is about, by its place in the list, as
// numbers[0].account_id: ReasonConflict when all of that is that the numbers are taken. A
// rehearsal finds the same and writes nothing.
func (db *DB) AddNumbers(ctx context.Context, by Actor, list []snapshot.Number, rehearse bool) error {
	action, target := "number.create", ""
	shown := map[string]any{"numbers": len(list)}
	if len(list) == 1 {
		target, shown = string(list[0].Number), shownNumber(list[0])
	} else {
		action = "number.import"
	}
	err := db.audited(ctx, by, action, target, shown, func(tx pgx.Tx) error {
		if err := addable(ctx, tx, list); err != nil {
			return err
		}
		type n = snapshot.Number
		_, err := tx.Exec(ctx, insertNumbers,
			pick(list, func(n n) string { return string(n.Number) }), pick(list, func(n n) message.ID { return n.AccountID }),
			pick(list, func(n n) *message.ID { return idOrNull(n.VendorID) }), pick(list, func(n n) string { return string(n.Type) }),
			pick(list, func(n n) bool { return n.SMSEnabled }), pick(list, func(n n) bool { return n.MMSEnabled }),
			pick(list, func(n n) string { return orElse(n.Verification, "unverified") }),
			pick(list, func(n n) string { return storable(n.Tag) }), pick(list, func(n n) string { return storable(n.Group) }),
			pick(list, func(n n) *time.Time { return timeOrNull(n.LeasedUntil) }),
			pick(list, func(n n) int { return n.RateLimit }), pick(list, func(n n) string { return storable(n.AutoReply) }))
		switch {
		case sqlState(err) == uniqueViolation:
			return message.Because(message.ReasonConflict, err, "somebody has taken one of the numbers meanwhile")
		case err == nil && rehearse:
			return errRehearsed
		}
		return err
	})
	if errors.Is(err, errRehearsed) {
		return nil
	}
	return err
}

// addable looks at what new numbers refer to.
func addable(ctx context.Context, tx pgx.Tx, list []snapshot.Number) error {
	accounts, err := found[message.ID](ctx, tx, lockNumberOwners, pick(list, func(n snapshot.Number) message.ID { return n.AccountID }))
	if err != nil {
		return err
	}
	vendors, err := found[message.ID](ctx, tx, lockNumberHosts, pick(list, func(n snapshot.Number) message.ID { return n.VendorID }))
	if err != nil {
		return err
	}
	taken, err := found[message.Address](ctx, tx, selectTaken, pick(list, func(n snapshot.Number) message.Address { return n.Number }))
	if err != nil {
		return err
	}
	var wrong []message.FieldError
	reason := message.ReasonConflict
	add := func(i int, field, says string, r message.Reason) {
		wrong = append(wrong, message.FieldError{Location: fmt.Sprintf("numbers[%d].%s", i, field), Message: says})
		if r != message.ReasonConflict {
			reason = r
		}
	}
	for i, n := range list {
		if taken[n.Number] {
			add(i, "number", "is somebody's already", message.ReasonConflict)
		}
		if !accounts[n.AccountID] {
			add(i, "account_id", "there is no such customer, or it is closed", message.ReasonInvalidRequest)
		}
		if n.VendorID != (message.ID{}) && !vendors[n.VendorID] {
			add(i, "vendor_id", "there is no such vendor", message.ReasonInvalidRequest)
		}
	}
	if wrong == nil {
		return nil
	}
	return &message.Error{Reason: reason, Detail: fmt.Sprintf("%s: %s", wrong[0].Location, wrong[0].Message), Fields: wrong}
}

// found is the set of what a statement finds of a list.
func found[T comparable](ctx context.Context, tx pgx.Tx, sql string, list []T) (map[T]bool, error) {
	rows, err := tx.Query(ctx, sql, list)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[T])
	set := make(map[T]bool, len(all))
	for _, v := range all {
		set[v] = true
	}
	return set, err
}

const updateNumberState = `
update numbers
set account_id = $2,
    vendor_id = $3,
    type = $4,
    sms_enabled = $5,
    mms_enabled = $6,
    verification = $7,
    tag = $8,
    "group" = $9,
    leased_until = $10,
    rate_limit = $11,
    auto_reply = $12,
    updated_at = now()
where number = $1`

// UpdateNumber has change make a number into what it is to be; its digits and its
// campaign stay. One that is in a campaign keeps its account: ReasonConflict.
// ReasonNotFound when there is no such number.
func (db *DB) UpdateNumber(ctx context.Context, by Actor, number message.Address, change func(*snapshot.NumberState) error) (snapshot.NumberState, error) {
	var made snapshot.NumberState
	before, after := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, "number.update", string(number), before, after, func(tx pgx.Tx) error {
		was, err := oneNumber(ctx, tx, lockNumberState, number)
		if err != nil {
			return err
		}
		is := was
		if err := change(&is); err != nil {
			return err
		}
		if is.AccountID != was.AccountID && was.Campaign != (message.ID{}) {
			return message.Refuse(message.ReasonConflict, "the number is in a campaign of its customer; take it out there first")
		}
		if err := movable(ctx, tx, was.Number, is.Number); err != nil {
			return err
		}
		if err := exactlyOne(tx.Exec(ctx, updateNumberState, string(number), is.AccountID, idOrNull(is.VendorID), is.Type, is.SMSEnabled, is.MMSEnabled,
			orElse(is.Verification, "unverified"), storable(is.Tag), storable(is.Group), timeOrNull(is.LeasedUntil), is.RateLimit, storable(is.AutoReply))); err != nil {
			return err
		}
		differences(shownNumber(was.Number), shownNumber(is.Number), before, after)
		made, err = oneNumber(ctx, tx, selectNumberState, number)
		return err
	})
	return made, err
}

const deleteLeftRoutes = `
delete from inbound_routes
where number = $1 and account_id <> $2`

// movable looks at the account and the vendor that a number gets. Where the messages to it
// went is its former account's, and is taken away.
func movable(ctx context.Context, tx pgx.Tx, was, is snapshot.Number) error {
	if is.AccountID == was.AccountID && is.VendorID == was.VendorID {
		return nil
	}
	one := is
	one.Number = "" // it is no new one
	if err := addable(ctx, tx, []snapshot.Number{one}); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, deleteLeftRoutes, string(was.Number), is.AccountID)
	return err
}

const deleteNumber = `
delete from numbers
where number = $1`

// DeleteNumber takes a number away from its account. ReasonConflict for one in a
// campaign, which its registry still counts, ReasonNotFound when there is none.
func (db *DB) DeleteNumber(ctx context.Context, by Actor, number message.Address) error {
	before := map[string]any{}
	return db.auditedChange(ctx, by, "number.delete", string(number), before, nil, func(tx pgx.Tx) error {
		was, err := oneNumber(ctx, tx, lockNumberState, number)
		if err != nil {
			return err
		}
		if was.Campaign != (message.ID{}) {
			return message.Refuse(message.ReasonConflict, "the number is in a campaign; take it out there first")
		}
		for name, v := range shownNumber(was.Number) {
			before[name] = v
		}
		return exactlyOne(tx.Exec(ctx, deleteNumber, string(number)))
	})
}

// shownNumber is a number's settings for the audit log.
func shownNumber(n snapshot.Number) map[string]any {
	return map[string]any{"account_id": n.AccountID.String(), "vendor_id": n.VendorID.String(), "type": n.Type, "sms_enabled": n.SMSEnabled, "mms_enabled": n.MMSEnabled,
		"verification": n.Verification, "tag": n.Tag, "group": n.Group, "leased_until": n.LeasedUntil.UTC().Format(time.RFC3339), "rate_limit": n.RateLimit, "auto_reply": n.AutoReply}
}
