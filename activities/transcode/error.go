package transcode

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/postrider/postrider/internal/message"
)

// Error is why a part, or the media as a whole, could not be made to fit. It
// names the part by number and type and the limit, never the customer's file
// name, so it may be shown. Made by this package only.
type Error struct {
	File   string         // such as "part 2 (image/png)"; empty: the message as a whole
	Reason message.Reason // ReasonMediaRejected, ReasonMediaUnavailable or ReasonInternal
	Detail string         // for the customer: what is wrong and what the limit is
	Err    error          // for logs: what a program said; nil when Detail is the whole story
}

// Error is reason, part, detail and cause.
func (e *Error) Error() string {
	s := string(e.Reason) + ": "
	if e.File != "" {
		s += e.File + ": "
	}
	s += e.Detail
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether the same conversion may pass later: the disk was
// full, a program is missing here or was ended from outside, a deadline passed.
// What cannot be decoded or is too large stays so.
func (e *Error) Retryable() bool { return e.Reason.Temporary() }

// As gives the error in the words of the whole gateway to those who ask with
// errors.As for a *message.Error.
func (e *Error) As(target any) bool {
	m, ok := target.(**message.Error)
	if !ok {
		return false
	}
	detail := e.Detail
	if e.File != "" {
		detail = e.File + ": " + detail
	}
	*m = &message.Error{Reason: e.Reason, Detail: detail, Err: e.Err}
	return true
}

// rejected is an error of the content: nothing but another file helps.
func rejected(format string, args ...any) *Error {
	return &Error{Reason: message.ReasonMediaRejected, Detail: fmt.Sprintf(format, args...)}
}

// undecodable is rejected with what the decoder said.
func undecodable(err error, format string, args ...any) *Error {
	e := rejected(format, args...)
	e.Err = err
	return e
}

// internal is an error of this machine: the same may pass later or elsewhere.
func internal(err error, format string, args ...any) *Error {
	return &Error{Reason: message.ReasonInternal, Detail: fmt.Sprintf(format, args...), Err: err}
}

// asError names the part in err. What no code here has judged (a disk that is
// full, a directory that is gone, a context that ended) is internal, but a file
// that is not there is the fault of whoever should have put it there.
func asError(file string, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		named := *e
		named.File = file
		return &named
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e = internal(err, "the conversion was called off")
	case errors.Is(err, syscall.ENOENT):
		e = &Error{Reason: message.ReasonMediaUnavailable, Detail: "the file is not there", Err: err}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e = internal(err, "there is no room on the disk")
	default:
		e = internal(err, "the conversion did not come to an end")
	}
	e.File = file
	return e
}
