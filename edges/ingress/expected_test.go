package ingress_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

// What the tests know of the times and the bound: they are no options.
const (
	awaited     = time.Second     // how long a decision is waited for
	lapsed      = 5 * time.Second // when nobody is expected to come any more
	mostAwaited = 256
)

// decisive is a journal in which each receipt decides the message whose id it
// has.
type decisive struct{ *journal }

func (d decisive) Receipt(ctx context.Context, r message.Receipt) (message.Matched, error) {
	if _, err := d.journal.Receipt(ctx, r); err != nil {
		return message.Matched{}, err
	}
	return decidedBy(r.ID), nil
}

// atOnce is a running ingress whose receipts decide messages. The caller is in a
// bubble, and stops it.
func atOnce(t testing.TB) *bundle {
	t.Helper()
	b := setup(t)
	b.Journal, b.NoStarts = decisive{b.journal}, true
	b.Start(t.Context())
	return b
}

// until lets the time go by until the moment, counted from now, has come. No
// timer is made that is due at once: of those that several goroutines of a bubble
// run in the same moment the race detector dies (golang/go#78156).
func until(moment time.Duration) {
	if moment > 0 {
		pass(moment)
	}
}

// decide lets a receipt decide the message.
func (b *bundle) decide(t testing.TB, id message.ID) {
	t.Helper()
	if err := b.Receipt(t.Context(), message.Receipt{ID: id, State: message.ReceiptDelivered}); err != nil {
		t.Error(err)
	}
}

// told is how often the message's workflow was told, once nothing is under way
// any more.
func (b *bundle) told(id message.ID) int {
	synctest.Wait()
	b.server.mu.Lock()
	defer b.server.mu.Unlock()
	return b.server.told[id]
}

// await waits for the decision, and checks the answer and when it comes.
func (b *bundle) await(t testing.TB, id message.ID, want bool, after time.Duration) {
	t.Helper()
	began := time.Now()
	if got := b.AwaitDecision(t.Context(), id); got != want {
		t.Errorf("decided %v, want %v", got, want)
	}
	if took := time.Since(began); took != after {
		t.Errorf("answered after %s, want %s", took, after)
	}
}

// A decision that is waited for here is told to nobody else, whether it comes
// before the wait or while it lasts. One call takes it.
func TestDecisionIsAwaited(t *testing.T) {
	for _, c := range []struct {
		name     string
		decided  time.Duration // after the submit
		begin    time.Duration // of the wait
		answered time.Duration // after its begin
	}{
		{"before", 0, 2 * time.Second, 0},
		{"at the moment it begins", time.Second, time.Second, 0},
		{"while it lasts", 700 * time.Millisecond, 100 * time.Millisecond, 600 * time.Millisecond},
		{"at once and at once", 0, 0, 0},
		{"just before the expectation lapses", 0, lapsed - 1, 0},
		{"beyond the lapse of an expectation that somebody has taken", lapsed + 300*time.Millisecond, lapsed - 500*time.Millisecond, 800 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := atOnce(t)
				id := message.NewID()
				b.Expect(id)
				var receipt sync.WaitGroup
				receipt.Go(func() {
					until(c.decided)
					b.decide(t, id)
				})
				until(c.begin)
				b.await(t, id, true, c.answered)
				receipt.Wait()
				b.await(t, id, false, 0)
				pass(time.Minute)
				if n := b.told(id); n != 0 {
					t.Errorf("told %d times besides", n)
				}
				b.Stop()
			})
		})
	}
}

// A message of several parts may be decided more than once; who waits hears of
// it once.
func TestDecidedTwiceWhileItIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := atOnce(t)
		id := message.NewID()
		b.Expect(id)
		b.Expect(id)
		b.decide(t, id)
		b.decide(t, id)
		b.await(t, id, true, 0)
		pass(time.Minute)
		if n := b.told(id); n != 0 {
			t.Errorf("told %d times besides", n)
		}
		b.Stop()
	})
}

// What comes when the wait is over is told to the workflow, at once.
func TestDecisionAfterTheWait(t *testing.T) {
	t.Run("that took its time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := atOnce(t)
			id := message.NewID()
			b.Expect(id)
			b.await(t, id, false, awaited)
			b.decide(t, id)
			if n := b.told(id); n != 1 {
				t.Errorf("told %d times", n)
			}
			b.Stop()
		})
	})
	t.Run("that was given up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := atOnce(t)
			id := message.NewID()
			b.Expect(id)
			began := time.Now()
			short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if b.AwaitDecision(short, id) || time.Since(began) != 300*time.Millisecond {
				t.Errorf("not given up, or after %s", time.Since(began))
			}
			b.decide(t, id)
			if n := b.told(id); n != 1 {
				t.Errorf("told %d times", n)
			}
			b.Stop()
		})
	})
}

// Nobody is kept waiting for what nobody has announced, and its decision goes
// the usual way.
func TestNotExpected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := atOnce(t)
		id := message.NewID()
		b.await(t, id, false, 0)
		b.decide(t, id)
		if n := b.told(id); n != 1 {
			t.Errorf("told %d times", n)
		}
		b.Expect(id) // too late: what has been told is not waited for
		b.await(t, id, false, awaited)
		b.Stop()
	})
}

// The workflow that was expected never comes, for its process does something
// else by now: the decision is handed on, once.
func TestExpectationLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := atOnce(t)
		decided, open := message.NewID(), message.NewID()
		b.Expect(decided)
		b.Expect(open)
		pass(time.Second)
		b.decide(t, decided)
		pass(lapsed - time.Second - 1)
		if n := b.told(decided); n != 0 {
			t.Errorf("told %d times while the workflow was expected", n)
		}
		pass(1)
		if n := b.told(decided); n != 1 {
			t.Errorf("told %d times", n)
		}
		b.await(t, decided, false, 0)
		b.await(t, open, false, 0)
		pass(time.Hour)
		if b.told(decided) != 1 || b.told(open) != 0 {
			t.Errorf("told %d and %d times in the end", b.told(decided), b.told(open))
		}
		b.decide(t, open)
		if n := b.told(open); n != 1 {
			t.Errorf("told %d times of what came later", n)
		}
		b.Stop()
	})
}

// The submit did not end as one whose receipts are waited for: what was decided
// meanwhile is told at once, and what is decided later as well.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := atOnce(t)
		decided, open := message.NewID(), message.NewID()
		b.Forget(open) // not expected yet
		b.Expect(decided)
		b.Expect(open)
		b.decide(t, decided)
		b.Forget(decided)
		b.Forget(open)
		b.decide(t, open)
		for _, id := range []message.ID{decided, open} {
			if n := b.told(id); n != 1 {
				t.Errorf("told %d times", n)
			}
			b.await(t, id, false, 0)
		}
		pass(time.Hour)
		if b.told(decided) != 1 || b.told(open) != 1 {
			t.Errorf("told %d and %d times in the end", b.told(decided), b.told(open))
		}
		b.Stop()
	})
}

// Receipts that take their time never hold up those that come behind: beyond the
// bound nobody is waited for, and each that is done with makes room.
func TestMostThatAreAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := atOnce(t)
		ids := make([]message.ID, mostAwaited+50)
		for i := range ids {
			ids[i] = message.NewID()
			b.Expect(ids[i])
		}
		for _, id := range ids {
			b.decide(t, id)
		}
		for i, id := range ids {
			within := i < mostAwaited
			if told := b.told(id) == 1; told == within {
				t.Fatalf("message %d: told %v", i, told)
			}
		}
		for i, id := range ids {
			b.await(t, id, i < mostAwaited, 0)
		}
		next := message.NewID()
		b.Expect(next)
		b.decide(t, next)
		b.await(t, next, true, 0)
		for range mostAwaited {
			b.Expect(message.NewID())
		}
		pass(lapsed)
		synctest.Wait()
		b.Expect(next)
		b.decide(t, next)
		b.await(t, next, true, 0)
		b.Stop()
	})
}

// Stop keeps nobody waiting. What was decided and not taken stays in its table;
// nothing new is expected.
func TestStopLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := atOnce(t)
		waiting, decided, late := message.NewID(), message.NewID(), message.NewID()
		b.Expect(waiting)
		b.Expect(decided)
		b.decide(t, decided)
		var waiter sync.WaitGroup
		waiter.Go(func() { b.await(t, waiting, false, 300*time.Millisecond) })
		pass(300 * time.Millisecond)
		b.Stop()
		waiter.Wait()
		b.await(t, decided, false, 0)
		b.Expect(late)
		b.decide(t, late)
		b.await(t, late, false, 0)
		b.Stop()
		pass(time.Minute)
		for _, id := range []message.ID{waiting, decided, late} {
			if n := b.told(id); n != 0 {
				t.Errorf("told %d times after the end", n)
			}
		}
	})
}

// Stop before anything was asked of it, and again.
func TestStopOfAnUnusedIngress(t *testing.T) {
	b := setup(t)
	b.Stop()
	b.Stop()
	id := message.NewID()
	b.Expect(id)
	if b.AwaitDecision(t.Context(), id) {
		t.Error("decided")
	}
}

// story is what happens to one message, each at its moment after the start.
type story struct {
	expected []time.Duration // at most one
	receipts []time.Duration // those that decide it
	waits    []time.Duration
	patience time.Duration // of those who wait; 0: as long as it takes
}

// Whatever happens in whatever order, and in the same moment: a decision is
// reported to one who waits for it, or told to the workflow, and not both. Of
// several decisions of a message at least one is, and none of them twice.
func TestEachDecisionIsToldOnce(t *testing.T) {
	moment := rapid.SampledFrom([]time.Duration{0, 1, time.Millisecond, awaited - 1, awaited, awaited + 1, 2 * awaited,
		lapsed - awaited, lapsed - 1, lapsed, lapsed + 1, lapsed + awaited, lapsed + awaited + 1})
	one := rapid.Custom(func(t *rapid.T) story {
		return story{
			expected: rapid.SliceOfN(moment, 0, 1).Draw(t, "expected"),
			receipts: rapid.SliceOfN(moment, 0, 2).Draw(t, "receipts"),
			waits:    rapid.SliceOfN(moment, 0, 2).Draw(t, "waits"),
			patience: rapid.SampledFrom([]time.Duration{0, 0, 1, awaited / 2, awaited}).Draw(t, "patience"),
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		stories := rapid.SliceOfN(one, 1, 12).Draw(rt, "stories")
		var wrong []string
		// Draws and failures stay outside of the bubble: they end their goroutine.
		synctest.Test(t, func(t *testing.T) { wrong = play(t, stories) })
		if len(wrong) > 0 {
			rt.Fatalf("%v", wrong)
		}
	})
}

// The same, with everything in the moments that matter: the wait ends, or the
// expectation lapses, just when the receipts come.
func TestDecisionsInTheLastMoment(t *testing.T) {
	for name, one := range map[string]story{
		"of the wait":         {expected: []time.Duration{0}, waits: []time.Duration{0}, receipts: []time.Duration{awaited}},
		"of their patience":   {expected: []time.Duration{0}, waits: []time.Duration{0}, receipts: []time.Duration{1}, patience: 1},
		"of the expectation":  {expected: []time.Duration{0}, receipts: []time.Duration{lapsed}},
		"before the wait":     {expected: []time.Duration{0}, waits: []time.Duration{lapsed}, receipts: []time.Duration{lapsed}},
		"of two who wait":     {expected: []time.Duration{0}, waits: []time.Duration{1, 1}, receipts: []time.Duration{awaited + 1}},
		"and all of a sudden": {expected: []time.Duration{0}, waits: []time.Duration{0, 0}, receipts: []time.Duration{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				synctest.Test(t, func(t *testing.T) {
					for _, w := range play(t, slices.Repeat([]story{one}, 100)) {
						t.Error(w)
					}
				})
			}
		})
	}
}

// play lets the stories happen side by side and says what was wrong.
func play(t *testing.T, stories []story) (wrong []string) {
	b := atOnce(t)
	var mu sync.Mutex
	reported := make(map[message.ID]int)
	ids := make([]message.ID, len(stories))
	var all sync.WaitGroup
	at := func(moments []time.Duration, do func()) {
		for _, m := range moments {
			all.Go(func() {
				until(m)
				do()
			})
		}
	}
	for i, s := range stories {
		id := message.NewID()
		ids[i] = id
		at(s.expected, func() { b.Expect(id) })
		at(s.receipts, func() { b.decide(t, id) })
		at(s.waits, func() {
			ctx := t.Context()
			if s.patience > 0 {
				short, cancel := context.WithTimeout(ctx, s.patience)
				defer cancel()
				ctx = short
			}
			if b.AwaitDecision(ctx, id) {
				mu.Lock()
				reported[id]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	pass(2 * lapsed)
	for i, s := range stories {
		here, there := reported[ids[i]], b.told(ids[i])
		if here > 1 || here+there > len(s.receipts) || here+there == 0 && len(s.receipts) > 0 {
			wrong = append(wrong, fmt.Sprintf("%+v: reported %d times, told %d times", s, here, there))
		}
	}
	b.Stop()
	return wrong
}
