package registry

import (
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
)

// Lengths of fields, in characters. The first group is the registry's.
const (
	maxName        = 255
	maxShort       = 100
	maxState       = 20
	maxPostalCode  = 10
	maxTaxID       = 21
	maxSymbol      = 10
	maxAltID       = 50
	minDescription = 40
	maxDescription = 4096
	minFlow        = 40
	maxFlow        = 4096
	minSample      = 20
	maxSample      = 1024
	minReply       = 20
	maxReply       = 320
	maxSamples     = 5
	maxKeyword     = 32
	maxKeywords    = 20
)

// The registry's lists.
var (
	EntityTypes    = []string{PrivateProfit, PublicProfit, NonProfit, Government, SoleProprietor}
	Verticals      = []string{"AGRICULTURE", "COMMUNICATION", "CONSTRUCTION", "EDUCATION", "ENERGY", "ENTERTAINMENT", "FINANCIAL", "GAMBLING", "GOVERNMENT", "HEALTHCARE", "HOSPITALITY", "HUMAN_RESOURCES", "INSURANCE", "LEGAL", "MANUFACTURING", "NGO", "POLITICAL", "POSTAL", "PROFESSIONAL", "REAL_ESTATE", "RETAIL", "TECHNOLOGY", "TRANSPORTATION"}
	Exchanges      = []string{"AMEX", "AMX", "ASX", "B3", "BME", "BSE", "FRA", "ICEX", "JPX", "JSE", "KRX", "LON", "NASDAQ", "NONE", "NSE", "NYSE", "OMX", "OTHER", "SEHK", "SGX", "SSE", "STO", "SWX", "SZSE", "TSX", "TWSE", "VSE"}
	AltBusinessIDs = []string{"DUNS", "GIIN", "LEI"}
)

// checks gathers what is wrong, so that one answer names it all.
type checks struct{ list []message.FieldError }

func (c *checks) say(field, format string, args ...any) {
	c.list = append(c.list, message.FieldError{Location: "body." + field, Message: fmt.Sprintf(format, args...)})
}

// length wants a text of least to most characters; least 0: it may be left out.
func (c *checks) length(field, s string, least, most int) {
	n := utf8.RuneCountInString(s)
	switch {
	case s == "" && least > 0:
		c.say(field, "is required")
	case s != "" && n < least:
		c.say(field, "has %d characters; write at least %d", n, least)
	case n > most:
		c.say(field, "has %d characters; write at most %d", n, most)
	}
}

func (c *checks) oneOf(field, s string, required bool, of []string) {
	switch {
	case s == "" && required:
		c.say(field, "is required: one of %s", strings.Join(of, ", "))
	case s != "" && !slices.Contains(of, s):
		c.say(field, "must be one of %s", strings.Join(of, ", "))
	}
}

func (c *checks) refusal(what string) error {
	if len(c.list) == 0 {
		return nil
	}
	names := make([]string, len(c.list))
	for i, f := range c.list {
		names[i] = strings.TrimPrefix(f.Location, "body.")
	}
	detail := fmt.Sprintf("%s: %d fields are not as the registry wants them: %s", what, len(names), strings.Join(slices.Compact(names), ", "))
	if len(c.list) == 1 {
		detail = what + ": " + names[0] + " " + c.list[0].Message
	}
	return &message.Error{Reason: message.ReasonInvalidRequest, Detail: detail, Fields: c.list}
}

var (
	nineDigits = regexp.MustCompile(`^[0-9]{9}$`)
	twoLetters = regexp.MustCompile(`^[A-Z]{2}$`)
	usZip      = regexp.MustCompile(`^[0-9]{5}(-[0-9]{4})?$`)
	linkInText = regexp.MustCompile(`(?i)https?://|www\.|\b[a-z0-9][a-z0-9-]*\.(com|net|org|io|co|us|me|app|ly|info|biz|example)\b`)
	phoneIn    = regexp.MustCompile(`(\+?1[ .-]?)?\(?\b[2-9][0-9]{2}\)?[ .-][0-9]{3}[ .-][0-9]{4}\b|\+[0-9]{10,15}\b|\b[2-9][0-9]{9}\b`)
)

// TaxIDPlain drops what people write into a tax id for the eye.
func TaxIDPlain(s string) string {
	return strings.ToUpper(strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '.' {
			return -1
		}
		return r
	}, s))
}

// CheckDraft looks at what a draft of a brand must have: a name, and no value that
// could never pass. A draft may be half empty.
func (b *Brand) CheckDraft() error {
	var c checks
	c.length("name", b.Name, 1, maxName)
	b.checkValues(&c)
	return c.refusal("the brand")
}

// Check looks at everything that the registry wants to know of a brand. Each error
// names its field and what would do.
func (b *Brand) Check() error {
	var c checks
	c.length("name", b.Name, 1, maxName)
	if b.EntityType == "" {
		c.oneOf("entity_type", "", true, EntityTypes)
	}
	if b.EntityType == SoleProprietor {
		c.length("first_name", b.FirstName, 1, maxShort)
		c.length("last_name", b.LastName, 1, maxShort)
	} else {
		c.length("legal_name", b.LegalName, 1, maxName)
		if b.TaxID.Empty() && b.TaxIDShown == "" {
			c.say("ein", "is required: the tax id of the company, 9 digits in the US")
		}
		c.oneOf("vertical", b.Vertical, b.Vertical == "", Verticals)
	}
	if b.EntityType == PublicProfit {
		c.length("stock_symbol", b.StockSymbol, 1, maxSymbol)
		c.oneOf("stock_exchange", b.StockExchange, b.StockExchange == "", Exchanges)
	}
	for _, f := range []struct{ name, value string }{{"phone", b.Phone}, {"email", b.Email}, {"street", b.Street}, {"city", b.City},
		{"state", b.State}, {"postal_code", b.PostalCode}, {"country", b.Country}} {
		if f.value == "" {
			c.say(f.name, "is required")
		}
	}
	if b.EntityType == Government && b.Country != "US" && b.Country != "" {
		c.say("entity_type", "GOVERNMENT is for the US; use PRIVATE_PROFIT for another country's")
	}
	b.checkValues(&c)
	return c.refusal("the brand")
}

// checkValues looks at the fields that are there.
func (b *Brand) checkValues(c *checks) {
	c.oneOf("entity_type", b.EntityType, false, EntityTypes)
	c.oneOf("vertical", b.Vertical, false, Verticals)
	c.oneOf("stock_exchange", b.StockExchange, false, Exchanges)
	c.oneOf("alt_business_id_type", b.AltBusinessIDType, false, AltBusinessIDs)
	if (b.AltBusinessID == "") != (b.AltBusinessIDType == "") {
		c.say("alt_business_id", "give alt_business_id and alt_business_id_type together")
	}
	for _, f := range []struct {
		name, value string
		most        int
	}{{"legal_name", b.LegalName, maxName}, {"first_name", b.FirstName, maxShort}, {"last_name", b.LastName, maxShort}, {"email", b.Email, maxShort},
		{"website", b.Website, maxShort}, {"street", b.Street, maxShort}, {"city", b.City, maxShort}, {"state", b.State, maxState},
		{"postal_code", b.PostalCode, maxPostalCode}, {"stock_symbol", b.StockSymbol, maxSymbol}, {"alt_business_id", b.AltBusinessID, maxAltID}} {
		c.length(f.name, f.value, 0, f.most)
	}
	for _, f := range []struct{ name, country string }{{"country", b.Country}, {"ein_issuing_country", b.TaxIDCountry}} {
		if f.country != "" && !twoLetters.MatchString(f.country) {
			c.say(f.name, "must be a country's two capital letters, such as US")
		}
	}
	b.checkAddress(c)
	if !b.TaxID.Empty() {
		id := TaxIDPlain(b.TaxID.Reveal())
		country := b.TaxIDCountry
		if country == "" {
			country = b.Country
		}
		switch {
		case (country == "US" || country == "") && !nineDigits.MatchString(id):
			c.say("ein", "must have 9 digits; name ein_issuing_country if it is not of the US")
		case len(id) > maxTaxID:
			c.say("ein", "must have at most %d characters", maxTaxID)
		}
	}
}

func (b *Brand) checkAddress(c *checks) {
	if b.Phone != "" {
		if a, err := message.ParseRecipient(b.Phone); err != nil || a.Kind() != message.E164 {
			c.say("phone", "must be a number with its country code, such as +12025550143")
		}
	}
	if a, err := mail.ParseAddress(b.Email); b.Email != "" && (err != nil || a.Address != b.Email) {
		c.say("email", "must be an address such as support@shop.example")
	}
	if b.Website != "" {
		u, err := url.Parse(b.Website)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
			c.say("website", "must be an address such as https://shop.example")
		}
	}
	if b.Country == "US" {
		if b.State != "" && !twoLetters.MatchString(b.State) {
			c.say("state", "must be two capital letters, such as CA")
		}
		if b.PostalCode != "" && !usZip.MatchString(b.PostalCode) {
			c.say("postal_code", "must be a ZIP code of 5 digits")
		}
	}
}

// CheckDraft looks at the fields that are there, and wants a use case, which cannot
// be changed once it is filed.
func (c *Campaign) CheckDraft() error {
	var k checks
	k.oneOf("use_case", c.UseCase, true, UseCases())
	c.checkValues(&k)
	return k.refusal("the campaign")
}

// Check looks at everything that the registry and the carriers want to know of a
// campaign.
func (c *Campaign) Check() error {
	var k checks
	use, known := useCaseOf(c.UseCase)
	k.oneOf("use_case", c.UseCase, true, UseCases())
	if c.Brand == (message.ID{}) {
		k.say("brand_id", "is required: the brand that the campaign belongs to")
	}
	k.length("description", c.Description, minDescription, maxDescription)
	k.length("message_flow", c.MessageFlow, minFlow, maxFlow)
	if known && len(c.Samples) < use.samples {
		k.say("sample_messages", "%s wants %d samples; there are %d", c.UseCase, use.samples, len(c.Samples))
	}
	if c.UseCase == "MIXED" && len(c.SubUseCases) < minSubUseCases {
		k.say("sub_use_cases", "MIXED wants %d to %d of %s", minSubUseCases, maxSubUseCases, strings.Join(SubUseCases(), ", "))
	}
	if !c.SubscriberOptOut || !slices.ContainsFunc(c.OptOutKeywords, func(w string) bool { return strings.EqualFold(w, "STOP") }) {
		k.say("optout_keywords", "must have STOP, with subscriber_optout true: carriers approve no campaign that people cannot leave")
	}
	if !c.SubscriberHelp || !slices.ContainsFunc(c.HelpKeywords, func(w string) bool { return strings.EqualFold(w, "HELP") }) {
		k.say("help_keywords", "must have HELP, with subscriber_help true")
	}
	k.length("stop_reply", c.StopReply, minReply, maxReply)
	k.length("help_reply", c.HelpReply, minReply, maxReply)
	if c.SubscriberOptIn && len(c.OptInKeywords) > 0 {
		k.length("start_reply", c.StartReply, minReply, maxReply)
	}
	c.checkSamples(&k)
	c.checkValues(&k)
	return k.refusal("the campaign")
}

// checkSamples holds the samples against the flags: carriers filter links and phone
// numbers of a campaign that did not declare them, and refuse samples that show them.
func (c *Campaign) checkSamples(k *checks) {
	optOut := false
	for i, s := range c.Samples {
		if !c.EmbeddedLink && linkInText.MatchString(s) {
			k.say(fmt.Sprintf("sample_messages[%d]", i), "has a link; set embedded_link true or take it out")
		}
		if !c.EmbeddedPhone && phoneIn.MatchString(s) {
			k.say(fmt.Sprintf("sample_messages[%d]", i), "has a phone number; set embedded_phone true or take it out")
		}
		optOut = optOut || strings.Contains(strings.ToUpper(s), "STOP")
	}
	if len(c.Samples) > 0 && !optOut && slices.Contains([]string{"MARKETING", "MIXED", "SWEEPSTAKE", "CHARITY", "POLITICAL"}, c.UseCase) {
		k.say("sample_messages", "one sample must say how to leave, such as: Reply STOP to opt out")
	}
}

// checkValues looks at the fields that are there.
func (c *Campaign) checkValues(k *checks) {
	k.length("description", c.Description, 0, maxDescription)
	k.length("message_flow", c.MessageFlow, 0, maxFlow)
	for _, f := range []struct{ name, value string }{{"stop_reply", c.StopReply}, {"help_reply", c.HelpReply}, {"start_reply", c.StartReply}} {
		if f.value != "" {
			k.length(f.name, f.value, minReply, maxReply)
		}
	}
	if len(c.Samples) > maxSamples {
		k.say("sample_messages", "has %d samples; give at most %d", len(c.Samples), maxSamples)
	}
	for i, s := range c.Samples {
		k.length(fmt.Sprintf("sample_messages[%d]", i), s, minSample, maxSample)
	}
	c.checkSubUseCases(k)
	for _, f := range []struct {
		name string
		list []string
	}{{"optin_keywords", c.OptInKeywords}, {"optout_keywords", c.OptOutKeywords}, {"help_keywords", c.HelpKeywords}} {
		if len(f.list) > maxKeywords {
			k.say(f.name, "has %d words; give at most %d", len(f.list), maxKeywords)
		}
		for i, w := range f.list {
			if w == "" || utf8.RuneCountInString(w) > maxKeyword || strings.Contains(w, ",") {
				k.say(fmt.Sprintf("%s[%d]", f.name, i), "must be a word of 1 to %d characters without a comma", maxKeyword)
			}
		}
	}
}

func (c *Campaign) checkSubUseCases(k *checks) {
	switch most := maxSubUseCases; {
	case c.UseCase != "MIXED" && c.UseCase != "LOW_VOLUME" && len(c.SubUseCases) > 0:
		k.say("sub_use_cases", "belong to MIXED and LOW_VOLUME only; leave them out")
		return
	case len(c.SubUseCases) > most:
		k.say("sub_use_cases", "has %d; give at most %d", len(c.SubUseCases), most)
	}
	for i, s := range c.SubUseCases {
		u, ok := useCaseOf(s)
		switch {
		case !ok || !u.sub:
			k.say(fmt.Sprintf("sub_use_cases[%d]", i), "must be one of %s", strings.Join(SubUseCases(), ", "))
		case slices.Contains(c.SubUseCases[:i], s):
			k.say(fmt.Sprintf("sub_use_cases[%d]", i), "is there already")
		}
	}
}
