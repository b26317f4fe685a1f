package rest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// A dry run, and what it has shown done; the work itself is played by the record.
func TestRedrives(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	support := o.by(snapshot.RoleSupport)
	key := header("Idempotency-Key", "night-1")
	body := `{"action":"retry","accept_duplicate":true,"reason":"acme-1 was down","dry_run":true,"per_second":7,"filter":{"status":["failed","unconfirmed"],"vendor":"acme-1","created_after":"2026-11-20T00:00:00Z","to":"+13105550117","account_id":"` + o.customer.String() + `"}}`
	r := o.do("POST", redrivePath, body, support, key)
	dry := r.json(t)
	id := dry["id"].(string)
	if r.StatusCode != 202 || r.Header.Get("Location") != redrivePath+"/"+id || dry["status"] != "running" || dry["dry_run"] != true || dry["limit"] != 10000.0 || dry["actor"] != "support@gw.example" {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	filter := dry["filter"].(map[string]any)
	if fmt.Sprint(filter["status"]) != "[failed unconfirmed]" || filter["to"] != "+13105550117" || filter["account_id"] != o.customer.String() || filter["created_before"] != dry["created_at"] {
		t.Errorf("%v", filter)
	}
	if again := o.do("POST", redrivePath, body, support, key); again.json(t)["id"] != id || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s", again.body)
	}
	// Another's key is another key.
	if other := o.do("POST", redrivePath, body, o.by(snapshot.RoleAdmin), key); other.json(t)["id"] == id {
		t.Error("a key of somebody else")
	}
	after := func(fields string) *reply {
		return o.do("POST", redrivePath, `{"dry_run_id":"`+id+`"`+fields+`}`, support)
	}
	wantProblem(t, after(""), 422, message.ReasonInvalidRequest) // it still runs
	m := o.message(nil)
	parsed, err := message.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	found := message.RedrivePage{Searched: true, Messages: []*message.Message{m, m}, Items: []message.RedriveItem{{MessageID: m.ID, State: message.ItemDone},
		{MessageID: m.ID, State: message.ItemPassed, Error: message.Refuse(message.ReasonConflict, "it is delivered")}}}
	if _, _, err := o.db.TakeRedrive(o.ctx, parsed, found); err != nil {
		t.Fatal(err)
	}
	if _, err := o.db.EndRedrive(o.ctx, parsed); err != nil {
		t.Fatal(err)
	}
	read := o.do("GET", redrivePath+"/"+id, "", support)
	for _, want := range []string{`"completed"`, `"found":2`, `"passed_over":[{"key":"it is delivered","count":1}]`, `"by_status":[{"key":"accepted","count":2}]`, `"outcome":"passed_over"`, `"why":"it is delivered"`} {
		if !strings.Contains(string(read.body), want) {
			t.Errorf("no %s in %s", want, read.body)
		}
	}
	done := after(`,"per_second":9`).json(t)
	if done["expected"] != 2.0 || done["per_second"] != 9.0 || done["reason"] != "acme-1 was down" || done["accept_duplicate"] != true || done["dry_run"] != false || done["filter"].(map[string]any)["created_before"] != dry["created_at"] {
		t.Errorf("%v", done)
	}
	for field, more := range map[string]string{"body.action": `,"action":"retry"`, "body.filter": `,"filter":{"to":"x"}`, "body.dry_run": `,"dry_run":true`, "body.limit": `,"limit":0`} {
		wantAt(t, after(more), field)
	}
	wantAt(t, o.do("POST", redrivePath, `{"dry_run_id":"`+done["id"].(string)+`"}`, support), "body.dry_run_id")
	wantAt(t, o.do("POST", redrivePath, `{"dry_run_id":"x"}`, support), "body.dry_run_id")
	stopped := o.do("POST", redrivePath+"/"+done["id"].(string)+"/stop", "", support)
	if stopped.json(t)["status"] != "stopping" {
		t.Errorf("%s", stopped.body)
	}
	wantProblem(t, o.do("POST", redrivePath+"/"+id+"/stop", "", support), 409, message.ReasonConflict)
	wantProblem(t, o.do("GET", redrivePath+"/"+message.NewID().String(), "", support), 404, message.ReasonNotFound)
	list := o.do("GET", redrivePath+"?limit=1", "", support).json(t)
	if list["next_cursor"] == nil || list["data"].([]any)[0].(map[string]any)["id"] != done["id"] {
		t.Errorf("%v", list)
	}
}

// What has become of its messages, page by page and by outcome.
func TestRedriveItems(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	support := o.by(snapshot.RoleSupport)
	r := o.redriven(nil)
	older := o.message(nil)
	o.clock.advance(time.Second)
	newer := o.message(nil)
	made := message.NewID()
	page := message.RedrivePage{Searched: true, Messages: []*message.Message{newer, older}, Items: []message.RedriveItem{{MessageID: newer.ID, State: message.ItemClaimed, NewMessageID: made, Try: 1},
		{MessageID: older.ID, State: message.ItemPassed, Error: message.Refuse(message.ReasonConflict, "it is sent")}}}
	if _, _, err := o.db.TakeRedrive(o.ctx, r.ID, page); err != nil {
		t.Fatal(err)
	}
	items := func(query string) (map[string]any, []any) {
		got := o.do("GET", redrivePath+"/"+r.ID.String()+"/items"+query, "", support).json(t)
		return got, got["data"].([]any)
	}
	all, rows := items("?limit=1")
	if first := rows[0].(map[string]any); first["message_id"] != newer.ID.String() || first["outcome"] != "open" || first["new_message_id"] != made.String() {
		t.Errorf("%v", rows)
	}
	if _, rows = items("?limit=1&cursor=" + all["next_cursor"].(string)); rows[0].(map[string]any)["why"] != "it is sent" {
		t.Errorf("%v", rows)
	}
	if _, rows = items("?outcome=passed_over"); len(rows) != 1 {
		t.Errorf("%v", rows)
	}
	wantAt(t, o.do("GET", redrivePath+"/"+r.ID.String()+"/items?outcome=gone", "", support), "query.outcome")
}

// A refusal names the field.
func TestRedriveRefusals(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	support := o.by(snapshot.RoleSupport)
	ask := func(body string) *reply { return o.do("POST", redrivePath, body, support) }
	const rest = `,"reason":"x","filter":{"status":["failed"]}}`
	for body, field := range map[string]string{
		`{}`:                         "body.action",
		`{"action":"explode"` + rest: "body.action",
		`{"action":"retry","filter":{"status":["failed"]}}`:                                  "body.reason",
		`{"action":"retry","reason":"` + strings.Repeat("x", 241) + `"}`:                     "body.reason",
		`{"action":"retry","reason":"x"}`:                                                    "body.filter",
		`{"action":"retry","reason":"x","filter":{"created_before":"2026-11-20T00:00:00Z"}}`: "body.filter",
		`{"action":"retry","reason":"x","filter":{"status":["gone"]}}`:                       "body.filter.status[0]",
		`{"action":"retry","reason":"x","filter":{"account_id":"7"}}`:                        "body.filter.account_id",
		`{"action":"retry","reason":"x","filter":{"error_code":"nix"}}`:                      "body.filter.error_code",
		`{"action":"retry","reason":"x","filter":{"colour":"red"}}`:                          "body.filter.colour",
		`{"action":"retry","limit":100001` + rest:                                            "body.limit",
		`{"action":"retry","per_second":0` + rest:                                            "body.per_second",
		`{"action":"retry","as":"sent"` + rest:                                               "body.as",
		`{"action":"resolve"` + rest:                                                         "body.as",
		`{"action":"cancel","accept_duplicate":true` + rest:                                  "body.accept_duplicate",
		`{"action":"cancel","vendor":"a"` + rest:                                             "body.vendor",
		`{"action":"reroute","vendor":"nobody"` + rest:                                       "body.vendor",
	} {
		wantAt(t, ask(body), field)
	}
	if n := o.count("select count(*) from redrives"); n != 0 {
		t.Errorf("%d were stored", n)
	}
	// Each action is for whom the single one is for.
	wantProblem(t, ask(`{"action":"refuse"`+rest), 403, message.ReasonForbidden)
	compliance := o.by(snapshot.RoleCompliance)
	wantProblem(t, o.do("POST", redrivePath, `{"action":"retry"`+rest, compliance), 403, message.ReasonForbidden)
	if r := o.do("POST", redrivePath, `{"action":"release"`+rest, compliance); r.StatusCode != 202 {
		t.Errorf("%s", r.body)
	}
	wantProblem(t, o.do("POST", redrivePath+"/"+o.redriven(nil).ID.String()+"/stop", "", compliance), 403, message.ReasonForbidden)
}

// wantAt wants a refusal that names a field.
func wantAt(t *testing.T, r *reply, field string) {
	t.Helper()
	p := wantProblem(t, r, 422, message.ReasonInvalidRequest)
	list, _ := p["errors"].([]any)
	for _, f := range list {
		if f.(map[string]any)["location"] == field {
			return
		}
	}
	t.Errorf("%s is not named: %s", field, r.body)
}
