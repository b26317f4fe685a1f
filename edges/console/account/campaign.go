package account

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

// carrierView is what one carrier says of a campaign.
type carrierView struct {
	Network string
	Status  *string
	TPM     *int
}

// campaignView is a use case as the registry knows it.
type campaignView struct {
	ID             string
	CampaignID     *string `json:"campaign_id"`
	BrandID        *string `json:"brand_id"`
	Status         string
	UseCase        string   `json:"use_case"`
	SubUseCases    []string `json:"sub_use_cases"`
	Description    *string
	MessageFlow    *string  `json:"message_flow"`
	Samples        []string `json:"sample_messages"`
	OptIn          []string `json:"optin_keywords"`
	OptOut         []string `json:"optout_keywords"`
	Help           []string `json:"help_keywords"`
	StartReply     *string  `json:"start_reply"`
	StopReply      *string  `json:"stop_reply"`
	HelpReply      *string  `json:"help_reply"`
	EmbeddedLink   bool     `json:"embedded_link"`
	EmbeddedPhone  bool     `json:"embedded_phone"`
	NumberPool     bool     `json:"number_pool"`
	AgeGated       bool     `json:"age_gated"`
	DirectLending  bool     `json:"direct_lending"`
	Affiliate      bool     `json:"affiliate_marketing"`
	SubscriberIn   bool     `json:"subscriber_optin"`
	SubscriberOut  bool     `json:"subscriber_optout"`
	SubscriberHelp bool     `json:"subscriber_help"`
	AutoRenewal    bool     `json:"auto_renewal"`
	Numbers        []string `json:"phone_numbers"`
	Throughput     *int     `json:"throughput_limit"`
	MMSThroughput  *int     `json:"mms_throughput_limit"`
	PerNumber      bool     `json:"per_number"`
	DailyCap       *int     `json:"daily_cap"`
	Carriers       []carrierView
	Failure        *string
	ToComplete     []missing `json:"to_complete"`
	RequestedAt    *string   `json:"requested_at"`
	Submitted      *string   `json:"tcr_submission_date"`
	Approved       *string   `json:"tcr_approval_date"`
	CreatedAt      string    `json:"created_at"`
	UpdatedAt      string    `json:"updated_at"`
}

// campaignStatus is whether it may send, and how much.
type campaignStatus struct {
	Status      string
	Detail      string
	BrandStatus *string `json:"brand_status"`
	DailyCap    *int    `json:"daily_cap"`
	UsedToday   *int    `json:"used_today"`
	ResetsAt    *string `json:"resets_at"`
	Failure     *string
}

func (c *campaignView) state() page.Cell {
	switch c.Status {
	case "active":
		return page.Badge("active", page.Good, "Its numbers may send")
	case "pending":
		return page.Badge("with the registry", page.Busy, "The registry and the carriers look at it")
	case "suspended":
		return page.Badge("suspended", page.Bad, "Its numbers cannot send to the US now")
	case "rejected":
		return page.Badge("refused", page.Bad, "The registry or every carrier refuses it")
	case "expired":
		return page.Badge("ended", page.Plain, "It has ended for good")
	}
	if c.RequestedAt != nil {
		return page.Badge("sent in", page.Busy, "Staff will file it with the registry")
	}
	return page.Badge("draft", page.Warn, "It is not sent in yet")
}

func (c *campaignView) tone() page.Tone {
	switch {
	case c.Status == "suspended", c.Status == "rejected":
		return page.Bad
	case c.Status == "draft" && c.RequestedAt == nil:
		return page.Warn
	}
	return page.Plain
}

// notice says what to know of it first, and what to do.
func (c *campaignView) notice(s *campaignStatus) page.Notice {
	n := page.Notice{Text: deref(s.Failure)}
	switch c.Status {
	case "active":
		n.Tone, n.Title = page.Good, s.Detail
		if s.Detail != "It may send." {
			n.Tone = page.Warn
		}
		if len(c.Numbers) == 0 {
			n.Tone, n.Title, n.Lines = page.Warn, "It is active, and has no number", []string{"Give it numbers below: only they send in its name."}
		}
	case "pending":
		n.Tone, n.Title, n.Lines = page.Busy, s.Detail, []string{"Carriers take some days. Numbers can be given to it already."}
	case "suspended":
		n.Tone, n.Title, n.Lines = page.Bad, s.Detail, []string{"Its numbers cannot send to the US until it is lifted. Ask support what the carrier saw; it is mostly text that is not like the samples, or complaints."}
	case "rejected":
		n.Tone, n.Title, n.Lines = page.Bad, s.Detail, []string{"Describe a new one in which what they name is put right. Most are refused because the way to opt in is not described, the samples do not fit the use case, or the website does not show the consent."}
	case "expired":
		n.Title = s.Detail
	default:
		switch {
		case c.RequestedAt != nil:
			n.Tone, n.Title = page.Busy, "It is sent in"
			n.Text = s.Detail
			if s.BrandStatus != nil && *s.BrandStatus != "approved" {
				n.Lines = []string{"It is filed once its brand is approved; the brand is " + words(*s.BrandStatus) + "."}
			}
		case len(c.ToComplete) > 0:
			n.Tone, n.Title, n.Text = page.Warn, "It is a draft", fmt.Sprintf("%d things are missing or wrong before it can be sent in.", len(c.ToComplete))
		default:
			n.Tone, n.Title, n.Text = page.Warn, "It is a draft", "Everything is there: look at it once more, and send it in."
		}
	}
	return n
}

func (v *visit) campaign() (page.Page, error) { return v.campaignPage(nil, nil, "") }

func (v *visit) submitCampaign() (page.Page, error) {
	return v.submitting(v.op("/campaigns/"+v.param("campaign")), v.at("/campaigns/"+v.param("campaign")), func(f *page.Form) (page.Page, error) { return v.campaignPage(f, nil, "") })
}

// campaignPage shows a campaign; what was tried and refused stands open: sending it in, or
// giving or taking numbers ("numbers", "release").
func (v *visit) campaignPage(tried, numbers *page.Form, which string) (page.Page, error) {
	var c campaignView
	if err := v.Get(v.op("/campaigns/"+v.param("campaign")), nil, &c); err != nil {
		return page.Page{}, err
	}
	var status campaignStatus
	if err := v.Get(v.op("/campaigns/"+v.param("campaign")+"/status"), nil, &status); err != nil {
		return page.Page{}, err
	}
	base, name := v.at("/campaigns/"+v.param("campaign")), c.name()
	p := page.Page{Title: name, Lead: useCaseName(c.UseCase) + ": " + useCaseText(c.UseCase), Crumbs: v.registrationCrumbs(page.Link{Text: name}), Body: []page.Block{c.notice(&status)}}
	draft := c.Status == "draft"
	steps := campaignSteps(nil)
	switch {
	case !v.Place.May(registryWrite):
	case draft:
		p.Body = append([]page.Block{stepTabs(base, steps, len(steps))}, p.Body...)
		p.Actions = []page.Action{{Text: "Change", Href: base + "/" + steps[0].name}}
	case c.Status != "expired" && c.Status != "rejected":
		p.Actions = []page.Action{{Text: "Change the answers to START, STOP and HELP", Href: base + "/replies"}}
	default:
		p.Actions = []page.Action{{Text: "Describe a new one", Href: v.at("/campaigns/new?brand_id=" + url.QueryEscape(deref(c.BrandID)) + "&use_case=" + url.QueryEscape(c.UseCase)), Main: true}}
	}
	if v.Staff {
		p.Actions = append(p.Actions, page.Action{Text: "File and sync it", Href: v.At("/campaigns/" + v.param("campaign"))})
	}
	if c.CampaignID != nil {
		p.Actions = append(p.Actions, page.Action{Text: "Its messages", Href: v.messagesOf(url.Values{"campaign_id": {*c.CampaignID}})})
	}
	if len(c.ToComplete) > 0 {
		p.Body = append(p.Body, toDo(base, steps, c.ToComplete))
	}
	if draft {
		p.Body = append(p.Body, v.submission(base, tried, c.RequestedAt, c.ToComplete, "Staff file it with The Campaign Registry. From then on only the answers to START, STOP and HELP can be changed. The registry takes a fee to look at it, and one for each month that it runs.")...)
	}
	p.Body = append(p.Body, c.verdict(&status), v.campaignNumbers(&c, numbers, which), c.content(), c.consent(), v.campaignFacts(&c))
	return p, nil
}

func (c *campaignView) name() string {
	if c.CampaignID != nil {
		return "Campaign " + *c.CampaignID
	}
	return "Campaign: " + useCaseName(c.UseCase)
}

func (c *campaignView) verdict(s *campaignStatus) page.Block {
	t := page.Table{Caption: "Carriers", Empty: "No carrier has said anything yet.", Columns: []page.Column{{Title: "Carrier"}, {Title: "Says", Help: "Each decides on its own"}, {Title: "Parts a minute", Right: true, Help: "What it reports"}}}
	for _, k := range c.Carriers {
		said := page.Badge("nothing yet", page.Plain, "The carrier has not said")
		row := page.Row{}
		switch deref(k.Status) {
		case "approved":
			said = page.Badge("approved", page.Good, "Messages to its customers go")
		case "review":
			said = page.Badge("looks at it", page.Busy, "")
		case "rejected":
			said, row.Tone = page.Badge("refused", page.Bad, "Messages to its customers are blocked"), page.Bad
		case "suspended":
			said, row.Tone = page.Badge("suspended", page.Bad, "Messages to its customers are blocked for now"), page.Bad
		}
		row.Cells = []page.Cell{page.Str(k.Network), said, nump(k.TPM, "It reports none")}
		t.Rows = append(t.Rows, row)
	}
	minute := nump(c.Throughput, "None is known")
	if c.PerNumber && c.Throughput != nil {
		minute.Sub = "of each number"
	}
	used := page.None("None is known")
	if s.DailyCap != nil {
		used = page.Str(page.Grouped(int64(*s.DailyCap)))
		if s.UsedToday != nil {
			used = page.Str(page.Grouped(int64(*s.UsedToday)) + " of " + page.Grouped(int64(*s.DailyCap)))
		}
	}
	brand := page.Badge(words(deref(s.BrandStatus)), page.Plain, "")
	if s.BrandStatus == nil {
		brand = page.None("It has no brand yet")
	}
	return page.Section{ID: "verdict", Title: "What the registry and the carriers say", Body: []page.Block{page.Facts{Items: []page.Fact{
		{Label: "State", Value: c.state()}, {Label: "Registry's id", Value: monop(c.CampaignID)}, {Label: "Brand", Value: brand}, {Label: "SMS parts a minute", Value: minute, Help: "AT&T counts by campaign and minute"},
		{Label: "MMS a minute", Value: nump(c.MMSThroughput, "None is known")}, {Label: "T-Mobile's cap, used today", Value: used, Help: "Parts a day: the least of the brand's and the campaign's"}, {Label: "The day ends", Value: page.Whenp(s.ResetsAt), Help: "Midnight US Pacific time"},
		{Label: "Sent in", Value: page.Whenp(c.RequestedAt)}, {Label: "Filed", Value: page.Strp(c.Submitted), Help: "When the registry took it"}, {Label: "Approved", Value: page.Strp(c.Approved), Help: "When it first became active"},
		{Label: "Why it was refused", Value: page.Strp(c.Failure)}}}, t}}
}

func (c *campaignView) content() page.Block {
	s := page.Section{ID: "messages", Title: "What is sent", Body: []page.Block{page.Text(orDash(c.Description))}}
	for i, m := range c.Samples {
		s.Body = append(s.Body, page.Code{Label: fmt.Sprintf("Sample %d", i+1), Text: m})
	}
	if len(c.Samples) == 0 {
		s.Body = append(s.Body, page.Text("There is no sample yet."))
	}
	s.Body = append(s.Body, page.Facts{Items: []page.Fact{{Label: "Messages have links", Value: page.YesNo(c.EmbeddedLink)}, {Label: "Messages have phone numbers", Value: page.YesNo(c.EmbeddedPhone)}, {Label: "50 numbers or more", Value: page.YesNo(c.NumberPool)},
		{Label: "For adults only", Value: page.YesNo(c.AgeGated)}, {Label: "Direct lending", Value: page.YesNo(c.DirectLending)}, {Label: "Affiliate marketing", Value: page.YesNo(c.Affiliate)}}})
	return s
}

func orDash(s *string) string {
	if s == nil || *s == "" {
		return "Not described yet."
	}
	return *s
}

func (c *campaignView) consent() page.Block {
	t := page.Table{Caption: "Words and answers", Columns: []page.Column{{Title: "For"}, {Title: "Words"}, {Title: "Are answered with"}}}
	for _, r := range []struct {
		name  string
		on    bool
		words []string
		reply *string
	}{{"To begin", c.SubscriberIn, c.OptIn, c.StartReply}, {"To stop", c.SubscriberOut, c.OptOut, c.StopReply}, {"For help", c.SubscriberHelp, c.Help, c.HelpReply}} {
		list := page.Str(strings.Join(r.words, ", "))
		if !r.on {
			list = list.WithSub("not offered")
		}
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.Str(r.name), list, page.Strp(r.reply)}})
	}
	return page.Section{ID: "consent", Title: "How people agree, and leave", Body: []page.Block{page.Text(orDash(c.MessageFlow)), t}}
}

func (v *visit) campaignFacts(c *campaignView) page.Block {
	brand := page.None("It has none yet")
	if c.BrandID != nil {
		brand = page.To("its brand", v.at("/brands/"+url.PathEscape(*c.BrandID)))
	}
	parts := make([]string, len(c.SubUseCases))
	for i, s := range c.SubUseCases {
		parts[i] = useCaseName(s)
	}
	return page.Section{ID: "about", Title: "About it", Body: []page.Block{page.Facts{Items: []page.Fact{{Label: "Brand", Value: brand}, {Label: "Use case", Value: page.Str(useCaseName(c.UseCase)).WithHelp(useCaseText(c.UseCase))}, {Label: "Made of", Value: page.Str(strings.Join(parts, ", ")), Help: "Of a mixed one"},
		{Label: "Is renewed by itself", Value: page.YesNo(c.AutoRenewal)}, {Label: "Described", Value: page.When(c.CreatedAt)}, {Label: "Last change", Value: page.When(c.UpdatedAt)}}}}}
}

// campaignNumbers are those that send in its name.
func (v *visit) campaignNumbers(c *campaignView, tried *page.Form, which string) page.Block {
	t := page.Table{Caption: "Numbers", Empty: "No number is in it.", EmptyHelp: "A number is in one campaign at a time.", Columns: []page.Column{{Title: "Number"}, {Title: "Messages"}}}
	for _, n := range c.Numbers {
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.CodeTo(n, v.at("/numbers/"+url.PathEscape(n))), page.To("sent from it", v.messagesOf(url.Values{"from": {n}}))}})
	}
	s := page.Section{ID: "numbers", Title: "Numbers", Help: "US long codes that send in its name.", Body: []page.Block{t}}
	if !v.Place.May(registryWrite) || c.Status == "expired" || c.Status == "rejected" {
		return s
	}
	give := v.giveForm()
	if which == "numbers" {
		give = tried
	}
	if give != nil {
		s.Body = append(s.Body, page.Disclosure{Summary: "Give it numbers…", Open: which == "numbers", Body: []page.Block{page.Text("They send in its name once it is active. A number of another campaign has to be taken out of that one first."), give}})
	} else if len(c.Numbers) == 0 {
		s.Body = append(s.Body, page.Text("The account has no long code that is in no campaign."))
	}
	if len(c.Numbers) > 0 {
		take := v.takeForm(c.Numbers)
		if which == "release" {
			take = tried
			take.Field("number").Options = takeOptions(c.Numbers)
		}
		s.Body = append(s.Body, page.Disclosure{Summary: "Take a number out…", Danger: true, Open: which == "release", Body: []page.Block{page.Text("US carriers block what it sends from then on, until it is in another campaign."), take}})
	}
	return s
}

// maxNumberBoxes is how many numbers are offered to be ticked.
const maxNumberBoxes = 50

// giveForm offers the long codes that are in no campaign; nil: there is none, or nobody
// may see them.
func (v *visit) giveForm() *page.Form {
	var rows site.Rows[numberView]
	if v.Get(v.op("/numbers"), url.Values{"type": {"long_code"}, "limit": {"200"}}, &rows) != nil {
		return numbersForm(v.at("/campaigns/"+v.param("campaign")+"/numbers"), nil)
	}
	var boxes []page.Option
	for _, n := range rows.Data {
		if n.CampaignID == nil && strings.HasPrefix(n.Number, "+1") {
			boxes = append(boxes, page.Option{Value: n.Number, Text: joined(" · ", n.Number, deref(n.Tag), deref(n.Group))})
		}
	}
	if len(boxes) == 0 {
		return nil
	}
	if len(boxes) > maxNumberBoxes {
		boxes = nil
	}
	return numbersForm(v.at("/campaigns/"+v.param("campaign")+"/numbers"), boxes)
}

func numbersForm(action string, boxes []page.Option) *page.Form {
	f := page.Field{Name: "numbers", Label: "Numbers", Kind: page.Choices, Options: boxes}
	if boxes == nil {
		f = page.Field{Name: "numbers", Label: "Numbers", Kind: page.Lines, Required: true, Help: "One a line, at most 400, such as +12025550143."}
	}
	return &page.Form{Action: action, Submit: "Give them to it", Fields: []page.Field{f}}
}

func takeOptions(numbers []string) []page.Option {
	return options("choose one", numbers, func(s string) string { return s })
}

func (v *visit) takeForm(numbers []string) *page.Form {
	return &page.Form{Action: v.at("/campaigns/" + v.param("campaign") + "/release"), Submit: "Take it out", Danger: true, Fields: []page.Field{{Name: "number", Label: "Number", Kind: page.Choice, Required: true, Options: takeOptions(numbers)}}}
}

func (v *visit) assignNumbers() (page.Page, error) {
	form := v.giveForm()
	if form == nil {
		form = numbersForm(v.at("/campaigns/"+v.param("campaign")+"/numbers"), nil)
	}
	here := v.at("/campaigns/" + v.param("campaign"))
	return v.Submit(site.Task{Form: form, Method: http.MethodPut, Path: v.op("/campaigns/" + v.param("campaign") + "/numbers"), Then: site.To(here + "#numbers"), Said: "The numbers are in the campaign.", Body: func(b map[string]any) map[string]any {
		if list, _ := b["numbers"].([]string); len(list) == 0 {
			form.Wrong("numbers", "is needed: choose one at least")
		}
		return b
	}}, func() (page.Page, error) { return v.campaignPage(nil, form, "numbers") })
}

func (v *visit) releaseNumber() (page.Page, error) {
	form := v.takeForm(nil)
	here := v.at("/campaigns/" + v.param("campaign"))
	if err := v.R.ParseForm(); err != nil {
		return page.Page{}, err
	}
	number := v.R.PostForm.Get("number")
	return v.Submit(site.Task{Form: form, Method: http.MethodDelete, Path: v.op("/campaigns/" + v.param("campaign") + "/numbers/" + url.PathEscape(number)), Then: site.To(here + "#numbers"), Said: number + " is in no campaign now."},
		func() (page.Page, error) { return v.campaignPage(nil, form, "release") })
}

// brandOptions are the account's brands.
func (v *visit) brandOptions() ([]page.Option, error) {
	var rows site.Rows[brandView]
	if err := v.Get(v.op("/brands"), url.Values{"limit": {"200"}}, &rows); err != nil {
		return nil, err
	}
	out := []page.Option{{Text: "choose one"}}
	for _, b := range rows.Data {
		if b.Status != "failed" {
			out = append(out, page.Option{Value: b.ID, Text: b.Name + " (" + b.state().Text + ")"})
		}
	}
	return out, nil
}

func (v *visit) newCampaign() (page.Page, error) {
	brands, err := v.brandOptions()
	if err != nil {
		return page.Page{}, err
	}
	steps := campaignSteps(brands)
	form := stepForm(&steps[0], v.at("/registration"))
	form.Fields = append(form.Fields, site.Key())
	form.From(v.R.URL.Query())
	if len(brands) == 2 && form.Field("brand_id").Value == "" {
		form.Field("brand_id").Value = brands[1].Value
	}
	show := func(before ...page.Block) (page.Page, error) {
		p := page.Page{Title: "Describe a campaign", Lead: "Step 1 of 4: the use case. " + steps[0].lead, Crumbs: v.registrationCrumbs(page.Link{Text: "New campaign"})}
		if len(brands) == 1 {
			p.Body = append(p.Body, page.Notice{Tone: page.Warn, Title: "There is no brand yet", Text: "A draft can be made without one; it cannot be sent in.", Link: page.Link{Text: "Register a brand", Href: v.at("/brands/new")}})
		}
		p.Body = append(append(p.Body, before...), form, useCaseTable())
		return p, nil
	}
	if !v.Post() {
		return show()
	}
	return v.Submit(site.Task{Form: form, Path: v.op("/campaigns"), Once: true, Body: campaignBody, Instead: func(a *call.Answer) (page.Page, error) {
		return v.stepSaved(a, form, steps, 0, v.at("/campaigns"), show)
	}}, func() (page.Page, error) { return show() })
}

// campaignBody gathers the samples, and leaves out what belongs to a mixed use case.
func campaignBody(b map[string]any) map[string]any {
	if _, asked := b[sampleField(0)]; asked {
		samples := []string{}
		for i := range maxSamples {
			if s, _ := b[sampleField(i)].(string); strings.TrimSpace(s) != "" {
				samples = append(samples, strings.TrimSpace(s))
			}
			delete(b, sampleField(i))
		}
		b["sample_messages"] = samples
	}
	if use, asked := b["use_case"]; asked && use != "MIXED" && use != "LOW_VOLUME" {
		b["sub_use_cases"] = []string{}
	}
	return b
}

func (v *visit) campaignStep() (page.Page, error) {
	path, base := v.op("/campaigns/"+v.param("campaign")), v.at("/campaigns/"+v.param("campaign"))
	var c campaignView
	got, err := v.Do(call.Request{Path: path})
	if err != nil {
		return page.Page{}, err
	}
	if err := got.Into(&c); err != nil {
		return page.Page{}, err
	}
	brands, err := v.brandOptions()
	if err != nil {
		return page.Page{}, err
	}
	if v.Param("step") == "replies" && c.Status != "draft" {
		return v.replies(path, base, &c, got)
	}
	steps := campaignSteps(brands)
	at := stepAt(steps, v.Param("step"))
	if at < 0 {
		return v.Missing()
	}
	if c.Status != "draft" {
		return v.Redirect(base)
	}
	form := stepForm(&steps[at], base)
	show := func(before ...page.Block) (page.Page, error) {
		body := append(append([]page.Block{stepTabs(base, steps, at)}, before...), form)
		if at == 0 {
			body = append(body, useCaseTable())
		}
		return page.Page{Title: c.name(), Lead: fmt.Sprintf("Step %d of %d: %s", at+1, len(steps)+1, steps[at].lead), Crumbs: v.registrationCrumbs(page.Link{Text: c.name(), Href: base}, page.Link{Text: steps[at].title}), Body: body}, nil
	}
	if !v.Post() {
		if err := c.fill(form, got); err != nil {
			return page.Page{}, err
		}
		checked := v.R.URL.Query().Get("check") != "" && say(form, &steps[at], c.ToComplete)
		suggest(form, &c, brands)
		if checked {
			return show(stillMissing)
		}
		return show()
	}
	return v.Submit(site.Task{Form: form, Method: http.MethodPatch, Path: path, Body: campaignBody, Instead: func(a *call.Answer) (page.Page, error) {
		return v.stepSaved(a, form, steps, at, v.at("/campaigns"), show)
	}}, func() (page.Page, error) { return show() })
}

// fill takes the values of a form from the campaign, the samples each into a field of its own.
func (c *campaignView) fill(form *page.Form, got *call.Answer) error {
	form.ETag = got.ETag
	if err := form.Fill(got.Body); err != nil {
		return err
	}
	for i := range maxSamples {
		if f := form.Field(sampleField(i)); f != nil {
			f.Value = ""
			if i < len(c.Samples) {
				f.Value = c.Samples[i]
			}
		}
	}
	return nil
}

// suggest fills in what most campaigns have, where nothing is there yet.
func suggest(form *page.Form, c *campaignView, brands []page.Option) {
	name := "Your brand"
	if i := slices.IndexFunc(brands, func(o page.Option) bool { return o.Value != "" && o.Value == deref(c.BrandID) }); i >= 0 {
		name, _, _ = strings.Cut(brands[i].Text, " (")
	}
	for field, text := range map[string]string{
		"optin_keywords": "START\nUNSTOP", "optout_keywords": "STOP\nSTOPALL\nUNSUBSCRIBE\nCANCEL\nEND\nQUIT", "help_keywords": "HELP\nINFO",
		"start_reply": name + ": you get our messages from now on. Msg & data rates may apply. Reply HELP for help, STOP to opt out.",
		"stop_reply":  name + ": you have opted out and get no more messages. Reply START to get them again.",
		"help_reply":  name + ": for help write to us at our website. Msg & data rates may apply. Reply STOP to opt out.",
	} {
		if f := form.Field(field); f != nil && f.Value == "" {
			f.Value, f.Error = text, ""
		}
	}
}

// replies is the form of what can be changed of a campaign that is filed.
func (v *visit) replies(path, base string, c *campaignView, got *call.Answer) (page.Page, error) {
	form := &page.Form{Patch: true, Cancel: page.Link{Text: "Cancel", Href: base}, Fields: replyFields()}
	show := func() (page.Page, error) {
		return page.Page{Title: "Answers of " + c.name(), Lead: "What START, STOP and HELP are answered with. The rest is what the registry has approved, and cannot be changed.", Crumbs: v.registrationCrumbs(page.Link{Text: c.name(), Href: base}, page.Link{Text: "Answers"}), Body: []page.Block{form}}, nil
	}
	if !v.Post() {
		if err := c.fill(form, got); err != nil {
			return page.Page{}, err
		}
		return show()
	}
	return v.Submit(site.Task{Form: form, Method: http.MethodPatch, Path: path, Then: site.To(base), Said: "The answers are saved."}, show)
}
