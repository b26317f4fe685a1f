package main

import (
	"maps"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/smpp"
)

// counts are what GET /stats shows beside the ledger's totals.
type counts struct {
	Accepted     int            `json:"accepted"` // short messages taken, answered or not
	Answered     int            `json:"answered"` // with ROK
	Refused      map[string]int `json:"refused"`  // by status
	Silent       int            `json:"silent"`   // taken, not answered by choice
	Disconnected int            `json:"disconnected"`
	Unanswered   int            `json:"unanswered"` // taken, the session was gone before the answer

	ReceiptsSent    int `json:"receipts_sent"`    // deliver_sm handed to a session
	ReceiptsAcked   int `json:"receipts_acked"`   // answered ROK
	ReceiptsRefused int `json:"receipts_refused"` // answered with a permanent error
	ReceiptsRetried int `json:"receipts_retried"` // sent again, or waiting to be
	ReceiptsDropped int `json:"receipts_dropped"` // over receipt_cap
	ReceiptsPending int `json:"receipts_pending"` // delayed, held or unanswered

	MOSent    int `json:"mo_sent"`
	MOAcked   int `json:"mo_acked"`
	MORefused int `json:"mo_refused"`
	MORetried int `json:"mo_retried"`
	MODropped int `json:"mo_dropped"`
	MOPending int `json:"mo_pending"`

	Sessions int `json:"sessions"` // bound
	Binds    int `json:"binds"`    // accepted since the start or reset
}

// statsView is GET /stats.
type statsView struct {
	counts
	totals
	SubmitsPerSecond float64 `json:"submits_per_second"` // over the last 5 whole seconds
	PeakPerSecond    int     `json:"peak_per_second"`    // in one second, since the start or reset
	UptimeSeconds    float64 `json:"uptime_seconds"`
}

// rateSeconds is what submits_per_second is taken over.
const rateSeconds = 5

// stats counts. It is safe for concurrent use.
type stats struct {
	began time.Time

	mu     sync.Mutex
	counts counts
	// perSecond counts submits by second of the uptime, the last ones.
	perSecond [rateSeconds + 1]int
	second    int
	peak      int
}

func newStats() *stats {
	return &stats{began: time.Now(), counts: counts{Refused: map[string]int{}}}
}

// count changes the counters under the lock; f must not block.
func (s *stats) count(f func(c *counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.counts)
}

// submit counts a submit for the rate, whatever becomes of it.
func (s *stats) submit(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advanceLocked(now)
	n := &s.perSecond[s.second%len(s.perSecond)]
	*n++
	s.peak = max(s.peak, *n)
}

// answered and refused count an answer before it is written, so that who has
// read it finds it counted; n is -1 for one that could not be written. A reset
// in between has forgotten it already.
func (s *stats) answered(n int) {
	s.count(func(c *counts) { c.Answered = max(c.Answered+n, 0) })
}

func (s *stats) refused(st smpp.Status, n int) {
	s.count(func(c *counts) {
		name := st.String()
		if c.Refused[name] += n; c.Refused[name] <= 0 {
			delete(c.Refused, name)
		}
	})
}

// advanceLocked empties the seconds that began since the last look.
func (s *stats) advanceLocked(now time.Time) {
	second := int(now.Sub(s.began) / time.Second)
	if second-s.second > len(s.perSecond) {
		s.second = second - len(s.perSecond)
	}
	for s.second < second {
		s.second++
		s.perSecond[s.second%len(s.perSecond)] = 0
	}
}

// view shows the counters together with the ledger's.
func (s *stats) view(t totals, now time.Time) statsView {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advanceLocked(now)
	v := statsView{counts: s.counts, totals: t, PeakPerSecond: s.peak, UptimeSeconds: now.Sub(s.began).Seconds()}
	v.Refused = maps.Clone(s.counts.Refused)
	sum := 0
	for i, n := range s.perSecond {
		if i != s.second%len(s.perSecond) { // the one that runs is not whole
			sum += n
		}
	}
	if whole := min(s.second, rateSeconds); whole > 0 {
		v.SubmitsPerSecond = float64(sum) / float64(whole)
	}
	return v
}

// reset clears all but what tells the present: what is pending, who is bound.
func (s *stats) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts = counts{
		Refused:         map[string]int{},
		ReceiptsPending: s.counts.ReceiptsPending, MOPending: s.counts.MOPending, Sessions: s.counts.Sessions,
	}
	s.peak = 0
}
