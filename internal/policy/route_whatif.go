package policy

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// WhatIf follows messages of the past through two configurations and sums up where
// they would have gone. Health is not known of the past: all vendors count as healthy,
// in both. It holds sums only, however many messages there are. Not safe for
// concurrent use.
type WhatIf struct {
	before, after *snapshot.Snapshot
	sum           Forecast
	vendors       map[message.ID]*VendorForecast
}

// Forecast is what a change of the configuration would have made of some messages.
type Forecast struct {
	Messages int // that were looked at
	Moved    int // of which the first vendor would have been another one, or none, or any instead of none
	Before   Sums
	After    Sums
	Vendors  []VendorForecast // that had, or would have had, any of them; by name
}

// Sums are of all messages, of which those without a vendor cost nothing.
type Sums struct {
	NoRoute int            // messages that no vendor could have taken
	Price   message.Micros // that the customers would have paid
	Cost    message.Micros // that the vendors would have taken
}

// VendorForecast is one vendor's share, in messages.
type VendorForecast struct {
	ID    message.ID
	Name  string
	Used  int                   // that it had in fact
	First Shift[int]            // of which it would have been asked first
	Parts Shift[int]            // of those
	Cost  Shift[message.Micros] // of those, what it would have taken
}

// Shift is what something is before a change and after it.
type Shift[T any] struct{ Before, After T }

// NewWhatIf compares two configurations.
func NewWhatIf(before, after *snapshot.Snapshot) *WhatIf {
	return &WhatIf{before: before, after: after, vendors: make(map[message.ID]*VendorForecast)}
}

// Take looks at one message. Its text is not needed, nor are the octets of its header:
// that there is one is enough. It never fails, and has an error for the sake of those
// who hand it on.
func (w *WhatIf) Take(m *message.Message) error {
	at := m.CreatedAt
	if m.SendAt.After(at) {
		at = m.SendAt
	}
	w.sum.Messages++
	if m.VendorID != (message.ID{}) {
		w.vendor(m.VendorID, m.Vendor).Used++
	}
	old := w.first(w.before, m, Ways{Now: at}, &w.sum.Before)
	if old != nil {
		v := w.vendor(old.Vendor.ID, old.Vendor.Name)
		v.First.Before++
		v.Parts.Before += m.Segments
		v.Cost.Before += total(costOf(old.Vendor, m), m)
	}
	next := w.first(w.after, m, Ways{Now: at}, &w.sum.After)
	if next != nil {
		v := w.vendor(next.Vendor.ID, next.Vendor.Name)
		v.First.After++
		v.Parts.After += m.Segments
		v.Cost.After += total(costOf(next.Vendor, m), m)
	}
	if (old == nil) != (next == nil) || old != nil && old.Vendor.ID != next.Vendor.ID {
		w.sum.Moved++
	}
	return nil
}

// first is the candidate that would have been asked first, nil when there is none.
func (w *WhatIf) first(s *snapshot.Snapshot, m *message.Message, ways Ways, sums *Sums) *Candidate {
	c := Candidates(s, m, ways)
	if len(c) == 0 {
		sums.NoRoute++
		return nil
	}
	sums.Price += total(c[0].Rate, m)
	sums.Cost += total(costOf(c[0].Vendor, m), m)
	return &c[0]
}

// total is an amount a part over all parts of a message.
func total(part message.Micros, m *message.Message) message.Micros {
	return part * message.Micros(m.Segments)
}

func (w *WhatIf) vendor(id message.ID, name string) *VendorForecast {
	v := w.vendors[id]
	if v == nil {
		v = &VendorForecast{ID: id, Name: name}
		w.vendors[id] = v
	}
	return v
}

// Forecast is the sum over the messages so far.
func (w *WhatIf) Forecast() Forecast {
	out := w.sum
	out.Vendors = nil
	for _, v := range w.vendors {
		out.Vendors = append(out.Vendors, *v)
	}
	slices.SortFunc(out.Vendors, func(a, b VendorForecast) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), slices.Compare(a.ID[:], b.ID[:]))
	})
	return out
}

// Proposal is a change of routes and vendors that somebody thinks of.
type Proposal struct {
	Remove []int64          // routes
	Routes []snapshot.Route // in the place of those with the same number, or more of them: those whose number is 0
	// Vendors change what they are: by id.
	Vendors map[message.ID]VendorChange
}

// VendorChange is what may be proposed of a vendor; nil: as it is.
type VendorChange struct {
	Active, Paused, Draining *bool
	Priority                 *int
	CostPerSMS, CostPerMMS   *message.Micros
}

// Propose makes the configuration that a proposal would lead to; the one that is in
// force stays as it is. ReasonInvalidRequest when the proposal names what is not there.
func Propose(s *snapshot.Snapshot, p Proposal) (*snapshot.Snapshot, error) {
	routes := slices.Clone(s.Routes)
	find := func(id int64) int {
		return slices.IndexFunc(routes, func(r snapshot.Route) bool { return r.ID == id })
	}
	for _, id := range p.Remove {
		at := find(id)
		if at < 0 {
			return nil, message.Refuse(message.ReasonInvalidRequest, "there is no active route %d to be removed", id)
		}
		routes = slices.Delete(routes, at, at+1)
	}
	newest := int64(0)
	for _, r := range s.Routes {
		newest = max(newest, r.ID)
	}
	for _, r := range p.Routes {
		if s.Vendors[r.VendorID] == nil {
			return nil, message.Refuse(message.ReasonInvalidRequest, "there is no vendor %s for route %d", r.VendorID, r.ID)
		}
		if r.ID == 0 {
			newest++
			r.ID = newest
			routes = append(routes, r)
			continue
		}
		at := find(r.ID)
		if at < 0 {
			return nil, message.Refuse(message.ReasonInvalidRequest, "there is no active route %d to be changed", r.ID)
		}
		routes[at] = r
	}
	out := *s
	out.Routes, out.Vendors = routes, maps.Clone(s.Vendors)
	for id, c := range p.Vendors {
		old := s.Vendors[id]
		if old == nil {
			return nil, message.Refuse(message.ReasonInvalidRequest, "there is no vendor %s to be changed", id)
		}
		v := *old
		c.apply(&v)
		out.Vendors[id] = &v
	}
	out.IndexAfter(s)
	return &out, nil
}

func (c VendorChange) apply(v *snapshot.Vendor) {
	set(&v.Active, c.Active)
	set(&v.Paused, c.Paused)
	set(&v.Draining, c.Draining)
	set(&v.Priority, c.Priority)
	set(&v.CostPerSMS, c.CostPerSMS)
	set(&v.CostPerMMS, c.CostPerMMS)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}
