package gate

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// Store keeps those who sign in, with their sessions, second factors and links.
// *postgres.DB is one, whose methods say what they refuse.
type Store interface {
	People(ctx context.Context, door snapshot.Door, email string) ([]snapshot.Person, error)
	SignInFailed(ctx context.Context, by message.Actor, p snapshot.Person, what string) error

	OpenWebSession(ctx context.Context, by message.Actor, s snapshot.NewWebSession) error
	WebSession(ctx context.Context, door snapshot.Door, hashes [][]byte, next []byte) (s snapshot.WebSession, rotated bool, err error)
	PassWebSession(ctx context.Context, by message.Actor, p snapshot.Person, id message.ID, next []byte, how string) error
	WebSessions(ctx context.Context, p snapshot.Person) ([]snapshot.WebSession, error)
	EndWebSession(ctx context.Context, by message.Actor, p snapshot.Person, id message.ID) error
	EndWebSessions(ctx context.Context, by message.Actor, p snapshot.Person, except message.ID) error

	RehashPassword(ctx context.Context, p snapshot.Person, to string) error
	ChangePassword(ctx context.Context, by message.Actor, p snapshot.Person, hash string, session message.ID, next []byte) error
	OfferReset(ctx context.Context, by message.Actor, p snapshot.Person, token []byte, good time.Duration) error
	Link(ctx context.Context, door snapshot.Door, hashes [][]byte) (snapshot.Person, snapshot.LinkPurpose, error)
	RedeemLink(ctx context.Context, by message.Actor, door snapshot.Door, hashes [][]byte, passwordHash string) (snapshot.Person, error)

	FactorStore
	ProposeSecondFactor(ctx context.Context, p snapshot.Person, sealed []byte) error
	ConfirmSecondFactor(ctx context.Context, by message.Actor, p snapshot.Person, session message.ID, sealed []byte, step int64, recovery [][]byte) error
	RemoveSecondFactor(ctx context.Context, by message.Actor, door snapshot.Door, person message.ID) error

	ChangeStaff(ctx context.Context, by message.Actor, id message.ID, c snapshot.StaffChange) (snapshot.StaffMember, error)
	ChangePortalUser(ctx context.Context, by message.Actor, account, id message.ID, change func(*snapshot.PortalUser) error) (snapshot.PortalUser, error)
}

// Passwords makes and checks slow hashes of what people choose; secret.Passwords is one.
type Passwords interface {
	HashPassword(password string) (string, error)
	PasswordFits(hash, password string) bool
	Stale(hash string) bool
}

// DefaultFailedPerMinute is how many wrong credentials a place may send in a minute, as at
// the REST edge.
const DefaultFailedPerMinute = 20

// DefaultPublicURL is where browsers reach a gateway that says nothing else.
const DefaultPublicURL = "http://localhost:8080"

// answerTimeout is how long the store may take for one request, and how long a password
// waits for its turn.
const answerTimeout = 20 * time.Second

// Gate is a door. Set the fields, then call Handler; a field that is changed afterwards
// has no effect. The fields without a default must be set. Safe for concurrent use.
type Gate struct {
	// Background runs what nobody waits for, such as notes of failed sign-ins and e-mails
	// with links, so that the time of an answer does not show whether there was something
	// to do. What it was and its error are for the log. Nil: it is run at once, which is
	// for tests.
	Background func(what string, do func(ctx context.Context) error)
	// Door is whose pages these are: under /console or /portal.
	Door snapshot.Door
	// FailedPerMinute is as that of rest.Server. Zero: DefaultFailedPerMinute.
	FailedPerMinute int
	// Frame is what surrounds the pages of those who are signed in: the navigation of the
	// door. Nil: a frame without one.
	Frame func(Person) page.Frame
	// Keys seal and hash what lets somebody in.
	Keys *secret.Keyring
	// Kit draws the pages; its assets are served here, too, since the sign-in needs them.
	Kit *page.Kit
	// Limiter counts wrong passwords: the one of rest.Server, so that they count together.
	Limiter limit.Counter
	// Log gets what goes wrong. Nil: nothing is logged.
	Log *slog.Logger
	// Mail sends somebody an e-mail. Nil: none can be sent, and the page that would says
	// so.
	Mail func(ctx context.Context, to, subject, text string) error
	// Now is the clock of codes and limits; sessions go by the database's. Nil: time.Now.
	Now func() time.Time
	// Passwords of Console must know hashes from before Argon2id, since staff had some.
	Passwords Passwords
	// Foreign reports whether a path is that of scripts which are not ours and know no token
	// of forms: what their pages send is told from other origins' by the browser's word
	// alone. Nil: none is.
	Foreign func(path string) bool
	// PublicURL is where browsers reach the pages, without a slash at the end. With https
	// the cookies go over TLS only. Empty: DefaultPublicURL.
	PublicURL string
	// Store keeps everything.
	Store Store
	// Turns bound the passwords that are checked at a time: those of rest.Server. Nil:
	// ones of its own.
	Turns limit.Turns

	once    sync.Once
	hasher  *secret.Hasher // of tokens of sessions and of forms
	links   *secret.Hasher // of links, as the REST edge makes them
	box     *secret.Box    // of tickets
	factors *Factors
	cross   *http.CrossOriginProtection
	secure  bool
}

func (g *Gate) build() {
	g.hasher, g.links, g.box = g.Keys.HasherOf(secret.SignIn), g.Keys.Hasher(), g.Keys.Box(secret.SignIn)
	g.factors = NewFactors(g.Store, g.Keys)
	g.PublicURL = strings.TrimSuffix(cmp.Or(g.PublicURL, DefaultPublicURL), "/")
	g.FailedPerMinute = cmp.Or(g.FailedPerMinute, DefaultFailedPerMinute)
	if g.Log == nil {
		g.Log = slog.New(slog.DiscardHandler)
	}
	if g.Now == nil {
		g.Now = time.Now
	}
	if g.Turns == nil {
		g.Turns = limit.NewTurns()
	}
	if g.Background == nil {
		g.Background = func(what string, do func(context.Context) error) {
			if err := do(context.Background()); err != nil {
				g.Log.Warn("not done", "what", what, "error", err)
			}
		}
	}
	g.cross = http.NewCrossOriginProtection()
	if u, err := url.Parse(g.PublicURL); err == nil && u.Host != "" {
		g.secure = u.Scheme == "https"
		// A proxy may give us another Host than the browser has asked for.
		if err := g.cross.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			g.Log.Error("the public URL has no origin", "error", err)
		}
	}
}

// prefix is what all paths of the door begin with.
func (g *Gate) prefix() string { return "/" + string(g.Door) }

// Handler serves what belongs to signing in, and lets everything else below the prefix
// through to next, for those who are signed in. RemoteAddr of a request must be the
// client's address, also behind a proxy.
func (g *Gate) Handler(next http.Handler) http.Handler {
	g.once.Do(g.build)
	assets := g.Kit.Assets()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, g.prefix()+"/assets/") {
			assets.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
		defer cancel()
		v := &visit{gate: g, w: w, r: r, ctx: ctx, client: clientOf(r)}
		page.Secure(w.Header())
		// The server would not find the files of a form that was read from a copy of its
		// request, as those behind other handlers are.
		defer func() {
			if v.r.MultipartForm != nil {
				_ = v.r.MultipartForm.RemoveAll() // they are in the system's folder for such files
			}
		}()
		if err := v.serve(next); err != nil {
			v.fail(err)
		}
	})
}

// clientOf is the address that a request comes from.
func clientOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}

// visit is one request.
type visit struct {
	gate    *Gate
	w       http.ResponseWriter
	r       *http.Request
	ctx     context.Context // bounds the store, not what is behind the gate
	client  netip.Addr
	session snapshot.WebSession
	in      bool   // there is a session
	pre     string // of forms before the sign-in
}

// serve answers the request. An error is shown by fail.
func (v *visit) serve(next http.Handler) error {
	if err := v.gate.cross.Check(v.r); err != nil {
		return errForeign
	}
	if err := v.load(); err != nil {
		return err
	}
	path, below := strings.CutPrefix(v.r.URL.Path, v.gate.prefix())
	if !below || path != "" && path[0] != '/' {
		return errNoPage
	}
	if page := v.open(path); page != nil {
		return page()
	}
	switch {
	case !v.in:
		return v.toSignIn()
	case v.session.Waiting:
		return v.leave(http.StatusUnauthorized, v.at("/sign-in/code", "next", v.here()))
	}
	if foreign := v.gate.Foreign; foreign == nil || !foreign(v.r.URL.Path) {
		if err := v.checkForm(maxForm); err != nil {
			return err
		}
	}
	if page := v.own(path); page != nil {
		return page()
	}
	next.ServeHTTP(v.w, v.r.WithContext(context.WithValue(v.r.Context(), personKey{}, v.person())))
	return nil
}

// open finds the pages for those who are not signed in, and the one for those who are on
// their way; nil for any other path.
func (v *visit) open(path string) func() error {
	token, link := strings.CutPrefix(path, "/links/")
	if !link && v.gate.Door == snapshot.Portal {
		token, link = strings.CutPrefix(path, "/invitations/")
	}
	if link {
		return v.methods(func() error { return v.linkPage(token) }, func() error { return v.useLink(token) })
	}
	switch path {
	case "/sign-in":
		return v.methods(v.signInPage, v.signIn)
	case "/sign-in/account":
		return v.methods(nil, v.chooseAccount)
	case "/sign-in/code":
		return v.methods(v.codePage, v.giveCode)
	case "/sign-out":
		return v.methods(nil, v.signOut)
	case "/forgot":
		return v.methods(v.forgotPage, v.forgot)
	}
	return nil
}

// methods gives the page of the request's method; nil: it has none.
func (v *visit) methods(get, post func() error) func() error {
	switch v.r.Method {
	case http.MethodGet, http.MethodHead:
		if get != nil {
			return get
		}
	case http.MethodPost:
		if post != nil {
			return post
		}
	}
	return func() error { return errMethod }
}

// Person is who makes a request.
type Person struct {
	Kind        snapshot.Door // Console: staff; Portal: a user of an account
	ID          message.ID
	PasswordID  message.ID // another one with each password
	SessionID   message.ID
	Email       string
	Name        string        // may be empty
	Role        snapshot.Role // of staff
	Account     message.ID    // of users of the portal, as the next two
	AccountName string
	Scopes      []string
	CSRF        string // the token that forms carry
}

type personKey struct{}

// PersonOf finds who makes a request that a Gate has let through; the zero Person without
// one.
func PersonOf(ctx context.Context) Person {
	p, _ := ctx.Value(personKey{}).(Person)
	return p
}

func (v *visit) person() Person {
	p := v.session.Person
	return Person{Kind: p.Door, ID: p.ID, PasswordID: p.PasswordID, SessionID: v.session.ID, Email: p.Email, Name: p.Name, Role: p.Role,
		Account: p.Account, AccountName: p.AccountName, Scopes: p.Scopes, CSRF: v.csrf()}
}

// by is the person of the session in the audit log.
func (v *visit) by() message.Actor { return v.session.Person.Actor(v.client.String()) }
