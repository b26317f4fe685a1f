package notification

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// MessageReceived is the type of the event that a message came in.
const MessageReceived = message.MessageReceived

// MaxPayload is the most octets of an event's body.
const MaxPayload = 20_000

// receivedEvent is the body of format "event".
type receivedEvent struct {
	Type      string   `json:"type"`
	Timestamp int      `json:"timestamp"` // message.TimestampPlaceholder
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
	ExpiresAt   *string `json:"expires_at"` // the URL is good until then at least; null without one
}

// OfReceived makes the event that a message came in for a URL of its destination. n
// says where it goes and brings its ids; the type and the body are filled in. tag and
// group are the number's.
func OfReceived(n message.Notification, m message.Received, number *snapshot.Number, format string) (message.Notification, error) {
	n.Type = MessageReceived
	tag, group := "", ""
	if number != nil {
		tag, group = number.Tag, number.Group
	}
	var err error
	n.Payload, err = receivedBody(m, tag, group, format)
	return n, err
}

// stampGrows is what the time has more than its placeholder.
const stampGrows = len(message.StampLayout)

func receivedBody(m message.Received, tag, group, format string) (string, error) {
	d := received{From: m.From, To: m.To, MessageID: m.ID.String(), ReceivedAt: m.ReceivedAt.UTC().Format(message.StampLayout), Type: m.Kind,
		Segments: m.Segments, Complete: m.Complete, Keyword: orNull(m.Keyword), Tag: orNull(tag), Group: orNull(group), Subject: orNull(m.Subject),
		Media: []receivedMedia{}, GroupRecipients: m.Group}
	var links []string
	for _, f := range m.Media {
		file := receivedMedia{URL: orNull(f.Link), ContentType: f.ContentType, SizeBytes: f.Size, SHA256: orNull(f.SHA256)}
		if f.Link != "" {
			file.ExpiresAt = orNull(f.LinkUntil.UTC().Format(message.StampLayout))
			links = append(links, f.Link)
		}
		d.Media = append(d.Media, file)
	}
	text, shown := m.Text()
	if shown {
		d.Body = &text
	}
	for {
		var whole any = receivedEvent{Type: MessageReceived, Data: d}
		if format == "flat" {
			whole = receivedFlat{d.From, d.To, d.Body, d.MessageID, d.ReceivedAt, links}
		}
		b, err := json.Marshal(whole)
		if err != nil {
			return "", fmt.Errorf("event %s of %s: %w", MessageReceived, m.ID, err)
		}
		if len(b)+stampGrows <= MaxPayload || text == "" {
			return string(b), nil
		}
		// What is written of a character takes up to six octets, so some rounds may be
		// needed; each takes off at least one.
		text, d.Truncated = shorter(text, len(b)+stampGrows-MaxPayload), true
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
