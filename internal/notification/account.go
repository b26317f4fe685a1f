package notification

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// accountEvent is the body of format "event" of what is of no message.
type accountEvent struct {
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"`
	Data      any    `json:"data"`
}

// OfAccount makes an event that is of no message, with a delivery to each endpoint of the
// account that wants it; the event is in the pull feed also when none does. data is what it
// says, and its whole body in format flat. Whoever writes the fact that it tells of gives
// it to the journal in the same transaction.
func OfAccount(s *snapshot.Snapshot, account message.ID, kind string, data any, at time.Time) (message.AccountEvent, error) {
	e := message.AccountEvent{ID: message.NewID(), AccountID: account, Type: kind}
	whole, err := json.Marshal(accountEvent{kind, at.UTC().Format(message.StampLayout), data})
	if err != nil {
		return e, fmt.Errorf("event %s: %w", kind, err)
	}
	flat, err := json.Marshal(data)
	if err != nil {
		return e, fmt.Errorf("event %s: %w", kind, err)
	}
	e.Payload = string(whole)
	for _, to := range s.Endpoints[account] {
		if !Wants(to, kind) {
			continue
		}
		payload := e.Payload
		if to.Format == "flat" {
			payload = string(flat)
		}
		e.Deliveries = append(e.Deliveries, message.Notification{ID: message.NewID(), EventID: e.ID, AccountID: account, EndpointID: to.ID,
			Type: kind, URL: to.URL, FailoverURL: to.FailoverURL, Payload: payload})
	}
	return e, nil
}
