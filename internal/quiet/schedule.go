package quiet

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	day  = 24 * 60     // minutes
	week = 7 * day     // minutes
	most = 32          // windows of one schedule
	gap  = time.Minute // the grain of a window
)

// Window is a stretch of some days in which messages may arrive.
type Window struct {
	Days []time.Weekday
	From int // minutes since the day's midnight, 0 to 1439
	To   int // minutes, 1 to 1440; not above From: it runs into the next day
}

// Schedule says when messages may arrive in the course of a week, on the wall
// clock of some zone. The zero value bars every hour.
type Schedule struct {
	spans   []span // sorted, apart from each other
	windows []Window
}

// span is minutes since the week's first midnight, that of Sunday.
type span struct{ from, to int }

// NewSchedule puts windows together.
func NewSchedule(windows []Window) (Schedule, error) {
	if len(windows) > most {
		return Schedule{}, fmt.Errorf("more than %d windows", most)
	}
	var spans []span
	for _, w := range windows {
		if w.From < 0 || w.From >= day || w.To < 1 || w.To > day {
			return Schedule{}, errors.New("a window begins at 00:00 to 23:59 and ends at 00:01 to 24:00")
		}
		for _, d := range w.Days {
			if d < time.Sunday || d > time.Saturday {
				return Schedule{}, fmt.Errorf("there is no day %d", d)
			}
			from, to := int(d)*day+w.From, int(d)*day+w.To
			if w.To <= w.From {
				to += day
			}
			if to > week { // from Saturday into Sunday
				spans = append(spans, span{0, to - week})
				to = week
			}
			spans = append(spans, span{from, to})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var apart []span
	for _, s := range spans {
		if n := len(apart); n > 0 && s.from <= apart[n-1].to {
			apart[n-1].to = max(apart[n-1].to, s.to)
			continue
		}
		apart = append(apart, s)
	}
	return Schedule{spans: apart, windows: windows}, nil
}

// Empty reports whether no minute of the week is open.
func (s Schedule) Empty() bool { return len(s.spans) == 0 }

func minuteOfWeek(local time.Time) int {
	return int(local.Weekday())*day + local.Hour()*60 + local.Minute()
}

// open reports whether the wall clock lies in a window.
func (s Schedule) open(local time.Time) bool {
	m := minuteOfWeek(local)
	for _, p := range s.spans {
		if m >= p.from && m < p.to {
			return true
		}
	}
	return false
}

// wait is how long the wall clock runs until the next window begins; local is in
// none, and there is one.
func (s Schedule) wait(local time.Time) time.Duration {
	m := minuteOfWeek(local)
	next := s.spans[0].from + week
	for _, p := range s.spans {
		if p.from > m {
			next = p.from
			break
		}
	}
	into := time.Duration(local.Second())*time.Second + time.Duration(local.Nanosecond())
	return time.Duration(next-m)*gap - into
}

// next is the first time from t on at which the wall clock of the zone lies in a
// window; false: not within the horizon. The wall clock is followed from one change
// of the zone's offset to the next, between which it runs evenly: so an hour that a
// change leaves out is no opening, and one that comes twice is open twice.
func (s Schedule) next(t time.Time, zone *time.Location) (time.Time, bool) {
	if s.Empty() {
		return time.Time{}, false
	}
	for end := t.Add(horizon); t.Before(end); {
		local := t.In(zone)
		if s.open(local) {
			return t, true
		}
		opens := t.Add(s.wait(local))
		if _, change := local.ZoneBounds(); !change.IsZero() && change.Before(opens) {
			opens = change
		}
		t = opens
	}
	return time.Time{}, false
}

// on is what the schedule has for the day of the wall clock, in words.
func (s Schedule) on(local time.Time) string {
	var words []string
	for _, w := range s.windows {
		if slices.Contains(w.Days, local.Weekday()) {
			words = append(words, clock(w.From)+"-"+clock(w.To))
		}
	}
	if len(words) == 0 {
		return ""
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), " and ")
}

func clock(minutes int) string { return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60) }

// ParseClock reads a time of day such as 08:00, up to 24:00, as minutes.
func ParseClock(s string) (int, error) {
	hours, minutes, ok := strings.Cut(s, ":")
	h, err := strconv.ParseUint(hours, 10, 8)
	m, merr := strconv.ParseUint(minutes, 10, 8)
	if !ok || err != nil || merr != nil || len(s) != 5 || m > 59 || h*60+m > day {
		return 0, fmt.Errorf("%.10q is no time of day such as 08:00", s)
	}
	return int(h*60 + m), nil
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseDays reads days such as sun, mon-fri or mon,wed.
func ParseDays(s string) ([]time.Weekday, error) {
	var days []time.Weekday
	for part := range strings.SplitSeq(strings.ToLower(s), ",") {
		first, last, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			last = first
		}
		from, to := slices.Index(dayNames, first), slices.Index(dayNames, last)
		if from < 0 || to < 0 {
			return nil, fmt.Errorf("%.20q are no days such as mon-fri", part)
		}
		if to < from {
			to += 7
		}
		for d := from; d <= to; d++ {
			if w := time.Weekday(d % 7); !slices.Contains(days, w) {
				days = append(days, w)
			}
		}
	}
	slices.Sort(days)
	return days, nil
}
