package rest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/snapshot"
)

// shelf is a registry.Store in memory, as far as this edge needs it: the registrar
// over it is the real one.
type shelf struct {
	registry.Store
	mu        sync.Mutex
	brands    []*registry.Brand
	campaigns []*registry.Campaign
	owners    map[message.Address]message.ID // of numbers
	answers   *fakeIngress
	actors    []registry.Actor
}

func (s *shelf) keep(key *message.Idempotency) {
	if key != nil {
		s.answers.mu.Lock()
		defer s.answers.mu.Unlock()
		s.answers.answers[key.AccountID.String()+key.Operation+key.Key] = *key
	}
}

func (s *shelf) AddBrandDraft(_ context.Context, by registry.Actor, b *registry.Brand, _ [][]byte, key *message.Idempotency) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := *b
	s.brands, s.actors = append(s.brands, &kept), append(s.actors, by)
	s.keep(key)
	return nil
}

func (s *shelf) ChangeBrandDraft(_ context.Context, _ registry.Actor, b *registry.Brand, _ [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, old := range s.brands {
		if old.ID == b.ID {
			b.Revision++
			kept := *b
			s.brands[i] = &kept
		}
	}
	return nil
}

func (s *shelf) RegistryBrand(_ context.Context, account, id message.ID) (*registry.Brand, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.brands {
		if b.ID == id && (b.AccountID == account || account == message.ID{}) {
			found := *b
			return &found, nil
		}
	}
	return nil, message.Refuse(message.ReasonNotFound, "there is no brand %s", id)
}

func (s *shelf) Brand(ctx context.Context, account, id message.ID) (*registry.Brand, error) {
	return s.RegistryBrand(ctx, account, id)
}

func (s *shelf) Brands(_ context.Context, account, before message.ID, limit int) ([]*registry.Brand, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*registry.Brand
	for _, b := range slices.Backward(s.brands) {
		if b.AccountID == account && len(list) < limit && (before == message.ID{} || bytes.Compare(b.ID[:], before[:]) < 0) {
			list = append(list, b)
		}
	}
	return list, nil
}

func (s *shelf) AddCampaignDraft(_ context.Context, _ registry.Actor, c *registry.Campaign, key *message.Idempotency) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := *c
	s.campaigns = append(s.campaigns, &kept)
	s.keep(key)
	return nil
}

func (s *shelf) ChangeCampaignDraft(_ context.Context, _ registry.Actor, c *registry.Campaign) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, old := range s.campaigns {
		if old.ID == c.ID {
			c.Revision++
			kept := *c
			s.campaigns[i] = &kept
		}
	}
	return nil
}

func (s *shelf) RegistryCampaign(_ context.Context, account, id message.ID) (*registry.Campaign, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.campaigns {
		if c.ID == id && (c.AccountID == account || account == message.ID{}) {
			found := *c
			return &found, nil
		}
	}
	return nil, message.Refuse(message.ReasonNotFound, "there is no campaign %s", id)
}

func (s *shelf) Campaign(ctx context.Context, account, id message.ID) (*registry.Campaign, error) {
	return s.RegistryCampaign(ctx, account, id)
}

func (s *shelf) Campaigns(_ context.Context, account, before message.ID, limit int) ([]*registry.Campaign, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*registry.Campaign
	for _, c := range slices.Backward(s.campaigns) {
		if c.AccountID == account && len(list) < limit && (before == message.ID{} || bytes.Compare(c.ID[:], before[:]) < 0) {
			list = append(list, c)
		}
	}
	return list, nil
}

func (s *shelf) AssignNumbers(ctx context.Context, _ registry.Actor, account, campaign message.ID, numbers []message.Address) error {
	if _, err := s.RegistryCampaign(ctx, account, campaign); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range numbers {
		if in, taken := s.owners[n]; taken && in != campaign {
			return message.Refuse(message.ReasonConflict, "%s is in another campaign", n)
		}
	}
	for _, n := range numbers {
		s.owners[n] = campaign
	}
	for _, c := range s.campaigns {
		if c.ID == campaign {
			c.Numbers = append(c.Numbers, numbers...)
		}
	}
	return nil
}

func (s *shelf) ReleaseNumber(ctx context.Context, _ registry.Actor, account, campaign message.ID, number message.Address) error {
	_, err := s.RegistryCampaign(ctx, account, campaign)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || s.owners[number] != campaign {
		return message.Refuse(message.ReasonNotFound, "the campaign has no number %s", number)
	}
	delete(s.owners, number)
	return nil
}

// fakeRegistry is the registrar with its rules, and the reads of the shelf.
type fakeRegistry struct {
	*registry.Registrar
	*shelf
}

// keptBy has an edge keep its registrations on the shelf.
func (s *shelf) keptBy(b *bundle) {
	s.answers = b.ingress
	b.server.Registry = fakeRegistry{&registry.Registrar{Store: s, Now: b.clock.now}, s}
}

// registrations starts an edge whose keys may do everything with registrations, but
// for keyRO, which only reads.
func registrations(t *testing.T) (*bundle, *shelf) {
	t.Helper()
	s := &shelf{owners: map[message.Address]message.ID{}}
	b := setup(t, func(b *bundle) {
		s.keptBy(b)
		b.server.CapUsed = func(_ context.Context, key string) (int, time.Time, error) {
			used := 120
			if strings.HasPrefix(key, "campaign:") {
				used = 7
			}
			return used, time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC), nil
		}
	})
	b.reconfigure(func(c *snapshot.Snapshot) {
		for key, credential := range c.Credentials {
			credential.Scopes = []string{scopeRegistryRead}
			if key != "keyRO" {
				credential.Scopes = append(credential.Scopes, scopeRegistryWrite)
			}
		}
	})
	return b, s
}

const wholeBrand = `{"name":"Acme","entity_type":"PRIVATE_PROFIT","legal_name":"Acme Inc.","ein":"12-3456789","ein_issuing_country":"US","phone":"+12025550143",
 "email":"support@acme.example","website":"https://acme.example","street":"1 Main St","city":"Springfield","state":"IL","postal_code":"62701","country":"US","vertical":"RETAIL","submit":true}`

// wholeCampaign is what a campaign needs beside brand, use case and sample messages.
const wholeCampaign = `{"description":"Tells customers of the shop what becomes of their orders.","message_flow":"Customers tick a box at the checkout on acme.example.",
 "optout_keywords":["STOP"],"help_keywords":["HELP"],"stop_reply":"Acme: you get no more messages of us.","help_reply":"Acme: write to support@acme.example.","submit":true}`

func TestBrandsOverREST(t *testing.T) {
	t.Parallel()
	b, s := registrations(t)
	doc := document(t)
	made := b.do("POST", "/v1/brands", wholeBrand, as("keyA"))
	doc.check("post", "/v1/brands", made)
	brand := made.json(t)
	id := brand["id"].(string)
	if made.StatusCode != http.StatusCreated || made.Header.Get("Location") != "/v1/brands/"+id || made.Header.Get("ETag") != `"1"` || brand["ein"] != "*****6789" ||
		brand["status"] != "unregistered" || brand["requested_at"] == nil || brand["vetting_score"] != nil {
		t.Fatalf("%d %s", made.StatusCode, made.body)
	}
	if by := s.actors[0]; by.Role != "customer" || by.Name != "credential "+credentialA.String() || by.Address != "127.0.0.1" {
		t.Errorf("actor %+v", by)
	}
	s.brands[0].DailyCap, s.brands[0].Tier = 2000, "LOW"
	got := b.do("GET", "/v1/brands/"+id, "", as("keyRO"))
	doc.check("get", "/v1/brands/{id}", got)
	if r := got.json(t); r["used_today"] != 120.0 || r["daily_cap"] != 2000.0 || r["resets_at"] != "2026-11-22T08:00:00.000Z" {
		t.Errorf("%s", got.body)
	}
	changed := b.do("PATCH", "/v1/brands/"+id, `{"city":"Chicago","website":null,"submit":false}`, as("keyA"), header("If-Match", `"1"`))
	doc.check("patch", "/v1/brands/{id}", changed)
	if r := changed.json(t); r["city"] != "Chicago" || r["website"] != nil || r["name"] != "Acme" || r["requested_at"] != nil || r["ein"] != "*****6789" || changed.Header.Get("ETag") != `"2"` {
		t.Errorf("%s", changed.body)
	}
	if open := fmt.Sprint(changed.json(t)["to_complete"]); open != "[]" {
		t.Errorf("a whole brand is to be completed by %s", open)
	}
	if r := b.do("POST", "/v1/brands", `{"name":"Half"}`, as("keyA")); !strings.Contains(fmt.Sprint(r.json(t)["to_complete"]), "body.entity_type") {
		t.Errorf("what a draft lacks is not told: %s", r.body)
	}
	s.brands = s.brands[:1]
	wantProblem(t, b.do("PATCH", "/v1/brands/"+id, `{"city":"Peoria"}`, as("keyA"), header("If-Match", `"1"`)), 412, message.ReasonConflict)
	wantProblem(t, b.do("PATCH", "/v1/brands/"+id, `{"city":"Peoria"}`, as("keyA"), header("If-Match", `"x"`)), 412, message.ReasonConflict)
	if r := b.do("PATCH", "/v1/brands/"+id, `{"city":"Peoria"}`, as("keyA"), header("If-Match", `*`), header("Content-Type", patchType)); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	p := wantProblem(t, b.do("PATCH", "/v1/brands/"+id, `{"phone":"5","vertical":"SHOPS","submit":true}`, as("keyA")), 422, message.ReasonInvalidRequest)
	if text := fmt.Sprint(p["errors"]); !strings.Contains(text, "body.phone") || !strings.Contains(text, "body.vertical") {
		t.Errorf("errors %s", text)
	}
	s.brands[0].Status = registry.BrandPending
	wantProblem(t, b.do("PATCH", "/v1/brands/"+id, `{"city":"Peoria"}`, as("keyA")), 409, message.ReasonConflict)
	if log := b.log.String(); strings.Contains(log, "3456789") || strings.Contains(log, "+12025550143") {
		t.Error("the log has a tax id or a number")
	}
}

func TestCampaignsOverREST(t *testing.T) {
	t.Parallel()
	b, s := registrations(t)
	doc := document(t)
	brand := b.do("POST", "/v1/brands", wholeBrand, as("keyA")).json(t)["id"].(string)
	made := b.do("POST", "/v1/campaigns", `{"use_case":"ACCOUNT_NOTIFICATION","brand_id":"`+brand+`","sample_messages":["Acme: your order 8812 has left. Reply STOP to opt out."]}`, as("keyA"))
	doc.check("post", "/v1/campaigns", made)
	id := made.json(t)["id"].(string)
	if r := made.json(t); r["subscriber_optout"] != true || r["embedded_link"] != false || r["brand_id"] != brand || r["status"] != "draft" || made.Header.Get("Location") != "/v1/campaigns/"+id {
		t.Fatalf("%s", made.body)
	}
	path := "/v1/campaigns/" + id
	if open := fmt.Sprint(made.json(t)["to_complete"]); !strings.Contains(open, "body.message_flow") || strings.Contains(open, "body.brand_id") {
		t.Errorf("to complete: %s", open)
	}
	p := wantProblem(t, b.do("PATCH", path, `{"submit":true}`, as("keyA")), 422, message.ReasonInvalidRequest)
	for _, field := range []string{"body.description", "body.message_flow", "body.optout_keywords", "body.stop_reply", "body.help_keywords"} {
		if !strings.Contains(fmt.Sprint(p["errors"]), field) {
			t.Errorf("%s is not named: %v", field, p["errors"])
		}
	}
	changed := b.do("PATCH", path, wholeCampaign, as("keyA"))
	doc.check("patch", "/v1/campaigns/{id}", changed)
	if changed.json(t)["requested_at"] == nil || len(changed.json(t)["to_complete"].([]any)) != 0 {
		t.Errorf("%s", changed.body)
	}
	for _, numbers := range []string{`{"numbers":["+1 (202) 555-0143","+12025550143","+12025550144"]}`} {
		put := b.do("PUT", path+"/numbers", numbers, as("keyA"))
		doc.check("put", "/v1/campaigns/{id}/numbers", put)
		if got := fmt.Sprint(put.json(t)["phone_numbers"]); got != "[+12025550143 +12025550144]" {
			t.Errorf("numbers %s", got)
		}
	}
	for body, field := range map[string]string{`{}`: "body.numbers", `{"numbers":[]}`: "body.numbers", `{"numbers":["x"]}`: "body.numbers[0]", `{"numbers":[null]}`: "body.numbers[0]",
		`{"numbers":"x"}`: "body.numbers", `{"number":"x"}`: "body.number", `{"numbers":[` + strings.Repeat(`"+12025550143",`, 400) + `"+12025550143"]}`: "body.numbers"} {
		if p := wantProblem(t, b.do("PUT", path+"/numbers", body, as("keyA")), 422, message.ReasonInvalidRequest); !strings.Contains(fmt.Sprint(p["errors"]), field) {
			t.Errorf("%.40s: %v", body, p["errors"])
		}
	}
	other := b.do("POST", "/v1/campaigns", `{"use_case":"2FA"}`, as("keyA")).json(t)["id"].(string)
	wantProblem(t, b.do("PUT", "/v1/campaigns/"+other+"/numbers", `{"numbers":["+12025550143"]}`, as("keyA")), 409, message.ReasonConflict)
	for _, number := range []string{"%2B12025550143", "12025550144"} {
		if r := b.do("DELETE", path+"/numbers/"+number, "", as("keyA")); r.StatusCode != http.StatusNoContent || len(r.body) != 0 {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
	}
	wantProblem(t, b.do("DELETE", path+"/numbers/12025550144", "", as("keyA")), 404, message.ReasonNotFound)

	c := s.campaigns[0]
	c.Status, c.CampaignID, c.Throughput = registry.Active, "C8X2KQ1", 240
	c.Carriers = []registry.Carrier{{Network: "AT&T", Status: "approved", TPM: 240}, {Network: "T-Mobile", Status: "rejected"}, {Network: "10100"}}
	s.brands[0].DailyCap, s.brands[0].Status = 2000, registry.BrandApproved
	status := b.do("GET", path+"/status", "", as("keyRO"))
	doc.check("get", "/v1/campaigns/{id}/status", status)
	r := status.json(t)
	if r["used_today"] != 120.0 || r["daily_cap"] != 2000.0 || r["brand_status"] != "approved" || r["throughput_limit"] != 240.0 || !strings.Contains(r["detail"].(string), "not to every carrier") || len(r["carriers"].([]any)) != 3 {
		t.Errorf("%s", status.body)
	}
	// What is shown as used is of the cap that is shown.
	c.DailyCap = 500
	if r := b.do("GET", path+"/status", "", as("keyRO")).json(t); r["used_today"] != 7.0 || r["daily_cap"] != 500.0 || r["resets_at"] != "2026-11-22T08:00:00.000Z" {
		t.Errorf("a smaller cap of the campaign: %v", r)
	}
	c.DailyCap = 5000
	if r := b.do("GET", path+"/status", "", as("keyRO")).json(t); r["used_today"] != 120.0 || r["daily_cap"] != 2000.0 {
		t.Errorf("a larger cap of the campaign: %v", r)
	}
	doc.check("get", "/v1/campaigns/{id}", b.do("GET", path, "", as("keyA")))
	wantProblem(t, b.do("PATCH", path, `{"description":"`+strings.Repeat("x", 50)+`"}`, as("keyA")), 409, message.ReasonConflict)
	if r := b.do("PATCH", path, `{"stop_reply":"Acme: that was the last message."}`, as("keyA")); r.StatusCode != 200 || r.json(t)["stop_reply"] != "Acme: that was the last message." {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// Another account's is as one that there is not, and a key without the scope may
// nothing.
func TestRegistrationsAreTheAccounts(t *testing.T) {
	t.Parallel()
	b, _ := registrations(t)
	brand := b.do("POST", "/v1/brands", `{"name":"Acme"}`, as("keyA")).json(t)["id"].(string)
	campaign := b.do("POST", "/v1/campaigns", `{"use_case":"2FA"}`, as("keyA")).json(t)["id"].(string)
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/v1/brands/" + brand, ""}, {"PATCH", "/v1/brands/" + brand, `{"name":"Mine"}`}, {"GET", "/v1/campaigns/" + campaign, ""},
		{"GET", "/v1/campaigns/" + campaign + "/status", ""}, {"PATCH", "/v1/campaigns/" + campaign, `{"use_case":"MIXED"}`},
		{"PUT", "/v1/campaigns/" + campaign + "/numbers", `{"numbers":["+12025550143"]}`}, {"DELETE", "/v1/campaigns/" + campaign + "/numbers/12025550143", ""},
		{"GET", "/v1/brands/x", ""}, {"GET", "/v1/campaigns/x", ""}, {"PATCH", "/v1/campaigns/x", "{}"},
	} {
		wantProblem(t, b.do(c.method, c.path, c.body, as("keyB")), 404, message.ReasonNotFound)
		if c.method != "GET" {
			wantProblem(t, b.do(c.method, c.path, c.body, as("keyRO")), 403, message.ReasonForbidden)
		}
	}
	wantProblem(t, b.do("POST", "/v1/brands", `{"name":"Acme"}`, as("keyRO")), 403, message.ReasonForbidden)
	for _, path := range []string{"/v1/brands", "/v1/campaigns"} {
		if r := b.do("GET", path, "", as("keyB")).json(t); len(r["data"].([]any)) != 0 {
			t.Errorf("%s of a stranger: %v", path, r)
		}
	}
}

// The lists in pages, the Idempotency-Key, and what bodies may not be.
func TestRegistrationRequests(t *testing.T) {
	t.Parallel()
	b, s := registrations(t)
	doc := document(t)
	first := b.do("POST", "/v1/brands", `{"name":"Acme"}`, as("keyA"), header("Idempotency-Key", "k1"))
	again := b.do("POST", "/v1/brands", `{"name":"Acme"}`, as("keyA"), header("Idempotency-Key", "k1"))
	if !bytes.Equal(first.body, again.body) || again.Header.Get("Idempotency-Replayed") != "true" || again.Header.Get("Location") != first.Header.Get("Location") || again.StatusCode != 201 || len(s.brands) != 1 {
		t.Errorf("%d brands; %d %s", len(s.brands), again.StatusCode, again.body)
	}
	wantProblem(t, b.do("POST", "/v1/brands", `{"name":"Other"}`, as("keyA"), header("Idempotency-Key", "k1")), 422, message.ReasonIdempotencyMismatch)
	wantProblem(t, b.do("POST", "/v1/brands", `{"name":"Other"}`, as("keyA"), header("Idempotency-Key", "k 1")), 422, message.ReasonInvalidRequest)
	for range 2 {
		b.do("POST", "/v1/brands", `{"name":"Acme"}`, as("keyA"))
	}
	for range 3 {
		b.do("POST", "/v1/campaigns", `{"use_case":"2FA"}`, as("keyA"))
	}
	for _, path := range []string{"/v1/brands", "/v1/campaigns"} {
		seen, cursor := map[string]bool{}, ""
		for page := range 3 {
			r := b.do("GET", path+"?limit=1"+cursor, "", as("keyA"))
			doc.check("get", path, r)
			list := r.json(t)
			seen[list["data"].([]any)[0].(map[string]any)["id"].(string)] = true
			if next, more := list["next_cursor"].(string); more != (page < 2) {
				t.Errorf("%s, page %d: next %q", path, page, next)
			} else {
				cursor = "&cursor=" + next
			}
		}
		if len(seen) != 3 {
			t.Errorf("%s: %d things seen", path, len(seen))
		}
		wantProblem(t, b.do("GET", path+"?cursor=nonsense", "", as("keyA")), 422, message.ReasonInvalidRequest)
		for body, status := range map[string]int{`{`: 400, `[]`: 422, `{"nonsense":1}`: 422, `{"submit":"yes"}`: 422, `{"name":5,"use_case":5}`: 422, `{"sample_messages":"x","name":["x"]}`: 422, `{}`: 422, `{"brand_id":"x","ein":5}`: 422} {
			wantProblem(t, b.do("POST", path, body, as("keyA")), status, message.ReasonInvalidRequest)
		}
	}
	none := setup(t, nil)
	none.reconfigure(func(c *snapshot.Snapshot) {
		for _, credential := range c.Credentials {
			credential.Scopes = []string{scopeRegistryRead, scopeRegistryWrite}
		}
	})
	wantProblem(t, none.do("GET", "/v1/brands", "", as("keyA")), 503, message.ReasonUnavailable)
	wantProblem(t, none.do("POST", "/v1/brands", "{}", as("keyA")), 503, message.ReasonUnavailable)
}

// The decoders take the fields of the document and no others, and each is used.
func TestRegistryDecodersAndDocumentAgree(t *testing.T) {
	t.Parallel()
	id := message.NewID().String()
	sample := func(schema map[string]any, name string) string {
		kind := schema["type"]
		if list, ok := kind.([]any); ok {
			kind = list[0]
		}
		switch {
		case name == "brand_id":
			return `"` + id + `"`
		case kind == "boolean":
			return "true"
		case kind == "array":
			return `["x"]`
		}
		return `"x"`
	}
	body := func(schema string) []byte {
		var members []string
		for name, s := range document(t).at("components", "schemas", schema, "properties").(map[string]any) {
			members = append(members, fmt.Sprintf("%q:%s", name, sample(s.(map[string]any), name)))
		}
		return []byte("{" + strings.Join(members, ",") + "}")
	}
	brand, _, refusal := decodeBrand(body("BrandBody"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	campaign, _, refusal := decodeCampaign(body("CampaignBody"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	for _, v := range []reflect.Value{reflect.ValueOf(*brand), reflect.ValueOf(*campaign)} {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("the decoder did not fill in %s", v.Type().Field(i).Name)
			}
		}
	}
	var b registry.Brand
	brand.apply(&b)
	var c registry.Campaign
	campaign.apply(&c)
	if b.Name != "x" || b.TaxID.Reveal() != "x" || c.Brand.String() != id || !c.AutoRenewal || len(c.HelpKeywords) != 1 || brand.asks() != registry.AskFor {
		t.Errorf("%+v, %+v", b, c)
	}
}
