package submit_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/journaltest"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/snapshot"
)

// pacer gives every message the same moment.
type pacer struct{ slot pace.Slot }

func (p pacer) Reserve(context.Context, pace.Demand) (pace.Slot, error) { return p.slot, nil }
func (p pacer) Release(context.Context, pace.Slot) error                { return nil }
func (p pacer) CloseDay(context.Context, []pace.Limit) error            { return nil }

func (b *bundle) suspend() {
	for _, c := range b.config.Campaigns {
		c.Status = snapshot.CampaignSuspended
	}
}

func (b *bundle) paced(at time.Time) {
	for _, c := range b.config.Campaigns {
		c.Throughput = 60
	}
	b.steps.Gate.Pacer = pacer{pace.Slot{ID: message.ID{15: 1}, At: at, Parts: 1, Hold: message.Hold{Rule: "rate", Until: at}}}
}

// A campaign that was suspended while its message waited keeps it from leaving,
// whether it is offered first or again.
func TestSuspendedBeforeItLeaves(t *testing.T) {
	for name, b := range map[string]*bundle{"queued": setup(t, 1, message.AtMostOnce), "first": first(t, 1, message.AtMostOnce)} {
		t.Run(name, func(t *testing.T) {
			b.suspend()
			for range 2 { // the second finds what the first has written
				r, err := b.steps.Submit(t.Context(), b.in)
				if err != nil || r.Outcome != submit.Ended || r.Status != message.StatusRejected || r.Reason != message.ReasonCampaignInactive {
					t.Fatalf("%+v, %v", r, err)
				}
			}
			if len(b.vendor.tries) > 0 {
				t.Error("it left")
			}
		})
	}
}

// What has left in part goes on to its end.
func TestSuspendedHalfWay(t *testing.T) {
	b := setup(t, 2, message.AtMostOnce)
	b.vendor.answer = func(s message.Submission, _ int) (message.SubmitResult, error) {
		if s.Part == 2 {
			b.suspend()
			return message.SubmitResult{}, &message.SubmitError{Reason: message.ReasonVendorThrottled, Answered: true, Written: true, Again: true}
		}
		return message.SubmitResult{VendorMessageID: "A", NormalizedID: "a"}, nil
	}
	if r, err := b.steps.Submit(t.Context(), b.in); err != nil || r.Outcome != submit.Busy {
		t.Fatalf("%+v, %v", r, err)
	}
	b.vendor.answer = nil
	if r, err := b.steps.Submit(t.Context(), b.in); err != nil || r.Outcome != submit.Sent {
		t.Errorf("%+v, %v", r, err)
	}
}

// A message whose moment has passed gets another, and waits for it when it lies
// ahead.
func TestItsMomentHasPassed(t *testing.T) {
	stale := &pace.Slot{ID: message.ID{15: 2}, At: now.Add(-time.Minute), Parts: 1}
	b := setup(t, 1, message.AtMostOnce)
	b.in.Slot = stale
	at := now.Add(time.Minute)
	b.paced(at)
	r, err := b.steps.Submit(t.Context(), b.in)
	if err != nil || r.Outcome != submit.Held || r.Hold == nil || !r.Hold.Until.Equal(at) || r.Slot == nil || !r.Slot.At.Equal(at) {
		t.Fatalf("%+v, %v", r, err)
	}
	if m, err := b.journal.Message(t.Context(), b.m.ID); err != nil || m.Status != message.StatusQueued || m.Hold == nil {
		t.Errorf("the record shows %+v, %v", m, err)
	}
	b.paced(now)
	b.in.Held = true
	if r, err = b.steps.Submit(t.Context(), b.in); err != nil || r.Outcome != submit.Sent {
		t.Fatalf("%+v, %v", r, err)
	}
	if m, err := b.journal.Message(t.Context(), b.m.ID); err != nil || m.Hold != nil {
		t.Errorf("the record shows %+v, %v", m, err)
	}
}

// One that is not queued yet is admitted anew, with the moment that it has now.
func TestItsMomentHasPassedBeforeItWasQueued(t *testing.T) {
	b := first(t, 1, message.AtMostOnce)
	b.in.Slot = &pace.Slot{ID: message.ID{15: 2}, At: now.Add(-time.Minute), Parts: 1}
	b.paced(now.Add(time.Minute))
	r, err := b.steps.Submit(t.Context(), b.in)
	if err != nil || r.Outcome != submit.Revised || r.Slot == nil || !r.Slot.At.After(now) {
		t.Errorf("%+v, %v", r, err)
	}
	if len(b.vendor.tries) > 0 {
		t.Error("it left")
	}
}

// The connector may hold a message up for as long as its vendor throttles: what the
// policy says then is what counts.
func TestSuspendedInTheConnector(t *testing.T) {
	for name, b := range map[string]*bundle{"queued": setup(t, 3, message.AtMostOnce), "first": first(t, 3, message.AtMostOnce)} {
		t.Run(name, func(t *testing.T) {
			var once sync.Once
			b.vendor.gate = func(done bool) error {
				once.Do(b.suspend)
				return nil
			}
			r, err := b.steps.Submit(t.Context(), b.in)
			if err != nil || r.Outcome != submit.Ended || r.Status != message.StatusRejected || r.Reason != message.ReasonCampaignInactive {
				t.Fatalf("%+v, %v", r, err)
			}
			if len(b.vendor.tries) > 0 {
				t.Errorf("%d parts left", len(b.vendor.tries))
			}
			if slices.Contains(b.journal.Timeline(b.m.ID), message.EventSubmitRefused) {
				t.Error("the timeline says that the vendor has refused it")
			}
		})
	}
}

// Its moment may pass there as well.
func TestItsMomentPassesInTheConnector(t *testing.T) {
	b := setup(t, 1, message.AtMostOnce)
	clock := now
	b.steps.Gate.Now = func() time.Time { return clock }
	b.paced(now)
	b.vendor.gate = func(done bool) error {
		if clock == now {
			clock = now.Add(time.Minute)
			b.paced(now.Add(2 * time.Minute))
		}
		return nil
	}
	r, err := b.steps.Submit(t.Context(), b.in)
	if err != nil || r.Outcome != submit.Held || !r.Hold.Until.Equal(now.Add(2*time.Minute)) || len(b.vendor.tries) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
}

// The moment that took the place of one that had passed is what the message has from
// then on: the next try would have it counted once more.
func TestItsNewMomentIsKept(t *testing.T) {
	for name, make := range map[string]func(testing.TB, int, message.Delivery) *bundle{"queued": setup, "first": first} {
		for _, answer := range []*message.SubmitError{
			{Reason: message.ReasonVendorThrottled, Written: true, Answered: true, Again: true},
			{Reason: message.ReasonVendorRejected, Written: true, Answered: true},
			{Reason: message.ReasonVendorUnreachable, Again: true},
		} {
			t.Run(name+" "+string(answer.Reason), func(t *testing.T) {
				b := make(t, 1, message.AtMostOnce)
				b.in.Slot = &pace.Slot{ID: message.ID{15: 2}, At: now.Add(-time.Minute), Parts: 1}
				b.paced(now)
				b.vendor.answer = func(message.Submission, int) (message.SubmitResult, error) { return message.SubmitResult{}, answer }
				r, err := b.steps.Submit(t.Context(), b.in)
				if err != nil || r.Slot == nil || r.Slot.ID != (message.ID{15: 1}) || r.Left {
					t.Errorf("%+v, %v", r, err)
				}
			})
		}
	}
}

// Whoever gives moments back must know that some of the message has left in its.
func TestLeftInPart(t *testing.T) {
	b := setup(t, 2, message.AtMostOnce)
	b.vendor.answer = func(s message.Submission, _ int) (message.SubmitResult, error) {
		if s.Part == 2 {
			return message.SubmitResult{}, &message.SubmitError{Reason: message.ReasonVendorThrottled, Answered: true, Written: true, Again: true}
		}
		return message.SubmitResult{VendorMessageID: "A", NormalizedID: "a"}, nil
	}
	if r, err := b.steps.Submit(t.Context(), b.in); err != nil || r.Outcome != submit.Busy || !r.Left {
		t.Fatalf("%+v, %v", r, err)
	}
}

// A run whose answer was lost may have noted that the message waits: the next one,
// which finds that it may go, takes that away again.
func TestHeldByALostRun(t *testing.T) {
	b := setup(t, 1, message.AtMostOnce)
	b.paced(now.Add(time.Minute))
	b.journal.Step = func(op string, done bool) error {
		if op != "advance" || !done {
			return nil
		}
		b.journal.Step = nil
		b.paced(now)
		return journaltest.ErrDead
	}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterActivity(b.steps)
	env.ExecuteWorkflow(func(ctx workflow.Context, in submit.Input) (r submit.Result, err error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		return r, workflow.ExecuteActivity(ctx, b.steps.Submit, in).Get(ctx, &r)
	}, b.in)
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if m, err := b.journal.Message(t.Context(), b.m.ID); err != nil || m.Hold != nil || m.Status != message.StatusSent {
		t.Errorf("the record shows %+v, %v", m, err)
	}
}
