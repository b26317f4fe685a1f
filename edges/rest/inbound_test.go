package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// fakeInbound keeps settings and messages in memory.
type fakeInbound struct {
	mu       sync.Mutex
	sets     map[string]message.DestinationSet
	version  int
	by       []message.Actor
	messages []message.ReceivedState
	leaks    bool // it gives out what is another account's
}

func setKey(account message.ID, number message.Address) string {
	return account.String() + string(number)
}

func (f *fakeInbound) InboundRoutes(_ context.Context, account message.ID, number message.Address) (message.DestinationSet, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	set, ok := f.sets[setKey(account, number)]
	if !ok {
		set = message.DestinationSet{AccountID: account, Number: number, Stamp: "0"}
	}
	if f.leaks {
		set.AccountID = message.NewID()
	}
	for i := range set.List {
		set.List[i].WebhookSecret = ""
	}
	return set, nil
}

func (f *fakeInbound) SetInboundRoutes(_ context.Context, by message.Actor, set message.DestinationSet, stamp string, newSecret func() string) (message.DestinationSet, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.sets[setKey(set.AccountID, set.Number)]
	if stamp != "" && stamp != was.Stamp {
		return set, message.Refuse(message.ReasonConflict, "changed since")
	}
	f.version++
	f.by = append(f.by, by)
	set.Stamp, set.Secrets = fmt.Sprint("v", f.version), map[int]bool{}
	for i := range set.List {
		d := &set.List[i]
		d.Position = i + 1
		d.HTTPMethod, d.Format = orWord(d.HTTPMethod, "POST"), orWord(d.Format, "event")
		set.Secrets[d.Position] = d.URL != ""
		if given := d.WebhookSecret; d.URL != "" && given == "" {
			d.WebhookSecret = newSecret()
		} else {
			d.WebhookSecret = ""
		}
	}
	out := set
	out.List = append([]message.Destination(nil), set.List...)
	f.sets[setKey(set.AccountID, set.Number)] = set
	return out, nil
}

func orWord(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (f *fakeInbound) ReceivedMessages(_ context.Context, account message.ID, filter message.ReceivedFilter, behind message.ID, limit int) (out []message.ReceivedState, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.messages {
		if m.AccountID == account && m.ID.String() > behind.String() && len(out) < limit && (filter.To == "" || m.To == filter.To) &&
			(filter.From == "" || m.From == filter.From) && m.ReceivedAt.After(filter.After) {
			out = append(out, m)
		}
	}
	return out, nil
}

func (f *fakeInbound) ReceivedMessage(_ context.Context, account, id message.ID) (message.ReceivedState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.messages {
		if m.ID == id && (m.AccountID == account || f.leaks) {
			return m, nil
		}
	}
	return message.ReceivedState{}, message.Refuse(message.ReasonNotFound, "no inbound message %s", id)
}

// inboundSetup is a server that knows an ESME of each account.
func inboundSetup(t *testing.T) (*bundle, *fakeInbound) {
	t.Helper()
	f := &fakeInbound{sets: map[string]message.DestinationSet{}}
	b := setup(t, func(b *bundle) {
		b.server.Inbound = f
		b.server.TestInbound = func(_ context.Context, account message.ID, number message.Address) []message.DestinationTest {
			return []message.DestinationTest{{Position: 1, Method: message.InboundWebhook, Detail: "HTTP 500 " + string(number), Took: 84 * time.Millisecond}}
		}
		b.config.Numbers = map[message.Address]*snapshot.Number{"+12025550143": {Number: "+12025550143", AccountID: accountA, Tag: "support"}, "+12025550144": {Number: "+12025550144", AccountID: accountB}}
		for _, c := range b.config.Credentials {
			c.Scopes = append(c.Scopes, scopeNumbersRead)
			if c.Key != "keyRO" {
				c.Scopes = append(c.Scopes, scopeNumbersWrite)
			}
		}
		b.config.SMPPCredentials = map[string]*snapshot.SMPPCredential{"acme": {AccountID: accountA, SystemID: "acme"}, "others": {AccountID: accountB, SystemID: "others"}}
	})
	return b, f
}

const inboundPath = "/v1/numbers/12025550143/inbound"

// What nobody has set is said all the same; then the account's default holds, then the
// number's own.
func TestInboundInherits(t *testing.T) {
	b, _ := inboundSetup(t)
	get := func(path string) map[string]any {
		t.Helper()
		r := b.do("GET", path, "", as("keyRO"))
		if r.StatusCode != 200 || r.Header.Get("ETag") == "" {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		return r.json(t)
	}
	if got := get(inboundPath); got["inherited"] != true || got["method"] != "storage" || got["number"] != "+12025550143" {
		t.Errorf("nothing set: %v", got)
	}
	b.reconfigure(func(s *snapshot.Snapshot) {
		s.Numbers = map[message.Address]*snapshot.Number{"+12025550143": {Number: "+12025550143", AccountID: accountA}}
		for _, c := range s.Credentials {
			c.Scopes = append(c.Scopes, scopeNumbersRead, scopeNumbersWrite)
		}
		s.Endpoints = map[message.ID][]snapshot.Endpoint{accountA: {{URL: "https://a.example"}}}
	})
	if got := get(inboundPath); got["inherited"] != true || got["method"] != "webhook" || got["webhook_url"] != nil {
		t.Errorf("an endpoint: %v", got)
	}
	put := func(path, body string) {
		t.Helper()
		if r := b.do("PUT", path, body, as("keyA")); r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
	}
	put("/v1/inbound-settings", `{"method":"email","email_address":"inbox@shop.example"}`)
	if got := get(inboundPath); got["inherited"] != true || got["method"] != "email" {
		t.Errorf("the account's: %v", got)
	}
	if got := get("/v1/inbound-settings"); got["inherited"] != false || got["number"] != nil || got["email_address"] != "inbox@shop.example" {
		t.Errorf("the account's: %v", got)
	}
	put(inboundPath, `{"method":"api_pull"}`)
	if got := get(inboundPath); got["inherited"] != false || got["method"] != "storage" {
		t.Errorf("the number's: %v", got)
	}
	put(inboundPath, `{"destinations":[]}`)
	if got := get(inboundPath); got["inherited"] != true {
		t.Errorf("given back: %v", got)
	}
}

// A secret is shown once, when it was made, and never again.
func TestInboundSecretIsShownOnce(t *testing.T) {
	b, f := inboundSetup(t)
	r := b.do("PUT", inboundPath, `{"destinations":[{"method":"webhook","webhook_url":"https://shop.example/sms","webhook_method":"PUT","format":"flat","webhook_retry_count":3,
		"fallback":{"after_seconds":60,"method":"smpp","smpp_system_id":"acme"}},{"method":"webhook","webhook_url":"https://shop.example/b","webhook_secret":"chosen one","active":false},{"method":"storage"}],"auto_reply":"We are closed"}`, as("keyA"))
	got := r.json(t)
	list, _ := got["destinations"].([]any)
	if r.StatusCode != 200 || len(list) != 3 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	first := list[0].(map[string]any)
	if s, _ := first["webhook_secret"].(string); !strings.HasPrefix(s, "whsec_") || first["webhook_method"] != "PUT" || first["format"] != "flat" || first["webhook_retry_count"] != 3.0 ||
		first["fallback"].(map[string]any)["smpp_system_id"] != "acme" || got["auto_reply"] != "We are closed" {
		t.Errorf("%v", got)
	}
	if second := list[1].(map[string]any); second["webhook_secret"] != nil || second["webhook_secret_set"] != true || second["active"] != false {
		t.Errorf("%v", second)
	}
	if again := b.do("GET", inboundPath, "", as("keyA")); strings.Contains(string(again.body), "whsec_") || strings.Contains(string(again.body), "chosen one") {
		t.Errorf("%s", again.body)
	}
	if strings.Contains(b.log.String(), "whsec_") || strings.Contains(b.log.String(), "chosen one") {
		t.Error("the log has a secret")
	}
	if len(f.by) != 1 || f.by[0].Name != "credential "+credentialA.String() || f.by[0].Role != "customer" {
		t.Errorf("%+v", f.by)
	}
}

// mm4 is for accounts with a peer that something can be sent to.
func TestInboundByMM4(t *testing.T) {
	b, _ := inboundSetup(t)
	peer := &snapshot.MM4Peer{Name: "acme", AccountID: accountA, Enabled: true, Host: "mms.acme.example"}
	b.config.MM4Peers = map[message.ID]*snapshot.MM4Peer{{1}: peer}
	if r := b.do("PUT", inboundPath, `{"method":"mm4","fallback":{"method":"storage","after_seconds":60}}`, as("keyA")); r.StatusCode != 200 || r.json(t)["method"] != "mm4" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for name, change := range map[string]func(p *snapshot.MM4Peer){
		"switched off": func(p *snapshot.MM4Peer) { p.Enabled = false }, "no host": func(p *snapshot.MM4Peer) { p.Host = "" },
		"another's": func(p *snapshot.MM4Peer) { p.AccountID = accountB }, "a vendor's": func(p *snapshot.MM4Peer) { p.AccountID, p.VendorID = message.ID{}, message.NewID() },
	} {
		other := *peer
		change(&other)
		b.config.MM4Peers = map[message.ID]*snapshot.MM4Peer{{1}: &other}
		if r := b.do("PUT", inboundPath, `{"method":"mm4"}`, as("keyA")); r.StatusCode != 422 || !strings.Contains(string(r.body), `"location":"body.method"`) || !strings.Contains(string(r.body), "MM4 peer") {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.body)
		}
	}
}

// A change of what was changed since is refused.
func TestInboundIfMatch(t *testing.T) {
	b, _ := inboundSetup(t)
	first := b.do("PUT", inboundPath, `{"method":"storage"}`, as("keyA"))
	tag := first.Header.Get("ETag")
	if r := b.do("PUT", inboundPath, `{"method":"storage"}`, as("keyA"), header("If-Match", tag)); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for _, stale := range []string{tag, `"x"`, "x"} {
		if r := b.do("PUT", inboundPath, `{"method":"storage"}`, as("keyA"), header("If-Match", stale)); r.StatusCode != 412 || r.json(t)["code"] != "conflict" {
			t.Errorf("%s: %d %s", stale, r.StatusCode, r.body)
		}
	}
}

// What is wrong is said by its place.
func TestInboundRefusals(t *testing.T) {
	b, f := inboundSetup(t)
	for body, location := range map[string]string{
		`{}`:                 "body.method",
		`{"method":"fax"}`:   "body.method",
		`{"method":"mm4"}`:   "body.method",
		`{"method":"email"}`: "body.email_address",
		`{"method":"email","email_address":"A <a@b.example>"}`: "body.email_address",
		`{"method":"smpp","smpp_system_id":"others"}`:          "body.smpp_system_id",
		`{"method":"smpp"}`: "body.smpp_system_id",
		`{"method":"webhook","webhook_url":"http://shop.example"}`:                              "body.webhook_url",
		`{"method":"webhook","webhook_url":"https://127.0.0.1/"}`:                               "body.webhook_url",
		`{"method":"webhook","webhook_url":"https://u:p@shop.example/"}`:                        "body.webhook_url",
		`{"method":"webhook","webhook_failover_url":"https://shop.example"}`:                    "body.webhook_url",
		`{"method":"storage","webhook_url":"https://shop.example/"}`:                            "body.webhook_url",
		`{"method":"webhook","webhook_secret":"s"}`:                                             "body.webhook_secret",
		`{"method":"webhook","webhook_url":"https://shop.example/","webhook_secret":"whsec_?"}`: "body.webhook_secret",
		`{"method":"webhook","webhook_url":"https://shop.example/","webhook_retry_count":10}`:   "body.webhook_retry_count",
		`{"method":"storage","fallback":{"method":"email","email_address":"x"}}`:                "body.fallback.email_address",
		`{"method":"storage","fallback":{"after_seconds":259201,"method":"storage"}}`:           "body.fallback.after_seconds",
		`{"method":"storage","fallback":{"fallback":{}}}`:                                       "body.fallback.fallback",
		`{"method":"storage","fallback":1}`:                                                     "body.fallback",
		`{"method":"storage","destinations":[]}`:                                                "body.destinations",
		`{"destinations":[{"method":"storage"},{"method":"email"}]}`:                            "body.destinations[1].email_address",
		`{"destinations":[1]}`: "body.destinations[0]",
		`{"destinations":[` + strings.Repeat(`{"method":"storage"},`, 10) + `{"method":"storage"}]}`: "body.destinations",
		`{"method":"storage","auto_reply":"` + strings.Repeat("a", 460) + `"}`:                       "body.auto_reply",
		`{"method":"storage","method":"storage"}`:                                                    "body.method",
		`{"destinations":[{"method":"storage","method":"storage"}]}`:                                 "body.destinations[0].method",
	} {
		r := b.do("PUT", inboundPath, body, as("keyA"))
		if r.StatusCode != 422 || !strings.Contains(string(r.body), `"location":"`+location+`"`) {
			t.Errorf("%s: %d %s, want %s", body, r.StatusCode, r.body, location)
		}
	}
	if r := b.do("PUT", inboundPath, `{"method":`, as("keyA")); r.StatusCode != 400 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := b.do("PUT", "/v1/inbound-settings", `{"method":"storage","auto_reply":"x"}`, as("keyA")); r.StatusCode != 422 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if len(f.by) != 0 {
		t.Errorf("%d were written", len(f.by))
	}
}

// Nobody sees or sets what is another account's, nor without the scope.
func TestInboundTenants(t *testing.T) {
	b, f := inboundSetup(t)
	mine := message.ReceivedState{Received: message.Received{Message: &message.Message{ID: message.NewID(), AccountID: accountA, Kind: message.SMS, From: "+13105550117", To: "+12025550143", Body: "Hi"}}}
	f.messages = append(f.messages, mine)
	for _, number := range []string{"12025550144", "12025550199", "x"} {
		for method, body := range map[string]string{"GET": "", "PUT": `{"method":"storage"}`} {
			if r := b.do(method, "/v1/numbers/"+number+"/inbound", body, as("keyA")); r.StatusCode != 404 {
				t.Errorf("%s %s: %d %s", method, number, r.StatusCode, r.body)
			}
		}
		if r := b.do("POST", "/v1/numbers/"+number+"/inbound/test", "", as("keyA")); r.StatusCode != 404 {
			t.Errorf("test %s: %d %s", number, r.StatusCode, r.body)
		}
	}
	if r := b.do("GET", "/v1/inbound-messages/"+mine.ID.String(), "", as("keyB")); r.StatusCode != 404 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := b.do("GET", "/v1/inbound-messages", "", as("keyB")); r.StatusCode != 200 || len(r.json(t)["data"].([]any)) != 0 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	f.leaks = true
	for _, path := range []string{inboundPath, "/v1/inbound-settings"} {
		if r := b.do("GET", path, "", as("keyA")); r.StatusCode != 404 {
			t.Errorf("%s of a store that forgets to ask: %d %s", path, r.StatusCode, r.body)
		}
	}
	if r := b.do("GET", "/v1/inbound-messages/"+mine.ID.String(), "", as("keyB")); r.StatusCode != 404 {
		t.Errorf("a store that forgets to ask: %d %s", r.StatusCode, r.body)
	}
	if r := b.do("PUT", inboundPath, `{"method":"storage"}`, as("keyRO")); r.StatusCode != 403 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := b.do("POST", inboundPath+"/test", "", as("keyRO")); r.StatusCode != 403 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// Inbound messages come oldest first, with what became of them.
func TestInboundMessages(t *testing.T) {
	b, f := inboundSetup(t)
	for i := range 3 {
		f.messages = append(f.messages, message.ReceivedState{Received: message.Received{Complete: i != 1, ReceivedAt: began.Add(time.Duration(i) * time.Minute),
			Message: &message.Message{ID: message.NewID(), AccountID: accountA, Kind: message.SMS, From: "+13105550117", To: "+12025550143", Body: fmt.Sprint("Text ", i), Encoding: message.EncodingGSM7, Segments: 1}}})
	}
	f.messages[0].Keyword = "HELP"
	f.messages[0].Deliveries = []message.InboundDelivery{{Position: 1, Method: message.InboundWebhook, State: message.InboundFailed, Attempts: 10, LastError: "HTTP 500", DoneAt: began},
		{Position: 101, Method: message.InboundEmail, State: message.InboundDelivered, Attempts: 1}}
	first := b.do("GET", "/v1/inbound-messages?limit=2", "", as("keyRO")).json(t)
	data := first["data"].([]any)
	one := data[0].(map[string]any)
	if len(data) != 2 || one["body"] != "Text 0" || one["keyword"] != "HELP" || one["tag"] != "support" || one["complete"] != true {
		t.Errorf("%v", first)
	}
	if d := one["delivery"].(map[string]any); d["method"] != "email" || d["state"] != "delivered" || d["attempts"] != 1.0 || d["last_error"] != nil {
		t.Errorf("%v", d)
	}
	if d := one["deliveries"].([]any); len(d) != 2 || d[0].(map[string]any)["last_error"] != "HTTP 500" || d[1].(map[string]any)["fallback"] != true {
		t.Errorf("%v", d)
	}
	if d := data[1].(map[string]any)["delivery"].(map[string]any); d["state"] != "pending" || d["method"] != nil {
		t.Errorf("%v", d)
	}
	rest := b.do("GET", "/v1/inbound-messages?limit=2&cursor="+first["next_cursor"].(string), "", as("keyRO")).json(t)
	if data := rest["data"].([]any); len(data) != 1 || data[0].(map[string]any)["body"] != "Text 2" || rest["next_cursor"] != nil {
		t.Errorf("%v", rest)
	}
	if got := b.do("GET", "/v1/inbound-messages?after=2026-11-21T20:15:30Z&to=12025550143&from=%2B13105550117", "", as("keyRO")).json(t); len(got["data"].([]any)) != 2 {
		t.Errorf("%v", got)
	}
	if r := b.do("GET", "/v1/inbound-messages?to=x%21y", "", as("keyRO")); r.StatusCode != 422 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := b.do("GET", "/v1/inbound-messages?cursor=abc", "", as("keyRO")); r.StatusCode != 422 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if got := b.do("GET", "/v1/inbound-messages/"+message.Hex32(f.messages[2].ID), "", as("keyRO")).json(t); got["body"] != "Text 2" {
		t.Errorf("%v", got)
	}
}

func TestInboundTest(t *testing.T) {
	b, _ := inboundSetup(t)
	r := b.do("POST", inboundPath+"/test", "", as("keyA"))
	if r.StatusCode != 200 || !strings.Contains(string(r.body), `"ok":false,"ms":84,"detail":"HTTP 500 +12025550143"`) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// Without what serves them the operations say so.
func TestInboundNotServed(t *testing.T) {
	b := setup(t, func(b *bundle) {
		b.config.Credentials["keyA"].Scopes = append(b.config.Credentials["keyA"].Scopes, scopeNumbersRead)
	})
	for _, path := range []string{"/v1/inbound-settings", "/v1/inbound-messages", inboundPath} {
		if r := b.do(http.MethodGet, path, "", as("keyA")); r.StatusCode != 503 {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
}
