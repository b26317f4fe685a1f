package smpp

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

func TestRateOfACredential(t *testing.T) {
	var r rateBook
	id, now := message.NewID(), time.Now()
	take := func(n int, want bool) {
		t.Helper()
		if got := r.take(id, 10, n, now); got != want {
			t.Errorf("%d taken: %v", n, got)
		}
	}
	for range 10 { // a second's worth at once
		take(1, true)
	}
	take(1, false)
	now = now.Add(99 * time.Millisecond)
	take(1, false)
	now = now.Add(time.Millisecond)
	take(1, true)
	take(1, false)
	now = now.Add(time.Hour) // no more than a second's worth is saved up
	take(4, true)
	take(7, false)
	take(6, true)
	take(1, false)
	if !r.take(message.NewID(), 10, 1, now) {
		t.Error("another credential pays for this one")
	}
	now = now.Add(-time.Minute) // clocks of concurrent callers
	take(1, false)
	now = now.Add(time.Minute + time.Second)
	take(10, true)
}

func TestMoreThanASecondsWorth(t *testing.T) {
	var r rateBook
	id, now := message.NewID(), time.Now()
	if !r.take(id, 10, 25, now) {
		t.Error("not from a full bucket")
	}
	now = now.Add(1500*time.Millisecond + time.Microsecond) // the debt is paid
	if r.take(id, 10, 1, now) {
		t.Error("the debt was forgotten")
	}
	now = now.Add(100 * time.Millisecond)
	if !r.take(id, 10, 1, now) {
		t.Error("nothing flows after the debt")
	}
	now = now.Add(500 * time.Millisecond)
	if r.take(id, 10, 25, now) {
		t.Error("from a bucket that was not full")
	}
}

// However it is asked, no more than the rate and one burst is allowed.
func TestLongRunRate(t *testing.T) {
	var r rateBook
	id, began := message.NewID(), time.Now()
	now, got := began, 0
	for i := 0; now.Sub(began) < 100*time.Second; i++ {
		n := 1 + i%7
		if r.take(id, 50, n, now) {
			got += n
		}
		now = now.Add(time.Duration(i%13) * time.Millisecond)
	}
	if got > 51*100+7 || got < 49*100 {
		t.Errorf("%d in 100 s at 50 a second", got)
	}
}

func TestChangedRateHoldsAtOnce(t *testing.T) {
	var r rateBook
	id, now := message.NewID(), time.Now()
	r.take(id, 1000, 1, now)
	if r.take(id, 5, 6, now) && r.take(id, 5, 1, now) {
		t.Error("what the old rate saved up was kept")
	}
	if r.take(id, 0, 1, now) || r.take(id, -1, 1, now) {
		t.Error("no rate allows nothing")
	}
}

func TestFullBucketsAreDropped(t *testing.T) {
	var r rateBook
	now := time.Now()
	for range 100 {
		r.take(message.NewID(), 10, 10, now)
	}
	busy := message.NewID()
	r.take(busy, 10, 25, now)
	r.tidy(now.Add(999 * time.Millisecond))
	if len(r.buckets) != 101 {
		t.Errorf("%d buckets", len(r.buckets))
	}
	r.tidy(now.Add(time.Second))
	if len(r.buckets) != 1 || r.buckets[busy] == nil {
		t.Errorf("%d buckets", len(r.buckets))
	}
}

func TestRateIsSharedByConcurrentBinds(t *testing.T) {
	var r rateBook
	id, now := message.NewID(), time.Now()
	var all sync.WaitGroup
	var got atomic.Int64
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if r.take(id, 500, 1, now) {
					got.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got.Load() != 500 {
		t.Errorf("%d allowed of 500", got.Load())
	}
}

func TestFlood(t *testing.T) {
	const rate = 10
	for _, tt := range []struct {
		name  string
		every time.Duration
		n     int
		after time.Duration // 0: never
	}{
		{"at its rate", 100 * time.Millisecond, 1, 0},
		{"four times", 25 * time.Millisecond, 1, 0},
		{"five times", 20 * time.Millisecond, 1, 0},
		{"four times in bursts of a second", time.Second, 40, 0},
		{"six times", 16 * time.Millisecond, 1, 30 * time.Second},
		{"six times in bursts of a second", time.Second, 60, 30 * time.Second},
		{"far too much", time.Millisecond, 10, 30 * time.Second},
		{"a large burst now and then", 5 * time.Second, 1000, 0},
	} {
		var f flood
		began := time.Now()
		now, after := began, time.Duration(0)
		for now.Sub(began) < 5*time.Minute {
			if f.offered(tt.n, rate, now) {
				after = now.Sub(began)
				break
			}
			now = now.Add(tt.every)
		}
		if after < tt.after || after > tt.after+tt.after/10 {
			t.Errorf("%s: after %v, want %v", tt.name, after, tt.after)
		}
	}
	var f flood
	now := time.Now()
	for range 29 * 1000 {
		f.offered(1, rate, now)
		now = now.Add(time.Millisecond)
	}
	now = now.Add(floodBurst) // a pause
	for range 29 * 1000 {
		if f.offered(1, rate, now) {
			t.Fatal("the pause did not count")
		}
		now = now.Add(time.Millisecond)
	}
}

func TestAllow(t *testing.T) {
	w := serverSetup(t)
	w.cred.Throughput = 2
	w.publish(2)
	now := time.Now()
	w.Now = func() time.Time { return now }
	unbound := 0
	b := &bound{credential: w.cred.ID, account: w.account.ID, unbind: func(string) { unbound++ }}
	sibling := &bound{credential: w.cred.ID, account: w.account.ID}
	allow := func(b *bound) bool { ok, _ := w.allow(b, 1); return ok }
	if !allow(b) || !allow(sibling) || allow(b) || allow(sibling) {
		t.Error("two binds share one rate")
	}
	for range 31 * 1000 {
		now = now.Add(time.Millisecond)
		allow(b)
		if now.UnixMilli()%500 == 0 {
			allow(sibling)
		}
	}
	if unbound == 0 {
		t.Error("the flood was not ended")
	}
	w.cred.Enabled = false
	w.publish(3)
	now = now.Add(time.Hour)
	if allow(b) {
		t.Error("a disabled credential has no rate")
	}
}

// A flood ends the session that makes it and no other; until then it is
// answered.
func TestFloodIsUnbound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.cred.Throughput = 10
		w.publish(2)
		w.request = func(b *bound, r *smpp.Request) {
			st := smpp.StatusThrottled
			if ok, _ := w.allow(b, 1); ok {
				st = smpp.StatusOK
			}
			_ = r.Respond(st, nil)
		}
		l := w.pipes()
		p, other := l.dial("192.0.2.1"), l.dial("192.0.2.1")
		p.bind(bindTX)
		other.bind(bindRX)
		go func() { // answers our enquire_link
			for {
				b, err := other.next()
				if err != nil || b[7] != 0x15 {
					return
				}
				if _, err := other.Write(serverFramed(t, fmt.Sprintf("80000015 00000000 %x", b[12:16]))); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		throttled := 0
		for seq := uint32(2); ; seq++ {
			p.pdu(fmt.Sprintf("00000004 00000000 %08x", seq) + submitHi)
			b := p.read()
			if b[7] == 6 {
				p.pdu(fmt.Sprintf("80000006 00000000 %x", b[12:16]))
				break
			}
			if b[11] == 0x58 {
				throttled++
			}
			<-time.After(10 * time.Millisecond)
		}
		if took := time.Since(began); took < floodTime || took > floodTime+time.Second {
			t.Errorf("unbound after %v", took)
		}
		if throttled < 2500 {
			t.Errorf("%d answers were RTHROTTLED", throttled)
		}
		w.audited("smpp.unbind known acme 192.0.2.1: five times its rate for 30 s", 1)
		if len(w.journal.row()) != 1 {
			t.Error("the other bind ended as well")
		}
	})
}

// Submits that are refused for their fields take nothing from the rate, and yet a
// session that sends nothing else is ended.
func TestFloodOfNonsense(t *testing.T) {
	w := reqSetup(t)
	now := reqNow
	w.server.Now = func() time.Time { return now }
	w.smpp.Throughput = 1
	ended := 0
	w.bound.unbind = func(string) { ended++ }
	for now.Before(reqNow.Add(floodTime)) {
		if ended > 0 {
			t.Fatalf("ended after %s", now.Sub(reqNow))
		}
		if p := w.ask(reqText(func(m *smpp.Message) { m.Priority = 4 })); p.Status == smpp.StatusOK || p.Status == smpp.StatusThrottled {
			t.Fatalf("answered %s", p.Status)
		}
		now = now.Add(100 * time.Millisecond)
	}
	w.ask(reqText(func(m *smpp.Message) { m.Priority = 4 }))
	if ended == 0 {
		t.Error("the flood was not ended")
	}
}
