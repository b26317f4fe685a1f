package smpp

import (
	"sync"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
)

const (
	// floodFactor times its rate for floodTime is more than an ESME that means
	// well offers: it is unbound.
	floodFactor = 5
	floodTime   = 30 * time.Second
	// floodBurst is the pause after which it counts anew.
	floodBurst = 2 * time.Second
	// rounding is what a bucket may lack for the arithmetic.
	rounding = 1e-6
)

// Rates are token buckets that all replicas share: *limit.Shared.
type Rates interface {
	// TakeTokens takes n tokens from the key's bucket, of so many a second and one
	// second's worth at once, and reports whether it had them; more than that goes
	// only from a full bucket. It runs on a session's reader and must not hold it
	// up. An error means that nothing is known of the bucket.
	TakeTokens(key string, rate, n int) (bool, error)
	// GiveTokens gives back what was taken and not used.
	GiveTokens(key string, rate, n int)
}

// takeTries is how often it is tried to take from a sender's rate what a look at it
// has found there, while others take as well.
const takeTries = 3

// allow takes n parts from the rate of the bind's credential, and reports
// whether it had them; giveBack returns some of them. A session that goes on
// offering far too much is unbound.
func (s *Server) allow(b *bound, n int) (ok bool, giveBack func(n int)) {
	c := s.settings(b)
	if c == nil {
		return false, nil // it is being unbound
	}
	ok, giveBack = s.take(b.credential, c.Throughput, n, s.now())
	s.offered(b, c.Throughput, n)
	return ok, giveBack
}

// offered counts what the session has offered, taken or not.
func (s *Server) offered(b *bound, rate, n int) {
	if b.flood.offered(n, rate, s.now()) && b.unbind != nil {
		b.unbind("five times its rate for 30 s")
	}
}

// take asks the buckets that are shared, if there are any and they answer; else those
// of this process: a customer is not refused because our counting is out of order.
func (s *Server) take(credential message.ID, rate, n int, now time.Time) (ok bool, giveBack func(n int)) {
	if s.Rates != nil {
		key := credential.String()
		if ok, err := s.Rates.TakeTokens(key, rate, n); err == nil {
			return ok, func(n int) { s.Rates.GiveTokens(key, rate, n) }
		}
	}
	return s.rates.take(credential, rate, n, now), func(n int) { s.rates.give(credential, n) }
}

// takeMessages takes up to n messages from the rate of their sender, and says how
// many it had room for, and why for no more.
func (s *Server) takeMessages(rate limit.Rate, n int) (granted int, v limit.Verdict) {
	rate.N = n
	for range takeTries {
		if v = limit.TakeRates(s.numbers, []limit.Rate{rate}, s.now()); v.OK {
			return rate.N, v
		}
		if rate.N = min(rate.N, v.Result.Remaining); rate.N == 0 {
			break
		}
	}
	return 0, v
}

// rateBook holds a token bucket for each credential: so many parts a second,
// and one second's worth at once. The zero value is ready, and safe for
// concurrent use.
type rateBook struct {
	mu      sync.Mutex
	buckets map[message.ID]*tokenBucket
}

// tokenBucket is what a credential had left at a time. Below zero it is in debt.
type tokenBucket struct {
	tokens float64
	rate   int
	at     time.Time
}

// take takes n tokens. More than a second's worth goes only from a full bucket,
// which is then in debt: a message of many parts would otherwise never pass. A
// rate of 0 or less allows nothing.
func (r *rateBook) take(credential message.ID, rate, n int, now time.Time) bool {
	if rate <= 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.buckets[credential]
	if b == nil {
		if r.buckets == nil {
			r.buckets = make(map[message.ID]*tokenBucket)
		}
		b = &tokenBucket{tokens: float64(rate), at: now}
		r.buckets[credential] = b
	}
	b.rate = rate
	b.fill(now)
	if b.tokens+rounding < float64(min(n, rate)) {
		return false
	}
	b.tokens -= float64(n)
	return true
}

// give puts n tokens back.
func (r *rateBook) give(credential message.ID, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.buckets[credential]; b != nil {
		b.tokens = min(b.tokens+float64(n), float64(b.rate))
	}
}

// fill adds what has flowed in since. Times of concurrent callers may run
// backwards by a little; nothing flows then.
func (b *tokenBucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens += d.Seconds() * float64(b.rate)
		b.at = now
	}
	b.tokens = min(b.tokens, float64(b.rate))
}

// tidy forgets the buckets that are full: a new one is full as well.
func (r *rateBook) tidy(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, b := range r.buckets {
		if b.fill(now); b.tokens+rounding >= float64(b.rate) {
			delete(r.buckets, id)
		}
	}
}

// flood measures what one session offers, taken or not. It is a bucket that
// fills by what is offered, leaks floodFactor times the rate and holds what leaks
// in floodBurst: as long as it never runs dry, more than that is offered. The zero
// value is ready, and safe for concurrent use.
type flood struct {
	mu    sync.Mutex
	level float64
	at    time.Time
	since time.Time // when it last began to fill
}

// offered adds n parts and reports whether the session has offered too much for
// floodTime.
func (f *flood) offered(n, rate int, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	leak := float64(rate) * floodFactor
	if d := now.Sub(f.at); d > 0 {
		f.level -= d.Seconds() * leak
		f.at = now
	}
	if f.level <= 0 {
		f.level, f.since = 0, now
	}
	f.level = min(f.level+float64(n), leak*floodBurst.Seconds())
	return now.Sub(f.since) >= floodTime
}
