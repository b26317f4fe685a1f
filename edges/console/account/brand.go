package account

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/registry"
)

// brandView is a company as the registry knows it.
type brandView struct {
	ID                                                                     string
	BrandID                                                                *string `json:"brand_id"`
	Name                                                                   string
	Status                                                                 string
	Identity                                                               *string `json:"identity_status"`
	Score                                                                  *int    `json:"vetting_score"`
	Class                                                                  *string `json:"vetting_class"`
	VettedAt                                                               *string `json:"vetted_at"`
	VettingEnds                                                            *string `json:"vetting_expires_at"`
	Tier                                                                   *string
	DailyCap                                                               *int    `json:"daily_cap"`
	UsedToday                                                              *int    `json:"used_today"`
	ResetsAt                                                               *string `json:"resets_at"`
	EntityType                                                             *string `json:"entity_type"`
	LegalName                                                              *string `json:"legal_name"`
	FirstName                                                              *string `json:"first_name"`
	LastName                                                               *string `json:"last_name"`
	EIN                                                                    *string
	EINCountry                                                             *string `json:"ein_issuing_country"`
	Phone, Email, Website, Street, City, State, Country, Vertical, Failure *string
	PostalCode                                                             *string   `json:"postal_code"`
	Symbol                                                                 *string   `json:"stock_symbol"`
	Exchange                                                               *string   `json:"stock_exchange"`
	AltID                                                                  *string   `json:"alt_business_id"`
	AltType                                                                *string   `json:"alt_business_id_type"`
	ToComplete                                                             []missing `json:"to_complete"`
	RequestedAt                                                            *string   `json:"requested_at"`
	FiledAt                                                                *string   `json:"filed_at"`
	CreatedAt                                                              string    `json:"created_at"`
	UpdatedAt                                                              string    `json:"updated_at"`
}

func (b *brandView) state() page.Cell {
	switch {
	case b.Status == "approved":
		return page.Badge("approved", page.Good, "It may have campaigns")
	case b.Status == "failed":
		return page.Badge("refused", page.Bad, "The registry could not verify it")
	case b.Status == "pending":
		return page.Badge("with the registry", page.Busy, "The registry checks who you are")
	case b.RequestedAt != nil:
		return page.Badge("sent in", page.Busy, "Staff will file it with the registry")
	}
	return page.Badge("draft", page.Warn, "It is not sent in yet")
}

func (b *brandView) tone() page.Tone {
	switch {
	case b.Status == "failed":
		return page.Bad
	case b.Status == "unregistered" && b.RequestedAt == nil:
		return page.Warn
	}
	return page.Plain
}

// notice says what to know of it first.
func (b *brandView) notice() page.Notice {
	switch {
	case b.Status == "approved":
		return page.Notice{Tone: page.Good, Title: "The registry has approved it", Text: "Campaigns of it can be registered."}
	case b.Status == "failed":
		n := page.Notice{Tone: page.Bad, Title: "The registry refuses it", Text: deref(b.Failure), Lines: []string{"Most are refused because legal name and tax id do not match what the tax authority has. Compare them letter by letter, and ask support to file it once more, or register the brand anew."}}
		return n
	case b.Status == "pending":
		return page.Notice{Tone: page.Busy, Title: "The registry has it", Text: "It checks who you are; that takes minutes to days. There is nothing to do for you."}
	case b.RequestedAt != nil:
		return page.Notice{Tone: page.Busy, Title: "It is sent in", Text: "Staff will file it with the registry."}
	case len(b.ToComplete) > 0:
		return page.Notice{Tone: page.Warn, Title: "It is a draft", Text: fmt.Sprintf("%d things are missing or wrong before it can be sent in.", len(b.ToComplete))}
	}
	return page.Notice{Tone: page.Warn, Title: "It is a draft", Text: "Everything is there: look at it once more, and send it in."}
}

var entityTypes = map[string]string{
	registry.PrivateProfit: "a company that is not on a stock exchange", registry.PublicProfit: "a company on a stock exchange", registry.NonProfit: "a non-profit organisation", registry.Government: "a public authority of the US", registry.SoleProprietor: "a person without a company (no EIN)",
}

func options(none string, values []string, text func(string) string) []page.Option {
	out := []page.Option{{Text: none}}
	for _, value := range values {
		out = append(out, page.Option{Value: value, Text: text(value)})
	}
	return out
}

// brandSteps are the pages of its form. stored is what is kept of the tax id; empty: nothing.
func brandSteps(stored string) []step {
	company := registry.PrivateProfit + "|" + registry.PublicProfit + "|" + registry.NonProfit + "|" + registry.Government
	ein := "Nine digits in the US, such as 12-3456789. It is kept sealed."
	if stored != "" {
		ein = "Kept: " + stored + ". Empty leaves it so."
	}
	return []step{
		{"company", "Who you are", "As the tax authority has it: the registry compares letter by letter.", []page.Field{
			{Name: "name", Label: "Brand name", Required: true, Max: 255, Help: "The name that people know, such as Acme."},
			{Name: "entity_type", Label: "What it is", Kind: page.Choice, Options: options("choose one", registry.EntityTypes, func(s string) string { return entityTypes[s] })},
			{Name: "legal_name", Label: "Legal name", Max: 255, When: "entity_type=" + company, Help: "As in the letter of the tax authority (for an EIN: CP 575 or 147C), with Inc. or LLC."},
			{Name: "ein", Label: "Tax id (EIN)", Kind: page.Secret, Max: 32, When: "entity_type=" + company, Help: ein},
			{Name: "ein_issuing_country", Label: "Country of the tax id", Max: 2, Placeholder: "US", When: "entity_type=" + company, Help: "Two letters. Empty: the company's country."},
			{Name: "vertical", Label: "Industry", Kind: page.Choice, Options: options("choose one", registry.Verticals, words), When: "entity_type=" + company},
			{Name: "stock_symbol", Label: "Stock symbol", Max: 10, When: "entity_type=" + registry.PublicProfit},
			{Name: "stock_exchange", Label: "Stock exchange", Kind: page.Choice, Options: options("choose one", registry.Exchanges, func(s string) string { return s }), When: "entity_type=" + registry.PublicProfit},
			{Name: "first_name", Label: "First name", Max: 100, When: "entity_type=" + registry.SoleProprietor},
			{Name: "last_name", Label: "Last name", Max: 100, When: "entity_type=" + registry.SoleProprietor},
			{Name: "alt_business_id_type", Label: "Another id", Kind: page.Choice, Options: options("none", registry.AltBusinessIDs, func(s string) string { return s }), When: "entity_type=" + company, Help: "If the company has one; it helps to verify companies outside the US."},
			{Name: "alt_business_id", Label: "That id", Max: 50, When: "alt_business_id_type=DUNS|GIIN|LEI"}}},
		{"contact", "Where you are", "Where the company is, and how customers reach it.", []page.Field{
			{Name: "street", Label: "Street and number", Max: 100}, {Name: "city", Label: "City", Max: 100},
			{Name: "state", Label: "State", Max: 20, Placeholder: "CA", Help: "In the US its two capital letters."}, {Name: "postal_code", Label: "Postal code", Max: 10, Help: "In the US the ZIP code, 5 digits."},
			{Name: "country", Label: "Country", Max: 2, Placeholder: "US", Help: "Two capital letters."},
			{Name: "phone", Label: "Phone", Max: 32, Placeholder: "+12025550143", Help: "With its country code."}, {Name: "email", Label: "E-mail address", Kind: page.Email, Max: 100, Placeholder: "support@shop.example", Help: "At the company's domain if you can: it is checked."},
			{Name: "website", Label: "Website", Max: 100, Placeholder: "https://shop.example", Help: "It should show the brand's name, and the privacy policy."}}},
	}
}

func (v *visit) registrationCrumbs(more ...page.Link) []page.Link {
	return v.crumbs(append([]page.Link{{Text: "10DLC registration", Href: v.at("/registration")}}, more...)...)
}

func (v *visit) newBrand() (page.Page, error) {
	steps := brandSteps("")
	form := stepForm(&steps[0], v.at("/registration"))
	form.Fields = append(form.Fields, site.Key())
	show := func(before ...page.Block) (page.Page, error) {
		return page.Page{Title: "Register a brand", Lead: "Step 1 of 3: who you are. " + steps[0].lead, Crumbs: v.registrationCrumbs(page.Link{Text: "New brand"}), Body: append(before, form)}, nil
	}
	if !v.Post() {
		return show()
	}
	return v.Submit(site.Task{Form: form, Path: v.op("/brands"), Once: true, Instead: func(a *call.Answer) (page.Page, error) {
		return v.stepSaved(a, form, steps, 0, v.at("/brands"), show)
	}}, func() (page.Page, error) { return show() })
}

func (v *visit) brandStep() (page.Page, error) {
	path, base := v.op("/brands/"+v.param("brand")), v.at("/brands/"+v.param("brand"))
	var b brandView
	got, err := v.Do(call.Request{Path: path})
	if err != nil {
		return page.Page{}, err
	}
	if err := got.Into(&b); err != nil {
		return page.Page{}, err
	}
	steps := brandSteps(deref(b.EIN))
	at := stepAt(steps, v.Param("step"))
	if at < 0 {
		return v.Missing()
	}
	if b.Status != "unregistered" {
		return v.Redirect(base)
	}
	form := stepForm(&steps[at], base)
	show := func(before ...page.Block) (page.Page, error) {
		return page.Page{Title: b.Name, Lead: fmt.Sprintf("Step %d of %d: %s", at+1, len(steps)+1, steps[at].lead), Crumbs: v.registrationCrumbs(page.Link{Text: b.Name, Href: base}, page.Link{Text: steps[at].title}),
			Body: append(append([]page.Block{stepTabs(base, steps, at)}, before...), form)}, nil
	}
	if !v.Post() {
		form.ETag = got.ETag
		if err := form.Fill(got.Body); err != nil {
			return page.Page{}, err
		}
		if ein := form.Field("ein"); ein != nil {
			ein.Value = ""
		}
		if v.R.URL.Query().Get("check") != "" && say(form, &steps[at], b.ToComplete) {
			return show(stillMissing)
		}
		return show()
	}
	return v.Submit(site.Task{Form: form, Method: http.MethodPatch, Path: path, Instead: func(a *call.Answer) (page.Page, error) {
		return v.stepSaved(a, form, steps, at, v.at("/brands"), show)
	}}, func() (page.Page, error) { return show() })
}

func (v *visit) brand() (page.Page, error) { return v.brandPage(nil) }

func (v *visit) submitBrand() (page.Page, error) {
	return v.submitting(v.op("/brands/"+v.param("brand")), v.at("/brands/"+v.param("brand")), v.brandPage)
}

func (v *visit) brandPage(tried *page.Form) (page.Page, error) {
	var b brandView
	if err := v.Get(v.op("/brands/"+v.param("brand")), nil, &b); err != nil {
		return page.Page{}, err
	}
	base := v.at("/brands/" + v.param("brand"))
	steps := brandSteps(deref(b.EIN))
	p := page.Page{Title: b.Name, Crumbs: v.registrationCrumbs(page.Link{Text: b.Name}), Body: []page.Block{b.notice()}}
	draft := b.Status == "unregistered"
	if draft && v.Place.May(registryWrite) {
		p.Body = append([]page.Block{stepTabs(base, steps, len(steps))}, p.Body...)
		p.Actions = []page.Action{{Text: "Change", Href: base + "/" + steps[0].name}}
	}
	if v.Staff {
		p.Actions = append(p.Actions, page.Action{Text: "File and sync it", Href: v.At("/brands/" + v.param("brand"))})
	}
	if b.Status == "approved" && v.Place.May(registryWrite) {
		p.Actions = append(p.Actions, page.Action{Text: "Describe a campaign", Href: v.at("/campaigns/new?brand_id=" + url.QueryEscape(b.ID)), Main: true})
	}
	if len(b.ToComplete) > 0 {
		p.Body = append(p.Body, toDo(base, steps, b.ToComplete))
	}
	if draft {
		p.Body = append(p.Body, v.submission(base, tried, b.RequestedAt, b.ToComplete, "Staff file it with The Campaign Registry. From then on it cannot be changed here, and the registry takes a fee for each brand, whether it approves it or not.")...)
	}
	p.Body = append(p.Body, b.verdict(), b.company())
	return p, nil
}

// verdict is what the registry and the carriers say of it.
func (b *brandView) verdict() page.Block {
	used := page.None("None is known")
	if b.DailyCap != nil {
		used = page.Str(page.Grouped(int64(*b.DailyCap)))
		if b.UsedToday != nil {
			used = page.Str(page.Grouped(int64(*b.UsedToday)) + " of " + page.Grouped(int64(*b.DailyCap)))
		}
	}
	score := nump(b.Score, "It is not vetted: carriers take it for the lowest")
	if b.Class != nil {
		score.Sub = *b.Class
	}
	return page.Section{ID: "verdict", Title: "What the registry and the carriers say", Body: []page.Block{page.Facts{Items: []page.Fact{
		{Label: "State", Value: b.state()}, {Label: "Registry's id", Value: monop(b.BrandID)}, {Label: "Identity", Value: page.Str(words(deref(b.Identity))), Help: "How sure the registry is of who you are"},
		{Label: "Vetting score", Value: score, Help: "0 to 100, by an outside vetter; more lets you send more"}, {Label: "Vetted", Value: page.Whenp(b.VettedAt)}, {Label: "The vetting ends", Value: page.Whenp(b.VettingEnds)},
		{Label: "T-Mobile's tier", Value: page.Str(words(deref(b.Tier)))}, {Label: "T-Mobile's cap, used today", Value: used, Help: "Parts a day of the company, over all campaigns and vendors"}, {Label: "The day ends", Value: page.Whenp(b.ResetsAt), Help: "Midnight US Pacific time"},
		{Label: "Sent in", Value: page.Whenp(b.RequestedAt)}, {Label: "Filed", Value: page.Whenp(b.FiledAt), Help: "When the registry took it"}, {Label: "Why it was refused", Value: page.Strp(b.Failure)}}}}}
}

func (b *brandView) company() page.Block {
	address := page.Str(joined(", ", deref(b.Street), deref(b.City), joined(" ", deref(b.State), deref(b.PostalCode)), deref(b.Country)))
	items := []page.Fact{{Label: "What it is", Value: page.Str(entityTypes[deref(b.EntityType)])}, {Label: "Legal name", Value: page.Strp(b.LegalName)}, {Label: "Tax id", Value: monop(b.EIN), Help: "All but its last four characters are hidden"},
		{Label: "Country of the tax id", Value: page.Strp(b.EINCountry)}, {Label: "Industry", Value: page.Str(words(deref(b.Vertical)))}, {Label: "Address", Value: address}, {Label: "Phone", Value: page.Strp(b.Phone)}, {Label: "E-mail address", Value: page.Strp(b.Email)}, {Label: "Website", Value: page.Strp(b.Website)}}
	for _, f := range []page.Fact{{Label: "Name", Value: page.Str(joined(" ", deref(b.FirstName), deref(b.LastName)))}, {Label: "Stock", Value: page.Str(joined(" at ", deref(b.Symbol), deref(b.Exchange)))}, {Label: "Another id", Value: page.Str(joined(" ", deref(b.AltType), deref(b.AltID)))}} {
		if f.Value.Kind != "none" {
			items = append(items, f)
		}
	}
	return page.Section{ID: "company", Title: "The company", Body: []page.Block{page.Facts{Items: items}}}
}
