// Package office is the console: the pages where staff run the gateway. Every page is made
// of the internal API's operations, so that roles, refusals and the audit log are theirs;
// a page offers what the role of its reader may do, and the API decides.
//
// A page is added in three steps: a method in the file of its subject, a line in routes,
// and a link in nav if it is not reached from another page.
package office

import (
	"cmp"
	"maps"
	"net/http"

	"github.com/postrider/postrider/edges/console/gate"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

const (
	// Prefix begins the console's paths, api those of the operations that it is made of.
	Prefix = "/console"
	api    = "/api/v1/admin"
)

// office has the pages as methods.
type office struct{ site *site.Site }

// Handler serves the console's pages to those whom the gate has let through.
func Handler(s *site.Site) http.Handler {
	o := &office{site: s}
	mux := http.NewServeMux()
	for pattern, show := range o.routes() {
		mux.Handle(pattern, s.Page(show))
	}
	mux.Handle(Prefix+"/", s.Page(func(v *site.Visit) (page.Page, error) { return v.Missing() }))
	return mux
}

// routes are the pages by the pattern of http.ServeMux.
func (o *office) routes() map[string]func(*site.Visit) (page.Page, error) {
	routes := map[string]func(*site.Visit) (page.Page, error){
		"GET /console":               o.overview,
		"GET /console/overview/live": o.overviewLive,
		"GET /console/messages":      o.messages,

		"GET /console/messages/{id}":           o.message,
		"GET /console/messages/{id}/live":      o.messageLive,
		"POST /console/messages/{id}/{action}": o.act,
	}
	maps.Copy(routes, o.trafficRoutes())
	maps.Copy(routes, o.customerRoutes())
	maps.Copy(routes, o.deskRoutes())
	maps.Copy(routes, o.redriveRoutes())
	return routes
}

// nav is the way to the pages; each link leads to one that every role may read, but those
// of admins.
func nav(p gate.Person) []page.NavGroup {
	groups := []page.NavGroup{
		{Links: []page.Link{{Text: "Overview", Href: "/console"}, {Text: "Messages", Href: "/console/messages"}, {Text: "Re-drives", Href: "/console/redrives"}}},
		customerNav,
		trafficNav(),
	}
	return append(groups, deskNav(p)...)
}

// Frame surrounds the pages of a member of staff.
func Frame(p gate.Person) page.Frame {
	return page.Frame{Product: "Console", Home: Prefix, Nav: nav(p), Who: cmp.Or(p.Name, p.Email), Role: string(p.Role),
		Profile: Prefix + "/profile", SignOut: Prefix + "/sign-out", CSRF: p.CSRF, Search: Prefix + "/messages"}
}
