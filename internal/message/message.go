package message

import "time"

// Message is one message as the record holds it: one sender, one recipient, one
// outcome, in one or more parts.
type Message struct {
	ID        ID
	AccountID ID
	Direction Direction
	Kind      Kind
	Requested Kind // mms of an SMS that was one, whose files are links in its text; empty: it is as it was asked for
	Status    Status

	From          Address
	RequestedFrom Address // what the customer asked for, when a forced sender replaced it
	To            Address
	Body          string // octets if the encoding is binary; empty once the retention period has passed, see Redacted, and may be of an MMS
	Subject       string // of an MMS
	Redacted      bool

	Encoding        Encoding // of the stored message: gsm7, ucs2 or binary
	DataCoding      byte     // what SMPP vendors are told; 0 for text: what their alphabet says
	Header          []byte   // elements of the user data header beside concatenation; nil: none
	TLVs            []TLV    // of the ESME, for vendors that take them
	Segments        int
	Class           Class
	Delivery        Delivery
	CampaignID      string // the registry's id, such as C8X2KQ1; empty: none
	ClientReference string
	Metadata        map[string]string
	WebhookURL      string // of this message; empty: the account's endpoints
	WebhookFailover string
	FailuresOnly    bool     // its customer is told of failed and rejected, and of no other status
	Callback        Callback // the form in which WebhookURL is told; empty: events
	Price           Price
	BatchID         ID
	GroupID         ID        // messages of one request with several recipients have the same; zero: it was alone
	GroupRecipients []Address // all of a group, To among them, in the sender's order; nil: there is none
	RetryOf         ID
	Vendor          string // name of the vendor that has it; empty before routing
	VendorID        ID
	Error           *Error // why it did not go, or nil
	Receipt         *ReceiptSummary
	DuplicatePoss   bool // a submit in doubt was sent again
	Parts           []Part
	Media           []Media   // the files of an MMS, as they came
	MediaAsIs       bool      // the files go as they are, or not at all
	Settled         int       // parts that a receipt has decided
	Failed          int       // of those, the ones that were not delivered
	Edge            string    // which door it came through: rest, smpp, mm4
	TraceParent     string    // W3C trace context of the request, empty: none
	SendAt          time.Time // zero: at once
	ExpiresAt       time.Time
	CreatedAt       time.Time
	SubmittedAt     time.Time // zero: not yet taken by a vendor
	DeliveredAt     time.Time // zero: not delivered
	UpdatedAt       time.Time
	Revision        int // how often it was changed since it was accepted
	// Automatic is an answer that the gateway gives itself, to STOP, START or HELP:
	// it goes to who has stopped the sender, at any hour.
	Automatic bool
	Hold      *Hold // what a queued message waits for, or nil
	// Incomplete: parts of an inbound message never came.
	Incomplete bool
}

// Text is what may be shown of the message; false: it is binary, or its retention
// period has passed.
func (m *Message) Text() (string, bool) {
	if m.Redacted || m.Encoding == EncodingBinary {
		return "", false
	}
	return m.Body, true
}

// SMPPOnly reports whether only SMPP vendors can take the message: its octets, or
// its user data header, have no place elsewhere.
func (m *Message) SMPPOnly() bool { return m.Encoding == EncodingBinary || len(m.Header) > 0 }

// Progress is how far the message's receipts have come.
func (m *Message) Progress() Progress {
	return Progress{Status: m.Status, Delivery: m.Delivery, Segments: m.Segments, Settled: m.Settled, Failed: m.Failed}
}

// EventType is a line of a message's timeline: every status, and these.
type EventType string

// The timeline's types beside the statuses.
const (
	EventAdmitted       EventType = "admitted"
	EventMediaPrepared  EventType = "media_prepared"
	EventFellBackToSMS  EventType = "fell_back_to_sms" // no vendor takes its files: it goes as a text with links
	EventSubmitAccepted EventType = "submit_accepted"
	EventSubmitRefused  EventType = "submit_refused"
	EventSubmitUnknown  EventType = "submit_unknown"
	EventReceipt        EventType = "receipt"
	EventWebhookAttempt EventType = "webhook_attempt"
	EventDeliverSM      EventType = "deliver_sm_attempt"
	EventMM4            EventType = "mm4_attempt"
	EventRead           EventType = "read"
	EventOptOutRecorded EventType = "opt_out_recorded"
	EventOptOutEnded    EventType = "opt_out_ended"
	EventReceived       EventType = "received"         // the first of an inbound message
	EventReplyOwed      EventType = "reply_owed"       // to an inbound message
	EventPlanned        EventType = "delivery_planned" // of an inbound message: where it goes
	EventFellBack       EventType = "fell_back"        // a destination of an inbound message was given up for its fall-back
	EventEmail          EventType = "email_attempt"
	EventStaffAction    EventType = "staff_action"
)

// StatusEvent is the timeline type of a status.
func StatusEvent(s Status) EventType { return EventType(s) }

// Event is one line of a message's timeline. Sequence counts from 1 within the
// message without gaps.
type Event struct {
	MessageID ID
	Sequence  int
	At        time.Time
	Type      EventType
	Detail    map[string]any
}

// Result of one rule of the policy.
type Result string

// The results.
const (
	Pass    Result = "pass"
	Holding Result = "hold"
	Refused Result = "refuse"
)

// TrailEntry is one rule that was looked at and what it said.
type TrailEntry struct {
	Rule   string `json:"rule"`
	Result Result `json:"result"`
	Detail string `json:"detail,omitempty"`
}
