package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/vendorconf"
)

func aboutRoute(body string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		r, err := o.db.AddRoute(o.ctx, shellActor, snapshot.RouteState{Route: snapshot.Route{VendorID: o.vendor().ID}, Active: true})
		if err != nil {
			o.t.Fatal(err)
		}
		return fmt.Sprint(routePath, "/", r.ID), body
	}
}

// ExplainRoute is Routing with vendors that are all healthy.
func (o *office) ExplainRoute(_ context.Context, m *message.Message, at time.Time) ([]policy.Explained, []message.TrailEntry, error) {
	list, trail := policy.Explain(o.snapshot(), m, policy.Ways{Now: at})
	return list, trail, nil
}

func (o *office) WhatIf(ctx context.Context, p policy.Proposal, from, until time.Time, limit int) (policy.Forecast, error) {
	before := o.snapshot()
	after, err := policy.Propose(before, p)
	if err != nil {
		return policy.Forecast{}, err
	}
	w := policy.NewWhatIf(before, after)
	err = o.db.SampleMessages(ctx, from, until, limit, w.Take)
	return w.Forecast(), err
}

func (o *office) reroute(ctx context.Context, by message.Actor, id, vendor message.ID, reason string) error {
	return o.db.SetRouteOverride(ctx, by, id, vendor, reason)
}

func TestRouteLifecycle(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	v := o.vendor()
	r := o.do("POST", routePath, `{"vendor_id":"`+v.ID.String()+`","dest_pattern":"^1(310|213)","rate_per_msg":"0.0045","days":"mon-wed,sat"}`, by)
	made := r.json(t)
	if r.StatusCode != 201 || made["priority"] != 100.0 || made["days"] != "mon-wed,sat" || made["weight"] != 1.0 || made["account_id"] != nil || made["max_cost"] != nil || made["time_zone"] != "UTC" || made["from_time"] != "00:00" {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	path := r.Header.Get("Location")
	if routes := o.snapshot().Routes; len(routes) != 1 || routes[0].DestPattern.String() != "^1(310|213)" || routes[0].Days != 0b0100111 || routes[0].RatePerMsg != 4500 {
		t.Errorf("%+v", routes)
	}
	// Everything that can be set travels to the configuration and back.
	other := vendorconf.Route{Name: "n", IsActive: true, VendorID: o.vendor().ID.String(), Priority: 7, DestPattern: "^7", SourcePattern: "^8", AccountID: new(o.customer.String()), MessageType: new("mms"),
		MessageClass: new("otp"), Capability: new("long"), RatePerMsg: "0.07", MaxCost: new("0.007"), Selection: "least_cost", Weight: 7, Sticky: true, Days: "sat,sun", FromTime: "22:30", UntilTime: "24:00",
		TimeZone: "America/New_York", EffectiveFrom: new("2026-11-21T20:15:04Z"), EffectiveUntil: new("2027-01-01T00:00:00Z")}
	doc, err := json.Marshal(other)
	if err != nil {
		t.Fatal(err)
	}
	r = o.do("PATCH", path, string(doc), by, header("If-Match", r.Header.Get("ETag")))
	var shown vendorconf.Route
	if err := json.Unmarshal(r.body, &shown); err != nil || r.StatusCode != 200 || !reflect.DeepEqual(shown, other) {
		t.Fatalf("%d %v\n%s", r.StatusCode, err, r.body)
	}
	if stored := vendorconf.RouteOf(&o.snapshot().Routes[0], true); !reflect.DeepEqual(stored, other) {
		t.Errorf("%+v", stored)
	}
	wantProblem(t, o.do("PATCH", path, `{"weight":3}`, by, header("If-Match", `"old"`)), 412, message.ReasonConflict)
	wantProblem(t, o.do("DELETE", path, "", by, header("If-Match", `"old"`)), 412, message.ReasonConflict)
	if r := o.do("PATCH", path, `{"account_id":null,"max_cost":null,"effective_from":null,"effective_until":null,"message_class":null,"is_active":false}`, by).json(t); r["account_id"] != nil || r["max_cost"] != nil ||
		r["effective_from"] != nil || r["message_class"] != nil || r["is_active"] != false || r["weight"] != 7.0 {
		t.Errorf("%v", r)
	}
	if n := len(o.snapshot().Routes); n != 0 {
		t.Errorf("%d routes count", n)
	}
	if r := o.do("DELETE", path, "", by, header("If-Match", o.do("GET", path, "", by).Header.Get("ETag"))); r.StatusCode != 204 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.do("GET", path, "", by), 404, message.ReasonNotFound)
	id := path[strings.LastIndex(path, "/")+1:]
	if lines := o.audited(id); !slices.Equal(lines, slices.Concat([]string{"operator@gw.example operator route.create 127.0.0.1"}, slices.Repeat([]string{"operator@gw.example operator route.update 127.0.0.1"}, 2), []string{"operator@gw.example operator route.delete 127.0.0.1"})) {
		t.Errorf("%q", lines)
	}
}

// What somebody has broken in the database is seen and can be taken away.
func TestBrokenRows(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	v := o.vendor()
	path := o.do("POST", routePath, `{"vendor_id":"`+v.ID.String()+`","dest_pattern":"^1"}`, by).Header.Get("Location")
	if _, err := o.conn.Exec(o.ctx, "update routing_rules set dest_pattern = '^('"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.conn.Exec(o.ctx, "update vendors set password = 'x' where id = $1", v.ID); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{path, vendorPath + "/" + v.Name} {
		if r := o.do("GET", at, "", by); r.StatusCode != 200 || r.json(t)["problem"] == nil {
			t.Errorf("%s: %d %s", at, r.StatusCode, r.body)
		}
	}
	for _, at := range []string{routePath, vendorPath} {
		if r := o.do("GET", at, "", by); r.StatusCode != 200 {
			t.Errorf("%s: %d %s", at, r.StatusCode, r.body)
		}
	}
	wantProblem(t, o.do("PATCH", path, `{"name":"x"}`, by), 409, message.ReasonConflict)
	if r := o.do("DELETE", path, "", by); r.StatusCode != 204 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := o.do("PATCH", vendorPath+"/"+v.Name, `{"password":"anew"}`, by); r.StatusCode != 200 || r.json(t)["problem"] != nil {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if s := o.snapshot(); s.Vendors[v.ID] == nil || s.Vendors[v.ID].Password != "anew" || len(s.Problems) != 0 {
		t.Errorf("%v", s.Problems)
	}
}

func TestRouteRules(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	vendor := `"vendor_id":"` + o.vendor().ID.String() + `",`
	for body, want := range map[string]string{
		`{}`:                   "body.vendor_id",
		`{"vendor_id":"acme"}`: "body.vendor_id",
		`{"vendor_id":"` + message.NewID().String() + `"}`:                                                       "body.vendor_id",
		`{"vendor_id":"` + message.InternalVendor.String() + `"}`:                                                "body.vendor_id",
		`{` + vendor + `"account_id":"` + message.NewID().String() + `"}`:                                        "body.account_id",
		`{` + vendor + `"dest_pattern":"(","source_pattern":"(?<=x)"}`:                                           "body.dest_pattern body.source_pattern",
		`{` + vendor + `"dest_pattern":"((((((x{100}){100}){100})))"}`:                                           "body.dest_pattern",
		`{` + vendor + `"dest_pattern":"` + strings.Repeat("1", 1001) + `"}`:                                     "body.dest_pattern",
		`{` + vendor + `"dest_pattern":"` + strings.Repeat(`(.?){1000}`, 90) + `"}`:                              "body.dest_pattern",
		`{` + vendor + `"from_time":"24:00","until_time":"06:00"}`:                                               "body.from_time",
		`{` + vendor + `"weight":0,"priority":-1,"selection":"best","message_type":"fax","capability":"colour"}`: "body.capability body.message_type body.priority body.selection body.weight",
		`{` + vendor + `"days":"someday","from_time":"8:00","until_time":"24:01","time_zone":"Mars/Olympus"}`:    "body.days body.from_time body.time_zone body.until_time",
		`{` + vendor + `"time_zone":"Local"}`:                                                                    "body.time_zone",
		`{` + vendor + `"max_cost":"0","rate_per_msg":"1e3"}`:                                                    "body.max_cost body.rate_per_msg",
		`{` + vendor + `"effective_from":"2027-01-01T00:00:00Z","effective_until":"2026-01-01T00:00:00Z"}`:       "body.effective_until",
		`{` + vendor + `"effective_from":"tomorrow"}`:                                                            "body.effective_from",
		`{` + vendor + `"colour":1}`:                                                                             "body.colour",
	} {
		r := o.do("POST", routePath, body, by)
		if r.StatusCode != 422 {
			t.Errorf("%.100s: %d %s", body, r.StatusCode, r.body)
			continue
		}
		var got []string
		for _, e := range r.json(t)["errors"].([]any) {
			got = append(got, e.(map[string]any)["location"].(string))
		}
		slices.Sort(got)
		if got := strings.Join(slices.Compact(got), " "); got != want {
			t.Errorf("%.100s: %s, want %s", body, got, want)
		}
	}
	for _, id := range []string{"0", "-1", "x", "9223372036854775807"} {
		wantProblem(t, o.do("GET", routePath+"/"+id, "", by), 404, message.ReasonNotFound)
	}
}

// A list goes by priority, page by page, whatever the numbers of the routes.
func TestRouteList(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleViewer)
	a, b := o.vendor().ID, o.vendor().ID
	for i, priority := range []int{30, 10, 20, 10, 0} {
		r := snapshot.RouteState{Route: snapshot.Route{VendorID: []message.ID{a, b}[i%2], Priority: priority}, Active: i != 0}
		if i == 2 {
			r.AccountID = o.customer
		}
		if _, err := o.db.AddRoute(o.ctx, shellActor, r); err != nil {
			t.Fatal(err)
		}
	}
	all := func(query string) (got []float64) {
		t.Helper()
		for cursor := ""; ; {
			r := o.do("GET", routePath+"?limit=2"+query+cursor, "", by)
			if r.StatusCode != 200 {
				t.Fatalf("%d %s", r.StatusCode, r.body)
			}
			page := r.json(t)
			for _, row := range page["data"].([]any) {
				got = append(got, row.(map[string]any)["priority"].(float64))
			}
			if page["next_cursor"] == nil {
				return got
			}
			cursor = "&cursor=" + page["next_cursor"].(string)
		}
	}
	for query, want := range map[string][]float64{"": {0, 10, 10, 20, 30}, "&active=true": {0, 10, 10, 20}, "&vendor_id=" + b.String(): {10, 10}, "&account_id=" + o.customer.String(): {20}} {
		if got := all(query); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	for _, query := range []string{"?cursor=x", "?vendor_id=acme", "?cursor=" + encodeRowCursor(a)} {
		if r := o.do("GET", routePath+query, "", by); r.StatusCode != 422 && r.StatusCode != 400 {
			t.Errorf("%s: %d", query, r.StatusCode)
		}
	}
}

func TestRouteTestOverTheAPI(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	good, dear := o.vendor(), o.vendor()
	o.do("PATCH", vendorPath+"/"+dear.Name, `{"cost_per_sms":"0.5"}`, by)
	o.do("POST", routePath, `{"name":"us","vendor_id":"`+good.ID.String()+`","dest_pattern":"^1","rate_per_msg":"0.01"}`, by)
	o.do("POST", routePath, `{"vendor_id":"`+dear.ID.String()+`","max_cost":"0.1"}`, by)
	o.do("POST", routePath, `{"vendor_id":"`+dear.ID.String()+`","dest_pattern":"^44"}`, by)
	r := o.do("POST", routePath+"/test", `{"to":"+13105550117","from":"+12025550143","body":"`+strings.Repeat("x", 161)+`","account_id":"`+o.customer.String()+`"}`, by)
	adminDocument(t).check("post", routePath+"/test", r)
	got := r.json(t)
	if r.StatusCode != 200 || got["selected"] != good.Name || got["parts"] != 2.0 || got["encoding"] != "gsm7" || len(got["candidates"].([]any)) != 3 || len(got["trail"].([]any)) != 3 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if c := got["candidates"].([]any)[0].(map[string]any); c["place"] != 1.0 || c["route_name"] != "us" || c["rate_per_msg"] != "0.01" {
		t.Errorf("%v", c)
	}
	if c := got["candidates"].([]any)[1].(map[string]any); c["place"] != nil || c["vendor"] != dear.Name || !strings.Contains(c["reason"].(string), "0.1") {
		t.Errorf("%v", c)
	}
	if r := o.do("POST", routePath+"/test", `{"to":"+819012345678"}`, by); r.StatusCode != 200 || r.json(t)["selected"] != nil {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for _, body := range []string{`{}`, `{"to":"x"}`, `{"to":"+13105550117","from":"a very long name"}`, `{"to":"+13105550117","type":"fax"}`, `{"to":"+13105550117","message_class":"x"}`,
		`{"to":"+13105550117","body":"` + strings.Repeat("x", 5001) + `"}`, `{"to":"+13105550117","at":"now"}`} {
		if r := o.do("POST", routePath+"/test", body, by); r.StatusCode != 422 {
			t.Errorf("%.80s: %d %s", body, r.StatusCode, r.body)
		}
	}
	// What is left out is as the account has it, and so is what the account's settings
	// make of the rest: the same as when it sends.
	if _, err := o.conn.Exec(o.ctx, "update accounts set default_message_class = 'otp', smart_encoding = true, force_source_address = '+12025550177' where id = $1", o.customer); err != nil {
		t.Fatal(err)
	}
	o.do("PATCH", vendorPath+"/"+dear.Name, `{"supports_unicode":false}`, by)
	o.do("POST", routePath, `{"vendor_id":"`+dear.ID.String()+`","dest_pattern":"^1","message_class":"otp","source_pattern":"^12025550177$","priority":1}`, by)
	o.do("POST", adminPrefix+"/reload", "", by)
	for account, want := range map[string]string{`,"account_id":"` + o.customer.String() + `"`: dear.Name, "": good.Name} {
		if r := o.do("POST", routePath+"/test", `{"to":"+13105550117","body":"it’s"`+account+`}`, by); r.json(t)["selected"] != want {
			t.Errorf("%s: %s", account, r.body)
		}
	}
	o.server.Admin.Routing = nil
	wantProblem(t, o.do("POST", routePath+"/test", `{"to":"+13105550117"}`, by), 503, message.ReasonUnavailable)
	wantProblem(t, o.do("POST", routePath+"/what-if", `{}`, by), 503, message.ReasonUnavailable)
}

func TestWhatIfOverTheAPI(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleOperator)
	a, b := o.vendor(), o.vendor()
	made := o.do("POST", routePath, `{"vendor_id":"`+a.ID.String()+`","dest_pattern":"^1","rate_per_msg":"0.01"}`, by).json(t)
	m := o.message(nil)
	if _, err := o.db.Advance(o.ctx, message.Change{MessageID: m.ID, To: message.StatusQueued, Started: true, Vendor: message.VendorRef{ID: a.ID, Name: a.Name}}); err != nil {
		t.Fatal(err)
	}
	span := fmt.Sprintf(`"from":"%s","until":"%s"`, m.CreatedAt.Add(-time.Hour).Format(time.RFC3339), m.CreatedAt.Add(time.Hour).Format(time.RFC3339))
	ask := func(rest string) map[string]any {
		t.Helper()
		r := o.do("POST", routePath+"/what-if", "{"+span+rest+"}", by)
		if r.StatusCode != 200 {
			t.Fatalf("%s: %d %s", rest, r.StatusCode, r.body)
		}
		adminDocument(t).check("post", routePath+"/what-if", r)
		return r.json(t)
	}
	if got := ask(""); got["messages"] != 1.0 || got["moved"] != 0.0 || got["before"].(map[string]any)["price"] != "0.01" {
		t.Errorf("%v", got)
	}
	id := made["id"].(float64)
	for rest, want := range map[string]string{
		fmt.Sprintf(`,"routes":[{"id":%v,"vendor_id":"%s"}]`, id, b.ID):                   "moved 1 to " + b.Name + " for 0.01",
		fmt.Sprintf(`,"routes":[{"vendor_id":"%s","priority":1}]`, b.ID):                  "moved 1 to " + b.Name + " for 0.00",
		fmt.Sprintf(`,"routes":[{"id":%v,"is_active":false}]`, id):                        "moved 1 to  for 0.00",
		fmt.Sprintf(`,"remove":[%v]`, id):                                                 "moved 1 to  for 0.00",
		fmt.Sprintf(`,"vendors":[{"vendor":"%s","is_active":false}]`, a.Name):             "moved 1 to  for 0.00",
		fmt.Sprintf(`,"vendors":[{"vendor":"%s","priority":5,"cost_per_sms":"1"}]`, a.ID): "moved 0 to " + a.Name + " for 0.01",
	} {
		got, to := ask(rest), ""
		for _, v := range got["vendors"].([]any) {
			if v := v.(map[string]any); v["first_after"] == 1.0 {
				to = v["vendor"].(string)
			}
		}
		if s := fmt.Sprintf("moved %v to %s for %v", got["moved"], to, got["after"].(map[string]any)["price"]); s != want {
			t.Errorf("%s: %s, want %s", rest, s, want)
		}
	}
	for _, body := range []string{`{"limit":0}`, `{"limit":100001}`, `{"from":"2026-01-01T00:00:00Z","until":"2026-03-01T00:00:00Z"}`, `{"from":"2026-01-02T00:00:00Z","until":"2026-01-01T00:00:00Z"}`,
		`{"routes":[{}]}`, `{"routes":{}}`, `{"routes":[1]}`, `{"routes":[{"vendor_id":"` + b.ID.String() + `","weight":0}]}`, `{"routes":[{"colour":1}]}`, `{"remove":["x"]}`, `{"remove":[12345]}`,
		`{"vendors":[{"vendor":"nobody"}]}`, `{"vendors":[{"vendor":"` + a.Name + `","cost_per_sms":"x"}]}`, `{"colour":1}`} {
		if r := o.do("POST", routePath+"/what-if", body, by); r.StatusCode != 422 {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	if n := o.count("select count(*) from routing_rules"); n != 1 {
		t.Errorf("%d routes are stored", n)
	}
}

func TestRerouteOverTheAPI(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleSupport)
	m, v := o.message(nil), o.vendor()
	path := messagePath + "/" + m.ID.String() + "/reroute"
	for _, given := range []string{v.Name, v.ID.String()} {
		if r := o.do("POST", path, `{"vendor":"`+given+`","reason":"the other one is slow"}`, by); r.StatusCode != 200 || r.json(t)["id"] != m.ID.String() {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
	}
	if got, err := o.db.RouteOverride(o.ctx, m.ID); err != nil || got != v.ID {
		t.Errorf("%s, %v", got, err)
	}
	if r := o.do("POST", path, `{"vendor":null,"reason":"never mind"}`, by); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if got, err := o.db.RouteOverride(o.ctx, m.ID); err != nil || got != (message.ID{}) {
		t.Errorf("%s, %v", got, err)
	}
	o.do("POST", vendorPath+"/"+v.Name+"/drain", "", o.by(snapshot.RoleOperator))
	for _, body := range []string{`{}`, `{"vendor":null}`, `{"reason":"x"}`, `{"vendor":"nobody","reason":"x"}`, `{"vendor":"` + v.Name + `","reason":"it drains"}`, `{"vendor":null,"reason":"` + strings.Repeat("x", 301) + `"}`} {
		if r := o.do("POST", path, body, by); r.StatusCode != 422 {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	wantProblem(t, o.do("POST", messagePath+"/"+message.NewID().String()+"/reroute", `{"vendor":null,"reason":"x"}`, by), 404, message.ReasonNotFound)
	if err := o.withdraw(o.ctx, m.ID); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, o.do("POST", path, `{"vendor":null,"reason":"x"}`, by), 409, message.ReasonConflict)
	o.server.Admin.Reroute = nil
	wantProblem(t, o.do("POST", path, `{"vendor":null,"reason":"x"}`, by), 503, message.ReasonUnavailable)
}
