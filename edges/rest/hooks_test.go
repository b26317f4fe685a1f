package rest

import (
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// hookSink is the part that takes the webhooks.
type hookSink struct {
	mu    sync.Mutex
	calls []string // address, path with query, and body
}

func (h *hookSink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, r.RemoteAddr+" "+r.URL.RequestURI()+" "+string(body))
	w.Header().Set("Content-Type", "text/xml")
	_, _ = io.WriteString(w, "<Response/>")
}

// The vendors' two paths, and nothing else, reach who takes their webhooks: whole, and
// with the address of who sent them.
func TestVendorWebhooks(t *testing.T) {
	sink := &hookSink{}
	b := setup(t, func(b *bundle) {
		b.server.Hooks = sink
		b.server.TrustedProxies = prefixes("127.0.0.0/8")
	})
	from := header("X-Forwarded-For", "203.0.113.9, 2001:db8::7")
	form := header("Content-Type", "application/x-www-form-urlencoded")
	for _, path := range []string{"/inbound/twilio-1", "/status/twilio-1?a=1%202"} {
		r := b.do("POST", path, "a=b", from, form)
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/xml" || string(r.body) != "<Response/>" {
			t.Errorf("%s: %d %q", path, r.StatusCode, r.body)
		}
	}
	want := []string{"[2001:db8::7]:0 /inbound/twilio-1 a=b", "[2001:db8::7]:0 /status/twilio-1?a=1%202 a=b"}
	if len(sink.calls) != 2 || sink.calls[0] != want[0] || sink.calls[1] != want[1] {
		t.Errorf("%q", sink.calls)
	}
	for _, path := range []string{"/inbound", "/inbound/", "/inbound/a/b", "/status", "/webhooks/twilio-1"} {
		if r := b.do("POST", path, "a=b", form); r.StatusCode != 404 {
			t.Errorf("POST %s: %d", path, r.StatusCode)
		}
	}
	if r := b.do("GET", "/inbound/twilio-1", ""); r.StatusCode != 405 || r.Header.Get("Allow") != "OPTIONS, POST" {
		t.Errorf("GET: %d, %q", r.StatusCode, r.Header.Get("Allow"))
	}
	if len(sink.calls) != 2 {
		t.Errorf("%q", sink.calls)
	}
}

// Without anybody who takes them there are no such paths.
func TestNoVendorWebhooks(t *testing.T) {
	b := setup(t, nil)
	wantProblem(t, b.do("POST", "/inbound/twilio-1", "{}"), 404, message.ReasonNotFound)
}
