package account

import (
	"net/http"
	"net/url"
	"time"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

const (
	credentialsWrite = "credentials:write"
	accountWrite     = "account:write"
)

// accessPages are the pages of who and what may use the account.
func accessPages() map[string]show {
	return map[string]show{
		"GET /api-credentials":                (*visit).credentials,
		"GET /api-credentials/new":            (*visit).newCredential,
		"POST /api-credentials/new":           (*visit).newCredential,
		"GET /api-credentials/{id}":           (*visit).credential,
		"POST /api-credentials/{id}":          (*visit).changeCredential,
		"POST /api-credentials/{id}/{action}": (*visit).credentialAct,

		"GET /smpp-credentials":                (*visit).esmes,
		"GET /smpp-credentials/new":            (*visit).newESME,
		"POST /smpp-credentials/new":           (*visit).newESME,
		"GET /smpp-credentials/{id}":           (*visit).esme,
		"POST /smpp-credentials/{id}":          (*visit).changeESME,
		"POST /smpp-credentials/{id}/{action}": (*visit).esmeAct,

		"GET /users":                (*visit).users,
		"GET /users/new":            (*visit).newUser,
		"POST /users/new":           (*visit).newUser,
		"GET /users/{id}":           (*visit).user,
		"POST /users/{id}":          (*visit).changeUser,
		"POST /users/{id}/{action}": (*visit).userAct,
	}
}

func accessLinks(p Place) []page.Link {
	list := p.links(link{"API credentials", "/api-credentials", credentialsWrite}, link{"SMPP credentials", "/smpp-credentials", credentialsWrite},
		link{"Users", "/users", accountWrite}, link{"Connect", "/connection", numbersReadScope})
	if !p.Staff {
		list = append(list, page.Link{Text: "API reference", Href: "/docs"})
	}
	return list
}

// credentialView is an API credential as the API has it.
type credentialView struct {
	ID             string
	Name           string
	Key            string
	Secret         *string
	Scopes         []string
	AllowedNumbers []string `json:"allowed_numbers"`
	AllowedIPs     []string `json:"allowed_ips"`
	RateLimit      *int     `json:"rate_limit"`
	ExpiresAt      *string  `json:"expires_at"`
	PreviousUntil  *string  `json:"previous_until"`
	LastUsedAt     *string  `json:"last_used_at"`
	CreatedAt      string   `json:"created_at"`
	UpdatedAt      string   `json:"updated_at"`
}

func (c *credentialView) state() page.Cell {
	if c.ExpiresAt == nil {
		return page.Badge("active", page.Good, "")
	}
	switch left := until(*c.ExpiresAt); {
	case left <= 0:
		return page.Badge("expired", page.Bad, "It is refused. Give it another end, or make a new one")
	case left < 7*24*time.Hour:
		return page.Badge("expires soon", page.Warn, "In "+page.Duration(left))
	}
	return page.Badge("active", page.Good, "")
}

// until is the time to a moment; it is over if that is negative.
func until(at string) time.Duration {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return 0
	}
	return time.Until(t)
}

func (v *visit) credentials() (page.Page, error) {
	rows, err := site.List[credentialView](v.Visit, v.op("/api-credentials"), nil, nil)
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "API credentials", Lead: "Keys and secrets with which programs use the REST API."}
	t := page.Table{Caption: "API credentials", Empty: "There is no API credential.", EmptyHelp: "A program needs one to send over REST.",
		Columns: []page.Column{{Title: "Name"}, {Title: "State"}, {Title: "Key", Help: "The name of HTTP Basic"}, {Title: "May"}, {Title: "Comes from", Help: "Networks that it is taken from"}, {Title: "Last used", Help: "Up to a minute late"}, {Title: "Expires"}}}
	if v.May(credentialsWrite) {
		p.Actions = []page.Action{{Text: "Make a credential", Href: v.at("/api-credentials/new"), Main: true}}
		t.EmptyLink = page.Link{Text: "Make a credential", Href: v.at("/api-credentials/new")}
	}
	p.Body = append(v.readOnly(credentialsWrite), site.Table(v.Visit, rows, t, func(c credentialView) page.Row {
		name := c.Name
		if name == "" {
			name = "without a name"
		}
		used := page.Whenp(c.LastUsedAt)
		if c.LastUsedAt == nil {
			used = page.Str("never")
		}
		expires := page.Whenp(c.ExpiresAt)
		if c.ExpiresAt == nil {
			expires = page.Str("never")
		}
		return page.Row{Cells: []page.Cell{page.To(name, v.at("/api-credentials/"+url.PathEscape(c.ID))), c.state(), page.Mono(c.Key), scopesCell(c.Scopes), listCell(c.AllowedIPs, "anywhere"), used, expires}}
	}))
	return v.page(p), nil
}

// credentialForm makes and changes a credential; given are the scopes that it has.
func (v *visit) credentialForm(given []string) *page.Form {
	return &page.Form{Patch: true, Submit: "Save", Fields: []page.Field{
		{Name: "name", Label: "Name", Max: 200, Blank: true, Placeholder: "shop", Help: "What it is for, so that you know it again."},
		{Name: "scopes", Label: "What it may do", Kind: page.Choices, Options: v.scopeOptions(given)},
		{Name: "allowed_numbers", Label: "Senders", Kind: page.Lines, Group: "Where it holds", Help: "That it may use, one a line. Empty: all of the account's."},
		{Name: "allowed_ips", Label: "Addresses", Kind: page.Lines, Placeholder: "192.0.2.0/24", Help: "Networks that it is taken from, one a line. Empty: any."},
		{Name: "rate_limit", Label: "Messages a second", Kind: page.Number, Unit: "/s", Help: "Of those that the account may send. Empty: all."},
		{Name: "expires_at", Label: "Expires", Kind: page.Moment, Help: "Empty: never."},
	}}
}

func (v *visit) newCredential() (page.Page, error) {
	f := v.credentialForm(nil)
	f.Patch, f.Submit, f.Cancel = false, "Make the credential", page.Link{Href: v.at("/api-credentials")}
	f.Field("scopes").Values = []string{"messages:write", "messages:read", "media:write"}
	f.Fields = append(f.Fields, site.Key())
	p := v.page(page.Page{Title: "Make an API credential", Lead: "Its secret is shown in the next step, once.", Body: v.offer(credentialsWrite, f)}, page.Link{Text: "API credentials", Href: v.at("/api-credentials")})
	if !v.Post() {
		return p, nil
	}
	return v.Submit(site.Task{Form: f, Path: v.op("/api-credentials"), Once: true, Instead: v.secretOf("The credential is made")}, func() (page.Page, error) { return p, nil })
}

// secretOf shows the key and secret of a credential that was made, and how it is used.
func (v *visit) secretOf(title string) func(*call.Answer) (page.Page, error) {
	return func(a *call.Answer) (page.Page, error) {
		var made credentialView
		if err := a.Into(&made); err != nil {
			return page.Page{}, err
		}
		more := []page.Block{page.Code{Label: "Key", Text: made.Key}}
		if made.PreviousUntil != nil {
			more = append(more, page.Facts{Items: []page.Fact{{Label: "The secret before holds until", Value: page.When(*made.PreviousUntil)}}})
		}
		return v.shown(title, "Secret", made.Secret, v.at("/api-credentials/"+url.PathEscape(made.ID)), append(more, page.Bullets{page.To("How to connect, with samples", v.at("/connection"))})...)
	}
}

func (v *visit) credential() (page.Page, error) { return v.credentialPage(nil, site.Tried{}) }

func (v *visit) credentialPage(edited *page.Form, tried site.Tried) (page.Page, error) {
	var c credentialView
	if err := v.Get(v.op("/api-credentials/"+v.id()), nil, &c); err != nil {
		return page.Page{}, err
	}
	rate := page.Str("as many as the account may")
	if c.RateLimit != nil {
		rate = page.Num(*c.RateLimit)
	}
	facts := page.Facts{Title: "The credential", Items: []page.Fact{
		{Label: "State", Value: c.state()}, {Label: "Key", Help: "The name of HTTP Basic, and api_key of POST /v1/auth/token", Value: page.Mono(c.Key).WithCopy()}, {Label: "May", Value: scopesCell(c.Scopes)},
		{Label: "Senders", Value: listCell(c.AllowedNumbers, "all of the account's")}, {Label: "Comes from", Value: listCell(c.AllowedIPs, "anywhere")}, {Label: "Messages a second", Value: rate},
		{Label: "Last used", Help: "Up to a minute late", Value: page.Whenp(c.LastUsedAt)}, {Label: "Expires", Value: page.Whenp(c.ExpiresAt)}, {Label: "Old secret until", Help: "Until when the secret before holds as well", Value: page.Whenp(c.PreviousUntil)},
		{Label: "Made", Value: page.When(c.CreatedAt)}, {Label: "Changed", Value: page.When(c.UpdatedAt)},
	}}
	p := page.Page{Title: c.Name}
	if p.Title == "" {
		p.Title = c.Key
	}
	if !v.May(credentialsWrite) {
		p.Body = append(v.readOnly(credentialsWrite), facts)
		return v.page(p, page.Link{Text: "API credentials", Href: v.at("/api-credentials")}), nil
	}
	f := edited
	if f == nil {
		f = v.credentialForm(c.Scopes)
		f.Action = v.at("/api-credentials/" + v.id())
		if err := v.Loaded(f, v.op("/api-credentials/"+v.id()), nil); err != nil {
			return page.Page{}, err
		}
	}
	p.Body = []page.Block{page.Split{Left: []page.Block{facts, change("It holds everywhere within five seconds.", f, edited)},
		Right: []page.Block{page.Section{ID: "actions", Title: "Actions", Body: site.Deeds(v.at("/api-credentials/"+v.id()), v.credentialDeeds(), tried)}}}}
	return v.page(p, page.Link{Text: "API credentials", Href: v.at("/api-credentials")}), nil
}

func (v *visit) changeCredential() (page.Page, error) {
	var c credentialView
	if err := v.Get(v.op("/api-credentials/"+v.id()), nil, &c); err != nil {
		return page.Page{}, err
	}
	f := v.credentialForm(c.Scopes)
	f.Action = v.at("/api-credentials/" + v.id())
	return v.Submit(site.Task{Form: f, Method: http.MethodPatch, Path: v.op("/api-credentials/" + v.id()), Then: site.To(f.Action), Said: "The credential is changed."},
		func() (page.Page, error) { return v.credentialPage(f, site.Tried{}) })
}

func (v *visit) credentialDeeds() []site.Deed {
	op := v.op("/api-credentials/" + v.id())
	holds := overlap
	holds.Label, holds.Value = "The secret before holds as well for", "0"
	return []site.Deed{
		{Name: "regenerate", Summary: "Make a new secret…", Submit: "Make a new secret", Fields: []page.Field{holds}, Text: "It is shown once. Programs that use the key need it before the old one ends; access tokens go on.",
			Task: site.Task{Path: op + "/regenerate", Once: true, Body: wholeOverlap, Instead: v.secretOf("There is a new secret")}},
		{Name: "revoke", Summary: "Revoke it…", Submit: "Revoke the credential", Danger: true, Text: "This cannot be undone. Its key and its access tokens end everywhere within five seconds: programs that use it are refused.",
			Task: site.Task{Method: http.MethodDelete, Path: op, Then: site.To(v.at("/api-credentials")), Said: "The credential is revoked."}},
	}
}

func (v *visit) credentialAct() (page.Page, error) {
	return v.Act(v.at("/api-credentials/"+v.id()), v.credentialDeeds(), v.Param("action"), func(t site.Tried) (page.Page, error) { return v.credentialPage(nil, t) })
}
