package rest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postrider/postrider/internal/message"
)

// maxFaults bounds how many fields one answer names.
const maxFaults = 20

// faults gathers what is wrong with a request, so that one answer names it all.
type faults struct {
	list   []message.FieldError
	reason message.Reason // of the answer; invalid_request outranks the others
}

func (f *faults) add(reason message.Reason, location, format string, args ...any) {
	if len(f.list) < maxFaults {
		f.list = append(f.list, message.FieldError{Location: location, Message: fmt.Sprintf(format, args...)})
	}
	if f.reason == "" || reason == message.ReasonInvalidRequest {
		f.reason = reason
	}
}

func (f *faults) invalid(location, format string, args ...any) {
	f.add(message.ReasonInvalidRequest, location, format, args...)
}

// refusal is the whole as one error, nil when nothing is wrong.
func (f *faults) refusal() *message.Error {
	if len(f.list) == 0 {
		return nil
	}
	return &message.Error{Reason: f.reason, Detail: describe(f.list), Fields: f.list}
}

// describe makes the detail of an answer out of its fields.
func describe(fields []message.FieldError) string {
	if len(fields) == 1 {
		return fields[0].Location + ": " + fields[0].Message
	}
	names := make([]string, 0, len(fields))
	for _, f := range fields {
		if len(names) == 0 || names[len(names)-1] != f.Location {
			names = append(names, f.Location)
		}
	}
	return fmt.Sprintf("%d things are wrong, in %s", len(fields), strings.Join(names, ", "))
}

// unreadable makes the refusal of a body that is not JSON.
func unreadable(err error) *message.Error {
	location := "body"
	var s *syntaxError
	if errors.As(err, &s) && s.within != "" {
		location = s.within
	}
	return &message.Error{
		Reason: message.ReasonInvalidRequest,
		Detail: "the body is not valid JSON: " + err.Error(),
		Fields: []message.FieldError{{Location: location, Message: err.Error()}},
	}
}
