package smpp

import (
	"bytes"
	"context"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// replace changes a message that has not left: its text, its times, and whether a
// receipt is owed (SMPP 3.4 §4.10). An empty time or text leaves what there is;
// registered_delivery has no such value, so it is always the new one. The text costs
// its parts of the rate, as a submit's does. It is legal in BOUND_TX and BOUND_TRX.
func (x *exchange) replace(c *snapshot.SMPPCredential, p *smpp.ReplaceSM) {
	r, st := readReplace(p, x.s.now())
	if st != smpp.StatusOK {
		x.answer(st, nil)
		return
	}
	octets := bytes.Clone(p.ShortMessage) // they alias the frame
	x.work(func(ctx context.Context) {
		a, st := x.replaceable(ctx, p)
		if st != smpp.StatusOK {
			x.answer(st, nil)
			return
		}
		r.MessageID, r.AccountID, r.Edge = a.message.ID, x.b.account, message.EdgeSMPP
		if len(octets) > 0 {
			if r.Body, r.Encoding, st = x.replacement(c, a, octets); st != smpp.StatusOK {
				x.answer(st, nil)
				return
			}
		}
		if ok, _ := x.affordParts(x.partsOf(r), 1); !ok { // its sender's rate it has passed before
			return
		}
		_, err := x.s.Ingress.Revise(ctx, r)
		switch message.ReasonOf(err) {
		case "":
			x.answer(smpp.StatusOK, nil)
		case message.ReasonConflict, message.ReasonNotFound: // it has left since it was found
			x.answer(smpp.StatusReplaceFail, nil)
		default:
			x.answer(x.submitFailure(err), nil)
		}
	})
}

// readReplace reads what does not depend on the message. A schedule behind the
// validity is wrong by itself; how the times fit those that stay ingress knows.
func readReplace(p *smpp.ReplaceSM, now time.Time) (ingress.Revision, smpp.Status) {
	sendAt, err := smpp.ParseTime(p.Schedule, now)
	if err != nil {
		return ingress.Revision{}, smpp.StatusInvSchedule
	}
	expires, err := smpp.ParseTime(p.Validity, now)
	switch {
	case err != nil, !expires.IsZero() && !expires.After(now):
		return ingress.Revision{}, smpp.StatusInvExpiry
	case !expires.IsZero() && !expires.After(sendAt):
		return ingress.Revision{}, smpp.StatusInvSchedule
	}
	registered := p.RegisteredDelivery
	r := ingress.Revision{SendAt: sendAt, ExpiresAt: expires, Registered: &registered}
	return r, checkFlags(&smpp.Message{RegisteredDelivery: registered, DefaultMsgID: p.DefaultMsgID})
}

// replaceable finds the one message that is meant and may be changed. A batch is
// not one message, and of a message that was submitted in parts no part says what
// the whole is to say.
func (x *exchange) replaceable(ctx context.Context, p *smpp.ReplaceSM) (answered, smpp.Status) {
	found, st := x.find(ctx, p.MessageID, p.Source)
	switch {
	case st != smpp.StatusOK:
		return answered{}, st
	case len(found) > 1:
		return answered{}, smpp.StatusInvMsgID
	case found[0].origin.Part, !found[0].message.Status.Revisable():
		return answered{}, smpp.StatusReplaceFail
	}
	return found[0], smpp.StatusOK
}

// replacement decodes a new text by the data_coding of the submit, which holds. The
// wish for an alphabet is read from that as it was then.
func (x *exchange) replacement(c *snapshot.SMPPCredential, a answered, octets []byte) (string, message.Encoding, smpp.Status) {
	if a.message.Encoding == message.EncodingBinary {
		return string(octets), message.EncodingBinary, smpp.StatusOK
	}
	coding := byte(0)
	switch {
	case a.origin.Coding != nil:
		coding = *a.origin.Coding
	case a.message.Encoding == message.EncodingUCS2:
		coding = smpp.CodingUCS2
	}
	body, ok := text.DecodeStrict(coding, c.Alphabet, octets)
	if !ok {
		return "", "", smpp.StatusOf(message.ReasonEncodingMismatch)
	}
	if body == "" { // it is not what leaves the text as it is
		return "", "", smpp.StatusOf(message.ReasonInvalidRequest)
	}
	if text.IsUCS2(coding) {
		return body, message.EncodingUCS2, smpp.StatusOK
	}
	return body, message.EncodingAuto, smpp.StatusOK
}

// partsOf is what a replacement costs of the rate: its parts, and 1 when only times
// change, or when ingress will refuse the text.
func (x *exchange) partsOf(r ingress.Revision) int {
	account := x.s.Snapshot().Accounts[x.b.account]
	if account == nil || r.Body == "" {
		return 1
	}
	if r.Encoding == message.EncodingBinary {
		parts, err := text.SplitOctets(r.Body, 4, nil, false)
		if err != nil {
			return 1
		}
		return len(parts)
	}
	layout, err := text.Plan(r.Body, r.Encoding, account.SmartEncoding)
	if err != nil || len(layout.Parts) > account.MaxParts {
		return 1
	}
	return len(layout.Parts)
}
