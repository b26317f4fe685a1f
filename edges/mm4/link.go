package mm4

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// link is what the library takes for the connection of a session. Read gives it one
// command line that has passed the guard; Write takes its replies. All methods but bid
// are for the session's goroutine.
type link struct {
	raw     net.Conn // TCP, behind the PROXY header
	conn    net.Conn // raw, or TLS over it
	secured bool
	config  *tls.Config   // nil: STARTTLS is not offered
	in      *bufio.Reader // of conn
	patient time.Duration // for a command
	// guard judges a command, without its line end.
	guard func(command string) verdict

	line   []byte // what the library has not read yet
	reply  []byte // what it has written of a line of a reply
	answer bool   // the next line answers a 334 and is no command
	over   bool   // the session ends: nothing more is read

	mu      sync.Mutex
	waiting bool            // for a command, so that nothing is under way
	bidden  *smtp.SMTPError // what to say before it ends; nil: it goes on
	closed  bool
}

// verdict is what becomes of a command.
type verdict struct {
	pass     bool            // the library gets it
	reply    *smtp.SMTPError // else: what we say; nil: nothing
	end      bool            // the session ends then
	startTLS bool            // the connection is secured; reply is said before
	tlsDone  func()          // is told when it is
}

func newLink(conn net.Conn, config *tls.Config, patient time.Duration) *link {
	return &link{raw: conn, conn: conn, config: config, in: bufio.NewReader(conn), patient: patient}
}

// Read gives the library what it may see: a command line, or the end of a mail that the
// session has read without it. io.EOF ends the library's loop without another word.
func (l *link) Read(p []byte) (int, error) {
	for len(l.line) == 0 {
		if l.over {
			return 0, io.EOF
		}
		command, err := l.await()
		if err != nil {
			return 0, err
		}
		if l.answer {
			l.answer = false
			l.line = append(command, "\r\n"...)
			break
		}
		v := l.guard(string(command))
		switch {
		case v.pass:
			l.line = append(command, "\r\n"...)
			continue
		case v.reply != nil:
			if err := l.say(v.reply); err != nil {
				return 0, io.EOF
			}
		}
		if v.startTLS && !v.end {
			if err := l.secure(); err != nil {
				l.over = true
				continue
			}
			v.tlsDone()
		}
		l.over = l.over || v.end
	}
	n := copy(p, l.line)
	l.line = l.line[n:]
	return n, nil
}

// await waits for a whole line, and gives it without its end. A line that is too long,
// or that has an end that RFC 5321 §2.3.8 does not know, ends the session: where the next
// one begins is then a matter of opinion.
func (l *link) await() ([]byte, error) {
	if err := l.wait(); err != nil {
		return nil, err
	}
	b, err := l.in.ReadSlice('\n')
	bidden := l.stopWaiting()
	switch {
	case bidden != nil && err != nil:
		l.finish(bidden)
		return nil, io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		l.finish(say(codeLate, "no command came in time"))
		return nil, io.EOF
	case err == bufio.ErrBufferFull || err == nil && len(b) > maxLine:
		l.finish(say(codeUnread, "a command has more than %d octets", maxLine))
		return nil, io.EOF
	case err != nil:
		l.over = true
		return nil, io.EOF
	}
	text := bytes.TrimSuffix(b, []byte("\r\n"))
	if len(text) == len(b) || bytes.ContainsAny(text, "\r\x00") {
		l.finish(say(codeUnread, "a command ends in CR LF, and has no other CR, LF or NUL"))
		return nil, io.EOF
	}
	return bytes.Clone(text), nil
}

// wait begins to wait for a command; an error has been answered.
func (l *link) wait() error {
	l.mu.Lock()
	bidden := l.bidden
	if bidden == nil {
		l.waiting = true
		_ = l.raw.SetReadDeadline(time.Now().Add(l.patient))
	}
	l.mu.Unlock()
	if bidden != nil {
		l.finish(bidden)
		return io.EOF
	}
	return nil
}

func (l *link) stopWaiting() (bidden *smtp.SMTPError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = false
	return l.bidden
}

// bid ends the session with a reply as soon as it waits for a command; one that does is
// ended at once. It is safe for concurrent use.
func (l *link) bid(r *smtp.SMTPError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bidden == nil {
		l.bidden = r
	}
	if l.waiting {
		_ = l.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// finish says a last reply.
func (l *link) finish(r *smtp.SMTPError) {
	l.over = true
	_ = l.say(r)
}

func (l *link) say(r *smtp.SMTPError) error {
	_, err := l.send([]byte(line(r)))
	return err
}

func (l *link) send(b []byte) (int, error) {
	_ = l.raw.SetWriteDeadline(time.Now().Add(writeTime))
	return l.conn.Write(b)
}

// Write takes a reply of the library, line by line. In place of CHUNKING, which it
// always offers, stands STARTTLS, which it knows nothing of.
func (l *link) Write(p []byte) (int, error) {
	l.reply = append(l.reply, p...)
	for {
		i := bytes.IndexByte(l.reply, '\n')
		if i < 0 {
			return len(p), nil
		}
		text := string(l.reply[:i+1])
		l.reply = l.reply[i+1:]
		switch {
		case text == "250-CHUNKING\r\n" && (l.config == nil || l.secured):
			continue
		case text == "250-CHUNKING\r\n":
			text = "250-STARTTLS\r\n"
		case strings.HasPrefix(text, "334 "):
			l.answer = true
		}
		if _, err := l.send([]byte(text)); err != nil {
			l.over = true
			return 0, err
		}
	}
}

// secure does the handshake. What a peer has sent behind STARTTLS in clear was looked
// for before (see session.startTLS), so the buffer is empty.
func (l *link) secure() error {
	if err := l.wait(); err != nil {
		return err
	}
	defer l.stopWaiting()
	ctx, cancel := context.WithTimeout(context.Background(), l.patient)
	defer cancel()
	conn := tls.Server(l.raw, l.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	l.conn, l.secured = conn, true
	l.in.Reset(conn)
	return nil
}

// endMail makes the library see the end of a mail that it never saw the octets of.
func (l *link) endMail() { l.line = []byte(".\r\n") }

// Close ends our direction, reads what the peer has yet to say, for a moment, and closes
// the connection.
func (l *link) Close() error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.mu.Unlock()
	if again {
		return nil
	}
	l.over = true
	if secured, ok := l.conn.(*tls.Conn); ok {
		_ = l.raw.SetWriteDeadline(time.Now().Add(lingerTime))
		_ = secured.CloseWrite() // close_notify
	}
	if half, ok := l.raw.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = l.raw.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, l.raw, lingerOctets)
	}
	return l.raw.Close()
}

// LocalAddr, RemoteAddr and the deadlines complete net.Conn. The library sets no
// deadlines, since it is given no timeouts.
func (l *link) LocalAddr() net.Addr              { return l.raw.LocalAddr() }
func (l *link) RemoteAddr() net.Addr             { return l.raw.RemoteAddr() }
func (l *link) SetDeadline(time.Time) error      { return nil }
func (l *link) SetReadDeadline(time.Time) error  { return nil }
func (l *link) SetWriteDeadline(time.Time) error { return nil }
