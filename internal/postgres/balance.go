package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const upsertLimit = `
insert into usage_limits (account_id, number, kind, period, parts)
values ($1, $2, $3, $4, $5)
on conflict (account_id, number, kind, period) do update
set parts = excluded.parts`

// SetUsageLimit sets how much an account, or one number of it, may send in a period.
// What was sent in the period that is now counts: with the first limit of a period
// the journal is read for it, here and not while a customer waits.
func (db *DB) SetUsageLimit(ctx context.Context, by Actor, l message.UsageLimit) error {
	shown := map[string]any{"number": l.Number, "type": l.Kind, "period": l.Period, "parts": l.Parts}
	err := db.audited(ctx, by, "usage_limit.set", l.AccountID.String(), shown, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, upsertLimit, l.AccountID, string(l.Number), string(l.Kind), string(l.Period), l.Parts)
		if sqlState(err) == foreignKeyViolation {
			return message.Because(message.ReasonNotFound, err, "there is no such account")
		}
		return err
	})
	if err == nil {
		_, err = db.Limits(ctx, l.AccountID, time.Now())
	}
	return err
}

const deleteLimit = `
delete from usage_limits
where account_id = $1 and number = $2 and kind = $3 and period = $4`

// RemoveUsageLimit takes a limit away. ReasonNotFound when there is none.
func (db *DB) RemoveUsageLimit(ctx context.Context, by Actor, l message.UsageLimit) error {
	shown := map[string]any{"number": l.Number, "type": l.Kind, "period": l.Period}
	return db.audited(ctx, by, "usage_limit.remove", l.AccountID.String(), shown, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, deleteLimit, l.AccountID, string(l.Number), string(l.Kind), string(l.Period)))
	})
}

const selectLimited = `
select distinct number, kind
from usage_limits
where account_id = $1`

// Limits lists an account's limits with what is taken of them in the periods that
// at lies in: those of the account first, then number by number. What has ended is
// settled first.
func (db *DB) Limits(ctx context.Context, account message.ID, at time.Time) ([]message.Usage, error) {
	rows, err := db.pool.Query(ctx, selectLimited, account)
	if err != nil {
		return nil, fmt.Errorf("list limits: %w", err)
	}
	of, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (measured, error) {
		m := measured{account: account, at: at}
		err := row.Scan(&m.from, &m.kind)
		return m, err
	})
	if err != nil || len(of) == 0 {
		return nil, err
	}
	var out []message.Usage
	err = db.settled(ctx, account, of, func(ms *meters) {
		out = nil
		a := ms.of[account]
		for _, l := range a.limits {
			start, end := l.Period.Span(at, a.zone)
			u := message.Usage{UsageLimit: l.UsageLimit, ResetsAt: end}
			if c := ms.counters[counterKey{l.id, start.Unix()}]; c != nil {
				u.Used = c.used
			}
			out = append(out, u)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list limits: %w", err)
	}
	return out, nil
}

// settled settles everything of an account that has ended and gives look its meters,
// under the lock. look may run again.
func (db *DB) settled(ctx context.Context, account message.ID, of []measured, look func(*meters)) error {
	ms := &meters{}
	for more := true; more; {
		err := db.underLock(ctx, []message.ID{account}, func(tx pgx.Tx) (err error) {
			if more, err = ms.load(ctx, tx, []message.ID{account}, of); err == nil && !more && ms.of[account] != nil {
				look(ms)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Fits says whether a message would fit into its account's limits and balance now.
// Nothing is taken.
func (db *DB) Fits(ctx context.Context, m *message.Message) (message.Fit, error) {
	var fit message.Fit
	of := measuredOf(m)
	err := db.settled(ctx, m.AccountID, []measured{of}, func(ms *meters) {
		fit = ms.take(of, int64(m.Segments), m.Price)
	})
	if err != nil {
		return message.Fit{}, fmt.Errorf("look at the limits: %w", err)
	}
	return fit, nil
}

// Balance reads the money of an account. What has ended is settled first.
func (db *DB) Balance(ctx context.Context, account message.ID) (message.Balance, error) {
	var b message.Balance
	err := db.settled(ctx, account, nil, func(ms *meters) {
		a := ms.of[account]
		b = message.Balance{Prepaid: a.prepaid, Amount: a.balance, Reserved: a.reserved, Currency: a.currency}
	})
	if err != nil {
		return message.Balance{}, fmt.Errorf("read the balance: %w", err)
	}
	return b, nil
}

const entryColumns = `
select id, sequence, account_id, kind, amount_micros, currency, message_id, balance_after_micros, actor, reason, reference, at
from balance_entries`

const selectEntries = entryColumns + `
where account_id = $1 and sequence < $2
order by sequence desc
limit $3`

// BalanceEntries lists an account's ledger, newest first: at most limit, from before
// the entry with the sequence. 0: from the newest, and what has ended is settled
// first.
func (db *DB) BalanceEntries(ctx context.Context, account message.ID, before int64, limit int) ([]message.BalanceEntry, error) {
	if before == 0 {
		if err := db.settled(ctx, account, nil, func(*meters) {}); err != nil {
			return nil, fmt.Errorf("list the ledger: %w", err)
		}
		before = math.MaxInt64
	}
	rows, err := db.pool.Query(ctx, selectEntries, account, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list the ledger: %w", err)
	}
	return pgx.CollectRows(rows, scanEntry)
}

func scanEntry(row pgx.CollectableRow) (message.BalanceEntry, error) {
	var e message.BalanceEntry
	var about *message.ID
	err := row.Scan(&e.ID, &e.Sequence, &e.AccountID, &e.Kind, &e.Amount, &e.Currency, &about, &e.After, &e.Actor, &e.Reason, &e.Reference, &e.At)
	e.MessageID = orZero(about)
	return e, err
}

const selectReference = entryColumns + `
where account_id = $1 and reference = $2 and reference <> ''`

const book = `
update balances
set balance_micros = balance_micros + $2, currency = $3
where account_id = $1 and currency in ('', $3)
returning balance_micros`

const insertEntry = `
insert into balance_entries (account_id, kind, amount_micros, currency, message_id, balance_after_micros, actor, reason, reference)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
returning id, sequence, account_id, kind, amount_micros, currency, message_id, balance_after_micros, actor, reason, reference, at`

// Book adds an entry to an account's ledger and returns it as it stands there.
// Credits and refunds are positive, adjustments of either sign; charges are the
// gateway's own. Of two entries with one Reference the second is not booked: the
// first comes back, or ReasonConflict when it says something else.
func (db *DB) Book(ctx context.Context, by Actor, e message.BalanceEntry) (message.BalanceEntry, error) {
	booked, _, err := db.BookOnce(ctx, by, e, nil)
	return booked, err
}

// BookOnce is Book for a request with an Idempotency-Key: answer makes its answer, which
// is stored with the entry, and the second result is the first answer when there is one.
func (db *DB) BookOnce(ctx context.Context, by Actor, e message.BalanceEntry, answer func(message.BalanceEntry) (message.Idempotency, error)) (message.BalanceEntry, *message.Idempotency, error) {
	if err := bookable(e); err != nil {
		return e, nil, err
	}
	if _, err := db.pool.Exec(ctx, makeBalances, []message.ID{e.AccountID}); err != nil {
		return e, nil, fmt.Errorf("book: %w", err)
	}
	var out message.BalanceEntry
	var key message.Idempotency
	shown := map[string]any{"kind": e.Kind, "amount": e.Amount.String(), "currency": e.Currency, "message_id": idOrNull(e.MessageID), "reason": e.Reason, "reference": e.Reference}
	err := db.audited(ctx, by, "balance.book", e.AccountID.String(), shown, func(tx pgx.Tx) (err error) {
		if out, err = bookEntry(ctx, tx, by, e); err != nil || answer == nil {
			return err
		}
		if key, err = answer(out); err != nil {
			return err
		}
		return db.keepKey(ctx, tx, key)
	})
	switch {
	case errors.Is(err, errKeySeen):
		first, err := db.replay(ctx, key)
		return e, first.Replay, err
	case errors.Is(err, errBooked):
		if out.Kind != e.Kind || out.Amount != e.Amount || out.Currency != e.Currency {
			return out, nil, message.Refuse(message.ReasonConflict, "another entry has the reference %q", e.Reference)
		}
		return out, nil, nil
	}
	return out, nil, err
}

// bookable says what is wrong with an entry in itself.
func bookable(e message.BalanceEntry) error {
	switch {
	case e.Kind != message.EntryCredit && e.Kind != message.EntryRefund && e.Kind != message.EntryAdjustment:
		return message.Refuse(message.ReasonInvalidRequest, "kind must be credit, refund or adjustment")
	case e.Amount == 0 || e.Amount < 0 && e.Kind != message.EntryAdjustment:
		return message.Refuse(message.ReasonInvalidRequest, "a %s needs an amount above 0", e.Kind)
	case len(e.Currency) != 3:
		return message.Refuse(message.ReasonInvalidRequest, "currency must be an ISO 4217 code")
	}
	return nil
}

// bookEntry writes an entry. errBooked: it was before, and that one comes back.
func bookEntry(ctx context.Context, tx pgx.Tx, by Actor, e message.BalanceEntry) (out message.BalanceEntry, err error) {
	if err := exactlyOne(tx.Exec(ctx, lockBalances, []message.ID{e.AccountID})); err != nil {
		return out, err
	}
	rows, err := tx.Query(ctx, selectReference, e.AccountID, e.Reference)
	if err != nil {
		return out, err
	}
	out, err = pgx.CollectOneRow(rows, scanEntry)
	if err == nil {
		return out, errBooked
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return out, err
	}
	var after message.Micros
	err = tx.QueryRow(ctx, book, e.AccountID, int64(e.Amount), e.Currency).Scan(&after)
	if errors.Is(err, pgx.ErrNoRows) {
		return out, message.Refuse(message.ReasonConflict, "the balance is kept in another currency")
	}
	if err != nil {
		return out, err
	}
	rows, err = tx.Query(ctx, insertEntry, e.AccountID, string(e.Kind), int64(e.Amount), e.Currency, idOrNull(e.MessageID), int64(after), by.Name, e.Reason, e.Reference)
	if err != nil {
		return out, err
	}
	return pgx.CollectExactlyOneRow(rows, scanEntry)
}

// errBooked says that an entry was booked before.
var errBooked = errors.New("booked before")

const updatePrepaid = `
update accounts
set prepaid = $2, updated_at = now()
where id = $1`

// SetPrepaid has an account pay in advance from now on, or afterwards. What is on
// its way is charged as it was accepted.
func (db *DB) SetPrepaid(ctx context.Context, by Actor, account message.ID, prepaid bool) error {
	return db.audited(ctx, by, "account.prepaid", account.String(), map[string]any{"prepaid": prepaid}, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updatePrepaid, account, prepaid))
	})
}
