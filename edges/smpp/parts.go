package smpp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// submitPart takes one part of a message that the ESME has cut itself, by user
// data header or sar_* parameters: sub.content tells which part of how many. Its
// fields were checked and it was taken from the rate. It is answered with an id of
// its own once it is committed; what the rules say of the joined message its
// receipts tell.
func (x *exchange) submitPart(c *snapshot.SMPPCredential, m *smpp.Message, sub *submission) {
	if len(sub.content.Octets) > smpp.MaxShortMessage { // in message_payload: that is no part of a short message
		x.answer(smpp.StatusInvMsgLen, nil)
		return
	}
	r := sub.request(0)
	if x.b.legacy {
		r.SMPP.AnswerID = shortID()
	}
	sub.hash = partHash(sub)
	r.Key = sub.keyOf(submitOperation, r.SMPP.AnswerID)
	p := ingress.Part{Request: r, Reference: sub.content.Reference, Total: sub.content.Parts, Number: sub.content.Part,
		Coding: m.DataCoding, Alphabet: c.Alphabet, Octets: bytes.Clone(sub.content.Octets)} // they alias the frame
	x.inOrder(sub.conversations(), true, func(ctx context.Context) func(context.Context) {
		out, err := x.s.Ingress.Part(ctx, p)
		return func(context.Context) {
			switch {
			case err != nil:
				x.answer(x.submitFailure(err), nil)
			case out.Replay != nil:
				x.answer(smpp.Status(out.Replay.Status), submitted(x.r, string(out.Replay.Response)))
			default:
				x.answer(smpp.StatusOK, submitted(x.r, out.AnswerID))
			}
		}
	})
}

// partHash tells parts with the same text apart: they are not the same request.
func partHash(sub *submission) [32]byte {
	c := sub.content
	b := binary.BigEndian.AppendUint32(sub.hash[:], uint32(c.Reference))
	return sha256.Sum256(append(b, byte(c.Parts), byte(c.Part)))
}
