package message

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// EdgeSMPP is the Edge of a message that came over SMPP.
const EdgeSMPP = "smpp"

// SMPPOrigin is what is owed to the sender of a message that came over SMPP: to
// whom its receipts go, and the words they must repeat.
type SMPPOrigin struct {
	CredentialID ID
	// Registered is the registered_delivery of the submit (SMPP 3.4 §5.2.17), as
	// given.
	Registered byte
	Source     SMPPAddress // as the ESME wrote them: its receipts carry them swapped
	Dest       SMPPAddress
	Reference  []byte // user_message_reference, two octets; nil: none was given
	// AnswerID is the message_id that the submit was answered with: 32 hex digits,
	// 8 for a peer below version 3.4, the batch's for a submit_multi.
	AnswerID string
	// Coding is the data_coding of the submit; nil: it was not kept.
	Coding *byte
	// Part: the answer is one of several of a message that was submitted in parts.
	// Only what finds a message by its answer fills it in.
	Part bool
}

// SMPPAddress is an address as an ESME writes it.
type SMPPAddress struct {
	TON, NPI byte
	Text     string // 20 octets at most; 64 in a data_sm
}

// TLV is an optional parameter of an ESME that is passed on as it came.
type TLV struct {
	Tag   uint16 `json:"tag"`
	Value []byte `json:"value"`
}

// The receipts that registered_delivery asks for (SMPP 3.4 §5.2.17).
const (
	registeredMask    = 0x03
	registeredFinal   = 0x01
	registeredFailure = 0x02
	registeredNotice  = 0x10
)

// WantsReceipt reports whether a receipt is owed once the message has the
// status. An unconfirmed message counts as failed: nobody knows of a delivery.
func (o SMPPOrigin) WantsReceipt(s Status) bool {
	switch o.Registered & registeredMask {
	case registeredFinal:
		return s.Final()
	case registeredFailure:
		return s.Final() && s != StatusDelivered
	}
	return false
}

// WantsNotice reports whether an intermediate notification is owed when the
// message is sent.
func (o SMPPOrigin) WantsNotice() bool { return o.Registered&registeredNotice != 0 }

// SMPPBind is one bind of a customer, as the registry of all replicas knows it.
type SMPPBind struct {
	ID           ID
	CredentialID ID
	Instance     string // the process that holds it
	Mode         string // receiver, transmitter, transceiver
	Address      string // the peer's, without its port
	TLS          bool
	Version      byte // interface_version; 0: none was given
	BoundAt      time.Time
}

// DeliveryKind is what a deliver_sm brings to a customer.
type DeliveryKind string

// The kinds.
const (
	DeliverReceipt DeliveryKind = "receipt" // the final word on a message
	DeliverNotice  DeliveryKind = "notice"  // intermediate: it has been sent
	DeliverMessage DeliveryKind = "message" // an inbound message
)

// SMPPDelivery is one deliver_sm that a customer is owed. Its row exists before
// the first try and outlives every bind.
type SMPPDelivery struct {
	ID           ID
	CredentialID ID
	Kind         DeliveryKind
	Status       Status // of the message when the receipt was owed
	Attempts     int    // made before this one
	ExpiresAt    time.Time
	CreatedAt    time.Time
	Message      Message    // what it is about
	Origin       SMPPOrigin // zero for an inbound message
	FinalAt      time.Time  // when the status was reached
}

// SMPPDelivered says what became of a try of a delivery.
type SMPPDelivered struct {
	ID        ID
	MessageID ID
	Kind      DeliveryKind
	Number    int // of the try, from 1
	// State is NotificationDelivered, NotificationFailed for good, or
	// NotificationPending: again after Again.
	State  NotificationState
	Again  time.Duration
	Status uint32 // command_status of the answer; 0: taken, or no answer
	Error  string // why there was none; empty: there was an answer
}

// SMPPPartWait is how long after its newest part a set may stay incomplete
// (api.md §8).
const SMPPPartWait = 60 * time.Second

// SMPPHeld is what waits for an account's ESMEs.
type SMPPHeld struct {
	AccountID   ID
	CompanyName string
	Pending     int // deliver_sm
	Cap         int // of Pending; beyond it the oldest that were never tried end as failed
	Oldest      time.Time
}

// SMPPPart is one submit of a message that an ESME has cut itself. It has been
// answered with an id of its own.
type SMPPPart struct {
	ID        ID
	AccountID ID
	// Origin is what its submit is owed. Credential, source and destination tell
	// sets apart, as Reference and Total do.
	Origin    SMPPOrigin
	Reference int  // concatenation reference, its kind above bit 15
	Total     int  // parts of the message, 2 to 255
	Number    int  // of this one, from 1
	Coding    byte // data_coding
	Octets    []byte
	// Request is what else its submit asked for, as JSON and without text: the
	// business of those who write and read it.
	Request   []byte
	CreatedAt time.Time // by the journal's clock
}

// SMPPPartSet is the parts of one message, in the order of their numbers and of
// one number the newest first. Which they are is settled for good.
type SMPPPartSet struct {
	MessageID ID // of the first part
	// Repeats is the message that was made of the same parts a short while before:
	// the answers of these lead to it. Zero: the parts are a message of their own.
	Repeats ID
	Parts   []SMPPPart
}

// Sort puts the parts in their order.
func (s *SMPPPartSet) Sort() {
	slices.SortFunc(s.Parts, func(a, b SMPPPart) int {
		return cmp.Or(a.Number-b.Number, b.CreatedAt.Compare(a.CreatedAt), bytes.Compare(b.ID[:], a.ID[:]))
	})
}

// Text gives the parts that make the text: of each number the newest. Whole is
// false when one is missing.
func (s *SMPPPartSet) Text() (parts []SMPPPart, whole bool) {
	for _, p := range s.Parts {
		if len(parts) == 0 || parts[len(parts)-1].Number != p.Number {
			parts = append(parts, p)
		}
	}
	return parts, len(parts) > 0 && len(parts) == parts[0].Total
}

// SMPPPartAdded says what became of a part.
type SMPPPartAdded struct {
	// Replay is the first answer when the part's key was seen before; nothing was
	// stored then.
	Replay *Idempotency
	// Set is the part's whole set when it was the last one missing. It is given
	// once: who gets it stores the message, or leaves that to the sweeper.
	Set *SMPPPartSet
}
