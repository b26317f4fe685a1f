package message

import (
	"strings"
	"time"
)

// ReceiptState is what a receipt says of a part: the message_state of SMPP 3.4
// §5.2.28 with the receipt words of its appendix B.
type ReceiptState string

// The receipt states, by their receipt words.
const (
	ReceiptEnroute       ReceiptState = "ENROUTE"
	ReceiptDelivered     ReceiptState = "DELIVRD"
	ReceiptExpired       ReceiptState = "EXPIRED"
	ReceiptDeleted       ReceiptState = "DELETED"
	ReceiptUndeliverable ReceiptState = "UNDELIV"
	ReceiptAccepted      ReceiptState = "ACCEPTD"
	ReceiptUnknown       ReceiptState = "UNKNOWN"
	ReceiptRejected      ReceiptState = "REJECTD"
)

var receiptByNumber = [...]ReceiptState{
	1: ReceiptEnroute, 2: ReceiptDelivered, 3: ReceiptExpired, 4: ReceiptDeleted,
	5: ReceiptUndeliverable, 6: ReceiptAccepted, 7: ReceiptUnknown, 8: ReceiptRejected,
}

// ReceiptStateOf reads the number of SMPP's message_state; anything outside
// 1-8 is ReceiptUnknown.
func ReceiptStateOf(n byte) ReceiptState {
	if n == 0 || int(n) >= len(receiptByNumber) {
		return ReceiptUnknown
	}
	return receiptByNumber[n]
}

// Number is the state's message_state value, 7 (UNKNOWN) for an odd word.
func (s ReceiptState) Number() byte {
	for n, r := range receiptByNumber {
		if r == s && s != "" {
			return byte(n)
		}
	}
	return 7
}

// ParseReceiptState reads a receipt word as vendors write it: any case, cut or
// spelled out. An unknown word is ReceiptUnknown and false; it is kept and
// changes nothing.
func ParseReceiptState(word string) (ReceiptState, bool) {
	w := strings.ToUpper(strings.TrimSpace(word))
	switch w {
	case "DELIVRD", "DELIVERED", "DELIVERD":
		return ReceiptDelivered, true
	case "EXPIRED":
		return ReceiptExpired, true
	case "DELETED":
		return ReceiptDeleted, true
	case "UNDELIV", "UNDELIVERABLE", "UNDELIVERED", "FAILED":
		return ReceiptUndeliverable, true
	case "REJECTD", "REJECTED":
		return ReceiptRejected, true
	case "ACCEPTD", "ACCEPTED":
		return ReceiptAccepted, true
	case "ENROUTE":
		return ReceiptEnroute, true
	case "UNKNOWN":
		return ReceiptUnknown, true
	}
	return ReceiptUnknown, false
}

// PartState is the state that the receipt gives a part, or false when it
// decides nothing (ENROUTE, ACCEPTD, UNKNOWN).
func (s ReceiptState) PartState() (PartState, bool) {
	switch s {
	case ReceiptDelivered:
		return PartDelivered, true
	case ReceiptUndeliverable, ReceiptRejected, ReceiptDeleted:
		return PartUndelivered, true
	case ReceiptExpired:
		return PartExpired, true
	}
	return "", false
}

// Receipt is a delivery receipt as a vendor link hands it up.
type Receipt struct {
	ID              ID     // of the stored row, made by the link
	VendorID        ID     // which vendor said it
	VendorMessageID string // normalised by the vendor's id format
	// Attempt is the try that it is about, when the vendor says so beside its own id;
	// zero: it does not.
	Attempt     AttemptRef
	State       ReceiptState
	Err         string // the vendor's err field, as written
	Reason      Reason // what the vendor's code map makes of Err; empty when delivered or unknown
	Source      string // address the receipt came from: the message's recipient, as written
	Destination string // address it went to: the message's sender, as written
	DoneAt      time.Time
	Raw         string // the receipt text without the message's own text
	ReceivedAt  time.Time
}

// NormalizeVendorID is the canonical form under which ids are compared: lower
// case, no surrounding blanks or NULs, no leading zeros.
func NormalizeVendorID(id string) string {
	s := strings.ToLower(strings.Trim(id, " \t\r\n\x00"))
	t := strings.TrimLeft(s, "0")
	if t == "" && s != "" {
		return "0"
	}
	return t
}

// Matched says what became of a receipt.
type Matched struct {
	Known     bool // it belongs to a part that we know
	Applied   bool // it changed that part; false for a repetition
	MessageID ID   // only when Applied
	Part      int
	Progress  Progress // of the message, after it; Delivery is not filled in
}
