package fetch

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/postrider/postrider/internal/fuzztest"
	"github.com/postrider/postrider/internal/webhook"
)

// Wherever a redirect leads: to no other scheme than allowed, no host that was not named,
// and never inside.
func FuzzRedirect(f *testing.F) {
	for _, to := range []string{"/b", "//b.example/x", "https://media.example:8443/x", "http://media.example/", "https://127.0.0.1/", "https://[::1]/", "https://0x7f.1/", "https://2130706433/",
		"https://[::ffff:169.254.169.254]/latest", "https://media.example@10.0.0.1/", "https://10.0.0.1#@media.example/", "https:\\\\10.0.0.1\\", "file:///etc/passwd", "gopher://media.example/", "https://media.example.:443/",
		"https://xn--/", "https://MEDIA.example/%2e%2e/", "https://evilmedia.example/", "https://media.example%00.evil.example/", "https://100.64.0.1/", "https://[fe80::1%25eth0]/", "//0.A:0443", "?", "", "\x00"} {
		f.Add(to)
	}
	strict := New(webhook.Policy{}, Options{})
	from, err := url.Parse("https://media.example/a")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, location string) {
		for _, hosts := range [][]string{nil, {"media.example"}} {
			to, err := strict.next(from, location, hosts)
			if err != nil {
				var no *Error
				if !errors.As(err, &no) {
					t.Errorf("%q: %v is no *Error", location, err)
				}
				continue
			}
			if to.Scheme != "https" || to.Hostname() == "" || len(hosts) > 0 && !among(hosts, to.Hostname()) {
				t.Errorf("%q leads to %s", location, to)
			}
			if p, err := strconv.Atoi(portOf(to)); err != nil || p != 443 && p != 8443 {
				t.Errorf("%q leads to port %s", location, to.Port())
			}
			if a, err := netip.ParseAddr(to.Hostname()); err == nil {
				if a = a.Unmap(); a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast() {
					t.Errorf("%q leads inside, to %s", location, a)
				}
			}
		}
	})
}

// Whatever a server writes: an answer or an *Error, never more than the limit, and no
// more memory than a bounded header takes.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello", "HTTP/1.1 200 OK\r\n\r\nhello until the end",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n",
		"HTTP/1.1 302 Found\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", "HTTP/1.1 206 Partial\r\n\r\n", "HTTP/9.9 200\r\n\r\n", "\x16\x03\x01", "",
		"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg; x=\"\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
	} {
		f.Add([]byte(answer))
	}
	var answer atomic.Pointer[[]byte]
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			// What is written before the request has come may be lost with the connection.
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write(*answer.Load())
			conn.Close()
		}
	}()
	f.Cleanup(func() {
		listener.Close()
		<-served
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		answer.Store(&b)
		fuzztest.Within(t, 2<<20, func() { ask(t, "http://"+listener.Addr().String()+"/a", b) })
	})
}

func ask(t *testing.T, at string, answer []byte) {
	t.Helper()
	const limit = 1000
	c := New(loopback, Options{})
	defer c.Close()
	got, err := c.Fetch(t.Context(), Request{URL: at, Limit: limit})
	var no *Error
	if err != nil {
		if !errors.As(err, &no) {
			t.Errorf("%v is no *Error", err)
		}
		return
	}
	defer got.Body.Close()
	b, err := io.ReadAll(got.Body)
	if err != nil && !errors.As(err, &no) {
		t.Errorf("%v is no *Error", err)
	}
	if len(b) > limit || len(b) > len(answer) || got.Size > limit {
		t.Errorf("%d octets came of %d, said to be %d", len(b), len(answer), got.Size)
	}
}
