package mm4

import (
	"bufio"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
)

// transferReader undoes a Content-Transfer-Encoding (RFC 2045 §6). Its name is taken
// in any case, with or without hyphens and quotes; none is the octets as they are.
func transferReader(encoding string, r io.Reader) (io.Reader, error) {
	name, _ := parseParams(encoding) // without comments and the semicolon that some write
	switch plain(name) {
	case "", "7bit", "8bit", "binary", "none":
		return r, nil
	case "base64":
		return &base64Reader{src: r}, nil
	case "quotedprintable":
		return &qpReader{src: bufio.NewReader(r)}, nil
	}
	return nil, corrupt("Content-Transfer-Encoding", "the encoding is not known; use base64 or quoted-printable")
}

// base64Values has the value of each octet of the alphabet; 64 is the padding, 255
// what is no part of it.
var base64Values = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	t['='] = 64
	return t
}()

// base64Reader decodes base64. What is not of the alphabet is passed over (RFC 2045
// §6.8); padding may be missing at the end, and may stand where an encoder that works
// piece by piece has put it.
type base64Reader struct {
	src   io.Reader
	acc   uint32 // the digits of a group so far
	n     int    // how many
	in    [1024]byte
	space [776]byte // what 1,027 digits may give
	out   []byte    // of space, not yet read
	err   error
}

// Read gives decoded octets.
func (b *base64Reader) Read(p []byte) (int, error) {
	for len(b.out) == 0 && b.err == nil {
		b.fill()
	}
	if len(b.out) == 0 {
		return 0, b.err
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}

func (b *base64Reader) fill() {
	n, err := b.src.Read(b.in[:])
	b.out = b.space[:0]
	for _, c := range b.in[:n] {
		v := base64Values[c]
		switch {
		case v == 255:
		case v == 64:
			b.flush()
		default:
			b.acc = b.acc<<6 | uint32(v)
			if b.n++; b.n == 4 {
				b.out = append(b.out, byte(b.acc>>16), byte(b.acc>>8), byte(b.acc))
				b.acc, b.n = 0, 0
			}
		}
	}
	if err == io.EOF {
		b.flush()
	}
	if b.err == nil {
		b.err = err
	}
}

// flush ends a group that is shorter than four digits. One digit alone is not even an
// octet: something is missing.
func (b *base64Reader) flush() {
	switch b.n {
	case 1:
		if b.err == nil {
			b.err = corrupt("Content-Transfer-Encoding", "the base64 of a part breaks off; send the part whole")
		}
	case 2:
		b.out = append(b.out, byte(b.acc>>4))
	case 3:
		b.out = append(b.out, byte(b.acc>>10), byte(b.acc>>2))
	}
	b.acc, b.n = 0, 0
}

// maxBlanks is how many blanks at the end of a line are waited for: they are no part
// of the text there (RFC 2045 §6.7 rule 3), and are when something follows.
const maxBlanks = 1024

// qpReader decodes quoted-printable with lines of any length. An equals sign that
// introduces nothing stands for itself.
type qpReader struct {
	src    *bufio.Reader
	blanks []byte // read, and perhaps at the end of a line
	soft   bool   // blanks stand behind an equals sign, which ends the line if they do
	out    []byte
	buf    []byte
	err    error
}

// Read gives decoded octets.
func (q *qpReader) Read(p []byte) (int, error) {
	for len(q.out) == 0 && q.err == nil {
		q.out = q.buf[:0]
		for len(q.out) < 1024 && q.err == nil {
			q.step()
		}
		q.buf = q.out[:0]
	}
	if len(q.out) == 0 {
		return 0, q.err
	}
	n := copy(p, q.out)
	q.out = q.out[n:]
	return n, nil
}

// step takes one octet, or an escape.
func (q *qpReader) step() {
	c, err := q.src.ReadByte()
	if err != nil {
		q.err = err
		return
	}
	switch {
	case c == ' ' || c == '\t':
		if len(q.blanks) >= maxBlanks {
			q.flush()
		}
		q.blanks = append(q.blanks, c)
		return
	case c == '\n':
		q.endLine("\n")
		return
	case c == '\r':
		if next, err := q.src.Peek(1); err == nil && next[0] == '\n' {
			q.src.Discard(1) // it has been looked at
			q.endLine("\r\n")
			return
		}
	}
	q.flush()
	if c != '=' {
		q.out = append(q.out, c)
		return
	}
	if hex, err := q.src.Peek(2); err == nil && unhex(hex[0]) >= 0 && unhex(hex[1]) >= 0 {
		q.out = append(q.out, byte(unhex(hex[0])<<4|unhex(hex[1])))
		q.src.Discard(2) // they have been looked at
		return
	}
	q.soft = true
}

// endLine ends a line, or joins it to the next one.
func (q *qpReader) endLine(end string) {
	if !q.soft {
		q.out = append(q.out, end...)
	}
	q.soft, q.blanks = false, q.blanks[:0]
}

// flush gives out what did not stand at the end of a line.
func (q *qpReader) flush() {
	if q.soft {
		q.out = append(q.out, '=')
	}
	q.out = append(q.out, q.blanks...)
	q.soft, q.blanks = false, q.blanks[:0]
}

// base64Line is how many digits stand on a line (RFC 2045 §6.8), and base64Octets
// what they encode.
const (
	base64Line   = 76
	base64Octets = base64Line / 4 * 3
)

// base64Size is how many octets writeBase64 makes of n.
func base64Size(n int64) int64 {
	if n == 0 {
		return 0
	}
	return (n+2)/3*4 + 2*((n-1)/base64Octets)
}

// writeBase64 encodes r in lines, with a line end between them and none at the end,
// and tells how many octets r had.
func writeBase64(w io.Writer, r io.Reader) (int64, error) {
	var total int64
	raw := make([]byte, 48*base64Octets)
	var line [base64Line + 2]byte
	copy(line[:], "\r\n")
	for {
		n, err := io.ReadFull(r, raw)
		for at := 0; at < n; at += base64Octets {
			piece := raw[at:min(at+base64Octets, n)]
			base64.StdEncoding.Encode(line[2:], piece)
			out := line[:2+base64.StdEncoding.EncodedLen(len(piece))]
			if total == 0 {
				out = out[2:]
			}
			total += int64(len(piece))
			if _, err := w.Write(out); err != nil {
				return total, err
			}
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return total, nil
		default:
			return total, err
		}
	}
}

// writeQP encodes a text with its line ends as CRLF, whatever they were.
func writeQP(w io.Writer, text string) error {
	q := quotedprintable.NewWriter(w)
	if _, err := io.Copy(q, &lineEnds{src: strings.NewReader(text)}); err != nil {
		return err
	}
	return q.Close()
}
