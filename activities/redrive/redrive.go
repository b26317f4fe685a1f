// Package redrive does one thing to each message that a filter finds, for staff: it takes
// some on, has the door do it to each, and notes what became of them.
//
// The rule not to break: a message is taken on, and so has the id of the one that a retry
// makes on disk, before anything is done. Whatever runs twice then does it once.
package redrive

import (
	"context"
	"sync"
	"time"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
)

// Journal is what a re-drive needs of the record.
type Journal interface {
	RedriveByID(ctx context.Context, id message.ID) (*message.Redrive, error)
	// SearchAllMessages looks for messages, newest first, until it is told to stop.
	SearchAllMessages(ctx context.Context, s message.Search) (message.Found, error)
	// PaceBatch gives the next n messages a moment at a rate, and says how long it is until
	// then.
	PaceBatch(ctx context.Context, rates []message.BatchPace, n int) (time.Duration, error)
	// TakeRedrive adds what was found, unless the re-drive has come on or ended meanwhile.
	TakeRedrive(ctx context.Context, id message.ID, p message.RedrivePage) (r *message.Redrive, taken bool, err error)
	// ClaimRedrive gives out again what was taken on and is not done with.
	ClaimRedrive(ctx context.Context, id message.ID, limit int) (*message.Redrive, []message.RedriveItem, error)
	// RecordRedrive notes what has become of messages.
	RecordRedrive(ctx context.Context, id message.ID, items []message.RedriveItem) (*message.Redrive, error)
	// EndRedrive ends it if nothing is left.
	EndRedrive(ctx context.Context, id message.ID) (*message.Redrive, error)
}

// Door does to a message what staff could do to it.
type Door interface {
	// JudgeRedrive says what would become of a message: ItemDone, ItemPassed or
	// ItemRefused.
	JudgeRedrive(ctx context.Context, r *message.Redrive, m *message.Message) message.RedriveItem
	// ActRedrive does it, and gives the item with what has become of it: ItemDone,
	// ItemPassed or ItemRefused; ItemWaits when nothing was changed and it is to be tried
	// again; ItemClaimed when that is not known. Error says why, and how long to wait. An
	// item whose Try is above 1 may have been done before, and counts as done then.
	ActRedrive(ctx context.Context, r *message.Redrive, i message.RedriveItem) message.RedriveItem
}

// Activities works re-drives.
type Activities struct {
	Journal Journal
	Door    Door
	Now     func() time.Time
	// Worked is told of messages and what became of them; nil: nobody is.
	Worked func(action message.RedriveAction, outcome message.RedriveItemState, n int)
}

// Bounds of a chunk: what one activity works on before it lets others go on. A re-drive
// that is stopped goes on for a part of a second at most.
const (
	chunkTime = 2 * time.Second
	// step is the part of a second whose messages are taken on together.
	step = 4
	// together is how many are worked at once: they share commits.
	together = 16
	// look is how many messages a dry run reads at once, and lookTime how long one search
	// looks for messages that are rare.
	look     = 500
	lookTime = time.Second
	// waitAgain is the pause for what has to wait and nobody knows how long.
	waitAgain   = time.Second
	longestWait = time.Minute
	brokenOff   = 10 * time.Second // until it is looked again what became of tries whose end nobody knows
	actWithin   = 30 * time.Second // one message, with all its waiting for commits
)

// Input names the re-drive. Slot is what was left of the last chunk, if anything.
type Input struct {
	RedriveID message.ID `json:"redrive_id"`
	Slot      Slot       `json:"slot,omitzero"`
}

// Slot is a moment that messages have been given at the re-drive's rate.
type Slot struct {
	At       time.Time `json:"at"`
	Messages int       `json:"messages"`
}

// Result says how far the re-drive has come.
type Result struct {
	Status  message.RedriveStatus `json:"status"`
	Looked  int                   `json:"looked"`
	Done    int                   `json:"done"`
	Passed  int                   `json:"passed,omitempty"`
	Refused int                   `json:"refused,omitempty"`
	// Slot is when it goes on, and with how many messages: at once when it is zero.
	Slot Slot `json:"slot,omitzero"`
	// Wait is the time until messages may be tried again that had to wait; Why names it.
	Wait time.Duration  `json:"wait,omitempty"`
	Why  message.Reason `json:"why,omitempty"`
	// Ended: nothing is left to be done.
	Ended bool `json:"ended,omitempty"`
}

func resultOf(r *message.Redrive) Result {
	return Result{Status: r.Status, Looked: r.Looked, Done: r.Done, Passed: r.Passed, Refused: r.Refused, Ended: r.Status.Final()}
}

// WorkRedrive works the next messages of a re-drive, for some seconds at most. It may run
// twice, and at once.
func (a *Activities) WorkRedrive(ctx context.Context, in Input) (Result, error) {
	defer activities.Beat(ctx)()
	began := a.Now()
	r, err := a.Journal.RedriveByID(ctx, in.RedriveID)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	slot := in.Slot
	for !r.Status.Final() {
		if r.DryRun {
			slot = Slot{At: a.Now(), Messages: look}
		} else if slot.Messages == 0 {
			if slot, err = a.reserve(ctx, r); err != nil {
				return Result{}, activities.Fail(err)
			}
		}
		if slot.At.After(began.Add(chunkTime)) {
			out := resultOf(r)
			if !r.DryRun {
				out.Slot = slot
			}
			return out, nil
		}
		if err := pause(ctx, slot.At.Sub(a.Now())); err != nil {
			return Result{}, activities.Fail(err)
		}
		next, again, err := a.work(ctx, r, slot.Messages)
		if err != nil {
			return Result{}, activities.Fail(err)
		}
		if r = next; again != nil {
			out := resultOf(r)
			out.Wait, out.Why = min(max(again.RetryAfter(), waitAgain), longestWait), again.Reason
			return out, nil
		}
		slot = Slot{}
	}
	return resultOf(r), nil
}

// reserve gets the next messages a moment.
func (a *Activities) reserve(ctx context.Context, r *message.Redrive) (Slot, error) {
	n := max(1, r.PerSecond/step)
	wait, err := a.Journal.PaceBatch(ctx, []message.BatchPace{{Of: r.ID, PerSecond: r.PerSecond}}, n)
	return Slot{At: a.Now().Add(wait), Messages: n}, err
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

// work does the next n messages: first what was taken on and is not done with, then what
// the search finds; when there is neither the re-drive ends. again is why it has to wait;
// nil: it may go on.
func (a *Activities) work(ctx context.Context, was *message.Redrive, n int) (r *message.Redrive, again *message.Error, err error) {
	r, items, err := a.Journal.ClaimRedrive(ctx, was.ID, n)
	if err != nil {
		return r, nil, err
	}
	if len(items) == 0 && r.Status == message.RedriveRunning && !r.Searched {
		if r, items, err = a.take(ctx, r, n); err != nil {
			return r, nil, err
		}
	}
	if len(items) == 0 {
		if r.Status == message.RedriveRunning && !r.Searched {
			return r, nil, nil // the search goes on
		}
		if r, err = a.Journal.EndRedrive(ctx, r.ID); err == nil && !r.Status.Final() {
			again = &message.Error{Reason: message.ReasonIdempotencyInProgress, After: brokenOff}
		}
		return r, again, err
	}
	each(together, len(items), func(i int) {
		one, cancel := context.WithTimeout(ctx, actWithin)
		defer cancel()
		items[i] = a.Door.ActRedrive(one, r, items[i])
	})
	count := map[message.RedriveItemState]int{}
	var done []message.RedriveItem
	for _, i := range items {
		count[i.State]++
		if i.State == message.ItemWaits || i.State == message.ItemClaimed {
			if again == nil || i.Error.RetryAfter() > again.RetryAfter() {
				again = i.Error
			}
		}
		if i.State != message.ItemClaimed {
			done = append(done, i)
		}
	}
	// What was done is noted even if the activity's time is over.
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), actWithin)
	defer cancel()
	if r, err = a.Journal.RecordRedrive(noting, r.ID, done); err != nil {
		return nil, nil, err
	}
	if a.Worked != nil {
		for outcome, n := range count {
			a.Worked(r.Action, outcome, n)
		}
	}
	return r, again, ctx.Err()
}

// take looks for the next messages and takes them on: those that the action is for are to
// be done, of a dry run none.
func (a *Activities) take(ctx context.Context, r *message.Redrive, n int) (*message.Redrive, []message.RedriveItem, error) {
	left := r.Limit - r.Looked
	end := a.Now().Add(lookTime)
	found, err := a.Journal.SearchAllMessages(ctx, message.Search{Filter: r.Filter, Before: r.Position, Limit: min(n, left), Left: func() time.Duration { return end.Sub(a.Now()) }})
	if err != nil {
		return r, nil, err
	}
	p := message.RedrivePage{From: r.Position, Next: found.Next, Searched: found.Next == (message.ID{}), Messages: found.Messages}
	if len(found.Messages) == left && !p.Searched {
		p.Searched, p.More = true, true
	}
	var claimed []message.RedriveItem
	for _, m := range found.Messages {
		item := a.Door.JudgeRedrive(ctx, r, m)
		if item.MessageID = m.ID; !r.DryRun && item.State == message.ItemDone {
			if item.State, item.Try = message.ItemClaimed, 1; r.Action == message.RedriveRetry {
				item.NewMessageID = message.NewID()
			}
			claimed = append(claimed, item)
		}
		p.Items = append(p.Items, item)
	}
	now, taken, err := a.Journal.TakeRedrive(ctx, r.ID, p)
	if err != nil || !taken {
		return now, nil, err // another run has come on; the next look is at what it has come to
	}
	return now, claimed, nil
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
