package workflows_test

import (
	"context"
	"sync"
	"time"

	historypb "go.temporal.io/api/history/v1"

	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

// untilEvent waits for the history to show something so many times.
func (w *journey) untilEvent(times int, is func(*historypb.HistoryEvent) bool) {
	w.t.Helper()
	it := w.c.GetWorkflowHistory(context.Background(), w.id(), "", true, 0)
	for n := 0; it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			w.t.Error(err)
			return
		}
		if is(e) {
			if n++; n == times {
				return
			}
		}
	}
}

func (w *journey) reroute() {
	w.t.Helper()
	if err := w.c.SignalWorkflow(context.Background(), w.id(), "", workflows.SignalReroute, nil); err != nil {
		w.t.Error(err)
	}
}

func queuedAt(vendor string) func(*historypb.HistoryEvent) bool {
	return func(e *historypb.HistoryEvent) bool {
		return e.GetActivityTaskScheduledEventAttributes().GetTaskQueue().GetName() == workflows.VendorQueue(vendor)
	}
}

// failoverPaths are those on which a vendor cannot have the message, or does not tell
// what became of it.
func failoverPaths() []path {
	zeta := route.Candidate{VendorID: message.ID{15: 3}, Name: "zeta", Grace: grace}
	two := func(w *journey) { w.candidates = append(w.candidates, zeta) }
	dead := func(w *journey) { w.candidates[0].Name = "down" }
	thenZeta := func(w *journey) { w.relists = [][]route.Candidate{{zeta}} }
	acmeSays := func(r submit.Result) func(*journey) {
		return func(w *journey) { w.vendor = byVendor(r, taken) }
	}
	password := func(w *journey) { w.in.Class = message.ClassOTP }
	resend := func(w *journey) { w.resend = 2 * time.Second }
	rerouted := func(w *journey) {
		w.untilIdle()
		w.reroute()
	}
	sentThenDelivered := func(w *journey) {
		w.until(func() bool { return w.status == sent })
		w.decided(delivered, false)
	}
	offered := func(n int) func(*journey) {
		return func(w *journey) { w.until(func() bool { return len(w.offers) == n }) }
	}
	return []path{
		{"throttled-next", all(two, password, acmeSays(throttle)), sentThenDelivered},
		{"refused-for-all", all(two, acmeSays(submit.Result{Outcome: submit.Refused, Reason: message.ReasonUnknownSubscriber})), nil},
		{"gone-next", all(two, acmeSays(gone)), sentThenDelivered},
		{"gone-listed", all(thenZeta, acmeSays(gone)), sentThenDelivered},
		{"gone-nothing-listed", all(func(w *journey) { w.relists = [][]route.Candidate{nil} }, acmeSays(gone), shortLived(8*time.Second)), nil},
		{"no-link-listed", all(dead, thenZeta), sentThenDelivered},
		{"rerouted-queue", all(dead, thenZeta), all(rerouted, sentThenDelivered)},
		{"rerouted-pause", all(thenZeta, acmeSays(trouble)), all(rerouted, sentThenDelivered)},
		{"rerouted-under-way", func(w *journey) {
			begun, answer := make(chan struct{}), make(chan struct{})
			w.inSubmit = func(int) { close(begun); <-answer }
			w.underWay = begun
			w.answer = sync.OnceFunc(func() { close(answer) })
		}, func(w *journey) {
			<-w.underWay
			w.reroute()
			w.untilEvent(1, func(e *historypb.HistoryEvent) bool { return e.GetActivityTaskCancelRequestedEventAttributes() != nil })
			w.answer()
			sentThenDelivered(w)
		}},
		{"resent", all(two, password, resend), all(offered(2), sentThenDelivered)},
		{"resent-taken-back", all(password, resend, func(w *journey) {
			w.candidates = append(w.candidates, route.Candidate{VendorID: message.ID{15: 4}, Name: "down", Grace: grace})
		}), func(w *journey) {
			w.untilEvent(1, queuedAt("down"))
			w.decided(delivered, false)
		}},
		{"resent-refused", all(two, password, resend, func(w *journey) { w.vendor = byVendor(taken, refusal) }), all(offered(2), sentThenDelivered)},
	}
}
