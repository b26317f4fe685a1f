package message

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
