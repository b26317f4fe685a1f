package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/batch"
	"github.com/postrider/postrider/internal/message"
)

// Only for references to its methods.
var batching *batch.Activities

// BatchInput starts the work on a batch, or goes on with it. Rows and texts are not in it:
// steps read the record.
type BatchInput struct {
	BatchID   message.ID `json:"batch_id"`
	AccountID message.ID `json:"account_id"`
	// Slot, After and Held are those of the run before.
	Slot  batch.Slot `json:"slot,omitzero"`
	After message.ID `json:"after,omitzero"`
	Held  batch.Held `json:"held,omitempty"`
}

// BatchResult is how it ended.
type BatchResult struct {
	Status message.BatchStatus `json:"status"`
}

// batchRounds is how many chunks a run works before it goes on as a new one: some two
// thousand events.
const batchRounds = 200

// Batch works a batch chunk by chunk, each of which lets other batches of the queue go
// first. What its status is the record says, chunk by chunk; the signal only says that it
// is time to look.
func Batch(ctx workflow.Context, in BatchInput) (BatchResult, error) {
	b := &batchWork{in: in, changed: workflow.GetSignalChannel(ctx, SignalBatch), state: BatchState{Step: "work"}}
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryState, func() (BatchState, error) { return b.state, nil },
		workflow.QueryHandlerOptions{Description: "How far the batch is and what it waits for."}); err != nil {
		return BatchResult{}, err
	}
	// Who wants it to end cancels it over the API: a cancellation from outside would leave
	// rows behind that nobody works.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	for range batchRounds {
		if ended, err := b.round(ctx); err != nil || ended {
			return BatchResult{b.state.Status}, err
		}
	}
	// What was signalled is read from the record by the first round of the next run.
	for b.changed.ReceiveAsync(nil) {
	}
	return BatchResult{}, workflow.NewContinueAsNewError(ctx, BatchType, b.in)
}

// BatchState answers QueryState for a batch.
type BatchState struct {
	Step    string              `json:"step"`
	Status  message.BatchStatus `json:"status"`
	Total   int                 `json:"total"`
	Worked  int                 `json:"worked"`
	Refused int                 `json:"refused"`
	Waiting string              `json:"waiting,omitempty"`
}

type batchWork struct {
	in      BatchInput
	changed workflow.ReceiveChannel
	state   BatchState
}

// round works a chunk, and waits for the next one's turn.
func (b *batchWork) round(ctx workflow.Context) (ended bool, err error) {
	for b.changed.ReceiveAsync(nil) { // the activity looks at the record, which is newer
	}
	var r batch.Result
	in := batch.Input{BatchID: b.in.BatchID, Slot: b.in.Slot, After: b.in.After, Held: b.in.Held}
	if b.state.Status == message.BatchCanceled {
		err = workflow.ExecuteActivity(batchOptions(ctx, b.in.AccountID, "withdraw its messages"), batching.WithdrawBatch, in).Get(ctx, &r)
	} else {
		err = workflow.ExecuteActivity(batchOptions(ctx, b.in.AccountID, "work its rows"), batching.WorkBatch, in).Get(ctx, &r)
	}
	var app *temporal.ApplicationError
	if errors.As(err, &app) && app.Type() == string(message.ReasonNotFound) {
		workflow.GetLogger(ctx).Error("a batch is gone from the record", "batch_id", b.in.BatchID.String())
		return true, b.end(ctx, "gone")
	}
	if err != nil {
		return true, err
	}
	b.in.Slot, b.in.After, b.in.Held = r.Slot, r.After, r.Held
	if b.state.Status = r.Status; r.Total > 0 {
		b.state.Total, b.state.Worked, b.state.Refused = r.Total, r.Worked, r.Refused
	}
	if r.Done {
		return true, b.end(ctx, string(r.Status))
	}
	b.wait(ctx, r)
	return false, nil
}

// wait waits for what a chunk has come to: a moment, or a word that a paused batch goes
// on.
func (b *batchWork) wait(ctx workflow.Context, r batch.Result) {
	switch r.Status {
	case message.BatchPaused:
		b.show(ctx, "paused", "somebody to resume it")
		b.in.Slot = batch.Slot{} // its moment passes
		b.changed.Receive(ctx, nil)
		b.show(ctx, "work", "")
		return
	case message.BatchCanceled:
		b.show(ctx, "withdraw", "")
		b.in.Slot = batch.Slot{}
	default:
		b.show(ctx, "work", "")
	}
	d, why := r.Wait, string(r.Why)
	if at := r.Slot.At; d == 0 && !at.IsZero() {
		d, why = at.Sub(workflow.Now(ctx)), "its rate"
	}
	if d <= 0 {
		return
	}
	b.show(ctx, b.state.Step, why)
	timer, stop := workflow.WithCancel(ctx)
	defer stop()
	workflow.NewSelector(ctx).
		AddFuture(workflow.NewTimerWithOptions(timer, d, workflow.TimerOptions{Summary: "wait: " + why}), func(workflow.Future) {}).
		AddReceive(b.changed, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil) }).
		Select(ctx)
}

// show says in the UI how far the batch is.
func (b *batchWork) show(ctx workflow.Context, step, waiting string) {
	b.state.Step, b.state.Waiting = step, waiting
	details := fmt.Sprintf("- %s: %d of %d rows worked, %d refused\n", b.state.Status, b.state.Worked, b.state.Total, b.state.Refused)
	if waiting != "" {
		details += "- waits for " + waiting + "\n"
	}
	workflow.SetCurrentDetails(ctx, details)
}

func (b *batchWork) end(ctx workflow.Context, outcome string) error {
	b.show(ctx, outcome, "")
	return workflow.UpsertTypedSearchAttributes(ctx, AttrOutcome.ValueSet(outcome))
}

const (
	// batchTimeout bounds one chunk: its time, rows that wait for a commit, and the record.
	batchTimeout = 2 * time.Minute
	// batchHeartbeat is how soon a chunk whose process died is noticed.
	batchHeartbeat = 15 * time.Second
)

// batchOptions are for a chunk, which is tried again for ever: a batch whose record cannot
// be written waits. Accounts share the queue evenly, whoever has more batches.
func batchOptions(ctx workflow.Context, account message.ID, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           QueueBatches,
		StartToCloseTimeout: batchTimeout,
		HeartbeatTimeout:    batchHeartbeat,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
		Summary:             summary,
		Priority:            temporal.Priority{PriorityKey: message.ClassBulk.Priority(), FairnessKey: account.String()},
	})
}
