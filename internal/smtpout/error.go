package smtpout

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/postrider/postrider/internal/message"
)

// Stage is where a mail was when its fate was decided.
type Stage string

// The stages in their order.
const (
	StageCheck    Stage = "check"    // of the mail and the target, before anything
	StageLookup   Stage = "lookup"   // of the mail exchangers
	StageConnect  Stage = "connect"  // TCP
	StageTLS      Stage = "tls"      // the handshake
	StageGreeting Stage = "greeting" // the peer's first line
	StageEHLO     Stage = "ehlo"
	StageSTARTTLS Stage = "starttls" // the command
	StageAUTH     Stage = "auth"
	StageMAIL     Stage = "mail"
	StageRCPT     Stage = "rcpt"
	StageDATA     Stage = "data"    // the command
	StageContent  Stage = "content" // on its way, the final dot not
	StageEnd      Stage = "end"     // the final dot is written
)

// setUp reports whether the stage lies before the mail: what fails there is about the
// link.
func (s Stage) setUp() bool {
	switch s {
	case StageLookup, StageConnect, StageTLS, StageGreeting, StageEHLO, StageSTARTTLS, StageAUTH:
		return true
	}
	return false
}

// Causes that a caller may ask for with errors.Is.
var (
	// ErrClosed is in the chain when the Sender was closed.
	ErrClosed = errors.New("the sender is closed")

	errCertificate = errors.New("the peer's certificate is not right")
)

// Error is why a mail, or a recipient, was not taken, or may not have been. It shows the
// target's name, stage, codes and a cause of ours, and nothing that the peer said.
// Immutable.
type Error struct {
	target    string
	stage     Stage
	code      int    // 0: the peer did not say
	enhanced  string // empty: none
	reason    message.Reason
	why       string
	retry     bool
	configure bool
	ambiguous bool
	onWire    bool
	err       error
}

// Error is the target, the stage and what happened there.
func (e *Error) Error() string {
	s := "smtp " + e.target + ": " + string(e.stage) + ": "
	if e.code != 0 {
		s += "answered " + e.Codes()
		if e.why != "" {
			s += ", "
		}
	}
	return s + e.why
}

// Unwrap gives the reason as an error of the catalogue, for message.ReasonOf, and the
// cause, for errors.Is.
func (e *Error) Unwrap() []error {
	m := &message.Error{Reason: e.reason, Detail: e.why}
	if e.err == nil {
		return []error{m}
	}
	return []error{m, e.err}
}

// Codes is the peer's code with its enhanced code, such as "550 5.1.1"; empty when it
// did not answer.
func (e *Error) Codes() string {
	if e.code == 0 {
		return ""
	}
	if e.enhanced == "" {
		return strconv.Itoa(e.code)
	}
	return strconv.Itoa(e.code) + " " + e.enhanced
}

// Stage is where it happened.
func (e *Error) Stage() Stage { return e.stage }

// Reason is the catalogue's word for it.
func (e *Error) Reason() message.Reason { return e.reason }

// Retryable reports whether the same mail may be sent again later, without asking
// anybody. It is false of what is ambiguous: whether that goes again, with the same ids,
// is the caller's policy.
func (e *Error) Retryable() bool { return e.retry }

// Ambiguous reports whether the peer may have the mail without our knowing: the final
// dot was written, and no answer to it came.
func (e *Error) Ambiguous() bool { return e.ambiguous }

// OnWire reports whether the mail left in whole, with its final dot. What is cut before
// it a peer throws away (RFC 5321 §4.1.1.4).
func (e *Error) OnWire() bool { return e.onWire }

// Configuration reports whether a person has to mend something, here or at the peer,
// before anything goes: a password, a certificate, an address that is not let in. Such an
// error is retryable, for it says nothing about the mail.
func (e *Error) Configuration() bool { return e.configure }

// connectionError is what only session and dial make: where, and why.
type connectionError struct {
	stage     Stage
	why       string
	configure bool
	err       error
}

func (e *connectionError) Error() string { return string(e.stage) + ": " + e.why }
func (e *connectionError) Unwrap() error { return e.err }

// lost is a connection that failed.
func lost(s Stage, err error) error {
	return &connectionError{stage: s, why: cause(err), configure: wrongCertificate(err), err: err}
}

// misfit is a peer that could not be used as the target says.
func misfit(s Stage, why string) error {
	return &connectionError{stage: s, why: why, configure: true}
}

// refusal is a peer's no.
type refusal struct {
	stage Stage
	reply *reply
	// crowd: others of the mail were taken before.
	crowd bool
}

func (e *refusal) Error() string { return fmt.Sprintf("%s: answered %d", e.stage, e.reply.code) }

// sourceError is a content that could not be written to its end for its own sake.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "the content could not be read" }
func (e *sourceError) Unwrap() error { return e.err }

// explain makes an Error of what went wrong; onWire says whether the final dot had left.
func explain(target string, err error, onWire bool) *Error {
	var known *Error
	var no *refusal
	var source *sourceError
	var link *connectionError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &no):
		return answered(target, no, onWire)
	case errors.As(err, &source):
		return unfinished(target, source.err)
	case errors.As(err, &link):
	default:
		link = &connectionError{stage: StageConnect, why: cause(err), err: err}
	}
	e := &Error{target: target, stage: link.stage, reason: message.ReasonVendorUnreachable, why: link.why, retry: true, configure: link.configure, err: link.err}
	if onWire {
		e.reason, e.retry, e.ambiguous, e.onWire = message.ReasonSubmitInDoubt, false, true, true
	}
	return e
}

// answered makes an Error of a refusal, by the table.
func answered(target string, no *refusal, onWire bool) *Error {
	v := verdictOf(no.stage, no.reply.code, no.reply.enhanced, no.crowd)
	e := &Error{
		target: target, stage: no.stage, code: no.reply.code, enhanced: no.reply.enhanced,
		reason: v.reason, retry: v.retry(), configure: v.configure, onWire: onWire,
	}
	if v.configure {
		e.why = "the peer does not let us in"
	}
	return e
}

// unfinished makes an Error of a content that broke off on our side.
func unfinished(target string, err error) *Error {
	e := &Error{target: target, stage: StageContent, why: "the content could not be written to its end", err: err}
	switch {
	case errors.Is(err, errTooLarge):
		e.why, e.reason = err.Error(), message.ReasonMediaRejected
	case errors.Is(err, errLongLine), errors.Is(err, err8Bit):
		e.why, e.reason = err.Error(), message.ReasonInvalidRequest
	default:
		e.reason = message.ReasonOf(err)
		e.retry = e.reason.Temporary()
	}
	return e
}

// checked makes an Error of a mail or target that cannot be used.
func checked(target string, err error) *Error {
	e := &Error{target: target, stage: StageCheck, reason: message.ReasonInternal, why: err.Error(), err: err}
	var known *message.Error
	if errors.As(err, &known) {
		e.reason, e.why = known.Reason, known.Detail
	}
	return e
}

// misconfigured makes an Error of a target that cannot be used.
func misconfigured(target string, err error) *Error {
	return &Error{
		target: target, stage: StageCheck, reason: message.ReasonVendorUnreachable, why: err.Error(),
		retry: true, configure: true, err: err,
	}
}

// cause says what the network did, in words without addresses of people: none of them
// has stood in one.
func cause(err error) string {
	var lookup *net.DNSError
	var op *net.OpError
	var call *os.SyscallError
	switch {
	case errors.Is(err, ErrClosed):
		return ErrClosed.Error()
	case errors.Is(err, context.Canceled):
		return "it was called off"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, errGarbled):
		return err.Error()
	case wrongCertificate(err):
		return "the peer's certificate or key is not the one that is expected"
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return "the name does not resolve"
	case errors.As(err, &lookup):
		return "the name could not be looked up"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "the peer closed the connection"
	case errors.As(err, &op) && op.Timeout():
		return "no answer in time"
	case errors.As(err, &op):
		why := op.Err
		if errors.As(why, &call) {
			why = call.Err // it names the call, which Op does in better words
		}
		return op.Op + ": " + oneLine(why.Error())
	}
	return oneLine(err.Error())
}

func wrongCertificate(err error) bool {
	var wrong *tls.CertificateVerificationError
	return errors.Is(err, errCertificate) || errors.As(err, &wrong)
}
