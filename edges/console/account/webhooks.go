package account

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

const (
	webhooksRead  = "webhooks:read"
	webhooksWrite = "webhooks:write"
)

func webhookPages() map[string]show {
	return map[string]show{
		"GET /webhooks":                 (*visit).webhooks,
		"GET /webhooks/new":             (*visit).newWebhook,
		"POST /webhooks/new":            (*visit).newWebhook,
		"GET /webhooks/{id}":            (*visit).webhook,
		"POST /webhooks/{id}":           (*visit).changeWebhook,
		"POST /webhooks/{id}/{action}":  (*visit).webhookAct,
		"POST /webhook-secret/{action}": (*visit).accountSecretAct,

		"GET /deliveries":                (*visit).deliveries,
		"GET /deliveries/{id}":           (*visit).delivery,
		"POST /deliveries/{id}/{action}": (*visit).deliveryAct,
	}
}

func webhookLinks(p Place) []page.Link {
	return p.links(link{"Endpoints", "/webhooks", webhooksRead}, link{"Deliveries", "/deliveries", webhooksRead})
}

// endpointView is a webhook endpoint as the API has it.
type endpointView struct {
	ID             string
	URL            string
	FailoverURL    *string  `json:"failover_url"`
	EventTypes     []string `json:"event_types"`
	Format         string
	Active         bool
	DisabledReason *string `json:"disabled_reason"`
	FailingSince   *string `json:"failing_since"`
	Secret         *string
	OldSecretUntil *string `json:"old_secret_until"`
	CreatedAt      string  `json:"created_at"`
	UpdatedAt      string  `json:"updated_at"`
}

func (e *endpointView) state() page.Cell {
	switch {
	case e.DisabledReason != nil:
		return page.Badge("disabled", page.Bad, *e.DisabledReason)
	case !e.Active:
		return page.Badge("off", page.Plain, "It gets nothing until it is enabled")
	case e.FailingSince != nil:
		return page.Badge("failing", page.Warn, "No try has succeeded since "+*e.FailingSince)
	}
	return page.Badge("active", page.Good, "")
}

func (e *endpointView) wants() page.Cell {
	switch len(e.EventTypes) {
	case 0:
		return page.Str("all events")
	case 1, 2:
		return listCell(e.EventTypes, "")
	}
	return page.Str(strconv.Itoa(len(e.EventTypes)) + " types of events")
}

func formatWords(format string) string {
	if format == "flat" {
		return "flat: the event's data alone"
	}
	return "event: with id, type and time around the data"
}

func (v *visit) webhooks() (page.Page, error) { return v.webhooksPage(site.Tried{}) }

func (v *visit) webhooksPage(tried site.Tried) (page.Page, error) {
	rows, err := site.List[endpointView](v.Visit, v.op("/webhook-endpoints"), nil, nil)
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "Webhook endpoints", Lead: "Where events about messages are posted to, signed and tried for three days."}
	t := page.Table{Caption: "Webhook endpoints", Empty: "There is no endpoint yet.", EmptyHelp: "Without one, what happens to messages is read at /v1/events and /v1/messages.",
		Columns: []page.Column{{Title: "Address"}, {Title: "State"}, {Title: "Gets"}, {Title: "Fails since", Help: "No try has succeeded since then"}, {Title: "Made"}}}
	if v.May(webhooksWrite) {
		p.Actions = []page.Action{{Text: "Add an endpoint", Href: v.at("/webhooks/new"), Main: true}}
		t.EmptyLink = page.Link{Text: "Add an endpoint", Href: v.at("/webhooks/new")}
	}
	p.Body = append(v.readOnly(webhooksWrite), site.Table(v.Visit, rows, t, func(e endpointView) page.Row {
		r := page.Row{Cells: []page.Cell{page.To(e.URL, v.at("/webhooks/"+url.PathEscape(e.ID))), e.state(), e.wants(), page.Whenp(e.FailingSince), page.When(e.CreatedAt)}}
		switch {
		case e.DisabledReason != nil:
			r.Tone = page.Bad
		case e.FailingSince != nil && e.Active:
			r.Tone = page.Warn
		}
		return r
	}))
	if v.May(webhooksWrite) {
		p.Body = append(p.Body, page.Section{ID: "account-secret", Title: "The account's secret", Help: "It signs what goes to addresses without a secret of their own: those of single messages, and of numbers.",
			Body: site.Deeds(v.at("/webhook-secret"), v.accountSecret(), tried)})
	}
	p.Body = append(p.Body, page.Section{Title: "How to receive", Body: []page.Block{page.Bullets{page.To("Signatures, tries and what the events hold", "/docs/webhooks")}}})
	return v.page(p), nil
}

// endpointForm makes and changes an endpoint.
func endpointForm() *page.Form {
	return &page.Form{Patch: true, Submit: "Save", Fields: []page.Field{
		{Name: "url", Label: "Address", Required: true, Max: 2048, Placeholder: "https://shop.example/hooks", Help: "https, port 443 or 8443, a public host. It answers with any 2xx within 15 seconds."},
		{Name: "failover_url", Label: "Spare address", Max: 2048, Placeholder: "https://spare.example/hooks", Help: "Tried at once from the second try on, when the first fails."},
		{Name: "format", Label: "Format", Kind: page.Choice, Options: []page.Option{{Value: "event", Text: formatWords("event")}, {Value: "flat", Text: formatWords("flat")}}},
		{Name: "event_types", Label: "Events", Kind: page.Choices, Options: eventOptions(), Help: "None ticked: all, also those of later releases."},
	}}
}

func (v *visit) newWebhook() (page.Page, error) {
	f := endpointForm()
	f.Patch, f.Submit, f.Cancel = false, "Add the endpoint", page.Link{Href: v.at("/webhooks")}
	f.Fields = append(f.Fields, site.Key())
	p := v.page(page.Page{Title: "Add an endpoint", Lead: "Its secret is shown in the next step, once.", Body: v.offer(webhooksWrite, f)}, page.Link{Text: "Webhook endpoints", Href: v.at("/webhooks")})
	if !v.Post() {
		return p, nil
	}
	return v.Submit(site.Task{Form: f, Path: v.op("/webhook-endpoints"), Once: true, Instead: func(a *call.Answer) (page.Page, error) {
		var made endpointView
		if err := a.Into(&made); err != nil {
			return page.Page{}, err
		}
		return v.shown("The endpoint is added", "Secret of the endpoint, which signs what it gets", made.Secret, v.at("/webhooks/"+url.PathEscape(made.ID)))
	}}, func() (page.Page, error) { return p, nil })
}

func (v *visit) webhook() (page.Page, error) { return v.webhookPage(nil, site.Tried{}) }

// webhookPage shows an endpoint; edited is its form after a refusal.
func (v *visit) webhookPage(edited *page.Form, tried site.Tried) (page.Page, error) {
	f := endpointForm()
	f.Action = v.at("/webhooks/" + v.id())
	var e endpointView
	if err := v.Loaded(f, v.op("/webhook-endpoints/"+v.id()), &e); err != nil {
		return page.Page{}, err
	}
	rows, err := site.List[deliveryView](v.Visit, v.op("/webhook-deliveries"), nil, url.Values{"endpoint_id": {e.ID}, "limit": {"10"}})
	if err != nil {
		return page.Page{}, err
	}
	var body []page.Block
	switch {
	case e.DisabledReason != nil:
		body = append(body, page.Notice{Tone: page.Bad, Title: "This endpoint was disabled.", Text: *e.DisabledReason, Lines: []string{"What is sent to it fails until it is enabled. Mend the receiver, send a test event, enable it, then replay what it missed."}})
	case e.Active && e.FailingSince != nil:
		body = append(body, page.Notice{Tone: page.Warn, Title: "Every try fails for " + since(*e.FailingSince) + ".", Text: "After five days and 100 tries it is disabled. What its receiver answered stands below, with each delivery."})
	}
	all := v.at("/deliveries?" + url.Values{"endpoint_id": {e.ID}}.Encode())
	left := []page.Block{v.endpointFacts(&e), page.Section{ID: "deliveries", Title: "Newest deliveries", Actions: []page.Action{{Text: "All deliveries", Href: all}}, Body: []page.Block{v.deliveryTable(rows.Data, false)}}}
	right := []page.Block{page.Section{ID: "actions", Title: "Actions", Body: site.Deeds(v.at("/webhooks/"+v.id()), v.webhookDeeds(&e), tried)}}
	if !v.May(webhooksWrite) {
		right = v.readOnly(webhooksWrite)
	} else {
		if edited != nil {
			f = edited
		}
		left = append(left, change("", f, edited))
	}
	return v.page(page.Page{Title: e.URL, Body: append(body, page.Split{Left: left, Right: right})}, page.Link{Text: "Webhook endpoints", Href: v.at("/webhooks")}), nil
}

func (v *visit) endpointFacts(e *endpointView) page.Block {
	spare := page.Str(or(e.FailoverURL, ""))
	return page.Facts{Title: "The endpoint", Items: []page.Fact{
		{Label: "State", Value: e.state()}, {Label: "Gets", Value: listCell(e.EventTypes, "all events")}, {Label: "Spare address", Help: "Tried when the first fails", Value: spare},
		{Label: "Format", Value: page.Str(formatWords(e.Format))}, {Label: "Old secret until", Help: "The secret before the last rotation signs as well until then", Value: page.Whenp(e.OldSecretUntil)},
		{Label: "Id", Value: page.Mono(e.ID).WithCopy()}, {Label: "Made", Value: page.When(e.CreatedAt)}, {Label: "Changed", Value: page.When(e.UpdatedAt)},
	}}
}

func (v *visit) changeWebhook() (page.Page, error) {
	f := endpointForm()
	f.Action = v.at("/webhooks/" + v.id())
	return v.Submit(site.Task{Form: f, Method: http.MethodPatch, Path: v.op("/webhook-endpoints/" + v.id()), Then: site.To(f.Action), Said: "The endpoint is changed."},
		func() (page.Page, error) { return v.webhookPage(f, site.Tried{}) })
}

// overlap is how long the secret before goes on.
var overlap = page.Field{Name: "overlap_seconds", Label: "The secret before signs as well for", Kind: page.Choice, Value: "86400", Options: []page.Option{{Value: "0", Text: "no longer"}, {Value: "3600", Text: "an hour"}, {Value: "86400", Text: "a day"}, {Value: "604800", Text: "a week"}}}

// wholeOverlap makes the choice a number.
func wholeOverlap(body map[string]any) map[string]any {
	if s, ok := body["overlap_seconds"].(string); ok {
		body["overlap_seconds"], _ = strconv.Atoi(s)
	}
	return body
}

// rotation is a task that makes a new secret, which is shown once.
func (v *visit) rotation(path, title, back string) site.Task {
	return site.Task{Path: path, Once: true, Body: wholeOverlap, Instead: func(a *call.Answer) (page.Page, error) {
		var made struct {
			Secret *string
			Until  *string `json:"old_secret_until"`
		}
		if err := a.Into(&made); err != nil {
			return page.Page{}, err
		}
		more := page.Text("The secret before signs no more.")
		if made.Until != nil {
			more = "Until the receiver knows it, both sign: webhook-signature has two values. How long the old one goes on stands at the endpoint."
		}
		return v.shown(title, "New secret", made.Secret, back, more)
	}}
}

func (v *visit) accountSecret() []site.Deed {
	return []site.Deed{{Name: "rotate", Summary: "Make a new secret of the account…", Submit: "Make a new secret", Fields: []page.Field{overlap},
		Text: "It is shown once. Receivers that check signatures must know it before the old one ends.",
		Task: v.rotation(v.op("/webhook-secret/rotate"), "The account has a new secret", v.at("/webhooks"))}}
}

func (v *visit) accountSecretAct() (page.Page, error) {
	return v.Act(v.at("/webhook-secret"), v.accountSecret(), v.Param("action"), v.webhooksPage)
}

// webhookDeeds are what can be done with an endpoint in its state.
func (v *visit) webhookDeeds(e *endpointView) []site.Deed {
	here, op := v.at("/webhooks/"+v.id()), v.op("/webhook-endpoints/"+v.id())
	list := []site.Deed{{Name: "test", Submit: "Send a test event", Task: site.Task{Path: op + "/test", Bare: true, Instead: v.testedWebhook}}}
	if e.Active {
		list = append(list, site.Deed{Name: "disable", Summary: "Switch it off…", Submit: "Switch it off", Text: "It gets nothing until it is enabled. What is on its way to it fails, stays listed and can be replayed.",
			Task: site.Task{Method: http.MethodPatch, Path: op, Body: func(map[string]any) map[string]any { return map[string]any{"active": false} }, Then: site.To(here), Said: "The endpoint is off."}})
	} else {
		list = append(list, site.Deed{Name: "enable", Submit: "Enable it", Task: site.Task{Path: op + "/enable", Bare: true, Then: site.To(here), Said: "The endpoint is enabled. What it missed can be replayed."}})
	}
	return append(list,
		site.Deed{Name: "replay", Summary: "Replay what it missed…", Submit: "Replay", Text: "Each is tried anew on the whole schedule, with the same webhook-id and body, fifty a second and 10,000 at most.", Fields: []page.Field{
			{Name: "after", Label: "From", Kind: page.Moment, Required: true}, {Name: "before", Label: "Until", Kind: page.Moment, Help: "Empty: now."},
			{Name: "state", Label: "Which", Kind: page.Choice, Options: []page.Option{{Value: "failed", Text: "those that failed"}, {Value: "all", Text: "all, also what was delivered"}}},
			{Name: "types", Label: "Events", Kind: page.Choices, Options: eventOptions(), Help: "None ticked: all."},
		}, Task: site.Task{Path: op + "/replay", Once: true, Instead: func(a *call.Answer) (page.Page, error) { return v.replayed(a, here) }}},
		site.Deed{Name: "rotate", Summary: "Make a new secret…", Submit: "Make a new secret", Fields: []page.Field{overlap}, Text: "It is shown once. The receiver must know it before the old one ends.",
			Task: v.rotation(op+"/rotate-secret", "The endpoint has a new secret", here)},
		site.Deed{Name: "remove", Summary: "Take it away…", Submit: "Take the endpoint away", Danger: true, Text: "What is on its way to it fails at its next try and cannot be replayed.",
			Task: site.Task{Method: http.MethodDelete, Path: op, Then: site.To(v.at("/webhooks")), Said: "The endpoint is taken away."}})
}

func (v *visit) webhookAct() (page.Page, error) {
	var e endpointView
	if err := v.Get(v.op("/webhook-endpoints/"+v.id()), nil, &e); err != nil {
		return page.Page{}, err
	}
	return v.Act(v.at("/webhooks/"+v.id()), v.webhookDeeds(&e), v.Param("action"), func(t site.Tried) (page.Page, error) { return v.webhookPage(nil, t) })
}

// testedWebhook leads back to the endpoint with what its receiver answered.
func (v *visit) testedWebhook(a *call.Answer) (page.Page, error) {
	var r struct {
		OK         bool
		HTTPStatus *int `json:"http_status"`
		MS         int64
		Error      *string
		Answer     *string
	}
	if err := a.Into(&r); err != nil {
		return page.Page{}, err
	}
	n := page.Notice{Tone: page.Bad, Title: "The test event was not taken."}
	if r.OK {
		n.Tone, n.Title = page.Good, "The test event was taken."
	}
	if r.HTTPStatus != nil {
		n.Text = "The receiver answered " + strconv.Itoa(*r.HTTPStatus) + " after " + page.Grouped(r.MS) + " ms."
	}
	for _, s := range []*string{r.Error, r.Answer} {
		if s != nil && *s != "" {
			n.Lines = append(n.Lines, clip(*s, 500))
		}
	}
	return v.DoneWith(v.at("/webhooks/"+v.id()), n)
}

// replayed says how much is on its way again.
func (v *visit) replayed(a *call.Answer, back string) (page.Page, error) {
	var r struct {
		Queued    int64
		NextAfter *string `json:"next_after"`
	}
	if err := a.Into(&r); err != nil {
		return page.Page{}, err
	}
	n := page.Notice{Tone: page.Good, Title: page.Grouped(r.Queued) + " on their way again.", Text: "They are listed as pending until they are delivered."}
	switch {
	case r.NextAfter != nil:
		n.Tone, n.Text = page.Warn, "There are more: replay again from "+*r.NextAfter+"."
	case r.Queued == 0:
		n = page.Notice{Title: "There was nothing to replay.", Text: "Nothing fits, or it was on its way already."}
	}
	return v.DoneWith(back, n)
}
