// Package hooks takes the webhooks of vendors: POST /inbound/{vendor} and
// /status/{vendor}, where either path takes either kind of event and {vendor} is a
// vendor's name or id.
//
// The rule not to break: nothing of a request is believed, and nothing of it read but
// its size, before its signature is checked, and the vendor hears yes only after
// everything that the request says is committed.
package hooks

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	// MaxBody is the largest body of a webhook: 256 KiB.
	MaxBody = 256 << 10
	// commitTimeout bounds the commit of what one webhook says. A vendor waits for 2
	// to 15 s; a commit that takes longer than it waits is one that it repeats.
	commitTimeout = 10 * time.Second
	// DefaultFailedPerMinute is how many requests without a vendor's signature of an
	// address are looked into in a minute; the others leave no line in the log.
	DefaultFailedPerMinute = 120
)

// Result is what became of a webhook, for metrics.
type Result string

// The results.
const (
	Taken        Result = "taken"         // 200: committed
	NotCommitted Result = "not_committed" // 503: the vendor is asked to send again
	NotReady     Result = "not_ready"     // 503: its row has no keys to check with
	Unsigned     Result = "unsigned"      // 403
	Unreadable   Result = "unreadable"    // 400
	TooLarge     Result = "too_large"     // 413
	TooMany      Result = "too_many"      // 429: too many unsigned ones from the address
	Unknown      Result = "unknown"       // 404: no such vendor, or its kind sends none
	Broken       Result = "broken"        // 400: the body ended early
)

// Handler serves the webhooks. Its fields are set before it is used; it is safe for
// concurrent use. The address of a request is that of its RemoteAddr: whoever stands
// in front of it puts there whom a proxy speaks for.
type Handler struct {
	// Snapshot gives the configuration in force.
	Snapshot func() *snapshot.Snapshot
	// Kinds are the kinds of vendors, by provider type.
	Kinds map[string]vendors.Kind
	// PublicURL is where vendors reach the paths, without a slash at the end: what they
	// sign begins with it. A Host header is not believed.
	PublicURL string
	OnReceipt vendors.OnReceipt
	OnInbound vendors.OnInbound
	// Limiter counts unsigned requests by address. Nil: nobody is held back.
	Limiter Limiter
	// FailedPerMinute is how many unsigned requests an address may send in a minute until
	// it is told to slow down. Zero: DefaultFailedPerMinute.
	FailedPerMinute int
	// Observe is told what became of each webhook; the vendor is zero when there is no
	// such. It must not block. Nil: nobody wants to know.
	Observe func(vendor message.ID, result Result, took time.Duration)
	// Log gets what somebody has to see to; nil: nothing is logged.
	Log *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Limiter counts events over a sliding window.
type Limiter interface {
	Take(key string, limit int, window time.Duration, now time.Time) limit.Result
}

// ServeHTTP takes one webhook.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := h.now()
	vendor, result := h.serve(w, r, began)
	if h.Observe != nil {
		h.Observe(vendor, result, h.now().Sub(began))
	}
}

func (h *Handler) now() time.Time {
	if h.Now != nil {
		return h.Now()
	}
	return time.Now()
}

func (h *Handler) log() *slog.Logger {
	if h.Log != nil {
		return h.Log
	}
	return slog.New(slog.DiscardHandler)
}

// serve answers and says whose it was and what became of it. Answers to what is no
// vendor's say nothing: whoever sent it is told no reason.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, now time.Time) (message.ID, Result) {
	v := h.vendor(r.URL.Path)
	if v == nil || h.Kinds[v.ProviderType].Hook == nil {
		w.WriteHeader(http.StatusNotFound)
		return message.ID{}, Unknown
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return v.ID, Unreadable
	}
	hook, err := h.Kinds[v.ProviderType].Hook(v)
	if err != nil {
		h.log().Error("webhooks of a vendor cannot be taken", "vendor", v.Name, "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		return v.ID, NotReady
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return v.ID, TooLarge
		}
		w.WriteHeader(http.StatusBadRequest)
		return v.ID, Broken
	}
	public, err := h.public(r)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return v.ID, Broken
	}
	events, err := hook.Read(vendors.HookRequest{Method: r.Method, URL: public, Header: r.Header, Body: body, Received: now})
	switch {
	case errors.Is(err, vendors.ErrSignature):
		if !h.countFailed(r, now) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusTooManyRequests)
			return v.ID, TooMany
		}
		h.log().Info("webhook without the vendor's signature", "vendor", v.Name)
		w.WriteHeader(http.StatusForbidden)
		return v.ID, Unsigned
	case err != nil:
		h.log().Warn("webhook cannot be read", "vendor", v.Name, "error", err)
		w.WriteHeader(http.StatusBadRequest)
		return v.ID, Unreadable
	}
	if err := h.commit(r.Context(), events); err != nil {
		h.log().Warn("vendor is asked to send again", "vendor", v.Name, "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		return v.ID, NotCommitted
	}
	kind, answer := hook.Answer()
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(answer) // a vendor that has gone sends it again
	return v.ID, Taken
}

// commit hands everything up. It goes on when the vendor no longer waits: what is
// committed is found to be a repetition when it comes again.
func (h *Handler) commit(ctx context.Context, events vendors.HookEvents) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	for _, r := range events.Receipts {
		if err := h.OnReceipt(ctx, r); err != nil {
			return err
		}
	}
	for _, m := range events.Inbound {
		if err := h.OnInbound(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// vendor finds whose webhook it is by the last part of the path. A vendor that is
// switched off still reports on what it took before.
func (h *Handler) vendor(path string) *snapshot.Vendor {
	path = strings.Trim(path, "/")
	name := path[strings.LastIndexByte(path, '/')+1:]
	all := h.Snapshot().Vendors
	if id, err := message.ParseID(name); err == nil {
		if v := all[id]; v != nil {
			return v
		}
	}
	for _, v := range all {
		if v.Name == name && name != "" {
			return v
		}
	}
	return nil
}

// public is the URL as the vendor knows it.
func (h *Handler) public(r *http.Request) (*url.URL, error) {
	at := strings.TrimRight(h.PublicURL, "/") + r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		at += "?" + r.URL.RawQuery
	}
	return url.Parse(at)
}

func (h *Handler) failedPerMinute() int {
	if h.FailedPerMinute > 0 {
		return h.FailedPerMinute
	}
	return DefaultFailedPerMinute
}

// countFailed counts a request that is not signed; false: it was one too many. What is
// signed is taken from wherever it comes: a vendor calls from few addresses, which its
// other customers share, and what it is refused may be lost.
func (h *Handler) countFailed(r *http.Request, now time.Time) bool {
	return h.Limiter == nil || h.Limiter.Take(failKey(r), h.failedPerMinute(), time.Minute, now).OK
}

// failKey counts an IPv6 network as one address.
func failKey(r *http.Request) string {
	const prefix = "unsigned webhook "
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return prefix
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is4() {
		return prefix + addr.String()
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return prefix
	}
	return prefix + network.String()
}
