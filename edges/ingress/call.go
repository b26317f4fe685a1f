package ingress

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Calls is how a process that starts no workflows has others start its messages. They
// are hints: each message has its row in the outbox, which sweeps find.
type Calls interface {
	// CallStarts tells those who listen of messages in the outbox, and that some wait for
	// their turn in their conversation if turns says so.
	CallStarts(ctx context.Context, ids []message.ID, turns bool) error
	// ListenStarts calls began once it listens, and then called with what others have
	// told, one call at a time, until ctx ends or the connection is lost, and returns why.
	// Of several processes each message is given to one.
	ListenStarts(ctx context.Context, began func(), called func(starts []message.Start, turns bool)) error
}

const (
	// callPace is the least time between two calls of a process. Each wakes all who
	// listen, and Postgres lets one commit of those that notify go at a time.
	callPace = 100 * time.Millisecond
	// mostCalled is how many messages one call may be about, of which bulk has bulkCalled:
	// those who are called start no more in that time, and what they find no room for they
	// have read in vain.
	mostCalled = 256
	bulkCalled = mostCalled / 2
	// callTimeout bounds one call, also the one that is made at the end.
	callTimeout = 2 * time.Second
	// The pauses before a lost listening connection is made anew double from relistenFirst
	// to relistenLast; the sweep covers the gap.
	relistenFirst = 100 * time.Millisecond
	relistenLast  = 5 * time.Second
)

// caller tells others of the messages that this process does not start itself: of the
// first at once, of those that come within callPace together.
type caller struct {
	group
	in   *Ingress
	stir chan struct{} // capacity 1, never closed, carries nothing: there is something to tell

	mu    sync.Mutex
	ids   []message.ID // to be told of, at most mostCalled
	turns bool         // some wait for their turn
	over  int          // accepted since the last call that found no room in ids
}

func (c *caller) make(in *Ingress) {
	c.in = in
	c.stir = make(chan struct{}, 1)
}

func (c *caller) start(ctx context.Context) {
	ctx = c.own(ctx)
	c.wg.Go(func() { c.run(ctx) })
}

// tell has others told of a message in the outbox. It does not block.
func (c *caller) tell(m *message.Message, waits bool) {
	if c.in.Calls == nil {
		return
	}
	c.mu.Lock()
	room := mostCalled
	if m.Class == message.ClassBulk {
		room = bulkCalled
	}
	switch {
	case waits:
		c.turns = true
	case len(c.ids) < room:
		c.ids = append(c.ids, m.ID)
	default:
		c.over++
	}
	c.mu.Unlock()
	select {
	case c.stir <- struct{}{}:
	default:
	}
}

// run calls until ctx ends, and then once more, of what came last.
func (c *caller) run(ctx context.Context) {
	away := false
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-c.stir:
		}
		err := c.call(context.WithoutCancel(ctx))
		if err != nil && !away {
			c.in.Log.Warn("nobody could be told of accepted messages, sweeps will find them", "error", err)
		}
		away = err != nil
		rest(ctx, callPace)
	}
	_ = c.call(context.WithoutCancel(ctx)) // what is not told, sweeps find
}

// call tells of all that has come since the last time. It is not repeated: when the
// journal takes no call, nothing is accepted either.
func (c *caller) call(ctx context.Context) error {
	c.mu.Lock()
	ids, turns, over := c.ids, c.turns, c.over
	c.ids, c.turns, c.over = nil, false, 0
	c.mu.Unlock()
	if len(ids) == 0 && !turns && over == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := c.in.Calls.CallStarts(ctx, ids, turns)
	told := len(ids)
	if err != nil {
		told = 0
	}
	if c.in.Metrics.Called != nil {
		c.in.Metrics.Called(told, len(ids)-told+over)
	}
	return err
}

// hearer takes on the messages that others do not start themselves.
type hearer struct {
	group
	in    *Ingress
	hears atomic.Bool
}

func (h *hearer) make(in *Ingress) { h.in = in }

func (h *hearer) start(ctx context.Context) {
	if h.in.Calls == nil {
		return
	}
	ctx = h.own(ctx)
	h.wg.Go(func() { h.run(ctx) })
}

func (h *hearer) run(ctx context.Context) {
	pause, away := relistenFirst, false
	for ctx.Err() == nil {
		err := h.in.Calls.ListenStarts(ctx, func() {
			if away {
				h.in.Log.Info("listening for accepted messages again")
			}
			pause, away = relistenFirst, false
			h.hears.Store(true)
			h.in.starter.starve() // what was told while nobody listened is in the outbox
		}, h.called)
		h.hears.Store(false)
		if ctx.Err() != nil {
			return
		}
		if !away {
			h.in.Log.Warn("notifications of accepted messages interrupted; the sweep goes on", "error", err)
		}
		away = true
		rest(ctx, pause)
		pause = min(2*pause, relistenLast)
	}
}

// called hands what others accepted to the starters, as far as they have room, and does
// not wait: what is not heard in time the server would have to keep.
func (h *hearer) called(starts []message.Start, turns bool) {
	if turns {
		h.in.turns.watch()
	}
	for _, m := range starts {
		h.in.starter.offer(m)
	}
	if len(starts) > 0 && h.in.Metrics.Heard != nil {
		h.in.Metrics.Heard(len(starts))
	}
}

// Hears reports whether this process hears of what others accept and do not start: else,
// and with NoStarts, it is the sweep alone that finds it.
func (in *Ingress) Hears() bool { return in.hearer.hears.Load() }
