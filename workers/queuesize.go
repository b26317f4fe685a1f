package workers

import (
	"context"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/postrider/postrider/workflows"
)

// QueueSize is how many submits wait on a vendor's queue, as the server estimates.
// Those that a process has taken are not counted.
func QueueSize(ctx context.Context, c client.Client, namespace, vendor string) (int, error) {
	r, err := c.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace:     namespace,
		TaskQueue:     &taskqueuepb.TaskQueue{Name: workflows.VendorQueue(vendor), Kind: enumspb.TASK_QUEUE_KIND_NORMAL},
		TaskQueueType: enumspb.TASK_QUEUE_TYPE_ACTIVITY,
		ReportStats:   true,
	})
	if err != nil {
		return 0, err
	}
	return int(r.GetStats().GetApproximateBacklogCount()), nil
}
