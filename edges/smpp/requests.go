package smpp

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	// answerTimeout is how long the journal may take for one request. Most ESMEs
	// wait 30 to 60 s for an answer; after it they get RSYSERR, and a submit may
	// have been stored all the same: an idempotency key tells.
	answerTimeout = 30 * time.Second
	// fanOut is how many messages of one request are worked on at once. They share
	// the journal's commits, so more would only take memory.
	fanOut = 16
	// askers is how many requests about earlier messages, of all sessions, are at the
	// journal at once: less than half of its connections.
	askers = 8
)

// exchange is one request of an ESME on its way to its one answer.
type exchange struct {
	s     *Server
	b     *bound
	r     *smpp.Request
	began time.Time
}

// handle answers one request of a bound ESME. It runs on the session's reader:
// it reads and checks what was asked, and hands on what has to wait. The core
// has answered already what is not for it: enquire_link and unbind, unknown
// commands, and requests that the bind type does not allow.
func (s *Server) handle(b *bound, r *smpp.Request) {
	x := &exchange{s: s, b: b, r: r, began: s.now()}
	c := s.settings(b)
	if c == nil {
		x.refuseGone()
		return
	}
	if c.VendorID != (message.ID{}) {
		x.fromVendor(c)
		return
	}
	switch p := r.Body.(type) {
	case *smpp.SubmitSM:
		x.submit(c, &p.Message)
	case *smpp.DataSM:
		x.data(c, p)
	case *smpp.SubmitMulti:
		x.multi(c, p)
	case *smpp.QuerySM:
		x.query(p)
	case *smpp.CancelSM:
		x.cancel(p)
	case *smpp.ReplaceSM:
		x.replace(c, p)
	default: // a deliver_sm: a customer has none for us
		x.answer(smpp.StatusInvBindState, nil)
	}
}

// fromVendor hands on what a vendor sends that has bound to us: inbound messages and
// receipts, by whichever of these commands. It has nothing else to ask.
func (x *exchange) fromVendor(c *snapshot.SMPPCredential) {
	v := x.s.Snapshot().Vendors[c.VendorID]
	if v == nil {
		x.refuseGone()
		return
	}
	switch x.r.Body.(type) {
	case *smpp.SubmitSM, *smpp.DataSM, *smpp.DeliverSM:
		x.s.FromVendor(v, x.r)
	default:
		x.answer(smpp.StatusInvCmdID, nil)
	}
}

// refuseGone answers a bind whose credential was disabled or taken away: it may
// ask for nothing more.
func (x *exchange) refuseGone() {
	st := smpp.StatusOf(message.ReasonAccountSuspended)
	switch x.r.Body.(type) {
	case *smpp.QuerySM:
		st = smpp.StatusQueryFail
	case *smpp.CancelSM:
		st = smpp.StatusCancelFail
	case *smpp.ReplaceSM:
		st = smpp.StatusReplaceFail
	}
	x.answer(st, nil)
}

// work runs fn, which asks the journal for messages that are there already, off
// the reader, with the time that it may take; not when the session has ended by
// then. A few of all sessions run at once: whoever asks much must not hold up
// what is submitted and delivered.
func (x *exchange) work(fn func(ctx context.Context)) {
	x.r.Go(func() {
		ctx, cancel := x.limited()
		defer cancel()
		select {
		case x.s.asking <- struct{}{}:
			defer func() { <-x.s.asking }()
		case <-ctx.Done():
			x.answer(x.failure(ctx.Err()), nil)
			return
		}
		if x.r.Context().Err() == nil {
			fn(ctx)
		}
	})
}

// fan calls fn for 0 to n-1, a few at a time, and returns when all have ended.
// It is called within work.
func (x *exchange) fan(n int, fn func(i int)) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(n, fanOut) {
		wg.Add(1)
		x.r.Go(func() {
			defer wg.Done()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				fn(i)
			}
		})
	}
	wg.Wait()
}

func (x *exchange) answer(st smpp.Status, body smpp.PDU) { x.s.answer(x.r, x.began, st, body) }

// answer gives the request its answer and counts it. A nil body is an empty one
// of the right type; a refusal has a header only, whatever the body.
func (s *Server) answer(r *smpp.Request, began time.Time, st smpp.Status, body smpp.PDU) {
	if s.Metrics.Request != nil {
		s.Metrics.Request(commandName(r.Body), st.String(), s.now().Sub(began))
	}
	// The one error left is a session that has ended: nobody is there to be told.
	_ = r.Respond(st, body)
}

// failure is the status of a request that err has stopped. Our own faults are
// logged: they need a person.
func (x *exchange) failure(err error) smpp.Status {
	st := x.statusOf(message.ReasonOf(err))
	if st == smpp.StatusSystemError {
		x.s.log.Error("smpp request failed", "command", commandName(x.r.Body), "account", x.b.account, "bind", x.b.id,
			"reason", message.ReasonOf(err), "error", err)
	}
	return st
}

// commandName is the command's name in SMPP 3.4, for metrics and logs.
func commandName(p smpp.PDU) string {
	switch p.(type) {
	case *smpp.SubmitSM:
		return "submit_sm"
	case *smpp.DataSM:
		return "data_sm"
	case *smpp.SubmitMulti:
		return "submit_multi"
	case *smpp.QuerySM:
		return "query_sm"
	case *smpp.CancelSM:
		return "cancel_sm"
	case *smpp.ReplaceSM:
		return "replace_sm"
	}
	return "other"
}
