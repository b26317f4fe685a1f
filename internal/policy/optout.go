package policy

import (
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// optOut refuses what the recipient does not want. The answers that the gateway itself
// gives to STOP, START and HELP go all the same: they confirm what he wrote.
func (e *evaluation) optOut() verdict {
	switch {
	case e.m.Automatic:
		return pass("an automatic answer goes to who has stopped the sender too")
	case e.OptOuts == nil:
		return pass("not stopped")
	}
	// Not e.d.CampaignID: a campaign that does not bind the message is stopped all the same.
	o, stopped := e.OptOuts.Stopped(e.m.AccountID, e.m.From, e.m.To, CampaignOf(e.s, e.m.AccountID, e.m.From))
	if !stopped {
		return pass("not stopped")
	}
	return refuse(message.ReasonOptedOut, "%s has stopped %s: %s, since %s; only the recipient's consent lifts it", e.m.To, stoppedWhat(o), byWhat(o),
		o.At.UTC().Format(time.RFC3339))
}

func stoppedWhat(o message.OptOut) string {
	switch o.Scope {
	case message.OptOutAccount:
		return "every sender of the account"
	case message.OptOutCampaign:
		return "campaign " + o.CampaignID
	}
	return string(o.Sender)
}

// byWhat says how an opt-out came to be known.
func byWhat(o message.OptOut) string {
	switch o.Source {
	case message.OptOutByKeyword:
		if o.Keyword == "" {
			return "by keyword"
		}
		return "by the keyword " + o.Keyword
	case message.OptOutByVendor:
		return "as the carrier's side says"
	case message.OptOutByImport:
		return "as imported"
	}
	return "as entered over the API"
}

// CampaignOf is the registry's id of the campaign that a sender of the account is in,
// empty for none: what campaign opt-outs are looked up by. Whether a message needs a
// campaign does not matter: to a recipient abroad, or from a toll-free number, what was
// stopped with STOP (see ActOn) stays stopped.
func CampaignOf(s *snapshot.Snapshot, account message.ID, sender message.Address) string {
	n := s.Numbers[sender]
	if n == nil || n.AccountID != account {
		return ""
	}
	c := s.CampaignOf(n)
	if c == nil || c.AccountID != account {
		return ""
	}
	return c.CampaignID
}
