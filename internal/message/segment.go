package message

import "time"

// PartState is where one part of a message is. A part's attempts each have one;
// the newest attempt speaks for the part.
type PartState string

// The states of a part's attempt.
const (
	PartSending     PartState = "sending"     // journalled; the vendor may or may not have it
	PartSubmitted   PartState = "submitted"   // the vendor answered with its id
	PartRefused     PartState = "refused"     // the vendor refused, or nothing was written: it does not have it
	PartInDoubt     PartState = "in_doubt"    // written, and no answer is known
	PartDelivered   PartState = "delivered"   // by receipt
	PartUndelivered PartState = "undelivered" // by receipt
	PartExpired     PartState = "expired"     // by receipt
)

// Settled reports whether a receipt has decided the part.
func (s PartState) Settled() bool {
	return s == PartDelivered || s == PartUndelivered || s == PartExpired
}

// Status is the part's state in the words of a message's status.
func (s PartState) Status() Status {
	switch s {
	case PartSending:
		return StatusSending
	case PartSubmitted:
		return StatusSent
	case PartRefused:
		return StatusFailed
	case PartInDoubt:
		return StatusInDoubt
	case PartDelivered:
		return StatusDelivered
	case PartUndelivered:
		return StatusUndelivered
	case PartExpired:
		return StatusExpired
	}
	return StatusAccepted
}

// Part is one segment of a message as its record shows it.
type Part struct {
	Number          int // from 1
	Attempt         int // from 1; 0: not yet tried
	State           PartState
	Vendor          string // name of the vendor of the newest attempt
	Instance        string // the process that makes that attempt, or made it
	VendorMessageID string // as the vendor wrote it
	VendorCode      string // the vendor's own error code, if any
	Reason          Reason // why it was refused or not delivered
	Receipt         *ReceiptSummary
	SentAt          time.Time // when the newest attempt was journalled
}

// ReceiptSummary is what a receipt said, as the API shows it.
type ReceiptSummary struct {
	Stat string    `json:"stat"` // the receipt word, such as DELIVRD
	Err  string    `json:"err"`  // three digits, network specific
	At   time.Time `json:"at"`
}
