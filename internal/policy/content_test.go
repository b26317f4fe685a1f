package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/content"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

var noon = time.Date(2026, 11, 20, 20, 0, 0, 0, time.UTC) // in Los Angeles

// ruled is world with content rules.
func ruled(t *testing.T) *snapshot.Snapshot {
	t.Helper()
	word := func(action content.Action, pattern string) content.Rule {
		return content.Rule{ID: message.NewID(), Name: "the " + pattern + " rule", Kind: content.KindWord, Class: "gambling", Pattern: pattern, Action: action, Active: true}
	}
	links := word(content.ActionHold, "@undeclared")
	links.Kind, links.Class = content.KindLink, "link"
	own := word(content.ActionAllow, "raffle")
	own.AccountID = account
	s := world()
	var problems []content.Problem
	s.Content, problems = content.Compile([]content.Rule{word(content.ActionFlag, "bingo"), word(content.ActionHold, "poker"), word(content.ActionRefuse, "casino"), links, own}, noon)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return s
}

func TestContent(t *testing.T) {
	t.Parallel()
	released, refused := message.Review{Verdict: message.VerdictRelease}, message.Review{Verdict: message.VerdictRefuse, Reason: "a lottery"}
	for _, c := range []struct {
		name    string
		text    string
		review  message.Review
		change  func(*snapshot.Snapshot, *message.Message)
		result  message.Result
		detail  string // of the trail
		said    string // to the customer, when it is refused or held
		flagged string
	}{
		{name: "nothing in it", text: "hello", result: message.Pass},
		{name: "flagged", text: "bingo", result: message.Pass, detail: `flag by "the bingo rule" (gambling, global)`, flagged: "gambling"},
		{name: "held", text: "poker", result: message.Holding, detail: `hold by "the poker rule" (gambling, global)`,
			said: "the text matches a content rule of class gambling and waits for a review", flagged: "gambling"},
		{name: "refused", text: "CASINO and poker", result: message.Refused, detail: `refuse by "the casino rule" (gambling, global); hold by "the poker rule" (gambling, global)`,
			said: "the text matches a content rule of class gambling"},
		{name: "allowed by the account's own rule", text: "poker raffle", result: message.Pass, detail: `allow by "the raffle rule" (gambling); hold by "the poker rule" (gambling, global) overruled`},
		{name: "refused all the same", text: "casino raffle", result: message.Refused, said: "the text matches a content rule of class gambling"},
		{name: "released", text: "poker", review: released, result: message.Pass, detail: `released after review; hold by "the poker rule" (gambling, global)`},
		{name: "released, and refused by a rule", text: "casino", review: released, result: message.Refused, said: "the text matches a content rule of class gambling"},
		{name: "released before it was changed", text: "poker", review: released, change: func(_ *snapshot.Snapshot, m *message.Message) { m.Revision = 1 }, result: message.Holding,
			said: "the text matches a content rule of class gambling and waits for a review", flagged: "gambling"},
		{name: "refused by somebody", text: "hello", review: refused, result: message.Refused, detail: "refused after review: a lottery", said: "refused after review: a lottery"},
		{name: "octets", text: "casino", change: func(_ *snapshot.Snapshot, m *message.Message) { m.Encoding = message.EncodingBinary }, result: message.Pass, detail: "there is no text to look at"},
		{name: "a link that may be declared", text: "shop.com", result: message.Pass},
		{name: "a link that was not declared", text: "shop.com", change: func(s *snapshot.Snapshot, _ *message.Message) { s.CampaignOf(s.Numbers[own]).NoLinks = true }, result: message.Holding, flagged: "link"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, m := ruled(t), allowed()
			m.Body = c.text
			if c.change != nil {
				c.change(s, m)
			}
			d := Evaluate(s, Question{Message: m, Now: noon, Review: c.review})
			e := entryOf(t, d, RuleContent)
			if e.Result != c.result || c.detail != "" && e.Detail != c.detail {
				t.Errorf("%s: %s", e.Result, e.Detail)
			}
			said := ""
			switch {
			case d.Error != nil:
				said = d.Error.Detail
				if d.Error.Reason != message.ReasonProhibitedContent {
					t.Errorf("refused with %s", d.Error.Reason)
				}
			case d.Hold() != nil:
				said = d.Hold().Detail
				if d.Hold().Rule != RuleContent || !d.Hold().Until.IsZero() {
					t.Errorf("held by %+v", d.Hold())
				}
			}
			if c.said != "" && said != c.said {
				t.Errorf("the customer is told %q", said)
			}
			if strings.Contains(said, "rule\"") || (d.Error == nil) != (c.result != message.Refused) || (d.Hold() == nil) != (c.result != message.Holding) {
				t.Errorf("%+v", d)
			}
			if got := strings.Join(d.Flagged, " "); got != c.flagged {
				t.Errorf("flagged %q", got)
			}
		})
	}
}

// Before a departure only a verdict counts.
func TestContentBeforeADeparture(t *testing.T) {
	t.Parallel()
	s, m := ruled(t), allowed()
	m.Body = "casino poker"
	if d := Gate(s, Question{Message: m, Now: noon}); !d.Allowed() || d.Hold() != nil {
		t.Errorf("%+v", d)
	}
	if d := Gate(s, Question{Message: m, Now: noon, Review: message.Review{Verdict: message.VerdictRefuse, Reason: "no"}}); message.ReasonOf(d.Error) != message.ReasonProhibitedContent {
		t.Errorf("%+v", d)
	}
}

func entryOf(t *testing.T, d Decision, rule string) message.TrailEntry {
	t.Helper()
	for _, e := range d.Trail {
		if e.Rule == rule {
			return e
		}
	}
	t.Fatalf("no %s in %+v", rule, d.Trail)
	return message.TrailEntry{}
}
