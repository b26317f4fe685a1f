package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var loopback = Policy{AllowHTTP: true, AllowLoopback: true}

// serve starts a peer on loopback that writes no log.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

func sender(t *testing.T, c Config) *Sender {
	t.Helper()
	s := NewSender(c)
	t.Cleanup(s.Close)
	return s
}

func to(url string) Request {
	return Request{URL: url, EventID: "01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21", Body: []byte(`{"type":"message.sent"}`), Secret: testSecret}
}

func TestSendSigned(t *testing.T) {
	now := time.Date(2026, 11, 21, 20, 15, 9, 0, time.UTC)
	for _, method := range []string{"", "POST", "PUT"} {
		var got *http.Request
		var body []byte
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
			w.WriteHeader(http.StatusNoContent)
		})
		r := to(srv.URL + "/hook?x=1")
		r.Method = method
		result := sender(t, Config{Policy: loopback, Now: func() time.Time { return now }}).Send(t.Context(), r)
		if result.Err != nil || result.HTTPStatus != 204 || result.Outcome() != Delivered || result.Body != "" {
			t.Fatalf("%+v", result)
		}
		want := method
		if want == "" {
			want = "POST"
		}
		if got.Method != want || got.URL.String() != "/hook?x=1" || !bytes.Equal(body, r.Body) {
			t.Errorf("%s %s %s", got.Method, got.URL, body)
		}
		if got.Header.Get("Content-Type") != "application/json" || got.ContentLength != int64(len(r.Body)) || got.Header.Get("User-Agent") != "Postrider-Webhooks" {
			t.Errorf("headers %v", got.Header)
		}
		// As a consumer checks it, by the documentation.
		key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(testSecret, "whsec_"))
		mac := hmac.New(sha256.New, key)
		io.WriteString(mac, got.Header.Get("Webhook-Id")+"."+got.Header.Get("Webhook-Timestamp")+"."+string(body))
		if got.Header.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
			t.Errorf("signature %q", got.Header.Get("Webhook-Signature"))
		}
		mac = hmac.New(sha256.New, []byte(testSecret))
		mac.Write(body)
		if got.Header.Get("X-Signature") != hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("X-Signature %q", got.Header.Get("X-Signature"))
		}
		if ts := got.Header.Get("Webhook-Timestamp"); ts != strconv.FormatInt(now.Unix(), 10) || got.Header.Get("Webhook-Id") != r.EventID {
			t.Errorf("timestamp %q", ts)
		}
	}
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		status  int
		after   string
		outcome Outcome
		wait    time.Duration
	}{
		{200, "", Delivered, 0},
		{202, "60", Delivered, 0},
		{299, "", Delivered, 0},
		{300, "", Retry, 0},
		{304, "", Retry, 0},
		{307, "", Retry, 0},
		{400, "", Retry, 0},
		{401, "", Retry, 0},
		{404, "", Retry, 0},
		{410, "", Gone, 0},
		{429, "30", SlowDown, 30 * time.Second},
		{429, "soon", SlowDown, 0},
		{429, "-5", SlowDown, 0},
		{500, "", Retry, 0},
		{502, "", SlowDown, 0},
		{503, "120", Retry, 2 * time.Minute},
		{504, "99999999999999999999999", SlowDown, Window},
		{504, "9999999", SlowDown, Window},
		{429, "Sat, 21 Nov 2026 20:16:00 GMT", SlowDown, time.Minute},
		{429, "Sat, 21 Nov 2026 20:14:00 GMT", SlowDown, 0},
	} {
		srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.after != "" {
				w.Header().Set("Retry-After", c.after)
			}
			w.WriteHeader(c.status)
		})
		now := func() time.Time { return time.Date(2026, 11, 21, 20, 15, 0, 0, time.UTC) }
		r := sender(t, Config{Policy: loopback, Now: now}).Send(t.Context(), to(srv.URL))
		if r.Err != nil || r.HTTPStatus != c.status || r.Outcome() != c.outcome || r.RetryAfter != c.wait {
			t.Errorf("%d, Retry-After %q: %+v, %s; want %s, %v", c.status, c.after, r, r.Outcome(), c.outcome, c.wait)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var followed atomic.Int32
	target := serve(t, func(http.ResponseWriter, *http.Request) { followed.Add(1) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target.URL, status) })
		r := sender(t, Config{Policy: loopback}).Send(t.Context(), to(srv.URL))
		if r.HTTPStatus != status || r.Outcome() != Retry || r.Err != nil {
			t.Errorf("%d: %+v", status, r)
		}
	}
	if followed.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestLongAnswersAreCut(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
				return
			}
		}
	})
	r := sender(t, Config{Policy: loopback}).Send(t.Context(), to(srv.URL))
	if r.HTTPStatus != 200 || r.Body != strings.Repeat("x", 1024) || r.Outcome() != Delivered {
		t.Errorf("status %d, %d octets, %v", r.HTTPStatus, len(r.Body), r.Err)
	}

	srv = serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("caf\xe9\x00\xff!")) })
	r = sender(t, Config{Policy: loopback}).Send(t.Context(), to(srv.URL))
	if r.Body != "caf\ufffd\ufffd!" || !utf8.ValidString(r.Body) {
		t.Errorf("%q", r.Body)
	}

	srv = serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 1<<16))
	})
	r = sender(t, Config{Policy: loopback}).Send(t.Context(), to(srv.URL))
	if r.Err == nil || r.HTTPStatus != 0 {
		t.Errorf("a header without bound: %+v", r)
	}
}

func TestStatusCountsThoughTheBodyBreaksOff(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half") // and returns: the server then closes the connection
	})
	r := sender(t, Config{Policy: loopback}).Send(t.Context(), to(srv.URL))
	if r.HTTPStatus != 200 || r.Outcome() != Delivered || r.Body != "half" || r.Err != nil {
		t.Errorf("%+v", r)
	}
}

func TestSilentPeer(t *testing.T) {
	entered := make(chan struct{}, 3)
	srv := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	// The sender's own bound.
	r := sender(t, Config{Policy: loopback, Timeout: 30 * time.Millisecond}).Send(t.Context(), to(srv.URL))
	if !errors.Is(r.Err, context.DeadlineExceeded) || r.Outcome() != Retry || r.HTTPStatus != 0 {
		t.Errorf("%+v", r)
	}
	if want := "127.0.0.1: no answer within 30ms"; r.Err.Error() != want {
		t.Errorf("says %q", r.Err)
	}
	// The caller's bound, where that is shorter.
	short, end := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer end()
	r = sender(t, Config{Policy: loopback}).Send(short, to(srv.URL))
	if !errors.Is(r.Err, context.DeadlineExceeded) || strings.Contains(r.Err.Error(), DefaultTimeout.String()) {
		t.Errorf("says %v", r.Err)
	}
	// The caller's change of mind.
	s := sender(t, Config{Policy: loopback})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan Result)
	for len(entered) > 0 {
		<-entered
	}
	go func() { done <- s.Send(ctx, to(srv.URL)) }()
	<-entered
	cancel()
	if r := <-done; !errors.Is(r.Err, context.Canceled) || r.Outcome() != Retry {
		t.Errorf("%+v", r)
	}
	if c := (NewSender(Config{Timeout: time.Hour})).config.Timeout; c != DefaultTimeout {
		t.Errorf("a timeout of %v", c)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	var opened atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "thanks")
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	s := sender(t, Config{Policy: loopback})
	for range 10 {
		if r := s.Send(t.Context(), to(srv.URL)); r.Outcome() != Delivered || r.Body != "thanks" {
			t.Fatalf("%+v", r)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	policy := Policy{AllowLoopback: true}
	if r := sender(t, Config{Policy: policy, Roots: roots}).Send(t.Context(), to(srv.URL)); r.Outcome() != Delivered {
		t.Errorf("%+v", r)
	}
	if r := sender(t, Config{Policy: policy}).Send(t.Context(), to(srv.URL)); r.Err == nil || !strings.Contains(r.Err.Error(), "certificate") {
		t.Errorf("an unknown authority: %+v", r)
	}
}

func TestGuardWhenSending(t *testing.T) {
	var asked atomic.Int32
	srv := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	r := sender(t, Config{}).Send(t.Context(), to(srv.URL))
	if message.ReasonOf(r.Err) != message.ReasonUnsafeURL || asked.Load() != 0 {
		t.Errorf("%+v", r)
	}
}

// nameserver answers every question for an A record with the next of its
// addresses, the last one for ever.
func nameserver(t *testing.T, addrs ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			end := 12 // of the question's name
			for end < n && buf[end] != 0 {
				end += 1 + int(buf[end])
			}
			end++
			if end+4 > n {
				continue
			}
			answer := append([]byte{buf[0], buf[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, buf[12:end+4]...)
			if buf[end+1] == 1 { // type A
				answer[7] = 1
				ip := netip.MustParseAddr(addrs[0]).As4()
				answer = append(answer, 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
				answer = append(answer, ip[:]...)
				if len(addrs) > 1 {
					addrs = addrs[1:]
				}
			}
			conn.WriteTo(answer, from)
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// A name that is public when the URL is stored and points inside later, or
// from the start, reaches nothing.
func TestNamesThatPointInside(t *testing.T) {
	var asked atomic.Int32
	srv := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	n, _ := strconv.Atoi(port)
	url := "http://hook.shop.example.:" + port + "/x?token=abc"

	policy := Policy{AllowHTTP: true, ExtraPorts: []int{n}}
	if err := ValidateURL(url, policy); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0"} {
		r := sender(t, Config{Policy: policy, Resolver: nameserver(t, addr)}).Send(t.Context(), to(url))
		if message.ReasonOf(r.Err) != message.ReasonUnsafeURL || r.HTTPStatus != 0 || r.Outcome() != Retry {
			t.Errorf("%s: %+v", addr, r)
		}
		if r.Err != nil && strings.Contains(r.Err.Error(), addr) {
			t.Errorf("the error shows the address: %v", r.Err)
		}
	}
	if asked.Load() != 0 {
		t.Fatal("a request arrived")
	}
	// The same name and server, once the installation allows the address.
	policy.AllowPrefixes = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if r := sender(t, Config{Policy: policy, Resolver: nameserver(t, "127.0.0.1")}).Send(t.Context(), to(url)); r.Outcome() != Delivered || asked.Load() != 1 {
		t.Errorf("%+v", r)
	}
}

func TestErrorsHideTheURL(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	rude := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, _ := w.(http.Hijacker).Hijack()
		io.WriteString(c, strings.Repeat("nonsense ", 1000)+"\r\n\r\n")
		c.Close()
	})
	for _, base := range []string{addr, rude.Listener.Addr().String()} {
		r := sender(t, Config{Policy: loopback}).Send(t.Context(), to("http://user:hunter2@"+base+"/path?token=abc"))
		if r.Err == nil || r.Outcome() != Retry {
			t.Fatalf("%+v", r)
		}
		for err := r.Err; err != nil; err = errors.Unwrap(err) {
			for _, leak := range []string{"user", "hunter2", "path", "token", "abc"} {
				if strings.Contains(err.Error(), leak) {
					t.Errorf("%T shows %q: %v", err, leak, err)
				}
			}
		}
		if len(r.Err.Error()) > 300 || !strings.HasPrefix(r.Err.Error(), "127.0.0.1: ") {
			t.Errorf("%d characters: %v", len(r.Err.Error()), r.Err)
		}
	}
	for _, c := range []struct {
		why string
		err error
	}{
		{"the name does not resolve", &net.DNSError{Name: "x", Server: "10.96.0.10:53", IsNotFound: true}},
		{"the name could not be looked up", &net.OpError{Op: "dial", Err: &net.DNSError{Name: "x", Server: "10.96.0.10:53", IsTimeout: true}}},
	} {
		if got := explain("h", 0, c.err).Error(); got != "h: "+c.why {
			t.Errorf("%q, want %q", got, c.why)
		}
	}
}

func TestRequestsThatAreNotSent(t *testing.T) {
	var asked atomic.Int32
	srv := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	s := sender(t, Config{Policy: loopback})
	for name, change := range map[string]func(*Request){
		"method": func(r *Request) { r.Method = "GET" },
		"secret": func(r *Request) { r.Secret = "" },
		"URL":    func(r *Request) { r.URL = "://" },
		"id":     func(r *Request) { r.EventID = "a\r\nX-Injected: 1" },
	} {
		r := to(srv.URL)
		change(&r)
		if result := s.Send(t.Context(), r); result.Err == nil || result.HTTPStatus != 0 || result.Outcome() != Retry {
			t.Errorf("%s: %+v", name, result)
		}
	}
	if asked.Load() != 0 {
		t.Error("something was sent")
	}
}

func TestOneHostDoesNotHoldUpAnother(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	slow := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-release
	})
	quick := serve(t, func(http.ResponseWriter, *http.Request) {})
	s := sender(t, Config{Policy: loopback, PerHost: 2, HostWait: time.Millisecond})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if r := s.Send(t.Context(), to(slow.URL)); r.Outcome() != Delivered {
				t.Errorf("%+v", r)
			}
		})
		<-entered
	}
	r := s.Send(t.Context(), to(slow.URL))
	if r.Outcome() != Busy || r.RetryAfter <= 0 || r.Err == nil || r.HTTPStatus != 0 {
		t.Errorf("the third to a host with two turns: %+v, %s", r, r.Outcome())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := s.Send(ctx, to(slow.URL)); r.Err == nil || r.Outcome() != Busy {
		t.Errorf("%+v", r)
	}
	if r := s.Send(t.Context(), to(quick.URL)); r.Outcome() != Delivered {
		t.Errorf("another host: %+v", r)
	}
	close(release)
	wg.Wait()
	go func() { <-entered }()
	if r := s.Send(t.Context(), to(slow.URL)); r.Outcome() != Delivered {
		t.Errorf("after the turns came back: %+v", r)
	}
}

// A try that waits gets its turn as soon as one is given back.
func TestTurnsAreHandedOn(t *testing.T) {
	var running, most atomic.Int32
	srv := serve(t, func(http.ResponseWriter, *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
	})
	s := sender(t, Config{Policy: loopback, PerHost: 3, HostWait: time.Minute})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if r := s.Send(t.Context(), to(srv.URL)); r.Outcome() != Delivered {
				t.Errorf("%+v", r)
			}
		})
	}
	wg.Wait()
	if most.Load() > 3 {
		t.Errorf("%d at a time", most.Load())
	}
}

func TestSlowDownIsForTheWholeHost(t *testing.T) {
	var mu sync.Mutex
	now := time.Date(2026, 11, 21, 20, 15, 0, 0, time.UTC)
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	pass := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	for _, c := range []struct {
		after string
		pause time.Duration
	}{{"30", 30 * time.Second}, {"", defaultPause}, {"7200", maxPause}} {
		var asked atomic.Int32
		srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) > 1 {
				return
			}
			if c.after != "" {
				w.Header().Set("Retry-After", c.after)
			}
			w.WriteHeader(429)
		})
		other := serve(t, func(http.ResponseWriter, *http.Request) {})
		s := sender(t, Config{Policy: loopback, Now: clock})
		if r := s.Send(t.Context(), to(srv.URL)); r.Outcome() != SlowDown {
			t.Fatalf("%+v", r)
		}
		if r := s.Send(t.Context(), to(srv.URL+"/other")); r.Outcome() != Busy || r.RetryAfter != c.pause {
			t.Errorf("Retry-After %q: %+v", c.after, r)
		}
		if r := s.Send(t.Context(), to(other.URL)); r.Outcome() != Delivered {
			t.Errorf("another host: %+v", r)
		}
		pass(c.pause)
		if r := s.Send(t.Context(), to(srv.URL)); r.Outcome() != Delivered || asked.Load() != 2 {
			t.Errorf("after the pause: %+v", r)
		}
	}
}

func TestHostsAreForgotten(t *testing.T) {
	now := time.Unix(0, 0)
	s := &hosts{limit: 1, byKey: map[string]*host{}}
	held, _, err := s.enter(t.Context(), "held", now, 0, false)
	if err != nil || held == nil {
		t.Fatal(err)
	}
	for i := range 3 * maxHosts {
		h, _, err := s.enter(t.Context(), strconv.Itoa(i), now, 0, false)
		if err != nil || h == nil {
			t.Fatal(err)
		}
		pause := time.Duration(0)
		if i == 0 {
			pause = time.Second
		}
		s.leave(h, now, 0, pause)
	}
	if n := len(s.byKey); n > maxHosts {
		t.Errorf("%d hosts are remembered", n)
	}
	if s.byKey["held"] == nil || s.byKey["0"] == nil {
		t.Error("a host in use or at rest was forgotten")
	}
	if h, again, err := s.enter(t.Context(), "held", now, 0, false); h != nil || again <= 0 || err != nil {
		t.Errorf("a second turn of one: %v, %v, %v", h, again, err)
	}
	s.leave(held, now, 0, 0)
	s.forget(now.Add(time.Hour))
	if n := len(s.byKey); n != 0 {
		t.Errorf("%d hosts are remembered though nobody uses them", n)
	}
}

func TestHostOf(t *testing.T) {
	for in, want := range map[string]string{
		"https://user:pass@shop.example:8443/path?x=y": "shop.example", "https://[::1]:443/": "::1", "://": "", "": "",
	} {
		if got := HostOf(in); got != want {
			t.Errorf("HostOf(%q) = %q", in, got)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("30")
	f.Add("Sat, 21 Nov 2026 20:16:00 GMT")
	f.Fuzz(func(t *testing.T, v string) {
		if d := retryAfter(v, time.Unix(1_800_000_000, 0)); d < 0 || d > Window {
			t.Fatalf("%q gives %v", v, d)
		}
	})
}
