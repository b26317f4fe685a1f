package account

import (
	"fmt"
	"time"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/internal/registry"
)

// useCases are the registry's words as people read them.
var useCases = map[string]struct{ name, text string }{
	"2FA":                         {"One-time passwords", "codes for signing in and confirming"},
	"ACCOUNT_NOTIFICATION":        {"Account notices", "changes and reminders of a customer's own account"},
	"CUSTOMER_CARE":               {"Customer care", "support and answers to customers"},
	"DELIVERY_NOTIFICATION":       {"Delivery notices", "where an order is, and when it comes"},
	"FRAUD_ALERT":                 {"Fraud alerts", "warnings of suspicious use"},
	"HIGHER_EDUCATION":            {"Higher education", "messages of colleges and universities"},
	"LOW_VOLUME":                  {"Low volume, mixed", "several of the others, in small numbers"},
	"M2M":                         {"Machine to machine", "messages between devices"},
	"MARKETING":                   {"Marketing", "offers and news of products"},
	"MIXED":                       {"Mixed", "two to five of the others"},
	"POLLING_VOTING":              {"Polls and votes", "surveys and votes that are not political"},
	"PUBLIC_SERVICE_ANNOUNCEMENT": {"Public service", "information for the public"},
	"SECURITY_ALERT":              {"Security alerts", "warnings of trouble with a system or a place"},
	"AGENTS_FRANCHISES":           {"Agents and franchises", "agents and branches with numbers of their own"},
	"CARRIER_EXEMPT":              {"Exempt", "what the carriers have exempted"},
	"CHARITY":                     {"Charity", "messages of a 501(c)(3) organisation"},
	"EMERGENCY":                   {"Emergency", "emergency services of the public"},
	"K12_EDUCATION":               {"Schools", "messages of schools to parents and pupils"},
	"POLITICAL":                   {"Political", "campaigns and causes; the brand is vetted for it"},
	"POLITICAL_SECTION_527":       {"Political, section 527", "organisations of section 527"},
	"PROXY":                       {"Proxy", "people who write to each other behind numbers of an app"},
	"SOCIAL":                      {"Social", "influencers and communities"},
	registry.SoleProprietor:       {"Sole proprietor", "a person without a company; one number, one campaign"},
	"SWEEPSTAKE":                  {"Sweepstakes", "games and draws"},
	"TRIAL":                       {"Trial", "trying out a service, for a short time"},
	"UCAAS_HIGH":                  {"Office telephony, high volume", "employees who write from a telephone system"},
	"UCAAS_LOW":                   {"Office telephony, low volume", "employees who write from a telephone system"},
}

func useCaseName(word string) string {
	if u, ok := useCases[word]; ok {
		return u.name
	}
	return words(word)
}

func useCaseText(word string) string { return useCases[word].text }

// maxSamples is how many sample messages a campaign may have.
const maxSamples = 5

// sampleField is the name of the field of a sample, as refusals name it. What is said of
// all samples stands at the first.
func sampleField(i int) string {
	if i == 0 {
		return "sample_messages"
	}
	return fmt.Sprintf("sample_messages[%d]", i)
}

func replyFields() []page.Field {
	return []page.Field{
		{Name: "start_reply", Label: "Answer to START", Kind: page.Multiline, Max: 320, Rows: 2, Help: "Names the brand, says how often you write, “Msg & data rates may apply”, and how to get help and leave. 20 to 320 characters."},
		{Name: "stop_reply", Label: "Answer to STOP", Kind: page.Multiline, Max: 320, Rows: 2, Help: "Names the brand, and says that no more messages come. It is the last one."},
		{Name: "help_reply", Label: "Answer to HELP", Kind: page.Multiline, Max: 320, Rows: 2, Help: "Names the brand and a way to reach it, “Msg & data rates may apply”, and how to leave."}}
}

// campaignSteps are the pages of its form.
func campaignSteps(brands []page.Option) []step {
	replies := replyFields()
	samples := make([]page.Field, maxSamples)
	for i := range samples {
		samples[i] = page.Field{Name: sampleField(i), Label: fmt.Sprintf("Sample %d", i+1), Kind: page.Multiline, Max: 1024, Rows: 2}
	}
	samples[0].Group, samples[0].Help = "Sample messages", "As they will be sent, with the brand's name; 20 to 1,024 characters. How many are needed depends on the use case: one or two. For marketing, one says how to leave, such as: Reply STOP to opt out."
	marks := []page.Field{
		{Name: "embedded_link", Label: "Messages have links", Kind: page.Check, Group: "What messages have in them", Help: "Carriers filter links of a campaign that did not say so. Public shorteners are refused; use your own domain."},
		{Name: "embedded_phone", Label: "Messages have phone numbers", Kind: page.Check},
		{Name: "age_gated", Label: "They are for adults only", Kind: page.Check, Help: "Such as alcohol; the age is checked before."},
		{Name: "direct_lending", Label: "They are about loans of your own", Kind: page.Check}, {Name: "affiliate_marketing", Label: "They are affiliate marketing", Kind: page.Check, Help: "Most carriers refuse it."},
		{Name: "number_pool", Label: "50 numbers or more send them", Kind: page.Check, Help: "T-Mobile must approve it first; without it 49 numbers are taken."}}
	return []step{
		{"use", "Use case", "It decides how much you may send, and cannot be changed once the campaign is filed.", []page.Field{
			{Name: "brand_id", Label: "Brand", Kind: page.Choice, Options: brands, Help: "In whose name it is sent."},
			{Name: "use_case", Label: "Use case", Kind: page.Choice, Required: true, Options: options("choose one", registry.UseCases(), func(s string) string { return useCaseName(s) + " – " + useCaseText(s) }), Help: "The narrowest that fits: carriers look closer at mixed ones and at marketing."},
			{Name: "sub_use_cases", Label: "What it is made of", Kind: page.Choices, Options: options("", registry.SubUseCases(), useCaseName)[1:], When: "use_case=MIXED|LOW_VOLUME", Help: "Two to five of them, of a mixed one."}}},
		{"messages", "Messages", "What you send to whom; carriers compare what is sent with it.", append(append([]page.Field{
			{Name: "description", Label: "Description", Kind: page.Multiline, Rows: 4, Max: 4096, Help: "Who sends what to whom, and why, in at least 40 characters. Such as: Acme sends customers who bought in its shop notices about their orders."}}, samples...), marks...)},
		{"consent", "Consent", "How people agree to get messages, and how they leave.", []page.Field{
			{Name: "message_flow", Label: "How people come to opt in", Kind: page.Multiline, Rows: 5, Max: 4096, Help: "Where they give their number, what they read there, and a link to it, in at least 40 characters. Most refusals are about this field."},
			{Name: "subscriber_optin", Label: "People opt in", Kind: page.Check, Value: "true", Group: "To begin"},
			{Name: "optin_keywords", Label: "Words to begin", Kind: page.Lines, Rows: 2, Help: "One a line. Leave it empty if people opt in elsewhere only."}, replies[0],
			{Name: "subscriber_optout", Label: "People can opt out", Kind: page.Check, Value: "true", Group: "To stop", Help: "Needed: no campaign is approved that people cannot leave."},
			{Name: "optout_keywords", Label: "Words to stop", Kind: page.Lines, Rows: 3, Help: "One a line; STOP has to be one of them. All the usual ones work whatever stands here."}, replies[1],
			{Name: "subscriber_help", Label: "People get help", Kind: page.Check, Value: "true", Group: "For help"},
			{Name: "help_keywords", Label: "Words for help", Kind: page.Lines, Rows: 2, Help: "One a line; HELP has to be one of them."}, replies[2],
			{Name: "auto_renewal", Label: "Renew the campaign by itself", Kind: page.Check, Value: "true", Group: "Renewal", Help: "Without it the campaign ends, and its numbers cannot send."}}},
	}
}

// useCaseTable says what each allows and asks for. Figures are the carriers' published ones
// that the gateway goes by until the registry reports its own.
func useCaseTable() page.Block {
	table := registry.TableAt(time.Now())
	t := page.Table{Caption: "Use cases", Columns: []page.Column{{Title: "Use case"}, {Title: "For"}, {Title: "Samples", Right: true, Help: "How many messages it must show"}, {Title: "AT&T, not vetted", Right: true, Help: "SMS parts a minute of a brand that is not vetted"}, {Title: "AT&T, score 75", Right: true, Help: "SMS parts a minute of a brand with a vetting score of 75 or more"}, {Title: "Approval"}}}
	for _, word := range registry.UseCases() {
		samples, special := registry.Samples(word)
		approval := page.Str("as usual")
		if special {
			approval = page.Badge("special", page.Warn, "Carriers approve each, or the brand is vetted for it")
		}
		least, most := table.ClassFor(word, -1), table.ClassFor(word, 75)
		a, b := page.Num(least.SMS), page.Num(most.SMS)
		if least.PerNumber {
			a, b = a.WithSub("of each number"), b.WithSub("of each number")
		}
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.Str(useCaseName(word)), page.Str(useCaseText(word)), page.Num(samples), a, b, approval}})
	}
	var caps []string
	for _, tier := range table.Tiers {
		caps = append(caps, words(tier.Name)+" "+page.Grouped(int64(tier.PerDay)))
	}
	t.Note = "T-Mobile counts by company and day, whatever the use case, in parts: " + joined(", ", caps...) + "."
	return page.Disclosure{Summary: "What each use case allows and asks for", Body: []page.Block{t}}
}
