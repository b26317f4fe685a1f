package rest

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/postrider/postrider/internal/message"
)

// A cursor names the last thing of a page, so it stays good for as long as the
// data is kept, whatever is added meanwhile. Its first octet says of which
// list it is. Customers are told that it is opaque.
const (
	messageCursor = 'm' // 16 octets of a message id
	eventCursor   = 'e' // 4 octets of a sequence number
	rowCursor     = 'r' // 16 octets of a row's id
	auditCursor   = 'a' // 8 octets of a line's number
	feedCursor    = 'f' // 8 octets of a transaction, 16 of an id, 4 of a sequence number
)

func encodeMessageCursor(id message.ID) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{messageCursor}, id[:]...))
}

func decodeMessageCursor(s string) (message.ID, bool) { return decodeID(s, messageCursor) }

func encodeRowCursor(id message.ID) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{rowCursor}, id[:]...))
}

func decodeRowCursor(s string) (message.ID, bool) { return decodeID(s, rowCursor) }

func decodeID(s string, kind byte) (message.ID, bool) {
	var id message.ID
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 1+len(id) || b[0] != kind {
		return id, false
	}
	copy(id[:], b[1:])
	return id, true
}

func encodeEventCursor(sequence int) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32([]byte{eventCursor}, uint32(sequence)))
}

func decodeEventCursor(s string) (int, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 5 || b[0] != eventCursor || b[1] > 0x7f {
		return 0, false
	}
	return int(binary.BigEndian.Uint32(b[1:])), true
}

func encodeAuditCursor(line int64) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64([]byte{auditCursor}, uint64(line)))
}

func decodeAuditCursor(s string) (int64, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 9 || b[0] != auditCursor || b[1] > 0x7f {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b[1:])), true
}
