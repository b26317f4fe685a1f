package submit

import (
	"context"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/internal/message"
)

// A message that one vendor has, or may have, is given to another one when no receipt
// comes and its sender would rather have it twice than not at all. Its status stays
// what the first vendor has made of it: what the second one says adds an attempt, and
// receipts of either decide the message.

// resendable reports whether the message may be given to another vendor as well.
func resendable(m *message.Message) bool {
	return m.Delivery == message.AtLeastOnce && (m.Status == message.StatusSent || m.Status == message.StatusInDoubt) && !m.Progress().Decided()
}

// elsewhere reports whether a part that is being sent again is with another vendor:
// with this one it is, or may be, because an earlier run has sent it.
func (w *work) elsewhere(p message.Part) bool {
	return w.in.Resend && !p.State.Settled() && p.Vendor != w.in.Vendor.Name
}

// unwanted says why the message is not sent again, although it might; nil: it is. It
// is the policy of now, for this is another message to the handset.
func (w *work) unwanted() *Result {
	if no := w.barred(); no != nil {
		return &Result{Outcome: Refused, Reason: no.Reason, Detail: no.Detail}
	}
	return nil
}

// sendingAgain is what is journalled before the wire: nothing is, when receipts have
// decided the message meanwhile.
func (w *work) sendingAgain() message.Change {
	c := w.sending(message.Change{MessageID: w.m.ID, MaybeDoubled: true, Resend: true})
	c.To, c.Vendor, c.Unheld = "", message.VendorRef{}, false
	for _, e := range c.Events {
		e.Detail["again"], e.Detail["vendor"] = true, w.in.Vendor.Name
	}
	return c
}

// sentAgain is the timeline's line for a vendor that took what another one has.
func (w *work) sentAgain() []message.Event {
	return []message.Event{{Type: message.StatusEvent(message.StatusSent), Detail: map[string]any{"again": true, "vendor": w.in.Vendor.Name}}}
}

// notTakenAgain records that the vendor does not have all of what it was given, or that
// nobody knows.
func (w *work) notTakenAgain(ctx context.Context) (Result, error) {
	c := message.Change{MessageID: w.m.ID, Answers: w.answers, Events: w.remarks()}
	r := Result{Outcome: InDoubt, Reason: message.ReasonSubmitInDoubt, Left: true}
	no := w.busy
	switch {
	case w.barrier != nil: // it stopped being wanted on its way
		no, r.Outcome = w.barrier, Refused
	case w.refusal != nil:
		no, r.Outcome = w.refusal, Refused
	case no != nil:
		r.Outcome, r.RetryAfter, r.Throttled = Busy, no.RetryAfter(), no.Reason == message.ReasonVendorThrottled
	}
	if no != nil {
		r.Reason, r.Detail, r.VendorCode = no.Reason, no.Detail, no.VendorCode
	}
	if w.refusal != nil {
		var err error
		if c, err = w.stopped(c, w.refusal); err != nil {
			return Result{}, err
		}
	}
	if len(w.answers) > 0 {
		if _, err := w.a.Journal.Advance(ctx, c); err != nil {
			return Result{}, err
		}
	}
	var err error
	r.Decided, err = w.letIn(ctx)
	return r, err
}

// uncanceled is a context for the wire that ends as ctx does, unless that is because
// the submit is to be taken back: what is on its way to the vendor cannot be, and
// cutting it off would only leave it in doubt.
func uncanceled(ctx context.Context) (context.Context, func()) {
	wire, free := context.WithoutCancel(ctx), context.CancelFunc(func() {})
	if until, bounded := ctx.Deadline(); bounded {
		wire, free = context.WithDeadline(wire, until)
	}
	wire, end := context.WithCancelCause(wire)
	stop := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !temporal.IsCanceledError(cause) {
			end(cause)
		}
	})
	return wire, func() {
		stop()
		end(nil)
		free()
	}
}
