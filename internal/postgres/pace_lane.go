package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
)

const (
	// maxPacings bounds how many demands share a transaction.
	maxPacings = 256
	// slotsPage is how many seconds of a counter are read at once. As a rule a place
	// is found within the first few.
	slotsPage = 1000
	// spentAfter is how old seconds are when they are deleted: well beyond what a
	// minute looks back at, so that what is read never depends on it.
	spentAfter = 10 * time.Minute
	// daysKept is how many days that are over are kept for whoever asks.
	daysKept = 7
	// spentFor is how long after its second a slot is remembered that was given back
	// or replaced: two days, in which its own day ends.
	spentFor = 48 * time.Hour
)

// pacing is one thing that a caller asks of the counters: one of demand, release
// and closes.
type pacing struct {
	ctx     context.Context // of the caller; ended: nobody wants it any more
	keys    []string
	demand  pace.Demand
	release *pace.Slot // also of a demand whose slot before was never due
	closes  []pace.Limit

	given pacedSlot      // of demand; the lane's
	done  chan pacedSlot // written once by the lane, never closed
}

// pacedSlot is the answer to a demand, or why there is none.
type pacedSlot struct {
	pace.Slot
	err error
}

// pacer does what its callers ask in transactions that they share, one at a time, so
// that demands of this process never wait for each other's locks.
type pacer struct {
	pool  *pgxpool.Pool
	hooks PaceHooks
	wg    sync.WaitGroup

	mu     sync.Mutex
	more   sync.Cond // queue or closed has changed
	queue  []*pacing // as long as there are callers, who each wait
	closed bool
}

func newPacer(pool *pgxpool.Pool) *pacer {
	p := &pacer{pool: pool}
	p.more.L = &p.mu
	p.wg.Go(p.run)
	return p
}

// close finishes what is waiting and ends the lane.
func (p *pacer) close() {
	p.mu.Lock()
	p.closed = true
	p.more.Signal()
	p.mu.Unlock()
	p.wg.Wait()
}

// do runs an item with others in one transaction and returns after its commit.
func (p *pacer) do(ctx context.Context, item *pacing) (pace.Slot, error) {
	item.ctx, item.done = ctx, make(chan pacedSlot, 1)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return pace.Slot{}, errClosed
	}
	p.queue = append(p.queue, item)
	p.more.Signal()
	p.mu.Unlock()
	select {
	case given := <-item.done:
		return given.Slot, given.err
	case <-ctx.Done():
		return pace.Slot{}, ctx.Err()
	}
}

// next waits for items and takes as many as share a transaction; none at the end.
func (p *pacer) next() []*pacing {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 && !p.closed {
		p.more.Wait()
	}
	n := min(len(p.queue), maxPacings)
	group := p.queue[:n:n]
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue = nil // lets go of what was taken
	}
	return group
}

func (p *pacer) run() {
	for group := p.next(); len(group) > 0; group = p.next() {
		p.commit(group)
	}
}

// commit runs a group in one transaction. One that fails by itself must not fail
// the others; what was ended because of another process is repeated.
func (p *pacer) commit(group []*pacing) {
	group = slices.DeleteFunc(group, func(i *pacing) bool { return i.ctx.Err() != nil }) // their callers are gone
	if len(group) == 0 {
		return
	}
	err := p.transact(group)
	if err == nil || len(group) == 1 && !conflicted(err) || Unavailable(err) {
		for _, i := range group {
			i.finish(err)
		}
		return
	}
	for _, i := range group {
		for range maxConflicts {
			if err = p.transact([]*pacing{i}); !conflicted(err) {
				break
			}
		}
		i.finish(err)
	}
}

// finish tells the caller. err is of the transaction.
func (i *pacing) finish(err error) {
	if err != nil {
		i.given = pacedSlot{err: err}
	}
	i.done <- i.given
}

func (p *pacer) transact(group []*pacing) error {
	// The callers' own deadlines end their waiting, not the others' commit.
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	var book *lockedBook
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) (err error) {
		if book, err = lockBook(ctx, tx, group); err != nil {
			return err
		}
		for _, i := range group {
			if i.closes != nil {
				book.Close(i.closes)
			}
			if len(i.demand.Limits) == 0 {
				continue
			}
			d := book.only(i)
			slot, err := placeIn(ctx, tx, book.Book, func() (pace.Slot, error) { return book.Place(d) })
			if err != nil && !refused(err) {
				return err
			}
			if i.given = (pacedSlot{slot, err}); err == nil && d.Instead != nil {
				book.spend(*d.Instead)
			}
		}
		return p.write(ctx, tx, book)
	})
	if err != nil {
		return fmt.Errorf("pace: %w", err)
	}
	p.tell(book.Book, group)
	return nil
}

// refused reports whether err is an answer of the planner, and not of the database.
func refused(err error) bool { return message.ReasonOf(err) == message.ReasonDailyCapReached }

// tell calls the hooks after a commit.
func (p *pacer) tell(book *pace.Book, group []*pacing) {
	if p.hooks.Waited != nil {
		for _, i := range group {
			if slot := i.given; slot.ID != (message.ID{}) {
				p.hooks.Waited(max(slot.At.Sub(later(i.demand.NotBefore, book.Now())), 0))
			}
		}
	}
	if p.hooks.Marked != nil {
		for _, m := range book.Marks() {
			p.hooks.Marked(m)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
