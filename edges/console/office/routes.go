package office

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// routeView is a routing rule.
type routeView struct {
	ID        int64
	Name      string
	Active    bool    `json:"is_active"`
	VendorID  string  `json:"vendor_id"`
	Priority  int     `json:"priority"`
	Dest      string  `json:"dest_pattern"`
	Source    string  `json:"source_pattern"`
	AccountID *string `json:"account_id"`
	Type      *string `json:"message_type"`
	Class     *string `json:"message_class"`
	Need      *string `json:"capability"`
	Rate      string  `json:"rate_per_msg"`
	MaxCost   *string `json:"max_cost"`
	Selection string
	Weight    int
	Sticky    bool
	Days      string
	From      string  `json:"from_time"`
	Until     string  `json:"until_time"`
	Zone      string  `json:"time_zone"`
	Starts    *string `json:"effective_from"`
	Ends      *string `json:"effective_until"`
	Problem   *string
}

// matches says in words which messages a route is for.
func (r *routeView) matches(customer string) string {
	list := []string{}
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if r.Type != nil {
		add("%s", strings.ToUpper(*r.Type))
	}
	if r.Class != nil {
		add("class %s", *r.Class)
	}
	if r.Need != nil {
		add("%s", map[string]string{"unicode": "texts that need Unicode", "alphanumeric": "alphanumeric senders", "mms": "MMS", "binary": "binary messages", "long": "long texts"}[*r.Need])
	}
	if r.AccountID != nil {
		add("of %s", customer)
	}
	if r.Dest != "" {
		add("to %s", pattern(r.Dest))
	}
	if r.Source != "" {
		add("from %s", pattern(r.Source))
	}
	if len(list) == 0 {
		list = []string{"every message"}
	}
	return strings.Join(append(list, r.when()...), ", ")
}

// when says at which times it counts, if not at all.
func (r *routeView) when() (list []string) {
	if r.Days != "" && r.Days != "mon-sun" {
		list = append(list, "on "+r.Days)
	}
	if r.From != r.Until {
		list = append(list, "from "+r.From+" until "+r.Until)
	}
	if len(list) > 0 {
		list[len(list)-1] += " (" + r.Zone + ")"
	}
	return list
}

// pattern says in words what a pattern of digits means, where that is simple.
func pattern(re string) string {
	digits, anchored := strings.CutPrefix(re, "^")
	digits = strings.TrimSuffix(digits, ".*")
	switch {
	case re == ".*" || re == "^.*" || digits == "":
		return "any number"
	case anchored && strings.Trim(digits, "0123456789") == "":
		return "+" + digits + "…"
	case anchored && strings.HasSuffix(digits, "$") && strings.Trim(digits, "0123456789$") == "":
		return "+" + strings.TrimSuffix(digits, "$")
	}
	return "what matches " + re
}

// chosen says how one of several routes of a priority is chosen.
func (r *routeView) chosen() string {
	s := fmt.Sprintf("weight %d", r.Weight)
	if r.Selection == "least_cost" {
		s = "least cost"
	}
	if r.MaxCost != nil {
		s += ", at most " + *r.MaxCost + " a part"
	}
	if r.Sticky {
		s += ", conversations stay"
	}
	return s
}

func (o *office) routeList(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	filter := &page.Form{Method: "get", Inline: true, Submit: "Show", Label: "Filter of routes", Fields: []page.Field{
		d.vendorField(page.Field{Name: "vendor_id", Label: "Vendor", Placeholder: "any"}), d.customerField(page.Field{Name: "account_id", Label: "Customer", Placeholder: "any"}), {Name: "active", Label: "Only those that count", Kind: page.Check}}}
	rows, err := site.List[routeView](v, api+"/routes", filter, url.Values{"limit": {"200"}})
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Routes", Empty: "No route fits.", EmptyHelp: "Without a route no message goes to a vendor: those that are accepted fail with no_route.",
		Columns: []page.Column{{Title: "Order", Right: true, Help: "The smaller priority is asked first"}, {Title: "Route"}, {Title: "For", Help: "Which messages it is for"}, {Title: "Vendor"}, {Title: "Among equals", Help: "Who comes first among the routes of one priority that fit"}, {Title: "Price", Right: true, Help: "What the customer pays a part"}, {Title: "State"}}}
	ordered := operates(v) && v.R.URL.RawQuery == ""
	if ordered {
		table.Columns = append(table.Columns, page.Column{Title: "Up", Help: "Gives it a priority before what stands above"}, page.Column{Title: "Down", Help: "Gives it a priority behind what stands below"})
	} else if operates(v) {
		table.Note = "Routes are moved where all of them are shown."
	}
	table = site.Table(v, rows, table, func(r routeView) page.Row {
		row := routeRow(v, d, &r)
		if ordered {
			row.Cells = append(row.Cells, moveButton(v, r.ID, "up", "Up"), moveButton(v, r.ID, "down", "Down"))
		}
		return row
	})
	p := page.Page{Title: "Routes", Lead: "Which vendor a message is offered to: from the top, until one takes it.", Body: append(onlyOperators(v), filter, table)}
	if operates(v) {
		p.Actions = []page.Action{{Text: "Add a route", Href: v.At("/routes/new"), Main: true}, {Text: "Test a message", Href: v.At("/routes/test")}, {Text: "What if", Href: v.At("/routes/what-if")}}
	}
	return p, nil
}

func routeRow(v *site.Visit, d *directory, r *routeView) page.Row {
	customer := ""
	if r.AccountID != nil {
		if customer = d.customers[*r.AccountID]; customer == "" {
			customer = short(*r.AccountID)
		}
	}
	name := r.Name
	if name == "" {
		name = fmt.Sprintf("Route %d", r.ID)
	}
	state := page.On(r.Active)
	switch {
	case r.Problem != nil:
		state = page.Badge("broken", page.Bad, "").WithSub(*r.Problem)
	case r.Starts != nil || r.Ends != nil:
		state = state.WithSub("for a time")
	}
	row := page.Row{Cells: []page.Cell{page.Num(r.Priority), page.To(name, v.At(fmt.Sprintf("/routes/%d", r.ID))), page.Str(r.matches(customer)), d.vendor(v, &r.VendorID), page.Str(r.chosen()), page.Str(r.Rate), state}}
	if r.Problem != nil {
		row.Tone = page.Bad
	}
	return row
}

// moveButton puts a route before what stands above it, or behind what stands below.
func moveButton(v *site.Visit, id int64, to, submit string) page.Cell {
	return page.Do(&page.Form{Action: v.At(fmt.Sprintf("/routes/%d/move", id)), Submit: submit, Quiet: true, Label: fmt.Sprintf("Move route %d %s", id, to), Fields: []page.Field{{Name: "to", Kind: page.Hidden, Value: to}}})
}

func (o *office) moveRoute(v *site.Visit) (page.Page, error) {
	var rows site.Rows[routeView]
	if err := v.Get(api+"/routes", url.Values{"limit": {fmt.Sprint(mostNames)}}, &rows); err != nil {
		return page.Page{}, err
	}
	if err := v.R.ParseForm(); err != nil {
		return page.Page{}, err
	}
	changes := moved(rows.Data, v.Param("id"), v.R.PostForm.Get("to") == "up")
	if len(changes) == 0 {
		return v.DoneWith(v.At("/routes"), page.Notice{Tone: page.Warn, Text: "It is the first or the last already."})
	}
	for _, c := range changes {
		if _, err := v.Do(call.Request{Method: http.MethodPatch, Path: api + fmt.Sprintf("/routes/%d", c.ID), Body: map[string]any{"priority": c.Priority}}); err != nil {
			return page.Page{}, err
		}
	}
	return v.Done(v.At("/routes"), "Moved. It holds within 5 seconds.")
}

// moved are the routes that get another priority, with it, for one to change places with
// what stands above or below it, the moved one last. Routes of one priority stand together,
// since they share their messages: one of several leaves them.
func moved(list []routeView, id string, up bool) []routeView {
	var groups [][]routeView // by priority
	at, in := -1, -1
	for i, r := range list {
		if i == 0 || list[i-1].Priority != r.Priority {
			groups = append(groups, nil)
		}
		g := len(groups) - 1
		groups[g] = append(groups[g], r)
		if fmt.Sprint(r.ID) == id {
			at, in = g, len(groups[g])-1
		}
	}
	if at < 0 {
		return nil
	}
	one := groups[at][in]
	to := at // where it stands among the others
	switch {
	case len(groups[at]) > 1:
		groups[at] = slices.Delete(slices.Clone(groups[at]), in, in+1)
		if !up {
			to++
		}
	case up && at > 0, !up && at < len(groups)-1:
		groups = slices.Delete(groups, at, at+1)
		if to--; !up {
			to = at + 1
		}
	default:
		return nil
	}
	switch {
	case to == len(groups):
		one.Priority = groups[to-1][0].Priority + 10
	case to == 0:
		one.Priority = groups[0][0].Priority / 2
	default:
		one.Priority = (groups[to-1][0].Priority + groups[to][0].Priority + 1) / 2
	}
	var out []routeView
	last := one.Priority
	for _, g := range groups[to:] { // where there is no room between, those behind go on by one
		if g[0].Priority > last {
			break
		}
		last++
		for _, r := range g {
			r.Priority = last
			out = append(out, r)
		}
	}
	slices.Reverse(out)
	return append(out, one)
}
