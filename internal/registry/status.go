package registry

import "strings"

// StatusOf is our status of a campaign out of the registry's own and the carriers'.
// A campaign that the registry calls active may send once a carrier has approved
// it; which carriers have not is kept beside it, and decides for their recipients.
// Carriers need not report, and one that has not is as one that still looks at it.
// was is what the campaign is now: a word that we do not know changes nothing.
func StatusOf(was Status, word string, carriers []Carrier) Status {
	switch strings.ToUpper(word) {
	case "ACTIVE":
	case "SUSPENDED":
		return Suspended
	case "EXPIRED", "DEACTIVATED", "DELETED":
		return Expired
	case "REJECTED", "DECLINED", "FAILED":
		return Rejected
	case "PENDING", "REVIEW", "REGISTRATION_PENDING":
		return Pending
	default:
		return was
	}
	counts := map[string]int{}
	for _, c := range carriers {
		counts[c.Status]++
	}
	switch {
	case counts[CarrierApproved] > 0:
		return Active
	case counts[""] == len(carriers) && was == Active: // nobody reports any more; nobody has said no
		return Active
	case counts[CarrierReview] > 0, counts[""] > 0, len(carriers) == 0:
		return Pending
	case counts[CarrierSuspended] > 0:
		return Suspended
	}
	return Rejected
}

// brandStatusOf is our status of a brand. UNVERIFIED brands may run no campaign.
func brandStatusOf(status, identity string) BrandStatus {
	switch strings.ToUpper(status) {
	case "REGISTRATION_PENDING", "PENDING":
		return BrandPending
	case "REGISTRATION_FAILED", "FAILED", "DELETED":
		return BrandFailed
	}
	switch strings.ToUpper(identity) {
	case "VERIFIED", "VETTED_VERIFIED", "SELF_DECLARED":
		return BrandApproved
	case "UNVERIFIED":
		return BrandFailed
	}
	return BrandPending
}

// carrierStatusOf reads a carrier's word; empty: it is none that we know.
func carrierStatusOf(word string) string {
	switch strings.ToUpper(word) {
	case "REVIEW", "PENDING":
		return CarrierReview
	case "APPROVED", "REGISTERED":
		return CarrierApproved
	case "REJECTED", "DECLINED":
		return CarrierRejected
	case "SUSPENDED":
		return CarrierSuspended
	}
	return ""
}

// Explain says in a sentence what a campaign waits for, or why it may not send.
func (c *Campaign) Explain() string {
	switch c.Status {
	case Draft:
		if c.RequestedAt.IsZero() {
			return "It is a draft: set submit to ask for its registration."
		}
		return "Its registration is asked for; staff will file it."
	case Pending:
		return "The registry has it; no carrier has approved it yet."
	case Suspended:
		if c.SuspendedBy != "" {
			return "It was suspended by our staff; write to support."
		}
		return "The registry or the carriers have suspended it."
	case Rejected:
		return "The registry or every carrier has refused it; describe a new one."
	case Expired:
		return "It has ended; describe a new one."
	}
	for _, k := range c.Carriers {
		if k.Status != CarrierApproved && k.Status != "" {
			return "It may send, but not to every carrier: see carriers."
		}
	}
	return "It may send."
}
