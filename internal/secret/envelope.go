package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
)

// version is the first octet of an envelope.
const version = 1

// What AES-GCM adds to a text: a nonce of 96 bits and a tag of 128 (NIST SP
// 800-38D §5.2.1).
const gcmOverhead = 12 + 16

// Box seals and opens envelopes of one purpose. Safe for concurrent use.
//
// An envelope is: version (1 octet, value 1), length of the key id (1 octet),
// key id, nonce (12), ciphertext, tag (16). The part before the nonce is
// authenticated together with the caller's additional data.
//
// Nonces are random, so one key must not seal more than 2^32 envelopes of a
// purpose (NIST SP 800-38D §8.3): a busy installation puts a new key in front
// of the ring a few times a year.
type Box struct {
	current string
	aeads   map[string]cipher.AEAD
}

// The errors of Open. They say what was wrong and show nothing of the envelope
// but the name of a key.
var (
	ErrMalformed  = errors.New("envelope is malformed")
	ErrUnknownKey = errors.New("envelope is sealed with a key that the ring lacks")
	ErrTampered   = errors.New("envelope does not authenticate")
)

// Box gives the box of a purpose. Making one costs a derivation per key; make
// it once.
func (k *Keyring) Box(p Purpose) *Box {
	b := &Box{current: k.CurrentID(), aeads: make(map[string]cipher.AEAD)}
	for id, key := range k.derive(p) {
		block, err := aes.NewCipher([]byte(key.Reveal()))
		if err != nil {
			panic("secret: aes: " + err.Error()) // a subkey has 32 octets
		}
		gcm, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			panic("secret: gcm: " + err.Error()) // a block of AES has 16 octets
		}
		b.aeads[id] = gcm
	}
	return b
}

// Seal encrypts plaintext under the current key. Aad is not stored but has to
// be given again to Open: name there what the envelope belongs to, such as
// table, column and row id, and nobody can move it elsewhere.
func (b *Box) Seal(plaintext, aad []byte) []byte {
	header := 2 + len(b.current)
	out := make([]byte, 0, header+gcmOverhead+len(plaintext))
	out = append(out, version, byte(len(b.current)))
	out = append(out, b.current...)
	return b.aeads[b.current].Seal(out, nil, plaintext, bind(out, aad))
}

// Open decrypts an envelope. The error is ErrMalformed, ErrUnknownKey or
// ErrTampered; the last is also what a wrong aad or the box of another purpose
// gives.
func (b *Box) Open(sealed, aad []byte) ([]byte, error) {
	id, header, err := parseHeader(sealed)
	if err != nil {
		return nil, err
	}
	aead, ok := b.aeads[id]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknownKey, id)
	}
	plaintext, err := aead.Open(nil, nil, sealed[header:], bind(sealed[:header], aad))
	if err != nil {
		return nil, ErrTampered
	}
	return plaintext, nil
}

// KeyID names the key an envelope is sealed with, for re-sealing under the
// current one. The error is ErrMalformed. The name is not authenticated until
// Open has been.
func KeyID(sealed []byte) (string, error) {
	id, _, err := parseHeader(sealed)
	return id, err
}

func parseHeader(sealed []byte) (id string, header int, err error) {
	if len(sealed) < 2 || sealed[0] != version {
		return "", 0, ErrMalformed
	}
	header = 2 + int(sealed[1])
	if len(sealed) < header+gcmOverhead {
		return "", 0, ErrMalformed
	}
	id = string(sealed[2:header])
	if !validKeyID(id) {
		return "", 0, ErrMalformed
	}
	return id, header, nil
}

// bind puts the header before the caller's data. The header tells its own
// length, so that no two pairs give the same octets.
func bind(header, aad []byte) []byte {
	out := make([]byte, 0, len(header)+len(aad))
	return append(append(out, header...), aad...)
}
