package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// busyDelays are the pauses before a vendor in trouble is asked again; the last
// one is repeated until the validity ends.
var busyDelays = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}

const (
	// triesBeforeNext is how often a vendor in trouble is asked again while another
	// one is left: once, since a customer would rather have the message sent.
	triesBeforeNext = 1
	// pausesBeforeNext is the same for a vendor that throttles: with pauses of 1,
	// 2, 4, 8 and 16 s the next vendor's turn comes after half a minute.
	pausesBeforeNext = 5
	// maxPause bounds the pauses after throttling and lost links. 72 h of them are
	// some 10,000 events, a fifth of what a history may hold.
	maxPause = 5 * time.Minute
)

// asked is a candidate with what came of asking it.
type asked struct {
	route.Candidate
	refused bool      // for good
	tries   int       // answers that tell of trouble
	pauses  int       // answers that ask for a slower pace, or lost links
	waits   int       // offers in a row that nobody took from the queue
	next    time.Time // not to be asked before; zero: at once
}

// submit offers the message to the candidates in turn until one has taken it or
// it is in doubt. Who refuses for good is not asked again; who cannot take it
// now gets another turn while the validity lasts.
func (o *outbound) submit(ctx workflow.Context) (bool, error) {
	offers, giveUp := workflow.WithCancel(ctx)
	o.giveUp, o.hold = giveUp, nil
	vendors := make([]asked, len(o.candidates))
	for i, c := range o.candidates {
		vendors[i].Candidate = c
	}
	last := submit.Result{Reason: message.ReasonVendorUnreachable, Detail: "no vendor could be reached within the validity"}
	for at := 0; at >= 0; {
		v := &vendors[at]
		if err := o.pause(offers, v); err != nil || o.canceled {
			return true, o.unlessCanceled(err)
		}
		if !workflow.Now(ctx).Before(o.in.ExpiresAt) {
			break
		}
		r, err := o.offer(offers, v, at == 0, left(vendors) == 1)
		if err != nil || o.canceled {
			return true, o.unlessCanceled(err)
		}
		o.takeSlot(r)
		if o.capped(r) {
			return false, nil
		}
		stay := false
		switch r.Outcome {
		case submit.Refused:
			v.refused, last = true, r
			if r.Reason == message.ReasonOptedOut { // what one vendor knows holds for all
				refuseAll(vendors)
			}
		case submit.Busy:
			last, stay = r, v.busy(r, workflow.Now(ctx))
		case submit.Revised:
			o.revised = true
			return false, nil
		case submit.Held:
			o.hold = r.Hold
			return false, nil
		default:
			return o.submitted(ctx, v.Candidate, r)
		}
		if !stay {
			at = turn(vendors, at, workflow.Now(ctx))
		}
	}
	err := o.giveUpOn(ctx, last)
	return !o.revised, err
}

// takeSlot notes the moment that the message has after a submit that did not take
// it out, and whether some of it left all the same.
func (o *outbound) takeSlot(r submit.Result) {
	if r.Slot != nil {
		o.slot = r.Slot
	}
	o.departed = o.departed || r.Left
}

// capped reports whether the vendor has refused for the day's cap: that is a cap
// over all vendors, and the message waits for the next day if it can.
func (o *outbound) capped(r submit.Result) bool {
	if r.Reason != message.ReasonDailyCapReached || r.Outcome != submit.Refused && r.Outcome != submit.Busy || r.Decided {
		return false
	}
	o.capReached = true
	o.hold = &message.Hold{Rule: "daily_cap", Detail: "the vendor says that the day's cap is reached"}
	o.reconsider = true // the pacer is asked at once
	return true
}

// unlessCanceled drops the error of a step that the withdrawal has cut off.
func (o *outbound) unlessCanceled(err error) error {
	if o.canceled {
		return nil
	}
	return err
}

// busy notes when the vendor may be asked again, and reports whether the
// message rather stays with it than goes on to the next.
func (v *asked) busy(r submit.Result, now time.Time) (stay bool) {
	var pause time.Duration
	switch {
	case r.Decided:
		stay = true // the next run of the submit says so
	case r.Throttled:
		pause = max(r.RetryAfter, doubling(v.pauses))
		v.pauses++
		stay = v.pauses <= pausesBeforeNext
	case v.waits > 0: // it has waited enough
	case r.Reason == message.ReasonVendorUnreachable:
		pause = max(r.RetryAfter, doubling(v.pauses))
		v.pauses++
	default:
		pause = max(r.RetryAfter, busyDelays[min(v.tries, len(busyDelays)-1)])
		v.tries++
		stay = v.tries <= triesBeforeNext
	}
	v.next = now.Add(pause)
	return stay
}

// doubling is 1, 2, 4 … seconds, up to maxPause.
func doubling(n int) time.Duration {
	return min(time.Second<<min(n, 20), maxPause)
}

func refuseAll(vendors []asked) {
	for i := range vendors {
		vendors[i].refused = true
	}
}

// left counts the candidates that have not refused.
func left(vendors []asked) (n int) {
	for _, v := range vendors {
		if !v.refused {
			n++
		}
	}
	return n
}

// turn picks who is asked after at: the next that may be asked now, or else who
// may be asked soonest; -1 when all have refused.
func turn(vendors []asked, at int, now time.Time) int {
	best := -1
	for i := range vendors {
		k := (at + 1 + i) % len(vendors)
		v := &vendors[k]
		if v.refused {
			continue
		}
		if !v.next.After(now) {
			return k
		}
		if best < 0 || v.next.Before(vendors[best].next) {
			best = k
		}
	}
	return best
}

// pause waits until the vendor may be asked again, or the validity ends. It ends
// early when the message is withdrawn, and when receipts decide it although
// parts are still waiting: the next run of the submit says so.
func (o *outbound) pause(ctx workflow.Context, v *asked) error {
	until := v.next
	if until.After(o.in.ExpiresAt) {
		until = o.in.ExpiresAt
	}
	d := until.Sub(workflow.Now(ctx))
	if d <= 0 {
		return nil
	}
	o.enter(ctx, "submit", "the next turn of vendor "+v.Name, until)
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: d,
		TimerOptions: workflow.TimerOptions{Summary: "pause before asking " + v.Name + " again"}}, func() bool { return o.canceled || o.decided })
	return err
}

// offer asks one vendor once: inside this task when the route has just found
// room on a link of this process, else over the vendor's queue.
func (o *outbound) offer(ctx workflow.Context, v *asked, first, alone bool) (submit.Result, error) {
	o.state.Vendor = v.Name
	if o.indexed != v.Name {
		if err := workflow.UpsertTypedSearchAttributes(ctx, AttrVendor.ValueSet(v.Name)); err != nil {
			return submit.Result{}, err
		}
		o.indexed = v.Name
	}
	o.enter(ctx, "submit", "vendor "+v.Name, o.in.ExpiresAt)
	// What has been decided so far the submit reads from the record.
	o.decided = false
	in := submit.Input{MessageID: o.in.MessageID, Vendor: message.VendorRef{ID: v.VendorID, Name: v.Name}, Revision: o.revision, Slot: o.slot, Held: o.held}
	if v.Here && first {
		r, done, err := o.offerHere(ctx, v, in)
		if done || err != nil {
			return r, err
		}
		o.takeSlot(r)
		in.Slot, in.Held = o.slot, o.held
	}
	wait := o.in.ExpiresAt.Sub(workflow.Now(ctx))
	if wait <= 0 {
		return submit.Result{Outcome: submit.Busy, Reason: message.ReasonExpired, Detail: "no vendor took it within its validity"}, nil
	}
	if !alone {
		wait = min(wait, noBindTimeout<<min(v.waits, 10), maxNoBind)
	}
	return o.submitThere(ctx, in, v, wait)
}

// offerHere submits inside this task, and reports false when the vendor's queue
// is the way out. When nothing was begun, the queueing is noted: who looks while
// the message waits finds it queued.
func (o *outbound) offerHere(ctx workflow.Context, v *asked, in submit.Input) (submit.Result, bool, error) {
	v.Here = false
	if o.unrecorded {
		in.Queued = &submit.Queued{Trail: o.trail, Candidates: len(o.candidates), Why: o.why}
	}
	r, done, err := o.submitHere(ctx, in)
	if err != nil {
		return r, false, err
	}
	o.here = done && r.Outcome == submit.Sent
	late := r.Outcome == submit.Busy && r.Reason == message.ReasonExpired
	if o.unrecorded && (!done || late) {
		var noted route.Result
		if noted, err = o.choose(ctx, route.Input{Trail: o.trail, Record: true}, "note the route"); noted.Revised {
			return submit.Result{Outcome: submit.Revised}, true, err
		}
	}
	return r, done, err
}

// submitHere submits inside this task. It reports false when the vendor's queue
// is the way out: the link has gone, or the journal could not be read. If
// anything was written to the wire, the journal knows.
func (o *outbound) submitHere(ctx workflow.Context, in submit.Input) (submit.Result, bool, error) {
	in.Here = true
	var r submit.Result
	err := workflow.ExecuteLocalActivity(submitHereOptions(ctx, in.Vendor.Name), submitting.Submit, in).Get(ctx, &r)
	switch {
	case temporal.IsCanceledError(err):
		return r, true, err
	case err != nil:
		o.held = true // it may have noted that the message waits
		return submit.Result{Left: true}, false, nil
	}
	return r, r.Outcome != submit.Busy || r.Reason != message.ReasonVendorUnreachable, nil
}

// submitThere submits over the vendor's queue. A failure that is none of the
// vendor's counts as trouble, so that it ends with the validity at the latest.
func (o *outbound) submitThere(ctx workflow.Context, in submit.Input, v *asked, wait time.Duration) (submit.Result, error) {
	var r submit.Result
	err := workflow.ExecuteActivity(submitOptions(ctx, v.Name, o.in.Class, o.in.AccountID, wait), submitting.Submit, in).Get(ctx, &r)
	if timedOutWaiting(err) {
		v.waits++
	} else {
		v.waits = 0
	}
	var app *temporal.ApplicationError
	switch {
	case err == nil, temporal.IsCanceledError(err):
		return r, err
	case timedOutWaiting(err):
		return submit.Result{Outcome: submit.Busy, Reason: message.ReasonVendorUnreachable, Detail: "no live link to " + v.Name}, nil
	case errors.As(err, &app) && app.NonRetryable():
		reason := message.Reason(app.Type())
		if !reason.Known() {
			reason = message.ReasonInternal
		}
		return submit.Result{Outcome: submit.Refused, Reason: reason, Detail: "the message cannot be submitted as it is"}, nil
	}
	workflow.GetLogger(ctx).Error("the submit failed", "vendor", v.Name, "error", err)
	o.held = true // for all that is known
	return submit.Result{Outcome: submit.Busy, Reason: message.ReasonInternal, Detail: "the submit failed", Left: true}, nil
}

// submitted goes on from an answer that ends the search for a vendor.
func (o *outbound) submitted(ctx workflow.Context, c route.Candidate, r submit.Result) (bool, error) {
	o.grace, o.departed = c.Grace, o.departed || r.Outcome != submit.Ended
	switch r.Outcome {
	case submit.Ended:
		return true, o.ended(ctx, r.Status, r.Reason, r.Notify)
	case submit.Partial:
		_, err := o.record(ctx, record.Input{To: message.StatusFailed, Reason: r.Reason, Detail: "the vendor took some parts and refused others", Code: r.VendorCode}, "record the failure")
		return true, err
	case submit.InDoubt:
		o.shows(message.StatusInDoubt, r.Reason)
	case submit.Sent:
		o.shows(message.StatusSent, "")
	}
	o.decided = o.decided || r.Decided
	return false, o.notify(ctx, r.Notify)
}

// giveUpOn ends a message that no vendor took.
func (o *outbound) giveUpOn(ctx workflow.Context, last submit.Result) error {
	in := record.Input{To: message.StatusFailed, Reason: last.Reason, Detail: last.Detail, Code: last.VendorCode}
	if last.Reason == message.ReasonExpired || !workflow.Now(ctx).Before(o.in.ExpiresAt) {
		in.To = message.StatusExpired
		if !in.Reason.Temporary() {
			in.Reason = message.ReasonExpired
		}
	}
	// A message whose queueing was left to the submit may not be queued yet.
	in.Revision = &o.revision
	r, err := o.record(ctx, in, "record the failure")
	o.revised = r.Revised
	return err
}
