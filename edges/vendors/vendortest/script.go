package vendortest

import (
	"context"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// ReplyKind is what a fake vendor says to a submission.
type ReplyKind int

// The kinds of a Reply.
const (
	Accept    ReplyKind = iota
	Throttle            // too fast: later, as nothing else for the moment
	Temporary           // the vendor's own trouble, which it answers with: later
	Permanent           // never
	Silent              // no answer at all; the connection stays
	Cut                 // the connection ends after the submission was read
)

// Reply is how a fake vendor answers one submission. The zero Reply accepts it.
type Reply struct {
	Kind ReplyKind
	// Hold keeps the reply back until it is closed; nil: it comes at once. It may
	// stay open: the end of the vendor ends the wait.
	Hold <-chan struct{}
	// First is a receipt for the submission that the vendor sends, and sees
	// acknowledged, before it replies; empty: none.
	First message.ReceiptState
}

// Came is a submission as it came to a fake vendor.
type Came struct {
	Number   int      // from 1, over all connections
	ID       string   // the vendor's for it: in its answer and its receipts
	From, To string   // as the vendor reads them
	Text     string   // of the part, or of the whole message; empty for octets
	Octets   []byte   // when it is no text
	Media    []string // URLs of the files of an MMS
	Parts    int      // that it says it is one of; 0 or 1: none
	At       time.Time
	Ref      any // the fake's own; nil
}

// Script is what a fake vendor is told to answer, and what came to it. Fakes embed
// it. The zero Script accepts everything; it is safe for concurrent use.
type Script struct {
	mu      sync.Mutex
	replies []Reply
	came    []Came
	open    int
	peak    int
	changed chan struct{} // closed and replaced when something came; nil: nobody waits
}

// Answer adds replies for the next submissions, one for each; without one they are
// accepted.
func (s *Script) Answer(replies ...Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies = append(s.replies, replies...)
}

// Arrive takes a submission down, with its Number and time, and gives its reply. The
// fake calls it as soon as it has read one, and Left when it has answered or given it
// up. name makes the ID from the number; nil leaves it.
func (s *Script) Arrive(c Came, name func(n int) string) (Came, Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Number, c.At = len(s.came)+1, time.Now()
	if name != nil {
		c.ID = name(c.Number)
	}
	s.came = append(s.came, c)
	s.open++
	s.peak = max(s.peak, s.open)
	var r Reply
	if len(s.replies) > 0 {
		r, s.replies = s.replies[0], s.replies[1:]
	}
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	return c, r
}

// Left says that a submission is answered or given up. The fake calls it before the
// answer is written: what comes next may come by then.
func (s *Script) Left() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// Came lists what came, refused and unanswered ones among it.
func (s *Script) Came() []Came {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Came(nil), s.came...)
}

// Peak is the most submissions that were unanswered at once.
func (s *Script) Peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

// WaitCame waits until at least n submissions came.
func (s *Script) WaitCame(ctx context.Context, n int) ([]Came, error) {
	for {
		s.mu.Lock()
		if len(s.came) >= n {
			s.mu.Unlock()
			return s.Came(), nil
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return s.Came(), ctx.Err()
		}
	}
}
