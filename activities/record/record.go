// Package record writes how a message ended.
package record

import (
	"context"
	"time"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Journal is what recording needs of the record.
type Journal interface {
	activities.Recorder
	Message(ctx context.Context, id message.ID) (*message.Message, error)
	DecidingReceipt(ctx context.Context, id message.ID) (message.PartState, message.ReceiptSummary, message.Reason, error)
	DropSettlement(ctx context.Context, id message.ID) error
	// Parts reads the newest attempt of each part.
	Parts(ctx context.Context, id message.ID, segments int) ([]message.Part, error)
}

// Activities records outcomes.
type Activities struct {
	Journal  Journal
	Snapshot func() *snapshot.Snapshot
	Now      func() time.Time
	// Await waits a moment for receipts to decide the message, and reports whether
	// they have; nil: nothing is waited for.
	Await func(ctx context.Context, id message.ID) bool
	// CapReached is told of each message whose receipt says that the carrier's cap of
	// the day is reached; its error has the recording tried again. Nil: nobody is.
	CapReached func(ctx context.Context, m *message.Message) error
	// Recorded is told of each final status written; nil: nobody is.
	Recorded func(m *message.Message, status message.Status, reason message.Reason)
	// Tell makes the first tries of what the customer is told, for who asks for it; nil:
	// they are left to the caller.
	Tell activities.Teller
}

// Input says how the message ended, as far as the caller knows.
type Input struct {
	MessageID message.ID `json:"message_id"`
	// To is the status to record; empty: what the receipts say.
	To     message.Status `json:"to,omitempty"`
	Reason message.Reason `json:"reason,omitempty"`
	Detail string         `json:"detail,omitempty"`
	Code   string         `json:"code,omitempty"` // the vendor's
	Late   bool           `json:"late,omitempty"` // the message's process has ended
	// Wait: the message was submitted just now, and its receipts are waited for
	// a moment.
	Wait bool `json:"wait,omitempty"`
	// Told: the caller was told of receipts by somebody who waits for its answer. He
	// forgets that the message is due to be settled once he has it: should the caller
	// die before it has noted what the record says, it is told again.
	Told bool `json:"told,omitempty"`
	// Times are what the caller goes by, who asks for the record's when they are
	// others; zero: nobody asks.
	Times message.Times `json:"times,omitzero"`
	// Revision is the one that the status is about; nil: any.
	Revision *int `json:"revision,omitempty"`
	// Staff is what staff say of a message in doubt; nil: nothing. It is for who shows them
	// the error, and stands with the id alone.
	Staff *Finding `json:"staff,omitempty"`
	// Tell: make the first tries of what the customer is to be told.
	Tell bool `json:"tell,omitempty"`
}

// Result is what the record shows.
type Result struct {
	Status  message.Status `json:"status"`
	Reason  message.Reason `json:"reason,omitempty"` // why, of a status that has one
	Changed bool           `json:"changed"`
	Open    bool           `json:"open,omitempty"` // the receipts leave something open, or are not there yet: nothing was written
	Notify  []message.ID   `json:"notify,omitempty"`
	// Tried: the first tries were made, and Notify is what needs more.
	Tried bool `json:"tried,omitempty"`
	// Times are the record's, when they are not those of the input: nothing was
	// written then.
	Times *message.Times `json:"times,omitempty"`
	// Revised: the message is no longer the one that the status is about. Nothing
	// was written.
	Revised bool `json:"revised,omitempty"`
}

// RecordOutcome writes a status with the event for the customer, and tells the
// customer if it is asked to. Running it twice changes nothing the second time: the
// status has moved on, and the notifications that are still to be sent come back again.
func (a *Activities) RecordOutcome(ctx context.Context, in Input) (Result, error) {
	r, err := a.record(ctx, in)
	if err == nil && in.Tell {
		r.Notify, r.Tried = a.Tell.Tell(ctx, r.Notify)
	}
	return r, err
}

func (a *Activities) record(ctx context.Context, in Input) (Result, error) {
	if in.Staff != nil {
		return a.resolve(ctx, in)
	}
	if in.Wait && (a.Await == nil || !a.Await(ctx, in.MessageID)) {
		return Result{Open: true}, nil
	}
	m, err := a.Journal.Message(ctx, in.MessageID)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	if t := m.Times(); !in.Times.ExpiresAt.IsZero() && !t.Equal(in.Times) && !m.Status.Final() {
		return Result{Status: m.Status, Reason: reasonOf(m.Error), Times: &t}, nil
	}
	// Silence does not settle: a receipt that comes in this very moment keeps its
	// row, and whoever works on that row makes it a late outcome.
	c := message.Change{To: in.To, VendorCode: in.Code, Started: true, Settled: in.To.Final() && in.To != message.StatusUnconfirmed, Revision: in.Revision}
	if in.Reason != "" {
		c.Error = message.Refuse(in.Reason, "%s", detailOf(in))
	}
	if in.To == "" || in.To == message.StatusUnconfirmed {
		open, err := a.byReceipts(ctx, m, &c)
		switch {
		case err != nil:
			return Result{}, activities.Fail(err)
		case open && in.To == "":
			return Result{Status: m.Status, Reason: reasonOf(m.Error), Open: true}, nil
		}
	}
	c.Settled = c.Settled && !in.Told
	settlePrice(m, &c)
	told, err := activities.Tell(ctx, a.Journal, a.Snapshot(), *m, c, nil, in.Late)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	r := Result{Status: told.Status, Reason: reasonOf(m.Error), Changed: told.Changed, Notify: told.Notify, Revised: told.Revised}
	if told.Changed {
		r.Reason = reasonOf(c.Error)
		if a.Recorded != nil && c.To.Final() {
			a.Recorded(m, c.To, r.Reason)
		}
		return r, nil
	}
	if !in.Told && told.Status.Final() && !told.Status.CanBecome(c.To) {
		if err := a.Journal.DropSettlement(ctx, m.ID); err != nil {
			return Result{}, activities.Fail(err)
		}
	}
	return r, nil
}

func reasonOf(e *message.Error) message.Reason {
	if e == nil {
		return ""
	}
	return e.Reason
}

func detailOf(in Input) string {
	if in.Detail != "" {
		return in.Detail
	}
	return in.Reason.Entry().Help
}

// byReceipts fills in what the receipts say: the first failure decides, delivery
// needs all parts. It reports true, and changes nothing, when they leave
// something open.
func (a *Activities) byReceipts(ctx context.Context, m *message.Message, c *message.Change) (bool, error) {
	if !m.Progress().Decided() {
		return true, nil
	}
	state, summary, reason, err := a.Journal.DecidingReceipt(ctx, m.ID)
	if message.ReasonOf(err) == message.ReasonNotFound {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	c.To, c.Receipt, c.Error, c.Settled = state.Status(), &summary, nil, true
	if reason == message.ReasonOptedOut && state != message.PartDelivered {
		if *c, err = activities.VendorBlock(*c, a.Snapshot(), m, m.Vendor, a.Now()); err != nil {
			return true, err
		}
	}
	switch c.To {
	case message.StatusDelivered:
		c.Delivered = true
	case message.StatusExpired:
		c.Error = message.Refuse(message.ReasonExpired, "the vendor could not deliver it within its validity")
	default:
		if reason == "" {
			reason = message.ReasonVendorRejected
		}
		c.Error = message.Refuse(reason, "the vendor reported %s, code %s", summary.Stat, orNone(summary.Err))
	}
	if reason == message.ReasonDailyCapReached && a.CapReached != nil {
		if err := a.CapReached(ctx, m); err != nil {
			return true, err
		}
	}
	return false, a.leaveQueue(ctx, m)
}

// leaveQueue takes a message whose receipts have decided it while one of its
// parts still waited for a vendor out of the queue: a decision follows only on
// a submit, which there was.
func (a *Activities) leaveQueue(ctx context.Context, m *message.Message) error {
	if m.Status != message.StatusQueued {
		return nil
	}
	_, err := a.Journal.Advance(ctx, message.Change{MessageID: m.ID, To: message.StatusSending, Unheld: true, // it may have waited with what is left of it
		Events: []message.Event{{Type: message.StatusEvent(message.StatusSending), Detail: map[string]any{"decided": true}}}})
	return err
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// settlePrice makes the estimate actual, or nothing when no vendor took it.
func settlePrice(m *message.Message, c *message.Change) {
	if m.Price.Currency == "" || !c.To.Final() {
		return
	}
	price := m.Price
	price.Estimated = false
	switch c.To {
	case message.StatusFailed, message.StatusRejected, message.StatusCanceled:
		price.Amount = 0
	case message.StatusExpired:
		if m.SubmittedAt.IsZero() {
			price.Amount = 0
		}
	}
	c.Price = &price
}
