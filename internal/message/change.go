package message

import "time"

// Change is one step in the record of a message: a status, the lines of its
// timeline, the attempts and notifications that belong to it. It is written in
// one transaction or not at all, and writing it twice does nothing the second
// time, because the status has moved on by then.
type Change struct {
	MessageID ID
	To        Status  // the new status; empty: only what is below, whatever the status
	Via       Status  // a status that the message passes through in the same step; empty: none
	Events    []Event // Type and Detail; sequence and time are given when written

	Vendor       VendorRef // set when a vendor takes over; zero: unchanged
	Error        *Error    // why it ended, or nil
	VendorCode   string
	Price        *Price // the settled price, or nil: unchanged
	Receipt      *ReceiptSummary
	MaybeDoubled bool // a submit in doubt is being sent again
	// Resend: it is being given to another vendor although one has it, or may have it.
	// The change, whose To is empty, is made only while receipts have not decided it,
	// and once: not when one of its attempts is there.
	Resend    bool
	Submitted bool // sets submitted_at
	Delivered bool // sets delivered_at

	Attempts      []Attempt      // journal rows to be inserted
	TakenOver     []Attempt      // rows without an answer that another process goes on with
	Answers       []Answer       // what became of earlier attempts
	Notifications []Notification // to be delivered to the customer
	Said          string         // of To, if customers are told of it: Said of the message with it
	Owed          bool           // a sender over SMPP may be owed a receipt for it
	OwedMM4       bool           // a sender over MM4 may be owed a report of it; To is final
	Settled       bool           // the record shows what its receipts decided
	Started       bool           // the workflow runs: the outbox row may go
	// OptOut is what the vendor's answer or the receipt tells of the recipient; nil:
	// nothing. One that is in force already is not recorded again, and then there is no
	// event of it.
	OptOut      *OptOut
	OptOutEvent *AccountEvent // nil: there is none

	// Hold is what the message waits for from here on: it becomes queued, or is. A
	// change of nothing else is made only of a queued message.
	Hold *Hold
	// Unheld: what the message waited for is over.
	Unheld bool

	// While is the one status in which the change is made; empty: any that allows it.
	While Status
	// Resettle: the workflow is to be told to look at the record, now and until the message
	// has ended, as if receipts had decided it.
	Resettle bool

	// Revision is the one that the record must show; nil: any. It is named by every
	// step that takes a message out of the statuses in which it may be revised and
	// has read what a revision changes.
	Revision *int
}

// Ends reports whether the change takes the message out of what it may wait for.
func (c Change) Ends() bool {
	return c.Unheld || c.To == StatusRejected || c.To == StatusCanceled || c.To == StatusExpired || c.To == StatusFailed
}

// From lists the statuses in which the change may be made: those that may become
// To or, when the message passes through Via, those that may become Via on the
// way on. A message that is in Via already, or comes back to it, does not pass
// through it.
func (c Change) From() []Status {
	if c.While != "" && c.Via == "" {
		if c.While.CanBecome(c.To) {
			return []Status{c.While}
		}
		return nil
	}
	if c.Via == "" {
		return Before(c.To)
	}
	var from []Status
	for _, s := range Before(c.Via) {
		if !c.To.CanBecome(s) && s != c.To && s != StatusInDoubt {
			from = append(from, s)
		}
	}
	return from
}

// VendorRef names a vendor.
type VendorRef struct {
	ID   ID
	Name string
}

// Attempt is one journal row before the wire.
type Attempt struct {
	Part     int
	Number   int // from 1
	Vendor   VendorRef
	Instance string // the process that makes the attempt
}

// Answer is what became of an attempt.
type Answer struct {
	Part            int
	Attempt         int
	State           PartState
	VendorMessageID string
	NormalizedID    string
	VendorCode      string
	Reason          Reason
}

// Advanced says what a Change did.
type Advanced struct {
	Changed  bool      // false: the status did not allow it, nothing was written
	Was      Status    // the status that did not allow it; empty when Changed
	Sequence int       // of the last event written
	At       time.Time // of it
	Revised  bool      // it was only the revision that did not allow it
}

// Notification is one event on its way to one URL of the customer. The row
// exists before the first try and outlives the workflow.
type Notification struct {
	ID          ID // of the delivery
	EventID     ID // webhook-id: the same for every try and every endpoint; of an outbound message the journal fills it in
	AccountID   ID
	EndpointID  ID // zero: the message's own URL
	MessageID   ID
	Type        string // such as message.delivered
	URL         string
	FailoverURL string
	Payload     string    // the exact body, of a message before it is in the journal with placeholders
	Format      string    // of Payload and request: FormatEvent, FormatTwilio, FormatJasmin
	Attempts    int       // made so far
	FirstTry    time.Time // zero: none was made
	Replays     int       // how often it was put back; Attempts and FirstTry count from the last time

	// Of an inbound message that goes to a Destination; zero otherwise.
	InboundRoute    ID     // the Destination, whose secret signs; zero: the endpoint's or the account's does
	InboundPosition int    // of the delivery that this is a try at
	Method          string // POST or PUT, of FormatJasmin also GET; empty: POST
	Retries         *int   // after the first try; nil: the whole schedule
}

// NotificationAttempt is one try at a notification.
type NotificationAttempt struct {
	DeliveryID ID
	MessageID  ID
	AccountID  ID
	EndpointID ID     // zero: a URL of the message's or the number's own
	Type       string // of the event
	Replay     int    // Notification.Replays when it was made
	Number     int    // from 1
	HTTPStatus int    // 0: no answer
	Millis     int
	Error      string // without the URL's secrets
	Answer     string // at most its first KiB
	State      NotificationState
	NextInSecs int // until the next try; only while pending
}

// NotificationState is where a notification is.
type NotificationState string

// The states of a notification.
const (
	NotificationPending   NotificationState = "pending"
	NotificationDelivered NotificationState = "delivered"
	NotificationFailed    NotificationState = "failed"
)

// Acceptance is a message on its way into the journal with what must be
// committed with it.
type Acceptance struct {
	Message *Message
	Trail   []TrailEntry // of a refusal
	Origin  *SMPPOrigin  // of a message that came over SMPP
	MM4     *MM4Origin   // of a message that came over MM4
	// More are the origins of the other parts of a message that came over SMPP in
	// parts: each was answered with an id of its own and is owed its own receipts.
	More []SMPPOrigin
	// Owed says that the origins were answered before the message was decided on,
	// so that they are owed receipts even when it is refused or has failed.
	Owed bool
	// Notifications are what the customer's webhooks are told of the message as it is
	// stored: that it was accepted or, with Owed, that it ended.
	Notifications []Notification
	// Idempotency, when the request had a key.
	Idempotency *Idempotency
	// Metered says that the account has usage limits or pays in advance: what an
	// accepted message needs of both is reserved in the same commit. One that does
	// not fit is stored as rejected instead, and Accepted.Fit says why.
	Metered bool
	// Unfit makes what is stored beside a metered message that does not fit. m is the
	// rejected message, a copy. It must be quick and may be called several times, by
	// another goroutine; nil: nothing is stored beside it.
	Unfit func(m *Message) (*Idempotency, []Notification, error)
	// Hold puts the message into the order of its conversation: how long it may hold
	// up those behind it once its workflow has begun, in whole seconds. 0: it is in no
	// order.
	Hold time.Duration
}

// Idempotency is a request's key with its first answer.
type Idempotency struct {
	AccountID ID
	Operation string // method and path
	Key       string
	BodyHash  [32]byte
	Status    int    // HTTP status of the answer
	Response  []byte // body of the answer
}

// Accepted says what became of an Acceptance.
type Accepted struct {
	// Replay is the first answer when the key was seen before: nothing was
	// stored this time. It is nil for a fresh request.
	Replay *Idempotency
	// Waits says that earlier messages of its conversation are before it: its
	// workflow is not to be started until its turn has come.
	Waits bool
	// Repeated: the message itself was there already, as whoever stored it has
	// decided.
	Repeated bool
	// Fit is what the limits and the balance say of a metered message. When they
	// refuse it, it was stored as rejected.
	Fit Fit
}

// Backlog is how many messages of an account are on their way out.
type Backlog struct {
	AccountID ID
	Priority  int // of their class
	Messages  int
}

// Waiting is how many accepted messages of a class wait for their workflow to begin.
type Waiting struct {
	Priority int // of the class
	Messages int
	Oldest   time.Duration // how long the oldest has waited, by the database's clock
}

// Progress is how far the receipts of a message have come.
type Progress struct {
	Status   Status
	Delivery Delivery
	Segments int
	Settled  int // parts that a receipt has decided
	Failed   int // of those, the ones that were not delivered
}

// Decided reports whether the receipts leave nothing open: every part is
// delivered, or one has failed.
func (p Progress) Decided() bool { return p.Failed > 0 || p.Settled >= p.Segments }

// Start is what is needed to start the workflow of an accepted message.
type Start struct {
	MessageID  ID
	AccountID  ID
	From, To   Address
	Kind       Kind
	Class      Class
	Edge       string
	Segments   int
	CampaignID string
	Vendor     string    // name of the vendor that will be asked first, as far as is known
	SendAt     time.Time // zero: at once
	ExpiresAt  time.Time
	CreatedAt  time.Time
}
