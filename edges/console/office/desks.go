package office

import (
	"maps"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postrider/postrider/edges/console/gate"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/snapshot"
)

// shows are pages by the pattern of http.ServeMux.
type shows = map[string]func(*site.Visit) (page.Page, error)

// deskRoutes are the pages where staff decide, put right, and look after each other.
func (o *office) deskRoutes() shows {
	out := shows{}
	for _, desk := range []shows{o.heldRoutes(), o.strayRoutes(), o.deliveryRoutes(), o.ruleRoutes(), o.optOutRoutes(), o.registryRoutes(), o.auditRoutes(), o.staffRoutes(), o.serviceRoutes()} {
		maps.Copy(out, desk)
	}
	return out
}

// deskNav leads to them. What only some roles may read is shown to those.
func deskNav(p gate.Person) []page.NavGroup {
	rules := page.NavGroup{Title: "Rules and registrations", Links: []page.Link{
		{Text: "Content rules", Href: Prefix + "/content-rules"}, {Text: "Opt-outs", Href: Prefix + "/opt-outs"},
		{Text: "Brands", Href: Prefix + "/brands"}, {Text: "Campaigns", Href: Prefix + "/campaigns"}}}
	groups := []page.NavGroup{
		{Title: "To be looked at", Links: []page.Link{
			{Text: "Held messages", Href: Prefix + "/held"}, {Text: "Unrouted inbound", Href: Prefix + "/unrouted"},
			{Text: "Unmatched receipts", Href: Prefix + "/receipts"}, {Text: "Webhook deliveries", Href: Prefix + "/webhooks"}}},
		rules,
	}
	var access page.NavGroup
	switch p.Role {
	case snapshot.RoleAdmin:
		access = page.NavGroup{Title: "Access", Links: []page.Link{{Text: "Audit log", Href: Prefix + "/audit"}, {Text: "Staff", Href: Prefix + "/staff"}, {Text: "Service credentials", Href: Prefix + "/services"}}}
	case snapshot.RoleCompliance:
		access = page.NavGroup{Title: "Access", Links: []page.Link{{Text: "Audit log", Href: Prefix + "/audit"}}}
	default:
		return groups
	}
	return append(groups, access)
}

// since is a time with how long ago it is.
func since(at string) page.Cell { return sinceNow(at, time.Now()) }

func sinceNow(at string, now time.Time) page.Cell {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return page.None("")
	}
	c := page.Time(t)
	switch age := now.Sub(t); {
	case age < 0 && age > -time.Minute:
		return c.WithSub("in less than a minute")
	case age < 0:
		return c.WithSub("in " + page.Duration(-age.Truncate(time.Minute)))
	case age < time.Minute:
		return c.WithSub("less than a minute ago")
	default:
		return c.WithSub(page.Duration(age.Truncate(time.Minute)) + " ago")
	}
}

func sincep(at *string) page.Cell {
	if at == nil {
		return page.None("")
	}
	return since(*at)
}

// customer leads to an account, numberTo to one of its numbers.
func customer(v *site.Visit, id string) page.Cell {
	if id == "" {
		return page.None("")
	}
	return page.CodeTo(short(id), v.At("/customers/"+url.PathEscape(id))).WithHelp("Account " + id)
}

func numberTo(v *site.Visit, n string) page.Cell {
	return page.CodeTo(n, v.At("/numbers/"+url.PathEscape(n)))
}

// ofVendor leads to a vendor; one that was removed has no name any more.
func ofVendor(v *site.Visit, id string, name *string) page.Cell {
	if name == nil {
		return page.None("It was removed; its id was " + id)
	}
	return page.To(*name, v.At("/vendors/"+url.PathEscape(id)))
}

// spaced makes a word of an API one that people read: "not_sent" is "not sent".
func spaced(s string) string { return strings.ReplaceAll(s, "_", " ") }

func spacedp(s *string) page.Cell {
	if s == nil {
		return page.None("")
	}
	return page.Str(spaced(*s))
}

// firstOf is the beginning of a text that may be long.
func firstOf(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return strings.TrimSpace(string(r[:most])) + "…"
}

// whoMay says who may do something, to those who may not.
func whoMay(v *site.Visit, what string, roles ...snapshot.Role) []page.Block {
	if v.May(roles...) {
		return nil
	}
	var names []string
	for _, r := range roles {
		names = append(names, string(r))
	}
	return []page.Block{page.Text(what + " is for " + strings.Join(append(names, "admin"), " and ") + "; your role is " + string(v.Person.Role) + ".")}
}

// deedSection is what can be done with the thing of a page, or who may.
func deedSection(v *site.Visit, at string, deeds []site.Deed, tried site.Tried, nothing string, roles ...snapshot.Role) page.Block {
	s := page.Section{ID: "actions", Title: "Actions"}
	if s.Body = whoMay(v, "This", roles...); len(s.Body) > 0 {
		return s
	}
	if s.Body = site.Deeds(at, deeds, tried); len(s.Body) == 0 {
		s.Help = nothing
	}
	return s
}

// known leaves out facts that are not known.
func known(items []page.Fact) []page.Fact {
	var out []page.Fact
	for _, f := range items {
		if f.Value.Kind != "none" {
			out = append(out, f)
		}
	}
	return out
}

func anyOption(list ...page.Option) []page.Option {
	return append([]page.Option{{Text: "any"}}, list...)
}

// options are the words of an API as a choice.
func options(list ...string) []page.Option {
	out := make([]page.Option, len(list))
	for i, w := range list {
		out[i] = page.Option{Value: w, Text: spaced(w)}
	}
	return out
}

// capitalized begins a sentence.
func capitalized(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return page.Grouped(int64(n)) + " " + many
}
