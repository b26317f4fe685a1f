package office

import (
	"net/http"
	"net/url"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/snapshot"
)

func (o *office) optOutRoutes() shows {
	return shows{
		"GET /console/opt-outs":                o.optOuts,
		"GET /console/opt-outs/{id}":           o.optOut,
		"POST /console/opt-outs/{id}/{action}": o.optOutDeed,
	}
}

// optOutView is an opt-out with its proof.
type optOutView struct {
	ID, Recipient, Scope string
	AccountID            string `json:"account_id"`
	Sender               *string
	CampaignID           *string `json:"campaign_id"`
	Active               bool
	Keyword              *string
	Source               string
	MessageID            *string `json:"message_id"`
	Reason               *string
	Actor                *string
	At                   string
	EndedAt              *string `json:"ended_at"`
	EndReason            *string `json:"end_reason"`
	EndedBy              *string `json:"ended_by"`
}

func (o *optOutView) state() page.Cell {
	if o.Active {
		return page.Badge("in force", page.Warn, "Messages to the recipient are refused")
	}
	return page.Badge("ended", page.Plain, "Kept as history for five years")
}

// stops says what is stopped.
func (o *optOutView) stops(v *site.Visit) page.Cell {
	switch {
	case o.Sender != nil:
		c := numberTo(v, *o.Sender)
		c.Sub = "this sender"
		return c
	case o.CampaignID != nil:
		return page.Mono(*o.CampaignID).WithSub("every number of this campaign")
	}
	return page.Str("everything of the account")
}

// came says how it was recorded.
func (o *optOutView) came() page.Cell {
	switch o.Source {
	case "keyword":
		if o.Keyword != nil {
			return page.Str("the recipient wrote " + *o.Keyword)
		}
		return page.Str("the recipient wrote it")
	case "vendor":
		return page.Str("the vendor said so")
	case "import":
		return page.Str("imported from a list")
	}
	return page.Str("recorded over the API")
}

func (o *office) optOuts(v *site.Visit) (page.Page, error) {
	filter := &page.Form{Method: "get", Inline: true, Submit: "Search", Label: "Search opt-outs", Fields: []page.Field{
		{Name: "recipient", Label: "Recipient", Placeholder: "+13105550117"}, {Name: "account_id", Label: "Account id"}, {Name: "sender", Label: "Sender", Placeholder: "+12025550143"},
		{Name: "campaign_id", Label: "Campaign"}, {Name: "active", Label: "State", Kind: page.Choice, Options: anyOption(page.Option{Value: "true", Text: "in force"}, page.Option{Value: "false", Text: "ended"})}}}
	p := page.Page{Title: "Opt-outs", Lead: "Who wants no more messages, from whom, and how we know. Newest first, those that have ended among them."}
	filter.From(v.R.URL.Query())
	query := filter.Query()
	if (query.Has("sender") || query.Has("campaign_id") || query.Has("active")) && !query.Has("recipient") && !query.Has("account_id") {
		p.Body = []page.Block{filter, page.Notice{Tone: page.Warn, Text: "To search by sender, campaign or state, give the recipient or the account as well: over all accounts there are too many."}}
		return p, nil
	}
	rows, err := site.List[optOutView](v, api+"/opt-outs", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Opt-outs", Empty: "No opt-out fits.", EmptyHelp: "One is recorded when a recipient writes STOP, when a vendor says so, or by hand at the customer.",
		Columns: []page.Column{{Title: "Recipient"}, {Title: "State"}, {Title: "Stops"}, {Title: "Account"}, {Title: "How"}, {Title: "Since"}, {Title: "Ended"}}}
	p.Body = []page.Block{filter, site.Table(v, rows, table, func(x optOutView) page.Row {
		return page.Row{Cells: []page.Cell{page.CodeTo(x.Recipient, v.At("/opt-outs/"+url.PathEscape(x.ID))), x.state(), x.stops(v), customer(v, x.AccountID), x.came(), since(x.At), page.Whenp(x.EndedAt)}}
	})}
	return p, nil
}

func (o *office) optOut(v *site.Visit) (page.Page, error) { return o.optOutPage(v, site.Tried{}) }

func (o *office) optOutPage(v *site.Visit, tried site.Tried) (page.Page, error) {
	var x optOutView
	if err := v.Get(api+"/opt-outs/"+v.ID(), nil, &x); err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "Opt-out of " + x.Recipient, Crumbs: []page.Link{{Text: "Opt-outs", Href: v.At("/opt-outs")}, {Text: x.Recipient}},
		Actions: []page.Action{{Text: "Messages to this recipient", Href: v.At("/messages?" + url.Values{"to": {x.Recipient}, "account_id": {x.AccountID}}.Encode())}}}
	facts := page.Facts{Title: "The opt-out", Items: []page.Fact{{Label: "State", Value: x.state()}, {Label: "Stops", Value: x.stops(v)}, {Label: "Account", Value: customer(v, x.AccountID)}, {Label: "Since", Value: since(x.At)}}}
	proof := page.Facts{Title: "Proof", Items: append([]page.Fact{{Label: "How it came", Value: x.came()}}, known([]page.Fact{
		{Label: "Message", Value: messageLink(v, x.MessageID), Help: "That it came by, or that was refused for it"}, {Label: "Recorded by", Value: page.Strp(x.Actor)}, {Label: "Reason", Value: page.Strp(x.Reason)}})...)}
	left := []page.Block{facts, page.Section{ID: "proof", Title: "Proof", Body: []page.Block{proof}}}
	if !x.Active {
		left = append(left, page.Section{ID: "end", Title: "Its end", Body: []page.Block{page.Facts{Title: "Its end", Items: []page.Fact{{Label: "Ended", Value: sincep(x.EndedAt)}, {Label: "By", Value: page.Strp(x.EndedBy), Help: "Empty: by a message of the recipient"}, {Label: "Reason", Value: page.Strp(x.EndReason)}}}}})
	}
	var deeds []site.Deed
	if x.Active {
		deeds = optOutDeeds(v)
	}
	p.Body = []page.Block{page.Split{Left: left, Right: []page.Block{deedSection(v, v.At("/opt-outs/"+v.ID()), deeds, tried, "It has ended; the history stays.", snapshot.RoleCompliance)}}}
	return p, nil
}

func optOutDeeds(v *site.Visit) []site.Deed {
	// DELETE has no body here; the operation takes the reason in the query as well.
	path := api + "/opt-outs/" + v.ID() + "?" + url.Values{"reason": {v.R.PostFormValue("reason")}}.Encode()
	return []site.Deed{{Name: "end", Summary: "End it…", Text: "Messages to the recipient go again. Do this only with proof that the recipient wants them: to send to somebody who has said STOP is against the law.", Submit: "End the opt-out", Danger: true,
		Fields: []page.Field{{Name: "reason", Label: "Proof", Required: true, Max: 256, Help: "How and when the recipient has asked for messages. It is kept with the opt-out."}},
		Task:   site.Task{Method: http.MethodDelete, Path: path, Then: site.To(v.At("/opt-outs/" + v.ID())), Said: "The opt-out has ended."}}}
}

func (o *office) optOutDeed(v *site.Visit) (page.Page, error) {
	return v.Act(v.At("/opt-outs/"+v.ID()), optOutDeeds(v), v.Param("action"), func(t site.Tried) (page.Page, error) { return o.optOutPage(v, t) })
}
