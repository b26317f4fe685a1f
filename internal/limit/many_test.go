package limit

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTakeAllIsAllOrNothing(t *testing.T) {
	l := New(0)
	a, b := Ask{Key: "a", Limit: 3, Window: time.Second}, Ask{Key: "b", Limit: 1, Window: time.Minute}
	check := func(got []Result, want ...Result) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	check(l.PeekAll([]Ask{a, b}, epoch), Result{OK: true, Limit: 3, Remaining: 3}, Result{OK: true, Limit: 1, Remaining: 1})
	if l.Len() != 0 {
		t.Errorf("a look made %d keys", l.Len())
	}
	check(l.TakeAll([]Ask{a, b}, epoch), Result{true, 3, 2, time.Second}, Result{true, 1, 0, time.Minute})
	check(l.TakeAll([]Ask{a, b}, epoch), Result{true, 3, 2, time.Second}, Result{false, 1, 0, time.Minute})
	check(l.TakeAll([]Ask{a}, epoch), Result{true, 3, 1, time.Second})
	fresh := Ask{Key: "fresh", Limit: 9, Window: time.Second}
	check(l.TakeAll([]Ask{fresh, b}, epoch), Result{true, 9, 9, 0}, Result{false, 1, 0, time.Minute})
	if l.Len() != 2 {
		t.Errorf("a refusal made a key: %d", l.Len())
	}
	check(l.TakeAll([]Ask{a, {Key: "shut", Limit: 0, Window: time.Second}}, epoch), Result{true, 3, 1, time.Second}, Result{Reset: time.Second})
	a.N = 2
	check(l.TakeAll([]Ask{a}, epoch), Result{false, 3, 1, time.Second})
	a.N = 1
	check(l.TakeAll([]Ask{a}, epoch), Result{true, 3, 0, time.Second})
	check(l.TakeAll(nil, epoch))
}

// Whatever is asked of which keys, when and how many at once: no window of a key
// holds more than its limit; what is refused is refused for a key without room and
// counts nowhere.
func TestTakeAllKeepsEveryLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.IntRange(1, 6).Draw(t, "keys")
		limits, spans := make([]int, keys), make([]time.Duration, keys)
		for i := range keys {
			limits[i] = rapid.IntRange(1, maxMarks).Draw(t, "limit") // exact up to there
			spans[i] = time.Duration(rapid.IntRange(1, 2000).Draw(t, "span")) * time.Millisecond
		}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		type event struct {
			at time.Duration
			n  int
		}
		counted := make([][]event, keys)
		within := func(i int, at time.Duration) int {
			n := 0
			for _, e := range counted[i] {
				if e.at > at-spans[i] {
					n += e.n
				}
			}
			return n
		}
		l := New(0)
		at := time.Duration(0)
		for range 300 {
			at += time.Duration(random.IntN(int(50 * time.Millisecond)))
			n := 1 + random.IntN(3)
			var asks []Ask
			var of []int
			room := true
			for i := range keys {
				if random.IntN(2) == 0 {
					asks, of = append(asks, Ask{Key: fmt.Sprint("k", i), Limit: limits[i], Window: spans[i], N: n}), append(of, i)
					room = room && within(i, at)+n <= limits[i]
				}
			}
			for j, r := range l.TakeAll(asks, epoch.Add(at)) {
				i := of[j]
				if want := within(i, at)+n <= limits[i]; r.OK != want {
					t.Fatalf("at %s: key %d has %d of %d and %d more: %v", at, i, within(i, at), limits[i], n, r.OK)
				}
				left := limits[i] - within(i, at)
				if room {
					left -= n
				}
				if r.Remaining != left {
					t.Fatalf("at %s: key %d has %d left, want %d", at, i, r.Remaining, left)
				}
			}
			if room {
				for _, i := range of {
					counted[i] = append(counted[i], event{at, n})
				}
			}
		}
	})
}

// No second holds more than rate and burst, no ten seconds more than ten times the
// rate, and who keeps to the rate is never refused.
func TestBurstKeepsItsPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{Key: "k", PerSecond: rapid.IntRange(1, 30).Draw(t, "rate"), Burst: rapid.IntRange(0, 400).Draw(t, "burst")}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		l := New(0)
		var taken []time.Duration
		holds := func(at, span time.Duration) (n int) {
			for _, e := range taken {
				if e > at-span {
					n++
				}
			}
			return n
		}
		at := time.Duration(0)
		for range 600 {
			at += time.Duration(random.IntN(int(2 * time.Second / time.Duration(r.PerSecond))))
			if random.IntN(40) == 0 {
				at += time.Duration(random.IntN(int(12 * time.Second)))
			}
			steady := holds(at, time.Second) < r.PerSecond && holds(at, 10*time.Second+100*time.Millisecond) < 9*r.PerSecond
			v := TakeRates(l, []Rate{r}, epoch.Add(at))
			switch {
			case !v.OK && steady:
				t.Fatalf("at %s: refused within the rate: %+v", at, v)
			case !v.OK && (v.Result.Reset <= 0 || v.Result.Reset > 10*time.Second):
				t.Fatalf("at %s: come back after %s", at, v.Result.Reset)
			case !v.OK:
				continue
			}
			taken = append(taken, at)
			if n := holds(at, time.Second); n > r.PerSecond+r.Burst {
				t.Fatalf("at %s: %d in a second", at, n)
			}
			if n := holds(at, 10*time.Second); n > 10*r.PerSecond {
				t.Fatalf("at %s: %d in ten seconds", at, n)
			}
		}
	})
}

func TestVerdict(t *testing.T) {
	key := Rate{Scope: ScopeKey, Key: "k", Whose: "with this API key", PerSecond: 2}
	account := Rate{Scope: ScopeAccount, Key: "a", Whose: "of this account", PerSecond: 3, Burst: 50}
	l := New(0)
	for i, want := range []struct {
		rates  []Rate
		ok     bool
		scope  string
		limit  int
		detail string
	}{
		{nil, true, "", 0, ""},
		{[]Rate{key, account}, true, ScopeKey, 2, "1 of 2 messages in a second with this API key, 1 of 30 messages in a second of this account, 1 of 30 messages in 10 seconds of this account"},
		{[]Rate{account, key}, true, ScopeKey, 2, "2 of 30 messages in a second of this account, 2 of 30 messages in 10 seconds of this account, 2 of 2 messages in a second with this API key"},
		{[]Rate{key, account}, false, ScopeKey, 2, "more than 2 messages in a second with this API key"},
		{[]Rate{{Scope: ScopeAccount, Key: "a", Whose: "of this account", PerSecond: 3, Burst: 50, N: 28}}, true, ScopeAccount, 30, "30 of 30 messages in a second of this account, 30 of 30 messages in 10 seconds of this account"},
		{[]Rate{key, account}, false, ScopeAccount, 30, "more than 30 messages in 10 seconds of this account"},
	} {
		peek, v := PeekRates(l, want.rates, epoch), TakeRates(l, want.rates, epoch)
		if v.OK != want.ok || v.Rate.Scope != want.scope || v.Result.Limit != want.limit || v.Detail != want.detail || peek.OK != want.ok {
			t.Errorf("%d: %+v, want %+v", i, v, want)
		}
	}
}

// Callers that take several keys in any order neither wait for each other for ever
// nor take more than there is, and one who is refused has taken nothing.
func TestConcurrentTakeAll(t *testing.T) {
	l := New(0)
	const limit, callers, tries = 40, 16, 200
	var mu sync.Mutex
	var taken [5]int
	var all sync.WaitGroup
	for c := range callers {
		random := rand.New(rand.NewPCG(1, uint64(c)))
		all.Go(func() {
			for range tries {
				var asks []Ask
				order := random.Perm(len(taken))[:1+random.IntN(len(taken))]
				for _, i := range order {
					asks = append(asks, Ask{Key: fmt.Sprint("k", i), Limit: limit * (1 + i), Window: time.Hour})
				}
				ok := true
				for _, r := range l.TakeAll(asks, epoch) {
					ok = ok && r.OK
				}
				if ok {
					mu.Lock()
					for _, i := range order {
						taken[i]++
					}
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	for i, n := range taken {
		if r := l.Peek(fmt.Sprint("k", i), limit*(1+i), time.Hour, epoch); r.Remaining != limit*(1+i)-n {
			t.Errorf("key %d: %d taken, %d left", i, n, r.Remaining)
		}
	}
	if taken[0] != limit {
		t.Errorf("%d of %d taken", taken[0], limit)
	}
}

// Two replicas on one Redis count together, all keys or none.
func TestSharedTakeAll(t *testing.T) {
	t.Parallel()
	w := sharedSetup(t)
	replicas := []*Shared{w.answering(), w.answering()}
	asks := func(n int) []Ask {
		return []Ask{{Key: "account", Limit: 50, Window: time.Hour, N: n}, {Key: "number", Limit: 20, Window: 2 * time.Hour, N: n}}
	}
	var mu sync.Mutex
	both, alone := 0, 0
	var all sync.WaitGroup
	for c := range 8 {
		s := replicas[c%2]
		all.Go(func() {
			for i := range 25 {
				list := asks(1)
				if (c+i)%3 == 0 {
					list = list[:1]
				}
				results := s.TakeAll(list, epoch)
				ok := results[0].OK && results[len(results)-1].OK
				mu.Lock()
				if ok && len(list) == 2 {
					both++
				} else if ok {
					alone++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if both > 20 || both+alone != 50 {
		t.Errorf("%d with a number and %d without, of 20 and 50 together", both, alone)
	}
	r := replicas[1].PeekAll(asks(1), epoch)
	if r[0].OK || r[0].Remaining != 0 || r[1].Remaining != 20-both || r[0].Limit != 50 || r[0].Reset <= 0 {
		t.Errorf("left: %+v after %d", r, both)
	}
	more := []Ask{{Key: "many", Limit: 10, Window: time.Hour, N: 7}}
	if r := replicas[0].TakeAll(more, epoch); !r[0].OK || r[0].Remaining != 3 {
		t.Errorf("seven at once: %+v", r)
	}
	if r := replicas[1].TakeAll(more, epoch); r[0].OK || r[0].Remaining != 3 {
		t.Errorf("seven more: %+v", r)
	}
	if r := replicas[1].TakeAll(append(more, Ask{Key: "shut"}), epoch); r[1].OK {
		t.Errorf("without a limit: %+v", r)
	}
	if r := replicas[1].TakeAll(nil, epoch); len(r) != 0 {
		t.Errorf("nothing asked: %+v", r)
	}
	if n := w.alone.Load(); n != 0 {
		t.Errorf("%d counted alone", n)
	}
	w.Kill()
	for range 3 { // alone, it keeps the limits all the same
		replicas[0].TakeAll([]Ask{{Key: "away", Limit: 2, Window: time.Hour}, {Key: "far", Limit: 9, Window: time.Hour}}, epoch)
	}
	if r := replicas[0].PeekAll([]Ask{{Key: "away", Limit: 2, Window: time.Hour}, {Key: "far", Limit: 9, Window: time.Hour}}, epoch); r[0].OK || r[1].Remaining != 7 {
		t.Errorf("alone: %+v", r)
	}
}

// Over two replicas and in real time no window of the limit's length holds more.
func TestSharedTakeAllSlides(t *testing.T) {
	t.Parallel()
	w := sharedSetup(t)
	replicas := []*Shared{w.answering(), w.answering()}
	const span, limit = 200 * time.Millisecond, 7
	asks := []Ask{{Key: "a", Limit: limit, Window: span}, {Key: "b", Limit: 2 * limit, Window: 3 * span}}
	type took struct{ before, after time.Time } // it was counted between them
	var mu sync.Mutex
	var taken []took
	var all sync.WaitGroup
	for c := range 4 {
		all.Go(func() {
			for {
				before := time.Now()
				r := replicas[c%2].TakeAll(asks, epoch)
				after := time.Now()
				mu.Lock()
				if r[0].OK && r[1].OK {
					taken = append(taken, took{before, after})
				}
				enough := len(taken) >= 6*limit
				mu.Unlock()
				if enough {
					return
				}
			}
		})
	}
	all.Wait()
	for _, first := range taken {
		for i, a := range asks {
			n := 0
			for _, e := range taken {
				// Certainly within a window that begins with first.
				if !e.before.Before(first.before) && e.after.Before(first.before.Add(a.Window)) {
					n++
				}
			}
			if n > a.Limit {
				t.Errorf("%d of %d within a window of ask %d", n, a.Limit, i)
			}
		}
	}
}

// What is given back to a bucket can be taken again, and no more than it holds.
func TestSharedGiveTokens(t *testing.T) {
	t.Parallel()
	w := sharedSetup(t)
	s := w.answering()
	take := func(n int) bool {
		t.Helper()
		ok, err := s.TakeTokens("k", 1, n)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	// A debt of an hour: nothing flows in that matters.
	if !take(3600) || take(1) {
		t.Fatal("no debt")
	}
	s.GiveTokens("k", 1, 3600)
	if !take(3600) {
		t.Error("nothing came back")
	}
	s.GiveTokens("k", 1, 10_000)
	s.GiveTokens("k", 1, -5)
	if !take(3600) || take(1) {
		t.Error("the bucket holds more than a second's worth")
	}
}

func BenchmarkTakeAll(b *testing.B) {
	l := New(0)
	asks := []Ask{{Key: "key", Limit: 1_000_000, Window: time.Second}, {Key: "account", Limit: 1_000_000, Window: time.Second}, {Key: "number", Limit: 1_000_000, Window: time.Second}}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.TakeAll(asks, time.Now())
		}
	})
}
