package vendortest

import (
	"context"
	"errors"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/text"
)

// ScriptedSMSC is an SMSC that follows a Script: a Vendor for the conformance suite.
type ScriptedSMSC struct {
	Script
	SMSC *SMSC
}

// Statuses are what a ScriptedSMSC answers where it does not accept.
type Statuses struct{ Throttle, Temporary, Permanent smpp.Status }

// UsualStatuses are those of SMPP 3.4.
var UsualStatuses = Statuses{Throttle: smpp.StatusThrottled, Temporary: smpp.StatusSystemError, Permanent: smpp.StatusInvDest}

// ListenScripted starts one on a free port of the loopback. The OnSubmit of cfg is its
// own. Close of the SMSC ends it.
func ListenScripted(cfg Config, st Statuses) (*ScriptedSMSC, error) {
	v := &ScriptedSMSC{}
	cfg.OnSubmit = func(s Submit) Answer { return v.play(s, st) }
	smsc, err := Listen("", cfg)
	v.SMSC = smsc
	return v, err
}

func (v *ScriptedSMSC) play(s Submit, st Statuses) Answer {
	c, reply := v.Arrive(cameOf(s), nil)
	c.ID = s.ID
	a := Answer{Hold: reply.Hold, Leaving: v.Left}
	if reply.First != "" {
		a.Before = append(a.Before, receiptFor(c, reply.First))
	}
	switch reply.Kind {
	case Throttle:
		a.Status = st.Throttle
	case Temporary:
		a.Status = st.Temporary
	case Permanent:
		a.Status = st.Permanent
	case Silent:
		a.Silence = true
	case Cut:
		a.Disconnect = true
	}
	return a
}

// cameOf reads a submit the way a handset would.
func cameOf(s Submit) Came {
	m := s.PDU.Message
	c := Came{ID: s.ID, From: m.Source.Text, To: m.Dest.Text, Ref: s}
	content, _ := m.Content()
	c.Parts = content.Parts
	if words, ok := text.Decode(m.DataCoding, text.AlphabetGSM7, content.Octets); ok {
		c.Text = words
	} else {
		c.Octets = append([]byte{}, content.Octets...)
	}
	return c
}

// Binds is how often an ESME has bound.
func (v *ScriptedSMSC) Binds() int { return v.SMSC.Binds() }

// CutAll ends all connections.
func (v *ScriptedSMSC) CutAll() { v.SMSC.Disconnect() }

// SendReceipt sends the usual receipt to one of those that are bound to receive.
func (v *ScriptedSMSC) SendReceipt(ctx context.Context, c Came, state message.ReceiptState) error {
	return taken(v.SMSC.Deliver(ctx, receiptFor(c, state)))
}

// SendInbound sends a message with its ID in receipted_message_id, the only place that
// there is for one.
func (v *ScriptedSMSC) SendInbound(ctx context.Context, in Inbound) error {
	d := &smpp.DeliverSM{Message: smpp.Message{
		Source: smpp.AddressOf(message.Address(in.From)), Dest: smpp.AddressOf(message.Address(in.To)),
	}}
	if err := d.SetText(smpp.Outgoing{Text: in.Text, Encoding: message.EncodingGSM7}); err != nil {
		return err
	}
	if in.ID != "" {
		d.TLVs.AddCString(smpp.TagReceiptedMessageID, in.ID)
	}
	return taken(v.SMSC.Deliver(ctx, d))
}

// taken is what an answer to a deliver_sm means.
func taken(err error) error {
	var refused *smpp.StatusError
	if errors.As(err, &refused) && refused.Status == smpp.StatusTempAppError {
		return ErrAskedAgain
	}
	return err
}

// receiptFor is a receipt for what came, with the err 001 when it failed.
func receiptFor(c Came, state message.ReceiptState) *smpp.DeliverSM {
	code := "001"
	if state == message.ReceiptDelivered {
		code = ""
	}
	return Receipt(Submit{ID: c.ID, At: c.At, PDU: &smpp.SubmitSM{Message: smpp.Message{
		Source: smpp.AddressOf(message.Address(c.From)), Dest: smpp.AddressOf(message.Address(c.To)),
	}}}, state, code)
}
