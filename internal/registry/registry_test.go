package registry

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
)

func acme() *Brand {
	return &Brand{Name: "Acme", EntityType: PrivateProfit, LegalName: "Acme Inc.", TaxID: secret.Conceal("12-3456789"), Phone: "+12025550143",
		Email: "support@acme.example", Website: "https://acme.example", Street: "1 Main St", City: "Springfield", State: "IL", PostalCode: "62701",
		Country: "US", Vertical: "RETAIL", VettingScore: -1}
}

func orders() *Campaign {
	return &Campaign{Brand: message.NewID(), UseCase: "ACCOUNT_NOTIFICATION",
		Description: "Tells customers of the shop what becomes of their orders.", MessageFlow: "Customers tick a box at the checkout on acme.example to be told.",
		Samples: []string{"Acme: your order 8812 has left our store. Reply STOP to opt out."}, OptInKeywords: []string{"START"}, OptOutKeywords: []string{"STOP", "END"},
		HelpKeywords: []string{"HELP"}, StartReply: "Acme: you get messages of your orders again.", StopReply: "Acme: you get no more messages of us.",
		HelpReply: "Acme: write to support@acme.example.", SubscriberOptIn: true, SubscriberOptOut: true, SubscriberHelp: true, AutoRenewal: true}
}

// says wants exactly these fields to be wrong.
func says(t *testing.T, err error, fields ...string) {
	t.Helper()
	var got []string
	if err != nil {
		e := message.AsError(err)
		if e.Reason != message.ReasonInvalidRequest {
			t.Fatal(err)
		}
		for _, f := range e.Fields {
			if f.Message == "" {
				t.Errorf("%s: nothing is said", f.Location)
			}
			got = append(got, strings.TrimPrefix(f.Location, "body."))
		}
	}
	slices.Sort(got)
	slices.Sort(fields)
	if !slices.Equal(slices.Compact(got), fields) {
		t.Errorf("wrong are %v, want %v: %v", got, fields, err)
	}
}

func TestBrandFields(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Brand)
		wrong  []string
	}{
		"as it should be":           {func(*Brand) {}, nil},
		"stored tax id":             {func(b *Brand) { b.TaxID, b.TaxIDShown = secret.String{}, "6789" }, nil},
		"no name":                   {func(b *Brand) { b.Name = "" }, []string{"name"}},
		"long name":                 {func(b *Brand) { b.Name = strings.Repeat("ä", 256) }, []string{"name"}},
		"unknown entity":            {func(b *Brand) { b.EntityType = "CLUB" }, []string{"entity_type"}},
		"no entity":                 {func(b *Brand) { b.EntityType = "" }, []string{"entity_type"}},
		"no legal name":             {func(b *Brand) { b.LegalName = "" }, []string{"legal_name"}},
		"no tax id":                 {func(b *Brand) { b.TaxID = secret.String{} }, []string{"ein"}},
		"short tax id":              {func(b *Brand) { b.TaxID = secret.Conceal("12345678") }, []string{"ein"}},
		"letters in a US tax id":    {func(b *Brand) { b.TaxID = secret.Conceal("12345678A") }, []string{"ein"}},
		"tax id of Canada":          {func(b *Brand) { b.TaxID, b.TaxIDCountry = secret.Conceal("12345678RC0001"), "CA" }, nil},
		"country in words":          {func(b *Brand) { b.Country = "usa" }, []string{"country"}},
		"tax country in words":      {func(b *Brand) { b.TaxIDCountry = "us" }, []string{"ein_issuing_country"}},
		"no address":                {func(b *Brand) { b.Street, b.City, b.State, b.PostalCode, b.Country = "", "", "", "", "" }, []string{"city", "country", "postal_code", "state", "street"}},
		"state in words":            {func(b *Brand) { b.State = "Illinois" }, []string{"state"}},
		"ZIP code":                  {func(b *Brand) { b.PostalCode = "6270" }, []string{"postal_code"}},
		"phone without its country": {func(b *Brand) { b.Phone = "2025550143" }, []string{"phone"}},
		"no phone":                  {func(b *Brand) { b.Phone = "" }, []string{"phone"}},
		"name in the e-mail":        {func(b *Brand) { b.Email = "Ann <ann@acme.example>" }, []string{"email"}},
		"website without scheme":    {func(b *Brand) { b.Website = "acme.example" }, []string{"website"}},
		"website with a password":   {func(b *Brand) { b.Website = "https://a:b@acme.example" }, []string{"website"}},
		"no website":                {func(b *Brand) { b.Website = "" }, nil},
		"vertical":                  {func(b *Brand) { b.Vertical = "SHOPS" }, []string{"vertical"}},
		"no vertical":               {func(b *Brand) { b.Vertical = "" }, []string{"vertical"}},
		"public without its stock":  {func(b *Brand) { b.EntityType = PublicProfit }, []string{"stock_exchange", "stock_symbol"}},
		"public":                    {func(b *Brand) { b.EntityType, b.StockSymbol, b.StockExchange = PublicProfit, "ACME", "NASDAQ" }, nil},
		"half an alternative id":    {func(b *Brand) { b.AltBusinessID = "123456789" }, []string{"alt_business_id"}},
		"government elsewhere":      {func(b *Brand) { b.EntityType, b.Country, b.TaxIDCountry = Government, "CA", "CA" }, []string{"entity_type"}},
		"sole proprietor unnamed": {func(b *Brand) {
			b.EntityType, b.LegalName, b.TaxID, b.Vertical = SoleProprietor, "", secret.String{}, ""
		},
			[]string{"first_name", "last_name"}},
		"sole proprietor": {func(b *Brand) {
			b.EntityType, b.LegalName, b.TaxID, b.FirstName, b.LastName = SoleProprietor, "", secret.String{}, "Ann", "Smith"
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := acme()
			c.change(b)
			says(t, b.Check(), c.wrong...)
		})
	}
	says(t, (&Brand{Name: "Acme"}).CheckDraft())
	says(t, (&Brand{Phone: "1"}).CheckDraft(), "name", "phone")
}

func TestCampaignFields(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Campaign)
		wrong  []string
	}{
		"as it should be":      {func(*Campaign) {}, nil},
		"no brand":             {func(c *Campaign) { c.Brand = message.ID{} }, []string{"brand_id"}},
		"no use case":          {func(c *Campaign) { c.UseCase = "" }, []string{"use_case"}},
		"unknown use case":     {func(c *Campaign) { c.UseCase = "SPAM" }, []string{"use_case"}},
		"39 characters":        {func(c *Campaign) { c.Description = strings.Repeat("x", 39) }, []string{"description"}},
		"40 characters":        {func(c *Campaign) { c.Description = strings.Repeat("ä", 40) }, nil},
		"no message flow":      {func(c *Campaign) { c.MessageFlow = "" }, []string{"message_flow"}},
		"no sample":            {func(c *Campaign) { c.Samples = nil }, []string{"sample_messages"}},
		"six samples":          {func(c *Campaign) { c.Samples = slices.Repeat(c.Samples, 6) }, []string{"sample_messages"}},
		"short sample":         {func(c *Campaign) { c.Samples = []string{"Hello"} }, []string{"sample_messages[0]"}},
		"undeclared link":      {func(c *Campaign) { c.Samples[0] = "Acme: see https://acme.example/8812 for your order" }, []string{"sample_messages[0]"}},
		"bare undeclared link": {func(c *Campaign) { c.Samples[0] = "Acme: see bit.ly/8812 for your order now" }, []string{"sample_messages[0]"}},
		"declared link": {func(c *Campaign) {
			c.Samples[0], c.EmbeddedLink = "Acme: see https://acme.example/8812 for your order", true
		}, nil},
		"undeclared phone": {func(c *Campaign) { c.Samples[0] = "Acme: call 202-555-0143 about your order" }, []string{"sample_messages[0]"}},
		"order number":     {func(c *Campaign) { c.Samples[0] = "Acme: your order 1234567 of 12.50 is paid" }, nil},
		"mixed": {func(c *Campaign) {
			c.UseCase, c.SubUseCases, c.Samples = "MIXED", []string{"2FA", "MARKETING"}, slices.Repeat(c.Samples, 2)
		}, nil},
		"mixed of one": {func(c *Campaign) {
			c.UseCase, c.SubUseCases, c.Samples = "MIXED", []string{"2FA"}, slices.Repeat(c.Samples, 2)
		}, []string{"sub_use_cases"}},
		"mixed of six": {func(c *Campaign) {
			c.UseCase, c.SubUseCases, c.Samples = "MIXED", SubUseCases()[:6], slices.Repeat(c.Samples, 2)
		}, []string{"sub_use_cases"}},
		"mixed of mixed": {func(c *Campaign) {
			c.UseCase, c.SubUseCases, c.Samples = "MIXED", []string{"2FA", "MIXED"}, slices.Repeat(c.Samples, 2)
		}, []string{"sub_use_cases[1]"}},
		"mixed of the same": {func(c *Campaign) {
			c.UseCase, c.SubUseCases, c.Samples = "MIXED", []string{"2FA", "2FA"}, slices.Repeat(c.Samples, 2)
		}, []string{"sub_use_cases[1]"}},
		"mixed of one sample":   {func(c *Campaign) { c.UseCase, c.SubUseCases = "MIXED", []string{"2FA", "MARKETING"} }, []string{"sample_messages"}},
		"sub use cases of none": {func(c *Campaign) { c.SubUseCases = []string{"2FA"} }, []string{"sub_use_cases"}},
		"no way out":            {func(c *Campaign) { c.OptOutKeywords = []string{"END"} }, []string{"optout_keywords"}},
		"no way out declared":   {func(c *Campaign) { c.SubscriberOptOut = false }, []string{"optout_keywords"}},
		"way out in small":      {func(c *Campaign) { c.OptOutKeywords = []string{"stop"} }, nil},
		"no answer to STOP":     {func(c *Campaign) { c.StopReply = "" }, []string{"stop_reply"}},
		"no help":               {func(c *Campaign) { c.HelpKeywords, c.HelpReply = nil, "" }, []string{"help_keywords", "help_reply"}},
		"no answer to START":    {func(c *Campaign) { c.StartReply = "" }, []string{"start_reply"}},
		"no START":              {func(c *Campaign) { c.StartReply, c.OptInKeywords = "", nil }, nil},
		"comma in a keyword":    {func(c *Campaign) { c.HelpKeywords = []string{"HELP", "A,B"} }, []string{"help_keywords[1]"}},
		"advertising that says no way out": {func(c *Campaign) {
			c.UseCase, c.Samples = "MARKETING", []string{"Acme: everything is 20 % off today", "Acme: everything is 30 % off today"}
		}, []string{"sample_messages"}},
	} {
		t.Run(name, func(t *testing.T) {
			k := orders()
			c.change(k)
			says(t, k.Check(), c.wrong...)
		})
	}
	says(t, (&Campaign{UseCase: "2FA"}).CheckDraft())
	says(t, (&Campaign{}).CheckDraft(), "use_case")
}

// Whatever is in a field, the answer names fields and nothing breaks; what passes
// whole passes as a draft.
func TestChecksOfAnything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "US", "2FA", "MIXED", "STOP", "HELP", "+12025550143", strings.Repeat("x", 60)}))
		lists := rapid.SliceOfN(text, 0, 8)
		c := Campaign{Brand: message.NewID(), UseCase: text.Draw(t, "use"), SubUseCases: lists.Draw(t, "subs"), Description: text.Draw(t, "d"), MessageFlow: text.Draw(t, "f"),
			Samples: lists.Draw(t, "s"), OptOutKeywords: lists.Draw(t, "o"), HelpKeywords: lists.Draw(t, "h"), StopReply: text.Draw(t, "r"), SubscriberOptOut: true}
		b := Brand{Name: text.Draw(t, "n"), EntityType: text.Draw(t, "e"), TaxID: secret.Conceal(text.Draw(t, "t")), Country: text.Draw(t, "c"), Phone: text.Draw(t, "p"),
			Email: text.Draw(t, "m"), Website: text.Draw(t, "w"), PostalCode: text.Draw(t, "z")}
		for _, pair := range [][2]error{{c.Check(), c.CheckDraft()}, {b.Check(), b.CheckDraft()}} {
			if pair[0] == nil && pair[1] != nil {
				t.Fatalf("it may be filed and not be a draft: %v", pair[1])
			}
			for _, err := range pair {
				if err != nil && len(message.AsError(err).Fields) == 0 {
					t.Fatalf("no field is named: %v", err)
				}
			}
		}
	})
}

// The figures of compliance.md §3.
func TestTables(t *testing.T) {
	t.Parallel()
	now := TableAt(time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC))
	for _, c := range []struct {
		use   string
		score int
		want  string
	}{
		{"2FA", 100, "A 4500 2400"}, {"2FA", 75, "A 4500 2400"}, {"2FA", 74, "C 2400 1200"}, {"2FA", 50, "C 2400 1200"}, {"2FA", 49, "E 240 150"}, {"2FA", 0, "E 240 150"},
		{"2FA", -1, "E 240 150"}, {"MARKETING", 75, "B 4500 2400"}, {"MIXED", 60, "D 2400 1200"}, {"MIXED", -1, "F 240 150"}, {"LOW_VOLUME", 100, "T 75 50"},
		{SoleProprietor, -1, "W 15 50"}, {"POLITICAL", -1, "K 4500 2400"}, {"CHARITY", 10, "P 2400 1200"}, {"SOCIAL", 10, "S 9000 2400"}, {"EMERGENCY", 10, "X 4500 2400"},
		{"PROXY", 10, "G 60 50 each"}, {"AGENTS_FRANCHISES", 99, "N 60 50 each"},
	} {
		k := now.ClassFor(c.use, c.score)
		got := fmt.Sprint(k.Name, " ", k.SMS, " ", k.MMS)
		if k.PerNumber {
			got += " each"
		}
		if got != c.want {
			t.Errorf("%s with %d: %s, want %s", c.use, c.score, got, c.want)
		}
	}
	for _, c := range []struct {
		entity string
		score  int
		index  bool
		want   string
	}{
		{PrivateProfit, 100, false, "TOP 200000"}, {PrivateProfit, 75, false, "TOP 200000"}, {PrivateProfit, 74, false, "HIGH_MID 40000"}, {PrivateProfit, 50, false, "HIGH_MID 40000"},
		{PrivateProfit, 49, false, "LOW_MID 10000"}, {PrivateProfit, 25, false, "LOW_MID 10000"}, {PrivateProfit, 24, false, "LOW 2000"}, {PrivateProfit, 0, false, "LOW 2000"},
		{PrivateProfit, -1, false, "LOW 2000"}, {PublicProfit, -1, true, "TOP 200000"}, {SoleProprietor, -1, false, "SOLE_PROPRIETOR 1000"}, {SoleProprietor, 100, false, "SOLE_PROPRIETOR 1000"},
	} {
		tier := now.TierFor(c.entity, c.score, c.index)
		if got := fmt.Sprint(tier.Name, " ", tier.PerDay); got != c.want {
			t.Errorf("%s with %d: %s, want %s", c.entity, c.score, got, c.want)
		}
	}
	for _, name := range []string{"TOP", "Top", "upper mid", "UPPER-MID", "LOW_MID", "Lower-Mid", "LOW"} {
		if _, ok := now.Tier(name); !ok {
			t.Errorf("tier %s is not known", name)
		}
	}
	if old := TableAt(time.Time{}); len(old.Classes) == 0 {
		t.Error("before the first table there is none")
	}
	for _, u := range UseCases() {
		if now.ClassFor(u, -1).SMS == 0 {
			t.Errorf("no class for %s", u)
		}
	}
}

// A score that is higher never gives less.
func TestTablesRiseWithTheScore(t *testing.T) {
	t.Parallel()
	now := TableAt(time.Now())
	rapid.Check(t, func(t *rapid.T) {
		use, low, high := rapid.SampledFrom(UseCases()).Draw(t, "use"), rapid.IntRange(-1, 100).Draw(t, "a"), rapid.IntRange(-1, 100).Draw(t, "b")
		if low > high {
			low, high = high, low
		}
		if a, b := now.ClassFor(use, low), now.ClassFor(use, high); a.SMS > b.SMS || a.MMS > b.MMS {
			t.Fatalf("%s: %v at %d, %v at %d", use, a, low, b, high)
		}
		if a, b := now.TierFor(PrivateProfit, low, false), now.TierFor(PrivateProfit, high, false); a.PerDay > b.PerDay {
			t.Fatalf("%v at %d, %v at %d", a, low, b, high)
		}
	})
}

// What carriers report goes before the table.
func TestReportedLimits(t *testing.T) {
	t.Parallel()
	now := TableAt(time.Now())
	for _, c := range []struct {
		carriers []Carrier
		want     Limits
	}{
		{nil, Limits{Class: "E", SMS: 240, MMS: 150}},
		{[]Carrier{{NetworkID: ATT, Class: "A"}}, Limits{Class: "A", SMS: 4500, MMS: 2400}},
		{[]Carrier{{NetworkID: ATT, Class: "a", TPM: 3000}}, Limits{Class: "a", SMS: 3000, MMS: 2400}},
		{[]Carrier{{NetworkID: ATT, Class: "Q"}}, Limits{Class: "Q", SMS: 240, MMS: 150}},
		{[]Carrier{{NetworkID: ATT, TPM: 75, MMSTPM: 50}}, Limits{Class: "E", SMS: 75, MMS: 50}},
		{[]Carrier{{NetworkID: ATT, Class: "G"}}, Limits{Class: "G", SMS: 60, MMS: 50, PerNumber: true}},
		{[]Carrier{{NetworkID: TMobile, BrandTier: "Upper Mid"}}, Limits{Class: "E", SMS: 240, MMS: 150, Tier: "HIGH_MID", PerDay: 40_000}},
		{[]Carrier{{NetworkID: TMobile, BrandTier: "GOLD"}}, Limits{Class: "E", SMS: 240, MMS: 150, Tier: "GOLD"}},
		{[]Carrier{{NetworkID: 10100, TPM: 1, BrandTier: "LOW", Class: "A"}}, Limits{Class: "E", SMS: 240, MMS: 150}},
	} {
		if got := now.LimitsOf("2FA", -1, c.carriers); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.carriers, got, c.want)
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		was      Status
		word     string
		carriers string
		want     Status
	}{
		{Pending, "ACTIVE", "approved approved", Active}, {Pending, "active", "approved rejected", Active}, {Pending, "ACTIVE", "review rejected", Pending},
		{Pending, "ACTIVE", "", Pending}, {Active, "ACTIVE", "", Active}, {Suspended, "ACTIVE", "", Pending}, {Pending, "ACTIVE", "rejected rejected", Rejected},
		{Active, "ACTIVE", "suspended rejected", Suspended}, {Active, "ACTIVE", "suspended review", Pending}, {Active, "SUSPENDED", "approved", Suspended},
		{Suspended, "ACTIVE", "approved", Active}, {Active, "EXPIRED", "approved", Expired}, {Active, "DEACTIVATED", "", Expired}, {Pending, "REJECTED", "", Rejected},
		{Active, "", "approved", Active}, {Pending, "", "approved", Pending}, {Active, "QUEUED_FOR_SOMETHING", "rejected", Active}, {Draft, "PENDING", "", Pending},
		{Active, "ACTIVE", "none none", Active}, {Pending, "ACTIVE", "none none", Pending}, {Active, "ACTIVE", "none rejected", Pending},
	} {
		var carriers []Carrier
		for i, word := range strings.Fields(c.carriers) {
			carriers = append(carriers, Carrier{NetworkID: i + 1, Status: strings.TrimSuffix(word, "none")})
		}
		if got := StatusOf(c.was, c.word, carriers); got != c.want {
			t.Errorf("%s, %s of the registry, carriers %q: %s, want %s", c.was, c.word, c.carriers, got, c.want)
		}
	}
	for _, c := range []struct {
		status, identity string
		want             BrandStatus
	}{{"", "VERIFIED", BrandApproved}, {"OK", "VETTED_VERIFIED", BrandApproved}, {"", "SELF_DECLARED", BrandApproved}, {"", "UNVERIFIED", BrandFailed}, {"REGISTRATION_PENDING", "UNVERIFIED", BrandPending}, {"", "", BrandPending}, {"REGISTRATION_FAILED", "VERIFIED", BrandFailed}} {
		if got := brandStatusOf(c.status, c.identity); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.status, c.identity, got, c.want)
		}
	}
}

// A brand that is printed or logged does not show its tax id.
func TestTaxIDStaysInside(t *testing.T) {
	t.Parallel()
	b := acme()
	doc, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", *b, *b, *b), string(doc)} {
		if strings.Contains(text, "3456789") {
			t.Errorf("it shows: %s", text)
		}
	}
}
