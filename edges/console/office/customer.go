package office

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/snapshot"
)

func (o *office) customer(v *site.Visit) (page.Page, error) { return o.customerPage(v, site.Tried{}) }

// customerPage is what there is to know of a customer at a glance; what was tried and
// refused stands open.
func (o *office) customerPage(v *site.Visit, tried site.Tried) (page.Page, error) {
	base, operations := customerAt(v)
	var c customerView
	if err := v.Get(operations, nil, &c); err != nil {
		return page.Page{}, err
	}
	place := placeOf(v, &c)
	sum, err := sumUp(v, operations)
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: c.CompanyName, Crumbs: []page.Link{{Text: "Customers", Href: v.At("/customers")}, {Text: c.CompanyName}},
		Actions: []page.Action{{Text: "Its messages", Href: v.At("/messages?" + url.Values{"account_id": {c.ID}}.Encode())}}}
	place.Enter(v)
	p.Body = sum.troubles(base)
	p.Body = append(p.Body, page.Split{Left: append([]page.Block{sum.stats(base)}, customerFacts(&c)), Right: []page.Block{o.customerActions(v, &c, tried)}})
	return p, nil
}

func customerFacts(c *customerView) page.Block {
	rate := page.Num(c.RateLimit)
	if c.Burst > 0 {
		rate = rate.WithSub("and " + page.Grouped(int64(c.Burst)) + " more in a burst")
	}
	return page.Section{Title: "The customer", Body: []page.Block{page.Facts{Title: "The customer", Items: []page.Fact{
		{Label: "State", Value: accountState(c.Status)}, {Label: "Connects by", Value: authWords(c.AuthType)}, {Label: "Id", Value: page.Mono(c.ID).WithCopy()},
		{Label: "External id", Help: "The customer's id in other systems", Value: page.Str(or(c.ExternalID, ""))}, {Label: "Time zone", Help: "Limits count its days and months", Value: page.Str(c.TimeZone)},
		{Label: "Messages a second", Help: "That it may send over REST", Value: rate},
		{Label: "Most on their way", Help: "Beyond that new messages are refused", Value: page.Num(c.MaxBacklog)}, {Label: "Pays", Value: pays(c.Prepaid)},
		{Label: "Customer since", Value: page.When(c.CreatedAt)}, {Label: "Changed", Value: page.When(c.UpdatedAt)},
	}}}}
}

// customerSum is what a glance at a customer needs of its resources.
type customerSum struct {
	usage struct {
		Sent     int64 `json:"messages_sent_today"`
		Received int64 `json:"messages_received_today"`
	}
	balance struct {
		Available string
		Reserved  string
		Currency  *string
		Prepaid   bool
	}
	endpoints site.Rows[struct {
		ID, URL        string
		Active         bool
		DisabledReason *string `json:"disabled_reason"`
		FailingSince   *string `json:"failing_since"`
	}]
	esmes site.Rows[struct {
		ID       string
		SystemID string `json:"system_id"`
		Enabled  bool
		Binds    int `json:"live_binds"`
	}]
	limits site.Rows[struct {
		Number      *string
		Type        string
		Period      string
		Limit, Used int64
	}]
}

func sumUp(v *site.Visit, operations string) (*customerSum, error) {
	s := &customerSum{}
	most, today := url.Values{"limit": {"100"}}, time.Now().UTC().Format(time.DateOnly)
	for _, read := range []struct {
		path  string
		query url.Values
		into  any
	}{{"/usage", url.Values{"from": {today}, "to": {today}, "group_by": {"day"}, "limit": {"1"}}, &s.usage}, {"/balance", nil, &s.balance}, {"/webhook-endpoints", most, &s.endpoints}, {"/smpp-credentials", most, &s.esmes}, {"/limits", most, &s.limits}} {
		if err := v.Get(operations+read.path, read.query, read.into); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *customerSum) stats(base string) page.Block {
	binds := 0
	for _, e := range s.esmes.Data {
		binds += e.Binds
	}
	balance := page.Stat{Label: "Balance", Help: "What may be spent: the sum of the ledger without what is reserved for messages on their way", Value: s.balance.Available, Unit: or(s.balance.Currency, ""), Href: base + "/balance", Sub: s.balance.Reserved + " reserved"}
	return page.Stats{Title: "Today", Items: []page.Stat{
		{Label: "Sent today", Help: "Messages accepted since midnight in UTC, without those that were rejected", Value: page.Grouped(s.usage.Sent), Href: base + "/usage"},
		{Label: "Received today", Help: "Messages that came for it since midnight in UTC", Value: page.Grouped(s.usage.Received), Href: base + "/usage"},
		balance,
		{Label: "SMPP binds", Help: "Live now, over all processes", Value: strconv.Itoa(binds), Href: base + "/smpp-credentials"},
	}}
}

// troubles are what somebody should look at.
func (s *customerSum) troubles(base string) []page.Block {
	var out []page.Block
	for _, e := range s.endpoints.Data {
		link := page.Link{Text: "Look at the endpoint", Href: base + "/webhooks/" + url.PathEscape(e.ID)}
		switch {
		case e.DisabledReason != nil:
			out = append(out, page.Notice{Tone: page.Bad, Title: "A webhook endpoint was disabled: " + e.URL, Text: *e.DisabledReason, Link: link})
		case e.Active && e.FailingSince != nil:
			out = append(out, page.Notice{Tone: page.Warn, Title: "A webhook endpoint fails: " + e.URL, Text: "No try has succeeded for " + ago(*e.FailingSince) + ".", Link: link})
		}
	}
	for _, l := range s.limits.Data {
		if l.Used >= l.Limit {
			whose := "the account"
			if l.Number != nil {
				whose = *l.Number
			}
			out = append(out, page.Notice{Tone: page.Bad, Title: "A usage limit is used up", Text: "Of " + page.Grouped(l.Limit) + " parts of " + strings.ToUpper(l.Type) + " a " + l.Period + " that " + whose + " may send, none is left: more is refused.", Link: page.Link{Text: "Look at the limits", Href: base + "/limits"}})
		}
	}
	return out
}

// ago is how long something has lasted.
func ago(since string) string {
	at, err := time.Parse(time.RFC3339, since)
	if err != nil {
		return "an unknown time"
	}
	return page.Duration(time.Since(at))
}

// customerDeeds are what can be done with a customer in its state.
func customerDeeds(v *site.Visit, c *customerView) []site.Deed {
	base, operations := customerAt(v)
	reason := page.Field{Name: "reason", Label: "Reason", Max: 500, Required: true, Help: "It stands in the audit log."}
	then := site.To(base)
	suspend := site.Deed{Name: "suspend", Summary: "Suspend…", Submit: "Suspend the customer", Danger: true, Fields: []page.Field{reason},
		Text: "Within seconds nothing more is taken from it over REST and SMPP, and what waits is refused at its next step. Its users cannot use the portal. It can be let go on at any time.",
		Task: site.Task{Path: operations + "/suspend", Then: then, Said: "The customer is suspended."}}
	resume := site.Deed{Name: "resume", Summary: "Let it go on…", Submit: "Let the customer go on", Fields: []page.Field{reason},
		Text: "Within seconds its messages are taken again. What was refused meanwhile stays refused.",
		Task: site.Task{Path: operations + "/resume", Then: then, Said: "The customer goes on."}}
	query := url.Values{"reason": {v.R.PostFormValue("reason")}}
	if v.R.PostFormValue("_force") != "" {
		query.Set("force", "true")
	}
	closing := site.Deed{Name: "close", Summary: "Close for good…", Submit: "Close the customer for good", Danger: true,
		Text: "This cannot be undone. Its keys, binds and users are refused within seconds. Its messages, ledger and opt-outs are kept as long as those of others.",
		Fields: []page.Field{reason, {Name: "_force", Label: "Also while messages of it are on their way: they are refused at their next step", Kind: page.Check},
			{Name: "_name", Label: "Its name, to be sure", Required: true, Placeholder: c.CompanyName}},
		Task: site.Task{Method: http.MethodDelete, Path: operations + "?" + query.Encode(), Then: then, Said: "The customer is closed."}}
	switch snapshot.AccountStatus(c.Status) {
	case snapshot.AccountActive:
		return []site.Deed{suspend, closing}
	case snapshot.AccountSuspended:
		return []site.Deed{resume, closing}
	}
	return nil
}

func (o *office) customerActions(v *site.Visit, c *customerView, tried site.Tried) page.Block {
	section := page.Section{ID: "actions", Title: "Actions"}
	deeds := customerDeeds(v, c)
	switch {
	case !v.May(snapshot.RoleOperator):
		section.Help = "Operators suspend and close customers; your role is " + string(v.Person.Role) + "."
	case len(deeds) == 0:
		section.Help = "It is closed: nothing can be done with it."
	default:
		base, _ := customerAt(v)
		section.Body = site.Deeds(base+"/state", deeds, tried)
	}
	return section
}

// customerState does what a form of the customer's page asks for.
func (o *office) customerState(v *site.Visit) (page.Page, error) {
	base, operations := customerAt(v)
	var c customerView
	if err := v.Get(operations, nil, &c); err != nil {
		return page.Page{}, err
	}
	deeds := customerDeeds(v, &c)
	for i := range deeds {
		if deeds[i].Name == "close" {
			deeds[i].Task.Check = func(f *page.Form) {
				if f.Field("_name").Value != c.CompanyName {
					f.Wrong("_name", "must be the customer's name as it is written: "+c.CompanyName)
				}
			}
		}
	}
	return v.Act(base+"/state", deeds, v.Param("action"), func(t site.Tried) (page.Page, error) { return o.customerPage(v, t) })
}
