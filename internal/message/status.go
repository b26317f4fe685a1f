package message

// Status is where a message is in its life. The table of legal changes is
// CanBecome; nothing else in the project compares statuses for order.
type Status string

// The statuses of a message, in the order a message usually lives through
// them. The last seven are final.
const (
	StatusAccepted    Status = "accepted"    // journalled and answered
	StatusScheduled   Status = "scheduled"   // waits for its send time
	StatusQueued      Status = "queued"      // admitted and routed; waits for media, order, a cap or a link
	StatusSending     Status = "sending"     // a submit is journalled
	StatusInDoubt     Status = "in_doubt"    // a submit has no known answer
	StatusSent        Status = "sent"        // the vendor took every part
	StatusDelivered   Status = "delivered"   // every part confirmed
	StatusUndelivered Status = "undelivered" // taken by the vendor, then refused or lost
	StatusFailed      Status = "failed"      // no vendor took all of it
	StatusRejected    Status = "rejected"    // refused by policy
	StatusExpired     Status = "expired"     // validity ended
	StatusCanceled    Status = "canceled"    // withdrawn by customer or staff
	StatusUnconfirmed Status = "unconfirmed" // taken, then silence
)

// Statuses lists every status once, in the order of the constants.
func Statuses() []Status {
	return []Status{
		StatusAccepted, StatusScheduled, StatusQueued, StatusSending, StatusInDoubt, StatusSent,
		StatusDelivered, StatusUndelivered, StatusFailed, StatusRejected, StatusExpired, StatusCanceled, StatusUnconfirmed,
	}
}

// transitions holds, for each status, what it may become. `unconfirmed` is
// final for the workflow but a late receipt may still settle it.
var transitions = map[Status][]Status{
	StatusAccepted:    {StatusScheduled, StatusQueued, StatusRejected, StatusCanceled, StatusExpired, StatusFailed},
	StatusScheduled:   {StatusQueued, StatusRejected, StatusCanceled, StatusExpired, StatusFailed},
	StatusQueued:      {StatusSending, StatusRejected, StatusCanceled, StatusExpired, StatusFailed},
	StatusSending:     {StatusSent, StatusQueued, StatusInDoubt, StatusFailed, StatusDelivered, StatusUndelivered, StatusExpired},
	StatusInDoubt:     {StatusSent, StatusDelivered, StatusUndelivered, StatusExpired, StatusUnconfirmed, StatusQueued, StatusFailed},
	StatusSent:        {StatusDelivered, StatusUndelivered, StatusExpired, StatusUnconfirmed},
	StatusUnconfirmed: {StatusDelivered, StatusUndelivered, StatusExpired},
}

// Valid reports whether s is one of the constants.
func (s Status) Valid() bool {
	for _, k := range Statuses() {
		if s == k {
			return true
		}
	}
	return false
}

// CanBecome reports whether a message in status s may move to next. Staying
// where it is is no move: it answers false, and callers treat a repeated
// status as a no-op.
func (s Status) CanBecome(next Status) bool {
	for _, t := range transitions[s] {
		if t == next {
			return true
		}
	}
	return false
}

// Before lists the statuses from which next may be reached: the condition of
// the update statement that writes next.
func Before(next Status) []Status {
	var from []Status
	for _, s := range Statuses() {
		if s.CanBecome(next) {
			from = append(from, s)
		}
	}
	return from
}

// Final reports whether the message's own process has ended. Only
// `unconfirmed` may still change afterwards, and only by a receipt.
func (s Status) Final() bool {
	switch s {
	case StatusDelivered, StatusUndelivered, StatusFailed, StatusRejected, StatusExpired, StatusCanceled, StatusUnconfirmed:
		return true
	}
	return false
}

// Cancelable reports whether a customer may still withdraw the message.
func (s Status) Cancelable() bool { return s.CanBecome(StatusCanceled) }
