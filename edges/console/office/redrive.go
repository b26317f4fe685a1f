package office

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// redriveRoutes are the pages of bulk re-drives.
func (o *office) redriveRoutes() map[string]func(*site.Visit) (page.Page, error) {
	return map[string]func(*site.Visit) (page.Page, error){
		"GET /console/redrives":            o.redrives,
		"GET /console/redrives/new":        o.newRedrive,
		"POST /console/redrives/new":       o.newRedrive,
		"GET /console/redrives/{id}":       o.redrive,
		"GET /console/redrives/{id}/live":  o.redriveLive,
		"POST /console/redrives/{id}/do":   o.doRedrive,
		"POST /console/redrives/{id}/stop": o.stopRedrive,
	}
}

// deedOf says of an action of a re-drive what it is, what would become of messages, and
// what comes of it.
type deedOf struct{ name, is, done, consequence string }

var redriveDeeds = []deedOf{
	{"retry", "Send again", "sent again", "A new message is made of each, and sent and charged to its customer like any other. What the rules refuse now is refused again."},
	{"cancel", "Cancel", "canceled", "Each is withdrawn before it leaves, and its customer is told. That cannot be taken back."},
	{"reroute", "Send another way", "sent another way", "Each is offered to the vendor that was named and to no other, or is routed anew if none was."},
	{"resolve", "Resolve the doubt", "resolved", "Each counts as what was said of it. If that is “send it again”, a recipient may have a message twice."},
	{"release", "Release from review", "released", "Each is checked anew and goes, unless something else is against it."},
	{"refuse", "Refuse in review", "refused", "Each ends as rejected, and its customer is told the reason."},
}

// deedNamed finds what is said of an action.
func deedNamed(action string) deedOf {
	i := slices.IndexFunc(redriveDeeds, func(d deedOf) bool { return d.name == action })
	if i < 0 {
		return deedOf{action, action, "done", ""}
	}
	return redriveDeeds[i]
}

// mayRedrive reports whether the visitor may do an action to many messages.
func mayRedrive(v *site.Visit, action string) bool {
	if action == "release" || action == "refuse" {
		return v.May(snapshot.RoleCompliance)
	}
	return v.May(snapshot.RoleSupport)
}

type redriveCount struct {
	Key   string
	Count int
}

// redriveView is a re-drive as GET /redrives/{id} has it.
type redriveView struct {
	ID, Status, Action, Reason, Actor, Role string
	AcceptDuplicate                         bool `json:"accept_duplicate"`
	Vendor, As                              *string
	DryRun                                  bool `json:"dry_run"`
	Limit                                   int
	PerSecond                               int `json:"per_second"`
	Filter                                  map[string]any
	Counts                                  struct {
		Found, Done, Refused, Open int
		Passed                     int `json:"passed_over"`
	}
	Expected    *int
	More        bool
	Rate        float64
	SecondsLeft *int           `json:"seconds_left"`
	Statuses    []redriveCount `json:"by_status"`
	Accounts    []redriveCount `json:"by_account"`
	PassedOver  []redriveCount `json:"passed_over"`
	Refused     []redriveCount
	Sample      []struct {
		MessageID string `json:"message_id"`
		AccountID string `json:"account_id"`
		Status    string
		Outcome   string
		Why       *string
	}
	CreatedAt   string  `json:"created_at"`
	LookedAt    string  `json:"looked_at"`
	CompletedAt *string `json:"completed_at"`
	WorkflowURL *string `json:"workflow_url"`
}

func (r *redriveView) ended() bool { return r.CompletedAt != nil }

// title says in a few words what it is.
func (r *redriveView) title() string {
	title := deedNamed(r.Action).is
	if r.DryRun {
		return title + ", dry run"
	}
	return title
}

func redriveStatus(status string) page.Cell {
	switch status {
	case "running":
		return page.Badge(status, page.Busy, "Messages are looked for and worked")
	case "stopping":
		return page.Badge(status, page.Warn, "What was taken on is finished, and nothing more is")
	case "stopped":
		return page.Badge(status, page.Warn, "Somebody stopped it; what was done stays done")
	}
	return page.Badge(status, page.Good, "Every message that was found is done with")
}

func (o *office) redrives(v *site.Visit) (page.Page, error) {
	rows, err := site.List[redriveView](v, api+"/redrives", nil, nil)
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "Re-drives", Lead: "One thing done to many messages at once, such as sending all again that a vendor failed on."}
	if v.May(snapshot.RoleSupport, snapshot.RoleCompliance) {
		p.Actions = []page.Action{{Text: "New re-drive", Href: v.At("/redrives/new"), Main: true}}
	}
	table := page.Table{Caption: "Re-drives", Empty: "There was no re-drive in the last 90 days.", EmptyHelp: "Search for messages, and choose “Re-drive these…” above the list.", EmptyLink: page.Link{Text: "Search messages", Href: v.At("/messages")},
		Columns: []page.Column{{Title: "What"}, {Title: "Status"}, {Title: "Found", Right: true, Help: "Messages that its filter has found"}, {Title: "Done", Right: true, Help: "Of a dry run: would be"},
			{Title: "Passed over", Right: true, Help: "Nothing was tried: it is not for such messages"}, {Title: "Refused", Right: true, Help: "It was tried, and refused"}, {Title: "Began"}}}
	p.Body = []page.Block{site.Table(v, rows, table, func(r redriveView) page.Row {
		return page.Row{Cells: []page.Cell{page.To(r.title(), v.At("/redrives/"+url.PathEscape(r.ID))).WithSub(r.Reason), redriveStatus(r.Status), page.Num(r.Counts.Found), page.Num(r.Counts.Done),
			page.Num(r.Counts.Passed), page.Num(r.Counts.Refused), page.When(r.CreatedAt).WithSub("by " + r.Actor)}}
	})}
	return p, nil
}

// redriveForm asks what is to be done, and to which messages.
func redriveForm(v *site.Visit) *page.Form {
	f := &page.Form{Submit: "See what would be done", Cancel: page.Link{Text: "Back to the messages", Href: v.At("/messages")}, Label: "New re-drive"}
	var deeds []page.Option
	for _, d := range redriveDeeds {
		if mayRedrive(v, d.name) {
			deeds = append(deeds, page.Option{Value: d.name, Text: d.is})
		}
	}
	resolutions := append([]page.Option{{Text: "–"}}, deedOfMessage("resolve").fields[0].Options...)
	f.Fields = []page.Field{
		{Group: "What is done to each", Name: "action", Label: "Action", Kind: page.Choice, Options: deeds, Required: true},
		{Name: "reason", Label: "Reason", Required: true, Max: message.MaxRedriveReason, Help: "For the audit log and the timeline of each message. Customers see that of a refusal."},
		{Name: "accept_duplicate", Label: "Unconfirmed messages too", Kind: page.Check, Help: "Of “Send again”. Their recipients may have them already, and would get them twice."},
		{Name: "vendor", Label: "Vendor to go to", Help: "Of “Send another way”: its name or id. Empty: the routes are asked again."},
		{Name: "as", Label: "What is known", Kind: page.Choice, Options: resolutions, Help: "Of “Resolve the doubt”. Ask the vendor first."},
		{Name: "per_second", Label: "Pace", Kind: page.Number, Value: fmt.Sprint(message.DefaultRedriveAt), Unit: "a second", Help: "1 to 500. Slower gives you more time to stop it."},
		{Name: "limit", Label: "At most", Kind: page.Number, Value: fmt.Sprint(message.DefaultRedrive), Unit: "messages", Help: "1 to 100,000, the newest first"},
	}
	for i, field := range search().Fields {
		if i == 0 {
			field.Group = "To which messages"
		}
		field.Name = "filter." + field.Name
		f.Fields = append(f.Fields, field)
	}
	f.Fields = append(f.Fields, site.Key())
	return f
}

// narrow leaves out the conditions that were not given, if any was: who comes from a list
// has chosen there.
func narrow(f *page.Form) {
	condition := func(x page.Field) bool { return strings.HasPrefix(x.Name, "filter.") }
	if !slices.ContainsFunc(f.Fields, func(x page.Field) bool { return condition(x) && x.Value != "" }) {
		return
	}
	f.Fields = slices.DeleteFunc(f.Fields, func(x page.Field) bool { return condition(x) && x.Value == "" && x.Error == "" })
	f.Fields[slices.IndexFunc(f.Fields, condition)].Group = "To which messages"
}

// deedOfMessage finds what is done to one message by its name.
func deedOfMessage(name string) *deed {
	return &deeds[slices.IndexFunc(deeds, func(d deed) bool { return d.name == name })]
}

func (o *office) newRedrive(v *site.Visit) (page.Page, error) {
	f := redriveForm(v)
	show := func() (page.Page, error) {
		narrow(f)
		p := page.Page{Title: "New re-drive", Crumbs: []page.Link{{Text: "Re-drives", Href: v.At("/redrives")}, {Text: "New"}},
			Lead: "First it is only counted what would be done. Nothing happens until you say so on the next page.", Body: []page.Block{f}}
		if len(f.Fields[0].Options) == 0 {
			p.Body = []page.Block{page.Notice{Tone: page.Warn, Text: "Support and compliance do things with many messages; your role is " + string(v.Person.Role) + "."}}
		}
		return p, nil
	}
	if !v.Post() {
		q := v.R.URL.Query()
		for i := range f.Fields {
			if name, ok := strings.CutPrefix(f.Fields[i].Name, "filter."); ok && q.Has(name) {
				f.Fields[i].Value = q.Get(name)
			}
		}
		if s := q.Get("status"); s == string(message.StatusInDoubt) && mayRedrive(v, "resolve") {
			f.Field("action").Value = "resolve"
		}
		return show()
	}
	return v.Submit(site.Task{Form: f, Path: api + "/redrives", Once: true, Then: site.ToMade(v.At("/redrives")), Said: "It is being counted what would be done.", Body: func(body map[string]any) map[string]any {
		body["dry_run"] = true
		filter, ok := body["filter"].(map[string]any)
		if !ok {
			filter = map[string]any{}
			body["filter"] = filter
		}
		if s, ok := filter["status"].(string); ok {
			filter["status"] = []string{s}
		}
		return body
	}}, show)
}

// redriveEvery is how often a page looks how far a re-drive is.
const redriveEvery = time.Second

func (o *office) readRedrive(v *site.Visit) (*redriveView, error) {
	r := &redriveView{}
	return r, v.Get(api+"/redrives/"+v.ID(), nil, r)
}

func (o *office) redriveLive(v *site.Visit) (page.Page, error) {
	return v.Stream(redriveEvery, func(context.Context) ([]page.Block, error) {
		r, err := o.readRedrive(v)
		if err != nil {
			return nil, err
		}
		return o.progress(v, r, nil), nil
	})
}

func (o *office) redrive(v *site.Visit) (page.Page, error) { return o.redrivePage(v, nil, nil) }

// redrivePage shows a re-drive; the form that does what a dry run has shown, or the one
// that stops it, may have something wrong.
func (o *office) redrivePage(v *site.Visit, do, stop *page.Form) (page.Page, error) {
	r, err := o.readRedrive(v)
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: r.title(), Crumbs: []page.Link{{Text: "Re-drives", Href: v.At("/redrives")}, {Text: short(r.ID)}}, Lead: r.Reason}
	if r.WorkflowURL != nil {
		p.Actions = []page.Action{{Text: "Workflow in the Temporal UI", Href: *r.WorkflowURL}}
	}
	left := []page.Block{page.Live{Path: v.At("/redrives/" + v.ID() + "/live"), Label: "How far it is", Body: o.progress(v, r, do)}}
	right := []page.Block{aboutRedrive(r)}
	if (!r.ended() || stop != nil) && mayRedrive(v, r.Action) {
		open := stop != nil
		if stop == nil {
			stop = stopForm(v)
		}
		text := "What was taken on is finished, within seconds, and nothing more is. What was done stays done."
		right = append([]page.Block{page.Disclosure{Summary: "Stop…", Danger: true, Open: open, Body: []page.Block{page.Text(text), stop}}}, right...)
	}
	p.Body = []page.Block{page.Split{Left: left, Right: right}}
	if !r.DryRun {
		items, err := o.redriveItems(v)
		if err != nil {
			return page.Page{}, err
		}
		p.Body = append(p.Body, items)
	}
	return p, nil
}

func aboutRedrive(r *redriveView) page.Block {
	facts := page.Facts{Title: "About it", Items: []page.Fact{
		{Label: "By", Value: page.Str(r.Actor).WithSub(r.Role)}, {Label: "Began", Value: page.When(r.CreatedAt)}, {Label: "Pace", Value: page.Str(fmt.Sprintf("%d a second at most", r.PerSecond))},
		{Label: "Limit", Value: page.Num(r.Limit), Help: "The most messages that are looked at, the newest first"}}}
	if r.AcceptDuplicate {
		facts.Items = append(facts.Items, page.Fact{Label: "Unconfirmed too", Value: page.YesNo(true)})
	}
	if r.Action == "reroute" {
		to := page.Str("asks the routes")
		if r.Vendor != nil {
			to = page.Str(*r.Vendor)
		}
		facts.Items = append(facts.Items, page.Fact{Label: "Goes to", Value: to})
	}
	if r.As != nil {
		facts.Items = append(facts.Items, page.Fact{Label: "Resolved as", Value: page.Str(strings.ReplaceAll(*r.As, "_", " "))})
	}
	which := page.Facts{Title: "To which messages"}
	for _, field := range search().Fields {
		switch value := r.Filter[field.Name].(type) {
		case string:
			cell := page.Str(value)
			if field.Kind == page.Moment {
				cell = page.When(value)
			}
			which.Items = append(which.Items, page.Fact{Label: field.Label, Value: cell})
		case []any:
			var words []string
			for _, w := range value {
				words = append(words, strings.ReplaceAll(fmt.Sprint(w), "_", " "))
			}
			which.Items = append(which.Items, page.Fact{Label: field.Label, Value: page.Str(strings.Join(words, " or "))})
		}
	}
	return page.Section{Title: "About it", Body: []page.Block{facts, which}}
}

// progress is the part of the page that changes.
func (o *office) progress(v *site.Visit, r *redriveView, do *page.Form) []page.Block {
	d := deedNamed(r.Action)
	out := []page.Block{judged(r, d), figures(r, d), page.Facts{Title: "State", Items: []page.Fact{{Label: "Status", Value: redriveStatus(r.Status)},
		{Label: "Last came on", Value: page.When(r.LookedAt), Help: "When messages were last found or done"}, {Label: "Ended", Value: page.Whenp(r.CompletedAt)}}}}
	if r.DryRun && r.Status == "completed" && r.Counts.Done > 0 && mayRedrive(v, r.Action) {
		open := do != nil
		if do == nil {
			do = doForm(v, r)
		}
		out = append(out, page.Disclosure{Summary: fmt.Sprintf("Do it: %s for %s messages…", strings.ToLower(d.is), page.Grouped(int64(r.Counts.Done))), Danger: true, Open: open,
			Body: []page.Block{page.Text(d.consequence), do}})
	}
	if r.DryRun {
		out = append(out, sample(v, r, d))
	}
	customer := func(id string) page.Cell {
		if id == "" {
			return page.Str("all others")
		}
		return page.CodeTo(short(id), v.At("/customers/"+url.PathEscape(id)))
	}
	out = append(out, counts("Refused, and why", "Code", r.Refused, page.Mono)...)
	out = append(out, counts("Passed over, and why", "Why", r.PassedOver, page.Str)...)
	out = append(out, counts("By status", "Status when it was found", r.Statuses, page.Status)...)
	return append(out, counts("By customer", "Customer", r.Accounts, customer)...)
}

// verdict says in a sentence how it stands.
func judged(r *redriveView, d deedOf) page.Block {
	n := func(i int) string { return page.Grouped(int64(i)) }
	c := r.Counts
	note := page.Notice{Tone: page.Good}
	switch {
	case r.Status == "stopped":
		note.Tone, note.Text = page.Warn, fmt.Sprintf("Stopped. %s of %s messages were %s.", n(c.Done), n(c.Found), d.done)
	case r.Status == "stopping":
		note.Tone, note.Text = page.Warn, "It is stopping: what was taken on is finished, and nothing more is."
	case r.Status == "running" && r.DryRun:
		note.Tone, note.Text = page.Busy, fmt.Sprintf("Counting: %s messages found so far.", n(c.Found))
	case r.Status == "running":
		note.Tone, note.Text = page.Busy, fmt.Sprintf("At work: %s messages %s so far.", n(c.Done), d.done)
	case c.Found == 0:
		note.Tone, note.Text = page.Plain, "No message fits."
	case r.DryRun:
		note.Text = fmt.Sprintf("%s of %s messages would be %s. Nothing was done yet.", n(c.Done), n(c.Found), d.done)
		if c.Done == 0 {
			note.Tone = page.Warn
		}
	default:
		note.Text = fmt.Sprintf("Completed. %s of %s messages were %s.", n(c.Done), n(c.Found), d.done)
	}
	if r.More {
		note.Lines = append(note.Lines, fmt.Sprintf("The limit of %s was reached, and there may be more. Run it again for the rest.", n(r.Limit)))
	}
	if c.Open > 0 && !r.DryRun {
		note.Lines = append(note.Lines, fmt.Sprintf("%s are under way.", n(c.Open)))
	}
	return note
}

func figures(r *redriveView, d deedOf) page.Block {
	c := r.Counts
	done := strings.ToUpper(d.done[:1]) + d.done[1:]
	if r.DryRun {
		done = "Would be " + d.done
	}
	stats := page.Stats{Title: "How far it is", Items: []page.Stat{
		{Label: "Found", Value: page.Grouped(int64(c.Found)), Help: "Messages that the filter has found so far"},
		{Label: done, Value: page.Grouped(int64(c.Done)), Help: "Messages to which it was done; of a dry run, to which it would be"},
		{Label: "Passed over", Value: page.Grouped(int64(c.Passed)), Help: "Nothing is tried with them: it is not for messages in their state"},
		{Label: "Refused by a rule", Value: page.Grouped(int64(c.Refused)), Help: "It is tried, and something is against it"},
	}}
	if c.Refused > 0 {
		stats.Items[3].Tone = page.Warn
	}
	if r.DryRun {
		return stats
	}
	ended := c.Done + c.Passed + c.Refused
	progress := page.Stat{Label: "Progress", Value: page.Grouped(int64(ended)), Help: "Messages that are done with, of those that the dry run found", Sub: page.Decimal(r.Rate) + " a second"}
	if r.Expected != nil && *r.Expected > 0 {
		progress.Bar, progress.Share, progress.Value = true, min(1, float64(ended)/float64(*r.Expected)), fmt.Sprintf("%d", int(min(100, 100*float64(ended)/float64(*r.Expected))))
		progress.Unit = "%"
	}
	if r.SecondsLeft != nil {
		progress.Sub += ", " + page.Duration(time.Duration(*r.SecondsLeft)*time.Second) + " left"
	}
	stats.Items = append([]page.Stat{progress}, stats.Items...)
	return stats
}

// counts is a table of counts; none is left out, for the figures say it.
func counts(title, of string, list []redriveCount, key func(string) page.Cell) []page.Block {
	if len(list) == 0 {
		return nil
	}
	t := page.Table{Caption: title, Columns: []page.Column{{Title: of}, {Title: "Messages", Right: true}}}
	for _, c := range list {
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{key(c.Key), page.Num(c.Count)}})
	}
	return []page.Block{page.Section{Title: title, Body: []page.Block{t}}}
}

// sample are the first messages of a dry run.
func sample(v *site.Visit, r *redriveView, d deedOf) page.Block {
	words := map[string]string{"done": "would be " + d.done, "refused": "a rule is against it"}
	t := page.Table{Caption: "The first of them", Empty: "No message fits.", EmptyHelp: "Go back, and look for others.", Columns: []page.Column{{Title: "Message"}, {Title: "Customer"}, {Title: "Status"}, {Title: "What would be"}}}
	for _, m := range r.Sample {
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.CodeTo(short(m.MessageID), v.At("/messages/"+url.PathEscape(m.MessageID))), page.CodeTo(short(m.AccountID), v.At("/customers/"+url.PathEscape(m.AccountID))),
			page.Status(m.Status), outcome(m.Outcome, cmp.Or(words[m.Outcome], m.Outcome), m.Why)}})
	}
	return page.Section{Title: "The first of them", Body: []page.Block{t}}
}

// outcome is a word for what has become of a message, and why.
func outcome(of, word string, why *string) page.Cell {
	tones := map[string]page.Tone{"done": page.Good, "refused": page.Bad, "open": page.Busy}
	c := page.Badge(strings.ReplaceAll(word, "_", " "), tones[of], "")
	if why != nil {
		c = c.WithSub(*why)
	}
	return c
}

func doForm(v *site.Visit, r *redriveView) *page.Form {
	return &page.Form{Action: v.At("/redrives/" + url.PathEscape(r.ID) + "/do"), Submit: "Do it", Danger: true, Fields: []page.Field{
		{Name: "per_second", Label: "Pace", Kind: page.Number, Value: fmt.Sprint(r.PerSecond), Unit: "a second", Help: "1 to 500"},
		{Name: "_key", Kind: page.Hidden, Value: "do-" + r.ID}, // the same at each drawing, and twice is once
	}}
}

func stopForm(v *site.Visit) *page.Form {
	return &page.Form{Action: v.At("/redrives/" + v.ID() + "/stop"), Submit: "Stop it", Danger: true}
}

func (o *office) doRedrive(v *site.Visit) (page.Page, error) {
	r, err := o.readRedrive(v)
	if err != nil {
		return page.Page{}, err
	}
	f := doForm(v, r)
	return v.Submit(site.Task{Form: f, Path: api + "/redrives", Once: true, Then: site.ToMade(v.At("/redrives")), Said: "It has begun. This page follows it.", Body: func(body map[string]any) map[string]any {
		body["dry_run_id"] = r.ID
		return body
	}}, func() (page.Page, error) { return o.redrivePage(v, f, nil) })
}

func (o *office) stopRedrive(v *site.Visit) (page.Page, error) {
	f := stopForm(v)
	return v.Submit(site.Task{Form: f, Method: http.MethodPost, Path: api + "/redrives/" + v.ID() + "/stop", Bare: true, Said: "It is stopping.",
		Then: func(*call.Answer) string { return v.At("/redrives/" + v.ID()) }}, func() (page.Page, error) { return o.redrivePage(v, nil, f) })
}

// redriveItems are the messages of a re-drive.
func (o *office) redriveItems(v *site.Visit) (page.Block, error) {
	filter := &page.Form{Method: "get", Inline: true, Submit: "Show", Label: "Messages by outcome", Fields: []page.Field{{Name: "outcome", Label: "Outcome", Kind: page.Choice,
		Options: []page.Option{{Text: "any"}, {Value: "done", Text: "done"}, {Value: "refused", Text: "refused"}, {Value: "passed_over", Text: "passed over"}, {Value: "open", Text: "under way"}}}}}
	type item struct {
		MessageID    string `json:"message_id"`
		Outcome      string
		NewMessageID *string `json:"new_message_id"`
		Code, Why    *string
	}
	rows, err := site.List[item](v, api+"/redrives/"+v.ID()+"/items", filter, nil)
	if err != nil {
		return nil, err
	}
	t := page.Table{Caption: "Messages", Empty: "No message has been worked yet, or none has this outcome.", Columns: []page.Column{{Title: "Message"}, {Title: "Outcome"}, {Title: "New message", Help: "That was made of it"}, {Title: "Code", Help: "Of the error catalogue"}},
		Note: "Newest first, as they were when this page was opened."}
	return page.Section{ID: "messages", Title: "Messages", Body: []page.Block{filter, site.Table(v, rows, t, func(i item) page.Row {
		words := map[string]string{"open": "under way"}
		made, code := messageLink(v, i.NewMessageID), page.None("")
		if i.Code != nil && i.Outcome == "refused" {
			code = page.Mono(*i.Code)
		}
		r := page.Row{Cells: []page.Cell{page.CodeTo(short(i.MessageID), v.At("/messages/"+url.PathEscape(i.MessageID))), outcome(i.Outcome, cmp.Or(words[i.Outcome], i.Outcome), i.Why), made, code}}
		if i.Outcome == "refused" {
			r.Tone = page.Warn
		}
		return r
	})}}, nil
}
