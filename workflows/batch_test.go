package workflows_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
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

	"github.com/postrider/postrider/activities/batch"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/workflows"
)

// table is a batch held in memory, and the steps that work it.
type table struct {
	mu       sync.Mutex
	status   message.BatchStatus
	total    int
	worked   int
	chunk    int // rows that one step works
	slots    bool
	wait     time.Duration // of the first chunk
	messages int           // to be withdrawn
	gone     bool          // it is no longer in the record
	fails    int           // steps that fail first
	inputs   []batch.Input
	calls    []string
	each     func(n int) // called in each step, without the lock
}

func (b *table) call(name string, in batch.Input) (batch.Result, error) {
	b.mu.Lock()
	b.calls, b.inputs = append(b.calls, name), append(b.inputs, in)
	n := len(b.calls)
	b.mu.Unlock()
	if b.each != nil {
		b.each(n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails > 0 {
		b.fails--
		return batch.Result{}, temporal.NewApplicationError("the database is away", string(message.ReasonInternal))
	}
	if b.gone {
		return batch.Result{}, temporal.NewNonRetryableApplicationError("no batch", string(message.ReasonNotFound), nil)
	}
	return batch.Result{}, nil
}

func (b *table) WorkBatch(_ context.Context, in batch.Input) (batch.Result, error) {
	if r, err := b.call("work", in); err != nil {
		return r, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := batch.Result{Status: b.status, Total: b.total, Worked: b.worked}
	if b.status != message.BatchRunning {
		return r, nil
	}
	if b.wait > 0 {
		r.Wait, r.Why, b.wait = b.wait, message.ReasonQueueFull, 0
		return r, nil
	}
	b.worked = min(b.worked+b.chunk, b.total)
	if r.Worked = b.worked; b.worked == b.total {
		b.status, r.Status, r.Done = message.BatchCompleted, message.BatchCompleted, true
	} else if b.slots {
		r.Slot = batch.Slot{At: time.Now().Add(time.Hour), Rows: b.chunk}
	}
	return r, nil
}

func (b *table) WithdrawBatch(_ context.Context, in batch.Input) (batch.Result, error) {
	if r, err := b.call("withdraw", in); err != nil {
		return r, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := batch.Result{Status: message.BatchCanceled, After: message.NewID()}
	if b.messages -= b.chunk; b.messages <= 0 {
		r.Done = true
	}
	return r, nil
}

func (b *table) set(status message.BatchStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.status.Final() {
		b.status = status
	}
}

func (b *table) story() string { return strings.Join(b.calls, " ") }

// run works a batch in the test environment.
func (b *table) run(t *testing.T, in workflows.BatchInput, drive func(env *testsuite.TestWorkflowEnvironment)) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterActivityWithOptions(b.WorkBatch, activity.RegisterOptions{Name: "WorkBatch"})
	env.RegisterActivityWithOptions(b.WithdrawBatch, activity.RegisterOptions{Name: "WithdrawBatch"})
	if drive != nil {
		drive(env)
	}
	env.ExecuteWorkflow(workflows.Batch, in)
	if !env.IsWorkflowCompleted() {
		t.Fatal("the workflow has not ended")
	}
	return env
}

func wantBatch(t *testing.T, env *testsuite.TestWorkflowEnvironment, want message.BatchStatus) {
	t.Helper()
	var r workflows.BatchResult
	if err := env.GetWorkflowResult(&r); err != nil || r.Status != want {
		t.Errorf("%+v, %v; want %s", r, err, want)
	}
}

func anyBatch() workflows.BatchInput {
	return workflows.BatchInput{BatchID: message.NewID(), AccountID: message.NewID()}
}

func TestBatchChunkByChunk(t *testing.T) {
	b := &table{status: message.BatchRunning, total: 10, chunk: 4, fails: 2}
	wantBatch(t, b.run(t, anyBatch(), nil), message.BatchCompleted)
	if b.story() != "work work work work work" {
		t.Error(b.story())
	}
}

// A moment that was reserved is given back to the step that comes when it has come, and
// one that has to wait is tried again.
func TestBatchWaits(t *testing.T) {
	b := &table{status: message.BatchRunning, total: 10, chunk: 5, slots: true, wait: time.Minute}
	env := b.run(t, anyBatch(), nil)
	wantBatch(t, env, message.BatchCompleted)
	if b.story() != "work work work" || b.inputs[1].Slot.Rows != 0 || b.inputs[2].Slot.Rows != 5 {
		t.Errorf("%s, %+v", b.story(), b.inputs)
	}
}

func TestBatchPausesAndGoesOn(t *testing.T) {
	b := &table{status: message.BatchPaused, total: 4, chunk: 4}
	env := b.run(t, anyBatch(), func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			v, err := env.QueryWorkflow(workflows.QueryState)
			var state workflows.BatchState
			if err == nil {
				err = v.Get(&state)
			}
			if err != nil || state.Step != "paused" || state.Waiting == "" {
				t.Errorf("%+v, %v", state, err)
			}
			b.set(message.BatchRunning)
			env.SignalWorkflow(workflows.SignalBatch, nil)
		}, time.Hour)
	})
	wantBatch(t, env, message.BatchCompleted)
	if b.story() != "work work" {
		t.Error(b.story())
	}
}

// A word that comes while a step is under way is not lost, even if the step saw the batch
// as it was before.
func TestBatchHearsWhileItWorks(t *testing.T) {
	b := &table{status: message.BatchPaused, total: 4, chunk: 4}
	var env *testsuite.TestWorkflowEnvironment
	b.each = func(n int) {
		if n == 1 {
			env.SignalWorkflow(workflows.SignalBatch, nil)
			b.mu.Lock()
			b.each = func(int) { b.set(message.BatchRunning) }
			b.mu.Unlock()
		}
	}
	b.run(t, anyBatch(), func(e *testsuite.TestWorkflowEnvironment) { env = e })
	wantBatch(t, env, message.BatchCompleted)
}

func TestBatchCanceled(t *testing.T) {
	for name, status := range map[string]message.BatchStatus{"while it waits": message.BatchRunning, "while it is paused": message.BatchPaused} {
		t.Run(name, func(t *testing.T) {
			b := &table{status: status, total: 100, chunk: 5, slots: true, messages: 12}
			env := b.run(t, anyBatch(), func(env *testsuite.TestWorkflowEnvironment) {
				env.RegisterDelayedCallback(func() {
					b.set(message.BatchCanceled)
					env.SignalWorkflow(workflows.SignalBatch, nil)
				}, time.Minute)
			})
			wantBatch(t, env, message.BatchCanceled)
			if b.story() != "work work withdraw withdraw withdraw" || b.inputs[3].After == (message.ID{}) || b.inputs[4].After == b.inputs[3].After {
				t.Errorf("%s", b.story())
			}
		})
	}
}

// A run does not grow: it goes on as a new one, with the moment that it had.
func TestBatchContinuesAsNew(t *testing.T) {
	b := &table{status: message.BatchRunning, total: 10_000, chunk: 1}
	env := b.run(t, anyBatch(), nil)
	if err := env.GetWorkflowError(); !workflow.IsContinueAsNewError(err) || len(b.calls) > 250 {
		t.Errorf("%v after %d steps", err, len(b.calls))
	}
}

func TestBatchGone(t *testing.T) {
	b := &table{status: message.BatchRunning, total: 1, chunk: 1, gone: true}
	wantBatch(t, b.run(t, anyBatch(), nil), "")
}

// batchPaths are the ways through the workflow of a batch.
func batchPaths() map[string]*table {
	later := func(b *table, n int, to message.BatchStatus) *table {
		b.each = func(at int) {
			if at == n {
				b.set(to)
			}
		}
		return b
	}
	return map[string]*table{
		"one-chunk":   {status: message.BatchRunning, total: 5, chunk: 5},
		"chunks":      {status: message.BatchRunning, total: 25, chunk: 5},
		"queue-full":  {status: message.BatchRunning, total: 5, chunk: 5, wait: time.Second},
		"paused":      later(&table{status: message.BatchRunning, total: 20, chunk: 5}, 2, message.BatchPaused),
		"canceled":    later(&table{status: message.BatchRunning, total: 100, chunk: 5, messages: 12}, 3, message.BatchCanceled),
		"slot-cancel": later(&table{status: message.BatchRunning, total: 100, chunk: 5, slots: true}, 2, message.BatchCanceled),
		"gone":        {status: message.BatchRunning, gone: true},
	}
}

// TestBatchHistories makes the histories of TestBatchReplay, with -update.
func TestBatchHistories(t *testing.T) {
	if !*update {
		return
	}
	c, err := client.Dial(client.Options{HostPort: stacktest.Temporal(t).Address(), Namespace: stacktest.Temporal(t).Namespace(), Identity: "postrider", Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, b := range batchPaths() {
		t.Run(name, func(t *testing.T) {
			makeBatchHistory(t, c, name, b)
		})
	}
}

func makeBatchHistory(t *testing.T, c client.Client, name string, b *table) {
	t.Helper()
	ctx := t.Context()
	work := worker.New(c, workflows.QueueMessages, worker.Options{LocalActivityWorkerOnly: true})
	work.RegisterWorkflowWithOptions(workflows.Batch, workflow.RegisterOptions{Name: workflows.BatchType})
	rows := worker.New(c, workflows.QueueBatches, worker.Options{DisableWorkflowWorker: true})
	rows.RegisterActivityWithOptions(b.WorkBatch, activity.RegisterOptions{Name: "WorkBatch"})
	rows.RegisterActivityWithOptions(b.WithdrawBatch, activity.RegisterOptions{Name: "WithdrawBatch"})
	for _, w := range []worker.Worker{work, rows} {
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
	}
	in := anyBatch()
	id := workflows.BatchID(in.BatchID)
	if _, err := c.SignalWithStartWorkflow(ctx, id, workflows.SignalBatch, nil, client.StartWorkflowOptions{TaskQueue: workflows.QueueMessages}, workflows.BatchType, in); err != nil {
		t.Fatal(err)
	}
	if name == "paused" || name == "slot-cancel" {
		steps := map[string]int{"paused": 2, "slot-cancel": 1}[name]
		for { // until it waits
			b.mu.Lock()
			n := len(b.calls)
			b.mu.Unlock()
			v, err := c.QueryWorkflow(ctx, id, "", workflows.QueryState)
			var state workflows.BatchState
			if err == nil && v.Get(&state) == nil && n >= steps && state.Waiting != "" {
				break
			}
		}
		if name == "paused" {
			b.set(message.BatchRunning)
		}
		if err := c.SignalWorkflow(ctx, id, "", workflows.SignalBatch, nil); err != nil {
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
	store(t, filepath.Join("../batch", name), h)
}

// TestBatchReplay is TestReplay for batches.
func TestBatchReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/batch/*.json")
	if err != nil || len(files) != len(batchPaths()) {
		t.Fatalf("%d histories, %d ways through the workflow, %v", len(files), len(batchPaths()), err)
	}
	replayer, moved := worker.NewWorkflowReplayer(), worker.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(workflows.Batch, workflow.RegisterOptions{Name: workflows.BatchType})
	moved.RegisterWorkflowWithOptions(func(ctx workflow.Context, in workflows.BatchInput) (workflows.BatchResult, error) {
		if err := workflow.UpsertTypedSearchAttributes(ctx, workflows.AttrOutcome.ValueSet("early")); err != nil {
			return workflows.BatchResult{}, err
		}
		return workflows.Batch(ctx, in)
	}, workflow.RegisterOptions{Name: workflows.BatchType})
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
