package gate

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	for _, door := range both {
		t.Run(string(door), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			b := h.browser(door)
			home := "/" + string(door)
			wantTo(t, b.get("/messages?status=failed"), home+"/sign-in?next="+"%2F"+string(door)+"%2Fmessages%3Fstatus%3Dfailed")
			wantTo(t, b.get(""), home+"/sign-in")
			want(t, b.get("/sign-in?next="+home+"/messages%3Fstatus%3Dfailed"), 200, `name="next" value="`+home+`/messages?status=failed"`)
			want(t, b.post("/sign-in", map[string]string{"email": emailAt(door), "password": "wrong horse battery"}), 401, wrongSignIn)
			if b.session() != "" {
				t.Error("a wrong password has a session")
			}
			fields := map[string]string{"email": " " + strings.ToUpper(emailAt(door)), "password": password, "next": home + "/messages?status=failed"}
			in := b.post("/sign-in", fields)
			wantTo(t, in, home+"/messages?status=failed")
			for _, c := range in.Cookies() {
				if c.Name == "postrider_"+string(door) && (!c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure || c.Path != home || len(c.Value) != 43 || c.MaxAge != 0) {
					t.Errorf("%+v", c)
				}
			}
			var p Person
			if err := json.Unmarshal([]byte(b.get("/messages").body), &p); err != nil {
				t.Fatal(err)
			}
			is := h.person(door)
			if p.Kind != door || p.ID != is.ID || p.PasswordID != is.PasswordID || p.SessionID == (message.ID{}) || p.Email != is.Email || p.Name != "Ada" || p.Role != is.Role ||
				p.Account != is.Account || p.AccountName != is.AccountName || !slices.Equal(p.Scopes, is.Scopes) || len(p.CSRF) != 64 {
				t.Errorf("%+v", p)
			}
			if door == snapshot.Portal && (p.AccountName != "Shop" || p.Role != "") || door == snapshot.Console && p.Role != snapshot.RoleAdmin {
				t.Errorf("%+v", p)
			}
			wantTo(t, b.get("/sign-in"), home)
			// A form of one's own, with the token in the field or in the header.
			want(t, b.post("/messages", map[string]string{csrfField: p.CSRF, "field": "value"}), 200, "posted value")
			want(t, b.post("/messages", map[string]string{csrfField: "", "field": "value"}, header(csrfHeader, p.CSRF)), 200, "posted value")
			// Signing out ends the session for whoever has its token.
			kept := b.session()
			b.get("/profile")
			wantTo(t, b.post("/sign-out", nil), home+"/sign-in?done=signed_out")
			if b.session() != "" {
				t.Error("the cookie is still there")
			}
			want(t, b.get("/sign-in?done=signed_out"), 200, "You are signed out.")
			want(t, b.get("/messages", header("Cookie", "postrider_"+string(door)+"="+kept)), 303, "")
			thing := map[snapshot.Door]string{snapshot.Console: "staff", snapshot.Portal: "portal_user"}[door]
			for _, action := range []string{"login", "login_failed", "logout"} {
				if n := h.count("select count(*) from audit_log where action = $1 and actor = $2 and target = $3 and address = '127.0.0.1'", thing+"."+action, is.Email, is.ID.String()); n != 1 {
					t.Errorf("%d lines of %s in the audit log", n, action)
				}
			}
		})
	}
}

// With TLS the cookies go over nothing else.
func TestCookiesOverTLS(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(g *Gate) { g.PublicURL = "https://gw.example" })
	b := h.browser(snapshot.Console)
	form := b.get("/sign-in").Cookies()
	if len(form) != 1 || form[0].Name != "__Secure-postrider_console_form" || !form[0].Secure || !form[0].HttpOnly || form[0].Path != "/console" {
		t.Fatalf("%+v", form)
	}
	// The browser of the tests has no TLS, so it sends the cookie by hand.
	in := b.post("/sign-in", map[string]string{"email": staffEmail, "password": password}, header("Cookie", form[0].Name+"="+form[0].Value))
	wantTo(t, in, "/console")
	if c := in.Cookies()[0]; c.Name != "__Secure-postrider_console" || !c.Secure || !c.HttpOnly {
		t.Errorf("%+v", c)
	}
}

// counting counts what takes time.
type counting struct {
	secret.Passwords
	mu     sync.Mutex
	checks int
}

func (c *counting) PasswordFits(hash, password string) bool {
	c.mu.Lock()
	c.checks++
	c.mu.Unlock()
	return c.Passwords.PasswordFits(hash, password)
}

// A wrong password, an address that nobody has, and somebody who may not sign in are
// answered alike, after the same work.
func TestFailedSignInsLookAlike(t *testing.T) {
	t.Parallel()
	for _, door := range both {
		t.Run(string(door), func(t *testing.T) {
			t.Parallel()
			c := &counting{Passwords: cheap}
			h := newHouse(t, func(g *Gate) { g.Passwords = c })
			var answers []string
			var checks []int
			try := func(email, with string) {
				b := h.browser(door)
				b.get("/sign-in")
				before := c.checks
				a := b.post("/sign-in", map[string]string{"email": email, "password": with})
				body := strings.ReplaceAll(strings.ReplaceAll(a.body, email, ""), b.token(), "")
				answers = append(answers, fmt.Sprint(a.StatusCode, a.Header.Values("Set-Cookie"), body))
				checks = append(checks, c.checks-before)
			}
			try(emailAt(door), "wrong horse battery")
			try("nobody@gw.example", password)
			h.exec("update staff set active = false")
			h.exec("update portal_users set active = false")
			try(emailAt(door), password)
			h.exec("update portal_users set active = true")
			h.exec("update accounts set status = 'suspended'")
			if door == snapshot.Portal {
				try(emailAt(door), password)
			}
			h.exec("update staff set active = true, password_hash = ''")
			h.exec("update accounts set status = 'active'")
			h.exec("update portal_users set password_hash = null")
			try(emailAt(door), password)
			for i := range answers {
				if answers[i] != answers[0] || checks[i] != checks[0] || checks[i] == 0 {
					t.Errorf("try %d: %d checks, %s\nthe first: %d checks, %s", i, checks[i], answers[i], checks[0], answers[0])
				}
			}
		})
	}
}

// A hash from before Argon2id lets its owner in, and is replaced; sessions go on.
func TestOlderHashesAreReplaced(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	old, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	first := h.in(snapshot.Console)
	h.exec("update staff set password_hash = $1", string(old))
	b := h.browser(snapshot.Console)
	want(t, b.signIn("wrong horse battery"), 401, wrongSignIn)
	if h.person(snapshot.Console).PasswordHash != string(old) {
		t.Error("a wrong password replaces the hash")
	}
	wantTo(t, b.signIn(password), "/console")
	if hash := h.person(snapshot.Console).PasswordHash; !strings.HasPrefix(hash, "$argon2id$") || !cheap.PasswordFits(hash, password) {
		t.Errorf("the hash is %s", hash)
	}
	if !first.live() || !b.live() {
		t.Error("the same password under another hash ends sessions")
	}
}

// Somebody with the same password in several accounts is asked which; with different ones
// the password says.
func TestSeveralAccounts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	hash, err := cheap.HashPassword(password)
	if err != nil {
		t.Fatal(err)
	}
	another, err := cheap.HashPassword(other)
	if err != nil {
		t.Fatal(err)
	}
	bakery, closed, mill := message.NewID(), message.NewID(), message.NewID()
	ids := map[string]message.ID{}
	for name, id := range map[string]message.ID{"Bakery": bakery, "Closed": closed, "Mill": mill} {
		h.account(id, name)
		with := hash
		if name == "Mill" {
			with = another
		}
		ids[name], _ = h.user(id, userEmail, with)
	}
	h.exec("update accounts set status = 'suspended' where id = $1", closed)

	b := h.browser(snapshot.Portal)
	wantTo(t, b.signIn(other), "/portal")
	want(t, b.get("/x"), 200, `"AccountName":"Mill"`)

	b = h.browser(snapshot.Portal)
	b.get("/sign-in")
	a := b.post("/sign-in", map[string]string{"email": userEmail, "password": password, "next": "/portal/x"})
	want(t, a, 200, "Bakery")
	if strings.Contains(a.body, "Mill") || strings.Contains(a.body, "Closed") || b.session() != "" {
		t.Errorf("it shows accounts that the password does not open, or has a session: %s", a.body)
	}
	sealed := hiddenField(t, a, "ticket")
	choose := func(b *browser, account message.ID, ticket string) answer {
		return b.post("/sign-in/account", map[string]string{"account": account.String(), "ticket": ticket, "email": userEmail, "next": "/portal/x"})
	}
	for name, account := range map[string]message.ID{"Mill": ids["Mill"], "Closed": ids["Closed"], "nobody": message.NewID()} {
		if a := choose(b, account, sealed); a.StatusCode != 422 || b.session() != "" {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
	if a := choose(b, ids["Bakery"], sealed[:len(sealed)-2]+"AA"); a.StatusCode != 403 {
		t.Errorf("a forged ticket: %d", a.StatusCode)
	}
	thief := h.browser(snapshot.Portal)
	thief.get("/sign-in")
	if a := choose(thief, ids["Bakery"], sealed); a.StatusCode != 403 {
		t.Errorf("a ticket of another browser: %d", a.StatusCode)
	}
	wantTo(t, choose(b, ids["Bakery"], sealed), "/portal/x")
	want(t, b.get("/x"), 200, `"AccountName":"Bakery"`)

	b = h.browser(snapshot.Portal)
	late := hiddenField(t, b.signIn(password), "ticket")
	h.clock.advance(ticketGood + time.Second)
	want(t, choose(b, ids["Bakery"], late), 403, "too long")
}

// hiddenField is the value of a hidden field of a page.
func hiddenField(t *testing.T, a answer, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(a.body, `name="`+name+`" value="`)
	value, _, end := strings.Cut(rest, `"`)
	if !ok || !end {
		t.Fatalf("no field %s in %s", name, a.body)
	}
	return value
}

// Wrong passwords hold an address up from where they came, in the whole as at the API.
func TestWrongPasswordsAreCounted(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser(snapshot.Console)
	for range limit.WrongPerMinute {
		want(t, b.signIn("wrong horse battery"), 401, wrongSignIn)
	}
	held := b.signIn(password)
	want(t, held, 429, "Too many wrong tries.")
	if held.Header.Get("Retry-After") != "60" || b.session() != "" {
		t.Errorf("Retry-After %s", held.Header.Get("Retry-After"))
	}
	// Under the keys that the token endpoint has.
	if _, held := limit.WrongPasswords(staffEmail, clientOf(&http.Request{RemoteAddr: "127.0.0.1:1"})).Held(h.gates[snapshot.Console].Limiter, h.clock.now()); !held {
		t.Error("the API does not know of it")
	}
	wantTo(t, b.signIn(password, header("X-Test-Client", "192.0.2.7")), "/console")
	late := h.browser(snapshot.Console)
	h.clock.advance(time.Minute)
	wantTo(t, late.signIn(password), "/console")

	// A place that fails too often is held up whomever it tries.
	h = newHouse(t, func(g *Gate) { g.FailedPerMinute = 3 })
	b = h.browser(snapshot.Portal)
	for i := range 3 {
		b.get("/sign-in")
		want(t, b.post("/sign-in", map[string]string{"email": fmt.Sprintf("eve%d@gw.example", i), "password": password}), 401, wrongSignIn)
	}
	want(t, b.signIn(password), 429, "Too many wrong tries.")
	want(t, b.get("/links/"+newToken()), 429, "Too many wrong tries.")
}

// slow holds passwords until it is told to go on.
type slow struct {
	secret.Passwords
	t       *testing.T
	turns   limit.Turns   // one of which is held meanwhile
	entered chan struct{} // an element for each that is being checked
	proceed chan struct{} // closed by the test
}

func (p *slow) PasswordFits(hash, password string) bool {
	if len(p.turns) == 0 {
		p.t.Error("a password is checked without a turn")
	}
	p.entered <- struct{}{}
	<-p.proceed
	return p.Passwords.PasswordFits(hash, password)
}

// Passwords take turns with those who check them elsewhere, and pages go on meanwhile.
func TestSignInsTakeTurns(t *testing.T) {
	t.Parallel()
	p := &slow{Passwords: cheap, t: t, entered: make(chan struct{}, 100), proceed: make(chan struct{})}
	h := newHouse(t, func(g *Gate) { g.Passwords, p.turns = p, g.Turns })
	most := cap(h.gates[snapshot.Console].Turns)
	var all sync.WaitGroup
	for range most + 3 {
		b := h.browser(snapshot.Console)
		b.get("/sign-in")
		all.Go(func() {
			wantTo(t, b.post("/sign-in", map[string]string{"email": staffEmail, "password": password}), "/console")
		})
	}
	for range most {
		<-p.entered
	}
	want(t, h.browser(snapshot.Console).get("/sign-in"), 200, "Sign in")
	if n := len(p.entered); n != 0 {
		t.Errorf("%d more are computed than may be", n)
	}
	close(p.proceed)
	all.Wait()
}
