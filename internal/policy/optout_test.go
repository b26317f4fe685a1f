package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// stopped is a list of opt-outs that is searched as the set does it.
type stopped []message.OptOut

func (list stopped) Stopped(account message.ID, sender, recipient message.Address, campaign string) (message.OptOut, bool) {
	for _, o := range list {
		if o.AccountID == account && o.Recipient == recipient && o.Stops(sender, campaign) {
			return o, true
		}
	}
	return message.OptOut{}, false
}

func TestOptOutRule(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 11, 20, 8, 30, 0, 0, time.UTC)
	with := func(o message.OptOut) stopped {
		o.AccountID, o.Recipient, o.At = account, to, since
		return stopped{o}
	}
	number := message.OptOut{Scope: message.OptOutNumber, Sender: own, Source: message.OptOutByKeyword, Keyword: "STOPALL"}
	campaign := message.OptOut{Scope: message.OptOutCampaign, CampaignID: "C8X2KQ1", Source: message.OptOutByAPI}
	everything := message.OptOut{Scope: message.OptOutAccount, Source: message.OptOutByImport}
	for _, c := range []struct {
		name   string
		outs   OptOuts
		change func(*snapshot.Snapshot, *message.Message)
		want   []string // in the refusal; none: allowed
	}{
		{"nobody asked", nil, nil, nil},
		{"nobody has", stopped{}, nil, nil},
		{"this number", with(number), nil, []string{string(to), string(own), "by the keyword STOPALL", "2026-11-20T08:30:00Z"}},
		{"another number", with(message.OptOut{Scope: message.OptOutNumber, Sender: short, Source: message.OptOutByAPI}), nil, nil},
		{"its campaign", with(campaign), nil, []string{"campaign C8X2KQ1", "over the API"}},
		{"the campaign of another number", with(campaign), from(london), nil},
		{"the account", with(everything), from(london), []string{"every sender of the account", "as imported"}},
		{"by the vendor", with(message.OptOut{Scope: message.OptOutNumber, Sender: own, Source: message.OptOutByVendor, Actor: "secret vendor"}), nil, []string{"carrier's side"}},
		{"a keyword that is not known", with(message.OptOut{Scope: message.OptOutNumber, Sender: own, Source: message.OptOutByKeyword}), nil, []string{"by keyword,"}},
		{"another recipient", with(number), sendTo("+13105550118"), nil},
		{"an automatic answer", with(everything), func(_ *snapshot.Snapshot, m *message.Message) { m.Automatic = true }, nil},
	} {
		for ask, decide := range map[string]func(*snapshot.Snapshot, Question) Decision{"at first": Evaluate, "again": Gate} {
			s, m := world(), allowed()
			if c.change != nil {
				c.change(s, m)
			}
			d := decide(s, Question{Message: m, OptOuts: c.outs})
			if len(c.want) == 0 {
				if !d.Allowed() {
					t.Errorf("%s, %s: %v", c.name, ask, d.Error)
				}
				continue
			}
			if d.Allowed() || d.Error.Reason != message.ReasonOptedOut || d.Candidates != nil {
				t.Errorf("%s, %s: %v", c.name, ask, d.Error)
				continue
			}
			last := d.Trail[len(d.Trail)-1]
			if last.Rule != RuleOptOut || last.Result != message.Refused || last.Detail != d.Error.Detail || strings.Contains(last.Detail, "secret") {
				t.Errorf("%s, %s: %+v", c.name, ask, last)
			}
			for _, word := range c.want {
				if !strings.Contains(d.Error.Detail, word) {
					t.Errorf("%s, %s: %q does not say %q", c.name, ask, d.Error.Detail, word)
				}
			}
		}
	}
}

// What a STOP stops is the account's choice; a number without a campaign is stopped
// alone.
func TestKeywordOptOut(t *testing.T) {
	t.Parallel()
	about := message.NewID()
	for _, c := range []struct {
		scope  message.OptOutScope
		number message.Address
		want   message.OptOut
	}{
		{"", own, message.OptOut{Scope: message.OptOutNumber, Sender: own}},
		{message.OptOutNumber, own, message.OptOut{Scope: message.OptOutNumber, Sender: own}},
		{message.OptOutCampaign, own, message.OptOut{Scope: message.OptOutCampaign, CampaignID: "C8X2KQ1"}},
		{message.OptOutCampaign, short, message.OptOut{Scope: message.OptOutNumber, Sender: short}},
		{message.OptOutCampaign, "+12025550147", message.OptOut{Scope: message.OptOutNumber, Sender: "+12025550147"}}, // another account's
		{message.OptOutAccount, own, message.OptOut{Scope: message.OptOutAccount}},
	} {
		s := world()
		s.Accounts[account].OptOutScope = c.scope
		got := KeywordOptOut(s, account, c.number, to, "STOP", about)
		if got.ID == (message.ID{}) || !got.Active() || got.AccountID != account || got.Recipient != to || got.Keyword != "STOP" ||
			got.Source != message.OptOutByKeyword || got.MessageID != about {
			t.Errorf("%+v", got)
		}
		if got.Scope != c.want.Scope || got.Sender != c.want.Sender || got.CampaignID != c.want.CampaignID {
			t.Errorf("scope %q, number %s: %+v", c.scope, c.number, got)
		}
		// It stops what was written to, as the rule asks.
		m := allowed()
		m.From = c.number
		if d := Evaluate(s, Question{Message: m, OptOuts: stopped{got}}); c.number != "+12025550147" && (d.Allowed() || d.Error.Reason != message.ReasonOptedOut) {
			t.Errorf("scope %q, number %s: %v", c.scope, c.number, d.Error)
		}
	}
	if got := KeywordOptOut(world(), message.NewID(), own, to, "STOP", about); got.Scope != message.OptOutNumber || got.Sender != own {
		t.Errorf("an account that is not known: %+v", got)
	}
}
