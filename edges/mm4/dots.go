package mm4

import (
	"bufio"
	"bytes"
	"io"
)

// dotState is where in a line of DATA a reader is.
type dotState byte

const (
	atLine  dotState = iota // a line begins here
	atDot                   // behind a dot at its beginning
	atDotCR                 // and a CR
	inLine
	atCR // behind a CR
)

// dotReader reads the data of one mail (RFC 5321 §4.5.2): up to CR LF . CR LF and to
// nothing that merely looks like it, and without the dot that a sender puts before each
// line that begins with one. Every other octet comes as it was sent. It takes from in
// what belongs to the mail and no octet more.
type dotReader struct {
	in *bufio.Reader
	// wait is called before octets are waited for; it sets the deadline.
	wait func() error

	state dotState
	ended bool // the final dot was read
	err   error
}

// Read gives io.EOF behind the final dot, and io.ErrUnexpectedEOF when the connection
// ends before it. An error stays.
func (d *dotReader) Read(p []byte) (n int, err error) {
	for n == 0 && len(p) > 0 {
		if d.ended {
			return 0, io.EOF
		}
		if d.err != nil {
			return 0, d.err
		}
		if d.in.Buffered() == 0 {
			d.err = d.fill()
			continue
		}
		buf, _ := d.in.Peek(d.in.Buffered()) // they are there
		taken, given := d.take(p, buf)
		_, _ = d.in.Discard(taken)
		n = given
	}
	return n, nil
}

func (d *dotReader) fill() error {
	if err := d.wait(); err != nil {
		return err
	}
	_, err := d.in.Peek(1)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// take moves octets from buf to p, and tells how many it took and gave.
func (d *dotReader) take(p, buf []byte) (taken, given int) {
	for taken < len(buf) && given < len(p) {
		if d.state == inLine { // the rest of a line at once
			run := buf[taken:]
			if i := bytes.IndexByte(run, '\r'); i >= 0 {
				run = run[:i+1]
			}
			n := copy(p[given:], run)
			taken, given = taken+n, given+n
			if p[given-1] == '\r' {
				d.state = atCR
			}
			continue
		}
		c := buf[taken]
		taken++
		emit := true
		switch {
		case d.state == atLine && c == '.':
			d.state, emit = atDot, false
		case d.state == atDot && c == '\r':
			d.state, emit = atDotCR, false
		case d.state == atDotCR && c == '\n':
			d.ended = true
			return taken, given
		case d.state == atDotCR: // it was no end: the CR belongs to the mail
			c, d.state = '\r', atCR
			taken-- // and what follows is looked at as what follows a CR
		case d.state == atCR && c == '\n':
			d.state = atLine
		case c == '\r':
			d.state = atCR
		default:
			d.state = inLine
		}
		if emit {
			p[given] = c
			given++
		}
	}
	return taken, given
}
