package workflows_test

import (
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/workflows"
)

func heldUntil(at time.Time) admit.Result {
	return admit.Result{Allowed: true, Hold: &message.Hold{Rule: "rate", Until: at, Detail: "600 parts a minute"}, Slot: slotAt(at)}
}

func slotAt(at time.Time) *pace.Slot { return &pace.Slot{ID: message.ID{15: 1}, At: at, Parts: 1} }

// A message that must wait is queued with what it waits for, waits so long, is
// admitted and routed anew, and leaves in the moment that it was given.
func TestHeld(t *testing.T) {
	b := setup(t)
	at := start.Add(10 * time.Minute)
	b.admissions = []admit.Result{heldUntil(at)}
	b.admission.Slot = slotAt(at)
	b.candidates[0].Here = true
	b.at(5*time.Minute, func() {
		v, err := b.env.QueryWorkflow(workflows.QueryState)
		var s workflows.State
		if err == nil {
			err = v.Get(&s)
		}
		if err != nil || s.Step != "held" || s.Status != message.StatusQueued || !s.Until.Equal(at) || s.Waiting != "rate (600 parts a minute)" {
			t.Errorf("state %+v, %v", s, err)
		}
	})
	b.receipt(11*time.Minute, delivered)
	b.run(delivered, "")
	if len(b.routed) == 0 || b.routed[0].Hold == nil || !b.routed[0].Hold.Until.Equal(at) {
		t.Errorf("the queueing does not say what it waits for: %+v", b.routed)
	}
	in := b.submits[0]
	if len(b.submits) != 1 || in.Slot == nil || !in.Slot.At.Equal(at) || !in.Held || in.Queued != nil {
		t.Errorf("submitted with %+v", b.submits)
	}
	if again := b.admits[1]; len(b.admits) != 2 || again.Held == nil || again.Held.Rule != "rate" || again.Slot == nil {
		t.Errorf("looked again with %+v", b.admits)
	}
	if len(b.released) > 0 {
		t.Error("gave back the moment that was used")
	}
}

// What has to wait for one thing after the other waits for each.
func TestHeldTwice(t *testing.T) {
	b := setup(t)
	b.admissions = []admit.Result{heldUntil(start.Add(time.Minute)), heldUntil(start.Add(time.Hour))}
	b.receipt(2*time.Hour, delivered)
	b.run(delivered, "")
	if len(b.admits) != 3 || b.admits[2].Slot == nil || !b.admits[2].Slot.At.Equal(start.Add(time.Hour)) {
		t.Errorf("%+v", b.admits)
	}
}

// What it waits for may be decided against it.
func TestRefusedWhileHeld(t *testing.T) {
	b := setup(t)
	b.admissions = []admit.Result{heldUntil(start.Add(time.Hour))}
	b.admission = admit.Result{Status: message.StatusRejected, Reason: message.ReasonCampaignInactive, Slot: slotAt(start.Add(time.Hour))}
	b.at(time.Minute, func() { b.env.SignalWorkflow(workflows.SignalReconsider, nil) })
	if took := b.run(message.StatusRejected, message.ReasonCampaignInactive); took > 2*time.Minute {
		t.Errorf("refused after %s", took)
	}
	b.offered()
	if len(b.released) != 1 {
		t.Errorf("gave back %v", b.released)
	}
}

// Without an end it waits until somebody has looked at it.
func TestReleasedByReview(t *testing.T) {
	b := setup(t)
	b.admissions = []admit.Result{{Allowed: true, Hold: &message.Hold{Rule: "content"}}}
	b.at(time.Hour, func() { b.env.SignalWorkflow(workflows.SignalReconsider, nil) })
	b.receipt(2*time.Hour, delivered)
	b.run(delivered, "")
	if !b.offeredAt[0].Equal(start.Add(time.Hour)) {
		t.Errorf("left at %s", b.offeredAt[0])
	}
}

// A hint that comes before there is anything to wait for is worth a second look,
// not more.
func TestHintBeforeTheHold(t *testing.T) {
	b := setup(t)
	b.admissions = []admit.Result{heldUntil(start.Add(time.Hour)), heldUntil(start.Add(time.Hour))}
	b.at(0, func() { b.env.SignalWorkflow(workflows.SignalReconsider, nil) })
	b.receipt(2*time.Hour, delivered)
	b.run(delivered, "")
	if len(b.admits) != 3 || !b.offeredAt[0].Equal(start.Add(time.Hour)) {
		t.Errorf("%d admissions, left at %v", len(b.admits), b.offeredAt)
	}
}

func TestHeldToTheEndOfItsValidity(t *testing.T) {
	b := setup(t)
	b.admissions = []admit.Result{{Allowed: true, Hold: &message.Hold{Rule: "content"}}}
	b.admission = admit.Result{Status: expired, Reason: message.ReasonExpired}
	if took := b.run(expired, message.ReasonExpired); took != validity {
		t.Errorf("ended after %s", took)
	}
	b.offered()
}

func TestCanceledWhileHeld(t *testing.T) {
	b := setup(t)
	b.admissions = []admit.Result{heldUntil(start.Add(time.Hour))}
	b.cancel(time.Minute, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	b.run(message.StatusCanceled, message.ReasonCanceled)
	b.offered()
	if len(b.released) != 1 {
		t.Errorf("gave back %v", b.released)
	}
}

// The submit finds that the moment has passed, and that the next is an hour away.
func TestHeldBySubmit(t *testing.T) {
	b := setup(t)
	at := start.Add(time.Hour)
	b.admission.Slot = slotAt(at)
	b.vendor = answers(submit.Result{Outcome: submit.Held, Hold: &message.Hold{Rule: "rate", Until: at}, Slot: slotAt(at)}, submit.Result{Outcome: submit.Sent})
	b.receipt(2*time.Hour, delivered)
	b.run(delivered, "")
	if len(b.offeredAt) != 2 || !b.offeredAt[1].Equal(at) || !b.submits[1].Held {
		t.Errorf("%v, %+v", b.offeredAt, b.submits)
	}
}

// A vendor's word that the day's cap is reached holds of all vendors: the pacer is
// told, and the message waits for what it says.
func TestCapReached(t *testing.T) {
	for _, outcome := range []submit.Outcome{submit.Refused, submit.Busy} {
		b := setup(t).second()
		at := start.Add(3 * time.Hour)
		b.admissions = []admit.Result{b.admission, heldUntil(at)}
		b.vendor = answers(submit.Result{Outcome: outcome, Reason: message.ReasonDailyCapReached}, submit.Result{Outcome: submit.Sent})
		b.receipt(3*time.Hour+time.Minute, delivered)
		b.run(delivered, "")
		b.offered("acme", "acme")
		if !b.offeredAt[1].Equal(at) || len(b.admits) != 3 || !b.admits[1].CapReached || b.admits[2].CapReached {
			t.Errorf("%v, %+v", b.offeredAt, b.admits)
		}
	}
}

// What left in its moment is not given back, however the rest of the message ends; and
// a moment that the submit took is the one that the next try has.
func TestMomentOfWhatLeft(t *testing.T) {
	for _, left := range []bool{false, true} {
		b := setup(t)
		b.admission.Slot = slotAt(start)
		other := slotAt(start)
		other.Turn = 1
		b.vendor = answers(submit.Result{Outcome: submit.Busy, Reason: message.ReasonVendorThrottled, Throttled: true, RetryAfter: time.Hour, Left: left, Slot: other})
		b.run(expired, message.ReasonVendorThrottled)
		if (len(b.released) == 0) != left {
			t.Errorf("left %v: gave back %v", left, b.released)
		}
		if s := b.submits[1].Slot; s == nil || s.Turn != 1 {
			t.Errorf("tried again with %+v", s)
		}
	}
}

// A try inside the task that found its link gone may have taken another moment, and
// one of which nothing is known may have noted that the message waits.
func TestMomentOfTheFirstTry(t *testing.T) {
	for _, lost := range []bool{false, true} {
		b := setup(t)
		b.candidates[0].Here = true
		b.admission.Slot = slotAt(start)
		other := slotAt(start)
		other.Turn = 1
		b.vendor = func(_ string, n int) (submit.Result, error) {
			switch {
			case n > 1:
				return submit.Result{Outcome: submit.Sent}, nil
			case lost:
				return submit.Result{}, errAway
			}
			return submit.Result{Outcome: submit.Busy, Reason: message.ReasonVendorUnreachable, Slot: other}, nil
		}
		b.receipt(time.Minute, delivered)
		b.run(delivered, "")
		in := b.submits[1]
		if in.Held != lost || !lost && (in.Slot == nil || in.Slot.Turn != 1) {
			t.Errorf("lost %v: tried again with %+v", lost, in)
		}
	}
}

// A process whose clock is behind finds that what is over is not over yet: it is not
// asked as fast as it answers.
func TestHeldByAClockBehind(t *testing.T) {
	b := setup(t)
	at := start.Add(time.Minute)
	for range 4 {
		b.admissions = append(b.admissions, heldUntil(at))
	}
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
	if late := b.offeredAt[0].Sub(at); late != 3*250*time.Millisecond || len(b.admits) != 5 {
		t.Errorf("%d looks, left after %s", len(b.admits), late)
	}
}

// What has left in part is asked about as such.
func TestCapReachedHalfWay(t *testing.T) {
	b := setup(t)
	b.admissions = []admit.Result{b.admission, heldUntil(start.Add(time.Hour))}
	b.vendor = answers(submit.Result{Outcome: submit.Busy, Reason: message.ReasonDailyCapReached, Left: true}, submit.Result{Outcome: submit.Sent})
	b.receipt(2*time.Hour, delivered)
	b.run(delivered, "")
	if len(b.admits) != 3 || b.admits[0].Departed || !b.admits[1].Departed || !b.admits[2].Departed {
		t.Errorf("%+v", b.admits)
	}
}

// The paths on which a message waits, for the stored histories.
func holdPaths() []path {
	soon := func(w *journey) {
		w.admissions = []admit.Result{heldUntil(time.Now().Add(2 * time.Second))}
	}
	sentThenDelivered := func(w *journey) {
		w.until(func() bool { return w.status == sent })
		w.decided(delivered, false)
	}
	reconsider := func(w *journey) {
		w.untilIdle()
		if err := w.c.SignalWorkflow(w.t.Context(), w.id(), "", workflows.SignalReconsider, nil); err != nil {
			w.t.Error(err)
		}
	}
	review := []admit.Result{{Allowed: true, Hold: &message.Hold{Rule: "content"}}}
	return []path{
		{"held", soon, sentThenDelivered},
		{"held-released", func(w *journey) { w.admissions = slices.Clone(review) }, all(reconsider, sentThenDelivered)},
		{"held-refused", func(w *journey) {
			w.admissions = []admit.Result{heldUntil(time.Now().Add(time.Hour))}
			w.admission = admit.Result{Status: message.StatusRejected, Reason: message.ReasonCampaignInactive, Slot: slotAt(time.Now())}
		}, reconsider},
		{"held-canceled", func(w *journey) { w.admissions = []admit.Result{heldUntil(time.Now().Add(time.Hour))} }, func(w *journey) {
			w.untilIdle()
			if err := w.update(workflows.UpdateCancel); err != nil {
				w.t.Error(err)
			}
		}},
		{"held-by-submit", func(w *journey) {
			at := time.Now().Add(2 * time.Second)
			w.vendor = answers(submit.Result{Outcome: submit.Held, Hold: &message.Hold{Rule: "rate", Until: at}, Slot: slotAt(at)}, submit.Result{Outcome: submit.Sent})
		}, sentThenDelivered},
		{"cap-reached", func(w *journey) {
			w.admissions = []admit.Result{{Allowed: true}, heldUntil(time.Now().Add(2 * time.Second))}
			w.vendor = answers(submit.Result{Outcome: submit.Refused, Reason: message.ReasonDailyCapReached}, submit.Result{Outcome: submit.Sent})
		}, sentThenDelivered},
	}
}
