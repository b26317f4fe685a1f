package notification

import (
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Types of the events about opt-outs.
const (
	OptOutCreated = "opt_out.created"
	OptOutRemoved = "opt_out.removed"
)

// optOut is what an event says of an opt-out, and the whole body of format "flat".
type optOut struct {
	ID         string               `json:"id"`
	Recipient  message.Address      `json:"recipient"`
	Sender     *string              `json:"sender"`
	CampaignID *string              `json:"campaign_id"`
	Scope      message.OptOutScope  `json:"scope"`
	Keyword    *string              `json:"keyword"`
	Source     message.OptOutSource `json:"source"`
	MessageID  *string              `json:"message_id"`
	At         string               `json:"at"`
	EndedAt    *string              `json:"ended_at"`
	EndReason  *string              `json:"end_reason"`
}

// OfOptOut makes the event of an opt-out that has just been recorded or, when it is not
// active, ended.
func OfOptOut(s *snapshot.Snapshot, o message.OptOut, at time.Time) (message.AccountEvent, error) {
	kind := OptOutCreated
	if !o.Active() {
		kind = OptOutRemoved
	}
	since := o.At
	if since.IsZero() {
		since = at // it is recorded in this moment
	}
	d := optOut{ID: o.ID.String(), Recipient: o.Recipient, Sender: orNull(string(o.Sender)), CampaignID: orNull(o.CampaignID), Scope: o.Scope,
		Keyword: orNull(o.Keyword), Source: o.Source, At: since.UTC().Format(message.StampLayout)}
	if o.MessageID != (message.ID{}) {
		d.MessageID = orNull(o.MessageID.String())
	}
	if !o.Active() {
		d.EndedAt, d.EndReason = orNull(o.Ended.At.UTC().Format(message.StampLayout)), orNull(o.Ended.Reason)
	}
	return OfAccount(s, o.AccountID, kind, d, at)
}

// OptOutTell is OfOptOut with a configuration and a time.
func OptOutTell(s *snapshot.Snapshot, at time.Time) message.OptOutTell {
	return func(o message.OptOut) (message.AccountEvent, error) { return OfOptOut(s, o, at) }
}
