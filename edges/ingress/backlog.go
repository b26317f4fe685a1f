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
//
// A message finds room while those of its class and of more urgent ones are fewer
// than the cap: what waits in bulk for the morning, or for its campaign's turn, does
// not keep a one-time password out. So an account may have up to three times its cap
// under way, once for each class.
type backlog struct {
	group
	in *Ingress

	mu    sync.Mutex
	now   map[line]int
	moved map[line]int // since the count that is being made began; nil: none is
}

// line is what is counted together.
type line struct {
	account  message.ID
	priority int // of the class
}

func (b *backlog) make(in *Ingress) {
	b.in = in
	b.now = make(map[line]int)
}

func (b *backlog) start(ctx context.Context) {
	ctx = b.own(ctx)
	b.wg.Go(func() { b.run(ctx) })
}

// enter counts a message of the account in, or refuses it because there are too many
// under way.
func (b *backlog) enter(a *snapshot.Account, m *message.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fullLocked(a, m); err != nil {
		return err
	}
	b.moveLocked(lineOf(m), 1)
	return nil
}

// full says why such a message of the account may not come in; nil: it may.
func (b *backlog) full(a *snapshot.Account, m *message.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fullLocked(a, m)
}

func (b *backlog) fullLocked(a *snapshot.Account, m *message.Message) error {
	n, most := 0, cmp.Or(a.MaxBacklog, snapshot.DefaultMaxBacklog)
	for _, c := range message.Classes() {
		if p := c.Priority(); p <= m.Class.Priority() {
			n += b.now[line{a.ID, p}]
		}
	}
	if n >= most {
		return message.Refuse(message.ReasonQueueFull, "%d messages of the account of this class or a more urgent one are under way, %d may be; wait until some have left", n, most)
	}
	return nil
}

func lineOf(m *message.Message) line { return line{m.AccountID, m.Class.Priority()} }

// joined counts in a message of which every part was let in before.
func (b *backlog) joined(m *message.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moveLocked(lineOf(m), 1)
}

// left counts a message out.
func (b *backlog) left(l line) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moveLocked(l, -1)
}

func (b *backlog) moveLocked(l line, n int) {
	if b.now[l] += n; b.now[l] <= 0 { // it was another process that counted it in
		delete(b.now, l)
	}
	if b.moved != nil {
		b.moved[l] += n
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
	b.moved = make(map[line]int)
	b.mu.Unlock()
	rows, err := b.in.Journal.Backlog(ctx)
	b.mu.Lock()
	moved := b.moved
	b.moved = nil
	if err == nil {
		b.now = make(map[line]int, len(rows))
		for _, r := range rows {
			b.now[line{r.AccountID, r.Priority}] += r.Messages
		}
		for l, n := range moved {
			b.moveLocked(l, n)
		}
	}
	b.mu.Unlock()
	if err == nil && b.in.Metrics.Backlog != nil {
		b.in.Metrics.Backlog(rows)
	}
	return err
}
