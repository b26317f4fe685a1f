// Package pace finds the moment at which a message may leave when its campaign
// may send so many parts a minute and its brand so many a day.
package pace

import (
	"time"
	_ "time/tzdata" // see pacific

	"github.com/postrider/postrider/internal/message"
)

// Window is the time over which a limit counts.
type Window string

// The windows.
const (
	Minute     Window = "minute"      // any 60 s
	PacificDay Window = "pacific_day" // a calendar day in US Pacific time
)

// Limit is one cap on parts.
type Limit struct {
	Key    string `json:"key"` // what is counted: all that share it share the cap
	Parts  int    `json:"parts"`
	Window Window `json:"window"`
	Name   string `json:"name"` // for people, such as "campaign C8X2KQ1"
}

// Demand asks for the moment at which so many parts may leave.
type Demand struct {
	Limits              []Limit
	Parts               int
	NotBefore, NotAfter time.Time
	// Instead is the slot that the message has and could not use; nil: none. What it
	// was counted on its day stands for the new one if that is on the same day.
	Instead *Slot
}

// Slot is that moment. The parts are counted as if they left in it.
type Slot struct {
	ID     message.ID           `json:"id"` // the same for the one that it stands instead of
	At     time.Time            `json:"at"`
	Parts  int                  `json:"parts"`
	Limits []Limit              `json:"limits"`
	Trail  []message.TrailEntry `json:"trail,omitempty"` // what the rules rate and daily_cap say
	Hold   message.Hold         `json:"hold,omitzero"`   // of the limit that decided; zero when At is at once
}

// Grace is how long after its moment a slot may be used.
const Grace = 3 * time.Second

// NextDay is the midnight in US Pacific time after t, when the caps of a day begin
// anew.
func NextDay(t time.Time) time.Time {
	y, m, d := t.In(pacific).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, pacific)
}

// pacific is embedded: a machine without a time zone database must not count days
// by other clocks.
var pacific = must(time.LoadLocation("America/Los_Angeles"))

func must(l *time.Location, err error) *time.Location {
	if err != nil {
		panic(err) // the database is part of the program
	}
	return l
}

// Usable reports whether the parts may leave at now under the slot.
func (s Slot) Usable(now time.Time) bool {
	return !now.Before(s.At) && now.Before(s.At.Add(Grace))
}
