package notification

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Types of the events about opt-outs.
const (
	OptOutCreated = "opt_out.created"
	OptOutRemoved = "opt_out.removed"
)

// optOutEvent is the body of format "event", optOut that of format "flat".
type optOutEvent struct {
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"`
	Data      optOut `json:"data"`
}

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

// OfOptOut lists the notifications that an opt-out causes which has just been recorded
// or, when it is not active, ended: one to each of its account's endpoints that wants
// the event. It has no message: the row is delivered by the sweeper.
func OfOptOut(s *snapshot.Snapshot, o message.OptOut, at time.Time) ([]message.Notification, error) {
	kind := OptOutCreated
	if !o.Active() {
		kind = OptOutRemoved
	}
	var out []message.Notification
	eventID := message.NewID()
	for _, e := range s.Endpoints[o.AccountID] {
		if len(e.EventTypes) > 0 && !slices.Contains(e.EventTypes, kind) {
			continue
		}
		payload, err := optOutBody(o, kind, at, e.Format)
		if err != nil {
			return nil, err
		}
		out = append(out, message.Notification{ID: message.NewID(), EventID: eventID, AccountID: o.AccountID, EndpointID: e.ID,
			Type: kind, URL: e.URL, FailoverURL: e.FailoverURL, Payload: payload})
	}
	return out, nil
}

// OptOutTell is OfOptOut with a configuration and a time.
func OptOutTell(s *snapshot.Snapshot, at time.Time) message.OptOutTell {
	return func(o message.OptOut) ([]message.Notification, error) { return OfOptOut(s, o, at) }
}

func optOutBody(o message.OptOut, kind string, at time.Time, format string) (string, error) {
	since := o.At
	if since.IsZero() {
		since = at // it is recorded in this moment
	}
	d := optOut{ID: o.ID.String(), Recipient: o.Recipient, Sender: textOrNull(string(o.Sender)), CampaignID: textOrNull(o.CampaignID), Scope: o.Scope,
		Keyword: textOrNull(o.Keyword), Source: o.Source, At: since.UTC().Format(timeLayout)}
	if o.MessageID != (message.ID{}) {
		d.MessageID = textOrNull(o.MessageID.String())
	}
	if !o.Active() {
		d.EndedAt, d.EndReason = textOrNull(o.Ended.At.UTC().Format(timeLayout)), textOrNull(o.Ended.Reason)
	}
	var whole any = optOutEvent{kind, at.UTC().Format(timeLayout), d}
	if format == "flat" {
		whole = d
	}
	b, err := json.Marshal(whole)
	if err != nil {
		return "", fmt.Errorf("event %s of %s: %w", kind, o.ID, err)
	}
	return string(b), nil
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
