package message

import "testing"

// What registered_delivery asks for, written down a second time after SMPP 3.4
// §5.2.17: for each value of its lowest two bits, the statuses that are owed a
// receipt.
func TestRegisteredDelivery(t *testing.T) {
	failed := map[Status]bool{StatusUndelivered: true, StatusFailed: true, StatusRejected: true, StatusExpired: true, StatusCanceled: true,
		StatusUnconfirmed: true}
	final := map[Status]bool{StatusDelivered: true}
	for s := range failed {
		final[s] = true
	}
	owed := [4]map[Status]bool{1: final, 2: failed}
	for registered := range 256 {
		o := SMPPOrigin{Registered: byte(registered)}
		for _, s := range append(Statuses(), "", "read") {
			if got, want := o.WantsReceipt(s), owed[registered%4][s]; got != want {
				t.Errorf("registered_delivery %#02x, status %q: receipt %v", registered, s, got)
			}
		}
		if got, want := o.WantsNotice(), registered/16%2 == 1; got != want {
			t.Errorf("registered_delivery %#02x: notice %v", registered, got)
		}
	}
}

// The acknowledgements that an SME is asked for (bits 2 and 3) are none of ours.
func TestRegisteredDeliveryOfTheSME(t *testing.T) {
	for _, registered := range []byte{0x04, 0x08, 0x0C, 0xE0} {
		o := SMPPOrigin{Registered: registered}
		if o.WantsNotice() || o.WantsReceipt(StatusDelivered) || o.WantsReceipt(StatusFailed) {
			t.Errorf("%#02x asks for something", registered)
		}
	}
}
