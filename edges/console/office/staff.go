package office

import (
	"net/http"
	"net/url"
	"time"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

func (o *office) staffRoutes() shows {
	return shows{
		"GET /console/staff":                o.staffList,
		"GET /console/staff/invite":         o.inviteStaff,
		"POST /console/staff/invite":        o.doInviteStaff,
		"GET /console/staff/{id}":           o.member,
		"POST /console/staff/{id}":          o.changeMember,
		"POST /console/staff/{id}/{action}": o.memberDeed,
	}
}

// memberView is a member of staff.
type memberView struct {
	ID, Email, Name, Role string
	Active                bool
	Joined                bool
	SecondFactor          bool    `json:"second_factor"`
	InvitedUntil          *string `json:"invited_until"`
	LastLoginAt           *string `json:"last_login_at"`
	FailedTries           int     `json:"failed_tries"`
	LastFailedAt          *string `json:"last_failed_at"`
	CreatedAt             string  `json:"created_at"`
}

// roles are what somebody may do, in words.
var roles = []struct{ name, may string }{
	{"admin", "Everything, and staff and the credentials of services."},
	{"operator", "Vendors, routes, customers, numbers, SMPP users, MM4 peers and sessions."},
	{"support", "Does things with messages: cancel, re-route, resolve, retry; takes strays in, replays webhooks. Reads texts."},
	{"compliance", "Content rules, held messages, opt-outs, brands, campaigns; reads the audit log. Reads texts."},
	{"viewer", "Looks at everything but texts, and changes nothing."},
}

func roleOptions() []page.Option {
	out := make([]page.Option, 0, len(roles))
	for _, r := range roles {
		out = append(out, page.Option{Value: r.name, Text: r.name})
	}
	return out
}

func rolesTable() page.Block {
	t := page.Table{Caption: "What the roles may do", Columns: []page.Column{{Title: "Role"}, {Title: "May"}}}
	for _, r := range roles {
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.Str(r.name), page.Str(r.may)}})
	}
	return page.Section{ID: "roles", Title: "What the roles may do", Help: "Every role reads what is not named here.", Body: []page.Block{t}}
}

// state is whether somebody can sign in.
func (m *memberView) state(now time.Time) page.Cell {
	switch {
	case !m.Active:
		return page.Badge("off", page.Plain, "May not sign in")
	case m.Joined:
		return page.Badge("active", page.Good, "")
	case m.InvitedUntil == nil:
		return page.Badge("no password", page.Warn, "Invite again")
	}
	if until, err := time.Parse(time.RFC3339, *m.InvitedUntil); err == nil && !until.After(now) {
		return page.Badge("invitation expired", page.Warn, "Invite again")
	}
	return page.Badge("invited", page.Busy, "Has not chosen a password yet")
}

func onOff(on bool, help string) page.Cell {
	if on {
		return page.Badge("on", page.Good, help)
	}
	return page.Badge("off", page.Plain, help)
}

func (o *office) staffList(v *site.Visit) (page.Page, error) {
	rows, err := site.List[memberView](v, api+"/staff", nil, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Staff", Empty: "Nobody may sign in.", EmptyHelp: "Invite somebody.",
		Columns: []page.Column{{Title: "Who"}, {Title: "Role"}, {Title: "State"}, {Title: "Second factor", Help: "A code of an authenticator app is asked for at the sign-in"}, {Title: "Last sign-in"}, {Title: "Wrong passwords", Right: true, Help: "Since the last sign-in"}}}
	return page.Page{Title: "Staff", Lead: "Who may sign in to the console, and as what.", Actions: []page.Action{{Text: "Invite somebody", Href: v.At("/staff/invite"), Main: true}},
		Body: []page.Block{site.Table(v, rows, table, func(m memberView) page.Row {
			tries := page.Num(m.FailedTries)
			if m.FailedTries > 0 && m.LastFailedAt != nil {
				tries.Help = "The last at " + *m.LastFailedAt
			}
			r := page.Row{Cells: []page.Cell{page.To(m.Email, v.At("/staff/"+url.PathEscape(m.ID))).WithSub(m.Name), page.Str(m.Role), m.state(time.Now()), onOff(m.SecondFactor, ""), sincep(m.LastLoginAt), tries}}
			if m.FailedTries >= 5 {
				r.Tone = page.Warn
			}
			return r
		}), rolesTable()}}, nil
}

func inviteForm(v *site.Visit) *page.Form {
	return &page.Form{Action: v.At("/staff/invite"), Submit: "Invite", Label: "Invite somebody", Cancel: page.Link{Href: v.At("/staff")}, Fields: []page.Field{
		{Name: "email", Label: "E-mail address", Kind: page.Email, Required: true, Max: 254, Help: "Names the person in the audit log, and never changes."},
		{Name: "name", Label: "Name", Max: 200},
		{Name: "role", Label: "Role", Kind: page.Choice, Required: true, Value: "viewer", Options: roleOptions()},
		{Name: "send", Label: "Send the link by e-mail", Kind: page.Check, Help: "Otherwise it is shown to you, once, to hand over yourself."}}}
}

func (o *office) inviteStaff(v *site.Visit) (page.Page, error) {
	return o.invitePage(v, inviteForm(v))
}

func (o *office) invitePage(v *site.Visit, form *page.Form) (page.Page, error) {
	p := page.Page{Title: "Invite somebody", Lead: "The person chooses a password by a link, which is good once and for 72 hours.", Crumbs: []page.Link{{Text: "Staff", Href: v.At("/staff")}, {Text: "Invite"}}}
	if p.Body = whoMay(v, "Inviting"); len(p.Body) == 0 {
		p.Body = []page.Block{form, rolesTable()}
	}
	return p, nil
}

func (o *office) doInviteStaff(v *site.Visit) (page.Page, error) {
	form := inviteForm(v)
	return v.Submit(site.Task{Form: form, Path: api + "/staff/invite", Instead: func(a *call.Answer) (page.Page, error) { return invited(v, a) }}, func() (page.Page, error) { return o.invitePage(v, form) })
}

// invited shows the link of an invitation, or says that it was sent.
func invited(v *site.Visit, a *call.Answer) (page.Page, error) {
	var r struct {
		ID, Email string
		Link      *string
		ExpiresAt string `json:"expires_at"`
	}
	if err := a.Into(&r); err != nil {
		return page.Page{}, err
	}
	who := v.At("/staff/" + url.PathEscape(r.ID))
	if r.Link == nil {
		return v.Done(who, "The link was e-mailed to "+r.Email+".")
	}
	return page.Page{Title: "Invited: " + r.Email, Crumbs: []page.Link{{Text: "Staff", Href: v.At("/staff")}, {Text: r.Email, Href: who}, {Text: "Link"}}, Body: []page.Block{
		page.Notice{Tone: page.Good, Text: "Hand this link over. Whoever opens it chooses the password.", Link: page.Link{Text: "To the page of " + r.Email, Href: who}},
		page.Code{Label: "Link", Text: *r.Link, Secret: true}, page.Facts{Items: []page.Fact{{Label: "Good until", Value: page.When(r.ExpiresAt)}}}}}, nil
}

func memberForm(v *site.Visit) *page.Form {
	return &page.Form{Action: v.At("/staff/" + v.ID()), Patch: true, Label: "Name and role", Fields: []page.Field{
		{Name: "email", Label: "E-mail address", ReadOnly: true, Help: "It names the person in the audit log, and never changes."},
		{Name: "name", Label: "Name", Blank: true, Max: 200}, {Name: "role", Label: "Role", Kind: page.Choice, Required: true, Options: roleOptions(), Help: "Another role holds at once."}}}
}

func (o *office) member(v *site.Visit) (page.Page, error) {
	return o.memberPage(v, nil, site.Tried{})
}

func (o *office) memberPage(v *site.Visit, form *page.Form, tried site.Tried) (page.Page, error) {
	var m memberView
	loaded := memberForm(v)
	if err := v.Loaded(loaded, api+"/staff/"+v.ID(), &m); err != nil {
		return page.Page{}, err
	}
	if form == nil {
		form = loaded
	} else {
		form.Field("email").Value = m.Email
	}
	p := page.Page{Title: m.Email, Crumbs: []page.Link{{Text: "Staff", Href: v.At("/staff")}, {Text: m.Email}}, Actions: []page.Action{{Text: "What this person did", Href: v.At("/audit?actor=" + url.QueryEscape(m.Email))}}}
	tries := page.Num(m.FailedTries)
	if m.LastFailedAt != nil {
		tries.Sub = "the last at " + *m.LastFailedAt
	}
	left := []page.Block{page.Facts{Title: "The person", Items: []page.Fact{
		{Label: "State", Value: m.state(time.Now())}, {Label: "Role", Value: page.Str(m.Role)}, {Label: "Second factor", Value: onOff(m.SecondFactor, ""), Help: "A code of an authenticator app is asked for at the sign-in"},
		{Label: "Last sign-in", Value: sincep(m.LastLoginAt)}, {Label: "Wrong passwords", Value: tries, Help: "Since the last sign-in"}, {Label: "Invitation good until", Value: page.Whenp(m.InvitedUntil)}, {Label: "Here since", Value: page.When(m.CreatedAt)}}},
		page.Section{ID: "edit", Title: "Name and role", Body: []page.Block{form}}, rolesTable()}
	p.Body = []page.Block{page.Split{Left: left, Right: []page.Block{deedSection(v, v.At("/staff/"+v.ID()), memberDeeds(v, &m), tried, "")}}}
	return p, nil
}

func (o *office) changeMember(v *site.Visit) (page.Page, error) {
	form := memberForm(v)
	return v.Submit(site.Task{Form: form, Method: http.MethodPatch, Path: api + "/staff/" + v.ID(), Then: site.To(v.At("/staff/" + v.ID())), Said: "Changed."}, func() (page.Page, error) { return o.memberPage(v, form, site.Tried{}) })
}

// memberDeeds are what can be done with somebody as he is now.
func memberDeeds(v *site.Visit, m *memberView) []site.Deed {
	at, then := api+"/staff/"+v.ID(), site.To(v.At("/staff/"+v.ID()))
	var out []site.Deed
	if m.Active && !m.Joined {
		out = append(out, site.Deed{Name: "invite", Summary: "Invite again…", Text: "A new link is made, and the one before ends.", Submit: "Make a new link", Fields: []page.Field{{Name: "send", Label: "Send the link by e-mail", Kind: page.Check}},
			Task: site.Task{Path: api + "/staff/invite", Body: func(body map[string]any) map[string]any {
				body["email"], body["role"] = m.Email, m.Role
				return body
			}, Instead: func(a *call.Answer) (page.Page, error) { return invited(v, a) }}})
	}
	if m.SecondFactor {
		out = append(out, site.Deed{Name: "factor", Summary: "Take the second factor off…", Text: "For somebody who has lost the app and all recovery codes. Until another is put on, the password alone lets in: be sure who asks.", Submit: "Take it off", Danger: true,
			Task: site.Task{Method: http.MethodDelete, Path: at + "/second-factor", Then: then, Said: "The second factor is off."}})
	}
	active := func(on bool) func(map[string]any) map[string]any {
		return func(body map[string]any) map[string]any {
			body["active"] = on
			return body
		}
	}
	if m.Active {
		return append(out, site.Deed{Name: "deactivate", Summary: "Deactivate…", Text: "Sessions and access tokens end at once, and nobody can sign in by this address. What was done stays under the name.", Submit: "Deactivate", Danger: true,
			Task: site.Task{Method: http.MethodPatch, Path: at, Body: active(false), Then: then, Said: "Deactivated: all sessions have ended."}})
	}
	return append(out, site.Deed{Name: "activate", Summary: "Activate…", Text: "The person can sign in again, with the password and the second factor from before.", Submit: "Activate",
		Task: site.Task{Method: http.MethodPatch, Path: at, Body: active(true), Then: then, Said: "Active again."}})
}

func (o *office) memberDeed(v *site.Visit) (page.Page, error) {
	var m memberView
	if err := v.Get(api+"/staff/"+v.ID(), nil, &m); err != nil {
		return page.Page{}, err
	}
	return v.Act(v.At("/staff/"+v.ID()), memberDeeds(v, &m), v.Param("action"), func(t site.Tried) (page.Page, error) { return o.memberPage(v, nil, t) })
}
