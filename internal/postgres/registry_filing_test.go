package postgres

import (
	"context"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/registry/registrytest"
)

// overtaken is a store in which the customer changes a draft right before it is filed.
type overtaken struct {
	*DB
	change func()
}

func (s overtaken) BeginFiling(ctx context.Context, by registry.Actor, kind string, target message.ID) (registry.Filing, error) {
	s.change()
	return s.DB.BeginFiling(ctx, by, kind, target)
}

// What was changed between the look at a draft and its filing is looked at too: the
// registry takes its fee for what it gets.
func TestWhatIsFiledIsComplete(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	b := o.approved(-1)
	another := company(o.account)
	o.ok(o.registrar.CreateBrand(o.ctx, staff, another, true, nil))
	c := notices(o.account, b.ID)
	o.ok(o.registrar.CreateCampaign(o.ctx, staff, c, true, nil))
	late := *o.registrar
	late.Store = overtaken{o.DB, func() {
		_, err := o.registrar.ChangeBrand(o.ctx, staff, o.account, another.ID, 0, registry.TakeBack, func(b *registry.Brand) { b.Street = "" })
		o.ok(err)
		_, err = o.registrar.ChangeCampaign(o.ctx, staff, o.account, c.ID, 0, registry.TakeBack, func(c *registry.Campaign) { c.StopReply = "" })
		o.ok(err)
	}}
	o.wants(late.SubmitBrand(o.ctx, staff, another.ID), message.ReasonInvalidRequest)
	o.exec("update campaigns set stop_reply = 'Acme: you get no more messages of us.' where id = $1", c.ID)
	late.Store = overtaken{o.DB, func() { o.exec("update campaigns set stop_reply = '' where id = $1", c.ID) }}
	o.wants(late.SubmitCampaign(o.ctx, staff, c.ID), message.ReasonInvalidRequest)
	if brands, campaigns := o.fake.Registered(); brands != 1 || campaigns != 0 {
		t.Errorf("%d brands, %d campaigns are registered", brands, campaigns)
	}
	if n := o.count("select count(*) from registry_requests where state = 'open'"); n != 0 {
		t.Errorf("%d filings are open: the drafts could not be mended", n)
	}
	if got := o.readBrand(another.ID); got.Failure == "" || got.Status != registry.BrandUnregistered {
		t.Errorf("%+v", got)
	}
}

// watching is a client that has look called before it asks for a brand's reference.
type watching struct {
	registry.Client
	look func()
}

func (w watching) FindBrand(ctx context.Context, reference string) (string, error) {
	w.look()
	return w.Client.FindBrand(ctx, reference)
}

// The lease of a claim is as long as one filing may take: whoever works on several
// claims each when its turn has come.
func TestFilingsAreClaimedOneByOne(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	o.fake.Fail("POST /v2/brand/nonBlocking", registrytest.Fault{Status: 503}, registrytest.Fault{Status: 503}, registrytest.Fault{Status: 503})
	for range 3 {
		o.wants(o.registrar.SubmitBrand(o.ctx, staff, o.brand().ID), message.ReasonUnavailable)
	}
	o.exec("update registry_requests set claimed_until = now() - interval '1 second' where state = 'open'")
	looks := 0
	busy := *o.registrar
	busy.Client = watching{o.client, func() {
		looks++
		if n := o.count("select count(*) from registry_requests where state = 'open' and claimed_until > now()"); n != 1 {
			t.Errorf("%d filings are claimed at once", n)
		}
	}}
	if n, err := busy.Work(o.ctx); err != nil || n < 3 || looks != 3 {
		t.Errorf("%d done, %d looks, %v", n, looks, err)
	}
	if brands, _ := o.fake.Registered(); brands != 3 {
		t.Errorf("%d brands", brands)
	}
}
