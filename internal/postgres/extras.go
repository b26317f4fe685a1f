package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/postrider/postrider/internal/message"
)

// What a message has beside its text, its user data header and optional parameters,
// is sealed as the text is. Each is bound to its place, so that one cannot be read
// for the other.

func headerPlace(id message.ID) []byte { return append(id[:], "user_data_header"...) }
func tlvsPlace(id message.ID) []byte   { return append(id[:], "tlvs"...) }

// sealExtras gives the columns user_data_header and tlvs; nil: null.
func (db *DB) sealExtras(m *message.Message) (header, tlvs []byte) {
	if len(m.Header) > 0 {
		header = db.sealer.Seal(m.Header, headerPlace(m.ID))
	}
	if len(m.TLVs) > 0 {
		var b []byte // as on the wire
		for _, p := range m.TLVs {
			b = binary.BigEndian.AppendUint16(b, p.Tag)
			b = binary.BigEndian.AppendUint16(b, uint16(len(p.Value)))
			b = append(b, p.Value...)
		}
		tlvs = db.sealer.Seal(b, tlvsPlace(m.ID))
	}
	return header, tlvs
}

var errTLVs = errors.New("cut short")

// openExtras reads the columns into m.
func (db *DB) openExtras(m *message.Message, header, tlvs []byte) (err error) {
	if header != nil {
		if m.Header, err = db.sealer.Open(header, headerPlace(m.ID)); err != nil {
			return fmt.Errorf("user data header of %s: %w", m.ID, err)
		}
	}
	if tlvs == nil {
		return nil
	}
	b, err := db.sealer.Open(tlvs, tlvsPlace(m.ID))
	if err != nil {
		return fmt.Errorf("optional parameters of %s: %w", m.ID, err)
	}
	for len(b) > 0 {
		if len(b) < 4 || len(b) < 4+int(binary.BigEndian.Uint16(b[2:])) {
			return fmt.Errorf("optional parameters of %s: %w", m.ID, errTLVs)
		}
		n := 4 + int(binary.BigEndian.Uint16(b[2:]))
		m.TLVs = append(m.TLVs, message.TLV{Tag: binary.BigEndian.Uint16(b), Value: b[4:n:n]})
		b = b[n:]
	}
	return nil
}

func codingOrNull(c byte) *int16 {
	if c == 0 {
		return nil
	}
	n := int16(c)
	return &n
}
