package office

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/snapshot"
)

func (o *office) heldRoutes() shows {
	return shows{
		"GET /console/held":                o.held,
		"POST /console/held":               o.decideSeveral,
		"GET /console/held/{id}":           o.heldOne,
		"POST /console/held/{id}/{action}": o.decideOne,
	}
}

func (o *office) held(v *site.Visit) (page.Page, error) { return o.heldPage(v, nil) }

// heldPage lists what waits, oldest first; several is the form that was refused, if one was.
func (o *office) heldPage(v *site.Visit, several *page.Form) (page.Page, error) {
	filter := &page.Form{Method: "get", Inline: true, Submit: "Show", Label: "Narrow the list", Fields: []page.Field{{Name: "account_id", Label: "Account id"}}}
	rows, err := site.List[messageView](v, api+"/messages/held", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Messages that wait for a decision", Empty: "Nothing waits.", EmptyHelp: "Messages come here when a content rule with the action “hold” finds something in their text.",
		Columns: []page.Column{{Title: "Message"}, {Title: "Waits since"}, {Title: "Account"}, {Title: "To", Help: "And from which sender"}, {Title: "Why", Help: "What the rule is about that holds it"}, {Title: "Text", Help: "That it was read is in the audit log"}}}
	p := page.Page{Title: "Held messages", Lead: "Content rules hold these until somebody has looked at them. The longest waiting stand first."}
	p.Body = append(p.Body, filter)
	p.Body = append(p.Body, whoMay(v, "Releasing and refusing", snapshot.RoleCompliance)...)
	p.Body = append(p.Body, site.Table(v, rows, table, func(m messageView) page.Row {
		return page.Row{Tone: page.Warn, Cells: []page.Cell{page.CodeTo(short(m.ID), v.At("/held/"+url.PathEscape(m.ID))), since(m.CreatedAt), customer(v, m.AccountID), fromTo(&m), page.Str(m.heldFor()), textOf(v, m.Body)}}
	}))
	if len(rows.Data) > 0 && v.May(snapshot.RoleCompliance) {
		if several == nil {
			several = severalForm(v)
		}
		for _, m := range rows.Data {
			several.Field("_ids").Options = append(several.Field("_ids").Options, page.Option{Value: m.ID, Text: heldLabel(m)})
		}
		p.Body = append(p.Body, page.Section{ID: "several", Title: "Decide several at once", Body: []page.Block{several}})
	}
	return p, nil
}

// heldFor is the detail of a hold without the words that all of them have.
func (m *messageView) heldFor() string {
	if m.Hold == nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(m.Hold.Detail, "the text matches a content rule of "), " and waits for a review")
}

func fromTo(m *messageView) page.Cell {
	c := number(m.To)
	if m.From != nil {
		c.Sub = "from " + *m.From
	}
	return c
}

// textOf is a text for those who may read it.
func textOf(v *site.Visit, body *string) page.Cell {
	if body == nil {
		if v.May(snapshot.RoleSupport, snapshot.RoleCompliance) {
			return page.None("There is none, or it is no text")
		}
		return page.None("Support and compliance may read texts")
	}
	return page.Str(firstOf(*body, 160))
}

func heldLabel(m messageView) string {
	to, text := "", ""
	if m.To != nil {
		to = " to " + *m.To
	}
	if m.Body != nil {
		text = ": " + firstOf(*m.Body, 70)
	}
	return short(m.ID) + to + text
}

func severalForm(v *site.Visit) *page.Form {
	return &page.Form{Action: v.At("/held"), Submit: "Decide", Label: "Decide several at once", Fields: []page.Field{
		{Name: "_ids", Label: "Messages", Kind: page.Choices},
		{Name: "_verdict", Label: "What becomes of them", Kind: page.Choice, Required: true, Options: []page.Option{{Text: "Choose…"}, {Value: "release", Text: "Release: they are checked anew and go"}, {Value: "refuse", Text: "Refuse: they end as rejected"}}},
		{Name: "reason", Label: "Reason", Max: 300, Help: "Needed to refuse: the customer sees it."},
	}}
}

// decideSeveral says the same of each message that was ticked. What cannot be decided any
// more is told, and does not keep the others.
func (o *office) decideSeveral(v *site.Visit) (page.Page, error) {
	form := severalForm(v)
	body, ok := form.Read(v.R)
	ids, verdict := form.Field("_ids"), form.Field("_verdict")
	if ok && len(ids.Values) == 0 {
		ids.Error = "tick at least one message"
	}
	if ok && verdict.Value != "release" && verdict.Value != "refuse" {
		verdict.Error = "is needed"
	}
	if ok && verdict.Value == "refuse" && body["reason"] == nil {
		form.Field("reason").Error = "is needed to refuse: the customer sees it"
	}
	if !ok || form.Failed() {
		p, err := o.heldPage(v, form)
		if err == nil {
			v.Show(http.StatusUnprocessableEntity, p)
		}
		return p, err
	}
	done, said := 0, page.Notice{Tone: page.Good}
	for _, id := range ids.Values {
		_, err := v.Do(call.Request{Method: http.MethodPost, Path: api + "/messages/" + url.PathEscape(id) + "/" + verdict.Value, Body: body})
		var refused *call.Problem
		switch {
		case errors.As(err, &refused):
			said.Tone = page.Warn
			if len(said.Lines) < 10 { // a cookie carries them
				said.Lines = append(said.Lines, short(id)+": "+firstOf(refused.Detail, 120))
			}
		case err != nil:
			return page.Page{}, err
		default:
			done++
		}
	}
	said.Text = countOf(done, "message was ", "messages were ") + map[string]string{"release": "released.", "refuse": "refused."}[verdict.Value]
	return v.DoneWith(v.At("/held"), said)
}

func (o *office) heldOne(v *site.Visit) (page.Page, error) { return o.heldOnePage(v, site.Tried{}) }

func heldDeeds(v *site.Visit) []site.Deed {
	at, then := api+"/messages/"+v.ID(), site.To(v.At("/held"))
	return []site.Deed{
		{Name: "release", Summary: "Release…", Text: "It is checked anew and goes, unless something else is against it.", Submit: "Release",
			Fields: []page.Field{{Name: "reason", Label: "Reason", Help: "For the audit log.", Max: 300}}, Task: site.Task{Path: at + "/release", Then: then, Said: "The message was released."}},
		{Name: "refuse", Summary: "Refuse…", Text: "It ends as rejected with the code prohibited_content, and the customer is told why.", Submit: "Refuse", Danger: true,
			Fields: []page.Field{{Name: "reason", Label: "Reason", Required: true, Help: "The customer sees it.", Max: 300}}, Task: site.Task{Path: at + "/refuse", Then: then, Said: "The message was refused."}},
	}
}

func (o *office) decideOne(v *site.Visit) (page.Page, error) {
	return v.Act(v.At("/held/"+v.ID()), heldDeeds(v), v.Param("action"), func(t site.Tried) (page.Page, error) { return o.heldOnePage(v, t) })
}

func (o *office) heldOnePage(v *site.Visit, tried site.Tried) (page.Page, error) {
	var m messageView
	if err := v.Get(api+"/messages/"+v.ID(), nil, &m); err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "Held message " + short(m.ID), Crumbs: []page.Link{{Text: "Held messages", Href: v.At("/held")}, {Text: short(m.ID)}},
		Actions: []page.Action{{Text: "All there is of this message", Href: v.At("/messages/" + v.ID())}}}
	waits := m.Hold != nil && m.Hold.Rule == "content"
	left := []page.Block{page.Facts{Title: "The message", Items: []page.Fact{
		{Label: "Status", Value: page.Status(m.Status)}, {Label: "Waits since", Value: since(m.CreatedAt)}, {Label: "Account", Value: customer(v, m.AccountID)},
		{Label: "From", Value: number(m.From)}, {Label: "To", Value: number(m.To)}, {Label: "Class", Value: page.Str(m.MessageClass), Help: "otp goes first, then conversation, then bulk"},
		{Label: "Campaign", Value: page.Strp(m.CampaignID)}, {Label: "Valid until", Value: page.Whenp(m.ExpiresAt), Help: "Then it expires, whether or not it was looked at"},
	}}}
	if waits {
		p.Body = append(p.Body, page.Notice{Tone: page.Warn, Title: "It waits for a decision", Text: capitalized(m.Hold.Detail)})
	} else {
		p.Body = append(p.Body, page.Notice{Text: "It does not wait for a decision any more: somebody has decided, or it has ended."})
	}
	left = append(left, content(v, &m)...)
	found, err := o.findings(v, &m)
	if err != nil {
		return page.Page{}, err
	}
	left = append(left, found...)
	var deeds []site.Deed
	if waits {
		deeds = heldDeeds(v)
	}
	p.Body = append(p.Body, page.Split{Left: left, Right: []page.Block{deedSection(v, v.At("/held/"+v.ID()), deeds, tried, "Nothing has to be decided.", snapshot.RoleCompliance)}})
	return p, nil
}

// findings are what the rules find in a text as they are now, for those who may try rules.
func (o *office) findings(v *site.Visit, m *messageView) ([]page.Block, error) {
	if m.Body == nil || *m.Body == "" || !v.May(snapshot.RoleCompliance) {
		return nil, nil
	}
	tried, err := v.Do(call.Request{Method: http.MethodPost, Path: api + "/content-rules/test", Body: map[string]any{"body": *m.Body, "account_id": m.AccountID, "message_class": m.MessageClass}})
	if err != nil {
		return nil, err
	}
	var r trial
	if err := tried.Into(&r); err != nil {
		return nil, err
	}
	return []page.Block{page.Section{ID: "findings", Title: "What the rules find", Help: "By the rules as they are now; they may have changed since it was held.", Body: []page.Block{r.table(v, *m.Body)}}}, nil
}
