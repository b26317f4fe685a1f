package secret

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// keySize is the length of a key in octets: AES-256.
const keySize = 32

// maxKeyID bounds a key's name, which is written into every envelope.
const maxKeyID = 32

// maxKeys bounds a ring; more would mean that nothing is ever retired.
const maxKeys = 64

// Purpose separates the uses of a key. The values go into the derivation: one
// that is changed opens nothing any more.
type Purpose string

// The purposes.
const (
	Content     Purpose = "content"     // workflow payloads and stored text
	Credentials Purpose = "credentials" // vendor passwords, webhook secrets, tokens' keys
	Media       Purpose = "media"       // the keys of sealed files, and by HasherOf their names
	SignIn      Purpose = "sign_in"     // second factors and tickets, and by HasherOf tokens of web sessions and forms
	hashing     Purpose = "hashing"     // HashSecret
)

// Keyring holds the master keys. It is made once and never changes; safe for
// concurrent use. Keys are held as String, here and in Hasher, so that fmt,
// which looks into structs, finds addresses.
type Keyring struct {
	ids  []string // the first is current
	keys map[string]String
}

// ErrConfig is wrapped by every error of ParseKeyring.
var ErrConfig = errors.New("keyring")

// ParseKeyring reads "id:key,id:key,…", the form of the environment variable
// and of the key file; line ends separate as commas do. A key is 32 octets in
// base64, padded or not; an id is 1 to 32 of [A-Za-z0-9_.-]. The first key is
// the current one. Errors tell the place of what is wrong, and not its text.
func ParseKeyring(config string) (*Keyring, error) {
	k := &Keyring{keys: make(map[string]String)}
	entries := strings.FieldsFunc(config, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' })
	for i, entry := range entries {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		id, encoded, ok := strings.Cut(entry, ":")
		if !ok || !validKeyID(id) {
			return nil, fmt.Errorf("%w: entry %d: want id:key with an id of 1 to %d letters, digits, dots, dashes or underscores", ErrConfig, i+1, maxKeyID)
		}
		key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(encoded), "="))
		if err != nil || len(key) != keySize {
			return nil, fmt.Errorf("%w: entry %d: want %d octets in base64 after the colon", ErrConfig, i+1, keySize)
		}
		if placeholder(key) {
			return nil, fmt.Errorf("%w: entry %d: the key repeats one octet; make one by random", ErrConfig, i+1)
		}
		if _, twice := k.keys[id]; twice {
			return nil, fmt.Errorf("%w: entry %d: its id is there twice", ErrConfig, i+1)
		}
		k.ids = append(k.ids, id)
		k.keys[id] = Conceal(string(key))
	}
	if len(k.ids) == 0 {
		return nil, fmt.Errorf("%w: no key", ErrConfig)
	}
	if len(k.ids) > maxKeys {
		return nil, fmt.Errorf("%w: more than %d keys", ErrConfig, maxKeys)
	}
	return k, nil
}

// CurrentID names the key that seals and hashes.
func (k *Keyring) CurrentID() string { return k.ids[0] }

// IDs names every key, the current one first. The caller may keep the slice.
func (k *Keyring) IDs() []string { return append([]string(nil), k.ids...) }

// String names the keys and shows none, whatever verb prints a ring.
func (k *Keyring) String() string { return "keyring(" + strings.Join(k.ids, ",") + ")" }

// GoString is String, for %#v.
func (k *Keyring) GoString() string { return k.String() }

// Format is String for every verb.
func (k *Keyring) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// derive gives each key's subkey for a purpose.
func (k *Keyring) derive(p Purpose) map[string]String {
	out := make(map[string]String, len(k.keys))
	for id, key := range k.keys {
		sub, err := hkdf.Key(sha256.New, []byte(key.Reveal()), nil, "postrider/1/"+string(p), keySize)
		if err != nil {
			// RFC 5869 §2.3 allows 255 hashes of output; this is one.
			panic("secret: hkdf: " + err.Error())
		}
		out[id] = Conceal(string(sub))
	}
	return out
}

func validKeyID(id string) bool {
	if id == "" || len(id) > maxKeyID {
		return false
	}
	for i := 0; i < len(id); i++ {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return true
}

// placeholder finds keys such as AAAA…, which people leave in examples.
func placeholder(key []byte) bool {
	for _, b := range key {
		if b != key[0] {
			return false
		}
	}
	return true
}
