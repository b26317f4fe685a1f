// Package notification makes the events that customers get by webhook: which
// URLs an event goes to and the exact body. It does not send anything.
//
// The rule not to break: the body is fixed when the event happens, so that
// every retry and replay carries the same bytes; only the timeline number is
// put in by the journal (message.SequencePlaceholder).
package notification

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Type is the event's name for a status.
func Type(s message.Status) string { return "message." + string(s) }

// told are the statuses that customers are told of; the others are steps on
// the way.
var told = map[message.Status]bool{
	message.StatusAccepted: true, message.StatusSent: true, message.StatusInDoubt: true,
	message.StatusDelivered: true, message.StatusUndelivered: true, message.StatusFailed: true, message.StatusRejected: true,
	message.StatusExpired: true, message.StatusCanceled: true, message.StatusUnconfirmed: true,
}

// event is the body of format "event".
type event struct {
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"`
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

// timeLayout is RFC 3339 in UTC with milliseconds, as everywhere in the API.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// Of lists the notifications that a message's new status causes: one to its own
// URL, or one to each of its account's endpoints that wants the event. m shows
// the message as of that status. late tells the customer that the message's
// process had ended before.
func Of(s *snapshot.Snapshot, m *message.Message, at time.Time, late bool) ([]message.Notification, error) {
	if !told[m.Status] {
		return nil, nil
	}
	kind := Type(m.Status)
	var out []message.Notification
	eventID := message.NewID()
	add := func(endpoint message.ID, url, failover, format string) error {
		payload, err := body(m, kind, at, late, format)
		if err != nil {
			return err
		}
		out = append(out, message.Notification{ID: message.NewID(), EventID: eventID, AccountID: m.AccountID, EndpointID: endpoint,
			MessageID: m.ID, Type: kind, URL: url, FailoverURL: failover, Payload: payload})
		return nil
	}
	if m.WebhookURL != "" {
		if m.Status == message.StatusAccepted {
			return nil, nil // whoever named the URL has just got the answer
		}
		err := add(message.ID{}, m.WebhookURL, m.WebhookFailover, "event")
		return out, err
	}
	for _, e := range s.Endpoints[m.AccountID] {
		if len(e.EventTypes) > 0 && !slices.Contains(e.EventTypes, kind) {
			continue
		}
		if err := add(e.ID, e.URL, e.FailoverURL, e.Format); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func body(m *message.Message, kind string, at time.Time, late bool, format string) (string, error) {
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
		d.Receipt = &receipt{r.Stat, r.Err, r.At.UTC().Format(timeLayout)}
	}
	if m.Price.Currency != "" {
		d.Price = &price{m.Price.Amount.String(), m.Price.Currency, m.Price.Estimated}
	}
	var whole any = event{kind, at.UTC().Format(timeLayout), d}
	if format == "flat" {
		whole = d
	}
	b, err := json.Marshal(whole)
	if err != nil {
		return "", fmt.Errorf("event %s of %s: %w", kind, m.ID, err)
	}
	return string(b), nil
}
