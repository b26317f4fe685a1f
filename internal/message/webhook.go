package message

import "time"

// Bounds of webhooks.
const (
	// MaxWebhookEndpoints is how many endpoints an account may have.
	MaxWebhookEndpoints = 16
	// MaxSecretOverlap is how long two secrets may sign together after a rotation.
	MaxSecretOverlap = 7 * 24 * time.Hour
	// DefaultSecretOverlap is how long they do if nothing is asked for.
	DefaultSecretOverlap = 24 * time.Hour
	// MaxReplayed is how many deliveries one request for a range puts back, and
	// MaxReplayLooked how many it looks at.
	MaxReplayed     = 10_000
	MaxReplayLooked = 50_000
	// MaxWebhookLooked is how many deliveries one page of a list by endpoint looks at.
	MaxWebhookLooked = 10_000
)

// WebhookEndpoint is a place where an account wants its events, with what its owner may
// know of it.
type WebhookEndpoint struct {
	ID             ID
	AccountID      ID
	URL            string
	FailoverURL    string   // empty: none
	EventTypes     []string // empty: all
	Format         string   // event, flat
	Active         bool
	DisabledReason string    // why it is not active; empty: it is, or its owner has turned it off
	FailingSince   time.Time // no try has succeeded since; zero: the last one did, or there was none
	OldUntil       time.Time // the secret before the last rotation signs as well until then; zero: it does not
	CreatedAt      time.Time
	UpdatedAt      time.Time

	// Secret and OldSecret are in clear only in memory. They are read where a try is
	// signed, and empty otherwise.
	Secret, OldSecret string
}

// WebhookDelivery is an event on its way to one place.
type WebhookDelivery struct {
	Notification
	State         NotificationState
	LastStatus    int       // of the last try; 0: no answer, or no try
	LastError     string    // of the last try
	LastAnswer    string    // its first KiB
	NextAttemptAt time.Time // zero: there is none
	LastAttemptAt time.Time // zero: none was made
	CreatedAt     time.Time
	// Tries are all that were made, also before it was replayed, oldest first; only where
	// one delivery is read.
	Tries []WebhookTry
}

// WebhookTry is one try at a delivery.
type WebhookTry struct {
	At         time.Time
	HTTPStatus int // 0: no answer
	Millis     int
	Error      string // empty: there was an answer
}

// WebhookFilter narrows a list of deliveries. Zero fields do not.
type WebhookFilter struct {
	Endpoint ID
	Message  ID
	State    NotificationState
}

// WebhookReplay says which deliveries are to be put back.
type WebhookReplay struct {
	Account  ID
	Endpoint ID        // zero: all of the account, and those to URLs of their own
	After    time.Time // made at or after
	Before   time.Time // made before
	Types    []string  // of events; empty: all
	All      bool      // also those that were delivered; else those that failed
}

// WebhookReplayed is what came of a WebhookReplay.
type WebhookReplayed struct {
	Queued int
	// NextAfter is where to go on, when the bounds of one request were reached. Zero:
	// that was all.
	NextAfter time.Time
}

// WebhookTested is what came of a test event.
type WebhookTested struct {
	DeliveryID ID
	EventID    ID
	OK         bool
	HTTPStatus int // 0: no answer
	Millis     int
	Error      string // empty: there was an answer
	Answer     string // its first KiB
}
