package message

import (
	"strings"
	"time"
)

// Bounds of a batch.
const (
	MaxBatchRows    = 10_000
	MaxBatchName    = 100 // characters
	MaxVariables    = 50  // of a row
	MaxVariableName = 64  // characters
)

// BatchStatus is where a batch is.
type BatchStatus string

// The statuses of a batch; the last two are final.
const (
	BatchRunning   BatchStatus = "running"
	BatchPaused    BatchStatus = "paused"
	BatchCompleted BatchStatus = "completed" // every row has its message or its refusal
	BatchCanceled  BatchStatus = "canceled"  // rows that were not worked are dropped
)

// Final reports whether no row of the batch is worked any more.
func (s BatchStatus) Final() bool { return s == BatchCompleted || s == BatchCanceled }

// Batch is a request for many messages, row by row.
type Batch struct {
	ID         ID
	AccountID  ID
	Credential ID // the API key that made it: its numbers and its rate hold for the rows; zero: a user of the portal, whom no key binds
	Name       string
	Status     BatchStatus
	Defaults   BatchDefaults
	Purged     bool // the texts of defaults and rows are gone
	Throttle   int  // rows a second at most; 0: as many as the account may
	Total      int
	Worked     int // rows that have their message or their refusal
	Refused    int // of them, rows without a message

	WebhookURL      string // of the batch and of each of its messages; empty: the account's endpoints
	WebhookFailover string

	CreatedAt   time.Time
	StartedAt   time.Time // of the first row; zero: none was worked
	CompletedAt time.Time // completed, or the cancellation was carried out; zero: not yet
}

// BatchDefaults is what every row has unless it says otherwise. The zero value of a field
// means that the customer did not say.
type BatchDefaults struct {
	From            string            `json:"from,omitempty"`
	Body            string            `json:"body,omitempty"`
	Subject         string            `json:"subject,omitempty"`
	MediaURLs       []string          `json:"media_urls,omitempty"`
	MediaIDs        []string          `json:"media_ids,omitempty"`
	MediaAsIs       bool              `json:"media_as_is,omitempty"`
	SendAt          time.Time         `json:"send_at,omitzero"`
	ValiditySeconds int64             `json:"validity_seconds,omitempty"`
	Class           Class             `json:"message_class,omitempty"`
	Delivery        Delivery          `json:"delivery,omitempty"`
	Encoding        Encoding          `json:"encoding,omitempty"`
	SmartEncoding   *bool             `json:"smart_encoding,omitempty"`
	ClientReference string            `json:"client_reference,omitempty"`
	Metadata        map[string]string `json:"metadata,omitempty"`
}

// BatchContent is what a customer has given for a row.
type BatchContent struct {
	To              string            `json:"to"`
	Body            string            `json:"body,omitempty"`
	From            string            `json:"from,omitempty"`
	Variables       map[string]string `json:"variables,omitempty"`
	MediaIDs        []string          `json:"media_ids,omitempty"`
	ClientReference string            `json:"client_reference,omitempty"`
}

// BatchRowState is how far a row has come.
type BatchRowState string

// The states of a row.
const (
	RowPending BatchRowState = "pending" // nothing was done about it
	RowClaimed BatchRowState = "claimed" // its message has an id, and may be in the record under it
	RowMade    BatchRowState = "made"    // its message is in the record, accepted or rejected
	RowRefused BatchRowState = "refused" // it was refused without a message
)

// BatchRow is a row of a batch.
type BatchRow struct {
	Row       int // from 1
	State     BatchRowState
	Content   *BatchContent // nil: its message has it, or its retention period has passed
	MessageID ID            // zero: it has none
	// Sender is the number as the row names it, empty for that of its batch: what rows that
	// wait for a number's rate are told apart by. Only of rows that were taken on.
	Sender string
	// Claimed is when this try of the row was given out, and tells it from others; Before
	// when an earlier one was, of which nobody knows the end: until that can no longer
	// become a message, nothing else is made of the row. Zero: there is none.
	Claimed, Before time.Time

	// Error is why it was refused, or its message did not go; nil: it was not.
	Error *Error
	// Status is that of its message. Without one it is rejected, canceled with its batch,
	// or pending, which is no status of a message. Empty: its message is no longer kept.
	Status Status
	To     Address // of its message
}

// RowRefusal is a row of a batch that is refused, and why.
type RowRefusal struct {
	Row   int // from 1
	Error *Error
}

// BatchProgress is a batch with what has become of its rows.
type BatchProgress struct {
	Batch
	Statuses map[Status]int // of its messages
	Price    Price          // of its messages together
	Running  int            // batches of the account that are running, this one among them
}

// Pending is how many rows are still to be worked.
func (b *Batch) Pending() int {
	if b.Status == BatchCanceled {
		return 0
	}
	return b.Total - b.Worked
}

// BatchPace is a rate that rows are worked at.
type BatchPace struct {
	Of        ID // an account or an API key, whose batches share it, or a batch
	PerSecond int
}

// BatchTell is a batch, or a re-drive, whose workflow may not have been started, or may not
// know that it was changed.
type BatchTell struct {
	BatchID   ID
	AccountID ID     // zero of a re-drive
	Name      string // of a re-drive its action
	Total     int    // of a re-drive its limit
	Asked     int64  // how often there was something to tell
	CreatedAt time.Time
	Redrive   bool
}

// MissingVariable is the placeholder of a template that has no value.
type MissingVariable struct{ Name string }

func (e *MissingVariable) Error() string { return "there is no variable " + e.Name }

// Fill replaces each {{name}} of a template by the variable of that name, once: what a
// variable holds is not looked into. Blanks around the name do not count. Braces without
// their counterpart stand for themselves. The error is a *MissingVariable.
func Fill(template string, variables map[string]string) (string, error) {
	var b strings.Builder
	rest := template
	for {
		open := strings.Index(rest, "{{")
		if open < 0 {
			break
		}
		length := strings.Index(rest[open+2:], "}}")
		if length < 0 {
			break
		}
		name := rest[open+2 : open+2+length]
		if again := strings.LastIndex(name, "{{"); again >= 0 {
			// The braces before the last ones have no counterpart.
			open += 2 + again
			name = name[again+2:]
		}
		value, ok := variables[strings.TrimSpace(name)]
		if !ok {
			return "", &MissingVariable{strings.TrimSpace(name)}
		}
		b.WriteString(rest[:open])
		b.WriteString(value)
		rest = rest[open+2+len(name)+2:]
	}
	if b.Len() == 0 && len(rest) == len(template) {
		return template, nil
	}
	b.WriteString(rest)
	return b.String(), nil
}

// BatchCounts is what has become of the rows of a batch. Each row counts once: all but
// Total come to it.
type BatchCounts struct {
	Total    int
	Pending  int // not worked yet
	Accepted int // messages on their way to a vendor, or in doubt
	Rejected int // refused, with a message or without
	Sent     int

	Delivered, Undelivered, Failed, Expired int

	Canceled    int // withdrawn messages, and rows that were dropped
	Unconfirmed int
}

// Counts counts the rows. What the record shows of messages goes before what is noted of
// their rows a moment later.
func (p *BatchProgress) Counts() BatchCounts {
	s := p.Statuses
	c := BatchCounts{Total: p.Total, Rejected: p.Refused + s[StatusRejected], Sent: s[StatusSent], Delivered: s[StatusDelivered], Undelivered: s[StatusUndelivered],
		Failed: s[StatusFailed], Expired: s[StatusExpired], Canceled: s[StatusCanceled], Unconfirmed: s[StatusUnconfirmed],
		Accepted: s[StatusAccepted] + s[StatusScheduled] + s[StatusQueued] + s[StatusSending] + s[StatusInDoubt]}
	left := p.Total - p.Refused
	for _, n := range s {
		left -= n
	}
	switch left = max(left, 0); p.Status {
	case BatchCanceled:
		c.Canceled += left
	case BatchCompleted: // what is missing is older than messages are kept
	default:
		c.Pending = left
	}
	return c
}
