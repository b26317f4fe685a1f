// Package batch works the rows of batches: it takes some on, has them accepted as
// messages, and notes what became of each; and it withdraws the messages of a batch that
// was canceled.
//
// The rule not to break: a row is taken on, and so has the id of its message on disk,
// before it is accepted. Whatever runs twice then makes the same message.
package batch

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
)

// Journal is what working a batch needs of the record.
type Journal interface {
	// BatchByID reads a batch, of whatever account.
	BatchByID(ctx context.Context, id message.ID) (*message.Batch, error)
	// PaceBatch gives the next n rows a moment by all of the rates, and says how long it
	// is until then.
	PaceBatch(ctx context.Context, rates []message.BatchPace, n int) (time.Duration, error)
	// ClaimBatch takes rows of a running batch on, none of the senders that are held, and
	// gives each the id of its message.
	ClaimBatch(ctx context.Context, id message.ID, limit int, held []string) (*message.Batch, []message.BatchRow, error)
	// RecordBatch notes what has become of rows, and returns the batch.
	RecordBatch(ctx context.Context, id message.ID, rows []message.BatchRow) (*message.Batch, error)
	// CompleteBatch ends a batch all of whose rows are worked.
	CompleteBatch(ctx context.Context, id message.ID, tell func(message.BatchProgress) (message.AccountEvent, error)) error
	// DroppedBatch settles what was under way when a batch was canceled, and counts what
	// may still become a message.
	DroppedBatch(ctx context.Context, id message.ID) (open int, err error)
	CancelableOfBatch(ctx context.Context, id, after message.ID, limit int) ([]message.ID, error)
	EndCanceledBatch(ctx context.Context, id message.ID) error
}

// Door takes messages in.
type Door interface {
	// OpenBatch is for the rows of one batch, for some seconds: the rates that they are
	// worked at, and what accepts one of them. The row comes back as RowMade or
	// RowRefused; as RowPending when it has to wait and is certainly no message; as
	// RowClaimed when it has to be worked again and may be one. Error then says why, and
	// how long to wait.
	OpenBatch(b *message.Batch) (rates []message.BatchPace, accept func(ctx context.Context, r message.BatchRow) message.BatchRow)
	// Cancel withdraws a message; ReasonConflict when it is too late.
	Cancel(ctx context.Context, id message.ID) error
}

// Outcomes of a row, as they are counted.
const (
	OutcomeAccepted = "made"    // it is a message, accepted or rejected
	OutcomeRefused  = "refused" // without a message
	OutcomeWaits    = "waits"   // it is worked again
)

// Activities works batches.
type Activities struct {
	Journal Journal
	Door    Door
	// Tell makes what the customer is told of a batch that has completed.
	Tell func(b message.BatchProgress, at time.Time) (message.AccountEvent, error)
	Now  func() time.Time
	// Worked is told of rows and their outcome, Took how long a chunk was worked on; nil:
	// nobody is.
	Worked func(outcome string, rows int)
	Took   func(d time.Duration)
}

// Bounds of a chunk: what one activity works on before it lets others go on. A batch that
// is paused is worked on for as long at most.
const (
	chunkRows = 200
	chunkTime = 2 * time.Second
	// step is the part of a second whose rows are taken on together, so that a batch is
	// even, and its pause is noticed soon.
	step = 4
	// together is how many rows are accepted at once: they share commits.
	together = 32
	// waitAgain is the pause for a row that has to wait, and nobody knows how long.
	waitAgain    = time.Second
	longestWait  = time.Minute
	brokenOff    = 10 * time.Second // until it is looked again what became of tries whose end nobody knows
	cancelBatch  = 100              // messages that one activity withdraws
	withdrawers  = cancelBatch      // at once: each waits, for seconds if the process that had the workflow died
	cancelAgain  = 30 * time.Second // until it is looked again for rows that were under way
	acceptWithin = 30 * time.Second // one row, with all its waiting for commits
)

// Input names the batch. Slot is what was left of the last chunk, if anything.
type Input struct {
	BatchID message.ID `json:"batch_id"`
	Slot    Slot       `json:"slot,omitzero"`
	// After is, of a canceled batch, the message up to which they were withdrawn.
	After message.ID `json:"after,omitzero"`
	// Held are senders whose rows wait for the rate of their number, and until when.
	Held Held `json:"held,omitempty"`
}

// Held are senders as rows name them, and until when their rows are not tried. It is a
// hint: a row of one that is forgotten is tried and waits again.
type Held map[string]time.Time

// maxHeld bounds it: those that may go on first are forgotten.
const maxHeld = 200

// hold has the rows of a sender wait, for a second at least: a sender's rows are tried so
// often, and what the others may use of the batch's rate for that is lost to them.
func (h *Held) hold(sender string, now time.Time, d time.Duration) {
	if *h == nil {
		*h = Held{}
	}
	(*h)[sender] = now.Add(min(max(d, waitAgain), longestWait))
	for len(*h) > maxHeld {
		delete(*h, h.first())
	}
}

// first is the sender whose rows may go on first.
func (h Held) first() (sender string) {
	var least time.Time
	for s, at := range h {
		if least.IsZero() || at.Before(least) {
			sender, least = s, at
		}
	}
	return sender
}

// at forgets those who may go on by now, and lists the others.
func (h Held) at(now time.Time) (senders []string) {
	for s, until := range h {
		if until.After(now) {
			senders = append(senders, s)
		} else {
			delete(h, s)
		}
	}
	return senders
}

// Slot is a moment that rows have been given at all rates.
type Slot struct {
	At   time.Time `json:"at"`
	Rows int       `json:"rows"`
}

// Result says how far the batch has come.
type Result struct {
	Status  message.BatchStatus `json:"status"`
	Total   int                 `json:"total"`
	Worked  int                 `json:"worked"`
	Refused int                 `json:"refused,omitempty"`
	// Slot is when it goes on, and with how many rows: at once when it is zero.
	Slot Slot `json:"slot,omitzero"`
	// Wait is the time until rows may be tried again that had to wait; Why names it.
	Wait time.Duration  `json:"wait,omitempty"`
	Why  message.Reason `json:"why,omitempty"`
	// Done: nothing is left to be done. After is where withdrawing goes on.
	Done  bool       `json:"done,omitempty"`
	After message.ID `json:"after,omitzero"`
	// Held is for the next chunk.
	Held Held `json:"held,omitempty"`
}

func resultOf(b *message.Batch) Result {
	return Result{Status: b.Status, Total: b.Total, Worked: b.Worked, Refused: b.Refused}
}

// WorkBatch works the next rows of a batch, for some seconds at most. It may run twice, and
// at once: a row has one id, under which its message is accepted once.
func (a *Activities) WorkBatch(ctx context.Context, in Input) (Result, error) {
	defer activities.Beat(ctx)()
	began := a.Now()
	if a.Took != nil {
		defer func() { a.Took(a.Now().Sub(began)) }()
	}
	b, err := a.Journal.BatchByID(ctx, in.BatchID)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	slot, held := in.Slot, maps.Clone(in.Held)
	for rows := 0; b.Status == message.BatchRunning && b.Worked < b.Total; {
		if slot.Rows == 0 {
			if slot, err = a.reserve(ctx, b); err != nil {
				return Result{}, activities.Fail(err)
			}
		}
		// The moment stays the batch's while others are worked: they have had theirs.
		if rows >= chunkRows || slot.At.After(began.Add(chunkTime)) {
			r := resultOf(b)
			r.Slot, r.Held = slot, held
			return r, nil
		}
		if err := pause(ctx, slot.At.Sub(a.Now())); err != nil {
			return Result{}, activities.Fail(err)
		}
		next, again, err := a.work(ctx, b.ID, slot.Rows, &held)
		if err != nil {
			return Result{}, activities.Fail(err)
		}
		if b = next; again != nil {
			r := resultOf(b)
			r.Held = held
			r.Wait, r.Why = min(max(again.RetryAfter(), waitAgain), longestWait), again.Reason
			return r, nil
		}
		rows, slot = rows+slot.Rows, Slot{}
	}
	return a.ended(ctx, b)
}

// ended is the result of a batch that is not worked, or has no rows left.
func (a *Activities) ended(ctx context.Context, b *message.Batch) (Result, error) {
	r := resultOf(b)
	if b.Worked < b.Total || b.Status == message.BatchCanceled {
		return r, nil
	}
	if err := a.Journal.CompleteBatch(ctx, b.ID, func(p message.BatchProgress) (message.AccountEvent, error) { return a.Tell(p, a.Now()) }); err != nil {
		return Result{}, activities.Fail(err)
	}
	// It may have been canceled in that very moment.
	after, err := a.Journal.BatchByID(ctx, b.ID)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	r = resultOf(after)
	r.Done = after.Status == message.BatchCompleted
	return r, nil
}

// reserve gets the next rows a moment.
func (a *Activities) reserve(ctx context.Context, b *message.Batch) (Slot, error) {
	rates, _ := a.Door.OpenBatch(b)
	n := chunkRows
	for _, r := range rates {
		n = min(n, max(1, r.PerSecond/step))
	}
	n = min(n, b.Total-b.Worked)
	wait, err := a.Journal.PaceBatch(ctx, rates, n)
	return Slot{At: a.Now().Add(wait), Rows: n}, err
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work takes n rows on and has them accepted. again is why some have to be worked again,
// and nothing before them; nil: others may go on. Rows that wait for the rate of their
// number hold those of that number alone.
func (a *Activities) work(ctx context.Context, id message.ID, n int, held *Held) (b *message.Batch, again *message.Error, err error) {
	b, rows, err := a.Journal.ClaimBatch(ctx, id, n, held.at(a.Now()))
	if err != nil {
		return b, nil, err
	}
	if len(rows) == 0 {
		switch {
		case b.Status != message.BatchRunning || b.Worked == b.Total:
		case len(*held) > 0:
			again = &message.Error{Reason: message.ReasonRateLimitExceeded, After: (*held)[held.first()].Sub(a.Now())}
		default: // what is left waits for tries that broke off
			again = &message.Error{Reason: message.ReasonIdempotencyInProgress, After: brokenOff}
		}
		return b, again, nil
	}
	_, accept := a.Door.OpenBatch(b)
	each(together, len(rows), func(i int) {
		if rows[i].State != message.RowClaimed {
			return
		}
		one, cancel := context.WithTimeout(ctx, acceptWithin)
		defer cancel()
		rows[i] = accept(one, rows[i])
	})
	done, count, again := a.sorted(rows, held)
	// What was done is noted even if the activity's time is over.
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), acceptWithin)
	defer cancel()
	if b, err = a.Journal.RecordBatch(noting, id, done); err != nil {
		return nil, nil, err
	}
	if a.Worked != nil {
		for outcome, n := range count {
			a.Worked(outcome, n)
		}
	}
	return b, again, ctx.Err()
}

// sorted is what is to be noted of rows that were tried, how many came to what, and why
// the batch waits if it has to.
func (a *Activities) sorted(rows []message.BatchRow, held *Held) (done []message.BatchRow, count map[string]int, again *message.Error) {
	count = map[string]int{}
	for _, r := range rows {
		switch r.State {
		case message.RowMade:
			count[OutcomeAccepted]++
		case message.RowRefused:
			if r.Before.IsZero() {
				count[OutcomeRefused]++
			} else {
				count[OutcomeWaits]++
			}
		default:
			count[OutcomeWaits]++
			switch {
			case r.State == message.RowPending && r.Error.Reason == message.ReasonRateLimitExceeded:
				held.hold(r.Sender, a.Now(), r.Error.RetryAfter())
			case again == nil || r.Error.RetryAfter() > again.RetryAfter():
				again = r.Error
			}
		}
		if r.State != message.RowClaimed {
			done = append(done, r)
		}
	}
	return done, count, again
}

// each runs do for 0 to n-1, so many at once, and returns when all have ended.
func each(atOnce, n int, do func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int) // closed when all have been handed out
	for range min(atOnce, n) {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// WithdrawBatch withdraws messages of a canceled batch that no vendor has, some at a time,
// and ends it. It may run twice: what is withdrawn already, or gone, stays so.
func (a *Activities) WithdrawBatch(ctx context.Context, in Input) (Result, error) {
	defer activities.Beat(ctx)()
	open, err := a.Journal.DroppedBatch(ctx, in.BatchID)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	ids, err := a.Journal.CancelableOfBatch(ctx, in.BatchID, in.After, cancelBatch)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	failed := make([]error, len(ids))
	each(withdrawers, len(ids), func(i int) {
		err := a.Door.Cancel(ctx, ids[i])
		if r := message.ReasonOf(err); r != message.ReasonConflict && r != message.ReasonNotFound {
			failed[i] = err
		}
	})
	for _, err := range failed {
		if err != nil {
			return Result{}, activities.Fail(err)
		}
	}
	r := Result{Status: message.BatchCanceled, After: in.After}
	switch {
	case len(ids) == cancelBatch:
		r.After = ids[len(ids)-1]
		return r, nil
	case open > 0: // what comes of them has a later id than any of these, or will be looked for again
		r.After, r.Wait = message.ID{}, cancelAgain
		return r, nil
	}
	if err := a.Journal.EndCanceledBatch(ctx, in.BatchID); err != nil {
		return Result{}, activities.Fail(err)
	}
	r.Done = true
	return r, nil
}
