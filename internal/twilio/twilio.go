// Package twilio has the words in which Twilio's API speaks of accounts and messages: sids,
// statuses and error codes. It is Twilio as customers know it, for the door that stands in
// for it and for its status callbacks; Twilio as a vendor is edges/vendors/twilio.
//
// The rule not to break: a word here says no more than is so. What is not known to have
// failed is never called failed, since programs send again what is.
package twilio

import (
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// APIVersion is the version whose paths and words these are.
const APIVersion = "2010-04-01"

// What sids begin with; 32 hexadecimal digits follow.
const (
	AccountPrefix = "AC"
	KeyPrefix     = "SK"
	SMSPrefix     = "SM"
	MMSPrefix     = "MM"
	MediaPrefix   = "ME"
)

// SID is an id with the prefix of what it is of.
func SID(prefix string, id message.ID) string { return prefix + message.Hex32(id) }

// MessageSID is the sid of a message.
func MessageSID(m *message.Message) string {
	if m.Kind == message.MMS {
		return SID(MMSPrefix, m.ID)
	}
	return SID(SMSPrefix, m.ID)
}

// sidLength is that of a sid: a prefix and an id.
const sidLength = 2 + 32

// ParseSID reads a sid with one of the prefixes; false: it is none.
func ParseSID(sid string, prefixes ...string) (message.ID, bool) {
	if len(sid) != sidLength {
		return message.ID{}, false
	}
	for _, p := range prefixes {
		digits, ok := strings.CutPrefix(sid, p)
		if !ok || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
			continue
		}
		id, err := message.ParseID(digits)
		return id, err == nil
	}
	return message.ID{}, false
}

// The statuses of a message.
const (
	Queued      = "queued"
	Scheduled   = "scheduled"
	Sending     = "sending"
	Sent        = "sent"
	Delivered   = "delivered"
	Undelivered = "undelivered"
	Failed      = "failed"
	Canceled    = "canceled"
	Received    = "received"
)

// Status is the word for a message's status. One in doubt is still being sent, and one that
// stayed unconfirmed was sent: Twilio's `sent` may be the last word as well.
func Status(m *message.Message) string {
	if m.Direction == message.Inbound {
		return Received
	}
	switch m.Status {
	case message.StatusAccepted, message.StatusScheduled:
		if m.SendAt.After(m.CreatedAt) {
			return Scheduled
		}
		return Queued
	case message.StatusSending, message.StatusInDoubt:
		return Sending
	case message.StatusSent, message.StatusUnconfirmed:
		return Sent
	case message.StatusDelivered:
		return Delivered
	case message.StatusUndelivered:
		return Undelivered
	case message.StatusFailed, message.StatusRejected:
		return Failed
	case message.StatusExpired:
		if m.Receipt != nil || !m.SubmittedAt.IsZero() {
			return Undelivered
		}
		return Failed
	case message.StatusCanceled:
		return Canceled
	}
	return Queued
}

// ErrorCode is the error code of a message that has failed or was not delivered; 0: it has
// none.
func ErrorCode(m *message.Message) int {
	switch Status(m) {
	case Failed, Undelivered:
		if m.Error != nil {
			return Code(m.Error.Reason)
		}
		return CodeUnknown
	}
	return 0
}

// Date is a time as the API writes it (RFC 2822, in GMT).
func Date(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000") }
