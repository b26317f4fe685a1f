package smpp

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// multi takes a submit_multi in: a message for each number, as often as it is
// named. All are answered, queried and reported under one batch id; those that
// were refused are named in the answer with their status. When none was taken
// the answer is the first one's refusal. It is legal in BOUND_TX and BOUND_TRX.
func (x *exchange) multi(c *snapshot.SMPPCredential, p *smpp.SubmitMulti) {
	dests := make([]smpp.Address, len(p.Dests))
	for i, d := range p.Dests {
		if d.List != "" { // we keep none, so there is no part of this to do
			x.answer(smpp.StatusNoDistList, nil)
			return
		}
		dests[i] = d.Address
	}
	sub, st := x.read(c, &p.Message, dests)
	switch {
	case st != smpp.StatusOK:
		x.refuse(c, st)
		return
	case sub.content.Parts > 1:
		// A part has one recipient: what joins the parts could not tell which
		// number of which PDU belong together.
		x.answer(partsRefused(&p.Message), nil)
		return
	case !x.afford(&sub):
		return
	}
	batch := x.batchID(&sub)
	// With a key it asks the journal before the rest may enter.
	x.inOrder(sub.conversations(), sub.key != "", func(ctx context.Context) func(context.Context) {
		placed := x.place(ctx, &sub, batch)
		return func(ctx context.Context) { x.answerMulti(sub.to, placed(ctx), batch) }
	})
}

// partsRefused names what says that the PDU is a part.
func partsRefused(m *smpp.Message) smpp.Status {
	if m.ESMClass&smpp.ESMUDHI != 0 {
		return smpp.StatusInvESMClass
	}
	return smpp.StatusOptParNotAllowed
}

// batchID is the message_id of a submit_multi. With an idempotency key it
// follows from key and content, so that what an earlier, broken-off try has
// stored and what this one adds are one batch.
func (x *exchange) batchID(sub *submission) string {
	if sub.key == "" {
		if x.b.legacy {
			return shortID()
		}
		return message.Hex32(message.NewID())
	}
	h := sha256.New()
	h.Write(x.b.account[:])
	h.Write(sub.hash[:])
	h.Write([]byte(sub.key))
	id := message.ID(h.Sum(nil)[:len(message.ID{})])
	if x.b.legacy {
		return message.Hex32(id)[:8]
	}
	return message.Hex32(id)
}

// place enters the messages, and what it gives back says what has become of
// each. With a key the first one goes ahead alone: unless it is stored, the key
// may belong to another request, and nothing of this one may be.
func (x *exchange) place(ctx context.Context, sub *submission, batch string) func(context.Context) []placed {
	out := make([]placed, len(sub.to))
	var todo []int
	for i, to := range sub.to {
		out[i].status = to.status
		if to.status == smpp.StatusOK {
			todo = append(todo, i)
		}
	}
	enter := func(n int) func(context.Context) placed {
		r := sub.request(todo[n])
		r.SMPP.AnswerID = batch
		r.Key = sub.keyOf(fmt.Sprintf("submit_multi %d", n), batch)
		return x.enter(r)
	}
	done := 0
	if sub.key != "" {
		first := enter(0)(ctx)
		if !first.stored {
			for _, i := range todo {
				out[i] = first
			}
			return func(context.Context) []placed { return out }
		}
		out[todo[0]], done = first, 1
	}
	waits := make([]func(context.Context) placed, len(todo))
	for n := done; n < len(todo); n++ {
		waits[n] = enter(n)
	}
	return func(ctx context.Context) []placed {
		for n := done; n < len(todo); n++ {
			out[todo[n]] = waits[n](ctx)
		}
		return out
	}
}

// answerMulti gives the answer, in the order of the destinations.
func (x *exchange) answerMulti(to []recipient, out []placed, batch string) {
	resp := &smpp.SubmitMultiResp{MessageID: batch}
	for i, p := range out {
		if p.status != smpp.StatusOK {
			resp.Unsuccess = append(resp.Unsuccess, smpp.Unsuccess{Address: to[i].written, Status: p.status})
		}
	}
	if len(resp.Unsuccess) == len(out) {
		x.answer(out[0].status, nil)
		return
	}
	x.answer(smpp.StatusOK, resp)
}
