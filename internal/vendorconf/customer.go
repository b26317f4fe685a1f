package vendorconf

import (
	"regexp"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Customer is the settings of a customer's account. Its status is none: suspending and
// closing are operations of their own.
type Customer struct {
	CompanyName          string   `json:"company_name" minLength:"1" maxLength:"200" example:"Acme Inc."`
	ExternalID           *string  `json:"external_id" maxLength:"200" doc:"The customer's id in the operator's other systems, which no other has; null: none" example:"acme-1"`
	TimeZone             string   `json:"time_zone" maxLength:"64" doc:"IANA name; days and months of limits are its" example:"America/New_York"`
	DefaultMessageClass  string   `json:"default_message_class" enum:"otp,conversation,bulk"`
	Delivery             string   `json:"delivery" enum:"at_most_once,at_least_once" doc:"What happens to a message whose submit is in doubt"`
	OrderedConversations *bool    `json:"ordered_conversations" doc:"null: over SMPP only"`
	InternalDelivery     bool     `json:"internal_delivery" doc:"Messages to numbers of ours stay in the house"`
	MMSFallback          string   `json:"mms_fallback" enum:"none,sms_link" doc:"What becomes of an MMS that no vendor takes"`
	SmartEncoding        bool     `json:"smart_encoding"`
	MaxParts             int      `json:"max_parts" minimum:"1" maximum:"255"`
	ContentRetentionDays int      `json:"content_retention_days" minimum:"0" maximum:"3650"`
	DefaultCountry       string   `json:"default_country" maxLength:"2" doc:"ISO 3166 alpha-2" example:"US"`
	AllowedSources       []string `json:"allowed_source_addresses" nullable:"false" maxItems:"1000" doc:"Senders that it may use beside its numbers" example:"[\"ACME\"]"`
	ForceSource          *string  `json:"force_source_address" maxLength:"64" doc:"Replaces every sender; null: none"`
	APIRateLimit         int      `json:"api_rate_limit" minimum:"1" maximum:"100000" doc:"Messages a second"`
	APIBurst             int      `json:"api_burst" minimum:"0" maximum:"900000" doc:"How many more may come within one second"`
	MaxBacklog           int      `json:"max_backlog" minimum:"1" maximum:"100000000" doc:"Messages that may be on their way out at once"`
	Prepaid              bool     `json:"prepaid" doc:"Its messages are paid in advance: one that the balance does not cover is refused"`
}

// NewCustomer is the settings of a customer when nothing else is said.
func NewCustomer() Customer {
	return Customer{TimeZone: "UTC", DefaultMessageClass: string(message.ClassConversation), Delivery: string(message.AtMostOnce),
		MMSFallback: string(snapshot.MMSFallbackNone), MaxParts: 10, ContentRetentionDays: 30, DefaultCountry: "US", AllowedSources: []string{},
		APIRateLimit: 10, MaxBacklog: snapshot.DefaultMaxBacklog}
}

// CustomerOf writes a customer's settings down.
func CustomerOf(a *snapshot.Account) Customer {
	d := Customer{CompanyName: a.CompanyName, ExternalID: word(a.ExternalID), TimeZone: a.TimeZone, DefaultMessageClass: string(a.DefaultClass),
		Delivery: string(a.Delivery), OrderedConversations: a.OrderedConversations, InternalDelivery: a.InternalDelivery, MMSFallback: string(a.MMSFallback),
		SmartEncoding: a.SmartEncoding, MaxParts: a.MaxParts, ContentRetentionDays: a.ContentRetentionDays, DefaultCountry: a.DefaultCountry,
		AllowedSources: append([]string{}, a.AllowedSourceAddresses...), ForceSource: word(string(a.ForceSourceAddress)), APIRateLimit: a.APIRateLimit,
		APIBurst: a.APIBurst, MaxBacklog: a.MaxBacklog, Prepaid: a.Prepaid}
	if d.MMSFallback == "" {
		d.MMSFallback = string(snapshot.MMSFallbackNone)
	}
	return d
}

var countryRule = regexp.MustCompile(`^[A-Z]{2}$`)

// Into makes the account what the document says, unless something of it breaks a rule:
// then the account is left half done, and the faults say why. Links says whether an MMS
// can go as a text with links, which needs an address under which files are read.
func (d Customer) Into(a *snapshot.Account, links bool) Faults {
	f := checkAll(&d)
	if d.CompanyName == "" {
		f.add("company_name", "is required")
	}
	if _, err := time.LoadLocation(d.TimeZone); (err != nil || d.TimeZone == "" || d.TimeZone == "Local") && !f.has("time_zone") {
		f.add("time_zone", "must be the IANA name of a time zone, such as America/New_York")
	}
	if !countryRule.MatchString(d.DefaultCountry) && !f.has("default_country") {
		f.add("default_country", "must be two capital letters (ISO 3166), such as US")
	}
	if d.MMSFallback == string(snapshot.MMSFallbackLink) && !links {
		f.add("mms_fallback", "can be sms_link only when the gateway has a PUBLIC_URL, under which recipients read the files")
	}
	a.CompanyName, a.ExternalID, a.TimeZone = d.CompanyName, textOf(d.ExternalID), d.TimeZone
	a.DefaultClass, a.Delivery, a.OrderedConversations = message.Class(d.DefaultMessageClass), message.Delivery(d.Delivery), d.OrderedConversations
	a.InternalDelivery, a.MMSFallback, a.SmartEncoding = d.InternalDelivery, snapshot.MMSFallback(d.MMSFallback), d.SmartEncoding
	a.MaxParts, a.ContentRetentionDays, a.DefaultCountry = d.MaxParts, d.ContentRetentionDays, d.DefaultCountry
	a.AllowedSourceAddresses, a.ForceSourceAddress = d.senders(&f), ""
	if s := textOf(d.ForceSource); s != "" {
		a.ForceSourceAddress = f.sender("force_source_address", s)
	}
	a.APIRateLimit, a.APIBurst, a.MaxBacklog, a.Prepaid = d.APIRateLimit, d.APIBurst, d.MaxBacklog, d.Prepaid
	return f
}

// senders are the allowed ones as messages have them.
func (d Customer) senders(f *Faults) []string {
	out := make([]string, 0, len(d.AllowedSources))
	for _, s := range d.AllowedSources {
		out = append(out, string(f.sender("allowed_source_addresses", s)))
	}
	return out
}

func (f *Faults) sender(setting, given string) message.Address {
	a, err := message.ParseSender(given)
	if err != nil && !f.has(setting) {
		f.add(setting, "%q is no sender: E.164 with a leading +, a short code, or up to 11 letters and digits", clip(given))
	}
	return a
}

func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
