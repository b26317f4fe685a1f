package submit_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// repeater is a vendor that knows a message which it gets twice.
type repeater struct{ whole }

func (repeater) Repeats() bool { return true }

// orphaned makes a message whose process died while it gave it to a vendor that knows what
// it gets twice.
func orphaned(t testing.TB, parts int, delivery message.Delivery) *bundle {
	t.Helper()
	b := setup(t, parts, delivery)
	b.steps.Connector = func(message.ID) submit.Connector { return repeater{whole{b.vendor}} }
	c := message.Change{MessageID: b.m.ID, To: message.StatusSending, Vendor: b.in.Vendor}
	for p := range parts {
		c.Attempts = append(c.Attempts, message.Attempt{Part: p + 1, Number: 1, Vendor: b.in.Vendor, Instance: "the dead one"})
	}
	if adv, err := b.journal.Advance(context.Background(), c); err != nil || !adv.Changed {
		t.Fatalf("%+v, %v", adv, err)
	}
	return b
}

// count is how often the timeline has a line of a type.
func (b *bundle) count(kind message.EventType) (n int) {
	for _, k := range b.journal.Timeline(b.m.ID) {
		if k == kind {
			n++
		}
	}
	return n
}

// The try that a dead process left open is made again as it was, and whatever comes of it is
// what came of it.
func TestOrphanIsRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(message.Submission, int) (message.SubmitResult, error)
		want   submit.Outcome
		state  message.PartState
		status message.Status
	}{
		"sent":                    {nil, submit.Sent, message.PartSubmitted, message.StatusSent},
		"refused":                 {refuse(answeredNo), submit.Refused, message.PartRefused, message.StatusQueued},
		"busy":                    {refuse(troubled), submit.Busy, message.PartRefused, message.StatusQueued},
		"silence":                 {refuse(silent), submit.InDoubt, message.PartInDoubt, message.StatusInDoubt},
		"refused, but only again": {refuse(message.SubmitError{Reason: message.ReasonMediaRejected}), submit.InDoubt, message.PartInDoubt, message.StatusInDoubt},
	} {
		for _, delivery := range []message.Delivery{message.AtMostOnce, message.AtLeastOnce} {
			t.Run(name+", "+string(delivery), func(t *testing.T) {
				b := orphaned(t, 2, delivery)
				b.vendor.answer = c.answer
				if r := b.submit(t); r.Outcome != c.want {
					t.Errorf("%+v", r)
				}
				if len(b.vendor.tries) != 1 || !b.vendor.tries[0].Again || b.vendor.tries[0].Ref() != (message.AttemptRef{MessageID: b.m.ID, Part: 1, Attempt: 1}) {
					t.Errorf("submissions: %+v", b.vendor.tries)
				}
				m := b.message(t)
				if got := b.journal.States(m.ID, 1); !slices.Equal(got, []message.PartState{c.state}) || m.Status != c.status || m.DuplicatePoss {
					t.Errorf("attempts %v of a message that is %s, marked %v", got, m.Status, m.DuplicatePoss)
				}
				if n := b.count(message.EventSubmitUnknown); n < 2 || b.count(message.StatusEvent(message.StatusSending)) != 2 {
					t.Errorf("timeline: %v", b.journal.Timeline(m.ID))
				}
			})
		}
	}
}

// While the vendor cannot be asked again the try stays open, and the timeline says once
// that it was taken over.
func TestOrphanWaitsForItsVendor(t *testing.T) {
	b := orphaned(t, 1, message.AtMostOnce)
	b.vendor.answer = refuse(linkLost)
	for range 3 {
		r, err := b.steps.Submit(context.Background(), b.in)
		var hint interface{ RetryAfter() time.Duration }
		if !errors.As(err, &hint) || hint.RetryAfter() != linkLost.After {
			t.Fatalf("%+v, %v", r, err)
		}
		if got := b.journal.States(b.m.ID, 1); !slices.Equal(got, []message.PartState{message.PartSending}) {
			t.Fatalf("attempts: %v", got)
		}
	}
	if n := b.count(message.EventSubmitUnknown); n != 1 {
		t.Errorf("it was taken over %d times", n)
	}
	b.vendor.answer = nil
	if r := b.submit(t); r.Outcome != submit.Sent {
		t.Errorf("%+v", r)
	}
	if got := b.states(); !slices.Equal(got, []message.PartState{message.PartSubmitted}) {
		t.Errorf("parts: %v", got)
	}
}

// Where a repetition would be another message, or comes too late, nobody makes one.
func TestOrphanStaysInDoubt(t *testing.T) {
	for name, change := range map[string]func(*bundle){
		"its vendor does not know what comes twice": func(b *bundle) { b.steps.Connector = func(message.ID) submit.Connector { return whole{b.vendor} } },
		"another vendor is asked":                   func(b *bundle) { b.in.Vendor = message.VendorRef{ID: message.NewID(), Name: "zeta"} },
		"it has expired":                            func(b *bundle) { b.steps.Gate.Now = func() time.Time { return b.m.ExpiresAt } },
	} {
		t.Run(name, func(t *testing.T) {
			b := orphaned(t, 1, message.AtMostOnce)
			change(b)
			if r := b.submit(t); r.Outcome != submit.InDoubt {
				t.Errorf("%+v", r)
			}
			if len(b.vendor.tries) != 0 || b.journal.Status(b.m.ID) != message.StatusInDoubt {
				t.Errorf("%d submissions of a message that is %s", len(b.vendor.tries), b.journal.Status(b.m.ID))
			}
		})
	}
}

// A message that ends while its vendor is asked again is left alone.
func TestOrphanThatHasEnded(t *testing.T) {
	b := orphaned(t, 1, message.AtMostOnce)
	b.journal.Step = func(operation string, done bool) error {
		if operation == "parts" && done {
			b.journal.Step = nil
			_, err := b.journal.Advance(context.Background(), message.Change{MessageID: b.m.ID, To: message.StatusFailed})
			return err
		}
		return nil
	}
	if r := b.submit(t); r.Outcome != submit.Ended || r.Status != message.StatusFailed || len(b.vendor.tries) != 0 {
		t.Errorf("%+v, %d submissions", r, len(b.vendor.tries))
	}
}
