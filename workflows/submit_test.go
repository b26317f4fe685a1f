package workflows_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/activities/prepare"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

func TestRefusedThenNext(t *testing.T) {
	b := setup(t).second()
	b.vendor = byVendor(refusal, submit.Result{Outcome: submit.Sent})
	b.receipt(time.Minute, delivered)
	b.run(delivered, "")
	b.offered("acme", "zeta")
	if o := b.options[1]; o.TaskQueue != "vendor.zeta" || o.ScheduleToStartTimeout != 30*time.Second {
		t.Errorf("options %+v", o)
	}
}

// A vendor whose answers take long gets the time, and others what they had.
func TestSubmitTime(t *testing.T) {
	for _, long := range []time.Duration{0, 70 * time.Minute} {
		b := setup(t)
		b.candidates[0].SubmitTime = long
		b.vendor = answers(submit.Result{Outcome: submit.Sent})
		b.receipt(time.Minute, delivered)
		b.run(delivered, "")
		if o := b.options[0]; o.StartToCloseTimeout != max(2*time.Minute, long) || o.HeartbeatTimeout != 15*time.Second {
			t.Errorf("options %+v", o)
		}
	}
}

func TestRefusedByAll(t *testing.T) {
	b := setup(t).second()
	b.vendor = answers(refusal)
	if took := b.run(failed, message.ReasonVendorRejected); took != 0 {
		t.Errorf("took %s", took)
	}
	b.offered("acme", "zeta")
	b.toldOf(failed)
}

func TestBusyThenSent(t *testing.T) {
	b := setup(t)
	b.vendor = answers(trouble, trouble, trouble, submit.Result{Outcome: submit.Sent})
	b.receipt(time.Hour, delivered)
	sentAfter := 5*time.Second + 30*time.Second + 2*time.Minute
	b.inSubmit = func(n int) {
		if at := b.env.Now().Sub(start); n == 4 && at != sentAfter {
			t.Errorf("sent after %s, want %s", at, sentAfter)
		}
	}
	b.run(delivered, "")
	b.offered("acme", "acme", "acme", "acme")
}

func TestBusyTwiceThenNext(t *testing.T) {
	b := setup(t).second()
	b.vendor = byVendor(trouble, submit.Result{Outcome: submit.Sent})
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
	b.offered("acme", "acme", "zeta")
}

func TestBusyUntilTheEnd(t *testing.T) {
	b := setup(t)
	b.vendor = answers(trouble)
	if took := b.run(expired, message.ReasonExpired); took != validity {
		t.Errorf("took %s", took)
	}
	if n := len(b.offers); n > 40 {
		t.Errorf("asked %d times", n)
	}
}

// Throttling is no trouble: the vendor that throttles is asked again in growing
// pauses before another has its turn.
func TestThrottled(t *testing.T) {
	b := setup(t).second()
	b.vendor = answers(throttle, throttle, throttle, throttle, throttle, submit.Result{Outcome: submit.Sent})
	b.inSubmit = func(n int) {
		if at := b.env.Now().Sub(start); n == 6 && at != 30*time.Second {
			t.Errorf("sent after %s", at)
		}
	}
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
	b.offered("acme", "acme", "acme", "acme", "acme", "acme")
}

func TestThrottledUntilTheEnd(t *testing.T) {
	b := setup(t)
	b.in.ExpiresAt = start.Add(72 * time.Hour)
	b.vendor = answers(throttle)
	if took := b.run(expired, message.ReasonVendorThrottled); took != 72*time.Hour {
		t.Errorf("took %s", took)
	}
	// A history holds 51,200 events, and each turn is some eleven of them.
	if n := len(b.offers); n > 1500 {
		t.Errorf("asked %d times", n)
	}
}

func TestRetryAfterIsKept(t *testing.T) {
	b := setup(t)
	slow := throttle
	slow.RetryAfter = time.Minute
	b.vendor = answers(slow, submit.Result{Outcome: submit.Sent})
	b.inSubmit = func(n int) {
		if at := b.env.Now().Sub(start); n == 2 && at != time.Minute {
			t.Errorf("sent after %s", at)
		}
	}
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
}

// A link that goes away before the write is no end of the message: a rolling
// restart must not fail what waits at a link.
func TestLinkLostBeforeTheWrite(t *testing.T) {
	b := setup(t)
	b.vendor = answers(unreachable, unreachable, submit.Result{Outcome: submit.Sent})
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
	b.offered("acme", "acme", "acme")
}

func TestNoLinkThenNext(t *testing.T) {
	b := setup(t).second()
	b.vendor = byVendor(submit.Result{Outcome: down}, submit.Result{Outcome: submit.Sent})
	b.inSubmit = func(n int) {
		if at := b.env.Now().Sub(start); n == 2 && at != 30*time.Second {
			t.Errorf("the next vendor's turn came after %s", at)
		}
	}
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
	b.offered("acme", "zeta")
}

func TestNoLinkAtAll(t *testing.T) {
	t.Run("one vendor", func(t *testing.T) {
		b := setup(t)
		b.vendor = answers(submit.Result{Outcome: down})
		if took := b.run(expired, message.ReasonVendorUnreachable); took != validity {
			t.Errorf("took %s", took)
		}
		b.alwaysQueued()
		b.growing()
	})
	t.Run("two vendors", func(t *testing.T) {
		b := setup(t).second()
		b.vendor = answers(submit.Result{Outcome: down})
		if took := b.run(expired, message.ReasonVendorUnreachable); took != validity {
			t.Errorf("took %s", took)
		}
		if n := len(b.offers); n < 10 || n > 60 {
			t.Errorf("%d offers", n)
		}
		b.alwaysQueued()
	})
	t.Run("the one that is left", func(t *testing.T) {
		b := setup(t).second()
		b.vendor = byVendor(submit.Result{Outcome: down}, refusal)
		if took := b.run(expired, message.ReasonVendorUnreachable); took != validity {
			t.Errorf("took %s", took)
		}
		if !slices.Equal(b.offers[:3], []string{"acme", "zeta", "acme"}) || slices.Contains(b.offers[2:], "zeta") {
			t.Errorf("offered to %v", b.offers)
		}
	})
}

// alwaysQueued checks that there is always a queue that holds the message.
func (b *bundle) alwaysQueued() {
	b.t.Helper()
	for i, at := range b.offeredAt[1:] {
		if waited := at.Sub(b.offeredAt[i]); waited != b.options[i].ScheduleToStartTimeout {
			b.t.Errorf("offer %d came %s after the one before, which waited %s", i+2, waited, b.options[i].ScheduleToStartTimeout)
		}
	}
}

// growing checks that the vendors are listed anew, at first after 30 s, then after
// pauses that double up to 10 min.
func (b *bundle) growing() {
	b.t.Helper()
	if len(b.listedAt) < 20 {
		b.t.Fatalf("listed %d times", len(b.listedAt))
	}
	before, least := start, 30*time.Second
	for i, at := range b.listedAt {
		if waited := at.Sub(before); waited < least || waited > 2*least+10*time.Minute {
			b.t.Errorf("list %d came %s after the one before, not %s", i+1, waited, least)
		}
		before, least = at, min(2*least, 10*time.Minute)
	}
}

// The first vendor comes back while the message waits for the second: it gets
// another turn.
func TestVendorThatComesBack(t *testing.T) {
	b := setup(t).second()
	b.vendor = func(name string, _ int) (submit.Result, error) {
		if name == "acme" && b.env.Now().Sub(start) > 50*time.Second {
			return submit.Result{Outcome: submit.Sent}, nil
		}
		return submit.Result{Outcome: down}, nil
	}
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
	b.offered("acme", "zeta", "acme")
}

func TestInDoubt(t *testing.T) {
	doubt := submit.Result{Outcome: submit.InDoubt, Reason: message.ReasonSubmitInDoubt}
	t.Run("settled by receipt", func(t *testing.T) {
		b := setup(t).second()
		b.vendor = answers(doubt)
		b.receipt(time.Hour, delivered)
		b.run(delivered, "")
		b.offered("acme")
		b.toldOf(message.StatusInDoubt, delivered)
	})
	t.Run("for ever", func(t *testing.T) {
		b := setup(t).second()
		b.vendor = answers(doubt)
		if took := b.run(unconfirmed, message.ReasonSubmitInDoubt); took != validity+grace {
			t.Errorf("took %s", took)
		}
		b.offered("acme")
	})
	t.Run("cannot be withdrawn", func(t *testing.T) {
		b := setup(t)
		b.vendor = answers(doubt)
		b.cancel(time.Minute, func(err error) {
			if err == nil {
				t.Error("withdrawn")
			}
		})
		b.run(unconfirmed, message.ReasonSubmitInDoubt)
	})
}

func TestPartial(t *testing.T) {
	b := setup(t).second()
	b.vendor = answers(submit.Result{Outcome: submit.Partial, Reason: message.ReasonVendorRejected, VendorCode: "45"})
	b.run(failed, message.ReasonVendorRejected)
	b.offered("acme")
}

// Receipts decide the message while one of its parts waits for the vendor: it
// ends at once, although it is queued.
func TestDecidedWhileAPartWaits(t *testing.T) {
	b := setup(t)
	b.vendor = answers(trouble)
	b.receipt(10*time.Second, undelivered)
	if took := b.run(undelivered, ""); took != 10*time.Second {
		t.Errorf("took %s", took)
	}
}

// What the vendor can never take is not asked for ever.
func TestSubmitThatCannotSucceed(t *testing.T) {
	for _, c := range []struct {
		kind string
		want message.Reason
	}{{string(message.ReasonEncodingMismatch), message.ReasonEncodingMismatch}, {"strange", message.ReasonInternal}} {
		b := setup(t)
		b.vendor = func(string, int) (submit.Result, error) {
			return submit.Result{}, temporal.NewNonRetryableApplicationError("no", c.kind, nil)
		}
		b.run(failed, c.want)
		b.offered("acme")
	}
}

func TestSubmitThatPanics(t *testing.T) {
	b := setup(t)
	b.vendor = func(_ string, n int) (submit.Result, error) {
		if n < 3 {
			panic("bug")
		}
		return submit.Result{Outcome: submit.Sent}, nil
	}
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
}

// The activity finds the validity over a moment before the workflow does.
func TestExpiredAtTheVendor(t *testing.T) {
	b := setup(t)
	b.vendor = answers(submit.Result{Outcome: submit.Busy, Reason: message.ReasonExpired})
	b.in.ExpiresAt = start.Add(3 * time.Second)
	b.run(expired, message.ReasonExpired)
	refused := setup(t)
	refused.vendor = answers(submit.Result{Outcome: submit.Refused, Reason: message.ReasonExpired})
	refused.run(expired, message.ReasonExpired)
}

// Whatever vendors, receipts, customers and endpoints do, and whenever: the
// message ends in a final status, which the record shows, and nothing is left
// pending.
func TestEveryMessageEnds(t *testing.T) {
	outcomes := []submit.Result{{Outcome: submit.Sent}, refusal, trouble, throttle, unreachable, {Outcome: down},
		{Outcome: submit.InDoubt, Reason: message.ReasonSubmitInDoubt}, {Outcome: submit.Partial, Reason: message.ReasonVendorRejected},
		gone, {Outcome: submit.Refused, Reason: message.ReasonUnknownSubscriber}, tooLarge}
	ends := []message.Status{"", delivered, undelivered, expired}
	rapid.Check(t, func(rt *rapid.T) {
		b := setup(t)
		if rapid.Bool().Draw(rt, "two vendors") {
			b.second()
		}
		b.candidates[0].Here = rapid.Bool().Draw(rt, "here")
		b.in.Class = rapid.SampledFrom(message.Classes()).Draw(rt, "class")
		b.resend = rapid.SampledFrom([]time.Duration{0, 10 * time.Second, time.Hour}).Draw(rt, "resend")
		names := []string{"acme", "zeta", "nova"}
		for range rapid.IntRange(0, 3).Draw(rt, "lists") {
			b.relists = append(b.relists, b.others(rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 3, rapid.ID).Draw(rt, "list")...))
		}
		if rapid.Bool().Draw(rt, "scheduled") {
			b.in.SendAt, b.in.ExpiresAt = start.Add(time.Hour), start.Add(time.Hour+validity)
		}
		whenever := func(label string) time.Duration {
			return rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second, time.Minute,
				time.Hour, validity, validity + grace, validity + grace + time.Hour, 6 * time.Hour}).Draw(rt, label)
		}
		if rapid.Bool().Draw(rt, "mms") {
			b.in.Kind, b.candidates[0].Here = message.MMS, false
			ready := rapid.SliceOfN(rapid.SampledFrom([]string{"", "", "", "refused", "error"}), 1, 5).Draw(rt, "files")
			b.files = func(vendor string, n int) (prepare.Result, error) {
				switch ready[(n-1)%len(ready)] {
				case "refused":
					return prepare.Result{Reason: message.ReasonMediaRejected, Detail: "no"}, nil
				case "error":
					return prepare.Result{}, errAway
				}
				return prepare.Result{Profile: vendor}, nil
			}
		}
		b.texts = rapid.Bool().Draw(rt, "goes as a text")
		b.apart = rapid.Bool().Draw(rt, "each step apart")
		if rapid.Bool().Draw(rt, "a process that was taken for dead") {
			b.at(whenever("it lives"), func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				if b.status == message.StatusInDoubt && b.receipts == "" {
					b.putBack = true
					b.move(message.StatusQueued)
				}
			})
		}
		hereFirst := b.candidates[0].Here
		script := rapid.SliceOfN(rapid.SampledFrom(outcomes), 1, 8).Draw(rt, "answers")
		unheard := rapid.Bool().Draw(rt, "nobody hears of the first submit")
		b.vendor = func(name string, n int) (submit.Result, error) {
			if hereFirst && n == 1 && unheard {
				return submit.Result{}, errAway
			}
			return script[(n-1)%len(script)], nil
		}
		b.inSubmit = func(n int) {
			if hereFirst && n == 1 && unheard {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.move(message.StatusQueued)
				b.move(message.StatusSending)
			}
		}
		atOnce := rapid.SampledFrom(ends).Draw(rt, "decided at once")
		b.awaited = func() bool {
			if atOnce != "" {
				b.decide(atOnce)
			}
			return atOnce != ""
		}
		for i := range rapid.IntRange(0, 3).Draw(rt, "receipts") {
			end := rapid.SampledFrom(ends).Draw(rt, "end")
			signal := rapid.Bool().Draw(rt, "signal")
			b.at(whenever(fmt.Sprint("receipt", i)), func() {
				b.mu.Lock()
				submitted := slices.Contains(b.history, message.StatusSending)
				if submitted && b.receipts == "" {
					b.receipts = end // receipts come of what was submitted
				}
				b.mu.Unlock()
				if signal {
					b.env.SignalWorkflow(workflows.SignalDecided, nil)
				} else {
					b.env.UpdateWorkflow(workflows.UpdateDecided, "", ignore())
				}
			})
		}
		for range rapid.IntRange(0, 2).Draw(rt, "reroutes") {
			b.at(whenever("reroute"), func() { b.env.SignalWorkflow(workflows.SignalReroute, nil) })
		}
		for range rapid.IntRange(0, 2).Draw(rt, "cancels") {
			b.at(whenever("cancel"), func() { b.env.UpdateWorkflow(workflows.UpdateCancel, "", ignore()) })
		}
		if rapid.Bool().Draw(rt, "cancel the workflow") {
			b.at(whenever("cancel the workflow"), b.env.CancelWorkflow)
		}
		taken := rapid.IntRange(0, 5).Draw(rt, "endpoint down for tries")
		b.webhook = func(n int) bool { return n > taken }

		b.env.ExecuteWorkflow(workflows.OutboundType, b.in)
		if !b.env.IsWorkflowCompleted() {
			rt.Fatal("the workflow has not ended")
		}
		var r workflows.OutboundResult
		if err := b.env.GetWorkflowResult(&r); err != nil {
			rt.Fatalf("the workflow failed: %v", err)
		}
		if !b.status.Final() || r.Status != b.status {
			rt.Fatalf("the record says %s, the workflow %s", b.status, r.Status)
		}
		if len(b.pending) > 0 {
			rt.Fatalf("%d webhooks are pending", len(b.pending))
		}
		if len(b.wrong) > 0 {
			rt.Fatalf("wrong: %v", b.wrong)
		}
	})
}

// A recipient who has stopped the sender is not tried over the next vendor.
func TestOptedOutAtOneVendor(t *testing.T) {
	b := setup(t).second()
	b.vendor = answers(submit.Result{Outcome: submit.Refused, Reason: message.ReasonOptedOut})
	b.run(message.StatusFailed, message.ReasonOptedOut)
	b.offered("acme")
}
