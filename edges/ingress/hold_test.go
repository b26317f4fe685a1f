package ingress_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// StaleHolds gives a hold once, as the database does within every.
func (j *journal) StaleHolds(_ context.Context, _ time.Duration, limit int) (ids []message.ID, err error) {
	err = j.do(func() {
		j.holdLooks++
		ids = slices.Clone(j.stale[:min(limit, len(j.stale))])
		j.stale = j.stale[len(ids):]
	})
	return ids, err
}

func (s *server) Reconsider(_ context.Context, id message.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.moved.Broadcast()
	if s.down != nil {
		return s.down
	}
	if s.closed[id] {
		return message.Refuse(message.ReasonNotFound, "closed")
	}
	s.reconsidered = append(s.reconsidered, id)
	return nil
}

// Messages that wait in vain are told of soon after the configuration has changed,
// and not looked for all the time.
func TestHoldsAreReconsidered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		config := *b.Snapshot()
		b.Snapshot = func() *snapshot.Snapshot { s := config; return &s }
		b.Start(t.Context())
		defer b.Stop()
		pass(20 * time.Second)
		if b.journal.holdLooks != 1 {
			t.Errorf("%d looks without a change", b.journal.holdLooks)
		}
		gone := message.NewID()
		b.server.closed[gone] = true
		var all []message.ID
		for range 600 {
			all = append(all, message.NewID())
		}
		b.journal.mu.Lock()
		b.journal.stale = append(slices.Clone(all), gone)
		config.Version++
		b.journal.mu.Unlock()
		pass(3 * time.Second) // one sweep
		b.server.mu.Lock()
		defer b.server.mu.Unlock()
		byID := func(a, b message.ID) int { return bytes.Compare(a[:], b[:]) }
		slices.SortFunc(b.server.reconsidered, byID)
		slices.SortFunc(all, byID)
		if !slices.Equal(b.server.reconsidered, all) {
			t.Errorf("%d of %d told", len(b.server.reconsidered), len(all))
		}
	})
}

// A hint that got lost is repeated by a later look.
func TestLostHintOfAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.Start(t.Context())
		defer b.Stop()
		pass(5 * time.Second)
		id := message.NewID()
		b.journal.mu.Lock()
		b.journal.stale = []message.ID{id}
		b.journal.mu.Unlock()
		pass(31 * time.Second)
		b.server.mu.Lock()
		defer b.server.mu.Unlock()
		if !slices.Equal(b.server.reconsidered, []message.ID{id}) {
			t.Errorf("told %v", b.server.reconsidered)
		}
	})
}
