package ingress

import (
	"context"
	"errors"

	"github.com/postrider/postrider/internal/message"
)

// Redriven says what became of a call of RedriveAll.
type Redriven struct {
	Taken int // messages that are on their way to their account now
	Left  int // messages whose number is still nobody's, or not enabled
	More  bool
}

// redriveBatch is how many messages one call of RedriveAll looks at.
const redriveBatch = 500

// Redrive takes in anew a message whose number was nobody's, for whose it is now. The
// error is ReasonNotFound if there is no such message, ReasonConflict if it was taken
// in already or its number is still nobody's.
func (in *Ingress) Redrive(ctx context.Context, by message.Actor, id message.ID) error {
	in.ready()
	u, err := in.Journal.UnroutedMessage(ctx, id)
	if err != nil {
		return err
	}
	return in.redrive(ctx, by, u)
}

// errNobodys says that a message cannot be taken in anew.
var errNobodys = message.Refuse(message.ReasonConflict, "the number is still nobody's, or not enabled")

func (in *Ingress) redrive(ctx context.Context, by message.Actor, u message.Unrouted) error {
	a := in.arrivalOf(u)
	if a.AccountID == (message.ID{}) {
		return errNobodys
	}
	arrived, err := in.Journal.Redrive(ctx, by, a)
	if err != nil {
		return err
	}
	in.arrived(arrived)
	if in.Metrics.Redriven != nil {
		in.Metrics.Redriven(a.AccountID)
	}
	return nil
}

// RedriveAll is Redrive for the oldest messages to a number, or, when that is empty, to
// all numbers, after one of them; zero: from the first. It gives the one to go on
// after while there are more, or after an error.
func (in *Ingress) RedriveAll(ctx context.Context, by message.Actor, number message.Address, after message.ID) (out Redriven, last message.ID, err error) {
	in.ready()
	found, err := in.Journal.UnroutedMessages(ctx, number, after, redriveBatch)
	last = after
	for _, f := range found {
		switch err := in.redrive(ctx, by, f); {
		case err == nil:
			out.Taken++
		case errors.Is(err, errNobodys):
			out.Left++
		case message.ReasonOf(err) == message.ReasonConflict, message.ReasonOf(err) == message.ReasonNotFound:
			// Somebody else has taken it in meanwhile.
		default:
			return out, last, err // the next call begins with it
		}
		last = f.ID
	}
	out.More = len(found) == redriveBatch
	return out, last, err
}

// MatchReceipt gives a receipt that matches nothing to a part, for staff who know whose
// it is, and tells the workflow if that decides the message.
func (in *Ingress) MatchReceipt(ctx context.Context, by message.Actor, receipt, id message.ID, part int) error {
	in.ready()
	matched, err := in.Journal.MatchReceipt(ctx, by, receipt, id, part)
	if err != nil {
		return err
	}
	if matched.Applied && matched.Progress.Decided() && !in.expected.decide(matched.MessageID) {
		in.sweeper.settle(matched.MessageID)
	}
	return nil
}
