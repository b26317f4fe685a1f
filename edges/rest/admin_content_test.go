package rest

import (
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/content"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func aboutRule(body string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		r := content.Rule{ID: message.NewID(), Name: message.NewID().String(), Kind: content.KindWord, Class: "spam", Pattern: "bad", Action: content.ActionFlag, Active: true}
		if err := o.db.CreateContentRule(o.ctx, shellActor, r); err != nil {
			o.t.Fatal(err)
		}
		return contentPath + "/" + r.ID.String(), body
	}
}

func aboutHeld(suffix, body string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		return messagePath + strings.Replace(suffix, "{id}", o.held().String(), 1), body
	}
}

// held is a message that a content rule holds.
func (o *office) held() message.ID {
	o.t.Helper()
	now := time.Now().UTC().Truncate(time.Millisecond)
	m := &message.Message{ID: message.NewID(), AccountID: o.customer, Direction: message.Outbound, Kind: message.SMS, Status: message.StatusAccepted, From: "+12025550143",
		To: "+13105550117", Body: "come to our casino", Encoding: message.EncodingGSM7, Segments: 1, Class: message.ClassBulk, Delivery: message.AtMostOnce, Edge: "rest",
		ExpiresAt: now.Add(time.Hour), CreatedAt: now, UpdatedAt: now}
	if _, err := o.db.Accept(o.ctx, message.Acceptance{Message: m}); err != nil {
		o.t.Fatal(err)
	}
	if _, err := o.db.Advance(o.ctx, message.Change{MessageID: m.ID, To: message.StatusQueued, Started: true, Hold: &message.Hold{Rule: "content", Detail: "class gambling"}}); err != nil {
		o.t.Fatal(err)
	}
	return m.ID
}

func TestContentRuleLifecycle(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleCompliance)
	r := o.do("POST", contentPath, `{"name":"games","kind":"word","class":"gambling","pattern":"casino*\nfree spins","action":"hold","effective_from":"2020-01-01T00:00:00Z"}`, by)
	made := r.json(t)
	if r.StatusCode != 201 || made["active"] != true || made["account_id"] != nil || made["message_class"] != nil || made["changed_by"] != "compliance@gw.example" || made["effective_from"] == nil {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	path := r.Header.Get("Location")
	for body, want := range map[string]int{
		`{"name":"games","kind":"word","class":"gambling","pattern":"x","action":"hold"}`:                                               409,
		`{"name":"two","kind":"regex","class":"gambling","pattern":"(","action":"hold"}`:                                                422,
		`{"name":"two","kind":"glob","class":"gambling","pattern":"x","action":"hold"}`:                                                 422,
		`{"name":"two","kind":"word","class":"gambling","pattern":"x","action":"allow"}`:                                                422,
		`{"name":"two","kind":"word","class":"gambling","pattern":"x","action":"flag","account_id":"` + message.NewID().String() + `"}`: 422,
		`{"name":"two","kind":"word","class":"gambling","pattern":"x","action":"flag","account_id":"me"}`:                               422,
		`{"name":"two","words":"x"}`: 422,
		`{"name":`:                   400,
	} {
		if r := o.do("POST", contentPath, body, by); r.StatusCode != want {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	own := o.do("POST", contentPath, `{"name":"games","kind":"word","class":"gambling","pattern":"raffle","action":"allow","account_id":"`+o.customer.String()+`","message_class":"bulk","active":false,"effective_from":"2020-01-01T00:00:00Z"}`, by)
	if v := own.json(t); own.StatusCode != 201 || v["account_id"] != o.customer.String() || v["message_class"] != "bulk" || v["active"] != false {
		t.Errorf("%d %s", own.StatusCode, own.body)
	}
	tried := func(body string) string {
		t.Helper()
		r := o.do("POST", contentPath+"/test", body, by)
		if r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		return string(r.body)
	}
	if got := tried(`{"body":"our C4SINO"}`); !strings.Contains(got, `"action":"hold","matches":[`) || !strings.Contains(got, `"start":4,"end":10,"text":"C4SINO"`) {
		t.Errorf("tried: %s", got)
	}
	if got := tried(`{"body":"hello"}`); !strings.Contains(got, `"action":null,"matches":[]`) {
		t.Errorf("tried: %s", got)
	}
	if got := tried(`{"body":"casino raffle","account_id":"` + o.customer.String() + `","message_class":"bulk","inactive":true}`); !strings.Contains(got, `"action":null`) || !strings.Contains(got, `"overruled":true`) {
		t.Errorf("tried: %s", got)
	}
	for _, body := range []string{`{}`, `{"body":"` + strings.Repeat("x", 5001) + `"}`, `{"body":"x","message_class":"loud"}`} {
		if r := o.do("POST", contentPath+"/test", body, by); r.StatusCode != 422 {
			t.Errorf("%.40s: %d", body, r.StatusCode)
		}
	}
	if r := o.do("PATCH", path, `{"active":false,"message_class":"otp"}`, by); r.StatusCode != 200 || r.json(t)["active"] != false || r.json(t)["pattern"] != "casino*\nfree spins" || r.json(t)["message_class"] != "otp" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := o.do("PATCH", path, `{"message_class":null}`, by); r.StatusCode != 200 || r.json(t)["message_class"] != nil || r.json(t)["active"] != false {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := o.do("PATCH", path, `{"account_id":"`+o.customer.String()+`"}`, by); r.StatusCode != 422 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	first := o.do("GET", contentPath+"?limit=1", "", by).json(t)
	second := o.do("GET", contentPath+"?limit=1&cursor="+first["next_cursor"].(string), "", by).json(t)
	if len(first["data"].([]any)) != 1 || len(second["data"].([]any)) != 1 || second["next_cursor"] != nil {
		t.Errorf("%v, %v", first, second)
	}
	if r := o.do("DELETE", path, "", by); r.StatusCode != 204 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := o.do("GET", path, "", by); r.StatusCode != 404 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

func TestReviewsOverTheAPI(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	a, b := o.held(), o.held()
	by := o.by(snapshot.RoleCompliance)
	r := o.do("GET", messagePath+"/held?account_id="+o.customer.String(), "", by)
	if data := r.json(t)["data"].([]any); len(data) != 2 || data[0].(map[string]any)["id"] != a.String() || data[0].(map[string]any)["body"] != "come to our casino" {
		t.Errorf("%s", r.body)
	}
	if r := o.do("GET", messagePath+"/held", "", o.by(snapshot.RoleViewer)); strings.Contains(string(r.body), "casino") || !strings.Contains(string(r.body), a.String()) {
		t.Errorf("a viewer sees %s", r.body)
	}
	if r := o.do("POST", messagePath+"/"+a.String()+"/release", "", by); r.StatusCode != 200 || r.json(t)["id"] != a.String() {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for _, body := range []string{"", "{}", `{"reason":"` + strings.Repeat("x", 301) + `"}`} {
		if r := o.do("POST", messagePath+"/"+b.String()+"/refuse", body, by); r.StatusCode != 422 && r.StatusCode != 400 {
			t.Errorf("%.20s: %d %s", body, r.StatusCode, r.body)
		}
	}
	for range 2 {
		if r := o.do("POST", messagePath+"/"+b.String()+"/refuse", `{"reason":"a lottery"}`, by); r.StatusCode != 200 {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
	}
	if r := o.do("POST", messagePath+"/"+b.String()+"/release", "", by); r.StatusCode != 409 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := o.do("POST", messagePath+"/"+message.NewID().String()+"/release", "", by); r.StatusCode != 404 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if len(o.told) != 3 || o.told[0] != a || o.told[2] != b {
		t.Errorf("told %v", o.told)
	}
	if r := o.do("GET", messagePath+"/held", "", by); len(r.json(t)["data"].([]any)) != 0 {
		t.Errorf("%s", r.body)
	}
	if v, err := o.db.ReviewOf(o.ctx, b); err != nil || v.Actor != "compliance@gw.example" || v.Reason != "a lottery" {
		t.Errorf("%+v, %v", v, err)
	}
	events, err := o.db.Events(o.ctx, a, 0, 10)
	if err != nil || len(events) == 0 {
		t.Fatalf("%v, %v", events, err)
	}
	last := events[len(events)-1]
	if shown := eventOf(last); last.Detail["actor"] != "compliance@gw.example" || shown.Type != "staff_action" || len(shown.Detail) != 0 {
		t.Errorf("of %v a customer sees %v", last.Detail, shown)
	}
}
