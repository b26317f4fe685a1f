package policy

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Candidate is a vendor that can take a message, with what the customer pays a
// part over it.
type Candidate struct {
	Vendor *snapshot.Vendor
	Route  int64
	Rate   message.Micros
}

// Candidates lists the vendors that can take the message, best first: by the
// route's priority, then the vendor's, then by weight. The order among equals
// is drawn from the message's id, so that it is the same whenever it is asked
// for one message and follows the weights over many. A vendor appears once, by
// its best route.
func Candidates(s *snapshot.Snapshot, m *message.Message) []Candidate {
	type ranked struct {
		Candidate
		route, vendor int
		draw          float64
	}
	var found []ranked
	for i := range s.Routes {
		r := &s.Routes[i]
		v := s.Vendors[r.VendorID]
		if v == nil || !v.Active || !matches(r, m) || !capable(v, m) {
			continue
		}
		found = append(found, ranked{Candidate{v, r.ID, r.RatePerMsg}, r.Priority, v.Priority, draw(m.ID, r)})
	}
	slices.SortStableFunc(found, func(a, b ranked) int {
		switch {
		case a.route != b.route:
			return a.route - b.route
		case a.vendor != b.vendor:
			return a.vendor - b.vendor
		case a.draw < b.draw:
			return -1
		case a.draw > b.draw:
			return 1
		}
		return 0
	})
	var out []Candidate
	seen := make(map[message.ID]bool, len(found))
	for _, f := range found {
		if !seen[f.Vendor.ID] {
			seen[f.Vendor.ID] = true
			out = append(out, f.Candidate)
		}
	}
	return out
}

// providerSMPP is the provider_type of the vendors that take octets as they are.
const providerSMPP = "smpp"

// NoCandidate is the refusal of a message that has no candidates. When a text would
// have some, its form is what is wrong with it.
func NoCandidate(s *snapshot.Snapshot, m *message.Message) *message.Error {
	if m.SMPPOnly() {
		text := func(m *message.Message) { m.Encoding, m.Header = message.EncodingGSM7, nil }
		if couldGo(s, m, text) {
			return message.Refuse(message.ReasonEncodingMismatch, "binary messages and user data headers go to SMPP vendors only, and none matches this sender and recipient")
		}
	}
	if m.From.Kind() == message.Alphanumeric && couldGo(s, m, func(m *message.Message) { m.From = "+12025550100" }) {
		return message.Refuse(message.ReasonUnauthorizedSender, "no vendor on the way to this recipient takes alphanumeric senders; use a number")
	}
	if m.Encoding == message.EncodingUCS2 && couldGo(s, m, func(m *message.Message) { m.Encoding = message.EncodingGSM7 }) {
		return message.Refuse(message.ReasonEncodingMismatch, "no vendor on the way to this recipient takes characters beyond the GSM alphabet")
	}
	return message.Refuse(message.ReasonNoRoute, "no active route and vendor match this sender and recipient")
}

// couldGo reports whether the message would have candidates if it were otherwise.
func couldGo(s *snapshot.Snapshot, m *message.Message, otherwise func(*message.Message)) bool {
	other := *m
	otherwise(&other)
	return len(Candidates(s, &other)) > 0
}

func matches(r *snapshot.Route, m *message.Message) bool {
	switch {
	case r.AccountID != (message.ID{}) && r.AccountID != m.AccountID:
		return false
	case r.MessageType != "" && r.MessageType != m.Kind:
		return false
	case r.DestPattern != nil && !r.DestPattern.MatchString(m.To.Digits()):
		return false
	case r.SourcePattern != nil && !r.SourcePattern.MatchString(m.From.Digits()):
		return false
	}
	return true
}

func capable(v *snapshot.Vendor, m *message.Message) bool {
	switch {
	case m.From.Kind() == message.Alphanumeric && !v.SupportsAlphanumeric:
		return false
	case m.Encoding == message.EncodingUCS2 && !v.SupportsUnicode:
		return false
	case m.Kind == message.MMS && !v.SupportsMMS:
		return false
	case m.SMPPOnly() && v.ProviderType != providerSMPP:
		return false
	case v.BindType == "receiver":
		return false
	}
	return true
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
