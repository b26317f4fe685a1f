// Package quiet knows the hours in which people may be sent bulk messages: where a
// number's owner may be, and when it is neither night nor a barred day there.
//
// A number tells where it was given out, and area codes reach over time zones, so
// a message may go only when every zone of the area is in its hours. The hours and
// the areas are data with a date (data/), not code.
//
// The rule not to break: no I/O, no clock, no state beside that data; what an answer
// depends on is in the query.
package quiet

import (
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// horizon is how far ahead an opening is looked for: more than the longest validity
// and more than any week of barred days.
const horizon = 15 * 24 * time.Hour

// Query asks when a message may arrive.
type Query struct {
	To message.Address
	At time.Time // when it would
	// Account is the account's zone: for recipients whose zones share no hour or are
	// not known at all outside +1, and for overrides on the account's clock. nil: UTC.
	Account *time.Location
	// Override stands in place of the region's hours; nil: none.
	Override *Override
}

// Answer says when.
type Answer struct {
	Open bool
	// Opens is the earliest time, not before the asked one, at which every zone is in
	// its hours; Query.At when it is open. Zero: not within two weeks.
	Opens time.Time
	// Zone is one that is not in its hours at the asked time, Local its clock and
	// Hours what it has that day, such as 08:00-21:00; empty: the whole day is barred.
	// All three are empty when it is open.
	Zone  string
	Local string
	Hours string
}

// String is the answer in words, for a trail.
func (a Answer) String() string {
	switch {
	case a.Open:
		return "inside the permitted hours"
	case a.Hours == "":
		return fmt.Sprintf("%s in %s is on a day without permitted hours; %s", a.Local, a.Zone, a.opens())
	}
	return fmt.Sprintf("%s in %s is outside %s; %s", a.Local, a.Zone, a.Hours, a.opens())
}

func (a Answer) opens() string {
	if a.Opens.IsZero() {
		return "it does not open within two weeks"
	}
	return "opens " + a.Opens.UTC().Format(time.RFC3339)
}

// Ask finds out when a message may arrive.
func Ask(q Query) Answer {
	if q.Account == nil {
		q.Account = time.UTC
	}
	s, zones := q.hours()
	opens, ok := earliest(s, q.At, zones)
	if !ok && len(zones) > 1 { // its zones share no hour
		zones = []*time.Location{q.Account}
		opens, ok = earliest(s, q.At, zones)
	}
	if ok && opens.Equal(q.At) {
		return Answer{Open: true, Opens: q.At}
	}
	a := Answer{}
	if ok {
		a.Opens = opens
	}
	for _, z := range zones {
		if local := q.At.In(z); !s.open(local) {
			a.Zone, a.Local, a.Hours = z.String(), local.Format("15:04"), s.on(local)
			break
		}
	}
	return a
}

// hours finds the schedule and the zones on whose clocks it is read.
func (q Query) hours() (Schedule, []*time.Location) {
	p := placeOf(q.To)
	zones := p.zones
	if len(zones) == 0 {
		zones = []*time.Location{q.Account}
	}
	if o := q.Override; o != nil {
		if o.Zone == ZoneAccount {
			zones = []*time.Location{q.Account}
		}
		return o.Schedule, zones
	}
	return hoursOf(p.region, q.At), zones
}

// earliest is the first time from t on at which all zones are in their hours.
func earliest(s Schedule, t time.Time, zones []*time.Location) (time.Time, bool) {
	end := t.Add(horizon)
	for agreed := 0; agreed < len(zones); {
		for _, z := range zones {
			opens, ok := s.next(t, z)
			if !ok || !opens.Before(end) {
				return time.Time{}, false
			}
			if opens.After(t) { // ask those before it again
				t, agreed = opens, 0
			}
			agreed++
		}
	}
	return t, true
}
