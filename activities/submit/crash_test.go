package submit_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/activities/journaltest"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// noRoom is a process without links.
type noRoom struct{}

func (noRoom) Room(message.ID, message.Class) int { return 0 }

// note records the route, as the workflow does before it offers a message to the
// vendor's queue that a submit inside its task has not sent.
func (b *bundle) note(rt *rapid.T) {
	v := &snapshot.Vendor{ID: b.in.Vendor.ID, Name: b.in.Vendor.Name, Active: true}
	config := &snapshot.Snapshot{Vendors: map[message.ID]*snapshot.Vendor{v.ID: v}, Routes: []snapshot.Route{{ID: 1, VendorID: v.ID}}}
	steps := &route.Activities{Journal: b.journal, Links: noRoom{}, Snapshot: func() *snapshot.Snapshot { return config }, Now: b.steps.Gate.Now}
	if _, err := steps.ChooseRoute(context.Background(), route.Input{MessageID: b.m.ID, Record: true}); err != nil {
		rt.Fatalf("note the route: %v", err)
	}
	b.in.Queued, b.in.Here = nil, false
}

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

// drawn makes a message that waits for its vendor, or one whose first submit
// queues it: that is repeated with the same input, as by a workflow's first task.
func drawn(t *testing.T, rt *rapid.T, parts int, delivery message.Delivery) *bundle {
	t.Helper()
	return setups[rapid.IntRange(0, 1).Draw(rt, "first")].make(t, parts, delivery)
}

// admittedOnce checks that a message whose first submit queues it, or the note
// of its route, was admitted with it, and not again by a later run.
func (b *bundle) admittedOnce(rt *rapid.T) {
	want := 0
	if b.m.Status == message.StatusAccepted && b.journal.Status(b.m.ID) != message.StatusAccepted {
		want = 1
	}
	if n := len(b.journal.Details(b.m.ID, message.EventAdmitted)); n != want {
		rt.Fatalf("admitted %d times, want %d: %v", n, want, b.journal.Timeline(b.m.ID))
	}
}

// A process may die at any step, before its effect or after it, as often as it
// likes: under at_most_once the vendor never gets a part again that it may have
// already. A refusal that was answered says that it does not have it.
func TestNeverTwiceWhereverItDies(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		parts := rapid.IntRange(1, 3).Draw(rt, "parts")
		b := drawn(t, rt, parts, message.AtMostOnce)
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
			b.journal.Step, b.vendor.gate = nil, nil
			if b.in.Queued != nil && rapid.Bool().Draw(rt, "note the route") {
				b.note(rt)
			}
		}
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
		if s := b.journal.Status(b.m.ID); last.Outcome == submit.InDoubt && s != message.StatusInDoubt || last.Outcome == submit.Sent && s != message.StatusSent {
			rt.Fatalf("the submit says %s, the record %s", last.Outcome, s)
		}
		b.admittedOnce(rt)
	})
}

// A run that was given up on may still live: it is held at any step while
// another runs from beginning to end, and then goes on. Only one of them writes.
func TestNeverTwiceBesideARunThatStillLives(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		parts := rapid.IntRange(1, 2).Draw(rt, "parts")
		b := drawn(t, rt, parts, message.AtMostOnce)
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
		b.admittedOnce(rt)
	})
}

// Under at_least_once every part reaches the vendor, whatever happens, and a
// part that may have gone twice is marked.
func TestAtLeastOnceArrives(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := drawn(t, rt, 1, message.AtLeastOnce)
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
		if b.in.Queued != nil && rapid.Bool().Draw(rt, "note the route") {
			b.note(rt)
		}
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
		b.admittedOnce(rt)
	})
}
