package rest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// What becomes of a member of staff, from hiring on.
func TestStaffLifecycle(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	admin := o.by(snapshot.RoleAdmin)
	r := o.do("POST", staffPath, `{"email":"Ada@GW.example","role":"support","name":"Ada"}`, admin)
	made := r.json(t)
	path := r.Header.Get("Location")
	if r.StatusCode != http.StatusCreated || path != staffPath+"/"+made["id"].(string) || made["email"] != "ada@gw.example" || made["password"] == nil || made["last_login_at"] != nil {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	password := made["password"].(string)
	token := o.fresh(loginBody("ada@gw.example", password))
	if r := o.do("GET", path, "", admin); r.StatusCode != 200 || strings.Contains(string(r.body), "password") {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	r = o.do("PATCH", path, `{"name":"Ada L.","role":"operator","password":"a better horse battery"}`, admin)
	if got := r.json(t); r.StatusCode != 200 || got["name"] != "Ada L." || got["role"] != "operator" || got["active"] != true || got["password"] != nil {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.do("GET", messagePath, "", bearer(token)), 401, message.ReasonUnauthenticated)
	wantProblem(t, o.login(loginBody("ada@gw.example", password)), 401, message.ReasonUnauthenticated)
	token = o.fresh(loginBody("ada@gw.example", "a better horse battery"))
	if r := o.do("DELETE", path, "", admin); r.StatusCode != http.StatusNoContent || len(r.body) != 0 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.do("GET", messagePath, "", bearer(token)), 401, message.ReasonUnauthenticated)
	if r := o.do("PATCH", path, `{"active":true}`, admin); r.StatusCode != 200 || r.json(t)["active"] != true {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	lines := o.audited(made["id"].(string))
	want := "admin@gw.example admin %s 127.0.0.1"
	if fmt.Sprint(lines) != fmt.Sprint([]string{fmt.Sprintf(want, "staff.create"), fmt.Sprintf(want, "staff.update"), fmt.Sprintf(want, "staff.update"), fmt.Sprintf(want, "staff.update")}) {
		t.Errorf("the audit log has %v", lines)
	}
}

func TestStaffRefusals(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	own := staffPath + "/" + o.staff[snapshot.RoleAdmin].ID.String()
	for _, c := range []struct {
		method, path, body string
		status             int
		code               message.Reason
	}{
		{"POST", staffPath, `{"email":"support@gw.example","role":"viewer"}`, 409, message.ReasonConflict},
		{"POST", staffPath, `{"email":"ada","role":"viewer"}`, 422, message.ReasonInvalidRequest},
		{"POST", staffPath, `{"email":"ada@gw@example","role":"viewer"}`, 422, message.ReasonInvalidRequest},
		{"POST", staffPath, `{"email":"ada@gw.example"}`, 422, message.ReasonInvalidRequest},
		{"POST", staffPath, `{"email":"ada@gw.example","role":"boss"}`, 422, message.ReasonInvalidRequest},
		{"POST", staffPath, `{"email":"ada@gw.example","role":"viewer","password":"eleven-char"}`, 422, message.ReasonInvalidRequest},
		{"POST", staffPath, `{"email":"ada@gw.example","role":"viewer","password":"` + strings.Repeat("x", 73) + `"}`, 422, message.ReasonInvalidRequest},
		{"POST", staffPath, `{"email":"ada@gw.example","role":"viewer","name":"` + strings.Repeat("x", 201) + `"}`, 422, message.ReasonInvalidRequest},
		{"POST", staffPath, `{"email":"ada@gw.example","role":"viewer","id":"1"}`, 422, message.ReasonInvalidRequest},
		{"POST", staffPath, `[]`, 422, message.ReasonInvalidRequest},
		{"POST", staffPath, `{`, 400, message.ReasonInvalidRequest},
		{"PATCH", own, `{"role":"viewer"}`, 409, message.ReasonConflict},
		{"PATCH", own, `{"active":false}`, 409, message.ReasonConflict},
		{"DELETE", own, ``, 409, message.ReasonConflict},
		{"PATCH", own, `{"email":"x@gw.example"}`, 422, message.ReasonInvalidRequest},
		{"PATCH", own, `{"role":"boss"}`, 422, message.ReasonInvalidRequest},
		{"PATCH", own, `{"password":"eleven-char"}`, 422, message.ReasonInvalidRequest},
		{"PATCH", staffPath + "/x", `{}`, 404, message.ReasonNotFound},
		{"DELETE", staffPath + "/" + message.NewID().String(), ``, 404, message.ReasonNotFound},
		{"GET", staffPath + "/" + message.NewID().String(), ``, 404, message.ReasonNotFound},
		{"GET", staffPath + "?cursor=bQ", ``, 422, message.ReasonInvalidRequest},
		{"PUT", staffPath, `{}`, 405, message.ReasonInvalidRequest},
		{"POST", servicePath, `{}`, 422, message.ReasonInvalidRequest},
		{"POST", servicePath, `{"name":"x","expires_at":"tomorrow"}`, 422, message.ReasonInvalidRequest},
		{"POST", servicePath, `{"name":"x","scopes":["service:all"]}`, 422, message.ReasonInvalidRequest},
		{"PATCH", servicePath + "/" + o.service.ID.String(), `{"name":""}`, 422, message.ReasonInvalidRequest},
		{"PATCH", servicePath + "/" + message.NewID().String(), `{"active":true}`, 404, message.ReasonNotFound},
		{"POST", customerPath + "/" + message.NewID().String() + "/suspend", ``, 404, message.ReasonNotFound},
		{"GET", customerPath + "?status=gone", ``, 422, message.ReasonInvalidRequest},
		{"GET", adminPrefix + "/audit-log?cursor=bQ", ``, 422, message.ReasonInvalidRequest},
		{"GET", adminPrefix + "/vendor-bank-accounts", ``, 404, message.ReasonNotFound},
	} {
		before := o.last().ID
		r := o.do(c.method, c.path, c.body, o.by(snapshot.RoleAdmin))
		if r.StatusCode != c.status {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, r.StatusCode, r.body)
			continue
		}
		wantProblem(t, r, c.status, c.code)
		if strings.Contains(string(r.body), "eleven-char") {
			t.Errorf("the answer holds a password: %s", r.body)
		}
		if o.last().ID != before {
			t.Errorf("%s %s %s: the audit log has %s", c.method, c.path, c.body, o.last().Action)
		}
	}
}

func TestServiceCredentialLifecycle(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	admin := o.by(snapshot.RoleAdmin)
	r := o.do("POST", servicePath, `{"name":"dunning","expires_at":"2026-12-01T00:00:00Z"}`, admin)
	made := r.json(t)
	if r.StatusCode != 201 || made["secret"] == nil || fmt.Sprint(made["scopes"]) != "[service:messages]" || made["expires_at"] != "2026-12-01T00:00:00.000Z" {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	o.fresh(fmt.Sprintf(`{"api_key":%q,"api_secret":%q}`, made["key"], made["secret"]))
	path := r.Header.Get("Location")
	if r = o.do("PATCH", path, `{"expires_at":null,"name":"dunning 2"}`, admin); r.json(t)["expires_at"] != nil || r.json(t)["name"] != "dunning 2" || r.json(t)["secret"] != nil {
		t.Errorf("%s", r.body)
	}
	if r = o.do("PATCH", path, `{"active":true}`, admin); r.json(t)["name"] != "dunning 2" {
		t.Errorf("%s", r.body)
	}
	if r = o.do("DELETE", path, "", admin); r.StatusCode != 204 {
		t.Errorf("%s", r.body)
	}
	if r = o.do("GET", path, "", admin); r.json(t)["active"] != false {
		t.Errorf("%s", r.body)
	}
	r = o.do("GET", servicePath+"?limit=1", "", admin)
	next, _ := r.json(t)["next_cursor"].(string)
	if next == "" || strings.Contains(string(r.body), "secret") {
		t.Fatalf("%s", r.body)
	}
	if r = o.do("GET", servicePath+"?cursor="+next, "", admin); len(r.json(t)["data"].([]any)) != 1 || r.json(t)["next_cursor"] != nil {
		t.Errorf("%s", r.body)
	}
}

func TestCustomersForStaff(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	path := customerPath + "/" + o.customer.String()
	got := o.do("GET", path, "", o.by(snapshot.RoleViewer)).json(t)
	if got["company_name"] != "Acme" || got["external_id"] != "acme-1" || got["auth_type"] != "API_KEY" || got["status"] != "active" || got["force_source_address"] != nil {
		t.Errorf("%v", got)
	}
	if r := o.do("GET", "/v1/messages", "", as("keyA")); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if r := o.do("POST", path+"/suspend", `{"reason":"not paid"}`, o.by(snapshot.RoleOperator)); r.StatusCode != 200 || r.json(t)["status"] != "suspended" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.do("GET", "/v1/messages", "", as("keyA")), 403, message.ReasonAccountSuspended)
	r := o.do("GET", customerPath+"?status=suspended&external_id=acme-1", "", o.by(snapshot.RoleViewer))
	if len(r.json(t)["data"].([]any)) != 1 {
		t.Errorf("%s", r.body)
	}
	for name, want := range map[string]int{"acm": 1, "nobody": 0} {
		if r := o.do("GET", customerPath+"?status=suspended&company_name="+name, "", o.by(snapshot.RoleViewer)); len(r.json(t)["data"].([]any)) != want {
			t.Errorf("%s: %s", name, r.body)
		}
	}
	if r := o.do("POST", path+"/resume", "", o.by(snapshot.RoleOperator)); r.StatusCode != 200 || r.json(t)["status"] != "active" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := o.do("GET", "/v1/messages", "", as("keyA")); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if err := o.db.SetAccountStatus(o.ctx, shellActor, o.customer, snapshot.AccountClosed); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, o.do("POST", path+"/resume", "", o.by(snapshot.RoleOperator)), 409, message.ReasonConflict)
}

func TestAuditLogForStaff(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	o.do("POST", customerPath+"/"+o.customer.String()+"/suspend", `{"reason":"not paid"}`, o.by(snapshot.RoleOperator))
	path := adminPrefix + "/audit-log"
	r := o.do("GET", path+"?action=account.status&actor=operator@gw.example&target="+o.customer.String(), "", o.by(snapshot.RoleCompliance))
	adminDocument(t).check("get", path, r)
	data := r.json(t)["data"].([]any)
	if len(data) != 1 {
		t.Fatalf("%s", r.body)
	}
	line := data[0].(map[string]any)
	if line["role"] != "operator" || line["address"] != "127.0.0.1" || len(line["hash"].(string)) != 64 ||
		fmt.Sprint(line["before"], line["after"]) != "map[status:active] map[reason:not paid status:suspended]" {
		t.Errorf("%v", line)
	}
	var ids []float64
	for path := path + "?limit=3"; ; {
		r := o.do("GET", path, "", o.by(snapshot.RoleCompliance)).json(t)
		for _, l := range r["data"].([]any) {
			ids = append(ids, l.(map[string]any)["id"].(float64))
		}
		next, ok := r["next_cursor"].(string)
		if !ok {
			break
		}
		path = adminPrefix + "/audit-log?limit=3&cursor=" + next
	}
	if len(ids) != o.count("select count(*) from audit_log") {
		t.Errorf("%v", ids)
	}
	for i := range ids[1:] {
		if ids[i] <= ids[i+1] {
			t.Errorf("not the newest first: %v", ids)
		}
	}
}

// The internal API describes itself, and is not there unless it is asked for.
func TestInternalReference(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	r := o.do("GET", "/api/v1/openapi.json", "")
	if r.StatusCode != 200 || string(r.body) != string(generatedAdmin(t)) {
		t.Errorf("%d", r.StatusCode)
	}
	if r = o.do("GET", "/api/v1/openapi.yaml", ""); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
	r = o.do("GET", "/api/v1/docs", "")
	page := string(r.body)
	for _, text := range []string{`id="suspendCustomer"`, "DELETE", "operator", `href="/api/v1/openapi.json"`, "Postrider internal", loginPath} {
		if !strings.Contains(page, text) {
			t.Errorf("/api/v1/docs lacks %q", text)
		}
	}
	if found := foreign.FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
	for _, path := range []string{"/openapi.json", "/openapi.yaml", "/docs"} {
		if r := o.do("GET", path, ""); strings.Contains(string(r.body), adminPrefix) {
			t.Errorf("the customers' %s speaks of the internal API", path)
		}
	}
	without := setup(t, nil)
	for _, path := range []string{"/api/v1/openapi.json", "/api/v1/docs", loginPath, staffPath} {
		wantProblem(t, without.do("GET", path, ""), 404, message.ReasonNotFound)
	}
}

// Each answer of the internal API shows a limit, and a member of staff has one of
// their own.
func TestRateOfStaff(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	who := o.by(snapshot.RoleViewer)
	for range requestRate {
		if r := o.do("GET", customerPath, "", who); r.StatusCode != 200 || r.Header.Get("X-Ratelimit-Limit") != fmt.Sprint(requestRate) {
			t.Fatalf("%d %v", r.StatusCode, r.Header)
		}
	}
	wantProblem(t, o.do("GET", customerPath, "", who), 429, message.ReasonRateLimitExceeded)
	if r := o.do("GET", customerPath, "", o.by(snapshot.RoleSupport)); r.StatusCode != 200 {
		t.Errorf("another is held up: %d", r.StatusCode)
	}
	for _, path := range []string{adminPrefix + "/nothing", loginPath} {
		if r := o.do("GET", path, ""); r.Header.Get("X-Ratelimit-Limit") == "" {
			t.Errorf("%s: no limit is shown", path)
		}
	}
}
