package e2e

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// flood is traffic whose every message is accepted exactly once: requests
// without an answer are repeated under their key, as a careful customer does.
type flood struct {
	s        *system
	ids      []string // by message number; set once accepted
	accepted atomic.Int64
	repeated atomic.Int64
	not202   atomic.Int64
}

func destination(i int) string { return fmt.Sprintf("+1310%07d", 5000000+i) }

// send sends n messages over a few connections. each is called before every
// message with its number.
func (s *system) flood(n, connections int, each func(i int)) *flood {
	f := &flood{s: s, ids: make([]string, n)}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				each(i)
				f.one(i)
			}
		})
	}
	wg.Wait()
	return f
}

func (f *flood) one(i int) {
	body, err := json.Marshal(map[string]any{"from": from, "to": destination(i), "body": fmt.Sprintf("message %d", i),
		"webhook_url": f.s.hooks.server.URL, "message_class": "otp", "validity_seconds": 600})
	if err != nil {
		f.s.tb.Error(err)
		return
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for {
		a, err := f.s.submit(fmt.Sprintf("flood-%d", i), body)
		if err == nil && a.JSON202 != nil {
			f.ids[i] = a.JSON202.ID.String()
			f.accepted.Add(1)
			return
		}
		if err == nil {
			f.not202.Add(1)
		}
		f.repeated.Add(1)
		select {
		case <-again.C:
		case <-deadline:
			f.s.tb.Errorf("message %d was never accepted: %v, %+v", i, err, a)
			return
		}
	}
}

// verdict is what the simulator and the record say of a flood.
type verdict struct {
	delivered, doubtful, lost, doubled int
}

// judge waits until every message is settled or in doubt, and counts at the
// simulator.
func (f *flood) judge() verdict {
	f.s.tb.Helper()
	var v verdict
	seen := f.s.destinations()
	f.s.until("every message is delivered or in doubt", func() bool {
		v = verdict{}
		for i, id := range f.ids {
			if id == "" {
				continue
			}
			switch f.s.status(id) {
			case message.StatusDelivered:
				v.delivered++
			case message.StatusInDoubt, message.StatusUnconfirmed:
				if seen[destination(i)] > 0 {
					return false // the receipt that settles it is on its way
				}
				v.doubtful++
			default:
				return false
			}
		}
		return true
	})
	seen = f.s.destinations()
	for i, id := range f.ids {
		switch n := seen[destination(i)]; {
		case n > 1:
			v.doubled++
			f.s.tb.Logf("message %s was submitted %d times", id, n)
		case n == 0 && f.s.status(id) == message.StatusDelivered:
			v.lost++
		}
	}
	return v
}

// destinations counts complete messages by recipient at the simulator.
func (s *system) destinations() map[string]int {
	s.tb.Helper()
	var list []struct {
		Destination string `json:"destination"`
		Count       int    `json:"count"`
	}
	s.smscGet("/destinations?limit=100000", &list)
	seen := make(map[string]int, len(list))
	for _, d := range list {
		to := d.Destination
		if to != "" && to[0] != '+' {
			to = "+" + to
		}
		seen[to] += d.Count
	}
	return seen
}

// status reads a message's status from the record itself: the API holds its
// customers to 50 requests a second.
func (s *system) status(id string) message.Status {
	s.tb.Helper()
	parsed, err := message.ParseID(id)
	if err != nil {
		s.tb.Fatal(err)
	}
	m, err := s.db.Message(s.tb.Context(), parsed)
	if err != nil {
		s.tb.Fatal(err)
	}
	return m.Status
}

// TestKillGateway kills the gateway in the middle of 500 messages, while some
// workflows wait for their receipts in their first task, some sleep until they
// are told, and some receipts find nobody bound.
func TestKillGateway(t *testing.T) {
	t.Parallel()
	s := start(t, "--latency", "5ms", "--receipt-delay", "1s", "--receipt-delay-jitter", "1s")
	const n = 500
	var once sync.Once
	f := s.flood(n, 8, func(i int) {
		if i != n/2 {
			return
		}
		once.Do(func() {
			if err := s.gateway.Kill(); err != nil {
				t.Error(err)
			}
			s.startGateway()
		})
	})
	if got := f.accepted.Load(); got != n {
		t.Fatalf("%d of %d were accepted", got, n)
	}
	v := f.judge()
	t.Logf("%d messages: %d delivered, %d in doubt, %d lost, %d doubled; %d requests repeated", n, v.delivered, v.doubtful, v.lost, v.doubled, f.repeated.Load())
	if v.lost+v.doubled > 0 || v.delivered+v.doubtful != n {
		t.Errorf("want every message delivered once or in doubt, got %+v", v)
	}
	// A window of them was on the wire; of others the journal's row, or the vendor's
	// answer, was being written.
	const window = 100
	if v.doubtful > 2*window {
		t.Errorf("%d messages are in doubt: the window to the simulator is %d", v.doubtful, window)
	}
	f.wantWebhooks(t)
}

// wantWebhooks waits for the event of every delivered message.
func (f *flood) wantWebhooks(t *testing.T) {
	t.Helper()
	f.s.until("every webhook has arrived", func() bool {
		for _, id := range f.ids {
			if f.s.hooks.told(id, "message.delivered") {
				continue
			}
			if f.s.status(id) == message.StatusDelivered {
				return false
			}
		}
		return true
	})
	if bad, forged := f.s.hooks.faults(); bad+forged > 0 {
		t.Errorf("%d events were signed wrongly, %d changed under their id", bad, forged)
	}
}

// TestTemporalAway stops Temporal for 20 seconds while messages come in.
func TestTemporalAway(t *testing.T) {
	t.Parallel()
	s := start(t)
	const n, away = 400, 20 * time.Second
	if err := s.temporal.Stop(stacktest.Context(t)); err != nil {
		t.Fatal(err)
	}
	pace := time.NewTicker(away / n)
	defer pace.Stop()
	f := s.flood(n, 4, func(int) { <-pace.C })
	if f.repeated.Load() > 0 || f.accepted.Load() != n {
		t.Errorf("%d accepted, %d requests not answered 202 at once", f.accepted.Load(), f.repeated.Load())
	}
	if err := s.temporal.Restart(stacktest.Context(t)); err != nil {
		t.Fatal(err)
	}
	v := f.judge()
	t.Logf("%d messages: %+v", n, v)
	if v != (verdict{delivered: n}) {
		t.Errorf("want all delivered once, got %+v", v)
	}
	f.wantWebhooks(t)
}
