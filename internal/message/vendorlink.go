package message

import "time"

// VendorLinkState is what one process's link to a vendor looked like when it was last
// seen.
type VendorLinkState struct {
	VendorID      ID
	Instance      string  // the process
	Bind          string  // connected, connecting, disconnected
	Binds         int     // live ones
	InFlight      int     // parts without an answer
	Throughput    float64 // parts a second now
	RateShare     float64 // parts a second that the process may send; 0: unlimited, or none without binds
	ErrorRate     float64 // of the answers of the last minute, 0-1
	LatencyMillis int
	LastError     string    // without credentials
	Since         time.Time // of Bind
	SeenAt        time.Time
}
