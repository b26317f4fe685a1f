package text

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// surrogateFrom is the first character that UTF-16 writes as a pair.
const surrogateFrom = 0x10000

// units counts the UTF-16 units that s takes: two for a character beyond the
// basic multilingual plane.
func units(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r >= surrogateFrom {
			n++
		}
	}
	return n
}

// EncodeUCS2 writes s as UTF-16BE, which is what networks and handsets take
// UCS-2 to be (data_coding 8). Octets that are not valid UTF-8 become U+FFFD.
func EncodeUCS2(s string) []byte {
	out := make([]byte, 0, 2*units(s))
	for _, r := range s {
		if r >= surrogateFrom {
			high, low := utf16.EncodeRune(r)
			out = append(out, byte(high>>8), byte(high), byte(low>>8), byte(low))
			continue
		}
		out = append(out, byte(r>>8), byte(r))
	}
	return out
}

// DecodeUCS2 reads UTF-16BE. It is lenient: half a surrogate pair is U+FFFD,
// and so is an odd octet at the end. A byte order mark is kept, for it is also
// a character (U+FEFF) that nobody sees.
func DecodeUCS2(b []byte) string {
	var out strings.Builder
	out.Grow(len(b))
	for i := 0; i+1 < len(b); i += 2 {
		r := rune(b[i])<<8 | rune(b[i+1])
		if utf16.IsSurrogate(r) {
			pair := rune(utf8.RuneError)
			if i+3 < len(b) {
				pair = utf16.DecodeRune(r, rune(b[i+2])<<8|rune(b[i+3]))
			}
			if pair != utf8.RuneError {
				i += 2
			}
			r = pair
		}
		out.WriteRune(r)
	}
	if len(b)%2 == 1 {
		out.WriteRune(utf8.RuneError)
	}
	return out.String()
}
