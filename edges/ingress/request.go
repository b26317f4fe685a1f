package ingress

import (
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Request is a message as an edge has decoded it: what the customer wrote, not
// yet checked. The zero value of a field means that the customer did not say.
type Request struct {
	ID         message.ID // zero: made by Accept; a message that is there already is not stored again
	AccountID  message.ID
	Credential *snapshot.Credential // nil: not bound to one
	Edge       string               // rest, smpp, mm4

	From, To        string
	Body            string           // octets if Encoding is binary
	Subject         string           // of an MMS
	Media           []message.Media  // its files: a Source, or the File that was uploaded; none: an SMS
	MMS             bool             // it is one without files as well
	MediaAsIs       bool             // as in message.Message
	BatchID         message.ID       // of a row of one
	GroupID         message.ID       // the same for all messages that one request has made; zero: it is alone
	GroupRecipients []string         // of a group: all recipients of the request, To among them
	Encoding        message.Encoding // empty: auto
	DataCoding      byte             // as in message.Message
	Header          []byte           // as in message.Message
	TLVs            []message.TLV    // as in message.Message
	SmartEncoding   *bool            // nil: the account's setting
	Class           message.Class
	Delivery        message.Delivery
	Validity        time.Duration // 0: the class's
	SendAt          time.Time
	WebhookURL      string
	WebhookFailover string
	FailuresOnly    bool             // as in message.Message
	Callback        message.Callback // as in message.Message
	RetryOf         message.ID       // the message that this one repeats; zero: none
	ClientReference string
	Metadata        map[string]string
	TraceParent     string
	Automatic       bool                // as in message.Message: its sender is not replaced
	SMPP            *message.SMPPOrigin // of a submit; AnswerID empty: the message's id as 32 hex digits
	MM4             *message.MM4Origin  // of a MM4_forward.REQ

	// Refused is what the edge has found wrong as of now, and may not have been wrong
	// when the same request came first; nil: nothing. Such a request is refused only
	// after its Key was looked up.
	Refused *message.Error

	DryRun bool // nothing is stored

	// Rate is what the edge has counted, for the trail; the zero value: nothing was.
	// Only a dry run may come with one that refuses.
	Rate message.TrailEntry

	// Key makes the request idempotent; nil: no key was given.
	Key *Key
}

// Key is an Idempotency-Key with what it stands for.
type Key struct {
	Operation string // method and path
	Value     string
	BodyHash  [32]byte
	// Render makes the answer that is stored beside the key and given again
	// when the key comes back: the accepted message, or the refusal (e is not
	// nil then, and m is the recorded refused message). A refusal with the status 429
	// is not stored: it may pass when the key comes back.
	Render func(m *message.Message, e *message.Error) (status int, body []byte, err error)
}

// Outcome is what became of a Request.
type Outcome struct {
	// Message is what was stored (or would be, for a dry run): accepted, or
	// rejected beside an error of Accept. Nil when nothing was.
	Message *message.Message
	// Trail lists the rules that were looked at, in order.
	Trail []message.TrailEntry
	// Hold is what it would have to wait for, of a dry run; nil: nothing. Route is
	// the rule that it would go by, 0 for none, and Candidates how many vendors could
	// take it.
	Hold       *message.Hold
	Route      int64
	Candidates int
	// Replay is the first answer when the key was seen before; Message is nil
	// then.
	Replay *message.Idempotency
}
