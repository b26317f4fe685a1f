package mediaprofile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Fault says what of a profile breaks a rule.
type Fault struct {
	Field string // as in JSON, such as documents.pdf; empty: the profile as a whole
	Says  string // what it must be
}

// Error names the field first.
func (f *Fault) Error() string {
	if f.Field == "" {
		return f.Says
	}
	return f.Field + " " + f.Says
}

// MaxDefinition is the most octets of a profile that is read.
const MaxDefinition = 16 << 10

// Read reads the profile of a name from its members in JSON, all but the name, and
// validates it. The error is a *Fault.
func Read(name string, definition []byte) (Profile, error) {
	if len(definition) > MaxDefinition {
		return Profile{}, &Fault{"", fmt.Sprintf("has more than %d octets", MaxDefinition)}
	}
	p := struct {
		// It takes the place of the profile's own, which a document could contradict.
		Name json.RawMessage `json:"name,omitempty"`
		Profile
	}{}
	d := json.NewDecoder(bytes.NewReader(definition))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Profile{}, unreadable(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Profile{}, &Fault{"", "must be one JSON object and nothing after it"}
	}
	if p.Name != nil {
		return Profile{}, &Fault{"name", "must be left out: it is given beside"}
	}
	p.Profile.Name = name
	return p.Profile, p.Validate()
}

// unreadable is why JSON is no profile.
func unreadable(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return &Fault{strings.TrimPrefix(kind.Field, "Profile."), "must be of another kind than " + kind.Value}
	}
	return &Fault{"", "cannot be read: " + err.Error()}
}

// Definition writes what Read reads.
func (p Profile) Definition() []byte {
	// Plain values only: Marshal cannot fail.
	b, _ := json.Marshal(p)
	var members map[string]json.RawMessage
	_ = json.Unmarshal(b, &members)
	delete(members, "name")
	b, _ = json.Marshal(members)
	return b
}

// Builtin is a profile that the release brings.
func Builtin(name string) (Profile, bool) {
	for _, p := range Defaults() {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}

// Stored is the row of a profile, as staff see it.
type Stored struct {
	Profile
	Broken    string // why nobody can use it; empty: it can be used
	UpdatedAt time.Time
}

// Names lists what a vendor may name: what the release brings and what is stored,
// sorted, each once.
func Names(stored []string) []string {
	names := slices.Clone(stored)
	for _, p := range Defaults() {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
