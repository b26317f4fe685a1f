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

const (
	// shutDelay is when a message may be offered again to a link that cannot send.
	shutDelay = 5 * time.Second
	// pacedDelay is when a message may be offered again that our own rate has kept.
	pacedDelay = time.Second
	// maxPause bounds what a vendor may ask for by Retry-After.
	maxPause = 5 * time.Minute
)

// The gaps, where no vendor names one.
var (
	pauses = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second}
	delays = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}
)

func pick(gaps []time.Duration, n int) time.Duration { return gaps[min(max(n, 1), len(gaps))-1] }

// Submit posts one message and waits for the answer. It waits for a pause to end, for
// room in the window and for the rate; without a share or with an open circuit it
// fails at once with ReasonVendorUnreachable. Every error is a *message.SubmitError.
func (l *Link) Submit(ctx context.Context, s message.Submission) (message.SubmitResult, error) {
	req, err := l.encode(s)
	if err != nil {
		return message.SubmitResult{}, err
	}
	l.mu.Lock()
	l.entered++
	l.mu.Unlock()
	if err := l.leave(ctx, s); err != nil {
		l.end(func() {})
		return message.SubmitResult{}, err
	}
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.work, cancel)()
	got := l.api.submit(ctx, req)
	return l.judge(s, got, began, ctx.Err())
}

// end takes a submit out of the count and runs f before it wakes who waits.
func (l *Link) end(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entered--
	f()
	l.wakeLocked()
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

// leave waits until the message may leave and takes what it needs for it: a place in
// the window and its parts of the rate.
func (l *Link) leave(ctx context.Context, s message.Submission) error {
	parts := max(1, s.Parts)
	for {
		off, err := l.reserve(ctx)
		if err != nil {
			return err
		}
		if err := l.bucket.Take(ctx, s.Class, parts, off); err != nil {
			l.release()
			if errors.Is(err, vendors.ErrCalledOff) {
				continue
			}
			return notInTime(err)
		}
		// The pause may have begun and the share may have gone while we waited.
		if !l.usable() {
			l.bucket.GiveBack(parts)
			l.release()
			continue
		}
		if err := s.Allowed(); err != nil {
			l.bucket.GiveBack(parts)
			l.release()
			return err
		}
		l.mu.Lock()
		l.flying++
		l.mu.Unlock()
		return nil
	}
}

// reserve waits for a pause to end and takes a place in the window. What it returns is
// closed when those who wait with a place are to look again.
func (l *Link) reserve(ctx context.Context) (<-chan struct{}, error) {
	for {
		if ctx.Err() != nil {
			return nil, gaveUp(ctx.Err())
		}
		l.mu.Lock()
		if why := l.barredLocked(); why != "" {
			l.mu.Unlock()
			return nil, unreachable(why, nil)
		}
		pause := time.Until(l.pausedUntil)
		if pause <= 0 && l.places < l.windowLocked() {
			l.places++
			off := l.off
			l.mu.Unlock()
			return off, nil
		}
		wait := l.waitLocked(pause)
		l.mu.Unlock()
		if err := wait(ctx); err != nil {
			return nil, gaveUp(err)
		}
	}
}

func (l *Link) usable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.barredLocked() == "" && !time.Now().Before(l.pausedUntil)
}

// release gives a place in the window back.
func (l *Link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places--
	l.wakeLocked()
}

// notInTime is a message whose turn by the rate comes too late for the caller.
func notInTime(err error) error {
	if errors.Is(err, vendors.ErrNoTurn) {
		return &message.SubmitError{Reason: message.ReasonVendorThrottled, Detail: "the vendor's rate leaves no room in time", Again: true, After: pacedDelay, Err: err}
	}
	return gaveUp(err)
}

// judge says what came of a request, and learns from it. left is why the caller no
// longer waits; nil: he does.
func (l *Link) judge(s message.Submission, got answer, began time.Time, left error) (message.SubmitResult, error) {
	id := ""
	if got.err == nil && got.status/100 == 2 && got.cut == nil {
		id = lookup(got.body, l.spec.ID)
	}
	if id != "" {
		l.end(func() { l.tookLocked(began, max(1, s.Parts)) })
		return message.SubmitResult{VendorMessageID: id, NormalizedID: message.NormalizeVendorID(id)}, nil
	}
	if got.err != nil {
		return message.SubmitResult{}, l.unanswered(got, began, left)
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
	l.end(func() {
		l.refusedLocked(row, got, began)
		switch {
		case row.Pause:
			e.After = max(time.Millisecond, time.Until(l.pausedUntil))
		case row.Shut:
			e.After = shutDelay
		}
	})
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
func (l *Link) unanswered(got answer, began time.Time, left error) error {
	why := got.err.Error()
	if errors.Is(got.err, context.DeadlineExceeded) {
		why = "no answer in time"
	}
	l.end(func() {
		l.landLocked()
		if errors.Is(left, context.Canceled) {
			return // not the vendor's fault
		}
		l.answered.Add(time.Now(), 0, true)
		l.faultLocked(why)
	})
	if got.written {
		return &message.SubmitError{Reason: message.ReasonSubmitInDoubt, Detail: "written, and no answer is known", Written: true, Err: got.err}
	}
	if left != nil {
		return gaveUp(left)
	}
	return unreachable("the vendor cannot be reached", got.err)
}

// landLocked is the end of a request.
func (l *Link) landLocked() {
	l.flying--
	l.places--
}

// tookLocked is the vendor's yes.
func (l *Link) tookLocked(began time.Time, parts int) {
	now := time.Now()
	l.landLocked()
	l.answered.Add(now, parts, false)
	l.timeLocked(now.Sub(began))
	l.saneLocked()
	if !began.Before(l.pausedUntil) {
		l.pauses = 0
	}
}

func (l *Link) timeLocked(took time.Duration) {
	l.answerMilli += (float64(took.Microseconds())/1000 - l.answerMilli) / 16
}

// saneLocked closes the circuit for good: the vendor does its work.
func (l *Link) saneLocked() {
	l.faults = 0
	if l.open { // what runs beside may have been answered before it opened
		return
	}
	l.trying, l.gap, l.lastErr = false, 0, ""
}

// refusedLocked is an answer that is no yes.
func (l *Link) refusedLocked(row Row, got answer, began time.Time) {
	now := time.Now()
	l.landLocked()
	l.answered.Add(now, 0, row.Fault)
	l.timeLocked(now.Sub(began))
	why := "HTTP " + strconv.Itoa(got.status) + l.api.codeOf(got.body, ", code ")
	switch {
	case row.Shut:
		l.openLocked(why)
	case row.Pause:
		// The requests of one window are throttled together: they count as one.
		if !now.Before(l.pausedUntil) {
			l.pauses++
			pause := retryAfter(got.header, now)
			if pause <= 0 {
				pause = pick(pauses, l.pauses)
			}
			l.pausedUntil = now.Add(min(pause, maxPause))
			l.log.Info("vendor throttles", "pause", min(pause, maxPause))
		}
	case row.Fault && (row.Again || row.Unclear):
		l.faultLocked(why)
	default:
		l.saneLocked()
	}
}

// faultLocked counts a failure of the vendor's.
func (l *Link) faultLocked(why string) {
	l.faults++
	l.lastErr = why
	if l.faults >= faultsToOpen || l.trying {
		l.openLocked(why)
	}
}

// openLocked opens the circuit and begins to look at the vendor.
func (l *Link) openLocked(why string) {
	l.lastErr = why
	if l.open {
		return
	}
	l.open, l.trying = true, false
	l.gap = min(max(l.retry, 2*l.gap), maxRetry)
	l.log.Error("vendor takes no messages, the link waits", "why", why, "pause", l.gap)
	if gap := l.gap; !l.stopping {
		l.looks.Go(func() { l.look(gap) })
	}
}

// look asks the vendor now and then whether the account can be read, and lets a
// message try when it can.
func (l *Link) look(gap time.Duration) {
	for {
		t := time.NewTimer(gap)
		select {
		case <-t.C:
		case <-l.looking.Done():
			t.Stop()
			return
		}
		_, err := l.api.probe(l.looking)
		l.mu.Lock()
		if err == nil {
			l.open, l.trying, l.faults = false, true, 0
			l.wakeLocked()
			l.mu.Unlock()
			l.log.Info("vendor can be read again, a message is tried")
			return
		}
		gap = min(2*gap, maxRetry)
		l.gap = gap
		if l.looking.Err() == nil {
			l.lastErr = err.Error()
		}
		l.mu.Unlock()
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

func unreachable(detail string, err error) error {
	return &message.SubmitError{Reason: message.ReasonVendorUnreachable, Detail: detail, Again: true, After: shutDelay, Err: err}
}

// gaveUp is a context that ended before the write.
func gaveUp(err error) error {
	return &message.SubmitError{Reason: message.ReasonVendorUnreachable, Detail: "the wait for the link ended", Again: true, Err: err}
}
