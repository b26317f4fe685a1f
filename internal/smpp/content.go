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

// LongMessage is how a part of a long message goes out: a column of the
// vendor's or the customer's row. The zero LongMessage is LongUDH.
type LongMessage string

// The ways.
const (
	LongUDH     LongMessage = "udh"     // user data header, 8-bit reference
	LongSAR     LongMessage = "sar"     // sar_* optional parameters
	LongPayload LongMessage = "payload" // whole in message_payload; the peer cuts it
)

// Sizes of what fits into one short message (3GPP TS 23.040 §9.2.3.16): septets
// of GSM 7-bit text, or octets.
const (
	singleSeptets = 160
	singleOctets  = 140
)

// Outgoing is a text on its way into a submit_sm or deliver_sm.
type Outgoing struct {
	Text     string
	Encoding message.Encoding // gsm7 or ucs2
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
	if o.Parts <= 1 {
		return m.setWhole(octets, coding, o.Long)
	}
	if o.Parts > 255 || o.Part < 1 || o.Part > o.Parts {
		return &FieldError{Field: "short_message", Reason: "part is not 1 to 255 of its parts"}
	}
	if o.Long == LongSAR {
		m.TLVs.AddUint16(TagSarMsgRefNum, o.Ref)
		m.TLVs.AddByte(TagSarTotalSegments, byte(o.Parts))
		m.TLVs.AddByte(TagSarSegmentSeqnum, byte(o.Part))
	} else { // a payload that was cut before is joined by its header all the same
		m.ESMClass |= ESMUDHI
		octets = append(text.ConcatUDH(o.Ref, false, byte(o.Parts), byte(o.Part)), octets...)
	}
	return m.setShort(octets)
}

func (m *Message) setWhole(octets []byte, coding byte, long LongMessage) error {
	limit := singleSeptets
	if coding != CodingDefault {
		limit = singleOctets
	}
	if long == LongPayload && len(octets) > limit {
		m.ShortMessage = nil
		m.TLVs.Add(TagMessagePayload, octets)
		return nil
	}
	return m.setShort(octets)
}

func (m *Message) setShort(octets []byte) error {
	if len(octets) > MaxShortMessage {
		return &FieldError{Field: "short_message", Reason: "longer than 254 octets"}
	}
	m.ShortMessage = octets
	return nil
}

// encodeText gives the octets and their data_coding. GSM text is unpacked, a
// septet an octet, as nearly every SMSC wants it.
func encodeText(o Outgoing) ([]byte, byte, error) {
	if o.Encoding == message.EncodingUCS2 {
		return text.EncodeUCS2(o.Text), CodingUCS2, nil
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
		c.Octets = c.Octets[n:]
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
