package snapshot

import (
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Role is what a member of staff may do.
type Role string

// The roles. Each may read the configuration; the comment says what it may
// beside that.
const (
	RoleAdmin      Role = "admin"      // everything
	RoleOperator   Role = "operator"   // change vendors, routes, customers, numbers, quotas
	RoleSupport    Role = "support"    // read messages with their texts, withdraw them
	RoleCompliance Role = "compliance" // change campaigns, content rules, opt-outs; read texts and the audit log
	RoleViewer     Role = "viewer"     // nothing
)

// Roles lists all of them.
func Roles() []Role {
	return []Role{RoleAdmin, RoleOperator, RoleSupport, RoleCompliance, RoleViewer}
}

// ReadsTexts reports whether the role may read the texts of messages.
func (r Role) ReadsTexts() bool {
	return r == RoleAdmin || r == RoleSupport || r == RoleCompliance
}

// Staff is somebody who works with the internal API.
type Staff struct {
	ID           message.ID
	Email        string // lower case, unique; never changes
	Name         string
	PasswordHash string     // of package secret; empty: none was chosen yet
	PasswordID   message.ID // another one with each password
	Role         Role
	Active       bool
}

// StaffMember is Staff as the list shows it.
type StaffMember struct {
	Staff
	LastLoginAt  time.Time // zero: never
	FailedTries  int       // since the last login
	LastFailedAt time.Time // zero: never
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// ScopeServiceMessages lets a service send messages for any account.
const ScopeServiceMessages = "service:messages"

// ServiceCredential is a key and secret of one of the platform's own services.
type ServiceCredential struct {
	ID         message.ID
	Name       string
	Key        string
	SecretHash []byte // keyed hash
	Scopes     []string
	Active     bool
	ExpiresAt  time.Time // zero: never
}

// InForce reports whether it may be used.
func (c *ServiceCredential) InForce(now time.Time) bool {
	return c.Active && (c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt))
}

// ServiceState is a ServiceCredential as the list shows it.
type ServiceState struct {
	ServiceCredential
	LastUsedAt time.Time // zero: never
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// Customer is an account as staff see it.
type Customer struct {
	Account
	APIKeys   bool // it has keys in force
	ESMEs     bool // it has SMPP credentials that may bind
	CreatedAt time.Time
	UpdatedAt time.Time
}

// CustomerFilter narrows a list of customers. Zero fields do not.
type CustomerFilter struct {
	Status     AccountStatus
	ExternalID string
	Name       string // a part of the company's name, in capitals or not
}

// staffIndex finds staff and services by id.
type staffIndex struct {
	staff    map[message.ID]*Staff
	services map[message.ID]*ServiceCredential
}

func (s *Snapshot) indexStaff() {
	s.byID = staffIndex{make(map[message.ID]*Staff, len(s.Staff)), make(map[message.ID]*ServiceCredential, len(s.ServiceCredentials))}
	for _, m := range s.Staff {
		s.byID.staff[m.ID] = m
	}
	for _, c := range s.ServiceCredentials {
		s.byID.services[c.ID] = c
	}
}

// StaffByID finds a member of staff, active or not; nil when there is none.
func (s *Snapshot) StaffByID(id message.ID) *Staff { return s.byID.staff[id] }

// ServiceCredentialByID finds a service's credential, in force or not; nil when
// there is none.
func (s *Snapshot) ServiceCredentialByID(id message.ID) *ServiceCredential {
	return s.byID.services[id]
}

// StaffChange is a change of a member of staff. Fields that are nil or empty leave
// what there is.
type StaffChange struct {
	Name         *string
	Role         *Role
	Active       *bool
	PasswordHash string // ends the tokens of the password before
}

// ServiceChange is a change of a service's credential. Fields that are nil leave
// what there is.
type ServiceChange struct {
	Name      *string
	Active    *bool
	ExpiresAt *time.Time // zero: never
}
