package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// busyDelays are the pauses before a vendor that refused for now is asked
// again; after them the next vendor is, or with none left the last pause is
// repeated until the validity ends.
var busyDelays = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}

// triesBeforeNext is how often a vendor in trouble is asked again while another
// one is left: once, since a customer would rather have the message sent.
const triesBeforeNext = 1

// submit offers the message to the candidates in order until one has taken it
// or it is in doubt.
func (o *outbound) submit(ctx workflow.Context) (bool, error) {
	ctx, o.giveUp = workflow.WithCancel(ctx)
	last := submit.Result{Reason: message.ReasonVendorUnreachable, Detail: "no vendor could be reached within the validity"}
	for i := range o.candidates {
		r, err := o.offer(ctx, i)
		if o.canceled {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if r.Outcome == submit.Refused || r.Outcome == submit.Busy {
			last = r
			continue
		}
		return o.submitted(ctx, i, r)
	}
	return true, o.giveUpOn(ctx, last)
}

// submitted goes on from an answer that ends the search for a vendor.
func (o *outbound) submitted(ctx workflow.Context, i int, r submit.Result) (bool, error) {
	o.grace = o.candidates[i].Grace
	switch r.Outcome {
	case submit.Ended:
		return true, o.ended(ctx, r.Status, r.Reason, r.Notify)
	case submit.Partial:
		_, err := o.record(ctx, record.Input{To: message.StatusFailed, Reason: r.Reason, Detail: "the vendor took some parts and refused others", Code: r.VendorCode}, "record the failure")
		return true, err
	case submit.InDoubt:
		o.state.Status, o.reason = message.StatusInDoubt, r.Reason
	default:
		o.state.Status = message.StatusSent
	}
	o.decided = o.decided || r.Decided
	return false, o.notify(ctx, r.Notify)
}

// giveUpOn ends a message that no vendor took.
func (o *outbound) giveUpOn(ctx workflow.Context, last submit.Result) error {
	in := record.Input{To: message.StatusFailed, Reason: last.Reason, Detail: last.Detail, Code: last.VendorCode}
	if !workflow.Now(ctx).Before(o.in.ExpiresAt) {
		in.To = message.StatusExpired
		if in.Reason == "" || !in.Reason.Temporary() {
			in.Reason = message.ReasonExpired
		}
	}
	_, err := o.record(ctx, in, "record the failure")
	return err
}

// offer asks one vendor until it takes the message, refuses it for good, or is
// given up on.
func (o *outbound) offer(ctx workflow.Context, i int) (submit.Result, error) {
	c := o.candidates[i]
	alone := i == len(o.candidates)-1
	if err := workflow.UpsertTypedSearchAttributes(ctx, AttrVendor.ValueSet(c.Name)); err != nil {
		return submit.Result{}, err
	}
	o.state.Vendor = c.Name
	in := submit.Input{MessageID: o.in.MessageID, Vendor: message.VendorRef{ID: c.VendorID, Name: c.Name}}
	here := c.Here
	for tries := 0; ; {
		o.enter(ctx, "submit", "vendor "+c.Name, o.in.ExpiresAt)
		left := o.in.ExpiresAt.Sub(workflow.Now(ctx))
		if left <= 0 {
			return submit.Result{Outcome: submit.Busy, Reason: message.ReasonExpired, Detail: "no vendor took it within its validity"}, nil
		}
		r, err := o.try(ctx, in, c.Name, here, left, alone)
		here = false
		switch {
		case err != nil:
			return r, err
		case r.Outcome != submit.Busy:
			return r, nil
		case r.Reason == message.ReasonVendorUnreachable && r.RetryAfter == 0:
			return r, nil // nobody took it from the queue in time
		}
		pause := r.RetryAfter
		if !r.Throttled && r.Reason != message.ReasonVendorUnreachable {
			if !alone && tries >= triesBeforeNext {
				return r, nil
			}
			pause = max(pause, busyDelays[min(tries, len(busyDelays)-1)])
			tries++
		}
		if err := o.pause(ctx, max(pause, time.Second), c.Name); err != nil || o.canceled {
			return r, err
		}
	}
}

func (o *outbound) pause(ctx workflow.Context, d time.Duration, vendor string) error {
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: d,
		TimerOptions: workflow.TimerOptions{Summary: "pause before asking " + vendor + " again"}}, func() bool { return o.canceled })
	return err
}

// try makes one submit: inside this task when the route found room on a link of
// this process, else over the vendor's queue.
func (o *outbound) try(ctx workflow.Context, in submit.Input, vendor string, here bool, left time.Duration, alone bool) (submit.Result, error) {
	var r submit.Result
	if here {
		err := workflow.ExecuteLocalActivity(submitHereOptions(ctx, vendor), submitting.Submit, in).Get(ctx, &r)
		if err == nil && r.Outcome != submit.Busy {
			return r, nil
		}
		if temporal.IsCanceledError(err) {
			return r, err
		}
		// The link went away or the database did: the queue is the way out. If
		// anything was written to the wire, the journal knows.
	}
	err := workflow.ExecuteActivity(submitOptions(ctx, vendor, o.in.Class, o.in.AccountID, left, alone), submitting.Submit, in).Get(ctx, &r)
	var app *temporal.ApplicationError
	switch {
	case timedOutWaiting(err):
		return submit.Result{Outcome: submit.Busy, Reason: message.ReasonVendorUnreachable, Detail: "no live link to " + vendor}, nil
	case errors.As(err, &app) && app.NonRetryable():
		return submit.Result{Outcome: submit.Refused, Reason: message.Reason(app.Type()), Detail: "the message cannot be submitted as it is"}, nil
	}
	return r, err
}
