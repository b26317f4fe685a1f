package workflows_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/deliver"
	"github.com/postrider/postrider/activities/notify"
	"github.com/postrider/postrider/activities/prepare"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

// owner are the steps of an inbound message's life over one message in memory. A test
// says where the message goes and what is said to it there.
type owner struct {
	mu     sync.Mutex
	status message.Status
	plan   []deliver.Planned
	falls  map[int]deliver.Planned // by the position of the destination
	state  map[int]message.InboundState
	hooks  map[message.ID]int // positions of deliveries

	hook func(n int) message.InboundState // what the nth try of any webhook comes to; nil: delivered
	mail func(n int) message.InboundState
	esme func(n int) message.InboundState // what the nth look finds

	fetch   func(n int) error // of the files; nil: there are none
	fetches int

	tries, posts, mails, looks, falling, plans int
	gaveUp                                     int
	retryAfter                                 time.Duration
}

func newOwner(plan ...deliver.Planned) *owner {
	o := &owner{status: message.StatusAccepted, falls: map[int]deliver.Planned{}, state: map[int]message.InboundState{}, hooks: map[message.ID]int{}, retryAfter: time.Hour}
	for i := range plan {
		plan[i].Position = i + 1
		o.knows(plan[i])
	}
	o.plan = plan
	return o
}

// knows takes a destination into the record.
func (o *owner) knows(p deliver.Planned) {
	if o.state[p.Position] = message.InboundStored; p.Pending {
		o.state[p.Position] = message.InboundPending
	}
	for _, id := range p.Webhooks {
		o.hooks[id] = p.Position
	}
}

// falls back to another place.
func (o *owner) fallsTo(position int, p deliver.Planned) {
	p.Position = position + message.FallbackPosition
	o.falls[position] = p
}

func (o *owner) PlanInbound(_ context.Context, in deliver.Input) (deliver.Plan, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.plans++
	if o.fetch != nil && !in.Fetched {
		return deliver.Plan{Fetch: true}, nil
	}
	return deliver.Plan{Destinations: o.plan}, nil
}

func (o *owner) FetchInbound(context.Context, prepare.Inbound) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fetches++
	return o.fetch(o.fetches)
}

func (o *owner) FallBack(_ context.Context, in deliver.Input) (*deliver.Planned, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.falling++
	if s := o.state[in.Position]; s == message.InboundDelivered || s == message.InboundStored {
		return nil, nil
	}
	o.state[in.Position] = message.InboundFailed
	p := o.falls[in.Position]
	o.knows(p)
	return &p, nil
}

func (o *owner) Progress(_ context.Context, in deliver.Input) (message.InboundState, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.looks++
	if o.state[in.Position] == message.InboundPending {
		o.state[in.Position] = o.esme(o.looks)
	}
	return o.state[in.Position], nil
}

func (o *owner) TryWebhook(_ context.Context, in notify.Input) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tries++
	return o.tell(in) != message.InboundPending, nil
}

func (o *owner) PostWebhook(_ context.Context, in notify.Input) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.posts++
	if o.tell(in) != message.InboundPending {
		return nil
	}
	return temporal.NewApplicationErrorWithOptions("not now", "webhook_pending", temporal.ApplicationErrorOptions{NextRetryDelay: o.retryAfter})
}

func (o *owner) tell(in notify.Input) message.InboundState {
	at := o.hooks[in.DeliveryID]
	if o.state[at] == message.InboundPending {
		if o.state[at] = message.InboundDelivered; o.hook != nil {
			o.state[at] = o.hook(o.tries + o.posts)
		}
	}
	return o.state[at]
}

func (o *owner) SendMail(_ context.Context, in deliver.Input) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mails++
	if o.state[in.Position] == message.InboundPending {
		if o.state[in.Position] = message.InboundDelivered; o.mail != nil {
			o.state[in.Position] = o.mail(o.mails)
		}
	}
	if o.state[in.Position] != message.InboundPending {
		return nil
	}
	return temporal.NewApplicationErrorWithOptions("not now", "email_pending", temporal.ApplicationErrorOptions{NextRetryDelay: o.retryAfter})
}

func (o *owner) GiveUpMail(_ context.Context, in deliver.Input) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gaveUp++
	o.state[in.Position] = message.InboundFailed
	return nil
}

func (o *owner) SendMM4(ctx context.Context, in deliver.Input) error { return o.SendMail(ctx, in) }

func (o *owner) GiveUpMM4(ctx context.Context, in deliver.Input) error { return o.GiveUpMail(ctx, in) }

func (o *owner) SettleInbound(context.Context, deliver.Input) (message.Status, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []message.InboundDelivery
	for _, s := range o.state {
		list = append(list, message.InboundDelivery{State: s})
	}
	switch message.SumUp(list) {
	case message.InboundDelivered, message.InboundStored:
		o.status = message.StatusDelivered
	case message.InboundFailed:
		o.status = message.StatusFailed
	}
	return o.status, nil
}

// Destinations.
func hookTo() deliver.Planned {
	return deliver.Planned{Method: message.InboundWebhook, Pending: true, Webhooks: []message.ID{message.NewID()}}
}

func mailTo() deliver.Planned { return deliver.Planned{Method: message.InboundEmail, Pending: true} }

func mm4To() deliver.Planned { return deliver.Planned{Method: message.InboundMM4, Pending: true} }

func esmeTo() deliver.Planned {
	return deliver.Planned{Method: message.InboundSMPP, Pending: true, Until: start.Add(72 * time.Hour)}
}

func storeIt() deliver.Planned { return deliver.Planned{Method: message.InboundStorage} }

// orElse gives a destination a fall-back whose turn comes so long after the start; 0:
// when it has failed.
func orElse(p deliver.Planned, after time.Duration) deliver.Planned {
	if p.Fallback = true; after > 0 {
		p.After = start.Add(after)
	}
	return p
}

// in gives what the first n are said, and then the last for ever.
func in(n int, first, then message.InboundState) func(int) message.InboundState {
	return func(i int) message.InboundState {
		if i <= n {
			return first
		}
		return then
	}
}

const (
	waits   = message.InboundPending
	arrived = message.InboundDelivered
	lost    = message.InboundFailed
)

// carried takes the message to its end and says how long that took.
func carried(t *testing.T, o *owner, want message.Status, shape ...func(*testsuite.TestWorkflowEnvironment)) time.Duration {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetStartTime(start)
	env.RegisterActivity(o)
	env.RegisterWorkflowWithOptions(workflows.Inbound, workflow.RegisterOptions{Name: workflows.InboundType})
	for _, f := range shape {
		f(env)
	}
	env.ExecuteWorkflow(workflows.InboundType, workflows.InboundInput{MessageID: message.NewID(), AccountID: message.NewID()})
	var r workflows.InboundResult
	if err := env.GetWorkflowResult(&r); err != nil || !env.IsWorkflowCompleted() {
		t.Fatalf("the workflow failed: %v", err)
	}
	if r.Status != want || o.status != want {
		t.Errorf("the workflow says %s, the record %s, want %s", r.Status, o.status, want)
	}
	once := 1
	if o.fetch != nil { // and before the files were fetched
		once++
	}
	if o.plans != once {
		t.Errorf("planned %d times", o.plans)
	}
	return env.Now().Sub(start)
}

// What is done with at the first try ends there.
func TestInboundAtOnce(t *testing.T) {
	o := newOwner(hookTo(), hookTo(), storeIt())
	if took := carried(t, o, message.StatusDelivered); took != 0 || o.tries != 2 || o.posts != 0 {
		t.Errorf("%s, %d tries, %d more", took, o.tries, o.posts)
	}
	if took := carried(t, newOwner(storeIt()), message.StatusDelivered); took != 0 {
		t.Errorf("the store took %s", took)
	}
}

func TestInboundRetried(t *testing.T) {
	o := newOwner(hookTo())
	o.hook = in(3, waits, arrived)
	if took := carried(t, o, message.StatusDelivered); took != 2*time.Hour || o.posts != 3 {
		t.Errorf("%s, %d more tries", took, o.posts)
	}
	o = newOwner(hookTo())
	o.hook = in(3, waits, lost)
	carried(t, o, message.StatusFailed)
}

// One ESME is the edge's business: the workflow does not stay for it.
func TestInboundByESMEAlone(t *testing.T) {
	o := newOwner(esmeTo())
	if took := carried(t, o, message.StatusAccepted); took != 0 || o.looks != 0 {
		t.Errorf("%s, %d looks", took, o.looks)
	}
}

// What others come to counts with what the ESME does.
func TestInboundByESMEAndWebhook(t *testing.T) {
	o := newOwner(esmeTo(), hookTo())
	o.hook, o.esme = in(0, waits, lost), in(2, waits, arrived)
	if took := carried(t, o, message.StatusDelivered); took < 40*time.Second || took > time.Minute || o.looks != 3 {
		t.Errorf("%s, %d looks", took, o.looks)
	}
	// Nobody comes for it, and nobody ends it either.
	o = newOwner(esmeTo(), storeIt())
	o.esme = in(0, waits, waits)
	if took := carried(t, o, message.StatusAccepted); took < 72*time.Hour || took > 75*time.Hour || o.looks > 90 {
		t.Errorf("%s, %d looks", took, o.looks)
	}
}

func TestInboundByMail(t *testing.T) {
	o := newOwner(mailTo())
	o.mail = in(2, waits, arrived)
	if took := carried(t, o, message.StatusDelivered); took != 2*time.Hour || o.mails != 3 {
		t.Errorf("%s, %d mails", took, o.mails)
	}
	o = newOwner(mailTo())
	o.mail, o.retryAfter = in(0, waits, waits), 5*time.Hour
	if took := carried(t, o, message.StatusFailed); took > 74*time.Hour || o.gaveUp != 1 {
		t.Errorf("%s, given up %d times", took, o.gaveUp)
	}
}

func TestInboundByMM4(t *testing.T) {
	o := newOwner(mm4To())
	o.mail = in(2, waits, arrived)
	if took := carried(t, o, message.StatusDelivered); took != 2*time.Hour || o.mails != 3 {
		t.Errorf("%s, %d tries", took, o.mails)
	}
	o = newOwner(mm4To())
	o.mail, o.retryAfter = in(0, waits, waits), 100*time.Hour
	if took := carried(t, o, message.StatusFailed); took > 32*24*time.Hour || o.gaveUp != 1 {
		t.Errorf("%s, given up %d times", took, o.gaveUp)
	}
}

// The fall-back's turn comes when the time is over, or when the destination has failed,
// and what was under way is given up.
func TestInboundFallsBack(t *testing.T) {
	for name, c := range map[string]struct {
		to    deliver.Planned
		hook  func(int) message.InboundState
		after time.Duration
	}{
		"webhook in time":       {orElse(hookTo(), time.Minute), in(10, waits, arrived), time.Minute},
		"webhook that is gone":  {orElse(hookTo(), time.Hour), in(1, lost, arrived), 0},
		"webhook, when it ends": {orElse(hookTo(), 0), in(2, waits, lost), time.Hour},
		"ESME in time":          {orElse(esmeTo(), 10*time.Minute), nil, 10 * time.Minute},
		"mail in time":          {orElse(mailTo(), time.Minute), nil, time.Minute},
		"MM4 in time":           {orElse(mm4To(), time.Minute), nil, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOwner(c.to)
			o.hook, o.esme = c.hook, in(0, waits, waits)
			o.mail = in(0, waits, waits)
			o.fallsTo(1, storeIt())
			if took := carried(t, o, message.StatusDelivered); took != c.after || o.falling != 1 || o.state[1] != lost {
				t.Errorf("%s, %d fall-backs, %v", took, o.falling, o.state)
			}
		})
	}
}

// What has arrived needs no fall-back.
func TestInboundNeedsNoFallBack(t *testing.T) {
	o := newOwner(orElse(esmeTo(), time.Hour))
	o.esme = in(1, waits, arrived)
	o.fallsTo(1, hookTo())
	if took := carried(t, o, message.StatusDelivered); took > time.Minute || o.tries != 0 || o.looks != 2 {
		t.Errorf("%s, %d tries, %d looks", took, o.tries, o.looks)
	}
}

// A fall-back is worked on as any destination.
func TestInboundFallBackIsRetried(t *testing.T) {
	o := newOwner(orElse(hookTo(), time.Minute))
	o.hook = in(0, waits, waits)
	o.mail = in(1, waits, arrived)
	o.fallsTo(1, mailTo())
	if took := carried(t, o, message.StatusDelivered); took != time.Hour+time.Minute || o.mails != 2 {
		t.Errorf("%s, %d mails", took, o.mails)
	}
	o = newOwner(orElse(hookTo(), time.Minute))
	o.hook, o.esme = in(0, waits, waits), in(2, waits, lost)
	o.fallsTo(1, esmeTo())
	if carried(t, o, message.StatusFailed); o.looks != 3 {
		t.Errorf("%d looks", o.looks)
	}
}

// Who cancels the workflow ends nothing, and the query tells what it waits for.
func TestInboundIsNotCanceled(t *testing.T) {
	o := newOwner(hookTo())
	o.hook = in(2, waits, arrived)
	var seen workflows.State
	carried(t, o, message.StatusDelivered, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			v, err := env.QueryWorkflow(workflows.QueryState)
			if err == nil {
				err = v.Get(&seen)
			}
			if err != nil {
				t.Error(err)
			}
			env.CancelWorkflow()
		}, time.Minute)
	})
	if seen.Step != "deliver" || seen.Webhooks != 1 || seen.Waiting == "" {
		t.Errorf("it says %+v", seen)
	}
}

// The files of an MMS are fetched before it goes anywhere, and not waited for for ever.
func TestInboundMMS(t *testing.T) {
	for name, c := range map[string]struct {
		fails int
		least time.Duration
	}{"at once": {0, 0}, "later": {2, 15 * time.Second}, "never": {1 << 20, time.Minute}} {
		t.Run(name, func(t *testing.T) {
			o := newOwner(hookTo())
			o.fetch = func(n int) error {
				if o.tries > 0 {
					t.Error("the owner was told before")
				}
				if n <= c.fails {
					return errors.New("the vendor is away")
				}
				return nil
			}
			if took := carried(t, o, delivered); o.tries != 1 || took < c.least || took > time.Hour {
				t.Errorf("told %d times, took %s", o.tries, took)
			}
		})
	}
}
