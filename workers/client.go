// Package workers joins the gateway to Temporal: the client with its payload
// codec, one worker a queue with its options and registrations, and the calls
// that start and tell workflows.
//
// The rule not to break: one client.Client for the whole process. A second one
// never starts workflows eagerly, and says nothing about it.
package workers

import (
	"context"
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities/notify"
	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

// Starter starts and tells workflows; it is what ingress calls. Safe for
// concurrent use.
type Starter struct {
	Client client.Client
	// DeliveryAccount tells whose a webhook delivery is, so that accounts share the queue
	// of webhooks evenly; nil: deliveries that no workflow waits for are all one's.
	DeliveryAccount func(ctx context.Context, delivery message.ID) (message.ID, error)
}

var _ ingress.Temporal = Starter{}

// Start starts a message's workflow, eagerly when this process has a free
// slot. One that was started before counts as done.
func (s Starter) Start(ctx context.Context, id message.ID, in workflows.OutboundInput, about ingress.About) (bool, error) {
	attributes := []temporal.SearchAttributeUpdate{workflows.AttrAccount.ValueSet(about.AccountID.String())}
	if about.Campaign != "" {
		attributes = append(attributes, workflows.AttrCampaign.ValueSet(about.Campaign))
	}
	if about.Vendor != "" {
		attributes = append(attributes, workflows.AttrVendor.ValueSet(about.Vendor))
	}
	_, err := s.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       workflows.OutboundID(id),
		TaskQueue:                                workflows.QueueMessages,
		EnableEagerStart:                         true,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		TypedSearchAttributes:                    temporal.NewSearchAttributes(attributes...),
		StaticSummary:                            about.Summary,
		StaticDetails:                            about.Details,
		Priority:                                 temporal.Priority{PriorityKey: about.Priority, FairnessKey: about.AccountID.String()},
	}, workflows.OutboundType, in)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return true, nil
	}
	return false, err
}

// StartInbound starts the workflow of an inbound message. One that was started before
// counts as done.
func (s Starter) StartInbound(ctx context.Context, in workflows.InboundInput) error {
	_, err := s.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       workflows.InboundID(in.MessageID),
		TaskQueue:                                workflows.QueueMessages,
		EnableEagerStart:                         true,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		TypedSearchAttributes:                    temporal.NewSearchAttributes(workflows.AttrAccount.ValueSet(in.AccountID.String())),
		StaticSummary:                            "inbound message",
		Priority:                                 temporal.Priority{PriorityKey: message.ClassConversation.Priority(), FairnessKey: in.AccountID.String()},
	}, workflows.InboundType, in)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return nil
	}
	return err
}

// TellBatch tells the workflow of a batch that the batch was changed, and starts it if it
// is not running, also when one has run and ended: whether anything is left to be done the
// record knows, and a run that finds nothing ends at its first look.
func (s Starter) TellBatch(ctx context.Context, in workflows.BatchInput, about ingress.About) error {
	_, err := s.Client.SignalWithStartWorkflow(ctx, workflows.BatchID(in.BatchID), workflows.SignalBatch, nil, client.StartWorkflowOptions{
		TaskQueue:             workflows.QueueMessages,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		TypedSearchAttributes: temporal.NewSearchAttributes(workflows.AttrAccount.ValueSet(about.AccountID.String())),
		StaticSummary:         about.Summary,
		StaticDetails:         about.Details,
		Priority:              temporal.Priority{PriorityKey: about.Priority, FairnessKey: about.AccountID.String()},
	}, workflows.BatchType, in)
	return err
}

// TellRedrive is TellBatch for a re-drive.
func (s Starter) TellRedrive(ctx context.Context, in workflows.RedriveInput, about ingress.About) error {
	_, err := s.Client.SignalWithStartWorkflow(ctx, workflows.RedriveID(in.RedriveID), workflows.SignalRedrive, nil, client.StartWorkflowOptions{
		TaskQueue:             workflows.QueueMessages,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:         about.Summary,
		StaticDetails:         about.Details,
		Priority:              temporal.Priority{PriorityKey: about.Priority, FairnessKey: in.RedriveID.String()},
	}, workflows.RedriveType, in)
	return err
}

// updateTimeout is how long an update may wait for a worker before the signal,
// which needs none, takes its place: longer than the workflow task that answers
// it takes, with the record and a customer's slow webhook in it.
const updateTimeout = 5 * time.Second

// Decided tells a workflow that receipts have decided its message: by update
// (one write), or by signal when the update is refused or times out.
func (s Starter) Decided(ctx context.Context, id message.ID) error {
	return s.tell(ctx, id, workflows.UpdateDecided, workflows.SignalDecided, updateTimeout)
}

// reviseTimeout is updateTimeout for a revision, whose customer waits: its handler
// notes the revision and does nothing else.
const reviseTimeout = time.Second

// Revised tells a workflow that its message was revised, in the same way.
func (s Starter) Revised(ctx context.Context, id message.ID) error {
	return s.tell(ctx, id, workflows.UpdateRevise, workflows.SignalRevise, reviseTimeout)
}

// Reconsider tells the workflow of a message that waits to look again whether it
// still must.
func (s Starter) Reconsider(ctx context.Context, id message.ID) error {
	return s.signal(ctx, id, workflows.SignalReconsider)
}

// Reroute tells the workflow of a message to route it anew, if it still can.
func (s Starter) Reroute(ctx context.Context, id message.ID) error {
	return s.signal(ctx, id, workflows.SignalReroute)
}

func (s Starter) signal(ctx context.Context, id message.ID, name string) error {
	err := s.Client.SignalWorkflow(ctx, workflows.OutboundID(id), "", name, nil)
	if notRunning(err) {
		return message.Because(message.ReasonNotFound, err, "the workflow has ended")
	}
	return err
}

func (s Starter) tell(ctx context.Context, id message.ID, update, signal string, patience time.Duration) error {
	err := s.update(ctx, id, update, patience)
	if err == nil {
		return nil
	}
	if notRunning(err) {
		return message.Because(message.ReasonNotFound, err, "the workflow has ended")
	}
	return s.signal(ctx, id, signal)
}

// update waits for the handler's own answer: an update that the workflow has
// refused comes back without an error otherwise.
func (s Starter) update(ctx context.Context, id message.ID, name string, patience time.Duration) error {
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	handle, err := s.Client.UpdateWorkflow(short, client.UpdateWorkflowOptions{
		WorkflowID:   workflows.OutboundID(id),
		UpdateName:   name,
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return err
	}
	return handle.Get(short, nil)
}

// Cancel withdraws a message.
func (s Starter) Cancel(ctx context.Context, id message.ID) error {
	handle, err := s.Client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID:   workflows.OutboundID(id),
		UpdateName:   workflows.UpdateCancel,
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(ctx, nil)
	}
	var app *temporal.ApplicationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &app) && app.Type() == string(message.ReasonConflict):
		return message.Because(message.ReasonConflict, err, "it is too late to withdraw the message")
	case notRunning(err):
		return message.Because(message.ReasonNotFound, err, "the message's workflow is not running")
	}
	return err
}

func notRunning(err error) bool {
	var gone *serviceerror.NotFound
	return errors.As(err, &gone)
}

// deliveryTimeout bounds one try of a delivery that no workflow waits for.
const deliveryTimeout = 45 * time.Second

// PostWebhook starts the delivery of one notification as an activity of its
// own. label tells in the UI where it came from. Accounts share the queue evenly: whoever
// has ten thousand put back does not delay the one of another.
func (s Starter) PostWebhook(ctx context.Context, label string, delivery message.ID) error {
	var priority temporal.Priority
	if s.DeliveryAccount != nil {
		account, err := s.DeliveryAccount(ctx, delivery)
		switch {
		case message.ReasonOf(err) == message.ReasonNotFound: // its activity finds the same
		case err != nil:
			return err
		default:
			priority.FairnessKey = account.String()
		}
	}
	_, err := s.Client.ExecuteActivity(ctx, client.StartActivityOptions{
		ID:                     "webhook-" + delivery.String(),
		TaskQueue:              workflows.QueueNotify,
		StartToCloseTimeout:    deliveryTimeout,
		ScheduleToCloseTimeout: 73 * time.Hour,
		HeartbeatTimeout:       workflows.WebhookHeartbeat,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 5 * time.Second, BackoffCoefficient: 2, MaximumInterval: workflows.MaxLostTry},
		Summary:                "webhook, " + label,
		Priority:               priority,
	}, "PostWebhook", notify.Input{DeliveryID: delivery})
	var started *serviceerror.ActivityExecutionAlreadyStarted
	if errors.As(err, &started) {
		return nil
	}
	return err
}

// SetVendorRate tells the server how many parts a second the vendor's queue
// hands out over all replicas; 0 takes the limit away.
func SetVendorRate(ctx context.Context, c client.Client, namespace, vendor string, perSecond int) error {
	_, err := c.WorkflowService().UpdateTaskQueueConfig(ctx, rateRequest(namespace, vendor, perSecond))
	return err
}

func rateRequest(namespace, vendor string, perSecond int) *workflowservice.UpdateTaskQueueConfigRequest {
	update := &workflowservice.UpdateTaskQueueConfigRequest_RateLimitUpdate{Reason: "the vendor's throughput"}
	if perSecond > 0 {
		update.RateLimit = &taskqueuepb.RateLimit{RequestsPerSecond: float32(perSecond)}
	}
	return &workflowservice.UpdateTaskQueueConfigRequest{Namespace: namespace, Identity: "postrider", TaskQueue: workflows.VendorQueue(vendor),
		TaskQueueType: enumspb.TASK_QUEUE_TYPE_ACTIVITY, UpdateQueueRateLimit: update}
}
