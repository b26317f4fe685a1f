package workflows_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/notify"
	"github.com/postrider/postrider/activities/prepare"
	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/workflows"
)

var update = flag.Bool("update", false, "make the histories of TestReplay anew, on a real server")

func TestMain(m *testing.M) { stacktest.Main(m) }

// path is one way through the workflow, taken on a real server.
type path struct {
	name  string
	world func(w *journey) // before the start
	drive func(w *journey) // after it; nil: nothing happens from outside
}

// journey is one message on its path.
type journey struct {
	*steps
	t  *testing.T
	c  client.Client
	in workflows.OutboundInput

	underWay <-chan struct{} // closed when the submit of a path that holds it is under way
	answer   func()          // lets it have its answer
}

// until waits for the record to look as it should.
func (w *journey) until(what func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !what() {
		w.moved.Wait()
	}
}

// untilIdle waits until the workflow has begun to wait: for a receipt, or its
// time.
func (w *journey) untilIdle() {
	w.t.Helper()
	it := w.c.GetWorkflowHistory(context.Background(), w.id(), "", true, 0)
	for it.HasNext() {
		e, err := it.Next()
		if err != nil {
			w.t.Error(err)
			return
		}
		if e.GetTimerStartedEventAttributes() != nil || e.GetActivityTaskScheduledEventAttributes().GetTaskQueue().GetName() == "vendor.down" {
			return
		}
	}
}

func (w *journey) id() string { return workflows.OutboundID(w.in.MessageID) }

func (w *journey) decided(status message.Status, signal bool) {
	w.t.Helper()
	w.mu.Lock()
	w.receipts = status
	w.mu.Unlock()
	if signal {
		if err := w.c.SignalWorkflow(context.Background(), w.id(), "", workflows.SignalDecided, nil); err != nil {
			w.t.Error(err)
		}
		return
	}
	if err := w.update(workflows.UpdateDecided); err != nil {
		w.t.Error(err)
	}
}

func (w *journey) update(name string) error {
	h, err := w.c.UpdateWorkflow(context.Background(), client.UpdateWorkflowOptions{WorkflowID: w.id(), UpdateID: name, UpdateName: name, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return err
	}
	return h.Get(context.Background(), nil)
}

func receiptSays(status message.Status, signal bool) func(*journey) {
	return func(w *journey) {
		w.untilIdle()
		w.decided(status, signal)
	}
}

func vendorSays(list ...submit.Result) func(*journey) {
	return func(w *journey) { w.vendor = answers(list...) }
}

// put revises the message in the record.
func (s *steps) put(t message.Times) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	s.times = t
}

func once(f func()) func() { return sync.OnceFunc(f) }

// revised puts the send time off or brings it forward, each time by so much from
// now, and tells the workflow; then the message is delivered.
func revised(first time.Duration, signal bool, more ...time.Duration) func(*journey) {
	return func(w *journey) {
		w.untilIdle()
		for _, d := range append([]time.Duration{first}, more...) {
			w.put(message.Times{SendAt: time.Now().Add(d), ExpiresAt: time.Now().Add(d + validity)})
			var err error
			if signal {
				err = w.c.SignalWorkflow(context.Background(), w.id(), "", workflows.SignalRevise, nil)
			} else {
				err = w.update(workflows.UpdateRevise)
			}
			if err != nil {
				w.t.Error(err)
			}
		}
		w.until(func() bool { return w.status == sent })
		w.decided(delivered, false)
	}
}

func shortLived(d time.Duration) func(*journey) {
	return func(w *journey) {
		w.in.ExpiresAt = time.Now().Add(d)
		for i := range w.candidates {
			w.candidates[i].Grace = time.Second
		}
	}
}

func all(list ...func(*journey)) func(*journey) {
	return func(w *journey) {
		for _, f := range list {
			f(w)
		}
	}
}

func paths() []path {
	taken := submit.Result{Outcome: submit.Sent}
	doubt := submit.Result{Outcome: submit.InDoubt, Reason: message.ReasonSubmitInDoubt}
	two := func(w *journey) {
		w.candidates = append(w.candidates, route.Candidate{VendorID: message.NewID(), Name: "zeta", Grace: grace})
	}
	dead := func(w *journey) { w.candidates[0].Name = "down" }
	here := func(w *journey) { w.candidates[0].Here, w.in.Vendor = true, "acme" }
	later := func(w *journey) { w.in.SendAt = time.Now().Add(2 * time.Second) }
	cancel := func(w *journey) {
		w.untilIdle()
		if err := w.update(workflows.UpdateCancel); err != nil {
			w.t.Error(err)
		}
	}
	return []path{
		{"delivered", nil, receiptSays(delivered, false)},
		{"delivered-here", here, receiptSays(delivered, false)},
		{"delivered-at-once", all(here, func(w *journey) {
			w.awaited = func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.receipts = delivered
				return true
			}
		}), nil},
		{"delivered-signal", nil, receiptSays(delivered, true)},
		{"delivered-early", func(w *journey) {
			w.inSubmit = func(int) { w.mu.Lock(); w.receipts = delivered; w.mu.Unlock() }
		}, nil},
		{"undelivered", nil, receiptSays(undelivered, false)},
		{"expired-by-receipt", nil, receiptSays(expired, false)},
		{"unconfirmed", shortLived(2 * time.Second), nil},
		{"unconfirmed-late-receipt", all(shortLived(2*time.Second), func(w *journey) {
			w.webhook = func(int) bool { return w.status == delivered }
		}), func(w *journey) {
			w.until(func() bool { return w.status == unconfirmed && w.posts > 1 })
			w.decided(delivered, false)
		}},
		{"refused-next", all(two, vendorSays(refusal, taken)), receiptSays(delivered, false)},
		{"refused", vendorSays(refusal), nil},
		{"busy", vendorSays(trouble, taken), func(w *journey) {
			w.until(func() bool { return w.status == sent })
			w.decided(delivered, false)
		}},
		{"throttled", vendorSays(throttle, throttle, taken), func(w *journey) {
			w.until(func() bool { return w.status == sent })
			w.decided(delivered, false)
		}},
		{"here-gone", all(here, vendorSays(unreachable, taken)), receiptSays(delivered, false)},
		{"no-link", all(dead, shortLived(2*time.Second)), nil},
		{"no-link-next", all(dead, two), func(w *journey) {
			w.until(func() bool { return w.status == sent })
			w.decided(delivered, false)
		}},
		{"in-doubt-settled", vendorSays(doubt), receiptSays(delivered, false)},
		{"in-doubt", all(vendorSays(doubt), shortLived(2*time.Second)), nil},
		{"partial", vendorSays(submit.Result{Outcome: submit.Partial, Reason: message.ReasonVendorRejected}), nil},
		{"rejected", func(w *journey) {
			w.admission = admit.Result{Status: message.StatusRejected, Reason: message.ReasonCampaignInactive}
		}, nil},
		{"no-route", func(w *journey) { w.candidates = nil }, nil},
		{"scheduled", later, func(w *journey) {
			w.until(func() bool { return w.status == sent })
			w.decided(delivered, false)
		}},
		{"revised-earlier", func(w *journey) { w.in.SendAt = time.Now().Add(time.Hour) }, revised(time.Second, false)},
		{"revised-later", func(w *journey) { w.in.SendAt = time.Now().Add(time.Hour) }, revised(2*time.Hour, true, 2*time.Second)},
		{"revised-before-submit", func(w *journey) {
			w.chosen = once(func() { w.put(message.Times{SendAt: time.Now().Add(2 * time.Second), ExpiresAt: w.in.ExpiresAt}) })
			w.candidates[0].Here, w.in.Vendor = true, "acme"
		}, func(w *journey) {
			w.until(func() bool { return w.status == sent })
			w.decided(delivered, false)
		}},
		{"canceled-scheduled", func(w *journey) { w.in.SendAt = time.Now().Add(time.Hour) }, cancel},
		{"canceled-queued", dead, cancel},
		{"canceled-too-late", nil, func(w *journey) {
			w.untilIdle()
			if err := w.update(workflows.UpdateCancel); err == nil {
				w.t.Error("withdrawn")
			}
			w.decided(delivered, false)
		}},
		{"canceled-workflow", dead, func(w *journey) {
			w.untilIdle()
			if err := w.c.CancelWorkflow(context.Background(), w.id(), ""); err != nil {
				w.t.Error(err)
			}
		}},
		{"webhook-retried", func(w *journey) { w.webhook = func(n int) bool { return n > 4 } }, receiptSays(delivered, false)},
	}
}

// allPaths are the paths of an ordinary message, those of one that must wait, and those
// of one whose vendor fails.
func allPaths() []path {
	return append(apart(slices.Concat(paths(), holdPaths(), failoverPaths())), straightPaths()...)
}

// TestHistories takes every path on a real server and stores its history, plain,
// for TestReplay. It does so with -update only; without it, TestReplay is what
// looks at the histories.
func TestHistories(t *testing.T) {
	if !*update {
		return
	}
	c, err := client.Dial(client.Options{HostPort: stacktest.Temporal(t).Address(), Namespace: stacktest.Temporal(t).Namespace(), Identity: "postrider", Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all := &worlds{byID: map[message.ID]*steps{}}
	for _, queue := range []string{workflows.QueueMessages, workflows.QueueMedia, workflows.QueueNotify, workflows.VendorQueue("acme"), workflows.VendorQueue("zeta")} {
		w := worker.New(c, queue, worker.Options{LocalActivityWorkerOnly: queue == workflows.QueueMessages, DisableWorkflowWorker: queue != workflows.QueueMessages})
		if queue == workflows.QueueMessages {
			w.RegisterWorkflowWithOptions(workflows.Outbound, workflow.RegisterOptions{Name: workflows.OutboundType})
		}
		w.RegisterActivity(all)
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
	}
	t.Run("paths", func(t *testing.T) {
		for i, p := range allPaths() {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				store(t, p.name, all.take(t, c, i, p))
			})
		}
	})
}

// take takes one path to its end and gives its history.
func (a *worlds) take(t *testing.T, c client.Client, number int, p path) *historypb.History {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	w := &journey{t: t, c: c, steps: &steps{status: message.StatusAccepted, retryAfter: time.Second, admission: admit.Result{Allowed: true}}}
	w.moved = sync.NewCond(&w.mu)
	w.candidates = []route.Candidate{{VendorID: message.ID{15: 2}, Name: "acme", Grace: grace}}
	w.vendor = answers(submit.Result{Outcome: submit.Sent})
	w.in = workflows.OutboundInput{MessageID: message.ID{14: 1, 15: byte(number)}, AccountID: message.ID{15: 1}, Class: message.ClassConversation, ExpiresAt: time.Now().Add(validity)}
	if p.world != nil {
		p.world(w)
	}
	a.mu.Lock()
	a.byID[w.in.MessageID] = w.steps
	a.mu.Unlock()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: w.id(), TaskQueue: workflows.QueueMessages, EnableEagerStart: true}, workflows.OutboundType, w.in)
	if err != nil {
		t.Fatal(err)
	}
	if p.drive != nil {
		p.drive(w)
	}
	var r workflows.OutboundResult
	if err := run.Get(ctx, &r); err != nil || !r.Status.Final() || r.Status != w.status {
		t.Fatalf("%+v, %v, record %s", r, err, w.status)
	}
	h := &historypb.History{}
	for it := c.GetWorkflowHistory(ctx, w.id(), "", false, 0); it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			t.Fatal(err)
		}
		h.Events = append(h.Events, e)
	}
	return h
}

// store writes a history without what differs from run to run and means nothing
// to a replay.
func store(t *testing.T, name string, h *historypb.History) {
	t.Helper()
	for _, e := range h.Events {
		e.TaskId = 0
		if q := e.GetWorkflowTaskScheduledEventAttributes().GetTaskQueue(); q.GetKind() == enumspb.TASK_QUEUE_KIND_STICKY {
			q.Name = "sticky" // it has the host's name in it
		}
	}
	raw, err := protojson.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("stackTrace\":\"")) {
		t.Fatal("a step panicked: it has no stand-in here")
	}
	// The blanks of protojson differ between builds.
	var dense, b bytes.Buffer
	if err := json.Compact(&dense, raw); err != nil {
		t.Fatal(err)
	}
	if err := json.Indent(&b, dense.Bytes(), "", " "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	if err := os.MkdirAll("testdata/histories", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata/histories", name+".json"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// worlds gives each step to the world of its message.
type worlds struct {
	mu   sync.Mutex
	byID map[message.ID]*steps
}

func (a *worlds) of(id message.ID) (*steps, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.byID[id]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("no world for %s", id)
}

// delivering finds the world of a delivery.
func (a *worlds) delivering(id message.ID) (*steps, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.byID {
		s.mu.Lock()
		found := slices.Contains(s.pending, id)
		s.mu.Unlock()
		if found {
			return s, nil
		}
	}
	return nil, fmt.Errorf("no world for delivery %s", id)
}

func (s *steps) stir() {
	if s.moved != nil {
		s.moved.Broadcast()
	}
}

func (a *worlds) Admit(ctx context.Context, in admit.Input) (admit.Result, error) {
	s, err := a.of(in.MessageID)
	if err != nil {
		return admit.Result{}, err
	}
	defer s.stir()
	return s.Admit(ctx, in)
}

// Release takes every moment back: it names no message.
func (a *worlds) Release(context.Context, pace.Slot) error { return nil }

func (a *worlds) Prepare(ctx context.Context, in prepare.Input) (prepare.Result, error) {
	s, err := a.of(in.MessageID)
	if err != nil {
		return prepare.Result{}, err
	}
	return s.Prepare(ctx, in)
}

func (a *worlds) FallBackToText(ctx context.Context, in route.FallBackInput) (bool, error) {
	s, err := a.of(in.MessageID)
	if err != nil {
		return false, err
	}
	return s.FallBackToText(ctx, in)
}

func (a *worlds) ChooseRoute(ctx context.Context, in route.Input) (route.Result, error) {
	s, err := a.of(in.MessageID)
	if err != nil {
		return route.Result{}, err
	}
	defer s.stir()
	return s.ChooseRoute(ctx, in)
}

func (a *worlds) Submit(ctx context.Context, in submit.Input) (submit.Result, error) {
	s, err := a.of(in.MessageID)
	if err != nil {
		return submit.Result{}, err
	}
	defer s.stir()
	return s.Submit(ctx, in)
}

func (a *worlds) RecordOutcome(ctx context.Context, in record.Input) (record.Result, error) {
	s, err := a.of(in.MessageID)
	if err != nil {
		return record.Result{}, err
	}
	defer s.stir()
	return s.RecordOutcome(ctx, in)
}

func (a *worlds) TryWebhook(ctx context.Context, in notify.Input) (bool, error) {
	s, err := a.delivering(in.DeliveryID)
	if err != nil {
		return false, err
	}
	defer s.stir()
	return s.TryWebhook(ctx, in)
}

func (a *worlds) PostWebhook(ctx context.Context, in notify.Input) error {
	s, err := a.delivering(in.DeliveryID)
	if err != nil {
		return err
	}
	defer s.stir()
	return s.PostWebhook(ctx, in)
}
