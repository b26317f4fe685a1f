package workers

import (
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/batch"
	"github.com/postrider/postrider/activities/deliver"
	"github.com/postrider/postrider/activities/notify"
	"github.com/postrider/postrider/activities/prepare"
	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/redrive"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/workflows"
)

// Sizes of the workers.
const (
	// stopTimeout is how long a stopping worker lets tasks finish: above the
	// usual answer of a vendor, below a pod's grace period.
	stopTimeout = 15 * time.Second
	// messageSlots bounds the messages worked on at once in a process. Each may
	// hold a first webhook try of seconds, so it is well above what the CPU
	// could do.
	messageSlots = 512
	// notifySlots bounds webhook retries at once.
	notifySlots = 256
	// mediaSlots bounds the MMS whose files are made ready at once. Most of the time they
	// wait for the hosts of files; conversions have a bound of their own, by cores.
	mediaSlots = 16
	// mailSlots bounds e-mails at once, each a connection: relays count them.
	mailSlots = 16
	// mm4Slots bounds messages to customers' MMSCs at once. One that hangs takes a few, see
	// mm4out.Post.
	mm4Slots = 128
	// batchSlots bounds the batches whose rows are worked at once in a process. Each takes
	// turns of seconds, most of which it waits for its rate or for commits.
	batchSlots = 64
	// stickyMessages is how many workflows stay in memory between their tasks:
	// those whose receipt comes soon. The others are replayed from some twenty
	// events.
	stickyMessages = 10_000
	// deadlockDetection is the time a workflow may compute without yielding.
	// Machines that do everything at once need more than the usual second.
	deadlockDetection = 5 * time.Second
)

// Steps are the activities of a message's life.
type Steps struct {
	Admit *admit.Activities
	Route *route.Activities
	// Prepare makes files ready; nil where the role media is not.
	Prepare *prepare.Activities
	Submit  *submit.Activities
	Record  *record.Activities
	Notify  *notify.Activities
	// Deliver takes inbound messages to their owners.
	Deliver *deliver.Activities
	// Batch works the rows of batches.
	Batch *batch.Activities
	// Redrive works re-drives, on the queue of batches.
	Redrive *redrive.Activities
}

// MessagesOptions are those of the worker of workflows. The bench measures bare
// workflows under the same ones.
func MessagesOptions() worker.Options {
	return worker.Options{
		MaxConcurrentWorkflowTaskExecutionSize:  messageSlots,
		MaxConcurrentLocalActivityExecutionSize: 2 * messageSlots,
		WorkflowTaskPollerBehavior:              worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{InitialNumberOfPollers: 4, MinimumNumberOfPollers: 2, MaximumNumberOfPollers: 32}),
		LocalActivityWorkerOnly:                 true,
		WorkerStopTimeout:                       stopTimeout,
		DeadlockDetectionTimeout:                deadlockDetection,
	}
}

// Messages is the worker of workflows and their local activities.
func Messages(c client.Client, s Steps) worker.Worker {
	worker.SetStickyWorkflowCacheSize(stickyMessages)
	w := worker.New(c, workflows.QueueMessages, MessagesOptions())
	w.RegisterWorkflowWithOptions(workflows.Outbound, workflow.RegisterOptions{Name: workflows.OutboundType})
	w.RegisterWorkflowWithOptions(workflows.Inbound, workflow.RegisterOptions{Name: workflows.InboundType})
	w.RegisterWorkflowWithOptions(workflows.Batch, workflow.RegisterOptions{Name: workflows.BatchType})
	w.RegisterWorkflowWithOptions(workflows.Redrive, workflow.RegisterOptions{Name: workflows.RedriveType})
	w.RegisterActivity(s.Admit)
	w.RegisterActivity(s.Route)
	w.RegisterActivity(s.Submit)
	w.RegisterActivity(s.Record)
	w.RegisterActivity(s.Notify)
	w.RegisterActivity(s.Deliver)
	return w
}

// Batches is the worker of the rows of batches, and of re-drives. Its process should have a worker of
// messages too, whose workflows start at once.
func Batches(c client.Client, s Steps) worker.Worker {
	w := worker.New(c, workflows.QueueBatches, worker.Options{
		DisableWorkflowWorker:              true,
		MaxConcurrentActivityExecutionSize: batchSlots,
		WorkerStopTimeout:                  stopTimeout,
	})
	w.RegisterActivityWithOptions(s.Batch.WorkBatch, activity.RegisterOptions{Name: "WorkBatch"})
	w.RegisterActivityWithOptions(s.Batch.WithdrawBatch, activity.RegisterOptions{Name: "WithdrawBatch"})
	w.RegisterActivityWithOptions(s.Redrive.WorkRedrive, activity.RegisterOptions{Name: "WorkRedrive"})
	return w
}

// Notify is the worker of webhook retries.
func Notify(c client.Client, s Steps) worker.Worker {
	w := worker.New(c, workflows.QueueNotify, worker.Options{
		DisableWorkflowWorker:              true,
		MaxConcurrentActivityExecutionSize: notifySlots,
		ActivityTaskPollerBehavior:         worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{InitialNumberOfPollers: 2, MinimumNumberOfPollers: 1, MaximumNumberOfPollers: 16}),
		WorkerStopTimeout:                  stopTimeout,
	})
	w.RegisterActivityWithOptions(s.Notify.PostWebhook, activity.RegisterOptions{Name: "PostWebhook"})
	return w
}

// Media is the worker that makes the files of MMS ready.
func Media(c client.Client, s Steps) worker.Worker {
	w := worker.New(c, workflows.QueueMedia, worker.Options{
		DisableWorkflowWorker:              true,
		MaxConcurrentActivityExecutionSize: mediaSlots,
		WorkerStopTimeout:                  stopTimeout,
	})
	w.RegisterActivityWithOptions(s.Prepare.Prepare, activity.RegisterOptions{Name: "Prepare"})
	w.RegisterActivityWithOptions(s.Prepare.FetchInbound, activity.RegisterOptions{Name: "FetchInbound"})
	return w
}

// Mail is the worker of e-mails.
func Mail(c client.Client, s Steps) worker.Worker {
	w := worker.New(c, workflows.QueueMail, worker.Options{
		DisableWorkflowWorker:              true,
		MaxConcurrentActivityExecutionSize: mailSlots,
		WorkerStopTimeout:                  stopTimeout,
	})
	w.RegisterActivityWithOptions(s.Deliver.SendMail, activity.RegisterOptions{Name: "SendMail"})
	return w
}

// MM4 is the worker of messages to customers' MMSCs.
func MM4(c client.Client, s Steps) worker.Worker {
	w := worker.New(c, workflows.QueueMM4, worker.Options{
		DisableWorkflowWorker:              true,
		MaxConcurrentActivityExecutionSize: mm4Slots,
		WorkerStopTimeout:                  stopTimeout,
	})
	w.RegisterActivityWithOptions(s.Deliver.SendMM4, activity.RegisterOptions{Name: "SendMM4"})
	return w
}
