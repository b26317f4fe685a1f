package ingress

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
)

// Sender is what a message of the account leaves with when its request names from:
// the forced sender if there is one, else from, else the account's only number.
// asked is what was asked for when it is another.
func Sender(s *snapshot.Snapshot, account *snapshot.Account, from string) (used, asked message.Address, err error) {
	forced := account.ForceSourceAddress
	if from == "" {
		only, ok := s.OnlySender(account.ID)
		if forced != "" {
			only, ok = forced, true
		}
		if !ok {
			return "", "", message.Refuse(message.ReasonInvalidRequest, "from is required: the account does not have exactly one enabled number")
		}
		return only, "", nil
	}
	if used, err = message.ParseSender(from); err != nil {
		return "", "", err
	}
	if forced != "" && forced != used {
		return forced, used, nil
	}
	return used, "", nil
}

// NumberRate is the rate of the number that a request of the account would leave
// with. False: it has none, or it is not the account's number, which the rules will
// say.
func NumberRate(s *snapshot.Snapshot, account *snapshot.Account, from string) (limit.Rate, bool) {
	sender, _, err := Sender(s, account, from)
	if err != nil {
		return limit.Rate{}, false
	}
	n := s.Numbers[sender]
	if n == nil || n.AccountID != account.ID || n.RateLimit <= 0 {
		return limit.Rate{}, false
	}
	sum := sha256.Sum256([]byte(sender)) // keys are seen by who looks after Redis
	return limit.Rate{Scope: limit.ScopeNumber, Key: "number " + hex.EncodeToString(sum[:12]), Whose: "from " + string(sender), PerSecond: n.RateLimit}, true
}

// withRate puts what the edge has counted into a decision: before the rules that
// follow it, or at no place when a rule before it has refused. A rate that refuses a
// dry run ends it there.
func withRate(d *policy.Decision, rate message.TrailEntry) {
	i := slices.IndexFunc(d.Trail, func(e message.TrailEntry) bool {
		return e.Rule == policy.RuleQuota || e.Rule == policy.RuleBalance || e.Rule == policy.RuleDailyCap || e.Rule == policy.RuleRoute
	})
	if rate.Rule == "" || i < 0 {
		return
	}
	if rate.Result == message.Refused {
		d.Trail = append(d.Trail[:i:i], rate)
		d.Error, d.Holds = message.Refuse(message.ReasonRateLimitExceeded, "%s", rate.Detail), nil
		return
	}
	d.Trail = slices.Insert(d.Trail, i, rate)
}
