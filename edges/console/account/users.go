package account

import (
	"net/http"
	"net/url"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// userView is a user of the portal as the API has it.
type userView struct {
	ID          string
	Email       string
	Name        *string
	Scopes      []string
	Active      bool
	Invitation  string
	ExpiresAt   *string `json:"invitation_expires_at"`
	LastLoginAt *string `json:"last_login_at"`
	CreatedAt   string  `json:"created_at"`
	UpdatedAt   string  `json:"updated_at"`
}

func (u *userView) state() page.Cell {
	if !u.Active {
		return page.Badge("off", page.Plain, "May not sign in")
	}
	switch u.Invitation {
	case "accepted":
		return page.Badge("active", page.Good, "Has chosen a password")
	case "sent":
		return page.Badge("invited", page.Busy, "Has a link to choose a password, and has not used it yet")
	case "not_sent":
		return page.Badge("not reached", page.Bad, "The e-mail could not be handed over: invite again")
	case "expired":
		return page.Badge("invitation expired", page.Warn, "The link was not used in time: invite again")
	}
	return page.Badge("without a password", page.Warn, "Invite again to send a link")
}

func (v *visit) users() (page.Page, error) {
	rows, err := site.List[userView](v.Visit, v.op("/users"), nil, nil)
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "Users", Lead: "Who may use this portal for the account, and what for."}
	if v.Staff {
		p.Lead = "Who may use the portal for this customer, and what for."
	}
	t := page.Table{Caption: "Users", Empty: "Nobody may use the portal.", EmptyHelp: "Invite somebody: a link goes out by e-mail.",
		Columns: []page.Column{{Title: "E-mail address"}, {Title: "State"}, {Title: "Name"}, {Title: "May"}, {Title: "Last sign-in"}, {Title: "Since"}}}
	if v.May(accountWrite) {
		p.Actions = []page.Action{{Text: "Invite a user", Href: v.at("/users/new"), Main: true}}
		t.EmptyLink = page.Link{Text: "Invite a user", Href: v.at("/users/new")}
	}
	p.Body = append(v.readOnly(accountWrite), site.Table(v.Visit, rows, t, func(u userView) page.Row {
		last := page.Whenp(u.LastLoginAt)
		if u.LastLoginAt == nil {
			last = page.Str("never")
		}
		r := page.Row{Cells: []page.Cell{page.To(u.Email, v.at("/users/"+url.PathEscape(u.ID))), u.state(), page.Strp(u.Name), scopesCell(u.Scopes), last, page.When(u.CreatedAt)}}
		if u.Active && u.Invitation == "not_sent" {
			r.Tone = page.Bad
		}
		return r
	}))
	return v.page(p), nil
}

// userForm invites and changes a user; given are the scopes of before.
func (v *visit) userForm(given []string) *page.Form {
	return &page.Form{Patch: true, Submit: "Save", Fields: []page.Field{
		{Name: "name", Label: "Name", Max: 200},
		{Name: "scopes", Label: "What the user may do", Kind: page.Choices, Options: v.scopeOptions(given)},
	}}
}

func (v *visit) newUser() (page.Page, error) {
	f := v.userForm(nil)
	f.Patch, f.Submit, f.Cancel = false, "Invite", page.Link{Href: v.at("/users")}
	f.Field("scopes").Values = []string{"messages:read", "numbers:read", "usage:read"}
	f.Fields = append([]page.Field{{Name: "email", Label: "E-mail address", Kind: page.Email, Required: true, Max: 254}}, f.Fields...)
	f.Fields = append(f.Fields, site.Key())
	p := v.page(page.Page{Title: "Invite a user", Lead: "A link goes out by e-mail, good once and for 72 hours, to choose a password.", Body: v.offer(accountWrite, f)}, page.Link{Text: "Users", Href: v.at("/users")})
	if !v.Post() {
		return p, nil
	}
	return v.Submit(site.Task{Form: f, Path: v.op("/users"), Once: true, Instead: v.invited}, func() (page.Page, error) { return p, nil })
}

// invited says whether the link has gone out.
func (v *visit) invited(a *call.Answer) (page.Page, error) {
	var u userView
	if err := a.Into(&u); err != nil {
		return page.Page{}, err
	}
	n := page.Notice{Tone: page.Good, Text: "An invitation has gone to " + u.Email + ". Its link is good once, for 72 hours."}
	if u.Invitation == "not_sent" {
		n = page.Notice{Tone: page.Bad, Title: "The e-mail could not be handed over.", Text: u.Email + " is a user now and has no link yet. Invite again in a while."}
	}
	return v.DoneWith(v.at("/users/"+url.PathEscape(u.ID)), n)
}

// find looks for a user: there are 200 at most, which the API lists and does not give alone.
func (v *visit) find() (*userView, error) {
	query := url.Values{"limit": {"100"}}
	for {
		var rows site.Rows[userView]
		if err := v.Get(v.op("/users"), query, &rows); err != nil {
			return nil, err
		}
		for _, u := range rows.Data {
			if u.ID == v.Param("id") {
				return &u, nil
			}
		}
		if rows.NextCursor == nil {
			return nil, &call.Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "There is no such user of the account."}
		}
		query.Set("cursor", *rows.NextCursor)
	}
}

func (v *visit) user() (page.Page, error) { return v.userPage(nil, site.Tried{}) }

func (v *visit) userPage(edited *page.Form, tried site.Tried) (page.Page, error) {
	u, err := v.find()
	if err != nil {
		return page.Page{}, err
	}
	facts := page.Facts{Title: "The user", Items: []page.Fact{
		{Label: "State", Value: u.state()}, {Label: "Name", Value: page.Strp(u.Name)}, {Label: "May", Value: scopesCell(u.Scopes)},
		{Label: "Last sign-in", Value: page.Whenp(u.LastLoginAt)}, {Label: "Link good until", Help: "Of the open invitation", Value: page.Whenp(u.ExpiresAt)}, {Label: "Since", Value: page.When(u.CreatedAt)}, {Label: "Changed", Value: page.When(u.UpdatedAt)},
	}}
	p := page.Page{Title: u.Email}
	crumb := page.Link{Text: "Users", Href: v.at("/users")}
	if !v.May(accountWrite) {
		p.Body = append(v.readOnly(accountWrite), facts)
		return v.page(p, crumb), nil
	}
	f := edited
	if f == nil {
		f = v.userForm(u.Scopes)
		f.Action = v.at("/users/" + v.id())
		f.Field("name").Value, f.Field("scopes").Values = or(u.Name, ""), u.Scopes
	}
	p.Body = []page.Block{page.Split{Left: []page.Block{facts, change("Whoever is signed in has it with the next page.", f, edited)},
		Right: []page.Block{page.Section{ID: "actions", Title: "Actions", Body: site.Deeds(v.at("/users/"+v.id()), v.userDeeds(u), tried)}}}}
	return v.page(p, crumb), nil
}

func (v *visit) changeUser() (page.Page, error) {
	u, err := v.find()
	if err != nil {
		return page.Page{}, err
	}
	f := v.userForm(u.Scopes)
	f.Action = v.at("/users/" + v.id())
	return v.Submit(site.Task{Form: f, Method: http.MethodPatch, Path: v.op("/users/" + v.id()), Then: site.To(f.Action), Said: "The user is changed."},
		func() (page.Page, error) { return v.userPage(f, site.Tried{}) })
}

// userDeeds are what can be done with a user in its state.
func (v *visit) userDeeds(u *userView) []site.Deed {
	here, op := v.at("/users/"+v.id()), v.op("/users/"+v.id())
	turn := func(active bool) site.Task {
		said := "The user may not sign in any more."
		if active {
			said = "The user may sign in again."
		}
		return site.Task{Method: http.MethodPatch, Path: op, Body: func(map[string]any) map[string]any { return map[string]any{"active": active} }, Then: site.To(here), Said: said}
	}
	list := []site.Deed{}
	if u.Active {
		list = append(list,
			site.Deed{Name: "invite", Summary: "Send a new link…", Submit: "Send a new link", Text: "For one who has lost the link or forgotten the password. The link before ends; the password holds until another is chosen.",
				Task: site.Task{Path: op + "/invite", Bare: true, Instead: v.invited}},
			site.Deed{Name: "off", Summary: "Switch off…", Submit: "Switch the user off", Text: "The user is signed out and may not sign in until somebody switches this back on.", Task: turn(false)})
	} else {
		list = append(list, site.Deed{Name: "on", Submit: "Switch the user on", Task: turn(true)})
	}
	return append(list, site.Deed{Name: "remove", Summary: "Remove…", Submit: "Remove the user", Danger: true, Text: "The user is signed out and may not come back unless invited anew. What the user did stays in the audit log.",
		Task: site.Task{Method: http.MethodDelete, Path: op, Then: site.To(v.at("/users")), Said: "The user is removed."}})
}

func (v *visit) userAct() (page.Page, error) {
	u, err := v.find()
	if err != nil {
		return page.Page{}, err
	}
	return v.Act(v.at("/users/"+v.id()), v.userDeeds(u), v.Param("action"), func(t site.Tried) (page.Page, error) { return v.userPage(nil, t) })
}
