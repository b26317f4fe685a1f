package smtpout

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxLine is the most octets of a line, without its CRLF (RFC 5322 §2.1.1, RFC 5321
// §4.5.3.1.6). Peers cut longer ones, or refuse them.
const maxLine = 998

// Why a content is not sent to its end.
var (
	errLongLine = fmt.Errorf("a line of the content is longer than %d octets", maxLine)
	err8Bit     = errors.New("an octet above 127 stands in a mail that was said to have none")
	errTooLarge = errors.New("the mail is larger than the peer takes")
)

// content turns what is written into the content of DATA: CR, LF and CRLF each become
// one CRLF, so that no peer sees a line end where another sees none, and a dot at the
// beginning of a line is doubled (RFC 5321 §4.5.2). So the only line with a single dot is
// the one that finish writes. After an error it takes nothing more.
type content struct {
	w       *bufio.Writer
	eight   bool  // octets above 127 are allowed
	most    int64 // octets that the peer takes; 0: any number
	written int64 // octets, without doubled dots and the final one
	column  int   // octets in the line so far
	cr      bool  // the last octet was a CR
	err     error // the first one; the content is not to be finished
	broken  bool  // err is the connection's
}

// Write writes a piece. It may begin and end anywhere.
func (c *content) Write(p []byte) (int, error) {
	for i := 0; i < len(p); {
		if c.err != nil {
			return i, c.err
		}
		b := p[i]
		switch {
		case b == '\n' && c.cr: // of a CRLF, whose line has been ended
			c.cr = false
			i++
			continue
		case b == '\r' || b == '\n':
			c.cr = b == '\r'
			c.endLine()
			i++
			continue
		}
		c.cr = false
		n := 1
		for i+n < len(p) && p[i+n] != '\r' && p[i+n] != '\n' {
			n++
		}
		c.run(p[i : i+n])
		i += n
	}
	return len(p), c.err
}

// run writes octets of one line.
func (c *content) run(p []byte) {
	switch {
	case c.column+len(p) > maxLine:
		c.err = errLongLine
		return
	case !c.eight && !is7Bit(p):
		c.err = err8Bit
		return
	}
	if c.column == 0 && p[0] == '.' {
		c.put(".")
	}
	c.column += len(p)
	c.grow(len(p))
	if c.err == nil {
		if _, err := c.w.Write(p); err != nil {
			c.err, c.broken = err, true
		}
	}
}

func (c *content) endLine() {
	c.column = 0
	c.grow(2)
	c.put("\r\n")
}

func (c *content) grow(n int) {
	if c.written += int64(n); c.most > 0 && c.written > c.most && c.err == nil {
		c.err = errTooLarge
	}
}

func (c *content) put(s string) {
	if c.err == nil {
		if _, err := io.WriteString(c.w, s); err != nil {
			c.err, c.broken = err, true
		}
	}
}

// finish ends the last line, writes the final dot and flushes. Without an error the
// whole of it is the network's; with one the dot has not left in full, so the peer cannot
// have the mail.
func (c *content) finish() error {
	if c.column > 0 {
		c.endLine()
	}
	c.put(".\r\n")
	if c.err == nil {
		if err := c.w.Flush(); err != nil {
			c.err, c.broken = err, true
		}
	}
	return c.err
}

func is7Bit(p []byte) bool {
	for _, b := range p {
		if b > 0x7F {
			return false
		}
	}
	return true
}
