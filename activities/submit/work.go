package submit

import (
	"context"
	"errors"
	"sync"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
)

// work is one run of Submit.
type work struct {
	a  *Activities
	m  *message.Message
	in Input

	taken   int // parts that a vendor has
	doubted int // parts that stay in doubt
	todo    []message.Submission
	resent  bool // a part in doubt is being sent again
	answers []message.Answer
	early   []string // normalised ids just learnt
	refusal *message.SubmitError
	busy    *message.SubmitError
}

// takeStock sorts the parts into those that a vendor has, those in doubt, and
// those to be sent, and closes journal rows that an earlier run left open.
func (w *work) takeStock(ctx context.Context, parts []message.Part) error {
	texts, err := texts(w.m)
	if err != nil {
		return err
	}
	var lost []message.Answer
	var events []message.Event
	for i, p := range parts {
		switch p.State {
		case message.PartSubmitted, message.PartDelivered, message.PartUndelivered, message.PartExpired:
			w.taken++
			continue
		case message.PartSending, message.PartInDoubt:
			if p.State == message.PartSending {
				lost = append(lost, message.Answer{Part: p.Number, Attempt: p.Attempt, State: message.PartInDoubt, Reason: message.ReasonSubmitInDoubt})
				events = append(events, message.Event{Type: message.EventSubmitUnknown,
					Detail: map[string]any{"part": p.Number, "attempt": p.Attempt, "detail": "the process ended before the vendor's answer was recorded"}})
			}
			if w.m.Delivery != message.AtLeastOnce {
				w.doubted++
				continue
			}
			w.resent = true
		}
		w.todo = append(w.todo, message.Submission{MessageID: w.m.ID, Part: p.Number, Parts: len(parts), Attempt: p.Attempt + 1,
			From: w.m.From, To: w.m.To, Encoding: w.m.Encoding, Text: texts[i], Reference: reference(w.m), ExpiresAt: w.m.ExpiresAt, Class: w.m.Class})
	}
	if len(lost) == 0 {
		return nil
	}
	_, err = w.a.Journal.Advance(ctx, message.Change{MessageID: w.m.ID, Answers: lost, Events: events})
	return err
}

// journal writes a row for each part about to be sent. It reports false when
// the message has ended: nothing may be sent then.
func (w *work) journal(ctx context.Context) (bool, error) {
	c := message.Change{MessageID: w.m.ID, To: message.StatusSending, Vendor: w.in.Vendor, MaybeDoubled: w.resent}
	for _, s := range w.todo {
		c.Attempts = append(c.Attempts, message.Attempt{Part: s.Part, Number: s.Attempt, Vendor: w.in.Vendor, Instance: w.a.Instance})
		c.Events = append(c.Events, message.Event{Type: message.StatusEvent(message.StatusSending), Detail: map[string]any{"part": s.Part, "attempt": s.Attempt}})
	}
	if w.m.Status == message.StatusInDoubt {
		// From in doubt the way leads over queued.
		if _, err := w.a.Journal.Advance(ctx, message.Change{MessageID: w.m.ID, To: message.StatusQueued,
			Events: []message.Event{{Type: message.StatusEvent(message.StatusQueued), Detail: map[string]any{"again": true}}}}); err != nil {
			return false, err
		}
	}
	adv, err := w.a.Journal.Advance(ctx, c)
	if err != nil || adv.Changed {
		return adv.Changed, err
	}
	if adv.Was != message.StatusSending && adv.Was != message.StatusSent {
		return false, nil
	}
	// An earlier run has moved the status; the rows of this one are still due.
	c.To = ""
	adv, err = w.a.Journal.Advance(ctx, c)
	return adv.Changed, err
}

// send submits all parts at once; the connector's window and rate hold them
// back as they must be.
func (w *work) send(ctx context.Context, connector Connector) {
	type answered struct {
		result message.SubmitResult
		err    error
	}
	got := make([]answered, len(w.todo))
	var wg sync.WaitGroup
	for i, s := range w.todo {
		wg.Go(func() {
			start := w.a.Now()
			got[i].result, got[i].err = connector.Submit(ctx, s)
			if w.a.Observe != nil {
				w.a.Observe(w.in.Vendor.ID, w.in.Vendor.Name, w.a.Now().Sub(start), got[i].err)
			}
		})
	}
	wg.Wait()
	for i, s := range w.todo {
		w.answers = append(w.answers, w.answer(s, got[i].result, got[i].err))
	}
}

// answer reads what became of one part.
func (w *work) answer(s message.Submission, r message.SubmitResult, err error) message.Answer {
	out := message.Answer{Part: s.Part, Attempt: s.Attempt}
	if err == nil {
		w.taken++
		w.early = append(w.early, r.NormalizedID)
		out.State, out.VendorMessageID, out.NormalizedID = message.PartSubmitted, r.VendorMessageID, r.NormalizedID
		return out
	}
	var no *message.SubmitError
	if !errors.As(err, &no) {
		// A connector that breaks its contract: assume the worst, that it is on
		// the wire.
		no = &message.SubmitError{Reason: message.ReasonInternal, Written: true, Err: err}
	}
	out.VendorCode, out.Reason = no.VendorCode, no.Reason
	switch {
	case no.Ambiguous():
		w.doubted++
		out.State, out.Reason = message.PartInDoubt, message.ReasonSubmitInDoubt
	case no.Retryable():
		w.busy = no
		out.State = message.PartRefused
	default:
		w.refusal = no
		out.State = message.PartRefused
	}
	return out
}

// record writes the answers and says how the submit ended.
func (w *work) record(ctx context.Context) (Result, error) {
	switch {
	case w.refusal != nil && w.taken+w.doubted > 0:
		return w.partial(ctx)
	case w.refusal != nil:
		return w.refused(ctx, Refused, w.refusal)
	case w.busy != nil:
		return w.refused(ctx, Busy, w.busy)
	case w.doubted > 0:
		return w.inDoubt(ctx)
	}
	return w.sent(ctx)
}

func (w *work) change(to message.Status) message.Change {
	return message.Change{MessageID: w.m.ID, To: to, Answers: w.answers, Vendor: w.in.Vendor}
}

func (w *work) sent(ctx context.Context) (Result, error) {
	c := w.change(message.StatusSent)
	c.Submitted = true
	told, err := activities.Tell(ctx, w.a.Journal, w.a.Snapshot(), *w.m, c, nil, w.a.Now(), false)
	if err != nil {
		return Result{}, err
	}
	if err := w.keepAnswers(ctx, told.Changed); err != nil {
		return Result{}, err
	}
	decided, err := w.decided(ctx)
	return Result{Outcome: Sent, Notify: told.Notify, Decided: decided}, err
}

// keepAnswers records the answers although the status had moved on without them
// (an early receipt, a repetition).
func (w *work) keepAnswers(ctx context.Context, changed bool) error {
	if changed || len(w.answers) == 0 {
		return nil
	}
	_, err := w.a.Journal.Advance(ctx, w.change(""))
	return err
}

// decided lets receipts in that came before the vendor's ids were stored, and
// reports whether the message is decided by now.
func (w *work) decided(ctx context.Context) (bool, error) {
	came := false
	if len(w.early) > 0 {
		var err error
		if came, err = w.a.Journal.EarlyReceipts(ctx, w.in.Vendor.ID, w.early); err != nil {
			return false, err
		}
	}
	if !came && len(w.early) == w.m.Segments {
		return false, nil // every part went out just now, and nothing was waiting
	}
	p, err := w.a.Journal.Progress(ctx, w.m.ID)
	return err == nil && p.Decided(), err
}

func (w *work) inDoubt(ctx context.Context) (Result, error) {
	c := w.change(message.StatusInDoubt)
	told, err := activities.Tell(ctx, w.a.Journal, w.a.Snapshot(), *w.m, c, map[string]any{"parts": w.doubted}, w.a.Now(), false)
	if err != nil {
		return Result{}, err
	}
	if err := w.keepAnswers(ctx, told.Changed); err != nil {
		return Result{}, err
	}
	decided, err := w.decided(ctx)
	return Result{Outcome: InDoubt, Reason: message.ReasonSubmitInDoubt, Notify: told.Notify, Decided: decided}, err
}

// refused records that the vendor does not have the parts that were tried: the
// message is queued again, for another vendor or for later.
func (w *work) refused(ctx context.Context, outcome Outcome, no *message.SubmitError) (Result, error) {
	c := w.change(message.StatusQueued)
	c.VendorCode = no.VendorCode
	c.Events = w.refusals()
	if _, err := w.a.Journal.Advance(ctx, c); err != nil {
		return Result{}, err
	}
	return Result{Outcome: outcome, Reason: no.Reason, Detail: no.Detail, VendorCode: no.VendorCode,
		RetryAfter: no.RetryAfter(), Throttled: no.Reason == message.ReasonVendorThrottled}, nil
}

func (w *work) partial(ctx context.Context) (Result, error) {
	c := w.change("")
	c.VendorCode = w.refusal.VendorCode
	c.Events = w.refusals()
	if _, err := w.a.Journal.Advance(ctx, c); err != nil {
		return Result{}, err
	}
	return Result{Outcome: Partial, Reason: w.refusal.Reason, Detail: w.refusal.Detail, VendorCode: w.refusal.VendorCode}, nil
}

func (w *work) refusals() []message.Event {
	var events []message.Event
	for _, a := range w.answers {
		if a.State == message.PartRefused {
			events = append(events, message.Event{Type: message.EventSubmitRefused,
				Detail: map[string]any{"part": a.Part, "attempt": a.Attempt, "code": a.Reason}})
		}
	}
	return events
}
