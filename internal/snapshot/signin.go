package snapshot

import (
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Door is which of the web pages somebody signs in to.
type Door string

// The doors.
const (
	Console Door = "console" // staff
	Portal  Door = "portal"  // the users of accounts
)

// Person is somebody who signs in to the web pages: a member of staff or a user of the
// portal.
type Person struct {
	Door         Door
	ID           message.ID
	Email        string // lower case; of a user of the portal unique in the account only
	Name         string
	Role         Role       // of staff
	Account      message.ID // of users of the portal, as the next two
	AccountName  string
	Scopes       []string
	PasswordHash string     // of package secret; empty: none was chosen yet
	PasswordID   message.ID // another one with each password
	Active       bool       // and the account, too
	SecondFactor bool       // is asked for
}

// Actor is the person in the audit log.
func (p Person) Actor(address string) message.Actor {
	role := string(p.Role)
	if p.Door == Portal {
		role = "portal"
	}
	return message.Actor{Name: p.Email, Role: role, Address: address}
}

// WebSession is a browser in which somebody is signed in.
type WebSession struct {
	ID           message.ID
	Person       Person
	Waiting      bool // for the second factor: nothing else can be done
	SecondFactor bool // was passed
	Address      string
	UserAgent    string // at most 200 characters
	CreatedAt    time.Time
	SeenAt       time.Time // a minute old at most
	ExpiresAt    time.Time // however it is used
}

// NewWebSession is a session that is to be opened.
type NewWebSession struct {
	ID         message.ID
	Door       Door
	Person     message.ID
	PasswordID message.ID // of the password that was right
	TokenHash  []byte
	Waiting    bool
	Address    string
	UserAgent  string // at most 200 characters
}

// SecondFactor is what somebody has beside the password.
type SecondFactor struct {
	Sealed    []byte // of what the authenticator app knows
	Confirmed bool   // a code was right; before that it is asked for nowhere
	LastStep  int64  // the newest step of time whose code was taken
	Codes     int    // recovery codes that are left
}

// LinkPurpose is what a link is for with which somebody chooses a password.
type LinkPurpose string

// The purposes.
const (
	LinkInvitation LinkPurpose = "invitation"
	LinkReset      LinkPurpose = "reset"
)
