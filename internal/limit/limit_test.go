package limit

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 21, 20, 15, 0, 0, time.UTC)

func TestTakeCountsWithinTheWindow(t *testing.T) {
	l := New(0)
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	steps := []struct {
		ms        int
		ok        bool
		remaining int
		reset     time.Duration
	}{
		{0, true, 2, time.Second},
		{300, true, 1, 700 * time.Millisecond},
		{999, true, 0, time.Millisecond},
		{999, false, 0, time.Millisecond},
		{1000, true, 0, 300 * time.Millisecond}, // the first has left
		{1299, false, 0, time.Millisecond},
		{1300, true, 0, 699 * time.Millisecond},
		{5000, true, 2, time.Second},
	}
	for _, s := range steps {
		r := l.Take("a", 3, time.Second, at(s.ms))
		if r.OK != s.ok || r.Remaining != s.remaining || r.Reset != s.reset || r.Limit != 3 {
			t.Fatalf("at %d ms: %+v, want ok %v remaining %d reset %s", s.ms, r, s.ok, s.remaining, s.reset)
		}
	}
}

func TestKeysDoNotShare(t *testing.T) {
	l := New(0)
	l.Take("a", 1, time.Second, epoch)
	if !l.Take("b", 1, time.Second, epoch).OK {
		t.Fatal("b was refused for what a did")
	}
	if l.Take("a", 1, time.Second, epoch).OK {
		t.Fatal("a was allowed twice")
	}
}

func TestPeekCountsNothing(t *testing.T) {
	l := New(0)
	for range 3 {
		if r := l.Peek("a", 1, time.Second, epoch); !r.OK || r.Remaining != 1 || r.Reset != 0 {
			t.Fatalf("peek at a fresh key: %+v", r)
		}
	}
	if l.Len() != 0 {
		t.Fatalf("peek made %d keys", l.Len())
	}
	l.Take("a", 1, time.Second, epoch)
	if r := l.Peek("a", 1, time.Second, epoch.Add(400*time.Millisecond)); r.OK || r.Reset != 600*time.Millisecond {
		t.Fatalf("peek at a spent key: %+v", r)
	}
}

func TestNothingIsAllowedWithoutALimit(t *testing.T) {
	l := New(0)
	for _, limit := range []int{0, -1} {
		if r := l.Take("a", limit, time.Second, epoch); r.OK || r.Remaining != 0 || r.Limit != 0 {
			t.Fatalf("limit %d: %+v", limit, r)
		}
	}
	if l.Len() != 0 {
		t.Fatal("a key was made for nothing")
	}
}

func TestLimitMayChange(t *testing.T) {
	l := New(0)
	for range 5 {
		l.Take("a", 5, time.Second, epoch)
	}
	if l.Take("a", 3, time.Second, epoch).OK {
		t.Fatal("a smaller limit allowed more")
	}
	allowed := 0
	for range 1000 {
		if l.Take("a", 400, time.Second, epoch.Add(time.Millisecond)).OK {
			allowed++
		}
	}
	if allowed != 395 {
		t.Fatalf("a larger limit allowed %d more, want 395", allowed)
	}
}

// The rule of the package, against every choice of times, limits and windows.
func TestNoWindowHoldsMoreThanTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 400).Draw(t, "limit")
		span := time.Duration(rapid.IntRange(1, 2000).Draw(t, "span")) * time.Millisecond
		widest := int(span) * rapid.IntRange(0, 3).Draw(t, "pace") / limit
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		l := New(0)
		var allowed []time.Duration
		at := time.Duration(0)
		for range 4 * limit {
			at += time.Duration(random.IntN(widest + 1))
			within := 0
			for i := len(allowed) - 1; i >= 0 && allowed[i] > at-span; i-- {
				within++
			}
			r := l.Take("k", limit, span, epoch.Add(at))
			switch {
			case r.OK && within >= limit:
				t.Fatalf("at %s: allowed with %d of %d in the window", at, within, limit)
			case !r.OK && within < limit && limit <= maxMarks:
				t.Fatalf("at %s: refused with %d of %d in the window", at, within, limit)
			case !r.OK:
				slack := span / (maxMarks - 1)
				late := 0
				for i := len(allowed) - 1; i >= 0 && allowed[i] > at-span-slack; i-- {
					late++
				}
				if late < limit {
					t.Fatalf("at %s: refused with %d of %d within the window and its slack", at, late, limit)
				}
			}
			if r.OK {
				allowed = append(allowed, at)
			} else if r.Reset <= 0 || r.Reset > span {
				t.Fatalf("at %s: refused with reset %s of a window of %s", at, r.Reset, span)
			}
		}
	})
}

func TestConcurrentTakesKeepTheLimit(t *testing.T) {
	const (
		limit   = 50
		callers = 16
		steps   = 40
		span    = time.Second
		step    = 100 * time.Millisecond
	)
	l := New(0)
	var allowed [steps]int
	for i := range steps {
		var n atomic.Int64
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for range 1 + (i*7+c)%9 {
					if l.Take("k", limit, span, epoch.Add(time.Duration(i)*step)).OK {
						n.Add(1)
					}
				}
			})
		}
		wg.Wait()
		allowed[i] = int(n.Load())
	}
	for i := range steps {
		sum := 0
		for j := i; j < steps && time.Duration(j-i)*step < span; j++ {
			sum += allowed[j]
		}
		if sum > limit {
			t.Fatalf("%d were allowed in the window that begins with step %d", sum, i)
		}
	}
	if allowed[0] != limit {
		t.Fatalf("the first step allowed %d of %d", allowed[0], limit)
	}
}

func TestTimesThatRunBackwards(t *testing.T) {
	l := New(0)
	l.Take("k", 2, time.Second, epoch.Add(time.Second))
	l.Take("k", 2, time.Second, epoch.Add(900*time.Millisecond))
	if l.Take("k", 2, time.Second, epoch.Add(1950*time.Millisecond)).OK {
		t.Fatal("an event that was counted late left early")
	}
}

func TestIdleKeysAreForgotten(t *testing.T) {
	l := New(0)
	for i := range 10_000 {
		l.Take(fmt.Sprint("k", i), 10, time.Second, epoch)
	}
	if n := l.Len(); n != 10_000 {
		t.Fatalf("%d keys, want 10000", n)
	}
	for i := range 50_000 {
		l.Take(fmt.Sprint("later", i%1000), 10, time.Second, epoch.Add(2*time.Second))
	}
	if n := l.Len(); n > 1000 {
		t.Fatalf("%d keys are left, want at most 1000", n)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	const most = 1024
	l := New(most)
	for i := range 100_000 {
		l.Take(fmt.Sprint("k", i), 10, time.Hour, epoch)
		l.Take("busy", 1_000_000, time.Hour, epoch.Add(time.Duration(i)*time.Millisecond))
	}
	if n := l.Len(); n > most {
		t.Fatalf("%d keys, want at most %d", n, most)
	}
	r := l.Peek("busy", 1_000_000, time.Hour, epoch.Add(100*time.Second))
	if r.Remaining != 900_000 {
		t.Fatalf("the busy key was forgotten among the idle: %+v", r)
	}
	for i := range l.shard {
		for _, w := range l.shard[i].keys {
			if len(w.ring) > maxMarks {
				t.Fatalf("key %s keeps %d marks", w.key, len(w.ring))
			}
		}
	}
}

func BenchmarkTake(b *testing.B) {
	for _, limit := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("limit=%d", limit), func(b *testing.B) {
			l := New(0)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					l.Take("account", limit, time.Second, time.Now())
				}
			})
		})
	}
	b.Run("keys=100000", func(b *testing.B) {
		l := New(0)
		keys := make([]string, 100_000)
		for i := range keys {
			keys[i] = fmt.Sprint("account-", i)
		}
		b.ReportAllocs()
		for i := range b.N {
			l.Take(keys[i%len(keys)], 10, time.Second, time.Now())
		}
	})
}
