package message

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// Types of number that say how to read the digits (SMPP 3.4 §5.2.5).
const (
	tonInternational = 1
	tonNational      = 2
)

// nanpDigits is the length of a national number in the North American numbering
// plan.
const nanpDigits = 10

// Dialable writes an address of an SMPP customer as ParseSender and
// ParseRecipient want it; they say whether it is one. Ton is its type of number,
// country the ISO 3166 code of the account's country.
//
// Digits of type international get their plus sign. National ones are read in
// the account's country. Of other types, up to eight digits are a short code;
// more are international, as peers mean it that never set a type, but for two
// forms that say otherwise: a leading 0, with which no country code begins, and
// ten digits that are a number of an account in the North American plan, where
// everybody writes them so.
func Dialable(ton byte, s, country string) string {
	t := strings.TrimSpace(s)
	d, ok := digitsOf(t)
	switch {
	case ton == tonInternational:
		return "+" + strings.TrimPrefix(t, "+")
	case !ok: // a plus sign says it, or it is a name
		return t
	case ton == tonNational:
		if n, ok := national(d, country); ok {
			return n
		}
		return d
	case len(d) <= maxShortCodeDigits:
		return d
	}
	if d[0] == '0' || len(d) == nanpDigits && phonenumbers.GetCountryCodeForRegion(country) == 1 {
		if n, ok := national(d, country); ok {
			return n
		}
	}
	return "+" + d
}

// national reads digits as they are dialled within the country.
func national(digits, country string) (string, bool) {
	n, err := phonenumbers.Parse(digits, country)
	if err != nil || !phonenumbers.IsValidNumber(n) {
		return "", false
	}
	return phonenumbers.Format(n, phonenumbers.E164), true
}

// digitsOf drops what people write between digits; false: there is more.
func digitsOf(s string) (string, bool) {
	d := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" ().-", r) {
			return -1
		}
		return r
	}, s)
	return d, allDigits(d)
}
