package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// load sends the messages of a run over a set of connections that stay open
// from phase to phase.
type load struct {
	api     *api
	numbers numbers
	records *records
	links   []poster
}

// poster sends one message and returns when it was accepted. It has one user at
// a time.
type poster interface {
	post(ctx context.Context, to, reference string) error
	close()
}

func newLoad(a *api, n numbers, r *records, connections int) *load {
	l := &load{api: a, numbers: n, records: r}
	for range connections {
		l.links = append(l.links, &link{api: a})
	}
	return l
}

func (l *load) close() {
	for _, link := range l.links {
		link.close()
	}
}

// failures counts errors by name.
type failures struct {
	mu     sync.Mutex
	counts map[string]int
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[errorName(err)]++
}

// open sends a span's messages when they are due, whether earlier ones were
// answered or not; only when every connection waits for an answer does one
// start late, and that counts as latency. It returns when all were answered, or
// ctx has ended.
func (l *load) open(ctx context.Context, s span, due schedule, over []poster) map[string]int {
	start := l.records.now()
	return l.send(ctx, s, over, func(ctx context.Context, i int, wait *time.Timer) bool {
		at := start + int64(due[i-s.first])
		l.records.list[i].due.Store(at)
		early := at - l.records.now()
		if early <= 0 {
			return ctx.Err() == nil
		}
		wait.Reset(time.Duration(early))
		select {
		case <-wait.C:
			return true
		case <-ctx.Done():
			return false
		}
	})
}

// closed sends a span's messages as fast as they are answered. A message is due
// when a connection is free for it.
func (l *load) closed(ctx context.Context, s span, over []poster) map[string]int {
	return l.send(ctx, s, over, func(ctx context.Context, i int, _ *time.Timer) bool {
		l.records.list[i].due.Store(l.records.now())
		return ctx.Err() == nil
	})
}

// over is as many of the connections to the API.
func (l *load) over(connections int) []poster { return l.links[:min(connections, len(l.links))] }

// send lets each connection take the next message, wait for its time and send
// it. ready reports false when no more shall be sent.
func (l *load) send(ctx context.Context, s span, over []poster, ready func(context.Context, int, *time.Timer) bool) map[string]int {
	failed := failures{counts: map[string]int{}}
	var next atomic.Int64
	next.Store(int64(s.first))
	var done sync.WaitGroup
	for _, link := range over {
		done.Go(func() {
			wait := time.NewTimer(time.Hour)
			defer wait.Stop()
			for {
				i := int(next.Add(1) - 1)
				if i >= s.last || !ready(ctx, i, wait) {
					return
				}
				m := &l.records.list[i]
				m.started.Store(l.records.now())
				if err := link.post(ctx, l.numbers.at(i), l.records.reference(i)); err != nil {
					failed.add(err)
					continue
				}
				m.answered.Store(l.records.now())
			}
		})
	}
	done.Wait()
	return failed.counts
}
