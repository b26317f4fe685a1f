package snapshot

import (
	"time"

	"github.com/postrider/postrider/internal/message"
)

// NumberState is a Number as its owner and staff see it.
type NumberState struct {
	Number
	CampaignID string // the registry's id of its campaign; empty: none
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// NumberFilter narrows a list of numbers. Zero fields do not.
type NumberFilter struct {
	AccountID  message.ID // of staff's list; that of an owner says whose it is
	VendorID   message.ID // of staff's list
	Type       NumberType
	Tag, Group string // of an owner's list
	CampaignID string // the registry's; of an owner's list
}

// CredentialState is a Credential without its hashes, as its owner sees it.
type CredentialState struct {
	Credential
	LastUsedAt time.Time // zero: never; up to a minute late
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// SMPPCredentialState is an SMPPCredential without its password, as its owner sees it.
type SMPPCredentialState struct {
	SMPPCredential
	Binds     int // that live, over all processes
	CreatedAt time.Time
	UpdatedAt time.Time
}

// SMPPUserFilter narrows staff's list of SMPP credentials. Zero fields do not.
type SMPPUserFilter struct {
	AccountID message.ID
	VendorID  message.ID
	Kind      OwnerKind
	SystemID  string
}

// OwnerKind says what kind of party something belongs to.
type OwnerKind string

// The kinds of owners.
const (
	OwnerCustomer OwnerKind = "customer"
	OwnerVendor   OwnerKind = "vendor"
)

// SMPPSession is a live bind of a credential, of whatever process.
type SMPPSession struct {
	ID      message.ID
	Mode    string // receiver, transmitter, transceiver
	Address string // of the peer; empty: not known
	TLS     bool
	Version uint8 // interface_version; 0: none was given
	BoundAt time.Time
	SeenAt  time.Time
}

// Session is a live session of a peer with one of our processes, as staff see it.
type Session struct {
	ID        message.ID
	Protocol  string     // smpp, mm4
	AccountID message.ID // zero: a vendor's, or not known yet
	VendorID  message.ID // zero: an account's, or not known yet
	Name      string     // system_id, or name of the MM4 peer; empty: not known yet
	Mode      string     // receiver, transmitter, transceiver; empty: MM4
	State     string     // of MM4: what it is at; of SMPP bound
	Address   string     // of the peer; empty: not known
	TLS       bool
	Version   uint8  // of SMPP: interface_version; 0: none was given
	Mails     int    // of MM4: that were taken
	Replica   string // the process that holds it
	BeganAt   time.Time
	SeenAt    time.Time
	Ending    bool // its end was asked for
}

// SessionFilter narrows the list of sessions. Zero fields do not.
type SessionFilter struct {
	AccountID message.ID
	VendorID  message.ID
	Kind      OwnerKind
	Protocol  string // smpp, mm4
	Replica   string
}

// PortalUser is somebody who may use the portal for an account.
type PortalUser struct {
	ID          message.ID
	AccountID   message.ID
	Email       string // lower case, unique in the account; never changes
	Name        string
	Scopes      []string
	Active      bool
	Joined      bool       // a password is chosen
	PasswordID  message.ID // another one with each password
	Invitation  Invitation // the open one; zero: none
	LastLoginAt time.Time  // zero: never
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Invitation is a link with which a portal user chooses a password, once.
type Invitation struct {
	ExpiresAt time.Time
	SentAt    time.Time // zero: not sent
}

// ScopeAccountWrite lets its holder change the account, and whoever may use the portal
// for it.
const ScopeAccountWrite = "account:write"
