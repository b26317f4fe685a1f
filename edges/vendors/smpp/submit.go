package smpp

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/postrider/postrider/edges/vendors"
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

// Submit sends one part, or a whole message, and waits for the answer. It waits for the
// pause after a throttled submit, for room in a window and for the rate; without any
// live bind it fails at once with ReasonVendorUnreachable. Every error is a
// *message.SubmitError.
func (l *Link) Submit(ctx context.Context, s message.Submission) (message.SubmitResult, error) {
	pdu, err := l.encode(s)
	if err != nil {
		return message.SubmitResult{}, err
	}
	parts := 1
	if s.Whole {
		parts = max(1, s.Parts)
	}
	for {
		b, err := l.reserve(ctx)
		if err != nil {
			return message.SubmitResult{}, err
		}
		if err := l.bucket.Take(ctx, s.Class, parts, b.off); err != nil {
			l.release(b)
			if errors.Is(err, vendors.ErrCalledOff) {
				continue
			}
			return message.SubmitResult{}, notInTime(err)
		}
		// The pause may have begun and the bind may have gone while we waited.
		if !l.usable(b) {
			l.bucket.GiveBack(parts)
			l.release(b)
			continue
		}
		if err := s.Allowed(); err != nil {
			l.bucket.GiveBack(parts)
			l.release(b)
			return message.SubmitResult{}, err
		}
		return l.send(ctx, b, pdu, s)
	}
}

// encode makes the PDU. Its errors are final for this vendor and message.
func (l *Link) encode(s message.Submission) (*smpp.SubmitSM, error) {
	// A row may say that the vendor takes MMS; the text alone would be half a message.
	if len(s.Media) > 0 || s.Subject != "" {
		return nil, &message.SubmitError{Reason: message.ReasonMediaRejected, Detail: "the vendor is linked over SMPP, which carries no files; turn its supports_mms off"}
	}
	pdu := &smpp.SubmitSM{Message: smpp.Message{
		Source: typed(s.From, l.vendor.SourceTON, l.vendor.SourceNPI), Dest: typed(s.To, l.vendor.DestTON, l.vendor.DestNPI),
		RegisteredDelivery: registeredDelivery,
	}}
	if !s.ExpiresAt.IsZero() {
		left := s.ExpiresAt.Sub(l.cfg.Now())
		if left <= 0 {
			return nil, &message.SubmitError{Reason: message.ReasonExpired, Detail: "validity ended before the submit"}
		}
		pdu.Validity = smpp.FormatRelative(left)
	}
	out := smpp.Outgoing{
		Text: s.Text, Encoding: s.Encoding, Coding: s.DataCoding, Header: s.Header,
		Alphabet: l.vendor.DefaultAlphabet, Long: smpp.LongMessage(l.vendor.LongMessage),
		Ref: s.Reference, Part: s.Part, Parts: s.Parts,
	}
	if s.Whole {
		out.Part, out.Parts = 0, 0
	}
	if err := pdu.SetText(out); err != nil {
		return nil, &message.SubmitError{Reason: message.ReasonEncodingMismatch, Detail: "the part does not fit the vendor's encoding", Err: err}
	}
	if s.Encoding != message.EncodingBinary && pdu.DataCoding == smpp.CodingDefault {
		pdu.DataCoding = l.vendor.DefaultCoding
	}
	for _, p := range s.TLVs {
		if slices.Contains(l.vendor.PassTLVs, p.Tag) {
			pdu.TLVs.Add(smpp.Tag(p.Tag), p.Value)
		}
	}
	return pdu, nil
}

// typed is an address with the type of number and the numbering plan of the vendor's
// row, where that says them. They are for numbers: letters are always of type 5 (SMPP 3.4
// §5.2.5).
func typed(a message.Address, ton, npi *byte) smpp.Address {
	out := smpp.AddressOf(a)
	if a.Kind() == message.Alphanumeric {
		return out
	}
	if ton != nil {
		out.TON = *ton
	}
	if npi != nil {
		out.NPI = *npi
	}
	return out
}

// reserve waits for a place in a window and takes it on the emptiest bind.
func (l *Link) reserve(ctx context.Context) (*bind, error) {
	for {
		if ctx.Err() != nil {
			return nil, gaveUp(ctx.Err())
		}
		l.mu.Lock()
		now := time.Now()
		if l.stopping || l.upLocked() == 0 || !l.mode.CanSubmit() {
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

// notInTime is a part whose turn by the rate comes too late for the caller.
func notInTime(err error) error {
	if errors.Is(err, vendors.ErrNoTurn) {
		return &message.SubmitError{Reason: message.ReasonVendorThrottled, Detail: "the vendor's rate leaves no room in time", Again: true, After: pacedDelay, Err: err}
	}
	return gaveUp(err)
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
	answered, trouble := true, false
	var pause time.Duration
	l.mu.Lock()
	switch {
	case err == nil:
		if !start.Before(l.pausedUntil) {
			l.pauses = 0
		}
	case errors.As(err, &refused):
		status = refused.Status.String()
		o := l.outcomeOf(refused)
		trouble = o.Trouble
		pause = l.refusedLocked(b, o, now)
	case errors.As(err, &silent):
		status, answered = "", false
		trouble = silent.Written
		if errors.Is(err, smpp.ErrTimeout) {
			if b.silent++; b.silent >= maxSilent {
				l.lastErr = "submits stay unanswered"
				l.retireLocked(b)
			}
		}
	}
	if answered {
		b.silent = 0
		l.answerMilli += (float64(now.Sub(start).Microseconds())/1000 - l.answerMilli) / 16
	}
	switch {
	case answered:
		l.answered.Add(now, 1, trouble)
	case trouble:
		l.answered.Add(now, 0, true)
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

// outcomeOf is what a refusal means, by the vendor's own codes and the table.
func (l *Link) outcomeOf(refused *smpp.StatusError) smpp.Outcome {
	o := smpp.OutcomeOf(refused.Status)
	if refused.Nack {
		o = smpp.NackOutcome()
	}
	if r, ok := l.codes[refused.Status]; ok {
		o = o.Mapped(r)
	}
	return o
}

// refusedLocked pauses the link or rebinds when the refusal concerns the link,
// and gives the length of a pause that it began. The submits of one window are
// throttled together: they count as one.
func (l *Link) refusedLocked(b *bind, o smpp.Outcome, now time.Time) (pause time.Duration) {
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
	o := l.outcomeOf(refused)
	e := &message.SubmitError{
		Reason: o.Reason, VendorCode: refused.Status.Code(), Detail: refused.Status.String(), Written: true, Answered: true,
		Again: o.Again(s.Attempt), After: o.After(s.Attempt),
	}
	if refused.Nack {
		e.Detail = "generic_nack " + e.Detail
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
