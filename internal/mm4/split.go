package mm4

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine is the longest line of a header without its line end (RFC 5322 §2.1.1).
const maxLine = 998

// maxHeaderLines bounds the lines of one header, because each of them costs more than
// its octets. Headers of real mails have some 20 to 60.
const maxHeaderLines = 1000

// readBuffer is how much is read ahead, and the longest line that may be a boundary.
const readBuffer = 4096

// errBoundary says that the data before a boundary are all read; splitter.hit tells
// which it was.
var errBoundary = errors.New("mm4: boundary")

// boundary is a line that ends data: it belongs to one of the open multiparts, the
// outermost being 0.
type boundary struct {
	level int
	last  bool // it closes the multipart
}

// splitter cuts a mail at the boundaries of all multiparts that are open (RFC 2046
// §5.1.1), so that one of an outer multipart ends the inner ones as well.
type splitter struct {
	src  *bufio.Reader
	open []string // "--" and the boundary of each open multipart
	data []byte   // read and not yet taken; valid until the next fill

	fresh bool    // a line begins here, and nobody has looked whether it is a boundary
	held  [2]byte // the line end before it, which belongs to a boundary if one follows
	nheld int
	hit   *boundary
}

func newSplitter(r io.Reader) *splitter {
	return &splitter{src: bufio.NewReaderSize(&sticky{src: r}, readBuffer), fresh: true}
}

// sticky gives the source's first error again and again. A bufio.Reader forgets one
// that it has told, to a Peek too, and a source that then says io.EOF would make half a
// mail look whole.
type sticky struct {
	src io.Reader
	err error
}

// Read is the source's, up to its first error.
func (s *sticky) Read(p []byte) (n int, err error) {
	if s.err == nil {
		n, s.err = s.src.Read(p)
	}
	return n, s.err
}

// begin starts new data behind a boundary or a header.
func (s *splitter) begin() { s.data, s.nheld, s.fresh = nil, 0, true }

// Read gives the data up to the next boundary, and then errBoundary. At the end of
// the mail it gives io.EOF when no multipart is open. The line end at the end of a
// mail belongs to SMTP, not to the data.
func (s *splitter) Read(p []byte) (int, error) {
	for len(s.data) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	return n, nil
}

// fill takes a line end that was held, or the next line, or a piece of one that is
// longer than the buffer.
func (s *splitter) fill() error {
	if s.hit != nil {
		return errBoundary
	}
	if s.fresh {
		if s.match() {
			return errBoundary
		}
		s.fresh = false
		if s.nheld > 0 {
			n := s.nheld
			s.nheld = 0
			if _, err := s.src.Peek(1); err != nil && len(s.open) == 0 {
				return err
			}
			s.data = s.held[:n]
			return nil
		}
	}
	line, err := s.src.ReadSlice('\n')
	if len(line) == 0 {
		return s.end(err)
	}
	s.data = line
	switch last := line[len(line)-1]; {
	case err == nil:
		body := bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
		s.nheld = copy(s.held[:], line[len(body):])
		s.data, s.fresh = body, true
	case err == bufio.ErrBufferFull && last == '\r': // its LF may follow
		s.data = line[:len(line)-1]
		return s.src.UnreadByte()
	}
	return nil
}

// match takes the line that begins here if it is a boundary. The innermost multipart
// goes first. Only one that closes may end with the mail instead of with a line end.
func (s *splitter) match() bool {
	if len(s.open) == 0 {
		return false
	}
	if two, _ := s.src.Peek(2); string(two) != "--" {
		return false
	}
	line := s.peekLine()
	text := bytes.TrimRight(line, " \t\r\n")
	for i := len(s.open) - 1; i >= 0; i-- {
		rest, ok := bytes.CutPrefix(text, []byte(s.open[i]))
		if ok && (string(rest) == "--" || len(rest) == 0 && line[len(line)-1] == '\n') {
			s.hit = &boundary{level: i, last: len(rest) > 0}
			s.nheld = 0
			s.src.Discard(len(line)) // it has been looked at
			return true
		}
	}
	return false
}

// peekLine looks at the line that begins here, with its end; nil when it is longer
// than the buffer. It looks no further than it must.
func (s *splitter) peekLine() []byte {
	for n := 64; n <= readBuffer; n *= 2 {
		b, err := s.src.Peek(n)
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			return b[:i+1]
		}
		if err != nil {
			return b // the end of the mail ends a line; another error comes again
		}
	}
	return nil
}

// end is what the end of the source means here.
func (s *splitter) end(err error) error {
	if err == io.EOF && len(s.open) > 0 {
		return truncated("the mail ends before the boundary that closes it; send it whole")
	}
	return err
}

// skip reads up to the next boundary and takes it. Without one it is nil, with the
// end of the mail as io.EOF.
func (s *splitter) skip() (*boundary, error) {
	for {
		s.data = nil
		if err := s.fill(); err == errBoundary {
			b := s.hit
			s.hit = nil
			s.begin()
			return b, nil
		} else if err != nil {
			return nil, err
		}
	}
}

// block reads the lines of a header up to the empty line, the end of the mail, or a
// boundary, which stays to be found. They end in CRLF whatever they ended in; strict
// refuses everything else. Line ends and NULs within a line are always refused: where
// one reader sees one header, the next may see two (RFC 5322 §2.2, §2.3).
func (s *splitter) block(limit int, strict bool) ([]byte, error) {
	var out []byte
	for n := 1; ; n++ {
		if s.match() {
			return out, nil
		}
		line, err := s.src.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			if err = s.end(err); err != io.EOF {
				return out, err
			}
		}
		text := bytes.TrimSuffix(line, []byte("\n"))
		ended := len(text) < len(line)
		text = bytes.TrimSuffix(text, []byte("\r"))
		switch {
		case len(text) > maxLine || err == bufio.ErrBufferFull:
			return out, corrupt("", "line %d of a header has more than %d octets; fold it", n, maxLine)
		case bytes.IndexByte(text, '\r') >= 0 || bytes.IndexByte(text, 0) >= 0:
			return out, corrupt("", "line %d of a header has a CR or NUL in it; end lines in CRLF and encode what is no text", n)
		case strict && ended && len(line)-len(text) != len("\r\n"):
			return out, corrupt("", "line %d of the header ends in a bare LF; end lines in CRLF", n)
		case len(out)+len(text) > limit || n > maxHeaderLines:
			return out, corrupt("", "a header has more than %d octets or %d lines; shorten it", limit, maxHeaderLines)
		case len(text) == 0:
			s.begin()
			return out, nil
		}
		out = append(append(out, text...), "\r\n"...)
		if err == io.EOF {
			s.begin()
			return out, nil
		}
	}
}
