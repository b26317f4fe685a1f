package office

import (
	"net/url"
	"strings"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// messageRow is what a list shows of a message.
type messageRow struct {
	ID        string
	Direction string
	Type      string
	Status    string
	From, To  *string
	AccountID string `json:"account_id"`
	Vendor    *string
	Segments  int
	CreatedAt string `json:"created_at"`
	Error     *struct{ Code, Detail string }
}

// search is the filter of messages.
func search() *page.Form {
	any := func(list ...page.Option) []page.Option { return append([]page.Option{{Text: "any"}}, list...) }
	return &page.Form{Method: "get", Inline: true, Submit: "Search", Label: "Search messages", Fields: []page.Field{
		{Name: "direction", Label: "Direction", Kind: page.Choice, Options: any(page.Option{Value: "outbound", Text: "outbound"}, page.Option{Value: "inbound", Text: "inbound"})},
		{Name: "status", Label: "Status", Kind: page.Choice, Options: any(page.StatusOptions()...)},
		{Name: "type", Label: "Type", Kind: page.Choice, Options: any(page.Option{Value: "sms", Text: "SMS"}, page.Option{Value: "mms", Text: "MMS"})},
		{Name: "from", Label: "From"}, {Name: "to", Label: "To"},
		{Name: "account_id", Label: "Account id"}, {Name: "vendor", Label: "Vendor"}, {Name: "vendor_message_id", Label: "Vendor's message id"},
		{Name: "client_reference", Label: "Reference"}, {Name: "campaign_id", Label: "Campaign"}, {Name: "error_code", Label: "Error code"},
		{Name: "created_after", Label: "Accepted after", Kind: page.Moment}, {Name: "created_before", Label: "Accepted before", Kind: page.Moment},
	}}
}

func (o *office) messages(v *site.Visit) (page.Page, error) {
	if q := strings.TrimSpace(v.R.URL.Query().Get("q")); q != "" {
		return v.Redirect(o.found(v, q))
	}
	filter := search()
	rows, err := site.List[messageRow](v, api+"/messages", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Messages", Empty: "No message fits.", EmptyHelp: "Leave out a part of the search, or look further back in time.",
		Columns: []page.Column{{Title: "Message"}, {Title: "Status"}, {Title: "Type"}, {Title: "From"}, {Title: "To"}, {Title: "Vendor"}, {Title: "Parts", Right: true, Help: "SMS segments"}, {Title: "Accepted"}, {Title: "Why"}}}
	if rows.SearchedUntil != nil {
		table.Note = "Looked as far back as " + *rows.SearchedUntil + "; the next page goes on from there."
	}
	var actions []page.Action
	if v.May(snapshot.RoleSupport, snapshot.RoleCompliance) {
		actions = []page.Action{{Text: "Re-drive these…", Href: v.At("/redrives/new?" + filter.Query().Encode())}}
	}
	return page.Page{Title: "Messages", Lead: "The messages of all accounts, newest first.", Actions: actions, Body: []page.Block{filter, site.Table(v, rows, table, func(m messageRow) page.Row {
		why := page.None("")
		if m.Error != nil {
			why = page.Mono(m.Error.Code).WithHelp(m.Error.Detail)
		}
		r := page.Row{Cells: []page.Cell{page.CodeTo(short(m.ID), v.At("/messages/"+url.PathEscape(m.ID))), page.Status(m.Status), page.Str(strings.ToUpper(m.Type)).WithSub(m.Direction), number(m.From), number(m.To), vendorLink(v, m.Vendor), page.Num(m.Segments), page.When(m.CreatedAt), why}}
		if m.Status == string(message.StatusInDoubt) {
			r.Tone = page.Warn
		}
		return r
	})}}, nil
}

// found is where the field in the head leads: to a message by its id, or to a search by
// number, vendor's id or reference, whatever the words look like.
func (o *office) found(v *site.Visit, q string) string {
	if id, err := message.ParseID(q); err == nil {
		return v.At("/messages/" + id.String())
	}
	name := "client_reference"
	if digits := strings.Trim(q, "+0123456789 ()-."); digits == "" {
		name = "to"
	}
	return v.At("/messages?" + url.Values{name: {q}}.Encode())
}

// short is enough of an id to tell it from others on a page.
func short(id string) string { return id[:min(13, len(id))] + "…" }

func number(n *string) page.Cell {
	if n == nil {
		return page.None("")
	}
	return page.Mono(*n)
}
