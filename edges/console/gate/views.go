package gate

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// notices are what may be said of what was just done. The query of the page has their
// name, so that nobody can make a page say something else.
var notices = map[string]string{
	"signed_out": "You are signed out.",
	"chosen":     "Your password is set. Sign in with it.",
	"name":       "Your name was changed.",
	"password":   "Your password was changed. You are signed out everywhere else.",
	"factor_off": "The second factor is off.",
	"session":    "The session was ended.",
	"sessions":   "All other sessions were ended.",
}

// products name the doors.
var products = map[snapshot.Door]string{snapshot.Console: "Console", snapshot.Portal: "Portal"}

// frame surrounds a page. Nobody who waits for the second factor is shown the way
// elsewhere.
func (v *visit) frame() page.Frame {
	prefix := v.gate.prefix()
	f := page.Frame{Product: products[v.gate.Door], Home: prefix, CSRF: v.formCSRF()}
	if !v.in || v.session.Waiting {
		f.Home = prefix + "/sign-in"
		return f
	}
	p := v.person()
	if v.gate.Frame != nil {
		return v.gate.Frame(p)
	}
	f.Who, f.Role, f.Profile, f.SignOut = cmp.Or(p.Name, p.Email), cmp.Or(string(p.Role), p.AccountName), prefix+"/profile", prefix+"/sign-out"
	return f
}

// show answers with a page. A notice is of what was just done; empty: none.
func (v *visit) show(status int, p page.Page, notice string) error {
	if notice != "" {
		p.Flash = &page.Notice{Tone: page.Good, Text: notice}
	}
	return v.gate.Kit.Render(v.w, v.r, status, v.frame(), p)
}

func (v *visit) showError(e *pageError) error {
	link := page.Link{Text: "Go to the first page", Href: v.gate.prefix()}
	if e == errLink {
		link = page.Link{Text: "Ask for a new link", Href: v.gate.prefix() + "/forgot"}
	}
	return v.show(e.status, page.Page{Title: e.title, Narrow: true, Body: []page.Block{page.Notice{Tone: page.Bad, Text: e.text, Link: link}}}, "")
}

// The fields of passwords. Browsers and password managers go by their autocomplete.
func present(name, label string) page.Field {
	return page.Field{Name: name, Label: label, Kind: page.Secret, Required: true, Auto: "current-password"}
}

// chosen asks for a new password twice, since it is not seen.
func chosen() []page.Field {
	return []page.Field{
		{Name: "password", Label: "New password", Kind: page.Secret, Required: true, Auto: "new-password", Max: secret.MaxPassword,
			Help: "At least " + strconv.Itoa(secret.MinPassword) + " characters. A few words that do not belong together are good, and easy to keep in mind."},
		{Name: "again", Label: "New password once more", Kind: page.Secret, Required: true, Auto: "new-password", Max: secret.MaxPassword},
	}
}

func hidden(name, value string) page.Field {
	return page.Field{Name: name, Kind: page.Hidden, Value: value}
}

// signInForm is what the page of the sign-in shows beside its fields.
type signInForm struct {
	next, email   string
	wrong, notice string
}

func (v *visit) showSignIn(status int, s signInForm) error {
	f := &page.Form{Action: v.gate.prefix() + "/sign-in", Submit: "Sign in", Label: "Sign in", Trouble: s.wrong, Fields: []page.Field{
		{Name: "email", Label: "E-mail address", Kind: page.Email, Required: true, Auto: "username", Value: s.email},
		present("password", "Password"), hidden("next", s.next),
	}}
	p := page.Page{Title: "Sign in", Narrow: true, Body: []page.Block{f, page.Bullets{page.To("I have forgotten my password", v.gate.prefix()+"/forgot")}}}
	return v.show(status, p, s.notice)
}

func (v *visit) showAccounts(fit []snapshot.Person, s signInForm, sealed string) error {
	var options []page.Option
	for _, p := range fit {
		options = append(options, page.Option{Value: p.ID.String(), Text: p.AccountName})
	}
	f := &page.Form{Action: v.gate.prefix() + "/sign-in/account", Submit: "Go on", Label: "Choose an account", Fields: []page.Field{
		{Name: "account", Label: "Account", Kind: page.Choice, Options: options, Required: true, Value: options[0].Value},
		hidden("ticket", sealed), hidden("email", s.email), hidden("next", s.next),
	}}
	return v.show(http.StatusOK, page.Page{Title: "Choose an account", Lead: "Your password opens several accounts.", Narrow: true, Body: []page.Block{f}}, "")
}

func (v *visit) showCode(status int, next, wrong string) error {
	f := &page.Form{Action: v.gate.prefix() + "/sign-in/code", Submit: "Go on", Label: "Second factor", Fields: []page.Field{
		{Name: "code", Label: "Code", Required: true, Auto: "one-time-code", Max: 20, Error: wrong,
			Help: "Of your authenticator app, or one of your recovery codes."}, hidden("next", next),
	}}
	out := &page.Form{Action: v.gate.prefix() + "/sign-out", Submit: "Start over", Quiet: true}
	return v.show(status, page.Page{Title: "Second factor", Lead: "The password was right. Now give the code that your authenticator app shows.", Narrow: true, Body: []page.Block{f, out}}, "")
}

type forgotForm struct {
	wrong string
	sent  bool
}

func (v *visit) showForgot(status int, s forgotForm) error {
	back := page.Bullets{page.To("Back to the sign-in", v.gate.prefix()+"/sign-in")}
	p := page.Page{Title: "Choose a new password", Narrow: true}
	if s.sent {
		p.Body = []page.Block{page.Notice{Tone: page.Good, Title: "Look into your mailbox.",
			Text: "If somebody signs in here with this address, an e-mail with a link is on its way. It is good for an hour."}, back}
		return v.show(status, p, "")
	}
	p.Lead = "You get a link by e-mail with which you choose another one."
	p.Body = []page.Block{&page.Form{Action: v.gate.prefix() + "/forgot", Submit: "Send the link", Label: "Choose a new password", Trouble: s.wrong, Fields: []page.Field{
		{Name: "email", Label: "E-mail address", Kind: page.Email, Required: true, Auto: "username"},
	}}, back}
	return v.show(status, p, "")
}

type linkForm struct {
	person  snapshot.Person
	purpose snapshot.LinkPurpose
	wrong   map[string]string // by field; "": of the whole
}

func (v *visit) showLink(status int, s linkForm) error {
	p := page.Page{Title: "Choose a password", Narrow: true, Lead: "For " + s.person.Email + "."}
	if s.person.AccountName != "" {
		p.Lead = "For " + s.person.Email + ", in the account " + s.person.AccountName + "."
	}
	// The address goes along for password managers, which keep it with the password.
	fields := append([]page.Field{{Name: "email", Label: "E-mail address", Kind: page.Email, Auto: "username", Value: s.person.Email, ReadOnly: true}}, chosen()...)
	f := &page.Form{Action: v.r.URL.Path, Submit: "Set the password", Label: "Choose a password", Fields: fields, Trouble: s.wrong[""]}
	mark(f, s.wrong)
	p.Body = []page.Block{f}
	return v.show(status, p, "")
}

// mark shows what is wrong at those fields that the form has.
func mark(f *page.Form, wrong map[string]string) *page.Form {
	for name, what := range wrong {
		if field := f.Field(name); field != nil {
			field.Error = what
		}
	}
	return f
}

// profileView is what the profile shows of who is signed in, beside what is in the
// session.
type profileView struct {
	sessions []snapshot.WebSession
	codes    int // recovery codes that are left
	wrong    map[string]string
	notice   string
}

func (v *visit) showProfile(status int, s profileView) error {
	p, at := v.session.Person, v.gate.prefix()+"/profile"
	facts := page.Facts{Title: "You", Items: []page.Fact{{Label: "E-mail address", Value: page.Str(p.Email)}}}
	if p.Role != "" {
		facts.Items = append(facts.Items, page.Fact{Label: "Role", Value: page.Str(string(p.Role))})
	}
	if p.AccountName != "" {
		scopes := make([]page.Cell, 0, len(p.Scopes))
		for _, scope := range p.Scopes {
			scopes = append(scopes, page.Mono(scope))
		}
		facts.Items = append(facts.Items, page.Fact{Label: "Account", Value: page.Str(p.AccountName)})
		if len(scopes) > 0 {
			facts.Items = append(facts.Items, page.Fact{Label: "You may", Value: scopes[0], More: scopes[1:]})
		}
	}
	name := mark(&page.Form{Action: at + "/name", Submit: "Save the name", Fields: []page.Field{
		{Name: "name", Label: "Name", Value: p.Name, Max: maxName, Auto: "name"}}}, s.wrong)
	password := mark(&page.Form{Action: at + "/password", Submit: "Change the password", Label: "Change the password",
		Fields: append([]page.Field{present("present", "Present password")}, chosen()...)}, s.wrong)
	return v.show(status, page.Page{Title: "Your profile", Body: []page.Block{
		facts, name,
		page.Section{ID: "password", Title: "Password", Help: "Another password signs you out everywhere else.", Body: []page.Block{password}},
		v.factorSection(s), v.sessionSection(s.sessions),
	}}, s.notice)
}

func (v *visit) factorSection(s profileView) page.Section {
	at := v.gate.prefix() + "/profile/factor"
	out := page.Section{ID: "factor", Title: "Second factor", Help: "With a second factor, your password alone lets nobody in."}
	if !v.session.Person.SecondFactor {
		out.Body = []page.Block{page.Facts{Items: []page.Fact{{Label: "State", Value: page.On(false)}}},
			mark(&page.Form{Action: at, Submit: "Turn it on", Label: "Turn the second factor on",
				Fields: []page.Field{present("factor_password", "Present password")}}, s.wrong)}
		return out
	}
	off := mark(&page.Form{Action: at + "/off", Submit: "Turn it off", Danger: true, Label: "Turn the second factor off",
		Fields: []page.Field{present("off_password", "Present password")}}, s.wrong)
	out.Body = []page.Block{
		page.Facts{Items: []page.Fact{{Label: "State", Value: page.On(true)}, {Label: "Recovery codes left", Value: page.Num(s.codes),
			Help: "To get new ones, turn the second factor off and on."}}},
		page.Disclosure{Summary: "Turn it off", Danger: true, Open: off.Failed(), Body: []page.Block{off}},
	}
	return out
}

func (v *visit) sessionSection(sessions []snapshot.WebSession) page.Section {
	at := v.gate.prefix() + "/profile/sessions"
	table := page.Table{Caption: "Where you are signed in", Columns: []page.Column{{Title: "Browser"}, {Title: "Address"}, {Title: "Since"}, {Title: "Last seen"}, {Title: "Second factor"}, {Title: ""}}}
	for _, s := range sessions {
		end := page.Badge("this one", page.Good, "")
		if s.ID != v.session.ID {
			end = page.Do(&page.Form{Action: at + "/end", Submit: "End", Quiet: true, Label: "End the session from " + s.Address, Fields: []page.Field{hidden("session", s.ID.String())}})
		}
		table.Rows = append(table.Rows, page.Row{Cells: []page.Cell{page.Str(s.UserAgent), page.Mono(s.Address), page.Time(s.CreatedAt), page.Time(s.SeenAt), page.YesNo(s.SecondFactor), end}})
	}
	out := page.Section{ID: "sessions", Title: "Sessions", Help: "Where you are signed in. End what you do not know, and change your password then.", Body: []page.Block{table}}
	if len(sessions) > 1 {
		out.Body = append(out.Body, &page.Form{Action: at + "/end-others", Submit: "End all others", Quiet: true})
	}
	return out
}

// qrSize is the width of the code in pixels: three or four for each module.
const qrSize = 220

func (v *visit) showFactor(status int, shared secret.String, wrong string) error {
	p := v.session.Person
	address := secret.TOTPURL(shared, "Postrider "+products[v.gate.Door], p.Email)
	svg, err := qrSVG(address)
	if err != nil {
		return err
	}
	at := v.gate.prefix() + "/profile"
	f := &page.Form{Action: at + "/factor/confirm", Submit: "Turn it on", Label: "Confirm the second factor", Cancel: page.Link{Text: "Cancel", Href: at}, Fields: []page.Field{
		{Name: "code", Label: "Code", Required: true, Auto: "one-time-code", Max: 20, Error: wrong, Help: "The six digits that the app shows now."}}}
	return v.show(status, page.Page{Title: "Turn the second factor on", Narrow: true, Crumbs: []page.Link{{Text: "Your profile", Href: at}},
		Lead: "Scan this with an authenticator app, or type the key into it.",
		Body: []page.Block{page.Drawn{Label: "QR code of the key below", SVG: svg, Size: qrSize}, page.Code{Label: "Key", Text: shared.Reveal()}, f}}, "")
}

func (v *visit) showCodes(codes []secret.String) error {
	lines := make([]string, len(codes))
	for i, c := range codes {
		lines[i] = c.Reveal()
	}
	at := v.gate.prefix() + "/profile"
	return v.show(http.StatusOK, page.Page{Title: "The second factor is on", Narrow: true, Crumbs: []page.Link{{Text: "Your profile", Href: at}},
		Lead: "Each of these codes lets you in once, when you do not have your authenticator app.",
		Body: []page.Block{page.Code{Label: "Recovery codes", Text: strings.Join(lines, "\n"), Secret: true}, page.Bullets{page.To("Back to your profile", at)}}}, "")
}
