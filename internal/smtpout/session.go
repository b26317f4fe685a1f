package smtpout

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bufferSize is how much of a content is written at once.
const bufferSize = 16 << 10

// Bounds of what is waited for where nothing hangs on it.
const (
	quitTimeout = 2 * time.Second // the answer to QUIT
	lastWord    = time.Second     // what a peer said before it cut the content off
)

// session is one connection to a peer. It is used by one goroutine at a time; only close
// may be called from another.
type session struct {
	target     *Target
	limits     Limits
	generation uint64 // of the target, at the Sender

	raw  net.Conn // what is closed
	conn net.Conn // raw, or TLS over it
	r    *bufio.Reader
	w    *bufio.Writer // of contents; allocated with the first

	ext    map[string]string // what EHLO offered, in capitals, with its parameters
	secure bool
	mails  int  // that were begun
	dirty  bool // a transaction is open that RSET has to end
	broken bool // it can be used for nothing more
}

func newSession(t *Target, conn net.Conn) *session {
	c := &session{target: t, limits: t.Limits.orDefault(), raw: conn}
	c.use(conn)
	return c
}

// use goes on over conn. What was read ahead is not read from it.
func (c *session) use(conn net.Conn) {
	c.conn, c.r = conn, bufio.NewReader(conn)
}

func (c *session) close() { _ = c.raw.Close() }

// open makes a fresh connection one that mails can be handed to. The error is a
// refusal or connectionError.
func (c *session) open(ctx context.Context, host string, roots *x509.CertPool) error {
	config := c.target.tlsConfig(host, roots)
	if c.target.TLS == TLSImplicit {
		if err := c.encrypt(ctx, config); err != nil {
			return err
		}
	}
	if err := c.greeting(); err != nil {
		return err
	}
	if err := c.hello(); err != nil {
		return err
	}
	if !c.secure {
		if err := c.startTLS(ctx, config); err != nil {
			return err
		}
	}
	return c.auth()
}

func (c *session) encrypt(ctx context.Context, config *tls.Config) error {
	_ = c.raw.SetDeadline(time.Now().Add(c.limits.Connect))
	conn := tls.Client(c.raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return lost(StageTLS, err)
	}
	c.use(conn)
	c.secure = true
	return nil
}

func (c *session) greeting() error {
	_ = c.conn.SetDeadline(time.Now().Add(c.limits.Command))
	a, err := readReply(c.r)
	switch {
	case err != nil:
		return lost(StageGreeting, err)
	case a.class() != 2:
		return c.refusal(StageGreeting, a)
	}
	return nil
}

// hello introduces us. A peer that does not know EHLO has no extensions (RFC 5321 §3.2).
func (c *session) hello() error {
	c.ext = make(map[string]string)
	a, err := c.command(StageEHLO, "EHLO "+c.target.EHLO)
	if err != nil {
		return err
	}
	if a.code == 500 || a.code == 502 {
		if a, err = c.command(StageEHLO, "HELO "+c.target.EHLO); err != nil {
			return err
		}
		a.lines = a.lines[:1]
	}
	if a.class() != 2 {
		return c.refusal(StageEHLO, a)
	}
	for _, line := range a.lines[1:] {
		// Keywords are compared without regard to case (RFC 5321 §4.1.1.1). AUTH= is how
		// some wrote it before there was a standard.
		word, parameters, _ := strings.Cut(line, " ")
		word = strings.ToUpper(word)
		if rest, ok := strings.CutPrefix(word, "AUTH="); ok {
			word, parameters = "AUTH", rest+" "+parameters
		}
		if before, ok := c.ext[word]; ok {
			parameters = before + " " + parameters
		}
		c.ext[word] = strings.TrimSpace(parameters)
	}
	return nil
}

// startTLS encrypts where the target wants it and the peer can. What the peer said
// before counts for nothing afterwards (RFC 3207 §4.2).
func (c *session) startTLS(ctx context.Context, config *tls.Config) error {
	must := c.target.TLS == TLSRequired || c.target.Username != ""
	_, offered := c.ext["STARTTLS"]
	switch {
	case c.target.TLS == TLSNever:
		return nil
	case !offered && must:
		return misfit(StageSTARTTLS, "the peer does not offer STARTTLS, and nothing is sent without it")
	case !offered:
		return nil
	}
	a, err := c.command(StageSTARTTLS, "STARTTLS")
	switch {
	case err != nil:
		return err
	case a.code != 220 && !must && a.class() >= 4 && a.code != 421:
		return nil // as if it had not offered it
	case a.code != 220:
		return c.refusal(StageSTARTTLS, a)
	case c.r.Buffered() > 0:
		// Somebody between us has put answers of their own in before the encryption.
		c.broken = true
		return misfit(StageSTARTTLS, "something was said between STARTTLS and TLS")
	}
	if err := c.encrypt(ctx, config); err != nil {
		return err
	}
	return c.hello()
}

// auth logs in, where the target says as whom.
func (c *session) auth() error {
	if c.target.Username == "" {
		return nil
	}
	if !c.secure {
		return misfit(StageAUTH, "a password is not sent without TLS")
	}
	user, password := c.target.Username, c.target.Password.Reveal()
	var a *reply
	var err error
	switch offered := strings.Fields(strings.ToUpper(c.ext["AUTH"])); {
	case slices.Contains(offered, "PLAIN"):
		a, err = c.command(StageAUTH, "AUTH PLAIN "+encode("\x00"+user+"\x00"+password)) // RFC 4616 §2
	case slices.Contains(offered, "LOGIN"):
		// What the peer prompts with is not looked at: there are many words for it.
		a, err = c.command(StageAUTH, "AUTH LOGIN")
		for _, s := range []string{user, password} {
			if err == nil && a.code == 334 {
				a, err = c.command(StageAUTH, encode(s))
			}
		}
	default:
		return misfit(StageAUTH, "the peer offers neither AUTH PLAIN nor AUTH LOGIN")
	}
	switch {
	case err != nil:
		return err
	case a.code == 334:
		c.broken = true
		return misfit(StageAUTH, "the peer asks for more than a name and a password")
	case a.class() != 2:
		return c.refusal(StageAUTH, a)
	}
	return nil
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// command writes a line and reads the answer. The error is a connectionError; then the
// session is of no more use.
func (c *session) command(s Stage, line string) (*reply, error) {
	if c.r.Buffered() > 0 {
		// Who answers before being asked would have the answers to come taken for those
		// to other commands. A peer that says goodbye may do so at any time, though.
		c.broken = true
		if a, err := readReply(c.r); err == nil && a.code == 421 {
			return a, nil
		}
		return nil, lost(s, fmt.Errorf("%w: it answers what was not asked", errGarbled))
	}
	_ = c.conn.SetDeadline(time.Now().Add(c.limits.Command))
	_, err := io.WriteString(c.conn, line+"\r\n")
	if err != nil {
		// A peer that says why before it closes is heard.
		if a := c.lastWord(); a != nil {
			return a, nil
		}
		c.broken = true
		return nil, lost(s, err)
	}
	a, err := readReply(c.r)
	if err != nil {
		c.broken = true
		return nil, lost(s, err)
	}
	if a.code == 421 {
		c.broken = true // it closes
	}
	return a, nil
}

// lastWord is a refusal that the peer sent before it closed the connection under what
// was being written; nil: none.
func (c *session) lastWord() *reply {
	c.broken = true
	_ = c.conn.SetReadDeadline(time.Now().Add(lastWord))
	if a, err := readReply(c.r); err == nil && a.class() >= 4 {
		return a
	}
	return nil
}

func (c *session) refusal(s Stage, a *reply) error {
	if a.class() < 4 { // neither yes nor no
		c.broken = true
		return lost(s, fmt.Errorf("%w: %d is no answer to it", errGarbled, a.code))
	}
	return &refusal{stage: s, reply: a}
}

// sizeLimit is the most octets that the peer takes (RFC 1870 §3); 0: it does not say.
func (c *session) sizeLimit() int64 {
	n, err := strconv.ParseInt(c.ext["SIZE"], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// begin offers the mail: RSET where the last transaction is still open, then MAIL. Err is
// about the whole mail.
func (c *session) begin(m *Mail) error {
	c.mails++
	if c.dirty {
		a, err := c.command(StageMAIL, "RSET")
		if err != nil {
			return err
		}
		if a.class() != 2 {
			c.broken = true
			return c.refusal(StageMAIL, a)
		}
		c.dirty = false
	}
	line := "MAIL FROM:<" + m.From + ">"
	if _, ok := c.ext["SIZE"]; ok && m.Size > 0 {
		line += " SIZE=" + strconv.FormatInt(m.Size, 10)
	}
	if m.Body8Bit {
		line += " BODY=8BITMIME"
	}
	a, err := c.command(StageMAIL, line)
	if err != nil {
		return err
	}
	if a.class() != 2 {
		return c.refusal(StageMAIL, a)
	}
	c.dirty = true
	return nil
}

// transfer sends the content after the peer's 354, and gives its answer to the final dot.
// OnWire tells of an error whether the dot had left.
func (c *session) transfer(m *Mail) (a *reply, onWire bool, err error) {
	if c.w == nil {
		c.w = bufio.NewWriterSize(nil, bufferSize)
	}
	paced := &pacedWriter{conn: c.conn, block: c.limits.Block}
	if m.Size > 0 {
		paced.end = time.Now().Add(c.limits.Command + time.Duration(m.Size/minRate)*time.Second)
	}
	c.w.Reset(paced)
	body := &content{w: c.w, eight: m.Body8Bit, most: c.sizeLimit()}
	c.broken = true // until the answer has come: no other command may follow half a mail
	if err := m.Write(body); err != nil && body.err == nil {
		return nil, false, &sourceError{err}
	}
	if err := body.finish(); err != nil {
		if !body.broken {
			return nil, false, &sourceError{err}
		}
		// Such as a 552 on the way, from a peer that does not read on.
		if a := c.lastWord(); a != nil {
			return nil, false, &refusal{stage: StageContent, reply: a}
		}
		return nil, false, lost(StageContent, err)
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(c.limits.Final))
	a, err = readReply(c.r)
	if err != nil {
		return nil, true, lost(StageEnd, err)
	}
	if a.class() == 3 {
		return nil, true, lost(StageEnd, fmt.Errorf("%w: %d is no answer to it", errGarbled, a.code))
	}
	c.broken, c.dirty = a.code == 421, false
	return a, true, nil
}

// quit says goodbye and closes. What the peer says to it changes nothing.
func (c *session) quit() {
	defer c.close()
	if c.broken {
		return
	}
	_ = c.conn.SetDeadline(time.Now().Add(quitTimeout))
	if _, err := io.WriteString(c.conn, "QUIT\r\n"); err == nil {
		_, _ = readReply(c.r)
	}
}

// pacedWriter gives each write its time, and all of them theirs.
type pacedWriter struct {
	conn  net.Conn
	block time.Duration
	end   time.Time // zero: none
}

// Write writes to the connection before the deadline of the block or of the whole.
func (w *pacedWriter) Write(p []byte) (int, error) {
	deadline := time.Now().Add(w.block)
	if !w.end.IsZero() && w.end.Before(deadline) {
		deadline = w.end
	}
	_ = w.conn.SetWriteDeadline(deadline)
	return w.conn.Write(p)
}
