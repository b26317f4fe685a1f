package text

import (
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
)

// What a short message of 140 octets holds (3GPP TS 23.040 §9.2.3.24.1). The
// header that joins parts takes 6 octets with an 8-bit reference and 7 with a
// 16-bit one; septets go on at the next septet boundary, so 6 octets cost 7
// septets and 7 octets cost 8.
const (
	SingleSeptets   = 160 // a text in one part, without a header
	PartSeptets     = 153 // a part with an 8-bit reference
	WidePartSeptets = 152 // a part with a 16-bit reference

	SingleUnits   = 70 // the same in UTF-16 units
	PartUnits     = 67
	WidePartUnits = 66
)

// MaxParts is how many parts a message may have: the header counts them in one
// octet (3GPP TS 23.040 §9.2.3.24.1).
const MaxParts = 255

// Layout is how a text goes out.
type Layout struct {
	Encoding message.Encoding // gsm7 or ucs2, never auto
	Text     string           // what is sent: the text given, after substitution of look-alikes if there was one
	Parts    []string         // the text of each part, at least one; joined they are Text
	Units    int              // length of Text in septets (escapes counted) or UTF-16 units
}

// Plan chooses the alphabet of s and cuts it into parts that leave room for a
// header with an 8-bit reference.
//
// With want auto (or empty) a text goes as GSM 7-bit if it can and as UCS-2 if
// it must. With smart set, a text that misses GSM 7-bit only by typographic
// look-alikes (curly quotes, long dashes, no-break spaces …) goes with those
// replaced; a text that would need UCS-2 all the same is left as it is. An
// explicit ucs2 is obeyed and replaces nothing. The empty text is one empty
// part, and octets that are not valid UTF-8 become U+FFFD.
//
// The error is an *EncodingError if want is gsm7 and s has other characters
// which smart does not cure; a *message.Error with ReasonMessageTooLong if
// there are more than 255 parts, or with ReasonInvalidRequest if want is no
// encoding. Safe for concurrent use.
func Plan(s string, want message.Encoding, smart bool) (Layout, error) {
	switch want {
	case message.EncodingAuto, message.EncodingGSM7, message.EncodingUCS2, "":
	default:
		return Layout{}, message.Refuse(message.ReasonInvalidRequest, "encoding must be auto, gsm7 or ucs2")
	}
	if want != message.EncodingUCS2 {
		if n, ok := septets(s); ok {
			return layOut(s, message.EncodingGSM7, n)
		}
	}
	// GSM text is valid UTF-8 by its alphabet; only what is left needs the look.
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, string(utf8.RuneError))
	}
	if want != message.EncodingUCS2 && smart {
		if cured, n, ok := replaceLookAlikes(s); ok {
			return layOut(cured, message.EncodingGSM7, n)
		}
	}
	if want == message.EncodingGSM7 {
		return Layout{}, encodingError(s)
	}
	return layOut(s, message.EncodingUCS2, units(s))
}

func layOut(s string, enc message.Encoding, n int) (Layout, error) {
	parts, err := split(s, enc, n, false)
	if err != nil {
		return Layout{}, err
	}
	return Layout{Encoding: enc, Text: s, Parts: parts, Units: n}, nil
}

// Split cuts s into the parts that go out in the given encoding, gsm7 or ucs2:
// one part if it fits without a header, else parts that leave room for one with
// an 8-bit or, when wide, a 16-bit reference. No part ends inside an escape
// pair or a surrogate pair, so a part may be one unit short of full. Errors are
// those of Plan.
func Split(s string, enc message.Encoding, wide bool) ([]string, error) {
	if enc == message.EncodingGSM7 {
		n, ok := septets(s)
		if !ok {
			return nil, encodingError(s)
		}
		return split(s, enc, n, wide)
	}
	if enc != message.EncodingUCS2 {
		return nil, message.Refuse(message.ReasonInvalidRequest, "encoding must be gsm7 or ucs2")
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, string(utf8.RuneError))
	}
	return split(s, enc, units(s), wide)
}

// split cuts s, which takes n units in enc.
func split(s string, enc message.Encoding, n int, wide bool) ([]string, error) {
	single, part := limits(enc, wide)
	if n <= single {
		return []string{s}, nil
	}
	if n > MaxParts*part {
		return nil, tooManyParts()
	}
	// A pair that does not fit wastes a unit of its part, so there may be more
	// parts than the division says; append takes care of it.
	parts := make([]string, 0, (n+part-1)/part)
	start, used := 0, 0
	for i, r := range s {
		w := width(r, enc)
		if used+w > part {
			parts = append(parts, s[start:i])
			start, used = i, 0
		}
		used += w
	}
	parts = append(parts, s[start:])
	if len(parts) > MaxParts {
		return nil, tooManyParts()
	}
	return parts, nil
}

func limits(enc message.Encoding, wide bool) (single, part int) {
	switch {
	case enc == message.EncodingGSM7 && wide:
		return SingleSeptets, WidePartSeptets
	case enc == message.EncodingGSM7:
		return SingleSeptets, PartSeptets
	case wide:
		return SingleUnits, WidePartUnits
	default:
		return SingleUnits, PartUnits
	}
}

// width is what r takes in enc: septets or UTF-16 units.
func width(r rune, enc message.Encoding) int {
	if enc == message.EncodingGSM7 {
		return cellOf(r).septets()
	}
	if r >= surrogateFrom {
		return 2
	}
	return 1
}

func tooManyParts() error {
	return message.Refuse(message.ReasonMessageTooLong, "the text needs more than %d parts", MaxParts)
}
