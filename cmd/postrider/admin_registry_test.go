package main

import (
	"context"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/registry/registrytest"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

type registered struct {
	ID             string
	BrandID        string `json:"brand_id"`
	CampaignID     string `json:"campaign_id"`
	Status         string
	RegistryStatus string `json:"registry_status"`
	SuspendedBy    string `json:"suspended_by"`
	Throughput     int    `json:"throughput_limit"`
}

// A brand and a campaign from what the customer asks for to a suspension, by the
// commands of staff.
func TestAdminRegistry(t *testing.T) {
	s := startShell(t)
	fake := registrytest.Start()
	defer fake.Close()
	for name, value := range map[string]string{"REGISTRY_URL": fake.URL, "REGISTRY_KEY": registrytest.Key, "REGISTRY_SECRET": registrytest.Secret} {
		t.Setenv(name, value)
	}
	var account struct{ ID message.ID }
	s.admin(&account, "account", "create", "--name", "Acme")
	brand := registry.Brand{AccountID: account.ID, Name: "Acme", EntityType: registry.PrivateProfit, LegalName: "Acme Inc.", TaxID: secret.Conceal("123456789"), Phone: "+12025550143",
		Email: "support@acme.example", Street: "1 Main St", City: "Springfield", State: "IL", PostalCode: "62701", Country: "US", Vertical: "RETAIL"}
	campaign := registry.Campaign{AccountID: account.ID, UseCase: "LOW_VOLUME", Description: "Tells customers of the shop what becomes of their orders.",
		MessageFlow: "Customers tick a box at the checkout on acme.example to be told.", Samples: []string{"Acme: your order 8812 has left our store."}, OptOutKeywords: []string{"STOP"},
		HelpKeywords: []string{"HELP"}, StopReply: "Acme: you get no more messages of us.", HelpReply: "Acme: write to support@acme.example.",
		SubscriberOptOut: true, SubscriberHelp: true}
	by := message.Actor{Name: "customer", Role: "customer"}
	err := withRegistry(stacktest.Context(t), func(_ *postgres.DB, r *registry.Registrar) error {
		if err := r.CreateBrand(stacktest.Context(t), by, &brand, true, nil); err != nil {
			return err
		}
		campaign.Brand = brand.ID
		return r.CreateCampaign(context.Background(), by, &campaign, false, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	var list []registered
	s.admin(&list, "brand", "list", "--asked")
	if len(list) != 1 || list[0].ID != brand.ID.String() || list[0].Status != "unregistered" {
		t.Fatalf("%+v", list)
	}
	if s.admin(&list, "campaign", "list", "--asked"); len(list) != 0 {
		t.Errorf("nobody has asked for it: %+v", list)
	}
	var b, c registered
	s.admin(&b, "brand", "submit", brand.ID.String())
	if b.Status != "pending" || b.BrandID == "" {
		t.Fatalf("%+v", b)
	}
	fake.Vet(b.BrandID, 60, "2026-11-01")
	if s.admin(&b, "brand", "sync", brand.ID.String()); b.Status != "approved" {
		t.Errorf("%+v", b)
	}
	id := campaign.ID.String()
	for words, says := range map[string]string{"submit " + id: "--accept-terms", "submit --accept-terms " + id: "body.sample_messages", "sync " + id: "does not know it",
		"suspend " + id: "reason", "suspend --reason x " + id: "nothing to suspend", "resume " + id: "not suspended by staff", "show x": "UUID", "show " + message.NewID().String(): "no campaign"} {
		if out, _, err := command(t, append([]string{"admin", "campaign"}, strings.Fields(words)...)...); err == nil || !strings.Contains(err.Error(), says) || out != "" {
			t.Errorf("%s: %v, want %s", words, err, says)
		}
	}
	err = withRegistry(stacktest.Context(t), func(_ *postgres.DB, r *registry.Registrar) error {
		_, err := r.ChangeCampaign(context.Background(), by, account.ID, campaign.ID, 0, registry.AskFor, func(c *registry.Campaign) { c.Samples = append(c.Samples, c.Samples[0]) })
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.admin(&c, "campaign", "submit", "--accept-terms", id); c.Status != "pending" || c.CampaignID == "" {
		t.Fatalf("%+v", c)
	}
	fake.SetCarrier(c.CampaignID, registry.ATT, "APPROVED", nil)
	if s.admin(&c, "campaign", "sync", id); c.Status != "active" || c.RegistryStatus != "ACTIVE" || c.Throughput != 75 {
		t.Errorf("%+v", c)
	}
	if s.admin(&c, "campaign", "suspend", id, "--reason", "complaints"); c.Status != "suspended" || c.SuspendedBy == "" {
		t.Errorf("%+v", c)
	}
	if s.admin(&c, "campaign", "resume", id); c.Status != "active" || c.SuspendedBy != "" {
		t.Errorf("%+v", c)
	}
	if s.admin(&c, "campaign", "show", id); c.ID != id {
		t.Errorf("%+v", c)
	}
	if s.admin(&list, "campaign", "list", "--account", account.ID.String()); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	if n := s.row("select count(*)::text from audit_log where action in ('campaign.suspend', 'campaign.resume', 'campaign.submit', 'brand.submit') and role = 'shell'"); n != "4" {
		t.Errorf("%s lines of the audit log, want 4", n)
	}
	t.Setenv("REGISTRY_URL", "")
	t.Setenv("REGISTRY_KEY", "")
	t.Setenv("REGISTRY_SECRET", "")
	if _, _, err := command(t, "admin", "brand", "sync", brand.ID.String()); err == nil || !strings.Contains(err.Error(), "REGISTRY_URL") {
		t.Errorf("without a registry: %v", err)
	}
}
