package ingress

import (
	"context"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

const (
	// maxExpected is for how many messages a decision may be waited for at once:
	// half of the messages that a process works on, so that receipts that take
	// their time never hold up those that come behind.
	maxExpected = 256
	// expectFor is how long a message is expected to be waited for after its
	// submit: above the longest first webhook try, which lies in between.
	expectFor = 5 * time.Second
	// awaitFor is how long a decision is waited for. Networks that confirm at once
	// do so within it; telling a workflow later costs as much again as all that
	// came before. A receipt that came in by another process waits as long.
	awaitFor = time.Second
)

// expected knows the messages whose workflow waits, inside its first task and in
// this process, for receipts to decide them. It holds no only copy: a decided
// message has a row in settlements_due until its outcome is recorded.
type expected struct {
	missed func(message.ID) // gets the decisions that nobody waited for in the end

	mu     sync.Mutex
	byID   map[message.ID]*expectation
	closed bool
}

type expectation struct {
	came  chan struct{} // closed by the decision, or by close
	done  bool          // came by a decision
	lapse *time.Timer   // forgets it when nobody comes to wait
}

func (e *expected) make(missed func(message.ID)) {
	e.missed = missed
	e.byID = make(map[message.ID]*expectation)
}

// Expect announces that the message is being submitted and that AwaitDecision
// will be called for it.
func (in *Ingress) Expect(id message.ID) {
	in.ready()
	in.expected.add(id)
}

// AwaitDecision waits a moment for receipts to decide the message, and reports
// whether they have. It reports false at once for a message that was not
// expected. Safe for concurrent use; one call takes the expectation.
func (in *Ingress) AwaitDecision(ctx context.Context, id message.ID) bool {
	in.ready()
	return in.expected.await(ctx, id, awaitFor)
}

// Forget says that nobody will wait for an expected message after all. A
// decision that has come goes the other way.
func (in *Ingress) Forget(id message.ID) {
	in.ready()
	in.expected.forget(id)
}

func (e *expected) add(id message.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || len(e.byID) >= maxExpected || e.byID[id] != nil {
		return
	}
	x := &expectation{came: make(chan struct{})}
	x.lapse = time.AfterFunc(expectFor, func() { e.drop(id, x) })
	e.byID[id] = x
}

func (e *expected) drop(id message.ID, x *expectation) {
	if e.take(id, x) {
		e.missed(id)
	}
}

func (e *expected) forget(id message.ID) {
	if x := e.find(id); x != nil && x.lapse.Stop() {
		e.drop(id, x)
	}
}

func (e *expected) find(id message.ID) *expectation {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.byID[id]
}

// decide notes that receipts have decided the message, and reports whether
// somebody waits for that, or is about to.
func (e *expected) decide(id message.ID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.byID[id]
	if x == nil {
		return false
	}
	if !x.done {
		x.done = true
		close(x.came)
	}
	return true
}

func (e *expected) await(ctx context.Context, id message.ID, patience time.Duration) bool {
	x := e.find(id)
	if x == nil || !x.lapse.Stop() {
		return false // or it lapses in this moment, and is told the other way
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-x.came:
	case <-timer.C:
	case <-ctx.Done():
	}
	return e.take(id, x)
}

// take ends an expectation and reports whether its decision has come. What
// comes later is nobody's here.
func (e *expected) take(id message.ID, x *expectation) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.byID[id] == x {
		delete(e.byID, id)
	}
	return x.done
}

// close lets everybody go who waits. Decisions that nobody took are found in
// their table by whoever sweeps next.
func (e *expected) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for id, x := range e.byID {
		delete(e.byID, id)
		x.lapse.Stop()
		if !x.done {
			close(x.came)
		}
	}
}
