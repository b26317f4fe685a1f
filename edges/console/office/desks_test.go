package office

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/gate"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/snapshot"
)

// played is an API that a test plays: answers by method and path, and what was asked.
type played struct {
	answers map[string]string
	asked   []string // "POST /path body"
}

func (p *played) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.asked = append(p.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	answer, ok := p.answers[r.Method+" "+r.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(call.Problem{Code: "not_found", Detail: "there is no " + r.URL.Path})
		return
	}
	_, _ = io.WriteString(w, answer)
}

// ask asks a page of the console as a member of staff of a role; a form is sent if there is one.
func (p *played) ask(t *testing.T, role snapshot.Role, path string, form url.Values) (int, string, http.Header) {
	t.Helper()
	s := &site.Site{Kit: page.New(Prefix), Log: slog.New(slog.DiscardHandler), Prefix: Prefix, Closing: func() <-chan struct{} { return nil },
		API: &call.API{Handler: p, Visitor: func(ctx context.Context) context.Context { return ctx }, Address: func(context.Context) string { return "" }}}
	s.Frame = func(g gate.Person) page.Frame {
		g.Role = role
		return Frame(g)
	}
	o := &office{site: s}
	mux := http.NewServeMux()
	for pattern, show := range o.routes() {
		mux.Handle(pattern, s.Page(func(v *site.Visit) (page.Page, error) {
			v.Person.Role = role
			return show(v)
		}))
	}
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if form != nil {
		r = httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header()
}

func wantAll(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in\n%s", part, text)
		}
	}
}

const receiptOne = `{"id":"01a20b47-86df-70f9-81c9-ddda3399cd44","vendor_id":"v","vendor":"north","vendor_message_id":"b2","state":"UNDELIV","err":"001","from":"12025550143","to":"13105550117","received_at":"2026-11-24T01:00:00Z"}`

// A receipt shows the messages that it may be of, and is matched with one of them.
func TestReceiptIsMatched(t *testing.T) {
	api := &played{answers: map[string]string{
		"GET /api/v1/admin/receipts/unmatched": `{"data":[` + receiptOne + `]}`,
		"GET /api/v1/admin/receipts/r1":        receiptOne,
		"GET /api/v1/admin/messages":           `{"data":[{"id":"01a20b47-8fbf-7d54-957b-6fc3a03918c8","status":"in_doubt","direction":"outbound","to":"+13105550117","segments":1}]}`,
		"POST /api/v1/admin/receipts/r1/match": `{"message_id":"01a20b47-8fbf-7d54-957b-6fc3a03918c8"}`,
	}}
	_, text, _ := api.ask(t, snapshot.RoleViewer, "/console/receipts", nil)
	wantAll(t, text, "not delivered", "north", "/console/receipts/01a20b47-86df")
	_, text, _ = api.ask(t, snapshot.RoleSupport, "/console/receipts/r1", nil)
	wantAll(t, text, "in doubt", `href="/console/receipts/r1?message_id=01a20b47-8fbf-7d54-957b-6fc3a03918c8"`, "cannot be undone")
	if asked := api.asked[len(api.asked)-1]; !strings.Contains(asked, "to=13105550117") || !strings.Contains(asked, "vendor=north") || !strings.Contains(asked, "created_before=2026-11-24") {
		t.Error(asked)
	}
	_, text, _ = api.ask(t, snapshot.RoleSupport, "/console/receipts/r1?message_id=01a20b47-8fbf-7d54-957b-6fc3a03918c8", nil)
	wantAll(t, text, `name="message_id" value="01a20b47-8fbf-7d54-957b-6fc3a03918c8"`)
	_, text, _ = api.ask(t, snapshot.RoleViewer, "/console/receipts/r1", nil)
	wantAll(t, text, "Matching is for support and admin; your role is viewer.")
	status, _, header := api.ask(t, snapshot.RoleSupport, "/console/receipts/r1/match", url.Values{"message_id": {"01a20b47-8fbf-7d54-957b-6fc3a03918c8"}})
	if asked := api.asked[len(api.asked)-1]; status != http.StatusSeeOther || header.Get("Location") != "/console/messages/01a20b47-8fbf-7d54-957b-6fc3a03918c8" || !strings.Contains(asked, `"message_id":"01a20b47-8fbf-7d54-957b-6fc3a03918c8"`) {
		t.Errorf("%d %v %s", status, header, asked)
	}
	status, text, _ = api.ask(t, snapshot.RoleSupport, "/console/receipts/r1/match", url.Values{})
	if status != http.StatusUnprocessableEntity {
		t.Error(status)
	}
	wantAll(t, text, "is needed")
}

func TestBrokenChainIsSaidPlainly(t *testing.T) {
	api := &played{answers: map[string]string{
		"GET /api/v1/admin/audit-log/verify": `{"intact":false,"broken_id":7,"newest_id":9,"newest_hash":"ab"}`,
		"GET /api/v1/admin/audit-log/9":      `{"id":9,"hash":"AB"}`,
	}}
	_, text, _ := api.ask(t, snapshot.RoleCompliance, "/console/audit/check?line=9&hash=ab", nil)
	wantAll(t, text, "The chain is broken at line 7", `href="/console/audit/7"`, "The hash is that of line 9")
	_, text, _ = api.ask(t, snapshot.RoleCompliance, "/console/audit/check?line=12&hash=ab", nil)
	wantAll(t, text, "Line 12 is gone")
}

// What can be done with a campaign depends on what it is.
func TestCampaignDeeds(t *testing.T) {
	word, ada := "ACTIVE", "ada@gw.example"
	for _, c := range []struct {
		name     string
		campaign campaignView
		want     string
	}{
		{"draft", campaignView{Status: "draft"}, "file"},
		{"active at the registry", campaignView{Status: "active", RegistryStatus: &word}, "suspend sync"},
		{"active elsewhere", campaignView{Status: "active"}, "suspend status"},
		{"suspended by staff", campaignView{Status: "suspended", RegistryStatus: &word, SuspendedBy: &ada}, "resume sync"},
		{"suspended by staff, elsewhere", campaignView{Status: "suspended", SuspendedBy: &ada}, "resume"},
		{"suspended by a carrier", campaignView{Status: "suspended", RegistryStatus: &word}, "sync"},
	} {
		var names []string
		for _, d := range campaignDeeds(&site.Visit{Site: &site.Site{Prefix: Prefix}, R: httptest.NewRequest(http.MethodGet, "/", nil)}, &c.campaign) {
			names = append(names, d.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSuspendingACampaignTellsWhy(t *testing.T) {
	api := &played{answers: map[string]string{
		"GET /api/v1/admin/campaigns/c1":   `{"id":"c1","status":"active","use_case":"ACCOUNT_NOTIFICATION","explanation":"It may send.","carrier_states":[{"network":"AT&T","status":"approved","tpm":240}]}`,
		"PATCH /api/v1/admin/campaigns/c1": `{}`,
	}}
	_, text, _ := api.ask(t, snapshot.RoleCompliance, "/console/campaigns/c1", nil)
	wantAll(t, text, "It sends", "account notification", "AT&amp;T", "240", "Suspend it…")
	status, _, _ := api.ask(t, snapshot.RoleCompliance, "/console/campaigns/c1/suspend", url.Values{"reason": {""}})
	if status != http.StatusUnprocessableEntity {
		t.Errorf("without a reason: %d", status)
	}
	status, _, _ = api.ask(t, snapshot.RoleCompliance, "/console/campaigns/c1/suspend", url.Values{"reason": {"complaints"}})
	if asked := api.asked[len(api.asked)-1]; status != http.StatusSeeOther || asked != `PATCH /api/v1/admin/campaigns/c1 {"reason":"complaints","status":"suspended"}` {
		t.Errorf("%d %s", status, asked)
	}
	status, _, _ = api.ask(t, snapshot.RoleCompliance, "/console/campaigns/c1/resume", url.Values{})
	if status != http.StatusNotFound {
		t.Errorf("what is not offered: %d", status)
	}
}

// What is redriven goes on while there is more.
func TestRedriveGoesOn(t *testing.T) {
	rounds := 0
	more := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if rounds++; rounds < 3 {
			_, _ = io.WriteString(w, `{"redriven":500,"left":1,"next_after":"n"}`)
			return
		}
		_, _ = io.WriteString(w, `{"redriven":7,"left":0,"next_after":null}`)
	})
	s := &site.Site{Kit: page.New(Prefix), Log: slog.New(slog.DiscardHandler), Prefix: Prefix, Frame: Frame,
		API: &call.API{Handler: more, Visitor: func(ctx context.Context) context.Context { return ctx }, Address: func(context.Context) string { return "" }}}
	r := httptest.NewRequest(http.MethodPost, "/console/unrouted", strings.NewReader("number="))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	s.Page((&office{site: s}).redriveAll)(w, r)
	if w.Code != http.StatusSeeOther || rounds != 3 {
		t.Errorf("%d after %d rounds", w.Code, rounds)
	}
}

func TestAuditChanges(t *testing.T) {
	a := auditView{Before: json.RawMessage(`{"status":"active","limit":5,"tags":["a","b"],"gone":true}`),
		After: json.RawMessage(`{"status":"suspended","limit":5,"tags":["a"],"from":"0001-01-01T00:00:00Z","messages":["01a20b47-8fbf-7d54-957b-6fc3a03918c8","01a20b47-8fbf-7d54-957b-6fc3a03918c9"]}`)}
	if got, want := a.summary(), "gone: yes → none; messages: 01a20b47-8fbf… and 1 more; status: active → suspended; and 1 more"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := (&auditView{After: json.RawMessage("null")}).summary(); got != "" {
		t.Errorf("nothing: %q", got)
	}
	for action, want := range map[string]string{"content_rule.create": "Content rule made", "staff.factor_remove": "Staff second factor taken off", "new_thing.new_deed": "new thing new deed", "message.review_release": "Message released"} {
		if got := actionWords(action); got != want {
			t.Errorf("%s: %q, want %q", action, got, want)
		}
	}
}

func TestExcerpt(t *testing.T) {
	text := strings.Repeat("é", 40) + "prize" + strings.Repeat("ж", 40)
	start := strings.Index(text, "prize")
	got := excerpt(text, start, start+5)
	if !strings.HasPrefix(got, "…é") || !strings.HasSuffix(got, "ж…") || !strings.Contains(got, "«prize»") {
		t.Error(got)
	}
	if got := excerpt("a prize", 2, 7); got != "a «prize»" {
		t.Error(got)
	}
	if got := excerpt("a", 1, 9); got != "" {
		t.Error(got)
	}
}

func TestAges(t *testing.T) {
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	for at, want := range map[string]string{"2026-11-24T02:59:30Z": "less than a minute ago", "2026-11-24T02:00:00Z": "1 h ago", "2026-11-22T02:30:00Z": "2 d ago", "2026-11-24T03:10:00Z": "in 10 min", "2026-11-24T03:00:20Z": "in less than a minute"} {
		if got := sinceNow(at, now).Sub; got != want {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
	}
}
