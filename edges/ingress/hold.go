package ingress

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Holds is what ingress needs of the record about messages that wait.
type Holds interface {
	// StaleHolds gives messages that wait in vain, or for what has happened; the same
	// one again only after every.
	StaleHolds(ctx context.Context, every time.Duration, limit int) ([]message.ID, error)
}

const (
	// holdsEvery is how often the holds are looked at when the configuration has not
	// changed: a hint may have been lost.
	holdsEvery = 30 * time.Second
	// askAgain is when a workflow that was told to look again is told once more.
	askAgain = 30 * time.Second
	// holdsFor is how long one sweep tells the workflows of a campaign that was
	// suspended, and reconsiderers how many at once: other sweeps wait as long, and
	// what is told wants to be worked on.
	holdsFor      = 2 * time.Second
	reconsiderers = 8
)

// Reconsider has a message that waits looked at again: what it waits for has
// happened, such as somebody's verdict. It is a hint, which the sweep repeats when
// it is lost; a message that does not wait is left alone.
func (in *Ingress) Reconsider(ctx context.Context, id message.ID) error {
	err := in.Temporal.Reconsider(ctx, id)
	if message.ReasonOf(err) == message.ReasonNotFound {
		return nil
	}
	return err
}

// holds wakes messages whose waiting has become pointless, soon after the
// configuration has changed: whoever looks at a message of a suspended campaign
// sees that it is refused, and not that it waits for tomorrow.
func (s *sweeper) holds(ctx context.Context) error {
	version, now := s.in.Snapshot().Version, s.in.Now()
	if version == s.holdsAt && now.Sub(s.holdsSince) < holdsEvery {
		return nil
	}
	for until := now.Add(holdsFor); s.in.Now().Before(until); { // then the next sweep goes on
		ids, err := s.in.Journal.StaleHolds(ctx, askAgain, startBatch)
		if err == nil {
			err = s.reconsider(ctx, ids)
		}
		if err != nil {
			return err
		}
		if len(ids) < startBatch {
			s.holdsAt, s.holdsSince = version, now
			return nil
		}
	}
	return nil
}

// reconsider has messages looked at again, a few at a time. The first error ends it:
// those who were not told are told by a later look.
func (s *sweeper) reconsider(ctx context.Context, ids []message.ID) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(reconsiderers, len(ids)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(ids)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := s.in.Reconsider(ctx, ids[i]); err != nil {
					stop(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
