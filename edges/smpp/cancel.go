package smpp

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// maxCancel is how many messages one cancel_sm withdraws; more are left for the
// next.
const maxCancel = 1000

// cancel withdraws a message by its id, or without an id all of a source and a
// destination. It is ROK when a message was withdrawn: of several, those that
// had left are told by their receipts. It is legal in BOUND_TX and BOUND_TRX.
func (x *exchange) cancel(p *smpp.CancelSM) {
	x.work(func(ctx context.Context) {
		var ids []message.ID
		var st smpp.Status
		if strings.TrimSpace(p.MessageID) != "" {
			ids, st = x.cancelable(ctx, p)
		} else {
			ids, st = x.between(ctx, p)
		}
		if st == smpp.StatusOK {
			st = x.withdraw(ctx, ids)
		}
		x.answer(st, nil)
	})
}

// cancelable gives the messages of an id that may still be withdrawn. A
// destination, if there is one, must be theirs (SMPP 3.4 §4.9.1); of a batch it
// names the one that is meant.
func (x *exchange) cancelable(ctx context.Context, p *smpp.CancelSM) ([]message.ID, smpp.Status) {
	found, st := x.find(ctx, p.MessageID, p.Source)
	if st != smpp.StatusOK {
		return nil, st
	}
	var ids []message.ID
	known := false
	for _, a := range found {
		if p.Dest.Text != "" && !sameNumber(a.origin.Dest.Text, p.Dest.Text) {
			continue
		}
		known = true
		if a.message.Status.Cancelable() {
			ids = append(ids, a.message.ID)
		}
	}
	if !known {
		return nil, smpp.StatusInvMsgID
	}
	return ids, smpp.StatusOK
}

// between gives the messages from the source to the destination that may still
// be withdrawn.
func (x *exchange) between(ctx context.Context, p *smpp.CancelSM) ([]message.ID, smpp.Status) {
	switch {
	case !utf8.ValidString(p.Source.Text):
		return nil, smpp.StatusInvSource
	case p.Dest.Text == "" || !utf8.ValidString(p.Dest.Text):
		return nil, smpp.StatusInvDest
	}
	ids, err := x.s.Journal.Between(ctx, x.b.credential, written(p.Source), written(p.Dest), maxCancel)
	if err != nil {
		return nil, x.failure(err)
	}
	return ids, smpp.StatusOK
}

// withdraw cancels the messages: ROK when one was withdrawn, RCANCELFAIL when
// none could be. When some try failed by our fault the ESME is to try again,
// which does no harm to those that are withdrawn.
func (x *exchange) withdraw(ctx context.Context, ids []message.ID) smpp.Status {
	errs := make([]error, len(ids))
	x.fan(len(ids), func(i int) { errs[i] = x.s.Ingress.Cancel(ctx, ids[i]) })
	st := smpp.StatusCancelFail
	for _, err := range errs {
		switch message.ReasonOf(err) {
		case "":
			st = smpp.StatusOK
		case message.ReasonConflict, message.ReasonNotFound: // it has left
		default:
			return x.failure(err)
		}
	}
	return st
}
