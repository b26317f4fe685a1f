package message

import "time"

// EventRevised says that the customer has changed the message before it left:
// what was changed, and never a text.
const EventRevised EventType = "revised"

// Revisable reports whether a customer may still change what the message says
// and when it leaves.
func (s Status) Revisable() bool { return s == StatusAccepted || s == StatusScheduled }

// Times are when a message may leave and until when it is worth anything. They
// may be revised until the message leaves.
type Times struct {
	SendAt    time.Time `json:"send_at,omitzero"` // zero: at once
	ExpiresAt time.Time `json:"expires_at"`
}

// Times are those of the message.
func (m *Message) Times() Times { return Times{SendAt: m.SendAt, ExpiresAt: m.ExpiresAt} }

// Equal reports whether both are the same moments.
func (t Times) Equal(u Times) bool { return t.SendAt.Equal(u.SendAt) && t.ExpiresAt.Equal(u.ExpiresAt) }

// Revision is a message as its customer wants it from now on.
type Revision struct {
	// Message is the message with what is new. Its Revision is the one that the
	// record must still show; text, encoding, segments, times, campaign and price
	// are written, and nothing else is.
	Message *Message
	// Registered is the new registered_delivery of a message that came over SMPP;
	// nil: unchanged.
	Registered *byte
	// Tell: the workflow may be waiting for a send time that is no longer true.
	Tell bool
	// FellBack: an MMS that no vendor takes becomes the SMS that Message is, with its Kind
	// and Requested, also when it is queued. The caller knows that no vendor has it.
	FellBack bool
	Detail   map[string]any // of the timeline's line
}

// RevisionDue names a message whose workflow was not told of its newest revision.
type RevisionDue struct {
	MessageID ID
	Revision  int
}
