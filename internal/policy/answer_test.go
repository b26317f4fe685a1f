package policy

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

func TestActOn(t *testing.T) {
	const handset message.Address = "+13105550117"
	stop := Keyword{Action: message.KeywordStop, Word: "STOP"}
	start := Keyword{Action: message.KeywordStart, Word: "START"}
	help := Keyword{Action: message.KeywordHelp, Word: "HELP"}
	for _, tt := range []struct {
		name    string
		change  func(a *snapshot.Account, c *snapshot.Campaign, n *snapshot.Number, v *snapshot.Vendor)
		number  message.Address // own if empty
		from    message.Address // handset if empty
		keyword Keyword
		scope   message.OptOutScope // empty: no act
		reply   string              // how it begins; empty: none
	}{
		{name: "stop", keyword: stop, scope: "number", reply: "Acme: You have been unsubscribed"},
		{name: "start", keyword: start, scope: "number", reply: "Acme: You are subscribed again"},
		{name: "help", keyword: help, scope: "number", reply: "Acme: Help"},
		{name: "no keyword", keyword: Keyword{ForHuman: true}},
		{name: "from a name", keyword: stop, from: "BANK"},
		{name: "from a short code", keyword: stop, from: "12345", scope: "number", reply: "Acme: You"},
		{name: "from nowhere", keyword: stop, from: ""},
		{name: "scope campaign", keyword: stop, scope: "campaign", reply: "Acme",
			change: func(a *snapshot.Account, _ *snapshot.Campaign, _ *snapshot.Number, _ *snapshot.Vendor) {
				a.OptOutScope = "campaign"
			}},
		{name: "scope campaign without one", keyword: stop, number: tollFree, scope: "number",
			change: func(a *snapshot.Account, _ *snapshot.Campaign, _ *snapshot.Number, _ *snapshot.Vendor) {
				a.OptOutScope = "campaign"
			}},
		{name: "scope campaign of another account's", keyword: stop, scope: "number", reply: "Acme",
			change: func(a *snapshot.Account, c *snapshot.Campaign, _ *snapshot.Number, _ *snapshot.Vendor) {
				a.OptOutScope, c.AccountID, c.StopReply = "campaign", stranger, "not ours"
			}},
		{name: "scope account", keyword: stop, scope: "account", reply: "Acme",
			change: func(a *snapshot.Account, _ *snapshot.Campaign, _ *snapshot.Number, _ *snapshot.Vendor) {
				a.OptOutScope = "account"
			}},
		{name: "the account's answer", keyword: help, scope: "number", reply: "Call Acme at",
			change: func(a *snapshot.Account, _ *snapshot.Campaign, _ *snapshot.Number, _ *snapshot.Vendor) {
				a.HelpReply = "Call {company} at +12025550100"
			}},
		{name: "the campaign's answer", keyword: stop, scope: "number", reply: "No more of Acme",
			change: func(a *snapshot.Account, c *snapshot.Campaign, _ *snapshot.Number, _ *snapshot.Vendor) {
				a.StopReply, c.StopReply, c.StartReply = "the account's", "No more of {company}", "another"
			}},
		{name: "the vendor answers", keyword: help, scope: "number",
			change: func(_ *snapshot.Account, _ *snapshot.Campaign, _ *snapshot.Number, v *snapshot.Vendor) {
				v.Replies = snapshot.RepliesVendor
			}},
		{name: "toll-free stop", keyword: stop, number: tollFree, scope: "number"},
		{name: "toll-free start", keyword: start, number: tollFree, scope: "number"},
		{name: "toll-free help", keyword: help, number: tollFree, scope: "number", reply: "Acme: Help"},
		{name: "toll-free, but nobody answers there", keyword: stop, number: tollFree, scope: "number", reply: "Acme: You",
			change: func(_ *snapshot.Account, _ *snapshot.Campaign, _ *snapshot.Number, v *snapshot.Vendor) {
				v.Replies = snapshot.RepliesGateway
			}},
		{name: "a number that may not send", keyword: stop, scope: "number",
			change: func(_ *snapshot.Account, _ *snapshot.Campaign, n *snapshot.Number, _ *snapshot.Vendor) {
				n.SMSEnabled = false
			}},
		{name: "an account that may not send", keyword: stop, scope: "number",
			change: func(a *snapshot.Account, _ *snapshot.Campaign, _ *snapshot.Number, _ *snapshot.Vendor) {
				a.Status = snapshot.AccountSuspended
			}},
	} {
		s := world()
		number, from := own, handset
		if tt.number != "" {
			number = tt.number
		}
		if tt.from != "" || tt.name == "from nowhere" {
			from = tt.from
		}
		a, n, v := s.Accounts[account], s.Numbers[number], s.Vendors[north]
		a.CompanyName = "Acme"
		if tt.change != nil {
			tt.change(a, s.CampaignOf(s.Numbers[own]), n, v)
		}
		act := ActOn(s, n, north, from, tt.keyword)
		if (act == nil) != (tt.scope == "") {
			t.Errorf("%s: %+v", tt.name, act)
		}
		if act == nil {
			continue
		}
		o := act.OptOut
		if o.Scope != tt.scope || o.AccountID != account || o.Recipient != from || o.Sender != number || o.Keyword != tt.keyword.Word ||
			o.Source != message.OptOutByKeyword || tt.scope == message.OptOutCampaign && o.CampaignID != "C8X2KQ1" {
			t.Errorf("%s: %+v", tt.name, o)
		}
		switch r := act.Reply; {
		case (r == nil) != (tt.reply == ""):
			t.Errorf("%s: answer %+v", tt.name, r)
		case r != nil && (!strings.HasPrefix(r.Text, tt.reply) || r.From != number || r.To != from || r.AccountID != account || r.Action != tt.keyword.Action):
			t.Errorf("%s: answer %+v", tt.name, r)
		}
	}
}

// The gateway's own answers are one part of GSM 7-bit, whatever the company's name.
func TestAnswersAreOnePart(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"Acme", "Acme: "},
		{"  Acme \n Inc. ", "Acme Inc.: "},
		{"Smith’s “Best” – Shop…", `Smith's "Best" - Shop...: `},
		{"株式会社 Acme", "Acme: "},
		{"株式会社", "This sender: "},
		{"", "This sender: "},
		{"{company}", "{company}: "},
		{strings.Repeat("Long & Sons ", 20), "Long & Sons Long"},
		{strings.Repeat("€", 200), "€€€"},
	} {
		for action := range answers {
			got := answer(&snapshot.Account{CompanyName: tt.name}, nil, action)
			plan, err := text.Plan(got, message.EncodingGSM7, false)
			if err != nil || len(plan.Parts) != 1 || !strings.HasPrefix(got, tt.want) || strings.Contains(got, company) && tt.name != company {
				t.Errorf("%s to %.20q: %q, %v", action, tt.name, got, err)
			}
			if !strings.Contains(got, "STOP") && action != message.KeywordStop {
				t.Errorf("%s says not how to stop: %q", action, got)
			}
		}
	}
}
