// Package own is the portal: the pages where the users of an account help themselves. Every
// page is made of the operations of the customers' API, in the user's name and with the
// user's scopes: a page offers what they allow, and the API decides.
//
// A page is added as in package office.
package own

import (
	"cmp"
	"maps"
	"net/http"
	"slices"

	"github.com/postrider/postrider/edges/console/account"
	"github.com/postrider/postrider/edges/console/gate"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

const (
	// Prefix begins the portal's paths, api those of the operations that it is made of.
	Prefix = "/portal"
	api    = "/v1"
)

// own has the pages as methods.
type own struct{ site *site.Site }

// Handler serves the portal's pages to those whom the gate has let through.
func Handler(s *site.Site) http.Handler {
	o := &own{site: s}
	mux := http.NewServeMux()
	for pattern, show := range o.routes() {
		mux.Handle(pattern, s.Page(show))
	}
	mux.Handle(Prefix+"/", s.Page(func(v *site.Visit) (page.Page, error) { return v.Missing() }))
	return mux
}

func (o *own) routes() map[string]func(*site.Visit) (page.Page, error) {
	routes := o.messagesRoutes()
	maps.Copy(routes, account.Routes(Prefix, func(v *site.Visit) (account.Place, error) { return place(v.Person), nil }))
	return routes
}

// place is the account of somebody.
func place(p gate.Person) account.Place {
	return account.Place{Base: Prefix, API: api, May: func(scope string) bool { return slices.Contains(p.Scopes, scope) }}
}

// nav is the way to the pages that somebody may read.
func nav(p gate.Person) []page.NavGroup {
	groups := []page.NavGroup{{Links: messagesLinks(p)}}
	for _, g := range account.Links(place(p)) {
		if len(g.Links) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// Frame surrounds the pages of a user.
func Frame(p gate.Person) page.Frame {
	return page.Frame{Product: "Portal", Home: Prefix, Nav: nav(p),
		Who: cmp.Or(p.Name, p.Email), Role: p.AccountName, Profile: Prefix + "/profile", SignOut: Prefix + "/sign-out", CSRF: p.CSRF}
}
