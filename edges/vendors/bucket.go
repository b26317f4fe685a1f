package vendors

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// The answers of a Bucket to those who wait in vain.
var (
	// ErrNoTurn: the caller will be gone before its turn comes.
	ErrNoTurn = errors.New("the rate leaves no room in time")
	// ErrCalledOff: what the caller waited with has ended meanwhile.
	ErrCalledOff = errors.New("the wait for the rate was called off")
)

// burstSeconds of the rate may leave at once. 20 ms make up for late timers without
// showing in any vendor's count of a second.
const burstSeconds = 0.02

// longestTurn keeps the wait at the smallest rates within what can be counted.
const longestTurn = 24 * time.Hour

// tokenRoom is what a token may lack: a timer's last nanosecond.
const tokenRoom = 1e-6

// Bucket holds a link to its share of a vendor's rate. Of those who wait the most
// urgent class has its turn first, and within a class who came first, also when the rate
// changes meanwhile. The zero Bucket has no limit; it is safe for concurrent use.
type Bucket struct {
	mu     sync.Mutex
	rate   float64 // a second; 0: no limit
	tokens float64 // below 0 after one that took several
	at     time.Time
	used   bool     // somebody took without a limit
	line   []*taker // who waits; the first has its turn
}

// taker waits for its turn.
type taker struct {
	n    int
	rank int           // of its class; the smallest first
	turn chan struct{} // capacity 1: it is the first, or the rate has changed
}

// SetRate changes the rate at once, for those who wait as well; 0 is no limit. What the
// old rate has gathered stays, so that changes in a row starve nobody and give nobody
// more than the rate.
func (b *Bucket) SetRate(rate float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if rate == b.rate {
		return
	}
	now := time.Now()
	b.fillLocked(now)
	before := b.rate
	b.rate = max(0, rate)
	if before == 0 {
		b.at = now
		b.tokens = 0
		if !b.used {
			b.tokens = b.most()
		}
	}
	b.tokens = min(b.tokens, b.most())
	b.tellFirstLocked()
}

// most is how many tokens may be gathered.
func (b *Bucket) most() float64 { return max(1, b.rate*burstSeconds) }

func (b *Bucket) fillLocked(now time.Time) {
	if b.rate == 0 {
		return
	}
	b.tokens = min(b.most(), b.tokens+now.Sub(b.at).Seconds()*b.rate)
	b.at = now
}

// takeLocked takes n tokens when there is one: the others are owed, and nobody gets
// any until they have come.
func (b *Bucket) takeLocked(n int, now time.Time) bool {
	if b.rate == 0 {
		b.used = true
		return true
	}
	b.fillLocked(now)
	if b.tokens < 1-tokenRoom {
		return false
	}
	b.tokens -= float64(n)
	return true
}

// behindLocked is how many of the line one of the rank waits for.
func (b *Bucket) behindLocked(rank int) int {
	i := len(b.line)
	for i > 0 && b.line[i-1].rank > rank {
		i--
	}
	return i
}

// untilLocked is how long it takes until a token is there for who comes after the
// others.
func (b *Bucket) untilLocked(others []*taker) time.Duration {
	need := 1 - b.tokens
	for _, w := range others {
		need += float64(w.n)
	}
	return time.Duration(min(max(1, need/b.rate*float64(time.Second)), float64(longestTurn)))
}

// Wait is how long a part of the class that came now would wait for its turn; 0: it
// would not.
func (b *Bucket) Wait(class message.Class) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rate == 0 {
		return 0
	}
	b.fillLocked(time.Now())
	before := b.line[:b.behindLocked(class.Priority())]
	if len(before) == 0 && b.tokens >= 1-tokenRoom {
		return 0
	}
	return b.untilLocked(before)
}

// Take waits for the turn of n parts, at least one, that leave together. It ends with
// ctx's error; at once with ErrNoTurn when the deadline of ctx is before the turn; and
// with ErrCalledOff when off is closed, which may be nil.
func (b *Bucket) Take(ctx context.Context, class message.Class, n int, off <-chan struct{}) error {
	b.mu.Lock()
	if len(b.line) == 0 && b.takeLocked(n, time.Now()) {
		b.mu.Unlock()
		return nil
	}
	w := &taker{n: n, rank: class.Priority(), turn: make(chan struct{}, 1)}
	place := b.behindLocked(w.rank)
	if end, ok := ctx.Deadline(); ok && b.rate > 0 && b.untilLocked(b.line[:place]) > time.Until(end) {
		b.mu.Unlock()
		return ErrNoTurn
	}
	b.line = slices.Insert(b.line, place, w)
	b.mu.Unlock()
	err := b.await(ctx, w, off)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.line = slices.DeleteFunc(b.line, func(x *taker) bool { return x == w })
	b.tellFirstLocked()
	return err
}

// await takes the tokens when it is w's turn and they are there.
func (b *Bucket) await(ctx context.Context, w *taker, off <-chan struct{}) error {
	for {
		b.mu.Lock()
		wait := time.Duration(math.MaxInt64) // until told
		if b.line[0] == w {
			if b.takeLocked(w.n, time.Now()) {
				b.mu.Unlock()
				return nil
			}
			wait = b.untilLocked(nil)
		}
		b.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-w.turn:
		case <-timer.C:
		case <-off:
			timer.Stop()
			return ErrCalledOff
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

// GiveBack returns the tokens of n parts that were kept from the wire after all. Parts
// that wait for theirs too long to leave would use up the whole rate otherwise, and
// nothing would leave any more.
func (b *Bucket) GiveBack(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rate == 0 {
		return
	}
	b.fillLocked(time.Now())
	b.tokens = min(b.tokens+float64(n), b.most())
	b.tellFirstLocked()
}

// tellFirstLocked lets the first look again.
func (b *Bucket) tellFirstLocked() {
	if len(b.line) == 0 {
		return
	}
	select {
	case b.line[0].turn <- struct{}{}:
	default:
	}
}
