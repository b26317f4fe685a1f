// Package account is the pages of what one account has: its numbers, credentials, webhooks,
// users, opt-outs, registrations, usage and money. The portal shows them to the account's
// users, the console to staff on the account's behalf; both are made of operations of one
// shape, which stand at another path.
//
// A page is added in three steps: a method of visit in the file of its subject, a line in
// the map of pages of its group, and one in its links if it is not reached from another page.
package account

import (
	"net/url"
	"strings"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// Place is where the pages of an account stand, and what they are made of.
type Place struct {
	// Base begins the paths of the pages: "/portal", "/console/customers/{id}".
	Base string
	// API begins those of the operations: "/v1", "/api/v1/admin/customers/{id}".
	API string
	// Staff says that the reader is staff, who may read everything but texts.
	Staff bool
	// May reports whether the reader has a scope of the customers' API, or as staff the
	// role that what needs it takes. Pages offer by it; the API decides.
	May func(scope string) bool
	// Crumbs lead to the account; none in the portal.
	Crumbs []page.Link
	// Also are further pages of the account, of whoever has made the place.
	Also []page.Link
	// Note is what has to be known of the account on every page; nil: nothing.
	Note *page.Notice
}

// Sees reports whether the reader may read what a scope is needed for.
func (p Place) Sees(scope string) bool { return p.Staff || p.May(scope) }

// visit is a request for a page of an account.
type visit struct {
	*site.Visit
	Place
}

// May is the place's: of what a user or a role may do here.
func (v *visit) May(scope string) bool { return v.Place.May(scope) }

// show is a page, by method and path below the account's.
type show = func(*visit) (page.Page, error)

// Routes are the pages by the pattern of http.ServeMux, below base, which may hold
// wildcards; place says where a request is.
func Routes(base string, place func(*site.Visit) (Place, error)) map[string]func(*site.Visit) (page.Page, error) {
	out := map[string]func(*site.Visit) (page.Page, error){}
	for _, group := range []map[string]show{recordsPages(), webhookPages(), accessPages(), settingsPages()} {
		for pattern, show := range group {
			method, path, _ := strings.Cut(pattern, " ")
			out[method+" "+base+path] = func(v *site.Visit) (page.Page, error) {
				p, err := place(v)
				if err != nil {
					return page.Page{}, err
				}
				p.Enter(v)
				return show(&visit{Visit: v, Place: p})
			}
		}
	}
	return out
}

// Links lead to the pages of a place that its reader may read: in the portal they are its
// navigation, at a customer in the console the tabs below its name.
func Links(p Place) []page.NavGroup {
	return []page.NavGroup{
		{Title: "Numbers", Links: numbersLinks(p)},
		{Title: "Usage", Links: usageLinks(p)},
		{Title: "Webhooks", Links: webhookLinks(p)},
		{Title: "Access", Links: accessLinks(p)},
		{Title: "Account", Links: settingsLinks(p)},
	}
}

// link is one of a group, for who may read what the scope is needed for.
type link struct{ text, path, scope string }

func (p Place) links(list ...link) []page.Link {
	var out []page.Link
	for _, l := range list {
		if p.Sees(l.scope) {
			out = append(out, page.Link{Text: l.text, Href: p.Base + l.path})
		}
	}
	return out
}

// tabs are the links in one row, of which the one that a path lies under is current.
func (p Place) tabs(path string) page.Tabs {
	t := page.Tabs{Label: "Of this customer", Items: []page.Link{{Text: "Overview", Href: p.Base, Current: path == p.Base}}}
	for _, g := range append(Links(p), page.NavGroup{Links: p.Also}) {
		for _, l := range g.Links {
			l.Current = path == l.Href || strings.HasPrefix(path, l.Href+"/")
			t.Items = append(t.Items, l)
		}
	}
	return t
}

// page adds the way back to a page. list is the page that this one was reached from, if it is not one
// of the links.
func (v *visit) page(p page.Page, list ...page.Link) page.Page {
	here := p.Title
	p.Crumbs = nil
	if len(v.Crumbs) > 0 || len(list) > 0 {
		p.Crumbs = append(append(append(p.Crumbs, v.Crumbs...), list...), page.Link{Text: here})
	}
	return p
}

// Enter has every page that answers the request begin with what has to be known of the
// account, and for staff with the tabs.
func (p Place) Enter(v *site.Visit) {
	v.Around = func(around *page.Page) {
		var first []page.Block
		if p.Note != nil {
			first = append(first, *p.Note)
		}
		if p.Staff {
			first = append(first, p.tabs(v.R.URL.Path))
		}
		around.Body = append(first, around.Body...)
	}
}

// at is a path of the account's pages, op one of its operations.
func (v *visit) at(path string) string { return v.Base + path }
func (v *visit) op(path string) string { return v.API + path }

// id is the part of the path called id, as it stands in others.
func (v *visit) id() string { return url.PathEscape(v.Param("id")) }

// readOnly says who may change what a page shows, for who may not.
func (v *visit) readOnly(scope string) []page.Block {
	switch {
	case v.May(scope):
		return nil
	case v.Staff:
		return []page.Block{page.Notice{Text: "You can read this. Operators change it; your role is " + string(v.Person.Role) + "."}}
	}
	return []page.Block{page.Notice{Text: "You can read this. Whoever has the permission “" + ScopeWords(scope) + "” changes it; who lets users in can give it to you."}}
}

// offer is a form for who may send it, and for others who may.
func (v *visit) offer(scope string, f *page.Form) []page.Block {
	if !v.May(scope) {
		return v.readOnly(scope)
	}
	return []page.Block{f}
}

// change holds the form that changes what a page shows. It stands open once it was refused.
func change(help string, f, edited *page.Form) page.Block {
	d := page.Disclosure{Summary: "Change it…", Open: edited != nil, Body: []page.Block{f}}
	if help != "" {
		d.Body = []page.Block{page.Text(help), f}
	}
	return d
}

// shown is where a secret is shown, once: it is the answer to what made it. Nil is what is
// answered to a form that was sent twice.
func (v *visit) shown(title, label string, secret *string, back string, more ...page.Block) (page.Page, error) {
	p := page.Page{Title: title, Actions: []page.Action{{Text: "I have kept it", Href: back, Main: true}}}
	if secret == nil {
		p.Body = []page.Block{page.Notice{Tone: page.Warn, Title: "It was shown before", Text: "This form was sent twice. What was made was made once, and its secret was shown the first time. If it is lost, make a new one."}}
		return v.page(p), nil
	}
	p.Body = append([]page.Block{
		page.Notice{Tone: page.Good, Title: "Done", Text: "Copy this now: it is shown this once, and cannot be read again by anybody."},
		page.Code{Label: label, Text: *secret, Secret: true},
	}, more...)
	return v.page(p), nil
}

// listCell joins a list for a cell; what stands for none of them.
func listCell(list []string, none string) page.Cell {
	if len(list) == 0 {
		return page.Str(none)
	}
	return page.Str(strings.Join(list, ", "))
}

// or is the text behind a pointer, or what stands for none.
func or(s *string, none string) string {
	if s == nil || *s == "" {
		return none
	}
	return *s
}
