package gate

import (
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// guarded are the paths that nobody sees without a session: pages of the gate and what is
// behind it.
var guarded = []string{"", "/", "/messages", "/messages/1?x=y", "/profile", "/profile/factor", "/assetsx", "/sign-in/x", "/signin", "/portal", "/console"}

// Every page opens to a live session alone.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	for _, door := range both {
		t.Run(string(door), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			name := "postrider_" + string(door)
			no := func(what string, b *browser, edits ...edit) {
				t.Helper()
				for _, path := range guarded {
					a := b.get(path, edits...)
					if a.StatusCode != 303 || !strings.HasPrefix(a.to(), "/"+string(door)+"/sign-in") || strings.Contains(a.body, emailAt(door)) {
						t.Errorf("%s: %s: %d to %q", what, path, a.StatusCode, a.to())
					}
				}
				for _, path := range []string{"/messages", "/profile/name", "/profile/password", "/profile/factor", "/profile/factor/confirm", "/profile/factor/off", "/profile/sessions/end", "/profile/sessions/end-others", "/sign-out"} {
					a := b.post(path, map[string]string{"name": "Mallory"}, edits...)
					if a.StatusCode != 303 || !strings.HasPrefix(a.to(), "/"+string(door)+"/sign-in") {
						t.Errorf("%s: POST %s: %d to %q", what, path, a.StatusCode, a.to())
					}
				}
			}
			no("no session", h.browser(door))
			no("forged", h.browser(door), header("Cookie", name+"="+newToken()))
			no("no token", h.browser(door), header("Cookie", name+"=x%00"))
			away := map[snapshot.Door]snapshot.Door{snapshot.Console: snapshot.Portal, snapshot.Portal: snapshot.Console}[door]
			no("the other door's cookie", h.browser(door), header("Cookie", name+"="+h.in(away).session()))
			restore := map[string]string{"deactivated": "update staff set active = true; update portal_users set active = true"}
			for what, sql := range map[string]string{
				"expired":          "update web_sessions set expires_at = now()",
				"idle":             "update web_sessions set seen_at = seen_at - interval '2 hours'",
				"password changed": "update staff set password_id = gen_random_uuid(); update portal_users set password_id = gen_random_uuid()",
				"deactivated":      "update staff set active = false; update portal_users set active = false",
				"ended":            "delete from web_sessions",
			} {
				b := h.in(door)
				for _, path := range []string{"", "/messages", "/profile"} {
					if a := b.get(path); a.StatusCode != 200 {
						t.Fatalf("a live session: %s: %d", path, a.StatusCode)
					}
				}
				for statement := range strings.SplitSeq(sql, ";") {
					h.exec(statement)
				}
				no(what, b)
				if b.session() != "" {
					t.Errorf("%s: the cookie is kept", what)
				}
				for statement := range strings.SplitSeq(restore[what], ";") {
					h.exec(statement)
				}
			}
			if door == snapshot.Portal {
				b := h.in(door)
				h.exec("update accounts set status = 'suspended'")
				no("account suspended", b)
			}
		})
	}
}

// A session that waits for the second factor opens the page of the code, and no other.
func TestWaitingOpensNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	shared, _ := h.withFactor(snapshot.Console)
	b := h.browser(snapshot.Console)
	wantTo(t, b.signIn(password), "/console/sign-in/code")
	for _, path := range guarded {
		if a := b.get(path); a.StatusCode != 303 || !strings.HasPrefix(a.to(), "/console/sign-in/code") {
			t.Errorf("%s: %d to %q", path, a.StatusCode, a.to())
		}
	}
	page := b.get("/sign-in/code")
	if strings.Contains(page.body, staffEmail) || strings.Contains(page.body, "/profile") {
		t.Error("the page of the code shows what is behind it")
	}
	for _, path := range []string{"/messages", "/profile/factor/off", "/profile/password", "/profile/sessions/end-others"} {
		if a := b.post(path, map[string]string{"off_password": password}); a.StatusCode != 303 || !strings.HasPrefix(a.to(), "/console/sign-in/code") {
			t.Errorf("POST %s: %d to %q", path, a.StatusCode, a.to())
		}
	}
	if a := b.get("/messages", header("HX-Request", "true")); a.StatusCode != 401 || !strings.HasPrefix(a.Header.Get("HX-Redirect"), "/console/sign-in/code") {
		t.Errorf("a fragment: %d", a.StatusCode)
	}
	b.get("/sign-in/code")
	wantTo(t, b.post("/sign-in/code", map[string]string{"code": secret.TOTPCode(shared, h.nextStep())}), "/console")
}

// The token of a session is another one after each step up, so one that somebody planted
// or saw before opens nothing.
func TestFixation(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	planted := newToken()
	b := h.browser(snapshot.Portal)
	b.get("/sign-in")
	at, _ := url.Parse(b.at("/"))
	b.jar.SetCookies(at, []*http.Cookie{{Name: "postrider_portal", Value: planted, Path: "/portal"}})
	wantTo(t, b.post("/sign-in", map[string]string{"email": userEmail, "password": password}), "/portal")
	if b.session() == planted || !b.live() {
		t.Error("the session has the token that was there before")
	}
	if a := h.browser(snapshot.Portal).get("/x", header("Cookie", "postrider_portal="+planted)); a.StatusCode != 303 {
		t.Errorf("the planted token: %d", a.StatusCode)
	}
	shared, _ := h.withFactor(snapshot.Portal)
	b = h.browser(snapshot.Portal)
	b.signIn(password)
	waiting := b.session()
	b.get("/sign-in/code")
	wantTo(t, b.post("/sign-in/code", map[string]string{"code": secret.TOTPCode(shared, h.nextStep())}), "/portal")
	if b.session() == waiting || !b.live() {
		t.Error("the token is the one from before the second factor")
	}
	for _, path := range []string{"/x", "/sign-in/code"} {
		if a := h.browser(snapshot.Portal).get(path, header("Cookie", "postrider_portal="+waiting)); a.StatusCode != 303 || strings.HasSuffix(a.to(), "/portal") {
			t.Errorf("the token from before the second factor: %s: %d to %q", path, a.StatusCode, a.to())
		}
	}
	// Nor does the token from before another password.
	b.get("/profile")
	was := b.session()
	wantTo(t, b.post("/profile/password", map[string]string{"present": password, "password": other, "again": other}), "/portal/profile?done=password")
	if a := h.browser(snapshot.Portal).get("/x", header("Cookie", "postrider_portal="+was)); b.session() == was || !b.live() || a.StatusCode != 303 {
		t.Errorf("the token from before the password: %d", a.StatusCode)
	}
}

// posts are all forms, with what they would do.
var posts = []string{"/messages", "/profile/name", "/profile/password", "/profile/factor", "/profile/factor/confirm", "/profile/factor/off", "/profile/sessions/end", "/profile/sessions/end-others", "/sign-out"}

// Nothing is done that was not asked for on a page of ours, in this browser.
func TestForms(t *testing.T) {
	t.Parallel()
	for _, door := range both {
		t.Run(string(door), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			b, stranger := h.in(door), h.in(door)
			stranger.get("/profile")
			theirs := stranger.token()
			b.get("/profile")
			ours := b.token()
			before := h.browser(door)
			before.get("/sign-in")
			for _, path := range posts {
				// None, a wrong one, no hex, another session's, one from before the sign-in, a half.
				for _, token := range []string{"", strings.Repeat("0", 64), "zz", theirs, before.token(), ours[:32]} {
					want(t, b.post(path, map[string]string{csrfField: token, "name": "Mallory"}), 403, errStale.text)
					want(t, b.post(path, map[string]string{csrfField: "", "name": "Mallory"}, header(csrfHeader, token)), 403, errStale.text)
				}
				for what, e := range map[string][]edit{
					"cross-site": {header("Sec-Fetch-Site", "cross-site")}, "same-site": {header("Sec-Fetch-Site", "same-site")},
					"foreign origin": {header("Origin", "https://evil.example")}, "no origin": {header("Origin", "null")},
				} {
					if a := b.post(path, map[string]string{csrfField: ours, "name": "Mallory"}, e...); a.StatusCode != 403 {
						t.Errorf("%s: %s: %d", path, what, a.StatusCode)
					}
				}
			}
			for _, e := range [][]edit{{header("Sec-Fetch-Site", "cross-site")}, {header("Origin", "https://evil.example")}} {
				for _, path := range []string{"/sign-in", "/sign-in/code", "/sign-in/account", "/forgot", "/links/" + newToken()} {
					if a := before.post(path, map[string]string{"email": emailAt(door), "password": password}, e...); a.StatusCode != 403 {
						t.Errorf("%s: %d", path, a.StatusCode)
					}
				}
			}
			for what, token := range map[string]string{"missing": "", "wrong": strings.Repeat("0", 64), "of somebody signed in": ours} {
				if a := before.post("/sign-in", map[string]string{csrfField: token, "email": emailAt(door), "password": password}); a.StatusCode != 403 || before.session() != "" {
					t.Errorf("the sign-in with a token that is %s: %d", what, a.StatusCode)
				}
			}
			if name := h.person(door).Name; name != "Ada" || !b.live() || !stranger.live() {
				t.Errorf("something was done: %s", name)
			}
			// From here it is done.
			wantTo(t, b.post("/profile/name", map[string]string{csrfField: ours, "name": "Ada L."}, header("Origin", h.url), header("Sec-Fetch-Site", "same-origin")), "/"+string(door)+"/profile?done=name")
			if name := h.person(door).Name; name != "Ada L." {
				t.Errorf("the name is %s", name)
			}
			for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch} {
				if a := b.get("/messages", func(r *http.Request) { r.Method = method }); a.StatusCode != 403 {
					t.Errorf("%s: %d", method, a.StatusCode)
				}
				if a := b.get("/profile", func(r *http.Request) { r.Method = method }, header(csrfHeader, ours)); a.StatusCode != 405 {
					t.Errorf("%s of the profile: %d", method, a.StatusCode)
				}
			}
		})
	}
}

// A form with a file reaches what is behind the gate, with the file.
func TestUploads(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.in(snapshot.Portal)
	b.get("/profile")
	for token, status := range map[string]int{b.token(): 200, "": 403} {
		var body strings.Builder
		w := multipart.NewWriter(&body)
		_ = w.WriteField(csrfField, token)
		_ = w.WriteField("field", "value")
		part, _ := w.CreateFormFile("file", "a.csv")
		_, _ = part.Write([]byte("+12025550143\n"))
		_ = w.Close()
		r, err := http.NewRequestWithContext(h.ctx, http.MethodPost, b.at("/upload"), strings.NewReader(body.String()))
		if err != nil {
			t.Fatal(err)
		}
		if a := b.do(r, header("Content-Type", w.FormDataContentType())); a.StatusCode != status || status == 200 && !strings.Contains(a.body, "posted value") {
			t.Errorf("%d, want %d: %s", a.StatusCode, status, a.body)
		}
	}
	// Who is not signed in sends no files.
	anonymous := h.browser(snapshot.Portal)
	anonymous.get("/sign-in")
	for _, path := range []string{"/sign-in", "/forgot"} {
		if a := anonymous.post(path, nil, header("Content-Type", "multipart/form-data; boundary=x")); a.StatusCode != 403 {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
	b.get("/profile")
	if a := b.post("/messages", map[string]string{"field": strings.Repeat("x", maxForm)}); a.StatusCode != 400 {
		t.Errorf("a form that is too large: %d", a.StatusCode)
	}
}

// Nobody is led elsewhere by a link to the sign-in.
func TestOpenRedirects(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	g := h.gates[snapshot.Console]
	for next, want := range map[string]string{
		"/console": "/console", "/console/": "/console", "/console/messages": "/console/messages", "/console/messages?a=b&c=%2F": "/console/messages?a=b&c=%2F",
		"/console/a%20b": "/console/a%20b",
		"":               "/console", "/": "/console", "/portal": "/console", "/consolex": "/console", "console/x": "/console", "messages": "/console",
		"//evil.example": "/console", "//evil.example/console": "/console", "///evil.example": "/console", "/\\evil.example": "/console", "\\\\evil.example": "/console",
		"https://evil.example/console": "/console", "HTTPS:/console/x": "/console", "javascript:alert(1)": "/console", "/console/../portal": "/console",
		"/console/../../evil": "/console", "/console/..//evil.example": "/console", "/console/%2e%2e/portal": "/console", "/console//evil.example": "/console",
		"/console\r\nLocation: x": "/console", "/console/\tx": "/console", "/console/\x00": "/console", "/console@evil.example": "/console", "//user@console/x": "/console",
		"/console/sign-out": "/console", "/console/sign-in": "/console", "/console/links/x": "/console", "/console/sign-in/code": "/console", "%2Fconsole%2Fx": "/console",
		"/console/" + strings.Repeat("x", 2000): "/console",
	} {
		if got := g.safeNext(next); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
	for _, next := range []string{"https://evil.example/", "//evil.example", "/portal/x"} {
		b := h.browser(snapshot.Console)
		if a := b.get("/sign-in?next=" + url.QueryEscape(next)); strings.Contains(a.body, "evil") || strings.Contains(a.body, "/portal") {
			t.Errorf("%s stands in the form", next)
		}
		wantTo(t, b.post("/sign-in", map[string]string{"email": staffEmail, "password": password, "next": next}), "/console")
		wantTo(t, b.get("/sign-in?next="+url.QueryEscape(next)), "/console")
	}
}

// A script that wants a part of a page is told to load the sign-in as a whole.
func TestFragments(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser(snapshot.Console)
	for current, want := range map[string]string{
		h.url + "/console/messages?page=2": "/console/sign-in?next=%2Fconsole%2Fmessages%3Fpage%3D2",
		"https://evil.example/x":           "/console/sign-in", "": "/console/sign-in", "%zz": "/console/sign-in",
	} {
		a := b.get("/messages/rows", header("HX-Request", "true"), header("HX-Current-URL", current))
		if got := a.Header.Get("HX-Redirect"); a.StatusCode != 401 || got != want || a.to() != "" {
			t.Errorf("from %q: %d to %q, want %q", current, a.StatusCode, got, want)
		}
	}
	b = h.in(snapshot.Console)
	if a := b.get("/messages/rows", header("HX-Request", "true")); a.StatusCode != 200 {
		t.Errorf("%d", a.StatusCode)
	}
	b.get("/profile")
	if a := b.post("/profile/name", map[string]string{"name": "A"}, header("HX-Request", "true")); a.StatusCode != 200 || a.Header.Get("HX-Redirect") != "/console/profile?done=name" {
		t.Errorf("%d to %q", a.StatusCode, a.Header.Get("HX-Redirect"))
	}
}

// The token rotates under somebody who works, and nobody is signed out by it.
func TestTokensRotate(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.in(snapshot.Portal)
	b.get("/profile")
	was, form := b.session(), b.token()
	h.exec("update web_sessions set rotated_at = now() - interval '16 minutes'")
	if !b.live() || b.session() == was {
		t.Error("the token stays")
	}
	// A request that was under way, and a form that was open before.
	if a := h.browser(snapshot.Portal).get("/x", header("Cookie", "postrider_portal="+was)); a.StatusCode != 200 || len(a.Cookies()) != 0 {
		t.Errorf("%d", a.StatusCode)
	}
	want(t, b.post("/messages", map[string]string{csrfField: form}), 200, "posted")
	h.exec("update web_sessions set token_used_at = now() - interval '2 minutes'")
	if a := h.browser(snapshot.Portal).get("/x", header("Cookie", "postrider_portal="+was)); a.StatusCode != 303 {
		t.Errorf("the token from before: %d", a.StatusCode)
	}
	if !b.live() {
		t.Error("the newer token")
	}
}

// Somebody sees where he is signed in, and ends it.
func TestSessionsOfOneself(t *testing.T) {
	t.Parallel()
	for _, door := range both {
		h := newHouse(t, nil)
		here, there, third := h.browser(door), h.in(door), h.in(door)
		wantTo(t, here.signIn(password, header("User-Agent", "<b>Lynx</b>")), "/"+string(door))
		page := here.get("/profile")
		want(t, page, 200, "<b>Lynx</b>")
		if strings.Contains(page.body, "<b>Lynx") || strings.Count(page.body, `name="session"`) != 2 {
			t.Errorf("%s", page.body)
		}
		var p Person
		if err := json.Unmarshal([]byte(there.get("/x").body), &p); err != nil {
			t.Fatal(err)
		}
		wantTo(t, here.post("/profile/sessions/end", map[string]string{"session": p.SessionID.String()}), "/"+string(door)+"/profile?done=session")
		if there.live() || !third.live() || !here.live() {
			t.Error("not the one, or more than the one was ended")
		}
		here.get("/profile")
		wantTo(t, here.post("/profile/sessions/end", map[string]string{"session": message.NewID().String()}), "/"+string(door)+"/profile?done=session")
		want(t, here.post("/profile/sessions/end", map[string]string{"session": "x"}), 400, "")
		here.get("/profile")
		wantTo(t, here.post("/profile/sessions/end-others", nil), "/"+string(door)+"/profile?done=sessions")
		if third.live() || !here.live() {
			t.Error("the others are not ended, or this one is")
		}
	}
}

// Somebody changes what is his, and nothing else.
func TestProfile(t *testing.T) {
	t.Parallel()
	for _, door := range both {
		h := newHouse(t, nil)
		b, elsewhere := h.in(door), h.in(door)
		at := "/" + string(door) + "/profile"
		want(t, b.get("/profile"), 200, emailAt(door))
		for _, name := range []string{strings.Repeat("x", maxName+1), "a\nb", "a\x00"} {
			want(t, b.post("/profile/name", map[string]string{"name": name}), 422, "Use one line")
		}
		wantTo(t, b.post("/profile/name", map[string]string{"name": " Ada Lovelace ", "role": "admin", "email": "x@y.example"}), at+"?done=name")
		want(t, b.get("/profile?done=name"), 200, "Your name was changed.")
		want(t, b.get("/profile?done=%3Cscript%3E"), 200, "Ada Lovelace")
		if strings.Contains(b.last.body, "script>") && strings.Contains(b.last.body, "<script>") {
			t.Error("the query is shown")
		}
		for _, c := range []struct{ present, password, again, says string }{
			{password, "short", "short", "Use 12 characters or more."}, {password, strings.Repeat("x", 73), "", "Use 72 characters or fewer."},
			{password, strings.Repeat("x", 12), strings.Repeat("x", 12), "too easy"}, {password, other, other + "x", "not the same"},
			{"", other, other, "Give your present password."}, {"wrong horse battery", other, other, "This is not your password."},
		} {
			want(t, b.post("/profile/password", map[string]string{"present": c.present, "password": c.password, "again": c.again}), 422, c.says)
			if strings.Contains(b.last.body, c.password) && c.password != "" {
				t.Errorf("the page holds the password %q", c.password)
			}
		}
		if !elsewhere.live() {
			t.Error("a try ends sessions")
		}
		wantTo(t, b.post("/profile/password", map[string]string{"present": password, "password": other, "again": other}), at+"?done=password")
		if !b.live() || elsewhere.live() {
			t.Error("the session of the change ends, or the others do not")
		}
		want(t, h.browser(door).signIn(password), 401, wrongSignIn)
		wantTo(t, h.browser(door).signIn(other), "/"+string(door))
		// Whoever sits at an open browser does not guess the password there.
		b.get("/profile")
		for range 5 {
			b.post("/profile/password", map[string]string{"present": "wrong horse battery", "password": password, "again": password})
		}
		want(t, b.post("/profile/password", map[string]string{"present": other, "password": password, "again": password}), 429, "Too many wrong tries.")
	}
}

// Nothing that lets somebody in is in the log or the audit log, whatever happens.
func TestSecretsStayOutOfTheLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	var secrets []string
	for _, door := range both {
		shared, codes := h.withFactor(door)
		b := h.browser(door)
		b.signIn("wrong horse battery")
		b.signIn(password)
		secrets = append(secrets, b.session())
		b.get("/sign-in/code")
		b.post("/sign-in/code", map[string]string{"code": "000000"})
		code := secret.TOTPCode(shared, h.nextStep())
		b.post("/sign-in/code", map[string]string{"code": code})
		secrets = append(secrets, b.session(), shared.Reveal(), codes[0], codes[1])
		b.get("/forgot")
		b.post("/forgot", map[string]string{"email": emailAt(door)})
		for _, m := range h.sent() {
			secrets = append(secrets, tokenIn(t, m.text))
		}
		h.db.Close() // from here on everything fails, and is logged
		b.get("/x")
		b.signIn(password)
		b.get("/links/" + secrets[len(secrets)-1])
		if door == snapshot.Console {
			h.reopen()
		}
	}
	log := h.log.String()
	if !strings.Contains(log, "level=ERROR") {
		t.Error("nothing was logged")
	}
	for _, s := range append(secrets, password, "wrong horse battery", staffEmail, userEmail) {
		if s == "" || strings.Contains(log, s) {
			t.Errorf("the log holds %q:\n%s", s, log)
		}
		for _, table := range []string{"audit_log", "staff", "portal_users", "web_sessions", "second_factors", "sign_in_links"} {
			if !strings.Contains(s, "@") && h.count("select count(*) from "+table+" t where t::text like '%' || $1 || '%'", s) != 0 {
				t.Errorf("%s holds %q", table, s)
			}
		}
	}
	for _, a := range h.auditActions() {
		if !strings.HasPrefix(a, "staff.") && !strings.HasPrefix(a, "portal_user.") && a != "account.create" {
			t.Errorf("action %s", a)
		}
	}
	if broken, err := h.verify(); err != nil || broken != 0 {
		t.Errorf("line %d of the audit log does not follow: %v", broken, err)
	}
}

// When the database is away a page says so, and who is signed in stays so.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.in(snapshot.Console)
	was := b.session()
	h.db.Close()
	want(t, b.get("/messages"), 503, "Please try again")
	if b.session() != was {
		t.Error("the cookie is gone")
	}
	anonymous := h.browser(snapshot.Console)
	want(t, anonymous.signIn(password), 503, "Please try again")
}

// Answers are not kept, framed or sniffed, and the pages have no inline script.
func TestHeaders(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.in(snapshot.Console)
	for _, a := range []answer{b.get("/profile"), b.get("/x"), h.browser(snapshot.Console).get("/sign-in"), h.browser(snapshot.Console).get("/x"), b.get("/links/x")} {
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff"} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", a.Request.URL.Path, name, got)
			}
		}
		if !strings.Contains(a.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %q", a.Request.URL.Path, a.Header.Get("Content-Security-Policy"))
		}
	}
	style := fmt.Sprint(h.gates[snapshot.Console].Kit.AssetPath("style.css"))
	if a := h.browser(snapshot.Console).get(strings.TrimPrefix(style, "/console")); a.StatusCode != 200 || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("the style sheet: %d", a.StatusCode)
	}
}
