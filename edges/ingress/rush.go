package ingress

import (
	"runtime"
	"sync"
	"time"
)

const (
	// rushRate is how many messages a second, for each core, are a rush: five times
	// what a core completes. Most of them wait whatever is started first, and
	// what acceptance takes of the processor is then worth keeping free.
	rushRate = 500
	// rushSize is over how many messages the rate is taken: few, since each
	// workflow that begins meanwhile costs what accepting a hundred costs; enough
	// that an ordinary load does not come so close together by chance.
	rushSize = 16
	// rushLasts is how long a rush goes on after it was last seen. Messages come
	// by fits and starts: those of one commit are answered together, and their
	// customers send the next together.
	rushLasts = 100 * time.Millisecond
)

// rush knows whether messages come so fast that they need the processor. How many
// are under way at one moment does not tell: a commit answers all of them, and for
// that moment none is. Fill in span before use; safe for concurrent use.
type rush struct {
	span time.Duration // in which rushSize messages are a rush

	mu    sync.Mutex
	at    [rushSize]time.Time // when the newest messages came, a ring
	next  int                 // the oldest of them
	until time.Time           // the rush lasts until then; zero: there was none
}

func (r *rush) make() {
	r.span = rushSize * time.Second / time.Duration(rushRate*runtime.GOMAXPROCS(0))
}

// came counts a message. While a rush lasts, half of its rate keeps it up.
func (r *rush) came(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	span := r.span
	if now.Before(r.until) {
		span *= 2
	}
	if oldest := r.at[r.next]; !oldest.IsZero() && now.Sub(oldest) <= span {
		r.until = now.Add(rushLasts)
	}
	r.at[r.next] = now
	r.next = (r.next + 1) % rushSize
}

// on reports whether it lasts.
func (r *rush) on(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Before(r.until)
}
