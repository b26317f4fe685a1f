package rest

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of a JSON text, so that a small body cannot cost much.
const (
	maxDepth   = 32 // nesting of objects and arrays
	maxMembers = 64 // members of one object whose names are looked at
)

// syntaxError says where a body stops being JSON. It becomes a 400.
type syntaxError struct {
	offset int    // octets before the fault
	within string // location of the value it is in, such as body.to
	what   string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("%s at octet %d", e.what, e.offset+1)
}

// reader walks one JSON text (RFC 8259) without building a tree. encoding/json
// would replace invalid UTF-8 and lone surrogates silently and report one
// fault in words of its own; here both are errors that name their field.
type reader struct {
	text   []byte
	at     int
	within string // location of the value being read
	depth  int
	name   bool // false: the last field name has half of a surrogate pair
}

func (r *reader) fail(format string, args ...any) error {
	return &syntaxError{offset: r.at, within: r.within, what: fmt.Sprintf(format, args...)}
}

// peek skips blanks and gives the octet that begins the next token, 0 at the
// end of the text.
func (r *reader) peek() byte {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return c
		}
	}
	return 0
}

func (r *reader) expect(c byte, where string) error {
	if r.peek() != c {
		return r.unexpected(string(rune(c)) + " " + where)
	}
	r.at++
	return nil
}

func (r *reader) unexpected(want string) error {
	if r.at >= len(r.text) {
		return r.fail("the JSON ends where %s is expected", want)
	}
	c, size := utf8.DecodeRune(r.text[r.at:])
	if c == utf8.RuneError && size == 1 {
		return r.fail("octet 0x%02X is not valid UTF-8", r.text[r.at])
	}
	return r.fail("unexpected %s where %s is expected", strconv.QuoteRune(c), want)
}

// end checks that nothing follows the value.
func (r *reader) end() error {
	if r.peek() != 0 || r.at < len(r.text) {
		return r.unexpected("the end of the body")
	}
	return nil
}

// object reads an object and calls member with each name; member reads the
// value.
func (r *reader) object(member func(name string) error) error {
	if err := r.open('{'); err != nil {
		return err
	}
	for n := 0; ; n++ {
		c := r.peek()
		if c == '}' && n == 0 {
			return r.close()
		}
		if c != '"' {
			return r.unexpected("a field name in double quotes")
		}
		name, whole, err := r.string()
		if err != nil {
			return err
		}
		r.name = whole
		if err := r.expect(':', "after a field name"); err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
		switch r.peek() {
		case ',':
			r.at++
		case '}':
			return r.close()
		default:
			return r.unexpected(", or } after a field")
		}
	}
}

func (r *reader) array(element func() error) error {
	if err := r.open('['); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if r.peek() == ']' && n == 0 {
			return r.close()
		}
		if err := element(); err != nil {
			return err
		}
		switch r.peek() {
		case ',':
			r.at++
		case ']':
			return r.close()
		default:
			return r.unexpected(", or ] after an element")
		}
	}
}

func (r *reader) open(c byte) error {
	if err := r.expect(c, "to begin a value"); err != nil {
		return err
	}
	if r.depth++; r.depth > maxDepth {
		return r.fail("values are nested more than %d deep", maxDepth)
	}
	return nil
}

func (r *reader) close() error {
	r.at++
	r.depth--
	return nil
}

// skip reads any value and forgets it.
func (r *reader) skip() error {
	switch c := r.peek(); {
	case c == '{':
		return r.object(func(string) error { return r.skip() })
	case c == '[':
		return r.array(r.skip)
	case c == '"':
		_, _, err := r.string()
		return err
	case c == '-' || c >= '0' && c <= '9':
		_, err := r.number()
		return err
	case c == 't':
		return r.word("true")
	case c == 'f':
		return r.word("false")
	case c == 'n':
		return r.word("null")
	}
	return r.unexpected("a value")
}

// word reads true, false or null.
func (r *reader) word(w string) error {
	if len(r.text)-r.at < len(w) || string(r.text[r.at:r.at+len(w)]) != w {
		return r.fail("unknown word where a value is expected")
	}
	r.at += len(w)
	return nil
}

// number reads a number and gives it as written.
func (r *reader) number() (string, error) {
	start := r.at
	if r.now() == '-' {
		r.at++
	}
	switch {
	case r.now() == '0':
		r.at++
	case !r.digits():
		return "", r.unexpected("a digit")
	}
	if r.now() == '.' {
		r.at++
		if !r.digits() {
			return "", r.unexpected("a digit")
		}
	}
	if c := r.now(); c == 'e' || c == 'E' {
		r.at++
		if c := r.now(); c == '+' || c == '-' {
			r.at++
		}
		if !r.digits() {
			return "", r.unexpected("a digit")
		}
	}
	return string(r.text[start:r.at]), nil
}

func (r *reader) now() byte {
	if r.at < len(r.text) {
		return r.text[r.at]
	}
	return 0
}

func (r *reader) digits() bool {
	start := r.at
	for c := r.now(); c >= '0' && c <= '9'; c = r.now() {
		r.at++
	}
	return r.at > start
}

// string reads a string. whole is false if an escape names half of a surrogate
// pair: that is JSON but no text, and stands as U+FFFD in the value.
func (r *reader) string() (value string, whole bool, err error) {
	r.at++ // the opening quote
	start := r.at
	ascii := true
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '"':
			raw := r.text[start:r.at]
			if !ascii && !utf8.Valid(raw) {
				return "", false, r.invalidUTF8(start)
			}
			r.at++
			return string(raw), true, nil
		case c == '\\':
			return r.escaped(start)
		case c < ' ':
			return "", false, r.fail(`control character U+%04X inside a string; write it as \u%04x`, c, c)
		case c >= utf8.RuneSelf:
			ascii = false
		}
		r.at++
	}
	return "", false, r.fail("the JSON ends inside a string")
}

func (r *reader) invalidUTF8(start int) error {
	r.at = start
	for {
		c, size := utf8.DecodeRune(r.text[r.at:])
		if c == utf8.RuneError && size <= 1 {
			return r.fail("the text is not valid UTF-8")
		}
		r.at += size
	}
}

// escaped reads the rest of a string that has an escape, from the octet start.
func (r *reader) escaped(start int) (string, bool, error) {
	out := append(make([]byte, 0, 2*(r.at-start)+32), r.text[start:r.at]...)
	whole := true
	plain := start // where what was not yet checked for UTF-8 begins
	for r.at < len(r.text) {
		c := r.text[r.at]
		switch {
		case c == '"':
			if !utf8.Valid(r.text[plain:r.at]) {
				return "", false, r.invalidUTF8(plain)
			}
			r.at++
			return string(out), whole, nil
		case c == '\\':
			if !utf8.Valid(r.text[plain:r.at]) {
				return "", false, r.invalidUTF8(plain)
			}
			char, ok, err := r.escape()
			if err != nil {
				return "", false, err
			}
			whole = whole && ok
			out = utf8.AppendRune(out, char)
			plain = r.at
		case c < ' ':
			return "", false, r.fail(`control character U+%04X inside a string; write it as \u%04x`, c, c)
		default:
			out = append(out, c)
			r.at++
		}
	}
	return "", false, r.fail("the JSON ends inside a string")
}

var simpleEscapes = [256]rune{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads one escape, or two that make a surrogate pair.
func (r *reader) escape() (char rune, whole bool, err error) {
	r.at++ // the backslash
	if c := r.now(); c != 'u' {
		if simpleEscapes[c] == 0 {
			return 0, false, r.fail("unknown escape in a string")
		}
		r.at++
		return simpleEscapes[c], true, nil
	}
	r.at++
	first, err := r.hex4()
	if err != nil || !utf16.IsSurrogate(first) {
		return first, true, err
	}
	if r.at+1 < len(r.text) && r.text[r.at] == '\\' && r.text[r.at+1] == 'u' {
		back := r.at
		r.at += 2
		second, err := r.hex4()
		if err != nil {
			return 0, false, err
		}
		if pair := utf16.DecodeRune(first, second); pair != utf8.RuneError {
			return pair, true, nil
		}
		r.at = back // the second escape stands for itself
	}
	return utf8.RuneError, false, nil
}

func (r *reader) hex4() (rune, error) {
	if len(r.text)-r.at < 4 {
		r.at = len(r.text)
		return 0, r.fail("the JSON ends inside an escape")
	}
	v, err := strconv.ParseUint(string(r.text[r.at:r.at+4]), 16, 32)
	if err != nil {
		return 0, r.fail(`\u wants four hex digits`)
	}
	r.at += 4
	return rune(v), nil
}
