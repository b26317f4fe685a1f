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
)

func encodeMessageCursor(id message.ID) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{messageCursor}, id[:]...))
}

func decodeMessageCursor(s string) (message.ID, bool) {
	var id message.ID
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 1+len(id) || b[0] != messageCursor {
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
