package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/prepare"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

const (
	// prepareTimeout bounds one run: ten files to fetch, half a minute each, and a video
	// to convert among them.
	prepareTimeout = 20 * time.Minute
	// prepareHeartbeat is how soon a run whose process died is noticed. A conversion
	// tells of itself every few seconds, a fetch ends after half a minute.
	prepareHeartbeat = time.Minute
	// fetchFor is how long an inbound message waits for its files at most: vendors keep
	// them for hours, some for less, and the owner waits.
	fetchFor = time.Hour
)

// prepareOptions are for making files ready. What fails is tried again while the message
// may wait for it.
func prepareOptions(ctx workflow.Context, class message.Class, account message.ID, wait time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              QueueMedia,
		ScheduleToCloseTimeout: wait,
		StartToCloseTimeout:    prepareTimeout,
		HeartbeatTimeout:       prepareHeartbeat,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 5 * time.Second, BackoffCoefficient: 2, MaximumInterval: 2 * time.Minute},
		Summary:                "make the files ready",
		Priority:               temporal.Priority{PriorityKey: class.Priority(), FairnessKey: account.String()},
	})
}

// prepare makes the files of an MMS ready for a vendor, each time that it is asked: a
// run that finds them ready is quick, and they may have to be others by now. It reports
// false, with the answer that the vendor is taken to have given, when it cannot have the
// message.
func (o *outbound) prepare(ctx workflow.Context, v *asked) (submit.Result, bool, error) {
	wait := o.in.ExpiresAt.Sub(workflow.Now(ctx))
	if o.in.Kind != message.MMS || wait <= 0 { // the offer says that it has expired
		return submit.Result{}, true, nil
	}
	o.enter(ctx, "prepare", "its files to be made ready for "+v.Name, o.in.ExpiresAt)
	v.profile = ""
	in := prepare.Input{MessageID: o.in.MessageID, Vendor: message.VendorRef{ID: v.VendorID, Name: v.Name}, Smaller: v.refusal != nil}
	var r prepare.Result
	err := workflow.ExecuteActivity(prepareOptions(ctx, o.in.Class, o.in.AccountID, wait), preparing.Prepare, in).Get(ctx, &r)
	switch {
	case temporal.IsCanceledError(err):
		return submit.Result{}, false, err
	case err != nil:
		workflow.GetLogger(ctx).Error("the files could not be made ready", "vendor", v.Name, "error", err)
		return submit.Result{Outcome: submit.Busy, Reason: message.ReasonMediaUnavailable, Detail: "the files could not be made ready in time"}, false, nil
	case r.Reason != "" && v.refusal != nil: // what it said of the files counts
		return *v.refusal, false, nil
	case r.Reason != "":
		return submit.Result{Outcome: submit.Refused, Reason: r.Reason, Detail: r.Detail}, false, nil
	}
	v.profile = r.Profile
	return submit.Result{}, true, nil
}

// shrinks reports whether a refusal is one of the files, after which the vendor is asked
// once more with smaller ones: limits of carriers are not all known, and those of vendors
// contradict each other. What is to go as it is has no profile, and does not.
func (o *outbound) shrinks(ctx workflow.Context, v *asked, r submit.Result) bool {
	return o.in.Kind == message.MMS && r.Reason == message.ReasonMediaRejected && v.profile != "" && v.refusal == nil &&
		workflow.GetVersion(ctx, versionSmaller, workflow.DefaultVersion, 1) > workflow.DefaultVersion
}
