package rest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// A customer is made, changed and closed; the audit log has what was and what is.
func TestCustomerFromFirstToLast(t *testing.T) {
	t.Parallel()
	o := front(t)
	doc := adminDocument(t)
	by := o.by(snapshot.RoleOperator)
	r := o.do("POST", customerPath, `{"company_name":"Zeta","external_id":"z-1","time_zone":"America/Chicago","max_parts":3,"content_retention_days":0,
		"allowed_source_addresses":["+1 (310) 555-0199","ZETA"],"force_source_address":"ZETA","ordered_conversations":true,"prepaid":true,"api_burst":7}`, by)
	doc.check("post", customerPath, r)
	made := r.json(t)
	id, at := made["id"].(string), r.Header.Get("Location")
	if r.StatusCode != http.StatusCreated || at != customerPath+"/"+id || !strings.HasPrefix(made["webhook_secret"].(string), "whsec_") || made["status"] != "active" ||
		made["content_retention_days"] != 0.0 || made["force_source_address"] != "ZETA" || made["delivery"] != "at_most_once" || made["allowed_source_addresses"].([]any)[0] != "+13105550199" {
		t.Fatalf("%d %s at %s", r.StatusCode, r.body, at)
	}
	uuid := uuidOf(t, id)
	if a := o.snapshot().Accounts[uuid]; a.TimeZone != "America/Chicago" || a.MaxParts != 3 || !a.Prepaid || a.APIBurst != 7 || a.ContentRetentionDays != 0 ||
		a.OrderedConversations == nil || !*a.OrderedConversations || a.WebhookSecret != made["webhook_secret"] {
		t.Errorf("in force: %+v", a)
	}
	read := o.do("GET", at, "", o.by(snapshot.RoleViewer))
	if read.StatusCode != http.StatusOK || read.json(t)["webhook_secret"] != nil || read.Header.Get("ETag") != r.Header.Get("ETag") {
		t.Errorf("read: %d %s", read.StatusCode, read.body)
	}

	// Another one's id in other systems, and what breaks a rule, change nothing.
	lines := o.last().ID
	wantProblem(t, o.do("POST", customerPath, `{"company_name":"Eta","external_id":"z-1"}`, by), http.StatusConflict, message.ReasonConflict)
	wantProblem(t, o.do("PATCH", at, `{"external_id":"acme-1"}`, by), http.StatusConflict, message.ReasonConflict)
	for body, location := range map[string]string{
		`{"company_name":""}`: "body.company_name", `{"time_zone":"Mars/Olympus"}`: "body.time_zone", `{"max_parts":256}`: "body.max_parts",
		`{"default_country":"us"}`: "body.default_country", `{"mms_fallback":"sms_link"}`: "body.mms_fallback", `{"force_source_address":"a b c d e f g h i j k l"}`: "body.force_source_address",
		`{"status":"closed"}`: "body.status", `{"delivery":"never"}`: "body.delivery", `{"webhook_secret":"x"}`: "body.webhook_secret", `{"allowed_source_addresses":["?"]}`: "body.allowed_source_addresses",
	} {
		o.clock.advance(time.Second)
		r := o.do("PATCH", at, body, by)
		wantProblem(t, r, http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
		if !strings.Contains(string(r.body), `"location":"`+location+`"`) {
			t.Errorf("%s: %s", body, r.body)
		}
	}
	wantProblem(t, o.do("POST", customerPath, `{}`, by), http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
	if o.last().ID != lines {
		t.Errorf("the audit log has %+v", o.last())
	}

	o.clock.advance(time.Second)
	stale := header("If-Match", r.Header.Get("ETag"))
	changed := o.do("PATCH", at, `{"external_id":null,"force_source_address":null,"api_rate_limit":50}`, by, stale)
	if now := changed.json(t); changed.StatusCode != http.StatusOK || now["external_id"] != nil || now["force_source_address"] != nil || now["max_parts"] != 3.0 || now["api_rate_limit"] != 50.0 {
		t.Errorf("%d %s", changed.StatusCode, changed.body)
	}
	line := o.last()
	if b, a := fields(t, line.Before), fields(t, line.After); line.Action != "account.update" || b["external_id"] != "z-1" || a["external_id"] != "" || a["api_rate_limit"] != 50.0 || a["max_parts"] != nil || len(a) != 3 {
		t.Errorf("%s before %s after %s", line.Action, line.Before, line.After)
	}
	wantProblem(t, o.do("PATCH", at, `{"max_parts":4}`, by, stale), http.StatusPreconditionFailed, message.ReasonConflict)

	// Messages on their way hold the closing up, unless it is said to refuse them.
	o.message(func(m *message.Message) { m.AccountID = uuid })
	r = o.do("DELETE", at, "", by)
	wantProblem(t, r, http.StatusConflict, message.ReasonConflict)
	if !strings.Contains(string(r.body), "1 messages of the customer are on their way") {
		t.Errorf("%s", r.body)
	}
	if r := o.do("DELETE", at+"?force=true&reason=gone", "", by); r.StatusCode != http.StatusNoContent {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	line = o.last()
	if line.Action != "account.status" || fields(t, line.Before)["status"] != "active" || fields(t, line.After)["status"] != "closed" || fields(t, line.After)["reason"] != "gone" {
		t.Errorf("%+v %s %s", line, line.Before, line.After)
	}
	wantProblem(t, o.do("PATCH", at, `{"max_parts":4}`, by), http.StatusConflict, message.ReasonConflict)
	wantProblem(t, o.do("POST", at+"/resume", "", by), http.StatusConflict, message.ReasonConflict)
	if r := o.do("DELETE", at, "", by); r.StatusCode != http.StatusNoContent {
		t.Errorf("again: %d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.do("DELETE", customerPath+"/"+message.NewID().String(), "", by), http.StatusNotFound, message.ReasonNotFound)
}

// The limits of a body are all there are afterwards; one that stays keeps its count.
func TestSetCustomerLimits(t *testing.T) {
	t.Parallel()
	o := front(t)
	by, at := o.by(snapshot.RoleOperator), customerPath+"/"+o.customer.String()+"/limits"
	set := func(body string) string {
		t.Helper()
		r := o.do("PUT", at, body, by)
		if r.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		if got := string(o.do("GET", at, "", by).body); got != string(r.body) {
			t.Errorf("read: %s, set: %s", got, r.body)
		}
		return string(r.body)
	}
	day := `{"type":"sms","period":"day","limit":1000}`
	set(`{"limits":[` + day + `,{"number":"+12025550143","type":"mms","period":"month","limit":0}]}`)
	id := o.count("select ('x' || left(id::text, 7))::bit(28)::int from usage_limits where kind = 'sms'")
	if got := set(`{"limits":[{"type":"sms","period":"minute","limit":5},` + day + `]}`); strings.Count(got, `"period"`) != 2 || strings.Contains(got, "mms") {
		t.Errorf("%s", got)
	}
	if o.count("select ('x' || left(id::text, 7))::bit(28)::int from usage_limits where period = 'day'") != id {
		t.Error("the limit that stayed began anew")
	}
	lines := o.last().ID
	for _, body := range []string{`{}`, `{"limits":[{"type":"sms","period":"day"}]}`, `{"limits":[` + day + `,` + day + `]}`, `{"limits":[{"type":"fax","period":"day","limit":1}]}`,
		`{"limits":[{"type":"sms","period":"day","limit":-1}]}`, `{"limits":{}}`, `{"limits":[7]}`, `{"limits":[{"type":"sms","period":"day","limit":1,"x":1}]}`, `{"limits":[{"number":"?","type":"sms","period":"day","limit":1}]}`} {
		o.clock.advance(time.Second)
		wantProblem(t, o.do("PUT", at, body, by), http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
	}
	if o.last().ID != lines {
		t.Errorf("the audit log has %+v", o.last())
	}
	if got := set(`{"limits":[]}`); got != `{"data":[],"next_cursor":null}` {
		t.Errorf("%s", got)
	}
}

// A booking that is repeated, by its key or its reference, is one entry.
func TestBookForACustomer(t *testing.T) {
	t.Parallel()
	o := front(t)
	by, at := o.by(snapshot.RoleOperator), customerPath+"/"+o.customer.String()+"/balance-entries"
	entries := func() int { return o.count("select count(*) from balance_entries where account_id = $1", o.customer) }
	key := header("Idempotency-Key", "invoice-1")
	first := o.do("POST", at, `{"amount":"250.50","currency":"USD","reason":"Invoice 1"}`, by, key)
	if first.StatusCode != http.StatusCreated || first.Header.Get("Location") != at || first.json(t)["balance_after"].(map[string]any)["amount"] != "250.50" {
		t.Fatalf("%d %s", first.StatusCode, first.body)
	}
	adminDocument(t).check("post", behalfPath+"/balance-entries", first)
	again := o.do("POST", at, `{"amount":"250.50","currency":"USD","reason":"Invoice 1"}`, by, key)
	if again.StatusCode != http.StatusCreated || string(again.body) != string(first.body) || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %s", again.StatusCode, again.body)
	}
	wantProblem(t, o.do("POST", at, `{"amount":"9","currency":"USD","reason":"Invoice 1"}`, by, key), http.StatusUnprocessableEntity, message.ReasonIdempotencyMismatch)
	wire := `{"amount":"10","currency":"USD","reason":"wire","reference":"w-1"}`
	one, two := o.do("POST", at, wire, by), o.do("POST", at, wire, by)
	if one.StatusCode != http.StatusCreated || string(one.body) != string(two.body) || entries() != 2 {
		t.Errorf("%d entries: %s and %s", entries(), one.body, two.body)
	}
	wantProblem(t, o.do("POST", at, `{"amount":"11","currency":"USD","reason":"wire","reference":"w-1"}`, by), http.StatusConflict, message.ReasonConflict)
	wantProblem(t, o.do("POST", at, `{"amount":"1","currency":"EUR","reason":"x"}`, by), http.StatusConflict, message.ReasonConflict)
	if r := o.do("POST", at, `{"kind":"adjustment","amount":"-0.000001","currency":"USD","reason":"rounding"}`, by); r.StatusCode != http.StatusCreated || r.json(t)["balance_after"].(map[string]any)["amount"] != "260.499999" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	lines := o.last().ID
	for _, body := range []string{`{"amount":"-1","currency":"USD","reason":"x"}`, `{"amount":"0","currency":"USD","reason":"x"}`, `{"amount":1,"currency":"USD","reason":"x"}`, `{"amount":"1","currency":"usd","reason":"x"}`,
		`{"amount":"1","currency":"USD"}`, `{"amount":"1e3","currency":"USD","reason":"x"}`, `{"amount":"1","currency":"USD","reason":"x","kind":"charge"}`, `{"amount":"99999999999999999999","currency":"USD","reason":"x"}`} {
		o.clock.advance(time.Second)
		wantProblem(t, o.do("POST", at, body, by), http.StatusUnprocessableEntity, message.ReasonInvalidRequest)
	}
	if entries() != 3 || o.last().ID != lines {
		t.Errorf("%d entries", entries())
	}
	if r := o.do("GET", at, "", o.by(snapshot.RoleViewer)); len(r.json(t)["data"].([]any)) != 3 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}
