package snapshot

import (
	"time"

	"github.com/postrider/postrider/internal/message"
)

// VendorState is a Vendor as staff see it.
type VendorState struct {
	Vendor
	Restarts      int    // how often staff had its links made anew
	Broken        string // what of it cannot be read; empty: nothing. It is then in no snapshot
	Health        message.VendorHealth
	LastBind      time.Time // zero: never
	DrainingSince time.Time // zero: it does not drain
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

// VendorFilter narrows a list of vendors. Zero fields do not.
type VendorFilter struct {
	ProviderType string
	Active       bool // only those
}

// VendorUse is what stands in the way of a vendor's removal.
type VendorUse struct {
	Waiting int     // messages that wait for it, counted up to MaxWaiting
	InDoubt int     // parts of which it is not known whether it has them
	Routes  []int64 // that send to it
	Numbers int     // that it hosts
	// Rest is how long it is still waited for receipts of what it had, and until every
	// process knows that it drains.
	Rest time.Duration
}

// MaxWaiting is how far waiting messages are counted.
const MaxWaiting = 10_000

// RouteState is a Route as staff see it.
type RouteState struct {
	Route
	Active    bool
	Version   int64  // another one with each change
	Broken    string // as of a vendor
	CreatedAt time.Time
	UpdatedAt time.Time
}

// RouteFilter narrows a list of routes. Zero fields do not.
type RouteFilter struct {
	VendorID  message.ID
	AccountID message.ID
	Active    bool // only those
}
