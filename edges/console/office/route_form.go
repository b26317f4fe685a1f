package office

import (
	"fmt"
	"net/http"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// routeForm asks for the settings of a route.
func routeForm(v *site.Visit, d *directory) *page.Form {
	all := func(list []page.Option, text string) []page.Option {
		return append([]page.Option{{Text: text}}, list...)
	}
	return &page.Form{Patch: true, Submit: "Save", Cancel: page.Link{Href: v.At("/routes")}, Fields: []page.Field{
		{Name: "name", Label: "Name", Help: "For people.", Blank: true, Max: 100, Group: "The route"},
		d.vendorField(page.Field{Name: "vendor_id", Label: "Vendor", Required: true, Placeholder: "choose one"}),
		{Name: "priority", Label: "Priority", Kind: page.Number, Required: true, Value: "100", Help: "The smaller is asked first. Routes of one priority share their messages."},
		{Name: "is_active", Label: "It counts", Kind: page.Check, Value: "true"},
		{Name: "dest_pattern", Label: "Recipients", Group: "Which messages", Blank: true, Max: 1000, Placeholder: "^1", Help: "A pattern (RE2) on the digits without +: ^1 is every number that begins with +1. Empty: any."},
		{Name: "source_pattern", Label: "Senders", Blank: true, Max: 1000, Help: "The same on the sender's digits, or its letters. Empty: any."},
		d.customerField(page.Field{Name: "account_id", Label: "Customer", Placeholder: "all customers"}),
		{Name: "message_type", Label: "Type", Kind: page.Choice, Options: []page.Option{{Text: "SMS and MMS"}, {Value: "sms", Text: "SMS"}, {Value: "mms", Text: "MMS"}}},
		{Name: "message_class", Label: "Class", Kind: page.Choice, Options: all(words("otp", "conversation", "bulk"), "all")},
		{Name: "capability", Label: "Only messages that need", Kind: page.Choice, Options: []page.Option{{Text: "anything"}, {Value: "unicode", Text: "Unicode"}, {Value: "alphanumeric", Text: "an alphanumeric sender"}, {Value: "mms", Text: "MMS"}, {Value: "binary", Text: "binary"}, {Value: "long", Text: "several parts"}}},
		{Name: "rate_per_msg", Label: "Price", Group: "Money and choice", Kind: page.Amount, Required: true, Value: "0.00", Help: "What the customer pays a part."},
		{Name: "max_cost", Label: "Cost at most", Kind: page.Amount, Help: "The vendor is passed over when it takes more than this a part. Empty: never."},
		{Name: "selection", Label: "Among routes of its priority", Kind: page.Choice, Value: "weighted", Options: []page.Option{{Value: "weighted", Text: "by weight"}, {Value: "least_cost", Text: "the cheapest first"}}},
		{Name: "weight", Label: "Weight", Kind: page.Number, Required: true, Value: "1", Help: "Its share among equals, 1 to 1,000."},
		{Name: "sticky", Label: "A conversation stays with the vendor that had it last", Kind: page.Check},
		{Name: "days", Label: "On these days", Group: "When", Required: true, Value: "mon-sun", Help: "Such as mon-fri,sun."},
		{Name: "from_time", Label: "From", Required: true, Value: "00:00", Help: "Time of the day, such as 08:00."}, {Name: "until_time", Label: "Until", Required: true, Value: "00:00", Help: "The same as from: the whole day; before it: over midnight."},
		{Name: "time_zone", Label: "Time zone", Required: true, Value: "UTC", Help: "Such as America/New_York."},
		{Name: "effective_from", Label: "Not before", Kind: page.Moment}, {Name: "effective_until", Label: "Not from then on", Kind: page.Moment},
	}}
}

func (o *office) newRoute(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	form := routeForm(v, d)
	form.Patch, form.Submit = false, "Add the route"
	form.Fields = append(form.Fields, site.Key())
	show := func() (page.Page, error) {
		return page.Page{Title: "Add a route", Lead: "It counts within 5 seconds. Test a message afterwards to see what it changed.", Crumbs: []page.Link{{Text: "Routes", Href: v.At("/routes")}, {Text: "Add"}}, Body: append(onlyOperators(v), form)}, nil
	}
	if !v.Post() {
		form.Field("vendor_id").Value = v.R.URL.Query().Get("vendor_id")
		return show()
	}
	return v.Submit(site.Task{Form: form, Path: api + "/routes", Once: true, Then: site.To(v.At("/routes")), Said: "The route is added. It counts within 5 seconds."}, show)
}

func (o *office) editRoute(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	var r routeView
	form, path := routeForm(v, d), api+"/routes/"+v.ID()
	if err := v.Loaded(form, path, &r); err != nil {
		return page.Page{}, err
	}
	show := func() (page.Page, error) {
		name := r.Name
		if name == "" {
			name = fmt.Sprintf("Route %d", r.ID)
		}
		customer := ""
		if r.AccountID != nil {
			customer = d.customers[*r.AccountID]
		}
		p := page.Page{Title: name, Lead: "For " + r.matches(customer) + ".", Crumbs: []page.Link{{Text: "Routes", Href: v.At("/routes")}, {Text: name}}, Body: onlyOperators(v)}
		if r.Problem != nil {
			p.Body = append(p.Body, page.Notice{Tone: page.Bad, Title: "It is out of the configuration.", Text: *r.Problem})
		}
		if !operates(v) {
			for i := range form.Fields {
				form.Fields[i].ReadOnly = true
			}
			p.Body = append(p.Body, routeFacts(v, d, &r))
			return p, nil
		}
		remove := page.Disclosure{Summary: "Delete…", Danger: true, Body: []page.Block{page.Text("Messages that matched it take the next route, or fail with no_route where there is none."), pressed(v.At("/routes/"+v.ID()+"/delete"), "Delete the route", true)}}
		p.Body = append(p.Body, page.Split{Left: []page.Block{form}, Right: []page.Block{routeFacts(v, d, &r), page.Section{Title: "Actions", Body: []page.Block{remove}}}})
		return p, nil
	}
	if !v.Post() {
		return show()
	}
	return v.Submit(site.Task{Form: form, Method: http.MethodPatch, Path: path, Then: site.To(v.At("/routes")), Said: "The route is changed. It holds within 5 seconds."}, show)
}

// routeFacts says what a route does now, whatever stands in the form beside it.
func routeFacts(v *site.Visit, d *directory, r *routeView) page.Block {
	customer := page.Str("all")
	if r.AccountID != nil {
		customer = d.customer(v, r.AccountID)
	}
	return page.Section{ID: "now", Title: "As it is now", Body: []page.Block{page.Facts{Title: "As it is now", Items: []page.Fact{{Label: "Vendor", Value: d.vendor(v, &r.VendorID)}, {Label: "Customer", Value: customer}, {Label: "Counts", Value: page.On(r.Active)}, {Label: "Priority", Value: page.Num(r.Priority)},
		{Label: "Among equals", Value: page.Str(r.chosen())}, {Label: "Price of a part", Value: page.Str(r.Rate)}, {Label: "Not before", Value: page.Whenp(r.Starts)}, {Label: "Not from then on", Value: page.Whenp(r.Ends)}}}}}
}

func (o *office) deleteRoute(v *site.Visit) (page.Page, error) {
	if _, err := v.Do(call.Request{Method: http.MethodDelete, Path: api + "/routes/" + v.ID()}); err != nil {
		return page.Page{}, err
	}
	return v.Done(v.At("/routes"), "The route is deleted.")
}
