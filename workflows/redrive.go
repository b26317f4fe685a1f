package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/redrive"
	"github.com/postrider/postrider/internal/message"
)

// Only for references to its methods.
var redriving *redrive.Activities

// RedriveInput starts the work on a re-drive, or goes on with it.
type RedriveInput struct {
	RedriveID message.ID `json:"redrive_id"`
	// Slot is that of the run before.
	Slot redrive.Slot `json:"slot,omitzero"`
}

// RedriveResult is how it ended.
type RedriveResult struct {
	Status message.RedriveStatus `json:"status"`
}

// RedriveState answers QueryState for a re-drive.
type RedriveState struct {
	Step    string                `json:"step"`
	Status  message.RedriveStatus `json:"status"`
	Looked  int                   `json:"looked"`
	Done    int                   `json:"done"`
	Passed  int                   `json:"passed"`
	Refused int                   `json:"refused"`
	Waiting string                `json:"waiting,omitempty"`
}

// Redrive works a re-drive chunk by chunk, as Batch does a batch: the record knows how far
// it is and whether it is to stop, and the signal only says that it is time to look.
func Redrive(ctx workflow.Context, in RedriveInput) (RedriveResult, error) {
	r := &redriveWork{in: in, changed: workflow.GetSignalChannel(ctx, SignalRedrive), state: RedriveState{Step: "work"}}
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryState, func() (RedriveState, error) { return r.state, nil },
		workflow.QueryHandlerOptions{Description: "How far the re-drive is and what it waits for."}); err != nil {
		return RedriveResult{}, err
	}
	// Who wants it to end stops it over the API: a cancellation from outside would leave
	// messages behind that were taken on.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	for range batchRounds {
		if ended, err := r.round(ctx); err != nil || ended {
			return RedriveResult{r.state.Status}, err
		}
	}
	// What was signalled is read from the record by the first round of the next run.
	for r.changed.ReceiveAsync(nil) {
	}
	return RedriveResult{}, workflow.NewContinueAsNewError(ctx, RedriveType, r.in)
}

type redriveWork struct {
	in      RedriveInput
	changed workflow.ReceiveChannel
	state   RedriveState
}

// round works a chunk, and waits for the next one's turn.
func (r *redriveWork) round(ctx workflow.Context) (ended bool, err error) {
	for r.changed.ReceiveAsync(nil) { // the activity looks at the record, which is newer
	}
	var out redrive.Result
	err = workflow.ExecuteActivity(batchOptions(ctx, r.in.RedriveID, "work its messages"), redriving.WorkRedrive, redrive.Input{RedriveID: r.in.RedriveID, Slot: r.in.Slot}).Get(ctx, &out)
	var app *temporal.ApplicationError
	if errors.As(err, &app) && app.Type() == string(message.ReasonNotFound) {
		workflow.GetLogger(ctx).Error("a re-drive is gone from the record", "redrive_id", r.in.RedriveID.String())
		return true, r.end(ctx, "gone")
	}
	if err != nil {
		return true, err
	}
	r.in.Slot = out.Slot
	r.state.Status, r.state.Looked, r.state.Done, r.state.Passed, r.state.Refused = out.Status, out.Looked, out.Done, out.Passed, out.Refused
	if out.Ended {
		return true, r.end(ctx, string(out.Status))
	}
	d, why := out.Wait, string(out.Why)
	if at := out.Slot.At; d == 0 && !at.IsZero() {
		d, why = at.Sub(workflow.Now(ctx)), "its rate"
	}
	if d <= 0 {
		r.show(ctx, "work", "")
		return false, nil
	}
	r.show(ctx, "work", why)
	timer, stop := workflow.WithCancel(ctx)
	defer stop()
	workflow.NewSelector(ctx).
		AddFuture(workflow.NewTimerWithOptions(timer, d, workflow.TimerOptions{Summary: "wait: " + why}), func(workflow.Future) {}).
		AddReceive(r.changed, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil) }).
		Select(ctx)
	return false, nil
}

// show says in the UI how far the re-drive is.
func (r *redriveWork) show(ctx workflow.Context, step, waiting string) {
	r.state.Step, r.state.Waiting = step, waiting
	details := fmt.Sprintf("- %s: %d messages found, %d done, %d passed over, %d refused\n", r.state.Status, r.state.Looked, r.state.Done, r.state.Passed, r.state.Refused)
	if waiting != "" {
		details += "- waits for " + waiting + "\n"
	}
	workflow.SetCurrentDetails(ctx, details)
}

func (r *redriveWork) end(ctx workflow.Context, outcome string) error {
	r.show(ctx, outcome, "")
	return workflow.UpsertTypedSearchAttributes(ctx, AttrOutcome.ValueSet(outcome))
}
