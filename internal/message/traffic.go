package message

import "time"

// VendorTraffic is what went between all processes and a vendor.
type VendorTraffic struct {
	VendorID ID
	Minute   TrafficCount // the last one
	Hour     TrafficCount // the last one
}

// TrafficCount counts what went between the gateway and a vendor in some time.
type TrafficCount struct {
	In int64 // messages from it, a part of a long one as one
	// Of the parts that were given to it: Accepted by it; Failed for trouble of its own, or
	// without an answer; Refused for their rate or for what they are.
	Accepted, Failed, Refused int64
}

// Add adds another count of the same time.
func (c *TrafficCount) Add(o TrafficCount) {
	c.In, c.Accepted, c.Failed, c.Refused = c.In+o.In, c.Accepted+o.Accepted, c.Failed+o.Failed, c.Refused+o.Refused
}

// Pile is what waits for something. Count is exact up to the bound of whoever counted.
type Pile struct {
	Count int
	// Oldest is when the first of it came, and ID which that is; zero: there is none.
	Oldest time.Time
	ID     ID
}

// Lately counts the newest messages of the last hour by what has become of them.
type Lately struct {
	// Since is when the first of those came that were counted: at most an hour ago, less
	// where there were more than are counted. Zero: there was none.
	Since time.Time
	// Cut says that there were more.
	Cut    bool
	Counts []LatelyCount
}

// LatelyCount is one direction and status of Lately.
type LatelyCount struct {
	Direction Direction
	Status    Status
	// Messages came in the time; Minute of them in its last minute. Moved are those that
	// last changed in the last minute.
	Messages, Minute, Moved int
}

// Overview is how the gateway stands: what came lately, what waits, which limits are near
// their end.
type Overview struct {
	Lately Lately
	// Backlog are accepted messages that no vendor has; its oldest is the first that does
	// not wait for a time that its customer asked for. Unstarted are those of them whose
	// workflow has not begun, though nothing is before them.
	Backlog, Unstarted Pile
	// InDoubt are messages of which nobody knows whether the vendor has them, Held those
	// that wait for somebody to read them.
	InDoubt, Held Pile
	// WebhooksDue are deliveries that are to be tried, WebhooksFailed those given up.
	WebhooksDue, WebhooksFailed Pile
	// Unrouted are inbound messages to nobody, Unmatched receipts of nothing.
	Unrouted, Unmatched Pile
	// Limits are those that are used most, by their share.
	Limits []Usage
}
