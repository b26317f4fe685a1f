package limit

import "time"

// maxMarks is how many marks a key keeps. Limits up to it are counted exactly;
// a larger limit is counted to within a 128th of its window.
const maxMarks = 128

// mark is one event, or several that lie close together.
type mark struct {
	first, last time.Duration // since the limiter's start
	count       int
}

// window is what one key has counted. Its marks are a ring, oldest first.
type window struct {
	key          string
	newer, older *window // neighbours in the shard's list by use

	ring   []mark
	head   int // index of the oldest mark
	marks  int
	total  int           // events over all marks
	latest time.Duration // time of the last call that counted
	clears time.Duration // when the last counted event leaves its window
}

func (w *window) ask(limit int, span, at time.Duration, n int, take bool) Result {
	at = max(at, w.latest)
	w.drop(at - span)
	r := Result{OK: w.total+n <= limit, Limit: limit}
	if r.OK && take {
		w.count(at, limit, span, n)
	}
	r.Remaining = max(limit-w.total, 0)
	if w.marks > 0 {
		r.Reset = w.ring[w.head].last + span - at
	}
	return r
}

// drop forgets the marks whose last event happened at or before horizon.
func (w *window) drop(horizon time.Duration) {
	for w.marks > 0 && w.ring[w.head].last <= horizon {
		w.total -= w.ring[w.head].count
		w.head = (w.head + 1) % len(w.ring)
		w.marks--
	}
}

func (w *window) count(at time.Duration, limit int, span time.Duration, n int) {
	w.latest, w.clears = at, max(w.clears, at+span)
	w.total += n
	if w.marks > 0 {
		m := &w.ring[(w.head+w.marks-1)%len(w.ring)]
		// Marks that begin at least span/(maxMarks-1) apart are never more than
		// maxMarks within a span, so the ring holds them. It can be full all the
		// same when limit or span has changed; then the last mark takes more.
		near := limit > maxMarks && at-m.first < span/(maxMarks-1)
		if near || w.marks == maxMarks {
			m.last = at
			m.count += n
			return
		}
	}
	if w.marks == len(w.ring) {
		w.grow(limit)
	}
	w.ring[(w.head+w.marks)%len(w.ring)] = mark{first: at, last: at, count: n}
	w.marks++
}

// grow doubles the ring. Most keys are idle most of the time, so a ring starts
// small.
func (w *window) grow(limit int) {
	n := min(max(2*len(w.ring), 4), maxMarks)
	if limit <= maxMarks {
		n = min(n, limit) // more than w.marks, since less than limit is counted
	}
	ring := make([]mark, n)
	for i := range w.marks {
		ring[i] = w.ring[(w.head+i)%len(w.ring)]
	}
	w.ring, w.head = ring, 0
}
