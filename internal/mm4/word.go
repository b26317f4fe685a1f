package mm4

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isControl reports whether r must not stand in a header: it would end a line or
// hide something.
func isControl(r rune) bool {
	return r < ' ' && r != '\t' || r == 0x7F
}

// words decodes RFC 2047, in every charset that texts may have. It gives a whole word
// at once, because a stream costs some 30 KiB for each.
var words = mime.WordDecoder{CharsetReader: func(label string, r io.Reader) (io.Reader, error) {
	out, _ := toUTF8(label, r)
	b, err := io.ReadAll(out)
	return bytes.NewReader(b), err
}}

// decodeText reads a header's value for people: encoded words, or octets in UTF-8 or
// windows-1252. The result is valid UTF-8 in one line.
func decodeText(s string) string {
	if d, err := words.DecodeHeader(s); err == nil {
		s = d
	}
	return cleanText(s)
}

// cleanText makes one line of valid UTF-8 of s: what is neither is read as
// windows-1252, and each control character or line separator is a blank.
func cleanText(s string) string {
	if !utf8.ValidString(s) {
		b, _ := io.ReadAll(lenientUTF8(strings.NewReader(s))) // a string has no errors
		s = string(b)
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s))
}

// encodeText writes s for people into a header: as it is when that is read back
// unchanged, else in encoded words (RFC 2047 §2: 75 octets each).
func encodeText(s string) string {
	if isPlainText(s) {
		return s
	}
	const most = (75 - len("=?utf-8?B??=")) / 4 * 3
	var out []string
	for len(s) > 0 {
		n := min(len(s), most)
		for n < len(s) && n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		out = append(out, "=?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte(s[:n]))+"?=")
		s = s[n:]
	}
	return strings.Join(out, " ")
}

// isPlainText reports whether s stands in a header as it is: ASCII whose blanks
// survive folding, with no word that could be taken for an encoded one.
func isPlainText(s string) bool {
	return !strings.Contains(s, "=?") && !strings.Contains(s, "  ") && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) && longestWord(s) <= preferredLine
}

func longestWord(s string) (n int) {
	for w := range strings.SplitSeq(s, " ") {
		n = max(n, len(w))
	}
	return n
}

// encodePhrase writes a display name.
func encodePhrase(s string) string {
	if e := encodeText(s); e != s {
		return e
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// unescape takes the backslashes out of a quoted string. One before anything but a
// quote or another backslash stays: it belongs to a path of Windows.
func unescape(s string) string {
	if !strings.ContainsRune(s, '\\') {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\') {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// maxName is how many octets a file's name may have; longer ones are cut before
// their extension. File systems take 255, and a name is written three times longer in
// a header.
const maxName = 120

// maxExt is the longest extension that survives the cut, with its dot.
const maxExt = 12

// CleanName makes a file's name of what somebody wrote: the last element of a path,
// in one line, without the characters that mean something to a shell or a browser and
// without those that turn the direction of writing, at most 120 octets. Empty: nothing
// was left.
func CleanName(s string) string {
	s = cleanText(s)
	s = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`<>:"|?*;%`, r), r == utf8.RuneError:
			return '_'
		case unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, s)
	if i := strings.LastIndexAny(s, `/\`); i >= 0 {
		s = s[i+1:]
	}
	edge := func(r rune) bool { return r == '.' || unicode.IsSpace(r) }
	s = strings.TrimFunc(s, edge)
	if len(s) > maxName {
		ext := path.Ext(s)
		if len(ext) > maxExt {
			ext = ""
		}
		s = strings.TrimRightFunc(cut(s, maxName-len(ext)), edge) + ext
	}
	return s
}

// cut cuts s to at most n octets, at a rune.
func cut(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
