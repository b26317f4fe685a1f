package smpp

import (
	"context"
	"sync"
)

// line keeps inbound messages of one sender to one number in their order, while
// others pass: STOP and START that came one after the other mean what the last one
// says. It knows only what is being committed, so it is as small as the window. The
// zero line is ready; safe for concurrent use.
type line struct {
	mu   sync.Mutex
	last map[pair]chan struct{} // by pair: closed when the newest of it has left
}

type pair struct{ from, to string }

// turnOf is a place in the line. The zero turnOf is in no line.
type turnOf struct {
	line   *line
	pair   pair
	before chan struct{} // closed when the one before has left; nil: nobody is
	done   chan struct{} // closed by leave
}

// enter takes the place behind those of the pair that entered before.
func (l *line) enter(from, to string) turnOf {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = make(map[pair]chan struct{})
	}
	t := turnOf{line: l, pair: pair{from, to}, done: make(chan struct{})}
	t.before = l.last[t.pair]
	l.last[t.pair] = t.done
	return t
}

// wait returns when those before have left, or ctx ends.
func (t turnOf) wait(ctx context.Context) error {
	if t.before == nil {
		return nil
	}
	select {
	case <-t.before:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave lets the next one go. It is called once.
func (t turnOf) leave() {
	if t.line == nil {
		return
	}
	t.line.mu.Lock()
	if t.line.last[t.pair] == t.done {
		delete(t.line.last, t.pair)
	}
	t.line.mu.Unlock()
	close(t.done)
}
