package ingress_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/content"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/quiet"
	"github.com/postrider/postrider/internal/snapshot"
)

// decision is one line of testdata/decisions.md.
type decision struct {
	what, from, to, class, text, settings, decision, rule, says string
}

func readDecisions(t *testing.T) []decision {
	t.Helper()
	b, err := os.ReadFile("testdata/decisions.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []decision
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		c := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(c) != 9 {
			t.Fatalf("%d columns: %s", len(c), line)
		}
		for i := range c {
			c[i] = strings.TrimSpace(c[i])
		}
		if c[0] != "case" {
			all = append(all, decision{c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]})
		}
	}
	return all
}

// TestDecisions asks the whole of policy, through the door that a message comes in
// by, what the table says it answers.
func TestDecisions(t *testing.T) {
	all := readDecisions(t)
	if len(all) < 150 {
		t.Errorf("the table has %d cases", len(all))
	}
	seen := map[string]bool{}
	for _, d := range all {
		if seen[d.what] {
			t.Errorf("%s: there are two of it", d.what)
		}
		seen[d.what] = true
		t.Run(d.what, func(t *testing.T) { d.judge(t) })
	}
}

func (d decision) judge(t *testing.T) {
	w := decisionWorld(t)
	w.request = ingress.Request{AccountID: w.account.ID, Edge: "rest", From: d.from, To: d.to, Class: message.Class(d.class), Body: textOf(d.text), DryRun: true}
	for _, s := range strings.Fields(d.settings) {
		name, value, _ := strings.Cut(s, "=")
		w.set(t, name, value)
	}
	w.config.Index()
	out, err := w.Accept(context.Background(), w.request)
	var e *message.Error
	got, rule, says := "allow", "", ""
	switch {
	case errors.As(err, &e):
		got, says = string(e.Reason), e.Detail
		for _, entry := range out.Trail {
			if entry.Result == message.Refused {
				rule = entry.Rule
			}
		}
	case err != nil:
		t.Fatal(err)
	case out.Hold != nil:
		got, rule, says = "hold", out.Hold.Rule, out.Hold.Detail
	default:
		rule = d.rule
	}
	if got != d.decision || rule != d.rule || !strings.Contains(says, d.says) {
		t.Errorf("%s by %q, saying %q; the table has %s by %q, saying %q\ntrail %+v", got, rule, says, d.decision, d.rule, d.says, out.Trail)
	}
}

// textOf reads the text column: nothing stands for hello, - for no text, and x*3
// for xxx.
func textOf(s string) string {
	if letter, n, ok := strings.Cut(s, "*"); ok {
		if times, err := strconv.Atoi(n); err == nil {
			return strings.Repeat(letter, times)
		}
	}
	switch s {
	case "":
		return "hello"
	case "-":
		return ""
	}
	return s
}

// deciding is the world of the table.
type deciding struct {
	*bundle
	now     time.Time
	request ingress.Request
	stops   []message.OptOut
	pace    time.Duration // how long the pacer makes a message wait
	rules   []string
}

func decisionWorld(t *testing.T) *deciding {
	w := &deciding{bundle: setup(t), now: time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)}
	account, other := w.account.ID, message.NewID()
	w.account.TimeZone, w.account.AllowedSourceAddresses = "America/New_York", []string{"ACME", "+12025550166", "+18775550100"}
	c := w.config
	c.Accounts[other] = &snapshot.Account{ID: other, Status: snapshot.AccountActive}
	c.Numbers, c.Campaigns = map[message.Address]*snapshot.Number{}, map[message.ID]*snapshot.Campaign{}
	brand := &snapshot.Brand{ID: message.NewID(), AccountID: account, Name: "Acme", DailyCap: 2000, CapKey: "acme"}
	c.Brands = map[message.ID]*snapshot.Brand{brand.ID: brand}
	campaign := func(owner message.ID, id string, status snapshot.CampaignStatus) message.ID {
		row := &snapshot.Campaign{ID: message.NewID(), AccountID: owner, CampaignID: id, Status: status, Brand: brand.ID, Throughput: 240}
		c.Campaigns[row.ID] = row
		return row.ID
	}
	number := func(n message.Address, owner, campaign message.ID) *snapshot.Number {
		row := &snapshot.Number{Number: n, AccountID: owner, SMSEnabled: true, Campaign: campaign}
		c.Numbers[n] = row
		return row
	}
	active := campaign(account, "C8X2KQ1", snapshot.CampaignActive)
	number("+12025550143", account, active)
	number("+12025550144", account, campaign(account, "CSUSPEN", snapshot.CampaignSuspended))
	number("+12025550145", account, message.ID{})
	number("+12025550146", account, active).SMSEnabled = false
	number("+12025550147", other, campaign(other, "COTHER1", snapshot.CampaignActive))
	number("+12025550148", account, campaign(other, "COTHER2", snapshot.CampaignActive))
	number("+12025550149", account, message.NewID())
	number("+12025550150", account, campaign(account, "CPENDIN", snapshot.CampaignPending))
	number("+12025550151", account, campaign(account, "", snapshot.CampaignDraft))
	number("+12025550152", account, campaign(account, "CREJECT", snapshot.CampaignRejected))
	number("+12025550153", account, campaign(account, "CEXPIRE", snapshot.CampaignExpired))
	number("+14165550100", account, message.ID{})
	number("+442071838750", account, message.ID{})
	number("12345", account, message.ID{}).LeasedUntil = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	number("54321", account, message.ID{}).LeasedUntil = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	for n, verification := range map[message.Address]string{"+18005550199": "approved", "+18335550101": "pending", "+18335550102": "rejected", "+18335550103": "unverified"} {
		number(n, account, message.ID{}).Verification = verification
	}
	all := &snapshot.Vendor{ID: message.NewID(), Name: "north", ProviderType: "smpp", Active: true, SupportsUnicode: true, SupportsAlphanumeric: true}
	plain := &snapshot.Vendor{ID: message.NewID(), Name: "plain", ProviderType: "smpp", Active: true}
	c.Vendors = map[message.ID]*snapshot.Vendor{all.ID: all, plain.ID: plain}
	c.Routes = []snapshot.Route{{ID: 1, DestPattern: regexp.MustCompile("^(1|44|7)"), VendorID: all.ID, RatePerMsg: 4500}, {ID: 2, DestPattern: regexp.MustCompile("^49"), VendorID: plain.ID}}
	w.Now = func() time.Time { return w.now }
	w.OptOuts, w.Pacer = w, w
	return w
}

func (w *deciding) set(t *testing.T, name, value string) {
	t.Helper()
	switch name {
	case "account":
		w.setAccount(value)
	case "key":
		w.request.Credential = &snapshot.Credential{AllowedNumbers: strings.FieldsFunc(value, func(r rune) bool { return r == ',' })}
	case "force":
		w.account.ForceSourceAddress = message.Address(value)
	case "dest":
		w.account.AllowedDestinations = strings.Split(value, ",")
	case "max_parts":
		w.account.MaxParts = atoi(t, value)
	case "stopped":
		w.stop(value)
	case "automatic":
		w.request.Automatic = true
	case "rule":
		w.rules = append(w.rules, value)
		w.setRules(t)
	case "at":
		at, err := time.Parse(time.RFC3339, value)
		if err != nil {
			t.Fatal(err)
		}
		w.now = at
	case "quiet":
		w.account.QuietHours = quiet.Policy(value)
	case "validity":
		w.request.Validity = time.Duration(atoi(t, value)) * time.Second
	case "send_at":
		w.request.SendAt = w.now.Add(time.Duration(atoi(t, value)) * time.Second)
	case "pace":
		w.pace = time.Duration(atoi(t, value)) * time.Second
	case "quota":
		w.account.Limited, w.journal.fit = true, spent(message.ReasonQuotaExceeded, policy.RuleQuota)
	case "balance":
		w.account.Prepaid, w.journal.fit = true, spent(message.ReasonInsufficientBalance, policy.RuleBalance)
	case "rate":
		w.request.Rate = message.TrailEntry{Rule: policy.RuleRate, Result: message.Refused, Detail: "more than 10 messages in a second"}
	case "encoding":
		w.request.Encoding = message.Encoding(value)
	case "smart":
		w.request.SmartEncoding = new(true)
	case "vendors":
		for _, v := range w.config.Vendors {
			v.Active = value != "off"
			v.BindType = value
		}
	default:
		t.Fatalf("no setting %q", name)
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (w *deciding) setAccount(value string) {
	if value == "gone" {
		delete(w.config.Accounts, w.account.ID)
		return
	}
	w.account.Status = snapshot.AccountStatus(value)
}

// stop notes an opt-out of +13105550117: its scope, or its source with the scope of
// a number, and after a colon what it is of if not the usual.
func (w *deciding) stop(value string) {
	kind, of, _ := strings.Cut(value, ":")
	o := message.OptOut{Recipient: "+13105550117", Scope: message.OptOutNumber, Sender: "+12025550143", Source: message.OptOutByKeyword, Keyword: "STOP", At: w.now.Add(-time.Hour)}
	switch kind {
	case "number":
		if of != "" {
			o.Sender = message.Address(of)
		}
	case "campaign":
		o.Scope, o.Sender, o.CampaignID = message.OptOutCampaign, "", "C8X2KQ1"
		if of != "" {
			o.CampaignID = of
		}
	case "account":
		o.Scope, o.Sender = message.OptOutAccount, ""
	default:
		o.Source, o.Keyword = message.OptOutSource(kind), ""
	}
	w.stops = append(w.stops, o)
}

// Stopped is what the set in memory answers.
func (w *deciding) Stopped(_ message.ID, sender, recipient message.Address, campaign string) (message.OptOut, bool) {
	for _, o := range w.stops {
		switch {
		case o.Recipient != recipient:
		case o.Scope == message.OptOutAccount, o.Scope == message.OptOutCampaign && o.CampaignID == campaign, o.Scope == message.OptOutNumber && o.Sender == sender:
			return o, true
		}
	}
	return message.OptOut{}, false
}

// Estimate is a pacer that makes everything wait as long as the case says: a
// minute's cap for up to a minute, else a day's.
func (w *deciding) Estimate(_ context.Context, d pace.Demand) (pace.Slot, error) {
	s := pace.Slot{At: d.NotBefore.Add(w.pace), Parts: d.Parts, Limits: d.Limits}
	if s.At.After(d.NotAfter) {
		return s, message.Refuse(message.ReasonDailyCapReached, "not before %s", s.At)
	}
	if w.pace > 0 {
		s.Hold = message.Hold{Rule: policy.RuleRate, Until: s.At, Detail: fmt.Sprintf("%d parts a minute", d.Limits[0].Parts)}
		if w.pace > time.Minute {
			s.Hold.Rule = policy.RuleDailyCap
		}
		s.Trail = []message.TrailEntry{{Rule: s.Hold.Rule, Result: message.Holding, Detail: s.Hold.Detail}}
	}
	return s, nil
}

// rulePattern reads a content rule: action:word, then @ and the class of messages
// that it is for, # and other for one of another account, ^ and the day it begins.
var rulePattern = regexp.MustCompile(`^(allow|flag|hold|refuse):([a-z]+)(?:@([a-z]+))?(?:#(other))?(?:\^(.+))?$`)

// setRules makes the case's rules those in force. Rules that allow are the account's
// own, the others everybody's.
func (w *deciding) setRules(t *testing.T) {
	t.Helper()
	var all []content.Rule
	for i, s := range w.rules {
		m := rulePattern.FindStringSubmatch(s)
		if m == nil {
			t.Fatalf("no rule %q", s)
		}
		r := content.Rule{ID: message.NewID(), Name: fmt.Sprint("rule ", i), Kind: content.KindWord, Class: "gambling", Pattern: m[2], Action: content.Action(m[1]),
			MessageClass: message.Class(m[3]), Active: true}
		if r.Action == content.ActionAllow {
			r.AccountID = w.account.ID
		}
		if m[4] != "" {
			r.AccountID = message.NewID()
		}
		if m[5] != "" {
			from, err := time.Parse(time.DateOnly, m[5])
			if err != nil {
				t.Fatal(err)
			}
			r.From = from
		}
		all = append(all, r)
	}
	rules, problems := content.Compile(all, w.now)
	if len(problems) > 0 {
		t.Fatalf("%+v", problems)
	}
	w.config.Content = rules
}

// Every reason that a message can be refused for at the door is in the table, but
// those that are about a request and not about a message, and the backlog, which is
// counted in the process.
func TestDecisionsNameEveryRefusal(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range readDecisions(t) {
		seen[d.decision] = true
	}
	for _, r := range []message.Reason{message.ReasonInvalidRequest, message.ReasonAccountSuspended, message.ReasonUnauthorizedSender, message.ReasonInsufficientBalance,
		message.ReasonQuotaExceeded, message.ReasonRateLimitExceeded, message.ReasonUnregisteredCampaign, message.ReasonCampaignInactive, message.ReasonSenderUnverified,
		message.ReasonOptedOut, message.ReasonProhibitedContent, message.ReasonQuietHours, message.ReasonMessageTooLong, message.ReasonEncodingMismatch,
		message.ReasonInvalidSchedule, message.ReasonInvalidDestination, message.ReasonDestinationNotAllowed, message.ReasonNoRoute, message.ReasonDailyCapReached} {
		if !seen[string(r)] {
			t.Errorf("no case is refused with %s", r)
		}
	}
}
