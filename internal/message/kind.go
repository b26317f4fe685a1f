package message

import "time"

// Direction tells who sent the message: a customer (outbound, MT) or a handset
// (inbound, MO).
type Direction string

// The two directions.
const (
	Outbound Direction = "outbound"
	Inbound  Direction = "inbound"
)

// Kind is the `type` of the API: a message with media is an MMS.
type Kind string

// The two kinds.
const (
	SMS Kind = "sms"
	MMS Kind = "mms"
)

// Class says how urgent a message is.
type Class string

// The classes.
const (
	ClassOTP          Class = "otp"
	ClassConversation Class = "conversation"
	ClassBulk         Class = "bulk"
)

// Classes lists the classes, the most urgent first.
func Classes() []Class { return []Class{ClassOTP, ClassConversation, ClassBulk} }

// Valid reports whether c is one of the constants.
func (c Class) Valid() bool { return c == ClassOTP || c == ClassConversation || c == ClassBulk }

// Priority is the Temporal priority key and the metric label of the class:
// 1 (first) to 5. The zero Class counts as a conversation.
func (c Class) Priority() int {
	switch c {
	case ClassOTP:
		return 1
	case ClassBulk:
		return 5
	default:
		return 3
	}
}

// Validity is how long a message of the class is worth delivering when its
// sender does not say. The zero Class counts as a conversation.
func (c Class) Validity() time.Duration {
	switch c {
	case ClassOTP:
		return 10 * time.Minute
	case ClassBulk:
		return 24 * time.Hour
	default:
		return 4 * time.Hour
	}
}

// The range of validity that a sender may ask for.
const (
	MinValidity = time.Minute
	MaxValidity = 72 * time.Hour
)

// ReceiptGrace is how long after the end of its validity a message still waits
// for the vendor's receipt before it is `unconfirmed`, unless the vendor's row
// says otherwise.
const ReceiptGrace = 15 * time.Minute

// Delivery is what happens when a submit is in doubt: it went onto the wire and
// no answer is known.
type Delivery string

// The delivery policies.
const (
	AtMostOnce  Delivery = "at_most_once"  // do not send again; a receipt or silence settles it
	AtLeastOnce Delivery = "at_least_once" // send again, marked as a possible duplicate
)

// Valid reports whether d is one of the constants.
func (d Delivery) Valid() bool { return d == AtMostOnce || d == AtLeastOnce }

// Encoding is the alphabet a text travels in.
type Encoding string

// The encodings. EncodingAuto is only ever a wish: a stored message has one of
// the others. A binary message has octets where others have text: nobody may show
// them as text, and only SMPP vendors can take them.
const (
	EncodingAuto   Encoding = "auto"
	EncodingGSM7   Encoding = "gsm7"
	EncodingUCS2   Encoding = "ucs2"
	EncodingBinary Encoding = "binary"
)
