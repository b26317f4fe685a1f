package rest

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func aboutSMPPUser(suffix, body string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		id := message.NewID()
		if err := o.db.CreateSMPPCredential(o.ctx, shellActor, snapshot.SMPPCredential{ID: id, AccountID: o.customer, SystemID: id.String()[21:36], PasswordHash: "x", Enabled: true}); err != nil {
			o.t.Fatal(err)
		}
		return smppUserPath + "/" + id.String() + suffix, body
	}
}

// One of a customer and one of a vendor, from the first to the last.
func TestSMPPUserLifecycle(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	vendor := o.vendor()
	for kind, owner := range map[string]string{"customer": `"account_id":"` + o.customer.String() + `"`, "vendor": `"vendor_id":"` + vendor.ID.String() + `"`} {
		name := kind + "1"
		r := o.do("POST", smppUserPath, `{`+owner+`,"system_id":"`+name+`","password_length":16,"throughput":2000,"default_alphabet":"latin1","bind_types":["receiver"]}`, by)
		made := r.json(t)
		if r.StatusCode != 201 || made["kind"] != kind || made["throughput"] != 2000.0 || made["default_alphabet"] != "latin1" || made["system_id"] != name ||
			r.Header.Get("Location") != smppUserPath+"/"+fmt.Sprint(made["id"]) || (made["account_id"] == nil) == (kind == "customer") || (made["vendor_id"] == nil) == (kind == "vendor") {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		c := o.snapshot().SMPPCredentials[name]
		word := made["password"].(string)
		if c == nil || len(word) != 16 || bcrypt.CompareHashAndPassword([]byte(c.PasswordHash), []byte(word)) != nil || !c.Receiver || c.Transmitter {
			t.Errorf("in the configuration: %+v", c)
		}
		wantProblem(t, o.do("POST", smppUserPath, `{`+owner+`,"system_id":"`+name+`"}`, by), 409, message.ReasonConflict)

		// By its system_id as by its id; nobody sees the password again.
		read := o.do("GET", smppUserPath+"/"+name, "", o.by(snapshot.RoleViewer))
		if read.StatusCode != 200 || read.json(t)["id"] != made["id"] || read.Header.Get("ETag") != r.Header.Get("ETag") || strings.Contains(string(read.body), "password") {
			t.Errorf("%d %s", read.StatusCode, read.body)
		}
		list := o.do("GET", smppUserPath+"?kind="+kind, "", by)
		if data := list.json(t)["data"].([]any); len(data) != 1 || data[0].(map[string]any)["system_id"] != name {
			t.Errorf("of kind %s: %s", kind, list.body)
		}
		path := smppUserPath + "/" + name
		if r := o.do("PATCH", path, `{"require_tls":true,"default_alphabet":"ascii"}`, by); r.StatusCode != 200 || !o.snapshot().SMPPCredentials[name].RequireTLS || o.snapshot().SMPPCredentials[name].Throughput != 2000 {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
		wantProblem(t, o.do("PATCH", path, `{"require_tls":false}`, by, header("If-Match", r.Header.Get("ETag"))), 412, message.ReasonConflict)
		r = o.do("PUT", path+"/quota", `{"throughput":5,"max_binds":7,"window":9}`, by)
		if c := o.snapshot().SMPPCredentials[name]; r.StatusCode != 200 || c.Throughput != 5 || c.MaxBinds != 7 || c.Window != 9 || !c.RequireTLS {
			t.Errorf("%d %s %+v", r.StatusCode, r.body, c)
		}
		before := o.snapshot().SMPPCredentials[name].PasswordHash
		r = o.do("POST", path+"/regenerate", "", by)
		if after := o.snapshot().SMPPCredentials[name].PasswordHash; r.StatusCode != 200 || after == before || bcrypt.CompareHashAndPassword([]byte(after), []byte(r.json(t)["password"].(string))) != nil {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
		if r := o.do("DELETE", path, "", by); r.StatusCode != 204 || o.snapshot().SMPPCredentials[name] != nil && o.snapshot().SMPPCredentials[name].Enabled {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
		wantProblem(t, o.do("GET", path, "", by), 404, message.ReasonNotFound)
		lines, err := o.db.AuditLog(o.ctx, message.AuditFilter{Target: made["id"].(string)}, 0, 100)
		if err != nil || len(lines) != 5 {
			t.Fatal(len(lines), err)
		}
		for _, l := range lines {
			if text := string(l.Before) + string(l.After); strings.Contains(text, word) || strings.Contains(text, "$2a$") {
				t.Errorf("the audit log has the password: %s", text)
			}
		}
		if gone := fields(t, lines[0].After); gone["account_id"] == nil && gone["vendor_id"] == nil {
			t.Errorf("whose it was is not said: %v", gone)
		}
	}
}

func TestSMPPUserRefused(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	vendor := o.vendor()
	owner := `"account_id":"` + o.customer.String() + `"`
	for body, says := range map[string]string{
		`{}`: "body.account_id",
		`{` + owner + `,"vendor_id":"` + vendor.ID.String() + `"}`: "body.account_id",
		`{"account_id":"x"}`:                    "body.account_id",
		`{` + owner + `,"system_id":"a b"}`:     "body.system_id",
		`{` + owner + `,"throughput":0}`:        "body.throughput",
		`{` + owner + `,"default_alphabet":""}`: "body.default_alphabet",
		`{` + owner + `,"password":"12345678"}`: "body.password",
		`{` + owner + `,"nonsense":1}`:          "body.nonsense",
	} {
		r := o.do("POST", smppUserPath, body, by)
		if r.StatusCode != 422 || !strings.Contains(string(r.body), says) {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	wantProblem(t, o.do("POST", smppUserPath, `{"account_id":"`+message.NewID().String()+`"}`, by), 404, message.ReasonNotFound)
	path, _ := aboutSMPPUser("", "")(o)
	for body, says := range map[string]string{
		`{"throughput":5,"max_binds":7}`:                           "body.window",
		`{"throughput":5,"max_binds":7,"window":null}`:             "body.window",
		`{"throughput":5,"max_binds":7,"window":2000}`:             "body.window",
		`{"throughput":5,"max_binds":7,"window":1,"enabled":true}`: "body.enabled",
	} {
		r := o.do("PUT", path+"/quota", body, by)
		if r.StatusCode != 422 || !strings.Contains(string(r.body), says) {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	if r := o.do("PATCH", path, `{"account_id":"`+o.customer.String()+`"}`, by); r.StatusCode != 422 {
		t.Errorf("it was given away: %d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.do("GET", smppUserPath+"/nobody", "", by), 404, message.ReasonNotFound)
	wantProblem(t, o.do("GET", smppUserPath+"?kind=cat", "", by), 422, message.ReasonInvalidRequest)
}
