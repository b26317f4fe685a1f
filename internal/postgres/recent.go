package postgres

import (
	"sync"

	"github.com/postrider/postrider/internal/message"
)

// recentSize is how many rows of a kind are remembered after they were written:
// those of the messages whose first steps follow at once in the same process.
const recentSize = 8192

// recent remembers rows that this process has just written, so that the next
// step need not read them back. It holds no only copy; the oldest make room.
// Safe for concurrent use.
type recent[V any] struct {
	mu   sync.Mutex
	byID map[message.ID]V
	ring []message.ID // in the order of their coming
	next int          // the place in ring that is taken next
}

func newRecent[V any](size int) *recent[V] {
	return &recent[V]{byID: make(map[message.ID]V, size), ring: make([]message.ID, size)}
}

func (r *recent[V]) put(id message.ID, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.byID[id]; !known {
		delete(r.byID, r.ring[r.next])
		r.ring[r.next] = id
		r.next = (r.next + 1) % len(r.ring)
	}
	r.byID[id] = v
}

func (r *recent[V]) get(id message.ID) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.byID[id]
	return v, ok
}

// take gives what is remembered once.
func (r *recent[V]) take(id message.ID) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.byID[id]
	delete(r.byID, id)
	return v, ok
}
