package submit_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/temporal"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/activities/journaltest"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// taken makes a message that acme has taken, or may have, and whose next submit gives
// it to zeta as well.
func taken(t testing.TB, parts int, delivery message.Delivery, acme func(message.Submission, int) (message.SubmitResult, error)) (b *bundle, zeta *vendor) {
	t.Helper()
	b = setup(t, parts, delivery)
	b.vendor.answer = acme
	b.submit(t)
	zeta = &vendor{}
	ref := message.VendorRef{ID: message.NewID(), Name: "zeta"}
	b.steps.Connector = func(id message.ID) submit.Connector {
		if id == ref.ID {
			return zeta
		}
		return b.vendor
	}
	b.acme = b.in.Vendor.ID
	b.in.Vendor, b.in.Resend = ref, true
	return b, zeta
}

// receiptOf is the vendor's word that it has delivered what it gave the id to.
func (b *bundle) receiptOf(t testing.TB, vendor message.ID, id string) message.Matched {
	t.Helper()
	got, err := b.journal.Receipt(context.Background(), message.Receipt{ID: message.NewID(), VendorID: vendor, VendorMessageID: id, State: message.ReceiptDelivered})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (b *bundle) message(t testing.TB) *message.Message {
	t.Helper()
	m, err := b.journal.Message(context.Background(), b.m.ID)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSentAgain(t *testing.T) {
	b, zeta := taken(t, 2, message.AtLeastOnce, nil)
	before := len(b.journal.Timeline(b.m.ID))
	acme := b.m
	if r := b.submit(t); r.Outcome != submit.Sent || r.Decided {
		t.Errorf("%+v", r)
	}
	if zeta.written(1) != 1 || zeta.written(2) != 1 || b.vendor.written(1) != 1 {
		t.Errorf("zeta has %v, acme %v", zeta.wire, b.vendor.wire)
	}
	if m := b.message(t); m.Status != message.StatusSent || !m.DuplicatePoss || m.Vendor != "zeta" {
		t.Errorf("%s over %s, marked %v", m.Status, m.Vendor, m.DuplicatePoss)
	}
	if got := b.journal.States(acme.ID, 1); !slices.Equal(got, []message.PartState{message.PartSubmitted, message.PartSubmitted}) {
		t.Errorf("attempts %v", got)
	}
	lines := b.journal.Details(b.m.ID, "sending")
	if took := b.journal.Details(b.m.ID, "sent"); len(took) != 2 || took[1]["vendor"] != "zeta" {
		t.Errorf("taken: %v", took)
	}
	if len(b.journal.Timeline(b.m.ID)) != before+3 || lines[2]["vendor"] != "zeta" || lines[2]["again"] != true { // two parts, and taken
		t.Errorf("timeline %v, %v", b.journal.Timeline(b.m.ID), lines)
	}
	if i := b.journal.Illegal(); len(i) > 0 {
		t.Errorf("illegal changes: %v", i)
	}
	// It is asked again, as after a crash: it has it.
	if r := b.submit(t); r.Outcome != submit.Sent || zeta.written(1) != 1 {
		t.Errorf("%+v, %v", r, zeta.wire)
	}
}

// A vendor that takes whole messages is given all of it, as one more try.
func TestSentAgainWhole(t *testing.T) {
	b, zeta := taken(t, 2, message.AtLeastOnce, nil)
	b.steps.Connector = func(message.ID) submit.Connector { return whole{zeta} }
	if r := b.submit(t); r.Outcome != submit.Sent || len(zeta.tries) != 1 || !zeta.tries[0].Whole || zeta.tries[0].Attempt != 2 {
		t.Errorf("%+v, %+v", r, zeta.tries)
	}
	settled, _ := taken(t, 2, message.AtLeastOnce, nil)
	settled.receiptOf(t, settled.acme, "id-1-1")
	other := &vendor{}
	settled.steps.Connector = func(message.ID) submit.Connector { return whole{other} }
	if r := settled.submit(t); r.Outcome != submit.Refused || len(other.tries) != 0 { // it has arrived in part
		t.Errorf("%+v, %+v", r, other.tries)
	}
}

// The receipts of either vendor decide the message.
func TestReceiptsOfEither(t *testing.T) {
	for _, ids := range [][]string{{"id-1-1", "id-1-2"}, {"id-1-2", "id-1-1"}} {
		b, _ := taken(t, 1, message.AtLeastOnce, nil)
		b.submit(t)
		for i, id := range ids {
			vendor := b.in.Vendor.ID
			if id == "id-1-1" {
				vendor = b.acme
			}
			got := b.receiptOf(t, vendor, id)
			if !got.Known || got.Progress.Settled > 1 || i == 0 && !got.Progress.Decided() {
				t.Errorf("%v: receipt %d: %+v", ids, i+1, got)
			}
		}
	}
}

// What is not wanted twice, or is decided, is left alone.
func TestNotSentAgain(t *testing.T) {
	for name, c := range map[string]struct {
		delivery message.Delivery
		change   func(t *testing.T, b *bundle)
		want     submit.Outcome
	}{
		"at most once": {message.AtMostOnce, func(*testing.T, *bundle) {}, submit.Settled},
		"decided":      {message.AtLeastOnce, func(t *testing.T, b *bundle) { b.receiptOf(t, b.acme, "id-1-1") }, submit.Settled},
		"ended":        {message.AtLeastOnce, func(_ *testing.T, b *bundle) { b.journal.SetStatus(b.m.ID, message.StatusDelivered) }, submit.Ended},
		"opted out":    {message.AtLeastOnce, func(_ *testing.T, b *bundle) { b.suspend() }, submit.Refused},
		"expired":      {message.AtLeastOnce, func(_ *testing.T, b *bundle) { b.steps.Gate.Now = func() time.Time { return b.m.ExpiresAt } }, submit.Busy},
		"draining":     {message.AtLeastOnce, func(_ *testing.T, b *bundle) { b.steps.Draining = func(message.ID) bool { return true } }, submit.Busy},
	} {
		t.Run(name, func(t *testing.T) {
			b, zeta := taken(t, 1, c.delivery, nil)
			c.change(t, b)
			before := len(b.journal.Timeline(b.m.ID))
			r := b.submit(t)
			if r.Outcome != c.want || r.Gone != (name == "draining") || r.Decided != (name == "decided") {
				t.Errorf("%+v", r)
			}
			if zeta.written(1) != 0 || len(b.journal.Timeline(b.m.ID)) != before || b.message(t).DuplicatePoss {
				t.Errorf("written %v, timeline %v", zeta.wire, b.journal.Timeline(b.m.ID))
			}
		})
	}
}

// A receipt comes in the very moment: nothing is written, and the next try says why.
func TestDecidedInThisMoment(t *testing.T) {
	b, zeta := taken(t, 1, message.AtLeastOnce, nil)
	b.journal.Step = func(op string, done bool) error {
		if op == "progress" && done {
			b.journal.Step = nil
			b.receiptOf(t, b.acme, "id-1-1")
		}
		return nil
	}
	if _, err := b.steps.Submit(t.Context(), b.in); err == nil {
		t.Error("it was sent")
	}
	if r := b.submit(t); r.Outcome != submit.Settled || !r.Decided || zeta.written(1) != 0 {
		t.Errorf("%+v, %v", r, zeta.wire)
	}
}

// What the second vendor says does not undo what the first one has said.
func TestNotTakenAgain(t *testing.T) {
	for name, c := range map[string]struct {
		acme, zeta func(message.Submission, int) (message.SubmitResult, error)
		want       submit.Outcome
		status     message.Status
		state      message.PartState
	}{
		"refused":             {nil, refuse(answeredNo), submit.Refused, message.StatusSent, message.PartRefused},
		"throttled":           {nil, refuse(throttled), submit.Busy, message.StatusSent, message.PartRefused},
		"silent":              {nil, refuse(silent), submit.InDoubt, message.StatusSent, message.PartInDoubt},
		"refused, in doubt":   {refuse(silent), refuse(answeredNo), submit.Refused, message.StatusInDoubt, message.PartRefused},
		"throttled, in doubt": {refuse(silent), refuse(throttled), submit.Busy, message.StatusInDoubt, message.PartRefused},
		"silent, in doubt":    {refuse(silent), refuse(silent), submit.InDoubt, message.StatusInDoubt, message.PartInDoubt},
		"taken, in doubt":     {refuse(silent), nil, submit.Sent, message.StatusSent, message.PartSubmitted},
	} {
		t.Run(name, func(t *testing.T) {
			b, zeta := taken(t, 1, message.AtLeastOnce, c.acme)
			zeta.answer = c.zeta
			r := b.submit(t)
			if r.Outcome != c.want || r.Throttled != (r.Reason == message.ReasonVendorThrottled) {
				t.Errorf("%+v", r)
			}
			m, states := b.message(t), b.journal.States(b.m.ID, 1)
			if m.Status != c.status || !m.DuplicatePoss || len(states) != 2 || states[1] != c.state {
				t.Errorf("%s, attempts %v, marked %v", m.Status, states, m.DuplicatePoss)
			}
			if want := map[bool]string{true: "zeta", false: "acme"}[c.want == submit.Sent]; m.Vendor != want {
				t.Errorf("over %s", m.Vendor)
			}
			if b.vendor.written(1) != 1 || zeta.written(1) > 1 {
				t.Errorf("acme %v, zeta %v", b.vendor.wire, zeta.wire)
			}
		})
	}
}

// A vendor that is kept waiting until the sender was stopped is not given it.
func TestStoppedOnItsWayAgain(t *testing.T) {
	b, zeta := taken(t, 1, message.AtLeastOnce, nil)
	zeta.gate = func(done bool) error {
		if !done {
			b.suspend()
		}
		return nil
	}
	if r := b.submit(t); r.Outcome != submit.Refused || r.Reason != message.ReasonCampaignInactive || zeta.written(1) != 0 {
		t.Errorf("%+v, %v", r, zeta.wire)
	}
	if s := b.journal.Status(b.m.ID); s != message.StatusSent {
		t.Errorf("status %s", s)
	}
}

// A process may die at any step, and its run may be repeated: no vendor is given twice
// what is sent again.
func TestSentAgainOnceWhereverItDies(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		parts := rapid.IntRange(1, 2).Draw(rt, "parts")
		b, zeta := taken(t, parts, message.AtLeastOnce, nil)
		for range rapid.IntRange(0, 3).Draw(rt, "deaths") {
			dieAt := int64(rapid.IntRange(1, 20).Draw(rt, "step"))
			var step atomic.Int64
			tick := func(bool) error {
				if step.Add(1) >= dieAt {
					return journaltest.ErrDead
				}
				return nil
			}
			b.journal.Step = func(_ string, done bool) error { return tick(done) }
			zeta.gate = tick
			_, _ = b.steps.Submit(context.Background(), b.in)
			b.journal.Step, zeta.gate = nil, nil
		}
		r := b.submit(t)
		if r.Outcome != submit.Sent && r.Outcome != submit.InDoubt {
			rt.Fatalf("%+v", r)
		}
		for part := 1; part <= parts; part++ {
			if n := zeta.written(part); n > 1 || r.Outcome == submit.Sent && n != 1 {
				rt.Fatalf("part %d was written %d times, %s", part, n, r.Outcome)
			}
		}
		if s := b.journal.Status(b.m.ID); s != message.StatusSent {
			rt.Fatalf("status %s", s)
		}
	})
}

// A vendor that is being drained is given nothing, and nothing is written, whether the
// message comes here first or over the queue.
func TestDraining(t *testing.T) {
	for _, how := range setups {
		b := how.make(t, 1, message.AtMostOnce)
		b.steps.Draining = func(id message.ID) bool { return id == b.in.Vendor.ID }
		if r := b.submit(t); r.Outcome != submit.Busy || !r.Gone || r.Left {
			t.Errorf("%s: %+v", how.name, r)
		}
		if b.vendor.written(1) != 0 || len(b.journal.Timeline(b.m.ID)) != 0 || b.journal.Status(b.m.ID) != b.m.Status {
			t.Errorf("%s: %v, %s", how.name, b.journal.Timeline(b.m.ID), b.journal.Status(b.m.ID))
		}
		b.steps.Draining = func(message.ID) bool { return false }
		if r := b.submit(t); r.Outcome != submit.Sent {
			t.Errorf("%s: %+v", how.name, r)
		}
	}
}

// A submit that is to be taken back while it is on the wire goes on; one whose process
// stops does not.
func TestTakenBackOnTheWire(t *testing.T) {
	for name, c := range map[string]struct {
		cause error
		want  submit.Outcome
	}{"taken back": {temporal.NewCanceledError(), submit.Sent}, "stopped": {errors.New("the worker stops"), submit.InDoubt}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := setup(t, 1, message.AtMostOnce)
				ctx, cancel := context.WithCancelCause(context.Background())
				b.steps.Connector = func(message.ID) submit.Connector {
					return wire(func(ctx context.Context) error {
						cancel(c.cause)
						synctest.Wait() // all who are told of it have done what they do then
						return ctx.Err()
					})
				}
				if r, err := b.steps.Submit(ctx, b.in); err != nil || r.Outcome != c.want {
					t.Errorf("%+v, %v", r, err)
				}
			})
		})
	}
}

// wire is a connector that has written the part and waits for the answer.
type wire func(ctx context.Context) error

func (wire) Whole() bool { return false }

func (wire) Repeats() bool { return false }

func (w wire) Submit(ctx context.Context, s message.Submission) (message.SubmitResult, error) {
	if err := w(ctx); err != nil {
		return message.SubmitResult{}, &message.SubmitError{Reason: message.ReasonSubmitInDoubt, Written: true, Err: err}
	}
	return message.SubmitResult{VendorMessageID: "1", NormalizedID: "1"}, nil
}
