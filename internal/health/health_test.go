package health_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/health"
	"github.com/postrider/postrider/internal/message"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// vendor is one vendor's time line: what is seen in each bucket of ten seconds, and what
// is made of it at its end.
type vendor struct {
	t      rapid.TB
	limits health.Limits
	judge  health.Judge
	now    time.Time
	seen   health.Seen
	last   health.Verdict
}

func newVendor(t rapid.TB) *vendor {
	return &vendor{t: t, now: start, seen: health.Seen{Bound: true, Served: true}}
}

// goOn goes on for so long with the same in every bucket.
func (v *vendor) goOn(d time.Duration, each message.VendorSample) {
	for range int(d / (10 * time.Second)) {
		each.At = v.now
		if each != (message.VendorSample{At: v.now}) {
			v.seen.Samples = append(v.seen.Samples, each)
		}
		v.now = v.now.Add(10 * time.Second)
		v.last = v.judge.Look(v.limits, v.now, v.seen)
	}
}

// is fails unless the vendor is that, for a reason that says why.
func (v *vendor) is(want message.VendorHealth, why string) {
	v.t.Helper()
	if v.last.Health != want || !strings.Contains(v.last.Why, why) || why == "" && v.last.Why != "" {
		v.t.Fatalf("at %v: %s (%s), want %s (%s)", v.now.Sub(start), v.last.Health, v.last.Why, want, why)
	}
}

var nothing message.VendorSample

func TestErrorRate(t *testing.T) {
	for name, c := range map[string]struct {
		each message.VendorSample
		want message.VendorHealth
		why  string
	}{
		"good":                 {message.VendorSample{Accepted: 100}, message.HealthHealthy, ""},
		"refuses for messages": {message.VendorSample{Other: 100}, message.HealthHealthy, ""},
		"just good":            {message.VendorSample{Accepted: 81, Refused: 19}, message.HealthHealthy, ""},
		"some trouble":         {message.VendorSample{Accepted: 80, Refused: 20}, message.HealthDegraded, "120 of 600 parts"},
		"some silence":         {message.VendorSample{Accepted: 70, Other: 10, Silent: 20}, message.HealthDegraded, "120 of 600"},
		"much trouble":         {message.VendorSample{Accepted: 40, Refused: 30, Silent: 30}, message.HealthDown, "360 of 600"},
		"too few":              {message.VendorSample{Refused: 3}, message.HealthHealthy, ""},
		"enough":               {message.VendorSample{Refused: 4}, message.HealthDown, "24 of 24"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			v.goOn(time.Minute, c.each)
			v.is(c.want, c.why)
		})
	}
}

// A vendor that is bad is better only after it has looked well for a while, and longer
// each time.
func TestLeavingTakesTime(t *testing.T) {
	v := newVendor(t)
	bad, good := message.VendorSample{Accepted: 10, Refused: 90}, message.VendorSample{Accepted: 100}
	v.goOn(10*time.Second, bad)
	v.is(message.HealthDown, "90 of 100")
	since := v.last.Since
	v.goOn(30*time.Second, bad)
	if v.last.Since != since {
		t.Error("it is down since another moment now")
	}
	v.goOn(time.Minute, good) // the last trouble leaves the window
	v.goOn(50*time.Second, good)
	if v.last.Health == message.HealthHealthy {
		t.Error("it is well before two good minutes have passed")
	}
	v.goOn(70*time.Second, good)
	v.is(message.HealthHealthy, "")

	v.goOn(20*time.Second, bad)
	v.is(message.HealthDegraded, "180 of 600")
	v.goOn(3*time.Minute, nothing)
	if v.last.Health == message.HealthHealthy {
		t.Error("after a relapse it is well as soon as the first time")
	}
	v.goOn(3*time.Minute, nothing)
	v.is(message.HealthHealthy, "")
}

func TestLatency(t *testing.T) {
	v := newVendor(t)
	v.seen.Latency = 12 * time.Second
	v.goOn(10*time.Second, message.VendorSample{Accepted: 19})
	v.is(message.HealthHealthy, "")
	v.goOn(10*time.Second, message.VendorSample{Accepted: 19})
	v.is(message.HealthDegraded, "answers take 12s")
	v.goOn(4*time.Minute, nothing) // an old mean says nothing
	v.is(message.HealthHealthy, "")
}

func TestUnbound(t *testing.T) {
	v := newVendor(t)
	v.seen.Bound, v.seen.Served = false, false
	v.goOn(10*time.Second, nothing)
	v.is(message.HealthUnknown, "")
	v.goOn(20*time.Second, nothing)
	v.is(message.HealthDown, "no process has a link to it")
	v.seen.Served = true
	v.goOn(10*time.Second, nothing)
	v.is(message.HealthDown, "no process is connected")
	v.seen.Bound = true
	v.goOn(10*time.Second, nothing)
	v.is(message.HealthDegraded, "no process is connected") // it may go again
	v.goOn(2*time.Minute, nothing)
	v.is(message.HealthHealthy, "")
	v.seen.Bound = false
	v.goOn(10*time.Second, nothing)
	v.is(message.HealthHealthy, "") // not for long enough
}

// Who did not look for a while holds nothing against a vendor.
func TestBlindness(t *testing.T) {
	v := newVendor(t)
	v.goOn(10*time.Second, message.VendorSample{Accepted: 1})
	v.now = v.now.Add(5 * time.Minute)
	v.seen.Bound = false
	v.goOn(10*time.Second, nothing)
	v.is(message.HealthHealthy, "")
	v.goOn(20*time.Second, nothing)
	v.is(message.HealthDown, "no process is connected")
}

func TestReceipts(t *testing.T) {
	judged := func(t *testing.T, percent int) *vendor {
		v := newVendor(t)
		v.seen.ReceiptPercent, v.seen.ReceiptExpected = percent, time.Minute
		return v
	}
	t.Run("all", func(t *testing.T) {
		v := judged(t, 50)
		v.goOn(10*time.Minute, message.VendorSample{Accepted: 20, Receipts: 20})
		v.is(message.HealthHealthy, "")
	})
	t.Run("too early to say", func(t *testing.T) {
		v := judged(t, 50)
		v.goOn(time.Minute, message.VendorSample{Accepted: 1000})
		v.is(message.HealthHealthy, "")
	})
	t.Run("too few", func(t *testing.T) {
		v := judged(t, 50)
		v.goOn(20*time.Minute, message.VendorSample{Accepted: 1})
		v.is(message.HealthHealthy, "")
	})
	t.Run("a third", func(t *testing.T) {
		v := judged(t, 50)
		v.goOn(10*time.Minute, message.VendorSample{Accepted: 30, Receipts: 10})
		v.is(message.HealthDegraded, "receipts for")
	})
	t.Run("a burst", func(t *testing.T) {
		v := judged(t, 50)
		v.goOn(10*time.Second, message.VendorSample{Accepted: 2000})
		v.goOn(40*time.Second, nothing)
		v.goOn(10*time.Second, message.VendorSample{Receipts: 1800})
		for range 20 {
			v.goOn(time.Minute, nothing)
			v.is(message.HealthHealthy, "")
		}
	})
	t.Run("not judged", func(t *testing.T) {
		v := judged(t, 0)
		v.goOn(10*time.Minute, message.VendorSample{Accepted: 30})
		v.is(message.HealthHealthy, "")
	})
	t.Run("expected too late to be judged", func(t *testing.T) {
		v := judged(t, 50)
		v.seen.ReceiptExpected = time.Hour
		v.goOn(3*time.Hour, message.VendorSample{Accepted: 30})
		v.is(message.HealthHealthy, "")
	})
	// One that lies is down, gets nothing, and is tried again.
	t.Run("none", func(t *testing.T) {
		v := judged(t, 50)
		v.goOn(2*time.Minute, message.VendorSample{Accepted: 100})
		v.is(message.HealthDown, "0 receipts for 600 parts")
		v.goOn(10*time.Minute, nothing)
		v.is(message.HealthDown, "0 receipts for")
		v.goOn(10*time.Minute, nothing)
		v.is(message.HealthHealthy, "")
		v.goOn(2*time.Minute, message.VendorSample{Accepted: 100})
		v.is(message.HealthDown, "0 receipts for")
	})
}

// Whatever is seen: a vendor is not said to be ill without a reason, it does not leave
// an illness within Good of the last sign, and its rates are between 0 and 1.
func TestJudgeKeepsItsWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := newVendor(t)
		v.seen.ReceiptPercent, v.seen.ReceiptExpected = 50, 30*time.Second
		number := rapid.IntRange(0, 60)
		var ill time.Time // when a sign was last seen
		for range rapid.IntRange(1, 80).Draw(t, "buckets") {
			s := message.VendorSample{Accepted: number.Draw(t, "accepted"), Refused: number.Draw(t, "refused"), Other: number.Draw(t, "other"),
				Silent: number.Draw(t, "silent"), Receipts: number.Draw(t, "receipts")}
			v.seen.Bound = rapid.IntRange(0, 3).Draw(t, "bound") > 0
			was := v.last.Health
			v.goOn(10*time.Second, s)
			now := v.last
			if now.ErrorRate < 0 || now.ErrorRate > 1 {
				t.Fatalf("error rate %v", now.ErrorRate)
			}
			sick := now.Health == message.HealthDegraded || now.Health == message.HealthDown
			if sick != (now.Why != "") {
				t.Fatalf("%s for %q", now.Health, now.Why)
			}
			if now.Answers >= 20 && now.ErrorRate >= 0.2 {
				ill = v.now
				if !sick {
					t.Fatalf("%s with an error rate of %v", now.Health, now.ErrorRate)
				}
			}
			if was != now.Health && !sick && !ill.IsZero() && v.now.Sub(ill) < 2*time.Minute {
				t.Fatalf("well again %v after the last sign", v.now.Sub(ill))
			}
		}
	})
}
