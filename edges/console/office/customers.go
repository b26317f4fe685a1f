package office

import (
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/postrider/postrider/edges/console/account"
	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/snapshot"
)

// customerRoutes are the pages of customers, below each those of package account.
func (o *office) customerRoutes() map[string]func(*site.Visit) (page.Page, error) {
	routes := map[string]func(*site.Visit) (page.Page, error){
		"GET /console/customers":                           o.customers,
		"GET /console/customers/new":                       o.newCustomer,
		"POST /console/customers/new":                      o.newCustomer,
		"GET /console/customers/{account}":                 o.customer,
		"GET /console/customers/{account}/terms":           o.terms,
		"POST /console/customers/{account}/terms":          o.terms,
		"POST /console/customers/{account}/state/{action}": o.customerState,
	}
	maps.Copy(routes, account.Routes("/console/customers/{account}", o.customerPlace))
	return routes
}

var customerNav = page.NavGroup{Links: []page.Link{{Text: "Customers", Href: Prefix + "/customers"}}}

// customerView is a customer as GET /customers/{id} has it.
type customerView struct {
	ID          string
	Status      string
	AuthType    *string `json:"auth_type"`
	CompanyName string  `json:"company_name"`
	ExternalID  *string `json:"external_id"`
	TimeZone    string  `json:"time_zone"`
	RateLimit   int     `json:"api_rate_limit"`
	Burst       int     `json:"api_burst"`
	MaxBacklog  int     `json:"max_backlog"`
	Prepaid     bool
	CreatedAt   string `json:"created_at"`
	UpdatedAt   string `json:"updated_at"`
	// Secret is shown once, when the customer was made.
	Secret *string `json:"webhook_secret"`
}

// accountState is the state of a customer in a word.
func accountState(status string) page.Cell {
	switch snapshot.AccountStatus(status) {
	case snapshot.AccountActive:
		return page.Badge("active", page.Good, "")
	case snapshot.AccountSuspended:
		return page.Badge("suspended", page.Warn, "Nothing is taken from it until it is let go on")
	}
	return page.Badge(status, page.Plain, "For good")
}

// authWords is what a customer connects with.
func authWords(kind *string) page.Cell {
	if kind == nil {
		return page.None("It has no credential in force: it cannot send")
	}
	return page.Str(map[string]string{"API_KEY": "REST", "SMPP": "SMPP", "BOTH": "REST and SMPP"}[*kind])
}

func (o *office) customers(v *site.Visit) (page.Page, error) {
	filter := &page.Form{Method: "get", Inline: true, Submit: "Search", Label: "Search customers", Fields: []page.Field{
		{Name: "company_name", Label: "Name"},
		{Name: "external_id", Label: "External id"},
		{Name: "status", Label: "State", Kind: page.Choice, Options: []page.Option{{Text: "any"}, {Value: "active", Text: "active"}, {Value: "suspended", Text: "suspended"}, {Value: "closed", Text: "closed"}}},
	}}
	rows, err := site.List[customerView](v, api+"/customers", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "Customers", Lead: "The accounts that send and receive over this gateway, newest first."}
	t := page.Table{Caption: "Customers", Empty: "No customer fits.", EmptyHelp: "Leave out a part of the search.",
		Columns: []page.Column{{Title: "Customer"}, {Title: "State"}, {Title: "Connects by", Help: "Which credentials in force it has"}, {Title: "Messages/s", Right: true, Help: "That it may send over REST"}, {Title: "Pays"}, {Title: "Since"}}}
	if v.May(snapshot.RoleOperator) {
		p.Actions = []page.Action{{Text: "Add a customer", Href: v.At("/customers/new"), Main: true}}
		t.EmptyLink = page.Link{Text: "Add a customer", Href: v.At("/customers/new")}
	}
	p.Body = []page.Block{filter, site.Table(v, rows, t, func(c customerView) page.Row {
		r := page.Row{Cells: []page.Cell{page.To(c.CompanyName, v.At("/customers/"+url.PathEscape(c.ID))).WithSub(or(c.ExternalID, short(c.ID))), accountState(c.Status), authWords(c.AuthType), page.Num(c.RateLimit), pays(c.Prepaid), page.When(c.CreatedAt)}}
		if c.Status == string(snapshot.AccountSuspended) {
			r.Tone = page.Warn
		}
		return r
	})}
	return p, nil
}

func pays(prepaid bool) page.Cell {
	if prepaid {
		return page.Str("in advance")
	}
	return page.Str("afterwards")
}

func or(s *string, none string) string {
	if s == nil || *s == "" {
		return none
	}
	return *s
}

// customerAt is a path of a customer's pages, and of the operations for it.
func customerAt(v *site.Visit) (base, operations string) {
	id := url.PathEscape(v.Param("account"))
	return v.At("/customers/" + id), api + "/customers/" + id
}

// customerPlace is where the pages of package account stand for a customer.
func (o *office) customerPlace(v *site.Visit) (account.Place, error) {
	_, operations := customerAt(v)
	var c customerView
	if err := v.Get(operations, nil, &c); err != nil {
		return account.Place{}, err
	}
	return placeOf(v, &c), nil
}

func placeOf(v *site.Visit, c *customerView) account.Place {
	base, operations := customerAt(v)
	p := account.Place{Base: base, API: operations, Staff: true, Crumbs: []page.Link{{Text: "Customers", Href: v.At("/customers")}, {Text: c.CompanyName, Href: base}},
		Also: []page.Link{{Text: "Terms", Href: base + "/terms"}},
		// As the API has it for what staff do on an account's behalf.
		May: func(scope string) bool {
			family, what, _ := strings.Cut(scope, ":")
			switch {
			case what == "read":
				return true
			case family == "registry", family == "optouts":
				return v.May(snapshot.RoleOperator, snapshot.RoleCompliance)
			}
			return v.May(snapshot.RoleOperator)
		}}
	switch snapshot.AccountStatus(c.Status) {
	case snapshot.AccountSuspended:
		p.Note = &page.Notice{Tone: page.Warn, Title: "This customer is suspended.", Text: "Nothing is taken from it, and what waits is refused at its next step."}
	case snapshot.AccountClosed:
		p.Note = &page.Notice{Tone: page.Bad, Title: "This customer is closed, for good.", Text: "What it had is shown as long as it is kept."}
	}
	return p
}

// customerForm is what staff alone set of a customer.
func customerForm() *page.Form {
	return &page.Form{Patch: true, Submit: "Save", Fields: []page.Field{
		{Name: "company_name", Label: "Name", Required: true, Max: 200},
		{Name: "external_id", Label: "External id", Max: 200, Help: "The customer's id in your other systems, which no other has. The internal API takes it for customer_id."},
		{Name: "api_rate_limit", Label: "Messages a second", Kind: page.Number, Keep: true, Unit: "/s", Group: "How much it may send", Help: "Over REST. SMPP has a throughput with each credential; limits by day and month stand under Limits."},
		{Name: "api_burst", Label: "Burst", Kind: page.Number, Keep: true, Unit: "messages", Help: "How many more may come within one second."},
		{Name: "max_backlog", Label: "Most on their way", Kind: page.Number, Keep: true, Unit: "messages", Help: "Beyond that new ones are refused until some have ended."},
		{Name: "prepaid", Label: "Pays in advance: a message that the balance does not cover is refused", Kind: page.Check},
		{Name: "allowed_source_addresses", Label: "Senders beside its own numbers", Kind: page.Lines, Group: "Senders", Help: "One a line: +12025550143, a short code, or up to 11 letters and digits."},
		{Name: "force_source_address", Label: "Forced sender", Help: "Replaces every sender; empty: none."},
		{Name: "mms_fallback", Label: "An MMS that no vendor takes", Kind: page.Choice, Group: "MMS", Options: []page.Option{{Value: "none", Text: "fails"}, {Value: "sms_link", Text: "goes as a text with links to its files"}}},
	}}
}

func (o *office) newCustomer(v *site.Visit) (page.Page, error) {
	f := customerForm()
	f.Patch, f.Submit, f.Cancel = false, "Add the customer", page.Link{Href: v.At("/customers")}
	f.Field("api_rate_limit").Value, f.Field("mms_fallback").Value = "10", "none"
	f.Field("api_burst").Value, f.Field("max_backlog").Value = "0", strconv.Itoa(snapshot.DefaultMaxBacklog)
	f.Fields = append(f.Fields,
		page.Field{Name: "time_zone", Label: "Time zone", Value: "UTC", Group: "Where it is", Help: "Days and months of limits are its: an IANA name such as America/New_York."},
		page.Field{Name: "default_country", Label: "Country", Value: "US", Max: 2, Help: "Two letters: of numbers that come without a country code."})
	p := page.Page{Title: "Add a customer", Lead: "It is active at once. Give it a credential or a user next.", Crumbs: []page.Link{{Text: "Customers", Href: v.At("/customers")}, {Text: "New"}}, Body: []page.Block{f}}
	if !v.May(snapshot.RoleOperator) {
		p.Body = []page.Block{page.Notice{Text: "Operators add customers; your role is " + string(v.Person.Role) + "."}}
	}
	if !v.Post() {
		return p, nil
	}
	return v.Submit(site.Task{Form: f, Path: api + "/customers", Instead: func(a *call.Answer) (page.Page, error) {
		var made customerView
		if err := a.Into(&made); err != nil {
			return page.Page{}, err
		}
		at := v.At("/customers/" + url.PathEscape(made.ID))
		return page.Page{Title: made.CompanyName + " is added", Actions: []page.Action{{Text: "Go to the customer", Href: at, Main: true}},
			Crumbs: []page.Link{{Text: "Customers", Href: v.At("/customers")}, {Text: made.CompanyName, Href: at}},
			Body: []page.Block{page.Notice{Tone: page.Good, Title: "Done", Text: "Next it needs a credential, or a user who makes one in the portal."},
				page.Code{Label: "Webhook secret: signs for URLs without a secret of their own", Text: or(made.Secret, ""), Secret: true},
				page.Bullets{page.To("Make an API credential", at+"/api-credentials/new"), page.To("Make an SMPP credential", at+"/smpp-credentials/new"), page.To("Invite a user of the portal", at+"/users/new")}}}, nil
	}}, func() (page.Page, error) { return p, nil })
}

// terms is what staff alone set; what the customer may set itself is a page of its account.
func (o *office) terms(v *site.Visit) (page.Page, error) {
	base, operations := customerAt(v)
	f := customerForm()
	f.Action = base + "/terms"
	var c customerView
	if err := v.Loaded(f, operations, &c); err != nil {
		return page.Page{}, err
	}
	place := placeOf(v, &c)
	p := page.Page{Title: "Terms", Lead: "What staff alone set of " + c.CompanyName + ". It holds on every process within five seconds.", Crumbs: append(place.Crumbs, page.Link{Text: "Terms"})}
	p.Body = []page.Block{f}
	if !v.May(snapshot.RoleOperator) || c.Status == string(snapshot.AccountClosed) {
		p.Body = []page.Block{page.Notice{Text: "You can read this. Operators change it, as long as the customer is not closed."}, f.Facts("Terms")}
	}
	place.Enter(v)
	if !v.Post() {
		return p, nil
	}
	return v.Submit(site.Task{Form: f, Method: http.MethodPatch, Path: operations, Then: site.To(base), Said: "The terms are changed."}, func() (page.Page, error) { return p, nil })
}
