package webhook

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
)

// Result is what came of one try.
type Result struct {
	HTTPStatus int           // 0: no answer
	Millis     int           // from connecting to the end of the answer, without the wait for the host's turn
	Body       string        // the first KiB of the answer, made valid UTF-8; of staff's and the owner's interest only
	RetryAfter time.Duration // what the peer asked for, at most Window; 0: nothing
	Err        error         // why there was no answer; shows no more of the URL than its host
	busy       bool
	unread     bool // a 2xx whose body does not acknowledge what was sent
}

// Outcome is what a try means for the event.
type Outcome string

// The outcomes; also label values of metrics.
const (
	Delivered Outcome = "delivered" // 2xx
	Gone      Outcome = "gone"      // 410: the endpoint is to be disabled
	SlowDown  Outcome = "slow_down" // 429, 502, 504: try again, and less often, whatever goes to that host
	Retry     Outcome = "retry"     // any other answer (redirects, too), or none
	Busy      Outcome = "busy"      // not tried: the host has its fill or asked for a pause. It does not count as a try; come back after RetryAfter
)

// Outcome classifies the result.
func (r Result) Outcome() Outcome {
	switch {
	case r.busy:
		return Busy
	case r.unread:
		return Retry
	case r.HTTPStatus >= 200 && r.HTTPStatus <= 299:
		return Delivered
	case r.HTTPStatus == http.StatusGone:
		return Gone
	case r.HTTPStatus == http.StatusTooManyRequests, r.HTTPStatus == http.StatusBadGateway, r.HTTPStatus == http.StatusGatewayTimeout:
		return SlowDown
	}
	return Retry
}

// retryAfter reads the header of that name: seconds, or a date (RFC 9110
// §10.2.3). What is unreadable or past is 0; nothing is longer than Window.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if n, err := strconv.ParseUint(value, 10, 63); err == nil {
		return time.Duration(min(n, uint64(Window/time.Second))) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		return Window
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), Window)
}

// storable makes an answer fit for a text column: valid UTF-8 without NUL.
func storable(b []byte) string {
	return strings.ReplaceAll(strings.ToValidUTF8(string(b), string(utf8.RuneError)), "\x00", "")
}

// An attemptError tells why there was no answer in words that a customer may
// see: host and cause, without path, query and user of the URL, and without
// addresses of resolvers.
type attemptError struct {
	host, why string
	err       error
}

func (e *attemptError) Error() string { return e.host + ": " + e.why }

// Unwrap gives the cause, which no longer has the URL around it.
func (e *attemptError) Unwrap() error { return e.err }

// Retryable reports true: a peer that cannot be reached may be reached later.
func (e *attemptError) Retryable() bool { return true }

// maxWhy bounds the cause, which may quote what the peer sent.
const maxWhy = 200

func explain(host string, timeout time.Duration, err error) error {
	why, err := Cause(err, timeout)
	return &attemptError{host: host, why: why, err: err}
}

// Cause tells in words that a customer may see why a request got no answer, within
// timeout if it was that, and gives the error without the URL, which the client wraps
// around it.
func Cause(err error, timeout time.Duration) (why string, cause error) {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	var refused *message.Error
	var lookup *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &refused):
		why = refused.Detail
	case errors.Is(err, context.Canceled):
		why = "the try was called off"
	case errors.As(err, &lookup) && lookup.IsNotFound:
		why = "the name does not resolve"
	case errors.As(err, &lookup):
		why = "the name could not be looked up"
	case errors.Is(err, context.DeadlineExceeded):
		why = "no answer within " + timeout.String()
	case errors.As(err, &op):
		why = op.Op + ": " + op.Err.Error()
		if op.Timeout() {
			why = op.Op + ": timed out"
		}
	default:
		why = err.Error()
	}
	if len(why) > maxWhy {
		why = why[:maxWhy] + "…"
	}
	return storable([]byte(why)), err
}
