package pace

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func instant(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func place(t testing.TB, b *Book, d Demand) Slot {
	t.Helper()
	s, err := b.Place(d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func minute(parts int) Limit {
	return Limit{Key: "m", Parts: parts, Window: Minute, Name: "campaign C8X2KQ1"}
}
func daily(parts int) Limit {
	return Limit{Key: "d", Parts: parts, Window: PacificDay, Name: "brand B1234"}
}

// A flood is let go up to the cap at once, the rest in steps of the Span.
func TestFlood(t *testing.T) {
	t.Parallel()
	now := instant(t, "2026-11-22T16:00:00.25Z")
	b := NewBook(now)
	d := Demand{Limits: []Limit{minute(3)}, Parts: 1, NotBefore: now}
	for i := range 9 {
		s := place(t, b, d)
		want := time.Unix(now.Unix()+int64(i/3)*Span, 0)
		if !s.At.Equal(want) || s.Waits() != (i >= 3) || s.Hold.Until != (map[bool]time.Time{true: s.At})[i >= 3] || s.ID == (message.ID{}) {
			t.Errorf("%d: %+v", i, s)
		}
	}
	s := place(t, b, d)
	const why = "campaign C8X2KQ1 may send 3 parts a minute, and all until 2026-11-22T16:03:12Z are given to messages before this one"
	if want := (message.TrailEntry{Rule: RuleRate, Result: message.Holding, Detail: why}); len(s.Trail) != 1 || s.Trail[0] != want || s.Hold.Detail != why || s.Hold.Rule != RuleRate {
		t.Errorf("trail %+v, hold %+v", s.Trail, s.Hold)
	}
	if s.Usable(now) || s.Usable(s.At.Add(-1)) || !s.Usable(s.At) || !s.Usable(s.At.Add(Grace-1)) || s.Usable(s.At.Add(Grace)) {
		t.Errorf("slot from %s", s.At)
	}
}

// Clocks that are a little off are no reason to wait, and none to be counted in
// another second than the database's.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	now := instant(t, "2026-11-22T16:00:00.25Z")
	second := now.Truncate(time.Second)
	for _, c := range []struct {
		clock time.Time
		at    time.Time
		waits bool
	}{
		{now, second, false},
		{now.Add(Skew), second, false},
		{now.Add(2 * Skew), second, false},
		{now.Add(-Skew), now.Add(-Skew), false},
		{time.Time{}, second, false},
		{now.Add(-time.Hour), second, true}, // by its clock
		{now.Add(time.Minute), second.Add(61 * time.Second), true},
		{second.Add(time.Minute), second.Add(time.Minute), false},
	} {
		s := place(t, NewBook(now), Demand{Limits: []Limit{minute(3)}, NotBefore: c.clock})
		if !s.At.Equal(c.at) || s.Waits() != c.waits || c.waits && !s.Hold.Until.Equal(s.At) || s.Second != c.at.Unix() && s.Second != now.Unix() || s.Trail[0].Result != message.Pass {
			t.Errorf("at %s by its clock: %+v", c.clock, s)
		}
		if e, err := NewBook(now).Estimate(Demand{Limits: []Limit{minute(3)}, NotBefore: c.clock}); err != nil || e.Waits() || c.clock.After(now.Add(time.Second)) && !e.At.Equal(c.clock) {
			t.Errorf("at %s by its clock: estimated %+v, %v", c.clock, e, err)
		}
	}
}

func TestSlot(t *testing.T) {
	t.Parallel()
	now := instant(t, "2026-11-22T16:00:00.25Z")
	s := place(t, NewBook(now), Demand{Limits: []Limit{minute(3), daily(2000), minute(7), {Key: "x", Window: Minute}}, Parts: 2})
	want := []message.TrailEntry{
		{Rule: RuleRate, Result: message.Pass, Detail: "campaign C8X2KQ1: part 2 of 3 in the minute"},
		{Rule: RuleDailyCap, Result: message.Pass, Detail: "brand B1234: part 2 of 2,000 on 2026-11-22 in Los Angeles"},
	}
	if !slices.Equal(s.Trail, want) {
		t.Errorf("trail %+v", s.Trail)
	}
	takes := []Take{{Key: "m", Second: now.Unix()}, {Key: "d", Day: "2026-11-22"}}
	if !slices.Equal(s.Takes(), takes) || s.Turn != 0 || len(s.Limits) != 4 {
		t.Errorf("%+v", s)
	}
	free := place(t, NewBook(now), Demand{Limits: []Limit{minute(0)}, NotBefore: now, NotAfter: now})
	if !free.Usable(now) || len(free.Takes()) != 0 || free.ID != (message.ID{}) || len(free.Trail) != 0 {
		t.Errorf("without limits: %+v", free)
	}
	var back Slot
	if text, err := json.Marshal(s); err != nil || json.Unmarshal(text, &back) != nil || back.ID != s.ID || !slices.Equal(back.Takes(), takes) || !back.At.Equal(s.At) {
		t.Errorf("%v: %+v", err, back)
	}
}

// Who could not use a slot is counted in the minute again, on the same day not.
func TestInstead(t *testing.T) {
	t.Parallel()
	now := instant(t, "2026-11-22T16:00:00Z")
	limits := []Limit{minute(4), daily(5)}
	b := NewBook(now)
	first := place(t, b, Demand{Limits: limits, Parts: 2, NotBefore: now})
	place(t, b, Demand{Limits: limits, Parts: 2, NotBefore: now})
	second := place(t, b, Demand{Limits: limits, Parts: 3, NotBefore: now, Instead: &first})
	if second.ID != first.ID || second.Turn != 1 || !second.At.Equal(now.Add(time.Duration(Span)*time.Second)) {
		t.Errorf("%+v, after %+v", second, first)
	}
	if want := "brand B1234: part 5 of 5 on 2026-11-22 in Los Angeles"; len(second.Trail) != 2 || second.Trail[1].Detail != want {
		t.Errorf("%+v", second.Trail)
	}
	third := place(t, b, Demand{Limits: limits, Parts: 1, NotBefore: now, Instead: &second}) // it was made shorter
	if c := b.Changes(); third.Turn != 2 || len(c.Days) != 1 || c.Days[0].Added != 3 || c.Days[0].Used != 3 {
		t.Errorf("%+v: %+v", third, c)
	}
	b.Close([]Limit{daily(5)})
	fourth := place(t, b, Demand{Limits: limits, Parts: 1, NotBefore: now, Instead: &third})
	if c := b.Changes(); fourth.Takes()[1].Day != "2026-11-23" || len(c.Days) != 2 || c.Days[0].Used != 3 || c.Days[1].Used != 1 {
		t.Errorf("%+v: %+v", fourth, c)
	}
}

func TestDays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, now, at, day, ends string
	}{
		{"an ordinary day", "2026-11-22T16:00:00Z", "2026-11-23T08:00:01Z", "2026-11-22", "2026-11-23T08:00:00Z"},
		{"of 23 hours", "2026-03-08T20:00:00Z", "2026-03-09T07:00:01Z", "2026-03-08", "2026-03-09T07:00:00Z"},
		{"before it", "2026-03-08T07:59:00Z", "2026-03-08T08:00:01Z", "2026-03-07", "2026-03-08T08:00:00Z"},
		{"of 25 hours", "2026-11-01T07:00:01Z", "2026-11-02T08:00:01Z", "2026-11-01", "2026-11-02T08:00:00Z"},
		{"in its hour that comes twice", "2026-11-01T09:30:00Z", "2026-11-02T08:00:01Z", "2026-11-01", "2026-11-02T08:00:00Z"},
		{"the last day of a year", "2027-01-01T07:59:55Z", "2027-01-01T08:00:01Z", "2026-12-31", "2027-01-01T08:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			now := instant(t, c.now)
			b := NewBook(now)
			d := Demand{Limits: []Limit{daily(10)}, Parts: 10, NotBefore: now}
			if s := place(t, b, d); !s.At.Equal(now) || s.Waits() || s.Takes()[0].Day != c.day {
				t.Fatalf("first: %+v", s)
			}
			s := place(t, b, d)
			if !s.At.Equal(instant(t, c.at)) || s.Hold.Rule != RuleDailyCap || s.Takes()[0].Day == c.day {
				t.Errorf("second: %+v", s)
			}
			if !NextDay(now).Equal(instant(t, c.ends)) || DayOf(now) != c.day || DayOf(NextDay(now).Add(-1)) != c.day || DayOf(NextDay(now)) == c.day {
				t.Errorf("day %s ends %s", DayOf(now), NextDay(now))
			}
		})
	}
}

// A slot so near to midnight that it might be used on the next day is not given.
func TestMidnight(t *testing.T) {
	t.Parallel()
	midnight := instant(t, "2026-11-23T08:00:00Z")
	for s := -6; s <= 2; s++ {
		now := midnight.Add(time.Duration(s) * time.Second)
		slot := place(t, NewBook(now), Demand{Limits: []Limit{daily(10)}, Parts: 1})
		first, last := slot.At.Add(-Skew), slot.At.Add(Grace+Skew-1)
		if !slot.Waits() {
			first = now // it leaves when the database's clock has got there
		}
		if DayOf(first) != slot.Takes()[0].Day || DayOf(last) != slot.Takes()[0].Day {
			t.Errorf("%d s: given for %s, may leave from %s to %s", s, slot.Takes()[0].Day, first, last)
		}
		if moved := s > -4 && s < 1; moved != slot.Waits() {
			t.Errorf("%d s: waits until %s", s, slot.At)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	now := instant(t, "2026-11-22T16:00:00Z")
	hour := now.Add(time.Hour)
	for _, c := range []struct {
		name   string
		before []Demand
		d      Demand
		reason message.Reason
		rule   string
		detail string
	}{
		{"larger than a day", nil, Demand{Limits: []Limit{daily(5)}, Parts: 6}, message.ReasonDailyCapReached, RuleDailyCap,
			"the message has 6 parts, more than brand B1234 may send in a whole day (5)"},
		{"the day is used up", []Demand{{Limits: []Limit{daily(2000)}, Parts: 2000}}, Demand{Limits: []Limit{daily(2000)}, NotAfter: hour}, message.ReasonDailyCapReached, RuleDailyCap,
			"brand B1234 has given out 2,000 of its 2,000 parts of 2026-11-22 in Los Angeles; there is room for 1 more at 2026-11-23T08:00:01Z; the message is valid until 2026-11-22T17:00:00Z only"},
		{"the minute is used up", []Demand{{Limits: []Limit{minute(5)}, Parts: 5}}, Demand{Limits: []Limit{minute(5)}, NotAfter: now.Add(time.Minute)}, message.ReasonDailyCapReached, RuleRate,
			"campaign C8X2KQ1 may send 5 parts a minute, and all until 2026-11-22T16:01:04Z are given to messages before this one; the message is valid until 2026-11-22T16:01:00Z only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := NewBook(now)
			for _, d := range c.before {
				place(t, b, d)
			}
			before := b.Changes()
			s, err := b.Place(c.d)
			e := message.AsError(err)
			if e == nil || e.Reason != c.reason || e.Detail != c.detail {
				t.Fatalf("%v", err)
			}
			if s.ID != (message.ID{}) || len(s.Takes()) != 0 || len(s.Trail) != 1 || s.Trail[0] != (message.TrailEntry{Rule: c.rule, Result: message.Refused, Detail: c.detail}) {
				t.Errorf("%+v", s)
			}
			if after := b.Changes(); !slices.Equal(after.Seconds, before.Seconds) || len(after.Days) > 0 && after.Days[0].Added != before.Days[0].Added {
				t.Errorf("taken: %+v", after)
			}
			if _, again := b.Estimate(c.d); again == nil || again.Error() != err.Error() {
				t.Errorf("estimate: %v", again)
			}
		})
	}
}

// A day that a vendor closed takes nothing more, with a cap or without.
func TestClosed(t *testing.T) {
	t.Parallel()
	now := instant(t, "2026-11-22T16:00:00Z")
	for _, parts := range []int{2000, 0} {
		b := NewBook(now)
		d := Demand{Limits: []Limit{daily(parts)}}
		if s := place(t, b, d); s.Waits() {
			t.Errorf("%+v", s)
		}
		b.Close([]Limit{daily(parts), minute(5)})
		b.Close([]Limit{daily(parts)})
		s := place(t, b, d)
		if !s.At.Equal(instant(t, "2026-11-23T08:00:01Z")) || !strings.HasPrefix(s.Hold.Detail, "the carrier takes no more of brand B1234 on 2026-11-22") {
			t.Errorf("%+v", s)
		}
		marks := b.Marks()
		if len(marks) != 1 || marks[0] != (Mark{Key: "d", Name: "brand B1234", Percent: 100, Day: "2026-11-22", Used: 1, Cap: parts, Closed: true, ResetsAt: instant(t, "2026-11-23T08:00:00Z")}) {
			t.Errorf("%+v", marks)
		}
	}
}

// Each mark is told once a day, and by whoever crosses it.
func TestMarks(t *testing.T) {
	t.Parallel()
	now := instant(t, "2026-11-22T16:00:00Z")
	b := NewBook(now)
	var at []int
	for i := range 14 {
		place(t, b, Demand{Limits: []Limit{daily(10)}})
		for len(at) < len(b.Marks()) {
			at = append(at, i+1)
		}
	}
	if !slices.Equal(at, []int{8, 10}) || b.Marks()[0].Percent != 80 || b.Marks()[1].Percent != 100 || b.Marks()[1].Used != 10 {
		t.Errorf("marks at %v: %+v", at, b.Marks())
	}
	c := b.Changes()
	if len(c.Days) != 2 || c.Days[0] != (ChangedDay{Day: Day{Date: "2026-11-22", Used: 10, Cap: 10, Told80: true, Told100: true}, Key: "d", Added: 10}) || c.Days[1].Added != 4 {
		t.Errorf("%+v", c.Days)
	}
	// What was told before is not told again, not even after parts were given back.
	b = NewBook(now)
	b.Add(&Line{Key: "d", Known: All, Days: []Day{{Date: "2026-11-22", Used: 7, Cap: 10, Told80: true}}}, 0)
	place(t, b, Demand{Limits: []Limit{daily(10)}, Parts: 2})
	if len(b.Marks()) != 0 {
		t.Errorf("%+v", b.Marks())
	}
	// Nobody fits in the one part that is left: the day is used up.
	if s := place(t, b, Demand{Limits: []Limit{daily(10)}, Parts: 2}); !s.Waits() || len(b.Marks()) != 1 || b.Marks()[0].Used != 9 {
		t.Errorf("%+v, %+v", s, b.Marks())
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	c := message.NewID()
	keys := []string{CampaignMinute(c, message.SMS), CampaignMinute(c, message.MMS), CampaignDay(c), BrandDay("x"),
		NumberMinute(c, "+12025550143", message.SMS), NumberMinute(c, "+12025550144", message.SMS)}
	for i, k := range keys {
		if slices.Contains(keys[:i], k) || strings.Contains(k, "2025550143") {
			t.Errorf("%s", k)
		}
	}
}
