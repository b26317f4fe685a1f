package notification

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// MessageReceived is the type of the event that a message came in.
const MessageReceived = "message.received"

// MaxPayload is the most octets of an event's body.
const MaxPayload = 20_000

// receivedEvent is the body of format "event".
type receivedEvent struct {
	Type      string   `json:"type"`
	Timestamp string   `json:"timestamp"`
	Data      received `json:"data"`
}

// receivedFlat is the body of format "flat".
type receivedFlat struct {
	From       message.Address `json:"from"`
	To         message.Address `json:"to"`
	Body       *string         `json:"body"`
	MessageID  string          `json:"message_id"`
	ReceivedAt string          `json:"received_at"`
	MediaURLs  []string        `json:"media_urls,omitempty"`
}

type received struct {
	From       message.Address `json:"from"`
	To         message.Address `json:"to"`
	Body       *string         `json:"body"` // null if it is binary
	MessageID  string          `json:"message_id"`
	ReceivedAt string          `json:"received_at"`
	Type       message.Kind    `json:"type"`
	Segments   int             `json:"segments"`
	Complete   bool            `json:"complete"`
	Truncated  bool            `json:"truncated,omitempty"` // the API has all of the text
	Keyword    *string         `json:"keyword"`
	Tag        *string         `json:"tag"`
	Group      *string         `json:"group"`
	Subject    *string         `json:"subject,omitempty"`
	Media      []receivedMedia `json:"media"`
	// Of a group MMS, with the number that it came to.
	GroupRecipients []message.Address `json:"group_recipients,omitempty"`
}

// receivedMedia has the gateway's URL, null for a file that could not be fetched, and no
// vendor's: it may show the vendor's account, or need its password.
type receivedMedia struct {
	URL         *string `json:"url"`
	ContentType string  `json:"content_type"`
	SizeBytes   int64   `json:"size_bytes"`
	SHA256      *string `json:"sha256"`
}

// OfReceived makes the event that a message came in for a URL of its destination. n
// says where it goes and brings its ids; the type and the body are filled in. tag and
// group are the number's, at is when the event is made.
func OfReceived(n message.Notification, m message.Received, number *snapshot.Number, format string, at time.Time) (message.Notification, error) {
	n.Type = MessageReceived
	d := received{From: m.From, To: m.To, MessageID: m.ID.String(), ReceivedAt: m.ReceivedAt.UTC().Format(timeLayout), Type: m.Kind,
		Segments: m.Segments, Complete: m.Complete, Keyword: orNull(m.Keyword), Subject: orNull(m.Subject), Media: []receivedMedia{}, GroupRecipients: m.Group}
	if number != nil {
		d.Tag, d.Group = orNull(number.Tag), orNull(number.Group)
	}
	var links []string
	for _, f := range m.Media {
		d.Media = append(d.Media, receivedMedia{URL: orNull(f.Link), ContentType: f.ContentType, SizeBytes: f.Size, SHA256: orNull(f.SHA256)})
		if f.Link != "" {
			links = append(links, f.Link)
		}
	}
	text, shown := m.Text()
	if shown {
		d.Body = &text
	}
	for {
		var whole any = receivedEvent{n.Type, at.UTC().Format(timeLayout), d}
		if format == "flat" {
			whole = receivedFlat{d.From, d.To, d.Body, d.MessageID, d.ReceivedAt, links}
		}
		b, err := json.Marshal(whole)
		if err != nil {
			return n, fmt.Errorf("event %s of %s: %w", n.Type, m.ID, err)
		}
		if len(b) <= MaxPayload || text == "" {
			n.Payload = string(b)
			return n, nil
		}
		// What is written of a character takes up to six octets, so some rounds may be
		// needed; each takes off at least one.
		text, d.Truncated = shorter(text, len(b)-MaxPayload), true
	}
}

// shorter takes at least a character off the end, and about over octets at most.
func shorter(text string, over int) string {
	end := max(len(text)-max(over/6, 1), 0)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Wants reports whether an endpoint asks for events of the type.
func Wants(e snapshot.Endpoint, kind string) bool {
	return len(e.EventTypes) == 0 || slices.Contains(e.EventTypes, kind)
}
