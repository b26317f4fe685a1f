package smpp

import (
	"context"
	"sync"
)

// conversation is a sender and a recipient as ingress takes them.
type conversation struct{ from, to string }

// order keeps the submits of a session in the order in which they came, as far
// as they belong to one conversation. Most need no keeping: they enter the
// journal's queue while the session's reader still holds them. Some must ask the
// journal first, as the parts of a long message; what comes after them in their
// conversation then waits for them. The zero value is ready, and safe for
// concurrent use. It holds no more than the session's window.
type order struct {
	mu   sync.Mutex
	last map[conversation]chan struct{} // closed when the last of those that ask has entered
}

// line puts a request behind those of its conversations that have not entered
// yet: it may enter when all of before are closed, and then calls entered; twice
// is harmless. Both are nil for a request that may enter at once, unless it asks.
func (o *order) line(of []conversation, asks bool) (before []<-chan struct{}, entered func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range of {
		if ch := o.last[c]; ch != nil {
			before = append(before, ch)
		}
	}
	if !asks && len(before) == 0 {
		return nil, nil
	}
	if o.last == nil {
		o.last = make(map[conversation]chan struct{})
	}
	mine := make(chan struct{})
	for _, c := range of {
		o.last[c] = mine
	}
	return before, sync.OnceFunc(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, c := range of {
			if o.last[c] == mine {
				delete(o.last, c)
			}
		}
		close(mine)
	})
}

// inOrder does what a submit asks for in two halves: enter gives its messages
// their place in the order of acceptance, and what it gives back answers. A
// submit that asks the journal in its first half does that off the reader.
//
// Once it has entered a submit is seen through, whether or not its peer still
// listens. One that has not when the session ends is left alone, for its peer got
// no answer and will submit it again.
func (x *exchange) inOrder(of []conversation, asks bool, enter func(ctx context.Context) (finish func(ctx context.Context))) {
	if x.r.Context().Err() != nil {
		return
	}
	before, entered := x.b.order.line(of, asks)
	if entered == nil {
		ctx, cancel := x.limited()
		finish := enter(ctx)
		x.r.Go(func() {
			defer cancel()
			finish(ctx)
		})
		return
	}
	x.r.Go(func() {
		defer entered()
		ctx, cancel := x.limited()
		defer cancel()
		for _, ch := range before {
			select {
			case <-ch:
			case <-ctx.Done():
				x.answer(x.failure(ctx.Err()), nil)
				return
			}
		}
		if x.r.Context().Err() != nil {
			return
		}
		finish := enter(ctx)
		entered()
		finish(ctx)
	})
}

// limited gives a request the time that it may take. That time is not cut short
// when the session ends: a submit that has begun must not hang on whether its
// peer still listens.
func (x *exchange) limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(x.r.Context()), answerTimeout)
}
