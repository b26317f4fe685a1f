package policy

import (
	"cmp"
	"strings"

	"github.com/postrider/postrider/internal/content"
	"github.com/postrider/postrider/internal/message"
)

// content looks at the text by the content rules. Before a departure only somebody's
// verdict counts: the text has been looked at, and cannot have changed since. A
// release lets pass what rules hold, not what they refuse.
func (e *evaluation) content() verdict {
	said := e.Review.Of(e.m)
	if said == message.VerdictRefuse {
		return refuse(message.ReasonProhibitedContent, "refused after review: %s", e.Review.Reason)
	}
	if e.departing {
		return pass("looked at before")
	}
	text, ok := e.m.Text()
	if !ok {
		return pass("there is no text to look at")
	}
	q := content.Query{Account: e.m.AccountID, Class: e.m.Class, Text: text, Now: e.Now}
	if c := e.s.CampaignOf(e.number); c != nil {
		q.NoLinks, q.NoPhones = c.NoLinks, c.NoPhones
	}
	o := e.s.Content.Evaluate(q)
	classes := strings.Join(o.Classes(), " and ")
	switch o.Action {
	case content.ActionRefuse:
		v := refuse(message.ReasonProhibitedContent, "the text matches a content rule of class %s", classes)
		v.detail = o.String()
		return v
	case content.ActionHold:
		if said == message.VerdictRelease {
			return pass("released after review; %s", o)
		}
		e.d.Flagged = o.Classes()
		return verdict{detail: o.String(), hold: &message.Hold{Detail: "the text matches a content rule of class " + classes + " and waits for a review"}}
	case content.ActionFlag:
		e.d.Flagged = o.Classes()
	}
	return pass("%s", cmp.Or(o.String(), "nothing found"))
}

// Try shows what content rules find in a text, and where, as the content rule would.
// Nothing is stored or sent. The rules may be others than those in force.
func Try(rules *content.Rules, q content.Query) content.Outcome { return rules.Try(q) }
