package smpp

import (
	"context"
	"log/slog"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// Desk takes what vendors send over SMPP, whoever of the two has bound: it reads
// receipts and inbound messages, has them committed, and answers. Inbound messages of
// one sender to one number are committed one after the other, in the order in which
// they came. OnReceipt and OnInbound are needed. It is safe for concurrent use.
type Desk struct {
	OnReceipt vendors.OnReceipt
	OnInbound vendors.OnInbound
	Log       *slog.Logger // nil: nothing is logged
	// Received is told of each receipt and inbound message, and whether it was
	// committed; nil: nobody is. It must not block.
	Received func(vendor, kind string, committed bool)

	line line
}

// Take answers a request once what it says is committed, within commitTimeout and life.
// It runs on the session's reader and does not wait. A refusal asks the vendor to send
// again.
func (d *Desk) Take(life context.Context, v *snapshot.Vendor, r *smpp.Request) {
	var m smpp.Message
	var yes smpp.PDU // the answer's body
	id := message.NewID()
	switch body := r.Body.(type) {
	case *smpp.DeliverSM:
		m = body.Message
	case *smpp.DataSM:
		m, yes = body.Message(), &smpp.DataSMResp{MessageID: message.Hex32(id)}
	case *smpp.SubmitSM:
		m, yes = body.Message, &smpp.SubmitSMResp{MessageID: message.Hex32(id)}
	default:
		_ = r.Respond(smpp.StatusInvCmdID, nil)
		return
	}
	received := time.Now()
	content, _ := m.Content() // what is odd in it is read as far as it goes
	read := reader{v, smpp.IDFormat(v.IDFormat)}
	receipt, isReceipt := read.receipt(&m, content, received)
	turn := turnOf{}
	if !isReceipt {
		turn = d.line.enter(m.Source.Text, m.Dest.Text)
	}
	r.Go(func() {
		defer turn.leave()
		answered := false
		defer func() { // a panic above us must not leave the vendor waiting
			if !answered {
				_ = r.Respond(smpp.StatusTempAppError, nil)
			}
		}()
		ctx, cancel := context.WithTimeout(life, commitTimeout)
		defer cancel()
		st := smpp.StatusTempAppError
		if isReceipt {
			st = d.taken(v.Name, "receipt", d.OnReceipt(ctx, receipt))
		} else if err := turn.wait(ctx); err != nil {
			st = d.taken(v.Name, "inbound", err)
		} else {
			st = d.taken(v.Name, "inbound", d.OnInbound(ctx, read.inbound(&m, content, received)))
		}
		answered = true
		_ = r.Respond(st, yes)
	})
}

// taken is the answer to what was handed up: a receipt or an inbound message.
func (d *Desk) taken(vendor, kind string, err error) smpp.Status {
	if d.Received != nil {
		d.Received(vendor, kind, err == nil)
	}
	if err != nil {
		if d.Log != nil {
			d.Log.Warn("vendor is asked to send again", "vendor", vendor, "kind", kind, "error", err)
		}
		return smpp.StatusTempAppError
	}
	return smpp.StatusOK
}
