package workflows_test

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/testsuite"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

// What is special about a submit that runs inside the workflow's task.

// here gives acme a link of this process.
func (b *bundle) here() *bundle {
	b.candidates[0].Here = true
	return b
}

// comes lets receipts decide the message while they are waited for.
func (b *bundle) comes(status message.Status) *bundle {
	b.awaited = func() bool {
		b.decide(status)
		return true
	}
	return b
}

// timers notes how often receipts had been waited for when each timer began.
func (b *bundle) timers() *[]int {
	var list []int
	b.env.SetOnTimerScheduledListener(func(string, time.Duration) {
		b.mu.Lock()
		defer b.mu.Unlock()
		list = append(list, b.waits)
	})
	return &list
}

// What comes at once is recorded where the submit was: no timer, no word from
// outside.
func TestDecidedAtOnce(t *testing.T) {
	for i, status := range []message.Status{delivered, undelivered, expired, delivered} {
		t.Run(string(status), func(t *testing.T) {
			b := setup(t).here().comes(status)
			b.apart = i == 3
			timers := b.timers()
			if took := b.run(status, ""); took != 0 {
				t.Errorf("took %s", took)
			}
			b.offered("acme here")
			b.toldOf(sent, status)
			if b.waits != 1 || len(*timers) != 0 || b.notes != 0 || len(b.options) != 0 {
				t.Errorf("%d waits, %d timers, %d notes, %d regular activities", b.waits, len(*timers), b.notes, len(b.options))
			}
			if want := []message.Status{message.StatusQueued, message.StatusSending, sent, status}; !slices.Equal(b.history, want) {
				t.Errorf("%v", b.history)
			}
		})
	}
}

// The receipts take their time, or leave something open: they are waited for
// here once, before the timer, and then the workflow is told.
func TestNotDecidedAtOnce(t *testing.T) {
	for name, awaited := range map[string]func() bool{
		"nobody waits":             nil,
		"in vain":                  func() bool { return false },
		"in vain, each step apart": func() bool { return false },
		"something open":           func() bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t).here()
			b.awaited, b.apart = awaited, name == "in vain, each step apart"
			timers := b.timers()
			b.receipt(time.Minute, delivered)
			if took := b.run(delivered, ""); took != time.Minute {
				t.Errorf("took %s", took)
			}
			b.toldOf(sent, delivered)
			if !slices.Equal(*timers, []int{1}) || b.waits != 1 {
				t.Errorf("%d waits, at the timers %v", b.waits, *timers)
			}
		})
	}
	t.Run("never", func(t *testing.T) {
		b := setup(t).here()
		if took := b.run(unconfirmed, message.ReasonNoReceipt); took != validity+grace {
			t.Errorf("took %s", took)
		}
		b.toldOf(sent, unconfirmed)
	})
}

// The decision came in by another process, which told the workflow while it
// waited here: it needs no timer either.
func TestToldWhileItWaitsHere(t *testing.T) {
	for name, tell := range map[string]func(b *bundle){
		"signal": func(b *bundle) { b.env.SignalWorkflow(workflows.SignalDecided, nil) },
		"update": func(b *bundle) {
			b.env.UpdateWorkflow(workflows.UpdateDecided, "", &testsuite.TestUpdateCallback{
				OnReject: func(err error) { b.t.Error(err) }, OnAccept: func() {}, OnComplete: func(any, error) {}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t).here()
			b.awaited = func() bool {
				b.decide(delivered)
				tell(b)
				return false
			}
			if took := b.run(delivered, ""); took != 0 {
				t.Errorf("took %s", took)
			}
			b.toldOf(sent, delivered)
		})
	}
}

// The decision was heard of here and could not be recorded. Nobody hears of it
// twice, so whoever sweeps tells the workflow.
func TestDecidedAtOnceWhileTheDatabaseIsAway(t *testing.T) {
	b := setup(t).here()
	b.awaited = func() bool {
		b.decide(delivered)
		return b.waits == 0
	}
	b.recordErr = func(in record.Input) error {
		if in.Wait {
			return errAway
		}
		return nil
	}
	b.receipt(10*time.Second, delivered)
	b.run(delivered, "")
	b.toldOf(sent, delivered)
	if b.waits != 2 {
		t.Errorf("%d waits", b.waits)
	}
}

// Receipts are waited for only after a submit that ran here and was sent, and
// only when they have not decided already.
func TestWhatIsWaitedForHere(t *testing.T) {
	taken := submit.Result{Outcome: submit.Sent}
	doubt := submit.Result{Outcome: submit.InDoubt, Reason: message.ReasonSubmitInDoubt}
	for _, c := range []struct {
		name    string
		here    bool
		answers []submit.Result
		early   bool // receipts decide it during the submit
		waits   int
		offered []string
	}{
		{name: "sent here", here: true, answers: []submit.Result{taken}, waits: 1, offered: []string{"acme here"}},
		{name: "sent over the queue", answers: []submit.Result{taken}, offered: []string{"acme"}},
		{name: "in doubt here", here: true, answers: []submit.Result{doubt}, offered: []string{"acme here"}},
		{name: "throttled here, sent over the queue", here: true, answers: []submit.Result{throttle, taken}, offered: []string{"acme here", "acme"}},
		{name: "no link here, sent over the queue", here: true, answers: []submit.Result{unreachable, taken}, offered: []string{"acme here", "acme"}},
		{name: "refused here, sent by the next", here: true, answers: []submit.Result{refusal, taken}, offered: []string{"acme here", "zeta"}},
		{name: "decided during the submit", here: true, answers: []submit.Result{taken}, early: true, offered: []string{"acme here"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := setup(t).second()
			b.candidates[0].Here = c.here
			b.candidates[1].Here = c.here // only the first is asked at once
			b.vendor = answers(c.answers...)
			if c.early {
				b.inSubmit = func(int) { b.decide(delivered) }
			} else {
				b.receipt(time.Hour, delivered)
			}
			b.run(delivered, "")
			b.offered(c.offered...)
			if b.waits != c.waits {
				t.Errorf("%d waits, want %d", b.waits, c.waits)
			}
		})
	}
}

// The first submit is handed what the record does not show yet; every other
// finds it there.
func TestQueuedByTheFirstSubmit(t *testing.T) {
	trail := []message.TrailEntry{{Rule: "route", Result: message.Pass}}
	left := &submit.Queued{Trail: trail, Candidates: 2}
	for _, c := range []struct {
		name    string
		here    bool
		answers []submit.Result
		want    []*submit.Queued
		notes   int
	}{
		{"here", true, []submit.Result{{Outcome: submit.Sent}}, []*submit.Queued{left}, 0},
		{"over the queue", false, []submit.Result{{Outcome: submit.Sent}}, []*submit.Queued{nil}, 0},
		{"no link over the queue", false, []submit.Result{unreachable, {Outcome: submit.Sent}}, []*submit.Queued{nil, nil}, 0},
		{"throttled here", true, []submit.Result{throttle, {Outcome: submit.Sent}}, []*submit.Queued{left, nil}, 0},
		{"refused here", true, []submit.Result{refusal, {Outcome: submit.Sent}}, []*submit.Queued{left, nil}, 0},
		{"no link here", true, []submit.Result{unreachable, {Outcome: submit.Sent}}, []*submit.Queued{left, nil}, 1},
		{"no link anywhere", true, []submit.Result{unreachable, unreachable, trouble, {Outcome: submit.Sent}}, []*submit.Queued{left, nil, nil, nil}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := setup(t).second()
			b.candidates[0].Here = c.here
			b.admission.Trail = trail
			b.vendor = answers(c.answers...)
			b.receipt(time.Hour, delivered)
			b.run(delivered, "")
			var got []*submit.Queued
			for _, in := range b.submits {
				got = append(got, in.Queued)
			}
			if !reflect.DeepEqual(got, c.want) || b.notes != c.notes {
				t.Errorf("%d submits, the first with %+v, and %d notes", len(got), got[0], b.notes)
			}
			if b.history[0] != message.StatusQueued {
				t.Errorf("%v", b.history)
			}
		})
	}
}

// The link has gone before the first submit: while the message waits on the
// vendor's queue, the record shows it queued, even if the database was away when
// that was to be noted.
func TestRouteIsNotedWhenTheSubmitComesTooLate(t *testing.T) {
	b := setup(t).here()
	b.vendor = answers(submit.Result{Outcome: submit.Busy, Reason: message.ReasonExpired}, submit.Result{Outcome: down})
	shown := message.Status("")
	b.at(time.Minute, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		shown = b.status
	})
	b.run(expired, message.ReasonVendorUnreachable)
	if shown != message.StatusQueued {
		t.Errorf("shown as %s", shown)
	}
}

func TestRouteIsNoted(t *testing.T) {
	for name, noteErr := range map[string]func(n int) error{
		"at once": nil,
		"when the database is back": func(n int) error {
			if n < 4 {
				return errAway
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t).here()
			b.noteErr = noteErr
			b.vendor = answers(unreachable, submit.Result{Outcome: down})
			shown := message.Status("")
			b.at(time.Minute, func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				shown = b.status
			})
			b.run(expired, message.ReasonVendorUnreachable)
			if b.offers[0] != "acme here" || slices.Contains(b.offers[1:], "acme here") {
				t.Errorf("offered to %v", b.offers)
			}
			if shown != message.StatusQueued {
				t.Errorf("shown as %s", shown)
			}
		})
	}
}

// The message is withdrawn while its route is not recorded: the submit finds out
// or, without a link, whoever comes after it.
func TestWithdrawnUnrecorded(t *testing.T) {
	for name, answer := range map[string]submit.Result{"with a link": {Outcome: submit.Sent}, "without": unreachable} {
		t.Run(name, func(t *testing.T) {
			b := setup(t).here()
			b.vendor = answers(answer)
			b.inSubmit = func(n int) {
				if n > 1 {
					return
				}
				b.mu.Lock()
				defer b.mu.Unlock()
				b.move(canceled)
				b.reason = message.ReasonCanceled
				b.tell()
			}
			if took := b.run(canceled, message.ReasonCanceled); took != 0 {
				t.Errorf("took %s", took)
			}
			if slices.Contains(b.history, message.StatusSending) {
				t.Errorf("%v", b.history)
			}
		})
	}
}

// The submit has journalled its parts and nobody has heard of it again: the note
// of the route does not call the message back, and the next submit says what is
// known.
func TestSubmitHereThatIsNotHeardOf(t *testing.T) {
	b := setup(t).here()
	b.inSubmit = func(n int) {
		if n == 1 {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.move(message.StatusQueued)
			b.move(message.StatusSending)
		}
	}
	b.vendor = func(_ string, n int) (submit.Result, error) {
		if n == 1 {
			return submit.Result{}, errAway
		}
		return submit.Result{Outcome: submit.InDoubt, Reason: message.ReasonSubmitInDoubt}, nil
	}
	b.receipt(time.Minute, delivered)
	b.run(delivered, "")
	b.offered("acme here", "acme")
	b.toldOf(message.StatusInDoubt, delivered)
	if want := []message.Status{message.StatusQueued, message.StatusSending, message.StatusInDoubt, delivered}; !slices.Equal(b.history, want) || b.notes != 1 {
		t.Errorf("%v, %d notes", b.history, b.notes)
	}
}

// The stored histories of submits that ran here are what their names say: what
// TestReplay replays.
func TestHistoriesOfSubmitsHere(t *testing.T) {
	for name, want := range map[string][]string{
		"straight-delivered-at-once": {"check the policy, choose the route", "submit to acme", "end of task 1"},
		"straight-delivered-here": {"check the policy, choose the route", "submit to acme", "timer", "end of task 1",
			"record the outcome", "end of task 2"},
		"straight-here-gone": {"check the policy, choose the route", "submit to acme", "note the route", "vendor.acme", "end of task 1",
			"tell the customer", "timer", "end of task 2", "record the outcome", "end of task 3"},
		"delivered-at-once": {"check the policy", "choose the route", "submit to acme", "tell the customer",
			"record the outcome if it comes at once", "tell the customer", "end of task 1"},
		"delivered-here": {"check the policy", "choose the route", "submit to acme", "tell the customer",
			"record the outcome if it comes at once", "timer", "end of task 1", "record the outcome", "tell the customer", "end of task 2"},
		"here-gone": {"check the policy", "choose the route", "submit to acme", "note the route", "vendor.acme", "end of task 1",
			"tell the customer", "timer", "end of task 2", "record the outcome", "tell the customer", "end of task 3"},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile("testdata/histories/" + name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var h historypb.History
			if err := protojson.Unmarshal(raw, &h); err != nil {
				t.Fatal(err)
			}
			if got := commands(&h); !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// commands lists what the workflow did, task by task: local activities by their
// summary, regular ones by their queue, timers.
func commands(h *historypb.History) []string {
	var out []string
	task := 0
	end := func() {
		if task > 0 {
			out = append(out, fmt.Sprintf("end of task %d", task))
		}
	}
	for _, e := range h.Events {
		switch {
		case e.GetWorkflowTaskCompletedEventAttributes() != nil:
			end()
			task++
		case e.GetMarkerRecordedEventAttributes() != nil:
			// Stored histories are plain: the payload is the JSON of a string.
			out = append(out, strings.Trim(string(e.GetUserMetadata().GetSummary().GetData()), `"`))
		case e.GetTimerStartedEventAttributes() != nil:
			out = append(out, "timer")
		case e.GetActivityTaskScheduledEventAttributes() != nil:
			out = append(out, e.GetActivityTaskScheduledEventAttributes().GetTaskQueue().GetName())
		}
	}
	end()
	return out
}
