package rest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/registry/registrytest"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// clerk is what the program joins: the registrar's rules, the store's reads.
type clerk struct {
	*registry.Registrar
	*postgres.DB
}

// Both have these; the registrar's have the rules.
func (c clerk) Brand(ctx context.Context, account, id message.ID) (*registry.Brand, error) {
	return c.RegistryBrand(ctx, account, id)
}

func (c clerk) Brands(ctx context.Context, account, before message.ID, limit int) ([]*registry.Brand, error) {
	return c.RegistryBrands(ctx, account, before, limit)
}

func (c clerk) Campaign(ctx context.Context, account, id message.ID) (*registry.Campaign, error) {
	return c.RegistryCampaign(ctx, account, id)
}

func (c clerk) Campaigns(ctx context.Context, account, before message.ID, limit int) ([]*registry.Campaign, error) {
	return c.RegistryCampaigns(ctx, account, before, limit)
}

func (c clerk) SuspendCampaign(ctx context.Context, by message.Actor, id message.ID, reason string) error {
	return c.Registrar.SuspendCampaign(ctx, by, id, reason)
}

func (c clerk) SyncBrand(ctx context.Context, by message.Actor, id message.ID) error {
	return c.Registrar.SyncBrand(ctx, by, id)
}

func (c clerk) SyncCampaign(ctx context.Context, by message.Actor, id message.ID) error {
	return c.Registrar.SyncCampaign(ctx, by, id)
}

// newClerk is one with a registry of its own.
func newClerk(t testing.TB, db *postgres.DB, ring *secret.Keyring) (clerk, *registrytest.Fake) {
	t.Helper()
	fake := registrytest.Start()
	t.Cleanup(fake.Close)
	client, err := registry.NewHTTP(registry.HTTP{URL: fake.URL, Key: registrytest.Key, Secret: secret.Conceal(registrytest.Secret),
		Pause: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return clerk{&registry.Registrar{Store: db, Client: client, Hashes: ring.Hasher().Hashes}, db}, fake
}

// brandDraft is one that the registry would take.
func (o *office) brandDraft() message.ID {
	o.t.Helper()
	b := &registry.Brand{AccountID: o.customer, Name: "Acme", EntityType: registry.PrivateProfit, LegalName: "Acme Inc.", TaxID: secret.Conceal("12-3456789"),
		TaxIDCountry: "US", Phone: "+12025550143", Email: "support@acme.example", Website: "https://acme.example", Street: "1 Main St", City: "Springfield",
		State: "IL", PostalCode: "62701", Country: "US", Vertical: "RETAIL"}
	if err := o.clerk.CreateBrand(o.ctx, shellActor, b); err != nil {
		o.t.Fatal(err)
	}
	return b.ID
}

func (c clerk) CreateBrand(ctx context.Context, by message.Actor, b *registry.Brand) error {
	return c.Registrar.CreateBrand(ctx, by, b, true, nil)
}

// filedCampaign is one that was registered elsewhere and is active.
func (o *office) filedCampaign() message.ID {
	o.t.Helper()
	id := message.NewID()
	if err := o.db.CreateCampaign(o.ctx, shellActor, snapshot.Campaign{ID: id, AccountID: o.customer, CampaignID: "C" + id.String()[24:], UseCase: "ACCOUNT_NOTIFICATION", Status: "active"}, "notices"); err != nil {
		o.t.Fatal(err)
	}
	return id
}

func aboutBrand(suffix, body string, filed bool) func(*office) (string, string) {
	return func(o *office) (string, string) {
		id := o.brandDraft()
		if filed {
			if err := o.clerk.SubmitBrand(o.ctx, shellActor, id); err != nil {
				o.t.Fatal(err)
			}
		}
		return staffBrandPath + "/" + id.String() + suffix, body
	}
}

func aboutCampaign(body string) func(*office) (string, string) {
	return func(o *office) (string, string) { return staffCampaignPath + "/" + o.filedCampaign().String(), body }
}

// aboutSubmittedCampaign is about one that the registry has.
func aboutSubmittedCampaign(o *office) (path, body string) {
	return staffCampaignPath + "/" + o.submittedCampaign().String() + "/sync", ""
}

func (o *office) campaignDraft() message.ID {
	o.t.Helper()
	brand := o.brandDraft()
	do := func(err error) {
		o.t.Helper()
		if err != nil {
			o.t.Fatal(err)
		}
	}
	do(o.clerk.SubmitBrand(o.ctx, shellActor, brand))
	b, err := o.clerk.Brand(o.ctx, message.ID{}, brand)
	do(err)
	o.fake.SetBrand(b.BrandID, map[string]any{"identityStatus": "VERIFIED"})
	do(o.clerk.SyncBrand(o.ctx, shellActor, brand))
	c := &registry.Campaign{AccountID: o.customer, Brand: brand, UseCase: "ACCOUNT_NOTIFICATION",
		Description: "Tells customers of the shop what becomes of their orders.", MessageFlow: "Customers tick a box at the checkout on acme.example to be told.",
		Samples:       []string{"Acme: your order 8812 has left our store. Reply STOP to opt out."},
		OptInKeywords: []string{"START"}, OptOutKeywords: []string{"STOP", "END"}, HelpKeywords: []string{"HELP"},
		StartReply: "Acme: you get messages of your orders again.", StopReply: "Acme: you get no more messages of us.", HelpReply: "Acme: write to support@acme.example.",
		EmbeddedLink: true, SubscriberOptIn: true, SubscriberOptOut: true, SubscriberHelp: true, AutoRenewal: true}
	do(o.clerk.Registrar.CreateCampaign(o.ctx, shellActor, c, true, nil))
	return c.ID
}

func (o *office) submittedCampaign() message.ID {
	o.t.Helper()
	id := o.campaignDraft()
	if err := o.clerk.SubmitCampaign(o.ctx, shellActor, id); err != nil {
		o.t.Fatal(err)
	}
	return id
}

// A brand and a campaign, from the draft to what each carrier says, by staff alone.
func TestStaffFileBrandAndCampaign(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleCompliance)
	id := o.campaignDraft()
	path := staffCampaignPath + "/" + id.String()
	for body, says := range map[string]string{`{}`: "body.status", `{"status":"pending"}`: "body.accept_terms", `{"status":"suspended"}`: "body.reason", `{"status":"asleep"}`: "body.status", `{"status":"active","x":1}`: "body.x"} {
		p := o.do("PATCH", path, body, by)
		wantProblem(t, p, 422, message.ReasonInvalidRequest)
		if e := p.json(t)["errors"].([]any)[0].(map[string]any); e["location"] != says {
			t.Errorf("%s: %v", body, e)
		}
	}
	wantProblem(t, o.do("PATCH", path, `{"status":"active"}`, by), 409, message.ReasonConflict)
	wantProblem(t, o.do("PATCH", path, `{"status":"suspended","reason":"x"}`, by), 409, message.ReasonConflict)
	filed := o.do("PATCH", path, `{"status":"pending","accept_terms":true}`, by).json(t)
	if filed["status"] != "pending" || filed["campaign_id"] == nil || filed["account_id"] != o.customer.String() {
		t.Fatalf("%v", filed)
	}
	wantProblem(t, o.do("PATCH", staffBrandPath+"/"+fmt.Sprint(filed["brand_id"]), `{"status":"pending"}`, by), 409, message.ReasonConflict)
	o.fake.SetCampaign(filed["campaign_id"].(string), "ACTIVE")
	o.fake.SetCarrier(filed["campaign_id"].(string), 10017, "APPROVED", map[string]any{"tpm": 240, "msgClass": "E"})
	synced := o.do("POST", path+"/sync", "", by).json(t)
	carriers := synced["carrier_states"].([]any)
	if synced["registry_status"] != "ACTIVE" || len(carriers) == 0 {
		t.Fatalf("%v", synced)
	}
	wantProblem(t, o.do("PATCH", path, `{"status":"expired"}`, by), 409, message.ReasonConflict)
	if r := o.do("PATCH", path, `{"status":"suspended","reason":"complaints"}`, by); r.StatusCode != 200 || r.json(t)["status"] != "suspended" || r.json(t)["suspended_by"] != "compliance@gw.example" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := o.do("PATCH", path, `{"status":"active","reason":"mended"}`, by); r.StatusCode != 200 || r.json(t)["suspended_by"] != nil {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	// One that was registered elsewhere takes each word.
	other := staffCampaignPath + "/" + o.filedCampaign().String()
	if r := o.do("PATCH", other, `{"status":"expired"}`, by); r.StatusCode != 200 || r.json(t)["status"] != "expired" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for _, list := range []string{staffBrandPath, staffCampaignPath} {
		all := len(o.do("GET", list, "", by).json(t)["data"].([]any))
		own := len(o.do("GET", list+"?account_id="+o.customer.String(), "", by).json(t)["data"].([]any))
		none := len(o.do("GET", list+"?account_id="+message.NewID().String(), "", by).json(t)["data"].([]any))
		if all == 0 || own != all || none != 0 {
			t.Errorf("%s: %d, of the customer %d, of nobody %d", list, all, own, none)
		}
	}
	// Every line of it is told by whom.
	if lines := o.audited(id.String()); len(lines) < 4 {
		t.Errorf("%v", lines)
	}
}
