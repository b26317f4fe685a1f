package health_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/health"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// shared is what all processes have seen, in memory.
type shared struct {
	mu      sync.Mutex
	samples map[string]map[time.Time]message.VendorSample // by instance
	links   []message.VendorLinkState
	err     error
	writes  int
}

func (s *shared) AddVendorSamples(_ context.Context, instance string, samples []message.VendorSample) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.err != nil {
		return s.err
	}
	if s.samples == nil {
		s.samples = map[string]map[time.Time]message.VendorSample{}
	}
	if s.samples[instance] == nil {
		s.samples[instance] = map[time.Time]message.VendorSample{}
	}
	for _, v := range samples {
		s.samples[instance][v.At] = v
	}
	return nil
}

func (s *shared) VendorSamples(_ context.Context, since time.Time) ([]message.VendorSample, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := map[time.Time]message.VendorSample{}
	for _, list := range s.samples {
		for at, v := range list {
			t := sum[at]
			t.VendorID, t.At = v.VendorID, at
			t.Accepted += v.Accepted
			t.Refused += v.Refused
			t.Other += v.Other
			t.Silent += v.Silent
			t.Receipts += v.Receipts
			if !at.Before(since) {
				sum[at] = t
			}
		}
	}
	var out []message.VendorSample
	for _, v := range sum {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b message.VendorSample) int { return a.At.Compare(b.At) })
	return out, s.err
}

func (s *shared) VendorLinks(context.Context) ([]message.VendorLinkState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links, s.err
}

func (s *shared) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// process is one that counts and one that judges.
type process struct {
	*health.Meter
	*health.Board
	changes []message.VendorHealth
}

func newProcess(name string, s *shared, config *snapshot.Snapshot) *process {
	log := slog.New(slog.DiscardHandler)
	p := &process{Meter: &health.Meter{Sink: s, Instance: name, Now: time.Now, Log: log}}
	p.Board = &health.Board{Source: s, Snapshot: func() *snapshot.Snapshot { return config }, Now: time.Now, Log: log,
		Changed: func(_ *snapshot.Vendor, _ message.VendorHealth, is health.Verdict) {
			p.changes = append(p.changes, is.Health)
		}}
	return p
}

func (p *process) start(t *testing.T) {
	p.Meter.Start(t.Context())
	p.Board.Start(t.Context())
}

func (p *process) stop() {
	p.Board.Stop()
	p.Meter.Stop()
}

// pass lets time go by in the bubble, and what is due then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// What one process sees of a vendor every process knows, also one that begins later;
// and while nobody can be asked the last word holds.
func TestProcessesAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &snapshot.Vendor{ID: message.NewID(), Name: "north", Active: true}
		idle := &snapshot.Vendor{ID: message.NewID(), Name: "south"}
		config := &snapshot.Snapshot{Vendors: map[message.ID]*snapshot.Vendor{v.ID: v, idle.ID: idle}}
		s := &shared{links: []message.VendorLinkState{{VendorID: v.ID, Bind: "connected", LatencyMillis: 40}, {VendorID: v.ID, Bind: "disconnected", LatencyMillis: 9000}}}
		a, b := newProcess("a", s, config), newProcess("b", s, config)
		if got := a.Health(v.ID); got != message.HealthUnknown {
			t.Errorf("before anything was seen: %s", got)
		}
		a.start(t)
		b.start(t)
		defer a.stop()
		defer b.stop()
		pass(3 * time.Second)
		if a.Health(v.ID) != message.HealthHealthy || b.Health(v.ID) != message.HealthHealthy {
			t.Errorf("%s, %s", a.Health(v.ID), b.Health(v.ID))
		}
		refused := &message.SubmitError{Reason: message.ReasonUnavailable, Written: true, Answered: true, Again: true}
		for range 30 {
			a.Answered(v.ID, refused) // b sees none of it
		}
		pass(10 * time.Second)
		for _, p := range []*process{a, b} {
			if is, ok := p.Explain(v.ID); !ok || is.Health != message.HealthDown || is.Answers != 30 || is.ErrorRate != 1 || is.Latency != 40*time.Millisecond || !is.Bound {
				t.Errorf("%+v", is)
			}
		}
		if _, ok := a.Explain(idle.ID); ok {
			t.Error("a vendor out of use is judged")
		}

		s.fail(errors.New("the database is away"))
		pass(10 * time.Minute)
		if a.Health(v.ID) != message.HealthDown {
			t.Errorf("nobody could be asked, and it is %s", a.Health(v.ID))
		}
		s.fail(nil)
		pass(5 * time.Second)
		if a.Health(v.ID) != message.HealthHealthy {
			t.Errorf("after ten good minutes it is %s", a.Health(v.ID))
		}
		if want := []message.VendorHealth{message.HealthHealthy, message.HealthDown, message.HealthHealthy}; !slices.Equal(a.changes, want) {
			t.Errorf("changes: %v", a.changes)
		}

		for range 30 {
			b.Answered(v.ID, refused)
		}
		pass(90 * time.Second) // out of the window, and not forgiven
		c := newProcess("c", s, config)
		c.start(t)
		defer c.stop()
		pass(3 * time.Second)
		if c.Health(v.ID) != message.HealthDown {
			t.Errorf("to one that has just begun it is %s", c.Health(v.ID))
		}
	})
}

// The meter counts what tells something, keeps it while it cannot be written, and
// writes the rest at the end.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shared{}
		p := newProcess("a", s, &snapshot.Snapshot{})
		p.Meter.Start(t.Context())
		id := message.NewID()
		at := time.Now().Truncate(10 * time.Second)
		no := func(reason message.Reason, written, answered, again bool, err error) error {
			return &message.SubmitError{Reason: reason, Written: written, Answered: answered, Again: again, Err: err}
		}
		s.fail(errors.New("away"))
		for _, err := range []error{
			nil,
			no(message.ReasonSubmitInDoubt, true, false, false, nil),
			no(message.ReasonVendorUnreachable, false, false, true, errors.New("connection refused")),
			no(message.ReasonVendorRejected, true, true, false, nil), // it may be the text
			no(message.ReasonVendorThrottled, true, true, true, nil),
			no(message.ReasonUnknownSubscriber, true, true, false, nil),
			no(message.ReasonVendorUnreachable, false, false, true, context.DeadlineExceeded), // we gave up
			no(message.ReasonEncodingMismatch, false, false, false, nil),                      // it never left
			errors.New("of our own"),
		} {
			p.Answered(id, err)
		}
		for _, state := range []message.ReceiptState{message.ReceiptDelivered, message.ReceiptUndeliverable, message.ReceiptEnroute, message.ReceiptUnknown} {
			p.Receipt(id, state)
		}
		pass(time.Minute)
		s.fail(nil)
		pass(10 * time.Second)
		want := message.VendorSample{VendorID: id, At: at, Accepted: 1, Refused: 1, Other: 3, Silent: 1, Receipts: 2}
		if got := s.samples["a"][at]; got != want {
			t.Errorf("%+v", got)
		}
		writes := s.writes
		pass(time.Minute)
		if s.writes != writes {
			t.Error("it writes though there is nothing new")
		}
		p.Answered(id, nil)
		last := time.Now().Truncate(10 * time.Second)
		p.Meter.Stop()
		if s.samples["a"][last].Accepted != 1 {
			t.Error("what was counted last is lost")
		}
	})
}
