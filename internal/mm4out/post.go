package mm4out

import (
	"context"
	"sync"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/smtpout"
	"github.com/postrider/postrider/internal/snapshot"
)

// atOnce is how many messages to one peer are on their way at once from this process. A
// peer that hangs holds so many, and none of another's.
const atOnce = 2 * smtpout.DefaultConnections

// Post sends messages to customers' peers. Fill in the fields, then use it. Safe for
// concurrent use.
type Post struct {
	Own    System
	Sender *smtpout.Sender
	Store  Store // nil: this process has none, and messages with files fail for now

	mu   sync.Mutex
	busy map[string]int // messages on their way, by the peer's name
}

// BusyError says that the peer has enough of our messages to answer. Nothing was tried.
type BusyError struct{ Peer string }

// Error names the peer.
func (e *BusyError) Error() string {
	return "peer " + e.Peer + ": others of our messages wait for its answers"
}

// Retryable reports true.
func (e *BusyError) Retryable() bool { return true }

// SetupError is a peer that nothing can be sent to as it is set up, or we are.
type SetupError struct{ Err error }

// Error names the field.
func (e *SetupError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *SetupError) Unwrap() error { return e.Err }

// Retryable reports true: somebody may mend it.
func (e *SetupError) Retryable() bool { return true }

// Send hands a message of the gateway's to a peer: f, whose ids are made of the message's,
// and of n, which tells apart the places that one message goes to. Nil: the peer has taken
// it. An error is a *BusyError, a *SetupError, a *mm4.Fault, or a *smtpout.Error; see
// MayPass.
func (p *Post) Send(ctx context.Context, to *snapshot.MM4Peer, id message.ID, n int, f Forward) error {
	peer, err := CustomerPeer(to, p.Own)
	if err != nil {
		return &SetupError{err}
	}
	if !p.enter(to.Name) {
		return &BusyError{to.Name}
	}
	defer p.leave(to.Name)
	f.TransactionID, f.MessageID = mm4.TransactionID(id, mm4.ForwardREQ, n), mm4.MessageID(id, p.Own.Domain)
	m, err := f.Mail(ctx, p.Own, &peer, p.Store)
	if err != nil {
		return err
	}
	peer.Target.Name = "peer " + peer.Target.Name
	_, err = p.Sender.Send(ctx, &peer.Target, m)
	return err
}

// MayPass reports whether a message that Send has not handed over may be tried again: it
// was not taken for now, or nobody knows. Its ids stay, so that a peer that has it knows
// it.
func MayPass(err error) bool {
	switch e := err.(type) { //nolint:errorlint // Send wraps none of them
	case *BusyError, *SetupError:
		return true
	case *smtpout.Error:
		return e.Ambiguous() || e.Retryable()
	}
	return false
}

func (p *Post) enter(peer string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy[peer] >= atOnce {
		return false
	}
	if p.busy == nil {
		p.busy = make(map[string]int)
	}
	p.busy[peer]++
	return true
}

func (p *Post) leave(peer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy[peer]--; p.busy[peer] == 0 {
		delete(p.busy, peer)
	}
}
