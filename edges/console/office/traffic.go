package office

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/snapshot"
)

// trafficRoutes are the pages of how messages go: vendors, routes, and who is connected.
func (o *office) trafficRoutes() map[string]func(*site.Visit) (page.Page, error) {
	return map[string]func(*site.Visit) (page.Page, error){
		"GET /console/vendors":                  o.vendors,
		"GET /console/vendors/live":             o.vendorsLive,
		"GET /console/vendors/new":              o.newVendor,
		"POST /console/vendors/new":             o.newVendor,
		"POST /console/vendors/reload":          o.reloadVendors,
		"GET /console/vendors/{id}":             o.vendor,
		"GET /console/vendors/{id}/live":        o.vendorLive,
		"GET /console/vendors/{id}/edit":        o.editVendor,
		"POST /console/vendors/{id}/edit":       o.editVendor,
		"POST /console/vendors/{id}/throughput": o.setThroughput,
		"POST /console/vendors/{id}/test":       o.testVendor,
		"POST /console/vendors/{id}/delete":     o.deleteVendor,
		"POST /console/vendors/{id}/{action}":   o.workVendor,

		"GET /console/routes":              o.routeList,
		"GET /console/routes/new":          o.newRoute,
		"POST /console/routes/new":         o.newRoute,
		"GET /console/routes/test":         o.testRoute,
		"POST /console/routes/test":        o.testRoute,
		"GET /console/routes/what-if":      o.whatIf,
		"POST /console/routes/what-if":     o.whatIf,
		"GET /console/routes/{id}":         o.editRoute,
		"POST /console/routes/{id}":        o.editRoute,
		"POST /console/routes/{id}/move":   o.moveRoute,
		"POST /console/routes/{id}/delete": o.deleteRoute,

		"GET /console/sessions":           o.sessions,
		"GET /console/sessions/live":      o.sessionsLive,
		"GET /console/sessions/{id}/end":  o.endSession,
		"POST /console/sessions/{id}/end": o.endSession,

		"GET /console/numbers":                   o.numbers,
		"GET /console/numbers/new":               o.newNumber,
		"POST /console/numbers/new":              o.newNumber,
		"GET /console/numbers/import":            o.importNumbers,
		"POST /console/numbers/import":           o.importNumbers,
		"GET /console/numbers/{number}":          o.number,
		"POST /console/numbers/{number}":         o.number,
		"POST /console/numbers/{number}/release": o.releaseNumber,

		"GET /console/mm4-peers":              o.peers,
		"GET /console/mm4-peers/new":          o.newPeer,
		"POST /console/mm4-peers/new":         o.newPeer,
		"GET /console/mm4-peers/{id}":         o.peer,
		"POST /console/mm4-peers/{id}":        o.peer,
		"POST /console/mm4-peers/{id}/delete": o.deletePeer,

		"GET /console/smpp-users":                    o.smppUsers,
		"GET /console/smpp-users/new":                o.newSMPPUser,
		"POST /console/smpp-users/new":               o.newSMPPUser,
		"GET /console/smpp-users/{id}":               o.smppUser,
		"POST /console/smpp-users/{id}":              o.smppUser,
		"POST /console/smpp-users/{id}/quota":        o.setQuota,
		"POST /console/smpp-users/{id}/regenerate":   o.regenerateSMPPUser,
		"POST /console/smpp-users/{id}/delete":       o.deleteSMPPUser,
		"GET /console/media-profiles":                o.mediaProfiles,
		"GET /console/media-profiles/new":            o.newMediaProfile,
		"POST /console/media-profiles/new":           o.newMediaProfile,
		"GET /console/media-profiles/{name}":         o.mediaProfile,
		"POST /console/media-profiles/{name}":        o.mediaProfile,
		"POST /console/media-profiles/{name}/delete": o.deleteMediaProfile,
	}
}

// trafficNav is the way to them.
func trafficNav() page.NavGroup {
	return page.NavGroup{Title: "Traffic", Links: []page.Link{{Text: "Vendors", Href: Prefix + "/vendors"}, {Text: "Routes", Href: Prefix + "/routes"}, {Text: "Sessions", Href: Prefix + "/sessions"},
		{Text: "Numbers", Href: Prefix + "/numbers"}, {Text: "SMPP users", Href: Prefix + "/smpp-users"}, {Text: "MM4 peers", Href: Prefix + "/mm4-peers"}, {Text: "Media profiles", Href: Prefix + "/media-profiles"}}}
}

// operates reports whether the reader may change what these pages show.
func operates(v *site.Visit) bool { return v.May(snapshot.RoleOperator) }

// onlyOperators says who may change what is shown, to somebody who may not.
func onlyOperators(v *site.Visit) []page.Block {
	if operates(v) {
		return nil
	}
	return []page.Block{page.Notice{Text: "Operators and admins change this; your role is " + string(v.Person.Role) + ", which reads it."}}
}

// mostNames is how many names are known to a page at once: the most of one request.
const mostNames = 200

// directory knows what ids are called: the newest customers and vendors.
type directory struct {
	customers, vendors       map[string]string
	customerList, vendorList []page.Option // by name
	kinds                    map[string]string
}

func directoryOf(v *site.Visit) (*directory, error) {
	limit := url.Values{"limit": {fmt.Sprint(mostNames)}}
	var customers site.Rows[struct {
		ID   string
		Name string `json:"company_name"`
	}]
	if err := v.Get(api+"/customers", limit, &customers); err != nil {
		return nil, err
	}
	var vendors site.Rows[struct {
		ID   string
		Name string `json:"instance_name"`
		Kind string `json:"provider_type"`
	}]
	if err := v.Get(api+"/vendors", limit, &vendors); err != nil {
		return nil, err
	}
	d := &directory{customers: map[string]string{}, vendors: map[string]string{}, kinds: map[string]string{}}
	for _, c := range customers.Data {
		d.customers[c.ID] = c.Name
		d.customerList = append(d.customerList, page.Option{Value: c.ID, Text: c.Name})
	}
	for _, c := range vendors.Data {
		d.vendors[c.ID], d.kinds[c.ID] = c.Name, c.Kind
		if c.Kind != builtIn {
			d.vendorList = append(d.vendorList, page.Option{Value: c.ID, Text: c.Name})
		}
	}
	for _, list := range [][]page.Option{d.customerList, d.vendorList} {
		slices.SortFunc(list, func(a, b page.Option) int { return strings.Compare(strings.ToLower(a.Text), strings.ToLower(b.Text)) })
	}
	return d, nil
}

// builtIn is the kind of the vendor that stands for the gateway itself.
const builtIn = "internal"

// customer is a customer by name, with a link; one that is not among the known by a part
// of the id.
func (d *directory) customer(v *site.Visit, id *string) page.Cell {
	if id == nil || *id == "" {
		return page.None("")
	}
	name := d.customers[*id]
	if name == "" {
		name = short(*id)
	}
	return page.To(name, v.At("/customers/"+url.PathEscape(*id)))
}

func (d *directory) vendor(v *site.Visit, id *string) page.Cell {
	if id == nil || *id == "" {
		return page.None("")
	}
	name := d.vendors[*id]
	if name == "" {
		name = short(*id)
	}
	return page.To(name, v.At("/vendors/"+url.PathEscape(*id)))
}

// owner is whose something is: a customer's or a vendor's.
func (d *directory) owner(v *site.Visit, customer, vendor *string) page.Cell {
	if vendor != nil {
		return d.vendor(v, vendor).WithSub("vendor")
	}
	return d.customer(v, customer).WithSub("customer")
}

// customerField asks for a customer, by a list where all of them are known.
func (d *directory) customerField(f page.Field) page.Field {
	return d.choice(f, d.customerList, "Its id, which stands on the customer's page.")
}

func (d *directory) vendorField(f page.Field) page.Field {
	return d.choice(f, d.vendorList, "Its id, which stands on the vendor's page.")
}

func (d *directory) choice(f page.Field, list []page.Option, help string) page.Field {
	if len(list) >= mostNames-1 { // there may be more
		f.Help = strings.TrimSpace(f.Help + " " + help)
		return f
	}
	f.Kind, f.Options = page.Choice, append([]page.Option{{Text: f.Placeholder}}, list...)
	f.Placeholder = ""
	return f
}

// waited is how long something has waited, of seconds that may be none.
func waited(seconds *int) string {
	if seconds == nil {
		return ""
	}
	if *seconds == 0 {
		return "under 1 s"
	}
	return page.Duration(time.Duration(*seconds) * time.Second)
}

// pressed is a form of one button.
func pressed(at, submit string, danger bool) *page.Form {
	return &page.Form{Action: at, Submit: submit, Danger: danger}
}

// words are options whose text is their value with blanks for underscores.
func words(values ...string) []page.Option {
	list := make([]page.Option, len(values))
	for i, w := range values {
		list[i] = page.Option{Value: w, Text: strings.ReplaceAll(w, "_", " ")}
	}
	return list
}

// anyOf puts "any" before options, for filters.
func anyOf(list []page.Option) []page.Option { return append([]page.Option{{Text: "any"}}, list...) }
