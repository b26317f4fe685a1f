package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/internal/message"
)

// The step times. A local activity runs inside the workflow task (10 s before
// it must heartbeat), so what is local is quick or has a way out.
const (
	// recordTimeout bounds one try at a step that only talks to Postgres.
	recordTimeout = 5 * time.Second
	// recordFor is how long such a step is tried: for ever, as far as a message is
	// concerned. It has to be said, for a local activity that names no end for
	// its tries gets the time of one.
	recordFor = 365 * 24 * time.Hour
	// firstTryTimeout bounds the first webhook try, which holds the workflow
	// task open.
	firstTryTimeout = 4 * time.Second
	// tryTimeout bounds a later try: the 15 s of the contract and a second's wait
	// for the host, for the URL and then its failover, and the record.
	tryTimeout = 45 * time.Second
	// submitTimeout bounds one submit: the vendor's response timeout (30 s by
	// default, 600 at most would outlive it and end in doubt) and the record.
	submitTimeout = 2 * time.Minute
	// submitHeartbeat is how soon a submit whose process died is noticed.
	submitHeartbeat = 15 * time.Second
	// noBindTimeout is how long a part waits on a vendor's queue before the
	// next vendor is asked, when there is one.
	noBindTimeout = 30 * time.Second
	// maxNoBind bounds that wait, which doubles each time nobody took the part.
	maxNoBind = 10 * time.Minute
	// webhookFor is how long a webhook is retried.
	webhookFor = 73 * time.Hour
)

// recordOptions are for steps that write the record: tried again for ever,
// since a message whose record cannot be written must wait, not fail. Past the
// first tries the waiting is a server timer.
func recordOptions(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		ScheduleToCloseTimeout: recordFor,
		StartToCloseTimeout:    recordTimeout,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
		Summary:                summary,
	})
}

// briefOptions are for a step that is worth a few tries and no waiting.
func briefOptions(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: recordTimeout,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 2, MaximumAttempts: 5},
		Summary:             summary,
	})
}

// submitHereOptions are for a submit over a link of this process: one try, the
// vendor's queue is the way out.
func submitHereOptions(ctx workflow.Context, vendor string) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: submitTimeout,
		RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 1},
		Summary:             "submit to " + vendor,
	})
}

// submitOptions are for a submit over the vendor's queue, which holds the part
// while the link is down, for as long as wait says.
func submitOptions(ctx workflow.Context, vendor string, class message.Class, account message.ID, wait time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              VendorQueue(vendor),
		ScheduleToStartTimeout: wait,
		StartToCloseTimeout:    submitTimeout,
		HeartbeatTimeout:       submitHeartbeat,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute},
		Summary:                "submit to " + vendor,
		Priority:               temporal.Priority{PriorityKey: class.Priority(), FairnessKey: account.String()},
	})
}

// firstTryOptions are for the first webhook try.
func firstTryOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: firstTryTimeout,
		RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 1},
		Summary:             "tell the customer",
	})
}

// retryOptions are for the later tries: the schedule comes from the activity.
func retryOptions(ctx workflow.Context, account message.ID) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              QueueNotify,
		ScheduleToCloseTimeout: webhookFor,
		StartToCloseTimeout:    tryTimeout,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 5 * time.Second, BackoffCoefficient: 2, MaximumInterval: 20 * time.Hour},
		Summary:                "tell the customer again",
		Priority:               temporal.Priority{FairnessKey: account.String()},
	})
}
