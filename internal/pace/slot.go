package pace

import (
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Window is the time over which a limit counts.
type Window string

// The windows.
const (
	Minute     Window = "minute"      // any 60 s, wherever they begin
	PacificDay Window = "pacific_day" // from midnight to midnight in Los Angeles: 23, 24 or 25 h
)

// Limit is one cap on parts.
type Limit struct {
	Key string `json:"key"` // what is counted: all that share it share the cap; a limit of each window may have the same
	// Parts that may leave in the window. 0 or less: any number. A day without a
	// number is counted all the same, since a vendor may close it.
	Parts  int    `json:"parts"`
	Window Window `json:"window"`
	// Spare are those of the Parts that the demand leaves to more urgent ones: as long
	// as a line of bulk may be, they find room. One that has missed its moment takes of
	// them too, or it would go to the end of that line.
	Spare int    `json:"spare,omitempty"`
	Name  string `json:"name"` // for people, such as "campaign C8X2KQ1"; no phone number
}

// Demand asks for the moment at which so many parts may leave.
type Demand struct {
	Limits []Limit // all of which must have room; none: they leave when they like
	Parts  int     // less than 1: 1
	// NotBefore is the earliest time, one in the past means now. NotAfter is the
	// latest, such as the end of the validity; zero: none.
	NotBefore, NotAfter time.Time
	// Instead is the slot that the message has and could not use; nil: none. What it
	// was counted on its day stands for the new one if that is on the same day.
	Instead *Slot
}

// Room is how many parts the demand may fill of a limit of its.
func (d Demand) Room(l Limit) int {
	if d.Instead != nil || l.Parts <= 0 {
		return l.Parts
	}
	return max(l.Parts-max(l.Spare, 0), 1)
}

// Slot is that moment. The parts are counted as if they left in it. It is carried in
// the history of a workflow: fields are added, not renamed.
type Slot struct {
	ID     message.ID           `json:"id"`               // the same for the one that it stands instead of; zero: nothing was taken
	Turn   int                  `json:"turn,omitempty"`   // how many slots it stands instead of
	At     time.Time            `json:"at"`               // the earliest time to leave
	Second int64                `json:"second,omitempty"` // where it is counted: since 1970; 0: nowhere
	Parts  int                  `json:"parts"`
	Limits []Limit              `json:"limits"`          // of the demand
	Trail  []message.TrailEntry `json:"trail,omitempty"` // what the rules rate and daily_cap say
	Hold   message.Hold         `json:"hold,omitzero"`   // of the limit that decided; zero when At is at once
}

const (
	// Grace is how long after its moment a slot may be used: the time that a message
	// needs from being woken to the wire.
	Grace = 3 * time.Second
	// Skew is how far a process's clock may be from the database's, either way.
	Skew = 500 * time.Millisecond
	// Span is the number of consecutive seconds whose slots may be used within one
	// real minute. A slot of second s leaves in [s-Skew, s+Grace+Skew), so the slots
	// that leave in [w, w+60) have their seconds strictly between w-Grace-Skew and
	// w+60+Skew: an open interval of 64 s, in which lie at most 64 whole seconds.
	Span = int64((time.Minute + Grace + 2*Skew) / time.Second)
	// lead and trail keep the uses of a slot that is counted for a day within that
	// day: in whole seconds, Skew before and Grace and Skew after.
	lead  = int64(1)
	trail = int64(4)
)

// Usable reports whether the parts may leave at now under the slot. It is asked
// right before the wire. One that is late is given back, or another taken instead.
func (s Slot) Usable(now time.Time) bool {
	return !now.Before(s.At) && now.Before(s.At.Add(Grace))
}

// Waits reports whether the message had to wait when it was given the slot.
func (s Slot) Waits() bool { return s.Hold.Rule != "" }

// Take is what a slot has taken from one counter.
type Take struct {
	Key    string
	Second int64  // of a Minute limit
	Day    string // of a PacificDay limit, such as 2026-11-22
}

// Takes lists what the slot has taken.
func (s Slot) Takes() (takes []Take) {
	if s.Second == 0 {
		return nil
	}
	for _, lim := range limitsOf(s.Limits) {
		t := Take{Key: lim.Key, Second: s.Second}
		if lim.Window == PacificDay {
			t = Take{Key: lim.Key, Day: s.day()}
		}
		takes = append(takes, t)
	}
	return takes
}

func (s Slot) day() string { return DayOf(time.Unix(s.Second, 0)) }

// counted is how many parts of the slot are counted on a day of a counter.
func (s *Slot) counted(key, day string) int {
	if s == nil || !slices.Contains(s.Takes(), Take{Key: key, Day: day}) {
		return 0
	}
	return s.Parts
}
