package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
)

// PaceHooks are told what the pacer does. Each may be nil; none may block.
type PaceHooks struct {
	// Events makes what customers are told of a mark, which is written in the
	// transaction that reaches the mark. It may be asked more than once for one mark
	// when a transaction is repeated.
	Events func(pace.Mark) []message.AccountEvent
	// Marked is called after the commit that reached the mark.
	Marked func(pace.Mark)
	// Waited is called for each slot, with the time that the message has to wait.
	Waited func(time.Duration)
}

// OnPace sets what the pacer tells. Call it before anything is reserved.
func (db *DB) OnPace(h PaceHooks) { db.pacer.hooks = h }

// Reserve gives a message its slot: the earliest second at which every limit has
// room, over all processes. It returns after the commit. A message that would have to
// wait beyond d.NotAfter is refused with message.ReasonDailyCapReached; then the
// slot's trail alone is set. Without limits it asks nobody.
//
// A slot that d stands instead of counts only where it has begun: its minute, in
// which something of the message may have left, and its day unless that is the new
// one's. It stands for one demand and no more, so a repeated one is counted again.
//
// A slot is used, or given back by Release. What is neither (its process died, its
// answer was lost, ctx ended) stays counted: a cap is never exceeded, some of it may
// be lost.
func (db *DB) Reserve(ctx context.Context, d pace.Demand) (pace.Slot, error) {
	if unlimited(d) {
		return pace.NewBook(db.Now()).Place(d)
	}
	item := &pacing{demand: d, keys: keysOf(d.Limits)}
	if old := d.Instead; old != nil {
		item.keys = append(item.keys, keysOf(old.Limits)...)
		if old.Second > db.Now().Add(pace.Skew).Unix() {
			item.release = old // nothing can have left by it
		}
	}
	return db.pacer.do(ctx, item)
}

// unlimited reports whether nothing counts a demand.
func unlimited(d pace.Demand) bool {
	for _, lim := range d.Limits {
		if lim.Parts > 0 || lim.Window == pace.PacificDay {
			return false
		}
	}
	return true
}

// Release gives back the slot of a message that has not left and will not leave by
// it. Giving it back twice does nothing, nor does giving back one that another stands
// instead of. Days that are over are not changed. Those who have their slot already
// keep it.
func (db *DB) Release(ctx context.Context, s pace.Slot) error {
	if len(s.Takes()) == 0 {
		return nil
	}
	_, err := db.pacer.do(ctx, &pacing{release: &s, keys: keysOf(s.Limits)})
	return err
}

// CloseDay ends the day of now, in US Pacific time, of the PacificDay limits: a
// vendor said that the carrier takes no more. Slots that were given for that day
// stay; whose holder hears the same from the vendor gives it back and asks again.
func (db *DB) CloseDay(ctx context.Context, limits []pace.Limit) error {
	var days []pace.Limit
	for _, lim := range limits {
		if lim.Window == pace.PacificDay {
			days = append(days, lim)
		}
	}
	if len(days) == 0 {
		return nil
	}
	_, err := db.pacer.do(ctx, &pacing{closes: days, keys: keysOf(days)})
	return err
}

func keysOf(limits []pace.Limit) []string {
	keys := make([]string, 0, len(limits))
	for _, lim := range limits {
		keys = append(keys, lim.Key)
	}
	return keys
}

// Estimate is the slot that the demand would get now, which is not usable. It locks
// and changes nothing.
func (db *DB) Estimate(ctx context.Context, d pace.Demand) (pace.Slot, error) {
	if unlimited(d) {
		return pace.NewBook(db.Now()).Estimate(d)
	}
	tx, err := db.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return pace.Slot{}, fmt.Errorf("estimate a slot: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	book, err := readBook(ctx, tx, []*pacing{{demand: d, keys: keysOf(d.Limits)}}, &pgx.Batch{}, selectPacers, &pgx.Batch{})
	if err != nil {
		return pace.Slot{}, fmt.Errorf("estimate a slot: %w", err)
	}
	return placeIn(ctx, tx, book, func() (pace.Slot, error) { return book.Estimate(d) })
}

// placeIn calls place until all that it must know of the counters is known.
func placeIn(ctx context.Context, tx pgx.Tx, book *pace.Book, place func() (pace.Slot, error)) (pace.Slot, error) {
	for {
		slot, err := place()
		var beyond *pace.Beyond
		if !errors.As(err, &beyond) {
			return slot, err
		}
		l := beyond.Line
		rows, err := tx.Query(ctx, selectFurther, l.Key, l.Known, slotsPage)
		if err != nil {
			return pace.Slot{}, err
		}
		more, err := pgx.CollectRows(rows, pgx.RowToStructByPos[pace.Second])
		if err != nil {
			return pace.Slot{}, err
		}
		known := int64(pace.All)
		if len(more) == slotsPage {
			known = more[slotsPage-1].At
		}
		l.Learn(more, known)
	}
}

// selectUse reads what was used of some limits: parts of the last 60 s and after
// them, and of the day.
//
//	$1 keys  $2 today in US Pacific time
const selectUse = `
select k.key, coalesce(recent.parts, 0), coalesce(later.parts, 0), coalesce(d.used, 0), coalesce(d.closed, false)
from unnest($1::text[]) as k (key)
cross join lateral (
  select sum(parts)::integer as parts
  from pace_slots
  where key = k.key and second > extract(epoch from now())::bigint - 60 and second <= extract(epoch from now())::bigint
) recent
cross join lateral (
  select sum(parts)::integer as parts
  from pace_slots
  where key = k.key and second > extract(epoch from now())::bigint
) later
left join pace_days d on d.key = k.key and d.day = $2::date`

// PaceUse reads how much of each limit is used now. It locks nothing. The caller
// has made sure that the limits are the customer's.
func (db *DB) PaceUse(ctx context.Context, limits []pace.Limit) ([]pace.Use, error) {
	if len(limits) == 0 {
		return nil, nil
	}
	now := db.Now()
	today, end := pace.DayOf(now), pace.NextDay(now)
	type use struct {
		Key                 string
		Recent, Later, Used int
		Closed              bool
	}
	rows, err := db.pool.Query(ctx, selectUse, keysOf(limits), today)
	if err != nil {
		return nil, fmt.Errorf("read what is used of limits: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[use])
	if err != nil {
		return nil, fmt.Errorf("read what is used of limits: %w", err)
	}
	of := map[string]use{}
	for _, u := range found {
		of[u.Key] = u
	}
	out := make([]pace.Use, len(limits))
	for i, lim := range limits {
		u := of[lim.Key]
		if out[i] = (pace.Use{Limit: lim, Used: u.Recent, Later: u.Later}); lim.Window == pace.PacificDay {
			out[i] = pace.Use{Limit: lim, Used: u.Used, Day: today, Closed: u.Closed, ResetsAt: end}
		}
	}
	return out, nil
}

// selectToday reads the counters of a day that are used most.
const selectToday = `
select key, used, cap, closed
from pace_days
where day = $1::date
order by used desc, key
limit $2`

// PaceToday lists the counters of the current US Pacific day that are used most, at
// most so many.
func (db *DB) PaceToday(ctx context.Context, limit int) ([]pace.Use, error) {
	now := db.Now()
	today, end := pace.DayOf(now), pace.NextDay(now)
	rows, err := db.pool.Query(ctx, selectToday, today, limit)
	if err != nil {
		return nil, fmt.Errorf("read what is used of today's caps: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pace.Use, error) {
		u := pace.Use{Limit: pace.Limit{Window: pace.PacificDay}, Day: today, ResetsAt: end}
		return u, row.Scan(&u.Key, &u.Used, &u.Parts, &u.Closed)
	})
	if err != nil {
		return nil, fmt.Errorf("read what is used of today's caps: %w", err)
	}
	return list, nil
}
