package limit

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

const (
	// flushEvery is how often what was counted is written: what a process that dies
	// loses.
	flushEvery = 5 * time.Second
	// flushTime bounds one writing.
	flushTime = 5 * time.Second
	// maxRefusals is how many entries wait to be written at most, some 150 octets
	// each: a minute of 2,000 accounts that are refused for every scope on two edges.
	// More are counted by Dropped alone.
	maxRefusals = 20_000
)

// RefusalStore keeps what was refused.
type RefusalStore interface {
	// AddRefusals adds to the counts of their minutes.
	AddRefusals(ctx context.Context, list []message.RateRefusals) error
}

// Refusals counts what is refused for a rate, an entry for each account, minute,
// edge and scope, and writes it every few seconds. It is statistics and not part of
// the record: a refused message is stored nowhere, and what a process had counted in
// its last seconds is lost when it dies. Fill in the fields, then Start. Safe for
// concurrent use.
type Refusals struct {
	Store RefusalStore
	Log   *slog.Logger // nil: nothing is logged
	// Dropped is told of refusals that are not counted because too many entries wait,
	// as when the database is away. It must not block; it may be nil.
	Dropped func(n int64)

	mu     sync.Mutex
	counts map[message.RateRefusals]int64 // keys have a Count of 0
	cancel context.CancelFunc
	writer sync.WaitGroup
}

// Add counts n refusals at the time. It does not block.
func (r *Refusals) Add(account message.ID, edge, scope string, n int, at time.Time) {
	if n <= 0 {
		return
	}
	r.add(message.RateRefusals{AccountID: account, Minute: at.UTC().Truncate(time.Minute), Edge: edge, Scope: scope, Count: int64(n)})
}

func (r *Refusals) add(e message.RateRefusals) {
	n := e.Count
	e.Count = 0
	r.mu.Lock()
	if r.counts == nil {
		r.counts = make(map[message.RateRefusals]int64)
	}
	_, there := r.counts[e]
	full := !there && len(r.counts) >= maxRefusals
	if !full {
		r.counts[e] += n
	}
	r.mu.Unlock()
	if full && r.Dropped != nil {
		r.Dropped(n)
	}
}

// Start writes every few seconds until Stop. A second Start does nothing.
func (r *Refusals) Start(ctx context.Context) {
	if r.cancel != nil {
		return
	}
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.writer.Go(func() {
		tick := time.NewTicker(flushEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.Flush(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
}

// Stop ends the writing, and writes once more.
func (r *Refusals) Stop() {
	if r.cancel != nil {
		r.cancel()
	}
	r.writer.Wait()
	r.Flush(context.Background())
}

// Flush writes what was counted since the last time. What cannot be written is
// tried again with the next.
func (r *Refusals) Flush(ctx context.Context) {
	r.mu.Lock()
	counts := r.counts
	r.counts = nil
	r.mu.Unlock()
	if len(counts) == 0 {
		return
	}
	list := make([]message.RateRefusals, 0, len(counts))
	for e, n := range counts {
		e.Count = n
		list = append(list, e)
	}
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	if err := r.Store.AddRefusals(ctx, list); err != nil {
		if r.Log != nil {
			r.Log.Warn("refusals for rates not written; they are kept for the next try", "entries", len(list), "error", err)
		}
		for _, e := range list {
			r.add(e)
		}
	}
}
