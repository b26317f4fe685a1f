package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/internal/message"
)

// depart sees the message off: when it may leave it is submitted, and when the
// submit finds that it must wait once more, it waits.
func (o *outbound) depart(ctx workflow.Context) (bool, error) {
	for {
		if ended, err := o.wait(ctx); ended || err != nil || o.canceled || o.revised {
			return ended, err
		}
		ended, err := o.submit(ctx)
		if ended || err != nil || o.canceled || o.revised || o.hold == nil {
			return ended, err
		}
	}
}

// wait lets an admitted message wait for what its admission has named, and has it
// admitted anew when that is over: what was true when it began to wait may not be
// true any more, and it may have to wait for something else.
func (o *outbound) wait(ctx workflow.Context) (bool, error) {
	if o.hold == nil {
		return false, nil
	}
	for least := time.Duration(0); o.hold != nil; least = lookAgain {
		if err := o.sitOut(ctx, *o.hold, least); err != nil || o.canceled {
			return true, o.unlessCanceled(err)
		}
		r, err := o.decide(ctx, admit.Input{Held: o.hold}, "look again")
		if err != nil || o.canceled {
			return true, o.unlessCanceled(err)
		}
		if !r.Allowed {
			return true, o.ended(ctx, r.Status, r.Reason, r.Notify)
		}
		o.hold = r.Hold
	}
	o.held = true
	// Routes and links are not what they were either.
	o.rerouted = false
	r, err := o.choose(ctx, route.Input{Trail: o.trail, Waited: true}, "choose the route again")
	if err != nil {
		return false, err
	}
	if len(r.Candidates) == 0 {
		return true, o.ended(ctx, r.Status, r.Reason, r.Notify)
	}
	o.candidates, o.unrecorded, o.resend.after = r.Candidates, false, r.ResendAfter
	return false, nil
}

// lookAgain is the least time between two looks at a message that waits: the clock of
// the process that looks may be behind the one by which the workflow has waited.
const lookAgain = 250 * time.Millisecond

// sitOut waits until the hold is over, the validity ends, or somebody says that it
// is time to look again; when there is nothing left to wait for, for the least time.
func (o *outbound) sitOut(ctx workflow.Context, h message.Hold, least time.Duration) error {
	until := o.in.ExpiresAt
	if !h.Until.IsZero() && h.Until.Before(until) {
		until = h.Until
	}
	o.enter(ctx, "held", fmt.Sprintf("%s (%s)", h.Rule, h.Detail), until)
	if d := max(until.Sub(workflow.Now(ctx)), least); d > 0 {
		_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: d,
			TimerOptions: workflow.TimerOptions{Summary: h.Rule + ": wait until " + until.UTC().Format(time.RFC3339)}},
			func() bool { return o.canceled || o.reconsider })
		if err != nil {
			return err
		}
	}
	o.reconsider = false
	return nil
}

// decide asks the policy.
func (o *outbound) decide(ctx workflow.Context, in admit.Input, summary string) (admit.Result, error) {
	in.MessageID, in.Times, in.Slot = o.in.MessageID, o.times(), o.slot
	in.Fresh, in.CapReached, in.Departed = o.again, o.capReached, o.departed
	var r admit.Result
	if err := workflow.ExecuteLocalActivity(recordOptions(ctx, summary), admitting.Admit, in).Get(ctx, &r); err != nil {
		return r, err
	}
	if r.Times != nil {
		o.goBy(*r.Times)
	}
	o.slot, o.capReached = r.Slot, false
	if r.Allowed {
		o.trail = r.Trail
	}
	return r, nil
}

// release gives back the moment of a message that has not left in it. Should that
// fail, fewer messages go out than might have: it is not worth waiting for.
func (o *outbound) release(ctx workflow.Context) {
	if o.slot == nil || o.departed {
		return
	}
	if err := workflow.ExecuteLocalActivity(briefOptions(ctx, "give back its moment"), admitting.Release, *o.slot).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Info("the moment of a message that did not leave is lost", "error", err)
	}
	o.slot = nil
}
