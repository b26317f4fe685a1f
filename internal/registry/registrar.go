package registry

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Registrar is what customers and staff do with brands and campaigns, and what is
// done by schedule. Set the fields before the first use; it is then safe for
// concurrent use, also by several processes on one store.
type Registrar struct {
	Store Store
	// Client is the registry. Nil: none is configured, and nothing can be filed.
	Client Client
	// Hashes makes the keyed hashes of a tax id, the current key's first.
	Hashes func(taxID string) [][]byte
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log gets what staff should know. Nil: nothing is logged.
	Log *slog.Logger
}

func (r *Registrar) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func (r *Registrar) log() *slog.Logger {
	if r.Log != nil {
		return r.Log
	}
	return slog.New(slog.DiscardHandler)
}

// Campaigns a brand may have here (reference: compliance.md §3), and brands an
// account: somebody who needs more talks to staff.
const (
	MaxBrands    = 50
	MaxCampaigns = 50
)

// CreateBrand stores a draft, or with ask one that must be complete, because the
// customer asks for its registration. The store fills in nothing: b is what there
// is afterwards. key may be nil; its answer is stored with the draft.
func (r *Registrar) CreateBrand(ctx context.Context, by Actor, b *Brand, ask bool, key *message.Idempotency) error {
	if err := r.PrepareBrand(b, ask); err != nil {
		return err
	}
	return r.Store.AddBrandDraft(ctx, by, b, r.hashes(b), key)
}

// PrepareBrand makes a draft ready to be stored, so that the answer to the request
// can be written before it is.
func (r *Registrar) PrepareBrand(b *Brand, ask bool) error {
	now := r.now().UTC().Truncate(time.Millisecond)
	if b.ID == (message.ID{}) {
		b.ID = message.NewID()
		b.CreatedAt = now
	}
	b.Status, b.VettingScore, b.Revision, b.UpdatedAt = BrandUnregistered, -1, max(b.Revision, 1), now
	b.TaxIDShown = shown(b)
	return r.checkBrand(b, ask, now)
}

func (r *Registrar) checkBrand(b *Brand, ask bool, now time.Time) error {
	if !ask {
		b.RequestedAt = time.Time{}
		return b.CheckDraft()
	}
	if b.RequestedAt.IsZero() {
		b.RequestedAt = now
	}
	return b.Check()
}

// shown is the part of a tax id that people may see.
func shown(b *Brand) string {
	if b.TaxID.Empty() {
		return b.TaxIDShown
	}
	id := TaxIDPlain(b.TaxID.Reveal())
	return id[max(0, len(id)-4):]
}

// hashes are of the tax id with its country: the same digits elsewhere are another
// company.
func (r *Registrar) hashes(b *Brand) [][]byte {
	if b.TaxID.Empty() || r.Hashes == nil {
		return nil
	}
	country := b.TaxIDCountry
	if country == "" {
		country = b.Country
	}
	if country == "" {
		country = "US"
	}
	return r.Hashes("tax id " + country + " " + TaxIDPlain(b.TaxID.Reveal()))
}

// Asks says what a change does with the customer's wish for registration.
type Asks int

// The wishes.
const (
	AsBefore Asks = iota
	AskFor        // register it
	TakeBack      // not yet
)

func (a Asks) from(requested time.Time) bool {
	return a == AskFor || a == AsBefore && !requested.IsZero()
}

// ChangeBrand changes a draft. revision is the one that the customer has seen, 0:
// whatever there is.
func (r *Registrar) ChangeBrand(ctx context.Context, by Actor, account, id message.ID, revision int, asks Asks, change func(*Brand)) (*Brand, error) {
	b, err := r.Store.RegistryBrand(ctx, account, id)
	if err != nil {
		return nil, err
	}
	if err := fresh(revision, b.Revision); err != nil {
		return nil, err
	}
	if b.Status != BrandUnregistered {
		return nil, message.Refuse(message.ReasonConflict, "the brand is %s; only one that is not registered can be changed here", b.Status)
	}
	change(b)
	b.UpdatedAt = r.now().UTC().Truncate(time.Millisecond)
	b.TaxIDShown = shown(b)
	if err := r.checkBrand(b, asks.from(b.RequestedAt), b.UpdatedAt); err != nil {
		return nil, err
	}
	return b, r.Store.ChangeBrandDraft(ctx, by, b, r.hashes(b))
}

// ErrStale is in the chain of a change of something that somebody else has changed
// since it was read.
var ErrStale = errors.New("it was changed meanwhile")

func fresh(seen, is int) error {
	if seen != 0 && seen != is {
		return message.Because(message.ReasonConflict, ErrStale, "it was changed since you read it; read it again")
	}
	return nil
}

// PrepareCampaign and CreateCampaign are as those of brands.
func (r *Registrar) PrepareCampaign(c *Campaign, ask bool) error {
	now := r.now().UTC().Truncate(time.Millisecond)
	if c.ID == (message.ID{}) {
		c.ID = message.NewID()
		c.CreatedAt = now
	}
	c.Status, c.Revision, c.UpdatedAt = Draft, max(c.Revision, 1), now
	return r.checkCampaign(c, ask, now)
}

// CreateCampaign stores a draft of a brand of the same account.
func (r *Registrar) CreateCampaign(ctx context.Context, by Actor, c *Campaign, ask bool, key *message.Idempotency) error {
	if err := r.PrepareCampaign(c, ask); err != nil {
		return err
	}
	return r.Store.AddCampaignDraft(ctx, by, c, key)
}

func (r *Registrar) checkCampaign(c *Campaign, ask bool, now time.Time) error {
	if !ask {
		c.RequestedAt = time.Time{}
		return c.CheckDraft()
	}
	if c.RequestedAt.IsZero() {
		c.RequestedAt = now
	}
	return c.Check()
}

// ChangeCampaign changes a draft. Of a campaign that is filed only the answers to
// START, STOP and HELP can be changed: the rest is what the registry has approved.
func (r *Registrar) ChangeCampaign(ctx context.Context, by Actor, account, id message.ID, revision int, asks Asks, change func(*Campaign)) (*Campaign, error) {
	c, err := r.Store.RegistryCampaign(ctx, account, id)
	if err != nil {
		return nil, err
	}
	if err := fresh(revision, c.Revision); err != nil {
		return nil, err
	}
	was := *c
	change(c)
	c.UpdatedAt = r.now().UTC().Truncate(time.Millisecond)
	if c.Status == Draft {
		if err := r.checkCampaign(c, asks.from(c.RequestedAt), c.UpdatedAt); err != nil {
			return nil, err
		}
		return c, r.Store.ChangeCampaignDraft(ctx, by, c)
	}
	is := *c
	is.StopReply, is.HelpReply, is.StartReply, is.UpdatedAt = was.StopReply, was.HelpReply, was.StartReply, was.UpdatedAt
	if !reflect.DeepEqual(is, was) || asks != AsBefore {
		return nil, message.Refuse(message.ReasonConflict, "the campaign is %s; of one that is filed only stop_reply, help_reply and start_reply can be changed", c.Status)
	}
	var k checks
	for _, f := range []struct{ name, was, is string }{{"stop_reply", was.StopReply, c.StopReply}, {"help_reply", was.HelpReply, c.HelpReply}, {"start_reply", was.StartReply, c.StartReply}} {
		if f.was != "" && f.is == "" { // the registry has approved that there is one
			k.length(f.name, f.is, minReply, maxReply)
		}
	}
	c.checkValues(&k)
	if err := k.refusal("the campaign"); err != nil {
		return nil, err
	}
	return c, r.Store.ChangeCampaignDraft(ctx, by, c)
}

// SuspendCampaign stops a campaign whatever the registry says of it.
func (r *Registrar) SuspendCampaign(ctx context.Context, by Actor, id message.ID, reason string) error {
	c, err := r.Store.RegistryCampaign(ctx, message.ID{}, id)
	if err != nil {
		return err
	}
	if c.Status == Expired || c.Status == Draft {
		return message.Refuse(message.ReasonConflict, "the campaign is %s; there is nothing to suspend", c.Status)
	}
	return r.Store.SuspendCampaign(ctx, by, id, true, Suspended, reason)
}

// ResumeCampaign lifts staff's suspension. The campaign is then what registry and
// carriers last said.
func (r *Registrar) ResumeCampaign(ctx context.Context, by Actor, id message.ID, reason string) error {
	c, err := r.Store.RegistryCampaign(ctx, message.ID{}, id)
	if err != nil {
		return err
	}
	if c.SuspendedBy == "" {
		return message.Refuse(message.ReasonConflict, "the campaign is %s, and not suspended by staff", c.Status)
	}
	status := Active // one that was added by hand has no word of the registry
	if c.RegistryStatus != "" {
		status = StatusOf(Pending, c.RegistryStatus, c.Carriers)
	}
	return r.Store.SuspendCampaign(ctx, by, id, false, status, reason)
}
