package own

import (
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
	"github.com/postrider/postrider/edges/console/story"
	"github.com/postrider/postrider/internal/message"
)

// messageView is a message as its customer sees it.
type messageView struct {
	messageRow
	RequestedType *string `json:"requested_type"`
	RequestedFrom *string `json:"requested_from"`
	Body, Subject *string
	Media         []struct {
		ID, URL     string
		ContentType string `json:"content_type"`
		SizeBytes   int64  `json:"size_bytes"`
	}
	Encoding  *string
	Class     string `json:"message_class"`
	Delivery  string
	Campaign  *string  `json:"campaign_id"`
	Batch     *string  `json:"batch_id"`
	Group     []string `json:"group_recipients"`
	RetryOf   *string  `json:"retry_of"`
	Metadata  map[string]string
	Hold      *struct{ Rule, Detail string }
	Receipt   *receipt
	Duplicate bool `json:"possible_duplicate"`
	Parts     []partView
	SendAt    *string `json:"send_at"`
	ExpiresAt *string `json:"expires_at"`
	Submitted *string `json:"submitted_at"`
	Delivered *string `json:"delivered_at"`
	UpdatedAt string  `json:"updated_at"`
}

type receipt struct{ Stat, Err string }

// cell is the network's own words.
func (r *receipt) cell() page.Cell {
	if r == nil {
		return page.None("None has come")
	}
	c := page.Mono(r.Stat)
	if r.Err != "" {
		c = c.WithSub("error " + r.Err)
	}
	return c
}

type partView struct {
	Part    int
	Status  string
	Receipt *receipt
	Error   *failure
}

func (m *messageView) outbound() bool { return m.Direction == "outbound" }

func (o *own) message(v *site.Visit) (page.Page, error) { return o.messagePage(v, nil, "") }

// messagePage shows a message; one of its actions may stand open, with what was wrong.
func (o *own) messagePage(v *site.Visit, tried *page.Form, action string) (page.Page, error) {
	var m messageView
	if err := v.Get(api+"/messages/"+v.ID(), nil, &m); err != nil {
		return page.Page{}, err
	}
	now, err := o.now(v, &m)
	if err != nil {
		return page.Page{}, err
	}
	title := "Message to " + pointed(m.To)
	if !m.outbound() {
		title = "Message from " + pointed(m.From)
	}
	left := []page.Block{page.Live{Path: v.At("/messages/" + v.ID() + "/live"), Label: "How far it is", Body: now}}
	left = append(left, content(&m))
	if m.outbound() {
		left = append(left, page.Section{ID: "parts", Title: "Parts", Help: "Each is sent and reported on its own.", Body: []page.Block{parts(&m)}})
	} else if more, err := o.handedOver(v); err != nil {
		return page.Page{}, err
	} else if more != nil {
		left = append(left, more)
	}
	if v.Has("webhooks:read") {
		told, err := o.told(v)
		if err != nil {
			return page.Page{}, err
		}
		left = append(left, told)
	}
	return page.Page{Title: title, Crumbs: []page.Link{{Text: "Messages", Href: v.At("/messages")}, {Text: ending(m.ID)}},
		Body: []page.Block{page.Split{Left: left, Right: o.actions(v, &m, tried, action)}}}, nil
}

// now is the part of the page that changes while it is under way.
func (o *own) now(v *site.Visit, m *messageView) ([]page.Block, error) {
	var lines site.Rows[story.Line]
	if err := v.Get(api+"/messages/"+v.ID()+"/events", url.Values{"limit": {"200"}}, &lines); err != nil {
		return nil, err
	}
	return append(warnings(m), facts(v, m), page.Section{ID: "timeline", Title: "What happened", Body: []page.Block{story.Of(lines.Data)}}), nil
}

// liveEvery is how often a page looks for news.
const liveEvery = time.Second

func (o *own) messageLive(v *site.Visit) (page.Page, error) {
	return v.Stream(liveEvery, func(context.Context) ([]page.Block, error) {
		var m messageView
		if err := v.Get(api+"/messages/"+v.ID(), nil, &m); err != nil {
			return nil, err
		}
		return o.now(v, &m)
	})
}

// advice is what a customer can do about a failure, by its class.
var advice = map[string]string{
	"permanent":        "The same message fails again unless something is changed.",
	"retry":            "The same message may pass later.",
	"fix_registration": "The 10DLC registration of the sender has to be put right first.",
}

// warnings are what a reader has to know first.
func warnings(m *messageView) []page.Block {
	var out []page.Block
	if m.Error != nil {
		tone := page.Bad
		if m.Status == string(message.StatusUnconfirmed) || m.Status == string(message.StatusInDoubt) {
			tone = page.Warn
		}
		n := page.Notice{Tone: tone, Title: strings.ReplaceAll(m.Error.Code, "_", " "), Text: m.Error.Detail, Link: page.Link{Text: "What " + m.Error.Code + " means, and what to do", Href: m.Error.doc()}}
		if text := advice[m.Error.Class]; text != "" {
			n.Lines = append(n.Lines, text)
		}
		out = append(out, n)
	}
	if m.Hold != nil {
		out = append(out, page.Notice{Tone: page.Warn, Title: "It waits: " + strings.ReplaceAll(m.Hold.Rule, "_", " "), Text: m.Hold.Detail})
	}
	if m.Duplicate {
		out = append(out, page.Notice{Tone: page.Warn, Text: "It was sent again while nobody knew whether the carrier had it: the recipient may have it twice."})
	}
	return out
}

func facts(v *site.Visit, m *messageView) page.Block {
	cost := page.Money(m.Price.Amount, m.Price.Currency)
	if m.Price.Estimated {
		cost = cost.WithSub("estimated until it is settled")
	}
	from := page.Strp(m.From)
	if m.RequestedFrom != nil {
		from = from.WithSub("asked for: " + *m.RequestedFrom)
	}
	sort := kind(m.Type, m.Direction)
	if m.RequestedType != nil {
		sort = sort.WithSub("asked for as " + strings.ToUpper(*m.RequestedType))
	}
	items := []page.Fact{{Label: "Status", Value: page.Status(m.Status)}, {Label: "Type", Value: sort}, {Label: "From", Value: from}, {Label: "To", Value: page.Strp(m.To)},
		{Label: "Parts", Value: page.Num(m.Segments), Help: "SMS segments, which are what costs"}, {Label: "Price", Value: cost}, {Label: "Accepted", Value: page.When(m.CreatedAt)}}
	if m.outbound() {
		items = append(items, page.Fact{Label: "Class", Value: page.Str(m.Class), Help: "otp goes first, then conversation, then bulk"}, page.Fact{Label: "When in doubt", Value: page.Str(strings.ReplaceAll(m.Delivery, "_", " ")), Help: "What happens when nobody knows whether the carrier has it"},
			page.Fact{Label: "Submitted", Value: page.Whenp(m.Submitted)}, page.Fact{Label: "Delivered", Value: page.Whenp(m.Delivered)}, page.Fact{Label: "Valid until", Value: page.Whenp(m.ExpiresAt)},
			page.Fact{Label: "Delivery report", Value: m.Receipt.cell(), Help: "The network's own words"})
	}
	campaign, batch, old := page.None(""), page.None(""), page.None("")
	if m.Campaign != nil {
		campaign = page.CodeTo(*m.Campaign, v.At("/registration"))
	}
	if m.Batch != nil {
		batch = page.CodeTo(ending(*m.Batch), v.At("/batches/"+url.PathEscape(*m.Batch)))
	}
	if m.RetryOf != nil {
		old = page.CodeTo(ending(*m.RetryOf), v.At("/messages/"+url.PathEscape(*m.RetryOf)))
	}
	for _, f := range []page.Fact{{Label: "To be sent at", Value: page.Whenp(m.SendAt)}, {Label: "Campaign", Value: campaign}, {Label: "Reference", Value: page.Strp(m.Reference), Help: "Your own"}, {Label: "Batch", Value: batch}, {Label: "Retry of", Value: old},
		{Label: "Group", Value: page.Str(strings.Join(m.Group, ", ")), Help: "All recipients of the group message"}} {
		if f.Value.Kind != "none" {
			items = append(items, f)
		}
	}
	items = append(items, page.Fact{Label: "Id", Value: page.Mono(m.ID).WithCopy()})
	return page.Facts{Title: "The message", Items: items}
}

func content(m *messageView) page.Block {
	s := page.Section{ID: "content", Title: "Text"}
	if m.Subject != nil {
		s.Body = append(s.Body, page.Facts{Items: []page.Fact{{Label: "Subject", Value: page.Str(*m.Subject)}}})
	}
	switch {
	case m.Body != nil && *m.Body != "":
		label := "Text"
		if m.Encoding != nil {
			label += ", " + encodings(*m.Encoding)
		}
		s.Body = append(s.Body, page.Code{Label: label, Text: *m.Body})
	case len(m.Media) == 0:
		s.Help = "There is none, or it is no longer kept."
	}
	for _, f := range m.Media {
		of, _, _ := strings.Cut(f.ContentType, "/")
		s.Body = append(s.Body, page.Media{Kind: of, URL: path(f.URL), Name: "File " + ending(f.ID), Type: f.ContentType, Size: page.Grouped(f.SizeBytes) + " octets"})
	}
	if len(m.Metadata) > 0 {
		more := page.Facts{Title: "Metadata"}
		for name, value := range m.Metadata {
			more.Items = append(more.Items, page.Fact{Label: name, Value: page.Str(value)})
		}
		slices.SortFunc(more.Items, func(a, b page.Fact) int { return strings.Compare(a.Label, b.Label) })
		s.Body = append(s.Body, more)
	}
	return s
}

func encodings(word string) string {
	if w, ok := map[string]string{"gsm7": "GSM 7-bit", "ucs2": "Unicode (UCS-2)"}[word]; ok {
		return w
	}
	return word
}

// path is the part of a URL of ours that a page of the same origin can load.
func path(whole string) string {
	u, err := url.Parse(whole)
	if err != nil {
		return ""
	}
	return u.EscapedPath()
}

func parts(m *messageView) page.Block {
	t := page.Table{Caption: "Parts", Empty: "It was not sent yet.", Columns: []page.Column{{Title: "Part", Right: true}, {Title: "Status"}, {Title: "Delivery report", Help: "The network's own words"}, {Title: "Why"}}}
	for _, p := range m.Parts {
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.Num(p.Part), page.Status(p.Status), p.Receipt.cell(), p.Error.why()}})
	}
	return t
}

// handedOver tells where a received message went; nil: it is not kept as one.
func (o *own) handedOver(v *site.Visit) (page.Block, error) {
	var m struct {
		receivedRow
		Complete   bool
		Deliveries []struct {
			handover
			Fallback bool
			Done     *string `json:"done_at"`
		}
	}
	err := v.Get(api+"/inbound-messages/"+v.ID(), nil, &m)
	if call.StatusOf(err) == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := page.Table{Caption: "Destinations", Empty: "It was not decided yet where it goes.", Columns: []page.Column{{Title: "By"}, {Title: "State"}, {Title: "Tries", Right: true}, {Title: "Last error"}, {Title: "Done"}}}
	for _, d := range m.Deliveries {
		by := page.Str(pointed(d.Method))
		if d.Fallback {
			by = by.WithSub("fall-back")
		}
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{by, d.state(), page.Num(d.Attempts), page.Strp(d.LastError), page.Whenp(d.Done)}})
	}
	s := page.Section{ID: "handover", Title: "Where it went", Actions: []page.Action{{Text: "Where messages to the number go", Href: v.At("/numbers/" + url.PathEscape(m.To))}}, Body: []page.Block{t}}
	if !m.Complete {
		s.Body = append(s.Body, page.Notice{Tone: page.Warn, Text: "Parts of it never came: the text has gaps."})
	}
	if m.Keyword != nil {
		s.Body = append(s.Body, page.Notice{Tone: page.Warn, Text: "It is the word " + *m.Keyword + ", on which the gateway acts by itself.", Link: page.Link{Text: "Opt-outs of " + m.From, Href: v.At("/opt-outs?recipient=" + url.QueryEscape(m.From))}})
	}
	return s, nil
}

// toldRow is a webhook about a message.
type toldRow struct {
	ID, Type, State, URL string
	Attempts             int     `json:"attempt_count"`
	LastStatus           *int    `json:"last_http_status"`
	LastError            *string `json:"last_error"`
	LastAttempt          *string `json:"last_attempt_at"`
	Next                 *string `json:"next_attempt_at"`
}

func (o *own) told(v *site.Visit) (page.Block, error) {
	var rows site.Rows[toldRow]
	if err := v.Get(api+"/webhook-deliveries", url.Values{"message_id": {v.Param("id")}}, &rows); err != nil {
		return nil, err
	}
	t := page.Table{Caption: "Webhooks", Empty: "No webhook of it was sent.", EmptyHelp: "Your endpoints are told of the events that they ask for.", Columns: []page.Column{{Title: "Event"}, {Title: "State"}, {Title: "To"}, {Title: "Tries", Right: true}, {Title: "Last answer"}, {Title: "Last try"}, {Title: "Next try"}}}
	for _, d := range rows.Data {
		answer := page.None("No answer yet")
		if d.LastStatus != nil {
			answer = page.Num(*d.LastStatus)
		}
		if d.LastError != nil {
			answer = answer.WithSub(*d.LastError)
		}
		state := page.Badge(d.State, map[string]page.Tone{"delivered": page.Good, "failed": page.Bad, "pending": page.Busy}[d.State], "")
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.To(d.Type, v.At("/deliveries/"+url.PathEscape(d.ID))), state, page.Mono(d.URL), page.Num(d.Attempts), answer, page.Whenp(d.LastAttempt), page.Whenp(d.Next)}})
	}
	return page.Section{ID: "webhooks", Title: "Webhooks", Help: "What your endpoints were told of it.", Body: []page.Block{t}}, nil
}

// deed is something that a customer can do with a message.
type deed struct {
	name, summary, text, submit, said string
	danger                            bool
	from                              []message.Status
	fields                            []page.Field
}

// deeds are offered in this order.
var deeds = []deed{
	{name: "edit", summary: "Change it…", text: "Its text and its time can be changed until it is sent; it is checked as a new message is.", submit: "Save", said: "The message is changed.", from: []message.Status{message.StatusAccepted, message.StatusScheduled},
		fields: []page.Field{{Name: "body", Label: "Text", Kind: page.Multiline, Max: 5000, Rows: 5, Keep: true}, {Name: "send_at", Label: "To be sent at", Kind: page.Moment, Help: "Empty: now."}, {Name: "validity_seconds", Label: "Valid for", Unit: "seconds", Kind: page.Number, Keep: true, Help: "60 to 259,200. Empty: as long as it was."}}},
	{name: "cancel", summary: "Cancel…", text: "It is withdrawn before it leaves.", submit: "Cancel the message", said: "The message is withdrawn.", danger: true, from: []message.Status{message.StatusAccepted, message.StatusScheduled, message.StatusQueued}},
	{name: "retry", summary: "Send it once more…", text: "A new message is made of it, which is checked and charged like any other.", submit: "Send once more", said: "A new message was made of it: this one.",
		from: []message.Status{message.StatusUndelivered, message.StatusFailed, message.StatusExpired, message.StatusRejected, message.StatusUnconfirmed}, fields: []page.Field{{Name: "accept_duplicate", Label: "The recipient may get it twice, and that is accepted", Kind: page.Check, Help: "Asked for only if nobody knows whether it was delivered."}}},
}

func (d *deed) form(v *site.Visit) *page.Form {
	return &page.Form{Action: v.At("/messages/" + v.ID() + "/" + d.name), Submit: d.submit, Danger: d.danger, Patch: d.name == "edit", Fields: append(slices.Clone(d.fields), site.Key())}
}

func (o *own) actions(v *site.Visit, m *messageView, tried *page.Form, action string) []page.Block {
	s := page.Section{ID: "actions", Title: "Actions"}
	for i := range deeds {
		d := &deeds[i]
		form, open := tried, true
		if d.name != action {
			form, open = d.form(v), false
			if !v.Has(messagesWrite) || !m.outbound() || !slices.Contains(d.from, message.Status(m.Status)) {
				continue
			}
			if d.name == "edit" {
				form.Field("body").Value, form.Field("send_at").Value = pointed(m.Body), pointed(m.SendAt)
			}
		}
		s.Body = append(s.Body, page.Disclosure{Summary: d.summary, Danger: d.danger, Open: open, Body: []page.Block{page.Text(d.text), form}})
	}
	switch {
	case !v.Has(messagesWrite):
		s.Help = "Somebody with the scope messages:write does things with messages."
	case !m.outbound():
		s.Body = append(s.Body, page.Bullets{page.To("Answer it", v.At("/send?"+url.Values{"to": {pointed(m.From)}, "from": {pointed(m.To)}}.Encode()))})
	case len(s.Body) == 0:
		s.Help = "Nothing can be done with it as it is now."
	}
	if m.outbound() && v.Has(messagesWrite) {
		s.Body = append(s.Body, page.Bullets{page.To("Write another one to the same number", v.At("/send?"+url.Values{"to": {pointed(m.To)}, "from": {pointed(m.From)}}.Encode()))})
	}
	return []page.Block{s}
}

// act does what a form of the page asks for.
func (o *own) act(v *site.Visit) (page.Page, error) {
	i := slices.IndexFunc(deeds, func(d deed) bool { return d.name == v.Param("action") })
	if i < 0 {
		return v.Missing()
	}
	d := &deeds[i]
	t := site.Task{Form: d.form(v), Path: api + "/messages/" + v.ID() + "/" + d.name, Then: site.To(v.At("/messages/" + v.ID())), Said: d.said}
	switch d.name {
	case "edit":
		t.Method, t.Path = http.MethodPatch, api+"/messages/"+v.ID()
	case "retry":
		t.Once, t.Then = true, site.ToMade(v.At("/messages"))
	case "cancel":
		t.Bare = true
	default:
		return page.Page{}, fmt.Errorf("nobody does %s", d.name)
	}
	return v.Submit(t, func() (page.Page, error) { return o.messagePage(v, t.Form, d.name) })
}
