package office

import (
	"net/http"
	"net/url"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/snapshot"
)

func (o *office) strayRoutes() shows {
	return shows{
		"GET /console/unrouted":               o.unrouted,
		"POST /console/unrouted":              o.redriveAll,
		"POST /console/unrouted/{id}/redrive": o.redriveOne,
		"GET /console/receipts":               o.receipts,
		"GET /console/receipts/{id}":          o.receipt,
		"POST /console/receipts/{id}/match":   o.matchReceipt,
	}
}

// stray is an inbound message of nobody's.
type stray struct {
	ID         string
	VendorID   string `json:"vendor_id"`
	Vendor     *string
	From, To   string
	Body       *string
	Segments   int
	Complete   bool
	Keyword    *string
	RepeatOf   *string `json:"repeat_of"`
	Why        string
	AccountID  *string `json:"account_id"`
	ReceivedAt string  `json:"received_at"`
}

func (o *office) unrouted(v *site.Visit) (page.Page, error) { return o.unroutedPage(v, nil) }

func (o *office) unroutedPage(v *site.Visit, all *page.Form) (page.Page, error) {
	filter := &page.Form{Method: "get", Inline: true, Submit: "Show", Label: "Narrow the list", Fields: []page.Field{{Name: "to", Label: "To the number", Placeholder: "+12025550143"}}}
	rows, err := site.List[stray](v, api+"/inbound/unrouted", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Inbound messages of nobody's", Empty: "Nothing is here.", EmptyHelp: "Messages come here when the number they were sent to is no customer's, or is enabled for nothing.",
		Columns: []page.Column{{Title: "To", Help: "The number on our side"}, {Title: "Why it is here", Help: "As the number is now"}, {Title: "What to do"}, {Title: "Came"}, {Title: "From"}, {Title: "Vendor"}, {Title: "Text", Help: "That it was read is in the audit log"}}}
	p := page.Page{Title: "Unrouted inbound", Lead: "Messages from handsets that found no customer, newest first. They can be taken in once their number is somebody's."}
	p.Body = append(p.Body, filter)
	p.Body = append(p.Body, whoMay(v, "Taking messages in", snapshot.RoleSupport)...)
	if len(rows.Data) > 0 && v.May(snapshot.RoleSupport) {
		open := all != nil
		if all == nil {
			all = takeInForm(v)
			all.Field("number").Value = filter.Field("to").Value
		}
		p.Body = append(p.Body, page.Disclosure{Summary: "Take all in whose number is somebody's now…", Open: open, Body: []page.Block{page.Text("They are delivered to whose the numbers are now, the oldest first. The rest stays here."), all}})
	}
	p.Body = append(p.Body, site.Table(v, rows, table, func(s stray) page.Row { return strayRow(v, s) }))
	return p, nil
}

func takeInForm(v *site.Visit) *page.Form {
	return &page.Form{Action: v.At("/unrouted"), Submit: "Take them in", Label: "Take all in", Fields: []page.Field{{Name: "number", Label: "Only those to the number", Placeholder: "+12025550143", Help: "Empty: to every number."}}}
}

func strayRow(v *site.Visit, s stray) page.Row {
	r := page.Row{Cells: []page.Cell{page.Mono(s.To), page.None(""), page.None("Support takes it in"), since(s.ReceivedAt), page.Mono(s.From), ofVendor(v, s.VendorID, s.Vendor), textOf(v, s.Body)}}
	if s.Why != "nobody" {
		r.Cells[0] = numberTo(v, s.To)
	}
	switch s.Why {
	case "assigned":
		r.Cells[1] = page.Badge("number assigned since", page.Good, "It was nobody's when the message came, and is a customer's now")
		r.Cells[1].Sub = "account " + short(*s.AccountID)
		r.Cells[1].Href = v.At("/customers/" + url.PathEscape(*s.AccountID))
		if v.May(snapshot.RoleSupport) {
			r.Cells[2] = page.Do(&page.Form{Action: v.At("/unrouted/" + url.PathEscape(s.ID) + "/redrive"), Submit: "Take in", Label: "Take in the message " + short(s.ID)})
		}
	case "not_enabled":
		r.Tone = page.Warn
		r.Cells[1] = page.Badge("number not enabled", page.Warn, "It is a customer's, and enabled neither for SMS nor for MMS")
		r.Cells[2] = page.To("Enable the number", v.At("/numbers/"+url.PathEscape(s.To)))
	default:
		r.Tone = page.Warn
		r.Cells[1] = page.Badge("nobody's number", page.Warn, "No customer has it")
		r.Cells[2] = page.To("Assign the number", v.At("/numbers/new"))
	}
	if !s.Complete {
		r.Cells[6].Sub = "incomplete: parts of it never came"
	} else if s.RepeatOf != nil {
		r.Cells[6].Sub = "says the same as one shortly before"
	}
	return r
}

func (o *office) redriveOne(v *site.Visit) (page.Page, error) {
	form := &page.Form{}
	return v.Submit(site.Task{Form: form, Bare: true, Path: api + "/inbound/unrouted/" + v.ID() + "/redrive", Then: site.To(v.At("/messages/" + v.ID())), Said: "The message was taken in: it is on its way to the customer."},
		func() (page.Page, error) {
			return page.Page{Title: "It was not taken in", Body: []page.Block{page.Notice{Tone: page.Bad, Text: form.Trouble, Link: page.Link{Text: "Back to the unrouted messages", Href: v.At("/unrouted")}}}}, nil
		})
}

// maxRedrives bounds what one press of the button does: so many times 500 messages.
const maxRedrives = 10

func (o *office) redriveAll(v *site.Visit) (page.Page, error) {
	form := takeInForm(v)
	return v.Submit(site.Task{Form: form, Path: api + "/inbound/unrouted/redrive", Instead: func(first *call.Answer) (page.Page, error) {
		taken, left := 0, 0
		answer := first
		for round := 1; ; round++ {
			var r struct {
				Redriven, Left int
				NextAfter      *string `json:"next_after"`
			}
			if err := answer.Into(&r); err != nil {
				return page.Page{}, err
			}
			taken, left = taken+r.Redriven, left+r.Left
			said := page.Notice{Tone: page.Good, Text: countOf(taken, "message was", "messages were") + " taken in. " + countOf(left, "message has", "messages have") + " a number that is still nobody's or not enabled."}
			if r.NextAfter == nil {
				return v.DoneWith(v.At("/unrouted"), said)
			}
			if round == maxRedrives {
				said.Tone, said.Lines = page.Warn, []string{"There are more. Do it once more to go on."}
				return v.DoneWith(v.At("/unrouted"), said)
			}
			body, _ := form.Body()
			body["after"] = *r.NextAfter
			var err error
			if answer, err = v.Do(call.Request{Method: http.MethodPost, Path: api + "/inbound/unrouted/redrive", Body: body}); err != nil {
				return page.Page{}, err
			}
		}
	}}, func() (page.Page, error) { return o.unroutedPage(v, form) })
}

// strayReceipt is a delivery report that matches no part.
type strayReceipt struct {
	ID              string
	VendorID        string `json:"vendor_id"`
	Vendor          *string
	VendorMessageID string `json:"vendor_message_id"`
	State           string
	Err             *string
	From, To        string
	DoneAt          *string `json:"done_at"`
	ReceivedAt      string  `json:"received_at"`
}

// receiptState is what a vendor says of a message, in words.
func receiptState(state string) page.Cell {
	switch state {
	case "DELIVRD":
		return page.Badge("delivered", page.Good, state)
	case "UNDELIV":
		return page.Badge("not delivered", page.Bad, state)
	case "REJECTD":
		return page.Badge("rejected", page.Bad, state)
	case "EXPIRED":
		return page.Badge("expired", page.Bad, state)
	case "DELETED":
		return page.Badge("deleted", page.Bad, state)
	}
	return page.Badge(state, page.Plain, "")
}

func (o *office) receipts(v *site.Visit) (page.Page, error) {
	rows, err := site.List[strayReceipt](v, api+"/receipts/unmatched", nil, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Receipts that match nothing", Empty: "Every receipt has found its message.", EmptyHelp: "A receipt comes here when its vendor calls a message by an id that it never gave us.",
		Columns: []page.Column{{Title: "Vendor's id", Help: "Of the message, as the receipt has it"}, {Title: "Vendor"}, {Title: "It says"}, {Title: "Error", Help: "The vendor's own code"}, {Title: "From", Help: "Sender of the message, as the vendor wrote it"}, {Title: "To", Help: "Its recipient"}, {Title: "Came"}}}
	return page.Page{Title: "Unmatched receipts", Lead: "Final delivery reports whose id is no message's, newest first. The message they belong to may be in doubt, or end without a report.",
		Body: []page.Block{site.Table(v, rows, table, func(r strayReceipt) page.Row {
			return page.Row{Cells: []page.Cell{page.CodeTo(r.VendorMessageID, v.At("/receipts/"+url.PathEscape(r.ID))), ofVendor(v, r.VendorID, r.Vendor), receiptState(r.State), page.Strp(r.Err), page.Mono(r.From), page.Mono(r.To), since(r.ReceivedAt)}}
		})}}, nil
}

func (o *office) receipt(v *site.Visit) (page.Page, error) { return o.receiptPage(v, nil) }

func matchForm(v *site.Visit) *page.Form {
	return &page.Form{Action: v.At("/receipts/" + v.ID() + "/match"), Submit: "Match", Label: "Say whose it is", Fields: []page.Field{
		{Name: "message_id", Label: "Message id", Required: true}, {Name: "part", Label: "Part", Kind: page.Number, Value: "1", Help: "Of the message's parts, from 1."}}}
}

func (o *office) receiptPage(v *site.Visit, tried *page.Form) (page.Page, error) {
	var r strayReceipt
	if err := v.Get(api+"/receipts/"+v.ID(), nil, &r); err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "Receipt " + r.VendorMessageID, Lead: "The vendor reports on a message by an id that it never gave us.", Crumbs: []page.Link{{Text: "Unmatched receipts", Href: v.At("/receipts")}, {Text: r.VendorMessageID}}}
	left := []page.Block{page.Facts{Title: "The receipt", Items: []page.Fact{
		{Label: "It says", Value: receiptState(r.State)}, {Label: "Error", Value: page.Strp(r.Err), Help: "The vendor's own code"}, {Label: "Vendor", Value: ofVendor(v, r.VendorID, r.Vendor)},
		{Label: "Vendor's id", Value: page.Mono(r.VendorMessageID).WithCopy()}, {Label: "From", Value: page.Mono(r.From)}, {Label: "To", Value: page.Mono(r.To)},
		{Label: "Decided", Value: page.Whenp(r.DoneAt), Help: "As the vendor says"}, {Label: "Came", Value: since(r.ReceivedAt)}}}}
	candidates, err := o.candidates(v, &r)
	if err != nil {
		return page.Page{}, err
	}
	right := page.Section{ID: "actions", Title: "Match it", Body: whoMay(v, "Matching", snapshot.RoleSupport)}
	if v.May(snapshot.RoleSupport) {
		if tried == nil {
			tried = matchForm(v)
			tried.From(v.R.URL.Query()) // a candidate that was chosen
		}
		right.Body = []page.Block{page.Text("The part counts as if the vendor had given it this id, and the receipt decides it. This cannot be undone."), tried}
	}
	p.Body = []page.Block{page.Split{Left: append(left, candidates), Right: []page.Block{right}}}
	return p, nil
}

// candidates are messages that went to the same recipient.
func (o *office) candidates(v *site.Visit, r *strayReceipt) (page.Block, error) {
	t := page.Table{Caption: "Messages that it may be of", Empty: "No message went to this recipient over this vendor.", EmptyHelp: "It may be one of another system that uses the same account at the vendor.",
		Columns: []page.Column{{Title: "Message"}, {Title: "Is it this one?"}, {Title: "Status"}, {Title: "Parts", Right: true}, {Title: "Submitted"}, {Title: "Vendor's id", Help: "Of its first part"}}}
	query := url.Values{"direction": {"outbound"}, "to": {r.To}, "created_before": {r.ReceivedAt}, "limit": {"10"}}
	if r.Vendor != nil {
		query.Set("vendor", *r.Vendor)
	}
	var rows site.Rows[messageView]
	err := v.Get(api+"/messages", query, &rows)
	if call.StatusOf(err) == http.StatusUnprocessableEntity { // what a vendor writes may be no number
		err = nil
	}
	for _, m := range rows.Data {
		do, id := page.None(""), page.None("The vendor gave none")
		if len(m.Parts) > 0 && m.Parts[0].VendorMessageID != nil {
			id = page.Mono(*m.Parts[0].VendorMessageID)
		}
		if v.May(snapshot.RoleSupport) && m.DeliveredAt == nil {
			do = page.To("Choose", v.At("/receipts/"+v.ID()+"?message_id="+url.QueryEscape(m.ID)))
		}
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.CodeTo(short(m.ID), v.At("/messages/"+url.PathEscape(m.ID))), do, page.Status(m.Status), page.Num(m.Segments), page.Whenp(m.SubmittedAt), id}})
	}
	return page.Section{ID: "candidates", Title: "Messages that it may be of", Help: "Sent to the same recipient over the same vendor before it came, newest first.", Body: []page.Block{t}}, err
}

func (o *office) matchReceipt(v *site.Visit) (page.Page, error) {
	form := matchForm(v)
	return v.Submit(site.Task{Form: form, Path: api + "/receipts/" + v.ID() + "/match", Said: "The receipt belongs to this message now.", Then: func(a *call.Answer) string {
		var m struct {
			MessageID string `json:"message_id"`
		}
		if a.Into(&m) != nil {
			return v.At("/receipts")
		}
		return v.At("/messages/" + url.PathEscape(m.MessageID))
	}}, func() (page.Page, error) { return o.receiptPage(v, form) })
}
