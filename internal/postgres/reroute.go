package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// lockRerouted takes the message as every step of its life does, so that it neither
// leaves nor ends while its vendor is named.
const lockRerouted = `
select account_id, direction, status, delivery
from messages
where id = $1
for update`

const selectRouteOverride = `
select vendor_id
from route_overrides
where message_id = $1`

const selectVendorName = `
select instance_name
from vendors
where id = $1`

const upsertRouteOverride = `
insert into route_overrides (message_id, vendor_id, actor, reason)
values ($1, $2, $3, $4)
on conflict (message_id) do update
set vendor_id = excluded.vendor_id, actor = excluded.actor, reason = excluded.reason, at = now()`

const deleteRouteOverride = `
delete from route_overrides
where message_id = $1`

// raiseRevision makes every step that has read the message before, in whichever
// process, read it anew.
const raiseRevision = `
update messages
set revision = revision + 1
where id = $1 and status = any($2)`

// SetRouteOverride names the vendor that a message is to be offered to, and no other;
// the zero vendor takes that back. The timeline and the audit log say who and why;
// repeated it changes nothing. ReasonConflict when it is too late: the message has
// ended, was sent, or may have been. ReasonInvalidRequest when there is no such vendor.
//
// A message that has not been routed yet is routed so; the workflow of one that has is
// to be told, and asks for the way again.
func (db *DB) SetRouteOverride(ctx context.Context, by Actor, id, vendor message.ID, reason string) error {
	reason = strings.TrimSpace(reason)
	if utf8.RuneCountInString(reason) > maxReviewReason || storable(reason) != reason {
		return message.Refuse(message.ReasonInvalidRequest, "reason: at most %d characters of text", maxReviewReason)
	}
	tx, err := db.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("reroute %s: %w", id, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := reroute(ctx, tx, by, id, vendor, reason); err != nil {
		return fmt.Errorf("reroute %s: %w", id, err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("reroute %s: commit: %w", id, err)
	}
	db.envelopes.take(id) // what is remembered has the old revision
	return nil
}

func reroute(ctx context.Context, tx pgx.Tx, by Actor, id, vendor message.ID, reason string) error {
	m := message.Message{ID: id}
	err := tx.QueryRow(ctx, lockRerouted, id).Scan(&m.AccountID, &m.Direction, &m.Status, &m.Delivery)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return message.Refuse(message.ReasonNotFound, "no message %s", id)
	case err != nil:
		return err
	case m.Direction != message.Outbound:
		return message.Refuse(message.ReasonConflict, "an inbound message has no route")
	case m.Status.Final() || m.Status == message.StatusSent:
		return message.Refuse(message.ReasonConflict, "the message is %s: it has no way to go any more", m.Status)
	case m.Status == message.StatusInDoubt && m.Delivery == message.AtMostOnce:
		return message.Refuse(message.ReasonConflict, "the message is in doubt and may have been sent; it is sent at most once")
	}
	var was message.ID
	if err := tx.QueryRow(ctx, selectRouteOverride, id).Scan(&was); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if was == vendor {
		return nil
	}
	line := map[string]any{"action": "reroute", "actor": by.Name, "note": reason}
	before, after := map[string]any{}, map[string]any{"account_id": m.AccountID, "reason": reason}
	if was != (message.ID{}) {
		before["vendor_id"] = was
	}
	if vendor != (message.ID{}) {
		name, err := vendorName(ctx, tx, vendor)
		if err != nil {
			return err
		}
		line["vendor"], after["vendor_id"] = name, vendor
	}
	if err := writeOverride(ctx, tx, by, id, vendor, reason); err != nil {
		return err
	}
	if err := exactlyOne(tx.Exec(ctx, insertStaffAction, id, line)); err != nil {
		return err
	}
	return audit(ctx, tx, auditRow{by: by, action: "message.reroute", target: id.String()}, before, after)
}

func vendorName(ctx context.Context, tx pgx.Tx, vendor message.ID) (name string, err error) {
	err = tx.QueryRow(ctx, selectVendorName, vendor).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", message.Refuse(message.ReasonInvalidRequest, "no vendor %s", vendor)
	}
	return name, err
}

func writeOverride(ctx context.Context, tx pgx.Tx, by Actor, id, vendor message.ID, reason string) error {
	var err error
	if vendor == (message.ID{}) {
		_, err = tx.Exec(ctx, deleteRouteOverride, id)
	} else {
		_, err = tx.Exec(ctx, upsertRouteOverride, id, vendor, by.Name, reason)
	}
	if err == nil {
		_, err = tx.Exec(ctx, raiseRevision, id, revisable())
	}
	return err
}

// RouteOverride is the vendor that staff have named for a message; zero when they have
// not.
func (db *DB) RouteOverride(ctx context.Context, id message.ID) (message.ID, error) {
	var vendor message.ID
	err := db.pool.QueryRow(ctx, selectRouteOverride, id).Scan(&vendor)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return message.ID{}, fmt.Errorf("read the vendor named for %s: %w", id, err)
	}
	return vendor, nil
}

// selectLastVendor looks at no more than the newest messages of an account to a
// recipient, from whichever senders: an account that writes to one number all day is
// not read from end to end.
const selectLastVendor = `
select m.vendor_id
from (
  select id, from_addr, direction, vendor_id, submitted_at
  from messages
  where to_addr = $3 and account_id = $1
  order by id desc
  limit 50
) m
where m.from_addr = $2
  and m.direction = 'outbound'
  and m.submitted_at is not null
  and m.vendor_id is not null
order by m.id desc
limit 1`

// LastVendor is the vendor that took the newest message of a conversation that a vendor
// took; zero when none of the account's newest messages to the recipient is of it.
func (db *DB) LastVendor(ctx context.Context, account message.ID, from, to message.Address) (message.ID, error) {
	var vendor message.ID
	err := db.pool.QueryRow(ctx, selectLastVendor, account, string(from), string(to)).Scan(&vendor)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return message.ID{}, fmt.Errorf("read the last vendor of a conversation: %w", err)
	}
	return vendor, nil
}
