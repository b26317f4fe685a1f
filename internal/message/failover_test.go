package message

import "testing"

// Every reason says whether another vendor may help, and why.
func TestEveryReasonSaysWhetherItFailsOver(t *testing.T) {
	for _, e := range Catalogue() {
		if a, there := another[e.Reason]; !there || a.why == "" {
			t.Errorf("%s does not say whether another vendor may take what one has refused for it", e.Reason)
		}
	}
	for r := range another {
		if !r.Known() {
			t.Errorf("%s is in no catalogue", r)
		}
	}
}

func TestFailsOver(t *testing.T) {
	for r, want := range map[Reason]bool{
		ReasonVendorRejected: true, ReasonVendorUnreachable: true, ReasonInvalidDestination: true, ReasonUnauthorizedSender: true, ReasonNoRoute: true, ReasonInternal: true,
		ReasonEncodingMismatch: true, ReasonInsufficientBalance: true, "strange": true, "": true,
		ReasonOptedOut: false, ReasonUnknownSubscriber: false, ReasonRecipientRefused: false,
		ReasonMessageTooLong: false, ReasonProhibitedContent: false, ReasonFiltered: false, ReasonSubmitInDoubt: false, ReasonExpired: false,
		ReasonDailyCapReached: false,
	} {
		if r.FailsOver() != want {
			t.Errorf("%q.FailsOver() = %v", r, !want)
		}
	}
}
