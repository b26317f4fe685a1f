package office

import (
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	textrules "github.com/postrider/postrider/internal/content"
	"github.com/postrider/postrider/internal/snapshot"
)

func (o *office) ruleRoutes() shows {
	return shows{
		"GET /console/content-rules":                o.rules,
		"GET /console/content-rules/new":            o.newRule,
		"POST /console/content-rules/new":           o.makeRule,
		"GET /console/content-rules/try":            o.tryRules,
		"POST /console/content-rules/try":           o.doTryRules,
		"GET /console/content-rules/{id}":           o.rule,
		"POST /console/content-rules/{id}":          o.changeRule,
		"POST /console/content-rules/{id}/{action}": o.ruleDeed,
	}
}

// rule is a content rule as the API has it.
type rule struct {
	ID, Name, Kind, Class, Pattern, Action string
	AccountID                              *string `json:"account_id"`
	MessageClass                           *string `json:"message_class"`
	EffectiveFrom                          string  `json:"effective_from"`
	Active                                 bool
	ChangedBy                              string `json:"changed_by"`
	UpdatedAt                              string `json:"updated_at"`
}

// ruleAction is what a rule does with a text.
func ruleAction(action string) page.Cell {
	switch action {
	case "refuse":
		return page.Badge(action, page.Bad, "The message is rejected")
	case "hold":
		return page.Badge(action, page.Warn, "The message waits until somebody has looked at it")
	case "flag":
		return page.Badge(action, page.Busy, "The message goes, and its trail says what was found")
	case "allow":
		return page.Badge(action, page.Good, "What other rules would flag or hold for the same class passes, for this account")
	}
	return page.Badge(action, page.Plain, "")
}

func (r *rule) state(now time.Time) page.Cell {
	if !r.Active {
		return page.Badge("off", page.Plain, "It is not asked")
	}
	if from, err := time.Parse(time.RFC3339, r.EffectiveFrom); err == nil && from.After(now) {
		return page.Badge("not yet", page.Busy, "It holds from the time that it says")
	}
	return page.Badge("in force", page.Good, "")
}

// kinds of patterns, in words.
var ruleKinds = []page.Option{{Value: "word", Text: "words or phrases"}, {Value: "regex", Text: "regular expression"}, {Value: "link", Text: "links"}, {Value: "phone", Text: "phone numbers"}}

func textOption(list []page.Option, value string) string {
	for _, o := range list {
		if o.Value == value {
			return o.Text
		}
	}
	return spaced(value)
}

func (o *office) rules(v *site.Visit) (page.Page, error) {
	filter := &page.Form{Method: "get", Inline: true, Submit: "Show", Label: "Narrow the list", Fields: []page.Field{
		{Name: "account_id", Label: "Account id"}, {Name: "global", Label: "Without those of accounts", Kind: page.Check}, {Name: "active", Label: "In force only", Kind: page.Check}}}
	rows, err := site.List[rule](v, api+"/content-rules", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "Content rules", Lead: "What the texts of messages are looked at for, and what is done with those in which it is found. The strongest action wins: refuse, hold, flag."}
	if v.May(snapshot.RoleCompliance) {
		p.Actions = []page.Action{{Text: "Try a text", Href: v.At("/content-rules/try")}, {Text: "New rule", Href: v.At("/content-rules/new"), Main: true}}
	}
	table := page.Table{Caption: "Content rules", Empty: "No rule fits.", EmptyHelp: "Without rules every text passes.",
		Columns: []page.Column{{Title: "Rule"}, {Title: "Action"}, {Title: "State"}, {Title: "About", Help: "The class of content; customers see it"}, {Title: "Looks for"}, {Title: "Messages", Help: "Which class of messages it is asked for"}, {Title: "Whose"}, {Title: "Changed"}}}
	p.Body = append([]page.Block{filter}, whoMay(v, "Changing and trying rules", snapshot.RoleCompliance)...)
	p.Body = append(p.Body, site.Table(v, rows, table, func(r rule) page.Row {
		whose, messages := page.Str("all accounts"), page.Str("all")
		if r.AccountID != nil {
			whose = customer(v, *r.AccountID)
		}
		if r.MessageClass != nil {
			messages = page.Str(*r.MessageClass)
		}
		return page.Row{Cells: []page.Cell{page.To(r.Name, v.At("/content-rules/"+url.PathEscape(r.ID))), ruleAction(r.Action), r.state(time.Now()), page.Str(r.Class), page.Mono(firstOf(r.Pattern, 50)).WithSub(textOption(ruleKinds, r.Kind)), messages, whose, page.When(r.UpdatedAt).WithSub(r.ChangedBy)}}
	}))
	return p, nil
}

// ruleForm makes and changes rules.
func ruleForm(v *site.Visit, made bool) *page.Form {
	f := &page.Form{Patch: made, Submit: "Save", Label: "The rule", Cancel: page.Link{Href: v.At("/content-rules")}, Fields: []page.Field{
		{Name: "name", Label: "Name", Required: true, Max: 100, Help: "Shown in the trails of messages.", Placeholder: "parcel pretexts"},
		{Name: "action", Label: "Action", Kind: page.Choice, Required: true, Value: "hold", Options: []page.Option{{Value: "refuse", Text: "refuse: the message is rejected"}, {Value: "hold", Text: "hold: it waits until somebody has looked at it"}, {Value: "flag", Text: "flag: it goes, and its trail says what was found"}, {Value: "allow", Text: "allow: for one account, what others would flag or hold passes"}}},
		{Name: "class", Label: "About", Kind: page.Choice, Required: true, Value: "other", Options: options(textrules.Classes...), Help: "Customers see it when a message is refused."},
		{Name: "kind", Label: "Looks for", Kind: page.Choice, Required: true, Value: "word", Options: ruleKinds},
		{Name: "pattern", Label: "Pattern", Kind: page.Multiline, Required: true, Rows: 6, Max: 16384, Help: "Words: one word or phrase a line, with * at the end for any further letters. Regular expression: RE2. Links: domains, *, @shorteners, @ip, @userinfo, @undeclared. Phone numbers: beginnings such as +1900, *, @undeclared."},
		{Name: "account_id", Label: "Account id", Help: "Empty: it holds for all accounts.", ReadOnly: made},
		{Name: "message_class", Label: "Messages", Kind: page.Choice, Options: append([]page.Option{{Text: "all"}}, options("otp", "conversation", "bulk")...)},
		{Name: "effective_from", Label: "Holds from", Kind: page.Moment, Keep: true, Help: "Empty: at once."},
		{Name: "active", Label: "It is asked", Kind: page.Check, Value: "true"},
	}}
	if made {
		f.Action = v.At("/content-rules/" + v.ID())
	} else {
		f.Action, f.Submit = v.At("/content-rules/new"), "Add the rule"
	}
	return f
}

func (o *office) newRule(v *site.Visit) (page.Page, error) {
	return o.newRulePage(v, ruleForm(v, false))
}

func (o *office) newRulePage(v *site.Visit, form *page.Form) (page.Page, error) {
	p := page.Page{Title: "New content rule", Lead: "Try it on texts before it holds: add it switched off, and try with the rules that are off.", Crumbs: []page.Link{{Text: "Content rules", Href: v.At("/content-rules")}, {Text: "New"}}}
	if p.Body = whoMay(v, "Adding rules", snapshot.RoleCompliance); len(p.Body) == 0 {
		p.Body = []page.Block{form}
	}
	return p, nil
}

func (o *office) makeRule(v *site.Visit) (page.Page, error) {
	form := ruleForm(v, false)
	return v.Submit(site.Task{Form: form, Path: api + "/content-rules", Then: site.ToMade(v.At("/content-rules")), Said: "The rule was added."}, func() (page.Page, error) { return o.newRulePage(v, form) })
}

func (o *office) rule(v *site.Visit) (page.Page, error) { return o.rulePage(v, nil, site.Tried{}) }

func (o *office) rulePage(v *site.Visit, form *page.Form, tried site.Tried) (page.Page, error) {
	var r rule
	loaded := ruleForm(v, true)
	if err := v.Loaded(loaded, api+"/content-rules/"+v.ID(), &r); err != nil {
		return page.Page{}, err
	}
	if form == nil {
		form = loaded
	} else {
		form.Field("account_id").Value = loaded.Field("account_id").Value
	}
	p := page.Page{Title: r.Name, Crumbs: []page.Link{{Text: "Content rules", Href: v.At("/content-rules")}, {Text: r.Name}}}
	whose := page.Str("all accounts")
	if r.AccountID != nil {
		whose = customer(v, *r.AccountID)
	}
	facts := page.Facts{Title: "The rule", Items: []page.Fact{{Label: "Action", Value: ruleAction(r.Action)}, {Label: "State", Value: r.state(time.Now())}, {Label: "About", Value: page.Str(r.Class)}, {Label: "Whose", Value: whose},
		{Label: "Holds from", Value: page.When(r.EffectiveFrom)}, {Label: "Last changed", Value: since(r.UpdatedAt)}, {Label: "By", Value: page.Str(r.ChangedBy)}}}
	left := []page.Block{facts}
	if v.May(snapshot.RoleCompliance) {
		p.Actions = []page.Action{{Text: "Try a text", Href: v.At("/content-rules/try")}}
		left = append(left, page.Section{ID: "edit", Title: "Change it", Body: []page.Block{form}})
	} else {
		left = append(left, page.Code{Label: "Looks for " + textOption(ruleKinds, r.Kind), Text: r.Pattern})
	}
	p.Body = []page.Block{page.Split{Left: left, Right: []page.Block{deedSection(v, v.At("/content-rules/"+v.ID()), ruleDeeds(v), tried, "", snapshot.RoleCompliance)}}}
	return p, nil
}

func (o *office) changeRule(v *site.Visit) (page.Page, error) {
	form := ruleForm(v, true)
	return v.Submit(site.Task{Form: form, Method: http.MethodPatch, Path: api + "/content-rules/" + v.ID(), Then: site.To(v.At("/content-rules/" + v.ID())), Said: "The rule was changed. It holds on every process within seconds."},
		func() (page.Page, error) { return o.rulePage(v, form, site.Tried{}) })
}

func ruleDeeds(v *site.Visit) []site.Deed {
	return []site.Deed{{Name: "delete", Summary: "Delete…", Text: "The rule is gone for good; what it has held still waits for a decision. To keep it, take the tick off “It is asked” instead.", Submit: "Delete the rule", Danger: true,
		Task: site.Task{Method: http.MethodDelete, Path: api + "/content-rules/" + v.ID(), Then: site.To(v.At("/content-rules")), Said: "The rule was deleted."}}}
}

func (o *office) ruleDeed(v *site.Visit) (page.Page, error) {
	return v.Act(v.At("/content-rules/"+v.ID()), ruleDeeds(v), v.Param("action"), func(t site.Tried) (page.Page, error) { return o.rulePage(v, nil, t) })
}

// trial is what rules find in a text.
type trial struct {
	Action  *string
	Matches []struct {
		RuleID     string `json:"rule_id"`
		Name       string
		Class      string
		Action     string
		Start, End int
		Text       string
		Overruled  bool
	}
}

// around is what stands before and behind a match, in octets at most.
const around = 30

// table lists what was found, with what stands around it.
func (t *trial) table(v *site.Visit, text string) page.Block {
	table := page.Table{Caption: "What was found", Empty: "No rule finds anything.", EmptyHelp: "The text would pass.",
		Columns: []page.Column{{Title: "Rule"}, {Title: "Action"}, {Title: "About"}, {Title: "Found"}, {Title: "In the text"}}}
	for _, m := range t.Matches {
		action := ruleAction(m.Action)
		if m.Overruled {
			action = action.WithSub("overruled: a rule of the account allows it")
		}
		table.Rows = append(table.Rows, page.Row{Cells: []page.Cell{page.To(m.Name, v.At("/content-rules/"+url.PathEscape(m.RuleID))), action, page.Str(m.Class), page.Mono(firstOf(m.Text, 80)), page.Str(excerpt(text, m.Start, m.End))}})
	}
	return table
}

// excerpt is a part of a text in «», with a bit of what stands around it.
func excerpt(text string, start, end int) string {
	if start < 0 || end > len(text) || start > end {
		return ""
	}
	from, to := max(0, start-around), min(len(text), end+around)
	for from > 0 && !utf8.RuneStart(text[from]) {
		from--
	}
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to++
	}
	out := text[from:start] + "«" + text[start:end] + "»" + text[end:to]
	if from > 0 {
		out = "…" + out
	}
	if to < len(text) {
		out += "…"
	}
	return out
}

func tryForm(v *site.Visit) *page.Form {
	return &page.Form{Action: v.At("/content-rules/try"), Submit: "Try", Label: "Try a text", Fields: []page.Field{
		{Name: "body", Label: "Text", Kind: page.Multiline, Required: true, Rows: 4, Max: 5000},
		{Name: "account_id", Label: "Account id", Help: "With the rules of this account. Empty: with those for all."},
		{Name: "message_class", Label: "Messages", Kind: page.Choice, Value: "conversation", Options: options("otp", "conversation", "bulk")},
		{Name: "inactive", Label: "Also by rules that are off", Kind: page.Check}}}
}

func (o *office) tryRules(v *site.Visit) (page.Page, error) {
	return o.tryPage(v, tryForm(v), nil)
}

func (o *office) tryPage(v *site.Visit, form *page.Form, found []page.Block) (page.Page, error) {
	p := page.Page{Title: "Try a text", Lead: "What the content rules find in it, and what would become of a message. Nothing is sent or stored.", Crumbs: []page.Link{{Text: "Content rules", Href: v.At("/content-rules")}, {Text: "Try a text"}}}
	if p.Body = whoMay(v, "Trying rules", snapshot.RoleCompliance); len(p.Body) == 0 {
		p.Body = append(found, form)
	}
	return p, nil
}

func (o *office) doTryRules(v *site.Visit) (page.Page, error) {
	form := tryForm(v)
	return v.Submit(site.Task{Form: form, Path: api + "/content-rules/test", Instead: func(a *call.Answer) (page.Page, error) {
		var t trial
		if err := a.Into(&t); err != nil {
			return page.Page{}, err
		}
		n := page.Notice{Tone: page.Good, Title: "It would pass", Text: "No rule is against it."}
		if t.Action != nil {
			switch *t.Action {
			case "refuse":
				n = page.Notice{Tone: page.Bad, Title: "It would be refused", Text: "The message ends as rejected with the code prohibited_content."}
			case "hold":
				n = page.Notice{Tone: page.Warn, Title: "It would be held", Text: "The message waits until somebody has looked at it."}
			case "flag":
				n = page.Notice{Tone: page.Busy, Title: "It would pass, and be flagged", Text: "The message goes, and its trail says what was found."}
			}
		}
		return o.tryPage(v, form, []page.Block{n, t.table(v, form.Field("body").Value)})
	}}, func() (page.Page, error) { return o.tryPage(v, form, nil) })
}
