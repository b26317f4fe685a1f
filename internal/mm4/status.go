package mm4

import (
	"strings"

	"github.com/postrider/postrider/internal/message"
)

// Status is X-Mms-Request-Status-Code: whether the other side took a request (TS
// 23.140 §8.4.1.4). The zero Status means "none".
type Status string

// The statuses.
const (
	StatusOK              Status = "Ok"
	StatusUnspecified     Status = "Error-unspecified"
	StatusServiceDenied   Status = "Error-service-denied"
	StatusFormatCorrupt   Status = "Error-message-format-corrupt"
	StatusAddress         Status = "Error-sending-address-unresolved"
	StatusMessageNotFound Status = "Error-message-not-found"
	StatusNetworkProblem  Status = "Error-network-problem"
	StatusContent         Status = "Error-content-not-accepted"
	StatusUnsupported     Status = "Error-unsupported-message"
)

// RequestStatuses lists every status once.
func RequestStatuses() []Status {
	return []Status{
		StatusOK, StatusUnspecified, StatusServiceDenied, StatusFormatCorrupt, StatusAddress,
		StatusMessageNotFound, StatusNetworkProblem, StatusContent, StatusUnsupported,
	}
}

// ParseStatus reads a status as peers write it: in any case, with or without
// "Error-", with blanks or underscores for hyphens, and in the form of MM1 1.2, which
// says for each error whether it is transient or permanent. An unknown word is
// StatusUnspecified and false.
func ParseStatus(s string) (Status, bool) {
	p := strings.TrimPrefix(plain(s), "error")
	if strings.HasPrefix(p, "transient") {
		return StatusNetworkProblem, true
	}
	if p == "permanentfailure" {
		return StatusServiceDenied, true
	}
	p = strings.TrimPrefix(p, "permanent")
	for _, k := range RequestStatuses() {
		if strings.TrimPrefix(plain(string(k)), "error") == p {
			return k, true
		}
	}
	return StatusUnspecified, false
}

// Retryable reports whether the same request may be taken later.
func (s Status) Retryable() bool { return s == StatusNetworkProblem || s == StatusUnspecified }

// vendorReasons says what a vendor's status means to our message.
var vendorReasons = map[Status]message.Reason{
	StatusOK:              "",
	StatusUnspecified:     message.ReasonVendorUnreachable,
	StatusServiceDenied:   message.ReasonVendorRejected,
	StatusFormatCorrupt:   message.ReasonVendorRejected,
	StatusAddress:         message.ReasonUnknownSubscriber,
	StatusMessageNotFound: message.ReasonVendorRejected,
	StatusNetworkProblem:  message.ReasonVendorUnreachable,
	StatusContent:         message.ReasonMediaRejected,
	StatusUnsupported:     message.ReasonVendorRejected,
}

// Reason is what a vendor's status means to our message: empty for StatusOK,
// vendor_rejected for one that is none of the constants. It is temporary when the
// status is Retryable.
func (s Status) Reason() message.Reason {
	if r, ok := vendorReasons[s]; ok {
		return r
	}
	return message.ReasonVendorRejected
}

// unsaid has the statuses of reasons that the catalogue gives an SMTP reply, or
// nothing: a response is due for them only when the request was taken before. What is
// permanent gets none that is Retryable.
var unsaid = map[message.Reason]Status{
	message.ReasonUnauthenticated:       StatusServiceDenied,
	message.ReasonForbidden:             StatusServiceDenied,
	message.ReasonConflict:              StatusServiceDenied,
	message.ReasonIdempotencyInProgress: StatusNetworkProblem,
	message.ReasonIdempotencyMismatch:   StatusFormatCorrupt,
	message.ReasonPayloadTooLarge:       StatusContent,
	message.ReasonUnsafeURL:             StatusContent,
	message.ReasonQuotaExceeded:         StatusNetworkProblem,
	message.ReasonRateLimitExceeded:     StatusNetworkProblem,
	message.ReasonQueueFull:             StatusNetworkProblem,
	message.ReasonMediaUnavailable:      StatusNetworkProblem,
	message.ReasonMissingPart:           StatusFormatCorrupt,
	message.ReasonUnknownSubscriber:     StatusAddress,
	message.ReasonUnreachable:           StatusNetworkProblem,
	message.ReasonRecipientRefused:      StatusServiceDenied,
	message.ReasonVendorThrottled:       StatusNetworkProblem,
	message.ReasonFiltered:              StatusContent,
	message.ReasonFraudBlock:            StatusNetworkProblem,
	message.ReasonVendorRejected:        StatusServiceDenied,
	message.ReasonVendorUnreachable:     StatusNetworkProblem,
	message.ReasonSubmitInDoubt:         StatusServiceDenied,
	message.ReasonNoReceipt:             StatusServiceDenied,
	message.ReasonExpired:               StatusNetworkProblem,
	message.ReasonCanceled:              StatusServiceDenied,
	message.ReasonInternal:              StatusUnspecified,
	message.ReasonUnavailable:           StatusNetworkProblem,
}

// StatusOf is the status that a refused request gets: the catalogue's, or the
// nearest. No reason is StatusOK, an unknown one is our own fault.
func StatusOf(r message.Reason) Status {
	if r == "" {
		return StatusOK
	}
	if s, ok := unsaid[r]; ok {
		return s
	}
	if s, ok := ParseStatus(r.Entry().MM4); ok {
		return s
	}
	return StatusUnspecified
}

// Reply is an answer of SMTP: its code (RFC 5321 §4.2.3) and its enhanced code (RFC
// 3463).
type Reply struct {
	Code     int
	Enhanced [3]int
}

// enhancedCodes go with the codes that the catalogue gives.
var enhancedCodes = map[string]Reply{
	"450": {450, [3]int{4, 7, 1}},
	"451": {451, [3]int{4, 3, 0}},
	"452": {452, [3]int{4, 3, 1}},
	"535": {535, [3]int{5, 7, 8}},
	"552": {552, [3]int{5, 3, 4}},
	"554": {554, [3]int{5, 7, 1}},
}

// replies are said where a status cannot be, because no response is due.
var replies = map[Status]Reply{
	StatusOK:              {250, [3]int{2, 0, 0}},
	StatusUnspecified:     {451, [3]int{4, 3, 0}},
	StatusServiceDenied:   {550, [3]int{5, 7, 1}},
	StatusFormatCorrupt:   {554, [3]int{5, 6, 0}},
	StatusAddress:         {553, [3]int{5, 1, 3}},
	StatusMessageNotFound: {554, [3]int{5, 6, 0}},
	StatusNetworkProblem:  {451, [3]int{4, 4, 0}},
	StatusContent:         {554, [3]int{5, 6, 0}},
	StatusUnsupported:     {554, [3]int{5, 6, 0}},
}

// Reply is the SMTP reply that says s; that of StatusUnspecified for one that is none
// of the constants.
func (s Status) Reply() Reply {
	if r, ok := replies[s]; ok {
		return r
	}
	return replies[StatusUnspecified]
}

// ReplyOf is the SMTP reply to what is refused for r. It is a 4xx exactly when r may
// pass later; no reason is 250.
func ReplyOf(r message.Reason) Reply {
	if r != "" {
		if reply, ok := enhancedCodes[r.Entry().MM4]; ok {
			return reply
		}
	}
	return StatusOf(r).Reply()
}
