// Package pace finds the moment at which a message may leave: AT&T counts a
// campaign's parts by the minute, T-Mobile a company's parts by the day. It is
// given what is known of the counters, under their lock, and places messages in
// them; whoever keeps the counters (internal/postgres) writes down what was taken.
//
// Each message gets a place of its own when it asks, in the order in which they
// ask: the earliest second at which every limit has room for all of its parts. A
// place that was given is never moved for somebody who comes later, so a message
// that comes later can only get what the ones before it could not use.
//
// The rule not to break: no I/O and no clock, and nobody leaves outside the time
// of their slot. The counts hold for real departures only because every process
// looks at its slot right before the wire (Slot.Usable), and because windows are
// Span seconds long: a steady stream gets 60/64 of a limit, a burst all of it.
package pace

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Names of the rules in the trail.
const (
	RuleRate     = "rate"      // of Minute
	RuleDailyCap = "daily_cap" // of PacificDay
)

// Mark is a share of a day's cap that was just reached, for the first time in that
// day.
type Mark struct {
	Key      string
	Name     string    // as in Limit
	Percent  int       // 80 or 100
	Day      string    // such as 2026-11-22
	Used     int       // parts, also those that were given a place later in the day
	Cap      int       // 0: not known
	Closed   bool      // a vendor has said that the carrier takes no more
	ResetsAt time.Time // the end of the day
}

// Use is how much of a limit is used.
type Use struct {
	Limit
	Used int // parts of the last minute, or of the day
	// Later is how many parts of a Minute limit have a place after now.
	Later    int
	Day      string    // of a PacificDay limit
	Closed   bool      // likewise
	ResetsAt time.Time // likewise
}

// Keys of counters.

// CampaignMinute is the key of what a campaign sends a minute.
func CampaignMinute(campaign message.ID, kind message.Kind) string {
	return "campaign:" + campaign.String() + ":" + string(kind)
}

// NumberMinute is the key of what one number of a campaign sends a minute. It does
// not show the number, since keys travel with slots.
func NumberMinute(campaign message.ID, number message.Address, kind message.Kind) string {
	hash := sha256.Sum256([]byte(number))
	return CampaignMinute(campaign, kind) + ":" + hex.EncodeToString(hash[:8])
}

// CampaignDay is the key of what a campaign sends a day.
func CampaignDay(campaign message.ID) string { return "campaign:" + campaign.String() }

// BrandDay is the key of what all brands of one company send a day.
func BrandDay(capKey string) string { return "brand:" + capKey }
