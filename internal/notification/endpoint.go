package notification

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Types of the events about endpoints. The journal writes EndpointDisabled by itself, in
// the transaction that disables one; a test is of nobody else's concern, and not in the
// pull feed.
const (
	EndpointDisabled = "endpoint.disabled"
	EndpointTest     = "endpoint.test"
)

type testEvent struct {
	Type      string   `json:"type"`
	Timestamp string   `json:"timestamp"`
	Data      testData `json:"data"`
}

type testData struct {
	EndpointID string `json:"endpoint_id"`
	URL        string `json:"url"`
	SentAt     string `json:"sent_at"`
}

// OfTest makes a test event for an endpoint, whatever types it asks for.
func OfTest(e message.WebhookEndpoint, at time.Time) (message.Notification, error) {
	n := message.Notification{ID: message.NewID(), EventID: message.NewID(), AccountID: e.AccountID, EndpointID: e.ID, Type: EndpointTest, URL: e.URL}
	d := testData{EndpointID: e.ID.String(), URL: e.URL, SentAt: at.UTC().Format(message.StampLayout)}
	var whole any = testEvent{EndpointTest, d.SentAt, d}
	if e.Format == "flat" {
		whole = d
	}
	b, err := json.Marshal(whole)
	if err != nil {
		return n, fmt.Errorf("event %s of %s: %w", n.Type, e.ID, err)
	}
	n.Payload = string(b)
	return n, nil
}
