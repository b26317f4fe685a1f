// Package policy decides whether a message may be sent and by which vendors:
// pure functions of the configuration, the message and the time. The edge asks
// it for the synchronous answer, the workflow's Admit asks it again as the
// authority; there is no second copy of a rule anywhere.
//
// The rule not to break: no I/O, no clock, no state. What a decision depends on
// is in its arguments, and every rule that was looked at is in its trail.
package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Names of the rules, in the order in which they are looked at.
const (
	RuleAccountActive = "account_active"
	RuleSenderOwned   = "sender_owned"
	RuleDestination   = "destination"
	RuleCampaign      = "campaign"
	RuleRoute         = "route"
)

// Decision is what the rules say of a message.
type Decision struct {
	Error      *message.Error // nil: allowed
	Trail      []message.TrailEntry
	CampaignID string      // the registry's id of the campaign that covers it; empty: none needed
	Candidates []Candidate // vendors that can take it, best first; set when allowed
}

// Allowed reports whether the message may go.
func (d Decision) Allowed() bool { return d.Error == nil }

// Evaluate looks at the rules in order and stops at the first refusal. cred is
// the API credential it came with, nil when there is none to restrict it.
func Evaluate(s *snapshot.Snapshot, m *message.Message, cred *snapshot.Credential) Decision {
	e := &evaluation{s: s, m: m, cred: cred, account: s.Accounts[m.AccountID]}
	for _, rule := range []struct {
		name  string
		check func() (detail string, refusal *message.Error)
	}{
		{RuleAccountActive, e.accountActive},
		{RuleSenderOwned, e.senderOwned},
		{RuleDestination, e.destination},
		{RuleCampaign, e.campaign},
		{RuleRoute, e.route},
	} {
		detail, refusal := rule.check()
		if refusal != nil {
			e.d.Trail = append(e.d.Trail, message.TrailEntry{Rule: rule.name, Result: message.Refused, Detail: refusal.Detail})
			e.d.Error = refusal
			return e.d
		}
		e.d.Trail = append(e.d.Trail, message.TrailEntry{Rule: rule.name, Result: message.Pass, Detail: detail})
	}
	return e.d
}

type evaluation struct {
	s       *snapshot.Snapshot
	m       *message.Message
	cred    *snapshot.Credential
	account *snapshot.Account
	number  *snapshot.Number // the sender, when the account owns it
	d       Decision
}

func (e *evaluation) accountActive() (string, *message.Error) {
	switch {
	case e.account == nil:
		return "", message.Refuse(message.ReasonAccountSuspended, "the account does not exist any more")
	case e.account.Status != snapshot.AccountActive:
		return "", message.Refuse(message.ReasonAccountSuspended, "the account is %s", e.account.Status)
	}
	return "", nil
}

func (e *evaluation) senderOwned() (string, *message.Error) {
	from := e.m.From
	if e.cred != nil && len(e.cred.AllowedNumbers) > 0 && !slices.Contains(e.cred.AllowedNumbers, string(from)) {
		return "", message.Refuse(message.ReasonUnauthorizedSender, "this API key may not send from %s", from)
	}
	if n := e.s.Numbers[from]; n != nil && n.AccountID == e.m.AccountID {
		if e.m.Kind == message.MMS && !n.MMSEnabled || e.m.Kind != message.MMS && !n.SMSEnabled {
			return "", message.Refuse(message.ReasonUnauthorizedSender, "%s is not enabled for %s", from, strings.ToUpper(string(e.m.Kind)))
		}
		e.number = n
		return "owned number", nil
	}
	if from == e.account.ForceSourceAddress && from != "" {
		return "forced sender", nil
	}
	if slices.Contains(e.account.AllowedSourceAddresses, string(from)) {
		return "allowed sender", nil
	}
	return "", message.Refuse(message.ReasonUnauthorizedSender, "%s is not a number of this account", from)
}

func (e *evaluation) destination() (string, *message.Error) {
	to, from := e.m.To, e.m.From
	switch {
	case to.Kind() != message.E164 && to.Kind() != message.ShortCode:
		return "", message.Refuse(message.ReasonInvalidDestination, "the recipient is not a number")
	case to.Premium():
		return "", message.Refuse(message.ReasonDestinationNotAllowed, "premium numbers are closed")
	case from.Kind() == message.Alphanumeric && len(to) > 1 && to[1] == '1' && to.Kind() == message.E164:
		return "", message.Refuse(message.ReasonUnauthorizedSender, "alphanumeric senders do not work to +1; use a number")
	case to == from:
		return "", message.Refuse(message.ReasonInvalidDestination, "sender and recipient are the same number")
	}
	return "", nil
}

func (e *evaluation) campaign() (string, *message.Error) {
	from := e.m.From
	switch {
	case from.TollFree() && e.number == nil:
		return "", message.Refuse(message.ReasonSenderUnverified, "the toll-free verification of %s is unknown: it is not a number of this account", from)
	case from.TollFree() && e.number.Verification != "approved":
		return "", message.Refuse(message.ReasonSenderUnverified, "the toll-free verification of %s is %s", from, e.number.Verification)
	}
	if !from.USLongCode() {
		return "not a US long code", nil
	}
	c := e.s.CampaignOf(e.number)
	switch {
	case c == nil || c.AccountID != e.m.AccountID:
		return "", message.Refuse(message.ReasonUnregisteredCampaign, "%s belongs to no 10DLC campaign", from)
	case c.Status != snapshot.CampaignActive:
		return "", message.Refuse(message.ReasonCampaignInactive, "%s belongs to campaign %s, which is %s", from, campaignName(c), c.Status)
	}
	e.d.CampaignID = c.CampaignID
	return c.CampaignID, nil
}

func campaignName(c *snapshot.Campaign) string {
	if c.CampaignID == "" {
		return "(not yet registered)"
	}
	return c.CampaignID
}

func (e *evaluation) route() (string, *message.Error) {
	e.d.Candidates = Candidates(e.s, e.m)
	if len(e.d.Candidates) == 0 {
		return "", NoCandidate(e.s, e.m)
	}
	return fmt.Sprintf("%d candidates", len(e.d.Candidates)), nil
}
