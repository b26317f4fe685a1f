package office

import (
	"fmt"
	"maps"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// routeTest is what a test of routes found.
type routeTest struct {
	Selected   *string
	Parts      int
	Encoding   string
	Candidates []struct {
		Place     *int
		RouteID   *int64  `json:"route_id"`
		RouteName *string `json:"route_name"`
		VendorID  string  `json:"vendor_id"`
		Vendor    *string
		Health    string
		Rate      string `json:"rate_per_msg"`
		Cost      string
		Reason    string
	}
	Trail []struct{ Rule, Result, Detail string }
}

// testRoute shows where a message would go. Nothing is stored or sent.
func (o *office) testRoute(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	form := &page.Form{Action: v.At("/routes/test"), Submit: "Test", Label: "A message", Fields: []page.Field{
		{Name: "to", Label: "Recipient", Required: true, Placeholder: "+13105550117", Max: 64}, {Name: "from", Label: "Sender", Max: 64, Help: "Empty: the customer's only number, else one that no pattern knows."},
		d.customerField(page.Field{Name: "account_id", Label: "Customer", Placeholder: "the sender's owner"}), {Name: "type", Label: "Type", Kind: page.Choice, Value: "sms", Options: []page.Option{{Value: "sms", Text: "SMS"}, {Value: "mms", Text: "MMS"}}},
		{Name: "message_class", Label: "Class", Kind: page.Choice, Options: append([]page.Option{{Text: "the customer's"}}, words("otp", "conversation", "bulk")...)},
		{Name: "body", Label: "Text", Kind: page.Multiline, Max: 5000, Help: "What it needs of a vendor depends on it."}, {Name: "at", Label: "Leaves at", Kind: page.Moment, Help: "Empty: now."}}}
	show := func(found ...page.Block) (page.Page, error) {
		return page.Page{Title: "Test a message", Lead: "Where it would go, and why each other route is passed over. Nothing is stored or sent.",
			Crumbs: []page.Link{{Text: "Routes", Href: v.At("/routes")}, {Text: "Test"}}, Body: append(append(onlyOperators(v), found...), page.Section{ID: "message", Title: "The message", Body: []page.Block{form}})}, nil
	}
	if !v.Post() {
		return show()
	}
	return v.Submit(site.Task{Form: form, Path: api + "/routes/test", Instead: func(a *call.Answer) (page.Page, error) {
		var r routeTest
		if err := a.Into(&r); err != nil {
			return page.Page{}, err
		}
		return show(r.blocks(v)...)
	}}, func() (page.Page, error) { return show() })
}

func (r *routeTest) blocks(v *site.Visit) []page.Block {
	n := page.Notice{Tone: page.Bad, Title: "No vendor takes it.", Text: "It would fail with no_route. The table says what each route has against it."}
	if r.Selected != nil {
		n = page.Notice{Tone: page.Good, Title: "It goes to " + *r.Selected + " first.", Text: fmt.Sprintf("In %s, written in %s.", plural(r.Parts, "part"), alphabet(r.Encoding))}
	}
	asked := page.Table{Caption: "Who is asked", Empty: "No route leads to a vendor.", EmptyHelp: "Add a route that matches the message.", Columns: []page.Column{{Title: "Asked", Help: "In which order; a dash: not at all"}, {Title: "Vendor"}, {Title: "Route"}, {Title: "Health"}, {Title: "Price", Right: true, Help: "What the customer pays a part"}, {Title: "Cost", Right: true, Help: "What the vendor takes for a part"}, {Title: "Why"}}}
	for _, c := range r.Candidates {
		place, route, vendor := page.None("It is not asked"), page.None("No route leads there"), page.None("There is no such vendor")
		if c.Place != nil {
			place = page.Badge(ordinal(*c.Place), page.Good, "")
		}
		if c.RouteID != nil {
			name := fmt.Sprintf("Route %d", *c.RouteID)
			if c.RouteName != nil {
				name = *c.RouteName
			}
			route = page.To(name, v.At(fmt.Sprintf("/routes/%d", *c.RouteID)))
		}
		if c.Vendor != nil {
			vendor = page.To(*c.Vendor, v.At("/vendors/"+c.VendorID))
		}
		asked.Rows = append(asked.Rows, page.Row{Cells: []page.Cell{place, vendor, route, health(c.Health), page.Str(c.Rate), page.Str(c.Cost), page.Str(c.Reason)}})
	}
	trail := page.Table{Caption: "Every route", Empty: "There is no route.", Columns: []page.Column{{Title: "Route"}, {Title: "Result"}, {Title: "Why"}}}
	for _, t := range r.Trail {
		rule := page.Str(strings.ReplaceAll(t.Rule, "_", " "))
		if id, ok := strings.CutPrefix(t.Rule, "route "); ok {
			rule.Href = v.At("/routes/" + id)
		}
		tone, word := page.Plain, "passed over"
		if t.Result == "pass" {
			tone, word = page.Good, "fits"
		}
		trail.Rows = append(trail.Rows, page.Row{Cells: []page.Cell{rule, page.Badge(word, tone, ""), page.Str(t.Detail)}})
	}
	return []page.Block{page.Section{ID: "result", Title: "Result", Body: []page.Block{n, asked}}, page.Section{ID: "trail", Title: "Every route, in the order of the configuration", Body: []page.Block{trail}}}
}

// alphabet is an encoding as people call it.
func alphabet(encoding string) string {
	if name, ok := map[string]string{"gsm7": "the GSM alphabet", "ucs2": "Unicode"}[encoding]; ok {
		return name
	}
	return encoding
}

func ordinal(n int) string {
	switch n {
	case 1:
		return "first"
	case 2:
		return "second"
	case 3:
		return "third"
	}
	return fmt.Sprintf("%dth", n)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return page.Grouped(int64(n)) + " " + what + "s"
}

type forecast struct {
	From, Until     string
	Messages, Moved int
	Before, After   struct {
		NoRoute     int `json:"no_route"`
		Price, Cost string
	}
	Vendors []struct {
		ID          string `json:"vendor_id"`
		Vendor      string
		Used        int
		FirstBefore int    `json:"first_before"`
		FirstAfter  int    `json:"first_after"`
		PartsBefore int    `json:"parts_before"`
		PartsAfter  int    `json:"parts_after"`
		CostBefore  string `json:"cost_before"`
		CostAfter   string `json:"cost_after"`
	}
}

// whatIf follows messages of the past through routes that would be.
func (o *office) whatIf(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	var routes site.Rows[routeView]
	if err := v.Get(api+"/routes", map[string][]string{"limit": {fmt.Sprint(mostNames)}}, &routes); err != nil {
		return page.Page{}, err
	}
	var list []page.Option
	for _, r := range routes.Data {
		name := r.Name
		if name == "" {
			name = r.matches("one customer")
		}
		list = append(list, page.Option{Value: fmt.Sprint(r.ID), Text: fmt.Sprintf("%d: %s, to %s, priority %d", r.ID, name, d.vendors[r.VendorID], r.Priority)})
	}
	form := &page.Form{Action: v.At("/routes/what-if"), Submit: "Look", Label: "What if", Fields: []page.Field{
		{Name: "_remove", Label: "Without these routes", Kind: page.Choices, Options: list, Group: "What would be different"},
		{Name: "_vendor", Label: "Without this vendor", Kind: page.Choice, Options: append([]page.Option{{Text: "none"}}, d.vendorList...), Help: "As if it were not in use."},
		{Name: "_route", Label: "With this route changed", Kind: page.Choice, Options: append([]page.Option{{Text: "a new route"}}, list...), Help: "Or with a new one. What is empty below is as it is there.", Group: "One route changed or added"},
		{Name: "_route_vendor", Label: "To this vendor", Kind: page.Choice, Options: append([]page.Option{{Text: "as it is; for no new route"}}, d.vendorList...)},
		{Name: "_priority", Label: "Its priority", Kind: page.Number}, {Name: "_dest", Label: "Its recipients", Placeholder: "^1"}, {Name: "_rate", Label: "Its price", Kind: page.Amount},
		{Name: "from", Label: "Messages from", Kind: page.Moment, Help: "Empty: the beginning of yesterday, UTC.", Group: "Which messages"}, {Name: "until", Label: "Until", Kind: page.Moment, Help: "At most 31 days later. Empty: 24 hours."},
		{Name: "limit", Label: "About how many", Kind: page.Number, Help: "Picked evenly; empty: 10,000."}}}
	if len(list) == 0 {
		form.Fields[0] = page.Field{Name: "_remove", Kind: page.Hidden}
	}
	show := func(found ...page.Block) (page.Page, error) {
		return page.Page{Title: "What if", Lead: "What other routes would have made of past messages. All vendors count as healthy, and nothing is changed.",
			Crumbs: []page.Link{{Text: "Routes", Href: v.At("/routes")}, {Text: "What if"}}, Body: append(append(onlyOperators(v), found...), page.Section{ID: "change", Title: "The change", Body: []page.Block{form}})}, nil
	}
	if !v.Post() {
		return show()
	}
	return v.Submit(site.Task{Form: form, Path: api + "/routes/what-if", Body: func(body map[string]any) map[string]any { return proposal(form, body) }, Instead: func(a *call.Answer) (page.Page, error) {
		var f forecast
		if err := a.Into(&f); err != nil {
			return page.Page{}, err
		}
		return show(f.block(v))
	}}, func() (page.Page, error) { return show() })
}

// proposal makes the body of a what-if of the form's fields.
func proposal(form *page.Form, body map[string]any) map[string]any {
	body = maps.Clone(body)
	remove := []int64{}
	for _, id := range form.Field("_remove").Values {
		var n int64
		if _, err := fmt.Sscan(id, &n); err == nil {
			remove = append(remove, n)
		}
	}
	body["remove"] = remove
	if vendor := form.Field("_vendor").Value; vendor != "" {
		body["vendors"] = []any{map[string]any{"vendor": vendor, "is_active": false}}
	}
	route := map[string]any{}
	for name, member := range map[string]string{"_route_vendor": "vendor_id", "_dest": "dest_pattern", "_rate": "rate_per_msg"} {
		if text := strings.TrimSpace(form.Field(name).Value); text != "" {
			route[member] = text
		}
	}
	for name, member := range map[string]string{"_route": "id", "_priority": "priority"} {
		if text := form.Field(name).Value; text != "" {
			var n int64
			if _, err := fmt.Sscan(text, &n); err != nil {
				form.Wrong(name, "must be a whole number")
			}
			route[member] = n
		}
	}
	if route["id"] == nil && len(route) > 0 && route["vendor_id"] == nil {
		form.Wrong("_route_vendor", "is needed for a new route")
	}
	if len(route) > 1 || route["vendor_id"] != nil {
		body["routes"] = []any{route}
	}
	return body
}

func (f *forecast) block(v *site.Visit) page.Block {
	n := page.Notice{Tone: page.Plain, Title: fmt.Sprintf("%s of %s would have gone to another vendor first.", page.Grouped(int64(f.Moved)), plural(f.Messages, "message"))}
	if f.Messages == 0 {
		n = page.Notice{Tone: page.Warn, Title: "There was no message in that time.", Text: "Choose another time."}
	}
	if f.After.NoRoute > f.Before.NoRoute {
		n.Tone, n.Text = page.Bad, fmt.Sprintf("%s would have found no vendor at all.", plural(f.After.NoRoute-f.Before.NoRoute, "more message"))
	}
	sums := page.Table{Caption: "Sums", Columns: []page.Column{{Title: "Sum"}, {Title: "As it is", Right: true}, {Title: "As it would be", Right: true}}, Rows: []page.Row{
		{Cells: []page.Cell{page.Str("Messages without a route"), page.Num(f.Before.NoRoute), page.Num(f.After.NoRoute)}},
		{Cells: []page.Cell{page.Str("Customers pay"), page.Str(f.Before.Price), page.Str(f.After.Price)}}, {Cells: []page.Cell{page.Str("Vendors take"), page.Str(f.Before.Cost), page.Str(f.After.Cost)}}}}
	vendors := page.Table{Caption: "Vendors", Empty: "No vendor had or would have had any.", Columns: []page.Column{{Title: "Vendor"}, {Title: "Had", Right: true, Help: "Messages that it had in fact"}, {Title: "Asked first", Right: true, Help: "By the routes as they are"}, {Title: "Would be", Right: true, Help: "Asked first by the proposed routes"},
		{Title: "Parts", Right: true}, {Title: "Would be", Right: true}, {Title: "Cost", Right: true}, {Title: "Would be", Right: true}}}
	for _, w := range f.Vendors {
		vendors.Rows = append(vendors.Rows, page.Row{Cells: []page.Cell{page.To(w.Vendor, v.At("/vendors/"+w.ID)), page.Num(w.Used), page.Num(w.FirstBefore), page.Num(w.FirstAfter), page.Num(w.PartsBefore), page.Num(w.PartsAfter), page.Str(w.CostBefore), page.Str(w.CostAfter)}})
	}
	return page.Section{ID: "result", Title: "Result", Body: []page.Block{page.Facts{Items: []page.Fact{{Label: "From", Value: page.When(f.From)}, {Label: "Until", Value: page.When(f.Until)}}}, n, sums, page.Section{Title: "By vendor", Body: []page.Block{vendors}}}}
}
