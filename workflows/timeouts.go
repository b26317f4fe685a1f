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
	// tellTimeout is the same for a step that also tells the customer: 5 s at most for
	// the tries.
	tellTimeout = 2 * recordTimeout
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
	// WebhookHeartbeat is how soon a try whose process died is noticed.
	WebhookHeartbeat = 15 * time.Second
	// submitTimeout bounds one submit: the vendor's response timeout (30 s by
	// default, 600 at most would outlive it and end in doubt) and the record. A candidate
	// may say that its vendor takes longer.
	submitTimeout = 2 * time.Minute
	// submitHeartbeat is how soon a submit whose process died is noticed.
	submitHeartbeat = 15 * time.Second
	// noBindTimeout is how long a part waits on a vendor's queue before the next
	// vendor is asked or, when there is none, the vendors are listed anew.
	noBindTimeout = 30 * time.Second
	// maxNoBind bounds that wait, which doubles each time nobody took the part.
	maxNoBind = 10 * time.Minute
	// listEvery and maxListEvery are how often the vendors are listed anew after all
	// were asked in vain: the pause doubles from the one to the other.
	listEvery    = 30 * time.Second
	maxListEvery = 10 * time.Minute
	// listAfterGone is the same after a vendor has said that it goes: that says that
	// the configuration has changed.
	listAfterGone = 5 * time.Second
	// webhookFor is how long a webhook is retried.
	webhookFor = 73 * time.Hour
	// MaxLostTry is how long at most the next try of a webhook or an e-mail waits after
	// one that said nothing of itself: its process died, or Temporal did not hear it. The
	// pauses of the schedule come from the activity, and this does not bound them. The
	// server counts every run, also those for which a host was busy, so that without a
	// bound the next one could be 20 hours away.
	MaxLostTry = time.Minute
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

// tellOptions are for such steps that also tell the customer.
func tellOptions(ctx workflow.Context, summary string) workflow.Context {
	options := workflow.GetLocalActivityOptions(recordOptions(ctx, summary))
	options.StartToCloseTimeout = tellTimeout
	return workflow.WithLocalActivityOptions(ctx, options)
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
// while the link is down, for as long as wait says, and lets one submit take so long.
func submitOptions(ctx workflow.Context, vendor string, class message.Class, account message.ID, wait, long time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              VendorQueue(vendor),
		ScheduleToStartTimeout: wait,
		StartToCloseTimeout:    max(submitTimeout, long),
		HeartbeatTimeout:       submitHeartbeat,
		// What is taken back may be under way already, and then its answer counts.
		WaitForCancellation: true,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute},
		Summary:             "submit to " + vendor,
		Priority:            temporal.Priority{PriorityKey: class.Priority(), FairnessKey: account.String()},
	})
}

// queueWait is how long a part waits on a vendor's queue when nobody has taken it so
// many times before. alone: there is no other vendor to be asked meanwhile. Bulk
// then waits the longest time at once: a campaign makes a backlog that a live vendor
// works off, and each part that comes back goes to its end.
func queueWait(class message.Class, waits int, alone bool) time.Duration {
	if alone && class == message.ClassBulk {
		return maxNoBind
	}
	return min(noBindTimeout<<min(waits, 10), maxNoBind)
}

// throttleBudget is how long all pauses for a vendor that throttles may be before
// the next vendor's turn comes: who waits for a password does not wait for it.
func throttleBudget(class message.Class) time.Duration {
	switch class {
	case message.ClassOTP:
		return 5 * time.Second
	case message.ClassBulk:
		return 2 * time.Minute
	}
	return 30 * time.Second
}

// firstTryOptions are for the first webhook try.
func firstTryOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: firstTryTimeout,
		RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 1},
		Summary:             "tell the customer",
	})
}

// scheduledOptions are for what is tried until the customer has it: the pauses between
// tries come from the activity. lost is the first one after a try that said nothing of
// itself.
func scheduledOptions(ctx workflow.Context, account message.ID, lost time.Duration, o workflow.ActivityOptions) workflow.Context {
	o.RetryPolicy = &temporal.RetryPolicy{InitialInterval: lost, BackoffCoefficient: 2, MaximumInterval: MaxLostTry}
	o.Priority = temporal.Priority{FairnessKey: account.String()}
	return workflow.WithActivityOptions(ctx, o)
}

// retryOptions are for the later tries.
func retryOptions(ctx workflow.Context, account message.ID) workflow.Context {
	return scheduledOptions(ctx, account, 5*time.Second, workflow.ActivityOptions{
		TaskQueue:              QueueNotify,
		ScheduleToCloseTimeout: webhookFor,
		StartToCloseTimeout:    tryTimeout,
		HeartbeatTimeout:       WebhookHeartbeat,
		Summary:                "tell the customer again",
	})
}

const (
	// mm4Timeout bounds one try to hand a message to a customer's MMSC: 12 min of dialogue
	// and the record.
	mm4Timeout = 14 * time.Minute
	// mm4Heartbeat is how soon a try whose process died is noticed.
	mm4Heartbeat = 15 * time.Second
	// mm4For is beyond the longest that a peer's row has messages tried for, which the
	// activity knows.
	mm4For = 31 * 24 * time.Hour
)

// mm4Options are for a message to a customer's MMSC.
func mm4Options(ctx workflow.Context, account message.ID) workflow.Context {
	return scheduledOptions(ctx, account, 5*time.Second, workflow.ActivityOptions{
		TaskQueue:              QueueMM4,
		ScheduleToCloseTimeout: mm4For,
		StartToCloseTimeout:    mm4Timeout,
		HeartbeatTimeout:       mm4Heartbeat,
		Summary:                "send it over MM4",
	})
}

// mailTimeout bounds one try to hand an e-mail over: 150 s at the relay, for one with
// files, once more without them if one is lost, and the record. mailHeartbeat is how soon a
// process that died is noticed.
const (
	mailTimeout   = 4 * time.Minute
	mailHeartbeat = time.Minute
)

// mailOptions are for an e-mail.
func mailOptions(ctx workflow.Context, account message.ID) workflow.Context {
	return scheduledOptions(ctx, account, 30*time.Second, workflow.ActivityOptions{
		TaskQueue:              QueueMail,
		ScheduleToCloseTimeout: webhookFor,
		StartToCloseTimeout:    mailTimeout,
		HeartbeatTimeout:       mailHeartbeat,
		Summary:                "send it by e-mail",
	})
}
