package mm4

import "strings"

// Flag is a header that says Yes or No, or is absent.
type Flag int

// The flags. What an absent header means is its own matter: X-Mms-Ack-Request
// without a word is No.
const (
	Unset Flag = iota
	No
	Yes
)

// String is the header's value, empty when unset.
func (f Flag) String() string {
	switch f {
	case Yes:
		return "Yes"
	case No:
		return "No"
	}
	return ""
}

// FlagOf is Yes or No.
func FlagOf(yes bool) Flag {
	if yes {
		return Yes
	}
	return No
}

// ParseFlag reads Yes and No in any case, and the other words that stand for them.
func ParseFlag(s string) (Flag, bool) {
	switch plain(s) {
	case "yes", "y", "true", "1":
		return Yes, true
	case "no", "n", "false", "0":
		return No, true
	}
	return Unset, false
}

// Class is X-Mms-Message-Class; empty means Personal.
type Class string

// The classes.
const (
	Personal      Class = "Personal"
	Advertisement Class = "Advertisement"
	Informational Class = "Informational"
	Auto          Class = "Auto"
)

// Classes lists every class once.
func Classes() []Class { return []Class{Personal, Advertisement, Informational, Auto} }

// Priority is X-Mms-Priority; empty means Normal.
type Priority string

// The priorities.
const (
	Low    Priority = "Low"
	Normal Priority = "Normal"
	High   Priority = "High"
)

// Priorities lists every priority once.
func Priorities() []Priority { return []Priority{Low, Normal, High} }

// Visibility is X-Mms-Sender-Visibility; empty means Show.
type Visibility string

// The visibilities.
const (
	Show Visibility = "Show"
	Hide Visibility = "Hide"
)

// Visibilities lists both.
func Visibilities() []Visibility { return []Visibility{Show, Hide} }

// MMStatus is X-Mms-MM-Status-Code: what became of a message.
type MMStatus string

// The statuses of TS 23.140 §8.4.2; Unreachable is OMA's.
const (
	Retrieved     MMStatus = "Retrieved"
	Expired       MMStatus = "Expired"
	Rejected      MMStatus = "Rejected"
	Deferred      MMStatus = "Deferred"
	Indeterminate MMStatus = "Indeterminate"
	Forwarded     MMStatus = "Forwarded"
	Unrecognised  MMStatus = "Unrecognised"
	Unreachable   MMStatus = "Unreachable"
)

// MMStatuses lists every status once.
func MMStatuses() []MMStatus {
	return []MMStatus{Retrieved, Expired, Rejected, Deferred, Indeterminate, Forwarded, Unrecognised, Unreachable}
}

// Extension is X-Mms-MM-Status-Extension: who rejected. Empty: nobody says.
type Extension string

// The extensions.
const (
	RejectedByRecipient Extension = "Rejection-By-MMS-Recipient"
	RejectedByOtherRS   Extension = "Rejection-by-Other-RS"
)

// Extensions lists both.
func Extensions() []Extension { return []Extension{RejectedByRecipient, RejectedByOtherRS} }

// ReadStatus is X-Mms-Read-Status.
type ReadStatus string

// The read statuses.
const (
	Read          ReadStatus = "Read"
	DeletedUnread ReadStatus = "Deleted without being read"
)

// ReadStatuses lists both.
func ReadStatuses() []ReadStatus { return []ReadStatus{Read, DeletedUnread} }

// aliases are other spellings, in plain form, of words that peers write.
var aliases = map[string]string{
	"unrecognized": string(Unrecognised),
	"deleted":      string(DeletedUnread),
	"notread":      string(DeletedUnread),
	"delivered":    string(Retrieved),
	"undetermined": string(Indeterminate),
}

// parseWord finds s among words without regard to case, blanks and punctuation.
func parseWord[T ~string](words []T, s string) (T, bool) {
	p := plain(s)
	if a, ok := aliases[p]; ok {
		p = plain(a)
	}
	for _, w := range words {
		if plain(string(w)) == p {
			return w, true
		}
	}
	return "", false
}

// plain keeps the letters and digits of s, in lower case.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, s)
}
