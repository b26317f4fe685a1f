package smpp

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// Gaps that we name ourselves, where no vendor does.
const (
	unboundDelay = 5 * time.Second // no live bind
	pacedDelay   = time.Second     // our own rate leaves no room before the context ends
)

// registeredDelivery asks for the final outcome, always: what the customer did
// not ask for is filtered toward the customer.
const registeredDelivery = 1

// Submit sends one part and waits for the answer. It waits for the pause after
// a throttled submit, for room in a window and for the rate; without any live
// bind it fails at once with ReasonVendorUnreachable. Every error is a
// *message.SubmitError.
func (l *Link) Submit(ctx context.Context, s message.Submission) (message.SubmitResult, error) {
	pdu, err := l.encode(s)
	if err != nil {
		return message.SubmitResult{}, err
	}
	for {
		b, err := l.reserve(ctx)
		if err != nil {
			return message.SubmitResult{}, err
		}
		if err := l.pace(ctx); err != nil {
			l.release(b)
			return message.SubmitResult{}, err
		}
		// The pause may have begun and the bind may have gone while we waited.
		if l.usable(b) {
			if err := s.Allowed(); err != nil {
				l.giveBack()
				l.release(b)
				return message.SubmitResult{}, err
			}
			return l.send(ctx, b, pdu, s)
		}
		l.release(b)
	}
}

// encode makes the PDU. Its errors are final for this vendor and message.
func (l *Link) encode(s message.Submission) (*smpp.SubmitSM, error) {
	pdu := &smpp.SubmitSM{Message: smpp.Message{
		Source: smpp.AddressOf(s.From), Dest: smpp.AddressOf(s.To), RegisteredDelivery: registeredDelivery,
	}}
	if !s.ExpiresAt.IsZero() {
		left := time.Until(s.ExpiresAt)
		if left <= 0 {
			return nil, &message.SubmitError{Reason: message.ReasonExpired, Detail: "validity ended before the submit"}
		}
		pdu.Validity = smpp.FormatRelative(left)
	}
	err := pdu.SetText(smpp.Outgoing{
		Text: s.Text, Encoding: s.Encoding, Coding: s.DataCoding, Header: s.Header,
		Alphabet: l.vendor.DefaultAlphabet, Long: smpp.LongMessage(l.vendor.LongMessage),
		Ref: s.Reference, Part: s.Part, Parts: s.Parts,
	})
	if err != nil {
		return nil, &message.SubmitError{Reason: message.ReasonEncodingMismatch, Detail: "the part does not fit the vendor's encoding", Err: err}
	}
	for _, p := range s.TLVs {
		if slices.Contains(l.vendor.PassTLVs, p.Tag) {
			pdu.TLVs.Add(smpp.Tag(p.Tag), p.Value)
		}
	}
	return pdu, nil
}

// reserve waits for a place in a window and takes it on the emptiest bind.
func (l *Link) reserve(ctx context.Context) (*bind, error) {
	for {
		if ctx.Err() != nil {
			return nil, gaveUp(ctx.Err())
		}
		l.mu.Lock()
		now := time.Now()
		if l.stopping || len(l.binds) == 0 || !l.mode.CanSubmit() {
			detail := l.lastErr
			l.mu.Unlock()
			return nil, unreachable(detail, nil)
		}
		if !now.Before(l.pausedUntil) {
			if b := l.emptiestLocked(); b != nil {
				b.used++
				l.mu.Unlock()
				return b, nil
			}
		}
		wait := l.waitLocked()
		l.mu.Unlock()
		if err := wait(ctx); err != nil {
			return nil, gaveUp(err)
		}
	}
}

func (l *Link) emptiestLocked() *bind {
	var best *bind
	for b := range l.binds {
		if b.room() > 0 && (best == nil || b.room() > best.room()) {
			best = b
		}
	}
	return best
}

func (l *Link) usable(b *bind) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, live := l.binds[b]
	return live && !b.retiring && !l.stopping && !time.Now().Before(l.pausedUntil)
}

func (l *Link) release(b *bind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.releaseLocked(b)
}

func (l *Link) releaseLocked(b *bind) {
	b.used--
	l.wakeLocked()
}

// pace takes a token of the vendor's rate.
func (l *Link) pace(ctx context.Context) error {
	if l.limiter == nil || l.takeUnused() {
		return nil
	}
	if err := l.limiter.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return gaveUp(ctx.Err())
		}
		return &message.SubmitError{Reason: message.ReasonVendorThrottled, Detail: "the vendor's rate leaves no room in time", Again: true, After: pacedDelay, Err: err}
	}
	return nil
}

// giveBack lets the next who asks have the token of a part that was kept from the
// wire. Parts that wait for theirs too long to leave would use up the whole rate
// otherwise, and nothing would leave any more.
func (l *Link) giveBack() {
	if l.limiter == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now, most := time.Now(), l.limiter.Burst()
	if now.After(l.unusedUntil) {
		l.unused = 0
	}
	l.unused = min(l.unused+1, most)
	// By then the next tokens come: kept for longer, these would be more than the rate.
	l.unusedUntil = now.Add(time.Duration(float64(most) / float64(l.limiter.Limit()) * float64(time.Second)))
}

// takeUnused takes a token that was given back.
func (l *Link) takeUnused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unused == 0 || time.Now().After(l.unusedUntil) {
		return false
	}
	l.unused--
	return true
}

// send writes the part and waits for its answer. The place in the window is
// free again when the session has ended the call, not when our caller leaves.
func (l *Link) send(ctx context.Context, b *bind, pdu *smpp.SubmitSM, s message.Submission) (message.SubmitResult, error) {
	type result struct {
		packet smpp.Packet
		err    error
	}
	start := time.Now()
	ch := make(chan result, 1)
	call, err := b.session.Begin(ctx, pdu, func(p smpp.Packet, err error) {
		l.ended(b, start, err)
		ch <- result{p, err}
	})
	if err != nil {
		l.release(b)
		return message.SubmitResult{}, l.failure(err, s)
	}
	select {
	case r := <-ch:
		return l.outcome(r.packet, r.err, s)
	case <-ctx.Done():
	}
	if call.TakeBack() {
		l.release(b)
		return message.SubmitResult{}, gaveUp(ctx.Err())
	}
	if call.Pending() {
		return message.SubmitResult{}, l.failure(&smpp.RequestError{Written: true, Err: ctx.Err()}, s)
	}
	r := <-ch // it came at the same moment
	return l.outcome(r.packet, r.err, s)
}

func (l *Link) outcome(p smpp.Packet, err error, s message.Submission) (message.SubmitResult, error) {
	if err != nil {
		return message.SubmitResult{}, l.failure(err, s)
	}
	id := p.Body.(*smpp.SubmitSMResp).MessageID
	return message.SubmitResult{VendorMessageID: id, NormalizedID: l.format.Answer(id)}, nil
}

// ended learns from the end of a call, on the session's goroutine: pace, pause,
// answer time, and whether the bind is of use.
func (l *Link) ended(b *bind, start time.Time, err error) {
	now := time.Now()
	var refused *smpp.StatusError
	var silent *smpp.RequestError
	status := smpp.StatusOK.String()
	answered := true
	var pause time.Duration
	l.mu.Lock()
	switch {
	case err == nil:
		if !start.Before(l.pausedUntil) {
			l.pauses = 0
		}
	case errors.As(err, &refused):
		status = refused.Status.String()
		pause = l.refusedLocked(b, refused, now)
	case errors.As(err, &silent):
		status, answered = "", false
		if errors.Is(err, smpp.ErrTimeout) {
			if b.silent++; b.silent >= maxSilent {
				l.lastErr = "submits stay unanswered"
				l.retireLocked(b)
			}
		}
	}
	if answered {
		b.silent = 0
		l.answered.add(now)
		l.answerMilli += (float64(now.Sub(start).Microseconds())/1000 - l.answerMilli) / 16
	}
	l.releaseLocked(b)
	l.mu.Unlock()
	if pause > 0 {
		l.log.Info("vendor throttles", "pause", pause)
	}
	if l.cfg.Metrics.Answered != nil && (answered || silent.Written) {
		l.cfg.Metrics.Answered(l.vendor.Name, status, now.Sub(start))
	}
}

// refusedLocked pauses the link or rebinds when the refusal concerns the link,
// and gives the length of a pause that it began. The submits of one window are
// throttled together: they count as one.
func (l *Link) refusedLocked(b *bind, refused *smpp.StatusError, now time.Time) (pause time.Duration) {
	if refused.Nack {
		return 0
	}
	o := smpp.OutcomeOf(refused.Status)
	if o.PauseLink && !now.Before(l.pausedUntil) {
		l.pauses++
		pause = o.After(l.pauses)
		l.pausedUntil = now.Add(pause)
		l.wakeLocked()
	}
	if o.Rebind {
		l.retireLocked(b)
	}
	return pause
}

// failure is the contract's error for what became of a request.
func (l *Link) failure(err error, s message.Submission) error {
	var refused *smpp.StatusError
	if errors.As(err, &refused) {
		return l.refusal(refused, s)
	}
	var field *smpp.FieldError
	if errors.As(err, &field) {
		return &message.SubmitError{Reason: message.ReasonInternal, Detail: "the part cannot be written", Err: err}
	}
	var lost *smpp.RequestError
	if errors.As(err, &lost) && lost.Written {
		return &message.SubmitError{Reason: message.ReasonSubmitInDoubt, Detail: "written, and no answer is known", Written: true, Err: err}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return gaveUp(err)
	}
	return unreachable("the bind ended before the write", err)
}

// refusal is the vendor's no, by the table and the vendor's own codes.
func (l *Link) refusal(refused *smpp.StatusError, s message.Submission) error {
	o := smpp.OutcomeOf(refused.Status)
	if refused.Nack {
		o = smpp.NackOutcome()
	}
	code := refused.Status.Code()
	e := &message.SubmitError{
		Reason: o.Reason, VendorCode: code, Detail: refused.Status.String(), Written: true, Answered: true,
		Again: o.Again(s.Attempt), After: o.After(s.Attempt),
	}
	if refused.Nack {
		e.Detail = "generic_nack " + e.Detail
	}
	if r, ok := l.vendor.CodeMap[code]; ok && r.Known() {
		e.Reason = r
	}
	if o.PauseLink {
		l.mu.Lock()
		e.After = max(0, time.Until(l.pausedUntil))
		l.mu.Unlock()
	}
	return e
}

func unreachable(detail string, err error) error {
	if detail == "" {
		detail = "no live bind"
	}
	return &message.SubmitError{Reason: message.ReasonVendorUnreachable, Detail: detail, Again: true, After: unboundDelay, Err: err}
}

// gaveUp is a context that ended before the write.
func gaveUp(err error) error {
	return &message.SubmitError{Reason: message.ReasonVendorUnreachable, Detail: "the wait for the link ended", Again: true, Err: err}
}
