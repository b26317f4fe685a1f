package smpp

import (
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Outcome is what a vendor's refusal of a submit means to us.
type Outcome struct {
	Reason message.Reason
	// Tries bounds how often the same vendor is tried in all; 0: as long as the
	// message is valid; 1: this refusal is final there.
	Tries int
	// Delays are the gaps before the next tries; the last one repeats.
	Delays []time.Duration
	// PauseLink: the refusal concerns the link, not the message; nothing goes
	// out for the delay.
	PauseLink bool
	// Rebind: the vendor thinks that we are not bound as we think.
	Rebind bool
	// Trouble: it tells of the vendor's own trouble, not of the message. A throttled
	// link is not in trouble: it is asked too fast.
	Trouble bool
}

// Mapped is the outcome of a status that means something else at the vendor than in
// SMPP 3.4: it concerns the message alone, unless it is one of the link's own reasons.
// What is permanent is not tried again; else the number of tries stays.
func (o Outcome) Mapped(r message.Reason) Outcome {
	switch {
	case r == o.Reason && r.Temporary():
		return o
	case r == message.ReasonVendorThrottled:
		return outcomes[StatusThrottled]
	case r == message.ReasonVendorUnreachable:
		return outcomes[StatusSystemError]
	case !r.Temporary():
		return Outcome{Reason: r, Tries: 1}
	}
	return Outcome{Reason: r, Tries: o.Tries, Delays: o.Delays}
}

// Again reports whether the vendor may be tried again after attempt, which
// counts from 1.
func (o Outcome) Again(attempt int) bool { return o.Tries == 0 || attempt < o.Tries }

// After is the gap before the try that follows attempt; zero when there is none.
func (o Outcome) After(attempt int) time.Duration {
	if len(o.Delays) == 0 || !o.Again(attempt) {
		return 0
	}
	return o.Delays[min(max(attempt, 1), len(o.Delays))-1]
}

// The gaps, after what Jasmin and Vibes recommend to their users.
var (
	throttledDelays = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second}
	queueFullDelays = []time.Duration{30 * time.Second, 60 * time.Second, 180 * time.Second}
	faultDelays     = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}
	rejectDelays    = []time.Duration{30 * time.Second}
	rebindDelays    = []time.Duration{5 * time.Second}
)

// refused is the outcome of every status that has no row of its own.
var refusedOutcome = Outcome{Reason: message.ReasonVendorRejected, Tries: 1}

// outcomes has a row for each status that is not just a permanent refusal.
var outcomes = map[Status]Outcome{
	StatusInvSource:    {Reason: message.ReasonUnauthorizedSender, Tries: 1},
	StatusInvDest:      {Reason: message.ReasonInvalidDestination, Tries: 1},
	StatusThrottled:    {Reason: message.ReasonVendorThrottled, Delays: throttledDelays, PauseLink: true},
	StatusMsgQueueFull: {Reason: message.ReasonVendorThrottled, Delays: queueFullDelays, Trouble: true},
	StatusSystemError:  {Reason: message.ReasonVendorUnreachable, Delays: faultDelays, Trouble: true},
	StatusUnknownError: {Reason: message.ReasonVendorUnreachable, Tries: 4, Delays: faultDelays, Trouble: true},
	StatusTempAppError: {Reason: message.ReasonVendorRejected, Delays: faultDelays, Trouble: true},
	StatusSubmitFail:   {Reason: message.ReasonVendorRejected, Tries: 2, Delays: rejectDelays},
	StatusInvBindState: {Reason: message.ReasonVendorRejected, Tries: 4, Delays: rebindDelays, Rebind: true, Trouble: true},
	StatusAlreadyBound: {Reason: message.ReasonVendorRejected, Tries: 4, Delays: rebindDelays, Rebind: true, Trouble: true},
}

// OutcomeOf classifies the status of a vendor's submit_sm_resp. A status
// without a meaning of its own is a permanent vendor_rejected.
func OutcomeOf(st Status) Outcome {
	if o, ok := outcomes[st]; ok {
		return o
	}
	return refusedOutcome
}

// NackOutcome classifies a generic_nack: the vendor did not understand the
// request, and will not understand it a second time.
func NackOutcome() Outcome { return refusedOutcome }

// StatusOf is the command_status that a customer's submit gets for a reason, by
// the catalogue. A reason that cannot arise there is RSYSERR.
func StatusOf(r message.Reason) Status {
	if st := r.Entry().SMPP; st != 0 {
		return Status(st)
	}
	return StatusSystemError
}

// BindStatusOf is the command_status that a refused bind gets for a reason, by
// the catalogue. A reason that is no refusal of a bind is RSYSERR: try later.
func BindStatusOf(r message.Reason) Status {
	if st := r.Entry().SMPPBind; st != 0 {
		return Status(st)
	}
	return StatusSystemError
}
