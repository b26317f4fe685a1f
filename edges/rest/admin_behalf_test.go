package rest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/snapshot"
)

// registrarOf is the registrar's rules over a database.
type registrarOf struct {
	*registry.Registrar
	db *postgres.DB
}

func (r registrarOf) Brand(ctx context.Context, account, id message.ID) (*registry.Brand, error) {
	return r.db.RegistryBrand(ctx, account, id)
}
func (r registrarOf) Brands(ctx context.Context, account, before message.ID, limit int) ([]*registry.Brand, error) {
	return r.db.RegistryBrands(ctx, account, before, limit)
}
func (r registrarOf) Campaign(ctx context.Context, account, id message.ID) (*registry.Campaign, error) {
	return r.db.RegistryCampaign(ctx, account, id)
}
func (r registrarOf) Campaigns(ctx context.Context, account, before message.ID, limit int) ([]*registry.Campaign, error) {
	return r.db.RegistryCampaigns(ctx, account, before, limit)
}
func (r registrarOf) AssignNumbers(ctx context.Context, by registry.Actor, account, campaign message.ID, numbers []message.Address) error {
	return r.db.AssignNumbers(ctx, by, account, campaign, numbers)
}
func (r registrarOf) ReleaseNumber(ctx context.Context, by registry.Actor, account, campaign message.ID, number message.Address) error {
	return r.db.ReleaseNumber(ctx, by, account, campaign, number)
}

// front opens an office whose customers' operations work on the database too.
func front(t *testing.T) *office {
	t.Helper()
	o := open(t, func(o *office) {
		o.server.Journal, o.server.Inbound, o.server.OptOuts = o.db, o.db, o.db
		o.server.Registry = registrarOf{&registry.Registrar{Store: o.db}, o.db}
		o.server.Accounts, o.server.Credentials, o.server.ESMEs, o.server.Users, o.server.Webhooks = o.db, o.db, o.db, o.db, o.db
		o.server.HashSecret = o.ring.Hasher().HashSecret
		o.server.Invite = func(context.Context, Invitation) error { return nil }
		o.server.TestEndpoint = func(context.Context, message.ID, message.ID) (message.WebhookTested, error) {
			return message.WebhookTested{}, message.Refuse(message.ReasonNotFound, "there is no such endpoint")
		}
		o.server.TestInbound = func(context.Context, message.ID, message.Address) []message.DestinationTest { return nil }
	})
	err := o.db.CreateNumber(o.ctx, shellActor, snapshot.Number{Number: "+12025550143", AccountID: o.customer, Type: "long_code", SMSEnabled: true})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// ofCustomer is the path of a customers' operation for the account.
func ofCustomer(account message.ID, path string) string {
	return customerPath + "/" + account.String() + strings.TrimPrefix(path, "/v1")
}

// A customers' operation is one that staff can use for an account, unless they have their
// own for it.
func TestEveryCustomersOperationIsServedToStaff(t *testing.T) {
	t.Parallel()
	served := map[string]*huma.Operation{}
	eachOperation(t, func(op *huma.Operation, a access) {
		if a.behalf && op.Tags[0] == behalfTag {
			served[op.OperationID] = op
		}
	})
	for _, op := range customerOperations() {
		its, _ := op.Metadata["access"].(access)
		family, _, _ := strings.Cut(its.scope, ":")
		mine := slices.Contains([]string{"", "messages", "media"}, family)
		at := served[behalfName(op.OperationID)]
		delete(served, behalfName(op.OperationID))
		switch {
		case mine != (at == nil):
			t.Errorf("%s (scope %q): it is served to staff: %v", op.OperationID, its.scope, at != nil)
		case at != nil && (at.Method != op.Method || at.Path != "/api/v1/admin/customers/{account}"+strings.TrimPrefix(op.Path, "/v1")):
			t.Errorf("%s is at %s %s for staff", op.OperationID, at.Method, at.Path)
		case at != nil && at.MaxBodyBytes != op.MaxBodyBytes:
			t.Errorf("%s takes another body from staff", op.OperationID)
		}
	}
	for name := range served {
		t.Errorf("%s is no operation of the customers", name)
	}
}

// Every role at every customers' operation: those who only read change nothing, and
// whoever may is not stopped before the operation.
func TestRolesForACustomer(t *testing.T) {
	t.Parallel()
	o := front(t)
	doc := adminDocument(t)
	eachOperation(t, func(op *huma.Operation, a access) {
		if !a.behalf || op.Tags[0] != behalfTag {
			return
		}
		who := "admin operator"
		switch {
		case op.Method == http.MethodGet:
			who = everybody
		case strings.Contains(op.Path, "/brands"), strings.Contains(op.Path, "/campaigns"), strings.Contains(op.Path, "/opt-outs"):
			who = "admin operator compliance"
		}
		path := strings.NewReplacer("{account}", o.customer.String(), "{number}", "12025550143", "{id}", message.NewID().String()).Replace(op.Path)
		with := func(*http.Request) {}
		if slices.Contains(a.bodies, csvType) {
			with = header("Content-Type", csvType)
		}
		for _, role := range snapshot.Roles() {
			o.clock.advance(time.Second)
			before := o.last().ID
			token := o.by(role)
			r := o.do(op.Method, path, "{}", token, with)
			if !strings.HasPrefix(r.Header.Get("Content-Type"), csvType) && r.StatusCode != http.StatusNoContent {
				doc.check(strings.ToLower(op.Method), op.Path, r)
			}
			if !slices.Contains(strings.Fields(who), string(role)) {
				wantProblem(t, r, http.StatusForbidden, message.ReasonForbidden)
				if last := o.last(); last.ID != before {
					t.Errorf("%s by %s: it was refused, and the audit log has %s", op.OperationID, role, last.Action)
				}
				continue
			}
			if r.StatusCode == http.StatusUnauthorized || r.StatusCode == http.StatusForbidden || r.StatusCode >= 500 {
				t.Errorf("%s by %s: %d %s", op.OperationID, role, r.StatusCode, r.body)
			}
			if last := o.last(); r.StatusCode < 300 && op.Method != http.MethodGet && (last.ID == before || last.By.Role != string(role)) {
				t.Errorf("%s by %s was done, and the audit log says %+v", op.OperationID, role, last)
			}
			unknown := strings.Replace(path, o.customer.String(), message.NewID().String(), 1)
			wantProblem(t, o.do(op.Method, unknown, "{}", token, with), http.StatusNotFound, message.ReasonNotFound)
		}
	})
}

// What staff do for a customer is as if the customer had done it, in its account alone,
// and the audit log has their name.
func TestStaffActForACustomer(t *testing.T) {
	t.Parallel()
	o := front(t)
	other := message.NewID()
	if err := o.db.CreateAccount(o.ctx, shellActor, snapshot.Account{ID: other, CompanyName: "B", WebhookSecret: "x"}); err != nil {
		t.Fatal(err)
	}
	want := func(r *reply, status int, action, role string) {
		t.Helper()
		if r.StatusCode != status {
			t.Fatalf("%d, want %d: %s", r.StatusCode, status, r.body)
		}
		if last := o.last(); action != "" && (last.Action != action || last.By.Name != role+"@gw.example" || last.By.Role != role || last.By.Address != "127.0.0.1") {
			t.Errorf("the audit log says %s by %+v, want %s by %s", last.Action, last.By, action, role)
		}
	}
	operator, compliance, viewer := o.by(snapshot.RoleOperator), o.by(snapshot.RoleCompliance), o.by(snapshot.RoleViewer)

	key := header("Idempotency-Key", "a")
	r := o.do("POST", ofCustomer(o.customer, "/v1/opt-outs"), `{"recipient":"+13105550117"}`, compliance, key)
	want(r, http.StatusCreated, "opt_out.create", "compliance")
	at := r.Header.Get("Location")
	if at != ofCustomer(o.customer, "/v1/opt-outs/")+r.json(t)["id"].(string) {
		t.Errorf("it is at %s", at)
	}
	lines := o.last().ID
	if again := o.do("POST", ofCustomer(o.customer, "/v1/opt-outs"), `{"recipient":"+13105550117"}`, compliance, key); string(again.body) != string(r.body) || o.last().ID != lines {
		t.Errorf("repeated: %d %s", again.StatusCode, again.body)
	}
	want(o.do("GET", at, "", viewer), http.StatusOK, "", "")
	wantProblem(t, o.do("GET", strings.Replace(at, o.customer.String(), other.String(), 1), "", viewer), http.StatusNotFound, message.ReasonNotFound)
	o.clock.advance(time.Second)
	want(o.do("DELETE", at, `{"reason":"asked to"}`, operator), http.StatusOK, "opt_out.end", "operator")
	if n := o.count("select count(*) from opt_outs where actor = 'compliance@gw.example' and ended_by = 'operator@gw.example' and account_id = $1", o.customer); n != 1 {
		t.Errorf("%d opt-outs say who it was", n)
	}
	want(o.do("POST", ofCustomer(o.customer, "/v1/opt-outs/import"), "recipient\n+13105550118\n", operator, header("Content-Type", csvType)), http.StatusOK, "opt_out.import", "operator")
	want(o.do("GET", ofCustomer(o.customer, "/v1/opt-outs/export"), "", viewer), http.StatusOK, "opt_out.export", "viewer")
	r = o.do("GET", ofCustomer(o.customer, "/v1/opt-outs/check?recipient=%2B13105550118&sender=%2B12025550143"), "", viewer)
	want(r, http.StatusOK, "", "")
	if stopped := r.json(t)["stopped"]; stopped != true {
		t.Errorf("imported, and stopped is %v: %s", stopped, r.body)
	}

	o.clock.advance(time.Second)
	r = o.do("POST", ofCustomer(o.customer, "/v1/brands"), `{"name":"Acme"}`, compliance)
	want(r, http.StatusCreated, "brand.draft", "compliance")
	want(o.do("GET", r.Header.Get("Location"), "", viewer), http.StatusOK, "", "")
	r = o.do("POST", ofCustomer(o.customer, "/v1/campaigns"), `{"use_case":"2FA"}`, compliance)
	want(r, http.StatusCreated, "campaign.draft", "compliance")
	want(o.do("GET", r.Header.Get("Location"), "", viewer), http.StatusOK, "", "")
	want(o.do("PUT", ofCustomer(o.customer, "/v1/inbound-settings"), `{"method":"storage"}`, operator), http.StatusOK, "inbound_routes.set", "operator")
	want(o.do("PUT", ofCustomer(o.customer, "/v1/numbers/12025550143/inbound"), `{"method":"storage"}`, operator), http.StatusOK, "inbound_routes.set", "operator")
	wantProblem(t, o.do("GET", ofCustomer(other, "/v1/numbers/12025550143/inbound"), "", operator), http.StatusNotFound, message.ReasonNotFound)
	want(o.do("POST", ofCustomer(o.customer, "/v1/numbers/12025550143/inbound/test"), "", operator), http.StatusOK, "inbound.test", "operator")

	// A customer's own key is none here, and what staff did not touch tells of the customer.
	r = o.do("GET", ofCustomer(o.customer, "/v1/limits"), "", as("keyA"))
	wantProblem(t, r, http.StatusUnauthorized, message.ReasonUnauthenticated)
}

// An account that was made a moment ago is found, though the process has not read it yet.
func TestStaffActForANewCustomer(t *testing.T) {
	t.Parallel()
	var stale *snapshot.Snapshot
	o := open(t, func(o *office) {
		o.server.Journal = o.db
		stale = o.snapshot()
		o.server.Snapshot = func() *snapshot.Snapshot { return stale }
	})
	id := message.NewID()
	if err := o.db.CreateAccount(o.ctx, shellActor, snapshot.Account{ID: id, CompanyName: "B", WebhookSecret: "x"}); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, o.do("GET", ofCustomer(id, "/v1/limits"), "", o.by(snapshot.RoleViewer)), http.StatusServiceUnavailable, message.ReasonUnavailable)
	o.server.Admin.Reload = func(context.Context) error { stale = o.snapshot(); return nil }
	if r := o.do("GET", ofCustomer(id, "/v1/limits"), "", o.by(snapshot.RoleViewer)); r.StatusCode != http.StatusOK {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// A customer who gets a test event that he did not ask for can be told by whom it was.
func TestTestOfAnEndpointIsAudited(t *testing.T) {
	t.Parallel()
	o := front(t)
	r := o.do("POST", ofCustomer(o.customer, "/v1/webhook-endpoints"), `{"url":"https://shop.example/hooks"}`, o.by(snapshot.RoleOperator))
	if r.StatusCode != 201 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	id := r.json(t)["id"].(string)
	o.do("POST", ofCustomer(o.customer, "/v1/webhook-endpoints/"+id+"/test"), "", o.by(snapshot.RoleOperator))
	if got := o.audited(id); !slices.Contains(got, "operator@gw.example operator webhook.test 127.0.0.1") {
		t.Errorf("the audit log has %q", got)
	}
}
