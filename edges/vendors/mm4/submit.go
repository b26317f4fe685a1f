package mm4

import (
	"context"
	"errors"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/mm4out"
	"github.com/postrider/postrider/internal/smtpout"
)

// delays are when a message may be offered again that the vendor cannot take now.
var delays = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}

func delay(attempt int) time.Duration { return delays[min(max(attempt, 1), len(delays))-1] }

// Submit sends one message and waits for its answer, which may take 40 min. Every error
// is a *message.SubmitError, or that of s.Allowed.
func (l *Link) Submit(ctx context.Context, s message.Submission) (message.SubmitResult, error) {
	t, err := l.compose(ctx, s)
	if err != nil {
		return message.SubmitResult{}, err
	}
	freed, err := l.line(ctx)
	if err != nil {
		return message.SubmitResult{}, err
	}
	if err := l.Enter(ctx, s); err != nil {
		freed()
		return message.SubmitResult{}, err
	}
	ctx, done := l.Within(ctx)
	defer done()
	t.began = time.Now()
	return l.carry(ctx, t, freed)
}

// transit is one message on its way.
type transit struct {
	s     message.Submission
	id    string // X-Mms-Message-ID
	to    mm4out.Peer
	make  func(ctx context.Context) (smtpout.Mail, error)
	began time.Time
}

// compose makes the mail. Its errors are final for this vendor and message, or the
// message's end.
func (l *Link) compose(ctx context.Context, s message.Submission) (*transit, error) {
	now := l.cfg.Now()
	switch {
	case s.Encoding == message.EncodingBinary || len(s.Header) > 0:
		return nil, &message.SubmitError{Reason: message.ReasonEncodingMismatch, Detail: "the vendor takes text and files only"}
	case s.Parts > 1 && !s.Whole:
		return nil, &message.SubmitError{Reason: message.ReasonInternal, Detail: "the vendor takes whole messages, not parts"}
	case !s.ExpiresAt.IsZero() && !now.Before(s.ExpiresAt):
		return nil, &message.SubmitError{Reason: message.ReasonExpired, Detail: "validity ended before the submit"}
	case len(s.Media) > 0 && l.cfg.Store == nil:
		return nil, vendors.Unreachable("the files cannot be sent from here", errStore)
	}
	to, err := l.target()
	if err != nil {
		return nil, vendors.Unreachable("the vendor's settings are not right", err)
	}
	f := mm4out.Forward{From: s.From, To: s.To, Subject: s.Subject, Text: s.Text, Date: now, Class: s.Class, DeliveryReport: true}
	f.TransactionID, f.MessageID = mm4out.AttemptIDs(s.Ref(), l.cfg.Own.Domain)
	if !s.ExpiresAt.IsZero() {
		f.Expiry = mm4.Expiry{After: max(time.Second, s.ExpiresAt.Sub(now).Truncate(time.Second))}
	}
	if l.cfg.ReadAsked != nil {
		if f.ReadReport, err = l.cfg.ReadAsked(ctx, s.MessageID); err != nil {
			return nil, vendors.Unreachable("the record does not say what the sender asked for", err)
		}
	}
	for _, file := range s.Media {
		f.Files = append(f.Files, file.File)
	}
	t := &transit{s: s, id: f.MessageID, to: to, make: func(ctx context.Context) (smtpout.Mail, error) { return f.Mail(ctx, l.cfg.Own, &to, l.cfg.Store) }}
	if _, err := t.make(ctx); err != nil {
		reason := message.ReasonInternal
		var fault *mm4.Fault
		if errors.As(err, &fault) {
			reason = fault.Reason()
		}
		return nil, &message.SubmitError{Reason: reason, Detail: "the mail cannot be made", Err: err}
	}
	return t, nil
}

// line takes a connection's turn; freed gives it back, and may be called twice.
func (l *Link) line(ctx context.Context) (freed func(), err error) {
	free := false
	freed = func() {
		if !free {
			free = true
			<-l.lines
		}
	}
	select {
	case l.lines <- struct{}{}:
		return freed, nil
	default:
	}
	timer := time.NewTimer(placeWait)
	defer timer.Stop()
	select {
	case l.lines <- struct{}{}:
		return freed, nil
	case <-timer.C:
		return nil, vendors.FullWindow()
	case <-ctx.Done():
		return nil, vendors.GaveUp(ctx.Err())
	}
}

// carry sends the mail and waits for the answer, twice at most. Before the first mail has
// left nothing is waited for; from then on, what cannot be told is ambiguous.
func (l *Link) carry(ctx context.Context, t *transit, freed func()) (message.SubmitResult, error) {
	// Looked for from the first: an answer may be quicker than the 250, and after a lost
	// 250 it says what that would have said.
	ref := t.s.Ref()
	w := l.expect(ref)
	if w == nil {
		freed()
		no := underWay()
		l.Lost(no.Error(), false)
		return message.SubmitResult{}, no
	}
	defer l.forget(ref)
	if t.s.Again {
		if a := l.answered(w, ref); a != nil {
			freed()
			return l.judge(t, *a)
		}
	}
	err := l.send(ctx, t)
	doubt := err != nil && err.Ambiguous()
	if doubt && ctx.Err() == nil {
		l.cfg.Log.Info("the answer to a mail was lost, it is sent once more", "error", err)
		err = l.send(ctx, t)
	}
	freed()
	if err != nil && !doubt {
		return message.SubmitResult{}, t.only(l.notTaken(t, err))
	}
	if err != nil { // the first may have been taken, whatever became of the second
		select {
		case a := <-w.answer:
			return l.judge(t, a)
		default:
		}
		l.Lost(err.Error(), !errors.Is(ctx.Err(), context.Canceled))
		return message.SubmitResult{}, inDoubt("the mail was sent, and nobody knows whether it was taken", err)
	}
	if a := l.await(ctx, w); a != nil {
		return l.judge(t, *a)
	}
	if ctx.Err() == nil {
		l.cfg.Log.Info("the vendor has taken a mail and not answered, it is sent once more", "after", l.cfg.Wait)
		l.repeat(ctx, t)
		if a := l.await(ctx, w); a != nil {
			return l.judge(t, *a)
		}
	}
	l.Lost("the vendor takes mails and does not answer them", ctx.Err() == nil)
	return message.SubmitResult{}, inDoubt("the vendor took the mail and has not answered", ctx.Err())
}

// answered is the answer that came to an earlier process which died; nil: none is there.
// The mail needs not go again then.
func (l *Link) answered(w *waiter, ref message.AttemptRef) *message.MM4Answer {
	if err := l.lookOnce([]message.AttemptRef{ref}); err != nil {
		l.cfg.Log.Warn("answers of the vendor cannot be read; the mail goes again", "error", err)
	}
	select {
	case a := <-w.answer:
		return &a
	default:
		return nil
	}
}

// only is what an error says of a mail that goes again: of the mail that went before
// nothing, so a refusal by SMTP is no answer. What may pass asks for another time.
func (t *transit) only(err error) error {
	var no *message.SubmitError
	if t.s.Again && errors.As(err, &no) {
		no.Written, no.Answered = !no.Retryable(), false
	}
	return err
}

// underWay is of an attempt that this process is still at.
func underWay() error {
	return &message.SubmitError{Reason: message.ReasonVendorUnreachable, Detail: "an earlier run still waits for the answer to the same mail", Again: true}
}

// repeat sends the mail again that was taken before: whatever becomes of it, the vendor
// has it.
func (l *Link) repeat(ctx context.Context, t *transit) {
	freed, err := l.line(ctx)
	if err != nil {
		return
	}
	defer freed()
	if err := l.send(ctx, t); err != nil {
		l.cfg.Log.Info("the mail was not taken again", "error", err)
	}
}

// send makes one dialogue; nil: the vendor has taken the mail.
func (l *Link) send(ctx context.Context, t *transit) *smtpout.Error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	m, err := t.make(ctx)
	if err == nil {
		_, err = l.sender.Send(ctx, &t.to.Target, m)
	}
	var no *smtpout.Error
	if err != nil && !errors.As(err, &no) {
		panic(err) // compose has made this mail, and Send gives no other error
	}
	return no
}

// await waits for an answer; nil: none came in time, or ctx has ended.
func (l *Link) await(ctx context.Context, w *waiter) *message.MM4Answer {
	timer := time.NewTimer(l.cfg.Wait)
	defer timer.Stop()
	select {
	case a := <-w.answer:
		return &a
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

func inDoubt(detail string, err error) error {
	return &message.SubmitError{Reason: message.ReasonSubmitInDoubt, Detail: detail, Written: true, Err: err}
}

// inDialogue reports whether the mail was spoken of at a stage: what fails before is about
// the link.
func inDialogue(s smtpout.Stage) bool {
	switch s {
	case smtpout.StageMAIL, smtpout.StageRCPT, smtpout.StageDATA, smtpout.StageContent, smtpout.StageEnd:
		return true
	}
	return false
}

// notTaken is a mail that the vendor surely has not taken.
func (l *Link) notTaken(t *transit, err *smtpout.Error) error {
	code := err.Codes()
	r := vendors.Refusal{Why: err.Error(), Began: t.began, Fault: err.Reason() == message.ReasonVendorUnreachable}
	r.Trouble = r.Fault
	switch {
	case err.Configuration():
		r.Shut = true
		l.Refused(r)
		return vendors.Unreachable("the vendor does not let us in", err)
	case r.Fault && (code == "" || !inDialogue(err.Stage())):
		l.Lost(err.Error(), !errors.Is(err, context.Canceled) && !errors.Is(err, smtpout.ErrClosed))
		return vendors.Unreachable("the vendor cannot be reached", err)
	}
	no := &message.SubmitError{Reason: l.reason(code, err.Reason()), VendorCode: code, Written: code != "", Answered: code != "", Again: err.Retryable(), Err: err}
	r.Pause = code != "" && err.Reason() == message.ReasonVendorThrottled
	pause := l.Refused(r)
	switch {
	case r.Pause:
		no.After = pause
	case no.Again:
		no.After = delay(t.s.Attempt)
	}
	return no
}

// reason is what a code means: by the vendor's row, else by the tables.
func (l *Link) reason(code string, otherwise message.Reason) message.Reason {
	if r, ok := l.vendor.CodeMap[code]; ok && code != "" && r.Known() {
		return r
	}
	return otherwise
}

// judge reads the answer to a mail.
func (l *Link) judge(t *transit, a message.MM4Answer) (message.SubmitResult, error) {
	status, _ := mm4.ParseStatus(a.Status) // an unknown word is unspecified
	if status == mm4.StatusOK {
		l.Took(t.began, max(1, t.s.Parts))
		return message.SubmitResult{VendorMessageID: t.id, NormalizedID: message.NormalizeVendorID(t.id)}, nil
	}
	no := Refusal(status)
	no.VendorCode, no.Detail = string(status), "MM4_forward.RES"
	no.Reason = l.reason(no.VendorCode, no.Reason)
	if no.Again {
		no.After = delay(t.s.Attempt)
	}
	l.Refused(vendors.Refusal{Why: no.VendorCode, Began: t.began, Trouble: no.Again, Fault: no.Again})
	return message.SubmitResult{}, no
}

// Refusal is what a status of a MM4_forward.RES that is no Ok means to the message.
func Refusal(s mm4.Status) *message.SubmitError {
	return &message.SubmitError{Reason: s.Reason(), Written: true, Answered: true, Again: s.Retryable()}
}
