package ingress

import (
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Retryable says why a message cannot be sent again as a new one, nil if it can.
func Retryable(m *message.Message, acceptDuplicate bool) error {
	if m.Direction != message.Outbound {
		return message.Refuse(message.ReasonConflict, "what came from a handset cannot be sent")
	}
	switch m.Status {
	case message.StatusUndelivered, message.StatusFailed, message.StatusExpired, message.StatusRejected:
	case message.StatusUnconfirmed:
		if !acceptDuplicate {
			return message.Refuse(message.ReasonConflict, `the recipient may have the message: it is unconfirmed; send {"accept_duplicate":true} if that may be`)
		}
	case message.StatusCanceled:
		return message.Refuse(message.ReasonConflict, "the message was canceled; send a new one")
	default:
		return message.Refuse(message.ReasonConflict, "the message is %s: only what is undelivered, failed, expired, rejected or unconfirmed is sent again", m.Status)
	}
	switch {
	case m.Redacted:
		return message.Refuse(message.ReasonConflict, "the text of the message is not kept any more (content_retention_days); send a new message")
	case m.From == "" || m.To == "":
		return message.Refuse(message.ReasonConflict, "the message has no sender or recipient that could be read; send a new one")
	}
	return nil
}

// OnceMore is the request for the same message once more. Its validity is as long as it
// was and begins anew, its files are shared, and what decides is what holds now.
func OnceMore(m *message.Message, edge string) Request {
	from := m.From
	if m.RequestedFrom != "" {
		from = m.RequestedFrom
	}
	validFrom := m.CreatedAt
	if m.SendAt.After(validFrom) {
		validFrom = m.SendAt
	}
	smart := false // the text is what was sent
	group := make([]string, len(m.GroupRecipients))
	for i, to := range m.GroupRecipients {
		group[i] = string(to)
	}
	r := Request{
		AccountID: m.AccountID, Edge: edge, RetryOf: m.ID, From: string(from), To: string(m.To), Body: m.Body, Subject: m.Subject,
		MMS: m.Kind == message.MMS, MediaAsIs: m.MediaAsIs, GroupID: m.GroupID, GroupRecipients: group,
		Encoding: m.Encoding, SmartEncoding: &smart, DataCoding: m.DataCoding, Header: m.Header, TLVs: m.TLVs, Class: m.Class, Delivery: m.Delivery,
		Validity:   min(max(m.ExpiresAt.Sub(validFrom).Truncate(time.Second), message.MinValidity), message.MaxValidity),
		WebhookURL: m.WebhookURL, WebhookFailover: m.WebhookFailover, FailuresOnly: m.FailuresOnly, Callback: m.Callback, ClientReference: m.ClientReference, Metadata: m.Metadata,
	}
	if m.Kind != message.MMS { // one that became a text has its files as links in it
		r.Subject = ""
		return r
	}
	for _, f := range m.Media {
		if f.Fetched() {
			f.Source = ""
		}
		r.Media = append(r.Media, f)
	}
	return r
}
