package text

import "github.com/postrider/postrider/internal/message"

// What a short message holds of octets that are no text (3GPP TS 23.040
// §9.2.3.24.1).
const (
	SingleOctets   = 140 // without a header
	PartOctets     = 134 // a part with an 8-bit reference
	WidePartOctets = 133 // a part with a 16-bit reference
)

// headerOctets is what a user data header takes of a short message that has so
// many octets of elements in it, its length octet included.
func headerOctets(elements int) int {
	if elements == 0 {
		return 0
	}
	return 1 + elements
}

// SingleRoom is what one short message holds beside elements of a user data
// header, given in octets: septets for gsm7, UTF-16 units for ucs2, octets for
// binary. It is below 1 when there is no room.
func SingleRoom(enc message.Encoding, elements int) int {
	left := SingleOctets - headerOctets(elements)
	switch enc {
	case message.EncodingUCS2:
		return left / 2
	case message.EncodingBinary:
		return left
	}
	return left * 8 / 7
}

// PlanBeside is Plan for a text that goes out in one part, behind elements of a
// user data header. Nothing is replaced: what such a text is for its author knows.
// The error is also message.ReasonMessageTooLong when one part does not hold it.
func PlanBeside(s string, want message.Encoding, header []byte) (Layout, error) {
	l, err := Plan(s, want, false)
	if err != nil {
		return Layout{}, err
	}
	if room := SingleRoom(l.Encoding, len(header)); l.Units > room {
		return Layout{}, message.Refuse(message.ReasonMessageTooLong, "beside its user data header one part holds %d septets or UTF-16 units, the text has %d", max(0, room), l.Units)
	}
	return l, nil
}

// SplitOctets cuts the octets of a binary message into the parts that go out: one
// if it holds them beside the elements of the user data header, else parts that
// leave room for concatenation with an 8-bit or, when wide, a 16-bit reference as
// well. Every part carries the elements.
//
// Octets that a data_coding of septets counts are a text that is not ours to read,
// because a national language table is needed: where it may be cut we do not know.
// Neither do we know it of elements that are more than ports. The error is
// message.ReasonMessageTooLong when such a message needs several parts, or when
// there are more than 255.
func SplitOctets(octets string, coding byte, header []byte, wide bool) ([]string, error) {
	enc := message.EncodingBinary
	if !countsOctets(coding) {
		enc = message.EncodingGSM7
	}
	single := SingleRoom(enc, len(header))
	if len(octets) <= single {
		return []string{octets}, nil
	}
	if enc != message.EncodingBinary || !OnlyPorts(header) {
		return nil, message.Refuse(message.ReasonMessageTooLong, "with this user data header the message must fit into one part, which holds %d of its %d octets", max(0, single), len(octets))
	}
	part := PartOctets - len(header)
	if wide {
		part = WidePartOctets - len(header)
	}
	if part < 1 || len(octets) > MaxParts*part {
		return nil, message.Refuse(message.ReasonMessageTooLong, "the octets need more than %d parts", MaxParts)
	}
	parts := make([]string, 0, (len(octets)+part-1)/part)
	for len(octets) > part {
		parts, octets = append(parts, octets[:part]), octets[part:]
	}
	return append(parts, octets), nil
}

// countsOctets reports whether a short message of the data_coding holds 140 octets
// of its short_message, and not 160 septets.
func countsOctets(coding byte) bool { return IsBinary(coding) || IsUCS2(coding) }
