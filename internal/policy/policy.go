// Package policy decides whether a message may be sent and by which vendors:
// pure functions of the configuration, the message and the time. The edge asks
// it for the synchronous answer, the workflow's Admit asks it again as the
// authority; there is no second copy of a rule anywhere.
//
// The rule not to break: no I/O, no clock, no state. What a decision depends on
// is in its arguments, and every rule that was looked at is in its trail.
package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Names of the rules, in the order in which they are looked at. Rate, quota,
// balance and daily cap are decided where their counters are, by those who ask
// here; their entries stand in the trail before that of the route.
const (
	RuleAccountActive = "account_active"
	RuleSenderOwned   = "sender_owned"
	RuleDestination   = "destination"
	RuleCampaign      = "campaign"
	RuleOptOut        = "opt_out"
	RuleContent       = "content"
	RuleQuietHours    = "quiet_hours"
	RuleRate          = "rate"
	RuleQuota         = "quota"
	RuleBalance       = "balance"
	RuleDailyCap      = "daily_cap"
	RuleRoute         = "route"
)

// Question is what a decision depends on, beside the configuration.
type Question struct {
	Message *message.Message
	// Credential is the API credential it came with; nil: none restricts it.
	Credential *snapshot.Credential
	Now        time.Time
	// OptOuts knows who has stopped whom; nil: nobody has.
	OptOuts OptOuts
	// Review is what somebody said of a message that waited for it.
	Review message.Review
	// Health judges a vendor; nil: all are healthy.
	Health func(vendor message.ID) message.VendorHealth
}

// OptOuts knows who has stopped whom, in memory.
type OptOuts interface {
	// Stopped finds what keeps the sender from sending to the recipient. campaign is
	// the registry's id of the sender's campaign, empty for none.
	Stopped(account message.ID, sender, recipient message.Address, campaign string) (message.OptOut, bool)
}

// Decision is what the rules say of a message.
type Decision struct {
	Error      *message.Error // nil: allowed
	Trail      []message.TrailEntry
	Holds      []message.Hold // what an allowed message must wait for, each of them
	Flagged    []string       // classes of the content rules that flag or hold it; for counting
	CampaignID string         // the registry's id of the campaign that covers it; empty: none needed
	Candidates []Candidate    // vendors that can take it, best first; set when allowed
}

// Allowed reports whether the message may go.
func (d Decision) Allowed() bool { return d.Error == nil }

// Hold is what an allowed message must wait for longest, nil when it may go at
// once. What has no end is longer than everything else.
func (d Decision) Hold() *message.Hold {
	var longest *message.Hold
	for i := range d.Holds {
		h := &d.Holds[i]
		if longest == nil || !longest.Until.IsZero() && (h.Until.IsZero() || h.Until.After(longest.Until)) {
			longest = h
		}
	}
	return longest
}

// verdict is what one rule says. The zero value: it passes.
type verdict struct {
	detail  string         // the values that decided
	refusal *message.Error // ends the evaluation
	hold    *message.Hold  // the message may go, later; its Rule is filled in
}

// rule is one of the rules.
type rule struct {
	name  string
	check func(*evaluation) verdict
	// again: it is looked at once more before each departure, since what it depends
	// on may have changed while the message waited.
	again bool
}

var rules = []rule{
	{RuleAccountActive, (*evaluation).accountActive, true},
	{RuleSenderOwned, (*evaluation).senderOwned, true},
	{RuleDestination, (*evaluation).destination, false},
	{RuleCampaign, (*evaluation).campaign, true},
	{RuleOptOut, (*evaluation).optOut, true},
	{RuleContent, (*evaluation).content, true},
	{RuleQuietHours, (*evaluation).quietHours, true},
	{RuleRoute, (*evaluation).route, false},
}

// Evaluate looks at the rules in order and stops at the first refusal. A rule
// that makes the message wait does not stop it.
func Evaluate(s *snapshot.Snapshot, q Question) Decision {
	return evaluate(s, q, false)
}

// Gate looks again at the rules that may have changed their mind while an admitted
// message waited. It is asked right before the message leaves.
func Gate(s *snapshot.Snapshot, q Question) Decision {
	return evaluate(s, q, true)
}

func evaluate(s *snapshot.Snapshot, q Question, departing bool) Decision {
	e := &evaluation{Question: q, departing: departing, s: s, m: q.Message, cred: q.Credential, account: s.Accounts[q.Message.AccountID]}
	for _, r := range rules {
		if departing && !r.again {
			continue
		}
		v := r.check(e)
		entry := message.TrailEntry{Rule: r.name, Result: message.Pass, Detail: v.detail}
		switch {
		case v.refusal != nil:
			entry.Result, entry.Detail = message.Refused, cmp.Or(v.detail, v.refusal.Detail)
			e.d.Error, e.d.Holds = v.refusal, nil
		case v.hold != nil:
			v.hold.Rule = r.name
			entry.Result, entry.Detail = message.Holding, cmp.Or(v.detail, v.hold.Detail)
			e.d.Holds = append(e.d.Holds, *v.hold)
		}
		e.d.Trail = append(e.d.Trail, entry)
		if v.refusal != nil {
			break
		}
	}
	return e.d
}

type evaluation struct {
	Question
	departing bool // it was admitted, and is about to leave
	s         *snapshot.Snapshot
	m         *message.Message
	cred      *snapshot.Credential
	account   *snapshot.Account
	number    *snapshot.Number // the sender, when the account owns it
	d         Decision
}

// pass is the verdict of a rule that has nothing against the message.
func pass(format string, args ...any) verdict { return verdict{detail: fmt.Sprintf(format, args...)} }

// refuse is the verdict of a rule that ends it.
func refuse(r message.Reason, format string, args ...any) verdict {
	return verdict{refusal: message.Refuse(r, format, args...)}
}

func (e *evaluation) accountActive() verdict {
	switch {
	case e.account == nil:
		return refuse(message.ReasonAccountSuspended, "the account does not exist any more")
	case e.account.Status != snapshot.AccountActive:
		return refuse(message.ReasonAccountSuspended, "the account is %s", e.account.Status)
	}
	return pass("active")
}

func (e *evaluation) senderOwned() verdict {
	from := e.m.From
	if e.cred != nil && len(e.cred.AllowedNumbers) > 0 && !slices.Contains(e.cred.AllowedNumbers, string(from)) {
		return refuse(message.ReasonUnauthorizedSender, "this API key may not send from %s", from)
	}
	if n := e.s.Numbers[from]; n != nil && n.AccountID == e.m.AccountID {
		if e.m.Kind == message.MMS && !n.MMSEnabled || e.m.Kind != message.MMS && !n.SMSEnabled {
			return refuse(message.ReasonUnauthorizedSender, "%s is not enabled for %s", from, strings.ToUpper(string(e.m.Kind)))
		}
		e.number = n
		return pass("owned number")
	}
	if from == e.account.ForceSourceAddress && from != "" {
		return pass("forced sender")
	}
	if slices.Contains(e.account.AllowedSourceAddresses, string(from)) {
		return pass("allowed sender")
	}
	return refuse(message.ReasonUnauthorizedSender, "%s is not a number of this account", from)
}

func (e *evaluation) destination() verdict {
	to, from := e.m.To, e.m.From
	switch {
	case to.Kind() != message.E164 && to.Kind() != message.ShortCode:
		return refuse(message.ReasonInvalidDestination, "the recipient is not a number")
	case to.Premium():
		return refuse(message.ReasonDestinationNotAllowed, "premium numbers are closed")
	case from.Kind() == message.Alphanumeric && len(to) > 1 && to[1] == '1' && to.Kind() == message.E164:
		return refuse(message.ReasonUnauthorizedSender, "alphanumeric senders do not work to +1; use a number")
	case to == from:
		return refuse(message.ReasonInvalidDestination, "sender and recipient are the same number")
	}
	return e.closed()
}

// closed looks at where the account may send to.
func (e *evaluation) closed() verdict {
	open := e.account.AllowedDestinations
	if len(open) == 0 || e.m.To.Kind() != message.E164 {
		return pass("open")
	}
	for _, prefix := range open {
		if strings.HasPrefix(e.m.To.Digits(), prefix) {
			return pass("open: +%s", prefix)
		}
	}
	return refuse(message.ReasonDestinationNotAllowed, "the account may send to numbers that begin with +%s only", strings.Join(open, ", +"))
}

func (e *evaluation) campaign() verdict {
	from := e.m.From
	switch {
	case from.TollFree() && e.number == nil:
		return refuse(message.ReasonSenderUnverified, "the toll-free verification of %s is unknown: it is not a number of this account", from)
	case from.TollFree() && e.number.Verification != "approved":
		return refuse(message.ReasonSenderUnverified, "the toll-free verification of %s is %s", from, e.number.Verification)
	}
	if !from.USLongCode() {
		return e.unregistered()
	}
	c := e.s.CampaignOf(e.number)
	switch {
	case e.m.To.Abroad() && (c == nil || c.AccountID != e.m.AccountID || c.Status != snapshot.CampaignActive):
		return pass("10DLC binds recipients in the US, and this one is abroad")
	case c == nil || c.AccountID != e.m.AccountID:
		return refuse(message.ReasonUnregisteredCampaign, "%s belongs to no 10DLC campaign", from)
	case c.Status != snapshot.CampaignActive:
		return refuse(message.ReasonCampaignInactive, "%s belongs to campaign %s, which is %s", from, campaignName(c), c.Status)
	}
	e.d.CampaignID = c.CampaignID
	return pass("%s", c.CampaignID)
}

// unregistered looks at senders that need no campaign.
func (e *evaluation) unregistered() verdict {
	switch until := e.leasedUntil(); {
	case e.m.From.TollFree():
		return pass("toll-free verification approved")
	case until.IsZero():
		return pass("not a US long code")
	case !e.Now.Before(until):
		return refuse(message.ReasonSenderUnverified, "the lease of %s ended on %s", e.m.From, until.UTC().Format(time.DateOnly))
	default:
		return pass("short code leased until %s", until.UTC().Format(time.DateOnly))
	}
}

func (e *evaluation) leasedUntil() time.Time {
	if e.number == nil || e.m.From.Kind() != message.ShortCode {
		return time.Time{}
	}
	return e.number.LeasedUntil
}

func campaignName(c *snapshot.Campaign) string {
	if c.CampaignID == "" {
		return "(not yet registered)"
	}
	return c.CampaignID
}

func (e *evaluation) route() verdict {
	w := Ways{Now: e.leaves(), Health: e.Health}
	e.d.Candidates = Candidates(e.s, e.m, w)
	if len(e.d.Candidates) == 0 {
		return verdict{refusal: NoCandidate(e.s, e.m, w)}
	}
	return pass("%d candidates", len(e.d.Candidates))
}

// leaves is when the message may leave, as far as the rules before have said.
func (e *evaluation) leaves() time.Time {
	at := e.Now
	if e.m.SendAt.After(at) {
		at = e.m.SendAt
	}
	for _, h := range e.d.Holds {
		if h.Until.After(at) {
			at = h.Until
		}
	}
	return at
}
