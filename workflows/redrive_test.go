package workflows_test

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/redrive"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/workflows"
)

// drive is a re-drive held in memory, and the step that works it.
type drive struct {
	mu     sync.Mutex
	status message.RedriveStatus
	left   int           // chunks
	wait   time.Duration // of the first chunk
	slots  bool
	gone   bool
	fails  int
	inputs []redrive.Input
	each   func(n int) // called in each step, without the lock
}

func (d *drive) WorkRedrive(_ context.Context, in redrive.Input) (redrive.Result, error) {
	d.mu.Lock()
	d.inputs = append(d.inputs, in)
	n := len(d.inputs)
	d.mu.Unlock()
	if d.each != nil {
		d.each(n)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.fails > 0:
		d.fails--
		return redrive.Result{}, temporal.NewApplicationError("the database is away", string(message.ReasonInternal))
	case d.gone:
		return redrive.Result{}, temporal.NewNonRetryableApplicationError("no re-drive", string(message.ReasonNotFound), nil)
	case d.status == message.RedriveStopping:
		d.status = message.RedriveStopped
	case d.wait > 0:
		r := redrive.Result{Status: d.status, Wait: d.wait, Why: message.ReasonQueueFull}
		d.wait = 0
		return r, nil
	default:
		if d.left--; d.left <= 0 {
			d.status = message.RedriveCompleted
		}
	}
	r := redrive.Result{Status: d.status, Looked: 5 * n, Done: 5 * n, Ended: d.status.Final()}
	if d.slots && !r.Ended {
		r.Slot = redrive.Slot{At: time.Now().Add(time.Hour), Messages: 5}
	}
	return r, nil
}

func (d *drive) set(status message.RedriveStatus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status = status
}

func (d *drive) run(t *testing.T, drive func(env *testsuite.TestWorkflowEnvironment)) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterActivityWithOptions(d.WorkRedrive, activity.RegisterOptions{Name: "WorkRedrive"})
	if drive != nil {
		drive(env)
	}
	env.ExecuteWorkflow(workflows.Redrive, workflows.RedriveInput{RedriveID: message.NewID()})
	if !env.IsWorkflowCompleted() {
		t.Fatal("the workflow has not ended")
	}
	return env
}

func wantRedrive(t *testing.T, env *testsuite.TestWorkflowEnvironment, want message.RedriveStatus) {
	t.Helper()
	var r workflows.RedriveResult
	if err := env.GetWorkflowResult(&r); err != nil || r.Status != want {
		t.Errorf("%+v, %v; want %s", r, err, want)
	}
}

func TestRedriveChunkByChunk(t *testing.T) {
	d := &drive{status: message.RedriveRunning, left: 3, fails: 2, slots: true, wait: time.Minute}
	wantRedrive(t, d.run(t, nil), message.RedriveCompleted)
	if n := len(d.inputs); n != 6 || d.inputs[n-1].Slot.Messages != 5 {
		t.Errorf("%+v", d.inputs)
	}
}

func TestRedriveHearsOfItsStop(t *testing.T) {
	d := &drive{status: message.RedriveRunning, left: 100, slots: true}
	env := d.run(t, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			v, err := env.QueryWorkflow(workflows.QueryState)
			var state workflows.RedriveState
			if err == nil {
				err = v.Get(&state)
			}
			if err != nil || state.Waiting != "its rate" || state.Done != 5 {
				t.Errorf("%+v, %v", state, err)
			}
			d.set(message.RedriveStopping)
			env.SignalWorkflow(workflows.SignalRedrive, nil)
		}, time.Minute)
	})
	wantRedrive(t, env, message.RedriveStopped)
	if len(d.inputs) != 2 {
		t.Errorf("%d steps", len(d.inputs))
	}
}

func TestRedriveContinuesAsNew(t *testing.T) {
	d := &drive{status: message.RedriveRunning, left: 10_000}
	env := d.run(t, nil)
	if err := env.GetWorkflowError(); !workflow.IsContinueAsNewError(err) || len(d.inputs) > 250 {
		t.Errorf("%v after %d steps", err, len(d.inputs))
	}
}

func TestRedriveGone(t *testing.T) {
	wantRedrive(t, (&drive{gone: true}).run(t, nil), "")
}

// redrivePaths are the ways through the workflow of a re-drive.
func redrivePaths() map[string]*drive {
	stops := &drive{status: message.RedriveRunning, left: 100, slots: true}
	return map[string]*drive{
		"one-chunk":  {status: message.RedriveRunning, left: 1},
		"chunks":     {status: message.RedriveRunning, left: 4},
		"queue-full": {status: message.RedriveRunning, left: 2, wait: time.Second},
		"stopped":    stops,
		"gone":       {gone: true},
	}
}

// TestRedriveHistories makes the histories of TestRedriveReplay, with -update.
func TestRedriveHistories(t *testing.T) {
	if !*update {
		return
	}
	c, err := client.Dial(client.Options{HostPort: stacktest.Temporal(t).Address(), Namespace: stacktest.Temporal(t).Namespace(), Identity: "postrider", Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, d := range redrivePaths() {
		t.Run(name, func(t *testing.T) { makeRedriveHistory(t, c, name, d) })
	}
}

func makeRedriveHistory(t *testing.T, c client.Client, name string, d *drive) {
	t.Helper()
	ctx := t.Context()
	work := worker.New(c, workflows.QueueMessages, worker.Options{LocalActivityWorkerOnly: true})
	work.RegisterWorkflowWithOptions(workflows.Redrive, workflow.RegisterOptions{Name: workflows.RedriveType})
	steps := worker.New(c, workflows.QueueBatches, worker.Options{DisableWorkflowWorker: true})
	steps.RegisterActivityWithOptions(d.WorkRedrive, activity.RegisterOptions{Name: "WorkRedrive"})
	for _, w := range []worker.Worker{work, steps} {
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
	}
	in := workflows.RedriveInput{RedriveID: message.NewID()}
	id := workflows.RedriveID(in.RedriveID)
	if _, err := c.SignalWithStartWorkflow(ctx, id, workflows.SignalRedrive, nil, client.StartWorkflowOptions{TaskQueue: workflows.QueueMessages}, workflows.RedriveType, in); err != nil {
		t.Fatal(err)
	}
	if name == "stopped" {
		for { // until it waits
			v, err := c.QueryWorkflow(ctx, id, "", workflows.QueryState)
			var state workflows.RedriveState
			if err == nil && v.Get(&state) == nil && state.Waiting != "" {
				break
			}
		}
		d.set(message.RedriveStopping)
		if err := c.SignalWorkflow(ctx, id, "", workflows.SignalRedrive, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.GetWorkflow(ctx, id, "").Get(ctx, nil); err != nil {
		t.Fatal(err)
	}
	h := &historypb.History{}
	for it := c.GetWorkflowHistory(ctx, id, "", false, 0); it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			t.Fatal(err)
		}
		h.Events = append(h.Events, e)
	}
	store(t, filepath.Join("../redrive", name), h)
}

// TestRedriveReplay is TestReplay for re-drives.
func TestRedriveReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/redrive/*.json")
	if err != nil || len(files) != len(redrivePaths()) {
		t.Fatalf("%d histories, %d ways through the workflow, %v", len(files), len(redrivePaths()), err)
	}
	replayer, moved := worker.NewWorkflowReplayer(), worker.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(workflows.Redrive, workflow.RegisterOptions{Name: workflows.RedriveType})
	moved.RegisterWorkflowWithOptions(func(ctx workflow.Context, in workflows.RedriveInput) (workflows.RedriveResult, error) {
		if err := workflow.UpsertTypedSearchAttributes(ctx, workflows.AttrOutcome.ValueSet("early")); err != nil {
			return workflows.RedriveResult{}, err
		}
		return workflows.Redrive(ctx, in)
	}, workflow.RegisterOptions{Name: workflows.RedriveType})
	slices.Sort(files)
	for _, file := range files {
		if err := replayer.ReplayWorkflowHistoryFromJSONFile(quiet{}, file); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if err := moved.ReplayWorkflowHistoryFromJSONFile(quiet{}, file); err == nil {
			t.Errorf("%s replays with a step that comes early", file)
		}
	}
}
