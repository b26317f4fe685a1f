package mm4

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
)

// patience ends a test that hangs; it measures nothing.
const patience = 30 * time.Second

// TestMain looks for goroutines that the tests have left.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leftovers(); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "goroutines are left:\n"+left)
		code = 1
	}
	os.Exit(code)
}

// leftovers gives the goroutines that still run code of this package or of the library.
func leftovers() string {
	end := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		buf := make([]byte, 4<<20)
		var left []string
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if (strings.Contains(g, "edges/mm4.") || strings.Contains(g, "go-smtp.")) && !strings.Contains(g, "TestMain") {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return ""
		}
		select {
		case <-tick.C:
		case <-end:
			return strings.Join(left, "\n\n")
		}
	}
}

// desk is a Desk that keeps what it was given.
type desk struct {
	recipient func(p *Peer, to mm4.Address) error
	accept    func(ctx context.Context, m *Mail) (string, error)

	mu    sync.Mutex
	mails []kept
	asked []string
}

// kept is a mail, with what the files had.
type kept struct {
	Mail
	sums []string
}

func (d *desk) Recipient(_ context.Context, p *Peer, to mm4.Address) error {
	d.mu.Lock()
	d.asked = append(d.asked, to.String())
	d.mu.Unlock()
	if d.recipient != nil {
		return d.recipient(p, to)
	}
	return nil
}

func (d *desk) Accept(ctx context.Context, m *Mail) (string, error) {
	k := kept{Mail: *m}
	k.Files = slices.Clone(m.Files)
	for _, f := range m.Files {
		k.sums = append(k.sums, f.Object().Hex())
	}
	d.mu.Lock()
	d.mails = append(d.mails, k)
	n := len(d.mails)
	d.mu.Unlock()
	if d.accept != nil {
		return d.accept(ctx, m)
	}
	return fmt.Sprintf("id-%d", n), nil
}

func (d *desk) got() []kept {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.mails)
}

// world is a server with its parts.
type world struct {
	*Server
	t     testing.TB
	desk  *desk
	spool string
	addr  string
	logs  *record

	mu      sync.Mutex
	refused map[string]int
	told    []string // of Metrics.Mail
	open    int
	changed chan struct{} // closed at each change of the above
}

// record keeps the log.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

var (
	acmeID = message.ID{15: 1}
	zetaID = message.ID{15: 2}
)

// acme is a peer on the loopback.
func acme() Peer {
	return Peer{ID: acmeID, Name: "acme", AccountID: message.ID{15: 9}, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")}}
}

// setup makes a server for the peers; none is acme alone. Nothing runs yet.
func setup(t testing.TB, peers ...Peer) *world {
	t.Helper()
	if len(peers) == 0 {
		peers = []Peer{acme()}
	}
	w := &world{t: t, desk: &desk{}, spool: t.TempDir(), logs: &record{}, refused: make(map[string]int), changed: make(chan struct{})}
	store, err := media.Open(context.Background(), w.spool, media.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := directory(t, peers...)
	w.Server = &Server{
		Desk: w.desk, Spool: &media.Library{Store: store}, Peers: func() *Directory { return d },
		Domains: []string{"mms.gw.example", "mms.two.example"}, Hostname: "mm4.gw.example",
		Log: slog.New(slog.NewTextHandler(w.logs, nil)),
		Metrics: Metrics{
			Sessions: func(n int) { w.change(func() { w.open += n }) },
			Refused:  func(cause string) { w.change(func() { w.refused[cause]++ }) },
			Mail: func(peer string, kind mm4.Type, code int, octets int64, _ time.Duration) {
				w.change(func() { w.told = append(w.told, fmt.Sprintf("%s %s %d", peer, kind, code)) })
			},
		},
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := w.Shutdown(ctx); err != nil {
			t.Error("shutdown:", err)
		}
		if files := w.spooled(); len(files) > 0 {
			t.Errorf("files are left in the spool: %v", files)
		}
		if n := w.room.taken.Load(); n != 0 {
			t.Errorf("%d octets of the spool are still reserved", n)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func directory(t testing.TB, peers ...Peer) *Directory {
	t.Helper()
	d, err := NewDirectory(peers)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (w *world) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
	close(w.changed)
	w.changed = make(chan struct{})
}

// until waits until ok, which runs under w.mu, is true after some change.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	end := time.After(patience)
	for {
		w.mu.Lock()
		done, changed := ok(), w.changed
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-end:
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// closed waits until no session is left.
func (w *world) closed() {
	w.t.Helper()
	w.until("sessions to end", func() bool { return w.open == 0 })
}

// spooled lists the spool's files that this process has open, deleted as they are.
func (w *world) spooled() []string {
	var out []string
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, w.spool) {
			out = append(out, to)
		}
	}
	return out
}

// listen serves on the loopback.
func (w *world) listen() *world {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- w.Serve(context.Background(), l) }()
	w.t.Cleanup(func() { // before that of setup
		_ = l.Close()
		<-served
	})
	return w
}

// client is the other side, octet by octet.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// dial connects from an address of the loopback.
func (w *world) dial(from string) *client {
	w.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	conn, err := d.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	return newClient(w.t, conn)
}

func newClient(t testing.TB, conn net.Conn) *client {
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{Conn: conn, t: t, r: bufio.NewReader(conn)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatalf("send %.60q: %v", s, err)
	}
}

// reply reads one reply, all its lines.
func (c *client) reply() (string, error) {
	var all strings.Builder
	for {
		s, err := c.r.ReadString('\n')
		if err != nil {
			return all.String() + s, err
		}
		all.WriteString(s)
		if len(s) < 4 || s[3] != '-' {
			return all.String(), nil
		}
	}
}

// want reads a reply that begins so, and gives it.
func (c *client) want(prefix string) string {
	c.t.Helper()
	s, err := c.reply()
	if err != nil {
		c.t.Fatalf("no reply %q: %q, %v", prefix, s, err)
	}
	if last := s[strings.LastIndex(s[:len(s)-1], "\n")+1:]; !strings.HasPrefix(last, prefix) {
		c.t.Fatalf("reply %q, want %q", s, prefix)
	}
	if !strings.HasSuffix(s, "\r\n") || strings.ContainsAny(strings.ReplaceAll(s, "\r\n", ""), "\r\n") {
		c.t.Fatalf("the reply %q has an odd line end", s)
	}
	return s
}

// wantEnd checks that the connection has ended.
func (c *client) wantEnd() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); err != nil || len(b) > 0 {
		c.t.Fatalf("%q, %v, want the end", b, err)
	}
}

// dialogue runs a script, a line each:
//
//	< 250 2.0.0     a reply, whose last line begins so
//	> MAIL FROM:…   a command
//	>> "a\r\nb"     octets
//	mail            the usual mail and the final dot
//	end             the end of the connection
func (c *client) dialogue(script string) {
	c.t.Helper()
	for s := range strings.SplitSeq(strings.TrimSpace(script), "\n") {
		s = strings.TrimSpace(s)
		switch {
		case s == "end":
			c.wantEnd()
		case s == "mail":
			c.send(usual + ".\r\n")
		case strings.HasPrefix(s, "< "):
			c.t.Log(s)
			c.want(s[2:])
		case strings.HasPrefix(s, ">> "):
			raw, err := strconv.Unquote(s[3:])
			if err != nil {
				c.t.Fatal(s, err)
			}
			c.send(raw)
		case strings.HasPrefix(s, "> "):
			c.send(s[2:] + "\r\n")
		case s == ">":
			c.send("\r\n")
		case s != "":
			c.t.Fatalf("script: %q", s)
		}
	}
}

const (
	hello    = "< 220\n> EHLO mms.pbx.example\n< 250 \n"
	envelope = "> MAIL FROM:<+15551230001/TYPE=PLMN@mms.pbx.example>\n< 250 2\n> RCPT TO:<+15551230002/TYPE=PLMN@mms.gw.example>\n< 250 2\n"
	// begun is a dialogue up to DATA, as one piece without waiting.
	begun = "EHLO mms.pbx.example\r\nMAIL FROM:<+15551230001/TYPE=PLMN@mms.pbx.example>\r\nRCPT TO:<+15551230002/TYPE=PLMN@mms.gw.example>\r\nDATA\r\n"
)

// crlf gives a text the line ends of SMTP.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// top is the header of a forward without its MIME headers and the empty line.
var top = crlf(`X-Mms-3GPP-MMS-Version: 6.10.0
X-Mms-Message-Type: MM4_forward.REQ
X-Mms-Transaction-ID: t1
X-Mms-Message-ID: m1@mms.pbx.example
X-Mms-Ack-Request: Yes
X-Mms-Originator-System: system-user@mms.pbx.example
From: <+15551230001/TYPE=PLMN@mms.pbx.example>
To: <+15551230002/TYPE=PLMN@mms.gw.example>
`)

// gif is the smallest picture there is, in base64.
const gif = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

// usual is a forward with layout, a picture and a text, without the final dot.
var usual = top + crlf(`Subject: Lunch?
MIME-Version: 1.0
Content-Type: multipart/related; boundary="b-1"; type="application/smil"; start="<smil@pbx.example>"

--b-1
Content-Type: application/smil
Content-ID: <smil@pbx.example>

<smil><body><par><img src="cid:dot@pbx.example"/></par></body></smil>
--b-1
Content-Type: image/gif; name="dot.gif"
Content-ID: <dot@pbx.example>
Content-Transfer-Encoding: base64

`+gif+`
--b-1
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Caf=C3=A9 at noon?
..a line with a dot
--b-1--
`)

// checkUsual compares a mail with what usual says.
func checkUsual(t testing.TB, m kept) {
	t.Helper()
	if m.Header.Type != mm4.ForwardREQ || m.Header.TransactionID != "t1" || len(m.Texts) != 1 || len(m.Files) != 1 {
		t.Fatalf("header %+v, %d texts, %d files", m.Header, len(m.Texts), len(m.Files))
	}
	if got := m.Texts[0]; got.Text != "Café at noon?\n.a line with a dot" || got.Index != 2 {
		t.Errorf("text %+v", got)
	}
	if f := m.Files[0]; f.Object().ContentType != "image/gif" || f.Object().Size != 42 || f.Name != "dot.gif" || f.ContentID != "dot@pbx.example" || f.Index != 1 {
		t.Errorf("file %+v, %+v", f, f.Object())
	}
	if len(m.To) != 1 || m.To[0].Local != "+15551230002" || m.From.Local != "+15551230001" || m.Peer.Name != "acme" {
		t.Errorf("from %v to %v of %s", m.From, m.To, m.Peer.Name)
	}
	if m.Size != int64(len(usual)-1) { // one dot is stuffing
		t.Errorf("size %d, want %d", m.Size, len(usual)-1)
	}
}

// pipes serves connections within the process, whose writes are the segments that the
// server reads.
type pipes struct {
	w     *world
	conns chan net.Conn
	once  sync.Once
	gone  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.gone:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.gone) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// pipe is the server's end.
type pipe struct {
	net.Conn
	from net.Addr
}

func (p pipe) RemoteAddr() net.Addr { return p.from }

// pipes serves on pipes.
func (w *world) pipes() *pipes {
	p := &pipes{w: w, conns: make(chan net.Conn), gone: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- w.Serve(context.Background(), p) }()
	w.t.Cleanup(func() {
		_ = p.Close()
		<-served
	})
	return p
}

func (p *pipes) dial(from string) *client {
	near, far := net.Pipe()
	p.conns <- pipe{far, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 4000))}
	return newClient(p.w.t, near)
}

// errOdd is an error that the server knows nothing of.
var errOdd = errors.New("the disk +15551230002 is on fire")
