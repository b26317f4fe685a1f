package mm4

import (
	"errors"
	"log/slog"
	"net/mail"
	"net/netip"
	"strings"

	"github.com/postrider/postrider/internal/message"
)

// AddressType is what stands behind /TYPE= in an address (TS 23.140 §8.4.5.1), or why
// nothing does.
type AddressType string

// The types. A short code is written as PLMN.
const (
	PLMN      AddressType = "PLMN" // a number of the telephone network
	ShortCode AddressType = "short code"
	IPv4      AddressType = "IPv4"
	IPv6      AddressType = "IPv6"
	Email     AddressType = "e-mail"
)

// Address is one address of a header: of a user, such as
// +15551230002/TYPE=PLMN@mms.peer.example, or of a system. The zero Address means
// "none". It prints masked in logs.
type Address struct {
	Name   string // display name, decoded; empty: none
	Local  string // the number, with its + if it has one; the IP address; or an e-mail's local part
	Type   AddressType
	Domain string // empty: none was written
}

// Lengths of numbers: 15 digits (ITU-T E.164 §6); what has 3 to 8 without a plus sign
// is a short code, as everywhere in the gateway. RFC 5321 §4.5.3.1 gives domains 255
// octets; 320 are the longest local part and domain.
const (
	maxDigits       = 15
	minDigits       = 3
	shortCodeDigits = 8
	maxDomain       = 255
	maxAddrSpec     = 320
)

// errAddress tells what an address is to look like; it shows nothing of one.
var errAddress = errors.New("mm4: an address is +E164/TYPE=PLMN@domain, the number alone, or an e-mail address")

// IsZero reports whether a is no address.
func (a Address) IsZero() bool { return a == Address{} }

// Number is the telephone number or short code as it was written, without what makes
// it readable: a national number stays national, because only the caller knows the
// country. Empty for what is no number.
func (a Address) Number() string {
	if a.Type == PLMN || a.Type == ShortCode {
		return a.Local
	}
	return ""
}

// String is the address without display name and brackets.
func (a Address) String() string {
	local := a.Local
	switch a.Type {
	case PLMN, ShortCode:
		local += "/TYPE=PLMN"
	case IPv4, IPv6:
		local += "/TYPE=" + string(a.Type)
	case Email:
		m := mail.Address{Address: a.Local + "@" + a.Domain}
		return strings.TrimSuffix(strings.TrimPrefix(m.String(), "<"), ">")
	}
	if a.Domain == "" {
		return local
	}
	return local + "@" + a.Domain
}

// LogValue masks the address wherever slog prints it.
func (a Address) LogValue() slog.Value {
	return slog.StringValue(message.Address(a.Local).Masked())
}

// ParseAddress reads one address in any form that peers write: with or without
// brackets, display name, domain, /TYPE= and plus sign. What consists of digits
// is a number, with a domain and without. The error says what an address looks like,
// and nothing of the one that was read.
func ParseAddress(s string) (Address, error) {
	name, spec := splitName(strings.TrimSpace(s))
	if len(spec) > maxLine || strings.ContainsFunc(s, isControl) {
		return Address{}, errAddress
	}
	a, typed, ok := parseSpec(spec)
	if !ok && !typed {
		a, ok = parseEmail(spec)
	}
	if !ok {
		return Address{}, errAddress
	}
	a.Name = name
	return a, nil
}

// parseEmail reads what is no number.
func parseEmail(s string) (Address, bool) {
	literal := ""
	if at := strings.LastIndex(s, "@[IPv6:"); at >= 0 { // which net/mail refuses
		literal, s = s[at+1:], s[:at]+"@literal.invalid"
		if ip, err := netip.ParseAddr(strings.TrimSuffix(literal[len("[IPv6:"):], "]")); err != nil || !ip.Is6() || literal[len(literal)-1] != ']' {
			return Address{}, false
		}
	}
	m, err := mail.ParseAddress(s)
	if err != nil || len(m.Address) > maxAddrSpec {
		return Address{}, false
	}
	at := strings.LastIndexByte(m.Address, '@')
	a := Address{Local: m.Address[:at], Type: Email, Domain: m.Address[at+1:]}
	if literal != "" {
		a.Domain = literal
	}
	return a, validDomain(a.Domain) && !strings.ContainsFunc(a.Local, isControl)
}

// splitName cuts the display name off what stands in brackets.
func splitName(s string) (name, spec string) {
	open := -1
	quoted := false
	for i := 0; i < len(s) && open < 0; i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '<' && !quoted:
			open = i
		}
	}
	if open < 0 {
		return "", strings.TrimSuffix(s, ">")
	}
	spec = s[open+1:]
	if end := strings.LastIndexByte(spec, '>'); end >= 0 {
		spec = spec[:end]
	}
	name = strings.TrimSpace(s[:open])
	if n := len(name); n >= 2 && name[0] == '"' && name[n-1] == '"' {
		name = unescape(name[1 : n-1])
	}
	return decodeText(name), strings.TrimSpace(spec)
}

// parseSpec reads the forms of MM4 by hand: net/mail refuses an address without a
// domain, and takes what follows a slash for part of the name. Typed: it has a
// /TYPE=, so it is nothing else.
func parseSpec(s string) (a Address, typed, ok bool) {
	local, domain := s, ""
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		local, domain = strings.TrimSpace(s[:at]), s[at+1:]
		// A name may stand behind the address, as a comment (RFC 5322 §3.4).
		if before, comment, ok := strings.Cut(domain, "("); ok && strings.HasSuffix(comment, ")") {
			domain = before
		}
		if domain = strings.TrimSpace(domain); !validDomain(domain) {
			return Address{}, false, false
		}
	}
	if n := len(local); n >= 2 && local[0] == '"' && local[n-1] == '"' {
		local = local[1 : n-1]
	}
	value, kind := cutType(local)
	a.Domain = domain
	switch kind {
	case "", "PLMN", "SC", "SHORTCODE":
		a.Local, a.Type, ok = parseNumber(value)
		return a, kind != "", ok
	case "IPV4", "IPV6":
		ip, err := netip.ParseAddr(strings.TrimSpace(value))
		a.Type = IPv6
		if ip.Is4() {
			a.Type = IPv4
		}
		a.Local = ip.String()
		return a, true, err == nil && strings.EqualFold(kind, string(a.Type)) && ip.Zone() == ""
	}
	return Address{}, true, false
}

// cutType cuts a local part at /TYPE=. The type is in upper case, without what
// follows it behind another slash; empty: there is none.
func cutType(local string) (value, kind string) {
	const mark = "/TYPE="
	for i := 0; i+len(mark) <= len(local); i++ {
		if strings.EqualFold(local[i:i+len(mark)], mark) {
			kind, _, _ = strings.Cut(local[i+len(mark):], "/")
			return local[:i], strings.ToUpper(strings.TrimSpace(kind))
		}
	}
	return local, ""
}

// parseNumber reads a number with what makes it readable between its digits.
func parseNumber(s string) (number string, kind AddressType, ok bool) {
	var b strings.Builder
	for i, r := range strings.TrimSpace(s) {
		switch {
		case r >= '0' && r <= '9', r == '+' && i == 0:
			b.WriteRune(r)
		case r == ' ', r == '(', r == ')', r == '.', r == '-':
		default:
			return "", "", false
		}
	}
	number = b.String()
	digits := len(strings.TrimPrefix(number, "+"))
	if digits < minDigits || digits > maxDigits {
		return "", "", false
	}
	if digits == len(number) && digits <= shortCodeDigits {
		return number, ShortCode, true
	}
	return number, PLMN, true
}

// validDomain takes names and address literals.
func validDomain(s string) bool {
	return s != "" && len(s) <= maxDomain && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-._[]:", r)
	})
}

// ParseAddresses reads a list, separated by commas or semicolons. A group, such as
// "undisclosed-recipients:;", is the addresses in it.
func ParseAddresses(s string) ([]Address, error) {
	var out []Address
	for _, piece := range splitList(s) {
		a, err := ParseAddress(piece)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// splitList cuts a list of addresses outside of quotes and brackets.
func splitList(s string) []string {
	var out []string
	quoted, bracket, start := false, false, 0
	add := func(end int) {
		if p := strings.TrimSpace(cutGroup(s[start:end])); p != "" {
			out = append(out, p)
		}
		start = end + 1
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			bracket = true
		case c == '>':
			bracket = false
		case (c == ',' || c == ';') && !bracket:
			add(i)
		}
	}
	add(len(s))
	return out
}

// cutGroup cuts the name of a group, or a scheme such as tel:, off an address.
func cutGroup(s string) string {
	name, rest, ok := strings.Cut(s, ":")
	isName := func(r rune) bool {
		return r == ' ' || r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if !ok || strings.TrimFunc(name, isName) != "" || isHex(name) {
		return s
	}
	return rest
}

// isHex reports whether s may be the first group of an IPv6 address.
func isHex(s string) bool {
	return strings.Trim(strings.TrimSpace(s), "0123456789abcdefABCDEF") == ""
}

// header is the address as it stands in a header, in brackets.
func (a Address) header() string {
	if a.Name == "" {
		return "<" + a.String() + ">"
	}
	return encodePhrase(cleanText(a.Name)) + " <" + a.String() + ">"
}

// valid reports whether ParseAddress would read back what header writes.
func (a Address) valid() bool {
	b, err := ParseAddress("<" + a.String() + ">")
	b.Name = a.Name
	return err == nil && a == b && !strings.ContainsFunc(a.String(), func(r rune) bool { return r > '~' })
}
