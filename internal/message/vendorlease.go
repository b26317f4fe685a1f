package message

import "time"

// VendorLease is the right of one process to one slot of a vendor: to one of its binds,
// and to a part of its rate.
type VendorLease struct {
	VendorID ID
	Slot     int    // from 0
	Instance string // who holds it
	// Of says how much of the vendor's rate the holder may use for the slot: its Of-th
	// part. At least 1.
	Of int
}

// VendorReport is what a process says of its link to a vendor.
type VendorReport struct {
	VendorLinkState
	// Serves: it would use slots of the vendor. A process whose link cannot be made
	// does not.
	Serves bool
}

// VendorBeat is what a process says and asks for every few seconds.
type VendorBeat struct {
	Instance string
	Links    []VendorReport
	// Hold are the slots that it wants to keep or to have, for Lease from now.
	Hold  []VendorLease // Instance is not looked at
	Lease time.Duration
}

// VendorServer is a process that serves a vendor now.
type VendorServer struct {
	VendorID ID
	Instance string
}

// VendorSample counts what one process saw of a vendor in ten seconds.
type VendorSample struct {
	VendorID ID
	At       time.Time // when the ten seconds began
	// Of the parts that were given to it: Accepted by it, Refused for trouble of its
	// own, Other: refused for rate or for the message; Silent: without an answer.
	Accepted, Refused, Other, Silent int
	Receipts                         int // that decide a part
}
