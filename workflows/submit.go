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
	// pausesBeforeNext is the same for a vendor that throttles, for messages that
	// began before versionFailover: with pauses of 1, 2, 4, 8 and 16 s.
	pausesBeforeNext = 5
	// maxPause bounds the pauses after throttling and lost links. 72 h of them are
	// some 10,000 events for each vendor, a fifth of what a history may hold.
	maxPause = 5 * time.Minute
	// manyOffers is how many offers may be made in vain before there is at least
	// offerEvery between two of them, whichever vendors they are made to: in 72 h some
	// 1,500 then.
	manyOffers = 100
	offerEvery = 3 * time.Minute
)

// submit offers the message to the candidates in turn until one has taken it or
// it is in doubt. Who refuses for good is not asked again; who cannot take it
// now gets another turn while the validity lasts. When all were asked in vain the
// candidates are listed anew now and then, for the configuration may have changed.
func (o *outbound) submit(ctx workflow.Context) (bool, error) {
	offers, giveUp := workflow.WithCancel(ctx)
	o.giveUp, o.hold = giveUp, nil
	s := newSearch(o.candidates, workflow.Now(ctx))
	for {
		if ended, err := o.look(offers, s); ended || err != nil || o.canceled || o.revised {
			return ended || o.canceled, o.unlessCanceled(err)
		}
		v := s.current()
		if v == nil && !s.hopeful() {
			break
		}
		asks, err := o.pause(offers, s, v)
		if err != nil || o.canceled {
			return true, o.unlessCanceled(err)
		}
		if !workflow.Now(ctx).Before(o.in.ExpiresAt) {
			break
		}
		if !asks {
			continue
		}
		r, ready, err := o.prepare(offers, v)
		if ready && err == nil {
			r, err = o.offer(offers, v, s.at == 0, s.left() == 1)
		}
		if err != nil || o.canceled {
			return true, o.unlessCanceled(err)
		}
		o.takeSlot(r)
		if o.capped(r) {
			return false, nil
		}
		switch r.Outcome {
		case takenBack: // and listed anew
		case submit.Refused, submit.Busy:
			o.inVain(ctx, s, v, r)
		case submit.Revised:
			o.revised = true
			return false, nil
		case submit.Held:
			o.hold = r.Hold
			return false, nil
		default:
			return o.submitted(ctx, v.Candidate, r)
		}
	}
	if ended, fell, err := o.fallBack(ctx, s.last); fell || err != nil || o.canceled {
		return ended || o.canceled, o.unlessCanceled(err)
	}
	err := o.giveUpOn(ctx, s.last)
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

// offer asks one vendor once: inside this task when the route has just found
// room on a link of this process, else over the vendor's queue.
func (o *outbound) offer(ctx workflow.Context, v *asked, first, alone bool) (submit.Result, error) {
	if err := o.turnTo(ctx, v.Name); err != nil {
		return submit.Result{}, err
	}
	// What has been decided so far the submit reads from the record.
	o.decided = false
	in := submit.Input{MessageID: o.in.MessageID, Vendor: message.VendorRef{ID: v.VendorID, Name: v.Name}, Revision: o.revision, Slot: o.slot, Held: o.held, Profile: v.profile}
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
	return o.submitThere(ctx, in, v, min(wait, queueWait(o.in.Class, v.waits, alone)))
}

// turnTo notes which vendor is asked, for the query, the search index and the UI.
func (o *outbound) turnTo(ctx workflow.Context, vendor string) error {
	o.state.Vendor = vendor
	if o.indexed != vendor {
		if err := workflow.UpsertTypedSearchAttributes(ctx, AttrVendor.ValueSet(vendor)); err != nil {
			return err
		}
		o.indexed = vendor
	}
	o.enter(ctx, "submit", "vendor "+vendor, o.in.ExpiresAt)
	return nil
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
	o.here = done && r.Outcome == submit.Sent && r.Recorded == nil
	late := r.Outcome == submit.Busy && (r.Reason == message.ReasonExpired || r.Gone)
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
	in.Here, in.Through = true, true
	var r submit.Result
	err := workflow.ExecuteLocalActivity(submitHereOptions(ctx, in.Vendor.Name), submitting.Submit, in).Get(ctx, &r)
	switch {
	case temporal.IsCanceledError(err):
		return r, true, err
	case err != nil:
		o.held = true // it may have noted that the message waits
		return submit.Result{Left: true}, false, nil
	}
	return r, r.Gone || r.Outcome != submit.Busy || r.Reason != message.ReasonVendorUnreachable, nil
}

// submitThere submits over the vendor's queue. A failure that is none of the
// vendor's counts as trouble, so that it ends with the validity at the latest.
func (o *outbound) submitThere(ctx workflow.Context, in submit.Input, v *asked, wait time.Duration) (submit.Result, error) {
	r, err := o.submitUnless(ctx, in, wait, v.SubmitTime, func() bool { return in.Resend && o.decided || !in.Resend && o.rerouted })
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
	o.grace, o.departed = max(o.grace, c.Grace), o.departed || r.Outcome != submit.Ended
	switch r.Outcome {
	case submit.Ended:
		return true, o.ended(ctx, r.Status, r.Reason, r.Notify)
	case submit.Partial:
		_, err := o.record(ctx, record.Input{To: message.StatusFailed, Reason: r.Reason, Detail: "the vendor took some parts and refused others", Code: r.VendorCode}, "record the failure")
		return true, err
	case submit.InDoubt:
		o.shows(message.StatusInDoubt, r.Reason)
		o.resend.gave(c.VendorID, workflow.Now(ctx))
	case submit.Sent:
		o.shows(message.StatusSent, "")
		o.resend.gave(c.VendorID, workflow.Now(ctx))
	}
	err := o.notify(ctx, r.Notify, r.Tried)
	if r.Recorded == nil || err != nil {
		o.decided = o.decided || r.Decided
		return false, err
	}
	o.heed(*r.Recorded)
	return r.Recorded.Status.Final(), o.notify(ctx, r.Recorded.Notify, r.Recorded.Tried)
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
