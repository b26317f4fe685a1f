package message

import "time"

// Actor is who changes something, or reads what is nobody's business but the
// customer's: it goes into the audit log.
type Actor struct {
	Name    string // a person (staff by e-mail address) or program
	Role    string
	Address string // where from; empty: this machine
}

// AuditEntry is a line of the audit log.
type AuditEntry struct {
	ID     int64 // grows with each line
	At     time.Time
	By     Actor
	Action string // thing.verb, such as account.status
	Target string // id of what it was done to
	Before []byte // JSON, nil: nothing is said
	After  []byte
	Hash   []byte // over this line and the hash of the line before it
}

// AuditFilter narrows the audit log. Zero fields do not.
type AuditFilter struct {
	Actor, Action, Target string
	After, Before         time.Time // both exclusive
}
