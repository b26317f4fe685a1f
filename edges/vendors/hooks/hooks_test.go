package hooks_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/hooks"
	"github.com/postrider/postrider/edges/vendors/httpvendor"
	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/telemetry/logtest"
)

// seen keeps what was handed up and measured.
type seen struct {
	mu       sync.Mutex
	receipts []message.Receipt
	inbound  []message.InboundMessage
	results  []hooks.Result
	fail     error
	log      logtest.Log
}

func (s *seen) receipt(_ context.Context, r message.Receipt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receipts = append(s.receipts, r)
	return s.fail
}

func (s *seen) message(_ context.Context, m message.InboundMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inbound = append(s.inbound, m)
	return s.fail
}

// count is how many receipts and messages were handed up.
func (s *seen) count() (receipts, inbound int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.receipts), len(s.inbound)
}

// watch lets a door hand up to s.
func (s *seen) watch(d *door) {
	d.OnReceipt, d.OnInbound, d.Log = s.receipt, s.message, slog.New(&s.log)
	d.Observe = func(_ message.ID, r hooks.Result, _ time.Duration) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.results = append(s.results, r)
	}
}

// last is the newest result.
func (s *seen) last() hooks.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.results) == 0 {
		return ""
	}
	return s.results[len(s.results)-1]
}

// hooked is a door with one vendor of a kind behind it.
func hooked(t *testing.T, k kind) (*door, *seen, *snapshot.Vendor, *vendortest.HTTPVendor) {
	d, s := openDoor(t), &seen{}
	s.watch(d)
	v, far := d.add(t, k, httpvendor.Config{})
	return d, s, v, far
}

// call serves one request without a socket, so that it is measured when it returns.
func (d *door) call(r *http.Request, from string) (int, string) {
	w := &recorder{header: http.Header{}}
	r.RemoteAddr = from
	d.ServeHTTP(w, r)
	return w.status, w.body.String()
}

type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

const peer = "192.0.2.7:4000"

// send signs a webhook of the double and serves it at a path.
func (d *door) send(t *testing.T, far *vendortest.HTTPVendor, path, contentType, body string) int {
	t.Helper()
	r, err := far.Webhook(t.Context(), d.url+path, contentType, body)
	if err != nil {
		t.Fatal(err)
	}
	status, _ := d.call(r, peer)
	return status
}

// bodies of webhooks, by kind.
var bodies = map[string]struct{ contentType, status, inbound, odd string }{
	"twilio": {
		"application/x-www-form-urlencoded", "MessageSid=SM1&MessageStatus=delivered&From=%2B12025550143&To=%2B13105550117",
		"MessageSid=SM2&Body=hi&From=%2B13105550117&To=%2B12025550143&NumMedia=0", "MessageSid=SM3&Body=hi&NumMedia=0",
	},
	"telnyx": {
		"application/json", `{"data":{"event_type":"message.finalized","id":"e1","payload":{"id":"m1","to":[{"status":"delivered"}]}}}`,
		`{"data":{"event_type":"message.received","id":"e2","payload":{"id":"m2","text":"hi","from":{"phone_number":"+13105550117"},"to":[{"phone_number":"+12025550143"}]}}}`,
		`{"data":{"event_type":"message.received","payload":[]}}`,
	},
}

// Every request has its answer, in the order of the checks, and nothing is handed up
// that is not signed.
func TestRequests(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			d, s, v, far := hooked(t, k)
			b := bodies[k.name]
			status, inbound := "/status/"+v.Name, "/inbound/"+v.Name
			attempt := message.AttemptRef{MessageID: message.NewID(), Part: 1, Attempt: 2}
			unsigned := func(method, path, body string) *http.Request {
				r, err := http.NewRequestWithContext(t.Context(), method, d.url+path, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", b.contentType)
				return r
			}
			for name, c := range map[string]struct {
				do     func() int
				status int
				want   hooks.Result
				up     [2]int // receipts and messages
			}{
				"status":              {func() int { return d.send(t, far, status, b.contentType, b.status) }, 200, hooks.Taken, [2]int{1, 0}},
				"inbound":             {func() int { return d.send(t, far, inbound, b.contentType, b.inbound) }, 200, hooks.Taken, [2]int{0, 1}},
				"either path":         {func() int { return d.send(t, far, status, b.contentType, b.inbound) }, 200, hooks.Taken, [2]int{0, 1}},
				"by id":               {func() int { return d.send(t, far, "/inbound/"+v.ID.String(), b.contentType, b.inbound) }, 200, hooks.Taken, [2]int{0, 1}},
				"with an attempt":     {func() int { return d.send(t, far, status+"?a="+attempt.String(), b.contentType, b.status) }, 200, hooks.Taken, [2]int{1, 0}},
				"with an odd attempt": {func() int { return d.send(t, far, status+"?a=1%27--", b.contentType, b.status) }, 200, hooks.Taken, [2]int{1, 0}},
				"cannot be read":      {func() int { return d.send(t, far, inbound, b.contentType, b.odd) }, 400, hooks.Unreadable, [2]int{}},
				"as large as may be": {func() int {
					s, _ := d.call(unsigned("POST", status, strings.Repeat("x", hooks.MaxBody)), peer)
					return s
				}, 403, hooks.Unsigned, [2]int{}},
				"too large": {func() int {
					s, _ := d.call(unsigned("POST", status, strings.Repeat("x", hooks.MaxBody+1)), peer)
					return s
				}, 413, hooks.TooLarge, [2]int{}},
				"not signed":           {func() int { s, _ := d.call(unsigned("POST", status, b.status), peer); return s }, 403, hooks.Unsigned, [2]int{}},
				"not signed, nonsense": {func() int { s, _ := d.call(unsigned("POST", status, "{"), peer); return s }, 403, hooks.Unsigned, [2]int{}},
				"read":                 {func() int { s, _ := d.call(unsigned("GET", status, ""), peer); return s }, 405, hooks.Unreadable, [2]int{}},
				"no such vendor":       {func() int { return d.send(t, far, "/inbound/nobody", b.contentType, b.inbound) }, 404, hooks.Unknown, [2]int{}},
				"no such id":           {func() int { return d.send(t, far, "/inbound/"+message.NewID().String(), b.contentType, b.inbound) }, 404, hooks.Unknown, [2]int{}},
				"no vendor":            {func() int { return d.send(t, far, "/inbound/", b.contentType, b.inbound) }, 404, hooks.Unknown, [2]int{}},
			} {
				receipts, messages := s.count()
				if got := c.do(); got != c.status || s.last() != c.want {
					t.Errorf("%s: %d, %s", name, got, s.last())
				}
				moreReceipts, moreMessages := s.count()
				if up := [2]int{moreReceipts - receipts, moreMessages - messages}; up != c.up {
					t.Errorf("%s: %v were handed up", name, up)
				}
				if name == "with an attempt" && s.receipts[len(s.receipts)-1].Attempt != attempt {
					t.Errorf("attempt %v", s.receipts[len(s.receipts)-1].Attempt)
				}
			}
			for _, line := range s.log.Lines() {
				if strings.Contains(line, "2025550143") || strings.Contains(line, "3105550117") || strings.Contains(line, k.key) {
					t.Errorf("the log says %s", line)
				}
			}
		})
	}
}

// What is not committed is asked for again, by an empty answer.
func TestNotCommitted(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			d, s, v, far := hooked(t, k)
			s.fail = errors.New("the database is away")
			b := bodies[k.name]
			for _, body := range []string{b.status, b.inbound} {
				r, err := far.Webhook(t.Context(), d.url+"/inbound/"+v.Name, b.contentType, body)
				if err != nil {
					t.Fatal(err)
				}
				if status, said := d.call(r, peer); status != 503 || said != "" || s.last() != hooks.NotCommitted {
					t.Errorf("%d %q, %s", status, said, s.last())
				}
			}
		})
	}
}

// A vendor that has hung up does not take the commit with it.
func TestCommitOutlivesTheRequest(t *testing.T) {
	d, s, v, far := hooked(t, kinds[1])
	ctx, leave := context.WithCancel(t.Context())
	d.OnReceipt = func(ctx context.Context, _ message.Receipt) error {
		leave()
		return ctx.Err()
	}
	b := bodies["telnyx"]
	r, err := far.Webhook(ctx, d.url+"/status/"+v.Name, b.contentType, b.status)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := d.call(r, peer); status != 200 {
		t.Errorf("%d, %s", status, s.last())
	}
}

// Keys overlap while they are exchanged, and a vendor without any is asked to wait.
func TestKeys(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			d, s, v, far := hooked(t, k)
			b := bodies[k.name]
			newer := vendortest.TelnyxPublicKey(strings.Repeat("n", 32))
			for name, c := range map[string]struct {
				keys   []string
				status int
			}{
				"new and old": {[]string{newer, k.key}, 200},
				"new alone":   {[]string{newer}, 403},
			} {
				v.SigningKeys = c.keys
				if got := d.send(t, far, "/status/"+v.Name, b.contentType, b.status); got != c.status {
					t.Errorf("%s: %d", name, got)
				}
			}
			v.SigningKeys, v.Username = nil, "SK-an-API-key"
			if got := d.send(t, far, "/status/"+v.Name, b.contentType, b.status); got != 503 || s.last() != hooks.NotReady {
				t.Errorf("without keys: %d, %s", got, s.last())
			}
			v.Username = v.AccountSID // then Twilio's password is the token that signs
			want := map[string]int{"twilio": 200, "telnyx": 503}[k.name]
			if got := d.send(t, far, "/status/"+v.Name, b.contentType, b.status); got != want {
				t.Errorf("with the account's password: %d, want %d", got, want)
			}
		})
	}
}

// A vendor that is switched off reports on what it took before; one of a kind without
// webhooks has none.
func TestVendorsThatAreOff(t *testing.T) {
	k := kinds[0]
	d, s, v, far := hooked(t, k)
	b := bodies[k.name]
	v.Active = false
	if got := d.send(t, far, "/status/"+v.Name, b.contentType, b.status); got != 200 {
		t.Errorf("%d, %s", got, s.last())
	}
	d.Kinds[k.name] = vendors.Kind{}
	if got := d.send(t, far, "/status/"+v.Name, b.contentType, b.status); got != 404 {
		t.Errorf("%d, %s", got, s.last())
	}
}

// Who sends what is not signed is told to slow down; what is signed is taken, from
// wherever it comes: a vendor's other customers share its addresses.
func TestUnsignedAreHeldBack(t *testing.T) {
	k := kinds[0]
	d, s, v, far := hooked(t, k)
	d.FailedPerMinute = 3
	now := time.Now()
	d.Now = func() time.Time { return now }
	b := bodies[k.name]
	from := func(address string, sign bool) int {
		t.Helper()
		r, err := far.Webhook(t.Context(), d.url+"/status/"+v.Name, b.contentType, b.status)
		if err != nil {
			t.Fatal(err)
		}
		if !sign {
			r.Header.Del("X-Twilio-Signature")
		}
		status, _ := d.call(r, address)
		return status
	}
	for range 10 {
		if got := from("[2001:db8::1]:1", true); got != 200 {
			t.Fatalf("signed: %d", got)
		}
	}
	for i, want := range []int{403, 403, 403, 429, 429} {
		if got := from("[2001:db8::1]:1", false); got != want {
			t.Errorf("unsigned, %d: %d, want %d", i+1, got, want)
		}
	}
	for address, want := range map[string]int{"[2001:db8::ffff]:2": 429, "[2001:db8:1::1]:1": 403, "192.0.2.1:1": 403} {
		if got := from(address, true); got != 200 {
			t.Errorf("%s, signed: %d, %s", address, got, s.last())
		}
		if got := from(address, false); got != want {
			t.Errorf("%s: %d, want %d, %s", address, got, want, s.last())
		}
	}
	now = now.Add(time.Minute)
	if got := from("[2001:db8::1]:1", false); got != 403 {
		t.Errorf("a minute later: %d", got)
	}
}

// The URL that a vendor has signed is the public one, whatever the Host header says.
func TestPublicURL(t *testing.T) {
	k := kinds[0]
	d, s, v, far := hooked(t, k)
	d.PublicURL = "https://gw.example.com/gateway/"
	b := bodies[k.name]
	r, err := far.Webhook(t.Context(), "https://gw.example.com/gateway/status/"+v.Name+"?a=%20b", b.contentType, b.status)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://10.0.0.1/status/"+v.Name+"?a=%20b", strings.NewReader(b.status))
	if err != nil {
		t.Fatal(err)
	}
	inner.Header = r.Header
	if status, _ := d.call(inner, peer); status != 200 {
		t.Errorf("%d, %s", status, s.last())
	}
}

// A body that ends early is no webhook.
func TestBodyThatEndsEarly(t *testing.T) {
	d, s, v, _ := hooked(t, kinds[0])
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url+"/status/"+v.Name, io.MultiReader(strings.NewReader("x"), broken{}))
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := d.call(r, peer); status != 400 || s.last() != hooks.Broken {
		t.Errorf("%d, %s", status, s.last())
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
