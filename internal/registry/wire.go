package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The shapes of The Campaign Registry's CSP API, version 2, as its OpenAPI document
// has them in the copies that are public. Members that are not used are left out;
// the registry adds some now and then, so unknown ones are ignored.

// brandRequest is the body of POST /brand/nonBlocking.
type brandRequest struct {
	EntityType        string `json:"entityType"`
	DisplayName       string `json:"displayName"`
	CompanyName       string `json:"companyName,omitempty"`
	FirstName         string `json:"firstName,omitempty"`
	LastName          string `json:"lastName,omitempty"`
	EIN               string `json:"ein,omitempty"`
	EINIssuingCountry string `json:"einIssuingCountry,omitempty"`
	Phone             string `json:"phone"`
	Street            string `json:"street"`
	City              string `json:"city"`
	State             string `json:"state"`
	PostalCode        string `json:"postalCode"`
	Country           string `json:"country"`
	Email             string `json:"email"`
	StockSymbol       string `json:"stockSymbol,omitempty"`
	StockExchange     string `json:"stockExchange,omitempty"`
	Website           string `json:"website,omitempty"`
	BrandRelationship string `json:"brandRelationship"`
	Vertical          string `json:"vertical,omitempty"`
	AltBusinessID     string `json:"altBusinessId,omitempty"`
	AltBusinessIDType string `json:"altBusinessIdType,omitempty"`
	ReferenceID       string `json:"referenceId"`
}

// campaignRequest is the body of POST /campaignBuilder.
type campaignRequest struct {
	BrandID            string   `json:"brandId"`
	Usecase            string   `json:"usecase"`
	SubUsecases        []string `json:"subUsecases,omitempty"`
	Description        string   `json:"description"`
	MessageFlow        string   `json:"messageFlow"`
	Sample1            string   `json:"sample1,omitempty"`
	Sample2            string   `json:"sample2,omitempty"`
	Sample3            string   `json:"sample3,omitempty"`
	Sample4            string   `json:"sample4,omitempty"`
	Sample5            string   `json:"sample5,omitempty"`
	OptinKeywords      string   `json:"optinKeywords,omitempty"`
	OptinMessage       string   `json:"optinMessage,omitempty"`
	OptoutKeywords     string   `json:"optoutKeywords,omitempty"`
	OptoutMessage      string   `json:"optoutMessage,omitempty"`
	HelpKeywords       string   `json:"helpKeywords,omitempty"`
	HelpMessage        string   `json:"helpMessage,omitempty"`
	EmbeddedLink       bool     `json:"embeddedLink"`
	EmbeddedPhone      bool     `json:"embeddedPhone"`
	NumberPool         bool     `json:"numberPool"`
	AgeGated           bool     `json:"ageGated"`
	DirectLending      bool     `json:"directLending"`
	AffiliateMarketing bool     `json:"affiliateMarketing"`
	SubscriberOptin    bool     `json:"subscriberOptin"`
	SubscriberOptout   bool     `json:"subscriberOptout"`
	SubscriberHelp     bool     `json:"subscriberHelp"`
	AutoRenewal        bool     `json:"autoRenewal"`
	TermsAndConditions bool     `json:"termsAndConditions"`
	ReferenceID        string   `json:"referenceId"`
}

// brandAnswer is what there is to know of a brand.
type brandAnswer struct {
	BrandID            string         `json:"brandId"`
	ReferenceID        string         `json:"referenceId"`
	Status             string         `json:"status"`
	IdentityStatus     string         `json:"identityStatus"`
	OptionalAttributes map[string]any `json:"optionalAttributes"`
}

// vettingAnswer is an element of GET /brand/{brandId}/externalVetting.
type vettingAnswer struct {
	Score  *int   `json:"vettingScore"`
	Class  string `json:"vettingClass"`
	Status string `json:"vettingStatus"`
	Date   string `json:"vettedDate"`
}

// vettingStands is how long a vetting holds. The registry does not report its end.
const vettingStands = 365 * 24 * time.Hour

type campaignAnswer struct {
	CampaignID  string `json:"campaignId"`
	ReferenceID string `json:"referenceId"`
	Status      string `json:"status"`
}

// page is a page of a list.
type page[T any] struct {
	Records []T `json:"records"`
}

// metadata is what GET /campaign/{campaignId}/mnoMetadata has for a network. The
// figures come as numbers or as text.
type metadata struct {
	Network   string `json:"mno"`
	Class     string `json:"msgClass"`
	TPM       figure `json:"tpm"`
	MMSTPM    figure `json:"mmsTpm"`
	BrandTier string `json:"brandTier"`
	Surcharge figure `json:"surcharge"`
	Status    string `json:"mnoStatus"`
}

// figure is a number or a text with one.
type figure string

// UnmarshalJSON takes what it is given; what is neither is no figure.
func (f *figure) UnmarshalJSON(b []byte) error {
	*f = ""
	s := strings.Trim(string(bytes.TrimSpace(b)), `"`)
	if _, err := strconv.ParseFloat(s, 64); err == nil && len(s) <= 20 {
		*f = figure(s)
	}
	return nil
}

func (f figure) whole() int {
	v, err := strconv.ParseFloat(string(f), 64)
	if err != nil || v < 0 || v > 1e9 {
		return 0
	}
	return int(v)
}

// word is a status that comes bare or inside an object.
type word string

// UnmarshalJSON takes both.
func (w *word) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*w = word(s)
		return nil
	}
	var o struct{ Status, MnoStatus, OperationStatus string }
	if json.Unmarshal(b, &o) == nil { // names are matched whatever their case
		*w = word(cmp.Or(o.MnoStatus, o.OperationStatus, o.Status))
	}
	return nil
}

// networks are the carriers' names by network id, for where the registry has none.
var networks = map[int]string{ATT: "AT&T", TMobile: "T-Mobile"}

func (h *HTTP) RegisterBrand(ctx context.Context, b *Brand, reference string) (string, error) {
	body := brandRequest{EntityType: b.EntityType, DisplayName: b.Name, CompanyName: b.LegalName, FirstName: b.FirstName, LastName: b.LastName,
		EIN: TaxIDPlain(b.TaxID.Reveal()), EINIssuingCountry: b.TaxIDCountry, Phone: b.Phone, Street: b.Street, City: b.City, State: b.State,
		PostalCode: b.PostalCode, Country: b.Country, Email: b.Email, StockSymbol: b.StockSymbol, StockExchange: b.StockExchange,
		Website: b.Website, BrandRelationship: "BASIC_ACCOUNT", Vertical: b.Vertical, AltBusinessID: b.AltBusinessID,
		AltBusinessIDType: b.AltBusinessIDType, ReferenceID: reference}
	var made brandAnswer
	if err := h.call(ctx, "register_brand", http.MethodPost, "/brand/nonBlocking", body, &made); err != nil {
		return "", err
	}
	if made.BrandID == "" {
		return "", lost("register_brand", fmt.Errorf("the answer has no brandId"))
	}
	return made.BrandID, nil
}

func (h *HTTP) FindBrand(ctx context.Context, reference string) (string, error) {
	var found page[brandAnswer]
	if err := h.read(ctx, "find_brand", "/brand?recordsPerPage=10&page=1&referenceId="+url.QueryEscape(reference), &found); err != nil {
		return "", err
	}
	for _, b := range found.Records {
		// A registry that did not know the filter would list all brands.
		if strings.EqualFold(b.ReferenceID, reference) {
			return b.BrandID, nil
		}
	}
	return "", nil
}

func (h *HTTP) Brand(ctx context.Context, brandID string) (BrandState, error) {
	var b brandAnswer
	path := "/brand/" + url.PathEscape(brandID)
	if err := h.read(ctx, "brand", path, &b); err != nil {
		return BrandState{}, err
	}
	s := BrandState{BrandID: brandID, Status: brandStatusOf(b.Status, b.IdentityStatus), IdentityStatus: b.IdentityStatus, Score: -1}
	if v, ok := b.OptionalAttributes["russell3000"]; ok {
		s.Russell3000 = v == true || strings.EqualFold(fmt.Sprint(v), "true")
	}
	var vettings []vettingAnswer
	if err := h.read(ctx, "vetting", path+"/externalVetting", &vettings); err != nil {
		return BrandState{}, err
	}
	s.vetted(vettings)
	if s.Status == BrandFailed {
		var err error
		if s.Failure, err = h.feedback(ctx, brandID); err != nil {
			return BrandState{}, err
		}
	}
	return s, nil
}

// vetted takes the newest vetting that gave a score.
func (s *BrandState) vetted(list []vettingAnswer) {
	for _, v := range list {
		if v.Score == nil || *v.Score < 0 || *v.Score > 100 || strings.EqualFold(v.Status, "FAILED") || strings.EqualFold(v.Status, "EXPIRED") {
			continue
		}
		at, err := time.Parse(time.RFC3339, v.Date)
		if err != nil {
			at, err = time.Parse(time.DateOnly, v.Date)
		}
		if err != nil || s.Score >= 0 && at.Before(s.VettedAt) {
			continue // without its date a vetting is not complete
		}
		s.Score, s.Class, s.VettedAt, s.ExpiresAt = *v.Score, v.Class, at.UTC(), at.UTC().Add(vettingStands)
	}
}

// feedback is why a brand could not be verified.
func (h *HTTP) feedback(ctx context.Context, brandID string) (string, error) {
	var answer struct {
		Category []struct {
			DisplayName string   `json:"displayName"`
			Description string   `json:"description"`
			Fields      []string `json:"fields"`
		} `json:"category"`
	}
	if err := h.read(ctx, "feedback", "/brand/feedback/"+url.PathEscape(brandID), &answer); err != nil {
		return "", err
	}
	var says []string
	for _, c := range answer.Category {
		if len(says) == maxErrors {
			break
		}
		text := clip(cmp.Or(c.Description, c.DisplayName))
		for _, f := range c.Fields {
			if ours := ourField(f); ours != "" {
				text += " (" + ours + ")"
			}
		}
		says = append(says, text)
	}
	return strings.Join(says, "; "), nil
}

func (h *HTTP) SubmitCampaign(ctx context.Context, c *Campaign, brandID, reference string) (string, error) {
	samples := append(slices.Clone(c.Samples), make([]string, maxSamples)...)
	body := campaignRequest{BrandID: brandID, Usecase: c.UseCase, SubUsecases: c.SubUseCases, Description: c.Description, MessageFlow: c.MessageFlow,
		Sample1: samples[0], Sample2: samples[1], Sample3: samples[2], Sample4: samples[3], Sample5: samples[4],
		OptinKeywords: strings.Join(c.OptInKeywords, ","), OptinMessage: c.StartReply,
		OptoutKeywords: strings.Join(c.OptOutKeywords, ","), OptoutMessage: c.StopReply,
		HelpKeywords: strings.Join(c.HelpKeywords, ","), HelpMessage: c.HelpReply,
		EmbeddedLink: c.EmbeddedLink, EmbeddedPhone: c.EmbeddedPhone, NumberPool: c.NumberPool, AgeGated: c.AgeGated,
		DirectLending: c.DirectLending, AffiliateMarketing: c.AffiliateMarketing, SubscriberOptin: c.SubscriberOptIn,
		SubscriberOptout: c.SubscriberOptOut, SubscriberHelp: c.SubscriberHelp, AutoRenewal: c.AutoRenewal,
		TermsAndConditions: true, ReferenceID: reference}
	var made campaignAnswer
	if err := h.call(ctx, "submit_campaign", http.MethodPost, "/campaignBuilder", body, &made); err != nil {
		return "", err
	}
	if made.CampaignID == "" {
		return "", lost("submit_campaign", fmt.Errorf("the answer has no campaignId"))
	}
	return made.CampaignID, nil
}

func (h *HTTP) FindCampaign(ctx context.Context, reference string) (string, error) {
	var found page[campaignAnswer]
	if err := h.read(ctx, "find_campaign", "/campaign?recordsPerPage=10&page=1&referenceId="+url.QueryEscape(reference), &found); err != nil {
		return "", err
	}
	for _, c := range found.Records {
		if strings.EqualFold(c.ReferenceID, reference) {
			return c.CampaignID, nil
		}
	}
	return "", nil
}

func (h *HTTP) Campaign(ctx context.Context, campaignID string) (CampaignState, error) {
	var c campaignAnswer
	if err := h.read(ctx, "campaign", "/campaign/"+url.PathEscape(campaignID), &c); err != nil {
		return CampaignState{}, err
	}
	return CampaignState{CampaignID: campaignID, Status: clip(c.Status)}, nil
}

func (h *HTTP) Carriers(ctx context.Context, campaignID string) ([]Carrier, error) {
	path := "/campaign/" + url.PathEscape(campaignID)
	var said map[string]metadata
	if err := h.read(ctx, "carrier_metadata", path+"/mnoMetadata", &said); err != nil {
		return nil, err
	}
	var statuses map[string]word
	if err := h.read(ctx, "carrier_status", path+"/operationStatus", &statuses); err != nil {
		return nil, err
	}
	byID := map[int]Carrier{}
	for key, m := range said {
		if id, err := strconv.Atoi(key); err == nil && id > 0 && id < 1<<31 {
			byID[id] = Carrier{NetworkID: id, Network: clip(m.Network), Status: carrierStatusOf(m.Status), Class: clip(m.Class), TPM: m.TPM.whole(),
				MMSTPM: m.MMSTPM.whole(), BrandTier: clip(m.BrandTier), Surcharge: string(m.Surcharge)}
		}
	}
	for key, s := range statuses {
		if id, err := strconv.Atoi(key); err == nil && id > 0 && id < 1<<31 {
			c := byID[id]
			c.NetworkID, c.Status = id, carrierStatusOf(string(s))
			byID[id] = c
		}
	}
	list := make([]Carrier, 0, len(byID))
	for id, c := range byID {
		if c.Network == "" {
			c.Network = cmp.Or(networks[id], strconv.Itoa(id))
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Carrier) int { return cmp.Compare(a.NetworkID, b.NetworkID) })
	return list, nil
}

// ours are our names of the registry's fields where they differ by more than case.
var ours = map[string]string{
	"displayname": "name", "companyname": "legal_name", "einissuingcountry": "ein_issuing_country", "firstname": "first_name", "lastname": "last_name",
	"postalcode": "postal_code", "stocksymbol": "stock_symbol", "stockexchange": "stock_exchange", "entitytype": "entity_type",
	"altbusinessid": "alt_business_id", "altbusinessidtype": "alt_business_id_type", "brandid": "brand_id", "usecase": "use_case",
	"subusecases": "sub_use_cases", "messageflow": "message_flow", "optinkeywords": "optin_keywords", "optinmessage": "start_reply",
	"optoutkeywords": "optout_keywords", "optoutmessage": "stop_reply", "helpkeywords": "help_keywords", "helpmessage": "help_reply",
	"embeddedlink": "embedded_link", "embeddedphone": "embedded_phone", "numberpool": "number_pool", "agegated": "age_gated",
	"directlending": "direct_lending", "affiliatemarketing": "affiliate_marketing", "subscriberoptin": "subscriber_optin",
	"subscriberoptout": "subscriber_optout", "subscriberhelp": "subscriber_help", "autorenewal": "auto_renewal",
	"sample1": "sample_messages[0]", "sample2": "sample_messages[1]", "sample3": "sample_messages[2]", "sample4": "sample_messages[3]", "sample5": "sample_messages[4]",
}

// ourField is the name of a field here; one that is not known keeps its own.
func ourField(theirs string) string {
	plain := strings.ToLower(strings.TrimSpace(theirs))
	return clip(cmp.Or(ours[plain], plain))
}
