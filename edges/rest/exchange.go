package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// exchange is one request with its answer: what the operation needs to know
// beyond the request, and what is measured of it. It is the ResponseWriter of
// everything below receive.
type exchange struct {
	http.ResponseWriter
	request   *http.Request
	requestID string
	client    netip.Addr // the peer, or who the trusted proxy says it is
	operation string     // the document's operationId; empty: none was found
	caller    caller     // filled in by guard
	internal  bool       // it is for the internal API
	status    int        // 0: nothing is written yet
	base      string     // stands for /v1 in the paths of the answer, if staff act for an account
	// count counts the request and shows its limit, before the answer; nil: it was
	// counted, or is not.
	count func()
}

type exchangeKey struct{}

// exchangeOf finds the exchange that receive has put into the context.
func exchangeOf(ctx context.Context) *exchange {
	return ctx.Value(exchangeKey{}).(*exchange)
}

// WriteHeader notes the status. A second one is dropped, so that a refusal
// which corrects the status of a library's answer can be written first.
func (x *exchange) WriteHeader(status int) {
	if x.status != 0 {
		return
	}
	if count := x.count; count != nil {
		x.count = nil
		count()
	}
	if x.base != "" {
		if at, ok := strings.CutPrefix(x.Header().Get("Location"), "/v1/"); ok {
			x.Header().Set("Location", x.base+"/"+at)
		}
	}
	x.status = status
	x.ResponseWriter.WriteHeader(status)
}

// Write notes the status that net/http would assume.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	return x.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// refuse writes a problem as the answer.
func (x *exchange) refuse(p *problem) {
	body, err := encode(p)
	if err != nil {
		panic(err) // a struct of strings: it cannot happen
	}
	p.setHeaders(x.Header())
	x.Header().Set("Content-Type", problemType)
	x.WriteHeader(p.Status)
	_, _ = x.Write(body) // a peer that has gone needs no answer
}

// problem makes err into the answer of x, and logs it if it is our fault.
func (s *Server) problem(x *exchange, err error, status int) *problem {
	if message.ReasonOf(err) == message.ReasonInternal {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			err = message.Because(message.ReasonUnavailable, err, "the journal did not answer in time")
		case s.Away != nil && s.Away(err):
			err = message.Because(message.ReasonUnavailable, err, "the journal cannot be reached now; repeat the request")
		}
	}
	p := problemOf(err, status, x.requestID)
	p.internal = x.internal
	if p.Status >= http.StatusInternalServerError && x.request.Context().Err() == nil {
		s.log.Error("request failed", "request_id", x.requestID, "operation", x.operation, "reason", p.Code, "error", p.cause)
	}
	return p
}

// receive is the outermost handler.
func (s *Server) receive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.now()
		x := &exchange{ResponseWriter: w, requestID: requestID(r), client: s.clientAddr(r),
			internal: isInternal(r.URL.Path)}
		h := w.Header()
		h.Set("X-Request-Id", x.requestID)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		x.request = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		s.allowOrigin(x)
		defer s.finish(x, began)
		if s.shut(x) {
			s.notFound(x, x.request)
			return
		}
		next.ServeHTTP(x, x.request)
	})
}

// finish recovers from a panic below and measures. It is called deferred.
func (s *Server) finish(x *exchange, began time.Time) {
	if v := recover(); v != nil {
		if v == http.ErrAbortHandler {
			panic(v)
		}
		s.log.Error("request handler panicked", "request_id", x.requestID, "operation", x.operation,
			"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		if x.status != 0 {
			// Part of an answer is out. Cutting the connection is the one way to
			// tell the client that it is not whole.
			panic(http.ErrAbortHandler)
		}
		x.refuse(problemOf(&message.Error{Reason: message.ReasonInternal}, 0, x.requestID))
	}
	took := s.now().Sub(began)
	if s.Observe != nil {
		s.Observe(x.operation, x.status, took)
	}
	ctx := x.request.Context()
	if s.log.Enabled(ctx, slog.LevelDebug) {
		attrs := []slog.Attr{
			slog.String("request_id", x.requestID), slog.String("method", x.request.Method),
			slog.String("operation", x.operation), slog.Int("status", x.status), slog.Duration("took", took),
		}
		if x.caller.account != nil {
			attrs = append(attrs, slog.String("account", x.caller.account.ID.String()))
		}
		if x.internal && x.caller.id() != (message.ID{}) {
			attrs = append(attrs, slog.String("staff", x.caller.id().String()))
		}
		s.log.LogAttrs(ctx, slog.LevelDebug, "request", attrs...)
	}
}

// requestID takes the client's id if it is a harmless one, or makes one.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); id != "" && len(id) <= 128 && only(id, "_-.:=+/") {
		return id
	}
	return message.NewID().String()
}

// only reports whether s consists of letters, digits and the given others.
func only(s, others string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte(others, c) >= 0 {
			continue
		}
		return false
	}
	return true
}

// clientAddr is the address that the request comes from: the peer's, or behind
// trusted proxies the last one in X-Forwarded-For that is not a trusted proxy
// itself. What a client puts in front of it is never believed.
func (s *Server) clientAddr(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap().WithZone("")
	if len(s.TrustedProxies) == 0 || !within(addr, s.TrustedProxies) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return addr
		}
		addr = hop.Unmap().WithZone("")
		if !within(addr, s.TrustedProxies) {
			return addr
		}
	}
	return addr
}

func within(addr netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
