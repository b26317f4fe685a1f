package pace

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// shelf keeps counters as the database does: what a book does not load it does not
// know.
type shelf struct {
	open    map[string][2]int64 // key: Open, Cap
	seconds map[string]map[int64]int
	days    map[string]map[string]Day
	page    int
}

func newShelf(page int) *shelf {
	return &shelf{open: map[string][2]int64{}, seconds: map[string]map[int64]int{}, days: map[string]map[string]Day{}, page: page}
}

// rows are the seconds of a key after one, in order, and how far they are known.
func (s *shelf) rows(key string, after int64) ([]Second, int64) {
	var all []Second
	for at, parts := range s.seconds[key] {
		if at > after {
			all = append(all, Second{at, parts})
		}
	}
	slices.SortFunc(all, func(a, b Second) int { return int(a.At - b.At) })
	if len(all) < s.page {
		return all, All
	}
	return all[:s.page], all[s.page-1].At
}

func (s *shelf) load(now time.Time, demands []Demand) *Book {
	b := NewBook(now)
	highest := map[string]int{}
	for _, d := range demands {
		for _, lim := range d.Limits {
			if highest[lim.Key] += 0; lim.Window == Minute {
				highest[lim.Key] = max(highest[lim.Key], d.Room(lim))
			}
		}
	}
	for key, h := range highest {
		l := &Line{Key: key, Open: s.open[key][0], Cap: int(s.open[key][1])}
		l.Seconds, l.Known = s.rows(key, max(l.Begins(h), now.Unix())-Span)
		for _, d := range s.days[key] {
			l.Days = append(l.Days, d)
		}
		b.Add(l, h)
	}
	return b
}

func (s *shelf) place(b *Book, d Demand) (Slot, error) {
	for {
		slot, err := b.Place(d)
		var beyond *Beyond
		if !errors.As(err, &beyond) {
			return slot, err
		}
		beyond.Line.Learn(s.rows(beyond.Line.Key, beyond.Line.Known))
	}
}

func (s *shelf) store(b *Book) {
	c := b.Changes()
	for _, l := range c.Opened {
		s.open[l.Key] = [2]int64{l.Open, int64(l.Cap)}
	}
	for _, x := range c.Seconds {
		if s.seconds[x.Key] == nil {
			s.seconds[x.Key] = map[int64]int{}
		}
		s.seconds[x.Key][x.At] += x.Parts
	}
	for _, d := range c.Days {
		if s.days[d.Key] == nil {
			s.days[d.Key] = map[string]Day{}
		}
		s.days[d.Key][d.Date] = d.Day
	}
}

// release is what the database does with a slot that is given back.
func (s *shelf) release(slot Slot) {
	for _, t := range slot.Takes() {
		if t.Day != "" {
			d := s.days[t.Key][t.Day]
			d.Used -= slot.Parts
			s.days[t.Key][t.Day] = d
			continue
		}
		s.seconds[t.Key][t.Second] -= slot.Parts
		o := s.open[t.Key]
		s.open[t.Key] = [2]int64{min(o[0], t.Second-Span+1), o[1]}
	}
}

// granted is a demand and its slot.
type granted struct {
	Demand Demand
	Slot
	made     time.Time
	gone     bool // given back
	replaced bool // another one stands instead of it
	moved    bool // and is counted on its day
}

// allowed says, without any cleverness, whether a demand may have second t beside
// what is granted.
func allowed(d Demand, t int64, all []granted) bool {
	for _, lim := range limitsOf(d.Limits) {
		day, _, ok := within(t)
		used := 0
		around := map[int64]int{}
		for _, g := range all {
			for _, take := range g.Takes() {
				if g.gone || take.Key != lim.Key || (take.Day == "") != (lim.Window == Minute) {
					continue
				}
				if take.Day == day && take.Day != "" && !g.moved && (d.Instead == nil || d.Instead.ID != g.ID || d.Instead.Turn != g.Turn) {
					used += g.Slot.Parts
				}
				around[take.Second] += g.Slot.Parts
			}
		}
		if lim.Window == PacificDay {
			if !ok || used+d.Parts > max(d.Room(lim), d.Parts) {
				return false
			}
			continue
		}
		for begin := t - Span + 1; begin <= t; begin++ {
			sum := 0
			for at, parts := range around {
				if at >= begin && at < begin+Span {
					sum += parts
				}
			}
			if sum > max(d.Room(lim)-d.Parts, 0) {
				return false
			}
		}
	}
	return true
}

// counters are those of two campaigns of one brand.
func counters(t *rapid.T) [][]Limit {
	brand := Limit{Key: "brand", Window: PacificDay, Parts: rapid.IntRange(8, 60).Draw(t, "day"), Name: "brand"}
	var out [][]Limit
	for i := range 2 {
		key := fmt.Sprint("campaign", i)
		out = append(out, []Limit{{Key: key, Window: Minute, Parts: rapid.IntRange(1, 9).Draw(t, key), Name: key}, brand})
	}
	return append(out, []Limit{out[0][0]}, []Limit{brand})
}

// Whatever is asked, in whatever order, by however many processes, over however
// many days: no real minute and no real day has more than its cap, nobody waits
// without need, and nobody is overtaken by an equal.
func TestPlacesAreExactAndEarliest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits := counters(t)
		s := newShelf(rapid.IntRange(1, 8).Draw(t, "page"))
		// Near a midnight, the ends of summer time among them.
		now := rapid.SampledFrom([]time.Time{
			time.Date(2026, 11, 23, 7, 57, 0, 0, time.UTC), time.Date(2026, 3, 8, 7, 58, 0, 0, time.UTC), time.Date(2026, 11, 1, 6, 58, 30, 0, time.UTC),
		}).Draw(t, "now")
		var all []granted
		for range rapid.IntRange(1, 12).Draw(t, "groups") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90_000).Draw(t, "pause")) * time.Millisecond)
			if len(all) > 0 && rapid.IntRange(0, 3).Draw(t, "gives back") == 0 {
				i := rapid.IntRange(0, len(all)-1).Draw(t, "whose")
				if !all[i].gone && !all[i].replaced && all[i].At.After(now) {
					all[i].gone = true
					s.release(all[i].Slot)
				}
			}
			group := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Demand {
				d := Demand{Limits: slices.Clone(limits[rapid.IntRange(0, len(limits)-1).Draw(t, "who")]), Parts: rapid.IntRange(1, 4).Draw(t, "parts"),
					NotBefore: now.Add(time.Duration(rapid.IntRange(-20, 200).Draw(t, "from")) * time.Second)}
				// A replica that has not heard of a lowered cap, or of a raised one.
				if d.Limits[0].Window == Minute && rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
					d.Limits[0].Parts = max(1, d.Limits[0].Parts-rapid.IntRange(0, 3).Draw(t, "less"))
				}
				if rapid.Bool().Draw(t, "bulk") {
					for i := range d.Limits {
						d.Limits[i].Spare = rapid.IntRange(1, 3).Draw(t, "spare")
					}
				}
				if rapid.Bool().Draw(t, "ends") {
					d.NotAfter = d.NotBefore.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "for")) * time.Second)
				}
				return d
			}), 1, 6).Draw(t, "group")
			// One that missed its slot asks for another.
			for i := range all {
				if late := all[i]; !late.gone && !late.replaced && late.At.Add(Grace).Before(now) && rapid.IntRange(0, 3).Draw(t, "late") == 0 {
					all[i].replaced = true
					group[0].Limits, group[0].Instead = late.Demand.Limits, &late.Slot
					break
				}
			}
			b := s.load(now, group)
			for _, d := range group {
				all = append(all, checked(t, s, b, d, all)...)
			}
			s.store(b)
		}
		departures(t, limits, all)
	})
}

// checked places a demand and fails the test unless it got the earliest second.
func checked(t *rapid.T, s *shelf, b *Book, d Demand, all []granted) []granted {
	slot, err := s.place(b, d)
	t0, until := b.first(d.NotBefore), slot.Second
	if err != nil {
		if d.NotAfter.IsZero() || allowed(d, t0, all) {
			t.Fatalf("refused: %v", err)
		}
		if until = d.NotAfter.Unix() + 1; until <= t0 { // not even its first second
			return nil
		}
	} else if !allowed(d, until, all) {
		t.Fatalf("%+v got %+v, where there is no room", d, slot)
	}
	// Every second would take long over a night: those that could be the earliest
	// one come at the ends of windows and days.
	for at := t0; at < until; at++ {
		if at > t0+200 && at < until-200 {
			at = until - 200
		}
		if allowed(d, at, all) {
			t.Fatalf("%+v got %s, %v, and there is room at %s", d, slot.At, err, time.Unix(at, 0).UTC())
		}
	}
	if err != nil {
		return nil
	}
	if d.Instead != nil {
		i := slices.IndexFunc(all, func(g granted) bool { return g.ID == d.Instead.ID && g.Turn == d.Instead.Turn })
		all[i].moved = slices.ContainsFunc(slot.Takes(), func(n Take) bool { return n.Day != "" && slices.Contains(d.Instead.Takes(), n) })
	}
	for _, g := range all {
		if slices.Equal(g.Demand.Limits, d.Limits) && g.Demand.Parts <= d.Parts && !g.Demand.NotBefore.After(d.NotBefore) && slot.Second < g.Second && !givenBack(all) {
			t.Fatalf("%+v got %s before %s of %+v, who came first", d, slot.At, g.At, g.Demand)
		}
	}
	return []granted{{Demand: d, Slot: slot, made: b.Now()}}
}

// givenBack reports whether anything was: its place goes to whoever comes next.
func givenBack(all []granted) bool {
	return slices.ContainsFunc(all, func(g granted) bool { return g.gone || g.replaced })
}

// departures lets everybody leave somewhere in their slot, by a clock that is off,
// and counts the real minutes and days.
func departures(t *rapid.T, limits [][]Limit, all []granted) {
	type departure struct {
		at    time.Time
		parts int
	}
	minutes, days := map[string][]departure{}, map[string]int{}
	for _, g := range all {
		if g.gone {
			continue
		}
		earliest, latest := g.At.Add(-Skew), g.At.Add(Grace+Skew-1)
		if earliest.Before(g.made) {
			earliest = g.made
		}
		if latest.Before(earliest) { // its own clock says that it is late
			continue
		}
		at := earliest.Add(time.Duration(rapid.Int64Range(0, int64(latest.Sub(earliest))).Draw(t, "leaves")))
		for _, take := range g.Takes() {
			if take.Day != "" {
				if !g.moved { // what left by it was refused
					days[take.Key+DayOf(at)] += g.Slot.Parts
				}
				continue
			}
			minutes[take.Key] = append(minutes[take.Key], departure{at, g.Slot.Parts})
		}
	}
	for day, parts := range days {
		if parts > limits[0][1].Parts {
			t.Fatalf("%s has %d parts, the cap is %d", day, parts, limits[0][1].Parts)
		}
	}
	for i := range 2 {
		l := limits[i][0]
		for _, first := range minutes[l.Key] {
			sum, n := 0, 0
			for _, d := range minutes[l.Key] {
				if !d.at.Before(first.at) && d.at.Before(first.at.Add(time.Minute)) {
					sum += d.parts
					n++
				}
			}
			if sum > l.Parts && n > 1 {
				t.Fatalf("%s: %d parts leave in the minute from %s, the cap is %d", l.Key, sum, first.at, l.Parts)
			}
		}
	}
}

// A long queue costs a look at its end, not at all of it.
func TestOpenSavesLooking(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 16, 0, 0, 0, time.UTC)
	s := newShelf(1 << 20)
	d := Demand{Limits: []Limit{minute(2)}, Parts: 1}
	for range 1000 {
		b := s.load(now, []Demand{d})
		if n := len(b.Line("m").Seconds); n > 2 {
			t.Fatalf("%d seconds are looked at", n)
		}
		if _, err := s.place(b, d); err != nil {
			t.Fatal(err)
		}
		s.store(b)
	}
	if n := len(s.seconds["m"]); n != 500 {
		t.Errorf("%d seconds", n)
	}
}

// However long the line of bulk is, what is more urgent finds room within the minute,
// the line still knows where it ends, and who has missed its moment need not go there.
func TestUrgentOnesFindRoom(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 16, 0, 0, 0, time.UTC)
	s := newShelf(1 << 20)
	bulk, urgent := Demand{Limits: []Limit{minute(75)}, Parts: 1}, Demand{Limits: []Limit{minute(75)}, Parts: 1, NotAfter: now.Add(10 * time.Minute)}
	bulk.Limits[0].Spare = 7
	place := func(d Demand) Slot {
		t.Helper()
		b := s.load(now, []Demand{d})
		slot, err := s.place(b, d)
		if err != nil {
			t.Fatal(err)
		}
		s.store(b)
		return slot
	}
	var last Slot
	for range 2000 {
		last = place(bulk)
	}
	if wait := last.At.Sub(now); wait < 25*time.Minute {
		t.Fatalf("the line is %s long: the test is blind", wait)
	}
	for i := range 7 {
		if wait := place(urgent).At.Sub(now); wait > 0 {
			t.Errorf("urgent message %d waits %s", i, wait)
		}
	}
	if wait := place(urgent).At.Sub(now); wait <= 0 || wait > 2*time.Minute {
		t.Errorf("the one after those waits %s", wait)
	}
	if n := len(s.load(now, []Demand{bulk}).Line("m").Seconds); n > 4 {
		t.Errorf("the next of the line looks at %d seconds", n)
	}
	if at := place(bulk).At; at.Before(last.At) {
		t.Errorf("the next of the line leaves at %s, before the last of it at %s", at, last.At)
	}
	now = last.At.Add(-20 * time.Minute)
	missed := bulk
	missed.Instead = &Slot{ID: last.ID, At: now.Add(-time.Minute), Second: now.Unix() - 60, Parts: 1, Limits: bulk.Limits}
	if wait := place(missed).At.Sub(now); wait > 2*time.Minute {
		t.Errorf("one that missed its moment waits %s more", wait)
	}
}
