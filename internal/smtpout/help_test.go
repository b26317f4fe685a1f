package smtpout

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// peer is a fake SMTP server. Each connection is talked to by the script of its turn,
// the last one for all further. It keeps what it heard.
type peer struct {
	t       *testing.T
	scripts []func(*talk)
	address string // of the socket; empty: pipes only
	done    sync.WaitGroup
	gone    chan struct{} // closed by hangUp
	leave   sync.Once

	mu     sync.Mutex
	calls  int      // connections so far
	open   int      // now
	most   int      // at once
	heard  []string // commands, over all connections
	mails  []string // contents as they came, with doubled dots, without the final one
	dialed []string // addresses that pipes were asked for
	mates  []net.Conn
}

// newPeer listens on loopback until the test ends.
func newPeer(t *testing.T, scripts ...func(*talk)) *peer {
	t.Helper()
	p := &peer{t: t, scripts: scripts, gone: make(chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address = l.Addr().String()
	p.done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.meet(conn)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.hangUp()
		p.done.Wait()
	})
	return p
}

// newPipes is a peer whose connections are pipes: for timers in a bubble, and where each
// write has to be a read of its own.
func newPipes(t *testing.T, scripts ...func(*talk)) *peer {
	return &peer{t: t, scripts: scripts, gone: make(chan struct{})}
}

func (p *peer) meet(conn net.Conn) {
	p.mu.Lock()
	script := p.scripts[min(p.calls, len(p.scripts)-1)]
	p.calls++
	p.open++
	p.most = max(p.most, p.open)
	p.mates = append(p.mates, conn)
	p.mu.Unlock()
	p.done.Go(func() {
		defer func() {
			_ = conn.Close()
			p.mu.Lock()
			p.open--
			p.mu.Unlock()
			if r := recover(); r != nil && r != errHungUp {
				panic(r)
			}
		}()
		script(&talk{peer: p, conn: conn, r: bufio.NewReader(conn)})
	})
}

func (p *peer) hangUp() {
	p.leave.Do(func() { close(p.gone) })
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.mates {
		_ = c.Close()
	}
}

// dial reaches the peer whatever the address.
func (p *peer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	p.mu.Lock()
	p.dialed = append(p.dialed, address)
	p.mu.Unlock()
	if p.address != "" {
		return new(net.Dialer).DialContext(ctx, network, p.address)
	}
	ours, theirs := net.Pipe()
	p.meet(theirs)
	return ours, nil
}

// sender is a Sender to the peer, closed when the test ends.
func (p *peer) sender(change ...func(*Config)) *Sender {
	c := Config{DialContext: p.dial}
	for _, f := range change {
		f(&c)
	}
	s := New(c)
	p.t.Cleanup(s.Close)
	return s
}

func (p *peer) commands() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.heard)
}

func (p *peer) contents() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mails)
}

func (p *peer) counts() (calls, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls, p.most
}

// count is how many commands began with prefix.
func (p *peer) count(prefix string) int {
	n := 0
	for _, c := range p.commands() {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

var errHungUp = errors.New("the client hung up")

// talk is one connection of a peer. Its methods end the script when the client is gone.
type talk struct {
	peer   *peer
	conn   net.Conn
	r      *bufio.Reader
	secure bool
}

func (k *talk) raw(s string) {
	if _, err := io.WriteString(k.conn, s); err != nil {
		panic(errHungUp)
	}
}

func (k *talk) say(line string) { k.raw(line + "\r\n") }

func (k *talk) hear() string {
	line, err := k.r.ReadString('\n')
	if err != nil {
		panic(errHungUp)
	}
	if !strings.HasSuffix(line, "\r\n") {
		k.peer.t.Errorf("a command ends in a bare LF: %q", line)
	}
	line = strings.TrimRight(line, "\r\n")
	k.peer.mu.Lock()
	k.peer.heard = append(k.peer.heard, line)
	k.peer.mu.Unlock()
	return line
}

// content reads to the final dot.
func (k *talk) content() string {
	var b strings.Builder
	for {
		line, err := k.r.ReadString('\n')
		if err != nil {
			panic(errHungUp)
		}
		if line == ".\r\n" {
			break
		}
		b.WriteString(line)
	}
	k.peer.mu.Lock()
	k.peer.mails = append(k.peer.mails, b.String())
	k.peer.mu.Unlock()
	return b.String()
}

func (k *talk) encrypt(c *tls.Config) {
	conn := tls.Server(k.conn, c)
	if conn.Handshake() != nil {
		panic(errHungUp)
	}
	k.conn, k.r, k.secure = conn, bufio.NewReader(conn), true
}

// reset closes with a RST, where there is a socket.
func (k *talk) reset() {
	if c, ok := k.conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
	_ = k.conn.Close()
	panic(errHungUp)
}

// untilGone waits for the client to close.
func (k *talk) untilGone() {
	_, _ = io.Copy(io.Discard, k.r)
	panic(errHungUp)
}

// stopReading lets the client's writes stand until hangUp.
func (k *talk) stopReading() {
	<-k.peer.gone
	panic(errHungUp)
}

// How serve answers something else than a line.
const (
	cut  = "\x00cut"  // closes
	rst  = "\x00rst"  // closes with a RST
	hang = "\x00hang" // says nothing
)

// answers are a peer's replies that differ from yes: by the whole command, by its verb,
// and for "greeting", "content" (once 4 KiB of it have come) and "." (the final dot). A reply
// may have several lines, separated by \r\n.
type answers map[string]string

// serve talks as a peer does that offers the extensions.
func serve(a answers, extensions ...string) func(*talk) {
	return serveTLS(a, nil, nil, extensions...)
}

// serveTLS is serve with STARTTLS. Reached is told of each hang; it may be nil.
func serveTLS(a answers, c *tls.Config, reached func(at string), extensions ...string) func(*talk) {
	return func(k *talk) {
		reply := func(at, otherwise string) (ours bool) {
			s, ok := a[at]
			if !ok {
				s = otherwise
			}
			switch s {
			case cut:
				panic(errHungUp)
			case rst:
				k.reset()
			case hang:
				if reached != nil {
					reached(at)
				}
				if at == "content" {
					k.stopReading()
				}
				k.untilGone()
			}
			k.say(s)
			if strings.HasPrefix(s, "421") || strings.HasSuffix(s, "-half") {
				panic(errHungUp)
			}
			return ok
		}
		reply("greeting", "220 peer.example ESMTP")
		for {
			line := k.hear()
			verb, _, _ := strings.Cut(line, " ")
			if _, ok := a[line]; ok {
				verb = line
			}
			switch {
			case verb == "EHLO":
				offer := extensions
				if c != nil && !k.secure {
					offer = append(slices.Clone(offer), "STARTTLS")
				}
				reply(verb, strings.Join(lines("peer.example", offer...), "\r\n"))
			case verb == "STARTTLS" && c != nil:
				if !reply(verb, "220 2.0.0 go on") {
					k.encrypt(c)
				}
			case verb == "AUTH":
				reply(verb, "235 2.7.0 welcome")
			case verb == "DATA":
				if !reply(verb, "354 go on") {
					if _, ok := a["content"]; ok {
						_, _ = io.ReadFull(k.r, make([]byte, 4<<10))
						reply("content", "")
						k.reset()
					}
					k.content()
					reply(".", "250 2.0.0 taken as 17")
				}
			case verb == "QUIT":
				reply(verb, "221 2.0.0 bye")
				return
			default:
				reply(verb, "250 2.1.0 fine")
			}
		}
	}
}

func lines(first string, rest ...string) []string {
	all := append([]string{first}, rest...)
	for i := range all {
		sep := "-"
		if i == len(all)-1 {
			sep = " "
		}
		all[i] = "250" + sep + all[i]
	}
	return all
}

// The addresses that no error and no log may show.
const (
	fromNumber = "+12025550101"
	toNumber   = "+12025550143"
	fromPath   = fromNumber + "/TYPE=PLMN@mms.gw.example"
	toPath     = toNumber + "/TYPE=PLMN@mms.peer.example"
)

func target(change ...func(*Target)) *Target {
	t := &Target{Name: "acme", Host: "mx.peer.example", EHLO: "mm4.gw.example"}
	for _, f := range change {
		f(t)
	}
	return t
}

func mailOf(body string, to ...string) Mail {
	if len(to) == 0 {
		to = []string{toPath}
	}
	return Mail{From: fromPath, To: to, Write: func(w io.Writer) error {
		_, err := io.WriteString(w, body)
		return err
	}}
}

// failure is err as an *Error.
func failure(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is %v, want an *Error", err)
	}
	return e
}

// journal is a log that is kept.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// identity is a server's certificate for names, and the pool that trusts it.
type identity struct {
	config *tls.Config
	roots  *x509.CertPool
	leaf   *x509.Certificate
}

func newIdentity(t *testing.T, names ...string) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// Valid also where a bubble's clock begins, in 2000.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peer"}, DNSNames: names,
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	id := identity{roots: x509.NewCertPool(), leaf: leaf}
	id.roots.AddCert(leaf)
	id.config = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return id
}

// greeted swallows the first line that is written: a greeting that was given before.
type greeted struct {
	net.Conn
	once *sync.Once
}

// Write swallows, or writes.
func (g greeted) Write(p []byte) (n int, err error) {
	first := false
	g.once.Do(func() { first = true })
	if first {
		return len(p), nil
	}
	return g.Conn.Write(p)
}
