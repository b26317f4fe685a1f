package smpp

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// More binds come, fewer go, and what is under way on those that go gets its answer.
func TestShareOfBinds(t *testing.T) {
	hold := make(chan struct{})
	st := play(t, vendortest.Config{OnSubmit: answerWith(vendortest.Answer{Hold: hold})}, func(c *Config) { c.Vendor.Window = 2 })
	st.bound(1)
	st.link.SetShare(vendors.Share{Binds: 3})
	st.bound(3)
	if room := st.link.Room(); room != 6 {
		t.Errorf("room %d of three binds", room)
	}
	var wg sync.WaitGroup
	for range 5 { // one bind has room left, and goes first
		wg.Go(func() {
			if _, no := st.submit("text"); no != nil {
				t.Error(no)
			}
		})
	}
	if _, err := st.smsc.WaitSubmits(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	st.link.SetShare(vendors.Share{Binds: 1})
	if got := st.link.Status(); got.Binds != 3 || got.InFlight != 5 || st.link.Room() != 0 {
		t.Errorf("status %+v, room %d while the answers are away", got, st.link.Room())
	}
	close(hold)
	wg.Wait()
	if err := st.smsc.WaitBound(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	st.statusBinds(1)
	if room := st.link.Room(); room != 2 {
		t.Errorf("room %d", room)
	}
	if n := st.smsc.Binds(); n != 3 {
		t.Errorf("%d binds in all", n)
	}
	st.link.SetShare(vendors.Share{})
	if err := st.smsc.WaitBound(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	st.statusBinds(0)
	if got := st.link.Status(); got.Bind != "disconnected" || got.LastError != "" {
		t.Errorf("status %+v without a share", got)
	}
}

// statusBinds waits until the link knows of n binds of its own and of none that is going.
func (st *stage) statusBinds(n int) {
	st.t.Helper()
	for {
		st.link.mu.Lock()
		wait := st.link.waitLocked()
		st.link.mu.Unlock()
		if st.link.Status().Binds == n {
			return
		}
		if err := wait(st.t.Context()); err != nil {
			st.t.Fatal(err)
		}
	}
}

// The bind with the least under way is the one that goes, before it a bind that is down.
func TestShareGivesUpWhatIsMissedLeast(t *testing.T) {
	l := &Link{}
	busy, idle, down := &slot{bind: &bind{used: 3}}, &slot{bind: &bind{used: 1}}, &slot{}
	for _, tt := range []struct {
		slots []*slot
		want  *slot
	}{{[]*slot{busy, idle}, idle}, {[]*slot{idle, busy}, idle}, {[]*slot{busy, down, idle}, down}, {[]*slot{idle, {bind: &bind{used: 2, retiring: true}}}, nil}} {
		l.slots = tt.slots
		if tt.want == nil {
			tt.want = tt.slots[1]
		}
		if got := l.surplusLocked(); got != tt.want {
			t.Errorf("%+v goes", got)
		}
	}
}

// A share that comes and goes all the time, while parts are submitted: nothing is in
// doubt, the vendor never keeps more binds than the share, and in the end has them all.
func TestShareThatChangesAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{}, nil)
		st.ready()
		stop, end := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for stop.Err() == nil {
					if _, no := st.submit("text"); no != nil && verdictOf(no) != (verdict{message.ReasonVendorUnreachable, false, false, true, unboundDelay}) {
						t.Errorf("%+v", no)
					}
					<-time.After(time.Millisecond)
				}
			})
		}
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 1))
		for range 300 {
			share := vendors.Share{Binds: random.IntN(5), Rate: float64(random.IntN(3) * 500)}
			st.link.SetShare(share)
			<-time.After(time.Duration(random.IntN(20)) * time.Millisecond)
			synctest.Wait()
			if n, got := st.smsc.Bound(), st.link.Status().Binds; n > got || got > share.Binds {
				t.Fatalf("seed %d: a share of %d, %d held, %d at the vendor", seed, share.Binds, got, n)
			}
		}
		st.link.SetShare(vendors.Share{Binds: 3})
		st.bound(3)
		end()
		wg.Wait()
		synctest.Wait()
		if n := st.smsc.Bound(); n != 3 || st.link.Status().Binds != 3 {
			t.Errorf("seed %d: %d binds at the vendor, status %+v", seed, n, st.link.Status())
		}
	})
}

// A slot that is given up while its bind is being made counts until that is over.
func TestShareGoesWhileABindIsMade(t *testing.T) {
	for _, late := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ln := newPipes()
			connecting := make(chan struct{}, 1)
			goOn := make(chan struct{})
			smsc := vendortest.Serve(ln, vendortest.Config{})
			st := join(t, smsc, func(c *Config) {
				c.DialContext = func(_ context.Context, n, a string) (net.Conn, error) {
					connecting <- struct{}{}
					<-goOn
					if late {
						return ln.dial(context.Background(), n, a)
					}
					return nil, errors.New("no route")
				}
			})
			<-connecting
			st.link.SetShare(vendors.Share{})
			if got := st.link.Status(); got.Binds != 1 || got.Bind != "disconnected" {
				t.Errorf("status %+v", got)
			}
			close(goOn)
			synctest.Wait()
			if got := st.link.Status(); got.Binds != 0 || got.LastError != "" || st.smsc.Bound() != 0 {
				t.Errorf("status %+v, %d binds at the vendor", got, st.smsc.Bound())
			}
		})
	}
}

// Those who wait for a slow rate are told when the bind goes for which they have a
// place, and take another one's.
func TestWaitForTheRateOutlivesABind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{}, nil)
		st.link.SetShare(vendors.Share{Binds: 1, Rate: 0.01})
		st.ready()
		if _, no := st.submit("text"); no != nil {
			t.Fatal(no)
		}
		result := make(chan *message.SubmitError, 1)
		began := time.Now()
		go func() {
			_, no := st.submit("text")
			result <- no
		}()
		synctest.Wait()
		st.link.SetShare(vendors.Share{Binds: 2, Rate: 0.01})
		st.bound(2)
		st.link.mu.Lock()
		for b := range st.link.binds {
			if b.used > 0 {
				st.link.retireLocked(b)
			}
		}
		st.link.mu.Unlock()
		if no := <-result; no != nil || time.Since(began).Round(time.Second) != 100*time.Second {
			t.Errorf("%v after %v", no, time.Since(began))
		}
		go func() {
			_, no := st.submit("text")
			result <- no
		}()
		synctest.Wait()
		began = time.Now()
		st.link.SetShare(vendors.Share{})
		if no := <-result; verdictOf(no) != (verdict{message.ReasonVendorUnreachable, false, false, true, unboundDelay}) || time.Since(began) != 0 {
			t.Errorf("without a share: %+v after %v", no, time.Since(began))
		}
	})
}

// A share that goes lets nobody out who waits for the rate, and one that comes and goes
// forgives nothing of what is owed.
func TestShareThatGoesKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{}, func(c *Config) { c.Vendor.Window = 200 })
		slow := vendors.Share{Binds: 1, Rate: 0.001}
		st.link.SetShare(slow)
		st.ready()
		if _, no := st.submit("text"); no != nil {
			t.Fatal(no)
		}
		for _, waiting := range []int{0, 100} {
			var wg sync.WaitGroup
			for range waiting {
				wg.Go(func() {
					if _, no := st.submit("text"); no == nil || no.OnWire() {
						t.Errorf("left: %v", no)
					}
				})
			}
			synctest.Wait()
			st.link.SetShare(vendors.Share{})
			wg.Wait()
			st.link.SetShare(slow)
			st.ready()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			if _, no := st.submitPart(ctx, part("text")); no == nil || no.Reason != message.ReasonVendorThrottled {
				t.Errorf("before its turn: %v", no)
			}
			cancel()
		}
		if n := len(st.smsc.Submits()); n != 1 {
			t.Errorf("%d submits came", n)
		}
	})
}

// A one-time password passes what waits for the rate, and the link says so before.
func TestUrgentPassesWhatWaitsForTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{}, func(c *Config) { c.Vendor.Throughput = 1 })
		st.ready()
		var mu sync.Mutex
		var order []message.Class
		var all sync.WaitGroup
		for _, class := range []message.Class{message.ClassBulk, message.ClassBulk, message.ClassBulk, message.ClassConversation, message.ClassOTP} {
			all.Go(func() {
				s := part("text")
				s.Class = class
				if _, no := st.submitPart(t.Context(), s); no != nil {
					t.Error(no)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, class)
			})
			synctest.Wait()
		}
		if otp, bulk := st.link.Wait(message.ClassOTP).Round(time.Second), st.link.Wait(message.ClassBulk).Round(time.Second); otp != 2*time.Second || bulk != 5*time.Second {
			t.Errorf("the next password would wait %v, the next of the campaign %v", otp, bulk)
		}
		all.Wait()
		if want := []message.Class{message.ClassBulk, message.ClassOTP, message.ClassConversation, message.ClassBulk, message.ClassBulk}; !slices.Equal(order, want) {
			t.Errorf("order %v", order)
		}
	})
}

// A whole message takes as much of the rate as its parts.
func TestRateOfWholeMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{}, func(c *Config) { c.Vendor.Throughput, c.Vendor.LongMessage = 3, "payload" })
		st.ready()
		began := time.Now()
		for range 3 {
			s := part("text")
			s.Whole, s.Parts = true, 6
			if _, no := st.submitPart(t.Context(), s); no != nil {
				t.Fatal(no)
			}
		}
		if took := time.Since(began).Round(time.Millisecond); took != 4*time.Second {
			t.Errorf("three of six parts, at three a second, left within %v", took)
		}
		for _, s := range st.smsc.Submits() {
			if s.PDU.ESMClass != 0 {
				t.Errorf("wrote %+v", s.PDU.Message)
			}
		}
	})
}

func TestErrorsOfTheLastMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := smpp.StatusOK
		st := playInMemory(t, vendortest.Config{OnSubmit: func(vendortest.Submit) vendortest.Answer { return vendortest.Answer{Status: status} }}, nil)
		st.ready()
		for _, step := range []struct {
			status smpp.Status
			want   float64
		}{
			{smpp.StatusOK, 0}, {smpp.StatusInvDest, 0}, {smpp.StatusSubmitFail, 0}, {smpp.StatusMsgQueueFull, 1. / 4},
			{smpp.StatusSystemError, 2. / 5}, {0x400, 2. / 6}, {smpp.StatusThrottled, 2. / 7},
		} {
			status = step.status
			st.ready()
			_, _ = st.submit("text")
			if got := st.link.Status().Errors; got != step.want {
				t.Errorf("after %s: %v, want %v", step.status, got, step.want)
			}
		}
		<-time.After(time.Minute)
		if got := st.link.Status().Errors; got != 0 {
			t.Errorf("a minute later: %v", got)
		}
	})
}
