package submit_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/activities/journaltest"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// mood is how a vendor answers a part, drawn once for each write.
func mood(n int) func(message.Submission, int) (message.SubmitResult, error) {
	switch n {
	case 1:
		return refuse(answeredNo)
	case 2:
		return refuse(throttled)
	case 3:
		return refuse(silent)
	case 4:
		return refuse(linkLost)
	}
	return nil
}

// A process may die at any step, before its effect or after it, as often as it
// likes: under at_most_once the vendor never gets a part again that it may have
// already. A refusal that was answered says that it does not have it.
func TestNeverTwiceWhereverItDies(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		parts := rapid.IntRange(1, 3).Draw(rt, "parts")
		b := setup(t, parts, message.AtMostOnce)
		moods := rapid.SliceOfN(rapid.IntRange(0, 4), 12, 12).Draw(rt, "moods")
		var mu sync.Mutex
		had := map[int]int{} // writes by part that the vendor may have kept
		b.vendor.answer = func(s message.Submission, before int) (message.SubmitResult, error) {
			n := moods[(s.Part*3+before)%len(moods)]
			if n == 0 || n == 3 {
				mu.Lock()
				had[s.Part]++
				mu.Unlock()
			}
			if f := mood(n); f != nil {
				return f(s, before)
			}
			return message.SubmitResult{VendorMessageID: "v", NormalizedID: message.NewID().String()}, nil
		}
		for range rapid.IntRange(0, 4).Draw(rt, "deaths") {
			dieAt := int64(rapid.IntRange(1, 24).Draw(rt, "step"))
			var step atomic.Int64
			tick := func(bool) error {
				if step.Add(1) >= dieAt {
					return journaltest.ErrDead
				}
				return nil
			}
			b.journal.Step = func(_ string, done bool) error { return tick(done) }
			b.vendor.gate = tick
			_, _ = b.steps.Submit(context.Background(), b.in)
		}
		b.journal.Step, b.vendor.gate = nil, nil
		var last submit.Result
		for range 12 {
			r, err := b.steps.Submit(context.Background(), b.in)
			if err != nil {
				rt.Fatalf("alive and well: %v", err)
			}
			if last = r; r.Outcome != submit.Busy {
				break
			}
		}
		for part, n := range had {
			if n > 1 {
				rt.Fatalf("part %d reached the vendor %d times", part, n)
			}
		}
		if last.Outcome == submit.Sent {
			for part := 1; part <= parts; part++ {
				if had[part] != 1 {
					rt.Fatalf("sent, and part %d reached the vendor %d times", part, had[part])
				}
			}
		}
		if i := b.journal.Illegal(); len(i) > 0 {
			rt.Fatalf("illegal changes: %v", i)
		}
	})
}

// A run that was given up on may still live: it is held at any step while
// another runs from beginning to end, and then goes on. Only one of them writes.
func TestNeverTwiceBesideARunThatStillLives(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		parts := rapid.IntRange(1, 2).Draw(rt, "parts")
		b := setup(t, parts, message.AtMostOnce)
		heldAt := int64(rapid.IntRange(1, 20).Draw(rt, "step"))
		var step atomic.Int64
		var held atomic.Bool
		arrived, goOn := make(chan struct{}), make(chan struct{})
		tick := func(bool) error {
			if step.Add(1) >= heldAt && held.CompareAndSwap(false, true) {
				close(arrived)
				<-goOn
			}
			return nil
		}
		b.journal.Step = func(_ string, done bool) error { return tick(done) }
		b.vendor.gate = tick
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = b.steps.Submit(context.Background(), b.in)
		}()
		select {
		case <-arrived:
			_, _ = b.steps.Submit(context.Background(), b.in) // errUnderWay is a fine answer
			close(goOn)
			<-ended
		case <-ended: // it has fewer steps than that
		}
		for part := 1; part <= parts; part++ {
			if n := b.vendor.written(part); n != 1 {
				rt.Fatalf("part %d was written %d times", part, n)
			}
		}
		b.journal.Step, b.vendor.gate = nil, nil
		// Whoever comes next finds the message sent or in doubt, and sends nothing.
		r, err := b.steps.Submit(context.Background(), b.in)
		if err != nil || r.Outcome != submit.Sent && r.Outcome != submit.InDoubt {
			rt.Fatalf("%+v, %v", r, err)
		}
		for part := 1; part <= parts; part++ {
			if n := b.vendor.written(part); n != 1 {
				rt.Fatalf("part %d was written %d times in the end", part, n)
			}
		}
	})
}

// Under at_least_once every part reaches the vendor, whatever happens, and a
// part that may have gone twice is marked.
func TestAtLeastOnceArrives(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := setup(t, 1, message.AtLeastOnce)
		dieAt := int64(rapid.IntRange(1, 20).Draw(rt, "step"))
		var step atomic.Int64
		tick := func(bool) error {
			if step.Add(1) >= dieAt {
				return journaltest.ErrDead
			}
			return nil
		}
		b.journal.Step = func(_ string, done bool) error { return tick(done) }
		b.vendor.gate = tick
		_, _ = b.steps.Submit(context.Background(), b.in)
		b.journal.Step, b.vendor.gate = nil, nil
		r, err := b.steps.Submit(context.Background(), b.in)
		if err != nil || r.Outcome != submit.Sent {
			rt.Fatalf("%+v, %v", r, err)
		}
		m, err := b.journal.Message(context.Background(), b.m.ID)
		if err != nil {
			rt.Fatal(err)
		}
		if n := b.vendor.written(1); n < 1 || n > 1 && !m.DuplicatePoss {
			rt.Fatalf("written %d times, marked %v", n, m.DuplicatePoss)
		}
		if i := b.journal.Illegal(); len(i) > 0 {
			rt.Fatalf("illegal changes: %v", i)
		}
	})
}
