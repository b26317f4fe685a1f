// Package vendors holds the contract between the gateway and an upstream
// vendor. One package per kind of vendor lies below it (smpp; later mm4,
// twilio, telnyx); cmd joins a vendor's row to the package of its kind.
//
// A connector takes one part at a time and answers with the vendor's id for it
// or with a *message.SubmitError that tells whether the part was written and
// whether it was answered: the difference between "may go elsewhere" and "in
// doubt". Receipts and inbound messages leave through functions given at
// construction; a link answers the vendor only after they have returned nil,
// which means "committed".
package vendors

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Connector gives parts to one vendor. Safe for concurrent use.
type Connector interface {
	// Submit puts one part on the wire and waits for the vendor's answer. Every
	// error is a *message.SubmitError. A canceled context before the write is
	// an error that is not on the wire; after the write it is ambiguous.
	Submit(ctx context.Context, s message.Submission) (message.SubmitResult, error)
}

// Link is a Connector that keeps a bind.
type Link interface {
	Connector
	// Start begins binding and rebinding in the background and returns at
	// once. Calling it again is harmless.
	Start(ctx context.Context)
	// Stop unbinds: it takes no more submits, waits for the outstanding answers
	// until ctx ends, then closes. Calling it again is harmless.
	Stop(ctx context.Context)
	// Room is how many more parts could be submitted at once without waiting:
	// free window over the live binds, 0 while unbound, throttled, paused or
	// stopping.
	Room() int
	// WaitReady blocks until Room is positive or ctx ends.
	WaitReady(ctx context.Context) error
	// Status is a snapshot for health pages and metrics.
	Status() LinkStatus
}

// LinkStatus is what a link looks like now.
type LinkStatus struct {
	Bind         string // connected, connecting, disconnected
	Since        time.Time
	Binds        int     // live binds
	InFlight     int     // written and not answered
	Throughput   float64 // parts per second over the last seconds
	SlowestMilli int     // moving average of the answer time in milliseconds
	LastError    string  // without credentials
}

// OnReceipt stores a receipt durably. A nil error means committed: only then
// does the link answer the vendor. An error makes the link answer with a
// temporary refusal, so that the vendor sends it again.
type OnReceipt func(ctx context.Context, r message.Receipt) error

// OnInbound stores an inbound message durably, with the same meaning of its
// error as OnReceipt.
type OnInbound func(ctx context.Context, m message.InboundMessage) error
