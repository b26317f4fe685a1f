package submit_test

import (
	"context"
	"slices"
	"testing"

	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// whole is a vendor that cuts texts itself.
type whole struct{ *vendor }

func (whole) Whole() bool { return true }

func (b *bundle) wholly() *bundle {
	b.steps.Connector = func(message.ID) submit.Connector { return whole{b.vendor} }
	return b
}

// states are those of the newest attempts of all parts.
func (b *bundle) states() (out []message.PartState) {
	for p := 1; p <= b.m.Segments; p++ {
		list := b.journal.States(b.m.ID, p)
		out = append(out, list[len(list)-1])
	}
	return out
}

// A vendor that takes whole messages gets one submission, and its one answer is that of
// all parts.
func TestWhole(t *testing.T) {
	for _, how := range setups {
		for name, c := range map[string]struct {
			answer func(message.Submission, int) (message.SubmitResult, error)
			want   submit.Outcome
			state  message.PartState
		}{
			"sent":      {nil, submit.Sent, message.PartSubmitted},
			"refused":   {refuse(answeredNo), submit.Refused, message.PartRefused},
			"throttled": {refuse(throttled), submit.Busy, message.PartRefused},
			"silence":   {refuse(silent), submit.InDoubt, message.PartInDoubt},
		} {
			t.Run(how.name+", "+name, func(t *testing.T) {
				b := how.make(t, 3, message.AtMostOnce).wholly()
				b.vendor.answer = c.answer
				if r := b.submit(t); r.Outcome != c.want {
					t.Errorf("%+v", r)
				}
				if got := b.states(); !slices.Equal(got, []message.PartState{c.state, c.state, c.state}) {
					t.Errorf("parts: %v", got)
				}
				if len(b.vendor.tries) != 1 {
					t.Fatalf("%d submissions", len(b.vendor.tries))
				}
				s := b.vendor.tries[0]
				if !s.Whole || s.Text != b.m.Body || s.Part != 1 || s.Parts != 3 || s.Ref() != (message.AttemptRef{MessageID: b.m.ID, Part: 1, Attempt: 1}) {
					t.Errorf("submission: %+v", s)
				}
			})
		}
	}
}

// After a vendor that takes parts has refused some, all parts are of one try.
func TestWholeAfterParts(t *testing.T) {
	b := setup(t, 2, message.AtMostOnce)
	b.vendor.answer = refuse(troubled)
	b.submit(t)
	b.wholly().vendor.answer = nil
	if r := b.submit(t); r.Outcome != submit.Sent {
		t.Fatalf("%+v", r)
	}
	if s := b.vendor.tries[len(b.vendor.tries)-1]; s.Attempt != 2 || !s.Whole {
		t.Errorf("%+v", s)
	}
	if got := b.states(); !slices.Equal(got, []message.PartState{message.PartSubmitted, message.PartSubmitted}) {
		t.Errorf("parts: %v", got)
	}
}

// What has left in part over another vendor cannot go on over this one.
func TestNotWholeAnyMore(t *testing.T) {
	b := setup(t, 2, message.AtMostOnce)
	b.vendor.answer = only(2, troubled)
	b.submit(t)
	tries := len(b.vendor.tries)
	b.wholly().vendor.answer = nil
	if r := b.submit(t); r.Outcome != submit.Refused || !r.Left || r.Detail == "" {
		t.Errorf("%+v", r)
	}
	if len(b.vendor.tries) != tries {
		t.Error("it was submitted all the same")
	}
	if m, _ := b.journal.Message(context.Background(), b.m.ID); m.Status != message.StatusQueued {
		t.Errorf("the message is %s", m.Status)
	}
}
