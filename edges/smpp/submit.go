package smpp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// submitOperation is what the idempotency key of a submit_sm belongs to, and of
// a data_sm, which says the same in another form.
const submitOperation = "submit_sm"

// submit takes a submit_sm in. It is legal in BOUND_TX and BOUND_TRX.
func (x *exchange) submit(c *snapshot.SMPPCredential, m *smpp.Message) {
	sub, st := x.read(c, m, []smpp.Address{m.Dest})
	switch {
	case st != smpp.StatusOK:
		x.refuse(c, st)
		return
	case !x.afford(&sub):
		return
	case sub.content.Parts > 1:
		x.submitPart(c, m, &sub)
		return
	}
	r := sub.request(0)
	if x.b.legacy {
		r.SMPP.AnswerID = shortID()
	}
	r.Key = sub.keyOf(submitOperation, r.SMPP.AnswerID)
	x.inOrder(sub.conversations(), false, func(context.Context) func(context.Context) {
		wait := x.enter(r)
		return func(ctx context.Context) {
			p := wait(ctx)
			x.answer(p.status, submitted(x.r, p.id))
		}
	})
}

// data takes a data_sm in: a submit_sm whose text is in message_payload. It is
// legal in BOUND_TX and BOUND_TRX.
func (x *exchange) data(c *snapshot.SMPPCredential, p *smpp.DataSM) {
	if _, ok := p.TLVs.Get(smpp.TagMessagePayload); !ok {
		x.answer(smpp.StatusMissingOptParam, nil)
		return
	}
	m := p.Message()
	x.submit(c, &m)
}

// submitted is the answer to a submit_sm or data_sm that was taken.
func submitted(r *smpp.Request, id string) smpp.PDU {
	if _, ok := r.Body.(*smpp.DataSM); ok {
		return &smpp.DataSMResp{MessageID: id}
	}
	return &smpp.SubmitSMResp{MessageID: id}
}

// afford takes a submission from the rates: its parts from the credential's, and its
// messages from the sender's if the number has one. A message that comes in parts
// counts with the first of them. Without room for any message the request is
// answered, nothing is stored and nothing taken, and false comes back; with room for
// some of several the others are marked as refused.
func (x *exchange) afford(sub *submission) bool {
	cost := sub.parts * len(sub.to)
	ok, giveBack := x.affordParts(cost, len(sub.to))
	if !ok {
		return false
	}
	var wanted []int // of sub.to
	for i, to := range sub.to {
		if to.status == smpp.StatusOK && (sub.content.Parts <= 1 || sub.content.Part == 1) {
			wanted = append(wanted, i)
		}
	}
	rate, limited := ingress.NumberRate(x.s.Snapshot(), sub.account, sub.common.From)
	if !limited || len(wanted) == 0 {
		return true
	}
	granted, v := x.s.takeMessages(rate, len(wanted))
	if granted > 0 {
		sub.common.Rate = message.TrailEntry{Rule: policy.RuleRate, Result: message.Pass, Detail: v.Detail}
	}
	if granted == len(wanted) {
		return true
	}
	x.throttled(limit.ScopeNumber, len(wanted)-granted)
	if granted == 0 {
		giveBack(cost)
		x.answer(smpp.StatusThrottled, nil)
		return false
	}
	giveBack(sub.parts * (len(wanted) - granted))
	for _, i := range wanted[granted:] {
		sub.to[i].status = smpp.StatusThrottled
	}
	return true
}

// affordParts takes parts from the credential's rate. Over it the request, of so many
// messages, is answered, and false comes back.
func (x *exchange) affordParts(parts, messages int) (ok bool, giveBack func(int)) {
	if ok, giveBack = x.s.allow(x.b, parts); !ok {
		x.throttled(limit.ScopeBind, messages)
		x.answer(smpp.StatusThrottled, nil)
	}
	return ok, giveBack
}

// throttled tells of messages that were refused for a rate.
func (x *exchange) throttled(scope string, messages int) {
	if x.s.Metrics.Throttled != nil {
		x.s.Metrics.Throttled(x.b.account, scope, messages)
	}
}

// refuse answers a submit that breaks a rule of its fields. It takes nothing from
// the rate, but a session that sends nothing else floods us all the same.
func (x *exchange) refuse(c *snapshot.SMPPCredential, st smpp.Status) {
	x.s.offered(x.b, c.Throughput, 1)
	x.answer(st, nil)
}

// placed is what became of a message: a status, and with ROK its message_id.
type placed struct {
	status smpp.Status
	id     string
	stored bool // in the journal, as a message or as a refused one
}

// enter gives one message its place in the order of acceptance, and wait says
// what has become of it. That is ROK only after the commit, of this request or of
// the first one with its key, and then has the id that was answered.
func (x *exchange) enter(r ingress.Request) (wait func(ctx context.Context) placed) {
	commit := x.s.Ingress.Enter(r)
	return func(ctx context.Context) placed {
		out, err := commit(ctx)
		switch {
		case err != nil:
			return placed{status: x.submitFailure(err), stored: out.Message != nil}
		case out.Replay != nil:
			return placed{status: smpp.Status(out.Replay.Status), id: string(out.Replay.Response), stored: true}
		case out.Message == nil:
			return placed{status: x.submitFailure(errors.New("ingress accepted without a message"))}
		}
		return placed{id: answerID(r.SMPP.AnswerID, out.Message), stored: true}
	}
}

// answerID is the message_id of a submit: the one that was chosen for it, else
// the message's own.
func answerID(chosen string, m *message.Message) string {
	if chosen != "" {
		return chosen
	}
	return message.Hex32(m.ID)
}

func (x *exchange) submitFailure(err error) smpp.Status {
	if st, ok := fieldStatus(err); ok {
		return st
	}
	return x.failure(err)
}

// fieldStatus is the status of a refusal for which SMPP has a clearer word than
// the catalogue, because it names the field.
func fieldStatus(err error) (smpp.Status, bool) {
	e := message.AsError(err)
	for _, f := range e.Fields {
		switch {
		case e.Reason == message.ReasonInvalidRequest && f.Location == "body.from":
			return smpp.StatusInvSource, true
		case e.Reason == message.ReasonInvalidSchedule && f.Location == "body.validity_seconds":
			return smpp.StatusInvExpiry, true
		}
	}
	return smpp.StatusOK, false
}

// keyOf makes the ingress key of the submission, nil when the ESME gave none.
// What is stored with it is the command_status and the message_id; chosen is
// the latter when it does not follow from the message.
func (sub *submission) keyOf(operation, chosen string) *ingress.Key {
	if sub.key == "" {
		return nil
	}
	return &ingress.Key{Operation: operation, Value: sub.key, BodyHash: sub.hash,
		Render: func(m *message.Message, e *message.Error) (int, []byte, error) {
			if e == nil {
				return int(smpp.StatusOK), []byte(answerID(chosen, m)), nil
			}
			st, ok := fieldStatus(e)
			if !ok {
				st = statusOf(sub.account, e.Reason)
			}
			return int(st), []byte{}, nil
		}}
}

// shortIDs is the newest number that shortID has given.
var shortIDs = func() *atomic.Uint32 {
	n := new(atomic.Uint32)
	n.Store(rand.Uint32())
	return n
}()

// shortID makes the message_id for a peer below version 3.4, which reads 8 hex
// digits (SMPP 3.4 §3.4). Taken out of the message's own id they would repeat
// within some ten thousand messages of a customer; so they are numbered from a
// random start. One process repeats none for four billion submits, and two
// processes, or one before and after its restart, only if their starts happen
// to lie within as many numbers as they give. Should a credential get the same
// id twice all the same, Journal.Answered gives the newest message: the older
// one can no longer be queried or withdrawn over SMPP, and its receipt is told
// from the newer one's by its addresses.
func shortID() string { return fmt.Sprintf("%08x", shortIDs.Add(1)) }
