package limit

import (
	"hash/maphash"
	"math/bits"
	"time"
)

// Ask is a question about one key.
type Ask struct {
	Key    string
	Limit  int
	Window time.Duration
	N      int // events; 0: one
}

func (a Ask) count() int { return max(a.N, 1) }

// TakeAll counts the events of all asks if each of them has room, and none of them
// otherwise; each result says whether its own limit had room. There is no moment at
// which some are counted and others not. The keys must differ.
func (l *Limiter) TakeAll(asks []Ask, now time.Time) []Result { return l.askAll(asks, now, true) }

// PeekAll says what TakeAll would say, without counting anything.
func (l *Limiter) PeekAll(asks []Ask, now time.Time) []Result { return l.askAll(asks, now, false) }

func (l *Limiter) askAll(asks []Ask, now time.Time, take bool) []Result {
	at := now.Sub(l.start)
	// A bit for each shard. They are locked in one order, so that nobody waits for
	// somebody who waits for him.
	var mine uint64
	for i := range asks {
		mine |= 1 << l.shardOf(asks[i].Key)
	}
	for b := mine; b != 0; b &= b - 1 {
		l.shard[bits.TrailingZeros64(b)].mu.Lock()
	}
	defer func() {
		for b := mine; b != 0; b &= b - 1 {
			l.shard[bits.TrailingZeros64(b)].mu.Unlock()
		}
	}()
	out := make([]Result, len(asks))
	all := true
	for i, a := range asks {
		s := &l.shard[l.shardOf(a.Key)]
		s.expire(at)
		out[i] = s.look(a, at)
		all = all && out[i].OK
	}
	if !take || !all {
		return out
	}
	for i, a := range asks {
		s := &l.shard[l.shardOf(a.Key)]
		w := s.keys[a.Key]
		if w == nil {
			w = s.add(a.Key, l.room, at)
		}
		s.touch(w)
		out[i] = w.ask(a.Limit, a.Window, at, a.count(), true)
	}
	return out
}

func (l *Limiter) shardOf(key string) uint64 { return maphash.String(l.seed, key) & (shards - 1) }

// look answers without counting.
func (s *shard) look(a Ask, at time.Duration) Result {
	if a.Limit <= 0 || a.Window <= 0 {
		return Result{Reset: max(a.Window, 0)}
	}
	w := s.keys[a.Key]
	if w == nil {
		return Result{OK: a.count() <= a.Limit, Limit: a.Limit, Remaining: a.Limit}
	}
	s.touch(w)
	return w.ask(a.Limit, a.Window, at, a.count(), false)
}
