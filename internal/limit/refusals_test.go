package limit

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// refusalStore adds up what is written, unless it is away.
type refusalStore struct {
	mu     sync.Mutex
	away   error
	counts map[message.RateRefusals]int64
	writes int
}

func (s *refusalStore) AddRefusals(_ context.Context, list []message.RateRefusals) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.away != nil {
		return s.away
	}
	for _, e := range list {
		n := e.Count
		e.Count = 0
		s.counts[e] += n
	}
	return nil
}

func (s *refusalStore) with(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// What is refused is one entry an account and minute, written every few seconds and
// at the end; while it cannot be written it is kept, within bounds.
func TestRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &refusalStore{counts: map[message.RateRefusals]int64{}}
		dropped := int64(0)
		r := &Refusals{Store: s, Dropped: func(n int64) { dropped += n }}
		r.Start(t.Context())
		r.Start(t.Context()) // twice does nothing
		one, two := message.NewID(), message.NewID()
		at := time.Date(2026, 11, 21, 20, 15, 30, 0, time.UTC)
		key := func(account message.ID, scope string, at time.Time) message.RateRefusals {
			return message.RateRefusals{AccountID: account, Minute: at.Truncate(time.Minute), Edge: "rest", Scope: scope}
		}
		wait := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		for range 1000 {
			r.Add(one, "rest", ScopeAccount, 1, at)
		}
		r.Add(one, "rest", ScopeNumber, 3, at)
		r.Add(two, "rest", ScopeAccount, 1, at)
		r.Add(two, "rest", ScopeAccount, 0, at)
		r.Add(one, "rest", ScopeAccount, 7, at.Add(time.Minute))
		wait(flushEvery)
		if len(s.counts) != 4 || s.counts[key(one, "account", at)] != 1000 || s.counts[key(one, "number", at)] != 3 ||
			s.counts[key(two, "account", at)] != 1 || s.counts[key(one, "account", at.Add(time.Minute))] != 7 || s.writes != 1 {
			t.Errorf("%d writes: %v", s.writes, s.counts)
		}
		wait(10 * flushEvery)
		if s.writes != 1 {
			t.Errorf("nothing was written %d times", s.writes-1)
		}
		s.with(func() { s.away = errors.New("away") })
		for i := range maxRefusals + 5 {
			r.Add(one, "rest", ScopeAccount, 2, at.Add(time.Duration(i)*time.Minute))
		}
		wait(2 * flushEvery)
		if dropped != 10 {
			t.Errorf("%d dropped", dropped)
		}
		s.with(func() { s.away = nil })
		r.Stop()
		r.Stop() // twice does nothing
		if n := s.counts[key(one, "account", at)]; n != 1002 {
			t.Errorf("%d after the store came back, want 1002", n)
		}
		if len(s.counts) != maxRefusals+2 {
			t.Errorf("%d entries", len(s.counts))
		}
	})
}
