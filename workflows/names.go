// Package workflows holds the life of a message as Temporal runs it. Read
// Outbound first: it goes top to bottom through the steps of a message.
//
// The rule not to break: a change of the order of steps breaks the messages
// that are under way. Histories of every path are replayed by a test; a change
// that it refuses goes behind workflow.GetVersion.
package workflows

import (
	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/internal/message"
)

// Queues.
const (
	QueueMessages = "messages" // workflows and their local activities
	QueueNotify   = "notify"   // webhook retries
	QueueMedia    = "media"    // making the files of MMS ready, a few at a time
	QueueMM4      = "mm4"      // messages to customers' MMSCs, whose answers may take minutes
	QueueBatches  = "batches"  // rows of batches, some seconds' worth at a time
	QueueMail     = "mail"     // e-mails, which one relay takes: one that hangs holds up no webhook
)

// VendorQueue is the queue that only processes with a live bind to the vendor
// poll.
func VendorQueue(name string) string { return "vendor." + name }

// OutboundType is the name under which Outbound is registered.
const OutboundType = "Outbound"

// OutboundID is the workflow id of a message.
func OutboundID(id message.ID) string { return "mt-" + id.String() }

// InboundType is the name under which Inbound is registered.
const InboundType = "Inbound"

// InboundID is the workflow id of an inbound message.
func InboundID(id message.ID) string { return "mo-" + id.String() }

// BatchType is the name under which Batch is registered.
const BatchType = "Batch"

// BatchID is the workflow id of a batch.
func BatchID(id message.ID) string { return "batch." + id.String() }

// RedriveType is the name under which Redrive is registered.
const RedriveType = "Redrive"

// RedriveID is the workflow id of a re-drive.
func RedriveID(id message.ID) string { return "redrive." + id.String() }

// MessageID is the workflow id of a message of either direction.
func MessageID(d message.Direction, id message.ID) string {
	if d == message.Inbound {
		return InboundID(id)
	}
	return OutboundID(id)
}

// Names of updates, signals and queries of a message's workflow.
const (
	// UpdateDecided tells the workflow that receipts have decided the message.
	UpdateDecided = "decided"
	// SignalDecided is the same for when no update can be taken.
	SignalDecided = "decided-signal"
	// UpdateCancel withdraws the message; it fails when that is too late.
	UpdateCancel = "cancel"
	// UpdateRevise tells the workflow that the message was revised: its send time may
	// be another one.
	UpdateRevise = "revise"
	// SignalRevise is the same for when no update can be taken.
	SignalRevise = "revise-signal"
	// SignalReconsider tells the workflow of a message that waits that what it waits
	// for may be over, or in vain.
	SignalReconsider = "reconsider"
	// SignalReroute tells the workflow that staff have named another vendor, or want it
	// routed anew.
	SignalReroute = "reroute"
	// SignalBatch tells the workflow of a batch that the batch was changed: it is started
	// by it, goes on, or is canceled.
	SignalBatch = "batch"
	// SignalRedrive tells the workflow of a re-drive that it was changed: it is started by
	// it, or stopped.
	SignalRedrive = "redrive"
	// QueryState answers with State, of a batch with BatchState, of a re-drive with
	// RedriveState.
	QueryState = "state"
)

// Search attributes. They are not encrypted: no numbers, no text.
var (
	AttrAccount  = temporal.NewSearchAttributeKeyKeyword("Account")
	AttrVendor   = temporal.NewSearchAttributeKeyKeyword("Vendor")
	AttrCampaign = temporal.NewSearchAttributeKeyKeyword("Campaign")
	AttrOutcome  = temporal.NewSearchAttributeKeyKeyword("Outcome")
)
