// Package mm4test is an MMSC for tests: it takes mails of MM4, answers and reports as it
// is told, and sends mails as peers write them. It reads and writes with the standard
// library alone, so that it shares no mistake with internal/mm4.
package mm4test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// Config is a Peer.
type Config struct {
	Domain  string // of its addresses
	Gateway string // host:port where it sends mails
	// From is where its connections come from, such as 127.0.0.2; empty: 127.0.0.1.
	From string
	// Quiet: it answers no request by itself, see Peer.Respond.
	Quiet bool
}

// Mail is a mail that came.
type Mail struct {
	At     time.Time
	From   string   // of MAIL FROM
	To     []string // of RCPT TO
	Size   int64    // of MAIL FROM; 0: none was said
	Header textproto.MIMEHeader
	Parts  []Part // the leaves of its MIME tree
	Raw    []byte

	on *heard
}

// Dialogue is what was said so far on the connection that it came on, without the contents
// of mails: "C: " before what came, "S: " before what was answered.
func (m Mail) Dialogue() []string {
	m.on.mu.Lock()
	defer m.on.mu.Unlock()
	return slices.Clone(m.on.talk)
}

// Type is its X-Mms-Message-Type.
func (m Mail) Type() string { return m.Header.Get("X-Mms-Message-Type") }

// TransactionID is its X-Mms-Transaction-ID.
func (m Mail) TransactionID() string { return m.Header.Get("X-Mms-Transaction-ID") }

// Recipient is the number of its first RCPT TO.
func (m Mail) Recipient() string {
	if len(m.To) == 0 {
		return ""
	}
	number, _, _ := strings.Cut(m.To[0], "/")
	return number
}

// Peer is an MMSC on a port of its own. Safe for concurrent use.
type Peer struct {
	cfg    Config
	ln     net.Listener
	server *smtp.Server
	end    context.CancelFunc
	done   context.Context
	wg     sync.WaitGroup

	mu       sync.Mutex
	mails    []Mail
	faults   []error
	changed  chan struct{}
	sequence int
	quiet    bool
	holds    []*Held
}

// Start starts a peer. Close it in the end.
func Start(cfg Config) (*Peer, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Peer{cfg: cfg, ln: ln, changed: make(chan struct{}), quiet: cfg.Quiet}
	p.done, p.end = context.WithCancel(context.Background())
	p.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{p: p, conn: c.Conn().(*heard)}, nil }))
	p.server.Domain, p.server.MaxMessageBytes, p.server.EnableSMTPUTF8 = cfg.Domain, 32<<20, false
	p.wg.Go(func() { _ = p.server.Serve(recording{ln}) })
	return p, nil
}

// Close ends it, and waits for what it has under way.
func (p *Peer) Close() {
	p.end()
	_ = p.server.Close()
	p.wg.Wait()
}

// HostPort is where it takes mails.
func (p *Peer) HostPort() (string, int) {
	a := p.ln.Addr().(*net.TCPAddr)
	return a.IP.String(), a.Port
}

// SetQuiet says whether requests are left without an answer.
func (p *Peer) SetQuiet(quiet bool) { p.locked(func() { p.quiet = quiet }) }

func (p *Peer) locked(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
}

// Came lists the mails that it has taken, or of which it has lost the connection, in
// their order.
func (p *Peer) Came() []Mail {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mails)
}

// CameOf lists the mails of a type.
func (p *Peer) CameOf(kind string) []Mail {
	return slices.DeleteFunc(p.Came(), func(m Mail) bool { return m.Type() != kind })
}

// Faults are what is wrong with mails that came: they could not be read.
func (p *Peer) Faults() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.faults...)
}

// Changed is closed when the next mail has come.
func (p *Peer) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// keep notes a mail and says how it is to be answered.
func (p *Peer) keep(m Mail, fault error, h *Held) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fault != nil {
		p.faults = append(p.faults, fault)
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "cannot be read"}
	}
	p.mails = append(p.mails, m)
	close(p.changed)
	p.changed = make(chan struct{})
	if !p.quiet && strings.EqualFold(m.Header.Get("X-Mms-Ack-Request"), "yes") {
		p.wg.Go(func() {
			h.goOn(p.done)
			_ = p.Respond(p.done, m, "Ok")
		})
	}
	return nil
}

var errLost = errors.New("the connection is lost")

// session takes mails.
type session struct {
	p    *Peer
	conn *heard
	m    Mail
}

func (s *session) Mail(from string, o *smtp.MailOptions) error {
	s.m = Mail{From: from}
	if o != nil {
		s.m.Size = o.Size
	}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.m.To = append(s.m.To, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	half, err := io.ReadAll(io.LimitReader(r, s.m.Size/2))
	if err != nil {
		return err
	}
	m := s.m
	m.At, m.Raw, m.on = time.Now(), half, s.conn
	if h := s.p.held(Within, m); h != nil {
		h.wait(s.p.done)
		_ = s.conn.Close()
		return errLost
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.Raw = append(half, rest...)
	if m.Header, m.Parts, err = read(bytes.NewReader(m.Raw)); err != nil {
		err = fmt.Errorf("a mail to %d recipients: %w", len(m.To), err)
	}
	h := s.p.held(Behind, m)
	err = s.p.keep(m, err, h)
	h.wait(s.p.done)
	return err
}

func (s *session) Reset()        { s.m = Mail{} }
func (s *session) Logout() error { return nil }

// recording notes what is said on its connections.
type recording struct{ net.Listener }

func (l recording) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &heard{Conn: c}, nil
}

// heard notes the lines of one connection.
type heard struct {
	net.Conn
	in, out []byte // begun lines
	content bool   // of a mail

	mu   sync.Mutex
	talk []string
}

func (c *heard) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in = append(c.in, b[:n]...)
	for {
		line, rest, whole := bytes.Cut(c.in, []byte("\r\n"))
		if !whole {
			break
		}
		c.in = rest
		switch {
		case c.content && string(line) == ".":
			c.content = false
			c.note("C: " + string(line))
		case !c.content:
			c.note("C: " + string(line))
		}
	}
	return n, err
}

func (c *heard) Write(b []byte) (int, error) {
	c.out = append(c.out, b...)
	for {
		line, rest, whole := bytes.Cut(c.out, []byte("\r\n"))
		if !whole {
			break
		}
		c.out = rest
		if bytes.HasPrefix(line, []byte("354")) {
			c.content = true
		}
		c.note("S: " + string(line))
	}
	return c.Conn.Write(b)
}

func (c *heard) note(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.talk = append(c.talk, line)
}
