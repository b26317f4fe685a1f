package smpp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// DecodeError tells why a PDU could not be read and what to answer. The header
// is known whenever 16 octets were there, so the sequence number survives.
type DecodeError struct {
	Header Header
	Status Status // command_status to answer with
	Field  string // the field that is wrong
	// OutOfStep means that the length itself cannot be trusted: answer with a
	// generic_nack and close. Otherwise the next PDU begins where it should.
	OutOfStep bool
}

// Error names field and status, never a value.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("smpp: decode command 0x%08X: %s: %s", uint32(e.Header.ID), e.Field, e.Status)
}

// FieldError tells which field of our own PDU cannot be written.
type FieldError struct {
	Field  string
	Reason string
}

// Error names field and rule, never a value.
func (e *FieldError) Error() string { return "smpp: field " + e.Field + ": " + e.Reason }

// Sizes of C-string fields with their NUL, SMPP 3.4 §4 and §5.2.
const (
	sizeSystemID     = 16
	sizePassword     = 65 // the specification says 9; Infobip and others give longer ones
	sizeSystemType   = 13
	sizeAddressRange = 41
	sizeServiceType  = 6
	sizeAddress      = 21
	sizeDataAddress  = 65
	sizeTime         = 17
	sizeMessageID    = 65
	sizeListName     = 21
	// MaxShortMessage is the largest sm_length (SMPP 3.4 §5.2.21).
	MaxShortMessage = 254
	// prefixSize is enough for the C-strings at the beginning of any request:
	// data_sm has the longest, 6 + 2·(2+65). They share one string conversion.
	prefixSize = 160
)

// reader walks over one body. The first failure sticks: later reads give zero
// values. Octet fields alias the frame.
type reader struct {
	b       []byte
	off     int
	prefix  string // copy of the body's beginning, which C-strings are cut from
	lenient bool   // a response: missing ends and odd optional parameters are forgiven
	field   string // first failure, with status
	status  Status
}

func (r *reader) fail(field string, st Status) {
	if r.status == StatusOK {
		r.field, r.status = field, st
	}
}

func (r *reader) ok() bool { return r.status == StatusOK }

// rest is what is left of the body.
func (r *reader) rest() []byte { return r.b[r.off:] }

func (r *reader) u8(field string) byte {
	if !r.ok() {
		return 0
	}
	if r.off >= len(r.b) {
		if !r.lenient {
			r.fail(field, StatusInvMsgLen)
		}
		return 0
	}
	v := r.b[r.off]
	r.off++
	return v
}

func (r *reader) u32(field string) uint32 {
	if !r.ok() {
		return 0
	}
	if len(r.b)-r.off < 4 {
		r.fail(field, StatusInvMsgLen)
		return 0
	}
	v := binary.BigEndian.Uint32(r.b[r.off:])
	r.off += 4
	return v
}

// cstr reads a NUL-terminated string of at most size octets with its NUL. tooLong
// is the status of one that has no NUL within size. In a response the end of the
// body ends a string as well.
func (r *reader) cstr(field string, size int, tooLong Status) string {
	if !r.ok() {
		return ""
	}
	rest := r.b[r.off:]
	window := rest[:min(len(rest), size)]
	n := bytes.IndexByte(window, 0)
	skip := n + 1
	if n < 0 {
		switch {
		case len(rest) >= size:
			r.fail(field, tooLong)
			return ""
		case !r.lenient:
			r.fail(field, StatusInvMsgLen)
			return ""
		}
		n, skip = len(rest), len(rest)
	}
	start := r.off
	r.off += skip
	if n == 0 {
		return ""
	}
	if start+n > prefixSize {
		return string(rest[:n])
	}
	if r.prefix == "" {
		r.prefix = string(r.b[:min(len(r.b), prefixSize)])
	}
	return r.prefix[start : start+n]
}

// octets reads n octets, which alias the frame.
func (r *reader) octets(field string, n int) []byte {
	if !r.ok() {
		return nil
	}
	if n > len(r.b)-r.off {
		r.fail(field, StatusInvMsgLen)
		return nil
	}
	if n == 0 {
		return nil
	}
	v := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return v
}

// tlvs reads the optional parameters to the end of the body. Peers append NULs,
// or one NUL after short_message that sm_length does not count: zeros at the
// end are ignored, and one zero in front is when the rest then fits.
func (r *reader) tlvs() TLVs {
	if !r.ok() {
		return nil
	}
	rest := r.rest()
	if len(rest) == 0 {
		return nil
	}
	t, field, st := parseTLVs(rest)
	if st != StatusOK && rest[0] == 0 {
		if t2, _, st2 := parseTLVs(rest[1:]); st2 == StatusOK {
			t, st = t2, StatusOK
		}
	}
	r.off = len(r.b)
	if st != StatusOK && !r.lenient {
		r.fail(field, st)
		return nil
	}
	if len(t) == 0 {
		return nil
	}
	return t
}

// parseTLVs gives what could be read even when it fails.
func parseTLVs(b []byte) (TLVs, string, Status) {
	n, whole := countTLVs(b)
	if n > maxTLVs {
		return nil, "optional parameters", StatusInvOptParStream
	}
	var t TLVs
	if n > 0 {
		t = make(TLVs, 0, n)
	}
	for range n {
		tag, l := Tag(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))
		if want, ok := fixedLenRead(tag); ok && l != want {
			return t, "optional parameter " + tag.Hex(), StatusInvParLen
		}
		t = append(t, TLV{Tag: tag, Data: b[4 : 4+l : 4+l]})
		b = b[4+l:]
	}
	if !whole {
		return t, "optional parameters", StatusInvOptParStream
	}
	return t, "", StatusOK
}

// countTLVs counts the whole parameters and tells whether nothing but zeros
// follows them.
func countTLVs(b []byte) (n int, whole bool) {
	for len(b) >= 4 && n <= maxTLVs {
		if allZero(b) {
			return n, true
		}
		l := int(binary.BigEndian.Uint16(b[2:]))
		if l > len(b)-4 {
			return n, false
		}
		b = b[4+l:]
		n++
	}
	return n, allZero(b)
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// writer appends one body. The first failure sticks.
type writer struct {
	b   []byte
	err error
}

func (w *writer) fail(field, reason string) {
	if w.err == nil {
		w.err = &FieldError{Field: field, Reason: reason}
	}
}

func (w *writer) u8(v byte) { w.b = append(w.b, v) }

func (w *writer) u32(v uint32) { w.b = binary.BigEndian.AppendUint32(w.b, v) }

func (w *writer) cstr(field, s string, size int) {
	switch {
	case len(s) >= size:
		w.fail(field, fmt.Sprintf("longer than %d octets", size-1))
	case strings.IndexByte(s, 0) >= 0:
		w.fail(field, "holds a NUL")
	}
	w.b = append(append(w.b, s...), 0)
}

// smTime is a time field: empty or 16 characters (SMPP 3.4 §7.1.1).
func (w *writer) smTime(field, s string) {
	if s != "" && len(s) != sizeTime-1 {
		w.fail(field, "is neither empty nor 16 characters")
	}
	w.cstr(field, s, sizeTime)
}

func (w *writer) shortMessage(m []byte) {
	if len(m) > MaxShortMessage {
		w.fail("short_message", "longer than 254 octets")
		return
	}
	w.u8(byte(len(m)))
	w.b = append(w.b, m...)
}

func (w *writer) tlvs(t TLVs) {
	if len(t) > maxTLVs {
		w.fail("optional parameters", "more than 64")
		return
	}
	for _, p := range t {
		if len(p.Data) > 0xFFFF {
			w.fail("optional parameter "+p.Tag.Hex(), "longer than 65535 octets")
			return
		}
		if want, ok := fixedLen(p.Tag); ok && len(p.Data) != want {
			w.fail("optional parameter "+p.Tag.Hex(), fmt.Sprintf("is not %d octets long", want))
			return
		}
		w.b = binary.BigEndian.AppendUint16(w.b, uint16(p.Tag))
		w.b = binary.BigEndian.AppendUint16(w.b, uint16(len(p.Data)))
		w.b = append(w.b, p.Data...)
	}
}
