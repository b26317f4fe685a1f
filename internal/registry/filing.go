package registry

import (
	"context"
	"errors"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// errNoRegistry refuses what needs a registry where there is none.
var errNoRegistry = message.Refuse(message.ReasonUnavailable, "no campaign registry is configured: set REGISTRY_URL, REGISTRY_KEY and REGISTRY_SECRET")

// SubmitBrand files a brand. An error that is Retryable leaves the filing open:
// it is completed by schedule, and never sent a second time if the registry has it.
func (r *Registrar) SubmitBrand(ctx context.Context, by Actor, id message.ID) error {
	if r.Client == nil {
		return errNoRegistry
	}
	b, err := r.Store.RegistryBrand(ctx, message.ID{}, id)
	if err != nil {
		return err
	}
	if b.Status != BrandUnregistered {
		return message.Refuse(message.ReasonConflict, "the brand is %s already", b.Status)
	}
	if err := b.Check(); err != nil {
		return err
	}
	f, err := r.Store.BeginFiling(ctx, by, KindBrand, id)
	if err != nil {
		return err
	}
	return r.file(ctx, f)
}

// SubmitCampaign files a campaign, as SubmitBrand does. Whoever calls it accepts the
// registry's terms for it and its fees. Its brand must be approved.
func (r *Registrar) SubmitCampaign(ctx context.Context, by Actor, id message.ID) error {
	if r.Client == nil {
		return errNoRegistry
	}
	c, err := r.Store.RegistryCampaign(ctx, message.ID{}, id)
	if err != nil {
		return err
	}
	if c.Status != Draft {
		return message.Refuse(message.ReasonConflict, "the campaign is %s already", c.Status)
	}
	if err := c.Check(); err != nil {
		return err
	}
	if _, err := r.approvedBrand(ctx, c); err != nil {
		return err
	}
	f, err := r.Store.BeginFiling(ctx, by, KindCampaign, id)
	if err != nil {
		return err
	}
	return r.file(ctx, f)
}

func (r *Registrar) approvedBrand(ctx context.Context, c *Campaign) (*Brand, error) {
	b, err := r.Store.RegistryBrand(ctx, c.AccountID, c.Brand)
	if err != nil {
		return nil, err
	}
	if b.Status != BrandApproved || b.BrandID == "" {
		return nil, message.Refuse(message.ReasonConflict, "the brand %s is %s; a campaign needs one that the registry has approved", b.Name, b.Status)
	}
	return b, nil
}

// Pauses before an open filing is looked at again.
const (
	filingSoon = time.Minute
	filingMost = time.Hour
)

// file sends what is journalled, unless the registry has it. f is claimed.
func (r *Registrar) file(ctx context.Context, f Filing) error {
	id, err := r.send(ctx, f)
	// What came back must be stored also if whoever asked has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	switch {
	case err == nil:
		return r.Store.EndFiling(ctx, f, id)
	case settled(err):
		if serr := r.Store.RefuseFiling(ctx, f, message.AsError(err).Detail); serr != nil {
			return serr
		}
		return err
	}
	wait := min(filingSoon<<min(f.Sends-1, 10), filingMost)
	if serr := r.Store.PostponeFiling(ctx, f, max(wait, retryIn(err)), message.AsError(err).Detail); serr != nil {
		return serr
	}
	r.log().Warn("filing is left open, it will be completed by schedule", "kind", f.Kind, "target", f.Target, "reason", message.ReasonOf(err), "error", errors.Unwrap(message.AsError(err)))
	return message.Because(message.ReasonUnavailable, err, "%s; the filing is kept and completed by schedule", message.AsError(err).Detail)
}

// storeTimeout bounds what is stored after an answer.
const storeTimeout = 15 * time.Second

// settled reports whether an error is the registry's last word on a filing.
func settled(err error) bool {
	if Uncertain(err) {
		return false
	}
	switch message.ReasonOf(err) {
	case message.ReasonInvalidRequest, message.ReasonNotFound:
		return true
	}
	return false
}

func retryIn(err error) time.Duration {
	var waits interface{ RetryAfter() time.Duration }
	if errors.As(err, &waits) {
		return waits.RetryAfter()
	}
	return 0
}

// send looks for the reference if it may have been sent before, sends it if it is
// not there, and looks again if the registry says that it is.
func (r *Registrar) send(ctx context.Context, f Filing) (string, error) {
	find, register := r.Client.FindBrand, r.registerBrand
	if f.Kind == KindCampaign {
		find, register = r.Client.FindCampaign, r.submitCampaign
	}
	if f.Sends > 1 {
		if id, err := find(ctx, f.Reference); err != nil || id != "" {
			return id, unsettled(err)
		}
	}
	id, err := register(ctx, f)
	if message.ReasonOf(err) != message.ReasonConflict {
		return id, err
	}
	id, ferr := find(ctx, f.Reference)
	switch {
	case ferr != nil:
		return "", unsettled(ferr)
	case id == "":
		return "", message.Because(message.ReasonUnavailable, err, "the registry knows the reference %s and does not list it yet", f.Reference)
	}
	return id, nil
}

// unsettled makes a failed look-up into something to try again: it says nothing of
// the filing.
func unsettled(err error) error {
	if err == nil {
		return nil
	}
	return &failure{refusal: message.Because(message.ReasonUnavailable, err, "%s", message.AsError(err).Detail), uncertain: true, wait: retryIn(err)}
}

func (r *Registrar) registerBrand(ctx context.Context, f Filing) (string, error) {
	b, err := r.Store.RegistryBrand(ctx, message.ID{}, f.Target)
	if err != nil {
		return "", unsettled(err)
	}
	// The customer could change the draft until the filing was journalled.
	if err := b.Check(); err != nil {
		return "", err
	}
	return r.Client.RegisterBrand(ctx, b, f.Reference)
}

func (r *Registrar) submitCampaign(ctx context.Context, f Filing) (string, error) {
	c, err := r.Store.RegistryCampaign(ctx, message.ID{}, f.Target)
	if err != nil {
		return "", unsettled(err)
	}
	if err := c.Check(); err != nil { // as of a brand
		return "", err
	}
	b, err := r.approvedBrand(ctx, c)
	if err != nil {
		return "", unsettled(err)
	}
	return r.Client.SubmitCampaign(ctx, c, b.BrandID, f.Reference)
}
