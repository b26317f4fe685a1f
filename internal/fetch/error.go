package fetch

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/webhook"
)

// Error is why there is no file. It shows the host and nothing else of the URL, no
// address, and no credentials; a customer may see it.
type Error struct {
	host, why string
	reason    message.Reason
	retry     bool
	status    int
	err       error
}

// Error is host and cause.
func (e *Error) Error() string {
	if e.host == "" {
		return e.why
	}
	return e.host + ": " + e.why
}

// Unwrap gives the cause, for errors.Is; nil when the answer is the whole story.
func (e *Error) Unwrap() error { return e.err }

// Retryable reports whether the same request may succeed later.
func (e *Error) Retryable() bool { return e.retry }

// Reason is one of ReasonMediaUnavailable, ReasonMediaRejected (too large) and
// ReasonUnsafeURL. The first is no promise that a later try succeeds: ask Retryable.
func (e *Error) Reason() message.Reason { return e.reason }

// Status is the HTTP status that was the answer; 0 if that was not the reason.
func (e *Error) Status() int { return e.status }

func unsafe(host, why string) *Error {
	return &Error{host: host, why: why, reason: message.ReasonUnsafeURL}
}

// elsewhere makes an Error of one about where a host redirects to.
func elsewhere(from string, err *Error) *Error {
	return unsafe(from, "redirects to a URL that is not allowed: "+err.why)
}

func useless(host, why string) *Error {
	return &Error{host: host, why: why, reason: message.ReasonMediaUnavailable}
}

// refused makes an Error of what the policy said.
func refused(host string, err error) *Error {
	why := "the URL is not allowed"
	var known *message.Error
	if errors.As(err, &known) && known.Detail != "" {
		why = known.Detail
	}
	return unsafe(host, why)
}

// broken makes an Error of what the network did. A refusal of the policy comes this
// way, too, since addresses are judged when they are dialled.
func broken(host string, err error, timeout time.Duration) *Error {
	if message.ReasonOf(err) == message.ReasonUnsafeURL {
		return refused(host, err)
	}
	why, cause := webhook.Cause(err, timeout)
	return &Error{host: host, why: why, reason: message.ReasonMediaUnavailable, retry: true, err: cause}
}

// answered makes an Error of a status that is no file (RFC 9110 §15, RFC 6585 §4 for
// 429, RFC 8470 §5.2 for 425).
func answered(host string, status int) *Error {
	e := useless(host, "answered "+statusText(status))
	e.status = status
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		e.retry = true
	default:
		e.retry = status >= 500
	}
	return e
}

func tooLarge(host string, limit int64) *Error {
	return &Error{host: host, why: fmt.Sprintf("the file has more than %d bytes", limit), reason: message.ReasonMediaRejected}
}
