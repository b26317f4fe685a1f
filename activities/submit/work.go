package submit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
)

// work is one run of Submit.
type work struct {
	a       *Activities
	m       *message.Message
	in      Input
	expired bool // the validity is over: nothing more is sent

	media   []message.MediaLink // where the vendor finds the files; of an MMS only
	taken   int                 // parts that a vendor has
	doubted int                 // parts that stay in doubt
	todo    []message.Submission
	whole   bool             // the vendor gets all of todo at once
	lost    []message.Answer // journal rows that an earlier run left open
	resent  bool             // a part in doubt is being sent again
	repeats bool             // the try that an earlier run left open is made again, as it was
	before  string           // the process that has left it open
	unmade  error            // the vendor was not asked again; nil: it was
	answers []message.Answer
	early   []string // normalised ids just learnt
	named   int      // parts that have one of them
	refusal *message.SubmitError
	busy    *message.SubmitError

	mu      sync.Mutex
	asked   bool                 // whether it may still leave
	barrier *message.SubmitError // the answer to that: why not; nil: it may
}

// subject is the message's, if the vendor gets it as an MMS: a text that was one has it in
// its body.
func (w *work) subject() string {
	if w.m.Kind != message.MMS {
		return ""
	}
	return w.m.Subject
}

// takeStock sorts the parts into those that a vendor has, those in doubt, and
// those to be sent, and closes journal rows that an earlier run left open.
func (w *work) takeStock(ctx context.Context, parts []message.Part) error {
	texts, err := texts(w.m)
	if err != nil {
		return err
	}
	var events []message.Event
	for i, p := range parts {
		attempt := p.Attempt + 1
		switch p.State {
		case message.PartSubmitted, message.PartDelivered, message.PartUndelivered, message.PartExpired:
			if !w.elsewhere(p) {
				w.taken++
				continue
			}
			w.resent = true
		case message.PartSending, message.PartInDoubt:
			if w.repeats {
				attempt = p.Attempt
				break
			}
			if p.State == message.PartSending {
				w.lost = append(w.lost, message.Answer{Part: p.Number, Attempt: p.Attempt, State: message.PartInDoubt, Reason: message.ReasonSubmitInDoubt})
				events = append(events, diedBefore(p.Number, p.Attempt))
			}
			if w.m.Delivery != message.AtLeastOnce || w.expired || w.in.Resend && !w.elsewhere(p) {
				w.doubted++
				continue
			}
			w.resent = true
		}
		w.todo = append(w.todo, message.Submission{MessageID: w.m.ID, Part: p.Number, Parts: len(parts), Attempt: attempt, Again: w.repeats,
			From: w.m.From, To: w.m.To, Encoding: w.m.Encoding, Text: texts[i], DataCoding: w.m.DataCoding, Header: w.m.Header, TLVs: w.m.TLVs,
			Subject: w.subject(), Media: w.media, Reference: reference(w.m), ExpiresAt: w.m.ExpiresAt, Class: w.m.Class, Still: w.still})
	}
	if len(w.lost) == 0 {
		return nil
	}
	c := message.Change{MessageID: w.m.ID, Answers: w.lost, Events: events}
	if w.resent && !w.in.Resend {
		c.To = message.StatusInDoubt
		c.Events = append(c.Events, message.Event{Type: message.StatusEvent(message.StatusInDoubt), Detail: map[string]any{"parts": len(w.lost)}})
	}
	changed, err := w.write(ctx, c)
	if changed && c.To != "" {
		w.m.Status = message.StatusInDoubt
	}
	return err
}

// write records a change whose answers must not be lost: when the status does
// not allow it, the rest of it is written under whatever status there is.
func (w *work) write(ctx context.Context, c message.Change) (bool, error) {
	adv, err := w.a.Journal.Advance(ctx, c)
	if err != nil || adv.Changed || c.To == "" || len(c.Answers) == 0 {
		return adv.Changed, err
	}
	_, err = w.a.Journal.Advance(ctx, message.Change{MessageID: c.MessageID, Answers: c.Answers,
		OptOut: c.OptOut, OptOutEvent: c.OptOutEvent})
	return false, err
}

// pointless says how the submit ends when the parts that are left need not be
// sent, and nil when they must be.
func (w *work) pointless(ctx context.Context, parts []message.Part) (*Result, error) {
	tried := false
	var refused *message.Part
	for i := range parts {
		tried = tried || parts[i].Attempt > 0
		if parts[i].State == message.PartRefused {
			refused = &parts[i]
		}
	}
	if tried {
		p, err := w.a.Journal.Progress(ctx, w.m.ID)
		if err != nil {
			return nil, err
		}
		if p.Decided() {
			return &Result{Outcome: Settled, Decided: true}, nil
		}
	}
	if w.m.Status == message.StatusSending && len(w.lost) == 0 && refused != nil {
		// An earlier run has recorded a partial submit and its caller never
		// heard of it.
		return &Result{Outcome: Partial, Reason: refused.Reason, VendorCode: refused.VendorCode}, nil
	}
	if w.expired {
		return &Result{Outcome: Busy, Reason: message.ReasonExpired, Detail: "the validity ended before the submit"}, nil
	}
	return nil, nil
}

// gate asks the policy once more before anything of the message leaves: campaigns
// are suspended and recipients stop senders while it waits for its vendor. Nil: it
// may go. A message that has left in part goes on.
func (w *work) gate(ctx context.Context) (*Result, error) {
	if w.in.Resend {
		return w.unwanted(), nil
	}
	if w.underWay() {
		return nil, nil
	}
	p, err := w.a.Gate.Pass(ctx, w.m, activities.Asked{Again: true, Slot: w.in.Slot})
	if err != nil {
		return nil, err
	}
	w.in.Slot = p.Slot
	switch {
	case p.Error != nil:
		return w.turnedBack(ctx, p)
	case p.Hold == nil:
		return nil, nil
	case w.m.Status.Revisable():
		// It is not queued yet: its admission says that it waits.
		return &Result{Outcome: Revised, Slot: p.Slot}, nil
	}
	_, err = w.a.Journal.Advance(ctx, activities.Held(w.m.ID, *p.Hold))
	return &Result{Outcome: Held, Hold: p.Hold, Slot: p.Slot}, err
}

// still is asked right before the wire, for the connector may have held the message
// up for as long as its vendor throttles. The first part that comes so far is asked
// for all of them.
func (w *work) still() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.asked {
		w.asked, w.barrier = true, w.barred()
	}
	if w.barrier == nil {
		return nil
	}
	return w.barrier
}

// barred says why the message may not leave now. The pacer cannot be asked here: a
// message whose moment has passed is taken back, and gets another one.
func (w *work) barred() *message.SubmitError {
	if w.underWay() && !w.in.Resend {
		return nil
	}
	now := w.a.Gate.Now()
	if s := w.in.Slot; s != nil && !s.Usable(now) {
		return &message.SubmitError{Reason: message.ReasonVendorThrottled, Detail: "the moment that it was given to leave in passed while the link held it up", Again: true}
	}
	d := policy.Gate(w.a.Gate.Snapshot(), policy.Question{Message: w.m, Now: now, OptOuts: w.a.Gate.OptOuts})
	if why := d.Error; why != nil {
		return &message.SubmitError{Reason: why.Reason, Detail: why.Detail, Again: true}
	}
	if h := d.Hold(); h != nil {
		return &message.SubmitError{Reason: message.ReasonQuietHours, Detail: h.Detail, Again: true}
	}
	return nil
}

// underWay reports whether some of the message has left, or may have.
func (w *work) underWay() bool { return w.taken+w.doubted > 0 || w.resent || w.repeats }

// takeBack records that the message was kept from the wire, and what becomes of it
// now.
func (w *work) takeBack(ctx context.Context) (Result, error) {
	r, err := w.refused(ctx, Busy, w.barrier)
	if err != nil {
		return Result{}, err
	}
	w.m.Status = message.StatusQueued
	if end, err := w.gate(ctx); end != nil || err != nil {
		return orZero(end), err
	}
	r.Slot = w.in.Slot // gate may have taken another
	return r, nil
}

// turnedBack records that the message may not go any more.
func (w *work) turnedBack(ctx context.Context, p activities.Passage) (*Result, error) {
	to := message.StatusRejected
	if p.Error.Reason == message.ReasonDailyCapReached { // it would have to wait too long
		to = message.StatusExpired
	}
	told, err := activities.Tell(ctx, w.a.Journal, w.a.Gate.Snapshot(), *w.m,
		message.Change{To: to, Error: p.Error, Started: true, Revision: &w.in.Revision}, map[string]any{"trail": p.Trail}, false)
	if err != nil {
		return nil, err
	}
	if told.Revised {
		return &Result{Outcome: Revised, Slot: p.Slot}, nil
	}
	r := &Result{Outcome: Ended, Status: told.Status, Notify: told.Notify, Slot: p.Slot}
	if told.Status == to {
		r.Reason = p.Error.Reason
	}
	if told.Changed {
		w.a.Gate.TellRefused(w.m, to, p.Error.Reason)
	}
	return r, nil
}

// errUnderWay says that another run of the submit, which may still live, has
// journalled the parts: this one sends nothing. The next try sees what became
// of it.
var errUnderWay = errors.New("another run of this submit is under way")

// journal writes a row for each part about to be sent. It reports true when the
// message has ended: nothing may be sent then, and neither after an error.
func (w *work) journal(ctx context.Context) (ended bool, err error) {
	if w.repeats {
		return w.takeOver(ctx)
	}
	if w.m.Status == message.StatusInDoubt && !w.in.Resend {
		// From in doubt the way leads over queued.
		if _, err := w.a.Journal.Advance(ctx, message.Change{MessageID: w.m.ID, To: message.StatusQueued, Events: []message.Event{queuedAgain()}}); err != nil {
			return false, err
		}
	}
	c := w.sending(message.Change{MessageID: w.m.ID, MaybeDoubled: w.resent})
	if w.in.Resend {
		c = w.sendingAgain()
	}
	adv, err := w.a.Journal.Advance(ctx, c)
	switch {
	case err != nil || adv.Changed:
		return false, err
	case adv.Was.Final():
		return true, nil
	}
	return false, errUnderWay
}

// sending adds a journal row and a line for each part about to be sent.
func (w *work) sending(c message.Change) message.Change {
	c.To, c.Vendor, c.Unheld = message.StatusSending, w.in.Vendor, w.in.Held
	for _, s := range w.todo {
		c.Attempts = append(c.Attempts, message.Attempt{Part: s.Part, Number: s.Attempt, Vendor: w.in.Vendor, Instance: w.a.Instance})
		c.Events = append(c.Events, message.Event{Type: message.StatusEvent(message.StatusSending), Detail: map[string]any{"part": s.Part, "attempt": s.Attempt, "vendor": w.in.Vendor.Name}})
	}
	return c
}

func queuedAgain() message.Event {
	return message.Event{Type: message.StatusEvent(message.StatusQueued), Detail: map[string]any{"again": true}}
}

// send submits all parts at once; the connector's window and rate hold them
// back as they must be.
func (w *work) send(ctx context.Context, connector Connector) {
	if w.in.Here && w.a.Expect != nil {
		w.a.Expect(w.m.ID)
	}
	defer activities.Beat(ctx)()
	live, done := uncanceled(ctx)
	defer done()
	type answered struct {
		result message.SubmitResult
		err    error
	}
	wire := w.todo
	if w.whole {
		wire = []message.Submission{w.joined()}
	}
	got := make([]answered, len(wire))
	var wg sync.WaitGroup
	for i, s := range wire {
		wg.Go(func() {
			start := w.a.Gate.Now()
			got[i].result, got[i].err = guarded(live, connector, s)
			if w.a.Observe != nil && !w.kept() {
				w.a.Observe(w.in.Vendor.ID, w.in.Vendor.Name, w.a.Gate.Now().Sub(start), got[i].err)
			}
		})
	}
	wg.Wait()
	for i, s := range w.todo {
		of := got[min(i, len(got)-1)]
		w.answers = append(w.answers, w.answer(s, of.result, of.err))
	}
}

// fit prepares the parts for a connector that takes whole messages: all parts are of
// one try then. It gives the result of a message that has left in part over another
// vendor: this one cannot take the rest.
func (w *work) fit(connector Connector) *Result {
	if w.whole = connector.Whole(); !w.whole {
		return nil
	}
	if len(w.todo) < w.m.Segments {
		return &Result{Outcome: Refused, Reason: message.ReasonVendorRejected, Left: w.underWay(),
			Detail: w.in.Vendor.Name + " takes whole messages, and another vendor has a part of this one"}
	}
	attempt := 0
	for _, s := range w.todo {
		attempt = max(attempt, s.Attempt)
	}
	for i := range w.todo {
		w.todo[i].Attempt = attempt
	}
	return nil
}

// joined is the message as one submission.
func (w *work) joined() message.Submission {
	s := w.todo[0]
	s.Whole, s.Text = true, w.m.Body
	return s
}

// kept reports whether the message was kept from the wire.
func (w *work) kept() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.barrier != nil
}

// guarded keeps a connector's panic from ending the process, and with it the
// messages of everybody else.
func guarded(ctx context.Context, connector Connector, s message.Submission) (r message.SubmitResult, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("connector panicked: %v", p)
		}
	}()
	return connector.Submit(ctx, s)
}

// answer reads what became of one part.
func (w *work) answer(s message.Submission, r message.SubmitResult, err error) message.Answer {
	out := message.Answer{Part: s.Part, Attempt: s.Attempt}
	if err == nil {
		w.taken++
		if r.NormalizedID != "" {
			w.named++
			if !slices.Contains(w.early, r.NormalizedID) {
				w.early = append(w.early, r.NormalizedID)
			}
		}
		out.State, out.VendorMessageID, out.NormalizedID = message.PartSubmitted, r.VendorMessageID, r.NormalizedID
		return out
	}
	var no *message.SubmitError
	if !errors.As(err, &no) {
		// A connector that breaks its contract: assume the worst, that it is on
		// the wire.
		no = &message.SubmitError{Reason: message.ReasonInternal, Written: true, Err: err}
	}
	if s.Again && !no.Answered {
		if no = w.notMade(no); no == nil {
			return out
		}
	}
	out.VendorCode, out.Reason = no.VendorCode, no.Reason
	switch {
	case no.Ambiguous():
		w.doubted++
		out.State, out.Reason = message.PartInDoubt, message.ReasonSubmitInDoubt
	case no.Retryable():
		w.busy = no
		out.State = message.PartRefused
	default:
		w.refusal = no
		out.State = message.PartRefused
	}
	return out
}

// conclude records what became of the parts, even if the caller has given up:
// the wire may have been written.
func (w *work) conclude(ctx context.Context) (Result, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	r, err := w.record(ctx)
	if w.in.Here && w.a.Forget != nil && (r.Outcome != Sent || r.Decided) {
		w.a.Forget(w.m.ID)
	}
	return r, err
}

// record writes the answers and says how the submit ended.
func (w *work) record(ctx context.Context) (Result, error) {
	switch {
	case w.unmade != nil:
		return Result{}, w.unmade
	case w.in.Resend && (w.barrier != nil || w.refusal != nil || w.busy != nil || w.doubted > 0):
		return w.notTakenAgain(ctx)
	case w.barrier != nil:
		return w.takeBack(ctx)
	case w.refusal != nil && w.taken+w.doubted > 0:
		return w.partial(ctx)
	case w.refusal != nil:
		return w.refused(ctx, Refused, w.refusal)
	case w.busy != nil:
		return w.refused(ctx, Busy, w.busy)
	case w.doubted > 0:
		return w.inDoubt(ctx)
	}
	return w.sent(ctx)
}

func (w *work) change(to message.Status) message.Change {
	return message.Change{MessageID: w.m.ID, To: to, Answers: w.answers, Vendor: w.in.Vendor}
}

func (w *work) sent(ctx context.Context) (Result, error) {
	c := w.change(message.StatusSent)
	c.Submitted = true
	told, err := activities.Tell(ctx, w.a.Journal, w.a.Gate.Snapshot(), *w.m, c, nil, false)
	if err != nil {
		return Result{}, err
	}
	if err := w.keepAnswers(ctx, told.Changed); err != nil {
		return Result{}, err
	}
	decided, err := w.letIn(ctx)
	return Result{Outcome: Sent, Notify: told.Notify, Decided: decided}, err
}

// keepAnswers records the answers although the status had moved on without them
// (an early receipt, a repetition).
func (w *work) keepAnswers(ctx context.Context, changed bool) error {
	if changed || len(w.answers) == 0 {
		return nil
	}
	c := w.change("")
	if w.in.Resend {
		c.Events = w.sentAgain()
	}
	_, err := w.a.Journal.Advance(ctx, c)
	return err
}

// letIn applies receipts that came before the vendor's ids were stored, and
// reports whether the message is decided by now.
func (w *work) letIn(ctx context.Context) (bool, error) {
	came := false
	if len(w.early) > 0 {
		var err error
		if came, err = w.a.Journal.EarlyReceipts(ctx, w.in.Vendor.ID, w.early); err != nil {
			return false, err
		}
	}
	if !came && w.named == w.m.Segments {
		return false, nil // every part went out just now, and nothing was waiting
	}
	p, err := w.a.Journal.Progress(ctx, w.m.ID)
	return err == nil && p.Decided(), err
}

func (w *work) inDoubt(ctx context.Context) (Result, error) {
	c := w.change(message.StatusInDoubt)
	c.Events = w.remarks()
	told, err := activities.Tell(ctx, w.a.Journal, w.a.Gate.Snapshot(), *w.m, c, map[string]any{"parts": w.doubted}, false)
	if err != nil {
		return Result{}, err
	}
	if err := w.keepAnswers(ctx, told.Changed); err != nil {
		return Result{}, err
	}
	decided, err := w.letIn(ctx)
	return Result{Outcome: InDoubt, Reason: message.ReasonSubmitInDoubt, Notify: told.Notify, Decided: decided}, err
}

// refused records that the vendor does not have the parts that were tried: the
// message is queued again, for another vendor or for later.
func (w *work) refused(ctx context.Context, outcome Outcome, no *message.SubmitError) (Result, error) {
	c := w.change(message.StatusQueued)
	c.VendorCode = no.VendorCode
	c.Events = w.remarks()
	c, err := w.stopped(c, no)
	if err != nil {
		return Result{}, err
	}
	c.Events = append(c.Events, queuedAgain())
	if _, err := w.write(ctx, c); err != nil {
		return Result{}, err
	}
	decided, err := w.letIn(ctx)
	return Result{Outcome: outcome, Reason: no.Reason, Detail: no.Detail, VendorCode: no.VendorCode,
		RetryAfter: no.RetryAfter(), Throttled: no.Reason == message.ReasonVendorThrottled, Decided: decided, Left: w.underWay(), Slot: w.in.Slot}, err
}

func (w *work) partial(ctx context.Context) (Result, error) {
	c := w.change("")
	c.VendorCode = w.refusal.VendorCode
	c.Events = w.remarks()
	c, err := w.stopped(c, w.refusal)
	if err != nil {
		return Result{}, err
	}
	if _, err := w.a.Journal.Advance(ctx, c); err != nil {
		return Result{}, err
	}
	_, err = w.letIn(ctx)
	return Result{Outcome: Partial, Reason: w.refusal.Reason, Detail: w.refusal.Detail, VendorCode: w.refusal.VendorCode}, err
}

// stopped adds to a change that the vendor refused because the recipient has stopped
// the sender, if that is why.
func (w *work) stopped(c message.Change, no *message.SubmitError) (message.Change, error) {
	if no.Reason != message.ReasonOptedOut {
		return c, nil
	}
	return activities.VendorBlock(c, w.a.Gate.Snapshot(), w.m, w.in.Vendor.Name, w.a.Gate.Now())
}

// remarks are the timeline's lines for parts that were not simply taken.
func (w *work) remarks() []message.Event {
	var events []message.Event
	for _, a := range w.answers {
		detail := map[string]any{"part": a.Part, "attempt": a.Attempt, "vendor": w.in.Vendor.Name}
		switch a.State {
		case message.PartRefused:
			if w.barrier != nil { // by us, not by the vendor
				continue
			}
			detail["code"] = a.Reason
			if a.VendorCode != "" {
				detail["vendor_code"] = a.VendorCode
			}
			events = append(events, message.Event{Type: message.EventSubmitRefused, Detail: detail})
		case message.PartInDoubt:
			detail["detail"] = "the vendor did not answer"
			events = append(events, message.Event{Type: message.EventSubmitUnknown, Detail: detail})
		}
	}
	return events
}
