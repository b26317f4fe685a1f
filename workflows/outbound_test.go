package workflows_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

const (
	sent        = message.StatusSent
	delivered   = message.StatusDelivered
	undelivered = message.StatusUndelivered
	expired     = message.StatusExpired
	failed      = message.StatusFailed
	canceled    = message.StatusCanceled
	unconfirmed = message.StatusUnconfirmed
)

func TestDelivered(t *testing.T) {
	t.Run("over the vendor's queue", func(t *testing.T) {
		b := setup(t)
		b.receipt(time.Minute, delivered)
		if took := b.run(delivered, ""); took != time.Minute {
			t.Errorf("took %s", took)
		}
		b.offered("acme")
		b.toldOf(sent, delivered)
		o := b.options[0]
		if o.TaskQueue != "vendor.acme" || o.Priority.PriorityKey != 3 || o.Priority.FairnessKey != b.in.AccountID.String() || o.ScheduleToStartTimeout != 30*time.Second {
			t.Errorf("options %+v", o)
		}
	})
	t.Run("over a link of this process", func(t *testing.T) {
		b := setup(t)
		b.candidates[0].Here = true
		b.receipt(time.Minute, delivered)
		b.run(delivered, "")
		b.offered("acme here")
	})
	t.Run("told by signal", func(t *testing.T) {
		b := setup(t)
		b.at(time.Minute, func() {
			b.decide(delivered)
			b.env.SignalWorkflow(workflows.SignalDecided, nil)
		})
		b.run(delivered, "")
	})
	t.Run("told twice", func(t *testing.T) {
		b := setup(t)
		b.receipt(time.Minute, delivered)
		b.receipt(time.Minute, delivered)
		b.run(delivered, "")
		b.toldOf(sent, delivered)
	})
}

// The link of this process has gone between the choice and the submit: the
// queue is the way out, at once and without counting as a try.
func TestLocalLinkGone(t *testing.T) {
	for name, answer := range map[string]func() (submit.Result, error){
		"no link":     func() (submit.Result, error) { return unreachable, nil },
		"no database": func() (submit.Result, error) { return submit.Result{}, errAway },
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.candidates[0].Here = true
			b.vendor = func(_ string, n int) (submit.Result, error) {
				if n == 1 {
					return answer()
				}
				return submit.Result{Outcome: submit.Sent}, nil
			}
			b.receipt(time.Second, delivered)
			b.run(delivered, "")
			b.offered("acme here", "acme")
		})
	}
}

var (
	unreachable = submit.Result{Outcome: submit.Busy, Reason: message.ReasonVendorUnreachable}
	trouble     = submit.Result{Outcome: submit.Busy, Reason: message.ReasonVendorRejected}
	throttle    = submit.Result{Outcome: submit.Busy, Reason: message.ReasonVendorThrottled, Throttled: true}
	refusal     = submit.Result{Outcome: submit.Refused, Reason: message.ReasonVendorRejected, VendorCode: "45"}
)

// What a local submit hears from the vendor stands: it is not repeated over the
// queue in the same moment.
func TestLocalBusyIsAnAnswer(t *testing.T) {
	b := setup(t)
	b.candidates[0].Here = true
	b.vendor = answers(throttle, submit.Result{Outcome: submit.Sent})
	b.receipt(time.Minute, delivered)
	b.run(delivered, "")
	b.offered("acme here", "acme")
	if len(b.options) != 1 {
		t.Errorf("%d regular activities", len(b.options))
	}
}

// answers gives the vendor's answers in order; the last is repeated.
func answers(list ...submit.Result) func(string, int) (submit.Result, error) {
	return func(_ string, n int) (submit.Result, error) { return list[min(n, len(list))-1], nil }
}

// byVendor answers by the vendor's name, always the same.
func byVendor(acme, zeta submit.Result) func(string, int) (submit.Result, error) {
	return func(name string, _ int) (submit.Result, error) {
		if name == "acme" {
			return acme, nil
		}
		return zeta, nil
	}
}

func TestReceiptBeforeSent(t *testing.T) {
	t.Run("stored before the answer", func(t *testing.T) {
		b := setup(t)
		b.decide(delivered)
		b.vendor = answers(submit.Result{Outcome: submit.Sent, Decided: true})
		// The fake submit would say that it is settled; here it was not yet then.
		b.receipts = ""
		b.inSubmit = func(int) { b.decide(delivered) }
		if took := b.run(delivered, ""); took != 0 {
			t.Errorf("took %s", took)
		}
		b.toldOf(sent, delivered)
	})
	t.Run("told while the submit is under way", func(t *testing.T) {
		b := setup(t)
		b.inSubmit = func(int) {
			b.decide(delivered)
			b.env.SignalWorkflow(workflows.SignalDecided, nil)
		}
		if took := b.run(delivered, ""); took != 0 {
			t.Errorf("took %s", took)
		}
	})
}

func TestDecidedByReceipts(t *testing.T) {
	for _, status := range []message.Status{undelivered, expired} {
		t.Run(string(status), func(t *testing.T) {
			b := setup(t)
			b.receipt(time.Hour, status)
			b.run(status, "")
			b.toldOf(sent, status)
		})
	}
}

func TestSilence(t *testing.T) {
	b := setup(t)
	if took := b.run(unconfirmed, message.ReasonNoReceipt); took != validity+grace {
		t.Errorf("took %s", took)
	}
	b.toldOf(sent, unconfirmed)
}

// Receipts that leave something open, told again and again, neither end the wait
// nor lengthen it.
func TestOpenReceipts(t *testing.T) {
	b := setup(t)
	for i := range 50 {
		b.receipt(time.Duration(i+1)*time.Minute, "")
	}
	if took := b.run(unconfirmed, message.ReasonNoReceipt); took != validity+grace {
		t.Errorf("took %s", took)
	}
}

// The receipt comes in the very moment in which the wait ends.
func TestReceiptAtTheEndOfTheWait(t *testing.T) {
	b := setup(t)
	b.receipt(validity+grace, delivered)
	b.run(delivered, "")
}

// Whoever was to tell the workflow died after the record was written: it finds out by
// itself, at the second look here, and customers are told once.
func TestNobodyTells(t *testing.T) {
	b := setup(t)
	b.at(3*time.Minute, func() { b.decide(delivered) })
	if took := b.run(delivered, ""); took != 10*time.Minute {
		t.Errorf("took %s", took)
	}
	b.toldOf(sent, delivered)
}

// A process that was taken for dead has lived on: it records that what was in doubt has
// not left. The workflow finds that when it looks, and offers the message again.
func TestQueuedAgainBehindItsBack(t *testing.T) {
	b := setup(t).here()
	b.vendor = func(_ string, n int) (submit.Result, error) {
		if n == 1 {
			return submit.Result{Outcome: submit.InDoubt}, nil
		}
		return submit.Result{Outcome: submit.Sent}, nil
	}
	b.at(time.Minute, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.move(message.StatusQueued)
	})
	b.receipt(3*time.Minute, delivered)
	if took := b.run(delivered, ""); took != 3*time.Minute {
		t.Errorf("took %s", took)
	}
	b.offered("acme here", "acme here")
	b.toldOf(message.StatusInDoubt, sent, delivered)
}

// The same, when there is no vendor just then: another list has one.
func TestQueuedAgainWithoutVendors(t *testing.T) {
	b := setup(t).here()
	b.vendor = func(_ string, n int) (submit.Result, error) {
		if n == 1 {
			return submit.Result{Outcome: submit.InDoubt}, nil
		}
		return submit.Result{Outcome: submit.Sent}, nil
	}
	b.relists = [][]route.Candidate{{}, b.candidates}
	b.at(time.Minute, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.move(message.StatusQueued)
	})
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
	b.offered("acme here", "acme here")
	b.toldOf(message.StatusInDoubt, sent, delivered)
}

// The same in the moment in which the wait for receipts ends: it may not leave any more.
func TestQueuedAgainTooLate(t *testing.T) {
	b := setup(t)
	b.vendor = func(string, int) (submit.Result, error) { return submit.Result{Outcome: submit.InDoubt}, nil }
	b.recordErr = func(in record.Input) error {
		if in.To == message.StatusUnconfirmed {
			b.move(message.StatusQueued)
		}
		return nil
	}
	if took := b.run(expired, message.ReasonExpired); took != validity+grace {
		t.Errorf("took %s", took)
	}
	b.offered("acme")
	b.toldOf(message.StatusInDoubt, expired)
}

// The message is unconfirmed, its webhook is still being retried, and then the
// receipt comes: it counts at once.
func TestLateReceiptWhileWebhooksAreRetried(t *testing.T) {
	for name, tell := range map[string]func(b *bundle){
		"update": func(b *bundle) { b.receipt(validity+grace+90*time.Minute, delivered) },
		"signal": func(b *bundle) {
			b.at(validity+grace+90*time.Minute, func() {
				b.decide(delivered)
				b.env.SignalWorkflow(workflows.SignalDecided, nil)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.webhook = func(int) bool { return b.env.Now().Sub(start) > validity+grace+10*time.Hour }
			tell(b)
			var at time.Duration
			b.at(validity+grace+91*time.Minute, func() {
				if b.status == delivered {
					at = 91 * time.Minute
				}
			})
			b.run(delivered, "")
			b.toldOf(sent, unconfirmed, delivered)
			if at == 0 {
				t.Error("the receipt waited for the webhooks")
			}
		})
	}
}

func TestRejected(t *testing.T) {
	b := setup(t)
	b.admission = admit.Result{Status: message.StatusRejected, Reason: message.ReasonCampaignInactive}
	b.run(message.StatusRejected, message.ReasonCampaignInactive)
	b.offered()
}

func TestExpiredBeforeAdmission(t *testing.T) {
	b := setup(t)
	b.admission = admit.Result{Status: expired, Reason: message.ReasonExpired}
	b.run(expired, message.ReasonExpired)
	b.offered()
}

func TestNoRoute(t *testing.T) {
	b := setup(t)
	b.candidates = nil
	b.run(message.StatusRejected, message.ReasonNoRoute)
}

func TestScheduled(t *testing.T) {
	b := setup(t)
	b.in.SendAt, b.in.ExpiresAt = start.Add(24*time.Hour), start.Add(24*time.Hour+validity)
	b.at(23*time.Hour, func() {
		b.offered()
		v, err := b.env.QueryWorkflow(workflows.QueryState)
		var s workflows.State
		if err == nil {
			err = v.Get(&s)
		}
		if err != nil || s.Step != "scheduled" || s.Status != message.StatusScheduled || !s.Until.Equal(b.in.SendAt) || s.Waiting == "" {
			t.Errorf("state %+v, %v", s, err)
		}
	})
	b.receipt(24*time.Hour+time.Minute, delivered)
	b.run(delivered, "")
	want := []message.Status{message.StatusScheduled, message.StatusQueued, message.StatusSending, sent, delivered}
	if !slices.Equal(b.history, want) {
		t.Errorf("%v", b.history)
	}
}

func TestSendTimeThatHasPassed(t *testing.T) {
	b := setup(t)
	b.in.SendAt = start.Add(-time.Second)
	b.receipt(time.Minute, delivered)
	b.run(delivered, "")
	if b.history[0] != message.StatusQueued {
		t.Errorf("%v", b.history)
	}
}

func TestWithdrawn(t *testing.T) {
	fine := func(t *testing.T) func(error) {
		return func(err error) {
			if err != nil {
				t.Errorf("refused: %v", err)
			}
		}
	}
	t.Run("while scheduled", func(t *testing.T) {
		b := setup(t)
		b.in.SendAt, b.in.ExpiresAt = start.Add(24*time.Hour), start.Add(24*time.Hour+validity)
		b.cancel(time.Hour, fine(t))
		if took := b.run(canceled, message.ReasonCanceled); took != time.Hour {
			t.Errorf("took %s", took)
		}
		b.offered()
	})
	t.Run("on a vendor's queue", func(t *testing.T) {
		b := setup(t)
		b.vendor = answers(submit.Result{Outcome: down})
		b.cancel(time.Hour, fine(t))
		if took := b.run(canceled, message.ReasonCanceled); took != time.Hour {
			t.Errorf("took %s", took)
		}
	})
	t.Run("in a pause", func(t *testing.T) {
		b := setup(t)
		b.vendor = answers(trouble)
		b.cancel(10*time.Second, fine(t))
		b.run(canceled, message.ReasonCanceled)
	})
	t.Run("twice", func(t *testing.T) {
		b := setup(t)
		b.vendor = answers(trouble)
		b.webhook = func(n int) bool { return b.env.Now().Sub(start) > time.Hour }
		b.cancel(10*time.Second, fine(t))
		b.cancel(20*time.Second, fine(t))
		b.run(canceled, message.ReasonCanceled)
		b.toldOf(canceled)
	})
	t.Run("while a submit is being journalled", func(t *testing.T) {
		b := setup(t)
		b.inSubmit = func(int) {
			b.mu.Lock()
			b.move(canceled)
			b.reason = message.ReasonCanceled
			b.tell()
			b.mu.Unlock()
		}
		b.run(canceled, message.ReasonCanceled)
	})
	t.Run("while the route is chosen", func(t *testing.T) {
		b := setup(t)
		withdrawn := make(chan struct{})
		b.chosen = func() {
			b.env.UpdateWorkflow(workflows.UpdateCancel, "", &testsuite.TestUpdateCallback{
				OnReject: func(err error) { t.Error(err) }, OnAccept: func() {}, OnComplete: func(any, error) { close(withdrawn) }})
			<-withdrawn // the step's answer is older than the withdrawal, and comes after it
		}
		b.run(canceled, message.ReasonCanceled)
		b.offered()
	})
	t.Run("too late", func(t *testing.T) {
		b := setup(t)
		b.cancel(time.Minute, func(err error) {
			var app *temporal.ApplicationError
			if !errors.As(err, &app) || app.Type() != string(message.ReasonConflict) || !strings.Contains(err.Error(), "sent") {
				t.Errorf("%v", err)
			}
		})
		b.receipt(time.Hour, delivered)
		b.run(delivered, "")
		b.toldOf(sent, delivered)
	})
	t.Run("too late, its webhook under way", func(t *testing.T) {
		b := setup(t)
		b.webhook = func(n int) bool { return n > 4 }
		b.cancel(time.Minute, func(err error) {
			if err == nil {
				t.Error("withdrawn")
			}
		})
		b.receipt(2*time.Minute, delivered)
		b.receipt(3*time.Minute, delivered)
		b.run(delivered, "")
		// One first try each, whatever the record names again.
		if b.tries != 2 {
			t.Errorf("%d first tries", b.tries)
		}
	})
	t.Run("by the Temporal UI", func(t *testing.T) {
		b := setup(t)
		b.vendor = answers(submit.Result{Outcome: down})
		b.at(time.Hour, b.env.CancelWorkflow)
		b.run(canceled, message.ReasonCanceled)
	})
	t.Run("by the Temporal UI, too late", func(t *testing.T) {
		b := setup(t)
		b.at(time.Hour, b.env.CancelWorkflow)
		b.receipt(2*time.Hour, delivered)
		b.run(delivered, "")
	})
	t.Run("by the Temporal UI while webhooks are retried", func(t *testing.T) {
		b := setup(t)
		b.webhook = func(n int) bool { return n > 6 }
		b.receipt(time.Minute, delivered)
		b.at(time.Hour, b.env.CancelWorkflow)
		b.run(delivered, "")
		if len(b.pending) != 0 {
			t.Errorf("%d webhooks were cut off", len(b.pending))
		}
	})
}

// A run of which the server heard nothing is made up for soon, however many there were
// before: a host that is busy costs one a second, and the server's pause doubles with
// each. What the activity asks for is not bounded by this.
func TestWebhookRunUnheard(t *testing.T) {
	b := setup(t)
	b.webhook = func(n int) bool { return n > 4 }
	b.receipt(time.Second, delivered)
	b.run(delivered, "")
	found := 0
	for _, o := range b.options {
		if o.TaskQueue != workflows.QueueNotify {
			continue
		}
		found++
		if most := o.RetryPolicy.MaximumInterval; most != workflows.MaxLostTry || most > time.Minute {
			t.Errorf("the next run may be %s away", most)
		}
	}
	if found == 0 {
		t.Error("no webhook was retried: the test is blind")
	}
}

func TestWebhookRetried(t *testing.T) {
	b := setup(t)
	b.webhook = func(n int) bool { return n > 4 }
	b.receipt(time.Second, delivered)
	b.at(30*time.Minute, func() {
		v, err := b.env.QueryWorkflow(workflows.QueryState)
		var s workflows.State
		if err == nil {
			err = v.Get(&s)
		}
		if err != nil || s.Webhooks == 0 || s.Status != delivered {
			t.Errorf("state %+v, %v", s, err)
		}
	})
	if took := b.run(delivered, ""); took < time.Hour {
		t.Errorf("the workflow ended after %s, before its webhooks", took)
	}
	if len(b.pending) != 0 || b.tries != 2 || b.posts < 2 {
		t.Errorf("%d pending, %d first tries, %d retries", len(b.pending), b.tries, b.posts)
	}
	for _, o := range b.options[1:] {
		if o.TaskQueue != workflows.QueueNotify {
			t.Errorf("options %+v", o)
		}
	}
}

// The database is away for longer than a local activity's one try, and than a
// workflow task: the message waits, and then goes on.
func TestDatabaseAway(t *testing.T) {
	b := setup(t)
	b.receipt(time.Second, delivered)
	calls := 0
	b.recordErr = func(record.Input) error {
		if calls++; calls <= 12 {
			return errAway
		}
		return nil
	}
	b.run(delivered, "")
	if calls != 13 {
		t.Errorf("%d tries", calls)
	}
}

// A step that can never succeed ends the message all the same.
func TestStepThatCannotGoOn(t *testing.T) {
	b := setup(t)
	b.chooseErr = temporal.NewNonRetryableApplicationError("a bug", "internal_error", nil)
	b.env.ExecuteWorkflow(workflows.OutboundType, b.in)
	if err := b.env.GetWorkflowError(); err == nil {
		t.Error("nobody hears of it")
	}
	b.toldOf(failed)
	if b.status != failed || b.reason != message.ReasonInternal {
		t.Errorf("%s, %s", b.status, b.reason)
	}
}

// Each change of an attribute is a write to the index: what the start has set is
// not set again.
func TestSearchAttributes(t *testing.T) {
	for started, want := range map[string][]string{
		"":     {"Vendor acme", "Vendor zeta", "Outcome delivered"},
		"acme": {"Vendor zeta", "Outcome delivered"},
	} {
		b := setup(t).second()
		b.in.Vendor = started
		b.vendor = byVendor(refusal, submit.Result{Outcome: submit.Sent})
		b.receipt(time.Second, delivered)
		b.run(delivered, "")
		var got []string
		for _, a := range b.attrs {
			if v, ok := a.GetKeyword(workflows.AttrVendor); ok {
				got = append(got, "Vendor "+v)
			}
			if v, ok := a.GetKeyword(workflows.AttrOutcome); ok {
				got = append(got, "Outcome "+v)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("started with %q: %v", started, got)
		}
	}
}
