package httpvendor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
)

// delays are when a message may be offered again, where no vendor names a time.
var delays = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}

func pick(gaps []time.Duration, n int) time.Duration { return gaps[min(max(n, 1), len(gaps))-1] }

// Submit posts one message and waits for the answer. It waits for a pause to end, for
// room in the window and for the rate; without a share or with an open circuit it
// fails at once with ReasonVendorUnreachable. Every error is a *message.SubmitError.
func (l *Link) Submit(ctx context.Context, s message.Submission) (message.SubmitResult, error) {
	req, err := l.encode(s)
	if err != nil {
		return message.SubmitResult{}, err
	}
	if err := l.Enter(ctx, s); err != nil {
		return message.SubmitResult{}, err
	}
	began := time.Now()
	ctx, done := l.Within(ctx)
	defer done()
	got := l.api.submit(ctx, req)
	return l.judge(s, got, began, ctx.Err())
}

// encode makes the request. Its errors are final for this vendor and message, or the
// message's end.
func (l *Link) encode(s message.Submission) (encoded, error) {
	switch {
	case s.Encoding == message.EncodingBinary || len(s.Header) > 0:
		return encoded{}, &message.SubmitError{Reason: message.ReasonEncodingMismatch, Detail: "the vendor takes text only"}
	case s.Parts > 1 && !s.Whole:
		return encoded{}, &message.SubmitError{Reason: message.ReasonInternal, Detail: "the vendor takes whole messages, not parts"}
	case l.spec.MaxText > 0 && utf8.RuneCountInString(s.Text) > l.spec.MaxText:
		return encoded{}, &message.SubmitError{Reason: message.ReasonMessageTooLong, Detail: fmt.Sprintf("the vendor takes %d characters", l.spec.MaxText)}
	case !s.ExpiresAt.IsZero() && !l.now().Before(s.ExpiresAt):
		return encoded{}, &message.SubmitError{Reason: message.ReasonExpired, Detail: "validity ended before the submit"}
	}
	r, err := l.spec.Submit(l.vendor, s, l.status+s.Ref().String())
	var out encoded
	if err == nil {
		out, err = l.api.encode(r)
	}
	if err != nil {
		return out, &message.SubmitError{Reason: message.ReasonInternal, Detail: "the request cannot be made", Err: err}
	}
	return out, nil
}

// judge says what came of a request, and learns from it. left is why the caller no
// longer waits; nil: he does.
func (l *Link) judge(s message.Submission, got answer, began time.Time, left error) (message.SubmitResult, error) {
	id := ""
	if got.err == nil && got.status/100 == 2 && got.cut == nil {
		id = lookup(got.body, l.spec.ID)
	}
	if id != "" {
		l.Took(began, max(1, s.Parts))
		return message.SubmitResult{VendorMessageID: id, NormalizedID: message.NormalizeVendorID(id)}, nil
	}
	if got.err != nil {
		return message.SubmitResult{}, l.unanswered(got, left)
	}
	row, code := l.meaning(got)
	e := &message.SubmitError{Reason: row.Reason, VendorCode: code, Detail: "HTTP " + strconv.Itoa(got.status), Written: true, Answered: !row.Unclear, Again: row.Again}
	if got.cut != nil {
		e.Detail += ", and the answer broke off"
	}
	if r, ok := l.vendor.CodeMap[code]; ok && r.Known() && !row.Unclear {
		e.Reason = r
	}
	if e.Again {
		if e.After = row.After; e.After == 0 {
			e.After = pick(delays, s.Attempt)
		}
	}
	pause := l.Refused(l.refusal(row, got, began))
	switch {
	case row.Shut:
		e.After = vendors.ShutDelay
	case row.Pause:
		e.After = pause
	}
	return message.SubmitResult{}, e
}

// meaning is the row of an answer that is no yes, and the vendor's code or the status
// in its stead.
func (l *Link) meaning(got answer) (Row, string) {
	status := "HTTP " + strconv.Itoa(got.status)
	if got.status/100 == 2 {
		return Unclear(), status // it says yes and does not say to what
	}
	code := lookup(got.body, l.spec.Code)
	row, ok := l.spec.Codes[code]
	if !ok || got.status >= 500 {
		if row, ok = l.spec.Statuses[got.status]; !ok {
			row = usual(got.status)
		}
	}
	if code == "" {
		code = status
	}
	return row, code
}

// unanswered is a request to which no answer came.
func (l *Link) unanswered(got answer, left error) error {
	why := got.err.Error()
	if errors.Is(got.err, context.DeadlineExceeded) {
		why = "no answer in time"
	}
	l.Lost(why, !errors.Is(left, context.Canceled))
	if got.written {
		return &message.SubmitError{Reason: message.ReasonSubmitInDoubt, Detail: "written, and no answer is known", Written: true, Err: got.err}
	}
	if left != nil {
		return vendors.GaveUp(left)
	}
	return vendors.Unreachable("the vendor cannot be reached", got.err)
}

// refusal is what an answer that is no yes means to the link.
func (l *Link) refusal(row Row, got answer, began time.Time) vendors.Refusal {
	return vendors.Refusal{
		Why: "HTTP " + strconv.Itoa(got.status) + l.api.codeOf(got.body, ", code "), Began: began, Trouble: row.Fault, Shut: row.Shut,
		Pause: row.Pause, For: retryAfter(got.header, time.Now()), Fault: row.Fault && (row.Again || row.Unclear),
	}
}

// retryAfter reads the header (RFC 9110 §10.2.3); 0: it is not there, or is past.
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
