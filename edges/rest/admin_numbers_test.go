package rest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// A number is given, changed, moved to another customer and taken away.
func TestNumberFromFirstToLast(t *testing.T) {
	t.Parallel()
	o := front(t)
	by := o.by(snapshot.RoleOperator)
	other := message.NewID()
	if err := o.db.CreateAccount(o.ctx, shellActor, snapshot.Account{ID: other, CompanyName: "B", WebhookSecret: "x"}); err != nil {
		t.Fatal(err)
	}
	vendor := o.vendor().ID.String()
	r := o.do("POST", numbersPath, `{"number":"+1 800 555 0100","account_id":"`+o.customer.String()+`","vendor_id":"`+vendor+`","verification":"pending","tag":"a"}`, by)
	adminDocument(t).check("post", numbersPath, r)
	at := r.Header.Get("Location")
	if n := r.json(t); r.StatusCode != http.StatusCreated || at != numbersPath+"/18005550100" || n["type"] != "toll_free" || n["sms_enabled"] != true || n["vendor_id"] != vendor {
		t.Fatalf("%d %s at %s", r.StatusCode, r.body, at)
	}
	if n := o.snapshot().Numbers["+18005550100"]; n == nil || n.AccountID != o.customer || n.Verification != "pending" || n.Tag != "a" {
		t.Errorf("in force: %+v", n)
	}
	wantProblem(t, o.do("POST", numbersPath, `{"number":"+18005550100","account_id":"`+other.String()+`"}`, by), http.StatusConflict, message.ReasonConflict)
	if r := o.do("POST", numbersPath, `{"number":"72345","account_id":"`+other.String()+`","leased_until":"2027-04-01T00:00:00Z"}`, by); r.Header.Get("Location") != numbersPath+"/72345" || r.json(t)["type"] != "short_code" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	lines := o.last().ID
	for body, location := range map[string]string{
		`{"number":"?","account_id":"` + other.String() + `"}`:                                                           "body.number",
		`{"number":"+12025550190"}`:                                                                                      "body.account_id",
		`{"number":"+12025550190","account_id":"` + message.NewID().String() + `"}`:                                      "body.account_id",
		`{"number":"+12025550190","account_id":"` + other.String() + `","vendor_id":"` + message.NewID().String() + `"}`: "body.vendor_id",
		`{"number":"+12025550190","account_id":"` + other.String() + `","verification":"maybe"}`:                         "body.verification",
		`{"number":"+12025550190","account_id":"` + other.String() + `","leased_until":"soon"}`:                          "body.leased_until",
	} {
		o.clock.advance(time.Second)
		r := o.do("POST", numbersPath, body, by)
		wantProblem(t, r, http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
		if !strings.Contains(string(r.body), `"location":"`+location+`"`) {
			t.Errorf("%s: %s", body, r.body)
		}
	}
	if o.last().ID != lines {
		t.Errorf("the audit log has %+v", o.last())
	}

	if r := o.do("PUT", ofCustomer(o.customer, "/v1/numbers/18005550100/inbound"), `{"method":"storage"}`, by); r.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	o.clock.advance(time.Second)
	tag := header("If-Match", o.do("GET", at, "", by).Header.Get("ETag"))
	if r := o.do("PATCH", at, `{"account_id":"`+other.String()+`","vendor_id":null,"auto_reply":"closed"}`, by, tag); r.StatusCode != http.StatusOK || r.json(t)["vendor_id"] != nil || r.json(t)["tag"] != "a" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	line := o.last()
	if b, a := fields(t, line.Before), fields(t, line.After); line.Action != "number.update" || b["account_id"] != o.customer.String() || a["account_id"] != other.String() || a["tag"] != nil {
		t.Errorf("%s before %s after %s", line.Action, line.Before, line.After)
	}
	if n := o.count("select count(*) from inbound_routes"); n != 0 {
		t.Errorf("its former customer still gets what it receives: %d", n)
	}
	wantProblem(t, o.do("PATCH", at, `{"tag":"b"}`, by, tag), http.StatusPreconditionFailed, message.ReasonConflict)

	list := o.do("GET", numbersPath+"?account_id="+other.String()+"&limit=1", "", by).json(t)
	if n := list["data"].([]any); len(n) != 1 || n[0].(map[string]any)["number"] != "+18005550100" || list["next_cursor"] == nil {
		t.Fatalf("%v", list)
	}
	list = o.do("GET", numbersPath+"?account_id="+other.String()+"&limit=1&cursor="+list["next_cursor"].(string), "", by).json(t)
	if n := list["data"].([]any); len(n) != 1 || n[0].(map[string]any)["number"] != "72345" || list["next_cursor"] != nil {
		t.Errorf("%v", list)
	}
	wantProblem(t, o.do("GET", numbersPath+"?cursor=bm8", "", by), http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
	o.clock.advance(time.Second)
	if r := o.do("DELETE", at, "", by); r.StatusCode != http.StatusNoContent || fields(t, o.last().Before)["tag"] != "a" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for _, method := range []string{"GET", "DELETE", "PATCH"} {
		wantProblem(t, o.do(method, at, "{}", by), http.StatusNotFound, message.ReasonNotFound)
	}

	// A campaign holds its numbers.
	campaign := message.NewID()
	if err := o.db.CreateCampaign(o.ctx, shellActor, snapshot.Campaign{ID: campaign, AccountID: o.customer, CampaignID: "C1", Status: snapshot.CampaignActive, UseCase: "2FA"}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := o.conn.Exec(o.ctx, "update numbers set campaign = $1 where number = '+12025550143'", campaign); err != nil {
		t.Fatal(err)
	}
	at = numbersPath + "/%2B12025550143"
	wantProblem(t, o.do("DELETE", at, "", by), http.StatusConflict, message.ReasonConflict)
	wantProblem(t, o.do("PATCH", at, `{"account_id":"`+other.String()+`"}`, by), http.StatusConflict, message.ReasonConflict)
}

// A file is taken whole or not at all, and says in which lines it is wrong.
func TestImportNumbers(t *testing.T) {
	t.Parallel()
	o := front(t)
	by, kind := o.by(snapshot.RoleOperator), header("Content-Type", csvType)
	a := o.customer.String()
	count := func() int { return o.count("select count(*) from numbers") }
	load := func(query, file string) *reply {
		t.Helper()
		o.clock.advance(time.Second)
		return o.do("POST", numbersPath+"/import"+query, file, by, kind)
	}
	good := "\xef\xbb\xbfNumber,account_id,tag,mms_enabled,rate_limit\n+12025550150," + a + ",\"a, b\",true,\n(202) 555,x,,,\n"
	r := load("", strings.Replace(good, "(202) 555,x,,,\n", "+1 (202) 555-0151,"+a+",,,7\n", 1)+"\n")
	adminDocument(t).check("post", numbersPath+"/import", r)
	if got := r.json(t); r.StatusCode != http.StatusOK || got["rows"] != 2.0 || got["created"] != 2.0 || count() != 3 {
		t.Fatalf("%d %s, %d numbers", r.StatusCode, r.body, count())
	}
	if n := o.snapshot().Numbers; n["+12025550150"].Tag != "a, b" || !n["+12025550150"].MMSEnabled || n["+12025550151"].RateLimit != 7 || n["+12025550151"].MMSEnabled {
		t.Errorf("%+v %+v", n["+12025550150"], n["+12025550151"])
	}
	line := o.last()
	if line.Action != "number.import" || fields(t, line.After)["numbers"] != 2.0 {
		t.Errorf("%+v %s", line, line.After)
	}
	if r := load("?dry_run=true", "number,account_id\n+12025550160,"+a+"\n"); r.json(t)["created"] != 0.0 || r.json(t)["rows"] != 1.0 || r.json(t)["dry_run"] != true {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for file, wrong := range map[string]string{
		"\n": "line 1", "number\n+12025550160\n": "line 1.account_id", "number,account_id,fax\n": "line 1.fax", "number,number,account_id\n": "line 1.number",
		"number,account_id\n":                                                                        "line 2",
		"number,account_id\n+12025550160," + a + "\n12,x\n":                                          "line 3.number",
		"number,account_id\n+12025550160," + a + "\n\n+12025550160," + a + "\n":                      "line 4.number",
		"number,account_id\n+12025550160," + a + "\n+12025550161," + message.NewID().String() + "\n": "line 3.account_id",
		"number,account_id,vendor_id\n+12025550160," + a + "," + message.NewID().String() + "\n":     "line 2.vendor_id",
		"number,account_id,mms_enabled\n+12025550160," + a + ",maybe\n":                              "line 2.mms_enabled",
		"number,account_id\n+12025550160\n+12025550161," + a + "\n":                                  "line 2",
		"number,account_id\n\"+12025550160," + a + "\n":                                              "line",
		"number,account_id\n+12025550160," + a + "\n+12025550150," + message.NewID().String() + "\n": "line 3.number",
	} {
		r := load("", file)
		wantProblem(t, r, http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
		if !strings.Contains(string(r.body), `"location":"`+wrong) {
			t.Errorf("%q: %s", file, r.body)
		}
	}
	if r := load("", ""); r.StatusCode != http.StatusBadRequest || !strings.Contains(string(r.body), "body is required") {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	r = load("", "number,account_id\n+12025550161,"+a+"\n+12025550150,"+a+"\n")
	wantProblem(t, r, http.StatusConflict, message.ReasonConflict)
	if !strings.Contains(string(r.body), `"location":"line 3.number"`) {
		t.Errorf("%s", r.body)
	}
	if count() != 3 || o.last().ID != line.ID {
		t.Errorf("%d numbers, and the audit log has %+v", count(), o.last())
	}
	o.clock.advance(time.Second)
	wantProblem(t, o.do("POST", numbersPath+"/import", good, by), http.StatusUnsupportedMediaType, message.ReasonInvalidRequest)
}
