package mm4

import (
	"errors"
	"fmt"

	"github.com/postrider/postrider/internal/message"
)

// ErrTruncated is in the chain of a Fault when the mail ends before the last
// boundary: what was read may be all there is, or not.
var ErrTruncated = errors.New("mm4: the mail ends before its last boundary")

// Fault is why a mail cannot be read, or a message not be written. Status is what a
// response says of it, where one is due, and Status.Reply what SMTP says, where none
// is. Detail names what is wrong and the cure; it holds no text of the message and no
// address.
type Fault struct {
	Status Status
	Header string // the header that is at fault; empty: the body
	Detail string
	Err    error // the cause, or nil
}

// Error is the header and the detail.
func (f *Fault) Error() string {
	if f.Header == "" {
		return "mm4: " + f.Detail
	}
	return "mm4: " + f.Header + ": " + f.Detail
}

// faultReasons are ours for the statuses that this package gives.
var faultReasons = map[Status]message.Reason{
	StatusFormatCorrupt: message.ReasonInvalidRequest,
	StatusUnsupported:   message.ReasonInvalidRequest,
	StatusAddress:       message.ReasonInvalidDestination,
	StatusContent:       message.ReasonMediaRejected,
}

// Reason is the catalogue's word for the fault.
func (f *Fault) Reason() message.Reason {
	if r, ok := faultReasons[f.Status]; ok {
		return r
	}
	return message.ReasonInvalidRequest
}

// Unwrap gives the fault as an error of the catalogue, for message.ReasonOf, and its
// cause.
func (f *Fault) Unwrap() []error {
	e := &message.Error{Reason: f.Reason(), Detail: f.Detail}
	if f.Header != "" {
		e.Detail = f.Header + ": " + f.Detail
		e.Fields = []message.FieldError{{Location: "header." + f.Header, Message: f.Detail}}
	}
	if f.Err == nil {
		return []error{e}
	}
	return []error{e, f.Err}
}

func corrupt(header, format string, args ...any) *Fault {
	return &Fault{Status: StatusFormatCorrupt, Header: header, Detail: fmt.Sprintf(format, args...)}
}

func truncated(format string, args ...any) *Fault {
	return &Fault{Status: StatusFormatCorrupt, Detail: fmt.Sprintf(format, args...), Err: ErrTruncated}
}

func content(format string, args ...any) *Fault {
	return &Fault{Status: StatusContent, Detail: fmt.Sprintf(format, args...)}
}
