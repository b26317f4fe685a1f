package text

import (
	"errors"
	"fmt"
)

// Information element identifiers of concatenation (3GPP TS 23.040 §9.2.3.24).
const (
	concat8  = 0x00 // reference of 8 bits, §9.2.3.24.1
	concat16 = 0x08 // reference of 16 bits, §9.2.3.24.8
)

// Others that matter to us.
const (
	ports8         = 0x04 // application ports, §9.2.3.24.3
	ports16        = 0x05 // §9.2.3.24.4
	nationalSingle = 0x24 // national language single shift table, §9.2.3.24.15
	nationalLocked = 0x25 // national language locking shift table, §9.2.3.24.16
)

// UDH is what a user data header says. The zero UDH is an empty header: the
// message is whole.
type UDH struct {
	Ref    uint16    // concatenation reference; 0-255 unless Wide
	Total  byte      // parts of the message; 0: not concatenated
	Seq    byte      // number of this part, 1 to Total
	Wide   bool      // the reference has 16 bits
	Others []Element // elements that are not concatenation, in order; they alias the body
}

// Concatenated reports whether the header says that this is one part of
// several, or the only one of one.
func (u UDH) Concatenated() bool { return u.Total > 0 }

// Element is one information element.
type Element struct {
	ID   byte
	Data []byte
}

// ConcatUDH makes the header, its length octet included, of part seq of total:
// 6 octets with an 8-bit reference, of which ref gives the low byte, or 7 with
// a 16-bit one. Seq runs from 1 to total; the caller answers for that.
func ConcatUDH(ref uint16, wide bool, total, seq byte) []byte {
	if wide {
		return []byte{6, concat16, 4, byte(ref >> 8), byte(ref), total, seq}
	}
	return []byte{5, concat8, 3, byte(ref), total, seq}
}

// ErrUDH is the error of ParseUDH.
var ErrUDH = errors.New("user data header is longer than the message")

// ParseUDH reads the header at the start of body, which the caller knows to be
// there by the UDHI bit of esm_class. n is the length of the header with its
// length octet: the text begins at body[n:].
//
// It is lenient as 3GPP TS 23.040 §9.2.3.24 wants it: a concatenation element
// that makes no sense (wrong length, total 0, seq 0, seq above total) is left
// out; of several the last sensible one counts; if the last element does not
// end where the header ends, the header says nothing but is skipped all the
// same. The error is ErrUDH alone, when the header does not fit into body.
func ParseUDH(body []byte) (u UDH, n int, err error) {
	if len(body) == 0 {
		return UDH{}, 0, fmt.Errorf("%w: empty body", ErrUDH)
	}
	n = 1 + int(body[0])
	if n > len(body) {
		return UDH{}, 0, fmt.Errorf("%w: header of %d octets, body of %d", ErrUDH, n, len(body))
	}
	for rest := body[1:n]; len(rest) > 0; {
		if len(rest) < 2 || len(rest) < 2+int(rest[1]) {
			return UDH{}, n, nil
		}
		id, data := rest[0], rest[2:2+int(rest[1])]
		rest = rest[2+len(data):]
		u.add(id, data)
	}
	return u, n, nil
}

func (u *UDH) add(id byte, data []byte) {
	var ref uint16
	switch {
	case id == concat8 && len(data) == 3:
		ref = uint16(data[0])
	case id == concat16 && len(data) == 4:
		ref = uint16(data[0])<<8 | uint16(data[1])
	case id == concat8, id == concat16:
		return
	default:
		u.Others = append(u.Others, Element{ID: id, Data: data})
		return
	}
	total, seq := data[len(data)-2], data[len(data)-1]
	if total == 0 || seq == 0 || seq > total {
		return
	}
	u.Ref, u.Total, u.Seq, u.Wide = ref, total, seq, id == concat16
}

// Elements writes the elements of u that are not concatenation as they stand in a
// header, without its length octet; nil when there are none. The functions below
// take elements in this form.
func (u UDH) Elements() []byte {
	var b []byte
	for _, e := range u.Others {
		b = append(append(b, e.ID, byte(len(e.Data))), e.Data...)
	}
	return b
}

// HeaderOf makes a header of elements, its length octet included: those of part seq
// of total, with an 8-bit reference, when total is above 1, and the elements given.
// Together they take 255 octets at most; the caller answers for that. Nil: nothing
// is to be said.
func HeaderOf(ref uint16, total, seq byte, elements []byte) []byte {
	var h []byte
	switch {
	case total > 1:
		h = ConcatUDH(ref, false, total, seq)
	case len(elements) == 0:
		return nil
	default:
		h = []byte{0}
	}
	h[0] += byte(len(elements))
	return append(h, elements...)
}

// OnlyPorts reports whether the elements are application ports and nothing else, or
// none: they say the same in every part of a message.
func OnlyPorts(elements []byte) bool {
	return all(elements, func(id byte) bool { return id == ports8 || id == ports16 })
}

// NeedsNational reports whether the elements name a national language table,
// without which septets cannot be read.
func NeedsNational(elements []byte) bool {
	return !all(elements, func(id byte) bool { return id != nationalSingle && id != nationalLocked })
}

// all reports whether every element satisfies ok; what is no element does not.
func all(elements []byte, ok func(id byte) bool) bool {
	for len(elements) > 0 {
		if len(elements) < 2 || len(elements) < 2+int(elements[1]) || !ok(elements[0]) {
			return false
		}
		elements = elements[2+int(elements[1]):]
	}
	return true
}
