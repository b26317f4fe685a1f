package deliver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4out"
	"github.com/postrider/postrider/internal/snapshot"
)

// Peers hands messages to customers' MMSCs, as mm4out.Post does.
type Peers interface {
	Send(ctx context.Context, to *snapshot.MM4Peer, id message.ID, n int, f mm4out.Forward) error
}

// mm4Lifetime is how long a message is tried at a peer whose row says nothing, or is gone.
const mm4Lifetime = 72 * time.Hour

// mm4SendTimeout bounds one dialogue: the answer to the final dot may take 10 min (RFC
// 5321 §4.5.3.2.6), and who waits less makes doubles.
const mm4SendTimeout = 12 * time.Minute

// errNoPeer is of an account whose peer is gone, or was switched off.
var errNoPeer = errors.New("the account has no enabled MM4 peer with a host")

// errNoMM4 is of a process that cannot send.
var errNoMM4 = errors.New("nothing is sent over MM4 from here")

// SendMM4 hands the message to the account's peer, and fails while it should be tried
// again. Running it twice may send it twice, with the same ids, by which the peer knows
// it; what is done with is left alone.
func (a *Activities) SendMM4(ctx context.Context, in Input) error {
	d, err := a.delivery(ctx, in)
	if err != nil || d.State != message.InboundPending {
		return activities.Fail(err)
	}
	m, err := a.received(ctx, in.MessageID)
	if err != nil {
		return activities.Fail(err)
	}
	peer := a.Snapshot().MM4PeerOf(m.AccountID)
	lifetime := mm4Lifetime
	if peer != nil && peer.MOLifetime > 0 {
		lifetime = peer.MOLifetime
	}
	stop := activities.Beat(ctx)
	sent := a.sendMM4(ctx, peer, m, d)
	stop()
	var busy *mm4out.BusyError
	if errors.As(sent, &busy) && a.Now().Sub(d.CreatedAt) < lifetime {
		return againIn(busyGap) // nothing was tried
	}
	state, failure := message.InboundDelivered, ""
	if sent != nil {
		state, failure = message.InboundFailed, sent.Error()
		if (errors.Is(sent, errNoPeer) || errors.Is(sent, errNoMM4) || mm4out.MayPass(sent)) && a.Now().Sub(d.CreatedAt) < lifetime {
			state = message.InboundPending
		}
	}
	// The try was made: it is recorded even if the caller's time is over.
	if err := a.Journal.RecordMail(context.WithoutCancel(ctx), in.MessageID, in.Position, state, failure); err != nil {
		return activities.Fail(err)
	}
	if state == message.InboundPending {
		return againIn(mm4Gaps[min(d.Attempts, len(mm4Gaps)-1)])
	}
	return nil
}

// GiveUpMM4 ends a message to a peer that was tried for as long as anything is.
func (a *Activities) GiveUpMM4(ctx context.Context, in Input) error {
	return activities.Fail(a.Journal.RecordMail(ctx, in.MessageID, in.Position, message.InboundFailed, "tried for as long as it may be"))
}

func (a *Activities) sendMM4(ctx context.Context, peer *snapshot.MM4Peer, m message.Received, d message.InboundDelivery) error {
	switch {
	case a.Peers == nil:
		return errNoMM4
	case peer == nil:
		return errNoPeer
	}
	ctx, cancel := context.WithTimeout(ctx, mm4SendTimeout)
	defer cancel()
	return a.Peers.Send(ctx, peer, m.ID, d.Position, forwardOf(m))
}

// forwardOf is the message as a peer gets it.
func forwardOf(m message.Received) mm4out.Forward {
	f := mm4out.Forward{From: m.From, To: m.To, Subject: m.Subject, Date: m.ReceivedAt, Class: m.Class, ReadReport: m.ReadReport}
	for _, a := range m.Group {
		if a != m.To {
			f.With = append(f.With, a)
		}
	}
	text, shown := m.Text()
	if f.Text = text; !shown {
		f.Text = "(This message is no text. It can be fetched from the API.)"
	}
	for _, file := range m.Files {
		if file.Fetched() {
			f.Files = append(f.Files, file.File)
		}
	}
	if lost := len(m.Media) - len(f.Files); lost > 0 {
		f.Text += fmt.Sprintf("\n\n(%d of its files could not be fetched.)", lost)
	}
	if !m.Complete {
		f.Text += "\n\n(Parts of this message never came.)"
	}
	return f
}

// mm4Gaps lie between the tries at a peer; the last goes on.
var mm4Gaps = [...]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}

// busyGap is when a message is tried that found no room.
const busyGap = 20 * time.Second

// againIn asks for another try. The peer being away is expected: no error of ours.
func againIn(gap time.Duration) error {
	return temporal.NewApplicationErrorWithOptions("the peer did not take the message", "mm4_pending",
		temporal.ApplicationErrorOptions{NextRetryDelay: time.Duration(float64(gap) * (0.9 + 0.2*rand.Float64())), Category: temporal.ApplicationErrorCategoryBenign})
}
