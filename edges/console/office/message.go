package office

import (
	"context"
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
	"github.com/postrider/postrider/internal/snapshot"
)

// apiError is why something went wrong, as the API says it.
type apiError struct {
	Code, Class, Detail string
	VendorCode          *string `json:"vendor_code"`
}

type apiReceipt struct {
	Stat, Err string
	At        *string
}

type money struct {
	Amount, Currency string
	Estimated        bool
}

// messageView is a message as GET /messages/{id} has it.
type messageView struct {
	ID                string
	AccountID         string `json:"account_id"`
	Direction         string
	Type              string
	RequestedType     *string `json:"requested_type"`
	Status            string
	From, To          *string
	RequestedFrom     *string `json:"requested_from"`
	Body              *string
	Subject           *string
	Encoding          *string
	Segments          int
	Price             money
	MessageClass      string  `json:"message_class"`
	Delivery          string  `json:"delivery"`
	CampaignID        *string `json:"campaign_id"`
	BatchID           *string `json:"batch_id"`
	GroupID           *string `json:"group_id"`
	RetryOf           *string `json:"retry_of"`
	ClientReference   *string `json:"client_reference"`
	Metadata          map[string]string
	Error             *apiError
	Receipt           *apiReceipt
	PossibleDuplicate bool `json:"possible_duplicate"`
	Hold              *struct {
		Rule, Detail string
		Until        *string
	}
	Media []struct {
		ID, URL     string
		ContentType string `json:"content_type"`
		SizeBytes   int64  `json:"size_bytes"`
	}
	Parts []struct {
		Part, Attempt   int
		Status          string
		Vendor          *string
		VendorMessageID *string `json:"vendor_message_id"`
		Error           *apiError
		Receipt         *apiReceipt
	}
	Vendor      *string
	WorkflowURL *string `json:"workflow_url"`
	SendAt      *string `json:"send_at"`
	ExpiresAt   *string `json:"expires_at"`
	CreatedAt   string  `json:"created_at"`
	SubmittedAt *string `json:"submitted_at"`
	DeliveredAt *string `json:"delivered_at"`
}

func (o *office) message(v *site.Visit) (page.Page, error) { return o.messagePage(v, nil, "") }

// messagePage shows a message; one of its actions may stand open, with what was wrong.
func (o *office) messagePage(v *site.Visit, form *page.Form, action string) (page.Page, error) {
	var m messageView
	if err := v.Get(api+"/messages/"+v.ID(), nil, &m); err != nil {
		return page.Page{}, err
	}
	timeline, err := o.timeline(v)
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "Message " + m.ID, Crumbs: []page.Link{{Text: "Messages", Href: v.At("/messages")}, {Text: short(m.ID)}}}
	if m.WorkflowURL != nil {
		p.Actions = append(p.Actions, page.Action{Text: "Workflow in the Temporal UI", Href: *m.WorkflowURL})
	}
	webhooks, err := o.told(v, m.ID)
	if err != nil {
		return page.Page{}, err
	}
	left := []page.Block{o.facts(v, &m)}
	left = append(left, content(v, &m)...)
	left = append(left, page.Section{ID: "timeline", Title: "What happened", Body: []page.Block{
		page.Live{Path: v.At("/messages/" + v.ID() + "/live"), Label: "What happened", Body: []page.Block{timeline}}}})
	left = append(left, parts(v, &m), webhooks)
	p.Body = append(warnings(&m), page.Split{Left: left, Right: o.actions(v, &m, form, action)})
	return p, nil
}

// warnings are what a reader has to know first.
func warnings(m *messageView) []page.Block {
	var out []page.Block
	if m.Error != nil {
		tone := page.Bad
		if m.Status == string(message.StatusUnconfirmed) || m.Status == string(message.StatusInDoubt) {
			tone = page.Warn
		}
		n := page.Notice{Tone: tone, Title: m.Error.Code, Text: m.Error.Detail}
		switch m.Error.Class {
		case "retry":
			n.Lines = append(n.Lines, "The same message may pass later.")
		case "fix_registration":
			n.Lines = append(n.Lines, "The 10DLC registration of the sender has to be put right first.")
		}
		if m.Error.VendorCode != nil {
			n.Lines = append(n.Lines, "The vendor's own code: "+*m.Error.VendorCode)
		}
		out = append(out, n)
	}
	if m.Hold != nil {
		n := page.Notice{Tone: page.Warn, Title: "It waits: " + strings.ReplaceAll(m.Hold.Rule, "_", " "), Text: m.Hold.Detail}
		if m.Hold.Until == nil {
			n.Lines = []string{"Until somebody has looked at it."}
		}
		out = append(out, n)
	}
	if m.PossibleDuplicate {
		out = append(out, page.Notice{Tone: page.Warn, Text: "It was sent again while nobody knew whether the vendor had it: the recipient may have it twice."})
	}
	return out
}

func (o *office) facts(v *site.Visit, m *messageView) page.Block {
	price := page.Money(m.Price.Amount, m.Price.Currency)
	if m.Price.Estimated {
		price = price.WithSub("estimated until it is settled")
	}
	from := number(m.From)
	if m.RequestedFrom != nil {
		from = from.WithSub("asked for: " + *m.RequestedFrom)
	}
	kind := page.Str(strings.ToUpper(m.Type)).WithSub(m.Direction)
	if m.RequestedType != nil {
		kind = kind.WithSub(m.Direction + ", asked for as " + strings.ToUpper(*m.RequestedType))
	}
	items := []page.Fact{
		{Label: "Status", Value: page.Status(m.Status)}, {Label: "Type", Value: kind}, {Label: "From", Value: from}, {Label: "To", Value: number(m.To)},
		{Label: "Account", Value: page.CodeTo(short(m.AccountID), v.At("/customers/"+url.PathEscape(m.AccountID)))},
		{Label: "Vendor", Value: vendorLink(v, m.Vendor), Help: "That has it, or had it last"},
		{Label: "Price", Value: price}, {Label: "Parts", Value: page.Num(m.Segments), Help: "SMS segments that it is sent in"},
		{Label: "Class", Value: page.Str(m.MessageClass), Help: "otp goes first, then conversation, then bulk"},
		{Label: "When in doubt", Value: page.Str(strings.ReplaceAll(m.Delivery, "_", " ")), Help: "What happens when a submit has no known answer"},
		{Label: "Accepted", Value: page.When(m.CreatedAt)}, {Label: "Submitted", Value: page.Whenp(m.SubmittedAt)}, {Label: "Delivered", Value: page.Whenp(m.DeliveredAt)},
		{Label: "Valid until", Value: page.Whenp(m.ExpiresAt)},
	}
	more := []page.Fact{{Label: "To be sent at", Value: page.Whenp(m.SendAt)}, {Label: "Campaign", Value: page.Strp(m.CampaignID)}, {Label: "Reference", Value: page.Strp(m.ClientReference)},
		{Label: "Batch", Value: page.Strp(m.BatchID)}, {Label: "Retry of", Value: messageLink(v, m.RetryOf)}, {Label: "Group", Value: page.Strp(m.GroupID)}}
	for _, f := range more {
		if f.Value.Kind != "none" {
			items = append(items, f)
		}
	}
	return page.Facts{Title: "The message", Items: items}
}

// vendorLink leads to a vendor by its name.
func vendorLink(v *site.Visit, name *string) page.Cell {
	if name == nil {
		return page.None("")
	}
	return page.To(*name, v.At("/vendors/"+url.PathEscape(*name)))
}

func messageLink(v *site.Visit, id *string) page.Cell {
	if id == nil {
		return page.None("")
	}
	return page.CodeTo(short(*id), v.At("/messages/"+url.PathEscape(*id)))
}

// content is the text and the files, for those who may read them.
func content(v *site.Visit, m *messageView) []page.Block {
	body := page.Section{ID: "content", Title: "Text", Help: "That it was read is in the audit log."}
	switch {
	case m.Body != nil && *m.Body != "":
		label := "Text"
		if m.Encoding != nil {
			label += ", " + *m.Encoding
		}
		if m.Subject != nil {
			body.Body = append(body.Body, page.Facts{Items: []page.Fact{{Label: "Subject", Value: page.Str(*m.Subject)}}})
		}
		body.Body = append(body.Body, page.Code{Label: label, Text: *m.Body})
	case !v.May(snapshot.RoleSupport, snapshot.RoleCompliance):
		body.Help = "Support and compliance may read texts."
	default:
		body.Help = "There is none, or it is no longer kept."
	}
	for _, f := range m.Media {
		kind, _, _ := strings.Cut(f.ContentType, "/")
		body.Body = append(body.Body, page.Media{Kind: kind, URL: path(f.URL), Name: f.ID, Type: f.ContentType, Size: page.Grouped(f.SizeBytes) + " octets"})
	}
	if len(m.Metadata) > 0 {
		facts := page.Facts{Title: "Metadata"}
		for name, value := range m.Metadata {
			facts.Items = append(facts.Items, page.Fact{Label: name, Value: page.Str(value)})
		}
		slices.SortFunc(facts.Items, func(a, b page.Fact) int { return strings.Compare(a.Label, b.Label) })
		body.Body = append(body.Body, facts)
	}
	return []page.Block{body}
}

// path is the part of a URL of ours that a page of the same origin can load.
func path(whole string) string {
	u, err := url.Parse(whole)
	if err != nil {
		return ""
	}
	return u.EscapedPath()
}

func parts(v *site.Visit, m *messageView) page.Block {
	t := page.Table{Caption: "Parts", Empty: "It was not given to a vendor yet.",
		Columns: []page.Column{{Title: "Part", Right: true}, {Title: "Status"}, {Title: "Attempt", Right: true, Help: "How often it was submitted"}, {Title: "Vendor"}, {Title: "Vendor's id"}, {Title: "Receipt"}, {Title: "Error"}}}
	for _, p := range m.Parts {
		receipt, wrong, id := page.None(""), page.None(""), page.None("")
		if p.Receipt != nil {
			receipt = page.Mono(p.Receipt.Stat)
			if p.Receipt.Err != "" {
				receipt = receipt.WithSub("error " + p.Receipt.Err)
			}
		}
		if p.Error != nil {
			wrong = page.Mono(p.Error.Code).WithHelp(p.Error.Detail)
			if p.Error.VendorCode != nil {
				wrong = wrong.WithSub("vendor: " + *p.Error.VendorCode)
			}
		}
		if p.VendorMessageID != nil {
			id = page.Mono(*p.VendorMessageID).WithCopy()
		}
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.Num(p.Part), page.Status(p.Status), page.Num(p.Attempt), vendorLink(v, p.Vendor), id, receipt, wrong}})
	}
	return page.Section{ID: "parts", Title: "Parts", Help: "Each is submitted, answered and reported on its own; the worst decides.", Body: []page.Block{t}}
}

// delivery is what a customer's endpoint was told, or is to be.
type delivery struct {
	ID          string
	Type        string
	State       string
	URL         string
	MessageID   *string `json:"message_id"`
	AccountID   string  `json:"account_id"`
	Attempts    int     `json:"attempt_count"`
	LastStatus  *int    `json:"last_http_status"`
	LastError   *string `json:"last_error"`
	LastAttempt *string `json:"last_attempt_at"`
	Next        *string `json:"next_attempt_at"`
	CreatedAt   string  `json:"created_at"`
}

// told are the webhooks of a message.
func (o *office) told(v *site.Visit, id string) (page.Block, error) {
	var rows site.Rows[delivery]
	if err := v.Get(api+"/webhook-deliveries", url.Values{"message_id": {id}}, &rows); err != nil {
		return nil, err
	}
	t := page.Table{Caption: "Webhooks", Empty: "The customer was told of nothing by webhook.", Columns: deliveryColumns}
	for _, d := range rows.Data {
		t.Rows = append(t.Rows, deliveryRow(v, d))
	}
	return page.Section{ID: "webhooks", Title: "Webhooks", Help: "What the customer's endpoints were told of it.", Body: []page.Block{t}}, nil
}

var deliveryColumns = []page.Column{{Title: "Event"}, {Title: "State"}, {Title: "Tries", Right: true}, {Title: "Last answer"}, {Title: "Last try"}, {Title: "Next try"}}

func deliveryRow(v *site.Visit, d delivery) page.Row {
	tone := map[string]page.Tone{"delivered": page.Good, "failed": page.Bad, "pending": page.Busy}[d.State]
	answer := page.None("No answer yet")
	if d.LastStatus != nil {
		answer = page.Num(*d.LastStatus)
	}
	if d.LastError != nil {
		answer = answer.WithSub(*d.LastError)
	}
	return page.Row{Cells: []page.Cell{page.To(d.Type, v.At("/webhooks/"+url.PathEscape(d.ID))), page.Badge(d.State, tone, ""), page.Num(d.Attempts), answer, page.Whenp(d.LastAttempt), page.Whenp(d.Next)}}
}

// maxLines bounds what a page tells of one message; batches of retries have fewer.
const maxLines = 200

func (o *office) timeline(v *site.Visit) (page.Block, error) {
	var rows site.Rows[story.Line]
	if err := v.Get(api+"/messages/"+v.ID()+"/events", url.Values{"limit": {"200"}}, &rows); err != nil {
		return nil, err
	}
	return story.Of(rows.Data[:min(len(rows.Data), maxLines)]), nil
}

// messageEvery is how often a page looks for news of its message.
const messageEvery = 2 * time.Second

// messageLive follows the timeline alone: a reading of the text would be one more line of
// the audit log every time.
func (o *office) messageLive(v *site.Visit) (page.Page, error) {
	return v.Stream(messageEvery, func(context.Context) ([]page.Block, error) {
		t, err := o.timeline(v)
		return []page.Block{t}, err
	})
}

// deed is something that staff can do with a message.
type deed struct {
	name, summary, text, submit, said string
	danger                            bool
	from                              []message.Status // in which it is offered
	held                              bool             // or only while it waits for a review, by compliance
	fields                            []page.Field
}

var why = page.Field{Name: "reason", Label: "Reason", Help: "For the audit log.", Max: 500}

// deeds are offered in this order.
var deeds = []deed{
	{name: "resolve", summary: "Resolve the doubt…", text: "Ask the vendor first, and say what it found. “Send again” may give the recipient the message twice.", submit: "Resolve", said: "The doubt is resolved.", danger: true,
		from: []message.Status{message.StatusInDoubt}, fields: []page.Field{{Name: "as", Label: "What is known", Kind: page.Choice, Required: true, Options: []page.Option{{Value: "sent", Text: "The vendor has it: wait for its report"}, {Value: "not_sent", Text: "The vendor does not have it: it failed"}, {Value: "send_again", Text: "Send it again"}}},
			{Name: "reason", Label: "How that is known", Required: true, Max: 500}}},
	{name: "release", summary: "Release…", text: "It is checked anew and goes, unless something else is against it.", submit: "Release", said: "The message was released.", held: true, fields: []page.Field{why}},
	{name: "refuse", summary: "Refuse…", text: "It ends as rejected, and the customer is told why.", submit: "Refuse", said: "The message was refused.", danger: true, held: true, fields: []page.Field{{Name: "reason", Label: "Reason", Required: true, Help: "The customer sees it.", Max: 300}}},
	{name: "reroute", summary: "Send it another way…", text: "The vendor that you name is asked alone, whatever the routes say. Without one the routes are asked again.", submit: "Re-route", said: "The message goes another way.",
		from: []message.Status{message.StatusAccepted, message.StatusScheduled, message.StatusQueued, message.StatusSending}, fields: []page.Field{{Name: "vendor", Label: "Vendor", Help: "Its name or id; empty: ask the routes again."}, {Name: "reason", Label: "Reason", Required: true, Max: 500}}},
	{name: "cancel", summary: "Cancel…", text: "It is withdrawn before it leaves, and the customer is told.", submit: "Cancel the message", said: "The message is withdrawn.", danger: true,
		from: []message.Status{message.StatusAccepted, message.StatusScheduled, message.StatusQueued}, fields: []page.Field{why}},
	{name: "retry", summary: "Send it once more…", text: "A new message is made of it, for the same customer and at the customer's cost.", submit: "Send once more", said: "A new message was made of it: this one.",
		from: []message.Status{message.StatusUndelivered, message.StatusFailed, message.StatusExpired, message.StatusRejected, message.StatusUnconfirmed}, fields: []page.Field{{Name: "accept_duplicate", Label: "The recipient may get it twice, and that is accepted", Kind: page.Check}}},
}

func (d *deed) offered(m *messageView) bool {
	if d.held {
		return m.Hold != nil && m.Hold.Rule == "content"
	}
	return m.Direction == "outbound" && slices.Contains(d.from, message.Status(m.Status))
}

// role is who does it: what content rules hold is compliance's.
func (d *deed) role() snapshot.Role {
	if d.held {
		return snapshot.RoleCompliance
	}
	return snapshot.RoleSupport
}

func (d *deed) form(v *site.Visit) *page.Form {
	return &page.Form{Action: v.At("/messages/" + v.ID() + "/" + d.name), Submit: d.submit, Danger: d.danger, Fields: append(slices.Clone(d.fields), site.Key()), Patch: d.name == "reroute"}
}

// actions are what may be done with the message now. One that was tried stands open.
func (o *office) actions(v *site.Visit, m *messageView, tried *page.Form, action string) []page.Block {
	section := page.Section{ID: "actions", Title: "Actions"}
	for i := range deeds {
		d := &deeds[i]
		form, open := tried, true
		if d.name != action {
			form, open = d.form(v), false
			if !d.offered(m) || !v.May(d.role()) {
				continue
			}
		}
		section.Body = append(section.Body, page.Disclosure{Summary: d.summary, Danger: d.danger, Open: open, Body: []page.Block{page.Text(d.text), form}})
	}
	if len(section.Body) == 0 {
		section.Help = "Nothing can be done with it as it is now."
		if i := slices.IndexFunc(deeds, func(d deed) bool { return d.offered(m) }); i >= 0 {
			section.Help = "What can be done with it now is for " + string(deeds[i].role()) + "; your role is " + string(v.Person.Role) + "."
		}
	}
	return []page.Block{section}
}

// act does what a form of the page asks for.
func (o *office) act(v *site.Visit) (page.Page, error) {
	i := slices.IndexFunc(deeds, func(d deed) bool { return d.name == v.Param("action") })
	if i < 0 {
		return v.Missing()
	}
	d := &deeds[i]
	form := d.form(v)
	then := site.To(v.At("/messages/" + v.ID()))
	if d.name == "retry" {
		then = func(a *call.Answer) string { return site.ToMade(v.At("/messages"))(a) }
	}
	return v.Submit(site.Task{Form: form, Method: http.MethodPost, Path: api + "/messages/" + v.ID() + "/" + d.name, Once: d.name == "retry", Then: then, Said: d.said},
		func() (page.Page, error) { return o.messagePage(v, form, d.name) })
}
