package gate

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/migrations"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

var migrated = stacktest.NewTemplate(func(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = migrations.Apply(ctx, conn)
	if cerr := conn.Close(ctx); err == nil {
		err = cerr
	}
	return err
})

const (
	staffEmail = "ada@gw.example"
	userEmail  = "ada@shop.example"
	password   = "correct horse battery"
	other      = "staple the other battery"
)

// both are the doors, for tests that hold for each.
var both = []snapshot.Door{snapshot.Console, snapshot.Portal}

func emailAt(door snapshot.Door) string {
	if door == snapshot.Console {
		return staffEmail
	}
	return userEmail
}

// cheap takes no time.
var cheap = secret.Passwords{Cost: 4, Memory: 64, Passes: 1}

// clock is moved by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// syncBuffer is a log that several write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// mail is one that was sent.
type mail struct{ to, subject, text string }

// house is both doors on a real database, with one person for each, behind a real server.
type house struct {
	t     *testing.T
	ctx   context.Context
	db    *postgres.DB
	conn  *pgx.Conn // for looking
	keys  *secret.Keyring
	clock *clock
	log   *syncBuffer
	gates map[snapshot.Door]*Gate
	url   string
	shop  message.ID // the account of the portal's user

	mu    sync.Mutex
	mails []mail
}

func newHouse(t *testing.T, change func(*Gate)) *house {
	t.Helper()
	h := &house{t: t, ctx: stacktest.Context(t), clock: &clock{at: time.Now()}, log: &syncBuffer{}, gates: map[snapshot.Door]*Gate{}, shop: message.NewID()}
	var err error
	do := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h.keys, err = secret.ParseKeyring("test:" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef")))
	do()
	dsn := migrated.Database(t)
	c, err := pgx.ParseConfig(dsn)
	do()
	h.db, err = postgres.Open(h.ctx, postgres.Config{Host: c.Host, Port: int(c.Port), User: c.User, Password: c.Password, Database: c.Database, SSLMode: "disable", MaxConns: 6}, h.keys.Box(secret.Content))
	do()
	t.Cleanup(h.db.Close)
	h.conn, err = pgx.Connect(h.ctx, dsn)
	do()
	t.Cleanup(func() { _ = h.conn.Close(context.Background()) })

	hash, err := cheap.HashPassword(password)
	do()
	_, err = h.db.CreateStaff(h.ctx, message.Actor{}, snapshot.Staff{ID: message.NewID(), Email: staffEmail, Name: "Ada", Role: snapshot.RoleAdmin, PasswordHash: hash, Active: true})
	do()
	h.account(h.shop, "Shop")
	h.user(h.shop, userEmail, hash)

	mux := http.NewServeMux()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if from := r.Header.Get("X-Test-Client"); from != "" {
			r.RemoteAddr = from + ":1"
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	h.url = server.URL
	limiter, turns := limit.New(0), limit.NewTurns()
	for _, door := range both {
		g := &Gate{Door: door, FailedPerMinute: 1000, Keys: h.keys, Kit: page.New("/" + string(door)), Limiter: limiter, Turns: turns, Passwords: cheap, PublicURL: h.url, Store: h.db,
			Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: h.clock.now, Mail: h.mail}
		if change != nil {
			change(g)
		}
		h.gates[door] = g
		behind := g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewEncoder(w).Encode(PersonOf(r.Context()))
			if r.Method == http.MethodPost {
				_, _ = io.WriteString(w, "posted "+r.PostFormValue("field"))
			}
		}))
		mux.Handle("/"+string(door), behind)
		mux.Handle("/"+string(door)+"/", behind)
	}
	return h
}

func (h *house) account(id message.ID, name string) {
	h.t.Helper()
	if err := h.db.CreateAccount(h.ctx, message.Actor{}, snapshot.Account{ID: id, CompanyName: name, WebhookSecret: "whsec_x"}); err != nil {
		h.t.Fatal(err)
	}
}

// user adds one to an account, with a password; the hash empty: with an invitation, whose
// token is given.
func (h *house) user(account message.ID, email, hash string) (id message.ID, token string) {
	h.t.Helper()
	id = message.NewID()
	token, sum := NewLink(h.keys)
	if _, _, err := h.db.InvitePortalUser(h.ctx, message.Actor{}, snapshot.PortalUser{ID: id, AccountID: account, Email: email, Name: "Ada", Scopes: []string{"messages:read"}}, 10, sum, time.Hour, nil); err != nil {
		h.t.Fatal(err)
	}
	if hash != "" {
		if _, err := h.db.RedeemLink(h.ctx, message.Actor{}, snapshot.Portal, h.keys.Hasher().Hashes(token), hash); err != nil {
			h.t.Fatal(err)
		}
	}
	return id, token
}

func (h *house) mail(_ context.Context, to, subject, text string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mails = append(h.mails, mail{to, subject, text})
	return nil
}

func (h *house) sent() []mail {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]mail(nil), h.mails...)
}

func (h *house) exec(sql string, args ...any) {
	h.t.Helper()
	if _, err := h.conn.Exec(h.ctx, sql, args...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) count(sql string, args ...any) (n int) {
	h.t.Helper()
	if err := h.conn.QueryRow(h.ctx, sql, args...).Scan(&n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

func (h *house) person(door snapshot.Door) snapshot.Person {
	h.t.Helper()
	list, err := h.db.People(h.ctx, door, emailAt(door))
	if err != nil || len(list) == 0 {
		h.t.Fatal(err)
	}
	return list[0]
}

// browser is somebody at a door, with cookies of his own. It follows no redirect.
type browser struct {
	h      *house
	door   snapshot.Door
	client http.Client
	jar    *cookiejar.Jar
	last   answer // the last page that it has seen
}

func (h *house) browser(door snapshot.Door) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return &browser{h: h, door: door, jar: jar, client: http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

type answer struct {
	*http.Response
	body string
}

// to is where the answer leads.
func (a answer) to() string { return a.Header.Get("Location") }

type edit = func(*http.Request)

func header(name, value string) edit {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func (b *browser) do(r *http.Request, edits ...edit) answer {
	b.h.t.Helper()
	for _, e := range edits {
		e(r)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.h.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.h.t.Fatal(err)
	}
	a := answer{resp, string(body)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		b.last = a
	}
	return a
}

func (b *browser) at(path string) string { return b.h.url + "/" + string(b.door) + path }

func (b *browser) get(path string, edits ...edit) answer {
	b.h.t.Helper()
	r, err := http.NewRequestWithContext(b.h.ctx, http.MethodGet, b.at(path), nil)
	if err != nil {
		b.h.t.Fatal(err)
	}
	return b.do(r, edits...)
}

var tokenInForm = regexp.MustCompile(`name="csrf" value="([0-9a-f]*)"`)

// token is the one of the forms of the last page.
func (b *browser) token() string {
	m := tokenInForm.FindStringSubmatch(b.last.body)
	if m == nil {
		return ""
	}
	return m[1]
}

// post sends a form of the last page, with its token unless one is given. Fields are names
// and values.
func (b *browser) post(path string, fields map[string]string, edits ...edit) answer {
	b.h.t.Helper()
	q := url.Values{csrfField: {b.token()}}
	for name, value := range fields {
		q.Set(name, value)
	}
	r, err := http.NewRequestWithContext(b.h.ctx, http.MethodPost, b.at(path), strings.NewReader(q.Encode()))
	if err != nil {
		b.h.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(r, edits...)
}

func (b *browser) cookies() map[string]string {
	at, _ := url.Parse(b.at("/x"))
	out := map[string]string{}
	for _, c := range b.jar.Cookies(at) {
		out[c.Name] = c.Value
	}
	return out
}

// session is the token in the cookie.
func (b *browser) session() string { return b.cookies()["postrider_"+string(b.door)] }

func (b *browser) signIn(with string, edits ...edit) answer {
	b.h.t.Helper()
	b.get("/sign-in")
	return b.post("/sign-in", map[string]string{"email": emailAt(b.door), "password": with}, edits...)
}

// in is a browser in which somebody is signed in.
func (h *house) in(door snapshot.Door) *browser {
	h.t.Helper()
	b := h.browser(door)
	want(h.t, b.signIn(password), 303, "")
	return b
}

// want checks a status, and that the page says something.
func want(t *testing.T, a answer, status int, says string) {
	t.Helper()
	if text := html.UnescapeString(a.body); a.StatusCode != status || !strings.Contains(text, says) {
		t.Errorf("%s %s: %d, want %d and %q:\n%s", a.Request.Method, a.Request.URL.Path, a.StatusCode, status, says, a.body)
	}
}

// wantTo checks that the answer leads somewhere.
func wantTo(t *testing.T, a answer, path string) {
	t.Helper()
	if a.StatusCode != 303 || a.to() != path {
		t.Errorf("%s %s: %d to %q, want %q", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.to(), path)
	}
}

// live reports whether the browser gets behind the gate.
func (b *browser) live() bool {
	b.h.t.Helper()
	a := b.get("/messages")
	return a.StatusCode == 200 && strings.Contains(a.body, `"Email":"`+emailAt(b.door)+`"`)
}
