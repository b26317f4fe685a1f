package rest

import (
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Limiter counts events over a sliding window. *limit.Limiter is one for a
// single process; one that replicas share has the same methods.
type Limiter interface {
	Take(key string, limit int, window time.Duration, now time.Time) limit.Result
	Peek(key string, limit int, window time.Duration, now time.Time) limit.Result
	limit.Many
}

// Rates, unless the account or credential says otherwise.
const (
	defaultCreates = 10 // messages a second
	requestRate    = 50 // other requests a second and account, or address where nobody is asked who he is
	// visitRate is that of somebody at the web pages, a page being made of several
	// requests. It is the person's own: looking takes nothing from the account's programs.
	visitRate = 300
)

// rate says which limit counts a request.
type rate int

const (
	byAddress  rate = iota // no credential is asked for
	asRequest              // the account's requests
	asMessage              // the account's messages and the credential's; counted by messageRates
	asStaff                // the requests of a member of staff or of a service
	asService              // the account's messages; counted by the operation, when it knows the account
	bySignOn               // tries at the token endpoint; counted there, when the key is known
	unmeasured             // neither limit nor header: not under /v1
)

// access is what an operation asks of a request before it runs.
type access struct {
	scope  string // empty: anybody
	rate   rate
	bodies []string // media types of the body it takes; none: it takes no body
	// answers is what it answers with beside JSON; empty: nothing.
	answers string

	// Of the internal API, see staff: the roles that may, and the scope with which
	// services may. Both empty: it is an operation of the customers' API, or anybody
	// may.
	roles   []snapshot.Role
	service string
	// behalf: the operation is the customers', and the path names the account for which
	// staff use it.
	behalf bool
}

// guarded makes access into a huma middleware.
func (s *Server) guarded(a access) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		_, w := humachi.Unwrap(ctx)
		x := w.(*exchange)
		x.operation = ctx.Operation().OperationID
		p := s.guard(x, a)
		if p == nil && a.behalf {
			if err := s.actFor(x, ctx.Param("account")); err != nil {
				p = s.problem(x, err, 0)
			}
		}
		if p != nil {
			x.refuse(p)
			return
		}
		next(ctx)
	}
}

// guard lets a request pass or says why not.
func (s *Server) guard(x *exchange, a access) *problem {
	now := s.now()
	if a.scope != "" || a.internal() {
		identify := s.authenticate
		if a.internal() {
			identify = s.authenticateStaff
		}
		who, err := identify(x, now)
		if err != nil {
			t := limit.FailedFrom(x.client, s.failedPerMinute())[0]
			showLimit(x.Header(), s.Limiter.Peek(t.Key, t.Most, t.Window, now))
			return s.problem(x, err, 0)
		}
		x.caller = who
	}
	if err := s.count(x, a.rate, now); err != nil {
		return s.problem(x, err, 0)
	}
	if err := x.caller.refuses(a); err != nil {
		return s.problem(x, err, 0)
	}
	if accept := x.request.Header.Values("Accept"); !acceptable(accept) && (a.answers == "" || !takes(accept, a.answers)) {
		return s.problem(x, message.Refuse(message.ReasonInvalidRequest, "answers are application/json; let Accept include it (lists that can be had as CSV are so at their path with /export behind it)"), http.StatusNotAcceptable)
	}
	if err := bodyType(x.request, a.bodies); err != nil {
		return s.problem(x, err, http.StatusUnsupportedMediaType)
	}
	if err := textual(x.request.URL); err != nil {
		return s.problem(x, err, 0)
	}
	return nil
}

// textual refuses an address that holds what is no text: the journal takes neither octets
// that are no UTF-8 nor NUL, so no thing is named so.
func textual(at *url.URL) error {
	text := func(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
	if !text(at.Path) {
		return message.Refuse(message.ReasonNotFound, "there is no such thing: what the path names is no text in UTF-8")
	}
	query, _ := url.ParseQuery(at.RawQuery) // what cannot be unescaped is refused as a parameter that there is not
	var f faults
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case !text(name):
			f.invalid("query", "has a parameter whose name is no text in UTF-8, or has the control character U+0000; remove it")
		case !text(strings.Join(query[name], "")):
			f.invalid("query."+name, "must be UTF-8 text without control characters")
		}
	}
	if refusal := f.refusal(); refusal != nil {
		return refusal
	}
	return nil
}

// count takes the request from its limit and shows the limit in the answer.
func (s *Server) count(x *exchange, by rate, now time.Time) error {
	var r limit.Result
	visitor, atPages := x.visitor()
	switch {
	case atPages && (by == asRequest || by == asStaff):
		who := visitor.Staff
		if by == asRequest {
			who = visitor.User
		}
		r = s.Limiter.Take("visit "+who.String(), visitRate, time.Second, now)
	case by == byAddress:
		r = s.Limiter.Take("public "+limit.Network(x.client), requestRate, time.Second, now)
	case by == asRequest:
		r = s.Limiter.Take("request "+x.caller.account.ID.String(), requestRate, time.Second, now)
	case by == asStaff:
		r = s.Limiter.Take("staff "+x.caller.id().String(), requestRate, time.Second, now)
	case by == asMessage:
		return s.expectMessage(x, now)
	default:
		return nil
	}
	showLimit(x.Header(), r)
	if r.OK {
		return nil
	}
	if by == asRequest {
		s.tellLimited(x, limit.ScopeRequest)
	}
	return &limited{message.Refuse(message.ReasonRateLimitExceeded, "more than %d requests in a second", r.Limit), r.Reset}
}

// showLimit sets the headers that every answer under /v1 has.
func showLimit(h http.Header, r limit.Result) {
	h["X-Ratelimit-Limit"] = []string{strconv.Itoa(r.Limit)}
	h["X-Ratelimit-Remaining"] = []string{strconv.Itoa(r.Remaining)}
	h["X-Ratelimit-Reset"] = []string{seconds(r.Reset)}
}

// acceptable reports whether the client takes JSON. A problem is JSON too, so
// whoever takes either takes both.
func acceptable(accept []string) bool {
	if len(accept) == 0 || len(accept) == 1 && (accept[0] == "*/*" || accept[0] == "" || accept[0] == "application/json") {
		return true
	}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, params, _ := strings.Cut(part, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "*/*", "application/*", "application/json", "application/jwk-set+json", problemType:
			if !refusedByWeight(params) {
				return true
			}
		}
	}
	return false
}

// refusedByWeight reports whether the parameters hold q=0 (RFC 9110 §12.4.2).
func refusedByWeight(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			return err == nil && q == 0
		}
	}
	return false
}

// bodyType checks that the body is of a type the operation takes. A request
// that does not say counts as the first of them.
func bodyType(r *http.Request, takes []string) error {
	if len(takes) == 0 {
		return nil
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return message.Refuse(message.ReasonInvalidRequest, "send the body without Content-Encoding")
	}
	given := r.Header.Get("Content-Type")
	if given == "" || given == takes[0] || takes[0] == anyType {
		return nil
	}
	kind, params, err := mime.ParseMediaType(given)
	if err != nil || !contains(takes, kind) {
		return message.Refuse(message.ReasonInvalidRequest, "the body must be %s; set Content-Type", strings.Join(takes, " or "))
	}
	if c := params["charset"]; c != "" && !strings.EqualFold(c, "utf-8") && !strings.EqualFold(c, "us-ascii") {
		return message.Refuse(message.ReasonInvalidRequest, "the body must be UTF-8; leave the charset out of Content-Type")
	}
	return nil
}
