package office

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

func (o *office) serviceRoutes() shows {
	return shows{
		"GET /console/services":                o.services,
		"GET /console/services/new":            o.newService,
		"POST /console/services/new":           o.makeService,
		"GET /console/services/{id}":           o.service,
		"POST /console/services/{id}":          o.changeService,
		"POST /console/services/{id}/{action}": o.serviceDeed,
	}
}

// serviceView is the credential of a service.
type serviceView struct {
	ID, Name, Key string
	Secret        *string
	Scopes        []string
	Active        bool
	ExpiresAt     *string `json:"expires_at"`
	LastUsedAt    *string `json:"last_used_at"`
	CreatedAt     string  `json:"created_at"`
}

func (s *serviceView) state(now time.Time) page.Cell {
	if !s.Active {
		return page.Badge("ended", page.Plain, "It gets no access tokens")
	}
	if s.ExpiresAt != nil {
		if at, err := time.Parse(time.RFC3339, *s.ExpiresAt); err == nil && !at.After(now) {
			return page.Badge("expired", page.Bad, "It gets no access tokens")
		}
	}
	return page.Badge("active", page.Good, "")
}

// may says what a service may do.
func (s *serviceView) may() string {
	var out []string
	for _, scope := range s.Scopes {
		if scope == "service:messages" {
			scope = "send messages for every account"
		}
		out = append(out, scope)
	}
	return strings.Join(out, ", ")
}

func expiry(at *string) page.Cell {
	if at == nil {
		return page.Str("never")
	}
	return page.When(*at)
}

func (o *office) services(v *site.Visit) (page.Page, error) {
	rows, err := site.List[serviceView](v, api+"/service-credentials", nil, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Service credentials", Empty: "No service has a credential.", EmptyHelp: "A service of the platform, such as billing, needs one to send messages for accounts.", EmptyLink: page.Link{Text: "New credential", Href: v.At("/services/new")},
		Columns: []page.Column{{Title: "Service"}, {Title: "Key"}, {Title: "State"}, {Title: "May"}, {Title: "Last used", Help: "Noted once a minute at most"}, {Title: "Expires"}, {Title: "Made"}}}
	return page.Page{Title: "Service credentials", Lead: "With what the platform's own services use the internal API.", Actions: []page.Action{{Text: "New credential", Href: v.At("/services/new"), Main: true}},
		Body: []page.Block{site.Table(v, rows, table, func(s serviceView) page.Row {
			return page.Row{Cells: []page.Cell{page.To(s.Name, v.At("/services/"+url.PathEscape(s.ID))), page.Mono(s.Key), s.state(time.Now()), page.Str(s.may()), sincep(s.LastUsedAt), expiry(s.ExpiresAt), page.When(s.CreatedAt)}}
		})}}, nil
}

func serviceForm(v *site.Visit, made bool) *page.Form {
	f := &page.Form{Patch: made, Label: "The credential", Fields: []page.Field{
		{Name: "name", Label: "Name", Required: true, Max: 200, Placeholder: "billing", Help: "What it is for."}, {Name: "expires_at", Label: "Expires", Kind: page.Moment, Help: "Empty: never."}}}
	if f.Action = v.At("/services/new"); made {
		f.Action = v.At("/services/" + v.ID())
	} else {
		f.Submit, f.Cancel = "Make it", page.Link{Href: v.At("/services")}
	}
	return f
}

func (o *office) newService(v *site.Visit) (page.Page, error) {
	return o.newServicePage(v, serviceForm(v, false))
}

func (o *office) newServicePage(v *site.Visit, form *page.Form) (page.Page, error) {
	p := page.Page{Title: "New service credential", Lead: "A key and a secret, which is shown once. With them a service may send messages for every account.", Crumbs: []page.Link{{Text: "Service credentials", Href: v.At("/services")}, {Text: "New"}}}
	if p.Body = whoMay(v, "Making credentials"); len(p.Body) == 0 {
		p.Body = []page.Block{form}
	}
	return p, nil
}

func (o *office) makeService(v *site.Visit) (page.Page, error) {
	form := serviceForm(v, false)
	return v.Submit(site.Task{Form: form, Path: api + "/service-credentials", Instead: func(a *call.Answer) (page.Page, error) {
		var s serviceView
		if err := a.Into(&s); err != nil {
			return page.Page{}, err
		}
		at := v.At("/services/" + url.PathEscape(s.ID))
		body := []page.Block{page.Notice{Tone: page.Good, Text: "The credential was made. Put key and secret where the service reads its secrets.", Link: page.Link{Text: "To its page", Href: at}}, page.Code{Label: "Key", Text: s.Key}}
		if s.Secret != nil {
			body = append(body, page.Code{Label: "Secret", Text: *s.Secret, Secret: true})
		}
		return page.Page{Title: "Made: " + s.Name, Crumbs: []page.Link{{Text: "Service credentials", Href: v.At("/services")}, {Text: s.Name, Href: at}, {Text: "Secret"}}, Body: body}, nil
	}}, func() (page.Page, error) { return o.newServicePage(v, form) })
}

func (o *office) service(v *site.Visit) (page.Page, error) {
	return o.servicePage(v, nil, site.Tried{})
}

func (o *office) servicePage(v *site.Visit, form *page.Form, tried site.Tried) (page.Page, error) {
	var s serviceView
	loaded := serviceForm(v, true)
	if err := v.Loaded(loaded, api+"/service-credentials/"+v.ID(), &s); err != nil {
		return page.Page{}, err
	}
	if form == nil {
		form = loaded
	}
	p := page.Page{Title: s.Name, Crumbs: []page.Link{{Text: "Service credentials", Href: v.At("/services")}, {Text: s.Name}}, Actions: []page.Action{{Text: "What it did", Href: v.At("/audit?actor=" + url.QueryEscape(s.Key))}}}
	left := []page.Block{page.Facts{Title: "The credential", Items: []page.Fact{
		{Label: "State", Value: s.state(time.Now())}, {Label: "Key", Value: page.Mono(s.Key).WithCopy()}, {Label: "May", Value: page.Str(s.may())}, {Label: "Last used", Value: sincep(s.LastUsedAt), Help: "Noted once a minute at most"},
		{Label: "Expires", Value: expiry(s.ExpiresAt)}, {Label: "Made", Value: page.When(s.CreatedAt)}}}, page.Section{ID: "edit", Title: "Change it", Body: []page.Block{form}}}
	p.Body = []page.Block{page.Split{Left: left, Right: []page.Block{deedSection(v, v.At("/services/"+v.ID()), serviceDeeds(v, &s), tried, "")}}}
	return p, nil
}

func (o *office) changeService(v *site.Visit) (page.Page, error) {
	form := serviceForm(v, true)
	return v.Submit(site.Task{Form: form, Method: http.MethodPatch, Path: api + "/service-credentials/" + v.ID(), Then: site.To(v.At("/services/" + v.ID())), Said: "Changed."}, func() (page.Page, error) { return o.servicePage(v, form, site.Tried{}) })
}

func serviceDeeds(v *site.Visit, s *serviceView) []site.Deed {
	at, then := api+"/service-credentials/"+v.ID(), site.To(v.At("/services/"+v.ID()))
	if s.Active {
		return []site.Deed{{Name: "end", Summary: "End it…", Text: "The service gets no access token any more, and those it has end at once.", Submit: "End the credential", Danger: true,
			Task: site.Task{Method: http.MethodDelete, Path: at, Then: then, Said: "The credential has ended, and its tokens with it."}}}
	}
	return []site.Deed{{Name: "activate", Summary: "Let it be used again…", Text: "Key and secret hold again as they were.", Submit: "Activate",
		Task: site.Task{Method: http.MethodPatch, Path: at, Body: func(body map[string]any) map[string]any {
			body["active"] = true
			return body
		}, Then: then, Said: "The credential can be used again."}}}
}

func (o *office) serviceDeed(v *site.Visit) (page.Page, error) {
	var s serviceView
	if err := v.Get(api+"/service-credentials/"+v.ID(), nil, &s); err != nil {
		return page.Page{}, err
	}
	return v.Act(v.At("/services/"+v.ID()), serviceDeeds(v, &s), v.Param("action"), func(t site.Tried) (page.Page, error) { return o.servicePage(v, nil, t) })
}
