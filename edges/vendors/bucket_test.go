package vendors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

// Whatever is taken, given back, left and changed: in no stretch of time do more leave
// than its rates allow and the burst.
func TestBucketNeverGivesMore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rates := rapid.SliceOfN(rapid.SampledFrom([]float64{0.5, 3, 10, 40, 200}), 1, 5).Draw(rt, "rates")
		callers := rapid.IntRange(1, 12).Draw(rt, "callers")
		keep := rapid.IntRange(1, 4).Draw(rt, "every how many leaves")
		patience := rapid.SampledFrom([]time.Duration{10 * time.Millisecond, time.Second, time.Minute}).Draw(rt, "patience")
		synctest.Test(t, func(*testing.T) {
			var b Bucket
			b.SetRate(rates[0])
			var mu sync.Mutex
			var left []time.Time
			fastest := slices.Max(rates)
			end, stop := context.WithTimeout(context.Background(), 2*time.Second)
			defer stop()
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() {
					for n := i; end.Err() == nil; n++ {
						ctx, cancel := context.WithTimeout(end, patience)
						err := b.Take(ctx, "", 1, nil)
						if err == nil && n%keep != 0 {
							b.GiveBack(1)
						} else if err == nil {
							mu.Lock()
							left = append(left, time.Now())
							mu.Unlock()
						}
						<-time.After(7 * time.Millisecond)
						cancel()
					}
				})
			}
			for _, r := range rates {
				b.SetRate(r)
				<-time.After(400 * time.Millisecond)
			}
			wg.Wait()
			most := max(1, fastest*burstSeconds)
			for i := range left {
				for j := i; j < len(left); j++ {
					if allowed := most + left[j].Sub(left[i]).Seconds()*fastest + 0.001; float64(j-i+1) > allowed {
						rt.Fatalf("%d left within %v, allowed %v", j-i+1, left[j].Sub(left[i]), allowed)
					}
				}
			}
			if len(b.line) != 0 {
				rt.Fatalf("%d are still in line", len(b.line))
			}
		})
	})
}

func TestBucketKeepsPaceAndOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Bucket
		b.SetRate(10)
		var mu sync.Mutex
		var order []int
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 31 {
			wg.Go(func() {
				if err := b.Take(context.Background(), "", 1, nil); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
			})
			synctest.Wait()
		}
		wg.Wait()
		if took := time.Since(began); took > 3*time.Second || took < 3*time.Second-time.Microsecond {
			t.Errorf("31 at 10 a second took %v", took)
		}
		if !slices.IsSorted(order) {
			t.Errorf("order %v", order)
		}
	})
}

// Shares move between replicas every few seconds: a slow vendor's turn comes all the
// same, at the time that the rates make together.
func TestBucketOfChangingRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Bucket
		b.SetRate(0.1)
		if err := b.Take(context.Background(), "", 1, nil); err != nil {
			t.Fatal(err)
		}
		began, done := time.Now(), make(chan time.Duration, 1)
		go func() {
			if err := b.Take(context.Background(), "", 1, nil); err != nil {
				t.Error(err)
			}
			done <- time.Since(began)
		}()
		for i := range 6 { // 0.3 and 0.1 of a token in turn
			<-time.After(time.Second)
			b.SetRate([]float64{0.3, 0.1}[i%2])
		}
		if took := (<-done).Round(time.Millisecond); took != 5333*time.Millisecond {
			t.Errorf("its turn came after %v", took)
		}
	})
}

func TestBucketWithoutLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Bucket
		began := time.Now()
		for range 1000 {
			if err := b.Take(context.Background(), "", 1, nil); err != nil {
				t.Fatal(err)
			}
			b.GiveBack(1)
		}
		b.SetRate(1) // no burst on top of what has just left
		if err := b.Take(context.Background(), "", 1, nil); err != nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		waiting := make(chan error, 1)
		b.SetRate(0.001)
		go func() { waiting <- b.Take(context.Background(), "", 1, nil) }()
		synctest.Wait()
		b.SetRate(0)
		if err := <-waiting; err != nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestBucketOfThoseWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Bucket
		b.SetRate(1)
		if err := b.Take(context.Background(), "", 1, nil); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ctx, cancel := context.WithCancel(context.Background())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- b.Take(ctx, "", 1, nil) }()
		synctest.Wait()
		go func() { second <- b.Take(context.Background(), "", 1, nil) }()
		synctest.Wait()
		short, end := context.WithTimeout(context.Background(), 2*time.Second)
		defer end()
		if err := b.Take(short, "", 1, nil); !errors.Is(err, ErrNoTurn) || time.Since(began) != 0 {
			t.Errorf("a turn in three seconds, for one who has two: %v after %v", err, time.Since(began))
		}
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := <-second; err != nil || time.Since(began).Round(time.Millisecond) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestBucketOfSeveralAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Bucket
		b.SetRate(2)
		began := time.Now()
		for range 3 { // at 0 s, when six are owed, at 3 s, at 6 s
			if err := b.Take(context.Background(), "", 6, nil); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began).Round(time.Millisecond); took != 6*time.Second {
			t.Errorf("the third of six parts each left after %v", took)
		}
		b.GiveBack(6)
		if err := b.Take(context.Background(), "", 1, nil); err != nil || time.Since(began).Round(time.Millisecond) != 6*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		off, result := make(chan struct{}), make(chan error, 1)
		go func() { result <- b.Take(context.Background(), "", 1, off) }()
		synctest.Wait()
		close(off)
		if err := <-result; !errors.Is(err, ErrCalledOff) {
			t.Error(err)
		}
	})
}

// Who is more urgent passes those who wait, and nobody of the same class; Wait says
// before how long that takes.
func TestBucketOfClasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Bucket
		b.SetRate(10)
		if err := b.Take(t.Context(), message.ClassBulk, 1, nil); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		come := func(class message.Class, n int) {
			for i := range n {
				wg.Go(func() {
					if err := b.Take(t.Context(), class, 1, nil); err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					order = append(order, fmt.Sprint(class, i))
				})
				synctest.Wait()
			}
		}
		come(message.ClassBulk, 3)
		for class, want := range map[message.Class]time.Duration{message.ClassOTP: 100, message.ClassConversation: 100, "": 100, message.ClassBulk: 400} {
			if got := b.Wait(class).Round(time.Millisecond); got != want*time.Millisecond {
				t.Errorf("%s would wait %v", class, got)
			}
		}
		come(message.ClassConversation, 2)
		come(message.ClassOTP, 2)
		if got := b.Wait("").Round(time.Millisecond); got != 500*time.Millisecond {
			t.Errorf("a message of no class would wait %v", got)
		}
		wg.Wait()
		if want := []string{"otp0", "otp1", "conversation0", "conversation1", "bulk0", "bulk1", "bulk2"}; !slices.Equal(order, want) {
			t.Errorf("order %v", order)
		}
		if b.Wait(message.ClassBulk) <= 0 {
			t.Error("the last one has taken what there was")
		}
		b.SetRate(0)
		if b.Wait(message.ClassBulk) != 0 {
			t.Error("a wait without a limit")
		}
	})
}
