package postgres

import (
	"strings"
	"unicode/utf8"
)

// storable makes what a vendor or a customer's server wrote fit for a text
// column: valid UTF-8 without NUL. A receipt or an answer that could not be
// stored for an odd octet would come again for ever.
func storable(s string) string {
	if strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, string(utf8.RuneError)), "\x00", string(utf8.RuneError))
}

// storableAll is storable of each; nil for none.
func storableAll[T ~string](list []T) []string {
	var out []string
	for _, s := range list {
		out = append(out, storable(string(s)))
	}
	return out
}

// withoutNUL does the same for JSON as encoding/json writes it, in which the
// only thing that jsonb refuses is the escape of NUL.
func withoutNUL(doc string) string {
	const nul = `\u0000`
	if !strings.Contains(doc, nul) {
		return doc
	}
	var b strings.Builder
	for i := 0; i < len(doc); i++ {
		switch {
		case doc[i] != '\\':
			b.WriteByte(doc[i])
		case strings.HasPrefix(doc[i:], nul):
			b.WriteString(`\ufffd`)
			i += len(nul) - 1
		default: // another escape: its second character is no beginning of one
			b.WriteString(doc[i : i+2])
			i++
		}
	}
	return b.String()
}
