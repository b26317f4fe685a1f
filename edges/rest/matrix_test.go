package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// visitor is somebody who tries every operation.
type visitor struct {
	name string
	with func(a asked) func(*http.Request)
	// may says what the document promises of an operation: passed, 401 or 403.
	may func(a asked) int
}

// passed is the answer to a visitor who was let through to the operation, whatever it
// said then.
const passed = 200

// handsOn are operations whose result may more than their scope alone: nobody hands on
// what he has not got.
var handsOn = []string{"createSMPPCredential", "regenerateSMPPCredential"}

// visitors are all kinds of callers, of both APIs.
func (s *surface) visitors() []visitor {
	customers, staff := s.everyToken(), s.staffTokens()
	same := func(with func(*http.Request)) func(asked) func(*http.Request) {
		return func(asked) func(*http.Request) { return with }
	}
	nobody := func(a asked) int {
		if len(a.scopes) == 0 {
			return passed
		}
		return http.StatusUnauthorized
	}
	// in is for who is known at one API only.
	in := func(internal bool, otherwise func(a asked) int) func(asked) int {
		return func(a asked) int {
			if len(a.scopes) == 0 || a.internal != internal {
				return nobody(a)
			}
			return otherwise(a)
		}
	}
	list := []visitor{
		{"nobody", same(func(*http.Request) {}), nobody},
		{"no token", same(bearer("e30.e30.e30")), nobody},
		{"other's signature", same(bearer(customers["forged"])), nobody},
		{"expired", func(a asked) func(*http.Request) {
			if a.internal {
				return bearer(staff["expired"])
			}
			return bearer(customers["expired"])
		}, nobody},
		{"revoked", func(a asked) func(*http.Request) {
			if a.internal {
				return bearer(staff["removed"])
			}
			return bearer(customers["revoked"])
		}, nobody},
		{"suspended", same(bearer(customers["suspended"])), in(false, func(asked) int { return http.StatusForbidden })},
		{"other scopes", func(a asked) func(*http.Request) { return bearer(customers["without "+first(a.scopes)]) },
			in(false, func(asked) int { return http.StatusForbidden })},
		{"its scope", func(a asked) func(*http.Request) { return bearer(customers["only "+first(a.scopes)]) },
			in(false, func(a asked) int {
				if slices.Contains(handsOn, a.name) {
					return http.StatusForbidden
				}
				return passed
			})},
		{"key", same(as("keyA")), in(false, func(asked) int { return passed })},
		{"service", same(bearer(s.serviceToken())), in(true, func(a asked) int { return allowed(a, snapshot.ScopeServiceMessages) })},
	}
	for _, role := range snapshot.Roles() {
		list = append(list, visitor{string(role), same(s.by(role)), in(true, func(a asked) int { return allowed(a, string(role)) })})
	}
	return list
}

func allowed(a asked, to string) int {
	if slices.Contains(a.scopes, to) {
		return passed
	}
	return http.StatusForbidden
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// everyToken are tokens of customers: of each scope alone, of all but each, and such as
// are good for nothing any more.
func (s *surface) everyToken() map[string]string {
	s.t.Helper()
	get := func(key string, scopes []string) string {
		body := fmt.Sprintf(`{"api_key":%q,"api_secret":%q,"scope":%q}`, key, strings.Replace(key, "key", "secret", 1), strings.Join(scopes, " "))
		r := s.do("POST", "/v1/auth/token", body)
		if r.StatusCode != http.StatusOK {
			s.t.Fatalf("token of %v: %d %s", scopes, r.StatusCode, r.body)
		}
		return r.json(s.t)["access_token"].(string)
	}
	tokens := map[string]string{"only ": "", "without ": ""}
	for _, scope := range grantable() {
		tokens["only "+scope] = get("keyA", []string{scope})
		tokens["without "+scope] = get("keyA", slices.DeleteFunc(grantable(), func(other string) bool { return other == scope }))
	}
	s.clock.advance(-TokenLife - time.Minute)
	tokens["expired"] = get("keyA", grantable())
	s.clock.advance(TokenLife + time.Minute)
	all := tokens["only "+scopeMessagesRead]
	tokens["forged"] = all[:strings.LastIndexByte(all, '.')+1] + strings.Repeat("A", 86)

	gone, closed := s.credential("keyGone", s.customer), message.NewID()
	tokens["revoked"] = get("keyGone", grantable())
	s.must(s.db.RevokeOwnCredential(s.ctx, shellActor, s.customer, gone, func(snapshot.CredentialState) error { return nil }))
	s.must(s.db.CreateAccount(s.ctx, shellActor, snapshot.Account{ID: closed, CompanyName: "C", WebhookSecret: "whsec_c"}))
	s.credential("keyClosed", closed)
	tokens["suspended"] = get("keyClosed", grantable())
	s.must(s.db.SetAccountStatus(s.ctx, shellActor, closed, snapshot.AccountSuspended))
	return tokens
}

// staffTokens are tokens of an admin that are good for nothing any more.
func (s *surface) staffTokens() map[string]string {
	s.t.Helper()
	tokens := map[string]string{}
	body := func(email string) string { return `{"email":"` + email + `","password":"` + staffPassword + `"}` }
	s.clock.advance(-TokenLife - time.Minute)
	tokens["expired"] = s.fresh(body("admin@gw.example"))
	s.clock.advance(TokenLife + time.Minute)
	admin := s.by(snapshot.RoleAdmin)
	made := s.do("POST", staffPath, `{"email":"gone@gw.example","role":"admin","password":"`+staffPassword+`"}`, admin)
	tokens["removed"] = s.fresh(body("gone@gw.example"))
	if r := s.do("DELETE", staffPath+"/"+made.json(s.t)["id"].(string), "", admin); r.StatusCode != http.StatusNoContent {
		s.t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	return tokens
}

// verdict reads an answer as a visitor's row has it. A refusal of something else than the
// caller, such as of a sender, is none.
func verdict(r *reply) int {
	code, _ := problemCode(r)
	switch {
	case r.StatusCode == http.StatusUnauthorized:
		return http.StatusUnauthorized
	case r.StatusCode == http.StatusForbidden && (code == message.ReasonForbidden || code == message.ReasonAccountSuspended):
		return http.StatusForbidden
	}
	return passed
}

func problemCode(r *reply) (message.Reason, bool) {
	if r.Header.Get("Content-Type") != problemType {
		return "", false
	}
	var p struct{ Code message.Reason }
	err := json.Unmarshal(r.body, &p)
	return p.Code, err == nil
}

// Every operation of both documents, tried by everybody: who gets in is who the document
// says. Nobody who is refused leaves a trace in the audit log. The table goes to the test's
// log, and to a file under ARTIFACTS if that is set, as `make test` does.
func TestAccessMatrix(t *testing.T) {
	t.Parallel()
	s := openSurface(t)
	visitors := s.visitors()
	head := []string{"operation", "asks for"}
	for _, v := range visitors {
		head = append(head, v.name)
	}
	rows := [][]string{head}
	for _, a := range everyOperation(t) {
		if a.name == "issueToken" || a.name == "issueStaffToken" {
			continue // who comes there has no token: see auth_test.go and admin_login_test.go
		}
		row := []string{a.method + " " + a.path, strings.Join(a.scopes, " ")}
		for _, v := range visitors {
			row = append(row, s.tried(a, v))
		}
		rows = append(rows, row)
	}
	printed := tabled(rows)
	t.Log("\n" + printed)
	if folder := os.Getenv("ARTIFACTS"); folder != "" {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "access-matrix.txt"), []byte(printed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// tried makes one visit and gives its cell.
func (s *surface) tried(a asked, v visitor) string {
	s.t.Helper()
	body, kind := a.small()
	want := v.may(a)
	var before int64
	if want != passed {
		before = s.last().ID
	}
	r := s.do(a.method, s.at(a), body, kind, v.with(a))
	got := verdict(r)
	if got != want || r.StatusCode >= 500 {
		s.t.Errorf("%s (%s) by %s: %d, want %d: %d %s", a.name, strings.Join(a.scopes, " "), v.name, got, want, r.StatusCode, r.body)
	}
	if want == passed {
		return "yes"
	}
	if _, ok := problemCode(r); !ok {
		s.t.Errorf("%s by %s: the refusal is no problem: %s", a.name, v.name, r.Header.Get("Content-Type"))
	}
	if got == http.StatusUnauthorized && r.Header.Get("WWW-Authenticate") == "" {
		s.t.Errorf("%s by %s: 401 without WWW-Authenticate", a.name, v.name)
	}
	if last := s.last(); last.ID != before {
		s.t.Errorf("%s by %s was refused, and the audit log has %s", a.name, v.name, last.Action)
	}
	return fmt.Sprint(got)
}

// tabled lays rows out in columns.
func tabled(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(&b, "%-*s  ", width[i], cell)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// storedThings takes the place of rows of things that only a journal can have.
var storedThings = map[string]func(s *surface) string{
	"/v1/messages/": func(s *surface) string { return s.message(nil).ID.String() },
	"/v1/campaigns/": func(s *surface) string { // a number is in one
		_, err := s.conn.Exec(s.ctx, "update numbers set campaign = null where number = '+12025550143'")
		s.must(err)
		return things["/v1/campaigns/"](s.bundle)
	},
	userPath + "/": func(s *surface) string {
		body := `{"email":"` + message.NewID().String() + `@shop.example","scopes":["messages:read"]}`
		return s.do("POST", userPath, body, as("keyA")).json(s.t)["id"].(string)
	},
	endpointPath + "/": func(s *surface) string { // there are 16 at most
		for _, e := range s.do("GET", endpointPath, "", as("keyA")).json(s.t)["data"].([]any) {
			s.do("DELETE", endpointPath+"/"+e.(map[string]any)["id"].(string), "", as("keyA"))
		}
		return s.hook()
	},
	"/v1/inbound-messages/": func(s *surface) string {
		s.must(s.in.Inbound(s.ctx, message.InboundMessage{VendorID: message.NewID(), VendorRef: message.NewID().String(), From: "+13105550117", To: "+12025550143",
			Text: "where is it?", Encoding: message.EncodingGSM7, ReceivedAt: time.Now()}))
		var id message.ID
		s.must(s.conn.QueryRow(s.ctx, "select id from messages where direction = 'inbound' order by id desc limit 1").Scan(&id))
		return id.String()
	},
	"/v1/webhook-deliveries/": func(s *surface) string {
		n := message.Notification{ID: message.NewID(), EventID: message.NewID(), AccountID: s.customer, Type: "endpoint.test", URL: "https://shop.example", Payload: "{}"}
		s.must(s.db.RecordTested(s.ctx, n, message.NotificationAttempt{State: message.NotificationFailed, HTTPStatus: 500}))
		return n.ID.String()
	},
}

// thing makes what the first name in a path of the customers' API names, for keyA.
func (s *surface) thing(path string) (id string, ok bool) {
	head := path[:strings.IndexByte(path, '{')]
	if make, ok := storedThings[head]; ok {
		return make(s), true
	}
	if make, ok := things[head]; ok {
		return make(s.bundle), true
	}
	return "", false
}

// What one customer has is not there for another, in the database as at the edge: with the
// other's key, and for staff who act for the other. It answers as it does for what nobody
// has.
func TestForeignNamesAreUnknown(t *testing.T) {
	t.Parallel()
	s := openSurface(t)
	byStaff := s.by(snapshot.RoleAdmin)
	tried := 0
	for _, a := range everyOperation(t) {
		path, who, base := a.path, as("keyB"), ""
		if a.internal {
			rest, behalf := strings.CutPrefix(a.path, behalfPath+"/")
			if !behalf {
				continue
			}
			path, who, base = "/v1/"+rest, byStaff, customerPath+"/"+s.other.String()+"/"
		}
		if !strings.Contains(path, "{") {
			continue
		}
		id, ok := s.thing(path)
		if !ok {
			t.Errorf("%s: add a row to things, so that it is tried with another account's", a.name)
			continue
		}
		tried++
		body, kind := a.small()
		plain := strings.TrimPrefix(a.name, "customer")
		if given := bodies[strings.ToLower(plain[:1])+plain[1:]]; given != "" {
			body = given
		}
		ask := func(id string, who func(*http.Request), account string) *reply {
			at := pathParameter.ReplaceAllStringFunc(path, func(name string) string {
				if known, ok := belongings[name]; ok && id != "" && strings.Count(path, "{") > 1 {
					return known
				}
				return id
			})
			if account != "" {
				at = strings.Replace(at, "/v1/", account, 1)
			}
			return s.do(a.method, at, body, kind, who)
		}
		nothing := message.NewID().String()
		if strings.Contains(path, "/{number}") && strings.Count(path, "{") == 1 {
			nothing = "12025550000"
		}
		var said []string
		for _, id := range []string{id, nothing} {
			p := wantProblem(t, ask(id, who, base), http.StatusNotFound, message.ReasonNotFound)
			said = append(said, strings.ReplaceAll(pathLike.ReplaceAllString(p["detail"].(string), ""), strings.TrimPrefix(id, "+"), ""))
		}
		if said[0] != said[1] {
			t.Errorf("%s tells what is there: %q, %q", a.name, said[0], said[1])
		}
		// Its owner gets something else, or the test is blind.
		owner := base
		if a.internal {
			owner = customerPath + "/" + s.customer.String() + "/"
		} else {
			who = as("keyA")
		}
		if r := ask(id, who, owner); r.StatusCode == 404 || r.StatusCode == 401 || r.StatusCode == 403 || r.StatusCode >= 500 {
			t.Errorf("%s: its owner gets %d %s", a.name, r.StatusCode, r.body)
		}
	}
	if tried < 50 {
		t.Errorf("%d operations name something: the test is blind", tried)
	}
}

// A customer's thing that another names in a query or a body is not there either.
func TestForeignNamesInBodiesAndQueries(t *testing.T) {
	t.Parallel()
	s := openSurface(t)
	file, _ := s.thing("/v1/media/{id}")
	brand, _ := s.thing("/v1/brands/{id}")
	campaign, _ := s.thing("/v1/campaigns/{id}")
	batch, _ := s.thing("/v1/messages/batch/{id}")
	sent, _ := s.thing("/v1/messages/{id}")
	endpoint, _ := s.thing("/v1/webhook-endpoints/{id}")
	esme := s.do("POST", esmePath, `{}`, as("keyA")).json(t)["system_id"].(string)
	if _, ok := s.thing("/v1/opt-outs/{id}"); !ok {
		t.Fatal("no opt-out")
	}
	for _, path := range []string{
		"/v1/messages?batch_id=" + batch, "/v1/messages?campaign_id=" + campaign, "/v1/messages?client_reference=r", "/v1/messages",
		"/v1/webhook-deliveries?message_id=" + sent, "/v1/webhook-deliveries?endpoint_id=" + endpoint, "/v1/numbers?campaign_id=" + campaign,
		"/v1/opt-outs?recipient=%2B13105550117", "/v1/inbound-messages", "/v1/events", "/v1/brands", "/v1/campaigns", "/v1/messages/batch", "/v1/webhook-endpoints",
		"/v1/smpp-credentials", "/v1/users", "/v1/balance/entries", "/v1/limits?number=%2B12025550143",
	} {
		r := s.do("GET", path, "", as("keyB"))
		if r.StatusCode >= 500 {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
		if r.StatusCode == http.StatusOK && len(r.json(t)["data"].([]any)) != 0 {
			t.Errorf("%s shows what is another's: %s", path, r.body)
		}
	}
	for name, c := range map[string]struct{ method, path, body string }{
		"media of a message":     {"POST", "/v1/messages", `{"from":"+12025550199","to":"+13105550117","body":"x","media_ids":["` + file + `"]}`},
		"sender of a message":    {"POST", "/v1/messages", `{"from":"+12025550143","to":"+13105550117","body":"x"}`},
		"brand of a campaign":    {"POST", "/v1/campaigns", `{"use_case":"2FA","brand_id":"` + brand + `"}`},
		"ESME of an inbox":       {"PUT", "/v1/inbound-settings", `{"method":"smpp","smpp_system_id":"` + esme + `"}`},
		"number of a key":        {"POST", credentialPath, `{"scopes":["messages:read"],"allowed_numbers":["+12025550143"]}`},
		"number of a campaign":   {"PUT", "/v1/campaigns/{own}/numbers", `{"numbers":["+12025550143"]}`},
		"messages of a replay":   {"POST", "/v1/webhook-endpoints/" + endpoint + "/replay", `{"after":"2026-11-01T00:00:00Z"}`},
		"number of an inbox":     {"PUT", "/v1/numbers/12025550143/inbound", `{"method":"storage"}`},
		"campaign of an opt-out": {"POST", "/v1/opt-outs", `{"recipient":"+13105550117","campaign_id":"` + campaign + `"}`},
	} {
		if strings.HasPrefix(c.path, "/v1/campaigns/{own}") {
			c.path = strings.Replace(c.path, "{own}", s.do("POST", "/v1/campaigns", `{"use_case":"2FA"}`, as("keyB")).json(t)["id"].(string), 1)
		}
		r := s.do(c.method, c.path, c.body, as("keyB"))
		if _, ok := problemCode(r); !ok || r.StatusCode >= 500 {
			t.Errorf("%s: another's was taken: %d %s", name, r.StatusCode, r.body)
		}
	}
}
