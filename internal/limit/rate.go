package limit

import (
	"fmt"
	"strings"
	"time"
)

// burstWindow is the time over which a burst has to be made up for.
const burstWindow = 10 * time.Second

// burstSeconds is burstWindow in seconds.
const burstSeconds = int(burstWindow / time.Second)

// Rate is so many events a second of one key. Without a burst no second, wherever it
// begins, holds more than PerSecond of them. With one a second holds at most
// PerSecond+Burst, and ten seconds at most ten times PerSecond: what came at once is
// made up for within ten seconds. A burst above nine times PerSecond is no more than
// that.
type Rate struct {
	Scope     string // what it belongs to, for statistics: ScopeKey, …
	Key       string
	Whose     string // ends a sentence, such as "with this API key" or "from +12025550143"
	PerSecond int
	Burst     int
	N         int // events; 0: one
}

// Scopes of rates.
const (
	ScopeAccount = "account" // the account's messages
	ScopeKey     = "key"     // an API key's messages
	ScopeNumber  = "number"  // a sender's messages
	ScopeBind    = "bind"    // an SMPP credential's parts, over all its binds
	ScopeRequest = "request" // an account's requests that are no messages
)

// asks appends what has to be asked about the rate.
func (r Rate) asks(list []Ask) []Ask {
	burst := min(r.Burst, (burstSeconds-1)*r.PerSecond)
	if burst <= 0 {
		return append(list, Ask{Key: r.Key, Limit: r.PerSecond, Window: time.Second, N: r.N})
	}
	return append(list,
		Ask{Key: r.Key, Limit: r.PerSecond + burst, Window: time.Second, N: r.N},
		Ask{Key: r.Key + " burst", Limit: burstSeconds * r.PerSecond, Window: burstWindow, N: r.N})
}

// Many counts events of several keys at once. *Limiter and *Shared are.
type Many interface {
	TakeAll(asks []Ask, now time.Time) []Result
	PeekAll(asks []Ask, now time.Time) []Result
}

// Verdict is what several rates say of one thing together.
type Verdict struct {
	OK     bool
	Rate   Rate   // that binds: the one that refuses for longest, else the one that has least left
	Result Result // of it
	Detail string // the values that decided, as a trail shows them
}

// TakeRates counts events at all of the rates, or at none when one of them has no
// room: who is refused for one uses up nothing of the others.
func TakeRates(l Many, rates []Rate, now time.Time) Verdict {
	return verdict(rates, func(asks []Ask) []Result { return l.TakeAll(asks, now) })
}

// PeekRates says what TakeRates would say, without counting anything.
func PeekRates(l Many, rates []Rate, now time.Time) Verdict {
	return verdict(rates, func(asks []Ask) []Result { return l.PeekAll(asks, now) })
}

func verdict(rates []Rate, ask func([]Ask) []Result) Verdict {
	asks := make([]Ask, 0, 2*len(rates))
	of := make([]int, 0, 2*len(rates)) // whose ask it is
	for i, r := range rates {
		before := len(asks)
		asks = r.asks(asks)
		for range len(asks) - before {
			of = append(of, i)
		}
	}
	if len(asks) == 0 {
		return Verdict{OK: true}
	}
	results := ask(asks)
	bound := 0
	for i := range results {
		if tighter(results[i], results[bound]) {
			bound = i
		}
	}
	v := Verdict{OK: results[bound].OK, Rate: rates[of[bound]], Result: results[bound]}
	if !v.OK {
		v.Detail = "more than " + spoken(v.Result.Limit, asks[bound].Window) + " " + v.Rate.Whose
		return v
	}
	var b strings.Builder
	for i, r := range results {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d of %s %s", r.Limit-r.Remaining, spoken(r.Limit, asks[i].Window), rates[of[i]].Whose)
	}
	v.Detail = b.String()
	return v
}

// tighter reports whether a binds more than b.
func tighter(a, b Result) bool {
	switch {
	case a.OK != b.OK:
		return !a.OK
	case a.OK && a.Remaining != b.Remaining:
		return a.Remaining < b.Remaining
	}
	return a.Reset > b.Reset
}

func spoken(n int, window time.Duration) string {
	if window == time.Second {
		return fmt.Sprintf("%d messages in a second", n)
	}
	return fmt.Sprintf("%d messages in %d seconds", n, int(window.Seconds()))
}
