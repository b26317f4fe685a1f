package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const selectStoredIDs = `
select id, status, reason, reason_detail
from messages
where id = any($1) and id between $2 and $3`

const selectStoredKeys = `
select k.account_id, k.operation, k.key
from unnest($1::uuid[], $2::text[], $3::text[]) as g (account_id, operation, key)
join idempotency_keys k on k.account_id = g.account_id and k.operation = g.operation and k.key = g.key`

const insertReservations = `
insert into reservations (message_id, account_id, number, kind, parts, micros, prepaid, at)
select *
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::bigint[], $7::boolean[], $8::timestamptz[])`

type keyOf struct {
	account        message.ID
	operation, key string
}

// reserving is one try at accepting a group with what its messages need of the
// limits and balances of their accounts, under the locks of these.
type reserving struct {
	db    *DB
	group []*acceptance
	meters

	ids  map[message.ID]message.Fit // of messages that are there already
	keys map[keyOf]bool             // that are there already, or are with this

	write   []*acceptance // what is inserted: as it came, or rejected
	decided []*acceptance // of those, the ones that must be stored by this
	held    []*acceptance // of those, the ones with a reservation
	fits    map[message.ID]message.Fit
}

// reserve writes a group in one transaction like insert, each message with what it
// needs of its account's limits and balance, in the order in which they entered. One
// that does not fit is written as rejected. What was stored before, or has a key
// that was seen before, takes nothing.
func (a *acceptor) reserve(group []*acceptance) (map[message.ID]kept, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	accounts := make([]message.ID, 0, len(group))
	for _, item := range group {
		accounts = append(accounts, item.Message.AccountID)
	}
	var out map[message.ID]kept
	owes := false
	err := a.db.underLock(ctx, accounts, func(tx pgx.Tx) (err error) {
		r := &reserving{db: a.db, group: group}
		if err := r.lookUp(ctx, tx); err != nil {
			return err
		}
		if err := r.decide(ctx, tx, accounts); err != nil {
			return err
		}
		out, owes, err = r.store(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("journal: accept: %w", err)
	}
	if owes && len(out) > 0 {
		a.db.owed()
	}
	return out, nil
}

// lookUp finds what was stored before.
func (r *reserving) lookUp(ctx context.Context, tx pgx.Tx) error {
	r.ids, r.keys = map[message.ID]message.Fit{}, map[keyOf]bool{}
	var ids, accounts []message.ID
	var operations, keys []string
	for _, item := range r.group {
		ids = append(ids, item.Message.ID)
		if k := item.Idempotency; k != nil {
			accounts, operations, keys = append(accounts, k.AccountID), append(operations, k.Operation), append(keys, k.Key)
		}
	}
	b := &pgx.Batch{}
	b.Queue(selectStoredIDs, among(ids)...).Query(func(rows pgx.Rows) error {
		var id message.ID
		var status, reason, detail string
		_, err := pgx.ForEachRow(rows, []any{&id, &status, &reason, &detail}, func() error {
			r.ids[id] = storedFit(message.Status(status), message.Reason(reason), detail)
			return nil
		})
		return err
	})
	if len(keys) > 0 {
		b.Queue(selectStoredKeys, accounts, operations, keys).Query(func(rows pgx.Rows) error {
			var k keyOf
			_, err := pgx.ForEachRow(rows, []any{&k.account, &k.operation, &k.key}, func() error {
				r.keys[k] = true
				return nil
			})
			return err
		})
	}
	return tx.SendBatch(ctx, b).Close()
}

// storedFit is what was decided of a message that is there.
func storedFit(status message.Status, reason message.Reason, detail string) message.Fit {
	rule := map[message.Reason]string{message.ReasonQuotaExceeded: message.RuleQuota, message.ReasonInsufficientBalance: message.RuleBalance}[reason]
	if status != message.StatusRejected || rule == "" {
		return message.Fit{}
	}
	return message.Fit{Refused: &message.Error{Reason: reason, Detail: detail},
		Trail: []message.TrailEntry{{Rule: rule, Result: message.Refused, Detail: detail}}}
}

// decide says which messages fit. A refusal stands only when everything that has
// ended was settled.
func (r *reserving) decide(ctx context.Context, tx pgx.Tx, accounts []message.ID) error {
	var of []measured
	for _, item := range r.group {
		if item.meters() {
			of = append(of, measuredOf(item.Message))
		}
	}
	for {
		more, err := r.load(ctx, tx, accounts, of)
		if err != nil {
			return err
		}
		refused, err := r.try()
		if err != nil || !refused || !more {
			return err
		}
	}
}

// meters reports whether the message takes of limits and balance.
func (item *acceptance) meters() bool {
	return item.Metered && item.Message.Status == message.StatusAccepted
}

// try decides on the group by what was loaded, and reports whether something was
// refused.
func (r *reserving) try() (refused bool, err error) {
	r.write, r.decided, r.held, r.fits = nil, nil, nil, map[message.ID]message.Fit{}
	taken, entered := map[keyOf]bool{}, map[message.ID]bool{}
	for _, item := range r.group {
		id := item.Message.ID
		if entered[id] {
			continue // it is in this group twice
		}
		key := item.keyOf()
		if key != nil && (r.keys[*key] || taken[*key]) {
			continue // the first answer is its answer
		}
		entered[id] = true
		if fit, ok := r.ids[id]; ok {
			again := *item
			again.Idempotency = nil // whoever stored it has decided what is kept beside it
			r.write = append(r.write, &again)
			r.fits[id] = fit
			continue
		}
		if item.meters() {
			fit := r.take(measuredOf(item.Message), int64(item.Message.Segments), item.Message.Price)
			r.fits[id] = fit
			if fit.Refused != nil {
				refused = true
				if item, err = item.rejected(r.db, fit); err != nil {
					return true, err
				}
				key = item.keyOf()
			} else {
				r.held = append(r.held, item)
			}
		}
		if key != nil {
			taken[*key] = true
		}
		r.write, r.decided = append(r.write, item), append(r.decided, item)
	}
	return refused, nil
}

func (item *acceptance) keyOf() *keyOf {
	if k := item.Idempotency; k != nil {
		return &keyOf{k.AccountID, k.Operation, k.Key}
	}
	return nil
}

// rejected is a copy of the acceptance with its message refused.
func (item *acceptance) rejected(db *DB, fit message.Fit) (*acceptance, error) {
	out, m := *item, *item.Message
	m.Status, m.Error = message.StatusRejected, fit.Refused
	out.Message, out.Trail = &m, fit.In(item.Trail)
	out.Idempotency, out.answer, out.Notifications = nil, nil, nil
	if item.Unfit == nil {
		return &out, nil
	}
	var err error
	if out.Idempotency, out.Notifications, err = item.Unfit(&m); err != nil {
		return nil, err
	}
	if k := out.Idempotency; k != nil {
		out.answer = db.sealer.Seal(k.Response, []byte(k.Key))
	}
	return &out, nil
}

// store writes what was decided. What is not stored although nothing was there came
// in between, by a process that does not reserve: the transaction is made anew.
func (r *reserving) store(ctx context.Context, tx pgx.Tx) (out map[message.ID]kept, owes bool, err error) {
	out = make(map[message.ID]kept, len(r.write))
	if len(r.write) == 0 {
		return out, false, nil
	}
	sql, args, owes := acceptStatement(r.write)
	b := &pgx.Batch{}
	b.Queue(sql, args...).Query(func(rows pgx.Rows) error { return scanKept(rows, out) })
	if len(r.held) > 0 {
		b.Queue(insertReservations, r.reservations()...)
		r.meters.write(b, r.held[0].Message.Price.Currency)
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, false, err
	}
	for _, item := range r.decided {
		if !out[item.Message.ID].stored {
			return nil, false, errMoved
		}
	}
	for id, k := range out {
		k.fit = r.fits[id]
		out[id] = k
	}
	return out, owes, nil
}

func (r *reserving) reservations() []any {
	prepaid := func(m *message.Message) bool { a := r.of[m.AccountID]; return a != nil && a.prepaid }
	type a = *acceptance
	return []any{
		column(r.held, func(i a) message.ID { return i.Message.ID }),
		column(r.held, func(i a) message.ID { return i.Message.AccountID }),
		column(r.held, func(i a) string { return string(i.Message.From) }),
		column(r.held, func(i a) string { return string(i.Message.Kind) }),
		column(r.held, func(i a) int32 { return int32(i.Message.Segments) }),
		column(r.held, func(i a) int64 {
			if !prepaid(i.Message) {
				return 0
			}
			return int64(i.Message.Price.Amount)
		}),
		column(r.held, func(i a) bool { return prepaid(i.Message) }),
		column(r.held, func(i a) time.Time { return i.Message.CreatedAt }),
	}
}
