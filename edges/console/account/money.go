package account

import (
	"strings"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/snapshot"
)

type balanceView struct {
	Prepaid   bool
	Current   string `json:"current_balance"`
	Reserved  string
	Available string
	Currency  *string
}

// entryView is a line of the ledger.
type entryView struct {
	ID                string
	Kind              string
	Amount            money
	After             money   `json:"balance_after"`
	MessageID         *string `json:"message_id"`
	Reason, Reference *string
	CreatedAt         string `json:"created_at"`
}

func (v *visit) balance() (page.Page, error) { return v.balancePage(nil) }

// balancePage shows the money; the form of an entry may have come back with what was wrong.
func (v *visit) balancePage(sent *page.Form) (page.Page, error) {
	var b balanceView
	if err := v.Get(v.op("/balance"), nil, &b); err != nil {
		return page.Page{}, err
	}
	rows, err := site.List[entryView](v.Visit, v.op("/balance/entries"), nil, nil)
	if err != nil {
		return page.Page{}, err
	}
	currency := deref(b.Currency)
	available := page.Stat{Label: "Available", Value: b.Available, Unit: currency, Help: "What may be spent: the balance without what is reserved"}
	if b.Prepaid && (strings.HasPrefix(b.Available, "-") || strings.Trim(b.Available, "0.") == "") {
		available.Tone, available.Sub = page.Bad, "messages are refused until it is paid in"
	}
	paid := page.Stat{Label: "Paid", Value: "afterwards", Help: "Messages go whatever the balance says"}
	if b.Prepaid {
		paid = page.Stat{Label: "Paid", Value: "in advance", Help: "Messages are refused when the balance does not cover them"}
	}
	p := page.Page{Title: "Balance", Lead: "What was paid in and what messages took of it.", Crumbs: v.crumbs(), Actions: []page.Action{{Text: "Download as CSV", Href: v.at("/balance/export"), Download: true}}, Body: []page.Block{
		page.Stats{Title: "Balance", Items: []page.Stat{available, {Label: "Balance", Value: b.Current, Unit: currency, Help: "The sum of all entries"}, {Label: "Reserved", Value: b.Reserved, Unit: currency, Help: "Of that, for messages on their way"}, paid}}}}
	if v.Staff {
		p.Body = append(p.Body, v.entrySection(sent, currency))
	}
	table := page.Table{Caption: "Entries", ShowCaption: true, Empty: "Nothing was booked yet.", EmptyHelp: "Payments and charges are listed here, newest first.", Columns: []page.Column{{Title: "Time"}, {Title: "Kind", Help: "Credit: a payment. Charge: for a message. Refund: given back. Adjustment: a correction"}, {Title: "Amount", Right: true}, {Title: "Balance after", Right: true}, {Title: "For"}, {Title: "Reference", Help: "Of the payment"}}}
	p.Body = append(p.Body, site.Table(v.Visit, rows, table, func(e entryView) page.Row {
		what := page.Strp(e.Reason)
		if e.MessageID != nil {
			what = v.message(e.MessageID)
			what.Sub = deref(e.Reason)
		}
		return page.Row{Cells: []page.Cell{page.When(e.CreatedAt), entryKind(e.Kind), page.Money(e.Amount.Amount, e.Amount.Currency), page.Money(e.After.Amount, e.After.Currency), what, page.Strp(e.Reference)}}
	}))
	return p, nil
}

func entryKind(kind string) page.Cell {
	switch kind {
	case "credit":
		return page.Badge("paid in", page.Good, "A payment")
	case "charge":
		return page.Badge("charge", page.Plain, "For a message")
	case "refund":
		return page.Badge("refund", page.Good, "Given back")
	}
	return page.Badge(words(kind), page.Warn, "A correction by staff")
}

func (v *visit) entryForm(currency string) *page.Form {
	f := &page.Form{Action: v.at("/balance"), Submit: "Book it", Fields: []page.Field{
		{Name: "kind", Label: "Kind", Kind: page.Choice, Required: true, Options: []page.Option{{Value: "credit", Text: "Payment"}, {Value: "refund", Text: "Refund"}, {Value: "adjustment", Text: "Correction, which may be negative"}}},
		{Name: "amount", Label: "Amount", Kind: page.Amount, Required: true, Placeholder: "250.00", Max: 20},
		{Name: "currency", Label: "Currency", Required: true, Max: 3, Value: currency, Placeholder: "USD", Help: "All entries of a customer have the same."},
		{Name: "reason", Label: "Reason", Required: true, Max: 500, Help: "The customer reads it beside the entry."},
		{Name: "reference", Label: "Reference of the payment", Max: 200, Help: "The same one is not booked twice."},
		{Name: "message_id", Label: "Message", Help: "The id of the message it is about, if it is about one."}, site.Key()}}
	return f
}

func (v *visit) entrySection(sent *page.Form, currency string) page.Block {
	if !v.Visit.May(snapshot.RoleOperator) {
		return page.Text("Operators book payments and corrections.")
	}
	form, open := sent, true
	if form == nil {
		form, open = v.entryForm(currency), false
	}
	return page.Disclosure{Summary: "Book a payment, a refund or a correction…", Open: open, Body: []page.Block{page.Text("An entry cannot be changed or taken away; a wrong one is put right by a correction. It is in the audit log."), form}}
}

func (v *visit) book() (page.Page, error) {
	form := v.entryForm("")
	return v.Submit(site.Task{Form: form, Path: v.op("/balance-entries"), Once: true, Then: site.To(v.at("/balance")), Said: "The entry is booked."},
		func() (page.Page, error) { return v.balancePage(form) })
}

func (v *visit) exportEntries() (page.Page, error) {
	return v.File(v.op("/balance/entries/export"), nil, "text/csv")
}
