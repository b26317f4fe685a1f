package message

import "time"

// Hold is what an admitted message must wait for before it leaves.
type Hold struct {
	Rule   string    `json:"rule"`           // of the policy, such as quiet_hours
	Until  time.Time `json:"until,omitzero"` // zero: until somebody has looked at it
	Detail string    `json:"detail,omitempty"`
}

// Verdict is what somebody said of a message that waited to be looked at.
type Verdict string

// The verdicts. The empty one: nobody has looked yet.
const (
	VerdictRelease Verdict = "release"
	VerdictRefuse  Verdict = "refuse"
)

// Review is a verdict, of one revision of a message. The zero value: none.
type Review struct {
	Verdict  Verdict
	Revision int
	Actor    string
	Reason   string // for the record; a customer sees it when the message is refused
	At       time.Time
}

// Of gives the verdict on the message, which is none when it was changed since.
func (r Review) Of(m *Message) Verdict {
	if r.Revision != m.Revision {
		return ""
	}
	return r.Verdict
}
