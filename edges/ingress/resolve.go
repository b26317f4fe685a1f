package ingress

import (
	"context"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/internal/message"
)

// Resolution is what staff say of a message in doubt.
type Resolution struct {
	MessageID message.ID
	As        message.Resolution
	By        message.Actor
	Note      string // why, for the timeline as staff see it
}

// Resolve moves a message out of doubt: to sent, to failed, or to queued, from where it
// is offered again and counts as a possible duplicate. ReasonConflict when it is not in
// doubt any more, or when what is said cannot be true of it; ReasonNotFound when there is
// no such message. The caller has written the audit log.
//
// The record decides, as a cancellation does while Temporal is away: its workflow waits
// for receipts, and is told to look at it now, by the sweep if it cannot be told at once,
// and looks by itself sooner or later. A message whose workflow has ended is not sent
// again: nobody would carry it.
func (in *Ingress) Resolve(ctx context.Context, r Resolution) error {
	in.ready()
	if r.As == message.ResolvedSendAgain {
		short, cancel := context.WithTimeout(ctx, cancelTimeout)
		err := in.Temporal.Decided(short, r.MessageID) // it looks, and finds nothing new
		cancel()
		if message.ReasonOf(err) == message.ReasonNotFound {
			return in.unattended(ctx, r.MessageID)
		}
	}
	out, err := in.Outcome(ctx, record.Input{MessageID: r.MessageID, Staff: &record.Finding{As: r.As, Actor: r.By.Name, Note: r.Note}})
	if err != nil {
		return err
	}
	if err := in.post(ctx, "resolved", out.Notify); err != nil {
		in.Log.Debug("customer not told of a resolved message, the sweep will", "message_id", r.MessageID, "error", err)
	}
	short, cancel := context.WithTimeout(ctx, cancelTimeout)
	defer cancel()
	if err := in.settle(short, r.MessageID); err != nil {
		in.Log.Debug("workflow not told of a resolved message, the sweep will", "message_id", r.MessageID, "error", err)
	}
	return nil
}

// unattended says why a message without a workflow is not sent again.
func (in *Ingress) unattended(ctx context.Context, id message.ID) error {
	m, err := in.Journal.Message(ctx, id)
	switch {
	case err != nil:
		return err
	case m.Status != message.StatusInDoubt:
		return message.Refuse(message.ReasonConflict, "the message is %s, and not in doubt", m.Status)
	}
	return message.Refuse(message.ReasonConflict, "the workflow of the message has ended; resolve it as sent or not_sent, and retry it as a new message")
}
