package rest

import (
	"errors"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/registry"
)

// brandResource is a brand as its account sees it.
type brandResource struct {
	_                 struct{} `json:"-" additionalProperties:"true"`
	ID                string   `json:"id" format:"uuid" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	BrandID           *string  `json:"brand_id" doc:"The registry's id; null until it is registered" example:"BA1B2C3"`
	Name              string   `json:"name" example:"Acme"`
	Status            string   `json:"status" enum:"unregistered,pending,approved,failed" doc:"unregistered can be changed; approved can have campaigns"`
	IdentityStatus    *string  `json:"identity_status" doc:"The registry's word" example:"VERIFIED"`
	VettingScore      *int     `json:"vetting_score" doc:"0 to 100; null: not vetted"`
	VettingClass      *string  `json:"vetting_class"`
	VettedAt          *string  `json:"vetted_at" format:"date-time"`
	VettingExpiresAt  *string  `json:"vetting_expires_at" format:"date-time"`
	Tier              *string  `json:"tier" doc:"T-Mobile's" example:"LOW"`
	DailyCap          *int     `json:"daily_cap" doc:"Parts that T-Mobile takes a day of the company, over all vendors; null: none is known"`
	UsedToday         *int     `json:"used_today" doc:"Of daily_cap, as far as it is counted here; null in lists"`
	ResetsAt          *string  `json:"resets_at" format:"date-time" doc:"When the day ends: midnight US Pacific time"`
	EntityType        *string  `json:"entity_type"`
	LegalName         *string  `json:"legal_name"`
	FirstName         *string  `json:"first_name"`
	LastName          *string  `json:"last_name"`
	EIN               *string  `json:"ein" doc:"All but its last four characters are hidden" example:"*****6789"`
	EINIssuingCountry *string  `json:"ein_issuing_country"`
	Phone             *string  `json:"phone"`
	Email             *string  `json:"email"`
	Website           *string  `json:"website"`
	Street            *string  `json:"street"`
	City              *string  `json:"city"`
	State             *string  `json:"state"`
	PostalCode        *string  `json:"postal_code"`
	Country           *string  `json:"country"`
	Vertical          *string  `json:"vertical"`
	StockSymbol       *string  `json:"stock_symbol"`
	StockExchange     *string  `json:"stock_exchange"`
	AltBusinessID     *string  `json:"alt_business_id"`
	AltBusinessIDType *string  `json:"alt_business_id_type"`
	Failure           *string  `json:"failure" doc:"Why the registry refuses it"`

	ToComplete []fieldProblem `json:"to_complete" nullable:"false" doc:"Of a draft: what submit would be refused for as it is"`

	RequestedAt *string `json:"requested_at" format:"date-time" doc:"When its registration was asked for; null: it was not"`
	FiledAt     *string `json:"filed_at" format:"date-time" doc:"When the registry took it"`
	CreatedAt   string  `json:"created_at" format:"date-time"`
	UpdatedAt   string  `json:"updated_at" format:"date-time"`
}

func brandOf(b *registry.Brand) brandResource {
	r := brandResource{
		ID: b.ID.String(), BrandID: optional(b.BrandID), Name: b.Name, Status: string(b.Status), IdentityStatus: optional(b.IdentityStatus),
		VettingClass: optional(b.VettingClass), VettedAt: optionalTime(b.VettedAt), VettingExpiresAt: optionalTime(b.VettingExpiresAt), Tier: optional(b.Tier),
		DailyCap: capOf(b.DailyCap), EntityType: optional(b.EntityType), LegalName: optional(b.LegalName), FirstName: optional(b.FirstName),
		LastName: optional(b.LastName), EINIssuingCountry: optional(b.TaxIDCountry), Phone: optional(b.Phone), Email: optional(b.Email),
		Website: optional(b.Website), Street: optional(b.Street), City: optional(b.City), State: optional(b.State), PostalCode: optional(b.PostalCode),
		Country: optional(b.Country), Vertical: optional(b.Vertical), StockSymbol: optional(b.StockSymbol), StockExchange: optional(b.StockExchange),
		AltBusinessID: optional(b.AltBusinessID), AltBusinessIDType: optional(b.AltBusinessIDType), Failure: optional(b.Failure),
		RequestedAt: optionalTime(b.RequestedAt), FiledAt: optionalTime(b.FiledAt), CreatedAt: stamp(b.CreatedAt), UpdatedAt: stamp(b.UpdatedAt),
	}
	r.ToComplete = toComplete(b.Status == registry.BrandUnregistered, b.RequestedAt, b.Check)
	if b.VettingScore >= 0 {
		r.VettingScore = &b.VettingScore
	}
	if b.TaxIDShown != "" {
		r.EIN = optional("*****" + b.TaxIDShown)
	}
	return r
}

// toComplete is what stands against the registration of a draft for which it was not asked.
func toComplete(draft bool, requested time.Time, check func() error) []fieldProblem {
	out := []fieldProblem{}
	if !draft || !requested.IsZero() {
		return out
	}
	var refused *message.Error
	if errors.As(check(), &refused) {
		for _, f := range refused.Fields {
			out = append(out, fieldProblem{Location: f.Location, Message: f.Message})
		}
	}
	return out
}

// capOf is the least of the caps there are, nil if there is none.
func capOf(caps ...int) *int {
	least := 0
	for _, c := range caps {
		if c > 0 && (least == 0 || c < least) {
			least = c
		}
	}
	if least == 0 {
		return nil
	}
	return &least
}

type carrierResource struct {
	_       struct{} `json:"-" additionalProperties:"true"`
	Network string   `json:"network" example:"AT&T"`
	Status  *string  `json:"status" enum:"review,approved,rejected,suspended" doc:"null: the carrier has not said"`
	TPM     *int     `json:"tpm" doc:"SMS parts a minute that it reports"`
}

func carriersOf(list []registry.Carrier) []carrierResource {
	out := make([]carrierResource, 0, len(list))
	for _, k := range list {
		out = append(out, carrierResource{Network: k.Network, Status: optional(k.Status), TPM: capOf(k.TPM)})
	}
	return out
}

// campaignResource is a campaign as its account sees it.
type campaignResource struct {
	_                  struct{}          `json:"-" additionalProperties:"true"`
	ID                 string            `json:"id" format:"uuid" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	CampaignID         *string           `json:"campaign_id" doc:"The registry's id; null until it is filed" example:"C8X2KQ1"`
	BrandID            *string           `json:"brand_id" format:"uuid" doc:"The brand's id here"`
	Status             string            `json:"status" enum:"draft,pending,active,suspended,rejected,expired" doc:"Only active ones send"`
	UseCase            string            `json:"use_case" example:"ACCOUNT_NOTIFICATION"`
	SubUseCases        []string          `json:"sub_use_cases" nullable:"false"`
	Description        *string           `json:"description"`
	MessageFlow        *string           `json:"message_flow"`
	SampleMessages     []string          `json:"sample_messages" nullable:"false"`
	OptInKeywords      []string          `json:"optin_keywords" nullable:"false"`
	OptOutKeywords     []string          `json:"optout_keywords" nullable:"false"`
	HelpKeywords       []string          `json:"help_keywords" nullable:"false"`
	StartReply         *string           `json:"start_reply"`
	StopReply          *string           `json:"stop_reply"`
	HelpReply          *string           `json:"help_reply"`
	EmbeddedLink       bool              `json:"embedded_link"`
	EmbeddedPhone      bool              `json:"embedded_phone"`
	NumberPool         bool              `json:"number_pool"`
	AgeGated           bool              `json:"age_gated"`
	DirectLending      bool              `json:"direct_lending"`
	AffiliateMarketing bool              `json:"affiliate_marketing"`
	SubscriberOptIn    bool              `json:"subscriber_optin"`
	SubscriberOptOut   bool              `json:"subscriber_optout"`
	SubscriberHelp     bool              `json:"subscriber_help"`
	AutoRenewal        bool              `json:"auto_renewal"`
	PhoneNumbers       []string          `json:"phone_numbers" nullable:"false" doc:"At most 1,000 of them are shown"`
	ThroughputLimit    *int              `json:"throughput_limit" doc:"SMS parts a minute; null: none is known"`
	MMSThroughputLimit *int              `json:"mms_throughput_limit"`
	PerNumber          bool              `json:"per_number" doc:"Both are each number's"`
	DailyCap           *int              `json:"daily_cap" doc:"Of the campaign alone; the brand's holds as well"`
	Carriers           []carrierResource `json:"carriers" nullable:"false"`
	Failure            *string           `json:"failure" doc:"Why the registry refuses it"`
	ToComplete         []fieldProblem    `json:"to_complete" nullable:"false" doc:"Of a draft: what submit would be refused for as it is"`
	RequestedAt        *string           `json:"requested_at" format:"date-time" doc:"When its registration was asked for; null: it was not"`
	TCRSubmissionDate  *string           `json:"tcr_submission_date" doc:"When the registry took it" example:"2026-11-21"`
	TCRApprovalDate    *string           `json:"tcr_approval_date" doc:"When it first became active"`
	CreatedAt          string            `json:"created_at" format:"date-time"`
	UpdatedAt          string            `json:"updated_at" format:"date-time"`
}

func campaignOf(c *registry.Campaign) campaignResource {
	return campaignResource{
		ID: c.ID.String(), CampaignID: optional(c.CampaignID), BrandID: optionalID(c.Brand), Status: string(c.Status), UseCase: c.UseCase,
		SubUseCases: orEmpty(c.SubUseCases), Description: optional(c.Description), MessageFlow: optional(c.MessageFlow), SampleMessages: orEmpty(c.Samples),
		OptInKeywords: orEmpty(c.OptInKeywords), OptOutKeywords: orEmpty(c.OptOutKeywords), HelpKeywords: orEmpty(c.HelpKeywords),
		StartReply: optional(c.StartReply), StopReply: optional(c.StopReply), HelpReply: optional(c.HelpReply),
		EmbeddedLink: c.EmbeddedLink, EmbeddedPhone: c.EmbeddedPhone, NumberPool: c.NumberPool, AgeGated: c.AgeGated, DirectLending: c.DirectLending,
		AffiliateMarketing: c.AffiliateMarketing, SubscriberOptIn: c.SubscriberOptIn, SubscriberOptOut: c.SubscriberOptOut,
		SubscriberHelp: c.SubscriberHelp, AutoRenewal: c.AutoRenewal, PhoneNumbers: numbersOf(c.Numbers),
		ThroughputLimit: capOf(c.Throughput), MMSThroughputLimit: capOf(c.MMSThroughput), PerNumber: c.PerNumber, DailyCap: capOf(c.DailyCap),
		Carriers: carriersOf(c.Carriers), Failure: optional(c.Failure), RequestedAt: optionalTime(c.RequestedAt),
		ToComplete:        toComplete(c.Status == registry.Draft, c.RequestedAt, c.Check),
		TCRSubmissionDate: optionalDate(c.FiledAt), TCRApprovalDate: optionalDate(c.ApprovedAt), CreatedAt: stamp(c.CreatedAt), UpdatedAt: stamp(c.UpdatedAt),
	}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func numbersOf(list []message.Address) []string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = string(n)
	}
	return out
}

func optionalDate(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return optional(t.UTC().Format(time.DateOnly))
}

// campaignStatusResource is what there is to know of whether a campaign may send,
// and how much.
type campaignStatusResource struct {
	_               struct{}          `json:"-" additionalProperties:"true"`
	ID              string            `json:"id" format:"uuid"`
	CampaignID      *string           `json:"campaign_id" example:"C8X2KQ1"`
	Status          string            `json:"status" enum:"draft,pending,active,suspended,rejected,expired"`
	Detail          string            `json:"detail" doc:"What it waits for, in a sentence"`
	BrandStatus     *string           `json:"brand_status" enum:"unregistered,pending,approved,failed"`
	Carriers        []carrierResource `json:"carriers" nullable:"false"`
	ThroughputLimit *int              `json:"throughput_limit"`
	DailyCap        *int              `json:"daily_cap" doc:"Parts a day: the least of the brand's and the campaign's"`
	UsedToday       *int              `json:"used_today" doc:"Of daily_cap, as far as it is counted here"`
	ResetsAt        *string           `json:"resets_at" format:"date-time"`
	Failure         *string           `json:"failure"`
}

func campaignStatusOf(c *registry.Campaign) campaignStatusResource {
	return campaignStatusResource{ID: c.ID.String(), CampaignID: optional(c.CampaignID), Status: string(c.Status), Detail: c.Explain(),
		Carriers: carriersOf(c.Carriers), ThroughputLimit: capOf(c.Throughput), DailyCap: capOf(c.DailyCap), Failure: optional(c.Failure)}
}
