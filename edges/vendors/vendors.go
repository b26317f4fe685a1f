// Package vendors holds the contract between the gateway and an upstream
// vendor. One package per kind of vendor lies below it; cmd joins a vendor's row to
// the package of its kind.
//
// A connector takes one part at a time, or one message, and answers with the vendor's
// id for it or with a *message.SubmitError that tells whether it was written and
// whether it was answered: the difference between "may go elsewhere" and "in
// doubt". Receipts and inbound messages leave through functions given at
// construction; a link answers the vendor only after they have returned nil,
// which means "committed".
package vendors

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/postrider/postrider/internal/fetch"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Connector gives parts to one vendor. Safe for concurrent use.
type Connector interface {
	// Submit puts one part on the wire and waits for the vendor's answer. Every
	// error is a *message.SubmitError. A canceled context before the write is
	// an error that is not on the wire; after the write it is ambiguous. Right before
	// the write it asks s.Allowed, whose error is its own.
	Submit(ctx context.Context, s message.Submission) (message.SubmitResult, error)
	// Whole reports whether a submission carries a whole message: the vendor cuts
	// texts itself, and gives one id for all parts.
	Whole() bool
	// Repeats reports whether the vendor knows an attempt that it gets again: s.Again is
	// heeded then.
	Repeats() bool
}

// Link is a Connector that this process keeps to a vendor: the binds that it holds, or
// the right to use an API.
type Link interface {
	Connector
	// Start begins to bind and rebind in the background, as far as the share allows,
	// and returns at once. Calling it again is harmless.
	Start(ctx context.Context)
	// Stop unbinds: it takes no more submits, waits for the outstanding answers
	// until ctx ends, then closes. Calling it again is harmless.
	Stop(ctx context.Context)
	// SetShare says what of the vendor this process may use. It takes effect without
	// a reconnect. Before the first call the share is zero: nothing is bound or sent.
	SetShare(Share)
	// Room is how many more parts could be submitted at once without waiting:
	// free window over the live binds, 0 while unbound, throttled, or stopping. The
	// rate does not count.
	Room() int
	// Wait is how long a part of the class that came now would wait for its turn in the
	// share's rate; 0: not at all. More urgent parts may come meanwhile.
	Wait(class message.Class) time.Duration
	// WaitReady blocks until Room is positive or ctx ends.
	WaitReady(ctx context.Context) error
	// Status is a snapshot for health pages and metrics.
	Status() LinkStatus
}

// Share is what a process may use of what a vendor allows all of them together.
type Share struct {
	// Binds are the binds that it may hold. Surplus ones are unbound once their
	// windows are empty. For a vendor without binds: whether it may be used at all.
	Binds int
	// Rate is in parts per second, over all of the process's binds; 0: unlimited.
	Rate float64
}

// LinkStatus is what a link looks like now.
type LinkStatus struct {
	Bind         string // connected, connecting, disconnected
	Since        time.Time
	Binds        int     // that the vendor may count: live ones, and surplus ones until they have ended
	InFlight     int     // written and not answered
	Throughput   float64 // parts per second over the last seconds
	Errors       float64 // of the answers of the last minute, the share that tells of the vendor's trouble, 0-1
	Share        Share
	SlowestMilli int    // moving average of the answer time in milliseconds
	LastError    string // without credentials
}

// OnReceipt stores a receipt durably. A nil error means committed: only then
// does the link answer the vendor. An error makes the link answer with a
// temporary refusal, so that the vendor sends it again.
type OnReceipt func(ctx context.Context, r message.Receipt) error

// OnInbound stores an inbound message durably, with the same meaning of its
// error as OnReceipt.
type OnInbound func(ctx context.Context, m message.InboundMessage) error

// Kind is what the gateway can do with the vendors of one provider_type.
type Kind struct {
	// Requests: its vendors are used by requests and not over binds, though they have no
	// webhooks. Those that have are anyway.
	Requests bool
	// New makes a link; nil: this process has no links of the kind. The error names
	// the field of the row that is wrong.
	New func(v *snapshot.Vendor) (Link, error)
	// Test connects once, beside all links, the least that shows that the vendor knows
	// us, and says what it saw; nil: there is nothing to be tested.
	Test func(ctx context.Context, v *snapshot.Vendor) (detail string, err error)
	// Hook makes the reader of a vendor's webhooks; nil: the kind sends none.
	Hook func(v *snapshot.Vendor) (Hook, error)
	// Files says where the files of a vendor's messages may be fetched, redirects
	// included, and with which credentials; nil: its messages have none.
	Files func(v *snapshot.Vendor) (hosts []string, c *fetch.Credentials)
}

// Hook reads the webhooks of one vendor. Safe for concurrent use.
type Hook interface {
	// Read checks the signature and then reads what the vendor says. ErrSignature: it
	// is not the vendor's; any other error: it cannot be read, and names what.
	Read(r HookRequest) (HookEvents, error)
	// Answer is what the vendor is answered once all events are committed.
	Answer() (contentType string, body []byte)
}

// HookRequest is a request at the public address of the vendor's webhooks.
type HookRequest struct {
	Method   string
	URL      *url.URL // as the vendor knows it: scheme, host, path and query
	Header   http.Header
	Body     []byte
	Received time.Time
}

// HookEvents is what one request says.
type HookEvents struct {
	Receipts []message.Receipt
	Inbound  []message.InboundMessage
}

// ErrSignature is the error of a Hook for a request that is not signed by the vendor,
// or too old.
var ErrSignature = errors.New("the signature is not the vendor's")
