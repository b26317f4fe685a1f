package ingress

import (
	"context"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Times and bounds of the sweeper.
const (
	// sweepEvery is how often the work tables are looked at when nothing pokes.
	sweepEvery = 2 * time.Second
	// startAge is how old an outbox row must be before a sweep takes it: younger
	// ones are on their way through the starters.
	startAge = 5 * time.Second
	// hungryAge is the same while the starters have room and rows are known to
	// wait: only long enough to let a start that is under way clear its row.
	hungryAge = time.Second
	// settleAge is how long a decided message may wait for its workflow before it
	// is told again, unmatchedAge how long a receipt may wait for the submit it
	// overtook, overdueAge how late a webhook's next try may be.
	settleAge    = 10 * time.Second
	unmatchedAge = 10 * time.Second
	overdueAge   = time.Minute
	// sweepBatch bounds what one look takes.
	sweepBatch = 256
	// settlers is how many workflows are told of their receipts at once.
	settlers = 16
	// settleWaiting is how many decided messages may wait in memory for a
	// settler. They are hints: each has a row in settlements_due.
	settleWaiting = 1024
	// settleTimeout bounds telling one workflow.
	settleTimeout = 5 * time.Second
)

// sweeper finishes what was interrupted: messages without a workflow, decided
// messages whose workflow was not told, receipts without a part, webhooks that
// nothing works on. It reads the work tables only, so it can die at any time.
type sweeper struct {
	in     *Ingress
	queue  chan message.ID // decided messages; never closed
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (s *sweeper) start(ctx context.Context, in *Ingress) {
	s.in = in
	s.queue = make(chan message.ID, settleWaiting)
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for range settlers {
		s.wg.Go(func() { s.runSettler(ctx) })
	}
	s.wg.Go(func() { s.runStarts(ctx) })
	s.wg.Go(func() { s.runRest(ctx) })
}

func (s *sweeper) stop() {
	if s.cancel != nil {
		s.cancel()
	}
	s.wg.Wait()
}

// settle hands a decided message to the settlers if there is room.
func (s *sweeper) settle(id message.ID) {
	select {
	case s.queue <- id:
	default:
	}
}

func (s *sweeper) runSettler(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-s.queue:
			one, cancel := context.WithTimeout(ctx, settleTimeout)
			if err := s.in.settle(one, id); err != nil && ctx.Err() == nil {
				s.in.Log.Debug("workflow not told of its receipt, the sweep will", "message_id", id, "error", err)
			}
			cancel()
		}
	}
}

// runStarts feeds the starters from the outbox: at once while rows wait and
// there is room, else every sweep.
func (s *sweeper) runStarts(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	age := startAge
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.in.starter.hungry:
			age = hungryAge
		}
		n, err := s.feed(ctx, age)
		if err != nil && ctx.Err() == nil {
			s.in.Log.Warn("outbox could not be read", "error", err)
		}
		if n == sweepBatch {
			age = hungryAge
			s.in.starter.poke() // there is more
		} else {
			age = startAge
		}
	}
}

func (s *sweeper) feed(ctx context.Context, age time.Duration) (int, error) {
	rows, err := s.in.Journal.Unstarted(ctx, age, sweepBatch, s.in.starter.claimed())
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		s.in.starter.wait(ctx, r)
	}
	return len(rows), nil
}

func (s *sweeper) runRest(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for name, sweep := range map[string]func(context.Context) error{
			"settlements": s.settlements, "receipts": s.receipts, "webhooks": s.webhooks,
		} {
			if err := sweep(ctx); err != nil && ctx.Err() == nil {
				s.in.Log.Warn("sweep interrupted, it will be repeated", "sweep", name, "error", err)
			}
		}
	}
}

func (s *sweeper) settlements(ctx context.Context) error {
	due, err := s.in.Journal.SettlementsDue(ctx, settleAge, sweepBatch)
	if err != nil {
		return err
	}
	for _, id := range due {
		select {
		case s.queue <- id:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *sweeper) receipts(ctx context.Context) error {
	waiting, err := s.in.Journal.Unmatched(ctx, unmatchedAge, sweepBatch)
	if err != nil {
		return err
	}
	for _, r := range waiting {
		matched, err := s.in.Journal.SettleDoubt(ctx, r)
		if err != nil {
			return err
		}
		if matched.Applied && matched.Progress.Decided() {
			s.settle(matched.MessageID)
		}
	}
	return nil
}

func (s *sweeper) webhooks(ctx context.Context) error {
	overdue, err := s.in.Journal.OverdueNotifications(ctx, overdueAge, sweepBatch)
	if err != nil || len(overdue) == 0 {
		return err
	}
	for _, id := range overdue {
		if err := s.in.Temporal.PostWebhook(ctx, "swept", id); err != nil {
			return err
		}
	}
	return s.in.Journal.DeferNotifications(ctx, overdue, time.Hour)
}
