package main

import (
	"container/heap"
	"sync"
	"time"
)

// schedule runs functions later, all on one goroutine: a timer per message would
// cost more than the message. The functions must not block. What is not yet due
// when it stops never runs.
type schedule struct {
	began time.Time
	wake  chan struct{} // capacity 1: the first event changed, or the end

	mu      sync.Mutex
	events  events
	number  uint64
	stopped bool
}

type event struct {
	at     time.Duration // since the schedule began
	number uint64        // keeps the order of events at one time
	run    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].number < e[j].number
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(v any)   { *e = append(*e, v.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	v := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return v
}

func newSchedule() *schedule {
	return &schedule{began: time.Now(), wake: make(chan struct{}, 1)}
}

// after runs fn once d has passed; at once, on the caller's goroutine, when d is
// 0 or less.
func (s *schedule) after(d time.Duration, fn func()) {
	if d <= 0 {
		fn()
		return
	}
	at := time.Since(s.began) + d
	s.mu.Lock()
	s.number++
	n := s.number
	if !s.stopped {
		heap.Push(&s.events, event{at: at, number: n, run: fn})
	}
	first := !s.stopped && s.events[0].number == n
	s.mu.Unlock()
	if first {
		s.poke()
	}
}

func (s *schedule) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// loop runs until stop.
func (s *schedule) loop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next, more := s.runDue()
		if !more {
			return
		}
		timer.Reset(next)
		select {
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// runDue runs what is due and tells how long nothing will be; false: stopped.
func (s *schedule) runDue() (time.Duration, bool) {
	var due []func()
	for {
		now := time.Since(s.began)
		s.mu.Lock()
		if s.stopped {
			s.mu.Unlock()
			return 0, false
		}
		due = due[:0]
		for len(s.events) > 0 && s.events[0].at <= now {
			due = append(due, heap.Pop(&s.events).(event).run)
		}
		wait := time.Hour
		if len(s.events) > 0 {
			wait = s.events[0].at - now
		}
		s.mu.Unlock()
		if len(due) == 0 {
			return wait, true
		}
		for _, fn := range due {
			fn()
		}
	}
}

func (s *schedule) stop() {
	s.mu.Lock()
	s.stopped = true
	s.events = nil
	s.mu.Unlock()
	s.poke()
}
