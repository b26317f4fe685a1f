package account

import (
	"net/url"
	"strconv"
	"time"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// deliveryView is an event on its way to one address, as the API has it.
type deliveryView struct {
	ID         string
	EventID    string  `json:"event_id"`
	EndpointID *string `json:"endpoint_id"`
	MessageID  *string `json:"message_id"`
	Type       string
	URL        string
	State      string
	Attempts   []struct {
		At         string
		HTTPStatus *int `json:"http_status"`
		MS         int64
		Error      *string
	}
	AttemptCount  int     `json:"attempt_count"`
	Replays       int     `json:"replays"`
	NextAttemptAt *string `json:"next_attempt_at"`
	LastStatus    *int    `json:"last_http_status"`
	LastError     *string `json:"last_error"`
	Answer        *string
	CreatedAt     string  `json:"created_at"`
	LastAttemptAt *string `json:"last_attempt_at"`
}

// deliveryState is the state of a delivery in a word.
func deliveryState(state string) page.Cell {
	switch state {
	case "delivered":
		return page.Badge(state, page.Good, "The receiver answered 2xx")
	case "failed":
		return page.Badge(state, page.Bad, "It is not tried again, but can be replayed")
	case "pending":
		return page.Badge(state, page.Busy, "It is tried until it is taken, for 72 hours")
	}
	return page.Badge(state, page.Plain, "")
}

// answered is what the last try came to.
func (d *deliveryView) answered() page.Cell {
	switch {
	case d.LastStatus != nil && d.LastError != nil:
		return page.Mono(strconv.Itoa(*d.LastStatus)).WithSub(clip(*d.LastError, 120))
	case d.LastStatus != nil:
		return page.Mono(strconv.Itoa(*d.LastStatus))
	case d.LastError != nil:
		return page.Str(clip(*d.LastError, 120))
	}
	return page.None("It was not tried yet")
}

func (v *visit) deliveries() (page.Page, error) {
	filter := &page.Form{Method: "get", Inline: true, Submit: "Search", Label: "Search deliveries", Fields: []page.Field{
		{Name: "state", Label: "State", Kind: page.Choice, Options: []page.Option{{Text: "any"}, {Value: "failed", Text: "failed"}, {Value: "pending", Text: "pending"}, {Value: "delivered", Text: "delivered"}}},
		{Name: "endpoint_id", Label: "Endpoint", Kind: page.Choice, Options: []page.Option{{Text: "any"}}},
		{Name: "message_id", Label: "Message id"},
	}}
	var endpoints site.Rows[endpointView]
	if err := v.Get(v.op("/webhook-endpoints"), url.Values{"limit": {"100"}}, &endpoints); err != nil {
		return page.Page{}, err
	}
	choice := filter.Field("endpoint_id")
	for _, e := range endpoints.Data {
		choice.Options = append(choice.Options, page.Option{Value: e.ID, Text: clip(e.URL, 60)})
	}
	rows, err := site.List[deliveryView](v.Visit, v.op("/webhook-deliveries"), filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	t := v.deliveryTable(nil, true)
	if len(rows.Data) == 0 && rows.NextCursor != nil {
		t.Empty, t.EmptyHelp = "Nothing on this page fits.", "There may be more on the next one."
	}
	p := page.Page{Title: "Webhook deliveries", Lead: "What was posted to webhooks, newest first, and what was answered.", Body: []page.Block{filter, site.Table(v.Visit, rows, t, v.deliveryRow)}}
	if v.May(webhooksWrite) && len(endpoints.Data) > 0 {
		p.Body = append(p.Body, page.Text("Many are replayed at the endpoint: open it and say from when."))
	}
	return v.page(p), nil
}

// deliveryTable is a table of deliveries. search says that there is a search above it.
func (v *visit) deliveryTable(list []deliveryView, search bool) page.Table {
	t := page.Table{Caption: "Webhook deliveries", Empty: "Nothing was posted yet.", EmptyHelp: "Send a test event to an endpoint, or a message.",
		Columns: []page.Column{{Title: "Event"}, {Title: "State"}, {Title: "Last answer", Help: "HTTP status of the last try, or why there was none"}, {Title: "Next try"}, {Title: "Made"}}}
	if search {
		t.Columns = append(t.Columns, page.Column{Title: "Tries", Right: true, Help: "Since it was made or last replayed"}, page.Column{Title: "Message"}, page.Column{Title: "Host", Help: "To which it was addressed"})
		t.Empty, t.EmptyHelp = "No delivery fits.", "Leave out a part of the search."
	}
	for _, d := range list {
		r := v.deliveryRow(d)
		r.Cells = r.Cells[:len(t.Columns)]
		t.Rows = append(t.Rows, r)
	}
	return t
}

func (v *visit) deliveryRow(d deliveryView) page.Row {
	r := page.Row{Cells: []page.Cell{page.To(d.Type, v.at("/deliveries/"+url.PathEscape(d.ID))), deliveryState(d.State), d.answered(), page.Whenp(d.NextAttemptAt), page.When(d.CreatedAt), page.Num(d.AttemptCount), v.aboutMessage(d.MessageID), page.Str(hostOf(d.URL)).WithHelp(d.URL)}}
	if d.State == "failed" {
		r.Tone = page.Bad
	}
	return r
}

// hostOf is the host of a URL.
func hostOf(whole string) string {
	u, err := url.Parse(whole)
	if err != nil {
		return whole
	}
	return u.Host
}

// aboutMessage is a link to the page of a message.
func (v *visit) aboutMessage(id *string) page.Cell {
	if id == nil {
		return page.None("It is about no message")
	}
	return page.CodeTo(short(*id), v.At("/messages/"+url.PathEscape(*id)))
}

func (v *visit) delivery() (page.Page, error) { return v.deliveryPage(site.Tried{}) }

func (v *visit) deliveryPage(tried site.Tried) (page.Page, error) {
	var d deliveryView
	if err := v.Get(v.op("/webhook-deliveries/"+v.id()), nil, &d); err != nil {
		return page.Page{}, err
	}
	endpoint := page.None("It goes to an address of the message's or the number's own")
	if d.EndpointID != nil {
		endpoint = page.To("Open the endpoint", v.at("/webhooks/"+url.PathEscape(*d.EndpointID)))
	}
	tries := page.Table{Caption: "Tries", Empty: "It was not tried yet.", Columns: []page.Column{{Title: "Try"}, {Title: "At"}, {Title: "Answer", Help: "HTTP status"}, {Title: "Took"}, {Title: "What was wrong"}}}
	for i, a := range d.Attempts {
		status, wrong := page.None("There was no answer"), page.None("")
		tone := page.Bad
		if a.HTTPStatus != nil {
			if status = page.Mono(strconv.Itoa(*a.HTTPStatus)); *a.HTTPStatus/100 == 2 {
				tone = page.Plain
			}
		}
		if a.Error != nil {
			wrong = page.Str(*a.Error)
		}
		tries.Rows = append(tries.Rows, page.Row{Tone: tone, Cells: []page.Cell{page.Num(i + 1), page.When(a.At), status, page.Str(page.Duration(time.Duration(a.MS) * time.Millisecond)), wrong}})
	}
	body := []page.Block{page.Facts{Title: "The delivery", Items: []page.Fact{
		{Label: "State", Value: deliveryState(d.State)}, {Label: "Event", Value: page.Str(d.Type).WithSub(eventWords[d.Type])}, {Label: "Last answer", Value: d.answered()},
		{Label: "Next try", Value: page.Whenp(d.NextAttemptAt)}, {Label: "Message", Value: v.aboutMessage(d.MessageID)}, {Label: "Endpoint", Value: endpoint},
		{Label: "Address", Value: page.Str(d.URL)}, {Label: "Replays", Help: "How often it was replayed", Value: page.Num(d.Replays)}, {Label: "Made", Value: page.When(d.CreatedAt)},
		{Label: "webhook-id", Help: "Of the event: the same on every try and replay", Value: page.Mono(d.EventID).WithCopy()}, {Label: "Id", Value: page.Mono(d.ID).WithCopy()},
	}}}
	if v.May(webhooksWrite) && d.State != "pending" {
		body = append(body, site.Deeds(v.at("/deliveries/"+v.id()), v.deliveryDeeds(), tried)...)
	}
	body = append(body, page.Section{ID: "tries", Title: "Tries", Body: []page.Block{tries}})
	if d.Answer != nil && *d.Answer != "" {
		body = append(body, page.Section{ID: "answer", Title: "What the receiver answered", Help: "The first KiB of the last answer.", Body: []page.Block{page.Code{Label: "The receiver's answer", Text: *d.Answer}}})
	}
	return v.page(page.Page{Title: "Delivery of " + d.Type, Body: body}, page.Link{Text: "Webhook deliveries", Href: v.at("/deliveries")}), nil
}

func (v *visit) deliveryDeeds() []site.Deed {
	here := v.at("/deliveries/" + v.id())
	return []site.Deed{{Name: "replay", Submit: "Replay it", Task: site.Task{Path: v.op("/webhook-deliveries/" + v.id() + "/replay"), Bare: true, Instead: func(a *call.Answer) (page.Page, error) { return v.replayed(a, here) }}}}
}

func (v *visit) deliveryAct() (page.Page, error) {
	return v.Act(v.at("/deliveries/"+v.id()), v.deliveryDeeds(), v.Param("action"), v.deliveryPage)
}

// short is enough of an id to tell it from others on a page.
func short(id string) string { return id[:min(13, len(id))] + "…" }

// clip cuts a text that is longer than so many characters.
func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// since is how long something has lasted.
func since(from string) string {
	at, err := time.Parse(time.RFC3339, from)
	if err != nil {
		return "an unknown time"
	}
	return page.Duration(time.Since(at))
}
