package rest

import (
	"fmt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/secret"
)

// What POST and PATCH of registrations take, as the document shows it. A member that
// is left out changes nothing, null empties a text or a list. What the values must
// be is decided in package registry.

type brandBody struct {
	Name              *string `json:"name,omitempty" maxLength:"255" doc:"The name that people know. Needed from the start." example:"Acme"`
	EntityType        *string `json:"entity_type,omitempty" enum:"PRIVATE_PROFIT,PUBLIC_PROFIT,NON_PROFIT,GOVERNMENT,SOLE_PROPRIETOR"`
	LegalName         *string `json:"legal_name,omitempty" maxLength:"255" doc:"As the tax authority has it" example:"Acme Inc."`
	FirstName         *string `json:"first_name,omitempty" maxLength:"100" doc:"Of a sole proprietor"`
	LastName          *string `json:"last_name,omitempty" maxLength:"100"`
	EIN               *string `json:"ein,omitempty" maxLength:"32" doc:"The tax id. It is kept sealed and shown by its last four characters." example:"12-3456789"`
	EINIssuingCountry *string `json:"ein_issuing_country,omitempty" maxLength:"2" doc:"Left out: country" example:"US"`
	Phone             *string `json:"phone,omitempty" maxLength:"32" example:"+12025550143"`
	Email             *string `json:"email,omitempty" maxLength:"100" example:"support@acme.example"`
	Website           *string `json:"website,omitempty" maxLength:"100" example:"https://acme.example"`
	Street            *string `json:"street,omitempty" maxLength:"100"`
	City              *string `json:"city,omitempty" maxLength:"100"`
	State             *string `json:"state,omitempty" maxLength:"20" doc:"In the US its two letters" example:"IL"`
	PostalCode        *string `json:"postal_code,omitempty" maxLength:"10" example:"62701"`
	Country           *string `json:"country,omitempty" maxLength:"2" example:"US"`
	Vertical          *string `json:"vertical,omitempty" doc:"The registry's word for the industry" example:"RETAIL"`
	StockSymbol       *string `json:"stock_symbol,omitempty" maxLength:"10" doc:"Of a public company"`
	StockExchange     *string `json:"stock_exchange,omitempty" example:"NASDAQ"`
	AltBusinessID     *string `json:"alt_business_id,omitempty" maxLength:"50"`
	AltBusinessIDType *string `json:"alt_business_id_type,omitempty" enum:"DUNS,GIIN,LEI"`
	Submit            *bool   `json:"submit,omitempty" doc:"true: ask for registration, for which everything must be there; false: not yet"`
}

// texts are the members that are a line of text.
func (in *brandBody) texts() map[string]**string {
	return map[string]**string{
		"name": &in.Name, "entity_type": &in.EntityType, "legal_name": &in.LegalName, "first_name": &in.FirstName, "last_name": &in.LastName,
		"ein": &in.EIN, "ein_issuing_country": &in.EINIssuingCountry, "phone": &in.Phone, "email": &in.Email, "website": &in.Website,
		"street": &in.Street, "city": &in.City, "state": &in.State, "postal_code": &in.PostalCode, "country": &in.Country, "vertical": &in.Vertical,
		"stock_symbol": &in.StockSymbol, "stock_exchange": &in.StockExchange, "alt_business_id": &in.AltBusinessID, "alt_business_id_type": &in.AltBusinessIDType,
	}
}

func decodeBrand(text []byte) (*brandBody, int, *message.Error) {
	in := &brandBody{}
	members := in.texts()
	d, err := decodeObject(text, func(d *decoder, name, location string) (bool, error) {
		if name == "submit" {
			return true, d.flag(location, &in.Submit)
		}
		into, known := members[name]
		if !known {
			return false, nil
		}
		return true, d.merged(location, into, oneLine)
	})
	if err != nil {
		return in, 400, unreadable(err)
	}
	return in, 0, d.refusal()
}

func asksOf(submit *bool) registry.Asks {
	switch {
	case submit == nil:
		return registry.AsBefore
	case *submit:
		return registry.AskFor
	}
	return registry.TakeBack
}

func (in *brandBody) asks() registry.Asks { return asksOf(in.Submit) }

// apply sets what the body has.
func (in *brandBody) apply(b *registry.Brand) {
	for _, f := range []struct{ from, to *string }{
		{in.Name, &b.Name}, {in.EntityType, &b.EntityType}, {in.LegalName, &b.LegalName}, {in.FirstName, &b.FirstName}, {in.LastName, &b.LastName},
		{in.EINIssuingCountry, &b.TaxIDCountry}, {in.Phone, &b.Phone}, {in.Email, &b.Email}, {in.Website, &b.Website}, {in.Street, &b.Street},
		{in.City, &b.City}, {in.State, &b.State}, {in.PostalCode, &b.PostalCode}, {in.Country, &b.Country}, {in.Vertical, &b.Vertical},
		{in.StockSymbol, &b.StockSymbol}, {in.StockExchange, &b.StockExchange}, {in.AltBusinessID, &b.AltBusinessID}, {in.AltBusinessIDType, &b.AltBusinessIDType},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if in.EIN != nil {
		b.TaxID, b.TaxIDShown = secret.Conceal(*in.EIN), ""
	}
}

type campaignBody struct {
	BrandID            *string   `json:"brand_id,omitempty" format:"uuid" doc:"The brand's id here. It, use_case and what is under them cannot be changed once the campaign is filed." example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	UseCase            *string   `json:"use_case,omitempty" doc:"The registry's word. Needed from the start." example:"ACCOUNT_NOTIFICATION"`
	SubUseCases        *[]string `json:"sub_use_cases,omitempty" maxItems:"5" nullable:"false" doc:"2 to 5 of MIXED"`
	Description        *string   `json:"description,omitempty" maxLength:"4096" doc:"Who sends what to whom, and why; at least 40 characters when it is submitted"`
	MessageFlow        *string   `json:"message_flow,omitempty" maxLength:"4096" doc:"How people come to opt in; at least 40 characters when it is submitted"`
	SampleMessages     *[]string `json:"sample_messages,omitempty" maxItems:"5" nullable:"false"`
	OptInKeywords      *[]string `json:"optin_keywords,omitempty" maxItems:"20" nullable:"false" example:"[\"START\"]"`
	OptOutKeywords     *[]string `json:"optout_keywords,omitempty" maxItems:"20" nullable:"false" example:"[\"STOP\"]"`
	HelpKeywords       *[]string `json:"help_keywords,omitempty" maxItems:"20" nullable:"false" example:"[\"HELP\"]"`
	StartReply         *string   `json:"start_reply,omitempty" maxLength:"320" doc:"What START is answered with; can be changed at any time"`
	StopReply          *string   `json:"stop_reply,omitempty" maxLength:"320" doc:"What STOP is answered with; can be changed at any time"`
	HelpReply          *string   `json:"help_reply,omitempty" maxLength:"320" doc:"What HELP is answered with; can be changed at any time"`
	EmbeddedLink       *bool     `json:"embedded_link,omitempty" doc:"Messages have links"`
	EmbeddedPhone      *bool     `json:"embedded_phone,omitempty" doc:"Messages have phone numbers"`
	NumberPool         *bool     `json:"number_pool,omitempty" doc:"50 numbers or more, which T-Mobile must approve"`
	AgeGated           *bool     `json:"age_gated,omitempty"`
	DirectLending      *bool     `json:"direct_lending,omitempty"`
	AffiliateMarketing *bool     `json:"affiliate_marketing,omitempty"`
	SubscriberOptIn    *bool     `json:"subscriber_optin,omitempty" doc:"Left out: true, as those below"`
	SubscriberOptOut   *bool     `json:"subscriber_optout,omitempty"`
	SubscriberHelp     *bool     `json:"subscriber_help,omitempty"`
	AutoRenewal        *bool     `json:"auto_renewal,omitempty"`
	Submit             *bool     `json:"submit,omitempty" doc:"true: ask for registration, for which everything must be there; false: not yet"`

	brand message.ID // BrandID, read; zero after null
}

func (in *campaignBody) flags() map[string]**bool {
	return map[string]**bool{
		"embedded_link": &in.EmbeddedLink, "embedded_phone": &in.EmbeddedPhone, "number_pool": &in.NumberPool, "age_gated": &in.AgeGated,
		"direct_lending": &in.DirectLending, "affiliate_marketing": &in.AffiliateMarketing, "subscriber_optin": &in.SubscriberOptIn,
		"subscriber_optout": &in.SubscriberOptOut, "subscriber_help": &in.SubscriberHelp, "auto_renewal": &in.AutoRenewal, "submit": &in.Submit,
	}
}

func (in *campaignBody) lists() map[string]**[]string {
	return map[string]**[]string{"sub_use_cases": &in.SubUseCases, "sample_messages": &in.SampleMessages, "optin_keywords": &in.OptInKeywords,
		"optout_keywords": &in.OptOutKeywords, "help_keywords": &in.HelpKeywords}
}

func (in *campaignBody) texts() map[string]**string {
	return map[string]**string{"brand_id": &in.BrandID, "use_case": &in.UseCase, "description": &in.Description, "message_flow": &in.MessageFlow,
		"start_reply": &in.StartReply, "stop_reply": &in.StopReply, "help_reply": &in.HelpReply}
}

// maxListed bounds a list before the rules of package registry look at it.
const maxListed = 50

func decodeCampaign(text []byte) (*campaignBody, int, *message.Error) {
	in := &campaignBody{}
	flags, lists, texts := in.flags(), in.lists(), in.texts()
	d, err := decodeObject(text, func(d *decoder, name, location string) (bool, error) {
		if into, known := flags[name]; known {
			return true, d.flag(location, into)
		}
		if into, known := lists[name]; known {
			return true, d.texts(location, into, maxListed)
		}
		if into, known := texts[name]; known {
			return true, d.merged(location, into, lines)
		}
		return false, nil
	})
	if err != nil {
		return in, 400, unreadable(err)
	}
	if in.BrandID != nil && *in.BrandID != "" {
		if in.brand, err = message.ParseID(*in.BrandID); err != nil {
			d.invalid("body.brand_id", "must be the id of a brand of GET /v1/brands")
		}
	}
	return in, 0, d.refusal()
}

func (in *campaignBody) asks() registry.Asks { return asksOf(in.Submit) }

// apply sets what the body has.
func (in *campaignBody) apply(c *registry.Campaign) {
	if in.BrandID != nil {
		c.Brand = in.brand
	}
	for _, f := range []struct{ from, to *string }{{in.UseCase, &c.UseCase}, {in.Description, &c.Description}, {in.MessageFlow, &c.MessageFlow},
		{in.StartReply, &c.StartReply}, {in.StopReply, &c.StopReply}, {in.HelpReply, &c.HelpReply}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	for _, f := range []struct{ from, to *[]string }{{in.SubUseCases, &c.SubUseCases}, {in.SampleMessages, &c.Samples}, {in.OptInKeywords, &c.OptInKeywords},
		{in.OptOutKeywords, &c.OptOutKeywords}, {in.HelpKeywords, &c.HelpKeywords}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	for _, f := range []struct{ from, to *bool }{{in.EmbeddedLink, &c.EmbeddedLink}, {in.EmbeddedPhone, &c.EmbeddedPhone}, {in.NumberPool, &c.NumberPool},
		{in.AgeGated, &c.AgeGated}, {in.DirectLending, &c.DirectLending}, {in.AffiliateMarketing, &c.AffiliateMarketing},
		{in.SubscriberOptIn, &c.SubscriberOptIn}, {in.SubscriberOptOut, &c.SubscriberOptOut}, {in.SubscriberHelp, &c.SubscriberHelp}, {in.AutoRenewal, &c.AutoRenewal}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
}

// merged reads a string of a merge patch: null empties what there is.
func (d *decoder) merged(location string, into **string, allow layout) error {
	var s string
	if null, err := d.null(); null || err != nil {
		*into = &s
		return err
	}
	before := len(d.list)
	if err := d.text(location, &s, allow); err != nil || len(d.list) > before {
		return err
	}
	*into = &s
	return nil
}

// texts reads an array of at most so many strings; null is an empty one.
func (d *decoder) texts(location string, into **[]string, most int) error {
	list := []string{}
	if null, err := d.null(); null || err != nil {
		*into = &list
		return err
	}
	if d.peek() != '[' {
		d.invalid(location, `must be an array of strings, such as ["STOP"]`)
		return d.skip()
	}
	n := 0
	err := d.array(func() error {
		place := fmt.Sprintf("%s[%d]", location, n)
		if n++; n > most {
			if n == most+1 {
				d.invalid(location, "has more than %d elements", most)
			}
			return d.skip()
		}
		if null, err := d.null(); null || err != nil {
			d.invalid(place, "must be a string, not null")
			return err
		}
		var s string
		if err := d.text(place, &s, lines); err != nil {
			return err
		}
		list = append(list, s)
		return nil
	})
	if err == nil {
		*into = &list
	}
	return err
}
