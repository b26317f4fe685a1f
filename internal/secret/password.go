package secret

import (
	"cmp"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// The lengths of a password that a person chooses, in octets. bcrypt, with which
// passwords were hashed before, does not look beyond 72.
const (
	MinPassword = 12
	MaxPassword = 72
)

// ErrPasswordLength is the answer to a password that is too short or too long.
var ErrPasswordLength = fmt.Errorf("a password has %d to %d octets", MinPassword, MaxPassword)

// Passwords hashes what people choose, slowly, with Argon2id (RFC 9106). Hashes of
// bcrypt from earlier releases still fit; Stale tells them, so that they are replaced
// when their password is seen. HashPassword takes some 20 ms of a core and 19 MiB, and
// PasswordFits a fifth of a second more, so whoever calls them for strangers bounds how
// many run at a time. Safe for concurrent use. The zero value is for production.
type Passwords struct {
	Cost   int    // of bcrypt, in hashes from before; 0: 12
	Fresh  bool   // no hash of bcrypt was ever stored: none fits, and no time is spent on one
	Memory uint32 // of Argon2id, in KiB; 0: 19456 (19 MiB)
	Passes uint32 // over the memory; 0: 2
}

const passwordCost = 12

// The parameters of Argon2id: one of the equally strong choices of the OWASP Password
// Storage Cheat Sheet, "m=19456 (19 MiB), t=2, p=1". Salt and tag are as long as
// RFC 9106 §4 recommends.
const (
	argonMemory  = 19 << 10 // KiB
	argonPasses  = 2
	argonThreads = 1
	argonSalt    = 16
	argonTag     = 32
)

// What a stored hash may ask of us: whoever can write hashes must not be able to use up
// memory or cores. 256 MiB, 16 passes.
const (
	maxArgonMemory = 256 << 10
	maxArgonPasses = 16
)

// argonHash is a hash in the PHC string format.
type argonHash struct {
	memory, passes uint32
	threads        uint8
	salt, tag      []byte
}

func (h argonHash) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.threads, b64(h.salt), b64(h.tag))
}

// of computes the tag of a password.
func (h argonHash) of(password string) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.threads, argonTag)
}

// parseArgon reads a hash that String has written; not ok: it is none, or asks for too
// much.
func parseArgon(s string) (h argonHash, ok bool) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return h, false
	}
	var version int
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &h.memory, &h.passes, &h.threads); err != nil || version != argon2.Version {
		return h, false
	}
	var saltErr, tagErr error
	h.salt, saltErr = base64.RawStdEncoding.DecodeString(parts[4])
	h.tag, tagErr = base64.RawStdEncoding.DecodeString(parts[5])
	ok = saltErr == nil && tagErr == nil && len(h.salt) == argonSalt && len(h.tag) == argonTag && h.threads == argonThreads &&
		h.passes >= 1 && h.passes <= maxArgonPasses && h.memory >= 8 && h.memory <= maxArgonMemory && h.String() == s
	return h, ok
}

// fresh is the hash that passwords get now, without salt and tag.
func (p Passwords) fresh() argonHash {
	return argonHash{memory: cmp.Or(p.Memory, argonMemory), passes: cmp.Or(p.Passes, argonPasses), threads: argonThreads, salt: make([]byte, argonSalt)}
}

// HashPassword gives the Argon2id hash of a password, in the PHC string format. The
// error is ErrPasswordLength.
func (p Passwords) HashPassword(password string) (string, error) {
	if len(password) < MinPassword || len(password) > MaxPassword {
		return "", ErrPasswordLength
	}
	h := p.fresh()
	h.salt = randomBytes(argonSalt)
	h.tag = h.of(password)
	return h.String(), nil
}

// PasswordFits reports whether the hash is of the password. Whatever the hash, one of
// Argon2id is computed and, unless p is Fresh, one of bcrypt, so that the time does not
// show whether there was one, or of which kind: an empty one fits nothing.
func (p Passwords) PasswordFits(hash, password string) bool {
	own, isArgon := parseArgon(hash)
	fits := false
	if isArgon {
		fits = subtle.ConstantTimeCompare(own.of(password), own.tag) == 1
	}
	if now := p.fresh(); !isArgon || own.memory != now.memory || own.passes != now.passes {
		now.of(password)
	}
	if p.Fresh {
		return fits
	}
	old := ""
	if !isArgon {
		old = hash
	}
	return p.bcryptFits(old, password) || fits
}

// Stale reports whether a hash that has just fitted should be made anew.
func (p Passwords) Stale(hash string) bool {
	h, ok := parseArgon(hash)
	now := p.fresh()
	return !ok || h.memory != now.memory || h.passes != now.passes
}

// bcryptFits takes as long for any hash as for one of the cost p has, or longer.
func (p Passwords) bcryptFits(hash, password string) bool {
	want := cmp.Or(p.Cost, passwordCost)
	own, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		_ = bcrypt.CompareHashAndPassword([]byte(nobodys(want)), []byte(password))
		return false
	}
	fits := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	// Each step of the cost takes twice as long as the one before, so one hash of
	// each step in between makes up for what is missing.
	for cost := own; cost < want; cost++ {
		_ = bcrypt.CompareHashAndPassword([]byte(nobodys(cost)), []byte(password))
	}
	return fits
}

// nobodys is a hash to spend time on; nobody knows what it is of.
func nobodys(cost int) string {
	return fmt.Sprintf("$2a$%02d$.sg4Y0d61g6byWmRtxpu..RZ2QGSeMS16dik/XzYtV38joHGa7Wpy", cost)
}

// HashPeerPassword gives the bcrypt hash of what a peer of MM4 says in AUTH: the same
// few are compared again and again, by a check that knows bcrypt alone. The error is
// ErrPasswordLength.
func HashPeerPassword(password string) (string, error) {
	if len(password) < MinPassword || len(password) > MaxPassword {
		return "", ErrPasswordLength
	}
	return hashBcrypt(password, passwordCost)
}

// HashSMPPPassword gives the bcrypt hash of what an ESME binds with, at bcrypt's default
// cost: it is compared at every bind, and has 8 characters that nobody chose.
func HashSMPPPassword(password string) (string, error) {
	return hashBcrypt(password, bcrypt.DefaultCost)
}

func hashBcrypt(password string, cost int) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		return "", errors.New("the password cannot be hashed")
	}
	return string(hash), nil
}
