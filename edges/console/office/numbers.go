package office

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// numberView is a number of some customer.
type numberView struct {
	Number       string
	Type         string
	CampaignID   *string `json:"campaign_id"`
	AccountID    string  `json:"account_id"`
	VendorID     *string `json:"vendor_id"`
	SMS          bool    `json:"sms_enabled"`
	MMS          bool    `json:"mms_enabled"`
	Verification string
	LeasedUntil  *string `json:"leased_until"`
	Tag, Group   string
	RateLimit    int    `json:"rate_limit"`
	AutoReply    string `json:"auto_reply"`
	CreatedAt    string `json:"created_at"`
	UpdatedAt    string `json:"updated_at"`
}

// numberPath is the part of a path that names a number.
func numberPath(number string) string { return url.PathEscape(strings.TrimPrefix(number, "+")) }

func numberKind(kind string) string { return strings.ReplaceAll(kind, "_", " ") }

// verification is that of a toll-free number.
func verification(n *numberView) page.Cell {
	if n.Type != "toll_free" {
		return page.None("Only toll-free numbers are verified")
	}
	tone := map[string]page.Tone{"approved": page.Good, "pending": page.Busy, "rejected": page.Bad, "unverified": page.Warn}[n.Verification]
	return page.Badge(n.Verification, tone, "Carriers block toll-free numbers that are not verified")
}

func (o *office) numbers(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	filter := &page.Form{Method: "get", Inline: true, Submit: "Show", Label: "Filter of numbers", Fields: []page.Field{d.customerField(page.Field{Name: "account_id", Label: "Customer", Placeholder: "any"}), d.vendorField(page.Field{Name: "vendor_id", Label: "Vendor", Placeholder: "any"}),
		{Name: "type", Label: "Type", Kind: page.Choice, Options: anyOf(words("long_code", "toll_free", "short_code"))}}}
	if q := strings.TrimSpace(v.R.URL.Query().Get("number")); q != "" {
		return v.Redirect(v.At("/numbers/" + numberPath(q)))
	}
	find := &page.Form{Method: "get", Inline: true, Submit: "Open", Quiet: true, Label: "Open a number", Fields: []page.Field{{Name: "number", Label: "Number", Placeholder: "+12025550143"}}}
	rows, err := site.List[numberView](v, api+"/numbers", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	t := page.Table{Caption: "Numbers", Empty: "There is no number that fits.", EmptyHelp: "Give one to a customer, or many by a CSV file.", EmptyLink: page.Link{Text: "Add a number", Href: v.At("/numbers/new")},
		Columns: []page.Column{{Title: "Number"}, {Title: "Customer"}, {Title: "Type"}, {Title: "Vendor", Help: "It hosts the number, and is asked first for what it sends"}, {Title: "May send", Help: "And receive"}, {Title: "Campaign", Help: "Its 10DLC campaign; US long codes need one"}, {Title: "Verification"}, {Title: "Tag"}}}
	t = site.Table(v, rows, t, func(n numberView) page.Row {
		return page.Row{Cells: []page.Cell{page.CodeTo(n.Number, v.At("/numbers/"+numberPath(n.Number))), d.customer(v, &n.AccountID), page.Str(numberKind(n.Type)), d.vendor(v, n.VendorID), mayCarry(&n), campaignCell(v, &n), verification(&n), page.Str(n.Tag).WithSub(n.Group)}}
	})
	p := page.Page{Title: "Numbers", Lead: "The numbers of all customers.", Body: append(onlyOperators(v), filter, find, t)}
	if operates(v) {
		p.Actions = []page.Action{{Text: "Add a number", Href: v.At("/numbers/new"), Main: true}, {Text: "Import", Href: v.At("/numbers/import")}}
	}
	return p, nil
}

func mayCarry(n *numberView) page.Cell {
	switch {
	case n.SMS && n.MMS:
		return page.Str("SMS, MMS")
	case n.SMS:
		return page.Str("SMS")
	case n.MMS:
		return page.Str("MMS")
	}
	return page.Badge("nothing", page.Warn, "SMS and MMS are both switched off")
}

func campaignCell(v *site.Visit, n *numberView) page.Cell {
	if n.CampaignID == nil {
		return page.None("It is in none")
	}
	return page.CodeTo(short(*n.CampaignID), v.At("/campaigns/"+url.PathEscape(*n.CampaignID)))
}

func perSecond(n int) page.Cell {
	if n == 0 {
		return page.Str("as many as its customer may")
	}
	return page.Num(n)
}

func numberForm(d *directory) *page.Form {
	return &page.Form{Patch: true, Submit: "Save", Fields: []page.Field{d.customerField(page.Field{Name: "account_id", Label: "Customer", Required: true, Placeholder: "choose one", Help: "One in a campaign keeps its customer."}),
		d.vendorField(page.Field{Name: "vendor_id", Label: "Vendor", Placeholder: "none in particular", Help: "It hosts the number, and is asked first for what it sends."}),
		{Name: "sms_enabled", Label: "SMS", Kind: page.Check, Value: "true"}, {Name: "mms_enabled", Label: "MMS", Kind: page.Check},
		{Name: "verification", Label: "Verification", Kind: page.Choice, Value: "unverified", Options: words("unverified", "pending", "approved", "rejected"), Help: "Of a toll-free number."},
		{Name: "leased_until", Label: "Leased until", Kind: page.Moment, Help: "Of a short code. Empty: not known."}, {Name: "tag", Label: "Tag", Blank: true, Max: 64}, {Name: "group", Label: "Group", Blank: true, Max: 64},
		{Name: "rate_limit", Label: "Messages a second", Kind: page.Number, Value: "0", Required: true, Help: "With it as sender; 0: as many as its customer may."}, {Name: "auto_reply", Label: "Automatic reply", Kind: page.Multiline, Blank: true, Max: 459, Help: "To whoever writes to it, at most once an hour; empty: none."}}}
}

func (o *office) newNumber(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	form := numberForm(d)
	form.Patch, form.Submit, form.Cancel = false, "Add the number", page.Link{Href: v.At("/numbers")}
	form.Fields = append(append([]page.Field{{Name: "number", Label: "Number", Required: true, Placeholder: "+12025550143", Max: 32, Help: "E.164 with a leading +, or a short code."}}, form.Fields...), site.Key())
	show := func() (page.Page, error) {
		return page.Page{Title: "Add a number", Lead: "It is the customer's within 5 seconds, on every process.", Crumbs: []page.Link{{Text: "Numbers", Href: v.At("/numbers")}, {Text: "Add"}}, Body: append(onlyOperators(v), form)}, nil
	}
	if !v.Post() {
		form.Field("account_id").Value = v.R.URL.Query().Get("account_id")
		return show()
	}
	return v.Submit(site.Task{Form: form, Path: api + "/numbers", Once: true, Said: "The number is added.", Then: func(a *call.Answer) string {
		var n numberView
		if a.Into(&n) != nil || n.Number == "" {
			return v.At("/numbers")
		}
		return v.At("/numbers/" + numberPath(n.Number))
	}}, show)
}

// number shows and changes one.
func (o *office) number(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	var n numberView
	form, path := numberForm(d), api+"/numbers/"+numberPath(v.Param("number"))
	if err := v.Loaded(form, path, &n); err != nil {
		return page.Page{}, err
	}
	at := v.At("/numbers/" + numberPath(n.Number))
	form.Action = at
	show := func() (page.Page, error) {
		facts := page.Facts{Title: "The number", Items: []page.Fact{{Label: "Number", Value: page.Mono(n.Number).WithCopy()}, {Label: "Type", Value: page.Str(numberKind(n.Type))}, {Label: "Customer", Value: d.customer(v, &n.AccountID)}, {Label: "Vendor", Value: d.vendor(v, n.VendorID)},
			{Label: "May send", Value: mayCarry(&n)}, {Label: "Campaign", Value: campaignCell(v, &n), Help: "Its 10DLC campaign"}, {Label: "Verification", Value: verification(&n)}, {Label: "Leased until", Value: page.Whenp(n.LeasedUntil)},
			{Label: "Tag", Value: page.Str(n.Tag)}, {Label: "Group", Value: page.Str(n.Group)}, {Label: "Messages a second", Value: perSecond(n.RateLimit)}, {Label: "Automatic reply", Value: page.Str(n.AutoReply)}, {Label: "Added", Value: page.When(n.CreatedAt)}, {Label: "Changed", Value: page.When(n.UpdatedAt)}}}
		q := func(name string) string { return v.At("/messages?" + url.Values{name: {n.Number}}.Encode()) }
		more := page.Section{Title: "More", Body: []page.Block{page.Bullets{page.To("Messages from it", q("from")), page.To("Messages to it", q("to")), page.To("Inbound to it that found nobody", v.At("/unrouted?"+url.Values{"number": {n.Number}}.Encode()))}}}
		p := page.Page{Title: "Number " + n.Number, Crumbs: []page.Link{{Text: "Numbers", Href: v.At("/numbers")}, {Text: n.Number}}, Body: onlyOperators(v)}
		if !operates(v) {
			p.Body = append(p.Body, facts, more)
			return p, nil
		}
		release := page.Disclosure{Summary: "Release…", Danger: true, Body: []page.Block{page.Text("It is taken away from its customer. What is on its way goes on; messages to it are kept as unrouted. Refused while it is in a campaign."), pressed(at+"/release", "Release the number", true)}}
		p.Body = append(p.Body, facts, page.Split{Left: []page.Block{page.Section{ID: "edit", Title: "Change it, or assign it to another customer", Body: []page.Block{form}}}, Right: []page.Block{more, page.Section{Title: "Actions", Body: []page.Block{release}}}})
		return p, nil
	}
	if !v.Post() {
		return show()
	}
	return v.Submit(site.Task{Form: form, Method: http.MethodPatch, Path: path, Then: site.To(at), Said: "The number is changed. It holds within 5 seconds."}, show)
}

func (o *office) releaseNumber(v *site.Visit) (page.Page, error) {
	if _, err := v.Do(call.Request{Method: http.MethodDelete, Path: api + "/numbers/" + numberPath(v.Param("number"))}); err != nil {
		return page.Page{}, err
	}
	return v.Done(v.At("/numbers"), "The number is released.")
}

// maxImport is as much of a file as is read: a little more than the operation takes, which
// then says so.
const maxImport = 1<<20 + 1

// importNumbers gives many numbers to customers by a CSV file.
func (o *office) importNumbers(v *site.Visit) (page.Page, error) {
	form := &page.Form{Submit: "Import", Cancel: page.Link{Href: v.At("/numbers")}, Fields: []page.Field{{Name: "file", Label: "CSV file", Kind: page.File, Help: "At most 20,000 rows and 1 MiB."}, {Name: "_text", Label: "Or the lines themselves", Kind: page.Multiline, Rows: 6, Placeholder: "number,account_id"}, {Name: "_dry", Label: "Only check it: nothing is written", Kind: page.Check, Value: "true"}}}
	show := func(found ...page.Block) (page.Page, error) {
		example := page.Code{Label: "An example", Text: "number,account_id,vendor_id,sms_enabled,mms_enabled,verification,tag\n+12025550143,01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21,,true,false,unverified,shop"}
		return page.Page{Title: "Import numbers", Lead: "All or none: where a line is wrong, nothing is written.", Crumbs: []page.Link{{Text: "Numbers", Href: v.At("/numbers")}, {Text: "Import"}},
			Body: append(append(onlyOperators(v), found...), form, page.Section{Title: "The file", Help: "The first line names the columns: number and account_id, and any of vendor_id, sms_enabled, mms_enabled, verification, leased_until, tag, group, rate_limit, auto_reply.", Body: []page.Block{example}})}, nil
	}
	if !v.Post() {
		return show()
	}
	if _, ok := form.Read(v.R); !ok {
		return show()
	}
	text := []byte(form.Field("_text").Value)
	if file, _, err := v.R.FormFile("file"); err == nil {
		defer func() { _ = file.Close() }() // it was read
		if text, err = io.ReadAll(io.LimitReader(file, maxImport)); err != nil {
			return page.Page{}, err
		}
	}
	query := url.Values{}
	if form.Field("_dry").Value == "true" {
		query.Set("dry_run", "true")
	}
	got, err := v.Do(call.Request{Method: http.MethodPost, Path: api + "/numbers/import", Query: query, RawBody: bytes.NewReader(text), RawType: "text/csv"})
	var refused *call.Problem
	switch {
	case errors.As(err, &refused):
		n := page.Notice{Tone: page.Bad, Title: "Nothing was written.", Text: refused.Detail}
		for _, f := range refused.Errors {
			n.Lines = append(n.Lines, strings.TrimSpace(f.Location+" "+f.Message))
		}
		p, err := show(n)
		if err == nil {
			v.Show(refused.Status, p)
		}
		return p, err
	case err != nil:
		return page.Page{}, err
	}
	var r struct {
		Rows, Created int
		DryRun        bool `json:"dry_run"`
	}
	if err := json.Unmarshal(got.Body, &r); err != nil {
		return page.Page{}, err
	}
	if r.DryRun {
		return show(page.Notice{Tone: page.Good, Title: plural(r.Rows, "row") + " can be imported.", Text: "Nothing was written. Give the file again without the tick to import it."})
	}
	return v.Done(v.At("/numbers"), plural(r.Created, "number")+" imported.")
}
