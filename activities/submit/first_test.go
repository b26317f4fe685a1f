package submit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// What is special about a message's first submit inside the workflow's task.

// trace notes what is done to the journal and to the wire, in order.
func (b *bundle) trace() func() []string {
	var mu sync.Mutex
	var list []string
	note := func(what string, done bool) error {
		mu.Lock()
		defer mu.Unlock()
		if !done {
			list = append(list, what)
		}
		return nil
	}
	b.journal.Step = note
	b.vendor.gate = func(done bool) error { return note("wire", done) }
	b.steps.Expect = func(message.ID) { _ = note("expect", false) }
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(list)
	}
}

// One write before the wire says that the message was admitted, queued and is
// being sent; nothing is read, neither before nor after.
func TestFirstSubmitReadsNothing(t *testing.T) {
	for _, c := range []struct {
		parts int
		from  message.Status
	}{{1, message.StatusAccepted}, {3, message.StatusAccepted}, {1, message.StatusScheduled}} {
		t.Run(fmt.Sprintf("%d, %s", c.parts, c.from), func(t *testing.T) {
			b := first(t, c.parts, message.AtMostOnce)
			b.journal.SetStatus(b.m.ID, c.from)
			trace := b.trace()
			if r := b.submit(t); r.Outcome != submit.Sent || len(r.Notify) != 1 || r.Decided {
				t.Errorf("%+v", r)
			}
			want := slices.Concat([]string{"advance", "expect"}, slices.Repeat([]string{"wire"}, c.parts), []string{"advance", "early"})
			if got := trace(); !slices.Equal(got, want) {
				t.Errorf("did %v, want %v", got, want)
			}
			timeline := slices.Concat([]message.EventType{"admitted", "queued"}, slices.Repeat([]message.EventType{"sending"}, c.parts), []message.EventType{"sent"})
			if got := b.journal.Timeline(b.m.ID); !slices.Equal(got, timeline) {
				t.Errorf("timeline %v, want %v", got, timeline)
			}
			if d := b.journal.Details(b.m.ID, "admitted")[0]["trail"]; fmt.Sprint(d) != fmt.Sprint(b.in.Queued.Trail) {
				t.Errorf("admitted by %v", d)
			}
			if d := b.journal.Details(b.m.ID, "queued")[0]; d["candidates"] != 2 || d["vendor"] != "acme" || d["why"] != "health" {
				t.Errorf("queued for %v", d)
			}
			if d := b.journal.Details(b.m.ID, "sending")[0]; d["vendor"] != "acme" {
				t.Errorf("sending: %v", d)
			}
			if !b.journal.Started(b.m.ID) {
				t.Error("the outbox row stays")
			}
			for part := 1; part <= c.parts; part++ {
				if s := b.journal.States(b.m.ID, part); !slices.Equal(s, []message.PartState{message.PartSubmitted}) || b.vendor.written(part) != 1 {
					t.Errorf("attempts of part %d: %v, written %d times", part, s, b.vendor.written(part))
				}
			}
			if m, err := b.journal.Message(context.Background(), b.m.ID); err != nil || m.VendorID != b.in.Vendor.ID || m.Vendor != "acme" {
				t.Errorf("vendor %q, %v", m.Vendor, err)
			}
		})
	}
}

// The process that did not accept the message reads its envelope, and no more.
func TestFirstSubmitElsewhere(t *testing.T) {
	b := first(t, 1, message.AtMostOnce)
	b.journal.Remembers = false
	trace := b.trace()
	b.submit(t)
	if want, got := []string{"message", "advance", "expect", "wire", "advance", "early"}, trace(); !slices.Equal(got, want) {
		t.Errorf("did %v, want %v", got, want)
	}
}

// Run again with the same input, after whatever the vendor said: what was sent
// is not sent again, and the message is admitted once.
func TestFirstSubmitTwice(t *testing.T) {
	begun := []message.EventType{"admitted", "queued", "sending"}
	for _, c := range []struct {
		name     string
		answer   func(message.Submission, int) (message.SubmitResult, error)
		again    submit.Outcome
		writes   int
		timeline []message.EventType
	}{
		{"sent", nil, submit.Sent, 1, []message.EventType{"sent"}},
		{"silence", refuse(silent), submit.InDoubt, 1, []message.EventType{"submit_unknown", "in_doubt"}},
		{"throttled", refuse(throttled), submit.Sent, 2, []message.EventType{"submit_refused", "queued", "sending", "sent"}},
		{"link lost", refuse(linkLost), submit.Sent, 1, []message.EventType{"submit_refused", "queued", "sending", "sent"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := first(t, 1, message.AtMostOnce)
			b.vendor.answer = c.answer
			b.submit(t)
			b.vendor.answer = nil
			if r := b.submit(t); r.Outcome != c.again || b.vendor.written(1) != c.writes {
				t.Errorf("%+v, written %d times", r, b.vendor.written(1))
			}
			if got, want := b.journal.Timeline(b.m.ID), slices.Concat(begun, c.timeline); !slices.Equal(got, want) {
				t.Errorf("timeline %v, want %v", got, want)
			}
			if i := b.journal.Illegal(); len(i) > 0 {
				t.Errorf("illegal changes: %v", i)
			}
		})
	}
}

// Somebody else has noted the route: the message is queued already, and goes the
// usual way.
func TestFirstSubmitOfAQueuedMessage(t *testing.T) {
	b := first(t, 1, message.AtMostOnce)
	b.journal.SetStatus(b.m.ID, message.StatusQueued)
	if r := b.submit(t); r.Outcome != submit.Sent || b.vendor.written(1) != 1 {
		t.Errorf("%+v", r)
	}
	if got := b.journal.Timeline(b.m.ID); !slices.Equal(got, []message.EventType{"sending", "sent"}) {
		t.Errorf("timeline %v", got)
	}
}

// What cannot be sent now leaves no trace, and nobody expects its receipts.
func TestFirstSubmitThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b *bundle)
		want   submit.Outcome
		reason message.Reason
		status message.Status
	}{
		{"no link", func(b *bundle) { b.steps.Connector = func(message.ID) submit.Connector { return nil } },
			submit.Busy, message.ReasonVendorUnreachable, message.StatusAccepted},
		{"expired", func(b *bundle) { b.steps.Gate.Now = func() time.Time { return b.m.ExpiresAt } },
			submit.Busy, message.ReasonExpired, message.StatusAccepted},
		{"withdrawn", func(b *bundle) { b.journal.SetStatus(b.m.ID, message.StatusCanceled) },
			submit.Ended, "", message.StatusCanceled},
		{"withdrawn in this moment", func(b *bundle) {
			b.journal.Step = func(op string, done bool) error {
				if op == "advance" && !done && b.journal.Status(b.m.ID) == message.StatusAccepted {
					b.journal.SetStatus(b.m.ID, message.StatusCanceled)
				}
				return nil
			}
		}, submit.Ended, "", message.StatusCanceled},
		{"ended by policy", func(b *bundle) { b.journal.SetStatus(b.m.ID, message.StatusRejected) },
			submit.Ended, "", message.StatusRejected},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := first(t, 2, message.AtLeastOnce)
			b.steps.Expect = func(message.ID) { t.Error("its receipts are expected") }
			told := message.Notification{ID: message.NewID(), MessageID: b.m.ID}
			b.journal.PutNotification(told)
			c.change(b)
			r := b.submit(t)
			if r.Outcome != c.want || r.Reason != c.reason {
				t.Errorf("%+v", r)
			}
			if r.Outcome == submit.Ended && (r.Status != c.status || !slices.Equal(r.Notify, []message.ID{told.ID})) {
				t.Errorf("ended as %s, to be told %d", r.Status, len(r.Notify))
			}
			if s := b.journal.Status(b.m.ID); s != c.status || len(b.journal.Timeline(b.m.ID)) != 0 || b.journal.Started(b.m.ID) {
				t.Errorf("status %s, timeline %v", s, b.journal.Timeline(b.m.ID))
			}
			if b.vendor.written(1)+b.vendor.written(2) != 0 || len(b.journal.States(b.m.ID, 1)) != 0 {
				t.Errorf("written %v, journalled %v", b.vendor.wire, b.journal.States(b.m.ID, 1))
			}
			if i := b.journal.Illegal(); len(i) > 0 {
				t.Errorf("illegal changes: %v", i)
			}
		})
	}
}

// The link was away when the submit began and is back while it looks for the
// reason: the message is not queued, so it must not go out. The next try sends.
func TestLinkThatComesBackMeanwhile(t *testing.T) {
	b := first(t, 1, message.AtMostOnce)
	looks := 0
	b.steps.Connector = func(message.ID) submit.Connector {
		if looks++; looks == 1 {
			return nil
		}
		return b.vendor
	}
	var app *temporal.ApplicationError
	if _, err := b.steps.Submit(context.Background(), b.in); !errors.As(err, &app) || app.NonRetryable() {
		t.Errorf("error %v", err)
	}
	if b.vendor.written(1) != 0 || b.journal.Status(b.m.ID) != message.StatusAccepted {
		t.Errorf("written %d, status %s", b.vendor.written(1), b.journal.Status(b.m.ID))
	}
	if r := b.submit(t); r.Outcome != submit.Sent || b.vendor.written(1) != 1 {
		t.Errorf("%+v", r)
	}
}

// What can never be sent says so before anything is written.
func TestFirstSubmitOfWhatDoesNotFit(t *testing.T) {
	b := first(t, 1, message.AtMostOnce)
	b.m.Segments = 2
	b.journal.Put(b.m)
	var app *temporal.ApplicationError
	if _, err := b.steps.Submit(context.Background(), b.in); !errors.As(err, &app) || app.Type() != string(message.ReasonInternal) {
		t.Errorf("error %v", err)
	}
	if b.vendor.written(1) != 0 || b.journal.Status(b.m.ID) != message.StatusAccepted {
		t.Errorf("written %d, status %s", b.vendor.written(1), b.journal.Status(b.m.ID))
	}
}

// The receipt of one who answers and confirms in one breath: it is let in, and
// decides.
func TestFirstSubmitWithAnEarlyReceipt(t *testing.T) {
	b := first(t, 1, message.AtMostOnce)
	b.receipt(t, "id-1-1", message.ReceiptDelivered)
	if r := b.submit(t); r.Outcome != submit.Sent || !r.Decided || !b.journal.Due(b.m.ID) {
		t.Errorf("%+v, due %v", r, b.journal.Due(b.m.ID))
	}
}

// Receipts are expected of what goes on the wire inside the workflow's task, and
// of nothing else; who is told of it is told before the wire.
func TestExpectedReceipts(t *testing.T) {
	for _, how := range setups {
		t.Run(how.name, func(t *testing.T) {
			b := how.make(t, 2, message.AtMostOnce)
			b.in.Here = true
			var expected []message.ID
			b.steps.Expect = func(id message.ID) {
				if n := b.vendor.written(1) + b.vendor.written(2); n != 0 {
					t.Errorf("%d parts were on the wire", n)
				}
				expected = append(expected, id)
			}
			b.submit(t)
			b.submit(t) // sends nothing
			if !slices.Equal(expected, []message.ID{b.m.ID}) {
				t.Errorf("expected %d times", len(expected))
			}
		})
	}
	t.Run("over the vendor's queue", func(t *testing.T) {
		b := setup(t, 1, message.AtMostOnce)
		b.steps.Expect = func(message.ID) { t.Error("expected") }
		if r := b.submit(t); r.Outcome != submit.Sent {
			t.Errorf("%+v", r)
		}
	})
}

// The workflow waits for the receipts of a message that is sent and not decided;
// of any other they are forgotten.
func TestForgottenReceipts(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b *bundle)
		want   submit.Outcome
		forget bool
	}{
		{"sent", func(*bundle) {}, submit.Sent, false},
		{"decided already", func(b *bundle) { b.receipt(t, "id-1-1", message.ReceiptDelivered) }, submit.Sent, true},
		{"throttled", func(b *bundle) { b.vendor.answer = refuse(throttled) }, submit.Busy, true},
		{"refused", func(b *bundle) { b.vendor.answer = refuse(answeredNo) }, submit.Refused, true},
		{"in doubt", func(b *bundle) { b.vendor.answer = refuse(silent) }, submit.InDoubt, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := first(t, 1, message.AtMostOnce)
			b.in.Here = true
			forgotten := 0
			b.steps.Forget = func(message.ID) { forgotten++ }
			c.change(b)
			if r := b.submit(t); r.Outcome != c.want {
				t.Errorf("%+v", r)
			}
			if (forgotten == 1) != c.forget || forgotten > 1 {
				t.Errorf("forgotten %d times", forgotten)
			}
		})
	}
}

// A change that passes through a status is made before it: never in it, where it
// was made already, nor in the status it leads to, nor on the way back from
// either. The first submit stands on that.
func TestPassingThroughGoesForward(t *testing.T) {
	for _, via := range message.Statuses() {
		for _, to := range message.Statuses() {
			from := message.Change{Via: via, To: to}.From()
			for _, s := range from {
				if s == via || s == to || s == message.StatusInDoubt || !s.CanBecome(via) || to.CanBecome(s) {
					t.Errorf("through %s to %s: from %s", via, to, s)
				}
			}
		}
	}
	for _, to := range message.Statuses() {
		if from := (message.Change{To: to}).From(); !slices.Equal(from, message.Before(to)) {
			t.Errorf("to %s: from %v", to, from)
		}
	}
	if from := (message.Change{Via: message.StatusQueued, To: message.StatusSending}).From(); !slices.Equal(from, []message.Status{message.StatusAccepted, message.StatusScheduled}) {
		t.Errorf("the first submit is made from %v", from)
	}
}
