package submit

import (
	"context"

	"github.com/postrider/postrider/internal/message"
)

// A run that dies while it submits leaves attempts open, and nobody knows whether the
// vendor has them. A vendor that knows an attempt which it gets twice is given the same
// one again, whatever the message's delivery policy says: that makes no second message.
// It is only for the vendor that may have it, and for as long as the message is valid.

// leftOpen reports whether an earlier run was giving the whole message to this vendor,
// as one try, and did not come to an answer.
func (w *work) leftOpen(parts []message.Part) bool {
	if w.in.Resend || w.expired || w.m.Status != message.StatusSending {
		return false
	}
	for _, p := range parts {
		if p.State != message.PartSending || p.Vendor != w.in.Vendor.Name || p.Attempt != parts[0].Attempt {
			return false
		}
	}
	w.before = parts[0].Instance
	return true
}

// takeOver journals, before the wire, that this process goes on with the attempts. It does
// so once: a later run of the same process finds them its own. True: the message has
// ended meanwhile.
func (w *work) takeOver(ctx context.Context) (ended bool, err error) {
	if w.before == w.a.Instance {
		return false, nil
	}
	c := message.Change{MessageID: w.m.ID, While: message.StatusSending}
	for _, s := range w.todo {
		c.TakenOver = append(c.TakenOver, message.Attempt{Part: s.Part, Number: s.Attempt, Vendor: w.in.Vendor, Instance: w.a.Instance})
		c.Events = append(c.Events, diedBefore(s.Part, s.Attempt),
			message.Event{Type: message.StatusEvent(message.StatusSending), Detail: map[string]any{"part": s.Part, "attempt": s.Attempt, "vendor": w.in.Vendor.Name, "again": true}})
	}
	adv, err := w.a.Journal.Advance(ctx, c)
	switch {
	case err != nil || adv.Changed:
		return false, err
	case adv.Was.Final():
		return true, nil
	}
	return false, errUnderWay
}

// notMade reads an error of a try that is made again and was not answered: it says nothing
// of the first time. Nil: the vendor could not be asked now, and is to be later; else the
// part stays in doubt.
func (w *work) notMade(no *message.SubmitError) *message.SubmitError {
	if no.Retryable() && !no.OnWire() {
		w.unmade = notAsked{no}
		return nil
	}
	doubt := *no
	doubt.Written = true
	return &doubt
}

// notAsked is why the vendor was not asked again. The run is tried again, for the attempts
// are still open.
type notAsked struct{ no *message.SubmitError }

// Error is why, in the vendor's words.
func (e notAsked) Error() string {
	return "the vendor could not be asked again whether it has the message: " + e.no.Error()
}

// Unwrap gives the cause.
func (e notAsked) Unwrap() error { return e.no }

// diedBefore is the timeline's line for an attempt whose process left it open.
func diedBefore(part, attempt int) message.Event {
	return message.Event{Type: message.EventSubmitUnknown,
		Detail: map[string]any{"part": part, "attempt": attempt, "detail": "the process ended before the vendor's answer was recorded"}}
}
