package rest

import (
	"cmp"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
)

// A request for a new message is counted once, at all of its rates together: the
// API key's if it has one of its own, the account's, and the sender's if the number
// has one. When one of them has no room it is counted at none. It is counted
//
//   - at all three when it could be read, right before ingress is asked;
//   - at the first two, whatever it is answered, when it could not be read or was a
//     dry run: a flood of nonsense is a flood.
//
// Before its body is read the guard looks whether the first two have room, and
// counts nothing.

// messageRates are the rates of the caller's messages that do not depend on what is
// in them.
func messageRates(c *caller) []limit.Rate {
	rates := make([]limit.Rate, 0, 3)
	if c.credential != nil && c.credential.RateLimit > 0 { // a service has no API key
		rates = append(rates, limit.Rate{Scope: limit.ScopeKey, Key: "message by " + c.credential.ID.String(), Whose: "with this API key",
			PerSecond: c.credential.RateLimit, Burst: c.credential.Burst})
	}
	return append(rates, limit.Rate{Scope: limit.ScopeAccount, Key: "message " + c.account.ID.String(), Whose: "of this account",
		PerSecond: cmp.Or(c.account.APIRateLimit, defaultCreates), Burst: c.account.APIBurst})
}

// expectMessage refuses a new message for which there is no room, before it is read,
// and else sees to it that the request is counted.
func (s *Server) expectMessage(x *exchange, now time.Time) error {
	rates := messageRates(&x.caller)
	v := limit.PeekRates(s.Limiter, rates, now)
	showLimit(x.Header(), v.Result)
	if !v.OK {
		return s.overRate(x, v)
	}
	x.count = func() { showLimit(x.Header(), limit.TakeRates(s.Limiter, rates, s.now()).Result) }
	return nil
}

// takeMessage counts a new message that could be read, at its sender's rate as well,
// and gives what its trail shows of that. A dry run is counted as a request, and told
// what the rates would say.
func (s *Server) takeMessage(x *exchange, r *ingress.Request) error {
	number, ok := ingress.NumberRate(s.Snapshot(), x.caller.account, r.From)
	rates := messageRates(&x.caller)
	if ok {
		rates = append(rates, number)
	}
	if r.DryRun {
		r.Rate = rateEntry(limit.PeekRates(s.Limiter, rates, s.now()))
		return nil
	}
	x.count = nil
	v := limit.TakeRates(s.Limiter, rates, s.now())
	showLimit(x.Header(), v.Result)
	if !v.OK {
		return s.overRate(x, v)
	}
	r.Rate = rateEntry(v)
	return nil
}

func rateEntry(v limit.Verdict) message.TrailEntry {
	e := message.TrailEntry{Rule: policy.RuleRate, Result: message.Pass, Detail: v.Detail}
	if !v.OK {
		e.Result = message.Refused
	}
	return e
}

// overRate is the refusal of a message for its rate. Nothing is stored of it but a
// count.
func (s *Server) overRate(x *exchange, v limit.Verdict) error {
	s.tellLimited(x, v.Rate.Scope)
	return &limited{message.Refuse(message.ReasonRateLimitExceeded, "%s", v.Detail), v.Result.Reset}
}

func (s *Server) tellLimited(x *exchange, scope string) {
	if s.RateLimited != nil && x.caller.account != nil {
		s.RateLimited(x.caller.account.ID, scope)
	}
}
