package workflows_test

import (
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

var (
	taken = submit.Result{Outcome: submit.Sent}
	gone  = submit.Result{Outcome: submit.Busy, Gone: true, Reason: message.ReasonVendorUnreachable}
)

// others is a list of candidates: those of the bundle by name, and new ones.
func (b *bundle) others(names ...string) []route.Candidate {
	var list []route.Candidate
	for _, name := range names {
		c := route.Candidate{VendorID: message.NewID(), Name: name, Grace: grace}
		if i := slices.IndexFunc(b.candidates, func(o route.Candidate) bool { return o.Name == name }); i >= 0 {
			c = b.candidates[i]
		}
		list = append(list, c)
	}
	return list
}

// first checks the first offers.
func (b *bundle) first(want ...string) {
	b.t.Helper()
	if got := b.offers[:min(len(want), len(b.offers))]; !slices.Equal(got, want) {
		b.t.Errorf("offered to %v, want %v first", b.offers, want)
	}
}

// says makes vendors by name, each always of the same answer; those that are not
// named take everything.
func says(list map[string]submit.Result) func(string, int) (submit.Result, error) {
	return func(name string, _ int) (submit.Result, error) {
		if r, ok := list[name]; ok {
			return r, nil
		}
		return taken, nil
	}
}

// A vendor that throttles is left for the next one when the pauses have taken as long
// as the message's class allows.
func TestThrottledTooLong(t *testing.T) {
	for class, want := range map[message.Class]time.Duration{message.ClassOTP: 5 * time.Second, message.ClassConversation: 30 * time.Second, message.ClassBulk: 2 * time.Minute} {
		b := setup(t).second()
		b.in.Class = class
		b.vendor = byVendor(throttle, taken)
		b.receipt(time.Hour, delivered)
		b.run(delivered, "")
		n := len(b.offers)
		if b.offers[n-1] != "zeta" || slices.Contains(b.offers[:n-1], "zeta") {
			t.Errorf("%s: offered to %v", class, b.offers)
		}
		if at := b.offeredAt[n-1].Sub(start); at != want {
			t.Errorf("%s: the next vendor's turn came after %s, want %s", class, at, want)
		}
	}
}

// A vendor that asks for more patience than there is is left at once; the only one is
// waited for as long as it asks.
func TestThrottledForLong(t *testing.T) {
	slow := throttle
	slow.RetryAfter = time.Minute
	b := setup(t).second()
	b.vendor = byVendor(slow, taken)
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
	b.offered("acme", "zeta")
	if at := b.offeredAt[1].Sub(start); at != 0 {
		t.Errorf("the next vendor's turn came after %s", at)
	}
	alone := setup(t)
	alone.in.Class = message.ClassOTP
	alone.vendor = answers(throttle, throttle, throttle, throttle, taken)
	alone.receipt(time.Hour, delivered)
	alone.run(delivered, "")
	if at := alone.offeredAt[4].Sub(start); at != 15*time.Second {
		t.Errorf("sent after %s", at)
	}
}

// What lies with the recipient or the message no other vendor is asked for.
func TestRefusalThatHoldsForAll(t *testing.T) {
	for _, e := range message.Catalogue() {
		b := setup(t).second()
		b.vendor = byVendor(submit.Result{Outcome: submit.Refused, Reason: e.Reason}, taken)
		switch {
		case e.Reason == message.ReasonDailyCapReached: // it waits for the next day
			continue
		case e.Reason.FailsOver():
			b.receipt(time.Minute, delivered)
			b.run(delivered, "")
			b.offered("acme", "zeta")
		case e.Reason == message.ReasonExpired:
			b.run(expired, e.Reason)
			b.offered("acme")
		default:
			b.run(failed, e.Reason)
			b.offered("acme")
		}
	}
}

// A vendor that goes has not refused, and is not waited for.
func TestVendorThatGoes(t *testing.T) {
	b := setup(t).second()
	b.vendor = byVendor(gone, taken)
	b.receipt(time.Minute, delivered)
	if took := b.run(delivered, ""); took != time.Minute {
		t.Errorf("took %s", took)
	}
	b.offered("acme", "zeta")
	if b.offeredAt[1].Sub(start) != 0 || len(b.listedAt) != 0 {
		t.Errorf("asked at %v, listed at %v", b.offeredAt, b.listedAt)
	}
}

func TestVendorThatGoesHere(t *testing.T) {
	b := setup(t).second().here()
	b.vendor = byVendor(gone, taken)
	b.receipt(time.Minute, delivered)
	b.run(delivered, "")
	b.offered("acme here", "zeta")
	if b.notes != 1 {
		t.Errorf("the route was noted %d times", b.notes)
	}
}

// When the only vendor goes the vendors are listed anew, soon, and as long as the
// list has none or the old one only, for as long as the message is valid.
func TestOnlyVendorGoes(t *testing.T) {
	t.Run("another comes", func(t *testing.T) {
		b := setup(t)
		b.vendor = says(map[string]submit.Result{"acme": gone})
		b.relists = [][]route.Candidate{nil, b.others("acme"), b.others("zeta")}
		b.receipt(time.Hour, delivered)
		b.run(delivered, "")
		b.offered("acme", "acme", "zeta")
		if len(b.listedAt) != 3 || b.listedAt[0].Sub(start) != 5*time.Second {
			t.Errorf("listed at %v", b.listedAt)
		}
	})
	t.Run("none comes", func(t *testing.T) {
		b := setup(t)
		b.in.ExpiresAt = start.Add(72 * time.Hour)
		b.vendor = answers(gone)
		if took := b.run(expired, message.ReasonVendorUnreachable); took != 72*time.Hour {
			t.Errorf("took %s", took)
		}
		if n := len(b.listedAt); n < 400 || n > 500 {
			t.Errorf("listed %d times", n)
		}
	})
	t.Run("the others have refused", func(t *testing.T) {
		b := setup(t).second()
		b.vendor = byVendor(gone, refusal)
		b.relists = [][]route.Candidate{b.others("zeta")}
		if took := b.run(failed, message.ReasonVendorRejected); took != 5*time.Second {
			t.Errorf("took %s", took)
		}
		b.offered("acme", "zeta")
	})
	t.Run("receipts decide what had left", func(t *testing.T) {
		b := setup(t)
		b.vendor = answers(gone)
		b.relists = [][]route.Candidate{nil}
		b.receipt(time.Minute, undelivered)
		if took := b.run(undelivered, ""); took != time.Minute {
			t.Errorf("took %s", took)
		}
	})
	t.Run("withdrawn", func(t *testing.T) {
		b := setup(t)
		b.vendor = answers(gone)
		b.cancel(time.Minute, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
		if took := b.run(canceled, message.ReasonCanceled); took != time.Minute {
			t.Errorf("took %s", took)
		}
	})
}

// A vendor that is added is asked although the one that is not there was the only one
// when the message began to wait.
func TestVendorThatIsAdded(t *testing.T) {
	b := setup(t)
	b.vendor = says(map[string]submit.Result{"acme": {Outcome: down}})
	b.relists = [][]route.Candidate{b.others("zeta", "acme")}
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
	b.offered("acme", "zeta")
	if at := b.offeredAt[1].Sub(start); at != 30*time.Second {
		t.Errorf("asked after %s", at)
	}
	if in := b.routed[len(b.routed)-1]; !in.Again || !in.Record {
		t.Errorf("listed with %+v", in)
	}
}

// A vendor whose queue is long holds what is bulk for longer: what comes back goes to
// its end.
func TestBulkWaitsLonger(t *testing.T) {
	b := setup(t)
	b.in.Class = message.ClassBulk
	b.vendor = answers(submit.Result{Outcome: down})
	b.run(expired, message.ReasonVendorUnreachable)
	b.alwaysQueued()
	if n := len(b.offers); n != int(validity/(10*time.Minute)) {
		t.Errorf("%d offers", n)
	}
}

// What is known of the vendors holds for the lists that follow.
func TestRefusalsAreRemembered(t *testing.T) {
	b := setup(t).second()
	b.vendor = says(map[string]submit.Result{"acme": refusal, "zeta": {Outcome: down}, "nova": trouble})
	b.relists = [][]route.Candidate{b.others("zeta"), b.others("acme", "zeta", "nova")}
	b.run(expired, message.ReasonVendorUnreachable)
	b.first("acme", "zeta", "zeta", "zeta", "nova")
	if slices.Contains(b.offers[1:], "acme") {
		t.Errorf("offered to %v", b.offers)
	}
}

// Staff name another vendor while the message waits: it is taken from the queue, or
// out of the pause, at once.
func TestRerouted(t *testing.T) {
	for name, waits := range map[string]submit.Result{"on the queue": {Outcome: down}, "in a pause": trouble, "while throttled": throttle} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.vendor = says(map[string]submit.Result{"acme": waits})
			b.relists = [][]route.Candidate{b.others("zeta")}
			b.at(10*time.Second+time.Millisecond, func() { b.env.SignalWorkflow(workflows.SignalReroute, nil) })
			b.receipt(time.Minute, delivered)
			b.run(delivered, "")
			n := len(b.offers)
			if b.offers[n-1] != "zeta" || b.offeredAt[n-1].Sub(start) != 10*time.Second+time.Millisecond || len(b.listedAt) != 1 {
				t.Errorf("offered to %v at %v", b.offers, b.offeredAt)
			}
		})
	}
	t.Run("while it is held", func(t *testing.T) {
		b := setup(t)
		b.admission.Hold = &message.Hold{Rule: "quiet_hours", Until: start.Add(time.Hour)}
		b.admissions = append(b.admissions, b.admission)
		b.admission.Hold = nil
		b.at(time.Minute, func() { b.env.SignalWorkflow(workflows.SignalReroute, nil) })
		b.receipt(2*time.Hour, delivered)
		b.run(delivered, "")
		b.offered("acme") // its route is chosen after the hold anyway
		if len(b.listedAt) != 0 {
			t.Errorf("listed at %v", b.listedAt)
		}
	})
	t.Run("to a vendor that has refused", func(t *testing.T) {
		b := setup(t).second()
		refuses := true
		b.vendor = func(name string, _ int) (submit.Result, error) {
			switch {
			case name == "zeta":
				return submit.Result{Outcome: down}, nil
			case refuses:
				return refusal, nil
			}
			return taken, nil
		}
		b.relists = [][]route.Candidate{b.others("acme")}
		b.at(time.Second, func() {
			refuses = false
			b.env.SignalWorkflow(workflows.SignalReroute, nil)
		})
		b.receipt(time.Minute, delivered)
		b.run(delivered, "")
		b.offered("acme", "zeta", "acme")
	})
	t.Run("once it was sent", func(t *testing.T) {
		b := setup(t).second()
		b.at(time.Second, func() { b.env.SignalWorkflow(workflows.SignalReroute, nil) })
		b.receipt(time.Minute, delivered)
		b.run(delivered, "")
		b.offered("acme")
		if len(b.listedAt) != 0 {
			t.Errorf("listed at %v", b.listedAt)
		}
	})
}

// withdraw does what another process does that withdraws the message. The lock is held.
func (s *steps) withdraw() {
	s.move(message.StatusCanceled)
	s.reason = message.ReasonCanceled
	s.tell()
}

// The list of vendors says that the message was withdrawn, and the workflow is told so
// only later: the webhook that is being retried by then is not cut off.
func TestWithdrawnWhileRerouted(t *testing.T) {
	b := setup(t)
	b.vendor = says(map[string]submit.Result{"acme": {Outcome: down}})
	b.webhook = func(n int) bool { return n > 2 }
	b.at(time.Second, func() {
		b.mu.Lock()
		b.withdraw()
		b.mu.Unlock()
		b.env.SignalWorkflow(workflows.SignalReroute, nil)
	})
	b.cancel(time.Minute, func(err error) {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
	})
	b.run(message.StatusCanceled, message.ReasonCanceled)
	if len(b.pending) > 0 {
		t.Error("the customer was not told")
	}
}

// The same is found by a look at receipts that have not decided anything.
func TestWithdrawnBetweenReceipts(t *testing.T) {
	b := setup(t)
	b.vendor = says(map[string]submit.Result{"acme": {Outcome: down}})
	b.relists = [][]route.Candidate{{}}
	b.at(time.Second, func() { b.env.SignalWorkflow(workflows.SignalReroute, nil) })
	b.recordErr = func(in record.Input) error {
		if in.Told {
			b.withdraw()
		}
		return nil
	}
	b.at(2*time.Second, func() { b.env.SignalWorkflow(workflows.SignalDecided, nil) })
	b.run(message.StatusCanceled, message.ReasonCanceled)
}
