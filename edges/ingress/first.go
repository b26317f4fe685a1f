package ingress

import (
	"context"
	"sync"

	"github.com/postrider/postrider/internal/message"
)

// Bounds of the first tries of message.accepted.
const (
	firstTries        = 64 // of a process
	accountFirstTries = 16 // of an account: its slow endpoint is in no other's way
)

// firsts tells customers that a message was accepted, who want to hear that by webhook.
// The deliveries are rows since the commit, and overdue half a minute later: what finds no
// room here, and what a process that dies has left, the sweep takes on. No workflow works on
// them unless the first try fails: most succeed, and the message's own must not wait for
// them.
type firsts struct {
	group
	in  *Ingress
	ctx context.Context

	mu  sync.Mutex
	of  map[message.ID]int // under way
	all int
}

func (f *firsts) make(in *Ingress) {
	f.in, f.of = in, map[message.ID]int{}
}

func (f *firsts) start(ctx context.Context) {
	ctx = f.own(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ctx = ctx
}

func (f *firsts) stop() {
	f.mu.Lock()
	f.ctx = nil // none is begun any more
	f.mu.Unlock()
	f.group.stop()
}

// offer makes the first tries of a message's deliveries, if there is room. It does not
// wait.
func (f *firsts) offer(account message.ID, list []message.Notification) {
	if f.in.FirstTries == nil || len(list) == 0 {
		return
	}
	ids := make([]message.ID, len(list))
	for i, n := range list {
		ids[i] = n.ID
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx == nil || f.all >= firstTries || f.of[account] >= accountFirstTries {
		return
	}
	f.all++
	f.of[account]++
	ctx := f.ctx
	f.wg.Go(func() {
		defer f.leave(account)
		left := f.in.FirstTries(ctx, ids)
		if err := f.in.post(ctx, "accepted", left); err != nil && ctx.Err() == nil {
			f.in.Log.Debug("webhook of an acceptance not handed over, the sweep will", "error", err)
		}
	})
}

func (f *firsts) leave(account message.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all--
	if f.of[account]--; f.of[account] == 0 {
		delete(f.of, account)
	}
}
