package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	temporallog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/workers"
	"github.com/postrider/postrider/workflows"
)

// The floor is what Temporal alone costs here: workflows that do nothing, started as
// the product starts its own and worked on under the same options, in this process
// instead of the gateway's. No message can be cheaper than that.

// The shapes of bare workflows.
const (
	// shapeBare starts and completes: no input, no activity, no search attribute.
	shapeBare = "bare"
	// shapeOurs has what a delivered message leaves in its history: input, summary,
	// search attributes at the start and at the end, the markers of local activities,
	// which do nothing.
	shapeOurs = "shape of a message"
)

const (
	floorQueue = "bench-floor"
	// floorMarkers are the local activities of a message whose receipt comes at once.
	floorMarkers = 2
	// floorLook is how often it is looked whether all have ended.
	floorLook = 20 * time.Millisecond
)

// floorRound is one flood of bare workflows.
type floorRound struct {
	Shape   string  `json:"shape"`
	Count   int     `json:"count"`
	Started float64 `json:"started_per_second"`
	Rate    float64 `json:"completed_per_second"` // from the 10th to the 90th of a hundred
	Seconds float64 `json:"seconds"`              // to the last completion
	Writes  float64 `json:"temporal_writes"`      // each; 0: not known
	Use     usage   `json:"use"`                  // the bench is starter and worker
}

// floor runs them. Its client is the only one of the process, so that starts are
// eager.
type floor struct {
	*plan
	client client.Client
	runs   int
}

// openFloor makes a client with the gateway's options, codec among them.
func (p *plan) openFloor(ctx context.Context) (*floor, error) {
	op, err := openOperator(p.meter)
	if err != nil {
		return nil, err
	}
	keys, err := op.keyring()
	if err != nil {
		return nil, err
	}
	codec := workers.Codec{Sealer: keys.Box(secret.Content)}
	c, err := client.DialContext(ctx, client.Options{
		HostPort: op.value("TEMPORAL_ADDRESS"), Namespace: op.value("TEMPORAL_NAMESPACE"), Identity: "bench", DataConverter: codec.DataConverter(),
		ConnectionOptions: client.ConnectionOptions{GrpcCompression: &client.GrpcCompressionNone{}},
		Logger:            temporallog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return nil, fmt.Errorf("reach Temporal for the floor: %w", err)
	}
	return &floor{plan: p, client: c}, nil
}

// keyring is the gateway's.
func (o *operator) keyring() (*secret.Keyring, error) {
	if keys := o.value("POSTRIDER_KEYS"); keys != "" {
		return secret.ParseKeyring(keys)
	}
	return secret.LoadKeyring(o.value("POSTRIDER_KEY_FILE"))
}

func (f *floor) close() { f.client.Close() }

// round runs n of each shape.
func (f *floor) round(ctx context.Context, n int) error {
	for _, shape := range []string{shapeBare, shapeOurs} {
		if ctx.Err() != nil {
			return nil
		}
		x, err := f.run(ctx, shape, n)
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		f.report.Floor = append(f.report.Floor, *x)
		fmt.Fprintf(f.out, "floor, %s: %d workflows, %.1f/s\n", shape, n, x.Rate)
	}
	return nil
}

// floorRun is one flood under way.
type floorRun struct {
	shape, prefix string
	began         time.Time
	ends          []atomic.Int64 // by number; nanoseconds since began, 0: not ended
}

// ended notes the end of a workflow by its id.
func (r *floorRun) ended(ctx workflow.Context) {
	digits, ours := strings.CutPrefix(workflow.GetInfo(ctx).WorkflowExecution.ID, r.prefix)
	if i, err := strconv.Atoi(digits); ours && err == nil && i >= 0 && i < len(r.ends) {
		r.ends[i].CompareAndSwap(0, int64(time.Since(r.began)))
	}
}

func (r *floorRun) bare(ctx workflow.Context) error {
	r.ended(ctx)
	return nil
}

func (r *floorRun) shaped(ctx workflow.Context, in workflows.OutboundInput) (workflows.OutboundResult, error) {
	for range floorMarkers {
		step := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: 10 * time.Second, Summary: "a step of nothing"})
		var out workflows.State
		if err := workflow.ExecuteLocalActivity(step, r.step, in.MessageID).Get(step, &out); err != nil {
			return workflows.OutboundResult{}, err
		}
	}
	r.ended(ctx)
	return workflows.OutboundResult{Status: message.StatusDelivered}, workflow.UpsertTypedSearchAttributes(ctx, workflows.AttrOutcome.ValueSet(string(message.StatusDelivered)))
}

// step is a local activity that does nothing.
func (r *floorRun) step(context.Context, message.ID) (workflows.State, error) {
	return workflows.State{Step: "step", Status: message.StatusSent, Vendor: benchVendor}, nil
}

// run floods and waits until all have ended.
func (f *floor) run(ctx context.Context, shape string, n int) (*floorRound, error) {
	f.runs++
	r := &floorRun{shape: shape, prefix: f.records.prefix + "floor-" + strconv.Itoa(f.runs) + "-", began: time.Now(), ends: make([]atomic.Int64, n)}
	w := worker.New(f.client, floorQueue, workers.MessagesOptions())
	w.RegisterWorkflowWithOptions(r.bare, workflow.RegisterOptions{Name: shapeBare})
	w.RegisterWorkflowWithOptions(r.shaped, workflow.RegisterOptions{Name: shapeOurs})
	w.RegisterActivity(r.step)
	if err := w.Start(); err != nil {
		return nil, err
	}
	defer w.Stop()
	x := &floorRound{Shape: shape, Count: n}
	watch, before := f.begin(ctx)
	defer watch.cancel() // when it is given up; else stop has done it
	r.began = time.Now()
	if err := f.start(ctx, r); err != nil {
		return nil, err
	}
	x.Started = float64(n) / time.Since(r.began).Seconds()
	if err := f.await(ctx, r, before); err != nil {
		return nil, err
	}
	var ends []time.Duration
	for i := range r.ends {
		ends = append(ends, time.Duration(r.ends[i].Load()))
	}
	x.Rate = middleRate(ends)
	x.Seconds = ends[len(ends)-1].Seconds() // middleRate has sorted them
	after := f.marks(ctx)
	if after.writes > 0 {
		x.Writes = float64(after.writes-before.writes) / float64(n)
	}
	x.Use = watch.stop()
	if before.log > 0 && after.log > 0 {
		x.Use.Log = after.log - before.log
	}
	return x, nil
}

// start starts them, as many at once as the product does, and gives the first error.
func (f *floor) start(ctx context.Context, r *floorRun) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var starters sync.WaitGroup
	for range ingress.DefaultStarters {
		starters.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1) - 1)
				if i >= len(r.ends) {
					return
				}
				if err := f.begun(ctx, r, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	starters.Wait()
	return context.Cause(ctx)
}

// begun starts workflow i of a run.
func (f *floor) begun(ctx context.Context, r *floorRun, i int) error {
	o := client.StartWorkflowOptions{ID: r.prefix + strconv.Itoa(i), TaskQueue: floorQueue, EnableEagerStart: true,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE, WorkflowExecutionErrorWhenAlreadyStarted: true}
	if r.shape == shapeBare {
		_, err := f.client.ExecuteWorkflow(ctx, o, shapeBare)
		return err
	}
	account := message.NewID()
	o.TypedSearchAttributes = temporal.NewSearchAttributes(workflows.AttrAccount.ValueSet(account.String()), workflows.AttrVendor.ValueSet(benchVendor))
	o.StaticSummary, o.StaticDetails = "sms from a sender to a recipient", "what staff see of a message"
	o.Priority = temporal.Priority{PriorityKey: message.ClassConversation.Priority(), FairnessKey: account.String()}
	_, err := f.client.ExecuteWorkflow(ctx, o, shapeOurs, workflows.OutboundInput{MessageID: message.NewID(), AccountID: account,
		Class: message.ClassConversation, Vendor: benchVendor, ExpiresAt: time.Now().Add(time.Hour)})
	return err
}

// await returns when all have ended, and are written as well where that can be
// known: the last step of a workflow is the server's.
func (f *floor) await(ctx context.Context, r *floorRun, before marks) error {
	tick := time.NewTicker(floorLook)
	defer tick.Stop()
	deadline := time.Now().Add(time.Duration(len(r.ends))*time.Second/50 + f.patience)
	for open := 0; ; {
		for open < len(r.ends) && r.ends[open].Load() != 0 {
			open++
		}
		if open == len(r.ends) {
			if now, known := temporalWrites(ctx, f.counter); !known || now-before.writes >= 2*int64(len(r.ends)) {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return errors.New("workflows that do nothing have not ended in time")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
