package text

import (
	"strings"
	"unicode/utf8"
)

// What data_coding 0, the vendor's default, can stand for: the values of
// snapshot.Vendor.DefaultAlphabet. Empty is GSM 7-bit.
const (
	AlphabetGSM7   = "gsm7"
	AlphabetLatin1 = "latin1"
	AlphabetASCII  = "ascii"
)

// Decode reads the text of an inbound message, its user data header already
// taken off, by data_coding (SMPP 3.4 §5.2.19, and 3GPP TS 23.038 §4 for the
// values with class or waiting bits that SMPP leaves to GSM).
//
// Ok is false for what is not text (8-bit data), for alphabets that are not
// read here (JIS, KS C 5601, pictograms) and for a default alphabet that is not
// known; the caller then keeps the octets. Decoding itself is lenient: an octet
// that the alphabet lacks is U+FFFD. NUL characters, with which some peers end
// their text, are left out: they show nothing, and Postgres stores no text that
// has one.
func Decode(dataCoding byte, defaultAlphabet string, body []byte) (s string, ok bool) {
	s, ok = decode(dataCoding, defaultAlphabet, body)
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	return s, ok
}

// DecodeStrict reads octets as Decode does, but is strict where that is lenient:
// a handset must not be sent a replacement character for what a customer meant, so
// octets that the alphabet lacks are not ok. One NUL that some peers put behind
// UCS-2 text is dropped.
func DecodeStrict(dataCoding byte, defaultAlphabet string, body []byte) (string, bool) {
	meant := 0 // replacement characters that the customer wrote
	if IsUCS2(dataCoding) {
		if n := len(body); n%2 == 1 && body[n-1] == 0 {
			body = body[:n-1]
		}
		for i := 0; i+1 < len(body); i += 2 {
			if rune(body[i])<<8|rune(body[i+1]) == utf8.RuneError {
				meant++
			}
		}
	}
	s, ok := Decode(dataCoding, defaultAlphabet, body)
	return s, ok && strings.Count(s, string(utf8.RuneError)) == meant
}

// IsBinary reports whether a data_coding stands for octets of no alphabet: 8-bit
// data (SMPP 3.4 §5.2.19), also with a message class (3GPP TS 23.038 §4).
func IsBinary(coding byte) bool { return coding == 2 || coding == 4 || coding&0xFC == 0xF4 }

// IsUCS2 reports whether a data_coding stands for UCS-2: 8, and 0x18 to 0x1B with a
// message class.
func IsUCS2(coding byte) bool { return coding == 8 || coding&0xFC == 0x18 }

// ClassOf gives the data_coding of a text that has a message class (3GPP TS 23.038
// §4), without the bit that is reserved there, else 0. Class 0 is shown at once and
// not kept (flash).
func ClassOf(coding byte) byte {
	switch group := coding & 0xFC; group {
	case 0x10, 0x18, 0xF0:
		return coding
	case 0xF8:
		return coding &^ 0x08
	}
	return 0
}

func decode(dataCoding byte, defaultAlphabet string, body []byte) (string, bool) {
	switch {
	case dataCoding == 0:
		return decodeDefault(defaultAlphabet, body)
	case dataCoding == 1:
		return decodeTable(body, ascii), true
	case dataCoding == 3:
		return decodeTable(body, latin1), true
	case dataCoding == 6:
		return decodeTable(body, cyrillic), true
	case dataCoding == 7:
		return decodeTable(body, hebrew), true
	case IsUCS2(dataCoding):
		return DecodeUCS2(body), true
	case dataCoding >= 0x10 && dataCoding <= 0x13:
		return DecodeGSM7(body), true // message class; 0x10: flash
	case dataCoding >= 0xC0 && dataCoding <= 0xDF:
		return DecodeGSM7(body), true // message waiting, discard or store
	case dataCoding >= 0xE0 && dataCoding <= 0xEF:
		return DecodeUCS2(body), true // message waiting, store, UCS-2
	case dataCoding >= 0xF0 && dataCoding&0x04 == 0:
		return DecodeGSM7(body), true // message class; bit 2 would say 8-bit data
	}
	return "", false
}

func decodeDefault(alphabet string, body []byte) (string, bool) {
	switch alphabet {
	case "", AlphabetGSM7:
		return DecodeGSM7(body), true
	case AlphabetLatin1:
		return decodeTable(body, latin1), true
	case AlphabetASCII:
		return decodeTable(body, ascii), true
	}
	return "", false
}

func decodeTable(body []byte, char func(byte) rune) string {
	var out strings.Builder
	out.Grow(len(body))
	for _, c := range body {
		if c < utf8.RuneSelf {
			out.WriteByte(c)
			continue
		}
		out.WriteRune(char(c))
	}
	return out.String()
}

// The upper halves of the single-octet alphabets: what an octet of 0x80 or more
// stands for.

func ascii(byte) rune { return utf8.RuneError }

func latin1(c byte) rune { return rune(c) }

// cyrillic is ISO/IEC 8859-5: the block U+0401-U+045F in order, but for four
// places.
func cyrillic(c byte) rune {
	switch {
	case c < 0xA0:
		return utf8.RuneError
	case c == 0xA0, c == 0xAD:
		return rune(c)
	case c == 0xF0:
		return '№'
	case c == 0xFD:
		return '§'
	}
	return rune(c) - 0xA0 + 0x0400
}

// hebrew is ISO/IEC 8859-8: Latin-1's signs, the alphabet from E0, two
// direction marks.
func hebrew(c byte) rune {
	switch {
	case c == 0xAA:
		return '×'
	case c == 0xBA:
		return '÷'
	case c < 0xA0, c == 0xA1:
		return utf8.RuneError
	case c <= 0xBE:
		return rune(c)
	case c == 0xDF:
		return '\u2017' // double low line
	case c >= 0xE0 && c <= 0xFA:
		return rune(c) - 0xE0 + 'א'
	case c == 0xFD:
		return '\u200E'
	case c == 0xFE:
		return '\u200F'
	}
	return utf8.RuneError
}
