package ingress

import (
	"cmp"
	"context"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Times and bounds of the sweeper.
const (
	// sweepEvery is Ingress.SweepEvery when that is zero.
	sweepEvery = 2 * time.Second
	// startAge is how old an outbox row must be before a sweep takes it: younger
	// ones are on their way through the starters of the process that accepted them, or
	// of one that it has told.
	startAge = 5 * time.Second
	// hungryAge is the same while this process itself leaves rows in the outbox:
	// the next second brings their turn, not the next sweep. Rows that this process
	// has under way are left out by name, whatever their age.
	hungryAge = time.Second
	// settleAge is how long a decided message may wait for its workflow before it
	// is told again, unmatchedAge how long a receipt may wait for the submit it
	// overtook, overdueAge how late a webhook's next try may be.
	settleAge    = 10 * time.Second
	unmatchedAge = 10 * time.Second
	overdueAge   = time.Minute
	// startBatch bounds what one look at the outbox takes, which is then fed to the
	// starters at their speed; sweepBatch what one look at the other tables does.
	// What stays in those although it was worked on (a workflow that waits for its
	// vendor, a receipt of nobody's) is worked on less and less often, so the
	// batch is large enough to see what lies behind it.
	startBatch = 256
	sweepBatch = 2048
	// settleBatch is how many settlements one look takes on: not more than are told
	// before others may take them on.
	settleBatch = 8 * settlers
	// statusPieces is how many pieces of the journal one look lists by status.
	statusPieces = 20
	// settlers is how many workflows are told of their receipts at once. Each waits
	// while the workflow records and makes its first webhook try, so there are
	// enough of them that slow customers do not hold up the others.
	settlers = 128
	// settleWaiting is how many decided messages may wait in memory for a
	// settler. They are hints: each has a row in settlements_due.
	settleWaiting = 4096
	// settleTimeout bounds telling one workflow: the update, and then the signal.
	settleTimeout = 10 * time.Second
)

// sweeper finishes what was interrupted: messages without a workflow, decided
// messages whose workflow was not told, receipts without a part, webhooks that
// nothing works on, parts without a message. It reads the work tables only, so it can die at any time.
type sweeper struct {
	group
	in    *Ingress
	queue chan message.ID // decided messages; never closed

	matched turns // receipts that were tried again

	holdsAt    int64     // version of the configuration at which the holds were last looked at
	holdsSince time.Time // when that was
}

func (s *sweeper) make(in *Ingress) {
	s.in = in
	s.queue = make(chan message.ID, settleWaiting)
}

func (s *sweeper) start(ctx context.Context) {
	ctx = s.own(ctx)
	for range settlers {
		s.wg.Go(func() { s.runSettler(ctx) })
	}
	if !s.in.NoStarts {
		s.wg.Go(func() { s.runStarts(ctx) })
	}
	s.wg.Go(func() { s.runRest(ctx) })
}

func (s *sweeper) every() time.Duration { return cmp.Or(s.in.SweepEvery, sweepEvery) }

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

// runStarts feeds the starters from the outbox: without a pause while there is a
// batch to feed, within a second while accepted messages find no room at the
// starters, else every sweep.
func (s *sweeper) runStarts(ctx context.Context) {
	age := startAge
	timer := time.NewTimer(0) // the first look is at what an earlier process left
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.in.starter.hungry:
			if age == startAge {
				// What was left is not old enough yet.
				age = hungryAge
				timer.Reset(hungryAge)
			}
			continue
		case <-timer.C:
		}
		began := s.in.Now()
		full, err := s.feed(ctx, age)
		switch {
		case err != nil:
			if ctx.Err() == nil {
				s.in.Log.Warn("outbox could not be read", "error", err)
			}
			timer.Reset(s.every())
		case full:
			age = hungryAge
			timer.Reset(0)
		case s.in.starter.leftSince(began.Add(-2 * hungryAge)):
			// It may have been too young for this look.
			age = hungryAge
			timer.Reset(hungryAge)
		default:
			age = startAge
			timer.Reset(s.every())
		}
		s.in.starter.report()
	}
}

// feed hands the starters a batch and reports whether it was a full one.
func (s *sweeper) feed(ctx context.Context, age time.Duration) (bool, error) {
	// First the names, then the rows: a start that ends in between is either
	// named or has had its row cleared.
	underway := s.in.starter.claimed()
	if err := s.in.starter.clear(ctx); err != nil {
		return false, err
	}
	rows, err := s.in.Journal.Unstarted(ctx, s.in.Instance, age, startBatch, underway)
	if err != nil {
		return false, err
	}
	for _, r := range rows {
		s.in.starter.wait(ctx, r)
	}
	return len(rows) == startBatch, nil
}

func (s *sweeper) runRest(ctx context.Context) {
	tick := time.NewTicker(s.every())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, sweep := range []struct {
			name string
			run  func(context.Context) error
		}{{"settlements", s.settlements}, {"receipts", s.receipts}, {"webhooks", s.webhooks}, {"parts", s.parts}, {"revisions", s.revisions}, {"holds", s.holds}, {"usage", s.usage}, {"answers", s.answers}, {"inbound parts", s.inbound}, {"statuses", s.statuses}} {
			if err := sweep.run(ctx); err != nil && ctx.Err() == nil {
				s.in.Log.Warn("sweep interrupted, it will be repeated", "sweep", sweep.name, "error", err)
			}
		}
	}
}

// statuses lists messages by their status. What a history holds that was not listed yet
// is worked off in small portions: the other sweeps wait for them.
func (s *sweeper) statuses(ctx context.Context) error {
	for range statusPieces {
		more, err := s.in.Journal.ListStatuses(ctx)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func (s *sweeper) settlements(ctx context.Context) error {
	due, err := s.in.Journal.SettlementsDue(ctx, settleAge, settleBatch)
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
	ids := make([]message.ID, len(waiting))
	byID := make(map[message.ID]message.Receipt, len(waiting))
	for i, r := range waiting {
		ids[i], byID[r.ID] = r.ID, r
	}
	due := s.matched.due(ids, s.in.Now())
	for i, id := range due {
		matched, err := s.in.Journal.SettleDoubt(ctx, byID[id])
		if err != nil {
			s.matched.again(due[i:]...)
			return err
		}
		if matched.Applied && matched.Progress.Decided() {
			s.settle(matched.MessageID)
		}
	}
	return nil
}

func (s *sweeper) webhooks(ctx context.Context) error {
	overdue, err := s.in.Journal.OverdueNotifications(ctx, overdueAge, startBatch)
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
