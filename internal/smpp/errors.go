package smpp

import (
	"errors"
	"fmt"
)

// The ends of a session and of its requests.
var (
	ErrClosed         = errors.New("smpp: session closed by us")
	ErrUnbound        = errors.New("smpp: session unbound")
	ErrNotBound       = errors.New("smpp: session is not bound for this request")
	ErrTimeout        = errors.New("smpp: no response in time")
	ErrEnquireTimeout = errors.New("smpp: peer does not answer enquire_link")
	ErrSessionInit    = errors.New("smpp: no bind in time")
	ErrInactive       = errors.New("smpp: no transactions in time")
	ErrFraming        = errors.New("smpp: command_length out of range")
	ErrAnswered       = errors.New("smpp: request was answered before")
	ErrNotOpening     = errors.New("smpp: the connection begins with neither a bind nor an outbind")
	ErrPanic          = errors.New("smpp: handler panicked")
)

// RequestError is a request without a usable answer. Written tells whether it
// was handed to the socket: then the peer may have acted on it, and repeating
// it may double it.
type RequestError struct {
	Written bool
	Err     error
}

// Error tells whether the request left and why there is no answer.
func (e *RequestError) Error() string {
	if e.Written {
		return "smpp: request written, not answered: " + e.Err.Error()
	}
	return "smpp: request not written: " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *RequestError) Unwrap() error { return e.Err }

// Ambiguous reports whether the peer may have acted on the request.
func (e *RequestError) Ambiguous() bool { return e.Written }

// StatusError is an answer that refuses: a response with a status other than 0,
// or a generic_nack with the request's sequence number.
type StatusError struct {
	ID     CommandID // of the request
	Status Status
	Nack   bool
}

// Error is the command and the status by name.
func (e *StatusError) Error() string {
	how := "refused"
	if e.Nack {
		how = "nacked"
	}
	return fmt.Sprintf("smpp: command 0x%02X %s: %s", uint32(e.ID), how, e.Status)
}

// BindError is a refused bind.
type BindError struct {
	Status Status
	Nack   bool // by generic_nack
}

// Error is the status by name.
func (e *BindError) Error() string { return "smpp: bind refused: " + e.Status.String() }

// Credentials reports whether the peer refuses system_id or password: trying
// again soon may lock the account.
func (e *BindError) Credentials() bool {
	return e.Status == StatusInvPassword || e.Status == StatusInvSystemID
}
