// Package account is the pages of what one account has: its numbers, credentials, webhooks,
// users, opt-outs, registrations, usage and money. The portal shows them to the account's
// users, the console to staff on the account's behalf; both are made of operations of one
// shape, which stand at another path.
//
// A page is added in three steps: a method of visit in the file of its subject, a line in
// pages, and one in Links if it is not reached from another page.
package account

import (
	"maps"
	"slices"
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
	// May reports whether the reader has a scope of the customers' API, or as staff the
	// role that what needs it takes. Pages offer by it; the API decides.
	May func(scope string) bool
	// Crumbs lead to the account; none in the portal.
	Crumbs []page.Link
}

// visit is a request for a page of an account.
type visit struct {
	*site.Visit
	Place
}

// Routes are the pages by the pattern of http.ServeMux, below base, which may hold
// wildcards; place says where a request is.
func Routes(base string, place func(*site.Visit) (Place, error)) map[string]func(*site.Visit) (page.Page, error) {
	out := map[string]func(*site.Visit) (page.Page, error){}
	for pattern, show := range merged(pages, recordsPages) {
		method, path, _ := strings.Cut(pattern, " ")
		out[method+" "+base+path] = func(v *site.Visit) (page.Page, error) {
			p, err := place(v)
			if err != nil {
				return page.Page{}, err
			}
			return show(&visit{Visit: v, Place: p})
		}
	}
	return out
}

// pages by method and path below the account's.
var pages = map[string]func(*visit) (page.Page, error){}

// Links lead to the pages of a place: in the portal they are its navigation, at a customer
// in the console the tabs below its name.
func Links(p Place) []page.Link {
	return slices.Concat(recordsLinks(p))
}

func merged(parts ...map[string]func(*visit) (page.Page, error)) map[string]func(*visit) (page.Page, error) {
	whole := map[string]func(*visit) (page.Page, error){}
	for _, p := range parts {
		maps.Copy(whole, p)
	}
	return whole
}

// at is a path of the account's pages, op one of its operations.
func (v *visit) at(path string) string { return v.Base + path }
func (v *visit) op(path string) string { return v.API + path }
