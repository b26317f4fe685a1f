package message

import (
	"encoding/hex"
	"time"
)

// InboundMethod is how an inbound message reaches its owner.
type InboundMethod string

// The methods.
const (
	InboundWebhook InboundMethod = "webhook"
	InboundSMPP    InboundMethod = "smpp"
	InboundMM4     InboundMethod = "mm4"
	InboundEmail   InboundMethod = "email"
	InboundStorage InboundMethod = "storage" // it is fetched from the API
)

// InboundMethods lists them in the order of the constants.
func InboundMethods() []InboundMethod {
	return []InboundMethod{InboundWebhook, InboundSMPP, InboundMM4, InboundEmail, InboundStorage}
}

// Bounds of destinations.
const (
	MaxDestinations    = 10
	MaxWebhookRetries  = 9             // after the first try
	FallbackPosition   = 100           // what the position of a fall-back lies above that of its destination
	MaxFallbackSeconds = 3 * 24 * 3600 // the longest that anything is tried
)

// Destination is a place where the messages to a number go.
type Destination struct {
	ID        ID
	AccountID ID
	Number    Address // empty: every number of the account that has none of its own
	Position  int     // 1 to MaxDestinations
	Place
	WebhookSecret string // in clear only in memory, never logged or shown; empty: the account's
	Retries       *int   // of a webhook after its first try, 0 to MaxWebhookRetries; nil: the whole schedule
	Active        bool
	Fallback      *Fallback // nil: none
}

// DestinationSet are the destinations of a number, or of an account, as they are set.
type DestinationSet struct {
	AccountID ID
	Number    Address // empty: the account's
	List      []Destination
	// Secrets are those of List that have a secret of their own, by position. The
	// secret itself stands in List only when it was just made.
	Secrets   map[int]bool
	Stamp     string    // the same as long as nothing was changed
	UpdatedAt time.Time // zero: nothing is set
	// AutoReply is what the number answers by itself; nil: it is not to be changed or, as
	// it was read, there is none.
	AutoReply *string
}

// DestinationTest is what a try of a destination came to.
type DestinationTest struct {
	Position int
	Method   InboundMethod
	OK       bool
	Detail   string // without secrets
	Took     time.Duration
}

// Place is what the method of a destination needs.
type Place struct {
	Method      InboundMethod `json:"method"`
	URL         string        `json:"webhook_url,omitempty"`          // empty: the account's endpoints
	FailoverURL string        `json:"webhook_failover_url,omitempty"` // only with a URL
	HTTPMethod  string        `json:"webhook_method,omitempty"`       // POST or PUT; empty: POST
	Format      string        `json:"format,omitempty"`               // event or flat; empty: event
	SystemID    string        `json:"smpp_system_id,omitempty"`
	Email       string        `json:"email_address,omitempty"`
}

// Fallback is where a message goes that a destination has not taken.
type Fallback struct {
	AfterSeconds int `json:"after_seconds"` // since the message was planned, or sooner when the destination has failed for good; 0: only then
	Place
}

// InboundState is how far a message has come on its way to a destination.
type InboundState string

// The states. Stored: nothing more is done, and the API has it.
const (
	InboundPending   InboundState = "pending"
	InboundDelivered InboundState = "delivered"
	InboundStored    InboundState = "stored"
	InboundFailed    InboundState = "failed"
)

// InboundDelivery is one destination of one message.
type InboundDelivery struct {
	Position  int // of the destination; above FallbackPosition: of its fall-back
	Method    InboundMethod
	State     InboundState
	Attempts  int
	LastError string // without the URL's secrets
	RouteID   ID     // of the Destination; zero: nothing is set for the number
	Email     string
	Fallback  *Fallback
	CreatedAt time.Time
	DoneAt    time.Time // zero: it is pending
}

// InboundPlanned is a delivery on its way into the record with what belongs to it.
type InboundPlanned struct {
	InboundDelivery
	Notifications []Notification // of a webhook
	Credential    ID             // of SMPP
}

// InboundOwed is a delivery of the record with what is still to be done for it.
type InboundOwed struct {
	InboundDelivery
	Notifications []ID      // not done
	Until         time.Time // when what waits for an ESME ends; zero: nothing does
}

// Received is an inbound message as its owner is told of it.
type Received struct {
	*Message
	Keyword    string // the word that it is; empty: none
	Complete   bool   // false: parts of it never came
	Subject    string
	Media      []InboundMedia
	Files      []Media   // of Media, those that were fetched
	Group      []Address // of a group MMS: all its recipients, To among them; nil: it has one
	ReceivedAt time.Time
	// ReadReport: it came over MM4, and who handed it in wants to know when it is read.
	ReadReport bool
}

// MessageReceived is the type of the event that a message came in.
const MessageReceived = "message.received"

// Linked puts the files that the gateway has in the places of those that the vendor
// offered, with where they are read, and until when at least: the account keeps contents
// for so many days.
func (r *Received) Linked(url func(MediaFile) string, days int) {
	until := r.ReceivedAt.Add(max(TextLeast, time.Duration(days)*24*time.Hour))
	for _, f := range r.Files {
		if f.Position <= len(r.Media) {
			r.Media[f.Position-1] = InboundMedia{ContentType: f.File.ContentType, Size: f.File.Size, SHA256: hex.EncodeToString(f.File.SHA256[:]), Link: url(f.File), LinkUntil: until}
		}
	}
}

// SumUp is the one state of all deliveries of a message: the first of delivered,
// pending, stored and failed that any of them has; stored if there are none.
func SumUp(list []InboundDelivery) InboundState {
	has := make(map[InboundState]bool, len(list))
	for _, d := range list {
		has[d.State] = true
	}
	for _, s := range []InboundState{InboundDelivered, InboundPending, InboundStored, InboundFailed} {
		if has[s] {
			return s
		}
	}
	return InboundStored
}

// inboundTransitions holds what an inbound message may become. One that failed may
// still arrive: somebody delivers it again.
var inboundTransitions = map[Status][]Status{
	StatusAccepted: {StatusDelivered, StatusFailed},
	StatusFailed:   {StatusDelivered},
}

// InboundCanBecome is CanBecome for an inbound message: it is accepted until every
// destination is done with, then delivered if one of them took it or it waits in the
// store, else failed.
func (s Status) InboundCanBecome(next Status) bool {
	for _, t := range inboundTransitions[s] {
		if t == next {
			return true
		}
	}
	return false
}

// InboundBefore is Before for inbound messages.
func InboundBefore(next Status) []Status {
	var from []Status
	for _, s := range Statuses() {
		if s.InboundCanBecome(next) {
			from = append(from, s)
		}
	}
	return from
}

// ReceivedFilter narrows a list of inbound messages; zero fields do not count.
type ReceivedFilter struct {
	To, From Address
	After    time.Time // received after
}

// ReceivedState is an inbound message with what became of it.
type ReceivedState struct {
	Received
	Deliveries []InboundDelivery // none: it is not planned yet
}
