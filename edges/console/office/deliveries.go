package office

import (
	"net/url"
	"strconv"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/snapshot"
)

func (o *office) deliveryRoutes() shows {
	return shows{
		"GET /console/webhooks":                o.deliveries,
		"GET /console/webhooks/replay":         o.replayRange,
		"POST /console/webhooks/replay":        o.doReplayRange,
		"GET /console/webhooks/{id}":           o.delivery,
		"POST /console/webhooks/{id}/{action}": o.replayDelivery,
	}
}

// deliveryView is a delivery with all its tries.
type deliveryView struct {
	delivery
	EventID    string  `json:"event_id"`
	EndpointID *string `json:"endpoint_id"`
	Replays    int
	Answer     *string
	Tries      []struct {
		At         string
		HTTPStatus *int `json:"http_status"`
		MS         int
		Error      *string
	} `json:"attempts"`
}

func deliveryState(state string) page.Cell {
	switch state {
	case "delivered":
		return page.Badge(state, page.Good, "The endpoint has answered with a 2xx")
	case "failed":
		return page.Badge(state, page.Bad, "It was tried as often as is allowed; nothing more happens unless it is replayed")
	case "pending":
		return page.Badge(state, page.Busy, "It is tried again until the endpoint answers with a 2xx")
	}
	return page.Badge(state, page.Plain, "")
}

// lastAnswer is what the endpoint said to the last try.
func (d *delivery) lastAnswer() page.Cell {
	answer := page.None("No answer yet")
	if d.LastStatus != nil {
		answer = page.Str("HTTP " + strconv.Itoa(*d.LastStatus))
	}
	if d.LastError != nil {
		if answer.Kind == "none" {
			return page.Str(firstOf(*d.LastError, 160))
		}
		answer = answer.WithSub(firstOf(*d.LastError, 160))
	}
	return answer
}

func (o *office) deliveries(v *site.Visit) (page.Page, error) {
	filter := &page.Form{Method: "get", Inline: true, Submit: "Show", Label: "Narrow the list", Fields: []page.Field{
		{Name: "state", Label: "State", Kind: page.Choice, Options: anyOption(options("pending", "delivered", "failed")...)},
		{Name: "account_id", Label: "Account id"}, {Name: "endpoint_id", Label: "Endpoint id"}, {Name: "message_id", Label: "Message id"}}}
	rows, err := site.List[deliveryView](v, api+"/webhook-deliveries", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Webhook deliveries", Empty: "No delivery fits.", EmptyHelp: "One is made for each event that an endpoint of a customer, or the URL of a message or number, is to be told of.",
		Columns: []page.Column{{Title: "Event", Help: "And where it goes"}, {Title: "State"}, {Title: "Account"}, {Title: "Message"}, {Title: "Tries", Right: true, Help: "Since it was made or last replayed"}, {Title: "Last answer"}, {Title: "Last try"}, {Title: "Next try"}}}
	p := page.Page{Title: "Webhook deliveries", Lead: "What customers' endpoints were told, or are to be told, newest first."}
	if v.May(snapshot.RoleSupport) {
		at := v.At("/webhooks/replay")
		if account := filter.Field("account_id").Value; account != "" {
			at += "?" + url.Values{"account_id": {account}, "endpoint_id": {filter.Field("endpoint_id").Value}}.Encode()
		}
		p.Actions = []page.Action{{Text: "Replay many", Href: at}}
	}
	p.Body = []page.Block{filter, site.Table(v, rows, table, func(d deliveryView) page.Row {
		r := page.Row{Cells: []page.Cell{page.To(d.Type, v.At("/webhooks/"+url.PathEscape(d.ID))).WithSub("to " + host(d.URL)), deliveryState(d.State), customer(v, d.AccountID), messageLink(v, d.MessageID), page.Num(d.Attempts), d.lastAnswer(), sincep(d.LastAttempt), sincep(d.Next)}}
		if d.State == "failed" {
			r.Tone = page.Bad
		}
		return r
	})}
	return p, nil
}

// host is enough of a URL to know whose it is.
func host(whole string) string {
	u, err := url.Parse(whole)
	if err != nil || u.Host == "" {
		return firstOf(whole, 60)
	}
	return u.Host
}

func (o *office) delivery(v *site.Visit) (page.Page, error) {
	return o.deliveryPage(v, site.Tried{})
}

func (o *office) deliveryPage(v *site.Visit, tried site.Tried) (page.Page, error) {
	var d deliveryView
	if err := v.Get(api+"/webhook-deliveries/"+v.ID(), nil, &d); err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "Webhook " + d.Type, Crumbs: []page.Link{{Text: "Webhook deliveries", Href: v.At("/webhooks")}, {Text: d.Type}}}
	if d.State == "failed" {
		p.Body = append(p.Body, page.Notice{Tone: page.Bad, Title: "It was given up", Text: "The endpoint did not answer with a 2xx in all its tries. Once it works again, replay it."})
	}
	endpoint := page.None("It goes to a URL of the message's or the number's own")
	if d.EndpointID != nil {
		endpoint = page.CodeTo(short(*d.EndpointID), v.At("/webhooks?"+url.Values{"account_id": {d.AccountID}, "endpoint_id": {*d.EndpointID}}.Encode())).WithHelp("All that this endpoint was told")
	}
	facts := page.Facts{Title: "The delivery", Items: []page.Fact{
		{Label: "State", Value: deliveryState(d.State)}, {Label: "Account", Value: customer(v, d.AccountID)}, {Label: "Message", Value: messageLink(v, d.MessageID)},
		{Label: "URL", Value: page.Mono(d.URL)}, {Label: "Endpoint", Value: endpoint}, {Label: "Event id", Value: page.Mono(d.EventID).WithCopy(), Help: "The header webhook-id, the same on every try"},
		{Label: "Tries", Value: page.Num(d.Attempts), Help: "Since it was made or last replayed"}, {Label: "Replays", Value: page.Num(d.Replays)},
		{Label: "Made", Value: since(d.CreatedAt)}, {Label: "Last try", Value: sincep(d.LastAttempt)}, {Label: "Next try", Value: sincep(d.Next)}}}
	tries := page.Table{Caption: "Tries", Empty: "It was not tried yet.", Columns: []page.Column{{Title: "Try", Right: true}, {Title: "At"}, {Title: "Answer"}, {Title: "Took", Right: true}, {Title: "What went wrong"}}}
	for i, t := range d.Tries {
		answer := page.Badge("no answer", page.Bad, "")
		if t.HTTPStatus != nil {
			tone := page.Bad
			if *t.HTTPStatus/100 == 2 {
				tone = page.Good
			}
			answer = page.Badge("HTTP "+strconv.Itoa(*t.HTTPStatus), tone, "")
		}
		tries.Rows = append(tries.Rows, page.Row{Cells: []page.Cell{page.Num(i + 1), page.When(t.At), answer, page.Str(page.Grouped(int64(t.MS)) + " ms"), page.Strp(t.Error)}})
	}
	left := []page.Block{facts, page.Section{ID: "tries", Title: "Tries", Body: []page.Block{tries}}}
	if d.Answer != nil && *d.Answer != "" {
		left = append(left, page.Section{ID: "answer", Title: "What the endpoint said", Help: "The beginning of its last answer.", Body: []page.Block{page.Code{Label: "Answer", Text: *d.Answer}}})
	}
	p.Body = append(p.Body, page.Split{Left: left, Right: []page.Block{deedSection(v, v.At("/webhooks/"+v.ID()), replayDeeds(v), tried, "", snapshot.RoleSupport)}})
	return p, nil
}

func replayDeeds(v *site.Visit) []site.Deed {
	return []site.Deed{{Name: "replay", Summary: "Replay…", Text: "The same event goes to the endpoint again, with the same webhook-id, by which the customer knows it.", Submit: "Replay",
		Task: site.Task{Bare: true, Path: api + "/webhook-deliveries/" + v.ID() + "/replay", Then: site.To(v.At("/webhooks/" + v.ID())), Said: "The event is on its way again."}}}
}

func (o *office) replayDelivery(v *site.Visit) (page.Page, error) {
	return v.Act(v.At("/webhooks/"+v.ID()), replayDeeds(v), v.Param("action"), func(t site.Tried) (page.Page, error) { return o.deliveryPage(v, t) })
}

func rangeForm(v *site.Visit) *page.Form {
	return &page.Form{Action: v.At("/webhooks/replay"), Submit: "Replay them", Label: "Replay many", Cancel: page.Link{Href: v.At("/webhooks")}, Fields: []page.Field{
		{Name: "account_id", Label: "Account id", Required: true, Help: "Whose deliveries."},
		{Name: "endpoint_id", Label: "Endpoint id", Help: "Empty: all endpoints, and the URLs of messages and numbers."},
		{Name: "after", Label: "Made after", Kind: page.Moment, Required: true, Help: "Such as when the endpoint began to fail."},
		{Name: "before", Label: "Made before", Kind: page.Moment, Help: "Empty: until now."},
		{Name: "state", Label: "Which", Kind: page.Choice, Value: "failed", Options: []page.Option{{Value: "failed", Text: "Those that failed"}, {Value: "all", Text: "All, also those that were delivered"}}},
		{Name: "types", Label: "Events", Kind: page.Lines, Placeholder: "message.delivered", Help: "Of these types alone, one a line. Empty: all."},
	}}
}

func (o *office) replayRange(v *site.Visit) (page.Page, error) {
	form := rangeForm(v)
	form.From(v.R.URL.Query())
	return o.replayRangePage(v, form)
}

func (o *office) replayRangePage(v *site.Visit, form *page.Form) (page.Page, error) {
	p := page.Page{Title: "Replay webhooks", Lead: "For a customer whose endpoint did not work for a while: what it missed goes to it again, the oldest first.",
		Crumbs: []page.Link{{Text: "Webhook deliveries", Href: v.At("/webhooks")}, {Text: "Replay"}}}
	if p.Body = whoMay(v, "Replaying", snapshot.RoleSupport); len(p.Body) == 0 {
		p.Body = []page.Block{form}
	}
	return p, nil
}

func (o *office) doReplayRange(v *site.Visit) (page.Page, error) {
	form := rangeForm(v)
	return v.Submit(site.Task{Form: form, Path: api + "/webhook-deliveries/replay", Instead: func(a *call.Answer) (page.Page, error) {
		var done struct {
			Queued    int
			NextAfter *string `json:"next_after"`
		}
		if err := a.Into(&done); err != nil {
			return page.Page{}, err
		}
		said := page.Notice{Tone: page.Good, Text: countOf(done.Queued, "delivery is", "deliveries are") + " on the way again."}
		if done.Queued == 0 {
			said = page.Notice{Tone: page.Warn, Text: "There was none to replay in that time."}
		}
		to := url.Values{"account_id": {form.Field("account_id").Value}}
		if done.NextAfter != nil {
			said.Lines = []string{"There are more: replay once more, after the time that stands in the form now."}
			to.Set("after", *done.NextAfter)
			to.Set("endpoint_id", form.Field("endpoint_id").Value)
			return v.DoneWith(v.At("/webhooks/replay?"+to.Encode()), said)
		}
		return v.DoneWith(v.At("/webhooks?"+to.Encode()), said)
	}}, func() (page.Page, error) { return o.replayRangePage(v, form) })
}
