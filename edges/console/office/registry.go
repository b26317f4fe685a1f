package office

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/snapshot"
)

func (o *office) registryRoutes() shows {
	return shows{
		"GET /console/brands":                   o.brands,
		"GET /console/brands/{id}":              o.brand,
		"POST /console/brands/{id}/{action}":    o.brandDeed,
		"GET /console/campaigns":                o.campaigns,
		"GET /console/campaigns/{id}":           o.campaign,
		"POST /console/campaigns/{id}/{action}": o.campaignDeed,
	}
}

// brandView is a brand as GET /brands/{id} has it.
type brandView struct {
	ID, Name, Status  string
	AccountID         string  `json:"account_id"`
	BrandID           *string `json:"brand_id"`
	IdentityStatus    *string `json:"identity_status"`
	VettingScore      *int    `json:"vetting_score"`
	VettingClass      *string `json:"vetting_class"`
	VettedAt          *string `json:"vetted_at"`
	VettingExpiresAt  *string `json:"vetting_expires_at"`
	Tier              *string
	DailyCap          *int    `json:"daily_cap"`
	UsedToday         *int    `json:"used_today"`
	EntityType        *string `json:"entity_type"`
	LegalName         *string `json:"legal_name"`
	FirstName         *string `json:"first_name"`
	LastName          *string `json:"last_name"`
	EIN               *string
	EINIssuingCountry *string `json:"ein_issuing_country"`
	Phone, Email      *string
	Website, Street   *string
	City, State       *string
	PostalCode        *string `json:"postal_code"`
	Country, Vertical *string
	StockSymbol       *string `json:"stock_symbol"`
	StockExchange     *string `json:"stock_exchange"`
	AltBusinessID     *string `json:"alt_business_id"`
	AltBusinessIDType *string `json:"alt_business_id_type"`
	Failure           *string
	RequestedAt       *string `json:"requested_at"`
	FiledAt           *string `json:"filed_at"`
	CreatedAt         string  `json:"created_at"`
	UpdatedAt         string  `json:"updated_at"`
}

// registration is how far a brand or campaign is with the registry.
func registration(status string) page.Cell {
	switch status {
	case "approved":
		return page.Badge(status, page.Good, "It can have campaigns")
	case "active":
		return page.Badge(status, page.Good, "It may send")
	case "pending":
		return page.Badge(status, page.Busy, "It was filed; the registry or a carrier has not decided")
	case "unregistered", "draft":
		return page.Badge(status, page.Plain, "It was not filed with the registry, and can still be changed")
	case "suspended":
		return page.Badge(status, page.Warn, "It may not send until that is lifted")
	case "failed", "rejected":
		return page.Badge(status, page.Bad, "The registry or a carrier refuses it")
	case "expired":
		return page.Badge(status, page.Bad, "It was not renewed, and may not send")
	}
	return page.Badge(status, page.Plain, "")
}

func nump(n *int) page.Cell {
	if n == nil {
		return page.None("None is known")
	}
	return page.Num(*n)
}

// ofAccount narrows a list to one account.
func ofAccount() *page.Form {
	return &page.Form{Method: "get", Inline: true, Submit: "Show", Label: "Narrow the list", Fields: []page.Field{{Name: "account_id", Label: "Account id"}}}
}

func (o *office) brands(v *site.Visit) (page.Page, error) {
	filter := ofAccount()
	rows, err := site.List[brandView](v, api+"/brands", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Brands", Empty: "There is no brand.", EmptyHelp: "A customer registers one in the portal, or staff on the page of the customer.",
		Columns: []page.Column{{Title: "Brand"}, {Title: "Status"}, {Title: "Account"}, {Title: "Registry's id"}, {Title: "Identity", Help: "The registry's word on who it is"}, {Title: "Vetting", Right: true, Help: "0 to 100"}, {Title: "Daily cap", Right: true, Help: "Parts that T-Mobile takes a day of the company"}, {Title: "What is wrong"}, {Title: "Changed"}}}
	return page.Page{Title: "Brands", Lead: "The companies that send, as the campaign registry knows them, newest first.", Body: []page.Block{filter, site.Table(v, rows, table, func(b brandView) page.Row {
		id := page.None("It was not filed")
		if b.BrandID != nil {
			id = page.Mono(*b.BrandID)
		}
		r := page.Row{Cells: []page.Cell{page.To(b.Name, v.At("/brands/"+url.PathEscape(b.ID))), registration(b.Status), customer(v, b.AccountID), id, spacedp(b.IdentityStatus), nump(b.VettingScore), nump(b.DailyCap), page.Strp(b.Failure), page.When(b.UpdatedAt)}}
		if b.Status == "failed" {
			r.Tone = page.Bad
		}
		return r
	})}}, nil
}

func (o *office) brand(v *site.Visit) (page.Page, error) { return o.brandPage(v, site.Tried{}) }

func (o *office) brandPage(v *site.Visit, tried site.Tried) (page.Page, error) {
	var b brandView
	if err := v.Get(api+"/brands/"+v.ID(), nil, &b); err != nil {
		return page.Page{}, err
	}
	// What of the cap is used is told to the customer, and to staff on his behalf.
	if err := v.Get(api+"/customers/"+url.PathEscape(b.AccountID)+"/brands/"+v.ID(), nil, &b); err != nil && call.StatusOf(err) == 0 {
		return page.Page{}, err
	}
	p := page.Page{Title: "Brand " + b.Name, Crumbs: []page.Link{{Text: "Brands", Href: v.At("/brands")}, {Text: b.Name}},
		Actions: []page.Action{{Text: "Change it", Href: v.At("/customers/" + url.PathEscape(b.AccountID) + "/brands/" + v.ID())}, {Text: "Campaigns of the account", Href: v.At("/campaigns?account_id=" + url.QueryEscape(b.AccountID))}}}
	if b.Failure != nil {
		p.Body = append(p.Body, page.Notice{Tone: page.Bad, Title: "The registry refuses it", Text: *b.Failure, Lines: []string{"The customer puts right what is wrong; then it can be filed again."}})
	}
	left := []page.Block{
		page.Facts{Title: "Registration", Items: known([]page.Fact{
			{Label: "Status", Value: registration(b.Status)}, {Label: "Account", Value: customer(v, b.AccountID)}, {Label: "Registry's id", Value: page.Strp(b.BrandID)},
			{Label: "Identity", Value: spacedp(b.IdentityStatus), Help: "The registry's word on who it is"}, {Label: "Vetting score", Value: nump(b.VettingScore), Help: "0 to 100; it decides how much carriers take"}, {Label: "Vetting class", Value: spacedp(b.VettingClass)},
			{Label: "Vetted", Value: page.Whenp(b.VettedAt)}, {Label: "Vetting ends", Value: page.Whenp(b.VettingExpiresAt)}, {Label: "Tier", Value: page.Strp(b.Tier), Help: "T-Mobile's"}, {Label: "Daily cap", Value: nump(b.DailyCap), Help: "Parts that T-Mobile takes a day of the company"},
			{Label: "Asked for", Value: page.Whenp(b.RequestedAt), Help: "When the customer wanted it filed"}, {Label: "Filed", Value: page.Whenp(b.FiledAt), Help: "When the registry took it"}, {Label: "Changed", Value: page.When(b.UpdatedAt)}})},
	}
	left = append(left, capUsed(b.DailyCap, b.UsedToday, "Parts that T-Mobile takes a day of the company, over all vendors")...)
	left = append(left, page.Section{ID: "company", Title: "The company", Help: "As it was, or is to be, filed.", Body: []page.Block{page.Facts{Title: "The company", Items: known([]page.Fact{
		{Label: "Legal name", Value: page.Strp(b.LegalName)}, {Label: "First name", Value: page.Strp(b.FirstName)}, {Label: "Last name", Value: page.Strp(b.LastName)}, {Label: "Kind", Value: spacedp(b.EntityType)}, {Label: "Branch of business", Value: spacedp(b.Vertical)},
		{Label: "Tax number", Value: page.Strp(b.EIN), Help: "All but its end is hidden"}, {Label: "Issued in", Value: page.Strp(b.EINIssuingCountry)}, {Label: "Other business id", Value: page.Strp(b.AltBusinessID)}, {Label: "Kind of that id", Value: page.Strp(b.AltBusinessIDType)},
		{Label: "Stock symbol", Value: page.Strp(b.StockSymbol)}, {Label: "Stock exchange", Value: page.Strp(b.StockExchange)}, {Label: "Street", Value: page.Strp(b.Street)}, {Label: "Postal code", Value: page.Strp(b.PostalCode)}, {Label: "City", Value: page.Strp(b.City)},
		{Label: "State", Value: page.Strp(b.State)}, {Label: "Country", Value: page.Strp(b.Country)}, {Label: "Phone", Value: page.Strp(b.Phone)}, {Label: "E-mail", Value: page.Strp(b.Email)}, {Label: "Website", Value: page.Strp(b.Website)}})}}})
	p.Body = append(p.Body, page.Split{Left: left, Right: []page.Block{deedSection(v, v.At("/brands/"+v.ID()), brandDeeds(v, &b), tried, "", snapshot.RoleCompliance)}})
	return p, nil
}

// capUsed is how much of a day's cap is used; nothing where none is known.
func capUsed(most, used *int, help string) []page.Block {
	if most == nil {
		return nil
	}
	item := page.Stat{Label: "Used today", Value: "–", Unit: "of " + page.Grouped(int64(*most)), Help: help, Sub: "it is counted anew at midnight, US Pacific time"}
	if used != nil {
		item.Value, item.Bar, item.Share = page.Grouped(int64(*used)), true, float64(*used)/float64(max(1, *most))
		if item.Share >= 1 {
			item.Tone = page.Bad
		} else if item.Share >= 0.8 {
			item.Tone = page.Warn
		}
	}
	return []page.Block{page.Stats{Title: "Today", Items: []page.Stat{item}}}
}

func brandDeeds(v *site.Visit, b *brandView) []site.Deed {
	at, then := api+"/brands/"+v.ID(), site.To(v.At("/brands/"+v.ID()))
	var out []site.Deed
	if b.Status == "unregistered" || b.Status == "failed" {
		out = append(out, site.Deed{Name: "file", Summary: "File it with the registry…", Text: "The registry asks its fee, and what was filed is not changed easily. Look at the company's data first.", Submit: "File the brand",
			Task: site.Task{Method: http.MethodPatch, Path: at, Body: status("pending"), Then: then, Said: "The brand is filed. The registry answers within minutes or days."}})
	}
	if b.Status != "unregistered" {
		out = append(out, site.Deed{Name: "sync", Summary: "Ask the registry…", Text: "What the registry says now is compared with what stands here. It is done by schedule as well.", Submit: "Ask the registry now",
			Task: site.Task{Bare: true, Path: at + "/sync", Then: then, Said: "This is what the registry says now."}})
	}
	return out
}

// status makes a body that says what a registration is to be.
func status(to string) func(map[string]any) map[string]any {
	return func(body map[string]any) map[string]any {
		body["status"] = to
		return body
	}
}

func (o *office) brandDeed(v *site.Visit) (page.Page, error) {
	var b brandView
	if err := v.Get(api+"/brands/"+v.ID(), nil, &b); err != nil {
		return page.Page{}, err
	}
	return v.Act(v.At("/brands/"+v.ID()), brandDeeds(v, &b), v.Param("action"), func(t site.Tried) (page.Page, error) { return o.brandPage(v, t) })
}

// carrierView is what a carrier says of a campaign.
type carrierView struct {
	NetworkID int `json:"network_id"`
	Network   string
	Status    *string
	Class     *string
	TPM       *int
	MMSTPM    *int    `json:"mms_tpm"`
	BrandTier *string `json:"brand_tier"`
	Surcharge *string
}

// campaignView is a campaign as GET /campaigns/{id} has it.
type campaignView struct {
	ID, Status     string
	AccountID      string  `json:"account_id"`
	CampaignID     *string `json:"campaign_id"`
	BrandID        *string `json:"brand_id"`
	RegistryStatus *string `json:"registry_status"`
	SuspendedBy    *string `json:"suspended_by"`
	Explanation    string
	UseCase        string   `json:"use_case"`
	SubUseCases    []string `json:"sub_use_cases"`
	Description    *string
	MessageFlow    *string       `json:"message_flow"`
	Samples        []string      `json:"sample_messages"`
	OptIn          []string      `json:"optin_keywords"`
	OptOut         []string      `json:"optout_keywords"`
	HelpWords      []string      `json:"help_keywords"`
	StartReply     *string       `json:"start_reply"`
	StopReply      *string       `json:"stop_reply"`
	HelpReply      *string       `json:"help_reply"`
	EmbeddedLink   bool          `json:"embedded_link"`
	EmbeddedPhone  bool          `json:"embedded_phone"`
	NumberPool     bool          `json:"number_pool"`
	AgeGated       bool          `json:"age_gated"`
	DirectLending  bool          `json:"direct_lending"`
	Affiliate      bool          `json:"affiliate_marketing"`
	SubscriberIn   bool          `json:"subscriber_optin"`
	SubscriberOut  bool          `json:"subscriber_optout"`
	SubscriberHelp bool          `json:"subscriber_help"`
	AutoRenewal    bool          `json:"auto_renewal"`
	Numbers        []string      `json:"phone_numbers"`
	Throughput     *int          `json:"throughput_limit"`
	MMSThroughput  *int          `json:"mms_throughput_limit"`
	PerNumber      bool          `json:"per_number"`
	DailyCap       *int          `json:"daily_cap"`
	Carriers       []carrierView `json:"carrier_states"`
	Failure        *string
	RequestedAt    *string `json:"requested_at"`
	FiledAt        *string `json:"tcr_submission_date"`
	ApprovedAt     *string `json:"tcr_approval_date"`
	UpdatedAt      string  `json:"updated_at"`
}

func (c *campaignView) name() string {
	if c.CampaignID != nil {
		return *c.CampaignID
	}
	return c.purpose()
}

// purpose is the use case as people read it: ACCOUNT_NOTIFICATION is "account notification".
func (c *campaignView) purpose() string { return strings.ToLower(spaced(c.UseCase)) }

func (o *office) campaigns(v *site.Visit) (page.Page, error) {
	filter := ofAccount()
	rows, err := site.List[campaignView](v, api+"/campaigns", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	table := page.Table{Caption: "Campaigns", Empty: "There is no campaign.", EmptyHelp: "A customer registers one in the portal, or staff on the page of the customer.",
		Columns: []page.Column{{Title: "Campaign", Help: "And what it is for"}, {Title: "Status"}, {Title: "Account"}, {Title: "Numbers", Right: true}, {Title: "Parts/min", Right: true, Help: "SMS parts a minute that it may send"}, {Title: "Daily cap", Right: true, Help: "Of the campaign alone; the brand's holds as well"}, {Title: "What it waits for"}, {Title: "Changed"}}}
	return page.Page{Title: "Campaigns", Lead: "What customers may send from their 10DLC numbers, newest first. Only active ones send.", Body: []page.Block{filter, site.Table(v, rows, table, func(c campaignView) page.Row {
		pace := nump(c.Throughput)
		if c.PerNumber && c.Throughput != nil {
			pace.Sub = "each number"
		}
		waits := page.Str(c.Explanation)
		if c.Status == "draft" {
			waits = page.Str("It was not filed yet.")
		}
		if c.Failure != nil {
			waits = page.Str(*c.Failure)
		}
		name := page.To(c.name(), v.At("/campaigns/"+url.PathEscape(c.ID)))
		if c.CampaignID != nil {
			name.Sub = c.purpose()
		}
		r := page.Row{Cells: []page.Cell{name, registration(c.Status), customer(v, c.AccountID), page.Num(len(c.Numbers)), pace, nump(c.DailyCap), waits, page.When(c.UpdatedAt)}}
		switch c.Status {
		case "rejected", "expired":
			r.Tone = page.Bad
		case "suspended":
			r.Tone = page.Warn
		}
		return r
	})}}, nil
}

func (o *office) campaign(v *site.Visit) (page.Page, error) {
	return o.campaignPage(v, site.Tried{})
}

func (o *office) campaignPage(v *site.Visit, tried site.Tried) (page.Page, error) {
	var c campaignView
	if err := v.Get(api+"/campaigns/"+v.ID(), nil, &c); err != nil {
		return page.Page{}, err
	}
	var today struct {
		BrandStatus *string `json:"brand_status"`
		DailyCap    *int    `json:"daily_cap"`
		UsedToday   *int    `json:"used_today"`
	}
	// A campaign that was registered elsewhere may have no such status.
	if err := v.Get(api+"/customers/"+url.PathEscape(c.AccountID)+"/campaigns/"+v.ID()+"/status", nil, &today); err != nil && call.StatusOf(err) == 0 {
		return page.Page{}, err
	}
	p := page.Page{Title: "Campaign " + c.name(), Crumbs: []page.Link{{Text: "Campaigns", Href: v.At("/campaigns")}, {Text: c.name()}}}
	p.Actions = []page.Action{{Text: "Change it", Href: v.At("/customers/" + url.PathEscape(c.AccountID) + "/campaigns/" + v.ID())}}
	if c.CampaignID != nil {
		p.Actions = append(p.Actions, page.Action{Text: "Its messages", Href: v.At("/messages?" + url.Values{"campaign_id": {*c.CampaignID}, "account_id": {c.AccountID}}.Encode())})
	}
	p.Body = append(p.Body, campaignNotice(&c))
	brand := page.None("It was registered elsewhere")
	if c.BrandID != nil {
		brand = page.CodeTo(short(*c.BrandID), v.At("/brands/"+url.PathEscape(*c.BrandID)))
		if today.BrandStatus != nil {
			brand = brand.WithSub(*today.BrandStatus)
		}
	}
	pace := nump(c.Throughput)
	if c.PerNumber && c.Throughput != nil {
		pace.Sub = "each number"
	}
	left := []page.Block{
		page.Facts{Title: "Registration", Items: known([]page.Fact{
			{Label: "Status", Value: registration(c.Status)}, {Label: "What for", Value: page.Str(c.purpose())}, {Label: "Account", Value: customer(v, c.AccountID)}, {Label: "Brand", Value: brand},
			{Label: "Registry's id", Value: page.Strp(c.CampaignID)}, {Label: "Registry's word", Value: spacedp(c.RegistryStatus)}, {Label: "SMS parts a minute", Value: pace, Help: "The least that its carriers take"}, {Label: "MMS a minute", Value: nump(c.MMSThroughput)}, {Label: "Daily cap", Value: nump(c.DailyCap), Help: "Of the campaign alone; the brand's holds as well"},
			{Label: "Asked for", Value: page.Whenp(c.RequestedAt)}, {Label: "Filed", Value: page.Strp(c.FiledAt)}, {Label: "First active", Value: page.Strp(c.ApprovedAt)}, {Label: "Suspended by", Value: page.Strp(c.SuspendedBy)}})},
	}
	left = append(left, capUsed(today.DailyCap, today.UsedToday, "Parts a day: the least of the brand's and the campaign's cap")...)
	left = append(left, carriers(&c))
	left = append(left, aboutCampaign(v, &c)...)
	p.Body = append(p.Body, page.Split{Left: left, Right: []page.Block{deedSection(v, v.At("/campaigns/"+v.ID()), campaignDeeds(v, &c), tried, "", snapshot.RoleCompliance)}})
	return p, nil
}

// campaignNotice says at once whether it sends, and if not, why.
func campaignNotice(c *campaignView) page.Block {
	n := page.Notice{Title: "It is " + c.Status, Text: c.Explanation}
	switch c.Status {
	case "active":
		n.Tone, n.Title = page.Good, "It sends"
	case "draft":
		n.Title, n.Text = "It is a draft", "It was not filed with the registry, and sends nothing until it is."
	case "rejected", "expired":
		n.Tone = page.Bad
	case "suspended":
		n.Tone = page.Warn
	case "pending":
		n.Tone = page.Busy
	}
	if c.Failure != nil {
		n.Lines = []string{"The registry says: " + *c.Failure}
	}
	return n
}

func carriers(c *campaignView) page.Block {
	t := page.Table{Caption: "Carriers", Empty: "No carrier has said anything yet.", Columns: []page.Column{{Title: "Carrier"}, {Title: "Status"}, {Title: "SMS parts/min", Right: true}, {Title: "MMS/min", Right: true}, {Title: "Class", Help: "AT&T's"}, {Title: "Brand tier", Help: "T-Mobile's"}, {Title: "Surcharge", Right: true, Help: "A message"}}}
	for _, k := range c.Carriers {
		state := page.Badge("has not said", page.Plain, "")
		if k.Status != nil {
			state = page.Badge(*k.Status, map[string]page.Tone{"approved": page.Good, "review": page.Busy, "rejected": page.Bad, "suspended": page.Warn}[*k.Status], "")
		}
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.Str(k.Network).WithHelp("The registry's number of it: " + strconv.Itoa(k.NetworkID)), state, nump(k.TPM), nump(k.MMSTPM), page.Strp(k.Class), page.Strp(k.BrandTier), page.Strp(k.Surcharge)}})
	}
	return page.Section{ID: "carriers", Title: "What the carriers say", Body: []page.Block{t}}
}
