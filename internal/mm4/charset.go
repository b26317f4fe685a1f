package mm4

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// CharsetError tells of a charset that we have no table for.
type CharsetError struct {
	Charset string // as written, cut to 40 octets
}

// Error names the charset.
func (e *CharsetError) Error() string {
	return fmt.Sprintf("mm4: charset %q is not known; the text was read as UTF-8 or windows-1252", e.Charset)
}

// spellings turns what some programs write into the registered names.
var spellings = strings.NewReplacer("_", "-", "windows-cp", "windows-", "iso8859", "iso-8859")

// toUTF8 converts text that is labelled with a charset. The reader is always good: a
// text of an unknown charset is read as if it had no label, because it mostly is what
// some program calls ASCII; the error, a *CharsetError, tells of it.
//
// Labels are not believed where they are often wrong: ASCII and UTF-8 may hold the
// other or windows-1252, and ISO 8859-1 is windows-1252, which differs in the octets
// that ISO 8859-1 gives no character. UTF-16 without a mark has the order of octets
// that its first ones suggest; RFC 2781 §4.3 says big endian, and much software of
// Windows does not.
func toUTF8(label string, r io.Reader) (io.Reader, error) {
	switch name := strings.ToLower(strings.Trim(label, " \t\"'")); name {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "ansi_x3.4-1968", "unknown-8bit", "x-unknown", "default":
		return lenientUTF8(r), nil
	case "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1", "ansi", "cp-1252", "cp1252", "windows1252":
		return transform.NewReader(r, charmap.Windows1252.NewDecoder()), nil
	case "utf-16", "utf16", "utf-16le", "utf-16be", "ucs-2", "ucs2", "iso-10646-ucs-2", "csunicode", "unicode":
		return utf16Reader(name, r), nil
	default:
		name = spellings.Replace(name)
		for _, n := range []string{strings.ToLower(strings.TrimSpace(label)), name} {
			if out, err := charset.Reader(n, r); err == nil {
				return out, nil
			}
		}
		return lenientUTF8(r), &CharsetError{Charset: clip(label, 40)}
	}
}

// utf16Sample is how many octets of a text without a mark are looked at.
const utf16Sample = 256

func utf16Reader(name string, r io.Reader) io.Reader {
	br := bufio.NewReaderSize(r, utf16Sample)
	head, _ := br.Peek(utf16Sample) // its error comes again when it is read
	order := unicode.BigEndian
	if name == "utf-16le" || name != "utf-16be" && looksLittleEndian(head) {
		order = unicode.LittleEndian
	}
	return transform.NewReader(br, unicode.UTF16(order, unicode.UseBOM).NewDecoder())
}

// looksLittleEndian counts on which side the zeros are: every script has blanks,
// digits and line ends.
func looksLittleEndian(b []byte) bool {
	var zeros [2]int
	for i, c := range b {
		if c == 0 {
			zeros[i%2]++
		}
	}
	return zeros[1] > zeros[0]
}

// lenientUTF8 reads UTF-8, and each octet that is none as windows-1252. A mark at the
// beginning is dropped.
func lenientUTF8(r io.Reader) io.Reader { return transform.NewReader(r, &lenient{}) }

type lenient struct{ begun bool }

// Reset is called by transform.NewReader.
func (l *lenient) Reset() { l.begun = false }

// Transform copies runes; octets that begin none become one each.
func (l *lenient) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		c := src[nSrc]
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			if !atEOF && !utf8.FullRune(src[nSrc:]) {
				return nDst, nSrc, transform.ErrShortSrc
			}
			if r, size = utf8.DecodeRune(src[nSrc:]); r == utf8.RuneError && size == 1 {
				r = charmap.Windows1252.DecodeByte(c)
			}
		}
		if r == '\uFEFF' && !l.begun {
			l.begun = true
			nSrc += size
			continue
		}
		if nDst+utf8.RuneLen(r) > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		l.begun = true
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += size
	}
	return nDst, nSrc, nil
}

// lineEnds turns CRLF and a lone CR into LF.
type lineEnds struct {
	src    io.Reader
	wasEnd bool // the last octet was a CR
}

// Read turns what it has read in place.
func (l *lineEnds) Read(p []byte) (int, error) {
	for {
		n, err := l.src.Read(p)
		out := 0
		for _, c := range p[:n] {
			if c == '\n' && l.wasEnd {
				l.wasEnd = false
				continue
			}
			if l.wasEnd = c == '\r'; l.wasEnd {
				c = '\n'
			}
			p[out] = c
			out++
		}
		if out > 0 || err != nil || len(p) == 0 {
			return out, err
		}
	}
}
