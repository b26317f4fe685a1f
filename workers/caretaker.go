package workers

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Times of the caretaker.
const (
	// CareEvery is how long after one round of upkeep the next one begins, of whatever
	// process. Those with nothing to do take some milliseconds.
	CareEvery = 10 * time.Minute
	// careLook is how often a process looks whether a round is due: another one may have
	// died in the middle of one.
	careLook = time.Minute
	// careShare is how many times as long as a step took is paused after it: the upkeep
	// takes a fifth of one connection's work at most, and less of what traffic needs the
	// slower the database is.
	careShare = 4
	// maxPause bounds one pause, so that a step that waited for others does not hold up
	// the round.
	maxPause = time.Minute
)

// Upkeep is a round of upkeep in small steps; see postgres.Upkeep.
type Upkeep interface {
	// Table is what the next step is about.
	Table() string
	// Step does a little of it; without More the round is done, also after an error.
	Step(ctx context.Context) (message.Cared, error)
	// End gives the right to a round back. Whole: nothing failed.
	End(ctx context.Context, whole bool) error
}

// Caretaker removes what is kept no longer, one process at a time of however many have
// one. It waits for nobody's rows, and makes way: after each small step it pauses for
// several times as long as that took. It can die at any time, and stops at once. Start
// and Stop it once.
type Caretaker struct {
	// Begin begins a round if none has ended within the time; nil: none is to be done.
	Begin func(ctx context.Context, every time.Duration) (Upkeep, error)
	Log   *slog.Logger
	// Cared is told of each step, with the table that it was about; nil: nobody is.
	Cared func(table string, done message.Cared)
	// Whole is called after each whole round; nil: nothing is.
	Whole func(ctx context.Context)

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Start begins to look for rounds that are due.
func (c *Caretaker) Start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.wg.Go(func() { c.run(ctx) })
}

// Stop ends the round that is under way after no more than its statement. Calling it
// again, or without Start, is harmless.
func (c *Caretaker) Stop() {
	if c.cancel != nil {
		c.cancel()
	}
	c.wg.Wait()
}

func (c *Caretaker) run(ctx context.Context) {
	tick := time.NewTicker(careLook)
	defer tick.Stop()
	for {
		if _, err := c.Round(ctx, CareEvery); err != nil && ctx.Err() == nil {
			c.Log.Warn("upkeep not begun, it will be tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Round does a round now if none has ended within the time and nobody else does one,
// and reports whether it did. What fails in one table is logged and holds up no other.
func (c *Caretaker) Round(ctx context.Context, every time.Duration) (did bool, err error) {
	u, err := c.Begin(ctx, every)
	if err != nil || u == nil {
		return false, err
	}
	began, whole := time.Now(), true
	rows := make(map[string]int)
	var dropped []string
	for more := true; more; {
		table, at := u.Table(), time.Now()
		done, err := u.Step(ctx)
		if ctx.Err() != nil {
			whole = false
			break
		}
		if err != nil {
			whole = false
			c.Log.Warn("upkeep interrupted, it will be repeated", "table", table, "error", err)
		}
		rows[table] += done.Rows
		dropped = append(dropped, done.Partitions...)
		if c.Cared != nil {
			c.Cared(table, done)
		}
		if more = done.More; more && !pause(ctx, min(careShare*time.Since(at), maxPause)) {
			whole = false
			break
		}
	}
	c.report(rows, dropped, time.Since(began))
	if err := u.End(ctx, whole); err != nil && ctx.Err() == nil {
		return true, err
	}
	if whole && c.Whole != nil {
		c.Whole(ctx)
	}
	return true, nil
}

// report logs a round that has removed something.
func (c *Caretaker) report(rows map[string]int, dropped []string, took time.Duration) {
	var said []any
	for _, table := range slices.Sorted(maps.Keys(rows)) {
		if n := rows[table]; n > 0 {
			said = append(said, slog.Int(table, n))
		}
	}
	if len(said) == 0 && len(dropped) == 0 {
		return
	}
	c.Log.Info("old rows removed", slog.Group("rows", said...), "partitions", dropped, "took", took.Round(time.Millisecond))
}

// pause waits, false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
