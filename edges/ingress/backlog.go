package ingress

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	// countEvery is how often the backlog is counted; between counts each process
	// knows its own comings and goings only. countShare is the part of the time that
	// counting may take when the backlog is long.
	countEvery = time.Second
	countShare = 20
)

// backlog knows how many messages of each account are on their way out, near
// enough to refuse more: exactly for one process, and within a second of what
// the others have taken in and sent. The zero count of an account is right until
// the first count. Safe for concurrent use.
type backlog struct {
	in     *Ingress
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	now   map[message.ID]int
	moved map[message.ID]int // since the count that is being made began; nil: none is
}

func (b *backlog) make(in *Ingress) {
	b.in = in
	b.now = make(map[message.ID]int)
}

func (b *backlog) start(ctx context.Context) {
	ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	b.wg.Go(func() { b.run(ctx) })
}

func (b *backlog) stop() {
	if b.cancel != nil {
		b.cancel()
	}
	b.wg.Wait()
}

// enter counts a message in, or refuses it because the account has too many
// under way.
func (b *backlog) enter(a *snapshot.Account) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fullLocked(a); err != nil {
		return err
	}
	b.moveLocked(a.ID, 1)
	return nil
}

// full says why nothing more of the account may come in; nil: it may.
func (b *backlog) full(a *snapshot.Account) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fullLocked(a)
}

func (b *backlog) fullLocked(a *snapshot.Account) error {
	if n, most := b.now[a.ID], cmp.Or(a.MaxBacklog, snapshot.DefaultMaxBacklog); n >= most {
		return message.Refuse(message.ReasonQueueFull, "%d messages of the account are under way, %d may be; wait until some have left", n, most)
	}
	return nil
}

// joined counts in a message of which every part was let in before.
func (b *backlog) joined(account message.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moveLocked(account, 1)
}

// left counts a message out.
func (b *backlog) left(account message.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moveLocked(account, -1)
}

func (b *backlog) moveLocked(account message.ID, n int) {
	if b.now[account] += n; b.now[account] <= 0 { // it was another process that counted it in
		delete(b.now, account)
	}
	if b.moved != nil {
		b.moved[account] += n
	}
}

func (b *backlog) run(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		if err := b.count(ctx); err != nil && ctx.Err() == nil {
			b.in.Log.Warn("the backlog could not be counted; the last count stays", "error", err)
		}
		rest(ctx, max(countEvery, countShare*time.Since(began)))
	}
}

// count replaces what is known by what the journal says. What comes and goes
// while it counts may be in its answer or not: it is added again, so that an
// account is for a second thought to have a few more or fewer than it has.
func (b *backlog) count(ctx context.Context) error {
	b.mu.Lock()
	b.moved = make(map[message.ID]int)
	b.mu.Unlock()
	rows, err := b.in.Journal.Backlog(ctx)
	b.mu.Lock()
	moved := b.moved
	b.moved = nil
	if err == nil {
		b.now = make(map[message.ID]int, len(rows))
		for _, r := range rows {
			b.now[r.AccountID] += r.Messages
		}
		for account, n := range moved {
			b.moveLocked(account, n)
		}
	}
	b.mu.Unlock()
	if err == nil && b.in.Metrics.Backlog != nil {
		b.in.Metrics.Backlog(rows)
	}
	return err
}
