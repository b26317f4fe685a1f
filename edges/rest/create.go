package rest

import (
	"cmp"
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// Limits of the fields of a new message.
const (
	maxReference     = 64
	maxMetadataPairs = 20
	maxMetadataKey   = 40
	maxMetadataValue = 256
	maxURL           = 2048
	maxSendAhead     = 35 * 24 * time.Hour
	maxSendPast      = 60 * time.Second // a clock may be off, a request may be slow
)

// createMessage is the body of POST /v1/messages as the document shows it.
// decodeCreate reads it; a test holds the two together.
type createMessage struct {
	From               string            `json:"from,omitempty" maxLength:"64" doc:"An owned or allowed sender: E.164, short code or alphanumeric. May be left out if the account has one enabled number. A forced sender replaces it." example:"+12025550143"`
	To                 string            `json:"to" minLength:"1" maxLength:"64" doc:"One recipient: E.164 with a leading +, or a short code. Spaces, brackets, dots and dashes are dropped." example:"+13105550117"`
	Body               string            `json:"body,omitempty" maxLength:"5000" doc:"The text, of at most 1,600 characters; it is cut into parts if it needs to be. Required unless there is media; beside media it may have 5,000." example:"Your parcel is on its way"`
	MediaURLs          []string          `json:"media_urls,omitempty" maxItems:"10" nullable:"false" doc:"Files to be sent, fetched after acceptance: https on port 443 or 8443, at most 10 MiB each. Their presence makes an MMS. At most ten together with media_ids, which come after them."`
	MediaIDs           []string          `json:"media_ids,omitempty" maxItems:"10" nullable:"false" doc:"Files of POST /v1/media to be sent. The message keeps them when the upload expires."`
	MediaTranscoding   string            `json:"media_transcoding,omitempty" enum:"auto,bypass" doc:"auto makes files fit what the vendor takes; bypass sends them as they are, and refuses what does not fit. Left out: as the account has it, which is auto unless it was changed."`
	Subject            string            `json:"subject,omitempty" maxLength:"40" doc:"Of an MMS."`
	WebhookURL         string            `json:"webhook_url,omitempty" format:"uri" maxLength:"2048" doc:"Gets this message's events instead of the account's endpoints." example:"https://shop.example/hooks/sms"`
	WebhookFailoverURL string            `json:"webhook_failover_url,omitempty" format:"uri" maxLength:"2048" doc:"Used from the second try on when webhook_url fails."`
	SendAt             *time.Time        `json:"send_at,omitempty" doc:"When to send, at most 35 days ahead. Left out: now."`
	ValiditySeconds    *int64            `json:"validity_seconds,omitempty" minimum:"60" maximum:"259200" doc:"How long it is worth delivering, from send_at or acceptance. Left out: otp 600, conversation 14400, bulk 86400."`
	MessageClass       string            `json:"message_class,omitempty" enum:"otp,conversation,bulk" doc:"Sets priority, default validity and quiet hours. Left out: the account's default."`
	Delivery           string            `json:"delivery,omitempty" enum:"at_most_once,at_least_once" doc:"What happens when it is unknown whether the vendor has the message. Left out: the account's default."`
	Encoding           string            `json:"encoding,omitempty" enum:"auto,gsm7,ucs2" doc:"gsm7 refuses other characters. Left out: auto."`
	SmartEncoding      *bool             `json:"smart_encoding,omitempty" doc:"Replaces look-alikes (quotes, dashes, no-break spaces) where that keeps the text in GSM 7-bit. Left out: the account's setting."`
	ClientReference    string            `json:"client_reference,omitempty" maxLength:"64" doc:"Your own reference: echoed, searchable, and not used to detect duplicates."`
	Metadata           map[string]string `json:"metadata,omitempty" maxProperties:"20" doc:"At most 20 pairs, keys of at most 40 characters, values of at most 256. Echoed in the resource and in events."`
	DryRun             *bool             `json:"dry_run,omitempty" doc:"Answers what would happen, with 200. Nothing is stored, charged or sent."`
}

// decodeCreate reads and checks the body of a new message. What ingress checks
// (syntax of the numbers, encoding, length, policy) is left to it. The status
// is 400 for a body that is not JSON and 0, the reason's own, otherwise.
func decodeCreate(body []byte, now time.Time, checkURL func(*url.URL) error) (createMessage, int, *message.Error) {
	var in createMessage
	d, err := decodeObject(body, in.member)
	if err != nil {
		return in, 400, unreadable(err)
	}
	if !d.faulty("body") { // the body was an object
		in.check(d, now, checkURL, 0)
	}
	return in, 0, d.refusal()
}

// faulty reports whether location has a fault already, so that a value which
// was not taken is not called absent as well.
func (f *faults) faulty(location string) bool {
	for _, e := range f.list {
		if e.Location == location {
			return true
		}
	}
	return false
}

func (in *createMessage) member(d *decoder, name, location string) (bool, error) {
	switch name {
	case "from":
		return true, d.text(location, &in.From, oneLine)
	case "to":
		return true, d.text(location, &in.To, oneLine)
	case "body":
		return true, d.text(location, &in.Body, lines)
	case "media_urls":
		return true, in.list(d, location, &in.MediaURLs)
	case "media_ids":
		return true, in.list(d, location, &in.MediaIDs)
	case "media_transcoding":
		return true, d.choice(location, &in.MediaTranscoding, "auto", mediaBypass)
	case "subject":
		return true, d.text(location, &in.Subject, oneLine)
	case "webhook_url":
		return true, d.text(location, &in.WebhookURL, oneLine)
	case "webhook_failover_url":
		return true, d.text(location, &in.WebhookFailoverURL, oneLine)
	case "send_at":
		return true, in.sendAt(d, location)
	case "validity_seconds":
		return true, d.whole(location, &in.ValiditySeconds)
	case "message_class":
		return true, d.choice(location, &in.MessageClass, string(message.ClassOTP), string(message.ClassConversation), string(message.ClassBulk))
	case "delivery":
		return true, d.choice(location, &in.Delivery, string(message.AtMostOnce), string(message.AtLeastOnce))
	case "encoding":
		return true, d.choice(location, &in.Encoding, string(message.EncodingAuto), string(message.EncodingGSM7), string(message.EncodingUCS2))
	case "smart_encoding":
		return true, d.flag(location, &in.SmartEncoding)
	case "client_reference":
		return true, d.text(location, &in.ClientReference, oneLine)
	case "metadata":
		return true, d.pairs(location, &in.Metadata, maxMetadataPairs, maxMetadataKey, maxMetadataValue)
	case "dry_run":
		return true, d.flag(location, &in.DryRun)
	}
	return false, nil
}

func (in *createMessage) sendAt(d *decoder, location string) error {
	return d.time(location, func(at time.Time) { in.SendAt = &at })
}

// check looks at what was read. Files are those that the message has beside media_urls
// and media_ids.
func (in *createMessage) check(d *decoder, now time.Time, checkURL func(*url.URL) error, files int) {
	if in.To == "" && !d.faulty("body.to") {
		d.invalid("body.to", "is required: the recipient's number, such as +13105550117")
	}
	if in.Body == "" && !in.media() && files == 0 && !d.faulty("body.body") && !d.faulty("body.media_urls") && !d.faulty("body.media_ids") {
		d.invalid("body.body", "is required unless there is media, and must not be empty")
	}
	in.checkMedia(d, checkURL, files)
	if n := utf8.RuneCountInString(in.ClientReference); n > maxReference {
		d.invalid("body.client_reference", "has %d characters; at most %d are allowed", n, maxReference)
	}
	in.checkTimes(d, now)
	if in.WebhookFailoverURL != "" && in.WebhookURL == "" && !d.faulty("body.webhook_url") {
		d.invalid("body.webhook_failover_url", "needs webhook_url beside it")
	}
	d.url("body.webhook_url", in.WebhookURL, checkURL)
	d.url("body.webhook_failover_url", in.WebhookFailoverURL, checkURL)
}

func (in *createMessage) checkTimes(d *decoder, now time.Time) {
	if v := in.ValiditySeconds; v != nil {
		least, most := int64(message.MinValidity/time.Second), int64(message.MaxValidity/time.Second)
		if *v < least || *v > most {
			d.add(message.ReasonInvalidSchedule, "body.validity_seconds", "is %s; it must lie between %d and %d", strconv.FormatInt(*v, 10), least, most)
		}
	}
	if in.SendAt == nil {
		return
	}
	switch ahead := in.SendAt.Sub(now); {
	case ahead < -maxSendPast:
		d.add(message.ReasonInvalidSchedule, "body.send_at", "lies in the past; leave it out to send at once")
	case ahead > maxSendAhead:
		d.add(message.ReasonInvalidSchedule, "body.send_at", "lies more than 35 days ahead")
	}
}

func (d *decoder) url(location, s string, check func(*url.URL) error) {
	if s == "" {
		return
	}
	u, err := url.Parse(s)
	switch {
	case len(s) > maxURL:
		d.invalid(location, "must have at most %d characters", maxURL)
	case err != nil || u.Host == "" || u.Opaque != "" || strings.ContainsRune(s, ' '):
		d.invalid(location, "must be a URL such as https://shop.example/hooks/sms")
	case u.User != nil:
		d.add(message.ReasonUnsafeURL, location, "must not hold a user name or password")
	default:
		if err := check(u); err != nil {
			d.add(message.ReasonUnsafeURL, location, "%s", sentence(err))
		}
	}
}

// sentence is what a URL check has to say to the customer.
func sentence(err error) string {
	var e *message.Error
	if errors.As(err, &e) {
		return e.Detail
	}
	return err.Error()
}

// publicHTTPS is the rule for URLs of customers unless the installation sets
// its own: https, port 443 or 8443, and no address that is written out and not
// public. Names are checked when they are dialled.
func publicHTTPS(u *url.URL) error {
	if u.Scheme != "https" {
		return message.Refuse(message.ReasonUnsafeURL, "must begin with https://")
	}
	if p := u.Port(); p != "" && p != "443" && p != "8443" {
		return message.Refuse(message.ReasonUnsafeURL, "must use port 443 or 8443")
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	addr, err := netip.ParseAddr(host)
	if err != nil {
		if host == "localhost" || strings.HasSuffix(host, ".localhost") {
			return message.Refuse(message.ReasonUnsafeURL, "must name a host that is reachable from the Internet")
		}
		return nil
	}
	if a := addr.Unmap(); !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || sharedSpace.Contains(a) {
		return message.Refuse(message.ReasonUnsafeURL, "must name a host that is reachable from the Internet")
	}
	return nil
}

// sharedSpace is the carriers' inner range (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// request makes the body into what ingress takes.
func (in *createMessage) request(c *caller) ingress.Request {
	r := ingress.Request{
		AccountID: c.account.ID, Credential: c.credential, Edge: edgeName,
		From: in.From, To: in.To, Body: in.Body,
		Encoding: message.Encoding(in.Encoding), SmartEncoding: in.SmartEncoding,
		Class: message.Class(in.MessageClass), Delivery: message.Delivery(in.Delivery),
		WebhookURL: in.WebhookURL, WebhookFailover: in.WebhookFailoverURL,
		ClientReference: in.ClientReference, Metadata: in.Metadata,
		Subject: in.Subject, MediaAsIs: in.media() && cmp.Or(in.MediaTranscoding, c.account.MediaTranscoding) == mediaBypass,
		DryRun: in.DryRun != nil && *in.DryRun,
	}
	if in.ValiditySeconds != nil {
		r.Validity = time.Duration(*in.ValiditySeconds) * time.Second
	}
	if in.SendAt != nil {
		r.SendAt = *in.SendAt
	}
	return r
}
