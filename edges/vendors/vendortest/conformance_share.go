package vendortest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors"
)

// Never more than the window is unanswered, and all that wait for it get through.
func conformWindow(t *testing.T, s Subject) {
	const window, all = 3, 30
	sc := ready(t, s, Options{Window: window})
	hold := make(chan struct{})
	for range all {
		sc.vendor.Answer(Reply{Hold: hold})
	}
	var wg sync.WaitGroup
	for range all {
		wg.Go(func() {
			if o := sc.submit(t.Context(), whole()); o.no != nil {
				t.Error(o.no)
			}
		})
	}
	if _, err := sc.vendor.WaitCame(t.Context(), window); err != nil {
		t.Fatal(err)
	}
	if room := sc.link.Room(); room != 0 {
		t.Errorf("room %d with a full window", room)
	}
	close(hold)
	wg.Wait()
	sc.came(all)
	if peak := sc.vendor.Peak(); peak > window {
		t.Errorf("%d unanswered at once, by a window of %d", peak, window)
	}
	if room := sc.link.Room(); room != window {
		t.Errorf("room %d after all answers", room)
	}
}

// The share's rate is never exceeded. A burst of 50 ms is let pass.
func conformRate(t *testing.T, s Subject) {
	const rate, all = 50, 40
	sc := setUp(t, s, Options{Window: all}, vendors.Share{Binds: 1, Rate: rate})
	sc.waitReady()
	began := time.Now()
	var wg sync.WaitGroup
	for range all {
		wg.Go(func() {
			if o := sc.submit(t.Context(), whole()); o.no != nil {
				t.Error(o.no)
			}
		})
	}
	wg.Wait()
	got := sc.came(all)
	const burst = rate / 20
	least := time.Duration(all-1-burst) * time.Second / rate
	if took := got[all-1].At.Sub(began); took < least {
		t.Errorf("%d at %d a second took %v, the least is %v", all, rate, took, least)
	}
}

// A rate that changes is the rate of those who wait already, and the link stays bound.
func conformRateChanges(t *testing.T, s Subject) {
	sc := setUp(t, s, Options{}, vendors.Share{Binds: 1, Rate: 0.001})
	sc.waitReady()
	binds := sc.vendor.Binds()
	sc.accepted(whole())
	ctx := &asked{Context: t.Context(), done: make(chan struct{})}
	waiting := sc.begin(ctx, whole()) // for a quarter of an hour
	<-ctx.done
	sc.came(1)
	sc.link.SetShare(full)
	if o := <-waiting; o.no != nil {
		t.Error(o.no)
	}
	sc.came(2)
	if now := sc.vendor.Binds(); now != binds {
		t.Errorf("bound %d times, and %d before the rate changed", now, binds)
	}
	if got := sc.link.Status().Share; got != full {
		t.Errorf("status says %+v", got)
	}
}

// asked is a context that tells when somebody begins to wait for its end.
type asked struct {
	context.Context
	once sync.Once
	done chan struct{} // closed then
}

func (a *asked) Done() <-chan struct{} {
	a.once.Do(func() { close(a.done) })
	return a.Context.Done()
}

// Without a share nothing leaves.
func conformNoShare(t *testing.T, s Subject) {
	sc := prepare(t, s, Options{})
	sc.link.Start(context.Background())
	for _, share := range []vendors.Share{{}, {Rate: 100}} {
		if share != (vendors.Share{}) {
			sc.link.SetShare(share)
		}
		if room := sc.link.Room(); room != 0 {
			t.Errorf("room %d without a share", room)
		}
		ctx, cancel := context.WithTimeout(t.Context(), shortAnswer)
		sc.expect(sc.submit(ctx, whole()), notSent)
		cancel()
	}
	sc.came(0)
	if binds := sc.vendor.Binds(); binds != 0 {
		t.Errorf("bound %d times", binds)
	}
	sc.link.SetShare(full)
	sc.waitReady()
	sc.accepted(whole())
}

// What is under way when the share goes gets its answer, and its receipts come while
// anybody is there to take them; nothing new leaves.
func conformShareTaken(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	hold := make(chan struct{})
	sc.vendor.Answer(Reply{Hold: hold})
	slow := sc.begin(t.Context(), whole())
	sc.came(1)
	sc.link.SetShare(vendors.Share{})
	if room := sc.link.Room(); room != 0 {
		t.Errorf("room %d without a share", room)
	}
	ctx, cancel := context.WithTimeout(t.Context(), shortAnswer)
	defer cancel()
	sc.expect(sc.submit(ctx, whole()), notSent)
	close(hold)
	if o := <-slow; o.no != nil {
		t.Errorf("it was under way: %v", o.no)
	}
	sc.came(1)
	sc.link.SetShare(full)
	sc.waitReady()
	sc.accepted(whole())
	sc.came(2)
}
