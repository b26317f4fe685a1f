package twilio

import "github.com/postrider/postrider/internal/message"

// Codes that the door needs by name; those of reasons are in codes.
const (
	CodeAuthenticate     = 20003
	CodeMethod           = 20004
	CodeNotFound         = 20404
	CodeTooMany          = 20429
	CodeInternal         = 20500
	CodeUnavailable      = 20503
	CodeInvalid          = 20001
	CodeNoTo             = 21604
	CodeNoBody           = 21602
	CodeNoFrom           = 21603
	CodeInvalidTo        = 21211
	CodeInvalidFrom      = 21212
	CodeInvalidCallback  = 21609
	CodeInvalidMedia     = 21620
	CodeTooManyMedia     = 21623
	CodeNoService        = 21701
	CodeNoContent        = 21655
	CodeInvalidSchedule  = 35114
	CodeTooLate          = 30409
	CodeUnknown          = 30008
	CodeBodyTooLong      = 21617
	CodeAccountNotActive = 20005
	CodeForbidden        = 20403
	CodeConflict         = 20409
)

// codes are the error codes of reasons, by the table of the error catalogue: of several codes
// that a vendor's word is read from, the one that says most. Reasons without a code there have
// the nearest; where there is none, what Twilio itself says when it does not know.
var codes = map[message.Reason]int{
	message.ReasonInvalidRequest:        CodeInvalid,
	message.ReasonUnauthenticated:       CodeAuthenticate,
	message.ReasonForbidden:             CodeForbidden,
	message.ReasonNotFound:              CodeNotFound,
	message.ReasonConflict:              CodeConflict,
	message.ReasonIdempotencyInProgress: CodeConflict,
	message.ReasonIdempotencyMismatch:   CodeConflict,
	message.ReasonPayloadTooLarge:       CodeInvalid,
	message.ReasonUnsafeURL:             CodeInvalidCallback,
	message.ReasonAccountSuspended:      CodeAccountNotActive,
	message.ReasonUnauthorizedSender:    21606,
	message.ReasonSenderUnavailable:     CodeUnknown,
	message.ReasonInsufficientBalance:   CodeAccountNotActive,
	message.ReasonQuotaExceeded:         CodeTooMany,
	message.ReasonRateLimitExceeded:     CodeTooMany,
	message.ReasonQueueFull:             21611,
	message.ReasonUnregisteredCampaign:  30034,
	message.ReasonCampaignInactive:      30033,
	message.ReasonSenderUnverified:      30032,
	message.ReasonOptedOut:              21610,
	message.ReasonProhibitedContent:     30007,
	message.ReasonQuietHours:            30610,
	message.ReasonMessageTooLong:        CodeBodyTooLong,
	message.ReasonEncodingMismatch:      CodeInvalid,
	message.ReasonInvalidSchedule:       CodeInvalidSchedule,
	message.ReasonMediaUnavailable:      CodeInvalidMedia,
	message.ReasonMediaRejected:         12300,
	message.ReasonMissingPart:           30009,
	message.ReasonInvalidDestination:    CodeInvalidTo,
	message.ReasonDestinationNotAllowed: 21408,
	message.ReasonNoRoute:               21612,
	message.ReasonUnknownSubscriber:     30005,
	message.ReasonUnreachable:           30003,
	message.ReasonRecipientRefused:      CodeUnknown,
	message.ReasonVendorThrottled:       30001,
	message.ReasonDailyCapReached:       30027,
	message.ReasonFiltered:              30007,
	message.ReasonFraudBlock:            30450,
	message.ReasonVendorRejected:        CodeUnknown,
	message.ReasonVendorUnreachable:     CodeUnknown,
	message.ReasonSubmitInDoubt:         CodeUnknown,
	message.ReasonNoReceipt:             CodeUnknown,
	message.ReasonExpired:               30036,
	message.ReasonCanceled:              CodeUnknown,
	message.ReasonInternal:              CodeInternal,
	message.ReasonUnavailable:           CodeUnavailable,
}

// Code is the error code of a reason.
func Code(r message.Reason) int {
	if c := codes[r]; c != 0 {
		return c
	}
	return CodeUnknown
}
