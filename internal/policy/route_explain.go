package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Rules of the trail of Explain, beside one for each route, which is "route 12".
const (
	RuleOverride = "override"
	RuleInside   = "internal_delivery"
)

// Explained is one way that a message might go, and why it does, or does not.
type Explained struct {
	Route    int64  // 0: no route leads there; staff have named the vendor, or it is the one inside
	Name     string // of the route; may be empty
	VendorID message.ID
	Vendor   string // its name; empty: there is no such vendor
	Place    int    // 1: it is asked first; 0: it is not asked
	Reason   string // why it lost, or what its place comes from
	Health   message.VendorHealth
	Rate     message.Micros // that the customer pays a part
	Cost     message.Micros // that the vendor takes for a part
}

// Explain tells of every route what becomes of it for the message: those that are
// asked in their order, then those that lost in the order of the configuration. The
// trail has the same in the order of the configuration, and what there is beside the
// routes. What Candidates gives is what has a place here.
func Explain(s *snapshot.Snapshot, m *message.Message, w Ways) ([]Explained, []message.TrailEntry) {
	lost := make(map[int64]Explained)
	found := weigh(s, m, w, func(r *snapshot.Route, v *snapshot.Vendor, why loss) {
		lost[r.ID] = explained(r, v, m, w, why.text(r, v, m, w.Now))
	})
	won := found.places(m, w, lost)
	var trail []message.TrailEntry
	trail = append(trail, trailOverride(s, m, w)...)
	trail = append(trail, trailInside(s, m, found)...)
	out := slices.Clone(won)
	for i := range s.Routes {
		r := &s.Routes[i]
		entry := message.TrailEntry{Rule: fmt.Sprintf("%s %d", RuleRoute, r.ID)}
		if at := slices.IndexFunc(won, func(e Explained) bool { return e.Route == r.ID }); at >= 0 {
			entry.Result, entry.Detail = message.Pass, fmt.Sprintf("place %d: vendor %s, %s", won[at].Place, won[at].Vendor, won[at].Reason)
		} else {
			entry.Result, entry.Detail = message.Refused, lost[r.ID].Reason
			out = append(out, lost[r.ID])
		}
		trail = append(trail, entry)
	}
	return out, trail
}

// places gives the ways that are asked, in their order, and adds the others to lost.
func (c weighing) places(m *message.Message, w Ways, lost map[int64]Explained) []Explained {
	var out []Explained
	at := make(map[message.ID]int) // the place of a vendor, from 0
	for i, k := range c.candidates() {
		at[k.Vendor.ID] = i
		out = append(out, Explained{Route: k.Route, VendorID: k.Vendor.ID, Vendor: k.Vendor.Name, Place: i + 1, Reason: k.Why.text(),
			Health: w.healthOf(k.Vendor.ID), Rate: k.Rate, Cost: costOf(k.Vendor, m)})
	}
	for _, a := range c.ways {
		i, asked := at[a.vendor.ID]
		switch {
		case asked && out[i].Route == a.route.ID:
			out[i].Name, out[i].Reason = a.route.Name, cmp.Or(out[i].Reason, "by the routes")+a.merits(w)
		case asked:
			lost[a.route.ID] = explained(a.route, a.vendor, m, w, fmt.Sprintf("vendor %s is asked by route %d, which is better", a.vendor.Name, out[i].Route))
		default:
			lost[a.route.ID] = explained(a.route, a.vendor, m, w, fmt.Sprintf("vendor %s alone is asked: %s", c.alone.Name, c.why.text()))
		}
	}
	return out
}

// text says it in words.
func (w Why) text() string {
	switch w {
	case WhyOverride:
		return "staff have named it"
	case WhyInside:
		return "the recipient is a number of ours"
	case WhyPaused:
		return "others are paused"
	case WhyHealth:
		return "others are in worse health"
	case WhyNumber:
		return "it hosts the sender's number"
	case WhyConversation:
		return "the conversation used it last"
	}
	return ""
}

// merits says what the way's place comes from.
func (a way) merits(w Ways) string {
	said := []string{fmt.Sprintf(" (priority %d", a.route.Priority), string(w.healthOf(a.vendor.ID))}
	if !a.rank.foreign {
		said = append(said, "hosts the sender's number")
	}
	if !a.rank.stranger {
		said = append(said, "the conversation used it last")
	}
	if a.route.Selection == leastCost {
		said = append(said, "least cost")
	}
	if a.rank.paused {
		said = append(said, "paused")
	}
	return strings.Join(append(said, fmt.Sprintf("vendor's priority %d", a.vendor.Priority), fmt.Sprintf("weight %d)", max(1, a.route.Weight))), ", ")
}

func explained(r *snapshot.Route, v *snapshot.Vendor, m *message.Message, w Ways, reason string) Explained {
	e := Explained{Route: r.ID, Name: r.Name, VendorID: r.VendorID, Reason: reason, Health: w.healthOf(r.VendorID), Rate: r.RatePerMsg}
	if v != nil {
		e.Vendor, e.Cost = v.Name, costOf(v, m)
	}
	return e
}

// trailOverride says what becomes of the vendor that staff have named.
func trailOverride(s *snapshot.Snapshot, m *message.Message, w Ways) []message.TrailEntry {
	if w.Override == (message.ID{}) {
		return nil
	}
	v := s.Vendors[w.Override]
	if why := usable(s, v, m); why != fits {
		return []message.TrailEntry{{Rule: RuleOverride, Result: message.Refused, Detail: "the vendor that staff have named is passed over: " + why.ofVendor(v)}}
	}
	return []message.TrailEntry{{Rule: RuleOverride, Result: message.Pass, Detail: "staff have named vendor " + v.Name + ": it alone is asked"}}
}

// trailInside says whether the message stays in the house.
func trailInside(s *snapshot.Snapshot, m *message.Message, found weighing) []message.TrailEntry {
	switch {
	case found.why == WhyOverride || !stays(s, m):
		return nil
	case found.why == WhyInside:
		return []message.TrailEntry{{Rule: RuleInside, Result: message.Pass, Detail: "the recipient is a number of ours: vendor " + found.alone.Name + " alone is asked"}}
	}
	v := s.Vendors[message.InternalVendor]
	return []message.TrailEntry{{Rule: RuleInside, Result: message.Refused, Detail: "the recipient is a number of ours, and the message goes outside: " + usable(s, v, m).ofVendor(v)}}
}
