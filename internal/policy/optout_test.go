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

// Recipients abroad are not bound by 10DLC, so the campaign's status says nothing of
// them; that they have stopped it does.
func TestOptOutOfAnInactiveCampaign(t *testing.T) {
	t.Parallel()
	s, m := world(), allowed()
	m.To = "+14165550117" // Toronto
	for _, c := range s.Campaigns {
		c.Status = snapshot.CampaignSuspended
	}
	outs := stopped{{AccountID: account, Recipient: m.To, Scope: message.OptOutCampaign, CampaignID: "C8X2KQ1", Source: message.OptOutByKeyword}}
	for ask, decide := range map[string]func(*snapshot.Snapshot, Question) Decision{"at first": Evaluate, "again": Gate} {
		if d := decide(s, Question{Message: m}); !d.Allowed() {
			t.Errorf("%s: %v", ask, d.Error)
		}
		if d := decide(s, Question{Message: m, OptOuts: outs}); message.ReasonOf(refusalOf(d)) != message.ReasonOptedOut {
			t.Errorf("%s: %+v", ask, d.Trail)
		}
	}
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

// What a STOP stops is stopped, whatever the account's scope, the kind of number and
// where the recipient is: the campaign of the number counts also where a message needs
// none.
func TestWhatKeywordsStopIsStopped(t *testing.T) {
	t.Parallel()
	const abroad message.Address = "+447700900123"
	for _, scope := range []message.OptOutScope{"", message.OptOutNumber, message.OptOutCampaign, message.OptOutAccount} {
		for _, number := range []message.Address{own, tollFree, short, london} {
			for _, recipient := range []message.Address{to, abroad} {
				for _, status := range []snapshot.CampaignStatus{snapshot.CampaignActive, snapshot.CampaignSuspended} {
					s := world()
					s.Accounts[account].OptOutScope = scope
					s.Numbers[tollFree].Campaign = s.Numbers[own].Campaign
					s.CampaignOf(s.Numbers[own]).Status = status
					m := allowed()
					m.From, m.To = number, recipient
					if d := Evaluate(s, Question{Message: m, OptOuts: stopped{}}); !d.Allowed() {
						continue // refused for something else
					}
					act := ActOn(s, s.Numbers[number], north, recipient, Keyword{Action: message.KeywordStop, Word: "STOP"})
					if act == nil {
						t.Fatalf("STOP from %s to %s does nothing", recipient, number)
					}
					o := act.OptOut
					if o.Scope != message.OptOutNumber {
						o.Sender = ""
					}
					for ask, decide := range map[string]func(*snapshot.Snapshot, Question) Decision{"at first": Evaluate, "again": Gate} {
						if d := decide(s, Question{Message: m, OptOuts: stopped{o}}); d.Allowed() || d.Error.Reason != message.ReasonOptedOut {
							t.Errorf("scope %q, from %s to %s, campaign %s, %s: %v", scope, number, recipient, status, ask, d.Error)
						}
					}
				}
			}
		}
	}
}
