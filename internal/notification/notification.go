// Package notification makes the events that customers get by webhook: which
// URLs an event goes to and the exact body. It does not send anything.
//
// The rule not to break: the body is fixed when the event happens, so that
// every retry and replay carries the same bytes; only the timeline's number and
// time are put in by the journal (message.Filled). The pull feed makes the same body
// again: what of a message may change afterwards has its place in message.Said.
package notification

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Type is the event's name for a status.
func Type(s message.Status) string { return "message." + string(s) }

// event is the body of format "event".
type event struct {
	Type      string `json:"type"`
	Timestamp int    `json:"timestamp"` // message.TimestampPlaceholder
	Data      data   `json:"data"`
}

// data is what an event says of an outbound message, and the whole body of
// format "flat". Sequence comes second, so that the placeholder cannot be met
// inside a customer's own text before it.
type data struct {
	MessageID string            `json:"message_id"`
	Sequence  int               `json:"sequence"`
	Direction message.Direction `json:"direction"`
	Type      message.Kind      `json:"type"`
	Status    message.Status    `json:"status"`
	From      message.Address   `json:"from"`
	To        message.Address   `json:"to"`
	Segments  int               `json:"segments"`
	Reference *string           `json:"client_reference"`
	Metadata  map[string]string `json:"metadata"`
	BatchID   *string           `json:"batch_id"`
	Error     *failure          `json:"error"`
	Receipt   *receipt          `json:"receipt"`
	Price     *price            `json:"price"`
	Possible  bool              `json:"possible_duplicate"`
	Late      bool              `json:"late"`
}

type failure struct {
	Code   message.Reason      `json:"code"`
	Class  message.ReasonClass `json:"class"`
	Detail string              `json:"detail"`
}

type receipt struct {
	Stat string `json:"stat"`
	Err  string `json:"err"`
	At   string `json:"at"`
}

type price struct {
	Amount    string `json:"amount"`
	Currency  string `json:"currency"`
	Estimated bool   `json:"estimated"`
}

// Of lists the notifications that a message's new status causes: one to its own
// URL, or one to each of its account's endpoints that wants the event. m shows
// the message as of that status. late tells the customer that the message's
// process had ended before. Their event is the timeline's line: the journal gives
// them its id.
func Of(s *snapshot.Snapshot, m *message.Message, late bool) ([]message.Notification, error) {
	if !m.Status.Told() || m.FailuresOnly && m.Status != message.StatusFailed && m.Status != message.StatusRejected {
		return nil, nil
	}
	kind := Type(m.Status)
	var out []message.Notification
	add := func(endpoint message.ID, url, failover, format string) error {
		payload, err := body(m, kind, late, format)
		if err != nil {
			return err
		}
		out = append(out, message.Notification{ID: message.NewID(), AccountID: m.AccountID, EndpointID: endpoint,
			MessageID: m.ID, Type: kind, URL: url, FailoverURL: failover, Payload: payload})
		return nil
	}
	if m.WebhookURL != "" && m.Callback != "" {
		method := ""
		if m.Callback.Get() {
			method = http.MethodGet
		}
		for _, v := range callbacks(m) {
			out = append(out, message.Notification{ID: message.NewID(), AccountID: m.AccountID, MessageID: m.ID, Type: kind,
				URL: m.WebhookURL, FailoverURL: m.WebhookFailover, Format: m.Callback.Format(), Method: method, Payload: v.Encode()})
		}
		return out, nil
	}
	if m.WebhookURL != "" {
		if m.Status == message.StatusAccepted {
			return nil, nil // whoever named the URL has just got the answer
		}
		err := add(message.ID{}, m.WebhookURL, m.WebhookFailover, "event")
		return out, err
	}
	for _, e := range s.Endpoints[m.AccountID] {
		if !Wants(e, kind) {
			continue
		}
		if err := add(e.ID, e.URL, e.FailoverURL, e.Format); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Body is the body of an event of the pull feed, which is that of a webhook in format
// event.
func Body(e message.FeedEvent) (string, error) {
	switch {
	case e.Message != nil:
		b, err := body(e.Message, e.Type, e.Late, "event")
		return message.Filled(b, e.Sequence, e.At), err
	case e.Received != nil:
		b, err := receivedBody(*e.Received, e.Tag, e.Group, "event")
		return message.Filled(b, 0, e.At), err
	}
	return e.Payload, nil
}

func body(m *message.Message, kind string, late bool, format string) (string, error) {
	d := data{MessageID: m.ID.String(), Sequence: -1, Direction: m.Direction, Type: m.Kind, Status: m.Status, From: m.From, To: m.To,
		Segments: m.Segments, Metadata: m.Metadata, Possible: m.DuplicatePoss, Late: late}
	if m.ClientReference != "" {
		d.Reference = &m.ClientReference
	}
	if d.Metadata == nil {
		d.Metadata = map[string]string{}
	}
	if m.BatchID != (message.ID{}) {
		b := m.BatchID.String()
		d.BatchID = &b
	}
	// What an unconfirmed message was recorded with is no error of its delivery.
	if e := m.Error; e != nil && m.Status != message.StatusDelivered {
		d.Error = &failure{e.Reason, e.Reason.Class(), e.Detail}
	}
	if r := m.Receipt; r != nil {
		d.Receipt = &receipt{r.Stat, r.Err, r.At.UTC().Format(message.StampLayout)}
	}
	if m.Price.Currency != "" {
		d.Price = &price{m.Price.Amount.String(), m.Price.Currency, m.Price.Estimated}
	}
	var whole any = event{Type: kind, Data: d}
	if format == "flat" {
		whole = d
	}
	b, err := json.Marshal(whole)
	if err != nil {
		return "", fmt.Errorf("event %s of %s: %w", kind, m.ID, err)
	}
	return string(b), nil
}
