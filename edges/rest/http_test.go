package rest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestPathsAndMethodsThatAreNot(t *testing.T) {
	b := setup(t, nil)
	for _, path := range []string{"/", "/v1", "/v1/", "/v1/messages/", "/v1/nothing", "/v1/events/x", "/v2/messages", "/docs/x", "/docs/errors/x", "/metrics", "/schemas/Message", "//v1/messages"} {
		wantProblem(t, b.do("GET", path, ""), 404, message.ReasonNotFound)
	}
	for _, c := range []struct{ method, path, allow string }{
		{"PUT", "/v1/messages", "GET, HEAD, OPTIONS, POST"},
		{"PUT", "/v1/messages/" + message.NewID().String(), "DELETE, GET, HEAD, OPTIONS, PATCH"},
		{"GET", "/v1/auth/token", "OPTIONS, POST"},
		{"POST", "/docs", "GET, HEAD, OPTIONS"},
		{"POST", "/healthz", "GET, HEAD, OPTIONS"},
		{"BREW", "/v1/errors", "GET, HEAD, OPTIONS"},
		{"TRACE", "/v1/errors", "GET, HEAD, OPTIONS"},
	} {
		r := b.do(c.method, c.path, "")
		wantProblem(t, r, 405, message.ReasonInvalidRequest)
		if got := r.Header.Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow %q, want %q", c.method, c.path, got, c.allow)
		}
		if r := b.do("OPTIONS", c.path, ""); r.StatusCode != 204 || r.Header.Get("Allow") != c.allow {
			t.Errorf("OPTIONS %s: %d, Allow %q", c.path, r.StatusCode, r.Header.Get("Allow"))
		}
	}
	wantProblem(t, b.do("OPTIONS", "/nothing", ""), 404, message.ReasonNotFound)
	wantProblem(t, b.do("BREW", "/nothing", ""), 404, message.ReasonNotFound)
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	b := setup(t, nil)
	id := b.send("keyA")
	for _, path := range []string{"/v1/messages", "/v1/messages/" + id, "/v1/errors", "/docs", "/openapi.json", "/healthz", "/readyz", "/.well-known/jwks.json"} {
		get, head := b.do("GET", path, "", as("keyA")), b.do("HEAD", path, "", as("keyA"))
		if head.StatusCode != get.StatusCode || len(head.body) != 0 || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
			t.Errorf("%s: %d %q, GET %d %q", path, head.StatusCode, head.Header.Get("Content-Type"), get.StatusCode, get.Header.Get("Content-Type"))
		}
	}
}

func TestContentNegotiation(t *testing.T) {
	b := setup(t, nil)
	for accept, status := range map[string]int{
		"": 202, "*/*": 202, "application/*": 202, "application/json": 202, "application/problem+json": 202,
		"text/html, application/xml;q=0.9, */*;q=0.8": 202, "application/json;q=0.5": 202, "APPLICATION/JSON": 202,
		"text/html": 406, "application/json;q=0": 406, "application/xml, */*;q=0.0": 406, "image/*": 406,
	} {
		if r := b.do("POST", "/v1/messages", parcel, as("keyA"), header("Accept", accept)); r.StatusCode != status {
			t.Errorf("Accept %q: %d, want %d", accept, r.StatusCode, status)
		} else if status == 406 {
			wantProblem(t, r, 406, message.ReasonInvalidRequest)
		}
	}
	calls, _ := b.ingress.count()
	for kind, status := range map[string]int{
		"application/json": 202, "application/json; charset=utf-8": 202, `Application/JSON;charset="UTF-8"`: 202, "": 202,
		"text/plain": 415, "application/x-www-form-urlencoded": 415, "multipart/form-data; boundary=x": 415, "application/json; charset=utf-16": 415,
		"application/json;": 202, "application/jsonp": 415, ";;": 415, "application/vnd.api+json": 415,
	} {
		r := b.do("POST", "/v1/messages", parcel, as("keyA"), func(r *http.Request) {
			r.Header.Del("Content-Type")
			if kind != "" {
				r.Header.Set("Content-Type", kind)
			}
		})
		if r.StatusCode != status {
			t.Errorf("Content-Type %q: %d, want %d: %s", kind, r.StatusCode, status, r.body)
		}
		if status == 202 {
			calls++
		}
	}
	wantProblem(t, b.do("POST", "/v1/messages", parcel, as("keyA"), header("Content-Encoding", "gzip")), 415, message.ReasonInvalidRequest)
	if after, _ := b.ingress.count(); after != calls {
		t.Errorf("ingress was called %d times, want %d", after, calls)
	}
}

func TestRequestID(t *testing.T) {
	b := setup(t, nil)
	for given, kept := range map[string]bool{
		"abc-123": true, "0af7651916cd43dd8448eb211c80319c": true, "a.b_c:d=e+f/g": true, strings.Repeat("x", 128): true,
		strings.Repeat("x", 129): false, "a b": false, `a"b`: false, "ü": false, "<b>": false,
	} {
		r := b.do("GET", "/v1/messages/x", "", as("keyA"), header("X-Request-Id", given))
		id := r.Header.Get("X-Request-Id")
		if (id == given) != kept || id == "" || r.json(t)["request_id"] != id {
			t.Errorf("%q: answered %q, body %v", given, id, r.json(t)["request_id"])
		}
	}
}

func TestTraceParentIsPassedOn(t *testing.T) {
	b := setup(t, nil)
	good := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for given, want := range map[string]string{
		good: good, "": "", "x": "", strings.ToUpper(good): "", strings.Replace(good, "-", "_", 1): "", good + "-more": good + "-more",
		good + strings.Repeat("x", 100): "",
	} {
		b.do("POST", "/v1/messages", parcel, as("keyA"), header("Traceparent", given))
		if got := b.ingress.last(t).TraceParent; got != want {
			t.Errorf("%q is passed on as %q", given, got)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	b := setup(t, nil)
	for _, path := range []string{"/v1/messages", "/v1/errors", "/docs", "/nothing", "/healthz", "/openapi.yaml"} {
		r := b.do("GET", path, "")
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'",
		} {
			if !strings.HasPrefix(r.Header.Get(name), want) {
				t.Errorf("%s: %s is %q", path, name, r.Header.Get(name))
			}
		}
	}
	if cache := b.do("GET", "/v1/messages", "", as("keyA")).Header.Get("Cache-Control"); cache != "no-store" {
		t.Errorf("a list may be kept: %q", cache)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	b := setup(t, func(b *bundle) {
		b.ingress.refuse = func(ingress.Request) (error, bool) { panic("hunter2 broke") }
	})
	r := b.do("POST", "/v1/messages", parcel, as("keyA"))
	wantProblem(t, r, 500, message.ReasonInternal)
	if strings.Contains(string(r.body), "hunter2") {
		t.Errorf("the answer tells the panic: %s", r.body)
	}
	log := b.log.String()
	if !strings.Contains(log, "hunter2 broke") || !strings.Contains(log, "send.go") || !strings.Contains(log, r.Header.Get("X-Request-Id")) {
		t.Errorf("log %s", log)
	}
	if r := b.do("GET", "/v1/errors", ""); r.StatusCode != 200 {
		t.Errorf("afterwards: %d", r.StatusCode)
	}
}

func TestObserve(t *testing.T) {
	var mu sync.Mutex
	var got []string
	b := setup(t, func(b *bundle) {
		b.server.Observe = func(operation string, status int, took time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprint(operation, " ", status, " ", took))
		}
	})
	b.do("POST", "/v1/messages", parcel, as("keyA"))
	b.do("POST", "/v1/messages", parcel)
	b.do("GET", "/v1/messages/x", "", as("keyA"))
	b.do("GET", "/nothing", "")
	b.do("GET", "/docs", "")
	// The answer is out before it is measured: closing waits for the handlers.
	if err := b.server.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := "[sendMessage 202 0s sendMessage 401 0s getMessage 404 0s  404 0s docs 200 0s]"; fmt.Sprint(got) != want {
		t.Errorf("observed %v, want %s", got, want)
	}
}

func TestHealth(t *testing.T) {
	var mu sync.Mutex
	checks := map[string]Check{"journal": {}, "temporal": {Err: errors.New("away"), Advisory: true}}
	b := setup(t, func(b *bundle) {
		b.server.Ready = func(context.Context) map[string]Check {
			mu.Lock()
			defer mu.Unlock()
			return checks
		}
	})
	for _, path := range []string{"/healthz", "/health"} {
		if r := b.do("GET", path, ""); r.StatusCode != 200 || string(r.body) != `{"status":"ok"}` {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
	r := b.do("GET", "/readyz", "")
	if want := `{"checks":{"journal":"ok","shutdown":"ok","temporal":"degraded"},"status":"ready"}`; r.StatusCode != 200 || string(r.body) != want {
		t.Errorf("%d %s, want %s", r.StatusCode, r.body, want)
	}
	mu.Lock()
	checks = map[string]Check{"journal": {Err: errors.New("user=gw host=db-7")}}
	mu.Unlock()
	r = b.do("GET", "/readyz", "")
	if want := `{"checks":{"journal":"failing","shutdown":"ok"},"status":"not_ready"}`; r.StatusCode != 503 || string(r.body) != want || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s, want %s", r.StatusCode, r.body, want)
	}
	if !strings.Contains(b.log.String(), "db-7") {
		t.Error("the log does not say why")
	}
	if r := b.do("GET", "/healthz", ""); r.StatusCode != 200 {
		t.Errorf("healthz depends on something: %d", r.StatusCode)
	}
	b.reconfigure(func(*snapshot.Snapshot) {})
	b.mu.Lock()
	b.config = nil
	b.mu.Unlock()
	mu.Lock()
	checks = nil
	mu.Unlock()
	if r := b.do("GET", "/readyz", ""); r.StatusCode != 503 || !strings.Contains(string(r.body), `"configuration":"failing"`) {
		t.Errorf("without configuration: %d %s", r.StatusCode, r.body)
	}
	wantProblem(t, b.do("POST", "/v1/messages", parcel, as("keyA")), 503, message.ReasonUnavailable)
	wantProblem(t, b.do("GET", "/v1/messages", "", bearer("x")), 503, message.ReasonUnavailable)
	wantProblem(t, b.do("POST", "/v1/auth/token", "", as("keyA")), 503, message.ReasonUnavailable)
	if r := b.do("GET", "/.well-known/jwks.json", ""); string(r.body) != `{"keys":[]}` {
		t.Errorf("keys without configuration: %s", r.body)
	}
}

// Shutdown answers what it has begun and takes nothing more.
func TestShutdownDrains(t *testing.T) {
	b := setup(t, func(b *bundle) {
		b.ingress.hold = make(chan struct{})
		b.ingress.entered = make(chan struct{}, 1)
	})
	answered := make(chan *reply, 1)
	go func() { answered <- b.do("POST", "/v1/messages", parcel, as("keyA")) }()
	<-b.ingress.entered
	stopped := make(chan error, 1)
	go func() { stopped <- b.server.Shutdown(context.Background()) }()
	for { // until the listener is closed
		c, err := net.Dial("tcp", strings.TrimPrefix(b.base, "http://"))
		if err != nil {
			break
		}
		c.Close()
	}
	select {
	case err := <-stopped:
		t.Fatalf("shut down with a request under way: %v", err)
	default:
	}
	close(b.ingress.hold)
	if r := <-answered; r.StatusCode != 202 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestShutdownGivesUpInTime(t *testing.T) {
	b := setup(t, func(b *bundle) {
		b.ingress.hold = make(chan struct{})
		b.ingress.entered = make(chan struct{}, 1)
	})
	failed := make(chan error, 1)
	go func() {
		r, _ := http.NewRequest("POST", b.base+"/v1/messages", strings.NewReader(parcel))
		as("keyA")(r)
		answer, err := b.client.Do(r)
		if err == nil {
			answer.Body.Close()
		}
		failed <- err
	}()
	<-b.ingress.entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("the request was answered")
	}
	close(b.ingress.hold)
}

func TestServeAfterShutdown(t *testing.T) {
	s := &Server{}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := s.Serve(l); err != nil {
		t.Errorf("serve: %v", err)
	}
}

// raw speaks to the server without net/http's client.
func (b *bundle) raw(write string) *http.Response {
	b.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.base, "http://"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, write); err != nil {
		b.t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func TestLimitsBeforeAuthentication(t *testing.T) {
	b := setup(t, func(b *bundle) { b.server.MaxHeaderBytes = 4096 })
	if r := b.raw("GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 16<<10) + "\r\n\r\n"); r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 16 KiB: %d", r.StatusCode)
	}
	if r := b.raw("POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"); r.StatusCode == 202 {
		t.Errorf("two lengths: %d", r.StatusCode)
	}
	if r := b.raw("GET /v1/messages HTTP/1.1\r\n\r\n"); r.StatusCode != 400 {
		t.Errorf("no host: %d", r.StatusCode)
	}
}

// A body that breaks off is a bad request and never a message.
func TestBodyThatBreaksOff(t *testing.T) {
	done := make(chan struct{})
	b := setup(t, func(b *bundle) {
		b.server.Observe = func(operation string, status int, _ time.Duration) {
			if operation == "sendMessage" {
				if status != 400 {
					t.Errorf("status %d", status)
				}
				close(done)
			}
		}
	})
	c, err := net.Dial("tcp", strings.TrimPrefix(b.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	auth := "Authorization: Basic a2V5QTpzZWNyZXRB\r\n" // keyA:secretA
	fmt.Fprintf(c, "POST /v1/messages HTTP/1.1\r\nHost: x\r\n%sContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n%s", auth, parcel)
	c.Close()
	<-done
	if calls, _ := b.ingress.count(); calls != 0 {
		t.Error("ingress was called")
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := bound(inner, 2)
	accepted := make(chan net.Conn, 10)
	ended := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- c
		}
	}()
	for range 4 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, second := <-accepted, <-accepted
	select {
	case <-accepted:
		t.Fatal("a third connection was accepted")
	default:
	}
	first.Close()
	first.Close() // closing twice gives one slot back
	third := <-accepted
	select {
	case <-accepted:
		t.Fatal("a fourth connection was accepted")
	default:
	}
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept ended with %v", err)
	}
	second.Close()
	third.Close()
}

func TestConcurrentRequests(t *testing.T) {
	b := setup(t, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				key := []string{"keyA", "keyB"}[(i+j)%2]
				r := b.do("POST", "/v1/messages", parcel, as(key), header("Idempotency-Key", fmt.Sprint(i, "-", j)))
				if r.StatusCode != 202 {
					t.Errorf("%d %s", r.StatusCode, r.body)
				}
			}
		})
	}
	wg.Wait()
	if _, stored := b.ingress.count(); stored != 160 {
		t.Errorf("%d messages stored, want 160", stored)
	}
}
