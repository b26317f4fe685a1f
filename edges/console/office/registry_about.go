package office

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// aboutCampaign is what was filed of a campaign, and its numbers.
func aboutCampaign(v *site.Visit, c *campaignView) []page.Block {
	list := func(words []string) page.Cell { return page.Str(strings.Join(words, ", ")) }
	about := []page.Fact{
		{Label: "Description", Value: page.Strp(c.Description)}, {Label: "How people agree to messages", Value: page.Strp(c.MessageFlow)}, {Label: "Also for", Value: list(c.SubUseCases)},
		{Label: "Words to join", Value: list(c.OptIn)}, {Label: "Words to stop", Value: list(c.OptOut)}, {Label: "Words for help", Value: list(c.HelpWords)},
		{Label: "Reply to joining", Value: page.Strp(c.StartReply)}, {Label: "Reply to stopping", Value: page.Strp(c.StopReply)}, {Label: "Reply to help", Value: page.Strp(c.HelpReply)}}
	for _, f := range []struct {
		label string
		yes   bool
	}{{"Holds links", c.EmbeddedLink}, {"Holds phone numbers", c.EmbeddedPhone}, {"More than 50 numbers", c.NumberPool}, {"Content for adults", c.AgeGated}, {"Lending", c.DirectLending}, {"For other companies", c.Affiliate},
		{"Recipients join", c.SubscriberIn}, {"Recipients can stop", c.SubscriberOut}, {"Recipients get help", c.SubscriberHelp}, {"Renewed by itself", c.AutoRenewal}} {
		about = append(about, page.Fact{Label: f.label, Value: page.YesNo(f.yes)})
	}
	out := []page.Block{page.Section{ID: "about", Title: "What was filed", Body: []page.Block{page.Facts{Title: "What was filed", Items: known(about)}}}}
	if len(c.Samples) > 0 {
		s := page.Section{ID: "samples", Title: "Sample messages", Help: "What the registry was told that it sends."}
		for i, text := range c.Samples {
			s.Body = append(s.Body, page.Code{Label: "Sample " + strconv.Itoa(i+1), Text: text})
		}
		out = append(out, s)
	}
	t := page.Table{Caption: "Numbers", Empty: "No number sends for it.", EmptyHelp: "The customer, or staff on the customer's page, assigns numbers to it.", Columns: []page.Column{{Title: "Number"}}}
	for _, n := range c.Numbers {
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{numberTo(v, n)}})
	}
	return append(out, page.Section{ID: "numbers", Title: "Numbers", Help: "That send for it; of more than 1,000 the first.", Body: []page.Block{t}})
}

// campaignDeeds are what can be done with a campaign in its state.
func campaignDeeds(v *site.Visit, c *campaignView) []site.Deed {
	at, then := api+"/campaigns/"+v.ID(), site.To(v.At("/campaigns/"+v.ID()))
	change := func(d site.Deed, to, said string) site.Deed {
		d.Task = site.Task{Method: http.MethodPatch, Path: at, Body: status(to), Then: then, Said: said}
		return d
	}
	reason := page.Field{Name: "reason", Label: "Reason", Max: 256, Help: "For the audit log."}
	needed := reason
	needed.Required = true
	var out []site.Deed
	if c.Status == "draft" {
		out = append(out, change(site.Deed{Name: "file", Summary: "File it with the registry…", Text: "The registry asks its fees, and carriers review it for days.", Submit: "File the campaign",
			Fields: []page.Field{{Name: "accept_terms", Label: "The registry's terms and conditions are accepted for this campaign", Kind: page.Check}}}, "pending", "The campaign is filed."))
		return out
	}
	if c.SuspendedBy != nil {
		out = append(out, change(site.Deed{Name: "resume", Summary: "Let it send again…", Text: "It is then what the registry and the carriers last said.", Submit: "Resume", Fields: []page.Field{reason}}, "active", "The suspension is lifted."))
	} else if c.Status != "suspended" {
		out = append(out, change(site.Deed{Name: "suspend", Summary: "Suspend it…", Text: "Nothing is sent for it any more, within 5 seconds, whatever the registry says. The customer is told.", Submit: "Suspend", Danger: true, Fields: []page.Field{needed}}, "suspended", "The campaign is suspended."))
	}
	if c.RegistryStatus != nil {
		return append(out, site.Deed{Name: "sync", Summary: "Ask the registry…", Text: "What the registry and the carriers say now is compared with what stands here. It is done by schedule as well.", Submit: "Ask the registry now",
			Task: site.Task{Bare: true, Path: at + "/sync", Then: then, Said: "This is what the registry says now."}})
	}
	if c.SuspendedBy == nil {
		out = append(out, site.Deed{Name: "status", Summary: "Set its status…", Text: "It was registered elsewhere, so nobody tells us what it is: say it here. The customer is told.", Submit: "Set the status",
			Fields: []page.Field{{Name: "status", Label: "Status", Kind: page.Choice, Required: true, Value: c.Status, Options: options("pending", "active", "rejected", "expired")}, reason},
			Task:   site.Task{Method: http.MethodPatch, Path: at, Then: then, Said: "The status is set."}})
	}
	return out
}

func (o *office) campaignDeed(v *site.Visit) (page.Page, error) {
	var c campaignView
	if err := v.Get(api+"/campaigns/"+v.ID(), nil, &c); err != nil {
		return page.Page{}, err
	}
	return v.Act(v.At("/campaigns/"+v.ID()), campaignDeeds(v, &c), v.Param("action"), func(t site.Tried) (page.Page, error) { return o.campaignPage(v, t) })
}
