// Package limit counts events per key over a sliding window, in process: so
// many messages per second of an account, so many tries per minute of an
// address. A limiter that is shared between replicas has the same two methods,
// so callers declare the small interface they need and take either.
//
// The rule not to break: an event that was allowed is counted for a whole
// window after it happened, so that no window of that length, wherever it
// begins, holds more allowed events than the limit.
package limit

import (
	"hash/maphash"
	"sync"
	"time"
)

// DefaultMaxKeys is how many keys a Limiter remembers when it is not told.
const DefaultMaxKeys = 100_000

// shards spread the keys over locks, so that requests of different accounts do
// not wait for each other. A power of two.
const shards = 64

// Result is what became of one event.
type Result struct {
	OK        bool          // it was counted (Take) or would be (Peek)
	Limit     int           // the limit that was asked for, 0 for a negative one
	Remaining int           // how many more events would be allowed now
	Reset     time.Duration // until Remaining next grows; 0 when nothing is counted
}

// Limiter counts events in the memory of this process. The zero value is not
// usable: make one with New. Safe for concurrent use.
type Limiter struct {
	seed  maphash.Seed
	start time.Time // times are kept as distances from it
	room  int       // keys that one shard remembers at most
	shard [shards]shard
}

// New makes a limiter that remembers at most about maxKeys keys, DefaultMaxKeys
// for 0 or less. A key costs some 100 bytes and at most 2 KiB. When more keys
// are in use at one time, the one that was asked for longest ago is forgotten,
// and with it what it had counted.
func New(maxKeys int) *Limiter {
	if maxKeys <= 0 {
		maxKeys = DefaultMaxKeys
	}
	l := &Limiter{seed: maphash.MakeSeed(), start: time.Now(), room: (maxKeys + shards - 1) / shards}
	for i := range l.shard {
		l.shard[i].keys = make(map[string]*window)
	}
	return l
}

// Take counts one event of key at time now if fewer than limit lie within the
// window that ends now, and says whether it did. A limit of 0 or less allows
// nothing. The limit and the window of a key may change from call to call.
//
// Up to maxMarks the count is exact. Above it events that lie close together
// share a mark and leave the window together with the latest of them, so an
// event may be refused up to window/maxMarks longer than strictly needed, and
// never too early allowed. Calls whose times run backwards, as those of
// concurrent callers may by microseconds, count as made at the latest time
// seen.
func (l *Limiter) Take(key string, limit int, window time.Duration, now time.Time) Result {
	return l.ask(key, limit, window, now, true)
}

// Peek says what Take would say, without counting anything.
func (l *Limiter) Peek(key string, limit int, window time.Duration, now time.Time) Result {
	return l.ask(key, limit, window, now, false)
}

// Len is how many keys are remembered now.
func (l *Limiter) Len() int {
	n := 0
	for i := range l.shard {
		s := &l.shard[i]
		s.mu.Lock()
		n += len(s.keys)
		s.mu.Unlock()
	}
	return n
}

func (l *Limiter) ask(key string, limit int, span time.Duration, now time.Time, take bool) Result {
	if limit <= 0 || span <= 0 {
		return Result{Reset: max(span, 0)}
	}
	at := now.Sub(l.start)
	s := &l.shard[l.shardOf(key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(at)
	w := s.keys[key]
	if w == nil {
		if !take {
			return Result{OK: true, Limit: limit, Remaining: limit}
		}
		w = s.add(key, l.room, at)
	}
	s.touch(w)
	return w.ask(limit, span, at, 1, take)
}

// shard is a part of the keys with a list of them by last use.
type shard struct {
	mu     sync.Mutex
	keys   map[string]*window
	newest *window
	oldest *window
}

// expire forgets up to two keys that have nothing left to count. Two for each
// call, so that the number shrinks although every call may add one.
func (s *shard) expire(at time.Duration) {
	for range 2 {
		w := s.oldest
		if w == nil || w.clears > at {
			return
		}
		s.remove(w)
	}
}

func (s *shard) add(key string, room int, at time.Duration) *window {
	if len(s.keys) >= room {
		s.remove(s.oldest)
	}
	w := &window{key: key, latest: at, clears: at}
	s.keys[key] = w
	return w
}

func (s *shard) remove(w *window) {
	s.unlink(w)
	delete(s.keys, w.key)
}

// touch makes w the key used last.
func (s *shard) touch(w *window) {
	if s.newest == w {
		return
	}
	s.unlink(w)
	w.older = s.newest
	if s.newest != nil {
		s.newest.newer = w
	}
	s.newest = w
	if s.oldest == nil {
		s.oldest = w
	}
}

func (s *shard) unlink(w *window) {
	if w.newer != nil {
		w.newer.older = w.older
	} else if s.newest == w {
		s.newest = w.older
	}
	if w.older != nil {
		w.older.newer = w.newer
	} else if s.oldest == w {
		s.oldest = w.newer
	}
	w.newer, w.older = nil, nil
}
