package media

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/minio/sio"

	"github.com/postrider/postrider/internal/secret"
)

// The form of a sealed object: a header of fixed length, then DARE 2.0 (Data At Rest
// Encryption, DARE.md of sio): packages of 64 KiB plaintext, each with
// a header of 16 bytes and a tag of 16, the last one shorter and marked.
//
// The header is: magic (8), length of the envelope (2, big-endian), envelope, zeros.
// The envelope holds: object key (32), size in clear (8, big-endian), SHA-256 (32), and
// is bound to the object's name.
const (
	magic       = "PRmedia1"
	headerSize  = 160
	contentSize = 32 + 8 + 32
	maxEnvelope = headerSize - len(magic) - 2

	packagePlain  = 64 << 10
	packageSealed = 16 + packagePlain + 16
)

// sealedSize is what a file of size bytes takes when it is sealed. Sizes come from
// what was counted or from an authentic header, so that they are never negative;
// sio goes to 2^48.
func sealedSize(size int64) int64 {
	n, err := sio.EncryptedSize(uint64(size))
	if err != nil {
		return -1 // no object has that size
	}
	return headerSize + int64(n)
}

type sealer struct {
	box   *secret.Box
	names *secret.Hasher
	ids   []string
}

func newSealer(k *secret.Keyring) *sealer {
	return &sealer{box: k.Box(secret.Media), names: k.HasherOf(secret.Media), ids: k.IDs()}
}

func (s *sealer) knows(id string) bool { return slices.Contains(s.ids, id) }

func (s *sealer) places(sha [32]byte) []place {
	var list []place
	for _, mac := range s.names.MACs(string(sha[:])) {
		list = append(list, place{key: areaOf(mac.KeyID) + fan(hex.EncodeToString(mac.Sum)), keyID: mac.KeyID, sealed: true})
	}
	return list
}

// areaOf is where the objects under a key are. The id is part of it, so that one sees
// which keys are still in use.
func areaOf(keyID string) string { return sealedArea + keyID + "/" }

func aad(at place) []byte { return []byte("media object " + at.key) }

// seal writes header and sealed bytes of an object. R gives exactly o.Size bytes.
func (s *sealer) seal(w io.Writer, r io.Reader, at place, o Object) error {
	content := make([]byte, 0, contentSize)
	content = content[:32]
	_, _ = rand.Read(content) // never fails: the runtime stops the process instead
	content = binary.BigEndian.AppendUint64(content, uint64(o.Size))
	content = append(content, o.SHA256[:]...)
	envelope := s.box.Seal(content, aad(at))
	if len(envelope) > maxEnvelope {
		return fmt.Errorf("the envelope of %d bytes is longer than its place", len(envelope))
	}
	header := make([]byte, 0, headerSize)
	header = append(header, magic...)
	header = binary.BigEndian.AppendUint16(header, uint16(len(envelope)))
	header = append(header, envelope...)
	if _, err := w.Write(header[:headerSize]); err != nil { // the rest is zero since make
		return err
	}
	sealed, err := sio.EncryptReader(r, sio.Config{MinVersion: sio.Version20, MaxVersion: sio.Version20, Key: content[:32]})
	if err != nil {
		return err
	}
	_, err = io.Copy(w, sealed)
	return err
}

// opened is the content of an authentic header.
type opened struct {
	key  []byte
	size int64
	sha  [32]byte
}

// open reads a header. The error is ErrDamaged or ErrUnknownKey.
func (s *sealer) open(header []byte, at place) (opened, error) {
	if len(header) != headerSize || string(header[:len(magic)]) != magic {
		return opened{}, damaged("open media", "it has no header")
	}
	rest := header[len(magic)+2:]
	n := int(binary.BigEndian.Uint16(header[len(magic):]))
	if n > len(rest) || slices.ContainsFunc(rest[n:], func(b byte) bool { return b != 0 }) {
		return opened{}, damaged("open media", "its header is malformed")
	}
	content, err := s.box.Open(rest[:n], aad(at))
	switch {
	case errors.Is(err, secret.ErrUnknownKey):
		return opened{}, fmt.Errorf("open media: %w: %w", ErrUnknownKey, err)
	case err != nil:
		return opened{}, fmt.Errorf("open media: %w: %w", ErrDamaged, err)
	case len(content) != contentSize:
		return opened{}, damaged("open media", "its header has another content")
	}
	size := int64(binary.BigEndian.Uint64(content[32:]))
	if size < 0 || sealedSize(size) < 0 {
		return opened{}, damaged("open media", "its header has no size")
	}
	return opened{key: content[:32], size: size, sha: [32]byte(content[40:])}, nil
}

// packages says which of an object's packages hold the length bytes from offset on, at
// least one, and where they are in the object.
type packages struct {
	first          uint32
	offset, length int64 // within the stored object
	skip           int64 // of what is opened, to the first byte that is wanted
}

func packagesOf(size, offset, length int64) packages {
	first, last := offset/packagePlain, (offset+length-1)/packagePlain
	p := packages{first: uint32(first), offset: headerSize + first*packageSealed, skip: offset % packagePlain}
	p.length = min((last-first+1)*packageSealed, sealedSize(size)-p.offset)
	return p
}

// unseal opens the packages that r gives. Beyond the last of them it gives an error, unless
// that is also the object's last: nobody reads on to there.
func (p packages) unseal(r io.Reader, key []byte) (io.Reader, error) {
	return sio.DecryptReader(r, sio.Config{MinVersion: sio.Version20, MaxVersion: sio.Version20, Key: key, SequenceNumber: p.first})
}
