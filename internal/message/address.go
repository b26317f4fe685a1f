package message

import (
	"log/slog"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// Address is a sender or recipient in its canonical form: E.164 with a plus
// sign, a short code of 3 to 8 digits, or an alphanumeric sender of 1 to 11
// characters with a letter in it. The zero Address means "none". Make one with
// ParseRecipient or ParseSender; it prints masked in logs.
type Address string

// AddressKind is the form of an address.
type AddressKind int

// The kinds of address.
const (
	NoAddress AddressKind = iota
	E164
	ShortCode
	Alphanumeric
)

// Lengths of addresses: E.164 allows 15 digits (ITU-T E.164 §6); short codes
// run from 3 to 8 digits over the countries we know; TS 23.040 §9.1.2.5 gives
// alphanumeric addresses 11 septets.
const (
	maxE164Digits      = 15
	minE164Digits      = 7
	minShortCodeDigits = 3
	maxShortCodeDigits = 8
	maxAlphanumeric    = 11
)

// Kind tells the form by looking at the canonical text.
func (a Address) Kind() AddressKind {
	switch {
	case a == "":
		return NoAddress
	case a[0] == '+':
		return E164
	case allDigits(string(a)):
		return ShortCode
	default:
		return Alphanumeric
	}
}

// Digits is the address without its plus sign: the form that SMPP and routing
// patterns use.
func (a Address) Digits() string { return strings.TrimPrefix(string(a), "+") }

// Masked keeps the country code's beginning and the last two digits: enough
// to tell two numbers apart in a log, not enough to call one.
func (a Address) Masked() string {
	s := string(a)
	switch {
	case len(s) <= 4, a.Kind() == Alphanumeric:
		return s
	case len(s) <= 8:
		return s[:1] + strings.Repeat("*", len(s)-3) + s[len(s)-2:]
	default:
		return s[:5] + strings.Repeat("*", len(s)-7) + s[len(s)-2:]
	}
}

// LogValue masks the address wherever slog prints it.
func (a Address) LogValue() slog.Value { return slog.StringValue(a.Masked()) }

// ParseRecipient reads what a sender wrote as recipient: spaces, brackets, dots
// and dashes are dropped, then it must be E.164 with a plus sign, or a short
// code. The error carries ReasonInvalidDestination.
func ParseRecipient(s string) (Address, error) {
	a, ok := parseDialable(s)
	if !ok {
		return "", Refuse(ReasonInvalidDestination,
			"to must be an E.164 number with a leading + and country code, such as +13105550117, or a short code of 3 to 8 digits")
	}
	return a, nil
}

// ParseSender reads what a customer wrote as sender: as ParseRecipient, or an
// alphanumeric sender. The error carries ReasonInvalidRequest.
func ParseSender(s string) (Address, error) {
	if a, ok := parseDialable(s); ok {
		return a, nil
	}
	if t := strings.TrimSpace(s); isAlphanumericSender(t) {
		return Address(t), nil
	}
	return "", Refuse(ReasonInvalidRequest,
		"from must be an E.164 number with a leading +, a short code of 3 to 8 digits, or an alphanumeric sender of at most 11 letters, digits and spaces")
}

// ParseWire reads an address as an SMPP peer writes it: digits with or without
// a plus sign. Eight digits or fewer without one are a short code, more are
// taken as international.
func ParseWire(s string) (Address, error) {
	t := strings.TrimSpace(s)
	if allDigits(t) && len(t) > maxShortCodeDigits {
		t = "+" + t
	}
	return ParseSender(t)
}

func parseDialable(s string) (Address, bool) {
	if len(s) > 64 {
		return "", false
	}
	var b strings.Builder
	for _, r := range strings.TrimSpace(s) {
		switch {
		case r >= '0' && r <= '9', r == '+':
			b.WriteRune(r)
		case r == ' ', r == '(', r == ')', r == '.', r == '-', r == '\u00a0':
		default:
			return "", false
		}
	}
	t := b.String()
	digits, plus := strings.CutPrefix(t, "+")
	if !allDigits(digits) {
		return "", false
	}
	if !plus {
		ok := len(digits) >= minShortCodeDigits && len(digits) <= maxShortCodeDigits
		return Address(digits), ok
	}
	if len(digits) < minE164Digits || len(digits) > maxE164Digits || digits[0] == '0' {
		return "", false
	}
	if digits[0] == '1' {
		return Address(t), possibleNANP(digits)
	}
	return canonicalE164(t)
}

// canonicalE164 gives the one form of an international number: some people
// write the trunk prefix, as in +44 (0)20…, and an opt-out recorded under one
// form has to stop messages to the other. A number whose form does not settle
// at once is refused.
func canonicalE164(t string) (Address, bool) {
	for range 2 {
		num, err := phonenumbers.Parse(t, "")
		if err != nil || !phonenumbers.IsPossibleNumber(num) {
			return "", false
		}
		f := phonenumbers.Format(num, phonenumbers.E164)
		if len(f)-1 < minE164Digits {
			return "", false
		}
		if f == t {
			return Address(t), true
		}
		t = f
	}
	return "", false
}

// possibleNANP checks +1 numbers by the numbering plan: ten digits, of which
// area code and exchange begin with 2 to 9, and an area code that does not end
// in 11.
func possibleNANP(digits string) bool {
	return len(digits) == 11 && digits[1] >= '2' && digits[4] >= '2' && !(digits[2] == '1' && digits[3] == '1')
}

func isAlphanumericSender(s string) bool {
	if s == "" || len(s) > maxAlphanumeric {
		return false
	}
	letter := false
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
			letter = true
		case r >= '0' && r <= '9', r == ' ', r == '-', r == '_', r == '.', r == '&':
		default:
			return false
		}
	}
	return letter
}

func allDigits(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// tollFree lists the NANP area codes that are toll-free, with those reserved
// for it (822, 880-887, 889).
var tollFree = map[string]bool{
	"800": true, "822": true, "833": true, "844": true, "855": true, "866": true, "877": true, "888": true,
	"880": true, "881": true, "882": true, "883": true, "884": true, "885": true, "886": true, "887": true, "889": true,
}

// Country is the ISO 3166 code of a country in which numbers are dialled as this one
// is; empty for what is no E.164 number, or of no country. For all of North America it
// is US.
func (a Address) Country() string {
	if a.Kind() != E164 {
		return ""
	}
	if a.nanp() {
		return "US"
	}
	n, err := phonenumbers.Parse(string(a), "")
	if err != nil {
		return ""
	}
	if c := phonenumbers.GetRegionCodeForCountryCode(int(n.GetCountryCode())); len(c) == 2 && c != "ZZ" {
		return c
	}
	return "" // 001: of no country
}

// TollFree reports whether a is a NANP toll-free number.
func (a Address) TollFree() bool {
	return a.nanp() && tollFree[string(a[2:5])]
}

// Premium reports whether a is a NANP premium number (900, 976 exchange).
func (a Address) Premium() bool {
	return a.nanp() && (a[2:5] == "900" || a[5:8] == "976")
}

// USLongCode reports whether a is a ten digit US number, the kind that 10DLC
// registration binds. Numbers of Canada and the Caribbean share +1 and are
// left out.
func (a Address) USLongCode() bool {
	return a.nanp() && !a.TollFree() && !a.Premium() && !nonUSAreaCode[string(a[2:5])]
}

// Abroad reports whether a is a number outside of the United States, by its
// country or area code: one that has moved is where its code says. A short code is
// not.
func (a Address) Abroad() bool {
	return a.Kind() == E164 && (!a.nanp() || nonUSAreaCode[string(a[2:5])])
}

func (a Address) nanp() bool { return len(a) == 12 && a[0] == '+' && a[1] == '1' }
