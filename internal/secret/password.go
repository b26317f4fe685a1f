package secret

import (
	"cmp"
	"errors"
	"fmt"

	"golang.org/x/crypto/bcrypt"
)

// The lengths of a password that a person chooses, in octets. bcrypt does not look
// beyond 72.
const (
	MinPassword = 12
	MaxPassword = 72
)

// ErrPasswordLength is the answer to a password that is too short or too long.
var ErrPasswordLength = fmt.Errorf("a password has %d to %d octets", MinPassword, MaxPassword)

// Passwords hashes what people choose, slowly. Both methods take a core for a fifth
// of a second and more, so whoever calls them for strangers bounds how many run at
// a time. Safe for concurrent use.
type Passwords struct {
	Cost int // of bcrypt; 0: 12
}

const passwordCost = 12

// HashPassword gives the bcrypt hash of a password. The error is
// ErrPasswordLength.
func (p Passwords) HashPassword(password string) (string, error) {
	if len(password) < MinPassword || len(password) > MaxPassword {
		return "", ErrPasswordLength
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cmp.Or(p.Cost, passwordCost))
	if err != nil {
		return "", errors.New("the password cannot be hashed")
	}
	return string(hash), nil
}

// PasswordFits reports whether the bcrypt hash is of the password. Whatever the
// hash, it takes at least as long as one of HashPassword does, so that it does not
// show whether there was one: an empty one fits nothing.
func (p Passwords) PasswordFits(hash, password string) bool {
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

// HashSMPPPassword gives the bcrypt hash of what an ESME binds with, at bcrypt's default
// cost: it is compared at every bind, and has 8 characters that nobody chose.
func HashSMPPPassword(password string) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return "", errors.New("the password cannot be hashed")
	}
	return string(hash), nil
}
