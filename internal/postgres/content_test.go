package postgres

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/content"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/quiet"
	"github.com/postrider/postrider/internal/snapshot"
)

func contentDraft(name, pattern string) content.Rule {
	return content.Rule{ID: message.NewID(), Name: name, Kind: content.KindWord, Class: "spam", Pattern: pattern, Action: content.ActionHold, Active: true}
}

func (b *bundle) load() *snapshot.Snapshot {
	b.tb.Helper()
	s, err := b.LoadSnapshot(b.ctx)
	if err != nil {
		b.tb.Fatal(err)
	}
	return s
}

func (b *bundle) account() message.ID {
	b.tb.Helper()
	id := message.NewID()
	if err := b.CreateAccount(b.ctx, actor, snapshot.Account{ID: id, CompanyName: "Acme", WebhookSecret: "whsec_a"}); err != nil {
		b.tb.Fatal(err)
	}
	return id
}

func TestContentRulesAreInTheSnapshot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.account()
	found := func(text string) content.Action {
		return b.load().Content.Evaluate(content.Query{Account: account, Text: text, Now: time.Now()}).Action
	}
	if found("bad") != "" {
		t.Fatal("there are rules in an empty table")
	}
	r := contentDraft("one", "bad")
	if err := b.CreateContentRule(b.ctx, actor, r); err != nil {
		t.Fatal(err)
	}
	before := b.load().Version
	own := contentDraft("one", "other") // the name is free in another scope
	own.AccountID, own.Action = account, content.ActionRefuse
	if err := b.CreateContentRule(b.ctx, actor, own); err != nil {
		t.Fatal(err)
	}
	if b.load().Version == before {
		t.Error("a new rule does not change the version")
	}
	if found("bad") != content.ActionHold || found("other") != content.ActionRefuse {
		t.Errorf("found %q and %q", found("bad"), found("other"))
	}
	changed, err := b.ChangeContentRule(b.ctx, actor, r.ID, func(r *content.Rule) error {
		r.Pattern, r.Action, r.AccountID = "worse", content.ActionFlag, account
		return nil
	})
	if err != nil || changed.Pattern != "worse" || changed.AccountID != (message.ID{}) || changed.Actor != actor.Name || changed.From.IsZero() {
		t.Errorf("changed to %+v, %v", changed, err)
	}
	if found("bad") != "" || found("worse") != content.ActionFlag {
		t.Error("the change is not in force")
	}
	if err := b.DeleteContentRule(b.ctx, actor, r.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteContentRule(b.ctx, actor, r.ID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("deleted twice: %v", err)
	}
	list, err := b.ContentRules(b.ctx, content.Filter{}, message.ID{}, 10)
	if err != nil || len(list) != 1 || list[0].ID != own.ID {
		t.Errorf("left: %+v, %v", list, err)
	}
	if n, err := b.VerifyAudit(b.ctx); n != 0 || err != nil {
		t.Errorf("audit row %d, %v", n, err)
	}
}

func TestContentRulesThatCannotBeUsedAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.CreateContentRule(b.ctx, actor, contentDraft("one", "bad")); err != nil {
		t.Fatal(err)
	}
	broken := contentDraft("two", "(")
	broken.Kind = content.KindRegex
	nobody := contentDraft("three", "bad")
	nobody.AccountID = message.NewID()
	for _, c := range []struct {
		rule content.Rule
		want message.Reason
	}{{broken, message.ReasonInvalidRequest}, {nobody, message.ReasonInvalidRequest}, {contentDraft("one", "x"), message.ReasonConflict}} {
		if err := b.CreateContentRule(b.ctx, actor, c.rule); message.ReasonOf(err) != c.want {
			t.Errorf("%s: %v", c.rule.Name, err)
		}
	}
	if _, err := b.ChangeContentRule(b.ctx, actor, message.NewID(), func(*content.Rule) error { return nil }); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("a rule that is not there: %v", err)
	}
	// The scope as a whole has bounds: patterns that go over every text.
	last := message.ID{}
	for i := range 21 {
		r := contentDraft("digits"+strings.Repeat("x", i), `\d{9}`)
		r.Kind = content.KindRegex
		err := b.CreateContentRule(b.ctx, actor, r)
		if (message.ReasonOf(err) == message.ReasonInvalidRequest) != (i == 20) {
			t.Errorf("pattern %d: %v", i+1, err)
		}
		if err == nil {
			last = r.ID
		}
	}
	if _, err := b.ChangeContentRule(b.ctx, actor, last, func(r *content.Rule) error { r.Name = "renamed"; return nil }); err != nil {
		t.Errorf("the last that fits cannot be changed: %v", err)
	}
}

// A row that somebody has put in by hand and that cannot be used leaves the rest of
// the configuration in force.
func TestABrokenRowIsLeftOutOfTheSnapshot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.account()
	if err := b.CreateContentRule(b.ctx, actor, contentDraft("good", "bad")); err != nil {
		t.Fatal(err)
	}
	id := message.NewID()
	b.exec("insert into content_rules (id, name, kind, class, pattern, action, active) values ('" + id.String() + "', 'broken', 'regex', 'spam', '(', 'refuse', true)")
	b.exec("update accounts set quiet_windows = '{\"windows\": []}'")
	s := b.load()
	if told := fmt.Sprint(s.Problems); len(s.Problems) != 2 || !strings.Contains(told, id.String()) || !strings.Contains(told, account.String()) {
		t.Errorf("problems: %q", s.Problems)
	}
	// Another change leaves rules and problems as they are.
	if err := b.SetAccountStatus(b.ctx, actor, b.account(), snapshot.AccountSuspended); err != nil {
		t.Fatal(err)
	}
	later, err := b.RefreshSnapshot(b.ctx, s)
	if err != nil || later.Content != s.Content || len(later.Problems) != 2 {
		t.Errorf("problems: %v, %v", later.Problems, err)
	}
	if o := s.Content.Evaluate(content.Query{Text: "bad", Now: time.Now()}); o.Action != content.ActionHold {
		t.Errorf("the good rule does not count: %q", o.Action)
	}
}

func TestStarterRulesAreImportedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	n, err := b.ImportStarterRules(b.ctx, actor)
	if err != nil || n < 10 {
		t.Fatalf("%d, %v", n, err)
	}
	list, err := b.ContentRules(b.ctx, content.Filter{Global: true}, message.ID{}, 100)
	if err != nil || len(list) != n {
		t.Fatalf("%d rules, %v", len(list), err)
	}
	for _, r := range list {
		if r.Active != (r.Action == content.ActionFlag) {
			t.Errorf("%s: active %v", r.Name, r.Active)
		}
	}
	if _, err := b.ChangeContentRule(b.ctx, actor, list[0].ID, func(r *content.Rule) error { r.Active = false; return nil }); err != nil {
		t.Fatal(err)
	}
	if n, err := b.ImportStarterRules(b.ctx, actor); n != 0 || err != nil {
		t.Errorf("imported again: %d, %v", n, err)
	}
	if r, err := b.ContentRule(b.ctx, list[0].ID); err != nil || r.Active {
		t.Errorf("what was switched off is on again: %v", err)
	}
	all, err := b.AllContentRules(b.ctx, true)
	if err != nil || all.Evaluate(content.Query{Text: "casino", Now: time.Now()}).Action != content.ActionRefuse {
		t.Errorf("rules that are not active cannot be tried: %v", err)
	}
	if b.load().Content.Evaluate(content.Query{Text: "casino", Now: time.Now()}).Action != "" {
		t.Error("a starter rule that refuses is in force")
	}
}

func TestQuietHoursOfAnAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.account()
	if a := b.load().Accounts[id]; a.QuietHours != quiet.PolicyWait || a.QuietWindows != nil {
		t.Errorf("a new account has %q and %v", a.QuietHours, a.QuietWindows)
	}
	o, err := quiet.ParseOverride([]byte(`{"windows": [{"days": "mon-fri", "from": "09:00", "to": "18:00"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.ChangeAccount(b.ctx, actor, id, AccountChange{QuietHours: quiet.PolicyRefuse, QuietWindows: &Windows{o}}); err != nil {
		t.Fatal(err)
	}
	if a := b.load().Accounts[id]; a.QuietHours != quiet.PolicyRefuse || a.QuietWindows == nil || a.QuietWindows.Zone != quiet.ZoneRecipient {
		t.Errorf("it has %q and %v", a.QuietHours, a.QuietWindows)
	}
	if err := b.ChangeAccount(b.ctx, actor, id, AccountChange{MaxBacklog: 7}); err != nil {
		t.Fatal(err)
	}
	if a := b.load().Accounts[id]; a.QuietHours != quiet.PolicyRefuse || a.QuietWindows == nil {
		t.Error("another change has changed them")
	}
	if err := b.ChangeAccount(b.ctx, actor, id, AccountChange{QuietWindows: &Windows{}}); err != nil {
		t.Fatal(err)
	}
	if a := b.load().Accounts[id]; a.QuietWindows != nil {
		t.Errorf("windows were taken away, and are %v", a.QuietWindows)
	}
}

// What a campaign was filed with is known from its filing on, and counts at once.
func TestCampaignsWithoutLinks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account, id := b.account(), message.NewID()
	if err := b.CreateCampaign(b.ctx, actor, snapshot.Campaign{ID: id, AccountID: account, CampaignID: "C8X2KQ1", Status: snapshot.CampaignActive}, ""); err != nil {
		t.Fatal(err)
	}
	s := b.load()
	if c := s.Campaigns[id]; c.NoLinks || c.NoPhones {
		t.Error("a campaign that was not filed here is said to be without links")
	}
	b.exec("update campaign_details set filed_at = now(), embedded_phone = true where campaign = $1", id)
	s, err := b.RefreshSnapshot(b.ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Campaigns[id]; !c.NoLinks || c.NoPhones {
		t.Errorf("without links %v, without phone numbers %v", c.NoLinks, c.NoPhones)
	}
}
