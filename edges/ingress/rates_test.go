package ingress_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// What an edge has counted stands in the trail before what comes after it, unless a
// rule before it refuses.
func TestRateInTheTrail(t *testing.T) {
	b := setup(t)
	rules := func(trail []message.TrailEntry) string {
		var list []string
		for _, e := range trail {
			list = append(list, e.Rule+" "+string(e.Result))
		}
		return strings.Join(list, ", ")
	}
	r := b.request()
	plain, err := b.Accept(context.Background(), r)
	if err != nil || strings.Contains(rules(plain.Trail), "rate") {
		t.Fatalf("%v, %s", err, rules(plain.Trail))
	}
	r.Rate = message.TrailEntry{Rule: "rate", Result: message.Pass, Detail: "1 of 10"}
	out, err := b.Accept(context.Background(), r)
	i := slices.Index(out.Trail, r.Rate)
	if err != nil || i != len(out.Trail)-2 || out.Trail[i+1].Rule != "route" || len(out.Trail) != len(plain.Trail)+1 {
		t.Errorf("%v, %s", err, rules(out.Trail))
	}
	stored := b.journal.accepted[len(b.journal.accepted)-1]
	if !slices.Contains(stored.Trail, r.Rate) {
		t.Errorf("stored %s", rules(stored.Trail))
	}

	r.DryRun, r.Rate = true, message.TrailEntry{Rule: "rate", Result: message.Refused, Detail: "more than 10"}
	out, err = b.Accept(context.Background(), r)
	if message.ReasonOf(err) != message.ReasonRateLimitExceeded || out.Trail[len(out.Trail)-1] != r.Rate || len(out.Trail) != len(plain.Trail) {
		t.Errorf("a dry run over the rate: %v, %s", err, rules(out.Trail))
	}
	b.account.Status = snapshot.AccountSuspended
	out, err = b.Accept(context.Background(), r)
	if message.ReasonOf(err) != message.ReasonAccountSuspended || strings.Contains(rules(out.Trail), "rate") {
		t.Errorf("refused before: %v, %s", err, rules(out.Trail))
	}
}

func TestNumberRate(t *testing.T) {
	b := setup(t)
	s := b.Snapshot()
	n := *s.Numbers[number]
	n.RateLimit = 7
	limited := *s
	limited.Numbers = map[message.Address]*snapshot.Number{number: &n}
	limited.Index()
	forced := *b.account
	forced.ForceSourceAddress = number
	stranger := *b.account
	stranger.ID = message.NewID()
	for name, c := range map[string]struct {
		s       *snapshot.Snapshot
		account *snapshot.Account
		from    string
		ok      bool
	}{
		"its own":          {&limited, b.account, string(number), true},
		"the only one":     {&limited, b.account, "", true},
		"forced":           {&limited, &forced, "ACME", true},
		"another":          {&limited, b.account, "ACME", false},
		"somebody else's":  {&limited, &stranger, string(number), false},
		"nonsense":         {&limited, b.account, "++", false},
		"without a rate":   {s, b.account, string(number), false},
		"none to choose":   {&limited, &stranger, "", false},
		"without a number": {&snapshot.Snapshot{}, b.account, string(number), false},
	} {
		r, ok := ingress.NumberRate(c.s, c.account, c.from)
		if ok != c.ok || ok && (r.PerSecond != 7 || r.Scope != "number" || !strings.HasSuffix(r.Whose, string(number))) {
			t.Errorf("%s: %+v, %v", name, r, ok)
		}
		if strings.Contains(r.Key, string(number)) {
			t.Errorf("%s: the key shows the number", name)
		}
	}
}
