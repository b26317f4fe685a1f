package workflows_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/deliver"
	"github.com/postrider/postrider/activities/notify"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/workflows"
)

// inboundPaths are the ways through the workflow of an inbound message.
func inboundPaths() map[string]func() *owner {
	soon := func(p deliver.Planned, after time.Duration) deliver.Planned {
		if p.Fallback = true; after > 0 {
			p.After = time.Now().Add(after)
		}
		return p
	}
	esme := func() deliver.Planned {
		p := esmeTo()
		p.Until = time.Now().Add(time.Hour)
		return p
	}
	says := func(o *owner, hook, mail, esme func(int) message.InboundState, fall ...deliver.Planned) *owner {
		o.hook, o.mail, o.esme, o.retryAfter = hook, mail, esme, time.Second
		for _, p := range fall {
			o.fallsTo(1, p)
		}
		return o
	}
	never := in(0, waits, waits)
	return map[string]func() *owner{
		"stored":          func() *owner { return newOwner(storeIt()) },
		"webhook":         func() *owner { return newOwner(hookTo()) },
		"webhook-retried": func() *owner { return says(newOwner(hookTo(), hookTo()), in(4, waits, arrived), nil, nil) },
		"esme-alone":      func() *owner { return newOwner(esme()) },
		"esme-and-webhook": func() *owner {
			return says(newOwner(esme(), hookTo()), in(2, waits, arrived), nil, in(1, waits, arrived))
		},
		"mail-retried":      func() *owner { return says(newOwner(mailTo()), nil, in(1, waits, arrived), nil) },
		"mm4-retried":       func() *owner { return says(newOwner(mm4To()), nil, in(1, waits, arrived), nil) },
		"fall-back-mm4":     func() *owner { return says(newOwner(soon(mm4To(), 2*time.Second)), nil, never, nil, storeIt()) },
		"fall-back-at-once": func() *owner { return says(newOwner(soon(hookTo(), 0)), in(1, lost, arrived), nil, nil, storeIt()) },
		"fall-back-webhook": func() *owner { return says(newOwner(soon(hookTo(), 2*time.Second)), never, nil, nil, mailTo()) },
		"fall-back-mail":    func() *owner { return says(newOwner(soon(mailTo(), 2*time.Second)), nil, never, nil, hookTo()) },
		"fall-back-esme":    func() *owner { return says(newOwner(soon(esme(), time.Second)), nil, nil, never, hookTo()) },
		"fall-back-to-esme": func() *owner {
			return says(newOwner(soon(hookTo(), 0)), in(1, lost, arrived), nil, in(1, waits, arrived), esme())
		},
		"fall-back-not-needed": func() *owner {
			return says(newOwner(soon(esme(), time.Minute)), nil, nil, in(0, waits, arrived), hookTo())
		},
		"fall-back-mail-failed": func() *owner { return says(newOwner(soon(mailTo(), 0)), nil, in(0, waits, lost), nil, storeIt()) },
	}
}

// TestInboundHistories is TestHistories for inbound messages.
func TestInboundHistories(t *testing.T) {
	if !*update {
		return
	}
	c, err := client.Dial(client.Options{HostPort: stacktest.Temporal(t).Address(), Namespace: stacktest.Temporal(t).Namespace(), Identity: "postrider", Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all := &owners{byID: map[message.ID]*owner{}}
	for _, queue := range []string{workflows.QueueMessages, workflows.QueueNotify, workflows.QueueMail, workflows.QueueMM4} {
		w := worker.New(c, queue, worker.Options{LocalActivityWorkerOnly: queue == workflows.QueueMessages, DisableWorkflowWorker: queue != workflows.QueueMessages})
		if queue == workflows.QueueMessages {
			w.RegisterWorkflowWithOptions(workflows.Inbound, workflow.RegisterOptions{Name: workflows.InboundType})
		}
		w.RegisterActivity(all)
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
	}
	t.Run("paths", func(t *testing.T) {
		for name, make := range inboundPaths() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				store(t, filepath.Join("../inbound", name), all.take(t, c, make()))
			})
		}
	})
}

// owners gives each step to the owner of its message.
type owners struct {
	mu   sync.Mutex
	byID map[message.ID]*owner
}

func (a *owners) take(t *testing.T, c client.Client, o *owner) *historypb.History {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	in := workflows.InboundInput{MessageID: message.NewID(), AccountID: message.ID{15: 1}}
	a.mu.Lock()
	a.byID[in.MessageID] = o
	a.mu.Unlock()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: workflows.InboundID(in.MessageID), TaskQueue: workflows.QueueMessages, EnableEagerStart: true}, workflows.InboundType, in)
	if err != nil {
		t.Fatal(err)
	}
	var r workflows.InboundResult
	if err := run.Get(ctx, &r); err != nil || r.Status != o.status {
		t.Fatalf("%+v, %v, record %s", r, err, o.status)
	}
	h := &historypb.History{}
	for it := c.GetWorkflowHistory(ctx, workflows.InboundID(in.MessageID), "", false, 0); it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			t.Fatal(err)
		}
		h.Events = append(h.Events, e)
	}
	return h
}

func (a *owners) of(id message.ID) (*owner, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o := a.byID[id]; o != nil {
		return o, nil
	}
	return nil, fmt.Errorf("no owner of %s", id)
}

// telling finds the owner of a delivery.
func (a *owners) telling(id message.ID) (*owner, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range a.byID {
		o.mu.Lock()
		_, found := o.hooks[id]
		o.mu.Unlock()
		if found {
			return o, nil
		}
	}
	return nil, fmt.Errorf("no owner of delivery %s", id)
}

func (a *owners) PlanInbound(ctx context.Context, in deliver.Input) (deliver.Plan, error) {
	o, err := a.of(in.MessageID)
	if err != nil {
		return deliver.Plan{}, err
	}
	return o.PlanInbound(ctx, in)
}

func (a *owners) FallBack(ctx context.Context, in deliver.Input) (*deliver.Planned, error) {
	o, err := a.of(in.MessageID)
	if err != nil {
		return nil, err
	}
	return o.FallBack(ctx, in)
}

func (a *owners) Progress(ctx context.Context, in deliver.Input) (message.InboundState, error) {
	o, err := a.of(in.MessageID)
	if err != nil {
		return "", err
	}
	return o.Progress(ctx, in)
}

func (a *owners) SendMail(ctx context.Context, in deliver.Input) error {
	o, err := a.of(in.MessageID)
	if err != nil {
		return err
	}
	return o.SendMail(ctx, in)
}

func (a *owners) GiveUpMail(ctx context.Context, in deliver.Input) error {
	o, err := a.of(in.MessageID)
	if err != nil {
		return err
	}
	return o.GiveUpMail(ctx, in)
}

func (a *owners) SendMM4(ctx context.Context, in deliver.Input) error { return a.SendMail(ctx, in) }

func (a *owners) GiveUpMM4(ctx context.Context, in deliver.Input) error { return a.GiveUpMail(ctx, in) }

func (a *owners) SettleInbound(ctx context.Context, in deliver.Input) (message.Status, error) {
	o, err := a.of(in.MessageID)
	if err != nil {
		return "", err
	}
	return o.SettleInbound(ctx, in)
}

func (a *owners) TryWebhook(ctx context.Context, in notify.Input) (bool, error) {
	o, err := a.telling(in.DeliveryID)
	if err != nil {
		return false, err
	}
	return o.TryWebhook(ctx, in)
}

func (a *owners) PostWebhook(ctx context.Context, in notify.Input) error {
	o, err := a.telling(in.DeliveryID)
	if err != nil {
		return err
	}
	return o.PostWebhook(ctx, in)
}

// TestInboundReplay is TestReplay for inbound messages.
func TestInboundReplay(t *testing.T) {
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(workflows.Inbound, workflow.RegisterOptions{Name: workflows.InboundType})
	moved := worker.NewWorkflowReplayer()
	moved.RegisterWorkflowWithOptions(func(ctx workflow.Context, in workflows.InboundInput) (workflows.InboundResult, error) {
		if err := workflow.UpsertTypedSearchAttributes(ctx, workflows.AttrOutcome.ValueSet("early")); err != nil {
			return workflows.InboundResult{}, err
		}
		return workflows.Inbound(ctx, in)
	}, workflow.RegisterOptions{Name: workflows.InboundType})
	files, err := filepath.Glob("testdata/inbound/*.json")
	if err != nil || len(files) != len(inboundPaths()) {
		t.Fatalf("%d histories, and %d ways through the workflow: %v", len(files), len(inboundPaths()), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			if err := replayer.ReplayWorkflowHistoryFromJSONFile(quiet{}, file); err != nil {
				t.Error(err)
			}
			if err := moved.ReplayWorkflowHistoryFromJSONFile(quiet{}, file); err == nil {
				t.Error("a step that comes earlier than it did replays")
			}
		})
	}
}
