package workflows_test

import (
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities/prepare"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// The histories of paths, holdPaths and failoverPaths are of processes whose steps did
// one thing each: messages that such a process began must go on. Those whose names begin
// with straight are of steps that do what follows at once as well.

// straightPaths are those on which that makes a difference.
func straightPaths() []path {
	chosen := []string{"delivered", "delivered-here", "delivered-at-once", "delivered-early", "unconfirmed-late-receipt", "refused", "refused-next",
		"here-gone", "in-doubt-settled", "rejected", "no-route", "scheduled", "revised-before-submit", "canceled-scheduled", "canceled-workflow",
		"webhook-retried", "held", "held-by-submit", "rerouted-queue", "resent"}
	out := []path{{"straight-queued-again", func(w *journey) {
		w.candidates[0].Here, w.in.Vendor = true, "acme"
		w.vendor = answers(submit.Result{Outcome: submit.InDoubt, Reason: message.ReasonSubmitInDoubt}, submit.Result{Outcome: submit.Sent})
	}, func(w *journey) {
		w.untilIdle()
		w.mu.Lock()
		w.move(message.StatusQueued) // a process that was taken for dead knows better
		w.mu.Unlock()
		w.decided("", true)
		w.until(func() bool { return w.status == sent })
		w.decided(delivered, false)
	}}}
	out = append(out, mmsPaths()...)
	for _, p := range slices.Concat(paths(), holdPaths(), failoverPaths()) {
		if slices.Contains(chosen, p.name) {
			out = append(out, path{"straight-" + p.name, p.world, p.drive})
		}
	}
	return out
}

// mmsPaths are those of messages with files.
func mmsPaths() []path {
	kind := func(w *journey) { w.in.Kind = message.MMS }
	two := func(w *journey) {
		w.candidates = append(w.candidates, route.Candidate{VendorID: message.ID{15: 3}, Name: "zeta", Grace: grace})
	}
	// Its history is of a process that knew of no smaller try.
	contentRefused := func(w *journey) { w.vendor = byVendor(tooLarge, taken) }
	return []path{
		{"mms-delivered", kind, receiptSays(delivered, false)},
		{"mms-refused-next", func(w *journey) {
			kind(w)
			w.candidates = append(w.candidates, route.Candidate{VendorID: message.ID{15: 3}, Name: "zeta", Grace: grace})
			w.files = func(vendor string, _ int) (prepare.Result, error) {
				if vendor == "acme" {
					return prepare.Result{Reason: message.ReasonMediaRejected, Detail: "acme does not take this type"}, nil
				}
				return prepare.Result{Profile: "zeta#1"}, nil
			}
		}, receiptSays(delivered, false)},
		{"mms-content-next", all(kind, two, contentRefused), receiptSays(delivered, false)},
		{"mms-smaller", all(kind, two, vendorSays(tooLarge, submit.Result{Outcome: submit.Sent})), receiptSays(delivered, false)},
		{"mms-refused", all(kind, vendorSays(tooLarge)), nil},
		{"mms-fell-back", all(kind, func(w *journey) {
			w.texts = true
			w.vendor = answers(tooLarge, tooLarge, submit.Result{Outcome: submit.Sent})
		}), func(w *journey) {
			w.until(func() bool { return w.status == sent })
			w.decided(delivered, false)
		}},
		{"mms-later", func(w *journey) {
			kind(w)
			w.files = func(_ string, n int) (prepare.Result, error) {
				if n == 1 {
					return prepare.Result{}, temporal.NewApplicationErrorWithOptions("later", "unavailable", temporal.ApplicationErrorOptions{NextRetryDelay: time.Millisecond})
				}
				return prepare.Result{Profile: "acme#1"}, nil
			}
		}, receiptSays(delivered, false)},
	}
}

// apart makes each step of the world do one thing.
func apart(list []path) []path {
	for i, p := range list {
		list[i].world = func(w *journey) {
			w.apart = true
			if p.world != nil {
				p.world(w)
			}
		}
	}
	return list
}
