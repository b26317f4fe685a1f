package ingress

import (
	"context"
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
	ids, err := s.in.Journal.StaleHolds(ctx, askAgain, startBatch)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.in.Reconsider(ctx, id); err != nil {
			return err
		}
	}
	if len(ids) < startBatch { // else the next sweep goes on
		s.holdsAt, s.holdsSince = version, now
	}
	return nil
}
