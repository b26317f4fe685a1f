package postgres

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/registry"
)

func TestCampaignEventHasOneName(t *testing.T) {
	t.Parallel()
	if campaignEvent != notification.CampaignStatusChanged {
		t.Errorf("%q and %q", campaignEvent, notification.CampaignStatusChanged)
	}
}

// A brand has no more campaigns than it may have, however they come to it; and a filed
// campaign keeps an answer to STOP that says something.
func TestCampaignsMovedAndAnswersShortened(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	full, other := o.brand(), o.brand()
	for range registry.MaxCampaigns {
		o.ok(o.registrar.CreateCampaign(o.ctx, staff, notices(o.account, full.ID), false, nil))
	}
	c := notices(o.account, other.ID)
	o.ok(o.registrar.CreateCampaign(o.ctx, staff, c, false, nil))
	change := func(f func(*registry.Campaign)) error {
		_, err := o.registrar.ChangeCampaign(o.ctx, staff, o.account, c.ID, 0, registry.AsBefore, f)
		return err
	}
	o.wants(change(func(c *registry.Campaign) { c.Brand = full.ID }), message.ReasonConflict)
	o.ok(change(func(c *registry.Campaign) { c.Description += " Again." }))
	if o.readCampaign(c.ID).Brand != other.ID {
		t.Error("it has moved")
	}

	c = o.filed(o.approved(80))
	for _, reply := range []string{"", "x"} {
		o.wants(change(func(c *registry.Campaign) { c.StopReply = reply }), message.ReasonInvalidRequest)
	}
	o.ok(change(func(c *registry.Campaign) { c.StopReply = "Acme: no more messages will come." }))
}
