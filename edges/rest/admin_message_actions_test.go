package rest

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// What staff say of a message in doubt holds: its status, its parts, its price, its
// timeline.
func TestResolve(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	support := o.by(snapshot.RoleSupport)
	resolve := func(m *message.Message, body string) *reply {
		o.clock.advance(time.Second)
		return o.do("POST", messagePath+"/"+m.ID.String()+"/resolve", body, support)
	}
	for _, c := range []struct {
		as           message.Resolution
		taken        int
		status, part string
		code         any
		possible     bool
	}{
		{message.ResolvedSent, 0, "sent", "sent", nil, false},
		{message.ResolvedSent, 1, "sent", "sent", nil, false},
		{message.ResolvedNotSent, 0, "failed", "failed", "vendor_unreachable", false},
		{message.ResolvedNotSent, 1, "failed", "sent failed", "vendor_unreachable", false},
		{message.ResolvedSendAgain, 1, "queued", "sent failed", nil, true},
	} {
		m := o.doubted(1, c.taken)
		r := resolve(m, fmt.Sprintf(`{"as":%q,"reason":"their log says so"}`, c.as))
		if r.StatusCode != 200 {
			t.Fatalf("%s: %d %s", c.as, r.StatusCode, r.body)
		}
		got := r.json(t)
		var code any
		if e, ok := got["error"].(map[string]any); ok {
			code = e["code"]
		}
		parts := got["parts"].([]any)
		for i, p := range parts {
			want := strings.Fields(c.part)
			if p.(map[string]any)["status"] != want[min(i, len(want)-1)] {
				t.Errorf("%s: part %d is %v", c.as, i+1, p)
			}
		}
		if got["status"] != c.status || code != c.code || got["possible_duplicate"] != c.possible {
			t.Errorf("%s: %s", c.as, r.body)
		}
		if price := got["price"].(map[string]any); (price["amount"] == "0.0000") != (c.status == "failed") && (price["amount"] == "0.00") != (c.status == "failed") && (price["amount"] == "0") != (c.status == "failed") {
			t.Errorf("%s: %v", c.as, price)
		}
		events := string(o.do("GET", messagePath+"/"+m.ID.String()+"/events", "", support).body)
		for _, want := range []string{`"staff_action"`, `"their log says so"`, `"support@gw.example"`, `"resolve"`} {
			if !strings.Contains(events, want) {
				t.Errorf("%s: the timeline lacks %s: %s", c.as, want, events)
			}
		}
		if lines := o.audited(m.ID.String()); len(lines) == 0 || !strings.Contains(lines[0], "support message.resolve") {
			t.Errorf("%s: %v", c.as, lines)
		}
		if o.count("select count(*) from settlements_due where message_id = $1", m.ID) != 1 {
			t.Errorf("%s: nobody is to tell the workflow", c.as)
		}
		// A second word comes too late, and leaves no line.
		lines := len(o.audited(m.ID.String()))
		wantProblem(t, resolve(m, `{"as":"not_sent","reason":"x"}`), 409, message.ReasonConflict)
		if len(o.audited(m.ID.String())) != lines {
			t.Error("the audit log has what was not done")
		}
		// The customer sees that it was, and not who did it.
		lived, err := o.db.Events(o.ctx, m.ID, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		seen := ""
		for _, e := range lived {
			line, err := encode(eventOf(e))
			if err != nil {
				t.Fatal(err)
			}
			seen += string(line)
		}
		if strings.Contains(seen, "support@") || strings.Contains(seen, "their log") || !strings.Contains(seen, "staff_action") {
			t.Errorf("the customer sees %s", seen)
		}
	}
	m := o.doubted(1, 0)
	for body, location := range map[string]string{
		`{}`: "body.as", `{"as":"sent"}`: "body.reason", `{"as":"lost","reason":"x"}`: "body.as", `{"as":5,"reason":"x"}`: "body.as", `{"as":"sent","reason":"` + strings.Repeat("x", 301) + `"}`: "body.reason",
		`{"as":"sent","reason":"x","vendor":"a"}`: "body.vendor", `7`: "body",
	} {
		p := wantProblem(t, resolve(m, body), 422, message.ReasonInvalidRequest)
		if got := p["errors"].([]any)[0].(map[string]any)["location"]; got != location {
			t.Errorf("%s: %v", body, p)
		}
	}
	// Its validity has ended.
	if _, err := o.conn.Exec(o.ctx, "update messages set expires_at = $2 where id = $1", m.ID, o.clock.now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, resolve(m, `{"as":"send_again","reason":"x"}`), 409, message.ReasonConflict)
	// A part that no vendor has.
	half := o.doubted(2, 0)
	o.advance(message.Change{MessageID: half.ID, Answers: []message.Answer{{Part: 2, Attempt: 1, State: message.PartRefused, Reason: message.ReasonFiltered}}})
	wantProblem(t, resolve(half, `{"as":"sent","reason":"x"}`), 409, message.ReasonConflict)
	wantProblem(t, o.do("POST", messagePath+"/"+message.NewID().String()+"/resolve", `{"as":"sent","reason":"x"}`, support), 404, message.ReasonNotFound)
}

func TestAdminRetry(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	support := o.by(snapshot.RoleSupport)
	m := o.message(nil)
	o.advance(message.Change{MessageID: m.ID, To: message.StatusFailed, Error: message.Refuse(message.ReasonVendorUnreachable, "")})
	path := messagePath + "/" + m.ID.String() + "/retry"
	r := o.do("POST", path, "", support)
	made := r.json(t)
	if r.StatusCode != 202 || made["retry_of"] != m.ID.String() || made["account_id"] != o.customer.String() || made["body"] != nil || r.Header.Get("Location") != messagePath+"/"+made["id"].(string) {
		t.Fatalf("%d %s %s", r.StatusCode, r.Header.Get("Location"), r.body)
	}
	if got := o.ingress.last(t); got.AccountID != o.customer || got.Body != m.Body || got.Credential != nil {
		t.Errorf("%+v", got)
	}
	if lines := o.audited(m.ID.String()); len(lines) != 1 || !strings.Contains(lines[0], "message.retry") {
		t.Error(lines)
	}
	wantProblem(t, o.do("POST", messagePath+"/"+o.message(nil).ID.String()+"/retry", "", support), 409, message.ReasonConflict)
}

// serviceText is a message of a service.
func (o *office) serviceText(change string) string {
	return `{"to":"13105550117","from":"12025550143","content":"Your code is 4711","customer_id":"acme-1"` + change + `}`
}

func TestServiceMessages(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	doc := adminDocument(t)
	token := bearer(o.serviceToken())
	post := func(body string, with ...func(*http.Request)) *reply {
		o.clock.advance(time.Second)
		r := o.do("POST", serviceSendPath, body, append(with, token)...)
		doc.check("post", serviceSendPath, r)
		return r
	}
	r := post(o.serviceText(`,"dlr_requested":false,"client_reference":"r1","message_class":"otp","validity_seconds":60,"webhook_url":"https://shop.example/a"`))
	got := r.json(t)
	if r.StatusCode != 202 || got["id"] != got["message_id"] || got["status"] != "accepted" || got["segments"] != 1.0 || len(got) != 4 || r.Header.Get("Location") != "/v1/messages/"+got["id"].(string) {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	q := o.ingress.last(t)
	if q.AccountID != o.customer || q.From != "+12025550143" || q.To != "+13105550117" || q.Body != "Your code is 4711" || !q.FailuresOnly || q.ClientReference != "r1" || q.Class != message.ClassOTP ||
		q.Validity != time.Minute || q.WebhookURL != "https://shop.example/a" || q.Credential != nil || q.Rate.Rule == "" || q.Edge != edgeName {
		t.Errorf("%+v", q)
	}
	r = post(`{"to":"+13105550117","from":"22333","media_urls":["https://shop.example/a.gif"],"customer_id":"` + o.customer.String() + `","dlr_requested":true}`)
	if q = o.ingress.last(t); r.StatusCode != 202 || q.FailuresOnly || len(q.Media) != 1 || q.From != "22333" {
		t.Errorf("%d %s %+v", r.StatusCode, r.body, q)
	}
	calls, _ := o.ingress.count()
	for body, location := range map[string]string{
		`{"to":"13105550117","content":"x"}`: "body.customer_id", `{"to":"13105550117","content":"x","customer_id":"nobody"}`: "body.customer_id", o.serviceText(`,"body":"x"`): "body.body",
		`{"to":"13105550117","content":"x","customer_id":"` + message.NewID().String() + `"}`: "body.customer_id", `{"content":"x","customer_id":"acme-1"}`: "body.to",
		`{"to":"13105550117","customer_id":"acme-1"}`: "body.content", `{"to":"13105550117","content":5,"customer_id":"acme-1"}`: "body.content", o.serviceText(`,"dlr_requested":"no"`): "body.dlr_requested",
		o.serviceText(`,"dry_run":true`): "body.dry_run", o.serviceText(`,"send_at":"2026-12-01T00:00:00Z"`): "body.send_at", `[1]`: "body",
	} {
		p := wantProblem(t, post(body), 422, message.ReasonInvalidRequest)
		if at := p["errors"].([]any)[0].(map[string]any)["location"]; at != location {
			t.Errorf("%s: %v", body, p)
		}
	}
	if after, _ := o.ingress.count(); after != calls {
		t.Error("ingress was asked")
	}
	o.ingress.refuse = func(ingress.Request) (error, bool) {
		return message.Refuse(message.ReasonMessageTooLong, "too long"), true
	}
	if p := wantProblem(t, post(o.serviceText("")), 422, message.ReasonMessageTooLong); p["message_id"] == nil || p["errors"].([]any)[0].(map[string]any)["location"] != "body.content" {
		t.Error(p)
	}
	o.ingress.refuse = nil
	wantProblem(t, o.do("POST", serviceSendPath, o.serviceText(""), o.by(snapshot.RoleAdmin)), 403, message.ReasonForbidden)
	// Equal requests at once make one message, whose account the key belongs to.
	_, before := o.ingress.count()
	var wg sync.WaitGroup
	answers := make([]*reply, 9)
	o.clock.advance(time.Second)
	for i := range answers {
		wg.Go(func() {
			answers[i] = o.do("POST", serviceSendPath, o.serviceText(""), token, header("Idempotency-Key", "k"))
		})
	}
	wg.Wait()
	for _, r := range answers {
		if r.StatusCode != 202 || string(r.body) != string(answers[0].body) || !strings.HasPrefix(r.Header.Get("Location"), "/v1/messages/") {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
	}
	if _, after := o.ingress.count(); after != before+1 {
		t.Errorf("%d messages", after-before)
	}
	// The account's rate holds.
	for range 20 {
		r = o.do("POST", serviceSendPath, o.serviceText(""), token)
	}
	wantProblem(t, r, 429, message.ReasonRateLimitExceeded)
}
