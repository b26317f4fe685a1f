package registry

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Kinds of what is filed.
const (
	KindBrand    = "brand"
	KindCampaign = "campaign"
)

// Filing is a request to the registry as the journal has it.
type Filing struct {
	ID        message.ID
	Kind      string
	Target    message.ID // the row of the brand or campaign
	Reference string     // what the registry knows it by: the same at every try
	Sends     int        // times that it may have been on the wire, this one counted
	By        string
}

// Sync is a brand or campaign whose turn has come.
type Sync struct {
	Kind     string
	Target   message.ID
	Failures int // in a row
}

// CampaignSync is what a look at the registry found of a campaign.
type CampaignSync struct {
	ID             message.ID
	Status         Status
	RegistryStatus string
	Limits         Limits
	Carriers       []Carrier
}

// BrandSync is what a look found of a brand.
type BrandSync struct {
	ID    message.ID
	State BrandState
	Tier  string
	Daily int // parts a day
}

// Store keeps registrations. Every change has its line in the audit log, and every
// change of a campaign's status its event, by the same commit. ReasonNotFound is a
// row that there is not; ReasonConflict a change that its state does not allow.
type Store interface {
	// AddBrandDraft stores a draft; hashes are the keyed hashes of its tax id, the
	// current key's first. With key the answer to the request is stored as well, and
	// a key that is there already is ReasonIdempotencyInProgress.
	AddBrandDraft(ctx context.Context, by Actor, b *Brand, hashes [][]byte, key *message.Idempotency) error
	// ChangeBrandDraft stores what was changed of a draft since b.Revision; somebody
	// else's change meanwhile, or a filing under way, is ReasonConflict.
	ChangeBrandDraft(ctx context.Context, by Actor, b *Brand, hashes [][]byte) error
	// RegistryBrand reads a brand with its tax id. A zero account is any.
	RegistryBrand(ctx context.Context, account, id message.ID) (*Brand, error)
	// RegistryBrands lists an account's brands, newest first, older than before;
	// those of all accounts for the zero id. Without tax ids.
	RegistryBrands(ctx context.Context, account, before message.ID, limit int) ([]*Brand, error)

	// AddCampaignDraft and the three after it are the same for campaigns.
	AddCampaignDraft(ctx context.Context, by Actor, c *Campaign, key *message.Idempotency) error
	ChangeCampaignDraft(ctx context.Context, by Actor, c *Campaign) error
	RegistryCampaign(ctx context.Context, account, id message.ID) (*Campaign, error)
	RegistryCampaigns(ctx context.Context, account, before message.ID, limit int) ([]*Campaign, error)

	// AssignNumbers puts numbers of the account into one of its campaigns, all or
	// none. One that is in another campaign is ReasonConflict, as is one too many.
	AssignNumbers(ctx context.Context, by Actor, account, campaign message.ID, numbers []message.Address) error
	// ReleaseNumber takes one out.
	ReleaseNumber(ctx context.Context, by Actor, account, campaign message.ID, number message.Address) error

	// BeginFiling journals that a draft is about to be sent, and claims the journal
	// row. A row that is open already is claimed again unless another process has it:
	// ReasonConflict.
	BeginFiling(ctx context.Context, by Actor, kind string, target message.ID) (Filing, error)
	// OpenFilings claims journal rows that nobody works on, and counts the send.
	OpenFilings(ctx context.Context, limit int) ([]Filing, error)
	// EndFiling stores the registry's id; Refuse what it found wrong, after which the
	// draft may be changed; Postpone leaves the row open.
	EndFiling(ctx context.Context, f Filing, registryID string) error
	RefuseFiling(ctx context.Context, f Filing, why string) error
	PostponeFiling(ctx context.Context, f Filing, by time.Duration, why string) error

	// DueSyncs claims what is to be compared, for as long as lease says: should this
	// process die, it is due again then.
	DueSyncs(ctx context.Context, limit int, lease time.Duration) ([]Sync, error)
	// Synced sets when the next look is due, also of a target that had none. why is
	// empty after a look that worked.
	Synced(ctx context.Context, kind string, target message.ID, next time.Duration, why string) error
	// SyncBrand and SyncCampaign store what was found, and write nothing else when
	// that is what is known. They report whether it was new.
	SyncBrand(ctx context.Context, by Actor, s BrandSync) (changed bool, err error)
	SyncCampaign(ctx context.Context, by Actor, s CampaignSync) (changed bool, err error)
	// SuspendCampaign sets or lifts staff's own suspension; status is what the
	// campaign is then.
	SuspendCampaign(ctx context.Context, by Actor, id message.ID, suspend bool, status Status, reason string) error
}
