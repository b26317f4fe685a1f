package policy

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Candidate is a vendor that can take a message, with what the customer pays a
// part over it.
type Candidate struct {
	Vendor *snapshot.Vendor
	Route  int64 // the one that brings it; 0: none does, see Why
	Rate   message.Micros
	// Why the first candidate is the first, when the routes alone would have put
	// another vendor there; else empty.
	Why Why
	// Sticky: one of the vendor's routes asks for the vendor that the conversation
	// used last.
	Sticky bool
}

// Why tells what put a vendor before the one that the routes would have put first.
type Why string

// What there is.
const (
	WhyOverride     Why = "override"          // staff have named it
	WhyInside       Why = "internal_delivery" // the recipient is a number of ours
	WhyPaused       Why = "paused"            // others are paused
	WhyHealth       Why = "health"            // others are in worse health
	WhyNumber       Why = "number"            // it hosts the sender's number
	WhyConversation Why = "conversation"      // the conversation used it last
)

// Ways is what the choice of vendors depends on, beside the configuration and the
// message.
type Ways struct {
	Now time.Time // when the message leaves
	// Health judges a vendor; nil: all are healthy. What it does not know counts as
	// healthy.
	Health func(vendor message.ID) message.VendorHealth
	Last   message.ID // the vendor that the conversation used last; zero: none, or nobody has asked
	// Override is the vendor that staff have named for the message; zero: none.
	Override message.ID
}

// Candidates lists the vendors that can take the message, best first.
//
// A vendor that staff have named is alone, whatever the routes say; so is the vendor
// inside, when the recipient is a number of ours and the account's messages may stay
// in the house. Else it goes by the routes that match: paused vendors come last, then
// the better health goes before the worse, the vendor that hosts the sender's number
// before others, and among those the route's priority decides, then the vendor that
// the conversation used last, if the route asks for it, the cost, if a route of that
// priority does, the vendor's priority, and in the end a draw by weight. The draw is
// made from the message's id, so that the order is the same whenever it is asked for
// one message and follows the weights over many. A vendor appears once, by its best
// route.
func Candidates(s *snapshot.Snapshot, m *message.Message, w Ways) []Candidate {
	return weigh(s, m, w, nil).candidates()
}

// way is a vendor to which a route leads.
type way struct {
	route  *snapshot.Route
	vendor *snapshot.Vendor
	rank   rank
}

// rank is a way's place among others: what comes first counts most, and the smaller
// goes before.
type rank struct {
	paused   bool
	health   int
	foreign  bool // the vendor does not host the sender's number
	route    int
	stranger bool // it is not the one that the conversation used last, or the route does not care
	cost     message.Micros
	vendor   int
	draw     float64
	id       int64
}

func (a rank) compare(b rank) int {
	return cmp.Or(
		compareBool(a.paused, b.paused),
		cmp.Compare(a.health, b.health),
		compareBool(a.foreign, b.foreign),
		cmp.Compare(a.route, b.route),
		compareBool(a.stranger, b.stranger),
		cmp.Compare(a.cost, b.cost),
		cmp.Compare(a.vendor, b.vendor),
		cmp.Compare(a.draw, b.draw),
		cmp.Compare(a.id, b.id))
}

// plain is what the rank is by the routes alone.
func (a rank) plain() rank {
	a.paused, a.health, a.foreign, a.stranger = false, 0, false, false
	return a
}

// before names what puts a way before another that the routes alone would have put
// first.
func (a rank) before(b rank) Why {
	switch {
	case a.paused != b.paused:
		return WhyPaused
	case a.health != b.health:
		return WhyHealth
	case a.foreign != b.foreign:
		return WhyNumber
	}
	return WhyConversation
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// weighing is what was found of a message's ways.
type weighing struct {
	ways  []way            // that match, best first; a vendor may have several
	alone *snapshot.Vendor // who is asked, and nobody else; nil: the ways decide
	why   Why              // of alone
}

// weigh looks at every route. lost, when it is not nil, is told of each that does not
// match, and why.
func weigh(s *snapshot.Snapshot, m *message.Message, w Ways, lost func(r *snapshot.Route, v *snapshot.Vendor, why loss)) weighing {
	var out weighing
	out.alone, out.why = singled(s, m, w)
	host := hostOf(s, m)
	cheapest := map[int]bool(nil) // priorities of which a route goes by the cost
	for i := range s.Routes {
		r := &s.Routes[i]
		v := s.Vendors[r.VendorID]
		why := mismatch(r, m, w.Now)
		if why == fits {
			why = unfit(s, r, v, m)
		}
		if why == fits && v.ProviderType == message.ProviderInternal && v != out.alone {
			why = lostInside
		}
		if why != fits {
			if lost != nil {
				lost(r, v, why)
			}
			continue
		}
		if r.Selection == leastCost {
			if cheapest == nil {
				cheapest = make(map[int]bool)
			}
			cheapest[r.Priority] = true
		}
		out.ways = append(out.ways, way{r, v, rank{
			paused: v.Paused, health: w.health(v.ID), foreign: host == (message.ID{}) || v.ID != host, route: r.Priority,
			stranger: !r.Sticky || v.ID != w.Last, vendor: v.Priority, draw: draw(m.ID, r), id: r.ID}})
	}
	for i := range out.ways {
		if a := &out.ways[i]; cheapest[a.rank.route] {
			a.rank.cost = costOf(a.vendor, m)
		}
	}
	slices.SortStableFunc(out.ways, func(a, b way) int { return a.rank.compare(b.rank) })
	return out
}

// candidates gives each vendor once.
func (c weighing) candidates() []Candidate {
	if c.alone != nil {
		return []Candidate{c.only()}
	}
	var out []Candidate
	place := make(map[message.ID]int, len(c.ways))
	for _, a := range c.ways {
		if at, known := place[a.vendor.ID]; known {
			out[at].Sticky = out[at].Sticky || a.route.Sticky
			continue
		}
		place[a.vendor.ID] = len(out)
		out = append(out, Candidate{Vendor: a.vendor, Route: a.route.ID, Rate: a.route.RatePerMsg, Sticky: a.route.Sticky})
	}
	if len(out) > 1 {
		out[0].Why = c.first()
	}
	return out
}

// first tells why the first way is the first.
func (c weighing) first() Why {
	plain := slices.MinFunc(c.ways, func(a, b way) int { return a.rank.plain().compare(b.rank.plain()) })
	if plain.vendor == c.ways[0].vendor {
		return ""
	}
	return c.ways[0].rank.before(plain.rank)
}

// only is the candidate who is alone. The customer pays what a route to it says or,
// without one, what the best way would have cost.
func (c weighing) only() Candidate {
	out := Candidate{Vendor: c.alone, Why: c.why}
	if i := slices.IndexFunc(c.ways, func(a way) bool { return a.vendor == c.alone }); i >= 0 {
		out.Route, out.Rate = c.ways[i].route.ID, c.ways[i].route.RatePerMsg
	} else if len(c.ways) > 0 {
		out.Rate = c.ways[0].route.RatePerMsg
	}
	return out
}

// singled finds the vendor who is asked and nobody else, nil when the routes decide.
func singled(s *snapshot.Snapshot, m *message.Message, w Ways) (*snapshot.Vendor, Why) {
	if w.Override != (message.ID{}) {
		if v := s.Vendors[w.Override]; usable(s, v, m) == fits {
			return v, WhyOverride
		}
	}
	if stays(s, m) {
		if v := s.Vendors[message.InternalVendor]; usable(s, v, m) == fits {
			return v, WhyInside
		}
	}
	return nil, ""
}

// stays reports whether the account's messages to numbers of ours stay in the house.
func stays(s *snapshot.Snapshot, m *message.Message) bool {
	a := s.Accounts[m.AccountID]
	return a != nil && a.InternalDelivery && ours(s, m)
}

// ours reports whether the recipient is a number of ours that takes such messages.
func ours(s *snapshot.Snapshot, m *message.Message) bool {
	n := s.Numbers[m.To]
	return n != nil && (m.Kind == message.MMS && n.MMSEnabled || m.Kind != message.MMS && n.SMSEnabled)
}

// hostOf is the vendor that hosts the sender's number; zero: none in particular.
func hostOf(s *snapshot.Snapshot, m *message.Message) message.ID {
	if n := s.Numbers[m.From]; n != nil && n.AccountID == m.AccountID {
		return n.VendorID
	}
	return message.ID{}
}

// health is the class of a vendor's health, the best first.
func (w Ways) health(vendor message.ID) int {
	switch w.healthOf(vendor) {
	case message.HealthDegraded:
		return 1
	case message.HealthDown:
		return 2
	}
	return 0
}

func (w Ways) healthOf(vendor message.ID) message.VendorHealth {
	if w.Health == nil {
		return message.HealthHealthy
	}
	return w.Health(vendor)
}

// costOf is what the vendor takes for a part.
func costOf(v *snapshot.Vendor, m *message.Message) message.Micros {
	if m.Kind == message.MMS {
		return v.CostPerMMS
	}
	return v.CostPerSMS
}

// NoCandidate is the refusal of a message that has no candidates. When a text would
// have some, its form is what is wrong with it.
func NoCandidate(s *snapshot.Snapshot, m *message.Message, w Ways) *message.Error {
	if m.SMPPOnly() {
		text := func(m *message.Message) { m.Encoding, m.Header = message.EncodingGSM7, nil }
		if couldGo(s, m, w, text) {
			return message.Refuse(message.ReasonEncodingMismatch, "binary messages and user data headers go to SMPP vendors only, and none matches this sender and recipient")
		}
	}
	if m.From.Kind() == message.Alphanumeric && couldGo(s, m, w, func(m *message.Message) { m.From = "+12025550100" }) {
		return message.Refuse(message.ReasonUnauthorizedSender, "no vendor on the way to this recipient takes alphanumeric senders; use a number")
	}
	if m.Kind != message.MMS && m.Encoding == message.EncodingUCS2 && couldGo(s, m, w, func(m *message.Message) { m.Encoding = message.EncodingGSM7 }) {
		return message.Refuse(message.ReasonEncodingMismatch, "no vendor on the way to this recipient takes characters beyond the GSM alphabet")
	}
	if m.Kind == message.MMS && couldGo(s, m, w, func(m *message.Message) { m.Kind = message.SMS }) {
		return message.Refuse(message.ReasonNoRoute, "no vendor on the way to this recipient takes MMS; a text without files could go")
	}
	return message.Refuse(message.ReasonNoRoute, "no active route and vendor match this sender and recipient")
}

// couldGo reports whether the message would have candidates if it were otherwise.
func couldGo(s *snapshot.Snapshot, m *message.Message, w Ways, otherwise func(*message.Message)) bool {
	other := *m
	otherwise(&other)
	return len(Candidates(s, &other, w)) > 0
}

// draw is an exponential variate of the route's weight, the smallest of which
// wins with a probability proportional to the weight.
func draw(id message.ID, r *snapshot.Route) float64 {
	h := fnv.New64a()
	h.Write(id[:])
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(r.ID))
	h.Write(b[:])
	u := (float64(mix(h.Sum64())>>11) + 0.5) / (1 << 53)
	return -math.Log(u) / float64(max(1, r.Weight))
}

// mix makes every bit depend on every bit. FNV alone leaves the numbers of two
// routes for one message a fixed distance apart, and draws that hang together
// do not follow the weights. The steps are a bijection: xorshifts and odd
// multipliers, as in the finish of MurmurHash3.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
