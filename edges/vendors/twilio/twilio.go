// Package twilio is Twilio as a vendor: rows and two functions for package
// httpvendor. The vendor's row holds the account's SID (account_sid), an API key and
// its secret, or the SID and the auth token (username, password), and the auth token
// as signing key. A messaging service goes into messaging_profile_id.
package twilio

import (
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/httpvendor"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Name is the provider_type.
const Name = "twilio"

const (
	// maxBody is how many characters a message may have (code 21617).
	maxBody = 1600
	// maxValidity is how long Twilio keeps a message in its own queue at most, which is
	// also how long it does unless told otherwise.
	maxValidity = 10 * time.Hour
	// maxMedia is how many files a message may have, and more than are read of one.
	maxMedia = 10
	// again asks for a status to be sent again, at most three times, when we could not
	// take it. It stands in the fragment and is not signed.
	again = "#rc=3&rp=all"
)

// Kind is Twilio.
func Kind(cfg httpvendor.Config) vendors.Kind { return httpvendor.Kind(Spec(), cfg) }

// Spec describes Twilio.
func Spec() httpvendor.Spec {
	return httpvendor.Spec{
		Kind: Name, BaseURL: "https://api.twilio.com", Auth: httpvendor.Basic,
		Probe: "/2010-04-01/Accounts/{account}.json",
		ID:    "sid", Code: "code", MaxText: maxBody,
		Codes: codes, Statuses: statuses, States: states,
		Signature: httpvendor.FormHMAC("X-Twilio-Signature"), PasswordSigns: true,
		AnswerType: "text/xml", Answer: "<Response/>", // plain text would go to the handset
		FileHosts: []string{"twiliocdn.com", "amazonaws.com"}, FilesNeedAuth: true, // the API redirects to storage
		Submit: submit, Read: read,
	}
}

var states = map[string]message.ReceiptState{
	"accepted": message.ReceiptAccepted, "scheduled": message.ReceiptAccepted, "queued": message.ReceiptAccepted, "sending": message.ReceiptAccepted,
	"sent":      message.ReceiptEnroute,
	"delivered": message.ReceiptDelivered, "read": message.ReceiptDelivered,
	"undelivered": message.ReceiptUndeliverable,
	"failed":      message.ReceiptRejected, // before the carrier
	"canceled":    message.ReceiptDeleted,
}

var statuses = map[int]httpvendor.Row{
	404: httpvendor.Shut(),     // there is no such account
	503: httpvendor.NotTaken(), // other errors of the server's leave it open
}

// codes are Twilio's error codes, of answers and of statuses.
var codes = map[string]httpvendor.Row{
	// The account.
	"20003": httpvendor.Shut(), // credentials
	"20404": httpvendor.Shut(), // no such account
	"20429": httpvendor.Throttled(),
	"21609": httpvendor.Fault(message.ReasonVendorRejected), // our callback is not a URL that Twilio takes
	"30002": httpvendor.Fault(message.ReasonVendorRejected), // suspended
	"30010": httpvendor.Fault(message.ReasonVendorRejected), // price cap
	"30037": httpvendor.Fault(message.ReasonVendorRejected), // outbound is off

	// Registration.
	"30024": httpvendor.No(message.ReasonUnregisteredCampaign),
	"30034": httpvendor.No(message.ReasonUnregisteredCampaign),
	"30032": httpvendor.No(message.ReasonSenderUnverified), // toll-free
	"21703": httpvendor.No(message.ReasonUnauthorizedSender),
	"21704": httpvendor.No(message.ReasonUnauthorizedSender),

	// The sender.
	"21212": httpvendor.No(message.ReasonUnauthorizedSender),
	"21606": httpvendor.No(message.ReasonUnauthorizedSender),
	"21659": httpvendor.No(message.ReasonUnauthorizedSender),

	// The recipient.
	"21211": httpvendor.No(message.ReasonInvalidDestination),
	"21408": httpvendor.No(message.ReasonDestinationNotAllowed),
	"21610": httpvendor.No(message.ReasonOptedOut),
	"21612": httpvendor.No(message.ReasonNoRoute),
	"21614": httpvendor.No(message.ReasonUnknownSubscriber),
	"30003": httpvendor.No(message.ReasonUnreachable),
	"30005": httpvendor.No(message.ReasonUnknownSubscriber),
	"30006": httpvendor.No(message.ReasonUnknownSubscriber),
	"30008": httpvendor.No(message.ReasonUnreachable),

	// What is in it.
	"11751": httpvendor.No(message.ReasonMediaRejected),
	"12300": httpvendor.No(message.ReasonMediaRejected),
	"21617": httpvendor.No(message.ReasonMessageTooLong),
	"21620": httpvendor.No(message.ReasonMediaUnavailable), // our URL could not be read: smaller files would not help
	"21623": httpvendor.No(message.ReasonMediaRejected),
	"30004": httpvendor.No(message.ReasonFiltered),
	"30007": httpvendor.No(message.ReasonFiltered),
	"30009": httpvendor.No(message.ReasonMissingPart),
	"30011": httpvendor.No(message.ReasonDestinationNotAllowed), // MMS there
	"30019": httpvendor.No(message.ReasonMediaRejected),
	"30038": httpvendor.No(message.ReasonFiltered),

	// Too much, too late.
	"21611": httpvendor.Later(message.ReasonVendorThrottled, time.Minute), // the sender's queue is full
	"30001": httpvendor.Later(message.ReasonVendorThrottled, time.Minute),
	"30022": httpvendor.Later(message.ReasonVendorThrottled, time.Minute),
	"30027": httpvendor.Later(message.ReasonDailyCapReached, 30*time.Minute),
	"30036": httpvendor.No(message.ReasonExpired),
	"30450": httpvendor.No(message.ReasonFraudBlock),
}

// submit makes the request for a message.
func submit(v *snapshot.Vendor, s message.Submission, callback string) (httpvendor.Request, error) {
	form := url.Values{"To": {string(s.To)}, "From": {string(s.From)}, "StatusCallback": {callback + again}}
	if s.Text != "" {
		form.Set("Body", s.Text)
	}
	if v.MessagingProfileID != "" {
		form.Set("MessagingServiceSid", v.MessagingProfileID)
	}
	for _, m := range s.Media {
		form.Add("MediaUrl", m.URL)
	}
	if left := time.Until(s.ExpiresAt); !s.ExpiresAt.IsZero() && left < maxValidity {
		form.Set("ValidityPeriod", strconv.Itoa(max(1, int(left/time.Second))))
	}
	return httpvendor.Request{Path: "/2010-04-01/Accounts/{account}/Messages.json", Form: form}, nil
}

// read says what a webhook tells: a status, or a message of a handset. Fields that are
// not known are Twilio's right to add.
func read(_ *snapshot.Vendor, r vendors.HookRequest) (httpvendor.Events, error) {
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return httpvendor.Events{}, errors.New("the body is not a form")
	}
	id := form.Get("MessageSid")
	if id == "" {
		id = form.Get("SmsSid")
	}
	switch word := form.Get("MessageStatus"); {
	case id == "":
		return httpvendor.Events{}, nil // of some other product
	case word != "" && word != "received" && word != "receiving":
		return httpvendor.Events{Receipts: []httpvendor.Receipt{{
			ID: id, Word: word, Code: form.Get("ErrorCode"), From: form.Get("From"), To: form.Get("To"),
		}}}, nil
	case !form.Has("Body") && !form.Has("NumMedia"):
		return httpvendor.Events{}, nil
	}
	m := message.InboundMessage{VendorRef: id, From: form.Get("From"), To: form.Get("To"), Text: form.Get("Body")}
	for i := range maxMedia {
		at := form.Get("MediaUrl" + strconv.Itoa(i))
		if at == "" {
			break
		}
		m.Media = append(m.Media, message.InboundMedia{URL: at, ContentType: form.Get("MediaContentType" + strconv.Itoa(i))})
	}
	return httpvendor.Events{Inbound: []message.InboundMessage{m}}, nil
}
