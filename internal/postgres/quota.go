package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const (
	// countsAfter is how long after a limit was set every process counts for it: well
	// above the time in which a change of the configuration is everywhere. What was
	// accepted without counting until then is counted once more from the journal.
	countsAfter = 10 * time.Second
	// foldBatch bounds how many ended reservations one look at an account settles.
	foldBatch = 2000
)

const lockBalances = `
select account_id
from balances
where account_id = any($1)
order by account_id -- everywhere the same, or two processes wait for each other
for update`

const makeBalances = `
insert into balances (account_id)
select id
from accounts
where id = any($1)
order by id
on conflict do nothing`

// errNoBalance says that an account has no row to be locked yet.
var errNoBalance = errors.New("no balance yet")

// underLock runs work in a transaction that holds the locks of the accounts. Each
// statement of work sees what those who held them before have committed. Work runs
// again when another transaction got in its way.
func (db *DB) underLock(ctx context.Context, accounts []message.ID, work func(pgx.Tx) error) error {
	accounts = slices.Clone(accounts)
	slices.SortFunc(accounts, func(a, b message.ID) int { return bytes.Compare(a[:], b[:]) })
	accounts = slices.Compact(accounts)
	made := false
	for try := 1; ; try++ {
		worked := false
		err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
			worked = false
			tag, err := tx.Exec(ctx, lockBalances, accounts)
			switch {
			case err != nil:
				return err
			case int(tag.RowsAffected()) < len(accounts) && !made:
				return errNoBalance // made in a transaction of its own: in this one the order of the locks would be lost
			}
			err = work(tx)
			worked = err == nil
			return err
		})
		if worked && err != nil && sqlState(err) == "" {
			err = lostCommit(err)
		}
		switch {
		case errors.Is(err, errNoBalance):
			if _, err := db.pool.Exec(ctx, makeBalances, accounts); err != nil {
				return err
			}
			made = true
		case (conflicted(err) || errors.Is(err, errMoved)) && try < maxConflicts:
		default:
			return err
		}
	}
}

// lostCommit names an error of a commit to which the server gave no answer. What was
// asked may have been done: pgx says of some such errors that it was not, because
// the connection is closed by the time it makes them.
func lostCommit(err error) error { return fmt.Errorf("commit: %w: %v", io.ErrUnexpectedEOF, err) }

// errMoved says that the journal is no longer as it was when the transaction looked.
var errMoved = errors.New("the journal has moved on")

// fold settles ended reservations: what did not leave the gateway is given back to
// its counters, what did is charged, and the money that was held back is free. A
// message left when its status says so or when one of its attempts was not refused:
// in doubt counts as left. It is the only place that settles, under the account's
// lock, and takes the reservation away with it, so nothing is settled twice.
const fold = `
with ended as (
  select message_id
  from reservations
  where account_id = any($1) and ended_at is not null
  limit $2
), gone as (
  delete from reservations r
  where r.message_id = any(array(select message_id from ended))
  returning r.message_id, r.account_id, r.number, r.kind, r.parts, r.micros, r.prepaid, r.at, r.ended_at, r.price_micros,
    coalesce(r.went, exists (select from segments s where s.message_id = r.message_id and s.state <> 'refused')) as went
), back as (
  update usage_counters c
  set used = c.used - d.parts
  from (
    select c.limit_id, c.starts_at, sum(g.parts)::bigint as parts
    from gone g
    join usage_limits l on l.account_id = g.account_id and l.kind = g.kind and l.number in ('', g.number)
    join usage_counters c on c.limit_id = l.id and c.starts_at <= g.at and c.ends_at > g.at
    where not g.went
    group by c.limit_id, c.starts_at
  ) d
  where c.limit_id = d.limit_id and c.starts_at = d.starts_at
), charged as (
  insert into balance_entries (account_id, kind, amount_micros, currency, message_id, balance_after_micros)
  select g.account_id, 'charge', -g.price_micros, b.currency, g.message_id,
    b.balance_micros - (sum(g.price_micros) over (partition by g.account_id order by g.ended_at, g.message_id))::bigint
  from gone g
  join balances b on b.account_id = g.account_id
  where g.went and g.prepaid and g.price_micros > 0
  order by g.ended_at, g.message_id
), freed as (
  update balances b
  set reserved_micros = b.reserved_micros - d.micros,
      balance_micros = b.balance_micros - d.charged
  from (
    select account_id, sum(micros)::bigint as micros, coalesce(sum(price_micros) filter (where went and prepaid), 0)::bigint as charged
    from gone
    group by account_id
  ) d
  where b.account_id = any($1) and b.account_id = d.account_id
)
select count(*)
from gone`

// countUsage makes counters, or counts those that are there once more. With
// counting, a counter begins with what the journal has accepted in its period, but
// for what has ended without leaving and is not to be given back any more; what is
// on its way without a reservation gets one. first is an id before which no message
// of the period has one.
const countUsage = `
with given as (
  select g.*, l.account_id, l.number, l.kind
  from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::boolean[], $5::uuid[]) as g (limit_id, starts_at, ends_at, counting, first)
  join usage_limits l on l.id = g.limit_id
), found as (
  select g.limit_id, g.starts_at, m.*
  from given g
  join lateral (
    select m.id, m.account_id, m.from_addr, m.kind, m.segments, m.created_at, m.status, r.message_id is not null as reserved
    from messages m
    left join reservations r on r.message_id = m.id
    where m.account_id = g.account_id and m.id >= g.first and m.created_at >= g.starts_at and m.created_at < g.ends_at
      and m.direction = 'outbound' and m.kind = g.kind and (g.number = '' or m.from_addr = g.number) and not m.automatic
      and (r.message_id is not null or m.status not in ('rejected', 'canceled', 'failed', 'expired')
        or exists (select from segments s where s.message_id = m.id and s.state <> 'refused'))
    offset 0
  ) m on g.counting
), adopted as (
  insert into reservations (message_id, account_id, number, kind, parts, prepaid, at, adopted_at)
  select distinct id, account_id, from_addr, kind, segments, false, created_at, now()
  from found
  where not reserved and status not in ('delivered', 'undelivered', 'failed', 'rejected', 'expired', 'canceled', 'unconfirmed')
  on conflict do nothing
)
insert into usage_counters (limit_id, starts_at, ends_at, used, recount_at)
select g.limit_id, g.starts_at, g.ends_at, coalesce((
    select sum(f.segments)
    from found f
    where f.limit_id = g.limit_id and f.starts_at = g.starts_at), 0),
  case when g.counting then now() + $6::interval end
from given g
on conflict (limit_id, starts_at) do update
set used = excluded.used, recount_at = null
returning limit_id, starts_at, ends_at, used`

const selectMeters = `
select a.id, a.prepaid, a.time_zone, b.balance_micros, b.reserved_micros, b.currency, l.id, l.number, l.kind, l.period, l.parts, l.since
from accounts a
join balances b on b.account_id = a.id
left join usage_limits l on l.account_id = a.id and l.number = any($2)
where a.id = any($1)
order by a.id, l.number, l.kind, l.period`

const selectCounters = `
select c.limit_id, c.starts_at, c.ends_at, c.used
from usage_limits l
join usage_counters c on c.limit_id = l.id
where l.account_id = any($1) and l.number = any($2) and c.starts_at <= $4 and c.ends_at > $3`

// meters are accounts under their locks, with what they may still send.
type meters struct {
	of       map[message.ID]*meter
	counters map[counterKey]*counter
}

// meter is one account.
type meter struct {
	account           message.ID
	prepaid           bool
	zone              *time.Location
	balance, reserved message.Micros
	currency          string
	limits            []*limit

	held message.Micros // reserved by this transaction
}

type limit struct {
	message.UsageLimit
	id    message.ID
	since time.Time
}

type counterKey struct {
	limit message.ID
	start int64 // Unix seconds
}

type counter struct {
	limit      *limit
	start, end time.Time
	used       int64
	taken      int64 // by this transaction, in used already
}

// measured names what a message is counted by.
type measured struct {
	account message.ID
	from    message.Address
	kind    message.Kind
	at      time.Time
}

func measuredOf(m *message.Message) measured {
	return measured{m.AccountID, m.From, m.Kind, m.CreatedAt}
}

// load settles what has ended and reads the accounts with every counter that the
// messages are counted by; those that are not there yet are made. More reports
// whether there may be more to settle. The accounts are locked.
func (ms *meters) load(ctx context.Context, tx pgx.Tx, accounts []message.ID, of []measured) (more bool, err error) {
	ms.of, ms.counters = map[message.ID]*meter{}, map[counterKey]*counter{}
	senders := []string{""}
	var first, last time.Time
	for i, m := range of {
		senders = append(senders, string(m.from))
		if i == 0 || m.at.Before(first) {
			first = m.at
		}
		if i == 0 || m.at.After(last) {
			last = m.at
		}
	}
	slices.Sort(senders)
	senders = slices.Compact(senders)
	limits := map[message.ID]*limit{}
	folded := 0
	b := &pgx.Batch{}
	b.Queue(fold, accounts, foldBatch).QueryRow(func(row pgx.Row) error { return row.Scan(&folded) })
	b.Queue(selectMeters, accounts, senders).Query(func(rows pgx.Rows) error { return ms.scan(rows, limits) })
	b.Queue(selectCounters, accounts, senders, first, last).Query(func(rows pgx.Rows) error { return ms.scanCounters(rows, limits) })
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return false, fmt.Errorf("read limits: %w", err)
	}
	return folded == foldBatch, ms.make(ctx, tx, limits, of)
}

func (ms *meters) scan(rows pgx.Rows, limits map[message.ID]*limit) error {
	var a meter
	var zone string
	var id *message.ID
	var number, kind, period *string
	var parts *int64
	var since *time.Time
	_, err := pgx.ForEachRow(rows, []any{&a.account, &a.prepaid, &zone, &a.balance, &a.reserved, &a.currency, &id, &number, &kind, &period, &parts, &since}, func() error {
		m := ms.of[a.account]
		if m == nil {
			one := a
			one.zone = zoneOf(zone)
			m = &one
			ms.of[a.account] = m
		}
		if id != nil {
			l := &limit{id: *id, since: *since, UsageLimit: message.UsageLimit{AccountID: a.account, Number: message.Address(*number),
				Kind: message.Kind(*kind), Period: message.Period(*period), Parts: *parts}}
			m.limits = append(m.limits, l)
			limits[l.id] = l
		}
		return nil
	})
	return err
}

func (ms *meters) scanCounters(rows pgx.Rows, limits map[message.ID]*limit) error {
	var id message.ID
	var c counter
	_, err := pgx.ForEachRow(rows, []any{&id, &c.start, &c.end, &c.used}, func() error {
		if c.limit = limits[id]; c.limit != nil {
			one := c
			ms.counters[counterKey{id, c.start.Unix()}] = &one
		}
		return nil
	})
	return err
}

// make adds the counters that are not there yet.
func (ms *meters) make(ctx context.Context, tx pgx.Tx, limits map[message.ID]*limit, of []measured) error {
	missing := map[counterKey]bool{}
	var ids, firsts []message.ID
	var starts, ends []time.Time
	var counting []bool
	for _, m := range of {
		a := ms.of[m.account]
		if a == nil {
			continue
		}
		for _, l := range a.limits {
			start, end := l.Period.Span(m.at, a.zone)
			key := counterKey{l.id, start.Unix()}
			if !l.counts(m) || ms.counters[key] != nil || missing[key] {
				continue
			}
			missing[key] = true
			ids, firsts = append(ids, l.id), append(firsts, firstID(start))
			starts, ends = append(starts, start), append(ends, end)
			// A limit that was there when the period began has counted from its start.
			counting = append(counting, l.since.Add(countsAfter).After(start))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, countUsage, ids, starts, ends, counting, firsts, countsAfter)
	if err == nil {
		err = ms.scanCounters(rows, limits)
	}
	if err != nil {
		return fmt.Errorf("make counters: %w", err)
	}
	return nil
}

// firstID is an id that no message from start on is below.
func firstID(start time.Time) message.ID { return idAt(start.Add(-idSlack)) }

// zones are the time zones that were asked for: there are a few hundred. Loading
// one reads it anew each time.
var zones sync.Map // of *time.Location by name

// zoneOf is a time zone by its name; UTC when there is none of that name.
func zoneOf(name string) *time.Location {
	if z, ok := zones.Load(name); ok {
		return z.(*time.Location)
	}
	z, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC
	}
	zones.Store(name, z)
	return z
}

// counts reports whether the limit is one of the message's.
func (l *limit) counts(m measured) bool {
	return l.Kind == m.kind && (l.Number == "" || l.Number == m.from)
}

// countersOf are the counters that a message is counted by.
func (ms *meters) countersOf(m measured) []*counter {
	a := ms.of[m.account]
	if a == nil {
		return nil
	}
	var list []*counter
	for _, l := range a.limits {
		if !l.counts(m) {
			continue
		}
		start, _ := l.Period.Span(m.at, a.zone)
		if c := ms.counters[counterKey{l.id, start.Unix()}]; c != nil {
			list = append(list, c)
		}
	}
	return list
}

// take reserves parts and money for a message, or says what refuses it; then
// nothing is taken. Both may be negative: a revision gives back.
func (ms *meters) take(m measured, parts int64, price message.Price) message.Fit {
	a := ms.of[m.account]
	if a == nil { // the account has gone, and with it whatever it had to keep to
		return message.Fit{}
	}
	counters := ms.countersOf(m)
	quota := quotaOf(m, counters, parts)
	if quota.Refused != nil {
		return quota
	}
	balance := a.afford(price)
	fit := message.Fit{Trail: append(quota.Trail, balance.Trail...), Refused: balance.Refused}
	if fit.Refused != nil {
		return fit
	}
	for _, c := range counters {
		c.used += parts
		c.taken += parts
	}
	if a.prepaid {
		a.reserved += price.Amount
		a.held += price.Amount
	}
	return fit
}

// quotaOf says whether the counters have room for so many parts more. Of several
// that have none the one counts that is reset last: coming back before is no use.
func quotaOf(m measured, counters []*counter, parts int64) message.Fit {
	var full *counter
	var detail []string
	for _, c := range counters {
		if parts > 0 && c.used+parts > c.limit.Parts && (full == nil || c.end.After(full.end)) {
			full = c
		}
		detail = append(detail, fmt.Sprintf("%d of %d %s", c.used+parts, c.limit.Parts, c.limit.describe()))
	}
	if full == nil {
		if detail == nil {
			detail = []string{"no limit"}
		}
		return message.Fit{Trail: []message.TrailEntry{{Rule: message.RuleQuota, Result: message.Pass, Detail: strings.Join(detail, ", ")}}}
	}
	refusal := message.Refuse(message.ReasonQuotaExceeded, "%d of %d %s are used and this message needs %d; resets_at %s",
		full.used, full.limit.Parts, full.limit.describe(), parts, full.end.UTC().Format(time.RFC3339))
	refusal.After = max(time.Second, full.end.Sub(m.at))
	return message.Fit{Refused: refusal, Trail: []message.TrailEntry{{Rule: message.RuleQuota, Result: message.Refused, Detail: refusal.Detail}}}
}

// afford says whether the balance has the price; nothing for an account that pays
// afterwards.
func (a *meter) afford(price message.Price) message.Fit {
	if !a.prepaid {
		return message.Fit{}
	}
	left := a.balance - a.reserved
	if price.Amount > 0 && price.Amount > left {
		refusal := message.Refuse(message.ReasonInsufficientBalance, "the message costs %s %s and %s of the balance may be spent", price.Amount, price.Currency, left)
		return message.Fit{Refused: refusal, Trail: []message.TrailEntry{{Rule: message.RuleBalance, Result: message.Refused, Detail: refusal.Detail}}}
	}
	return message.Fit{Trail: []message.TrailEntry{{Rule: message.RuleBalance, Result: message.Pass,
		Detail: fmt.Sprintf("%s of %s %s", price.Amount, left, price.Currency)}}}
}

// describe says what a limit counts: "sms parts a day from +12025550143".
func (l *limit) describe() string {
	s := string(l.Kind) + " parts a " + string(l.Period)
	if l.Number != "" {
		s += " from " + string(l.Number)
	}
	return s
}

const addUsage = `
update usage_counters c
set used = c.used + d.parts
from unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) as d (limit_id, starts_at, parts)
where c.limit_id = d.limit_id and c.starts_at = d.starts_at`

const addReserved = `
update balances b
set reserved_micros = b.reserved_micros + d.micros,
    currency = case when b.currency = '' then $3 else b.currency end
from unnest($1::uuid[], $2::bigint[]) as d (account_id, micros)
where b.account_id = d.account_id`

// write adds to the batch what was taken.
func (ms *meters) write(b *pgx.Batch, currency string) {
	var limits, accounts []message.ID
	var starts []time.Time
	var parts, micros []int64
	for _, c := range ms.counters {
		if c.taken != 0 {
			limits, starts, parts = append(limits, c.limit.id), append(starts, c.start), append(parts, c.taken)
		}
	}
	for _, a := range ms.of {
		if a.held != 0 {
			accounts, micros = append(accounts, a.account), append(micros, int64(a.held))
		}
	}
	if len(limits) > 0 {
		b.Queue(addUsage, limits, starts, parts)
	}
	if len(accounts) > 0 {
		b.Queue(addReserved, accounts, micros, currency)
	}
}
