package message

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// ID identifies a stored thing: a UUID of version 7, whose first 48 bits are
// Unix milliseconds, so that ids sort by time of creation and indexes on them
// stay dense. The zero ID means "none".
type ID = uuid.UUID

// NewID returns a fresh UUIDv7. It is safe for concurrent use and is monotonic
// within one process.
func NewID() ID {
	id, err := uuid.NewV7()
	if err != nil {
		// The system's random source is gone: nothing that needs an
		// unguessable or unique value can go on.
		panic(fmt.Sprintf("message: no randomness for an id: %v", err))
	}
	return id
}

// ParseID reads an id in the hyphenated or the bare 32 digit form, in either
// case. Anything else (braces, "urn:uuid:") is refused.
func ParseID(s string) (ID, error) {
	if len(s) != 36 && len(s) != 32 {
		return ID{}, fmt.Errorf("id %q: want a UUID of 32 hex digits, hyphens optional", clip(s, 40))
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return ID{}, fmt.Errorf("id %q: want a UUID of 32 hex digits, hyphens optional", clip(s, 40))
	}
	return id, nil
}

// Hex32 is the id as 32 lower-case hex digits without hyphens: the message_id
// that SMPP peers see.
func Hex32(id ID) string { return hex.EncodeToString(id[:]) }

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
