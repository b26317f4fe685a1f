package own

import (
	"net/url"
	"strings"

	"github.com/postrider/postrider/edges/console/gate"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// The scopes that these pages ask for.
const (
	messagesRead  = "messages:read"
	messagesWrite = "messages:write"
	mediaWrite    = "media:write"
)

// messagesRoutes are the pages of what an account sends and receives.
func (o *own) messagesRoutes() map[string]func(*site.Visit) (page.Page, error) {
	return map[string]func(*site.Visit) (page.Page, error){
		"GET /portal":                         o.messages,
		"GET /portal/messages":                o.messages,
		"GET /portal/messages/export":         o.exportMessages,
		"GET /portal/messages/{id}":           o.message,
		"GET /portal/messages/{id}/live":      o.messageLive,
		"POST /portal/messages/{id}/{action}": o.act,
		"GET /portal/send":                    o.send,
		"POST /portal/send":                   o.send,
		"POST /portal/send/check":             o.checkMessage,
		"GET /portal/inbound":                 o.inbound,
		"GET /portal/inbound/export":          o.exportInbound,
		"GET /portal/batches":                 o.batches,
		"GET /portal/batches/new":             o.newBatch,
		"POST /portal/batches/new":            o.newBatch,
		"GET /portal/batches/{id}":            o.batch,
		"GET /portal/batches/{id}/live":       o.batchLive,
		"POST /portal/batches/{id}/{action}":  o.batchAct,
	}
}

// messagesLinks lead to them.
func messagesLinks(p gate.Person) []page.Link {
	has := func(scope string) bool { return (&site.Visit{Person: p}).Has(scope) }
	links := []page.Link{{Text: "Messages", Href: Prefix + "/messages"}}
	if has(messagesWrite) {
		links = append(links, page.Link{Text: "Send a message", Href: Prefix + "/send"})
	}
	if has(messagesRead) {
		links = append(links, page.Link{Text: "Received", Href: Prefix + "/inbound"}, page.Link{Text: "Batches", Href: Prefix + "/batches"})
	}
	return links
}

// messageRow is what a list shows of a message.
type messageRow struct {
	ID        string
	Direction string
	Type      string
	Status    string
	From, To  *string
	Segments  int
	Price     price
	Reference *string `json:"client_reference"`
	CreatedAt string  `json:"created_at"`
	Error     *failure
}

type price struct {
	Amount, Currency string
	Estimated        bool
}

// failure is why a message did not go.
type failure struct{ Code, Class, Detail string }

// doc is where a code is explained.
func (f *failure) doc() string { return "/docs/errors/" + url.PathEscape(f.Code) }

// why is the cell of a failure; nil: a dash.
func (f *failure) why() page.Cell {
	if f == nil {
		return page.None("")
	}
	return page.CodeTo(f.Code, f.doc()).WithHelp(f.Detail)
}

func anyOf(list ...page.Option) []page.Option { return append([]page.Option{{Text: "any"}}, list...) }

func search() *page.Form {
	return &page.Form{Method: "get", Inline: true, Submit: "Search", Label: "Search messages", Fields: []page.Field{
		{Name: "direction", Label: "Direction", Kind: page.Choice, Options: anyOf(page.Option{Value: "outbound", Text: "sent"}, page.Option{Value: "inbound", Text: "received"})},
		{Name: "status", Label: "Status", Kind: page.Choice, Options: anyOf(page.StatusOptions()...)},
		{Name: "type", Label: "Type", Kind: page.Choice, Options: anyOf(page.Option{Value: "sms", Text: "SMS"}, page.Option{Value: "mms", Text: "MMS"})},
		{Name: "from", Label: "From"}, {Name: "to", Label: "To"}, {Name: "client_reference", Label: "Reference"}, {Name: "campaign_id", Label: "Campaign"}, {Name: "error_code", Label: "Error code"},
		{Name: "message_class", Label: "Class", Kind: page.Choice, Options: anyOf(classes...)}, {Name: "batch_id", Label: "Batch"},
		{Name: "created_after", Label: "Accepted after", Kind: page.Moment}, {Name: "created_before", Label: "Accepted before", Kind: page.Moment},
	}}
}

var classes = []page.Option{{Value: "otp", Text: "one-time password"}, {Value: "conversation", Text: "conversation"}, {Value: "bulk", Text: "bulk"}}

func (o *own) messages(v *site.Visit) (page.Page, error) {
	filter := search()
	rows, err := site.List[messageRow](v, api+"/messages", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Messages", Empty: "No message fits.", EmptyHelp: "Leave out a part of the search, or send the first one.", Columns: []page.Column{{Title: "Message"}, {Title: "Status"}, {Title: "Type"}, {Title: "From"}, {Title: "To"}, {Title: "Parts", Right: true, Help: "SMS segments, which are what costs"}, {Title: "Price", Right: true}, {Title: "Accepted"}, {Title: "Why", Help: "Why it did not go; the code is explained behind the link"}}}
	if v.Has(messagesWrite) {
		table.EmptyLink = page.Link{Text: "Send a message", Href: v.At("/send")}
	}
	if rows.SearchedUntil != nil {
		table.Note = "Looked as far back as " + *rows.SearchedUntil + "; the next page goes on from there."
	}
	export := v.At("/messages/export")
	if q := filter.Query(); len(q) > 0 {
		export += "?" + q.Encode()
	}
	p := page.Page{Title: "Messages", Lead: "What you sent and received, newest first.", Actions: []page.Action{{Text: "Download as CSV", Href: export, Download: true}}}
	if v.Has(messagesWrite) {
		p.Actions = append(p.Actions, page.Action{Text: "Send a message", Href: v.At("/send"), Main: true})
	}
	p.Body = []page.Block{filter, site.Table(v, rows, table, func(m messageRow) page.Row {
		return page.Row{Cells: []page.Cell{page.CodeTo(ending(m.ID), v.At("/messages/"+url.PathEscape(m.ID))).WithHelp(m.ID), page.Status(m.Status), kind(m.Type, m.Direction), page.Strp(m.From), page.Strp(m.To), page.Num(m.Segments), page.Money(m.Price.Amount, m.Price.Currency), page.When(m.CreatedAt), m.Error.why()}}
	})}
	return p, nil
}

func kind(of, direction string) page.Cell {
	return page.Str(strings.ToUpper(of)).WithSub(map[string]string{"outbound": "sent", "inbound": "received"}[direction])
}

// ending is the end of an id, which tells ids of one time apart.
func ending(id string) string {
	if len(id) > 12 {
		return "…" + id[len(id)-12:]
	}
	return id
}

func (o *own) exportMessages(v *site.Visit) (page.Page, error) {
	filter := search()
	filter.From(v.R.URL.Query())
	return v.File(api+"/messages/export", filter.Query(), "text/csv")
}

// receivedRow is a message that came in, and what became of handing it over.
type receivedRow struct {
	ID       string `json:"message_id"`
	From, To string
	Type     string
	Segments int
	Keyword  *string
	Tag      *string
	At       string `json:"received_at"`
	Delivery handover
}

// handover is how far a received message has come.
type handover struct {
	Method    *string
	State     string
	Attempts  int
	LastError *string `json:"last_error"`
}

func (h *handover) state() page.Cell {
	switch h.State {
	case "delivered":
		return page.Badge("handed over", page.Good, "")
	case "stored":
		return page.Badge("stored", page.Good, "It waits to be fetched")
	case "failed":
		return page.Badge("not taken", page.Bad, "All tries have failed; it can still be fetched")
	}
	return page.Badge("under way", page.Busy, "It is tried until it is taken")
}

func receivedFilter() *page.Form {
	return &page.Form{Method: "get", Inline: true, Submit: "Search", Label: "Search received messages", Fields: []page.Field{
		{Name: "to", Label: "To your number"}, {Name: "from", Label: "From"}, {Name: "after", Label: "Taken in after", Kind: page.Moment}}}
}

func (o *own) inbound(v *site.Visit) (page.Page, error) {
	filter := receivedFilter()
	rows, err := site.List[receivedRow](v, api+"/inbound-messages", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Received messages", Empty: "No message fits.", EmptyHelp: "Messages to your numbers are listed here, however they are handed over.", Columns: []page.Column{{Title: "Message"}, {Title: "From"}, {Title: "To"}, {Title: "Type"}, {Title: "Handed over", Help: "Whether your system has taken it"}, {Title: "By"}, {Title: "Tries", Right: true}, {Title: "Last error"}, {Title: "Word", Help: "The stop, start or help word that it is"}, {Title: "Tag", Help: "Of the number"}, {Title: "Received"}}}
	export := v.At("/inbound/export")
	if q := filter.Query(); len(q) > 0 {
		export += "?" + q.Encode()
	}
	return page.Page{Title: "Received messages", Lead: "What came to your numbers, in the order in which it came, and whether your system has taken it.",
		Actions: []page.Action{{Text: "Newest first", Href: v.At("/messages?direction=inbound")}, {Text: "Download as CSV", Href: export, Download: true}, {Text: "Where they go", Href: v.At("/inbound-settings")}},
		Body: []page.Block{filter, site.Table(v, rows, table, func(m receivedRow) page.Row {
			r := page.Row{Cells: []page.Cell{page.CodeTo(ending(m.ID), v.At("/messages/"+url.PathEscape(m.ID))).WithHelp(m.ID), page.Str(m.From), page.Str(m.To), page.Str(strings.ToUpper(m.Type)), m.Delivery.state(), page.Str(strings.ReplaceAll(pointed(m.Delivery.Method), "_", " ")), page.Num(m.Delivery.Attempts), page.Strp(m.Delivery.LastError), page.Strp(m.Keyword), page.Strp(m.Tag), page.When(m.At)}}
			if m.Delivery.State == "failed" {
				r.Tone = page.Bad
			}
			return r
		})}}, nil
}

func (o *own) exportInbound(v *site.Visit) (page.Page, error) {
	filter := receivedFilter()
	filter.From(v.R.URL.Query())
	return v.File(api+"/inbound-messages/export", filter.Query(), "text/csv")
}

func pointed(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
