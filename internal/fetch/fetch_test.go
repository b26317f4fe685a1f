package fetch

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/webhook"
)

var loopback = webhook.Policy{AllowHTTP: true, AllowLoopback: true}

// serve starts a peer on loopback that writes no log.
func serve(t *testing.T, secure bool, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv
}

// fetcher makes a Fetcher that trusts the servers.
func fetcher(t *testing.T, p webhook.Policy, o Options, trust ...*httptest.Server) *Fetcher {
	t.Helper()
	for _, srv := range trust {
		if o.Roots == nil {
			o.Roots = x509.NewCertPool()
		}
		o.Roots.AddCert(srv.Certificate())
	}
	f := New(p, o)
	t.Cleanup(f.Close)
	return f
}

// all fetches a URL and reads it to its end.
func all(f *Fetcher, r Request) ([]byte, *Response, error) {
	if r.Limit == 0 {
		r.Limit = 1 << 20
	}
	got, err := f.Fetch(context.Background(), r)
	if err != nil {
		return nil, got, err
	}
	defer got.Body.Close()
	b, err := io.ReadAll(got.Body)
	return b, got, err
}

// failed checks an error against what it should be, and that it is whole.
func failed(t *testing.T, what string, err error, reason message.Reason, retryable bool) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%s: %v is no *Error", what, err)
		return
	}
	if e.Reason() != reason || e.Retryable() != retryable {
		t.Errorf("%s: %v: %s, retryable %v; want %s, %v", what, err, e.Reason(), e.Retryable(), reason, retryable)
	}
	if e.Retryable() && e.Reason() != message.ReasonMediaUnavailable {
		t.Errorf("%s: %s is retryable", what, e.Reason())
	}
	for err := error(e); err != nil; err = errors.Unwrap(err) {
		for _, leak := range []string{"hunter2", "token", "abc", "sesame", "private"} {
			if strings.Contains(err.Error(), leak) {
				t.Errorf("%s: %T shows %q: %v", what, err, leak, err)
			}
		}
	}
}

const (
	unavailable = message.ReasonMediaUnavailable
	rejected    = message.ReasonMediaRejected
	unsafeURL   = message.ReasonUnsafeURL
)

func TestFetch(t *testing.T) {
	var got *http.Request
	srv := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("Content-Type", "Image/JPEG; name=x")
		w.Header().Set("Set-Cookie", "a=b")
		io.WriteString(w, "\xff\xd8\xff")
	})
	f := fetcher(t, webhook.Policy{AllowLoopback: true}, Options{}, srv)
	for range 2 { // a cookie would come with the second
		b, r, err := all(f, Request{URL: srv.URL + "/a/b?x=y#z"})
		if err != nil || string(b) != "\xff\xd8\xff" || r.Size != 3 || r.ContentType != "image/jpeg" {
			t.Fatalf("%q, %+v, %v", b, r, err)
		}
	}
	want := http.Header{"User-Agent": {"Postrider"}, "Accept": {"*/*"}, "Accept-Encoding": {"identity"}}
	for name, values := range got.Header {
		if !slices.Equal(want[name], values) {
			t.Errorf("%s: %v was sent", name, values)
		}
	}
	if len(got.Header) != len(want) || got.Method != "GET" || got.URL.String() != "/a/b?x=y" || got.ContentLength != 0 {
		t.Errorf("%s %s %v", got.Method, got.URL, got.Header)
	}
	if f.transport.Proxy != nil {
		t.Error("a proxy may dial")
	}
	if _, err := f.Fetch(t.Context(), Request{URL: srv.URL}); err == nil {
		t.Error("no limit")
	}
	if _, _, err := all(fetcher(t, webhook.Policy{AllowLoopback: true}, Options{}), Request{URL: srv.URL}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
	f = New(loopback, Options{ConnectTimeout: time.Hour, HeaderTimeout: -1, TotalTimeout: time.Second})
	if o := f.options; o.ConnectTimeout != ConnectTimeout || o.HeaderTimeout != HeaderTimeout || o.TotalTimeout != time.Second {
		t.Errorf("%+v", o)
	}
}

func TestStatuses(t *testing.T) {
	for status, retryable := range map[int]bool{
		201: false, 202: false, 203: false, 204: false, 206: false, 300: false, 304: false, 305: false,
		400: false, 401: false, 402: false, 403: false, 404: false, 405: false, 406: false, 407: false, 409: false, 410: false,
		413: false, 416: false, 418: false, 451: false, 499: false, 999: true,
		408: true, 425: true, 429: true, 500: true, 501: true, 502: true, 503: true, 504: true, 599: true,
	} {
		srv := serve(t, false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		_, _, err := all(fetcher(t, loopback, Options{}), Request{URL: srv.URL})
		failed(t, strconv.Itoa(status), err, unavailable, retryable)
		var e *Error
		if errors.As(err, &e) && (e.Status() != status || !strings.Contains(e.Error(), strconv.Itoa(status))) {
			t.Errorf("%d: %d, %v", status, e.Status(), err)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name         string
		size, limit  int
		chunked      bool
		header, body bool // where it is refused
	}{
		{"as long as it may be", 1000, 1000, false, false, false},
		{"as long as it may be, untold", 1000, 1000, true, false, false},
		{"nothing", 0, 1, false, false, false},
		{"one more", 1001, 1000, false, true, false},
		{"one more, untold", 1001, 1000, true, false, true},
		{"much more, untold", 1 << 20, 1000, true, false, true},
	} {
		srv := serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
			if c.chunked {
				w.(http.Flusher).Flush()
			} else {
				w.Header().Set("Content-Length", strconv.Itoa(c.size))
			}
			w.Write(bytes.Repeat([]byte("x"), c.size))
		})
		r, err := fetcher(t, loopback, Options{}).Fetch(t.Context(), Request{URL: srv.URL, Limit: int64(c.limit)})
		if c.header {
			failed(t, c.name, err, rejected, false)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if want := int64(c.size); c.chunked && r.Size != -1 || !c.chunked && r.Size != want {
			t.Errorf("%s: size %d", c.name, r.Size)
		}
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		if len(b) != min(c.size, c.limit) {
			t.Errorf("%s: %d bytes", c.name, len(b))
		}
		if c.body {
			failed(t, c.name, err, rejected, false)
		} else if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if n, again := r.Body.Read(make([]byte, 1)); n != 0 || c.body && !errors.Is(again, err) || !c.body && !errors.Is(again, io.EOF) {
			t.Errorf("%s: read on: %d, %v", c.name, n, again)
		}
	}
	ended := make(chan struct{})
	srv := serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		for {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
	b, _, err := all(fetcher(t, loopback, Options{}), Request{URL: srv.URL, Limit: 100_000})
	failed(t, "an endless body", err, rejected, false)
	if len(b) != 100_000 {
		t.Errorf("%d bytes", len(b))
	}
	<-ended // by Close
}

// raw answers with the bytes as they are.
func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, _ := w.(http.Hijacker).Hijack()
		io.WriteString(c, answer)
		c.Close()
	}
}

func TestRudeServers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
	for _, c := range []struct {
		name, answer string
		body         string
		reason       message.Reason // of the error; empty: none
		retryable    bool
	}{
		{"more than it says", ok + "Content-Length: 4\r\n\r\nfile and more", "file", "", false},
		{"less than it says", ok + "Content-Length: 10\r\n\r\nfile", "file", unavailable, true},
		{"chunks that break off", ok + "Transfer-Encoding: chunked\r\n\r\n4\r\nfile\r\n", "file", unavailable, true},
		{"chunks that are none", ok + "Transfer-Encoding: chunked\r\n\r\nfile\r\n", "", unavailable, true},
		{"until it closes", ok + "\r\nfile", "file", "", false},
		{"compressed", ok + "Content-Encoding: gzip\r\n\r\n\x1f\x8b", "", unavailable, false},
		{"compressed twice", ok + "Content-Encoding: identity\r\nContent-Encoding: br\r\n\r\n", "", unavailable, false},
		{"not compressed", ok + "Content-Encoding: Identity\r\n\r\nfile", "file", "", false},
		{"compressed on the way", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "", unavailable, true},
		{"two lengths", ok + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nfile!", "", unavailable, true},
		{"no HTTP", "SSH-2.0-x y\r\n", "", unavailable, true},
		{"nothing", "", "", unavailable, true},
		{"a header without end", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHeader) + "\r\n\r\nfile", "", unavailable, true},
		{"no type", ok + "Content-Type: ;;\r\n\r\nfile", "file", "", false},
	} {
		srv := serve(t, false, raw(c.answer))
		b, r, err := all(fetcher(t, loopback, Options{}), Request{URL: "http://user:hunter2@" + srv.Listener.Addr().String() + "/private?token=abc"})
		if string(b) != c.body {
			t.Errorf("%s: %q", c.name, b)
		}
		if c.reason != "" {
			failed(t, c.name, err, c.reason, c.retryable)
		} else if err != nil || r.ContentType != "" {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
	}
}

func TestRedirects(t *testing.T) {
	var asked []string
	mux := http.NewServeMux()
	to := func(path string, status int, location string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(status)
		})
	}
	srv := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if r.Header.Get("Referer") != "" || r.Header.Get("Cookie") != "" || r.Method != http.MethodGet {
			t.Errorf("%s %v", r.Method, r.Header)
		}
		w.Header().Set("Set-Cookie", "a=b")
		mux.ServeHTTP(w, r)
	})
	clear := serve(t, false, func(http.ResponseWriter, *http.Request) { t.Error("asked in clear") })
	mux.HandleFunc("/file", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "file") })
	for status := range map[int]bool{301: true, 302: true, 303: true, 307: true, 308: true} {
		to("/"+strconv.Itoa(status), status, "file")
	}
	to("/1", 302, "/file")
	to("/2", 302, srv.URL+"/1?token=abc")
	to("/3", 302, "//"+srv.Listener.Addr().String()+"/2")
	to("/4", 302, "/3")
	to("/loop", 302, "/loop")
	to("/nowhere", 302, "")
	to("/broken", 302, "https://%zz/private")
	to("/clear", 302, clear.URL+"/private?token=abc")
	to("/metadata", 302, "https://169.254.169.254/latest/meta-data/?token=abc")
	to("/mapped", 302, "https://[::ffff:169.254.169.254]/private")
	to("/inside", 302, "https://10.0.0.1/private")
	to("/port", 302, "https://93.184.215.14:25/private")
	to("/name", 302, "https://metadata.google.internal/private")
	to("/ftp", 302, "ftp://example.com/private")
	to("/files", 302, "file:///etc/private")
	to("/data", 302, "data:text/plain,abc")
	to("/elsewhere", 302, "https://files.example.com/private")
	to("/below", 302, "https://127.0.0.1.example.com/private")

	policy := webhook.Policy{AllowHTTP: true, AllowLoopback: true}
	f := fetcher(t, policy, Options{}, srv)
	own := []string{"127.0.0.1"}
	for _, path := range []string{"/301", "/302", "/303", "/307", "/308", "/1", "/2", "/3"} {
		if b, _, err := all(f, Request{URL: srv.URL + path, Hosts: own}); err != nil || string(b) != "file" {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	for path, reason := range map[string]message.Reason{
		"/4": unavailable, "/loop": unavailable, "/nowhere": unavailable, "/broken": unavailable,
		"/clear": unsafeURL, "/metadata": unsafeURL, "/mapped": unsafeURL, "/inside": unsafeURL, "/port": unsafeURL, "/name": unsafeURL,
		"/ftp": unsafeURL, "/files": unsafeURL, "/data": unsafeURL,
	} {
		asked = nil
		_, _, err := all(f, Request{URL: srv.URL + path})
		failed(t, path, err, reason, false)
		if !strings.HasPrefix(err.Error(), "127.0.0.1: redirects ") || strings.Contains(err.Error(), "169.254") {
			t.Errorf("%s: says %v", path, err)
		}
		if len(asked) > MaxRedirects+1 {
			t.Errorf("%s: asked %v", path, asked)
		}
	}
	for _, path := range []string{"/elsewhere", "/below"} {
		_, _, err := all(f, Request{URL: srv.URL + path, Hosts: own})
		failed(t, path, err, unsafeURL, false)
	}
}

func TestFirstURL(t *testing.T) {
	var asked atomic.Int32
	srv := serve(t, false, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	for _, c := range []struct {
		url    string
		policy webhook.Policy
		hosts  []string
	}{
		{srv.URL + "/private?token=abc", webhook.Policy{}, nil},
		{srv.URL, webhook.Policy{AllowLoopback: true}, nil},
		{srv.URL, webhook.Policy{AllowHTTP: true}, nil},
		{srv.URL, loopback, []string{"example.com"}},
		{"", loopback, nil},
		{"://", loopback, nil},
		{"https://user:hunter2@/private", loopback, nil},
		{"https://169.254.169.254/", loopback, nil},
		{"https://example.com:22/", loopback, nil},
	} {
		_, _, err := all(fetcher(t, c.policy, Options{}), Request{URL: c.url, Hosts: c.hosts})
		failed(t, c.url, err, unsafeURL, false)
	}
	if asked.Load() != 0 {
		t.Error("a request arrived")
	}
}

func TestAmong(t *testing.T) {
	for _, c := range []struct {
		host  string
		hosts []string
		want  bool
	}{
		{"api.twilio.com", []string{"twilio.com"}, true},
		{"twilio.com", []string{"twilio.com"}, true},
		{"API.Twilio.com.", []string{"twilio.COM"}, true},
		{"a.b.twilio.com", []string{"x.example", "twilio.com."}, true},
		{"nottwilio.com", []string{"twilio.com"}, false},
		{"twilio.com.example", []string{"twilio.com"}, false},
		{"com", []string{"twilio.com"}, false},
		{"twilio.com", []string{"api.twilio.com"}, false},
		{"twilio.com", nil, false},
		{"twilio.com", []string{"", "."}, false},
		{"127.0.0.1", []string{"127.0.0.1"}, true},
		{"127.0.0.1", []string{"0.0.1", "1"}, false},
		{"ⓣwilio.com", []string{"twilio.com"}, false},
	} {
		if among(c.hosts, c.host) != c.want {
			t.Errorf("%s among %v: %v", c.host, c.hosts, !c.want)
		}
	}
}

// nameserver answers every question for an A record with the address.
func nameserver(t *testing.T, addr string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr(addr).As4()
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
			if end++; end+4 > n {
				continue
			}
			answer := append([]byte{buf[0], buf[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, buf[12:end+4]...)
			if buf[end+1] == 1 { // type A
				answer[7] = 1
				answer = append(answer, 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
				answer = append(answer, ip[:]...)
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

func portOfServer(t *testing.T, srv *httptest.Server) int {
	t.Helper()
	ap, err := netip.ParseAddrPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return int(ap.Port())
}

// A name that points inside reaches nothing, at first and behind a redirect.
func TestNamesThatPointInside(t *testing.T) {
	var asked atomic.Int32
	inside := serve(t, true, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	port := portOfServer(t, inside)
	named := "https://media.example.com:" + strconv.Itoa(port) + "/private?token=abc"
	policy := webhook.Policy{ExtraPorts: []int{port}}
	for _, addr := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0"} {
		_, _, err := all(fetcher(t, policy, Options{Resolver: nameserver(t, addr)}, inside), Request{URL: named})
		failed(t, addr, err, unsafeURL, false)
		if strings.Contains(err.Error(), addr) {
			t.Errorf("the error shows the address: %v", err)
		}
	}
	if asked.Load() != 0 {
		t.Fatal("a request arrived")
	}
	policy.AllowPrefixes = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if _, _, err := all(fetcher(t, policy, Options{Resolver: nameserver(t, "127.0.0.1")}, inside), Request{URL: named}); err != nil || asked.Load() != 1 {
		t.Errorf("once the address is allowed: %v", err)
	}
}

func TestCredentials(t *testing.T) {
	var sent []string // what Authorization each request had
	var hop http.HandlerFunc
	see := func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.Header.Get("Authorization"))
		hop(w, r)
	}
	one, two, clear := serve(t, true, see), serve(t, true, see), serve(t, false, see)
	at := func(srv *httptest.Server, host, path string) string {
		u, _ := url.Parse(srv.URL)
		return u.Scheme + "://" + host + ":" + u.Port() + path
	}
	policy := webhook.Policy{
		AllowHTTP: true, AllowPrefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		ExtraPorts: []int{portOfServer(t, one), portOfServer(t, two), portOfServer(t, clear)},
	}
	f := fetcher(t, policy, Options{Resolver: nameserver(t, "127.0.0.1")}, one, two)
	basic := &Credentials{Hosts: []string{"vendor.example.com"}, Username: "user", Password: secret.Conceal("hunter2")}
	bearer := &Credentials{Hosts: []string{"example.com"}, Username: "user", Password: secret.Conceal("hunter2"), Bearer: secret.Conceal("sesame")}
	const byBasic, byBearer, byURL = "Basic dXNlcjpodW50ZXIy", "Bearer sesame", "Basic bWU6b3du"
	vendor, other := "vendor.example.com", "other.example.com"
	for _, c := range []struct {
		name        string
		credentials *Credentials
		path        []string // the URL and where it redirects to, one after the other
		want        []string
	}{
		{"none", nil, []string{at(one, vendor, "/")}, []string{""}},
		{"by password", basic, []string{at(one, vendor, "/")}, []string{byBasic}},
		{"by token", bearer, []string{at(one, vendor, "/")}, []string{byBearer}},
		{"another host", basic, []string{at(one, other, "/")}, []string{""}},
		{"no hosts", &Credentials{Username: "user", Password: basic.Password}, []string{at(one, vendor, "/")}, []string{""}},
		{"in clear", basic, []string{at(clear, vendor, "/")}, []string{""}},
		{"on the same host", basic, []string{at(one, vendor, "/"), "/next", at(one, "VENDOR.example.com", "/last")}, []string{byBasic, byBasic, byBasic}},
		{"on to another host", basic, []string{at(one, vendor, "/"), at(one, other, "/")}, []string{byBasic, ""}},
		{"on to another host in the list", bearer, []string{at(one, vendor, "/"), at(one, other, "/")}, []string{byBearer, ""}},
		{"on to another port", basic, []string{at(one, vendor, "/"), at(two, vendor, "/")}, []string{byBasic, ""}},
		{"away and back", basic, []string{at(one, vendor, "/"), at(one, other, "/"), at(one, vendor, "/back")}, []string{byBasic, "", ""}},
		{"from elsewhere", basic, []string{at(one, other, "/"), at(one, vendor, "/")}, []string{"", ""}},
		{"of the URL", nil, []string{at(one, "me:own@"+vendor, "/")}, []string{byURL}},
		{"of the URL, on the same host", nil, []string{at(one, "me:own@"+vendor, "/"), "/next"}, []string{byURL, byURL}},
		{"of the URL, on to another host", nil, []string{at(one, "me:own@"+vendor, "/"), at(one, other, "/")}, []string{byURL, ""}},
		{"before those of the URL", basic, []string{at(one, "me:own@"+vendor, "/")}, []string{byBasic}},
	} {
		sent = nil
		hop = func(w http.ResponseWriter, r *http.Request) {
			if n := len(sent); n < len(c.path) {
				http.Redirect(w, r, c.path[n], http.StatusFound)
			}
		}
		if _, _, err := all(f, Request{URL: c.path[0], Credentials: c.credentials}); err != nil || !slices.Equal(sent, c.want) {
			t.Errorf("%s: %q was sent, want %q; %v", c.name, sent, c.want, err)
		}
	}
	hop = func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(401) }
	_, _, err := all(f, Request{URL: at(one, vendor, "/private?token=abc"), Credentials: bearer})
	failed(t, "refused credentials", err, unavailable, false)
}

func TestSlowServers(t *testing.T) {
	silent := serve(t, false, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, _, err := all(fetcher(t, loopback, Options{HeaderTimeout: 30 * time.Millisecond}), Request{URL: silent.URL})
	failed(t, "no header", err, unavailable, true)
	_, _, err = all(fetcher(t, loopback, Options{TotalTimeout: 30 * time.Millisecond}), Request{URL: silent.URL})
	failed(t, "no header in all the time", err, unavailable, true)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 30ms") {
		t.Errorf("says %v", err)
	}

	drip := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	b, _, err := all(fetcher(t, loopback, Options{TotalTimeout: 100 * time.Millisecond}), Request{URL: drip.URL})
	failed(t, "half a body", err, unavailable, true)
	if string(b) != "half" && string(b) != "" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%q, %v", b, err)
	}

	hanging := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	_, _, err = all(fetcher(t, loopback, Options{ConnectTimeout: 30 * time.Millisecond, Resolver: hanging}), Request{URL: "https://media.example.com/private"})
	failed(t, "no connection", err, unavailable, true)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, _, err = all(fetcher(t, loopback, Options{}), Request{URL: "http://" + l.Addr().String() + "/private?token=abc"})
	failed(t, "nobody there", err, unavailable, true)
}

func TestCalledOff(t *testing.T) {
	ended := make(chan struct{}, 2)
	srv := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		ended <- struct{}{}
	})
	f := fetcher(t, loopback, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := f.Fetch(ctx, Request{URL: srv.URL, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r.Body, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = r.Body.Read(make([]byte, 1))
	failed(t, "by the caller", err, unavailable, true)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	r.Body.Close()
	<-ended

	// Close alone ends the request, too.
	r, err = f.Fetch(t.Context(), Request{URL: srv.URL, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	<-ended
}
