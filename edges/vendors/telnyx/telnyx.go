// Package telnyx is Telnyx as a vendor: rows and two functions for package httpvendor.
// The vendor's row holds the API key (password), the account's public keys as signing
// keys, and the messaging profile (messaging_profile_id), which alphanumeric senders
// need.
package telnyx

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/httpvendor"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Name is the provider_type.
const Name = "telnyx"

// tolerance is how old a webhook may be, or how far ahead its clock.
const tolerance = 300 * time.Second

// maxMedia bounds the files that are read of a message; Telnyx takes ten.
const maxMedia = 10

// Kind is Telnyx.
func Kind(cfg httpvendor.Config) vendors.Kind { return httpvendor.Kind(Spec(), cfg) }

// Spec describes Telnyx.
func Spec() httpvendor.Spec {
	return httpvendor.Spec{
		Kind: Name, BaseURL: "https://api.telnyx.com", Auth: httpvendor.Bearer,
		Probe: "/v2/messaging_profiles?page%5Bsize%5D=1",
		ID:    "data.id", Code: "errors.0.code",
		Codes: codes, States: states,
		Signature:  httpvendor.TimedEd25519("telnyx-signature-ed25519", "telnyx-timestamp", tolerance),
		AnswerType: "application/json", Answer: "{}",
		Submit: submit, Read: read,
		FileHosts: []string{"telnyx.com", "telnyxcloudstorage.com", "telnyxstorage.com", "amazonaws.com"}, // without credentials, and for a short time
	}
}

// states are the words of to[].status. A delivery that stays unconfirmed is not known
// to have failed: it decides nothing, and the message ends as unconfirmed.
var states = map[string]message.ReceiptState{
	"queued": message.ReceiptAccepted, "sending": message.ReceiptAccepted,
	"sent":      message.ReceiptEnroute,
	"delivered": message.ReceiptDelivered, "read": message.ReceiptDelivered,
	"sending_failed":       message.ReceiptRejected, // before the carrier
	"delivery_failed":      message.ReceiptUndeliverable,
	"delivery_unconfirmed": message.ReceiptUnknown,
	"expired":              message.ReceiptExpired,
}

// codes are Telnyx's error codes, of answers and of statuses.
var codes = map[string]httpvendor.Row{
	// The account.
	"10009": httpvendor.Shut(), // credentials
	"10010": httpvendor.Shut(), // rights
	"10011": httpvendor.Throttled(),
	"40100": httpvendor.Fault(message.ReasonVendorRejected),
	"40314": httpvendor.Fault(message.ReasonVendorRejected), // disabled
	"40333": httpvendor.Fault(message.ReasonVendorRejected), // spend limit: HTTP 429, and no pause ends it

	// Registration.
	"40010": httpvendor.No(message.ReasonUnregisteredCampaign),
	"40019": httpvendor.No(message.ReasonUnregisteredCampaign),
	"40329": httpvendor.No(message.ReasonSenderUnverified), // toll-free
	"40330": httpvendor.No(message.ReasonSenderUnverified),

	// The sender.
	"10001": httpvendor.No(message.ReasonUnauthorizedSender),
	"40013": httpvendor.No(message.ReasonUnauthorizedSender),
	"40305": httpvendor.No(message.ReasonUnauthorizedSender),
	"40315": httpvendor.No(message.ReasonSenderUnavailable),
	"40320": httpvendor.No(message.ReasonSenderUnavailable), // for a time: another number, another vendor

	// The recipient.
	"10016": httpvendor.No(message.ReasonInvalidDestination),
	"40001": httpvendor.No(message.ReasonUnknownSubscriber),
	"40004": httpvendor.No(message.ReasonUnreachable),
	"40006": {Reason: message.ReasonUnreachable, Again: true, Fault: true}, // the far server is away
	"40008": {Reason: message.ReasonUnreachable, Again: true},
	"40012": httpvendor.No(message.ReasonInvalidDestination),
	"40300": httpvendor.No(message.ReasonOptedOut),
	"40310": httpvendor.No(message.ReasonInvalidDestination),

	// What is in it.
	"40002": httpvendor.No(message.ReasonFiltered),
	"40003": httpvendor.No(message.ReasonFiltered),
	"40009": httpvendor.No(message.ReasonVendorRejected),
	"40015": httpvendor.No(message.ReasonFiltered),
	"40017": httpvendor.No(message.ReasonFiltered),
	"40302": httpvendor.No(message.ReasonMediaRejected), // too large; texts are judged before they get there
	"40316": httpvendor.No(message.ReasonMediaRejected),
	"40317": httpvendor.No(message.ReasonMediaRejected),
	"40322": httpvendor.No(message.ReasonFiltered),

	// Too much, too late.
	"40005": httpvendor.No(message.ReasonExpired),
	"40014": httpvendor.No(message.ReasonExpired),
	"40011": httpvendor.Later(message.ReasonVendorThrottled, time.Minute),
	"40018": httpvendor.Later(message.ReasonVendorThrottled, time.Minute),
	"40318": httpvendor.Later(message.ReasonVendorThrottled, time.Minute), // the queue is full
	"40016": httpvendor.Later(message.ReasonDailyCapReached, 30*time.Minute),
	"40020": httpvendor.No(message.ReasonFraudBlock),
}

// outgoing is the body of a request. MediaURLs makes an MMS by being there.
type outgoing struct {
	From            string   `json:"from"`
	To              string   `json:"to"`
	Text            string   `json:"text,omitempty"`
	Subject         string   `json:"subject,omitempty"`
	MediaURLs       []string `json:"media_urls,omitempty"`
	Profile         string   `json:"messaging_profile_id,omitempty"`
	Type            string   `json:"type"`
	Encoding        string   `json:"encoding,omitempty"`
	Webhook         string   `json:"webhook_url"`
	WebhookFailover string   `json:"webhook_failover_url"`
	ProfileWebhooks bool     `json:"use_profile_webhooks"`
}

// submit makes the request for a message. The encoding is said: the message is charged
// by it.
func submit(v *snapshot.Vendor, s message.Submission, callback string) (httpvendor.Request, error) {
	out := outgoing{
		From: string(s.From), To: string(s.To), Text: s.Text, Profile: v.MessagingProfileID,
		Type: "SMS", Encoding: string(s.Encoding), Webhook: callback, WebhookFailover: callback,
	}
	if len(s.Media) > 0 {
		out.Type, out.Encoding, out.Subject = "MMS", "", s.Subject
	}
	for _, m := range s.Media {
		out.MediaURLs = append(out.MediaURLs, m.URL)
	}
	return httpvendor.Request{Path: "/v2/messages", JSON: out}, nil
}

// event is a webhook, as far as it is read.
type event struct {
	Data struct {
		Type    string          `json:"event_type"`
		Payload json.RawMessage `json:"payload"` // of a shape that hangs on the type
	} `json:"data"`
}

type payload struct {
	ID      string  `json:"id"`
	From    party   `json:"from"`
	To      []party `json:"to"`
	CC      []party `json:"cc"`
	Text    string  `json:"text"`
	Subject string  `json:"subject"`
	Media   []struct {
		URL         string `json:"url"`
		ContentType string `json:"content_type"`
		Size        int64  `json:"size"`
		SHA256      string `json:"hash_sha256"`
	} `json:"media"`
	Errors []struct {
		Code json.RawMessage `json:"code"` // a string, or a number
	} `json:"errors"`
	CompletedAt *time.Time `json:"completed_at"`
}

type party struct {
	Number string `json:"phone_number"`
	Status string `json:"status"`
}

// read says what a webhook tells.
func read(_ *snapshot.Vendor, r vendors.HookRequest) (httpvendor.Events, error) {
	var e event
	if err := json.Unmarshal(r.Body, &e); err != nil {
		return httpvendor.Events{}, errors.New("the body is not an event")
	}
	status := e.Data.Type == "message.sent" || e.Data.Type == "message.finalized"
	if !status && e.Data.Type != "message.received" {
		return httpvendor.Events{}, nil // of some other product
	}
	var p payload
	if err := json.Unmarshal(e.Data.Payload, &p); err != nil {
		return httpvendor.Events{}, errors.New("the event is not about a message")
	}
	if !status {
		return httpvendor.Events{Inbound: []message.InboundMessage{p.inbound()}}, nil
	}
	if len(p.To) == 0 {
		return httpvendor.Events{}, errors.New("a status of nobody's")
	}
	return httpvendor.Events{Receipts: []httpvendor.Receipt{p.status()}}, nil
}

func (p *payload) status() httpvendor.Receipt {
	out := httpvendor.Receipt{ID: p.ID, Word: p.To[0].Status, From: p.From.Number, To: p.To[0].Number}
	if len(p.Errors) > 0 {
		out.Code = trimQuotes(p.Errors[0].Code)
	}
	if p.CompletedAt != nil {
		out.DoneAt = *p.CompletedAt
	}
	return out
}

func (p *payload) inbound() message.InboundMessage {
	m := message.InboundMessage{VendorRef: p.ID, From: p.From.Number, To: p.own(), Text: p.Text, Subject: p.Subject}
	if all := p.everybody(); len(all) > 1 {
		for _, to := range all {
			m.Group = append(m.Group, to.Number)
		}
	}
	for i, f := range p.Media {
		if i == maxMedia {
			break
		}
		m.Media = append(m.Media, message.InboundMedia{URL: f.URL, ContentType: f.ContentType, Size: max(0, f.Size), SHA256: f.SHA256})
	}
	return m
}

// everybody is who a message goes to.
func (p *payload) everybody() []party { return append(append([]party(nil), p.To...), p.CC...) }

// own is our number: of a group's, the one that this webhook is for.
func (p *payload) own() string {
	all := p.everybody()
	for _, to := range all {
		if to.Status == "webhook_delivered" {
			return to.Number
		}
	}
	if len(all) > 0 {
		return all[0].Number
	}
	return ""
}

func trimQuotes(code json.RawMessage) string {
	var s string
	if json.Unmarshal(code, &s) == nil {
		return s
	}
	return string(code)
}
