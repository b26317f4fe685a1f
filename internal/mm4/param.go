package mm4

import (
	"io"
	"strconv"
	"strings"
)

// maxParams bounds the parameters of one header; more are not looked at.
const maxParams = 40

// parseParams reads a value with parameters (RFC 2045 §5.1, RFC 2231), in lower case
// but for the parameters' values. It takes what mime.ParseMediaType does not: values
// with slashes, equals signs and blanks that are not quoted, parameters twice, and
// names in any charset. The first of two counts.
func parseParams(s string) (value string, params map[string]string) {
	pieces := splitParams(s)
	value, _, _ = strings.Cut(pieces[0], "(") // a comment
	value = strings.ToLower(strings.TrimSpace(value))
	raw := make(map[string]string)
	for _, p := range pieces[1:] {
		k, v, ok := strings.Cut(p, "=")
		k = strings.ToLower(strings.TrimSpace(k))
		if !ok || k == "" || len(raw) >= maxParams {
			continue
		}
		if _, seen := raw[k]; !seen {
			raw[k] = unquote(strings.TrimSpace(v))
		}
	}
	params = make(map[string]string, len(raw))
	for k := range raw {
		base, _, extended := strings.Cut(k, "*")
		if v, ok := joinParam(raw, base); ok && extended {
			params[base] = v
		} else if _, set := params[k]; !set && !extended {
			params[k] = raw[k]
		}
	}
	return value, params
}

// splitParams cuts at semicolons outside of quotes. There is always a first piece.
func splitParams(s string) []string {
	var out []string
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ';' && !quoted:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

// unquote takes the quotes off; a quote that is never closed runs to the end.
func unquote(s string) string {
	if !strings.HasPrefix(s, `"`) {
		return s
	}
	s = s[1:]
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		case s[i] == '"':
			return unescape(s[:i])
		}
	}
	return unescape(s)
}

// joinParam puts together a parameter that was written in the manner of RFC 2231:
// name*=charset'language'%41, or in pieces name*0, name*1*, and so on.
func joinParam(raw map[string]string, base string) (string, bool) {
	if v, ok := raw[base+"*"]; ok {
		label, text := cutCharset(v)
		return convert(label, percentDecode(text)), true
	}
	var label string
	var b strings.Builder
	n := 0
	for ; n < maxParams; n++ {
		key := base + "*" + strconv.Itoa(n)
		if v, ok := raw[key]; ok {
			b.WriteString(v)
			continue
		}
		v, ok := raw[key+"*"]
		if !ok {
			break
		}
		if n == 0 {
			label, v = cutCharset(v)
		}
		b.WriteString(percentDecode(v))
	}
	return convert(label, b.String()), n > 0
}

// cutCharset cuts charset and language off an extended value.
func cutCharset(v string) (label, text string) {
	label, rest, ok := strings.Cut(v, "'")
	if !ok {
		return "", v
	}
	if _, text, ok = strings.Cut(rest, "'"); !ok {
		return "", v
	}
	return label, text
}

// percentDecode leaves a percent sign alone that no two hex digits follow.
func percentDecode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if h, l := unhex(s[i+1]), unhex(s[i+2]); h >= 0 && l >= 0 {
				b.WriteByte(byte(h<<4 | l))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unhex is the value of a hex digit, or -1.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// convert gives s in UTF-8.
func convert(label, s string) string {
	r, _ := toUTF8(label, strings.NewReader(s))
	b, err := io.ReadAll(r)
	if err != nil {
		return s
	}
	return string(b)
}

// maxParamLine is how much of a parameter stands on one line.
const maxParamLine = 60

// formatParam writes a parameter: quoted, or by RFC 2231 in UTF-8 when it is more
// than a line of ASCII, or has blanks beside each other, which readers join where the
// header is folded.
func formatParam(name, value string) string {
	plainASCII := !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
	if plainASCII && !strings.Contains(value, "  ") && len(value) <= 4*maxParamLine {
		return "; " + name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
	}
	encoded := percentEncode(value)
	if len(encoded) <= maxParamLine {
		return "; " + name + "*=utf-8''" + encoded
	}
	var b strings.Builder
	for n := 0; encoded != ""; n++ {
		end := min(len(encoded), maxParamLine)
		for end < len(encoded) && (encoded[end-1] == '%' || encoded[end-2] == '%') {
			end--
		}
		b.WriteString("; " + name + "*" + strconv.Itoa(n) + "*=")
		if n == 0 {
			b.WriteString("utf-8''")
		}
		b.WriteString(encoded[:end])
		encoded = encoded[end:]
	}
	return b.String()
}

// percentEncode leaves letters, digits and the three marks that mean nothing to any
// reader.
func percentEncode(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; strings.IndexByte(idOctets, c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
