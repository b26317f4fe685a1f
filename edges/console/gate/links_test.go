package gate

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

var linkInText = regexp.MustCompile(`/(?:links|invitations)/([A-Za-z0-9_-]{43})`)

// tokenIn is the token of the link in an e-mail.
func tokenIn(t *testing.T, text string) string {
	t.Helper()
	m := linkInText.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no link in %q", text)
	}
	return m[1]
}

// chooses opens a link and chooses a password.
func (b *browser) chooses(link, password string) answer {
	b.h.t.Helper()
	want(b.h.t, b.get(link), 200, "Choose a password")
	return b.post(link, map[string]string{"password": password, "again": password})
}

// invite gives a link for somebody new at a door.
func (h *house) invite(door snapshot.Door) (link, email string) {
	h.t.Helper()
	email = "new@" + string(door) + ".example"
	if door == snapshot.Portal {
		_, token := h.user(h.shop, email, "")
		return "/invitations/" + token, email
	}
	token, hash := NewLink(h.keys)
	if _, err := h.db.InviteStaff(h.ctx, message.Actor{}, snapshot.Staff{ID: message.NewID(), Email: email, Role: snapshot.RoleViewer}, hash, InvitationGood); err != nil {
		h.t.Fatal(err)
	}
	return "/links/" + token, email
}

func TestInvitations(t *testing.T) {
	t.Parallel()
	for _, door := range both {
		t.Run(string(door), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			home := "/" + string(door)
			link, email := h.invite(door)
			in := func(b *browser, with string) answer {
				b.get("/sign-in")
				return b.post("/sign-in", map[string]string{"email": email, "password": with})
			}
			b := h.browser(door)
			for _, no := range []string{"", other} {
				if a := in(b, no); a.StatusCode == 303 {
					t.Errorf("who has not chosen a password is in with %q", no)
				}
			}
			// Whatever looks at links in mails uses nothing up.
			for range 3 {
				want(t, h.browser(door).get(link), 200, email)
			}
			want(t, b.get(link), 200, email)
			want(t, b.post(link, map[string]string{"password": "short", "again": "short"}), 422, "Use 12 characters or more.")
			want(t, b.post(link, map[string]string{"password": other, "again": "another one"}), 422, "not the same")
			want(t, b.post(link, map[string]string{csrfField: "", "password": other, "again": other}), 403, errStale.text)
			wantTo(t, b.chooses(link, other), home+"/sign-in?done=chosen")
			want(t, b.get("/sign-in?done=chosen"), 200, "Your password is set.")
			if b.session() != "" {
				t.Error("the link alone signs in")
			}
			wantTo(t, in(b, other), home)
			// Somebody else who was signed in here is not any more.
			shared := h.in(door)
			second, hash := NewLink(h.keys)
			people, err := h.db.People(h.ctx, door, email)
			if err == nil {
				err = h.db.OfferReset(h.ctx, message.Actor{}, people[0], hash, time.Hour)
			}
			if err != nil {
				t.Fatal(err)
			}
			kept := shared.session()
			wantTo(t, shared.chooses("/links/"+second, other), home+"/sign-in?done=chosen")
			if a := h.browser(door).get("/x", header("Cookie", "postrider_"+string(door)+"="+kept)); shared.session() != "" || a.StatusCode != 303 {
				t.Errorf("the session goes on: %d", a.StatusCode)
			}
			// It is good once.
			again := h.browser(door)
			want(t, again.get(link), 404, "This link does not work")
			again.get("/sign-in")
			want(t, again.post(link, map[string]string{"password": password, "again": password}), 404, "This link does not work")
			wantTo(t, in(h.browser(door), other), home)
		})
	}
}

func TestForgottenPasswords(t *testing.T) {
	t.Parallel()
	for _, door := range both {
		t.Run(string(door), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			open := h.in(door)
			b := h.browser(door)
			ask := func(email string) answer {
				b.get("/forgot")
				a := b.post("/forgot", map[string]string{"email": email})
				a.body = strings.ReplaceAll(a.body, b.token(), "")
				return a
			}
			known, unknown := ask(" "+strings.ToUpper(emailAt(door))), ask("nobody@gw.example")
			want(t, known, 200, "Look into your mailbox.")
			if known.body != unknown.body || known.StatusCode != unknown.StatusCode {
				t.Errorf("it shows who is known:\n%s\n%s", known.body, unknown.body)
			}
			sent := h.sent()
			if len(sent) != 1 || sent[0].to != emailAt(door) || strings.Contains(sent[0].subject, "http") {
				t.Fatalf("%+v", sent)
			}
			link := "/links/" + tokenIn(t, sent[0].text)
			if !strings.Contains(sent[0].text, h.url+"/"+string(door)+link) {
				t.Errorf("%s", sent[0].text)
			}
			// At the other door it is nothing.
			away := map[snapshot.Door]snapshot.Door{snapshot.Console: snapshot.Portal, snapshot.Portal: snapshot.Console}[door]
			want(t, h.browser(away).get(link), 404, "This link does not work")
			// A newer one takes its place.
			ask(emailAt(door))
			newer := "/links/" + tokenIn(t, h.sent()[1].text)
			want(t, b.get(link), 404, "This link does not work")
			if !open.live() {
				t.Error("asking for a link ends sessions")
			}
			wantTo(t, b.chooses(newer, other), "/"+string(door)+"/sign-in?done=chosen")
			if open.live() {
				t.Error("a session of the password before goes on")
			}
			want(t, b.get(newer), 404, "This link does not work")
			want(t, h.browser(door).signIn(password), 401, wrongSignIn)
			wantTo(t, h.browser(door).signIn(other), "/"+string(door))
			// One that is over opens nothing.
			ask(emailAt(door))
			h.exec("update sign_in_links set expires_at = now()")
			want(t, b.get("/links/"+tokenIn(t, h.sent()[2].text)), 404, "This link does not work")
			// Nobody's mailbox is filled, and nobody is told.
			want(t, ask(emailAt(door)), 200, "Look into your mailbox.")
			if n := len(h.sent()); n != resetsPerHour {
				t.Errorf("%d mails", n)
			}
			h.clock.advance(time.Hour)
			h.exec("update staff set active = false")
			h.exec("update accounts set status = 'suspended'")
			want(t, ask(emailAt(door)), 200, "Look into your mailbox.")
			if n := len(h.sent()); n != resetsPerHour {
				t.Error("somebody who may not sign in gets a link")
			}
			for range resetsFromPerHour {
				b.get("/forgot")
				b.post("/forgot", map[string]string{"email": "eve@gw.example"})
			}
			want(t, ask("bob@gw.example"), 429, "Too many")
			want(t, h.browser(door).get("/forgot"), 200, "E-mail address")
		})
	}
}

// A second factor is asked for after a new password, too.
func TestResetKeepsTheSecondFactor(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.withFactor(snapshot.Console)
	b := h.browser(snapshot.Console)
	b.get("/forgot")
	b.post("/forgot", map[string]string{"email": staffEmail})
	wantTo(t, b.chooses("/links/"+tokenIn(t, h.sent()[0].text), other), "/console/sign-in?done=chosen")
	wantTo(t, b.signIn(other), "/console/sign-in/code")
}

// Somebody in several accounts gets a link for each, in one e-mail.
func TestForgottenInSeveralAccounts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	bakery := message.NewID()
	h.account(bakery, "Bakery")
	h.user(bakery, userEmail, "$x")
	b := h.browser(snapshot.Portal)
	b.get("/forgot")
	b.post("/forgot", map[string]string{"email": userEmail})
	sent := h.sent()
	if len(sent) != 1 || !strings.Contains(sent[0].text, "Shop: http") || !strings.Contains(sent[0].text, "Bakery: http") {
		t.Fatalf("%+v", sent)
	}
	_, text, _ := strings.Cut(sent[0].text, "Bakery: ")
	wantTo(t, b.chooses("/links/"+tokenIn(t, text), other), "/portal/sign-in?done=chosen")
	b.get("/sign-in")
	wantTo(t, b.post("/sign-in", map[string]string{"email": userEmail, "password": other}), "/portal")
	want(t, b.get("/x"), 200, `"AccountName":"Bakery"`)
	wantTo(t, h.browser(snapshot.Portal).signIn(password), "/portal") // the other account's is as it was
}

// Without a relay nobody is told that something was sent.
func TestForgottenWithoutMail(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(g *Gate) { g.Mail = nil })
	b := h.browser(snapshot.Console)
	b.get("/forgot")
	want(t, b.post("/forgot", map[string]string{"email": staffEmail}), 503, "sends no e-mail")
}

// Links that are none count like wrong passwords.
func TestLinksAreNotGuessed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(g *Gate) { g.FailedPerMinute = 3 })
	b := h.browser(snapshot.Portal)
	for _, token := range []string{"", "x", newToken()} {
		want(t, b.get("/links/"+token), 404, "This link does not work")
	}
	link, _ := h.invite(snapshot.Portal)
	want(t, b.get(link), 429, "Too many")
	h.clock.advance(time.Minute)
	want(t, b.get(link), 200, "Choose a password")
}
