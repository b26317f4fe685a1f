package ingress

import (
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// The pauses between two looks at the same row double from firstTurn to
// lastTurn.
const (
	firstTurn = 10 * time.Second
	lastTurn  = time.Hour
)

// turns remembers what was worked on without effect, so that a row that stays
// is worked on less and less often. It remembers only what is still listed, so
// it is no larger than a batch; losing it costs one look at each row. The zero
// value is ready; safe for concurrent use.
type turns struct {
	mu   sync.Mutex
	byID map[message.ID]turnOf
}

type turnOf struct {
	next  time.Time
	pause time.Duration
}

// due takes all rows that a sweep lists and gives those whose turn it is, in
// their order.
func (t *turns) due(listed []message.ID, now time.Time) []message.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	keep := make(map[message.ID]turnOf, len(listed))
	var out []message.ID
	for _, id := range listed {
		row := t.byID[id]
		if !now.Before(row.next) {
			row.pause = min(max(2*row.pause, firstTurn), lastTurn)
			row.next = now.Add(row.pause)
			out = append(out, id)
		}
		keep[id] = row
	}
	t.byID = keep
	return out
}

// again gives rows whose turn was cut short the next one, too.
func (t *turns) again(ids ...message.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		delete(t.byID, id)
	}
}
