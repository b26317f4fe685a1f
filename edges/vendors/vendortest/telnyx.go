package vendortest

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// NewTelnyx starts a vendor with the API of Telnyx. Password is the API key, and Key
// the seed of the key that signs webhooks, 32 octets; TelnyxPublicKey is what the
// gateway is given. Close ends it.
func NewTelnyx(cfg HTTPConfig) (*HTTPVendor, error) {
	if len(cfg.Key) != ed25519.SeedSize {
		return nil, fmt.Errorf("vendortest: the seed of a key has %d octets", ed25519.SeedSize)
	}
	return startHTTP(&telnyx{cfg: cfg, key: ed25519.NewKeyFromSeed([]byte(cfg.Key))}, cfg)
}

// TelnyxPublicKey is the public key of a seed as its portal shows it.
func TelnyxPublicKey(seed string) string {
	return base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed([]byte(seed)).Public().(ed25519.PublicKey))
}

type telnyx struct {
	cfg    HTTPConfig
	key    ed25519.PrivateKey
	events atomic.Int64
}

func (d *telnyx) authorized(r *http.Request) bool {
	return r.Header.Get("Authorization") == "Bearer "+d.cfg.Password
}

func (d *telnyx) submission(r *http.Request, body []byte) (Came, string, bool) {
	var in struct {
		From, To, Text string
		Webhook        string    `json:"webhook_url"`
		Media          *[]string `json:"media_urls"` // its presence makes an MMS
	}
	if r.URL.Path != "/v2/messages" || json.Unmarshal(body, &in) != nil {
		return Came{}, "", false
	}
	c := Came{From: in.From, To: in.To, Text: in.Text}
	if in.Media != nil {
		c.Media = *in.Media
	}
	return c, in.Webhook, in.Text != "" || in.Media != nil
}

func (d *telnyx) name(n int) string { return fmt.Sprintf("40385f64-5717-4562-b3fc-%012x", n) }

func (d *telnyx) reply(c Came, kind ReplyKind) (int, string) {
	refuse := func(status int, code, words string) (int, string) {
		return status, fmt.Sprintf(`{"errors":[{"code":%q,"title":%q,"detail":%q,"source":{"pointer":"/to"}}]}`, code, words, "about "+c.To)
	}
	switch kind {
	case Throttle:
		return refuse(http.StatusTooManyRequests, "10011", "Too many requests")
	case Temporary:
		return refuse(http.StatusUnprocessableEntity, "40006", "Recipient server unavailable")
	case Permanent:
		return refuse(http.StatusBadRequest, "40310", "Invalid 'to' address")
	}
	return http.StatusOK, encode(map[string]any{"data": map[string]any{
		"id": c.ID, "record_type": "message", "direction": "outbound", "type": "SMS", "parts": 1, "errors": []any{},
		"from": map[string]any{"phone_number": c.From}, "to": []any{map[string]any{"phone_number": c.To, "status": "queued"}},
	}})
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings: it cannot happen
	}
	return string(b)
}

// telnyxStates are its words, with codes for those that say no.
var telnyxStates = map[message.ReceiptState][2]string{
	message.ReceiptAccepted: {"queued", ""}, message.ReceiptEnroute: {"sent", ""}, message.ReceiptDelivered: {"delivered", ""},
	message.ReceiptUndeliverable: {"delivery_failed", "40001"}, message.ReceiptRejected: {"sending_failed", "40002"},
	message.ReceiptExpired: {"expired", "40005"}, message.ReceiptDeleted: {"odd", ""}, message.ReceiptUnknown: {"delivery_unconfirmed", ""},
}

func (d *telnyx) event(kind string, payload map[string]any) (string, string) {
	return "application/json", encode(map[string]any{
		"data": map[string]any{
			"event_type": kind, "id": fmt.Sprintf("event-%d", d.events.Add(1)), "occurred_at": time.Now().UTC(), "record_type": "event", "payload": payload,
		},
		"meta": map[string]any{"attempt": 1},
	})
}

func (d *telnyx) receipt(c Came, state message.ReceiptState) (string, string) {
	word := telnyxStates[state]
	kind := "message.finalized"
	if _, final := state.PartState(); !final && state != message.ReceiptUnknown {
		kind = "message.sent"
	}
	errs := []any{}
	if word[1] != "" {
		errs = append(errs, map[string]any{"code": word[1], "title": "why"})
	}
	return d.event(kind, map[string]any{
		"id": c.ID, "direction": "outbound", "type": "SMS", "errors": errs, "completed_at": nil,
		"from": map[string]any{"phone_number": c.From}, "to": []any{map[string]any{"phone_number": c.To, "status": word[0]}},
	})
}

func (d *telnyx) inbound(m Inbound) (string, string) {
	kind, media := "SMS", []any{}
	for _, at := range m.Media {
		kind, media = "MMS", append(media, map[string]any{"url": at, "content_type": "image/png", "size": nil, "hash_sha256": nil})
	}
	return d.event("message.received", map[string]any{
		"id": m.ID, "direction": "inbound", "type": kind, "text": m.Text, "parts": 1, "media": media, "errors": []any{},
		"from": map[string]any{"phone_number": m.From}, "to": []any{map[string]any{"phone_number": m.To, "status": "webhook_delivered"}},
	})
}

func (d *telnyx) sign(r *http.Request, body string) {
	at := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("telnyx-timestamp", at)
	r.Header.Set("telnyx-signature-ed25519", base64.StdEncoding.EncodeToString(ed25519.Sign(d.key, []byte(at+"|"+body))))
}

func (d *telnyx) thanked(contentType, body string) error {
	if contentType != "application/json" || body != "{}" {
		return fmt.Errorf("vendortest: Telnyx was answered %q, %s", body, contentType)
	}
	return nil
}
