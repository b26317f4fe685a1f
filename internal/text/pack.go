package text

// cr pads packed text: a carriage return moves a handset's cursor and shows
// nothing (3GPP TS 23.038 §6.1.2.3.1).
const cr = 0x0D

// FillBits is how many bits lie between a user data header of n octets (its
// length octet included) and the first septet, so that septets begin at a
// septet boundary counted from the header's start (3GPP TS 23.040 §9.2.3.24):
// 1 after 6 octets, 0 after 7 or without a header.
func FillBits(n int) int { return (7 - n*8%7) % 7 }

// Pack writes septets as packed 7-bit data, eight to seven octets, low bits
// first (3GPP TS 23.038 §6.1.2.1.1), after fill bits of 0. Fill runs from 0 to
// 6; bit 7 of each septet is dropped.
//
// Where the last octet would have seven bits to spare they hold a carriage
// return, because a peer that knows only the number of octets would read seven
// zero bits as an @.
func Pack(septets []byte, fill int) []byte {
	bits := fill + 7*len(septets)
	out := make([]byte, (bits+7)/8)
	at := fill
	put := func(v byte) {
		v &= 0x7F
		out[at/8] |= v << (at % 8)
		if at%8 > 1 {
			out[at/8+1] |= v >> (8 - at%8)
		}
		at += 7
	}
	for _, s := range septets {
		put(s)
	}
	if len(out)*8-bits == 7 {
		put(cr)
	}
	return out
}

// Unpack reads packed 7-bit data that starts after fill bits (0 to 6): n
// septets, or fewer if the data ends before. With n below 0 the number is not
// known, as in SMPP, where sm_length counts octets: then all that fit are read,
// and a last one that ends on the octet boundary is dropped if it is a carriage
// return or zero, for it is the padding of a text one septet shorter. A text
// that really ends there with @ cannot be told from it.
func Unpack(packed []byte, fill, n int) []byte {
	have := (len(packed)*8 - fill) / 7
	if have < 0 {
		have = 0
	}
	known := n >= 0
	if known && n < have {
		have = n
	}
	out := make([]byte, have)
	for i := range out {
		at := fill + 7*i
		v := uint16(packed[at/8])
		if at/8+1 < len(packed) {
			v |= uint16(packed[at/8+1]) << 8
		}
		out[i] = byte(v>>(at%8)) & 0x7F
	}
	if !known && have > 0 && (fill+7*have)%8 == 0 && (out[have-1] == cr || out[have-1] == 0) {
		out = out[:have-1]
	}
	return out
}
