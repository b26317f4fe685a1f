package rest

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
)

// problemType is the media type of refusals (RFC 9457).
const problemType = "application/problem+json"

// problem is a refusal as a customer reads it.
type problem struct {
	_         struct{}       `json:"-" additionalProperties:"true"`
	Type      string         `json:"type" doc:"Path of the page that explains the code" example:"/docs/errors/campaign_inactive"`
	Title     string         `json:"title" doc:"The code in a few words" example:"Campaign is not active"`
	Status    int            `json:"status" doc:"The HTTP status" example:"422"`
	Code      string         `json:"code" doc:"A code of GET /v1/errors" example:"campaign_inactive"`
	Class     string         `json:"class" enum:"permanent,retry,fix_registration" doc:"permanent: fails again unless something is changed; retry: may pass later; fix_registration: needs a change at the campaign registry"`
	Detail    string         `json:"detail" doc:"What happened this time" example:"+12025550143 belongs to campaign C8X2KQ1, which is suspended."`
	Errors    []fieldProblem `json:"errors,omitempty" nullable:"false" doc:"The fields that break a rule"`
	MessageID string         `json:"message_id,omitempty" format:"uuid" doc:"The message that was recorded as rejected, if one was"`
	RequestID string         `json:"request_id" doc:"The X-Request-Id of the answer"`
	OAuth     string         `json:"error,omitempty" doc:"The token endpoint's error code of RFC 6749 §5.2"`

	retryAfter time.Duration
	cause      error // for the log only
	internal   bool  // an answer of the internal API
}

type fieldProblem struct {
	_        struct{} `json:"-" additionalProperties:"true"`
	Location string   `json:"location" doc:"The field" example:"body.to"`
	Message  string   `json:"message" doc:"Its rule, and what would satisfy it"`
}

// Error makes a problem an error; huma writes it as the answer.
func (p *problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus tells huma the HTTP status.
func (p *problem) GetStatus() int { return p.Status }

// ContentType tells huma the media type.
func (p *problem) ContentType(string) string { return problemType }

// GetHeaders tells huma the headers beside the body.
func (p *problem) GetHeaders() http.Header {
	h := make(http.Header)
	p.setHeaders(h)
	return h
}

func (p *problem) setHeaders(h http.Header) {
	if p.retryAfter > 0 {
		h.Set("Retry-After", seconds(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		h["WWW-Authenticate"] = []string{`Bearer realm="postrider"`, `Basic realm="postrider", charset="UTF-8"`}
		if p.internal { // which takes tokens alone
			h["WWW-Authenticate"] = []string{`Bearer realm="postrider internal"`}
		}
	}
}

// seconds rounds up: an answer never says to come back too early.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64(math.Ceil(d.Seconds())), 10)
}

// How long to wait when nobody knows better.
const (
	retrySoon  = time.Second
	retryLater = 5 * time.Second
)

// problemOf makes a refusal of an error. status overrides the catalogue's for
// the reasons that have several; 0 keeps it. A reason that has no HTTP status
// cannot be a refusal here and shows as an internal error.
func problemOf(err error, status int, requestID string) *problem {
	e := message.AsError(err)
	entry := e.Reason.Entry()
	p := &problem{Detail: e.Detail, cause: e.Err, RequestID: requestID}
	if entry.HTTP == 0 || entry.Reason == message.ReasonInternal {
		entry = message.ReasonInternal.Entry()
		p.Detail, p.cause = "", e
	}
	p.Type = "/docs/errors/" + string(entry.Reason)
	p.Title, p.Code, p.Class, p.Status = entry.Title, string(entry.Reason), string(entry.Class), entry.HTTP
	if status != 0 {
		p.Status = status
	}
	if p.Detail == "" {
		p.Detail = entry.Help
	}
	for _, f := range e.Fields {
		p.Errors = append(p.Errors, fieldProblem{Location: f.Location, Message: f.Message})
	}
	if len(p.Errors) == 0 {
		if location := usualField[entry.Reason]; location != "" {
			p.Errors = []fieldProblem{{Location: location, Message: p.Detail}}
		}
	}
	p.retryAfter = retryAfter(err, entry.Reason, p.Status)
	return p
}

// usualField is the field of a new message that a reason is about when whoever
// refused did not name one.
var usualField = map[message.Reason]string{
	message.ReasonInvalidDestination: "body.to",
	message.ReasonMessageTooLong:     "body.body",
	message.ReasonEncodingMismatch:   "body.body",
}

func retryAfter(err error, reason message.Reason, status int) time.Duration {
	var waits interface{ RetryAfter() time.Duration }
	if errors.As(err, &waits) && waits.RetryAfter() > 0 {
		return waits.RetryAfter()
	}
	switch {
	case reason == message.ReasonIdempotencyInProgress, reason == message.ReasonRateLimitExceeded:
		return retrySoon
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return retryLater
	}
	return 0
}

// ours is a huma transformer: what huma itself refuses (a query parameter, a
// body over the limit) becomes a problem of the catalogue. The values that huma
// would repeat are dropped: they may be a message's text.
func ours(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	e := &message.Error{Reason: message.ReasonInvalidRequest}
	status := m.Status
	switch status {
	case http.StatusRequestEntityTooLarge:
		e = message.Refuse(message.ReasonPayloadTooLarge, "the body is larger than %d octets", maxBody)
	case http.StatusRequestTimeout:
		e.Detail = "the body did not arrive in time"
	case http.StatusInternalServerError: // the only one that huma makes: the body broke off
		status = http.StatusBadRequest
		ctx.SetStatus(status)
		e.Detail = "the body could not be read to its end"
	default:
		for _, d := range m.Errors {
			e.Fields = append(e.Fields, message.FieldError{Location: d.Location, Message: d.Message})
		}
		if e.Detail = m.Detail; len(e.Fields) > 0 {
			e.Detail = describe(e.Fields)
		}
	}
	return problemOf(e, status, exchangeOf(ctx.Context()).requestID), nil
}
