package rest

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func loginBody(email, password string) string {
	return fmt.Sprintf(`{"email":%q,"password":%q}`, email, password)
}

func TestLogin(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	doc := adminDocument(t)
	r := o.login(loginBody(" Support@GW.example", staffPassword))
	doc.check("post", loginPath, r)
	if got := r.json(t); got["role"] != "support" || got["expires_in"] != 900.0 || got["token_type"] != "Bearer" || got["scope"] != nil || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s", r.body)
	}
	var c claims
	if _, _, err := jwt.NewParser().ParseUnverified(r.json(t)["access_token"].(string), &c); err != nil {
		t.Fatal(err)
	}
	if c.Role != "support" || c.Scope != "" || c.Subject != o.staff[snapshot.RoleSupport].ID.String() || c.Audience[0] != "postrider/api/v1" {
		t.Errorf("%+v", c)
	}
	for name, with := range map[string]struct {
		body string
		add  func(*http.Request)
	}{
		"json":  {fmt.Sprintf(`{"api_key":%q,"api_secret":%q,"scope":"service:messages"}`, o.service.Key, o.secret), func(*http.Request) {}},
		"basic": {"", func(r *http.Request) { r.SetBasicAuth(o.service.Key, o.secret) }},
		"form": {"grant_type=client_credentials&client_id=" + o.service.Key + "&client_secret=" + o.secret,
			header("Content-Type", formType)},
		"form, basic": {"grant_type=client_credentials", func(r *http.Request) {
			r.Header.Set("Content-Type", formType)
			r.SetBasicAuth(o.service.Key, o.secret)
		}},
	} {
		r := o.login(with.body, with.add)
		if r.StatusCode != 200 || r.json(t)["scope"] != "service:messages" || r.json(t)["role"] != nil {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.body)
		}
	}
}

func TestLoginRefusals(t *testing.T) {
	t.Parallel()
	o := open(t, func(o *office) { o.server.FailedPerMinute = 1000 })
	inactive, err := o.db.ChangeStaff(o.ctx, shellActor, o.staff[snapshot.RoleViewer].ID, snapshot.StaffChange{Active: new(false)})
	if err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprintf(`"api_key":%q`, o.service.Key)
	for _, c := range []struct {
		name, body string
		status     int
		code       message.Reason
		oauth      string
	}{
		{"wrong password", loginBody("admin@gw.example", "wrong horse battery"), 401, message.ReasonUnauthenticated, oauthInvalidClient},
		{"unknown", loginBody("eve@gw.example", staffPassword), 401, message.ReasonUnauthenticated, oauthInvalidClient},
		{"no longer active", loginBody(inactive.Email, staffPassword), 401, message.ReasonUnauthenticated, oauthInvalidClient},
		{"wrong secret", `{` + key + `,"api_secret":"sk_x"}`, 401, message.ReasonUnauthenticated, oauthInvalidClient},
		{"unknown key", `{"api_key":"pk_x","api_secret":"sk_x"}`, 401, message.ReasonUnauthenticated, oauthInvalidClient},
		{"a customer's key", `{"api_key":"keyA","api_secret":"secretA"}`, 401, message.ReasonUnauthenticated, oauthInvalidClient},
		{"scope", `{` + key + `,"api_secret":"` + o.secret + `","scope":"messages:read"}`, 400, message.ReasonInvalidRequest, oauthInvalidScope},
		{"half", `{"email":"admin@gw.example"}`, 400, message.ReasonInvalidRequest, oauthInvalidRequest},
		{"other half", `{"password":"x"}`, 400, message.ReasonInvalidRequest, oauthInvalidRequest},
		{"half a key", `{` + key + `}`, 400, message.ReasonInvalidRequest, oauthInvalidRequest},
		{"both", `{"email":"a@b","password":"x",` + key + `,"api_secret":"y"}`, 400, message.ReasonInvalidRequest, oauthInvalidRequest},
		{"staff with a scope", `{"email":"a@b","password":"x","scope":"service:messages"}`, 400, message.ReasonInvalidRequest, oauthInvalidRequest},
		{"nothing", `{}`, 400, message.ReasonInvalidRequest, oauthInvalidRequest},
		{"empty", ``, 400, message.ReasonInvalidRequest, oauthInvalidRequest},
		{"unknown field", `{"role":"admin"}`, 400, message.ReasonInvalidRequest, oauthInvalidRequest},
		{"long", loginBody("admin@gw.example", strings.Repeat("x", 2000)), 400, message.ReasonInvalidRequest, oauthInvalidRequest},
	} {
		o.clock.advance(time.Minute)
		p := wantProblem(t, o.login(c.body), c.status, c.code)
		if p["error"] != c.oauth {
			t.Errorf("%s: OAuth's code is %v", c.name, p["error"])
		}
	}
	if len(o.tries) != 2 || o.tries[0].in || o.tries[0].staff != o.staff[snapshot.RoleAdmin].ID || o.tries[1].in || o.tries[1].staff != inactive.ID {
		t.Errorf("told: %+v", o.tries)
	}
}

// counting counts what takes time.
type counting struct {
	Passwords
	mu     sync.Mutex
	checks int
}

func (c *counting) PasswordFits(hash, password string) bool {
	c.mu.Lock()
	c.checks++
	c.mu.Unlock()
	return c.Passwords.PasswordFits(hash, password)
}

func TestUnknownAndWrongPasswordLookAlike(t *testing.T) {
	t.Parallel()
	c := &counting{Passwords: cheap}
	o := open(t, func(o *office) { o.server.Admin.Passwords = c })
	var answers []string
	for _, email := range []string{"admin@gw.example", "eve@gw.example"} {
		for range limit.WrongPerMinute + 1 { // the last is held back
			r := o.login(loginBody(email, "wrong horse battery"))
			p := r.json(t)
			delete(p, "request_id")
			answers = append(answers, fmt.Sprint(r.StatusCode, p, r.Header.Get("Retry-After"), r.Header.Get("X-Ratelimit-Limit")))
		}
		o.clock.advance(time.Minute)
	}
	half := len(answers) / 2
	for i := range half {
		if answers[i] != answers[half+i] {
			t.Errorf("try %d: known %s, unknown %s", i, answers[i], answers[half+i])
		}
	}
	if c.checks != 2*limit.WrongPerMinute {
		t.Errorf("%d passwords were computed, want %d", c.checks, 2*limit.WrongPerMinute)
	}
}

// Who has turned a second factor on gives a code of it here, too.
func TestLoginWithASecondFactor(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	taken := map[string]bool{}
	o := open(t, func(o *office) {
		o.server.FailedPerMinute = 1000
		o.server.Admin.SecondFactor = func(_ context.Context, staff message.ID, code string, _ time.Time) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			if staff != o.staff[snapshot.RoleAdmin].ID {
				return true, nil
			}
			ok := code == "287082" && !taken[code]
			taken[code] = true
			return ok, nil
		}
	})
	with := func(code string) string {
		return fmt.Sprintf(`{"email":"admin@gw.example","password":%q,"code":%q}`, staffPassword, code)
	}
	wantProblem(t, o.login(loginBody("admin@gw.example", staffPassword)), 401, message.ReasonUnauthenticated)
	if len(o.tries) != 0 {
		t.Errorf("a code that was not given is noted as wrong: %+v", o.tries)
	}
	if p := wantProblem(t, o.login(`{"email":"admin@gw.example","password":"wrong horse battery","code":"287082"}`), 401, message.ReasonUnauthenticated); strings.Contains(fmt.Sprint(p), "second factor") {
		t.Errorf("a wrong password shows whether there is a second factor: %v", p)
	}
	if r := o.login(with("287082")); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.login(with("287082")), 401, message.ReasonUnauthenticated) // once
	for range limit.WrongCodesPerMinute - 1 {
		wantProblem(t, o.login(with("000000")), 401, message.ReasonUnauthenticated)
	}
	wantProblem(t, o.login(with("000001")), 429, message.ReasonRateLimitExceeded)
	if r := o.login(loginBody("support@gw.example", staffPassword)); r.StatusCode != 200 {
		t.Errorf("who has none: %d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.login(fmt.Sprintf(`{"api_key":%q,"api_secret":%q,"code":"287082"}`, o.service.Key, o.secret)), 400, message.ReasonInvalidRequest)
}

// from is the address behind the trusted proxy that the tests are.
func from(address string) func(*http.Request) { return header("X-Forwarded-For", address) }

func TestLoginBackOff(t *testing.T) {
	t.Parallel()
	o := open(t, func(o *office) {
		o.server.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		o.server.FailedPerMinute = 1000 // the limits of an address are tested elsewhere
	})
	wrong, right := loginBody("admin@gw.example", "wrong horse battery"), loginBody("admin@gw.example", staffPassword)
	here, there := from("192.0.2.7"), from("198.51.100.7")
	for range limit.WrongPerMinute {
		wantProblem(t, o.login(wrong, here), 401, message.ReasonUnauthenticated)
	}
	held := o.login(right, here)
	wantProblem(t, held, 429, message.ReasonRateLimitExceeded)
	if held.Header.Get("Retry-After") != "60" {
		t.Errorf("Retry-After %s", held.Header.Get("Retry-After"))
	}
	// Others at the same place, and the same person elsewhere, are not held up.
	if r := o.login(loginBody("support@gw.example", staffPassword), here); r.StatusCode != 200 {
		t.Errorf("another: %d %s", r.StatusCode, r.body)
	}
	if r := o.login(right, there); r.StatusCode != 200 {
		t.Errorf("elsewhere: %d %s", r.StatusCode, r.body)
	}
	o.clock.advance(time.Minute)
	if r := o.login(right, here); r.StatusCode != 200 {
		t.Errorf("later: %d %s", r.StatusCode, r.body)
	}
	// The more there were, the longer one waits.
	for i := limit.WrongPerMinute; i < limit.WrongPerHour; i++ {
		if i%limit.WrongPerMinute == 0 {
			o.clock.advance(time.Minute)
		}
		wantProblem(t, o.login(wrong, here), 401, message.ReasonUnauthenticated)
	}
	o.clock.advance(time.Minute)
	held = o.login(right, here)
	wantProblem(t, held, 429, message.ReasonRateLimitExceeded)
	if s := held.Header.Get("Retry-After"); len(s) != 4 {
		t.Errorf("Retry-After %s, want most of an hour", s)
	}
	// Guessing from many places ends too.
	n := limit.WrongPerHour
	for i := 0; n < limit.WrongFromAnyHour; i++ {
		for range limit.WrongPerMinute {
			if n < limit.WrongFromAnyHour {
				wantProblem(t, o.login(wrong, from(fmt.Sprintf("203.0.113.%d", i))), 401, message.ReasonUnauthenticated)
				n++
			}
		}
	}
	wantProblem(t, o.login(right, there), 429, message.ReasonRateLimitExceeded)
	o.clock.advance(time.Hour)
	if r := o.login(right, there); r.StatusCode != 200 {
		t.Errorf("an hour later: %d %s", r.StatusCode, r.body)
	}
}

// An address that fails too often is held back, whomever it tries.
func TestLoginHoldsAnAddressBack(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	for i := range DefaultFailedPerMinute {
		wantProblem(t, o.login(loginBody(fmt.Sprintf("eve%d@gw.example", i), "wrong horse battery")), 401, message.ReasonUnauthenticated)
	}
	wantProblem(t, o.login(loginBody("admin@gw.example", staffPassword)), 429, message.ReasonRateLimitExceeded)
	wantProblem(t, o.login(fmt.Sprintf(`{"api_key":%q,"api_secret":%q}`, o.service.Key, o.secret)), 429, message.ReasonRateLimitExceeded)
	wantProblem(t, o.do("GET", staffPath, "", bearer("e30.e30.e30")), 429, message.ReasonRateLimitExceeded)
}

// slow holds passwords until it is told to go on.
type slow struct {
	entered chan struct{} // one element for each that is being checked
	proceed chan struct{} // closed by the test
}

func (p *slow) PasswordFits(string, string) bool {
	p.entered <- struct{}{}
	<-p.proceed
	return false
}
func (p *slow) HashPassword(string) (string, error) { return "", nil }

// However many passwords are tried, few are computed at a time, and other requests
// go on meanwhile.
func TestPasswordsTakeTurns(t *testing.T) {
	t.Parallel()
	p := &slow{entered: make(chan struct{}, 100), proceed: make(chan struct{})}
	o := open(t, func(o *office) {
		o.server.Admin.Passwords = p
		o.server.FailedPerMinute = 1000
	})
	o.server.Handler() // makes the turns
	most := cap(o.server.turns)
	var tries sync.WaitGroup
	answers := make(chan int, most+8)
	for i := range most + 8 {
		tries.Go(func() {
			answers <- o.login(loginBody(fmt.Sprintf("eve%d@gw.example", i), "wrong horse battery")).StatusCode
		})
	}
	for range most {
		<-p.entered
	}
	if r := o.do("GET", "/v1/messages", "", as("keyA")); r.StatusCode != 200 {
		t.Errorf("a customer waits for passwords: %d %s", r.StatusCode, r.body)
	}
	if n := len(p.entered); n != 0 {
		t.Errorf("%d more are computed than may be", n)
	}
	close(p.proceed)
	tries.Wait()
	close(answers)
	for status := range answers {
		if status != 401 {
			t.Errorf("answered %d", status)
		}
	}
}

// Who gets no turn is told to come again.
func TestPasswordsWithoutATurn(t *testing.T) {
	t.Parallel()
	o := open(t, func(o *office) { o.server.AnswerTimeout = time.Millisecond }) // ends the wait
	o.server.Handler()
	for range cap(o.server.turns) {
		o.server.turns <- struct{}{}
	}
	wantProblem(t, o.login(loginBody("admin@gw.example", staffPassword)), 503, message.ReasonUnavailable)
}

// A token of one API is nothing at the other, although the keys are the same.
func TestTokensOfEachKind(t *testing.T) {
	t.Parallel()
	o := open(t, func(o *office) { o.server.FailedPerMinute = 1000 })
	customer := o.do("POST", "/v1/auth/token", "", as("keyA")).json(t)["access_token"].(string)
	for _, token := range []string{o.token(snapshot.RoleAdmin), o.serviceToken()} {
		for _, path := range []string{"/v1/messages", "/v1/messages/" + message.NewID().String()} {
			wantProblem(t, o.do("GET", path, "", bearer(token)), 401, message.ReasonUnauthenticated)
		}
		wantProblem(t, o.do("POST", "/v1/messages", parcel, bearer(token)), 401, message.ReasonUnauthenticated)
	}
	if r := o.do("GET", "/v1/messages", "", bearer(customer)); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.do("GET", customerPath, "", bearer(customer)), 401, message.ReasonUnauthenticated)
	// A service is no customer with its key either.
	wantProblem(t, o.do("GET", "/v1/messages", "", func(r *http.Request) { r.SetBasicAuth(o.service.Key, o.secret) }), 401, message.ReasonUnauthenticated)
	wantProblem(t, o.do("POST", "/v1/auth/token", "", func(r *http.Request) { r.SetBasicAuth(o.service.Key, o.secret) }), 401, message.ReasonUnauthenticated)
}

// Tokens that are signed with our own key, and say what they should not.
func TestStaffTokensThatSayTooMuch(t *testing.T) {
	t.Parallel()
	o := open(t, func(o *office) { o.server.FailedPerMinute = 1000 })
	snap := o.snapshot()
	viewer, admin := snap.Staff["viewer@gw.example"], snap.Staff["admin@gw.example"]
	sign := func(change func(*claims)) string {
		c := claims{
			RegisteredClaims: jwt.RegisteredClaims{Issuer: "postrider", Audience: jwt.ClaimStrings{"postrider/api/v1"}, Subject: viewer.ID.String(),
				ExpiresAt: jwt.NewNumericDate(began.Add(time.Minute))},
			CredentialID: viewer.PasswordID.String(), Role: "viewer",
		}
		change(&c)
		token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
		token.Header["kid"] = "one"
		signed, err := token.SignedString(ed25519.NewKeyFromSeed(keyOneSeed))
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	if r := o.do("GET", customerPath, "", bearer(sign(func(*claims) {}))); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	for name, change := range map[string]func(*claims){
		"another role":                func(c *claims) { c.Role = "admin" },
		"no role":                     func(c *claims) { c.Role = "" },
		"a role that there is not":    func(c *claims) { c.Role = "root" },
		"another's password":          func(c *claims) { c.CredentialID = admin.PasswordID.String() },
		"somebody else":               func(c *claims) { c.Subject = admin.ID.String() },
		"nobody":                      func(c *claims) { c.Subject = message.NewID().String() },
		"an account":                  func(c *claims) { c.Subject, c.Role = o.customer.String(), "" },
		"customers' audience":         func(c *claims) { c.Audience = jwt.ClaimStrings{"postrider"} },
		"no audience":                 func(c *claims) { c.Audience = nil },
		"another issuer":              func(c *claims) { c.Issuer = "mallory" },
		"over":                        func(c *claims) { c.ExpiresAt = jwt.NewNumericDate(began.Add(-time.Minute)) },
		"without end":                 func(c *claims) { c.ExpiresAt = nil },
		"a service with a role":       func(c *claims) { c.Subject, c.CredentialID = o.service.ID.String(), o.service.ID.String() },
		"a service's id, no password": func(c *claims) { c.Role, c.Subject = "", o.service.ID.String() },
	} {
		r := o.do("GET", customerPath, "", bearer(sign(change)))
		if r.StatusCode != 401 {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.body)
		}
	}
}

// A token ends with what it was given for.
func TestStaffTokensEnd(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]snapshot.StaffChange{
		"password": {PasswordHash: "$2a$04$x"}, "role": {Role: new(snapshot.RoleOperator)}, "no longer active": {Active: new(false)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t, nil)
			who := o.by(snapshot.RoleSupport)
			if r := o.do("GET", messagePath, "", who); r.StatusCode != 200 {
				t.Fatalf("%d %s", r.StatusCode, r.body)
			}
			if _, err := o.db.ChangeStaff(o.ctx, shellActor, o.staff[snapshot.RoleSupport].ID, change); err != nil {
				t.Fatal(err)
			}
			wantProblem(t, o.do("GET", messagePath, "", who), 401, message.ReasonUnauthenticated)
		})
	}
}

// Tokens of a service end with its credential; there is nothing for services here
// yet but 403, which is not 401.
func TestServiceTokensEnd(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	who := bearer(o.serviceToken())
	wantProblem(t, o.do("GET", messagePath, "", who), 403, message.ReasonForbidden)
	at := began.Add(time.Minute)
	if _, err := o.db.ChangeServiceCredential(o.ctx, shellActor, o.service.ID, snapshot.ServiceChange{ExpiresAt: &at}); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, o.do("GET", messagePath, "", who), 403, message.ReasonForbidden)
	o.clock.advance(time.Minute)
	wantProblem(t, o.do("GET", messagePath, "", who), 401, message.ReasonUnauthenticated)
	if _, err := o.db.ChangeServiceCredential(o.ctx, shellActor, o.service.ID, snapshot.ServiceChange{ExpiresAt: &time.Time{}, Active: new(false)}); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, o.do("GET", messagePath, "", who), 401, message.ReasonUnauthenticated)
	wantProblem(t, o.login(fmt.Sprintf(`{"api_key":%q,"api_secret":%q}`, o.service.Key, o.secret)), 401, message.ReasonUnauthenticated)
}

// No password and no token is in the log, whatever happens.
func TestStaffSecretsStayOutOfTheLog(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	token := o.token(snapshot.RoleAdmin)
	o.login(loginBody("admin@gw.example", "wrong horse battery"))
	made := o.do("POST", servicePath, `{"name":"x"}`, bearer(token)).json(t)
	hired := o.do("POST", staffPath, `{"email":"ada@gw.example","role":"viewer"}`, bearer(token)).json(t)
	log := o.log.String()
	if !strings.Contains(log, "operation=createStaff") || !strings.Contains(log, "staff="+o.staff[snapshot.RoleAdmin].ID.String()) {
		t.Error("the log does not say who asked what")
	}
	for _, word := range []string{staffPassword, "wrong horse battery", token, made["secret"].(string), hired["password"].(string), o.secret, "gw.example"} {
		if strings.Contains(log, word) {
			t.Errorf("the log holds %s", word)
		}
		for _, table := range []string{"audit_log", "staff", "service_credentials"} {
			if word != "gw.example" && o.count("select count(*) from "+table+" t where t::text like '%' || $1 || '%'", word) != 0 {
				t.Errorf("%s holds %s", table, word)
			}
		}
	}
}
