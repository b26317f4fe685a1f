package registry

import (
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
)

// Actor is who changes a registration: it goes into the audit log.
type Actor = message.Actor

// System is the actor of what happens by schedule.
var System = Actor{Name: "postrider", Role: "system"}

// BrandStatus is how far a brand is.
type BrandStatus string

// The statuses of a brand.
const (
	BrandUnregistered BrandStatus = "unregistered" // a draft
	BrandPending      BrandStatus = "pending"      // filed
	BrandApproved     BrandStatus = "approved"     // may have campaigns
	BrandFailed       BrandStatus = "failed"       // the registry could not verify it
)

// Status is how far a campaign is, as snapshot.CampaignStatus.
type Status string

// The statuses of a campaign.
const (
	Draft     Status = "draft"
	Pending   Status = "pending"
	Active    Status = "active"
	Suspended Status = "suspended"
	Rejected  Status = "rejected"
	Expired   Status = "expired" // final
)

// Entity types.
const (
	PrivateProfit  = "PRIVATE_PROFIT"
	PublicProfit   = "PUBLIC_PROFIT"
	NonProfit      = "NON_PROFIT"
	Government     = "GOVERNMENT"
	SoleProprietor = "SOLE_PROPRIETOR" // also a use case
)

// Brand is a company, with what the registry says of it.
type Brand struct {
	ID        message.ID
	AccountID message.ID
	BrandID   string // the registry's; empty: not registered
	Name      string // as customers know it
	Status    BrandStatus

	EntityType        string
	LegalName         string
	FirstName         string // of a sole proprietor
	LastName          string
	TaxID             secret.String // EIN; empty when it was not read
	TaxIDShown        string        // its last four characters
	TaxIDCountry      string        // ISO 3166 alpha-2; empty: Country
	Phone             string        // E.164
	Email             string
	Website           string
	Street            string
	City              string
	State             string
	PostalCode        string
	Country           string // ISO 3166 alpha-2
	Vertical          string
	StockSymbol       string // of a public company
	StockExchange     string
	AltBusinessID     string
	AltBusinessIDType string

	IdentityStatus   string // SELF_DECLARED, UNVERIFIED, VERIFIED, VETTED_VERIFIED
	VettingScore     int    // 0-100; -1: not vetted
	VettingClass     string
	VettedAt         time.Time
	VettingExpiresAt time.Time
	Tier             string // T-Mobile's, as in the tables
	DailyCap         int    // parts a day over all vendors; 0: none
	CapKey           string // brands of one company share it
	ReportedTier     string // what T-Mobile reports of a campaign of it; empty: nothing
	Failure          string // why the registry refuses it

	RequestedAt time.Time // zero: the customer has not asked for registration
	FiledAt     time.Time
	Revision    int // grows with each change that a customer can see
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Campaign is a use case of a brand, with what the registry and the carriers say
// of it.
type Campaign struct {
	ID         message.ID
	AccountID  message.ID
	CampaignID string // the registry's; empty: not registered
	Brand      message.ID
	Status     Status

	UseCase            string
	SubUseCases        []string
	Description        string
	MessageFlow        string // how people opt in
	Samples            []string
	OptInKeywords      []string
	OptOutKeywords     []string
	HelpKeywords       []string
	StartReply         string // what START, STOP and HELP are answered with
	StopReply          string
	HelpReply          string
	EmbeddedLink       bool
	EmbeddedPhone      bool
	NumberPool         bool
	AgeGated           bool
	DirectLending      bool
	AffiliateMarketing bool
	SubscriberOptIn    bool
	SubscriberOptOut   bool
	SubscriberHelp     bool
	AutoRenewal        bool

	RegistryStatus string // its own word
	SuspendedBy    string // a member of staff; empty: nobody
	Class          string // AT&T's message class
	Throughput     int    // SMS parts a minute; 0: none
	MMSThroughput  int
	PerNumber      bool // both are each number's
	DailyCap       int
	Carriers       []Carrier
	Numbers        []message.Address
	Failure        string

	RequestedAt time.Time
	FiledAt     time.Time
	ApprovedAt  time.Time
	Revision    int
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Carriers' words for a campaign, in lower case as everywhere here. Empty: the
// carrier has said nothing.
const (
	CarrierReview    = "review"
	CarrierApproved  = "approved"
	CarrierRejected  = "rejected"
	CarrierSuspended = "suspended"
)

// Network ids of the registry.
const (
	ATT     = 10017
	TMobile = 10035
)

// Carrier is what one carrier says of a campaign.
type Carrier struct {
	NetworkID int
	Network   string // its name
	Status    string
	Class     string // AT&T's
	TPM       int    // SMS parts a minute; 0: not reported
	MMSTPM    int
	BrandTier string // T-Mobile's
	Surcharge string // a decimal a message; empty: not reported
}

// BrandState is what the registry says of a brand.
type BrandState struct {
	BrandID        string
	Status         BrandStatus
	IdentityStatus string
	Score          int // -1: not vetted
	Class          string
	VettedAt       time.Time
	ExpiresAt      time.Time
	Russell3000    bool // a company of that index is in the highest tier
	Failure        string
}

// CampaignState is what the registry says of a campaign.
type CampaignState struct {
	CampaignID string
	Status     string // its own word, such as ACTIVE
}
