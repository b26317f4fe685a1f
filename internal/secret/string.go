package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// mask is what every printer shows of a secret.
const mask = "[secret]"

// String is a secret in memory. It shows a mask to fmt (with every verb), slog,
// encoding/json and whatever else marshals text; Reveal is the only way to its
// text. An empty String shows as nothing, so that a missing secret is seen to
// be missing. The zero String is empty.
//
// Compare with Equal: == tells only whether two are copies of one another.
type String struct {
	// A pointer, because fmt reaches into the unexported fields of a struct
	// without asking for methods: it then prints an address, not the text. A
	// pointer to an array or a slice would be followed.
	p *string
}

// Conceal wraps a secret.
func Conceal(s string) String {
	if s == "" {
		return String{}
	}
	return String{p: &s}
}

// Reveal gives the secret itself.
func (s String) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// Empty reports whether there is no secret.
func (s String) Empty() bool { return s.p == nil }

// Equal compares two secrets in a time that depends on their lengths alone.
func (s String) Equal(other String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String is the mask.
func (s String) String() string {
	if s.p == nil {
		return ""
	}
	return mask
}

// Format writes the mask for every verb, %x and %#v among them.
func (s String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue is the mask.
func (s String) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is the mask; JSON uses it, too.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the secret itself: configuration comes in this way and
// does not go out again.
func (s *String) UnmarshalText(b []byte) error {
	*s = Conceal(string(b))
	return nil
}
