package smpp

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// What a vendor's code is mapped to decides, whatever the status means elsewhere; and a
// message's reason does nothing to the link.
func TestMappedOutcomes(t *testing.T) {
	for _, st := range []Status{StatusThrottled, StatusSystemError, StatusSubmitFail, StatusInvBindState, StatusInvDest, 0x401} {
		for _, e := range message.Catalogue() {
			o := OutcomeOf(st).Mapped(e.Reason)
			own := e.Reason == message.ReasonVendorThrottled || e.Reason == message.ReasonVendorUnreachable
			if o.Reason != e.Reason || !own && e.Reason != OutcomeOf(st).Reason && (o.PauseLink || o.Rebind || o.Trouble) {
				t.Errorf("%s as %s: %+v", st, e.Reason, o)
			}
			if !e.Reason.Temporary() && (o.Again(1) || o.Rebind) {
				t.Errorf("%s as %s is tried again: %+v", st, e.Reason, o)
			}
			if own && !o.Again(100) {
				t.Errorf("%s as %s is not tried again: %+v", st, e.Reason, o)
			}
		}
	}
}

func TestParseStatus(t *testing.T) {
	for text, want := range map[string]Status{
		"0x0B": StatusInvDest, "0xb": StatusInvDest, "0X0000000b": StatusInvDest, " 0x58 ": StatusThrottled, "0x401": 0x401,
		"RTHROTTLED": StatusThrottled, "esme_rinvdstadr": StatusInvDest, "RINVDCS": StatusInvDataCoding,
	} {
		if got, ok := ParseStatus(text); !ok || got != want {
			t.Errorf("%q is %s, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "060", "11", "0x", "0xg", "0x100000000", "-1", "0x-1", "0x_1", "RNOSUCH", "filtered"} {
		if got, ok := ParseStatus(text); ok {
			t.Errorf("%q is %s", text, got)
		}
	}
	for st := StatusOK; st <= StatusInvDataCoding; st++ {
		if got, ok := ParseStatus(st.Code()); !ok || got != st {
			t.Errorf("%s reads as %s, %v", st.Code(), got, ok)
		}
	}
}
