package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
)

// In the order of the keys, as everybody inserts and locks them: so nobody waits for
// somebody who waits for them.
const insertPacers = `
insert into pacers (key)
select key
from unnest($1::text[]) as k (key)
order by key
on conflict do nothing`

const lockPacers = `
select key, open, cap
from pacers
where key = any($1::text[])
order by key
for update`

const selectPacers = `
select key, open, cap
from pacers
where key = any($1::text[])
order by key`

// releaseSlots gives slots back, each of which is named once, that were not given back
// or replaced before.
//
//	$1 ids  $2 turns  $3 until when to remember them
//	$4 to $9 what they took: id, turn, key, second, day (each of the two may be null), parts
//	$10 seconds that a place reaches back  $11 today
const releaseSlots = `
with fresh as (
  insert into pace_spent (id, turn, until)
  select id, turn, until
  from unnest($1::uuid[], $2::integer[], $3::timestamptz[]) as r (id, turn, until)
  order by id, turn
  on conflict do nothing
  returning id, turn
), takes as (
  select t.key, t.second, t.day, sum(t.parts)::integer as parts
  from unnest($4::uuid[], $5::integer[], $6::text[], $7::bigint[], $8::date[], $9::integer[]) as t (id, turn, key, second, day, parts)
  join fresh f on f.id = t.id and f.turn = t.turn
  group by t.key, t.second, t.day
), seconds as (
  update pace_slots s
  set parts = greatest(s.parts - t.parts, 0)
  from takes t
  where s.key = t.key and s.second = t.second
), opened as (
  update pacers p
  set open = least(p.open, t.second - $10::bigint + 1)
  from (
    select key, min(second) as second
    from takes
    where second is not null
    group by key
  ) t
  where p.key = t.key
)
update pace_days d
set used = greatest(d.used - t.parts, 0)
from takes t
where d.key = t.key and d.day = t.day and d.day >= $11::date`

const deleteSpent = `
delete from pace_spent
where until < $1`

const selectSpent = `
select s.id, s.turn
from unnest($1::uuid[], $2::integer[]) as k (id, turn)
join pace_spent s on s.id = k.id and s.turn = k.turn`

const insertSpent = `
insert into pace_spent (id, turn, until)
select id, turn, $3::timestamptz
from unnest($1::uuid[], $2::integer[]) as s (id, turn)
order by id, turn
on conflict do nothing`

// selectSlots reads the first seconds of counters that a place may depend on. now()
// is the begin of the transaction, which is before the locks and the book's time:
// that reads too much rather than too little.
//
//	$1 keys  $2 the highest limit of each  $3 seconds that a place reaches back  $4 at most, of each
const selectSlots = `
select k.key, s.second, s.parts
from unnest($1::text[], $2::integer[]) as k (key, highest)
left join pacers p on p.key = k.key
cross join lateral (
  select second, parts
  from pace_slots
  where key = k.key
    and second > greatest(case when k.highest <= p.cap then p.open end, extract(epoch from now())::bigint) - $3::bigint
  order by second
  limit $4
) s
order by k.key, s.second`

const selectFurther = `
select second, parts
from pace_slots
where key = $1 and second > $2
order by second
limit $3`

// selectDays reads the days from today on; a day more, whatever zone the session has.
const selectDays = `
select key, day::text, used, cap, closed, told_80, told_100
from pace_days
where key = any($1::text[]) and day >= (now() - interval '36 hours')::date`

// turn names one slot.
type turn struct {
	ID   message.ID
	Turn int32
}

func turnOf(s pace.Slot) turn { return turn{s.ID, int32(s.Turn)} }

// lockedBook is a book whose counters are locked.
type lockedBook struct {
	*pace.Book
	spent  []turn // slots that count for nothing any more
	spends []turn // those that came to it in this book
}

// only is the demand of an item, whose slot before counts if nothing stands instead
// of it yet and it was not given back.
func (b *lockedBook) only(i *pacing) pace.Demand {
	d := i.demand
	if d.Instead != nil && (i.release != nil || slices.Contains(b.spent, turnOf(*d.Instead))) {
		d.Instead = &pace.Slot{ID: d.Instead.ID, Turn: d.Instead.Turn}
	}
	return d
}

func (b *lockedBook) spend(s pace.Slot) {
	if t := turnOf(s); !slices.Contains(b.spent, t) {
		b.spent, b.spends = append(b.spent, t), append(b.spends, t)
	}
}

// lockBook takes the locks of all counters of a group and reads them, after what the
// group gives back was given back.
func lockBook(ctx context.Context, tx pgx.Tx, group []*pacing) (*lockedBook, error) {
	first, pacers, keys := &pgx.Batch{}, lockPacers, keysOfAll(group)
	first.Queue(insertPacers, keys)
	if args := releaseColumns(group); args != nil {
		first.Queue(lockPacers, keys)
		first.Queue(releaseSlots, args...)
		first.Queue(deleteSpent, time.Now())
		pacers = selectPacers
	}
	locked := &lockedBook{}
	second := &pgx.Batch{}
	if before := slotsBefore(group); len(before) > 0 {
		ids, turns := columnsOf(before)
		second.Queue(selectSpent, ids, turns).Query(func(rows pgx.Rows) (err error) {
			locked.spent, err = pgx.CollectRows(rows, pgx.RowToStructByPos[turn])
			return err
		})
	}
	book, err := readBook(ctx, tx, group, first, pacers, second)
	locked.Book = book
	return locked, err
}

// slotsBefore are the slots that demands of a group have.
func slotsBefore(group []*pacing) (all []turn) {
	for _, i := range group {
		if i.demand.Instead != nil {
			all = append(all, turnOf(*i.demand.Instead))
		}
	}
	return all
}

// keysOfAll lists the keys of a group in their order.
func keysOfAll(group []*pacing) []string {
	var keys []string
	for _, i := range group {
		keys = append(keys, i.keys...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// releaseColumns are the arguments of releaseSlots, nil when nothing is given back.
func releaseColumns(group []*pacing) []any {
	var named []turn
	var until []time.Time
	var of []turn
	var keys []string
	var seconds []*int64
	var days []*string
	var parts []int32
	for _, i := range group {
		if i.release == nil || slices.Contains(named, turnOf(*i.release)) {
			continue
		}
		s := *i.release
		named, until = append(named, turnOf(s)), append(until, time.Unix(s.Second, 0).Add(spentFor))
		for _, t := range s.Takes() {
			of, keys, parts, days = append(of, turnOf(s)), append(keys, t.Key), append(parts, int32(s.Parts)), append(days, orNull(t.Day))
			if t.Day != "" {
				seconds = append(seconds, nil)
			} else {
				seconds = append(seconds, &t.Second)
			}
		}
	}
	if named == nil {
		return nil
	}
	ids, turns := columnsOf(named)
	ofIDs, ofTurns := columnsOf(of)
	return []any{ids, turns, until, ofIDs, ofTurns, keys, seconds, days, parts, pace.Span, pace.DayOf(time.Now())}
}

// columnsOf are the names of slots as arrays.
func columnsOf(all []turn) ([]message.ID, []int32) {
	return pick(all, func(t turn) message.ID { return t.ID }), pick(all, func(t turn) int32 { return t.Turn })
}

// readBook runs the statements of a batch, reads the counters of a group, their pacers
// by the statement that is named, and runs those of another batch.
func readBook(ctx context.Context, tx pgx.Tx, group []*pacing, b *pgx.Batch, pacers string, after *pgx.Batch) (*pace.Book, error) {
	keys := keysOfAll(group)
	highest := make([]int32, len(keys))
	for _, i := range group {
		for _, lim := range i.demand.Limits {
			if at, found := slices.BinarySearch(keys, lim.Key); found && lim.Window == pace.Minute {
				highest[at] = max(highest[at], int32(i.demand.Room(lim)))
			}
		}
	}
	var book *pace.Book
	lines := make(map[string]*pace.Line, len(keys))
	for _, k := range keys {
		lines[k] = &pace.Line{Key: k, Known: pace.All}
	}
	b.Queue(pacers, keys).Query(func(rows pgx.Rows) error {
		return scanned(rows, func(key string, open int64, limit int) { lines[key].Open, lines[key].Cap = open, limit })
	})
	b.Queue("select clock_timestamp()").QueryRow(func(row pgx.Row) error {
		var now time.Time
		err := row.Scan(&now)
		book = pace.NewBook(now)
		return err
	})
	b.Queue(selectSlots, keys, highest, pace.Span, slotsPage).Query(func(rows pgx.Rows) error {
		return scanned(rows, func(key string, at int64, parts int) {
			lines[key].Seconds = append(lines[key].Seconds, pace.Second{At: at, Parts: parts})
		})
	})
	b.Queue(selectDays, keys).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var key string
			var d pace.Day
			if err := rows.Scan(&key, &d.Date, &d.Used, &d.Cap, &d.Closed, &d.Told80, &d.Told100); err != nil {
				return err
			}
			lines[key].Days = append(lines[key].Days, d)
		}
		return rows.Err()
	})
	b.QueuedQueries = append(b.QueuedQueries, after.QueuedQueries...)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	for at, k := range keys {
		if l := lines[k]; len(l.Seconds) == slotsPage {
			l.Known = l.Seconds[slotsPage-1].At
		}
		book.Add(lines[k], int(highest[at]))
	}
	return book, nil
}

// scanned reads rows of a key and two numbers.
func scanned(rows pgx.Rows, each func(key string, first int64, second int)) error {
	for rows.Next() {
		var key string
		var first int64
		var second int
		if err := rows.Scan(&key, &first, &second); err != nil {
			return err
		}
		each(key, first, second)
	}
	return rows.Err()
}

// addSeconds adds parts to seconds of counters.
const addSeconds = `
insert into pace_slots (key, second, parts)
select key, second, parts
from unnest($1::text[], $2::bigint[], $3::integer[]) as s (key, second, parts)
on conflict (key, second) do update
set parts = pace_slots.parts + excluded.parts`

// deleteSeconds lets go of what is too old to matter.
const deleteSeconds = `
delete from pace_slots
where key = any($1::text[]) and second < $2`

const openPacers = `
update pacers p
set open = o.open, cap = o.cap
from unnest($1::text[], $2::bigint[], $3::integer[]) as o (key, open, cap)
where p.key = o.key`

// changeDays adds parts to days. What was told or closed stays so.
const changeDays = `
insert into pace_days (key, day, used, cap, closed, told_80, told_100)
select *
from unnest($1::text[], $2::date[], $3::integer[], $4::integer[], $5::boolean[], $6::boolean[], $7::boolean[])
on conflict (key, day) do update
set used = greatest(pace_days.used + excluded.used, 0),
    cap = excluded.cap,
    closed = pace_days.closed or excluded.closed,
    told_80 = pace_days.told_80 or excluded.told_80,
    told_100 = pace_days.told_100 or excluded.told_100`

const deleteDays = `
delete from pace_days
where key = any($1::text[]) and day < $2::date`

// write writes down what a book has given, and what is to be told of it.
func (p *pacer) write(ctx context.Context, tx pgx.Tx, book *lockedBook) error {
	c := book.Changes()
	b := &pgx.Batch{}
	if len(book.spends) > 0 {
		ids, turns := columnsOf(book.spends)
		b.Queue(insertSpent, ids, turns, book.Now().Add(spentFor))
	}
	if len(c.Seconds) > 0 {
		keys := pick(c.Seconds, func(s pace.AddedSecond) string { return s.Key })
		b.Queue(addSeconds, keys, pick(c.Seconds, func(s pace.AddedSecond) int64 { return s.At }),
			pick(c.Seconds, func(s pace.AddedSecond) int32 { return int32(s.Parts) }))
		b.Queue(deleteSeconds, slices.Compact(slices.Clone(keys)), book.Now().Add(-spentAfter).Unix())
	}
	if len(c.Opened) > 0 {
		b.Queue(openPacers, pick(c.Opened, func(l *pace.Line) string { return l.Key }), pick(c.Opened, func(l *pace.Line) int64 { return l.Open }),
			pick(c.Opened, func(l *pace.Line) int32 { return int32(l.Cap) }))
	}
	if len(c.Days) > 0 {
		type d = pace.ChangedDay
		keys := pick(c.Days, func(d d) string { return d.Key })
		b.Queue(changeDays, keys, pick(c.Days, func(d d) string { return d.Date }), pick(c.Days, func(d d) int32 { return int32(d.Added) }),
			pick(c.Days, func(d d) int32 { return int32(d.Cap) }), pick(c.Days, func(d d) bool { return d.Closed }),
			pick(c.Days, func(d d) bool { return d.Told80 }), pick(c.Days, func(d d) bool { return d.Told100 }))
		if begun := firstOf(c.Days); len(begun) > 0 {
			b.Queue(deleteDays, begun, pace.DayOf(book.Now().AddDate(0, 0, -daysKept)))
		}
	}
	if told := p.events(book.Marks()); len(told) > 0 {
		queueEvents(b, told)
	}
	if b.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, b).Close()
}

func (p *pacer) events(marks []pace.Mark) (all []message.AccountEvent) {
	if p.hooks.Events == nil {
		return nil
	}
	for _, m := range marks {
		all = append(all, p.hooks.Events(m)...)
	}
	return all
}

// firstOf lists the keys of days that nothing had been taken of before.
func firstOf(days []pace.ChangedDay) (keys []string) {
	for _, d := range days {
		if d.Added == d.Used {
			keys = append(keys, d.Key)
		}
	}
	return slices.Compact(keys)
}
