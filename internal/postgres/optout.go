package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const optOutColumns = `
  id, account_id, recipient, scope, sender, campaign_id, keyword, source, message_id, actor, reason, version, created_at,
  ended_at, ended_by, end_reason, end_message_id`

func scanOptOut(row pgx.CollectableRow) (message.OptOut, error) {
	var o message.OptOut
	var about, by *message.ID
	var ended *time.Time
	err := row.Scan(&o.ID, &o.AccountID, &o.Recipient, &o.Scope, &o.Sender, &o.CampaignID, &o.Keyword, &o.Source, &about, &o.Actor, &o.Reason, &o.Version, &o.At,
		&ended, &o.Ended.Actor, &o.Ended.Reason, &by)
	o.MessageID, o.Ended.At, o.Ended.MessageID = orZero(about), orZero(ended), orZero(by)
	return o, err
}

// insertOptOut writes opt-outs that are not in force already. What is not given a
// time begins now.
const insertOptOut = `
insert into opt_outs (id, account_id, recipient, scope, sender, campaign_id, keyword, source, message_id, actor, reason, created_at)
select id, account_id, recipient, scope, sender, campaign_id, keyword, source, message_id, actor, reason, coalesce(created_at, now())
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::text[], $11::text[], $12::timestamptz[])
  as o (id, account_id, recipient, scope, sender, campaign_id, keyword, source, message_id, actor, reason, created_at)
on conflict (account_id, recipient, scope, sender, campaign_id) where active do nothing
returning` + optOutColumns

func optOutArgs(list []message.OptOut) []any {
	type o = message.OptOut
	return []any{
		pick(list, func(o o) message.ID { return o.ID }),
		pick(list, func(o o) message.ID { return o.AccountID }),
		pick(list, func(o o) string { return string(o.Recipient) }),
		pick(list, func(o o) string { return string(o.Scope) }),
		pick(list, func(o o) string { return string(o.Sender) }),
		pick(list, func(o o) string { return o.CampaignID }),
		pick(list, func(o o) string { return storable(o.Keyword) }),
		pick(list, func(o o) string { return string(o.Source) }),
		pick(list, func(o o) *message.ID { return idOrNull(o.MessageID) }),
		pick(list, func(o o) string { return storable(o.Actor) }),
		pick(list, func(o o) string { return storable(o.Reason) }),
		pick(list, func(o o) *time.Time { return timeOrNull(o.At) }),
	}
}

// selectActive finds what is in force for a recipient. There are few: one for each
// sender or campaign that he has stopped.
const selectActive = `
select` + optOutColumns + `
from opt_outs
where account_id = $1 and recipient = $2 and active
order by id`

// lockOptOuts waits for the turn to write. A statement that looks for rows takes the
// turn first: it then sees what those before it have written.
const lockOptOuts = `
select version
from opt_outs_version
for update`

// RecordOptOut commits an opt-out, unless it is in force already: that one is left as
// it is and comes back. What was given to OnOptOut knows of it when RecordOptOut
// returns, other processes a moment later. When the request's key was seen with another
// body it is ReasonIdempotencyMismatch.
func (db *DB) RecordOptOut(ctx context.Context, o message.OptOut, w message.OptOutWrite) (message.OptOutRecorded, error) {
	var out message.OptOutRecorded
	var key message.Idempotency
	err := db.optOutTx(ctx, func(tx pgx.Tx) ([]message.OptOut, error) {
		var err error
		if out.OptOut, out.Fresh, err = db.recordOptOut(ctx, tx, o, w.Tell); err == nil && w.Staff != nil {
			err = audit(ctx, tx, auditRow{by: *w.Staff, action: "opt_out.create", target: out.OptOut.ID.String()}, nil, shownOptOut(o))
		}
		if err != nil || w.Key == nil {
			return []message.OptOut{out.OptOut}, err
		}
		if key, err = w.Key(out.OptOut, out.Fresh); err != nil {
			return nil, err
		}
		return []message.OptOut{out.OptOut}, db.keepKey(ctx, tx, key)
	})
	if errors.Is(err, errKeySeen) {
		first, err := db.replay(ctx, key)
		return message.OptOutRecorded{Replay: first.Replay}, err
	}
	if err != nil {
		return message.OptOutRecorded{}, fmt.Errorf("record opt-out %s: %w", o.ID, err)
	}
	return out, nil
}

// errKeySeen ends a transaction whose idempotency key has an answer already.
var errKeySeen = errors.New("the idempotency key was used before")

const insertKey = `
insert into idempotency_keys (account_id, operation, key, body_hash, http_status, response)
values ($1, $2, $3, $4, $5, $6)
on conflict do nothing`

// keepKey stores the answer of a request in the transaction of what it did. After
// errKeySeen that must not be committed.
func (db *DB) keepKey(ctx context.Context, tx pgx.Tx, k message.Idempotency) error {
	tag, err := tx.Exec(ctx, insertKey, k.AccountID, k.Operation, k.Key, k.BodyHash[:], k.Status, db.sealer.Seal(k.Response, []byte(k.Key)))
	if err == nil && tag.RowsAffected() == 0 {
		return errKeySeen
	}
	return err
}

// KeepAnswer stores the answer of a request whose work may be done twice, after it was
// done. When another one with the same key was faster its answer comes back, and is the
// one to give; nil: this one is. ReasonIdempotencyMismatch when that had another body.
func (db *DB) KeepAnswer(ctx context.Context, k message.Idempotency) (*message.Idempotency, error) {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error { return db.keepKey(ctx, tx, k) })
	switch {
	case errors.Is(err, errKeySeen):
		return db.FirstAnswer(ctx, k)
	case err != nil:
		return nil, fmt.Errorf("keep the answer of %s: %w", k.Operation, err)
	}
	return nil, nil
}

// optOutTx runs write in a transaction and tells this process of what it wrote.
func (db *DB) optOutTx(ctx context.Context, write func(pgx.Tx) ([]message.OptOut, error)) error {
	tx, err := db.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	written, err := write(tx)
	if err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	db.optedOut(written)
	return nil
}

// OnOptOut has fn called after each commit of this process that has recorded or
// ended opt-outs, so that it need not wait to hear of them. fn must not block. Safe
// for concurrent use; the last one counts.
func (db *DB) OnOptOut(fn func([]message.OptOut)) { db.onOptOut.Store(&fn) }

// optedOut calls what was given to OnOptOut. Whoever records in a transaction of his
// own calls it after the commit with what came back.
func (db *DB) optedOut(list []message.OptOut) {
	if fn := db.onOptOut.Load(); fn != nil && len(list) > 0 {
		(*fn)(list)
	}
}

// recordOptOut writes an opt-out with its events in the transaction of the caller,
// who calls optedOut with it after the commit. False: it was in force before, and
// that one comes back.
func (db *DB) recordOptOut(ctx context.Context, tx pgx.Tx, o message.OptOut, tell message.OptOutTell) (message.OptOut, bool, error) {
	rows, err := tx.Query(ctx, insertOptOut, optOutArgs([]message.OptOut{o})...)
	if err != nil {
		return o, false, err
	}
	made, err := pgx.CollectRows(rows, scanOptOut)
	if err != nil {
		return o, false, err
	}
	if len(made) == 1 {
		return made[0], true, tellAccount(ctx, tx, made, tell)
	}
	// The insert has taken its turn: nobody ends what kept it from being written.
	list, err := activeOptOuts(ctx, tx, o.AccountID, o.Recipient)
	if err != nil {
		return o, false, err
	}
	at := slices.IndexFunc(list, func(is message.OptOut) bool {
		return is.Scope == o.Scope && is.Sender == o.Sender && is.CampaignID == o.CampaignID
	})
	if at < 0 {
		return o, false, errors.New("the opt-out is in force and cannot be found")
	}
	return list[at], false, nil
}

func activeOptOuts(ctx context.Context, q querier, account message.ID, recipient message.Address) ([]message.OptOut, error) {
	rows, err := q.Query(ctx, selectActive, account, string(recipient))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanOptOut)
}

const endOptOuts = `
update opt_outs
set active = false, ended_at = now(), ended_by = $2, end_reason = $3, end_message_id = $4
where id = any($1::uuid[]) and active
returning` + optOutColumns

func endThem(ctx context.Context, tx pgx.Tx, ids []message.ID, by message.OptOutEnd, tell message.OptOutTell) ([]message.OptOut, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, endOptOuts, ids, storable(by.Actor), storable(by.Reason), idOrNull(by.MessageID))
	if err != nil {
		return nil, err
	}
	ended, err := pgx.CollectRows(rows, scanOptOut)
	if err != nil {
		return nil, err
	}
	return ended, tellAccount(ctx, tx, ended, tell)
}

const selectOptOut = `
select` + optOutColumns + `
from opt_outs
where id = $1 and account_id = $2`

// OptOut reads an opt-out of an account, in force or not. Another account's is
// ReasonNotFound, as one that does not exist.
func (db *DB) OptOut(ctx context.Context, account, id message.ID) (message.OptOut, error) {
	return optOutOf(ctx, db.pool, account, id)
}

func optOutOf(ctx context.Context, q querier, account, id message.ID) (message.OptOut, error) {
	rows, err := q.Query(ctx, selectOptOut, id, account)
	if err != nil {
		return message.OptOut{}, fmt.Errorf("read opt-out %s: %w", id, err)
	}
	o, err := pgx.CollectExactlyOneRow(rows, scanOptOut)
	if errors.Is(err, pgx.ErrNoRows) {
		return o, message.Refuse(message.ReasonNotFound, "no opt-out %s", id)
	}
	if err != nil {
		return o, fmt.Errorf("read opt-out %s: %w", id, err)
	}
	return o, nil
}

// EndOptOut ends one opt-out of an account and gives it as it is then. One that had
// ended before stays as it was.
func (db *DB) EndOptOut(ctx context.Context, account, id message.ID, by message.OptOutEnd, tell message.OptOutTell) (message.OptOut, error) {
	var is message.OptOut
	err := db.optOutTx(ctx, func(tx pgx.Tx) (_ []message.OptOut, err error) {
		is, err = endOptOut(ctx, tx, account, id, by, tell)
		return []message.OptOut{is}, err
	})
	return is, err
}

func endOptOut(ctx context.Context, tx pgx.Tx, account, id message.ID, by message.OptOutEnd, tell message.OptOutTell) (message.OptOut, error) {
	is, err := optOutOf(ctx, tx, account, id)
	if err != nil || !is.Active() {
		return is, err
	}
	ended, err := endThem(ctx, tx, []message.ID{id}, by, tell)
	switch {
	case err != nil:
		return is, fmt.Errorf("end opt-out %s: %w", id, err)
	case len(ended) == 1:
		return ended[0], nil
	}
	return optOutOf(ctx, tx, account, id) // somebody was quicker
}

// StoppedBy finds what keeps a sender from a recipient, as the table has it now:
// that of the widest scope.
func (db *DB) StoppedBy(ctx context.Context, account message.ID, sender, recipient message.Address, campaign string) (message.OptOut, bool, error) {
	list, err := activeOptOuts(ctx, db.pool, account, recipient)
	if err != nil {
		return message.OptOut{}, false, fmt.Errorf("read opt-outs of account %s: %w", account, err)
	}
	for _, scope := range []message.OptOutScope{message.OptOutAccount, message.OptOutCampaign, message.OptOutNumber} {
		for _, o := range list {
			if o.Scope == scope && o.Stops(sender, campaign) {
				return o, true, nil
			}
		}
	}
	return message.OptOut{}, false, nil
}

// OptOuts lists opt-outs of an account, newest first, older than before; of all accounts for
// the zero id, which goes by an index when nothing or the recipient narrows it.
func (db *DB) OptOuts(ctx context.Context, account message.ID, f message.OptOutFilter, before message.ID, limit int) ([]message.OptOut, error) {
	sql, args := optOutsQuery(account, f, before, limit)
	rows, err := db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list opt-outs: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanOptOut)
	if err != nil {
		return nil, fmt.Errorf("list opt-outs: %w", err)
	}
	return list, nil
}

func optOutsQuery(account message.ID, f message.OptOutFilter, before message.ID, limit int) (string, []any) {
	if account == (message.ID{}) {
		return allOptOutsQuery(f, before, limit)
	}
	var b strings.Builder
	b.WriteString("select" + optOutColumns + "\nfrom opt_outs\nwhere account_id = $1")
	args := []any{account}
	add := func(cond string, v any) {
		args = append(args, v)
		fmt.Fprintf(&b, "\n  and "+cond, len(args))
	}
	switch {
	case before == (message.ID{}):
	case f.Recipient == "" && f.Sender == "" && f.CampaignID == "":
		// Only the account's own index can tell this: by the primary key, an account
		// with few rows would be looked for among everybody's.
		add("(account_id, id) < ($1, $%d)", before)
	default:
		add("id < $%d", before)
	}
	if f.Recipient != "" {
		add("recipient = $%d", string(f.Recipient))
	}
	if f.Sender != "" {
		add("sender <> '' and sender = $%d", string(f.Sender))
	}
	if f.CampaignID != "" {
		add("campaign_id <> '' and campaign_id = $%d", f.CampaignID)
	}
	switch {
	case f.Active == nil:
	case *f.Active:
		b.WriteString("\n  and active")
	default:
		b.WriteString("\n  and not active") // written out: there is an index for it
	}
	args = append(args, limit)
	fmt.Fprintf(&b, "\norder by id desc\nlimit $%d", len(args))
	return b.String(), args
}

// allOptOutsQuery is for staff: in the order of all, or of one recipient's.
func allOptOutsQuery(f message.OptOutFilter, before message.ID, limit int) (string, []any) {
	q := listing{}
	q.WriteString("select" + optOutColumns + "\nfrom opt_outs\nwhere true")
	if before != (message.ID{}) {
		q.and("id < $%d", before)
	}
	if f.Recipient != "" {
		q.and("recipient = $%d", string(f.Recipient))
	}
	if f.Sender != "" {
		q.and("sender = $%d", string(f.Sender))
	}
	if f.CampaignID != "" {
		q.and("campaign_id = $%d", f.CampaignID)
	}
	if f.Active != nil {
		q.and("active = $%d", *f.Active)
	}
	return q.newest(limit)
}

// ImportOptOuts records a batch in one transaction and gives how many of them are
// fresh: the others were in force before, or stand twice in the batch. The account's
// webhooks are not told.
func (db *DB) ImportOptOuts(ctx context.Context, batch []message.OptOut) (int, error) {
	fresh := 0
	err := db.optOutTx(ctx, func(tx pgx.Tx) ([]message.OptOut, error) {
		rows, err := tx.Query(ctx, insertOptOut, optOutArgs(batch)...)
		if err != nil {
			return nil, err
		}
		made, err := pgx.CollectRows(rows, scanOptOut)
		fresh = len(made)
		return made, err
	})
	if err != nil {
		return 0, fmt.Errorf("import opt-outs: %w", err)
	}
	return fresh, nil
}

// tellAccount writes the events of opt-outs.
func tellAccount(ctx context.Context, tx pgx.Tx, list []message.OptOut, tell message.OptOutTell) error {
	if tell == nil {
		return nil
	}
	var events []message.AccountEvent
	for _, o := range list {
		e, err := tell(o)
		if err != nil {
			return err
		}
		events = append(events, e)
	}
	return recordEvents(ctx, tx, events...)
}
