package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"maps"
	"slices"
)

// Hasher makes and checks keyed hashes of secrets that we generated ourselves:
// with 256 bits of randomness in them a single HMAC is enough, and cheap enough
// for every request. What people choose (staff passwords) needs a slow hash
// instead. Safe for concurrent use.
type Hasher struct {
	current string
	keys    map[string]String
}

// Hasher gives the ring's hasher.
func (k *Keyring) Hasher() *Hasher {
	return &Hasher{current: k.CurrentID(), keys: k.derive(hashing)}
}

// HasherOf gives a hasher of another use, with keys of its own: what it makes can
// neither be compared with what Hasher makes, nor is its key the one of Box(p).
func (k *Keyring) HasherOf(p Purpose) *Hasher {
	return &Hasher{current: k.CurrentID(), keys: k.derive(hashing + "/" + p)}
}

// MAC is the HMAC-SHA256 of a text under the key of that name, 32 octets.
type MAC struct {
	KeyID string
	Sum   []byte
}

// MACs gives the HMAC of text under every key of the ring, the current one's first
// and the others in the order of their names: for what is looked up by a keyed name
// and may have been named before the key was changed.
func (h *Hasher) MACs(text string) []MAC {
	list := []MAC{{h.current, sum(h.keys[h.current], text)}}
	for _, id := range slices.Sorted(maps.Keys(h.keys)) {
		if id != h.current {
			list = append(list, MAC{id, sum(h.keys[id], text)})
		}
	}
	return list
}

// HashSecret gives the value to be stored: version, length of the key id, key
// id, HMAC-SHA256 of the secret. Knowing it, and the whole database, does not
// help to guess the secret without the ring.
func (h *Hasher) HashSecret(secret string) []byte {
	return appendHash(nil, h.current, h.keys[h.current], secret)
}

// Hashes gives the value under every key of the ring, the current one's first: by
// them a row is found whose hash was stored before the key was changed. What is
// guessable (a tax id) is hidden by it only from those who do not have the ring.
func (h *Hasher) Hashes(secret string) [][]byte {
	list := [][]byte{h.HashSecret(secret)}
	for _, id := range slices.Sorted(maps.Keys(h.keys)) {
		if id != h.current {
			list = append(list, appendHash(nil, id, h.keys[id], secret))
		}
	}
	return list
}

// CheckSecret reports whether secret is the one that hash was made of, under
// any key of the ring. It takes the same time for every wrong secret. A
// malformed hash, one of a key that the ring lacks, and an empty one fit
// nothing.
func (h *Hasher) CheckSecret(secret string, hash []byte) bool {
	if len(hash) < 2 || hash[0] != version || len(hash) != 2+int(hash[1])+sha256.Size {
		return false
	}
	id := string(hash[2 : 2+int(hash[1])])
	key, ok := h.keys[id]
	if !ok {
		return false
	}
	return hmac.Equal(appendHash(nil, id, key, secret), hash)
}

// Stale reports whether a hash should be made anew, with a key that is still
// current, when its secret is seen the next time.
func (h *Hasher) Stale(hash []byte) bool {
	prefix := string([]byte{version, byte(len(h.current))}) + h.current
	return len(hash) < len(prefix) || string(hash[:len(prefix)]) != prefix
}

func appendHash(out []byte, id string, key String, secret string) []byte {
	out = append(out, version, byte(len(id)))
	out = append(out, id...)
	return append(out, sum(key, secret)...)
}

func sum(key String, text string) []byte {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
