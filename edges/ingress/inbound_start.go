package ingress

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

const (
	// inboundStarters is how many workflows of inbound messages are started at once,
	// inboundWaiting how many may wait in memory for it: they are hints, each has its
	// row.
	inboundStarters = 8
	inboundWaiting  = 1024
	// inboundStartAge is how long a row stays with whoever took it on last; it is longer
	// than startTimeout.
	inboundStartAge = 10 * time.Second
)

// inboundStarter starts the workflows of inbound messages, in any process: they need
// no worker here. It holds no only copy.
type inboundStarter struct {
	group
	in    *Ingress
	queue chan message.InboundStart // never closed
}

func (s *inboundStarter) make(in *Ingress) {
	s.in = in
	s.queue = make(chan message.InboundStart, inboundWaiting)
}

func (s *inboundStarter) start(ctx context.Context) {
	ctx = s.own(ctx)
	for range inboundStarters {
		s.wg.Go(func() { s.run(ctx) })
	}
	s.wg.Go(func() { s.sweep(ctx) })
}

// offer hands a message over if there is room.
func (s *inboundStarter) offer(m message.InboundStart) {
	select {
	case s.queue <- m:
	default:
	}
}

func (s *inboundStarter) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-s.queue:
			if err := s.one(ctx, m); err != nil && ctx.Err() == nil {
				s.in.Log.Debug("workflow of an inbound message not started, the sweep will", "message_id", m.MessageID, "error", err)
				rest(ctx, failPause) // Temporal is away, and the rows will still be there
			}
		}
	}
}

// one starts one workflow and clears its row. Being started before counts as done.
func (s *inboundStarter) one(ctx context.Context, m message.InboundStart) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.in.Temporal.StartInbound(ctx, workflows.InboundInput{MessageID: m.MessageID, AccountID: m.AccountID}); err != nil {
		return err
	}
	return s.in.Journal.InboundStarted(ctx, m.MessageID)
}

// sweep feeds what was not started: without a pause while there is a batch of it.
func (s *inboundStarter) sweep(ctx context.Context) {
	timer := time.NewTimer(0) // the first look is at what an earlier process left
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		due, err := s.in.Journal.InboundUnstarted(ctx, inboundStartAge, startBatch)
		if err != nil && ctx.Err() == nil {
			s.in.Log.Warn("outbox of inbound messages could not be read", "error", err)
		}
		for _, m := range due {
			select {
			case s.queue <- m:
			case <-ctx.Done():
				return
			}
		}
		if len(due) == startBatch {
			timer.Reset(0)
		} else {
			timer.Reset(sweepEvery)
		}
	}
}
