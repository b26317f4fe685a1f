package postgres

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const (
	// feedEvery is how often it is looked whether those who wait have got something, which
	// other processes write as well.
	feedEvery = time.Second
	// feedGap lies between two looks at least. When this process has committed something it
	// looks after feedGap, and then after twice as long each time: what was committed shows
	// when all transactions that are older have ended.
	feedGap = 20 * time.Millisecond
)

// feedHub wakes those who wait for their feeds to grow. One look is for all of them, so
// that a hundred who wait cost one statement a second; while nobody waits there is none.
// Safe for concurrent use.
type feedHub struct {
	db      *DB
	ctx     context.Context // ended by close
	end     context.CancelFunc
	wg      sync.WaitGroup
	poke    chan struct{} // something was committed here for one who waits; never closed
	waiting atomic.Int32  // how many wait

	mu      sync.Mutex
	waiters map[*feedWaiter]struct{}
	of      map[message.ID]int // how many wait, by account
	running bool
}

type feedWaiter struct {
	account message.ID
	behind  message.FeedPosition
	wake    chan struct{} // one element: there is something; never closed
}

func newFeedHub(db *DB) *feedHub {
	h := &feedHub{db: db, poke: make(chan struct{}, 1), waiters: map[*feedWaiter]struct{}{}, of: map[message.ID]int{}}
	h.ctx, h.end = context.WithCancel(context.Background())
	return h
}

func (h *feedHub) close() {
	h.end()
	h.wg.Wait()
}

// grown tells that events of an account were committed by this process.
func (h *feedHub) grown(account message.ID) {
	if h.waiting.Load() == 0 {
		return
	}
	h.mu.Lock()
	waits := h.of[account] > 0
	h.mu.Unlock()
	if !waits {
		return
	}
	select {
	case h.poke <- struct{}{}:
	default:
	}
}

// FeedGrows waits until there is something in the account's feed behind a position, as
// Feed would show it, or until ctx ends, whose error it returns then. Bounding how many
// wait is up to the caller: each costs a little memory and a little of one statement a
// second. Safe for concurrent use.
func (db *DB) FeedGrows(ctx context.Context, account message.ID, behind message.FeedPosition) error {
	h := db.feed
	w := &feedWaiter{account: account, behind: behind, wake: make(chan struct{}, 1)}
	h.enter(w)
	defer h.leave(w)
	select {
	case <-w.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-h.ctx.Done():
		return errClosed
	}
}

func (h *feedHub) enter(w *feedWaiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiters[w] = struct{}{}
	h.of[w.account]++
	h.waiting.Store(int32(len(h.waiters)))
	if !h.running && h.ctx.Err() == nil {
		h.running = true
		h.wg.Go(h.run)
	}
	// What came between the caller's look and now is seen by a look of ours.
	select {
	case h.poke <- struct{}{}:
	default:
	}
}

func (h *feedHub) leave(w *feedWaiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiters, w)
	if h.of[w.account]--; h.of[w.account] == 0 {
		delete(h.of, w.account)
	}
	h.waiting.Store(int32(len(h.waiters)))
}

// run looks for as long as somebody waits.
func (h *feedHub) run() {
	gap := feedGap
	timer := time.NewTimer(gap)
	defer timer.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.poke:
			if gap > feedGap {
				gap = feedGap
				timer.Reset(gap)
			}
			continue
		case <-timer.C:
		}
		list := h.list()
		if list == nil {
			return
		}
		h.look(list)
		gap = min(2*gap, feedEvery)
		timer.Reset(gap)
	}
}

// list gives those who wait; nil: nobody does, and the caller ends.
func (h *feedHub) list() []*feedWaiter {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiters) == 0 {
		h.running = false
		return nil
	}
	out := make([]*feedWaiter, 0, len(h.waiters))
	for w := range h.waiters {
		out = append(out, w)
	}
	return out
}

// selectGrown gives the places of those in the list whose feed has something behind their
// position.
const selectGrown = `
select w.place
from unnest($1::uuid[], $2::text[], $3::uuid[], $4::int[]) with ordinality as w (account_id, xid, id, sequence, place)
where exists (
  select
  from message_events e
  where e.account_id = w.account_id and (e.feed_xid, e.message_id, e.sequence) > (w.xid::xid8, w.id, w.sequence)
    and e.feed_xid < pg_snapshot_xmin(pg_current_snapshot())
) or exists (
  select
  from account_events e
  where e.account_id = w.account_id and (e.feed_xid, e.id) > (w.xid::xid8, w.id)
    and e.feed_xid < pg_snapshot_xmin(pg_current_snapshot())
)`

// look wakes those who have got something. When the journal cannot be asked they go on
// waiting: the next look comes soon enough.
func (h *feedHub) look(list []*feedWaiter) {
	ctx, cancel := context.WithTimeout(h.ctx, connectTimeout)
	defer cancel()
	type w = *feedWaiter
	rows, err := h.db.pool.Query(ctx, selectGrown, pick(list, func(w w) message.ID { return w.account }),
		pick(list, func(w w) string { return fmt.Sprint(w.behind.Transaction) }), pick(list, func(w w) message.ID { return w.behind.ID }),
		pick(list, func(w w) int32 { return int32(w.behind.Sequence) }))
	if err != nil {
		return
	}
	var place int
	_, _ = pgx.ForEachRow(rows, []any{&place}, func() error {
		select {
		case list[place-1].wake <- struct{}{}:
		default:
		}
		return nil
	})
}
