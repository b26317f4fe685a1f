package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/registry/registrytest"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

var _ registry.Store = (*DB)(nil)

var staff = registry.Actor{Name: "ann", Role: "compliance"}

// office is a database and a registry with the registrar between them.
type office struct {
	*bundle
	fake      *registrytest.Fake
	client    *registry.HTTP
	registrar *registry.Registrar
	account   message.ID
}

// hasher hashes tax ids as a ring of these keys does, the current one first.
func hasher(t *testing.T, keys ...string) *secret.Hasher {
	t.Helper()
	for i, k := range keys {
		keys[i] = k + ":" + map[string]string{"one": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "two": "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="}[k]
	}
	ring, err := secret.ParseKeyring(strings.Join(keys, ","))
	if err != nil {
		t.Fatal(err)
	}
	return ring.Hasher()
}

func openOffice(t *testing.T) *office {
	t.Helper()
	o := &office{bundle: setup(t), fake: registrytest.Start()}
	t.Cleanup(o.fake.Close)
	o.client = o.clerk(registry.HTTP{})
	o.registrar = &registry.Registrar{Store: o.DB, Client: o.client, Hashes: hasher(t, "one").Hashes}
	o.account = o.customer()
	return o
}

// clerk is a client that does not pause between its tries.
func (o *office) clerk(h registry.HTTP) *registry.HTTP {
	o.tb.Helper()
	h.URL, h.Key, h.Secret = o.fake.URL, registrytest.Key, secret.Conceal(registrytest.Secret)
	h.Pause = func(context.Context, time.Duration) error { return nil }
	client, err := registry.NewHTTP(h)
	if err != nil {
		o.tb.Fatal(err)
	}
	o.tb.Cleanup(client.Close)
	return client
}

func (o *office) ok(err error) {
	o.tb.Helper()
	if err != nil {
		o.tb.Fatal(err)
	}
}

func (o *office) wants(err error, reason message.Reason) {
	o.tb.Helper()
	if message.ReasonOf(err) != reason {
		o.tb.Fatalf("%v, want %s", err, reason)
	}
}

func (o *office) customer() message.ID {
	o.tb.Helper()
	id := message.NewID()
	o.ok(o.CreateAccount(o.ctx, actor, snapshot.Account{ID: id, CompanyName: "Acme", WebhookSecret: "whsec_x"}))
	return id
}

func company(account message.ID) *registry.Brand {
	return &registry.Brand{AccountID: account, Name: "Acme", EntityType: registry.PrivateProfit, LegalName: "Acme Inc.", TaxID: secret.Conceal("12-3456789"),
		TaxIDCountry: "US", Phone: "+12025550143", Email: "support@acme.example", Website: "https://acme.example", Street: "1 Main St", City: "Springfield",
		State: "IL", PostalCode: "62701", Country: "US", Vertical: "RETAIL"}
}

func notices(account, brand message.ID) *registry.Campaign {
	return &registry.Campaign{AccountID: account, Brand: brand, UseCase: "ACCOUNT_NOTIFICATION",
		Description: "Tells customers of the shop what becomes of their orders.", MessageFlow: "Customers tick a box at the checkout on acme.example to be told.",
		Samples:       []string{"Acme: your order 8812 has left our store. Reply STOP to opt out."},
		OptInKeywords: []string{"START"}, OptOutKeywords: []string{"STOP", "END"}, HelpKeywords: []string{"HELP"},
		StartReply: "Acme: you get messages of your orders again.", StopReply: "Acme: you get no more messages of us.", HelpReply: "Acme: write to support@acme.example.",
		EmbeddedLink: true, SubscriberOptIn: true, SubscriberOptOut: true, SubscriberHelp: true, AutoRenewal: true}
}

// brand makes a draft that the registry would take.
func (o *office) brand() *registry.Brand {
	o.tb.Helper()
	b := company(o.account)
	o.ok(o.registrar.CreateBrand(o.ctx, staff, b, true, nil))
	return b
}

// approved is a brand that the registry has verified, with a score.
func (o *office) approved(score int) *registry.Brand {
	o.tb.Helper()
	b := o.brand()
	o.ok(o.registrar.SubmitBrand(o.ctx, staff, b.ID))
	b = o.readBrand(b.ID)
	o.fake.SetBrand(b.BrandID, map[string]any{"identityStatus": "VERIFIED"})
	if score >= 0 {
		o.fake.Vet(b.BrandID, score, time.Now().UTC().Format(time.RFC3339))
	}
	o.ok(o.registrar.SyncBrand(o.ctx, staff, b.ID))
	return o.readBrand(b.ID)
}

func (o *office) readBrand(id message.ID) *registry.Brand {
	o.tb.Helper()
	b, err := o.RegistryBrand(o.ctx, message.ID{}, id)
	o.ok(err)
	return b
}

func (o *office) readCampaign(id message.ID) *registry.Campaign {
	o.tb.Helper()
	c, err := o.RegistryCampaign(o.ctx, message.ID{}, id)
	o.ok(err)
	return c
}

// filed is a campaign that the registry has.
func (o *office) filed(b *registry.Brand) *registry.Campaign {
	o.tb.Helper()
	c := notices(o.account, b.ID)
	o.ok(o.registrar.CreateCampaign(o.ctx, staff, c, true, nil))
	o.ok(o.registrar.SubmitCampaign(o.ctx, staff, c.ID))
	return o.readCampaign(c.ID)
}

// The way of a brand and a campaign from draft to sending, with what sending reads
// of them, the events and the audit log.
func TestRegistration(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	all, some, none := message.NewID(), message.NewID(), message.NewID()
	o.ok(o.CreateEndpoint(o.ctx, actor, snapshot.Endpoint{ID: all, AccountID: o.account, URL: "https://shop.example/a", Secret: "whsec_a"}))
	o.ok(o.CreateEndpoint(o.ctx, actor, snapshot.Endpoint{ID: some, AccountID: o.account, URL: "https://shop.example/b", Secret: "whsec_b", EventTypes: []string{campaignEvent}, Format: "flat"}))
	o.ok(o.CreateEndpoint(o.ctx, actor, snapshot.Endpoint{ID: none, AccountID: o.account, URL: "https://shop.example/c", Secret: "whsec_c", EventTypes: []string{"message.sent"}}))

	b := o.approved(80)
	if b.Status != registry.BrandApproved || b.VettingScore != 80 || b.Tier != "TOP" || b.DailyCap != 200_000 || b.TaxIDShown != "6789" || b.FiledAt.IsZero() {
		t.Fatalf("%+v", b)
	}
	if sealed := scalar[[]byte](o.bundle, "select tax_id from brand_details where brand = $1", b.ID); strings.Contains(string(sealed), "123456789") || b.TaxID.Reveal() != "123456789" {
		t.Error("the tax id lies open, or is lost")
	}
	c := o.filed(b)
	if c.Status != registry.Pending || c.CampaignID == "" {
		t.Fatalf("%+v", c)
	}
	version := o.count("select version::int from config_version")
	o.fake.SetCarrier(c.CampaignID, registry.ATT, "APPROVED", map[string]any{"mno": "AT&T", "msgClass": "A", "tpm": 4500, "surcharge": "0.002"})
	o.fake.SetCarrier(c.CampaignID, registry.TMobile, "REJECTED", map[string]any{"mno": "T-Mobile", "brandTier": "LOW"})
	o.ok(o.registrar.SyncCampaign(o.ctx, staff, c.ID))
	if o.count("select version::int from config_version") == version {
		t.Error("nobody is told of the new configuration")
	}
	s, err := o.LoadSnapshot(o.ctx)
	o.ok(err)
	got := s.Campaigns[c.ID]
	want := []snapshot.Carrier{{Network: "AT&T", Status: "approved", TPM: 4500}, {Network: "T-Mobile", Status: "rejected"}}
	if got.Status != snapshot.CampaignActive || got.Class != "A" || got.Throughput != 4500 || got.MMSThroughput != 2400 || !slices.Equal(got.Carriers, want) || got.StopReply == "" {
		t.Errorf("sending reads %+v", got)
	}
	// T-Mobile's own word of the brand goes before the table.
	for n := 1; n > 0; {
		n, err = o.registrar.Work(o.ctx)
		o.ok(err)
	}
	if b = o.readBrand(b.ID); b.Tier != "LOW" || b.DailyCap != 2000 {
		t.Errorf("tier %s, cap %d", b.Tier, b.DailyCap)
	}
	// Nothing new: nothing is written.
	version = o.count("select version::int from config_version")
	lines := o.count("select count(*) from audit_log")
	o.ok(o.registrar.SyncCampaign(o.ctx, staff, c.ID))
	o.ok(o.registrar.SyncBrand(o.ctx, staff, b.ID))
	if o.count("select version::int from config_version") != version || o.count("select count(*) from audit_log") != lines {
		t.Error("a look that finds nothing new writes")
	}
	o.wantEvents(c, all, some)
	for action, n := range map[string]int{"brand.draft": 1, "brand.submit": 1, "brand.filed": 1, "brand.sync": 2, "campaign.draft": 1, "campaign.submit": 1, "campaign.filed": 1, "campaign.sync": 1} {
		if lines := o.count("select count(*) from audit_log where action = $1", action); lines != n {
			t.Errorf("%d lines of %s, want %d", lines, action, n)
		}
	}
	if n := o.count("select count(*) from audit_log where after::text like '%123456789%' or after::text like '%12-3456789%'"); n != 0 {
		t.Error("the audit log has the tax id")
	}
}

// wantEvents wants draft to pending to active to have been told, and the sweeper to
// find what nobody works on.
func (o *office) wantEvents(c *registry.Campaign, all, some message.ID) {
	t := o.tb
	t.Helper()
	ids, err := o.OverdueNotifications(o.ctx, time.Minute, 100)
	o.ok(err)
	if len(ids) != 4 {
		t.Fatalf("%d deliveries are due at once, want 2 events for 2 endpoints", len(ids))
	}
	events := map[message.ID]bool{}
	var flat, whole []string
	for _, id := range ids {
		n, state, err := o.Notification(o.ctx, id)
		o.ok(err)
		if state != message.NotificationPending || n.Type != campaignEvent || n.AccountID != o.account || n.MessageID != (message.ID{}) {
			t.Errorf("%+v", n)
		}
		events[n.EventID] = true
		var d struct {
			Type   string
			Status string
			Data   struct{ ID, CampaignID, Status, Previous string }
		}
		if err := json.Unmarshal([]byte(n.Payload), &d); err != nil {
			t.Fatal(err)
		}
		switch n.EndpointID {
		case all:
			if d.Type != campaignEvent || d.Data.ID != c.ID.String() {
				t.Errorf("event %s", n.Payload)
			}
			whole = append(whole, d.Data.Status)
		case some:
			flat = append(flat, d.Status)
		}
		o.ok(o.RecordAttempt(o.ctx, message.NotificationAttempt{DeliveryID: id, Type: n.Type, Number: 1, HTTPStatus: 200, State: message.NotificationDelivered}))
	}
	slices.Sort(flat)
	slices.Sort(whole)
	if len(events) != 2 || !slices.Equal(flat, []string{"active", "pending"}) || !slices.Equal(whole, flat) {
		t.Errorf("%d events, %v, %v", len(events), flat, whole)
	}
	if left := o.count("select count(*) from webhooks_due"); left != 0 {
		t.Errorf("%d are due after they were delivered", left)
	}
}

// crashed is a store that dies before it can store an answer.
type crashed struct{ *DB }

var errCrash = errors.New("killed")

func (crashed) EndFiling(context.Context, registry.Filing, string) error { return errCrash }

// Between the registry's answer and our commit a process dies; in another the answer
// itself is lost. Neither registers twice.
func TestNothingIsRegisteredTwice(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	b := o.approved(-1)
	dying := *o.registrar
	dying.Store = crashed{o.DB}
	another := company(o.account)
	o.ok(o.registrar.CreateBrand(o.ctx, staff, another, true, nil))
	if err := dying.SubmitBrand(o.ctx, staff, another.ID); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	c := notices(o.account, b.ID)
	o.ok(o.registrar.CreateCampaign(o.ctx, staff, c, true, nil))
	o.fake.Fail("POST /v2/campaignBuilder", registrytest.Fault{Lose: true})
	o.wants(o.registrar.SubmitCampaign(o.ctx, staff, c.ID), message.ReasonUnavailable)

	// The draft is nobody's to change or file meanwhile.
	_, err := o.registrar.ChangeCampaign(o.ctx, staff, o.account, c.ID, 0, registry.AsBefore, func(c *registry.Campaign) { c.UseCase = "2FA" })
	o.wants(err, message.ReasonConflict)
	_, err = o.registrar.ChangeBrand(o.ctx, staff, o.account, another.ID, 0, registry.AsBefore, func(b *registry.Brand) { b.Name = "Other" })
	o.wants(err, message.ReasonConflict)
	o.wants(o.registrar.SubmitBrand(o.ctx, staff, another.ID), message.ReasonConflict)
	if n, err := o.registrar.Work(o.ctx); err != nil || o.readBrand(another.ID).BrandID != "" {
		t.Fatal(n, err) // the lease of the dead still runs
	}
	o.exec("update registry_requests set claimed_until = now() - interval '1 second' where state = 'open'")
	if n, err := o.registrar.Work(o.ctx); err != nil || n < 2 {
		t.Fatal(n, err)
	}
	if brands, campaigns := o.fake.Registered(); brands != 2 || campaigns != 1 {
		t.Errorf("%d brands, %d campaigns", brands, campaigns)
	}
	if n := o.fake.Calls("POST /v2/campaignBuilder") + o.fake.Calls("POST /v2/brand/nonBlocking"); n != 3 {
		t.Errorf("%d requests, want 3: what is there is found, not sent", n)
	}
	if o.readCampaign(c.ID).CampaignID == "" || o.readBrand(another.ID).BrandID == "" {
		t.Error("what was found is not stored")
	}
}

// A request that was lost on its way is sent again; the registry's list may lag
// behind its memory of references.
func TestFilingIsRepeatedWhenItWasLost(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	b := o.brand()
	o.fake.Fail("POST /v2/brand/nonBlocking", registrytest.Fault{Status: 503}, registrytest.Fault{Lose: true})
	o.fake.Fail("GET /v2/brand", registrytest.Fault{}, registrytest.Fault{Body: `{"records":[]}`}, registrytest.Fault{Body: `{"records":[]}`})
	o.wants(o.registrar.SubmitBrand(o.ctx, staff, b.ID), message.ReasonUnavailable)
	for range 3 {
		o.exec("update registry_requests set claimed_until = now() - interval '1 second' where state = 'open'")
		if _, err := o.registrar.Work(o.ctx); err != nil {
			t.Fatal(err)
		}
	}
	if brands, _ := o.fake.Registered(); brands != 1 {
		t.Errorf("%d brands", brands)
	}
	if got := o.readBrand(b.ID); got.BrandID == "" || got.Status != registry.BrandPending && got.Status != registry.BrandApproved && got.Status != registry.BrandFailed {
		t.Errorf("%+v", got)
	}
}

// What the registry refuses may be corrected and filed again.
func TestRefusedFilingIsADraftAgain(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	b := o.brand()
	o.fake.Fail("POST /v2/brand/nonBlocking", registrytest.Fault{Status: 400, Errors: []registrytest.Error{{Code: 501, Field: "companyName", Description: "does not match the EIN"}}})
	err := o.registrar.SubmitBrand(o.ctx, staff, b.ID)
	o.wants(err, message.ReasonInvalidRequest)
	if f := message.AsError(err).Fields; len(f) != 1 || f[0].Location != "body.legal_name" {
		t.Errorf("fields %v", f)
	}
	if got := o.readBrand(b.ID); got.Status != registry.BrandUnregistered || !strings.Contains(got.Failure, "legal_name: does not match the EIN") {
		t.Errorf("%s, %q", got.Status, got.Failure)
	}
	_, err = o.registrar.ChangeBrand(o.ctx, staff, o.account, b.ID, 0, registry.AsBefore, func(b *registry.Brand) { b.LegalName = "Acme LLC" })
	o.ok(err)
	o.ok(o.registrar.SubmitBrand(o.ctx, staff, b.ID))
	got := o.readBrand(b.ID)
	if got.Status != registry.BrandPending || got.Failure != "" {
		t.Errorf("%s, %q", got.Status, got.Failure)
	}
	o.wants(o.registrar.SubmitBrand(o.ctx, staff, b.ID), message.ReasonConflict)
	o.fake.SetBrand(got.BrandID, map[string]any{"identityStatus": "UNVERIFIED"})
	o.fake.Feedback(got.BrandID, "EIN and name do not match", "ein")
	o.ok(o.registrar.SyncBrand(o.ctx, staff, b.ID))
	if got = o.readBrand(b.ID); got.Status != registry.BrandFailed || got.Failure != "EIN and name do not match (ein)" {
		t.Errorf("%s, %q", got.Status, got.Failure)
	}
	c := notices(o.account, b.ID)
	o.ok(o.registrar.CreateCampaign(o.ctx, staff, c, true, nil))
	o.wants(o.registrar.SubmitCampaign(o.ctx, staff, c.ID), message.ReasonConflict)
}

// Staff's suspension holds whatever the registry says, but for the end.
func TestSuspensionByStaff(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	c := o.filed(o.approved(-1))
	o.fake.SetCarrier(c.CampaignID, registry.ATT, "APPROVED", nil)
	o.ok(o.registrar.SyncCampaign(o.ctx, staff, c.ID))
	status := func(want registry.Status) {
		t.Helper()
		if got := o.readCampaign(c.ID); got.Status != want {
			t.Fatalf("it is %s, want %s", got.Status, want)
		}
	}
	o.wants(o.registrar.ResumeCampaign(o.ctx, staff, c.ID, ""), message.ReasonConflict)
	o.ok(o.registrar.SuspendCampaign(o.ctx, staff, c.ID, "complaints"))
	status(registry.Suspended)
	o.fake.SetCarrier(c.CampaignID, registry.TMobile, "APPROVED", nil)
	o.ok(o.registrar.SyncCampaign(o.ctx, staff, c.ID))
	status(registry.Suspended)
	o.wants(o.registrar.SuspendCampaign(o.ctx, staff, c.ID, "again"), message.ReasonConflict)
	o.ok(o.registrar.ResumeCampaign(o.ctx, staff, c.ID, "settled"))
	status(registry.Active)
	for word, want := range map[string]registry.Status{"SUSPENDED": registry.Suspended, "EXPIRED": registry.Expired} {
		o.fake.SetCampaign(c.CampaignID, word)
		o.ok(o.registrar.SyncCampaign(o.ctx, staff, c.ID))
		status(want)
	}
	o.fake.SetCampaign(c.CampaignID, "EXPIRED")
	o.ok(o.registrar.SyncCampaign(o.ctx, staff, c.ID))
	o.wants(o.registrar.SuspendCampaign(o.ctx, staff, c.ID, "late"), message.ReasonConflict)
}

// A number is in one campaign, of its own account, within the figure.
func TestNumbersOfCampaigns(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	stranger := o.customer()
	own := func(account message.ID, n string) message.Address {
		o.ok(o.CreateNumber(o.ctx, actor, snapshot.Number{Number: message.Address(n), AccountID: account, Type: snapshot.LongCode, SMSEnabled: true}))
		return message.Address(n)
	}
	draft := func(change func(*registry.Campaign)) *registry.Campaign {
		c := notices(o.account, message.ID{})
		if change != nil {
			change(c)
		}
		o.ok(o.registrar.CreateCampaign(o.ctx, staff, c, false, nil))
		return c
	}
	one, two := draft(nil), draft(nil)
	a, b, foreign, free := own(o.account, "+12025550101"), own(o.account, "+12025550102"), own(stranger, "+12025550103"), own(o.account, "+18005550104")
	assign := func(c *registry.Campaign, numbers ...message.Address) error {
		return o.AssignNumbers(o.ctx, staff, o.account, c.ID, numbers)
	}
	o.ok(assign(one, a))
	o.ok(assign(one, a, b)) // again is harmless
	o.wants(assign(two, b), message.ReasonConflict)
	o.wants(o.AssignNumbers(o.ctx, staff, stranger, one.ID, []message.Address{foreign}), message.ReasonNotFound)
	err := assign(two, foreign, "+12025550999", free)
	o.wants(err, message.ReasonInvalidRequest)
	if f := message.AsError(err).Fields; len(f) != 3 || f[0].Message != f[1].Message {
		t.Errorf("a stranger's number and one that there is not differ: %v", f)
	}
	if got := o.readCampaign(one.ID).Numbers; !slices.Equal(got, []message.Address{a, b}) {
		t.Errorf("numbers %v", got)
	}
	o.wants(o.ReleaseNumber(o.ctx, staff, stranger, one.ID, b), message.ReasonNotFound)
	o.wants(o.ReleaseNumber(o.ctx, staff, o.account, two.ID, b), message.ReasonNotFound)
	o.ok(o.ReleaseNumber(o.ctx, staff, o.account, one.ID, b))
	o.ok(assign(two, b))

	sole := draft(func(c *registry.Campaign) { c.UseCase = registry.SoleProprietor })
	o.ok(o.ReleaseNumber(o.ctx, staff, o.account, one.ID, a))
	o.ok(o.ReleaseNumber(o.ctx, staff, o.account, two.ID, b))
	o.wants(assign(sole, a, b), message.ReasonConflict)
	o.ok(assign(sole, a))
	o.wants(assign(sole, b), message.ReasonConflict)
	var many []message.Address
	for i := range 49 {
		many = append(many, own(o.account, fmt.Sprintf("+1202555%04d", 200+i)))
	}
	o.ok(assign(one, many...))
	o.wants(assign(one, b), message.ReasonConflict)
	pool := draft(func(c *registry.Campaign) { c.NumberPool = true })
	for _, n := range many {
		o.ok(o.ReleaseNumber(o.ctx, staff, o.account, one.ID, n))
	}
	o.ok(assign(pool, append(many, b)...))
}

// One customer neither sees nor touches what is another's.
func TestRegistrationsOfTenants(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	b := o.brand()
	c := notices(o.account, b.ID)
	o.ok(o.registrar.CreateCampaign(o.ctx, staff, c, false, nil))
	stranger := o.customer()
	_, err := o.RegistryBrand(o.ctx, stranger, b.ID)
	o.wants(err, message.ReasonNotFound)
	_, err = o.RegistryCampaign(o.ctx, stranger, c.ID)
	o.wants(err, message.ReasonNotFound)
	_, err = o.registrar.ChangeBrand(o.ctx, staff, stranger, b.ID, 0, registry.AsBefore, func(b *registry.Brand) { b.Name = "Mine" })
	o.wants(err, message.ReasonNotFound)
	_, err = o.registrar.ChangeCampaign(o.ctx, staff, stranger, c.ID, 0, registry.AsBefore, func(c *registry.Campaign) { c.UseCase = "2FA" })
	o.wants(err, message.ReasonNotFound)
	err = o.registrar.CreateCampaign(o.ctx, staff, notices(stranger, b.ID), false, nil)
	o.wants(err, message.ReasonInvalidRequest)
	if brands, err := o.RegistryBrands(o.ctx, stranger, message.ID{}, 50); err != nil || len(brands) != 0 {
		t.Errorf("%d brands of a stranger, %v", len(brands), err)
	}
	if campaigns, err := o.RegistryCampaigns(o.ctx, stranger, message.ID{}, 50); err != nil || len(campaigns) != 0 {
		t.Errorf("%d campaigns of a stranger, %v", len(campaigns), err)
	}
	brands, err := o.RegistryBrands(o.ctx, message.ID{}, message.ID{}, 50)
	if err != nil || len(brands) != 1 || !brands[0].TaxID.Empty() || brands[0].TaxIDShown != "6789" {
		t.Errorf("staff's list: %v, %v", brands, err)
	}
	campaigns, err := o.RegistryCampaigns(o.ctx, o.account, message.ID{}, 50)
	if err != nil || len(campaigns) != 1 || campaigns[0].ID != c.ID {
		t.Errorf("%v, %v", campaigns, err)
	}
}

// One company has one cap, over accounts and over a change of the key; another has
// its own.
func TestOneCompanyOneCap(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	keys := map[string]string{}
	add := func(name string, account message.ID, taxID, country string) *registry.Brand {
		b := company(account)
		b.TaxID, b.TaxIDCountry = secret.Conceal(taxID), country
		o.ok(o.registrar.CreateBrand(o.ctx, staff, b, false, nil))
		keys[name] = o.readBrand(b.ID).CapKey
		return b
	}
	first := add("one", o.account, "12-3456789", "US")
	add("two", o.customer(), "123456789", "")
	add("canada", o.account, "123456789", "CA")
	o.registrar.Hashes = hasher(t, "two", "one").Hashes
	add("rotated", o.account, "123456789", "US")
	o.registrar.Hashes = hasher(t, "two").Hashes
	add("old key gone", o.account, "123456789", "US")
	for _, same := range []string{"two", "rotated", "old key gone"} {
		if keys[same] != keys["one"] {
			t.Errorf("%s has a cap of its own", same)
		}
	}
	if keys["canada"] == keys["one"] {
		t.Error("another country's number is the same company")
	}
	_, err := o.registrar.ChangeBrand(o.ctx, staff, o.account, first.ID, 0, registry.AsBefore, func(b *registry.Brand) { b.TaxID = secret.Conceal("987654321") })
	o.ok(err)
	if got := o.readBrand(first.ID); got.CapKey == keys["one"] || got.TaxIDShown != "4321" {
		t.Errorf("after another tax id: %s", got.TaxIDShown)
	}
}

// Of two changes of the same state one is told to look again; a keyed request is
// answered once.
func TestDraftsUnderConcurrency(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	b := o.brand()
	stale := o.readBrand(b.ID)
	_, err := o.registrar.ChangeBrand(o.ctx, staff, o.account, b.ID, b.Revision, registry.TakeBack, func(b *registry.Brand) { b.City = "Chicago" })
	o.ok(err)
	if err := o.ChangeBrandDraft(o.ctx, staff, stale, nil); !errors.Is(err, registry.ErrStale) {
		t.Errorf("a stale change: %v", err)
	}
	_, err = o.registrar.ChangeBrand(o.ctx, staff, o.account, b.ID, b.Revision, registry.AsBefore, func(*registry.Brand) {})
	if !errors.Is(err, registry.ErrStale) {
		t.Errorf("a revision of before: %v", err)
	}
	if got := o.readBrand(b.ID); got.City != "Chicago" || !got.RequestedAt.IsZero() || got.Revision != 2 {
		t.Errorf("%+v", got)
	}
	key := &message.Idempotency{AccountID: o.account, Operation: "POST /v1/brands", Key: "k1", Status: 201, Response: []byte(`{"id":"x"}`)}
	o.ok(o.registrar.CreateBrand(o.ctx, staff, company(o.account), false, key))
	o.wants(o.registrar.CreateBrand(o.ctx, staff, company(o.account), false, key), message.ReasonIdempotencyInProgress)
	if first, err := o.FirstAnswer(o.ctx, *key); err != nil || string(first.Response) != `{"id":"x"}` || first.Status != 201 {
		t.Errorf("%v, %v", first, err)
	}
	if n := o.count("select count(*) from brands where account_id = $1", o.account); n != 2 {
		t.Errorf("%d brands", n)
	}
	for range registry.MaxBrands - 2 {
		o.ok(o.registrar.CreateBrand(o.ctx, staff, company(o.account), false, nil))
	}
	o.wants(o.registrar.CreateBrand(o.ctx, staff, company(o.account), false, nil), message.ReasonConflict)
}
