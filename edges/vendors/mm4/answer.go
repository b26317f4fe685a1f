package mm4

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// waiter is a submit that waits for its answer. One value comes at most; nobody closes
// the channel.
type waiter struct {
	since  time.Time
	answer chan message.MM4Answer // capacity 1
}

// expect begins to look for the answer to an attempt; forget ends it. Nil: somebody does
// already.
func (l *Link) expect(ref message.AttemptRef) *waiter {
	w := &waiter{since: time.Now(), answer: make(chan message.MM4Answer, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting[ref] != nil {
		return nil
	}
	l.waiting[ref] = w
	if !l.looking {
		l.looking = true
		l.looks.Go(l.look)
	}
	return w
}

func (l *Link) forget(ref message.AttemptRef) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, ref)
}

// lookTimeout bounds one look.
const lookTimeout = 10 * time.Second

// look looks for answers as long as somebody waits for one. An answer that came before
// its submit waits is found as well.
func (l *Link) look() {
	tick := time.NewTicker(l.cfg.Poll)
	defer tick.Stop()
	var last time.Time
	failing := false
	for {
		refs, fresh := l.awaited()
		if refs == nil {
			return
		}
		if fresh || time.Since(last) >= slowPoll {
			last = time.Now()
			err := l.lookOnce(refs)
			if err != nil && !failing {
				l.cfg.Log.Warn("answers of the vendor cannot be read; the messages wait", "error", err)
			}
			failing = err != nil
		}
		<-tick.C
	}
}

func (l *Link) lookOnce(refs []message.AttemptRef) error {
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	answers, err := l.cfg.Answers.TakeMM4Answers(ctx, l.vendor.ID, refs)
	for _, a := range answers {
		l.deliver(a)
	}
	return err
}

// awaited lists the attempts that are waited for, and says whether one of them went a
// moment ago. Nil: there is none, and whoever comes next begins to look.
func (l *Link) awaited() (refs []message.AttemptRef, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref, w := range l.waiting {
		refs = append(refs, ref)
		fresh = fresh || time.Since(w.since) < freshFor
	}
	l.looking = refs != nil
	return refs, fresh
}

func (l *Link) deliver(a message.MM4Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref, w := range l.waiting {
		if ref.MessageID == a.MessageID && ref.Attempt == a.Attempt {
			select {
			case w.answer <- a:
			default: // it has one
			}
		}
	}
}
