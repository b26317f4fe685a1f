package account

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// numberView is a number of the account.
type numberView struct {
	Number       string
	Type         string
	SMS          bool    `json:"sms_enabled"`
	MMS          bool    `json:"mms_enabled"`
	CampaignID   *string `json:"campaign_id"`
	Verification string
	Tag, Group   *string
	CreatedAt    string `json:"created_at"`
	UpdatedAt    string `json:"updated_at"`
}

var numberTypes = map[string]string{"long_code": "long code", "toll_free": "toll-free", "short_code": "short code"}

func (v *visit) numbers() (page.Page, error) {
	filter := &page.Form{Method: "get", Inline: true, Submit: "Filter", Label: "Filter numbers", Fields: []page.Field{
		{Name: "type", Label: "Type", Kind: page.Choice, Options: []page.Option{{Text: "any"}, {Value: "long_code", Text: "long code"}, {Value: "toll_free", Text: "toll-free"}, {Value: "short_code", Text: "short code"}}},
		{Name: "tag", Label: "Tag"}, {Name: "group", Label: "Group"}, {Name: "campaign_id", Label: "Campaign"},
	}}
	rows, err := site.List[numberView](v.Visit, v.op("/numbers"), filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	campaigns := v.campaignPages()
	table := page.Table{Caption: "Numbers", Empty: "There is no number that fits.", EmptyHelp: "Numbers are given to an account by support; they are listed here from then on.", Columns: []page.Column{
		{Title: "Number"}, {Title: "Type", Help: "Long codes need a 10DLC campaign to send to the US, toll-free numbers a verification"}, {Title: "SMS", Help: "Texts can be sent and received"},
		{Title: "MMS", Help: "Pictures and other files can be sent and received"}, {Title: "Allowed to send", Help: "The 10DLC campaign of a long code, the verification of a toll-free number"}, {Title: "Tag", Help: "Yours; it comes with messages that the number receives"}, {Title: "Group", Help: "Yours, as the tag"}}}
	body := []page.Block{filter, site.Table(v.Visit, rows, table, func(n numberView) page.Row {
		r := page.Row{Cells: []page.Cell{page.CodeTo(n.Number, v.at("/numbers/"+url.PathEscape(n.Number))), page.Str(numberTypes[n.Type]), able(n.SMS), able(n.MMS), n.allowed(campaigns), page.Strp(n.Tag), page.Strp(n.Group)}}
		if n.blocked() {
			r.Tone = page.Warn
		}
		return r
	})}
	p := page.Page{Title: "Numbers", Lead: "The senders of the account, and what comes to them.", Crumbs: v.crumbs(), Body: body}
	p.Actions = append(p.Actions, page.Action{Text: "Where received messages go", Href: v.at("/inbound-settings")})
	return p, nil
}

func able(yes bool) page.Cell {
	if yes {
		return page.Badge("on", page.Good, "")
	}
	return page.Badge("off", page.Plain, "Support switches it on")
}

// blocked reports whether US carriers block what the number sends.
func (n *numberView) blocked() bool {
	switch n.Type {
	case "long_code":
		return n.CampaignID == nil && strings.HasPrefix(n.Number, "+1")
	case "toll_free":
		return n.Verification != "approved"
	}
	return false
}

// allowed says by what the number may send; campaigns are the pages of campaigns by the
// registry's ids.
func (n *numberView) allowed(campaigns map[string]string) page.Cell {
	switch {
	case n.CampaignID != nil:
		return page.CodeTo(*n.CampaignID, campaigns[*n.CampaignID]).WithHelp("Its 10DLC campaign")
	case n.Type == "long_code" && n.blocked():
		return page.Badge("no campaign", page.Warn, "US carriers block long codes that are in no 10DLC campaign")
	case n.Type == "toll_free":
		return verification(n.Verification)
	}
	return page.None("It needs no registration here")
}

func verification(word string) page.Cell {
	switch word {
	case "approved":
		return page.Badge("verified", page.Good, "The toll-free number may send")
	case "pending":
		return page.Badge("verification pending", page.Busy, "Carriers block it until it is approved")
	case "rejected":
		return page.Badge("verification rejected", page.Bad, "Carriers block it; ask support what was wrong")
	}
	return page.Badge("not verified", page.Warn, "Carriers block toll-free numbers that are not verified; ask support to begin it")
}

// campaignPages are the pages of campaigns by the registry's ids; none for those who may
// not read them.
func (v *visit) campaignPages() map[string]string {
	out := map[string]string{}
	if !v.Sees(registryRead) {
		return out
	}
	var rows site.Rows[campaignView]
	if err := v.Get(v.op("/campaigns"), url.Values{"limit": {"200"}}, &rows); err != nil {
		return out // without links the page says as much
	}
	for _, c := range rows.Data {
		if c.CampaignID != nil {
			out[*c.CampaignID] = v.at("/campaigns/" + url.PathEscape(c.ID))
		}
	}
	return out
}

func (v *visit) labelForm() *page.Form {
	return &page.Form{Action: v.at("/numbers/" + v.param("number")), Label: "Tag and group", Patch: true, Fields: []page.Field{
		{Name: "tag", Label: "Tag", Max: 64, Help: "It comes with each message that the number receives, such as the shop it belongs to."},
		{Name: "group", Label: "Group", Max: 64, Help: "As the tag; both can be searched for."}}}
}

func (v *visit) number() (page.Page, error) { return v.numberPage(nil, nil) }

// numberPage shows a number: with a form that was sent and came back, or the results of a
// test.
func (v *visit) numberPage(sent *page.Form, tested []tested) (page.Page, error) {
	form := sent
	var n numberView
	if form == nil {
		form = v.labelForm()
		if err := v.Loaded(form, v.op("/numbers/"+v.param("number")), &n); err != nil {
			return page.Page{}, err
		}
	} else if err := v.Get(v.op("/numbers/"+v.param("number")), nil, &n); err != nil {
		return page.Page{}, err
	}
	var in inboundView
	if err := v.Get(v.op("/numbers/"+v.param("number")+"/inbound"), nil, &in); err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: n.Number, Crumbs: v.crumbs(page.Link{Text: "Numbers", Href: v.at("/numbers")}, page.Link{Text: n.Number}),
		Actions: []page.Action{{Text: "Messages it sent", Href: v.messagesOf(url.Values{"from": {n.Number}})}, {Text: "Messages it received", Href: v.messagesOf(url.Values{"to": {n.Number}, "direction": {"inbound"}})}}}
	if v.Staff {
		p.Actions = append(p.Actions, page.Action{Text: "In the inventory", Href: v.At("/numbers/" + url.PathEscape(n.Number))})
	}
	if n.blocked() {
		p.Body = append(p.Body, v.blockedNotice(&n))
	}
	if tested != nil {
		p.Body = append(p.Body, testResult(tested))
	}
	p.Body = append(p.Body, page.Facts{Title: "The number", Items: []page.Fact{
		{Label: "Type", Value: page.Str(numberTypes[n.Type])}, {Label: "SMS", Value: able(n.SMS), Help: "Texts can be sent and received"}, {Label: "MMS", Value: able(n.MMS), Help: "Pictures and other files can be sent and received"},
		{Label: "Allowed to send", Value: n.allowed(v.campaignPages()), Help: "The 10DLC campaign of a long code, the verification of a toll-free number"},
		{Label: "With the account since", Value: page.When(n.CreatedAt)}, {Label: "Last change", Value: page.When(n.UpdatedAt)}}})
	p.Body = append(p.Body, v.inboundSection(&in, v.at("/numbers/"+v.param("number")+"/inbound"), true))
	labels := page.Section{ID: "labels", Title: "Your labels", Body: []page.Block{form}}
	if !v.Place.May(numbersWrite) {
		labels.Body = []page.Block{page.Facts{Items: []page.Fact{{Label: "Tag", Value: page.Strp(n.Tag)}, {Label: "Group", Value: page.Strp(n.Group)}}}}
		labels.Help = "Somebody with the scope numbers:write changes them."
	}
	p.Body = append(p.Body, labels)
	return p, nil
}

func (v *visit) blockedNotice(n *numberView) page.Notice {
	if n.Type == "toll_free" {
		return page.Notice{Tone: page.Warn, Title: "It cannot send yet", Text: "Carriers block toll-free numbers that are not verified. Support begins the verification, and tells you what it needs."}
	}
	return page.Notice{Tone: page.Warn, Title: "It cannot send to the US", Text: "US carriers block long codes that are in no 10DLC campaign. Put it into one that is active.", Link: page.Link{Text: "10DLC registration", Href: v.at("/registration")}}
}

func (v *visit) saveNumber() (page.Page, error) {
	form := v.labelForm()
	here := v.at("/numbers/" + v.param("number"))
	return v.Submit(site.Task{Form: form, Method: http.MethodPatch, Path: v.op("/numbers/" + v.param("number")), Then: site.To(here), Said: "The labels are saved."},
		func() (page.Page, error) { return v.numberPage(form, nil) })
}
