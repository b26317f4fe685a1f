package account

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// optOutView is somebody who wants no more messages.
type optOutView struct {
	ID         string
	Recipient  string
	Scope      string
	Sender     *string
	CampaignID *string `json:"campaign_id"`
	Active     bool
	Keyword    *string
	Source     string
	MessageID  *string `json:"message_id"`
	Reason     *string
	At         string
	EndedAt    *string `json:"ended_at"`
	EndReason  *string `json:"end_reason"`
}

// stops says what the recipient has stopped.
func (o *optOutView) stops() page.Cell {
	switch o.Scope {
	case "number":
		return page.Mono(deref(o.Sender)).WithSub("this sender")
	case "campaign":
		return page.Mono(deref(o.CampaignID)).WithSub("every number of the campaign")
	}
	return page.Str("everything").WithSub("every sender of the account")
}

// came says how it came to be known.
func (o *optOutView) came() page.Cell {
	switch o.Source {
	case "keyword":
		return page.Str("the recipient wrote it").WithSub(deref(o.Keyword))
	case "vendor":
		return page.Str("a vendor reported it")
	case "import":
		return page.Str("imported from a file").WithSub(deref(o.Reason))
	}
	return page.Str("recorded by hand or over the API").WithSub(deref(o.Reason))
}

func (o *optOutView) state() page.Cell {
	if o.Active {
		return page.Badge("stopped", page.Bad, "Messages are refused with opted_out")
	}
	return page.Badge("ended", page.Plain, "It is kept as history for five years")
}

func (v *visit) optOuts() (page.Page, error) {
	filter := &page.Form{Method: "get", Inline: true, Submit: "Search", Label: "Search opt-outs", Fields: []page.Field{
		{Name: "recipient", Label: "Recipient"}, {Name: "sender", Label: "Sender"}, {Name: "campaign_id", Label: "Campaign"},
		{Name: "active", Label: "State", Kind: page.Choice, Options: []page.Option{{Text: "any"}, {Value: "true", Text: "stopped"}, {Value: "false", Text: "ended"}}}}}
	rows, err := site.List[optOutView](v.Visit, v.op("/opt-outs"), filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Opt-outs", Empty: "No opt-out fits.", EmptyHelp: "STOP and its like are recorded by themselves; what reached you another way you record here.", Columns: []page.Column{
		{Title: "Recipient"}, {Title: "State"}, {Title: "Has stopped", Help: "One sender, every number of a campaign, or all of the account"}, {Title: "How it is known"}, {Title: "Message", Help: "The one it came by, or that was refused for it"}, {Title: "Since"}, {Title: "Ended"}}}
	p := page.Page{Title: "Opt-outs", Lead: "Who wants no more messages. What is sent to them is refused with opted_out.", Crumbs: v.crumbs(), Actions: []page.Action{
		{Text: "Check a number", Href: v.at("/opt-outs/check")}, {Text: "Download as CSV", Href: v.exportLink(filter), Download: true}}}
	if v.Place.May(optOutsWrite) {
		p.Actions = append(p.Actions, page.Action{Text: "Import a CSV", Href: v.at("/opt-outs/import")}, page.Action{Text: "Record an opt-out", Href: v.at("/opt-outs/new"), Main: true})
	}
	p.Body = []page.Block{filter, site.Table(v.Visit, rows, table, func(o optOutView) page.Row {
		return page.Row{Cells: []page.Cell{page.CodeTo(o.Recipient, v.at("/opt-outs/"+url.PathEscape(o.ID))), o.state(), o.stops(), o.came(), v.message(o.MessageID), page.When(o.At), page.Whenp(o.EndedAt)}}
	})}
	return p, nil
}

func (v *visit) exportLink(filter *page.Form) string {
	if q := filter.Query(); len(q) > 0 {
		return v.at("/opt-outs/export?" + q.Encode())
	}
	return v.at("/opt-outs/export")
}

func (v *visit) exportOptOuts() (page.Page, error) {
	q := url.Values{}
	for _, name := range []string{"recipient", "sender", "campaign_id", "active"} {
		if s := v.R.URL.Query().Get(name); s != "" {
			q.Set(name, s)
		}
	}
	return v.File(v.op("/opt-outs/export"), q, "text/csv")
}

func (v *visit) optOutCrumbs(here string) []page.Link {
	return v.crumbs(page.Link{Text: "Opt-outs", Href: v.at("/opt-outs")}, page.Link{Text: here})
}

func (v *visit) newOptOut() (page.Page, error) {
	form := &page.Form{Submit: "Record it", Cancel: page.Link{Text: "Cancel", Href: v.at("/opt-outs")}, Fields: []page.Field{
		{Name: "recipient", Label: "Recipient", Required: true, Max: 64, Placeholder: "+13105550117", Value: v.R.URL.Query().Get("recipient"), Help: "Who wants no more messages."},
		{Name: "scope", Label: "What is stopped", Kind: page.Choice, Options: []page.Option{{Value: "account", Text: "everything: every sender of the account"}, {Value: "campaign", Text: "every number of one campaign"}, {Value: "number", Text: "one sender"}}},
		{Name: "sender", Label: "Sender", Max: 64, Placeholder: "+12025550143", When: "scope=number"},
		{Name: "campaign_id", Label: "Campaign", Max: 64, Placeholder: "C8X2KQ1", Help: "The registry's id.", When: "scope=campaign"},
		{Name: "keyword", Label: "What the recipient wrote", Max: 32, Placeholder: "STOP", Help: "If it was a word of his."},
		{Name: "reason", Label: "Reason", Max: 256, Help: "For the record, such as: asked by phone."}, site.Key()}}
	show := func() (page.Page, error) {
		return page.Page{Title: "Record an opt-out", Lead: "It is in force within two seconds. One that is in force already is left as it is.", Crumbs: v.optOutCrumbs("New"), Body: []page.Block{form}}, nil
	}
	if !v.Post() {
		return show()
	}
	return v.Submit(site.Task{Form: form, Path: v.op("/opt-outs"), Once: true, Then: site.ToMade(v.at("/opt-outs")), Said: "The opt-out is in force.",
		Body: func(b map[string]any) map[string]any {
			if b["scope"] != "number" {
				delete(b, "sender")
			}
			if b["scope"] != "campaign" {
				delete(b, "campaign_id")
			}
			return b
		}}, show)
}

func (v *visit) checkOptOut() (page.Page, error) {
	form := &page.Form{Method: "get", Submit: "Check", Fields: []page.Field{
		{Name: "recipient", Label: "Recipient", Required: true, Placeholder: "+13105550117", Max: 64},
		{Name: "sender", Label: "Sender", Required: true, Placeholder: "+12025550143", Max: 64, Suggest: v.ownNumbers()}}}
	form.From(v.R.URL.Query())
	p := page.Page{Title: "Check a number", Lead: "Whether a message from one of your senders to a recipient is refused because of an opt-out.", Crumbs: v.optOutCrumbs("Check"), Body: []page.Block{form}}
	q := form.Query()
	if len(q) == 0 {
		return p, nil
	}
	var got struct {
		Stopped bool
		OptOut  *optOutView `json:"opt_out"`
	}
	if err := v.Get(v.op("/opt-outs/check"), q, &got); err != nil {
		refused, ok := refusal(err)
		if !ok {
			return p, err
		}
		form.Refuse(site.Words(refused), pageFaults(refused))
		v.Show(refused.Status, p)
		return v.Answered()
	}
	n := page.Notice{Tone: page.Good, Title: "No opt-out stands against it", Text: fmt.Sprintf("%s may be sent to from %s, as far as opt-outs are concerned.", q.Get("recipient"), q.Get("sender"))}
	if got.Stopped {
		n = page.Notice{Tone: page.Bad, Title: "It is stopped", Text: fmt.Sprintf("A message from %s to %s is refused with opted_out.", q.Get("sender"), q.Get("recipient"))}
		if got.OptOut != nil {
			n.Link = page.Link{Text: "The opt-out", Href: v.at("/opt-outs/" + url.PathEscape(got.OptOut.ID))}
		}
	}
	p.Body = append([]page.Block{n}, p.Body...)
	return p, nil
}

// ownNumbers are suggested as senders.
func (v *visit) ownNumbers() []string {
	var rows site.Rows[numberView]
	if !v.Sees(numbersRead) || v.Get(v.op("/numbers"), url.Values{"limit": {"50"}}, &rows) != nil {
		return nil // they are typed then
	}
	var out []string
	for _, n := range rows.Data {
		out = append(out, n.Number)
	}
	return out
}

func (v *visit) optOut() (page.Page, error) { return v.optOutPage(nil) }

func (v *visit) endForm() *page.Form {
	return &page.Form{Action: v.at("/opt-outs/" + v.param("optout")), Submit: "End the opt-out", Danger: true, Fields: []page.Field{
		{Name: "reason", Label: "How the recipient consented again", Required: true, Max: 256, Help: "The proof, such as: opted in again on the web form on 21 November."}}}
}

func (v *visit) optOutPage(sent *page.Form) (page.Page, error) {
	var o optOutView
	if err := v.Get(v.op("/opt-outs/"+v.param("optout")), nil, &o); err != nil {
		return page.Page{}, err
	}
	campaign := page.None("")
	if o.CampaignID != nil {
		campaign = page.CodeTo(*o.CampaignID, v.campaignPages()[*o.CampaignID])
	}
	p := page.Page{Title: "Opt-out of " + o.Recipient, Crumbs: v.optOutCrumbs(o.Recipient), Actions: []page.Action{{Text: "Messages to it", Href: v.messagesOf(url.Values{"to": {o.Recipient}})}},
		Body: []page.Block{page.Facts{Title: "The opt-out", Items: []page.Fact{
			{Label: "State", Value: o.state()}, {Label: "Has stopped", Value: o.stops()}, {Label: "Campaign", Value: campaign}, {Label: "How it is known", Value: o.came()},
			{Label: "Word", Value: page.Strp(o.Keyword), Help: "What the recipient wrote, as it is listed"}, {Label: "Message", Value: v.message(o.MessageID), Help: "The one it came by, or that was refused for it"},
			{Label: "Reason", Value: page.Strp(o.Reason)}, {Label: "Since", Value: page.When(o.At)}, {Label: "Ended", Value: page.Whenp(o.EndedAt)}, {Label: "Why it ended", Value: page.Strp(o.EndReason)}}}}}
	switch {
	case !o.Active:
		p.Body = append(p.Body, page.Text("It has ended and is kept as history, for five years at least."))
	case !v.Place.May(optOutsWrite):
		p.Body = append(p.Body, page.Text("Somebody with the scope optouts:write ends it."))
	default:
		form, open := sent, true
		if form == nil {
			form, open = v.endForm(), false
		}
		p.Body = append(p.Body, page.Disclosure{Summary: "End it…", Danger: true, Open: open, Body: []page.Block{
			page.Text("The recipient gets messages again. Do it only with consent that you can prove: sending to somebody who has opted out is fined per message. The row is kept as history, with your reason."), form}})
	}
	return p, nil
}

func (v *visit) endOptOut() (page.Page, error) {
	form := v.endForm()
	show := func() (page.Page, error) { return v.optOutPage(form) }
	return v.Submit(site.Task{Form: form, Method: http.MethodDelete, Path: v.op("/opt-outs/" + v.param("optout")), Query: func(b map[string]any) url.Values {
		reason, _ := b["reason"].(string)
		return url.Values{"reason": {reason}}
	}, Then: site.To(v.at("/opt-outs/" + v.param("optout"))), Said: "The opt-out has ended."}, show)
}

// imported is what became of a file.
type imported struct {
	Rows, Created, Already, Invalid int
	Errors                          []struct {
		Line    int
		Message string
	}
}

func (v *visit) importOptOuts() (page.Page, error) {
	form := &page.Form{Submit: "Import", Cancel: page.Link{Text: "Cancel", Href: v.at("/opt-outs")}, Fields: []page.Field{{Name: "file", Label: "File", Kind: page.File, Help: "A CSV in UTF-8 of at most 10 MiB."}}}
	show := func(status int, before ...page.Block) (page.Page, error) {
		v.Show(status, page.Page{Title: "Import opt-outs", Lead: "A list of another system, so that nobody on it is written to from here.", Crumbs: v.optOutCrumbs("Import"),
			Body: append(before, form, page.Section{ID: "format", Title: "What the file looks like", Body: []page.Block{
				page.Text("The first line names the columns: recipient, and any of scope, sender, campaign_id, keyword, reason and created_at. Without scope, sender and campaign_id a row stops all of the account. Rows that break a rule are left out and told; the others are recorded. The same file can be sent again without harm."),
				page.Code{Label: "An example", Text: "recipient,sender,keyword,created_at\n+13105550117,,STOP,2026-05-02T10:00:00Z\n+13105550118,+12025550143,,\n"}}})})
		return v.Answered()
	}
	if !v.Post() {
		return show(http.StatusOK)
	}
	file, _, err := v.R.FormFile("file")
	if err != nil {
		form.Wrong("file", "is needed: choose a CSV")
		return show(http.StatusUnprocessableEntity)
	}
	defer file.Close()
	got, err := v.Do(call.Request{Method: http.MethodPost, Path: v.op("/opt-outs/import"), RawBody: file, RawType: "text/csv"})
	if refused, ok := refusal(err); ok {
		form.Refuse(site.Words(refused), pageFaults(refused))
		return show(refused.Status)
	}
	if err != nil {
		return page.Page{}, err
	}
	var in imported
	if err := got.Into(&in); err != nil {
		return page.Page{}, err
	}
	return show(http.StatusOK, in.told(v.at("/opt-outs"))...)
}

func (in *imported) told(list string) []page.Block {
	n := page.Notice{Tone: page.Good, Title: "The file was imported", Link: page.Link{Text: "All opt-outs", Href: list}}
	if in.Invalid > 0 {
		n.Tone, n.Title = page.Warn, "The file was imported in part"
	}
	n.Lines = []string{fmt.Sprintf("%s rows were read.", page.Grouped(int64(in.Rows))), fmt.Sprintf("%s opt-outs were recorded.", page.Grouped(int64(in.Created))),
		fmt.Sprintf("%s were in force before.", page.Grouped(int64(in.Already))), fmt.Sprintf("%s were not taken.", page.Grouped(int64(in.Invalid)))}
	out := []page.Block{n}
	if len(in.Errors) > 0 {
		t := page.Table{Caption: "What was wrong, by line", ShowCaption: true, Columns: []page.Column{{Title: "Line", Right: true, Help: "Of the file; the header is line 1"}, {Title: "What is wrong"}}}
		for _, e := range in.Errors {
			t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.Num(e.Line), page.Str(e.Message)}})
		}
		if in.Invalid > len(in.Errors) {
			t.Note = "The first thousand are listed."
		}
		out = append(out, t)
	}
	return out
}
