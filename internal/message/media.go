package message

import (
	"crypto/rand"
	"time"

	"github.com/google/uuid"
)

// MediaFile is a file of media in the store: what a customer has uploaded, or what a
// message has.
type MediaFile struct {
	ID          ID
	AccountID   ID         // whose it is
	Token       MediaToken // by which anybody may read it
	SHA256      [32]byte   // of its octets, by which the store knows it
	ContentType string     // decided by its octets, lower case, without parameters
	Size        int64      // octets
	CreatedAt   time.Time
	ExpiresAt   time.Time // it is not found from then on; zero: it goes with its message
}

// Media is a file of a message: one that it came with, or one that was made of that for
// what a vendor takes.
type Media struct {
	Position int       // from 1, in the customer's order
	Source   string    // URL where it is to be fetched; empty: it was given
	File     MediaFile // the message's own; the zero value: it has not been fetched yet
}

// Fetched reports whether the file is in the store.
func (m Media) Fetched() bool { return m.File.ID != (ID{}) }

// MediaToken lets whoever has it read a file: 128 random bits, written as a UUID is
// since that is what people know how to copy. It is no ID: its order and its time say
// nothing.
type MediaToken [16]byte

// NewMediaToken returns a fresh token. It is safe for concurrent use.
func NewMediaToken() (t MediaToken) {
	_, _ = rand.Read(t[:]) // never fails
	return t
}

// String is the token in the form 8-4-4-4-12 hex digits.
func (t MediaToken) String() string { return uuid.UUID(t).String() }

// ParseMediaToken reads what String has written, in either case and without hyphens as
// well.
func ParseMediaToken(s string) (MediaToken, bool) {
	id, err := ParseID(s)
	return MediaToken(id), err == nil
}

// How long files are kept. The wait of a pending one is that of an upload whose process
// died; it is far beyond the time that an upload may take.
const (
	MediaKept        = 7 * 24 * time.Hour
	MediaPendingKept = time.Hour
)
