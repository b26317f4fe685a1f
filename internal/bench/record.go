package main

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// record is the fate of one message. Times are nanoseconds since the run began;
// 0: not yet. The sender writes the first three, the webhook consumer the rest.
type record struct {
	due      atomic.Int64 // when it should have been sent
	started  atomic.Int64 // when a connection took it
	answered atomic.Int64 // when the 202 was there; 0 for any other answer
	ended    atomic.Int64 // when the first final event came
	outcome  atomic.Int32 // of the latest final event: an index of outcomes
	events   atomic.Int32 // events of any type, repetitions among them
	finals   atomic.Int32 // final ones
}

// outcomes are the final types of event (message.<word>); 0: none came.
var outcomes = [...]string{"", "delivered", "undelivered", "failed", "rejected", "expired", "canceled", "unconfirmed"}

const delivered = 1 // in outcomes

func outcomeOf(word string) int32 {
	for i, o := range outcomes {
		if o == word {
			return int32(i)
		}
	}
	return 0
}

// records are all messages of a run, numbered from 0 over its phases. Safe for
// concurrent use.
type records struct {
	began   time.Time
	prefix  string // of the client references: tells this run's events from others
	list    []record
	strange atomic.Int64 // events that belong to none of them
}

func newRecords(n int, run string) *records {
	return &records{began: time.Now(), prefix: "bench-" + run + "-", list: make([]record, n)}
}

// now is the run's time; never 0, which means "not yet".
func (r *records) now() int64 { return max(int64(time.Since(r.began)), 1) }

// reference is the client_reference of message i.
func (r *records) reference(i int) string { return r.prefix + strconv.Itoa(i) }

// byReference finds a message; nil: not of this run.
func (r *records) byReference(reference string) *record {
	digits, ours := strings.CutPrefix(reference, r.prefix)
	if !ours {
		return nil
	}
	i, err := strconv.Atoi(digits)
	if err != nil || i < 0 || i >= len(r.list) {
		return nil
	}
	return &r.list[i]
}

// event notes an event by the word after "message." in its type.
func (r *records) event(reference, word string) {
	m := r.byReference(reference)
	if m == nil {
		r.strange.Add(1)
		return
	}
	m.events.Add(1)
	o := outcomeOf(word)
	if o == 0 {
		return
	}
	m.ended.CompareAndSwap(0, r.now())
	m.outcome.Store(o)
	m.finals.Add(1)
}

// span is the messages of one phase.
type span struct {
	records     *records
	first, last int // last is excluded
}

// sums are counts over a span.
type sums struct {
	accepted  int // answered 202
	delivered int // of those, and told so
	ended     int // of those, and told of any end
	repeated  int // final events beyond each message's first
	others    map[string]int
}

func (s span) count() sums {
	c := sums{others: map[string]int{}}
	for i := s.first; i < s.last; i++ {
		m := &s.records.list[i]
		if m.answered.Load() == 0 {
			continue
		}
		c.accepted++
		if n := int(m.finals.Load()); n > 1 {
			c.repeated += n - 1
		}
		switch o := m.outcome.Load(); o {
		case 0:
		case delivered:
			c.delivered++
			c.ended++
		default:
			c.ended++
			c.others[outcomes[o]]++
		}
	}
	return c
}

// unended is how many have not ended, whether they were accepted or not.
func (s span) unended() int {
	n := 0
	for i := s.first; i < s.last; i++ {
		if s.records.list[i].ended.Load() == 0 {
			n++
		}
	}
	return n
}

// waiting is how many accepted messages have not ended.
func (s span) waiting() int {
	c := s.count()
	return c.accepted - c.ended
}

// acceptLatencies run from when a message was due to its 202.
func (s span) acceptLatencies() []time.Duration {
	return s.latencies(func(m *record) int64 { return m.answered.Load() - m.due.Load() })
}

// endLatencies run from when a message was due to its first final event.
func (s span) endLatencies() []time.Duration {
	return s.latencies(func(m *record) int64 {
		if m.ended.Load() == 0 {
			return -1
		}
		return m.ended.Load() - m.due.Load()
	})
}

// vendorLatencies run from when a message was due to the vendor's taking of it.
func (s span) vendorLatencies(arrived map[int]arrival) []time.Duration {
	var list []time.Duration
	for i := s.first; i < s.last; i++ {
		if m, a := &s.records.list[i], arrived[i]; a.count > 0 && m.answered.Load() != 0 {
			list = append(list, max(time.Duration(a.at-m.due.Load()), 0))
		}
	}
	return list
}

// askLatencies run from when a connection, or a place of the window, took a message to
// its 202: what one answer takes, without the wait for who asks.
func (s span) askLatencies() []time.Duration {
	return s.latencies(func(m *record) int64 { return m.answered.Load() - m.started.Load() })
}

// arrivedBy is how many of the messages a vendor had at a time of the run.
func (s span) arrivedBy(at int64, arrived map[int]arrival) int {
	n := 0
	for i := s.first; i < s.last; i++ {
		if a := arrived[i]; a.count > 0 && a.at <= at {
			n++
		}
	}
	return n
}

// lags are how late messages were sent: the generator's own fault, or that of
// too few connections.
func (s span) lags() []time.Duration {
	return s.latencies(func(m *record) int64 { return m.started.Load() - m.due.Load() })
}

// latencies collects f of the accepted messages; negative ones are left out.
func (s span) latencies(f func(*record) int64) []time.Duration {
	var list []time.Duration
	for i := s.first; i < s.last; i++ {
		m := &s.records.list[i]
		if m.answered.Load() == 0 {
			continue
		}
		if d := f(m); d >= 0 {
			list = append(list, time.Duration(d))
		}
	}
	return list
}

// ends are the times of the accepted messages' first final events.
func (s span) ends() []time.Duration {
	return s.latencies(func(m *record) int64 {
		if at := m.ended.Load(); at > 0 {
			return at
		}
		return -1
	})
}

// sinceBegin is how long after began, a time of the run, the last 202 was there.
func (s span) sinceBegin(began int64) time.Duration {
	return time.Duration(max(s.lastAnswer(), began) - began)
}

// lastAnswer is the time of the run at which the last 202 was there; 0: none was.
func (s span) lastAnswer() int64 {
	var last int64
	for i := s.first; i < s.last; i++ {
		last = max(last, s.records.list[i].answered.Load())
	}
	return last
}
