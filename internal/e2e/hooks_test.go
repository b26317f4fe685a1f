package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/webhook"
)

// hooks is a customer's webhook consumer.
type hooks struct {
	server *httptest.Server

	mu     sync.Mutex
	secret string
	bad    int                        // events with a wrong signature
	events map[string]map[string]bool // message id to the types that came
	ids    map[string]string          // webhook-id to the body first seen under it
	forged int                        // the same webhook-id with another body
	times  map[string]int             // how often a webhook-id came
	room   int                        // events that are taken while shut is set
	shut   chan struct{}              // what is more waits for it to be closed; nil: nothing waits
}

func startHooks(tb testing.TB) *hooks {
	h := &hooks{events: map[string]map[string]bool{}, ids: map[string]string{}, times: map[string]int{}}
	h.server = httptest.NewServer(h)
	tb.Cleanup(h.server.Close)
	return h
}

func (h *hooks) trust(secret string) {
	h.mu.Lock()
	h.secret = secret
	h.mu.Unlock()
}

// shutAfter takes n more events; those after them wait until open is called, or their
// sender goes.
func (h *hooks) shutAfter(n int) (open func()) {
	shut := make(chan struct{})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.room, h.shut = n, shut
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.shut == shut {
			h.shut = nil
			close(shut)
		}
	}
}

func (h *hooks) enter(r *http.Request) bool {
	h.mu.Lock()
	shut := h.shut
	if h.room > 0 {
		h.room--
		shut = nil
	}
	h.mu.Unlock()
	if shut == nil {
		return true
	}
	select {
	case <-shut:
		return true
	case <-r.Context().Done():
		return false
	}
}

// ServeHTTP takes one event and checks its signature as a consumer would.
func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var e struct {
		Type string
		Data struct {
			MessageID string `json:"message_id"`
		}
	}
	err = json.Unmarshal(body, &e)
	if !h.enter(r) {
		return // whoever sent it has gone
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || !h.signed(r.Header, body) {
		h.bad++
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	id := r.Header.Get("webhook-id")
	if first, ok := h.ids[id]; ok && first != string(body) {
		h.forged++
	}
	h.ids[id] = string(body)
	h.times[id]++
	if h.events[e.Data.MessageID] == nil {
		h.events[e.Data.MessageID] = map[string]bool{}
	}
	h.events[e.Data.MessageID][e.Type] = true
	w.WriteHeader(http.StatusNoContent)
}

func (h *hooks) signed(got http.Header, body []byte) bool {
	seconds, err := strconv.ParseInt(got.Get("webhook-timestamp"), 10, 64)
	if err != nil {
		return false
	}
	want := http.Header{}
	if err := webhook.Sign(want, got.Get("webhook-id"), time.Unix(seconds, 0), body, h.secret, ""); err != nil {
		return false
	}
	return want.Get("webhook-signature") == got.Get("webhook-signature") && want.Get("X-Signature") == got.Get("X-Signature")
}

// told reports whether an event of the type came for the message.
func (h *hooks) told(id, kind string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events[id][kind]
}

func (h *hooks) faults() (bad, forged int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bad, h.forged
}
