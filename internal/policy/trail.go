package policy

import (
	"slices"

	"github.com/postrider/postrider/internal/message"
)

// WithEntries puts entries of rules that are decided outside of this package into
// their places in a trail.
func WithEntries(trail, entries []message.TrailEntry) []message.TrailEntry {
	out := slices.Concat(trail, entries)
	slices.SortStableFunc(out, func(a, b message.TrailEntry) int { return place(a.Rule) - place(b.Rule) })
	return out
}

// order is that of the trail.
var order = []string{RuleAccountActive, RuleSenderOwned, RuleDestination, RuleCampaign, RuleOptOut, RuleContent, RuleQuietHours, RuleRate, RuleQuota,
	RuleBalance, RuleDailyCap, RuleRoute}

func place(rule string) int { return slices.Index(order, rule) }
