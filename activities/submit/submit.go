// Package submit puts the parts of a message on a vendor's wire, never twice by
// accident: a part is journalled before the wire and after the answer, and a
// journal row without an answer whose writer is gone means that nobody knows.
package submit

import (
	"context"
	"hash/fnv"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/text"
)

// Journal is what submitting needs of the record.
type Journal interface {
	activities.Recorder
	activities.Reader
	Parts(ctx context.Context, id message.ID, segments int) ([]message.Part, error)
	EarlyReceipts(ctx context.Context, vendor message.ID, normalized []string) (bool, error)
	Progress(ctx context.Context, id message.ID) (message.Progress, error)
	// MessageMedia lists the files of a message: as they came, or as they were made for
	// a profile.
	MessageMedia(ctx context.Context, id message.ID, profile string) ([]message.Media, error)
}

// Connector puts one part on the wire and waits for the vendor's answer; its
// errors are *message.SubmitError.
type Connector interface {
	Submit(ctx context.Context, s message.Submission) (message.SubmitResult, error)
	// Whole reports whether a submission carries a whole message.
	Whole() bool
	// Repeats reports whether a submission may be made again whose process died while it
	// was made: the vendor knows it by its Ref.
	Repeats() bool
}

// Activities submits messages.
type Activities struct {
	Journal Journal
	// Connector finds the live connector of a vendor in this process, nil when
	// there is none.
	Connector func(vendor message.ID) Connector
	// Draining reports whether a vendor is to be given nothing more; nil: none is.
	Draining func(vendor message.ID) bool
	// Gate is asked once more right before the message leaves.
	Gate     activities.Gate
	Instance string // names this process in the journal; unique per start
	// Expect is told of a message that is about to go on the wire and whose
	// receipts will be waited for in this process, and Forget when they will not
	// after all; nil: nobody is.
	Expect, Forget func(id message.ID)
	// Tell makes the first tries of what the customer is told, and Outcome records what
	// receipts say, for a submit that goes through; nil: that is left to the caller.
	Tell    activities.Teller
	Outcome func(ctx context.Context, in record.Input) (record.Result, error)
	// MediaURL is where a vendor can fetch a file.
	MediaURL func(f message.MediaFile) string
	// Observe is told how long a vendor took to answer a part; nil: nobody is.
	Observe func(vendor message.ID, name string, took time.Duration, err error)
}

// Input names the message and the vendor.
type Input struct {
	MessageID message.ID        `json:"message_id"`
	Vendor    message.VendorRef `json:"vendor"`
	Here      bool              `json:"here,omitempty"` // inside the workflow's task
	// Profile is under which name the record has the files that the vendor gets; empty:
	// as they came. Of an MMS only.
	Profile string `json:"profile,omitempty"`
	// Queued is set when the record does not show the queueing yet.
	Queued *Queued `json:"queued,omitempty"`
	// Revision is the one that was admitted and, unless Queued is set, queued.
	Revision int `json:"revision,omitempty"`
	// Slot is the moment that it was given to leave in; nil: it is not paced.
	Slot *pace.Slot `json:"slot,omitempty"`
	// Held: the record shows that it waits for something, which is over.
	Held bool `json:"held,omitempty"`
	// Resend: another vendor has the message, or may have it, and no receipt came. It
	// goes to this one as well if its delivery policy says at_least_once.
	Resend bool `json:"resend,omitempty"`
	// Through: go on to what follows at once: tell the customer, wait a moment for
	// receipts, and record the outcome if they decide it.
	Through bool `json:"through,omitempty"`
}

// Queued is what the timeline is to say of admission and routing.
type Queued struct {
	Trail      []message.TrailEntry `json:"trail,omitempty"`
	Candidates int                  `json:"candidates"`
	Why        string               `json:"why,omitempty"` // as in route.Result
}

// Outcome is how a submit ended.
type Outcome string

// The outcomes.
const (
	Sent    Outcome = "sent"     // the vendor took every part
	Refused Outcome = "refused"  // the vendor took nothing: another may be asked
	Partial Outcome = "partial"  // the vendor took some parts and refused others: no other can help
	InDoubt Outcome = "in_doubt" // for some part nobody knows
	Busy    Outcome = "busy"     // the vendor may take it later
	Ended   Outcome = "ended"    // the message ended otherwise; nothing was sent
	Settled Outcome = "settled"  // receipts have decided it while parts still waited; nothing was sent
	Revised Outcome = "revised"  // it is no longer what was admitted; nothing was sent or written
	Held    Outcome = "held"     // it must wait before it may leave; nothing was sent
)

// Result says how the submit ended.
type Result struct {
	Outcome    Outcome        `json:"outcome"`
	Status     message.Status `json:"status,omitempty"` // of the record, when ended
	Reason     message.Reason `json:"reason,omitempty"`
	Detail     string         `json:"detail,omitempty"`
	VendorCode string         `json:"vendor_code,omitempty"`
	RetryAfter time.Duration  `json:"retry_after,omitempty"` // when busy
	Throttled  bool           `json:"throttled,omitempty"`   // when busy: for rate, not for trouble
	Decided    bool           `json:"decided,omitempty"`     // receipts have decided the message already
	Notify     []message.ID   `json:"notify,omitempty"`
	// Left: some of it has left, or may have, when refused or busy.
	Left bool `json:"left,omitempty"`
	// Hold is what it must wait for, when held. Slot is the moment that it has now,
	// of one that has not left: another may have been taken in the stead of the one
	// that it came with.
	Hold *message.Hold `json:"hold,omitempty"`
	Slot *pace.Slot    `json:"slot,omitempty"`
	// Gone, when busy: the vendor is being drained or removed. It has not refused, and
	// is not to be asked again.
	Gone bool `json:"gone,omitempty"`
	// Tried: the first tries of what the customer is told were made, and Notify is what
	// needs more.
	Tried bool `json:"tried,omitempty"`
	// Recorded is what receipts have made of it since, when sent; nil: nobody has looked.
	Recorded *record.Result `json:"recorded,omitempty"`
}

// Submit submits and, if it is asked to go through, does what follows at once: the
// whole of most messages' life is then one step of their history. Each part of it is
// recorded by itself, and what was not reached is left to the caller: a run that is cut
// off anywhere leaves what a run that ended there would.
func (a *Activities) Submit(ctx context.Context, in Input) (Result, error) {
	r, err := a.submit(ctx, in)
	if err != nil || !in.Through {
		return r, err
	}
	r.Notify, r.Tried = a.Tell.Tell(ctx, r.Notify)
	if r.Outcome != Sent || a.Outcome == nil {
		return r, nil
	}
	recorded, err := a.Outcome(ctx, record.Input{MessageID: in.MessageID, Wait: !r.Decided, Tell: true})
	if err == nil {
		r.Recorded = &recorded
	}
	return r, nil
}

// submit journals and sends every part that the vendor does not have yet. It may
// run twice: parts with an answer are left alone, and a part journalled by an
// earlier run without an answer is in doubt and goes again only if the
// message's delivery policy says at_least_once, or with its own reference to a vendor
// that knows what it gets twice. Of two runs at the same time
// one sends: the step from queued to sending is the gate.
//
// A message that nobody has submitted before (Queued) is queued and journalled
// in one write, which needs nothing read: no run of a submit precedes it.
func (a *Activities) submit(ctx context.Context, in Input) (Result, error) {
	in.Held = in.Held || repeated(ctx)
	if in.Queued != nil {
		r, err := a.first(ctx, &in)
		if r != nil || err != nil {
			return orZero(r), activities.Fail(err)
		}
	}
	m, err := a.Journal.Message(ctx, in.MessageID)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	switch {
	case m.Status.Final():
		return a.ended(ctx, m.ID)
	case m.Status.Revisable() && m.Revision != in.Revision:
		return Result{Outcome: Revised}, nil
	case in.Resend && !resendable(m):
		return Result{Outcome: Settled, Decided: m.Progress().Decided()}, nil
	}
	// What is queued is of the revision that was admitted, and is not revised any
	// more: from here on no step needs to look at it.
	parts, err := a.Journal.Parts(ctx, m.ID, m.Segments)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	w := &work{a: a, m: m, in: in, expired: !a.Gate.Now().Before(m.ExpiresAt)}
	if w.media, err = a.media(ctx, m, in.Profile); err != nil {
		return Result{}, activities.Fail(err)
	}
	connector := a.Connector(in.Vendor.ID)
	w.repeats = connector != nil && connector.Repeats() && w.leftOpen(parts)
	if err := w.takeStock(ctx, parts); err != nil {
		return Result{}, activities.Fail(err)
	}
	if len(w.todo) > 0 {
		if r, err := w.pointless(ctx, parts); r != nil || err != nil {
			return orZero(r), activities.Fail(err)
		}
		if a.drains(in.Vendor.ID) {
			return Result{Outcome: Busy, Gone: true, Reason: message.ReasonVendorUnreachable, Detail: "the vendor is being drained"}, nil
		}
		if connector == nil {
			return Result{Outcome: Busy, Reason: message.ReasonVendorUnreachable, RetryAfter: noLinkDelay}, nil
		}
		if r := w.fit(connector); r != nil {
			return *r, nil
		}
		if r, err := w.gate(ctx); r != nil || err != nil {
			return orZero(r), activities.Fail(err)
		}
		if ended, err := w.journal(ctx); ended || err != nil {
			if err != nil {
				return Result{}, activities.Fail(err)
			}
			r, err := a.ended(ctx, m.ID)
			r.Slot = w.in.Slot
			return r, err
		}
		w.send(ctx, connector)
	}
	r, err := w.conclude(ctx)
	return r, activities.Fail(err)
}

func (a *Activities) drains(vendor message.ID) bool { return a.Draining != nil && a.Draining(vendor) }

// repeated reports whether an earlier run came to no answer. It may have noted that
// the message waits.
func repeated(ctx context.Context) bool {
	return activity.IsActivity(ctx) && activity.GetInfo(ctx).Attempt > 1
}

// first submits a message that was not submitted before. Nil without an error:
// it was, or cannot be sent now, and the long way says what becomes of it, with the
// moment that the message has then.
func (a *Activities) first(ctx context.Context, in *Input) (*Result, error) {
	m, current, err := activities.Revision(ctx, a.Journal, in.MessageID, in.Revision)
	if err != nil || !current {
		return nil, err
	}
	connector := a.Connector(in.Vendor.ID)
	w := &work{a: a, m: m, in: *in, expired: !a.Gate.Now().Before(m.ExpiresAt)}
	if connector == nil || w.expired || a.drains(in.Vendor.ID) {
		return nil, nil
	}
	unsent := make([]message.Part, m.Segments)
	for i := range unsent {
		unsent[i].Number = i + 1
	}
	if err := w.takeStock(ctx, unsent); err != nil {
		return nil, err
	}
	w.fit(connector)
	if r, err := w.gate(ctx); r != nil || err != nil {
		return r, err
	}
	c := activities.Queued(message.Change{MessageID: m.ID, Via: message.StatusQueued, Revision: &in.Revision}, in.Queued.Trail, in.Queued.Candidates, nil)
	activities.Chosen(c, in.Vendor.Name, in.Queued.Why)
	adv, err := a.Journal.Advance(ctx, w.sending(c))
	if in.Slot = w.in.Slot; err != nil || !adv.Changed {
		return nil, err
	}
	w.send(ctx, connector)
	r, err := w.conclude(ctx)
	return &r, err
}

func orZero(r *Result) Result {
	if r == nil {
		return Result{}
	}
	return *r
}

// recordTimeout bounds the recording of answers whose caller has gone.
const recordTimeout = 30 * time.Second

// noLinkDelay is how soon a part is offered again to a vendor whose link went
// away between the poll and the submit.
const noLinkDelay = time.Second

func (a *Activities) ended(ctx context.Context, id message.ID) (Result, error) {
	now, err := a.Journal.Message(ctx, id)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	r := Result{Outcome: Ended, Status: now.Status}
	if now.Error != nil {
		r.Reason = now.Error.Reason
	}
	r.Notify, err = a.Journal.PendingNotifications(ctx, id)
	return r, activities.Fail(err)
}

// reference is the concatenation reference of a message: drawn from its id, so
// that retries repeat it and neighbours differ (TS 23.040 §9.2.3.24.1 asks for
// uniqueness per sender and recipient only).
func reference(m *message.Message) uint16 {
	h := fnv.New32a()
	h.Write(m.ID[:])
	s := h.Sum32()
	return uint16(s>>16) ^ uint16(s)
}

// texts splits the message as it was split when it was accepted.
func texts(m *message.Message) ([]string, error) {
	var parts []string
	var err error
	if m.Kind == message.MMS { // it is one part, however long
		return []string{m.Body}, nil
	}
	if m.Encoding == message.EncodingBinary {
		parts, err = text.SplitOctets(m.Body, m.DataCoding, m.Header, false)
	} else {
		parts, err = text.Split(m.Body, m.Encoding, false)
	}
	if err != nil {
		return nil, message.Because(message.ReasonEncodingMismatch, err, "the stored text does not fit its encoding")
	}
	if len(parts) != m.Segments {
		return nil, message.Refuse(message.ReasonInternal, "the text makes %d parts, the record says %d", len(parts), m.Segments)
	}
	return parts, nil
}
