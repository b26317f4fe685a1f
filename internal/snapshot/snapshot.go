// Package snapshot holds the configuration of all accounts in memory: one
// immutable value that every request and activity of the process reads without
// a lock, replaced whole when the database's configuration version moves.
//
// The rule not to break: a Snapshot is never changed after it was published,
// and everything in it was read in one transaction.
package snapshot

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/content"
	"github.com/postrider/postrider/internal/mediaprofile"
	"github.com/postrider/postrider/internal/message"
)

// Snapshot is the configuration at one version.
type Snapshot struct {
	Version  int64
	LoadedAt time.Time
	// Tables has the stamp of each table that has changed since there are stamps: it
	// is the same as long as what is in the table is.
	Tables map[string]message.ID

	Accounts    map[message.ID]*Account
	Credentials map[string]*Credential // by key
	Numbers     map[message.Address]*Number
	Campaigns   map[message.ID]*Campaign
	Brands      map[message.ID]*Brand
	Vendors     map[message.ID]*Vendor
	Routes      []Route                   // by priority, then id
	Endpoints   map[message.ID][]Endpoint // by account
	// Destinations are where inbound messages go: of single numbers, and of accounts for
	// all others. Each list is in the order of its positions.
	Destinations Destinations
	// SMPPCredentials by system_id.
	SMPPCredentials map[string]*SMPPCredential
	// MM4Peers by id, disabled ones as well.
	MM4Peers    map[message.ID]*MM4Peer
	SigningKeys []SigningKey // newest first
	// Staff by e-mail address, ServiceCredentials by key.
	Staff              map[string]*Staff
	ServiceCredentials map[string]*ServiceCredential
	// Content are the active content rules, compiled; nil: none.
	Content *content.Rules
	// MediaProfiles are those that have a row, by name. What the release brings is not
	// among them: MediaProfile knows both.
	MediaProfiles map[string]mediaprofile.Profile
	// Problems are single things that could not be used and were left out, so that
	// they break nothing else, by their tables. They name rows, and hold no secrets.
	Problems map[string][]string

	credentialsByID map[message.ID]*Credential
	smppByID        map[message.ID]*SMPPCredential
	numbersOf       map[message.ID][]*Number
	byExternalID    map[string]*Account
	passedTLVs      map[uint16]bool
	byID            staffIndex
}

// SigningKey signs access tokens.
type SigningKey struct {
	KID       string
	Algorithm string // EdDSA, HS256
	Secret    []byte // Ed25519 seed, or the HMAC key
	SignsFrom time.Time
	RetiredAt time.Time // zero: in use
}

// Index builds the look-ups. It is called once, before the snapshot is
// published.
func (s *Snapshot) Index() { s.IndexAfter(nil) }

// IndexAfter is Index for a snapshot that has taken over parts of an older one: the
// look-ups into a map that is the older one's own are taken over as well. Old may be
// nil.
func (s *Snapshot) IndexAfter(old *Snapshot) {
	if old == nil {
		old = &Snapshot{}
	}
	if s.credentialsByID = old.credentialsByID; !same(s.Credentials, old.Credentials) {
		s.credentialsByID = make(map[message.ID]*Credential, len(s.Credentials))
		for _, c := range s.Credentials {
			s.credentialsByID[c.ID] = c
		}
	}
	if s.byExternalID = old.byExternalID; !same(s.Accounts, old.Accounts) {
		s.byExternalID = make(map[string]*Account)
		for _, a := range s.Accounts {
			if a.ExternalID != "" {
				s.byExternalID[a.ExternalID] = a
			}
		}
	}
	s.indexStaff()
	if s.smppByID = old.smppByID; !same(s.SMPPCredentials, old.SMPPCredentials) {
		s.smppByID = make(map[message.ID]*SMPPCredential, len(s.SMPPCredentials))
		for _, c := range s.SMPPCredentials {
			s.smppByID[c.ID] = c
		}
	}
	if s.numbersOf = old.numbersOf; !same(s.Numbers, old.Numbers) {
		s.indexNumbers()
	}
	s.passedTLVs = make(map[uint16]bool)
	for _, v := range s.Vendors {
		for _, tag := range v.PassTLVs {
			s.passedTLVs[tag] = s.passedTLVs[tag] || v.Active
		}
	}
	s.sortRoutes()
}

// Problem notes something of a table that is left out.
func (s *Snapshot) Problem(table, format string, args ...any) {
	if s.Problems == nil {
		s.Problems = map[string][]string{}
	}
	s.Problems[table] = append(s.Problems[table], fmt.Sprintf(format, args...))
}

// KeepProblems takes over what an older snapshot left out of a table.
func (s *Snapshot) KeepProblems(table string, from *Snapshot) {
	for _, p := range from.Problems[table] {
		s.Problem(table, "%s", p)
	}
}

// same reports whether a and b are one map, and not two with the same in them.
func same[K comparable, V any](a, b map[K]V) bool {
	return a != nil && reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

func (s *Snapshot) indexNumbers() {
	s.numbersOf = make(map[message.ID][]*Number)
	for _, n := range s.Numbers {
		s.numbersOf[n.AccountID] = append(s.numbersOf[n.AccountID], n)
	}
	for _, list := range s.numbersOf {
		slices.SortFunc(list, func(a, b *Number) int { return strings.Compare(string(a.Number), string(b.Number)) })
	}
}

// sortRoutes leaves routes alone that are in order: they may be an older
// snapshot's, which somebody reads now.
func (s *Snapshot) sortRoutes() {
	order := func(a, b Route) int { return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.ID, b.ID)) }
	if !slices.IsSortedFunc(s.Routes, order) {
		slices.SortStableFunc(s.Routes, order)
	}
}

// AccountByExternalID finds an account by what the operator's other systems call it, nil
// when there is none.
func (s *Snapshot) AccountByExternalID(id string) *Account { return s.byExternalID[id] }

// CredentialByID finds a credential by its row id, nil when it is gone.
func (s *Snapshot) CredentialByID(id message.ID) *Credential { return s.credentialsByID[id] }

// SMPPCredentialByID finds an SMPP credential by its row id, nil when it is
// gone.
func (s *Snapshot) SMPPCredentialByID(id message.ID) *SMPPCredential { return s.smppByID[id] }

// NumbersOf lists an account's numbers in order.
func (s *Snapshot) NumbersOf(account message.ID) []*Number { return s.numbersOf[account] }

// PassesTLV reports whether some active vendor is given optional parameters with
// the tag: others need not be kept.
func (s *Snapshot) PassesTLV(tag uint16) bool { return s.passedTLVs[tag] }

// OnlySender is the number an account sends from when it names none: its one
// enabled number, or false when it has none or several.
func (s *Snapshot) OnlySender(account message.ID) (message.Address, bool) {
	var only message.Address
	for _, n := range s.numbersOf[account] {
		if !n.SMSEnabled {
			continue
		}
		if only != "" {
			return "", false
		}
		only = n.Number
	}
	return only, only != ""
}

// CampaignOf is the campaign that a number is registered to, nil when none.
func (s *Snapshot) CampaignOf(n *Number) *Campaign {
	if n == nil {
		return nil
	}
	return s.Campaigns[n.Campaign]
}
