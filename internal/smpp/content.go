package smpp

import (
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/text"
)

// Data codings that we write (SMPP 3.4 §5.2.19).
const (
	CodingDefault byte = 0
	CodingUCS2    byte = 8
)

// Data codings with a message class in their lowest bits (3GPP TS 23.038 §4).
const (
	classGSM7 byte = 0x10
	classUCS2 byte = 0x18
	classBits byte = 0x03
)

// LongMessage is how a part of a long message goes out: a column of the
// vendor's or the customer's row. The zero LongMessage is LongUDH.
type LongMessage string

// The ways.
const (
	LongUDH     LongMessage = "udh"     // user data header, 8-bit reference
	LongSAR     LongMessage = "sar"     // sar_* optional parameters
	LongPayload LongMessage = "payload" // whole in message_payload; the peer cuts it
)

// Outgoing is a text, or octets, on its way into a submit_sm or deliver_sm.
type Outgoing struct {
	Text     string           // octets if Encoding is binary
	Encoding message.Encoding // gsm7, ucs2 or binary
	// Coding is the data_coding of octets. For text it is one with a message class,
	// which is kept, or 0.
	Coding byte
	// Header are elements of a user data header beside concatenation, as
	// text.UDH.Elements gives them.
	Header []byte
	// Alphabet is what data_coding 0 means to the peer, as in text.Decode. A
	// text that it lacks goes as UCS-2.
	Alphabet string
	Long     LongMessage
	Ref      uint16 // concatenation reference
	Part     int    // from 1
	Parts    int    // 0 or 1: whole, up to 255
}

// SetText puts the text into m: data_coding, short_message or message_payload,
// and what says that it is a part. The error is a *FieldError when it does not
// fit, or text's when the encoding lacks a character.
func (m *Message) SetText(o Outgoing) error {
	octets, coding, err := encodeText(o)
	if err != nil {
		return err
	}
	m.DataCoding = coding
	if len(o.Header) > text.SingleOctets {
		return &FieldError{Field: "short_message", Reason: "user data header longer than a short message"}
	}
	if o.Parts <= 1 {
		return m.setWhole(octets, o)
	}
	if o.Parts > 255 || o.Part < 1 || o.Part > o.Parts {
		return &FieldError{Field: "short_message", Reason: "part is not 1 to 255 of its parts"}
	}
	if o.Long == LongSAR {
		m.TLVs.AddUint16(TagSarMsgRefNum, o.Ref)
		m.TLVs.AddByte(TagSarTotalSegments, byte(o.Parts))
		m.TLVs.AddByte(TagSarSegmentSeqnum, byte(o.Part))
		o.Parts = 0
	} // a payload that was cut before is joined by its header all the same
	return m.setShort(m.behind(text.HeaderOf(o.Ref, byte(o.Parts), byte(o.Part), o.Header), octets))
}

// behind puts a user data header in front of octets; nil is none.
func (m *Message) behind(header, octets []byte) []byte {
	if header == nil {
		return octets
	}
	m.ESMClass |= ESMUDHI
	return append(header, octets...)
}

func (m *Message) setWhole(octets []byte, o Outgoing) error {
	enc := message.EncodingGSM7
	switch {
	case text.IsUCS2(m.DataCoding), text.IsBinary(m.DataCoding):
		enc = message.EncodingBinary
	}
	limit := text.SingleRoom(enc, len(o.Header))
	whole := m.behind(text.HeaderOf(0, 0, 0, o.Header), octets)
	if o.Long == LongPayload && len(octets) > limit {
		m.ShortMessage = nil
		m.TLVs.Add(TagMessagePayload, whole)
		return nil
	}
	return m.setShort(whole)
}

func (m *Message) setShort(octets []byte) error {
	if len(octets) > MaxShortMessage {
		return &FieldError{Field: "short_message", Reason: "longer than 254 octets"}
	}
	m.ShortMessage = octets
	return nil
}

// encodeText gives the octets and their data_coding. GSM text is unpacked, a
// septet an octet, as nearly every SMSC wants it. With a message class the
// data_coding names the alphabet, whatever 0 means to the peer.
func encodeText(o Outgoing) ([]byte, byte, error) {
	class := text.ClassOf(o.Coding)
	switch {
	case o.Encoding == message.EncodingBinary:
		return []byte(o.Text), o.Coding, nil
	case o.Encoding == message.EncodingUCS2 && class != 0:
		return text.EncodeUCS2(o.Text), classUCS2 | class&classBits, nil
	case o.Encoding == message.EncodingUCS2:
		return text.EncodeUCS2(o.Text), CodingUCS2, nil
	case class != 0:
		if text.IsUCS2(class) {
			class = classGSM7 | class&classBits
		}
		b, err := text.EncodeGSM7(o.Text)
		return b, class, err
	}
	var limit rune
	switch o.Alphabet {
	case text.AlphabetLatin1:
		limit = 0xFF
	case text.AlphabetASCII:
		limit = 0x7F
	default:
		b, err := text.EncodeGSM7(o.Text)
		return b, CodingDefault, err
	}
	b := make([]byte, 0, len(o.Text))
	for _, r := range o.Text {
		if r > limit {
			return text.EncodeUCS2(o.Text), CodingUCS2, nil
		}
		b = append(b, byte(r))
	}
	return b, CodingDefault, nil
}

// Kinds of concatenation; references of different kinds never meet.
const (
	refUDH8  = 0
	refUDH16 = 1 << 16
	refSAR   = 2 << 16
)

// Content is the text of a received message as octets, with what makes it a
// part.
type Content struct {
	Octets []byte // without a user data header; they alias the frame
	Header []byte // what the user data header says beside concatenation, as text.UDH.Elements gives it
	// Reference tells sets of parts of one sender and recipient apart: the
	// concatenation reference, with its kind above bit 15.
	Reference int
	Part      int // from 1; 0 when whole
	Parts     int // 0 when whole
}

// Content reads what m says. The status is what a strict server answers when it
// is wrong; Content is set all the same as far as it can be, for a lenient
// client.
func (m *Message) Content() (Content, Status) {
	c := Content{Octets: m.ShortMessage}
	st := StatusOK
	if payload, ok := m.TLVs.Get(TagMessagePayload); ok {
		if len(m.ShortMessage) > 0 {
			st = StatusInvMsgLen
		} else {
			c.Octets = payload
		}
	}
	if m.ESMClass&ESMUDHI != 0 {
		h, n, err := text.ParseUDH(c.Octets)
		if err != nil {
			return c, StatusInvESMClass
		}
		c.Octets, c.Header = c.Octets[n:], h.Elements()
		if h.Concatenated() {
			c.Reference, c.Part, c.Parts = refUDH8+int(h.Ref), int(h.Seq), int(h.Total)
			if h.Wide {
				c.Reference += refUDH16
			}
			return c, st
		}
	}
	if sar := m.readSAR(&c); st == StatusOK {
		st = sar
	}
	return c, st
}

// readSAR reads the sar_* set (SMPP 3.4 §5.3.2.22-24): all three or none.
func (m *Message) readSAR(c *Content) Status {
	ref, hasRef := m.TLVs.Uint16(TagSarMsgRefNum)
	total, hasTotal := m.TLVs.Byte(TagSarTotalSegments)
	seq, hasSeq := m.TLVs.Byte(TagSarSegmentSeqnum)
	switch {
	case !hasRef && !hasTotal && !hasSeq:
		return StatusOK
	case !hasRef || !hasTotal || !hasSeq:
		return StatusMissingOptParam
	case total == 0 || seq == 0 || seq > total:
		return StatusInvOptParamVal
	}
	c.Reference, c.Part, c.Parts = refSAR+int(ref), int(seq), int(total)
	return StatusOK
}
