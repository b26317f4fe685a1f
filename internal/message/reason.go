package message

import (
	"errors"
	"fmt"
	"time"
)

// Reason is why something did not go: the `code` of the API. The list is closed
// and described in the catalogue.
type Reason string

// The reasons, in the order of the catalogue.
const (
	ReasonInvalidRequest        Reason = "invalid_request"
	ReasonUnauthenticated       Reason = "unauthenticated"
	ReasonForbidden             Reason = "forbidden"
	ReasonNotFound              Reason = "not_found"
	ReasonConflict              Reason = "conflict"
	ReasonIdempotencyInProgress Reason = "idempotency_in_progress"
	ReasonIdempotencyMismatch   Reason = "idempotency_mismatch"
	ReasonPayloadTooLarge       Reason = "payload_too_large"
	ReasonUnsafeURL             Reason = "unsafe_url"
	ReasonAccountSuspended      Reason = "account_suspended"
	ReasonUnauthorizedSender    Reason = "unauthorized_sender"
	ReasonSenderUnavailable     Reason = "sender_unavailable"
	ReasonInsufficientBalance   Reason = "insufficient_balance"
	ReasonQuotaExceeded         Reason = "quota_exceeded"
	ReasonRateLimitExceeded     Reason = "rate_limit_exceeded"
	ReasonQueueFull             Reason = "queue_full"
	ReasonUnregisteredCampaign  Reason = "unregistered_campaign"
	ReasonCampaignInactive      Reason = "campaign_inactive"
	ReasonSenderUnverified      Reason = "sender_unverified"
	ReasonOptedOut              Reason = "opted_out"
	ReasonProhibitedContent     Reason = "prohibited_content"
	ReasonQuietHours            Reason = "quiet_hours"
	ReasonMessageTooLong        Reason = "message_too_long"
	ReasonEncodingMismatch      Reason = "encoding_mismatch"
	ReasonInvalidSchedule       Reason = "invalid_schedule"
	ReasonMediaUnavailable      Reason = "media_unavailable"
	ReasonMediaRejected         Reason = "media_rejected"
	ReasonMissingPart           Reason = "missing_part"
	ReasonInvalidDestination    Reason = "invalid_destination"
	ReasonDestinationNotAllowed Reason = "destination_not_allowed"
	ReasonNoRoute               Reason = "no_route"
	ReasonUnknownSubscriber     Reason = "unknown_subscriber"
	ReasonUnreachable           Reason = "unreachable"
	ReasonRecipientRefused      Reason = "recipient_refused"
	ReasonVendorThrottled       Reason = "vendor_throttled"
	ReasonDailyCapReached       Reason = "daily_cap_reached"
	ReasonFiltered              Reason = "filtered"
	ReasonFraudBlock            Reason = "fraud_block"
	ReasonVendorRejected        Reason = "vendor_rejected"
	ReasonVendorUnreachable     Reason = "vendor_unreachable"
	ReasonSubmitInDoubt         Reason = "submit_in_doubt"
	ReasonNoReceipt             Reason = "no_receipt"
	ReasonExpired               Reason = "expired"
	ReasonCanceled              Reason = "canceled"
	ReasonInternal              Reason = "internal_error"
	ReasonUnavailable           Reason = "unavailable"
)

// ReasonClass tells a customer what kind of answer a reason is.
type ReasonClass string

// The classes of reasons.
const (
	Permanent       ReasonClass = "permanent"        // fails again unless something is changed
	Retry           ReasonClass = "retry"            // may pass later
	FixRegistration ReasonClass = "fix_registration" // needs a change at the campaign registry
)

// FieldError names one field of a request that breaks its rule.
type FieldError struct {
	Location string // such as "body.to"
	Message  string // what the rule is and what would satisfy it
}

// Error is a refusal or failure with its reason. Detail is a sentence for the
// customer: it names the thing that decided and never holds a secret or text
// of a message.
type Error struct {
	Reason Reason
	Detail string
	Fields []FieldError // only for ReasonInvalidRequest and its like
	Err    error        // the cause, for logs; nil when the reason is the whole story
	// After is how long it takes until the same thing may pass; 0: nobody knows.
	After time.Duration
}

// RetryAfter is the earliest next try, of the error or of its cause; 0 leaves it to
// the caller.
func (e *Error) RetryAfter() time.Duration {
	if e.After > 0 {
		return e.After
	}
	var hint interface{ RetryAfter() time.Duration }
	if e.Err != nil && errors.As(e.Err, &hint) {
		return hint.RetryAfter()
	}
	return 0
}

// Error is the reason and the detail.
func (e *Error) Error() string {
	switch {
	case e.Err != nil && e.Detail != "":
		return fmt.Sprintf("%s: %s: %v", e.Reason, e.Detail, e.Err)
	case e.Err != nil:
		return fmt.Sprintf("%s: %v", e.Reason, e.Err)
	case e.Detail != "":
		return fmt.Sprintf("%s: %s", e.Reason, e.Detail)
	}
	return string(e.Reason)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether the same thing may pass later.
func (e *Error) Retryable() bool { return e.Reason.Class() == Retry }

// Refuse makes an Error with a formatted detail.
func Refuse(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

// Because makes an Error with a cause that is for logs only.
func Because(r Reason, err error, format string, args ...any) *Error {
	return &Error{Reason: r, Detail: fmt.Sprintf(format, args...), Err: err}
}

// ReasonOf finds the reason in err's chain. A foreign error is
// ReasonInternal; nil has none.
func ReasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ReasonInternal
}

// AsError gives err as *Error; a foreign error becomes ReasonInternal with err
// as its cause and no detail, so that nothing of it reaches a customer.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Reason: ReasonInternal, Err: err}
}
