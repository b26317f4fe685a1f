package text

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
)

// esc is the septet that announces a character of the extension table (3GPP TS
// 23.038 §6.2.1.1).
const esc = 0x1B

// basic is the default alphabet in code order (3GPP TS 23.038 §6.2.1). The
// place of ESC holds a space, which is how the specification has a lone escape
// shown.
var basic = [128]rune{
	'@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å',
	'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', ' ', 'Æ', 'æ', 'ß', 'É',
	' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/',
	'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?',
	'¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O',
	'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§',
	'¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
	'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
}

// extension is the extension table, by the code that follows ESC (3GPP TS
// 23.038 §6.2.1.1). Zero means that the code is free.
var extension = [128]rune{
	0x0A: '\f', 0x14: '^', 0x28: '{', 0x29: '}', 0x2F: '\\', 0x3C: '[', 0x3D: '~', 0x3E: ']', 0x40: '|', 0x65: '€',
}

// A cell tells how a character is written: its code in the low bits, and how
// many septets it takes in the bits above. A zero cell is a character that the
// alphabet lacks.
type cell uint16

func (c cell) septets() int { return int(c >> 8) }
func (c cell) code() byte   { return byte(c) }

// latin holds the cells of U+0000 to U+00FF, so that nearly every character of
// a GSM text costs one array access; the Greek capitals and the euro sign are
// in beyond.
var latin, beyond = func() (l [256]cell, b map[rune]cell) {
	b = make(map[rune]cell)
	add := func(r rune, c cell) {
		if int(r) < len(l) {
			l[r] = c
		} else {
			b[r] = c
		}
	}
	for code, r := range basic {
		if code != esc {
			add(r, 1<<8|cell(code))
		}
	}
	for code, r := range extension {
		if r != 0 {
			add(r, 2<<8|cell(code))
		}
	}
	return l, b
}()

func cellOf(r rune) cell {
	if uint32(r) < uint32(len(latin)) {
		return latin[r]
	}
	return beyond[r]
}

// IsGSM7 reports whether every character of s is in the default alphabet or its
// extension table. The empty string is; text that is not valid UTF-8 is not.
func IsGSM7(s string) bool {
	_, ok := septets(s)
	return ok
}

// septets counts the septets that s takes, two for each character of the
// extension table, or reports that s has a character the alphabet lacks.
func septets(s string) (n int, ok bool) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= utf8.RuneSelf {
			return septetsFrom(s[i:], n)
		}
		w := latin[c].septets()
		if w == 0 {
			return 0, false
		}
		n += w
	}
	return n, true
}

func septetsFrom(s string, n int) (int, bool) {
	for _, r := range s {
		w := cellOf(r).septets()
		if w == 0 {
			return 0, false
		}
		n += w
	}
	return n, true
}

// EncodeGSM7 writes s unpacked, a septet to an octet, as SMPP's short_message
// nearly always carries it. The error is an *EncodingError.
func EncodeGSM7(s string) ([]byte, error) {
	n, ok := septets(s)
	if !ok {
		return nil, encodingError(s)
	}
	out := make([]byte, 0, n)
	for _, r := range s {
		c := cellOf(r)
		if c.septets() == 2 {
			out = append(out, esc)
		}
		out = append(out, c.code())
	}
	return out, nil
}

// DecodeGSM7 reads unpacked septets, one to an octet. It is lenient: an escape
// pair that the extension table lacks shows the basic character, as TS 23.038
// §6.2.1.1 asks of a handset; a lone ESC is a space; an octet of 0x80 or more,
// which no septet can be, is U+FFFD.
func DecodeGSM7(b []byte) string {
	var out strings.Builder
	out.Grow(len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case c >= 0x80:
			out.WriteRune(utf8.RuneError)
		case c == esc && i+1 < len(b) && b[i+1] < 0x80:
			i++
			r := extension[b[i]]
			if r == 0 {
				r = basic[b[i]]
			}
			out.WriteRune(r)
		default:
			out.WriteRune(basic[c])
		}
	}
	return out.String()
}

// maxListedRunes bounds what an EncodingError lists: enough to mend a text by,
// and never a copy of a long one.
const maxListedRunes = 16

// EncodingError is the answer to a text that was to go as GSM 7-bit and has
// characters which that alphabet lacks. It unwraps to a *message.Error of
// message.ReasonEncodingMismatch.
type EncodingError struct {
	Runes []rune // the distinct characters in order of appearance, at most 16
	Count int    // how many characters of the text are not in the alphabet
	First int    // place of the first one in the text, in characters from 1
}

func encodingError(s string) *EncodingError {
	e := &EncodingError{}
	at := 0
	for _, r := range s {
		at++
		if cellOf(r) != 0 {
			continue
		}
		if e.Count == 0 {
			e.First = at
		}
		e.Count++
		if len(e.Runes) < maxListedRunes && !containsRune(e.Runes, r) {
			e.Runes = append(e.Runes, r)
		}
	}
	return e
}

func containsRune(list []rune, r rune) bool {
	for _, x := range list {
		if x == r {
			return true
		}
	}
	return false
}

// Error names the first character alone: errors are logged, and text never is.
func (e *EncodingError) Error() string { return e.Unwrap().Error() }

// Unwrap gives the refusal that a customer sees.
func (e *EncodingError) Unwrap() error {
	var first rune
	if len(e.Runes) > 0 {
		first = e.Runes[0]
	}
	return message.Refuse(message.ReasonEncodingMismatch, "%s not in the GSM 7-bit alphabet; the first is %U at character %d",
		countOf(e.Count), first, e.First)
}

func countOf(n int) string {
	if n == 1 {
		return "1 character is"
	}
	return fmt.Sprintf("%d characters are", n)
}
