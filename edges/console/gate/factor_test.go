package gate

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// nextStep moves the clock to the next step of time, so that a code is one that was not
// taken yet.
func (h *house) nextStep() time.Time {
	h.clock.advance(30 * time.Second)
	return h.clock.now()
}

var keyInPage = regexp.MustCompile(`<code>([A-Z2-7]{32})</code>`)

// withFactor turns the second factor of a door's person on, as he would.
func (h *house) withFactor(door snapshot.Door) (shared secret.String, codes []string) {
	h.t.Helper()
	b := h.in(door)
	b.get("/profile")
	wantTo(h.t, b.post("/profile/factor", map[string]string{"factor_password": password}), "/"+string(door)+"/profile/factor")
	m := keyInPage.FindStringSubmatch(b.get("/profile/factor").body)
	if m == nil {
		h.t.Fatalf("no key in %s", b.last.body)
	}
	shared = secret.Conceal(m[1])
	done := b.post("/profile/factor/confirm", map[string]string{"code": secret.TOTPCode(shared, h.nextStep())})
	want(h.t, done, 200, "Recovery codes")
	_, list, _ := strings.Cut(done.body, "<code>")
	list, _, _ = strings.Cut(list, "</code>")
	codes = strings.Fields(list)
	if len(codes) != 10 {
		h.t.Fatalf("%d recovery codes in %s", len(codes), done.body)
	}
	return shared, codes
}

func TestSecondFactor(t *testing.T) {
	t.Parallel()
	for _, door := range both {
		t.Run(string(door), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			home := "/" + string(door)
			elsewhere := h.in(door)
			shared, codes := h.withFactor(door)
			if elsewhere.live() {
				t.Error("who signed in without the second factor is in still")
			}
			b := h.browser(door)
			ask := func() {
				t.Helper()
				b = h.browser(door)
				wantTo(t, b.signIn(password), home+"/sign-in/code")
				want(t, b.get("/sign-in/code"), 200, "Second factor")
			}
			give := func(code string) answer {
				return b.post("/sign-in/code", map[string]string{"code": code, "next": home + "/x"})
			}
			ask()
			// The code with which it was turned on was taken.
			want(t, give(secret.TOTPCode(shared, h.clock.now())), 401, "The code is wrong")
			code := secret.TOTPCode(shared, h.nextStep())
			wantTo(t, give(code), home+"/x")
			if !b.live() {
				t.Error("the right code opens nothing")
			}
			if p := b.get("/profile"); !strings.Contains(p.body, ">10<") {
				t.Errorf("recovery codes: %s", p.body)
			}
			// Nobody who has seen a code uses it again.
			ask()
			want(t, give(code), 401, "The code is wrong")
			wantTo(t, give(secret.TOTPCode(shared, h.nextStep())), home+"/x")
			// A recovery code, once.
			ask()
			wantTo(t, give(strings.ToUpper(codes[3])), home+"/x")
			ask()
			want(t, give(codes[3]), 401, "The code is wrong")
			wantTo(t, give(codes[4]), home+"/x")
			// Somebody else's are of no use.
			if door == snapshot.Console {
				_, theirs := h.withFactor(snapshot.Portal)
				ask()
				want(t, give(theirs[0]), 401, "The code is wrong")
			}
			// Off again, with the password.
			b = h.browser(door)
			b.signIn(password)
			b.get("/sign-in/code")
			wantTo(t, b.post("/sign-in/code", map[string]string{"code": secret.TOTPCode(shared, h.nextStep())}), home)
			b.get("/profile")
			want(t, b.post("/profile/factor/off", map[string]string{"off_password": "wrong horse battery"}), 422, "This is not your password.")
			want(t, b.post("/profile/factor/off", nil), 422, "Give your present password.")
			wantTo(t, b.post("/profile/factor", map[string]string{"factor_password": password}), home+"/profile")
			wantTo(t, b.post("/profile/factor/off", map[string]string{"off_password": password}), home+"/profile?done=factor_off")
			wantTo(t, h.browser(door).signIn(password), home)
			thing := map[snapshot.Door]string{snapshot.Console: "staff", snapshot.Portal: "portal_user"}[door]
			for _, action := range []string{"factor_add", "factor_remove"} {
				if n := h.count("select count(*) from audit_log where action = $1", thing+"."+action); n != 1 {
					t.Errorf("%d lines of %s", n, action)
				}
			}
			if n := h.count("select count(*) from audit_log where action = $1 and after->>'second_factor' = 'recovery_code'", thing+".login"); n != 2 {
				t.Errorf("%d sign-ins with a recovery code", n)
			}
		})
	}
}

// It is in force when a code was right, not before, and the password is asked for.
func TestTurningTheSecondFactorOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.in(snapshot.Console)
	b.get("/profile")
	want(t, b.post("/profile/factor", map[string]string{"factor_password": "wrong horse battery"}), 422, "This is not your password.")
	wantTo(t, b.get("/profile/factor"), "/console/profile")
	b.get("/profile")
	wantTo(t, b.post("/profile/factor/confirm", map[string]string{"code": "123456"}), "/console/profile")
	wantTo(t, b.post("/profile/factor", map[string]string{"factor_password": password}), "/console/profile/factor")
	page := b.get("/profile/factor")
	want(t, page, 200, "QR code")
	shared := secret.Conceal(keyInPage.FindStringSubmatch(page.body)[1])
	want(t, b.post("/profile/factor/confirm", map[string]string{"code": "000000"}), 422, "The code is wrong")
	wantTo(t, h.browser(snapshot.Console).signIn(password), "/console") // it is not asked for yet
	want(t, b.post("/profile/factor/confirm", map[string]string{"code": secret.TOTPCode(shared, h.clock.now())}), 200, "Recovery codes")
	wantTo(t, h.browser(snapshot.Console).signIn(password), "/console/sign-in/code")
	wantTo(t, b.get("/profile/factor"), "/console/profile")
	if !b.live() {
		t.Error("who has turned it on is signed out")
	}
}

// late is a store in which others take what has just been read.
type late struct{ FactorStore }

func (late) TakeStep(context.Context, message.ID, int64) (bool, error)        { return false, nil }
func (late) TakeRecovery(context.Context, message.ID, [][]byte) (bool, error) { return false, nil }

// Of two that give one code at one moment, the store says whose it is.
func TestCodesAreTakenOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	shared, codes := h.withFactor(snapshot.Console)
	id, now := h.person(snapshot.Console).ID, h.nextStep()
	for _, code := range []string{secret.TOTPCode(shared, now), codes[0]} {
		if ok, err := NewFactors(late{h.db}, h.keys).Check(h.ctx, id, code, now); ok || err != nil {
			t.Errorf("taken by another, and let in: %v", err)
		}
		if ok, err := NewFactors(h.db, h.keys).Check(h.ctx, id, code, now); !ok || err != nil {
			t.Errorf("not taken: %v", err)
		}
		if ok, err := NewFactors(h.db, h.keys).Check(h.ctx, id, code, now); ok || err != nil {
			t.Errorf("taken twice: %v", err)
		}
	}
	// Who has none gives none; a proposed one is none.
	other := h.person(snapshot.Portal)
	for range 2 {
		if ok, err := NewFactors(h.db, h.keys).Check(h.ctx, other.ID, "", now); !ok || err != nil {
			t.Errorf("who has no second factor is asked for one: %v", err)
		}
		if err := h.db.ProposeSecondFactor(h.ctx, other, []byte("sealed")); err != nil {
			t.Fatal(err)
		}
	}
}

// Codes are not guessed, wherever the tries come from.
func TestWrongCodesAreCounted(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	shared, _ := h.withFactor(snapshot.Console)
	b := h.browser(snapshot.Console)
	b.signIn(password)
	b.get("/sign-in/code")
	for i := range limit.WrongCodesPerMinute {
		want(t, b.post("/sign-in/code", map[string]string{"code": "000000"}, header("X-Test-Client", "192.0.2."+string(rune('1'+i)))), 401, "The code is wrong")
	}
	held := b.post("/sign-in/code", map[string]string{"code": secret.TOTPCode(shared, h.nextStep())})
	want(t, held, 429, "Too many wrong tries.")
	// The step was not taken, and there is one after a while.
	h.clock.advance(time.Minute)
	wantTo(t, b.post("/sign-in/code", map[string]string{"code": secret.TOTPCode(shared, h.clock.now())}), "/console")
	if n := h.count("select count(*) from audit_log where action = 'staff.login_failed' and after->>'wrong' = 'code'"); n != limit.WrongCodesPerMinute {
		t.Errorf("%d lines of wrong codes", n)
	}
}

// Who waits may give up.
func TestStartingOver(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.withFactor(snapshot.Portal)
	b := h.browser(snapshot.Portal)
	b.signIn(password)
	b.get("/sign-in/code")
	wantTo(t, b.post("/sign-out", nil), "/portal/sign-in?done=signed_out")
	wantTo(t, b.get("/sign-in/code"), "/portal/sign-in")
	if b.session() != "" {
		t.Error("the session is still there")
	}
}

// A drawn code has its modules and a quiet zone, and is well-formed.
func TestQR(t *testing.T) {
	svg, err := qrSVG(secret.TOTPURL(secret.NewTOTPSecret(), "Postrider Console", staffEmail))
	if err != nil {
		t.Fatal(err)
	}
	text := string(svg)
	// The finder patterns' corners, behind a quiet zone of four modules.
	if !strings.Contains(text, `M4 4h1v1h-1z`) || strings.Contains(text, "M3 ") || !strings.Contains(text, `fill="#fff"`) || strings.Count(text, "M") < 300 {
		t.Error(text)
	}
	if _, err := qrSVG(secret.Conceal(strings.Repeat("topsecret", 1000))); err == nil || strings.Contains(err.Error(), "topsecret") {
		t.Errorf("%v", err)
	}
}

// reopen connects the store again after it was closed.
func (h *house) reopen() {
	h.t.Helper()
	c := h.conn.Config()
	db, err := postgres.Open(h.ctx, postgres.Config{Host: c.Host, Port: int(c.Port), User: c.User, Password: c.Password, Database: c.Database, SSLMode: "disable", MaxConns: 6}, h.keys.Box(secret.Content))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(db.Close)
	h.db = db
	for _, g := range h.gates {
		g.Store, g.factors = db, NewFactors(db, h.keys)
	}
}

func (h *house) auditActions() (list []string) {
	rows, err := h.conn.Query(h.ctx, "select distinct action from audit_log")
	if err != nil {
		h.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var a string
		if err := rows.Scan(&a); err != nil {
			h.t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

// verify follows the hashes of the audit log.
func (h *house) verify() (int64, error) {
	h.reopen()
	return h.db.VerifyAudit(context.WithoutCancel(h.ctx))
}
