// Package site is what the console and the portal have in common behind their gates: a
// request with whoever has signed in, the operations of the APIs on their behalf, errors
// as pages, forms that send an operation and come back with what is wrong, lists with
// filters and pages, and streams of server-sent events.
//
// A page is a function that gets a Visit and gives a page.Page:
//
//	func (o *office) vendor(v *site.Visit) (page.Page, error) {
//		var vendor vendorView
//		if err := v.Get("/api/v1/admin/vendors/"+v.ID(), nil, &vendor); err != nil {
//			return page.Page{}, err
//		}
//		return page.Page{Title: vendor.Name, Body: …}, nil
//	}
//
// An error that the API gave becomes a page that says so; whether somebody may see or do
// something is decided there alone. May tells pages what to offer.
package site

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/gate"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/internal/snapshot"
)

// Site is the pages of one door. All fields must be set.
type Site struct {
	Kit *page.Kit
	API *call.API
	Log *slog.Logger
	// Prefix begins all paths: "/console" or "/portal".
	Prefix string
	// Frame is what surrounds the pages of somebody.
	Frame func(gate.Person) page.Frame
	// Closing is closed when the process stops serving: streams end then.
	Closing func() <-chan struct{}
	// Secure says that browsers come by https, so that cookies go no other way.
	Secure bool
}

// Visit is one request of somebody who has signed in.
type Visit struct {
	*Site
	W      http.ResponseWriter
	R      *http.Request
	Person gate.Person
	// Around, if set, adds to every page that answers the request, errors among them.
	Around func(*page.Page)
	// answered: the page function has answered the request itself.
	answered bool
}

// Page makes a handler of a page.
func (s *Site) Page(show func(*Visit) (page.Page, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &Visit{Site: s, W: w, R: r, Person: gate.PersonOf(r.Context())}
		p, err := show(v)
		switch {
		case v.answered:
		case err != nil:
			v.fail(err)
		default:
			v.Show(http.StatusOK, p)
		}
	}
}

// Show answers with a page, above which stands what was just done.
func (v *Visit) Show(status int, p page.Page) {
	v.answered = true
	if p.Flash == nil {
		p.Flash = v.takeFlash()
	}
	if v.Around != nil {
		v.Around(&p)
	}
	if err := v.Kit.Render(v.W, v.R, status, v.Frame(v.Person), p); err != nil {
		v.Log.Error("page not drawn", "path", v.R.Pattern, "error", err)
	}
}

// Answered says that the page function has written the answer itself.
func (v *Visit) Answered() (page.Page, error) {
	v.answered = true
	return page.Page{}, nil
}

// fail answers with a page that says what went wrong.
func (v *Visit) fail(err error) {
	if v.R.Context().Err() != nil {
		return // nobody reads it
	}
	var p *call.Problem
	if !errors.As(err, &p) {
		v.Log.Error("page failed", "path", v.R.Pattern, "error", err)
		p = &call.Problem{Status: http.StatusInternalServerError, Code: "internal", Detail: "The gateway could not do this. What was wrong is in its log."}
	}
	v.Show(p.Status, problemPage(v.Prefix, p))
}

// titles are what pages of errors are called.
var titles = map[int]string{
	http.StatusUnauthorized: "Your session has ended", http.StatusForbidden: "Your role does not allow this", http.StatusNotFound: "There is no such thing",
	http.StatusConflict: "This cannot be done now", http.StatusPreconditionFailed: "Somebody changed it meanwhile", http.StatusTooManyRequests: "Too many requests",
	http.StatusServiceUnavailable: "The gateway cannot do this now", http.StatusInternalServerError: "Something went wrong",
}

func problemPage(prefix string, p *call.Problem) page.Page {
	title := titles[p.Status]
	if title == "" {
		title = "This was not done"
	}
	n := page.Notice{Tone: page.Bad, Text: p.Detail, Link: page.Link{Text: "Go to the first page", Href: prefix}}
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		n.Lines = append(n.Lines, "Nothing was lost. Try again in a moment.")
	}
	for _, f := range p.Errors {
		n.Lines = append(n.Lines, strings.TrimSpace(f.Location+" "+f.Message))
	}
	if p.RequestID != "" {
		n.Lines = append(n.Lines, "Request "+p.RequestID+", as the log names it.")
	}
	return page.Page{Title: title, Body: []page.Block{n}}
}

// Missing is the page where there is none.
func (v *Visit) Missing() (page.Page, error) {
	v.Show(http.StatusNotFound, problemPage(v.Prefix, &call.Problem{Status: http.StatusNotFound, Detail: "There is no page at this address. It may be misspelt, or what it showed is gone."}))
	return v.Answered()
}

// Param is a part of the path.
func (v *Visit) Param(name string) string { return v.R.PathValue(name) }

// ID is the part of the path called id, as it can stand in another one.
func (v *Visit) ID() string { return url.PathEscape(v.R.PathValue("id")) }

// At is a path of the site.
func (v *Visit) At(path string) string { return v.Prefix + path }

// Get reads a resource of an API.
func (v *Visit) Get(path string, query url.Values, out any) error {
	return v.API.Get(v.R.Context(), path, query, out)
}

// Do makes a request of an API.
func (v *Visit) Do(q call.Request) (*call.Answer, error) { return v.API.Do(v.R.Context(), q) }

// May reports whether the person has one of the roles; admin has them all. Pages offer by
// it; what is done is decided by the API.
func (v *Visit) May(roles ...snapshot.Role) bool {
	return v.Person.Role == snapshot.RoleAdmin || slices.Contains(roles, v.Person.Role)
}

// Has reports whether the person, a user of an account, has a scope.
func (v *Visit) Has(scope string) bool { return slices.Contains(v.Person.Scopes, scope) }

// Redirect leads on with a GET.
func (v *Visit) Redirect(to string) (page.Page, error) {
	v.answered = true
	http.Redirect(v.W, v.R, to, http.StatusSeeOther)
	return page.Page{}, nil
}

// Done leads on, where text says what was done.
func (v *Visit) Done(to, text string) (page.Page, error) {
	return v.DoneWith(to, page.Notice{Tone: page.Good, Text: text})
}

// DoneWith is Done with a notice.
func (v *Visit) DoneWith(to string, n page.Notice) (page.Page, error) {
	v.putFlash(n)
	return v.Redirect(to)
}

// flash is the cookie in which a notice goes to the next page.
const flash = "postrider_said"

// maxFlash bounds a notice, so that a cookie can hold it.
const maxFlash = 2000

func (v *Visit) putFlash(n page.Notice) {
	text, err := json.Marshal(n)
	if err != nil || len(text) > maxFlash {
		return // it is a convenience
	}
	http.SetCookie(v.W, &http.Cookie{Name: flash, Value: base64.RawURLEncoding.EncodeToString(text), Path: v.Prefix, MaxAge: 60, HttpOnly: true, Secure: v.Secure, SameSite: http.SameSiteLaxMode})
}

func (v *Visit) takeFlash() *page.Notice {
	c, err := v.R.Cookie(flash)
	if err != nil || len(c.Value) > 2*maxFlash {
		return nil
	}
	http.SetCookie(v.W, &http.Cookie{Name: flash, Path: v.Prefix, MaxAge: -1, HttpOnly: true, Secure: v.Secure, SameSite: http.SameSiteLaxMode})
	text, err := base64.RawURLEncoding.DecodeString(c.Value)
	var n page.Notice
	if err != nil || json.Unmarshal(text, &n) != nil {
		return nil
	}
	n.Link = page.Link{} // a cookie that somebody else could set leads nowhere
	return &n
}
