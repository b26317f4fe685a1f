package account

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// missing is what stands against a registration.
type missing struct{ Location, Message string }

// field is the member of the body that it is about.
func (m missing) field() string {
	_, name, _ := strings.Cut(m.Location, ".")
	return name
}

// of reports whether it is about a field, or an element of it.
func (m missing) of(name string) bool {
	return m.field() == name || strings.HasPrefix(m.field(), name+"[") || strings.HasPrefix(name, m.field()+"[")
}

// flags are what the API calls the boxes of the form.
var flags = strings.NewReplacer("subscriber_optout true", "“People can opt out” ticked", "subscriber_help true", "“People get help” ticked",
	"set embedded_link true", "tick “Messages have links”", "set embedded_phone true", "tick “Messages have phone numbers”")

// said is it in the words of the form: of a choice, the options stand there.
func (m missing) said(f *page.Field) string {
	if f.Kind == page.Choice && strings.HasPrefix(m.Message, "is required") {
		return "is required: choose one"
	}
	return flags.Replace(m.Message)
}

// find is the step and the field in which it is put right; nil: there is none.
func (m missing) find(steps []step) (*step, *page.Field) {
	for i := range steps {
		for j := range steps[i].fields {
			if f := &steps[i].fields[j]; m.of(f.Name) {
				return &steps[i], f
			}
		}
	}
	return nil, nil
}

// step is one page of the form of a registration.
type step struct {
	name, title, lead string
	fields            []page.Field
}

func stepAt(steps []step, name string) int {
	return slices.IndexFunc(steps, func(s step) bool { return s.name == name })
}

// stepTabs lead through the steps of a registration; the last one is its page.
func stepTabs(base string, steps []step, at int) page.Block {
	tabs := page.Tabs{Label: "Steps"}
	for i, s := range steps {
		tabs.Items = append(tabs.Items, page.Link{Text: fmt.Sprintf("%d. %s", i+1, s.title), Href: base + "/" + s.name, Current: i == at})
	}
	tabs.Items = append(tabs.Items, page.Link{Text: fmt.Sprintf("%d. Check and send", len(steps)+1), Href: base, Current: at == len(steps)})
	return tabs
}

// stepForm is the form of a step: it saves a draft, and says what the registry would still
// refuse.
func stepForm(s *step, cancel string) *page.Form {
	return &page.Form{Submit: "Save and go on", Also: []page.Button{{Text: "Save and finish later", Name: "_later", Value: "1"}}, Patch: true, Fields: slices.Clone(s.fields), Cancel: page.Link{Text: "Cancel", Href: cancel}}
}

// say puts at the fields what the registry would refuse of them, and reports whether there
// was something.
func say(form *page.Form, s *step, list []missing) bool {
	form.Kept = true
	said := false
	for _, m := range list {
		if _, f := m.find([]step{*s}); f != nil {
			said = true
			form.Refuse(form.Trouble, []page.Fault{{Location: m.Location, Message: m.said(f)}})
		}
	}
	return said
}

// stillMissing stands above a step whose draft was saved and lacks something.
var stillMissing = page.Notice{Tone: page.Warn, Title: "Saved as a draft", Text: "The registry would refuse it as it is. What is wrong stands at the fields; you can also go on and come back later."}

// stepSaved goes on after a step was saved: to the next, back to the same with what the
// registry would refuse, or to the page of the whole.
func (v *visit) stepSaved(a *call.Answer, form *page.Form, steps []step, at int, base string, show func(...page.Block) (page.Page, error)) (page.Page, error) {
	var made struct {
		ID         string
		ToComplete []missing `json:"to_complete"`
	}
	if err := a.Into(&made); err != nil {
		return page.Page{}, err
	}
	here := base + "/" + url.PathEscape(made.ID)
	next := here
	if at+1 < len(steps) {
		next = here + "/" + steps[at+1].name
	}
	form.ETag = a.ETag
	switch {
	case v.R.PostForm.Get("_later") != "":
		return v.Done(here, "It is saved as a draft.")
	case !say(form, &steps[at], made.ToComplete):
		return v.Redirect(next)
	case v.Param("step") == "": // it was made just now, and has a page of its own
		return v.Redirect(here + "/" + steps[at].name + "?check=1")
	}
	p, err := show(stillMissing)
	if err != nil {
		return p, err
	}
	p.Body = append(p.Body, page.Bullets{page.To("Go on to the next step all the same", next)})
	v.Show(http.StatusUnprocessableEntity, p)
	return v.Answered()
}

// toDo lists what a draft lacks, each with a link to where it is asked for.
func toDo(base string, steps []step, list []missing) page.Block {
	t := page.Table{Caption: "What is still missing or wrong", ShowCaption: true, Columns: []page.Column{{Title: "Where"}, {Title: "What the registry would say"}}}
	for _, m := range list {
		where, what := page.Str(words(m.field())), m.Message
		if s, f := m.find(steps); f != nil {
			where, what = page.To(f.Label, base+"/"+s.name+"?check=1").WithSub(s.title), m.said(f)
		}
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{where, page.Str(what)}, Tone: page.Warn})
	}
	return t
}

// submission is the last step: asking for the registration, or taking that back.
func (v *visit) submission(base string, tried *page.Form, requested *string, open []missing, what string) []page.Block {
	if !v.Place.May(registryWrite) {
		return []page.Block{page.Text("Somebody with the scope registry:write changes it and sends it in.")}
	}
	if requested != nil {
		return []page.Block{page.Disclosure{Summary: "Take it back…", Body: []page.Block{page.Text("It becomes a draft again, and can be changed. Staff will not file it until you send it in once more."), submitForm(base, tried, "false", "Take it back")}}}
	}
	if len(open) > 0 && tried == nil {
		return nil
	}
	return []page.Block{page.Disclosure{Summary: "Send it in…", Open: tried != nil || len(open) == 0, Body: []page.Block{
		page.Text(what), submitForm(base, tried, "true", "Ask for the registration")}}}
}

func submitForm(base string, tried *page.Form, submit, text string) *page.Form {
	if tried != nil {
		return tried
	}
	return &page.Form{Action: base + "/submit", Submit: text, Fields: []page.Field{{Name: "submit", Kind: page.Hidden, Value: submit}}}
}

// submitting sends one in, or takes it back.
func (v *visit) submitting(path, base string, show func(*page.Form) (page.Page, error)) (page.Page, error) {
	form := submitForm(base, nil, "true", "Ask for the registration")
	yes := true
	return v.Submit(site.Task{Form: form, Method: http.MethodPatch, Path: path, Body: func(b map[string]any) map[string]any {
		yes = b["submit"] == "true"
		return map[string]any{"submit": yes}
	}, Instead: func(*call.Answer) (page.Page, error) {
		if !yes {
			return v.Done(base, "It is a draft again.")
		}
		return v.Done(base, "Its registration is asked for. Staff file it with the registry, and this page says what the registry answers.")
	}}, func() (page.Page, error) { return show(form) })
}

func (v *visit) registration() (page.Page, error) {
	brands, err := site.List[brandView](v.Visit, v.op("/brands"), nil, url.Values{"limit": {"100"}})
	if err != nil {
		return page.Page{}, err
	}
	campaigns, err := site.List[campaignView](v.Visit, v.op("/campaigns"), nil, url.Values{"limit": {"100"}})
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "10DLC registration", Lead: "US carriers take messages from long codes of registered companies only: a brand says who you are, a campaign what you send, and its numbers send it.", Crumbs: v.crumbs()}
	write := v.Place.May(registryWrite)
	if write {
		p.Actions = []page.Action{{Text: "Register a brand", Href: v.at("/brands/new"), Main: len(brands.Data) == 0}, {Text: "Describe a campaign", Href: v.at("/campaigns/new"), Main: len(brands.Data) > 0}}
	}
	p.Body = []page.Block{v.nextStep(brands.Data, campaigns.Data)}
	bt := page.Table{Caption: "Brands", Empty: "No brand is described yet.", EmptyHelp: "It begins with one: who you are, as the tax authority has it.", Columns: []page.Column{{Title: "Brand"}, {Title: "State"}, {Title: "Registry's id"}, {Title: "Identity", Help: "How sure the registry is of who you are"}, {Title: "Vetting score", Right: true, Help: "0 to 100; more lets you send more"}, {Title: "T-Mobile, parts a day", Right: true, Help: "Of all campaigns and vendors together"}, {Title: "Last change"}}}
	ct := page.Table{Caption: "Campaigns", Empty: "No campaign is described yet.", EmptyHelp: "A campaign says what you send to whom, and how people agree to it. It needs a brand.", Columns: []page.Column{{Title: "Campaign"}, {Title: "State"}, {Title: "Use case"}, {Title: "Brand"}, {Title: "Numbers", Right: true}, {Title: "Parts a minute", Right: true, Help: "What AT&T takes"}, {Title: "Last change"}}}
	if write {
		bt.EmptyLink, ct.EmptyLink = page.Link{Text: "Register a brand", Href: v.at("/brands/new")}, page.Link{Text: "Describe a campaign", Href: v.at("/campaigns/new")}
	}
	names := map[string]string{}
	for _, b := range brands.Data {
		names[b.ID] = b.Name
		bt.Rows = append(bt.Rows, page.Row{Cells: []page.Cell{page.To(b.Name, v.at("/brands/"+url.PathEscape(b.ID))), b.state(), monop(b.BrandID), page.Str(words(deref(b.Identity))), nump(b.Score, "It is not vetted"), nump(b.DailyCap, "None is known"), page.When(b.UpdatedAt)}, Tone: b.tone()})
	}
	for _, c := range campaigns.Data {
		name := deref(c.CampaignID)
		if name == "" {
			name = "not filed"
		}
		brand := page.None("It has none yet")
		if c.BrandID != nil {
			brand = page.To(names[*c.BrandID], v.at("/brands/"+url.PathEscape(*c.BrandID)))
		}
		ct.Rows = append(ct.Rows, page.Row{Cells: []page.Cell{page.CodeTo(name, v.at("/campaigns/"+url.PathEscape(c.ID))), c.state(), page.Str(useCaseName(c.UseCase)), brand, page.Num(len(c.Numbers)), nump(c.Throughput, "None is known"), page.When(c.UpdatedAt)}, Tone: c.tone()})
	}
	p.Body = append(p.Body, page.Section{ID: "brands", Title: "Brands", Body: []page.Block{bt}}, page.Section{ID: "campaigns", Title: "Campaigns", Body: []page.Block{ct}})
	return p, nil
}

// nextStep says how far the account is, and what to do now.
func (v *visit) nextStep(brands []brandView, campaigns []campaignView) page.Block {
	active := slices.IndexFunc(campaigns, func(c campaignView) bool { return c.Status == "active" })
	switch {
	case active >= 0 && len(campaigns[active].Numbers) > 0:
		return page.Notice{Tone: page.Good, Title: "You can send to the US", Text: "A campaign is active and has numbers."}
	case active >= 0:
		return page.Notice{Tone: page.Warn, Title: "Step 3 of 3: give the campaign numbers", Text: "It is active; numbers in it can send.", Link: page.Link{Text: "To the campaign", Href: v.at("/campaigns/" + url.PathEscape(campaigns[active].ID) + "#numbers")}}
	case len(brands) == 0:
		return page.Notice{Tone: page.Warn, Title: "Step 1 of 3: register a brand", Text: "Have the company's legal name, tax id and address at hand, as the tax authority has them.", Link: page.Link{Text: "Register a brand", Href: v.at("/brands/new")}}
	}
	if i := slices.IndexFunc(campaigns, func(c campaignView) bool { return c.Status == "draft" && c.RequestedAt == nil }); i >= 0 {
		return page.Notice{Tone: page.Warn, Title: "Step 2 of 3: complete the campaign and send it in", Text: "It is a draft: nobody files it yet.", Link: page.Link{Text: "To the campaign", Href: v.at("/campaigns/" + url.PathEscape(campaigns[i].ID))}}
	}
	if i := slices.IndexFunc(brands, func(b brandView) bool { return b.Status == "unregistered" && b.RequestedAt == nil }); i >= 0 && len(campaigns) == 0 {
		return page.Notice{Tone: page.Warn, Title: "Step 1 of 3: complete the brand and send it in", Text: "It is a draft: nobody files it yet.", Link: page.Link{Text: "To the brand", Href: v.at("/brands/" + url.PathEscape(brands[i].ID))}}
	}
	if len(campaigns) == 0 {
		return page.Notice{Tone: page.Warn, Title: "Step 2 of 3: describe a campaign", Text: "Say what you send to whom, and how people agree to it.", Link: page.Link{Text: "Describe a campaign", Href: v.at("/campaigns/new")}}
	}
	return page.Notice{Tone: page.Busy, Title: "It is on its way", Text: "Staff file what you sent in; the registry and the carriers take some days. There is nothing to do for you unless a state below says so."}
}

func monop(s *string) page.Cell {
	if s == nil {
		return page.None("It is not registered yet")
	}
	return page.Mono(*s)
}

func nump(n *int, help string) page.Cell {
	if n == nil {
		return page.None(help)
	}
	return page.Num(*n)
}
