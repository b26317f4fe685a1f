package pace

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// All is what Line.Known is when everything is known.
const All = math.MaxInt64

// Line is what is known of one counter.
type Line struct {
	Key string
	// Open is a second before which no second has room for one part more, as far as
	// a limit of Cap parts a minute goes. It only says where to begin to look.
	Open int64
	Cap  int
	// Seconds are those with parts, in order, from 64 s before the later of now and
	// Begins up to Known.
	Seconds []Second
	Known   int64
	Days    []Day // those from today on

	begins  int64         // where everybody begins to look
	added   map[int64]int // to Seconds
	days    map[string]*dayLine
	changed []string // dates of days
	opened  bool     // Open or Cap has changed
}

// Second is how many parts have their slot in one second.
type Second struct {
	At    int64 // since 1970
	Parts int
}

// Day is what was taken of one day in Los Angeles.
type Day struct {
	Date            string
	Used            int
	Cap             int // when it was last used; 0: none
	Closed          bool
	Told80, Told100 bool
}

type dayLine struct {
	Day
	added int
}

// Book has the counters that some demands are about, under their lock. Not safe
// for concurrent use.
type Book struct {
	now   time.Time
	lines map[string]*Line
	marks []Mark
}

// NewBook makes a book without counters, at a time of the database.
func NewBook(now time.Time) *Book { return &Book{now: now, lines: map[string]*Line{}} }

// Now is the time of the book.
func (b *Book) Now() time.Time { return b.now }

// Begins is where Seconds must begin to be known, for limits of at most so many
// parts a minute: what is open under a lower limit says nothing of a higher one.
func (l *Line) Begins(highest int) int64 {
	if highest > l.Cap {
		return 0
	}
	return l.Open
}

// Add enters a counter, which the book keeps. highest is that of all Minute limits
// of the key that the book will be asked for.
func (b *Book) Add(l *Line, highest int) {
	l.begins = l.Begins(highest)
	l.added, l.days = map[int64]int{}, map[string]*dayLine{}
	for _, d := range l.Days {
		l.days[d.Date] = &dayLine{Day: d}
	}
	b.lines[l.Key] = l
}

// Line finds a counter; one that is not there becomes an empty one.
func (b *Book) Line(key string) *Line {
	if b.lines[key] == nil {
		b.Add(&Line{Key: key, Known: All}, 0)
	}
	return b.lines[key]
}

// Learn adds seconds behind those that are known of a line.
func (l *Line) Learn(more []Second, known int64) {
	// What was placed meanwhile lies before what is learnt: nothing is placed where
	// 64 s more are not known.
	l.Seconds = append(l.Seconds, more...)
	l.Known = known
}

// Beyond is the error of a demand whose place lies where a line is not known yet.
type Beyond struct{ Line *Line }

func (*Beyond) Error() string { return "more of a counter must be known" }

// blocked reports whether parts more in second t are too many for a limit, and then
// the first second after t that may do. Each window of Span seconds that t lies in
// must hold them. A message larger than the limit must be alone in all of them.
func (l *Line) blocked(limit, parts int, t int64) (next int64, full bool) {
	room := max(limit-parts, 0)
	s := l.Seconds
	from, _ := slices.BinarySearchFunc(s, t, func(x Second, t int64) int { return cmp.Compare(x.At, t) })
	// The windows that begin at t and, before it, at each second that has parts: a
	// window that begins between two of those holds no more than the later one.
	sum, to := 0, from
	for ; to < len(s) && s[to].At < t+Span; to++ {
		sum += s[to].Parts
	}
	if sum > room {
		return t + Span, true
	}
	for from--; from >= 0 && s[from].At > t-Span; from-- {
		sum += s[from].Parts
		for to > 0 && s[to-1].At >= s[from].At+Span {
			to--
			sum -= s[to].Parts
		}
		if sum > room {
			// Every second up to the end of this window lies in it too.
			return s[from].At + Span, true
		}
	}
	return t, false
}

// inMinute is the first second from t on that has room for parts more.
func (l *Line) inMinute(limit, parts int, t int64) (int64, error) {
	t = max(t, l.begins)
	if limit <= l.Cap {
		t = max(t, l.Open)
	}
	for {
		if l.Known < t+Span {
			return 0, &Beyond{l}
		}
		next, full := l.blocked(limit, parts, t)
		if !full {
			return t, nil
		}
		t = next
	}
}

// inDay is the first second from t on whose day has room for parts more, of which it
// may have counted some for the slot before. passed is called for each day that has
// not.
func (l *Line) inDay(limit, parts int, t int64, before *Slot, passed func(day string)) int64 {
	for {
		date, next, ok := within(t)
		if ok {
			d := l.days[date]
			if d == nil || !d.Closed && d.Used+parts-before.counted(l.Key, date) <= limit {
				return t
			}
			passed(date)
		}
		t = next
	}
}

// take enters parts into second t.
func (l *Line) take(limit, parts int, t int64, now int64) {
	i, found := slices.BinarySearchFunc(l.Seconds, t, func(x Second, t int64) int { return cmp.Compare(x.At, t) })
	if !found {
		l.Seconds = slices.Insert(l.Seconds, i, Second{At: t})
	}
	l.Seconds[i].Parts += parts
	l.added[t] += parts

	open := max(now, l.begins)
	if limit <= l.Cap {
		open = max(open, l.Open)
	}
	for l.Known >= open+Span {
		next, full := l.blocked(limit, 1, open)
		if !full {
			break
		}
		open = next
	}
	if limit > l.Cap && l.Open > now {
		return // it says where those begin whose line is the longer one
	}
	// A line that is not full need not be told where it begins.
	if open > now && open != l.Open || limit != l.Cap {
		l.Open, l.Cap, l.opened = open, limit, true
	}
}

func (l *Line) day(date string) *dayLine {
	if l.days[date] == nil {
		l.days[date] = &dayLine{Day: Day{Date: date}}
	}
	return l.days[date]
}

func (l *Line) touch(date string) {
	if !slices.Contains(l.changed, date) {
		l.changed = append(l.changed, date)
	}
}

// Close ends the day of now for each PacificDay limit, as a vendor has said that
// the carrier takes no more.
func (b *Book) Close(limits []Limit) {
	today := DayOf(b.now)
	for _, lim := range limits {
		if lim.Window != PacificDay {
			continue
		}
		l := b.Line(lim.Key)
		d := l.day(today)
		d.Closed = true
		l.touch(today)
		b.tell(l, bounded(lim), d, false)
	}
}

// tell notes the marks that a day has reached. passed: somebody had to be placed
// after it.
func (b *Book) tell(l *Line, lim Limit, d *dayLine, passed bool) {
	if d.Cap = lim.Parts; d.Cap == unbounded {
		d.Cap = 0
	}
	near := d.Used*100 >= lim.Parts*80
	for _, m := range []struct {
		percent int
		reached bool
		told    *bool
	}{
		{80, near && !d.Closed, &d.Told80},
		// A day in which a few parts are left that nobody fits in is used up too.
		{100, d.Closed || d.Used >= lim.Parts || passed && near, &d.Told100},
	} {
		if m.reached && !*m.told {
			*m.told = true
			l.touch(d.Date)
			b.marks = append(b.marks, Mark{Key: l.Key, Name: lim.Name, Percent: m.percent, Day: d.Date, Used: d.Used, Cap: d.Cap,
				Closed: d.Closed, ResetsAt: endOf(d.Date)})
		}
	}
}

func endOf(date string) time.Time {
	t, err := time.ParseInLocation(time.DateOnly, date, pacific)
	if err != nil {
		return time.Time{} // dates come from DayOf
	}
	return NextDay(t)
}

// Marks are the shares of caps that were reached in this book.
func (b *Book) Marks() []Mark { return b.marks }

// Changes is what a book has to write down.
type Changes struct {
	Opened  []*Line       // whose Open and Cap have changed
	Seconds []AddedSecond // what to add to seconds
	Days    []ChangedDay
}

// AddedSecond is what was added to a second of a line.
type AddedSecond struct {
	Key   string
	At    int64
	Parts int
}

// ChangedDay is a day as it is now, and what was added to it.
type ChangedDay struct {
	Day
	Key   string
	Added int
}

// Changes lists what has changed, by key and time.
func (b *Book) Changes() Changes {
	var c Changes
	for _, l := range b.lines {
		if l.opened {
			c.Opened = append(c.Opened, l)
		}
		for at, parts := range l.added {
			c.Seconds = append(c.Seconds, AddedSecond{l.Key, at, parts})
		}
		for _, date := range l.changed {
			d := l.days[date]
			c.Days = append(c.Days, ChangedDay{Day: d.Day, Key: l.Key, Added: d.added})
		}
	}
	slices.SortFunc(c.Opened, func(a, b *Line) int { return cmp.Compare(a.Key, b.Key) })
	slices.SortFunc(c.Seconds, func(a, b AddedSecond) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.At, b.At)) })
	slices.SortFunc(c.Days, func(a, b ChangedDay) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Date, b.Date)) })
	return c
}

// unbounded are the parts of a day that has no cap.
const unbounded = math.MaxInt32

// bounded gives a day without a cap one that nobody reaches.
func bounded(lim Limit) Limit {
	if lim.Parts <= 0 {
		lim.Parts = unbounded
	}
	return lim
}

// limitsOf are the limits that limit, the smallest of each counter and window.
func limitsOf(all []Limit) []Limit {
	var out []Limit
	for _, lim := range all {
		if lim.Parts <= 0 && lim.Window == Minute {
			continue
		}
		lim = bounded(lim)
		same := slices.IndexFunc(out, func(o Limit) bool { return o.Key == lim.Key && o.Window == lim.Window })
		if same < 0 {
			out = append(out, lim)
		} else if lim.Parts < out[same].Parts {
			out[same] = lim
		}
	}
	return out
}

// Place gives a demand the earliest second that every limit allows, and enters its
// parts there. A demand that would have to wait beyond NotAfter, or that is larger
// than a whole day, is refused with message.ReasonDailyCapReached: it takes nothing,
// and of the slot the trail alone is set. Whether the message is still valid when it
// need not wait is its owner's business. *Beyond: more of a line must be known
// first; nothing was done.
//
// NotBefore at most a second ahead is taken for now by another clock. A demand with a
// slot before it (Instead) leaves that one's minute as it is, since
// something may have left in it. Its day stands for the new one, or stays counted.
func (b *Book) Place(d Demand) (Slot, error) {
	p, err := b.plan(d)
	if err != nil {
		return Slot{}, err
	}
	for _, f := range p.passed {
		l := b.Line(f.limit.Key)
		b.tell(l, f.limit, l.day(f.day), true)
	}
	if p.refusal != nil {
		return Slot{Trail: p.slot.Trail}, p.refusal
	}
	slot := p.slot
	if len(p.limits) == 0 {
		return slot, nil
	}
	if slot.ID = message.NewID(); d.Instead != nil {
		slot.ID, slot.Turn = d.Instead.ID, d.Instead.Turn+1
	}
	for i, lim := range p.limits {
		l := b.Line(lim.Key)
		if lim.Window == Minute {
			l.take(p.room[i], slot.Parts, slot.Second, b.now.Unix())
			continue
		}
		day, more := l.day(p.day), slot.Parts-d.Instead.counted(lim.Key, p.day)
		day.Used += more
		day.added += more
		l.touch(p.day)
		b.tell(l, lim, day, false)
	}
	return slot, nil
}

// Estimate is Place that takes nothing. The slot that it gives cannot be used.
func (b *Book) Estimate(d Demand) (Slot, error) {
	p, err := b.plan(d)
	if err == nil && p.refusal != nil {
		return Slot{Trail: p.slot.Trail}, p.refusal
	}
	if p.slot.Second = 0; p.rounded { // which is nothing that a customer waits for
		if p.slot.Hold = (message.Hold{}); d.NotBefore.After(b.now) {
			p.slot.At = d.NotBefore.UTC()
		}
	}
	return p.slot, err
}
