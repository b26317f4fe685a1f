package workflows

import (
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/notify"
	"github.com/postrider/postrider/activities/prepare"
	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
)

// Only for references to their methods.
var (
	admitting  *admit.Activities
	routing    *route.Activities
	preparing  *prepare.Activities
	submitting *submit.Activities
	recording  *record.Activities
	notifying  *notify.Activities
)

// OutboundInput starts the life of an accepted message. The text is not in it:
// steps read the record.
type OutboundInput struct {
	MessageID message.ID    `json:"message_id"`
	AccountID message.ID    `json:"account_id"`
	Class     message.Class `json:"class"`
	// Vendor is the search attribute that the workflow was started with: the one
	// that will be asked first, as far as was known. Each change of it costs a
	// write to the search index.
	Vendor    string    `json:"vendor,omitempty"`
	SendAt    time.Time `json:"send_at,omitzero"` // zero: at once
	ExpiresAt time.Time `json:"expires_at"`
	// Kind is mms for a message with files; else empty.
	Kind message.Kind `json:"kind,omitempty"`
}

// OutboundResult is how it ended.
type OutboundResult struct {
	Status message.Status `json:"status"`
	Reason message.Reason `json:"reason,omitempty"`
}

// State is what the workflow knows now: the answer of QueryState.
type State struct {
	Step     string         `json:"step"`
	Status   message.Status `json:"status"`
	Vendor   string         `json:"vendor,omitempty"`
	Waiting  string         `json:"waiting,omitempty"` // what for
	Until    time.Time      `json:"until,omitzero"`
	Webhooks int            `json:"webhooks_pending"`
}

// Outbound carries one message from acceptance to its last webhook.
func Outbound(ctx workflow.Context, in OutboundInput) (OutboundResult, error) {
	o := &outbound{in: in, indexed: in.Vendor, told: make(map[message.ID]bool), state: State{Step: "accepted", Status: message.StatusAccepted}}
	// Whoever cancels the workflow in the Temporal UI wants the message withdrawn,
	// not its process cut off: the steps run on a context that stays.
	live, _ := workflow.NewDisconnectedContext(ctx)
	if err := o.setup(live, ctx.Done()); err != nil {
		return OutboundResult{}, err
	}
	failed := o.run(live)
	if failed == nil && !o.state.Status.Final() {
		failed = fmt.Errorf("the steps ended and the message is %s", o.state.Status)
	}
	if failed != nil {
		workflow.GetLogger(ctx).Error("a step cannot go on, the message ends here", "error", failed)
		if _, err := o.record(live, record.Input{To: message.StatusFailed, Reason: message.ReasonInternal}, "record the failure"); err != nil {
			return OutboundResult{}, errors.Join(failed, err)
		}
	}
	o.release(live)
	if err := o.finish(live); err != nil {
		return OutboundResult{}, err
	}
	return OutboundResult{Status: o.state.Status, Reason: o.reason}, failed
}

type outbound struct {
	in    OutboundInput
	state State

	indexed     string // value of the search attribute Vendor
	reason      message.Reason
	routed      *route.Result // chosen by the step that admitted it; nil: not yet
	candidates  []route.Candidate
	trail       []message.TrailEntry
	unrecorded  bool   // the record does not show the queueing yet
	why         string // what the first candidate owes its place to; empty: the routes
	here        bool   // the submit ran inside this task, and its receipts are at hand if they come soon
	decided     bool   // receipts have decided the message, and the record may not show it
	canceled    bool
	giveUp      workflow.CancelFunc // ends the wait for a vendor when the message is withdrawn
	grace       time.Duration
	told        map[message.ID]bool // deliveries that this run has taken on
	webhooks    int                 // of those, being retried
	withdrawing bool                // a cancellation of the workflow is being worked on

	revision int  // the one that was admitted
	revised  bool // the message is no longer what the steps took it for: they begin anew
	again    bool // they have begun anew
	woken    bool // the message was revised, and its send time may be another one

	hold       *message.Hold // what it must wait for before it may leave; nil: nothing
	held       bool          // it has waited, and the record may show that it still does
	reconsider bool          // somebody says that it is time to look again
	capReached bool          // a vendor has just said that the day's cap is reached
	slot       *pace.Slot    // the moment that it was given to leave in; nil: none
	departed   bool          // a vendor has some of it, or may have

	rerouted bool   // staff want it routed anew
	resend   resend // giving it to another vendor when no receipt comes
}

// setup registers the handlers before anything can block: an update that
// arrives before its handler is refused, and a signal left unread is lost.
func (o *outbound) setup(ctx workflow.Context, canceled workflow.Channel) error {
	decided := func(ctx workflow.Context) error {
		o.decided = true
		return nil
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateDecided, decided, workflow.UpdateHandlerOptions{
		Description: "Receipts have decided the message; the record holds them.",
	}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateCancel, o.cancel, workflow.UpdateHandlerOptions{
		Description: "Withdraw the message; refused once a submit is journalled.",
	}); err != nil {
		return err
	}
	revise := func(workflow.Context) error {
		o.woken = true
		return nil
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateRevise, revise, workflow.UpdateHandlerOptions{
		Description: "The message was revised; the record has its new times.",
	}); err != nil {
		return err
	}
	workflow.Go(ctx, func(ctx workflow.Context) { o.hear(ctx, canceled) })
	return workflow.SetQueryHandlerWithOptions(ctx, QueryState, func() (State, error) { return o.state, nil },
		workflow.QueryHandlerOptions{Description: "Where the message is and what it waits for."})
}

// hear takes signals, and the workflow's cancellation, until it ends. One coroutine
// hears them all: each costs a goroutine and several switches in every message's life,
// and most messages never get any. The order is that of the handling when more than one
// waits; it is part of what stored histories were made with.
func (o *outbound) hear(ctx workflow.Context, canceled workflow.ReceiveChannel) {
	withdrawn := false
	signals := o.heard(ctx)
	signals.AddReceive(canceled, func(workflow.ReceiveChannel, bool) { withdrawn = true })
	for !withdrawn {
		signals.Select(ctx)
	}
	o.withdrawing = true
	workflow.Go(ctx, o.withdraw)
	// What is closed can always be received from: it is heard once.
	for signals = o.heard(ctx); ; {
		signals.Select(ctx)
	}
}

// withdraw does what the cancellation of the workflow asks for.
func (o *outbound) withdraw(ctx workflow.Context) {
	if err := o.cancel(ctx); err != nil {
		workflow.GetLogger(ctx).Info("the workflow's cancellation comes too late", "error", err)
	}
	o.withdrawing = false
}

// heard selects among the signals.
func (o *outbound) heard(ctx workflow.Context) workflow.Selector {
	signals := workflow.NewSelector(ctx)
	for _, signal := range []struct {
		name string
		note func(workflow.Context)
	}{
		{SignalDecided, func(workflow.Context) { o.decided = true }},
		{SignalRevise, func(workflow.Context) { o.woken = true }},
		{SignalReconsider, func(workflow.Context) { o.reconsider = true }},
		{SignalReroute, o.hearReroute},
	} {
		signals.AddReceive(workflow.GetSignalChannel(ctx, signal.name), func(c workflow.ReceiveChannel, _ bool) {
			c.Receive(ctx, nil)
			signal.note(ctx)
		})
	}
	return signals
}

// run goes through the steps, and from their beginning again whenever one of them
// has found the message revised.
//
// A message may be revised until it is queued, and no step trusts what it knows of
// it: what is admitted is one revision, and the steps behind name that one in
// every write that takes the message on. If the record has another by then, nothing
// is written and nothing sent, and the message is read and admitted anew. So it
// does not matter which of two comes first, nor in which process, nor whether the
// workflow was told: a message that is queued is queued as it was admitted, and
// cannot be revised any more.
//
// Being told matters to the wait for the send time alone. Who is not told wakes at
// the old one: a message that was put off is found so by admit and waits on; one
// that was brought forward is late by as long as the sweeper, which tells again,
// takes.
func (o *outbound) run(ctx workflow.Context) error {
	for {
		o.revised = false
		if err := o.walk(ctx); err != nil || !o.revised || o.canceled {
			return err
		}
		o.again = true
	}
}

// walk goes through the steps once. Each returns true when the message has ended.
func (o *outbound) walk(ctx workflow.Context) error {
	for _, step := range []func(workflow.Context) (bool, error){o.schedule, o.admit, o.route, o.depart, o.await} {
		ended, err := step(ctx)
		if err != nil {
			return err
		}
		if ended || o.canceled || o.revised {
			return nil
		}
	}
	return nil
}

// shows notes what the record shows. An end stays: a step that was under way
// when the message was withdrawn does not bring it back to life.
func (o *outbound) shows(status message.Status, reason message.Reason) {
	if status == "" || o.state.Status.Final() && !status.Final() || status == o.state.Status && reason == "" {
		return
	}
	o.state.Status, o.reason = status, reason
}

// enter notes where the message is, for the query and the UI.
func (o *outbound) enter(ctx workflow.Context, step, waiting string, until time.Time) {
	o.state.Step, o.state.Waiting, o.state.Until = step, waiting, until
	details := fmt.Sprintf("**%s**", step)
	if waiting != "" {
		details += "\n\nwaiting for " + waiting
	}
	if !until.IsZero() {
		details += " until " + until.UTC().Format(time.RFC3339)
	}
	workflow.SetCurrentDetails(ctx, details)
}

// schedule waits for the time the customer asks for, which a revision may change
// while it waits, and before: the record has the one that holds.
func (o *outbound) schedule(ctx workflow.Context) (bool, error) {
	for {
		wait := o.in.SendAt.Sub(workflow.Now(ctx))
		if o.in.SendAt.IsZero() || wait <= 0 {
			return false, nil
		}
		o.woken = false // what comes from here on the record may not have shown
		r, err := o.record(ctx, record.Input{To: message.StatusScheduled, Times: o.times()}, "note the schedule")
		if err != nil || r.Status.Final() {
			return true, err
		}
		if r.Times != nil {
			o.goBy(*r.Times)
			continue
		}
		o.enter(ctx, "scheduled", "its send time", o.in.SendAt)
		if _, err = workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: wait,
			TimerOptions: workflow.TimerOptions{Summary: "send at " + o.in.SendAt.UTC().Format(time.RFC3339)}}, func() bool { return o.canceled || o.woken }); err != nil {
			return false, err
		}
		if o.canceled || !o.woken {
			return false, nil
		}
	}
}

// times are those that the workflow goes by. It was started with them, and takes
// those of the record when they are others.
func (o *outbound) times() message.Times {
	return message.Times{SendAt: o.in.SendAt, ExpiresAt: o.in.ExpiresAt}
}

func (o *outbound) goBy(t message.Times) { o.in.SendAt, o.in.ExpiresAt = t.SendAt, t.ExpiresAt }

// admit asks the policy, which has the last word, and for the route at the same time.
func (o *outbound) admit(ctx workflow.Context) (bool, error) {
	o.enter(ctx, "admit", "", time.Time{})
	o.rerouted = false // what was wanted until now the record shows
	r, err := o.decide(ctx, admit.Input{Route: true}, "check the policy, choose the route")
	if err != nil {
		return false, err
	}
	if o.revised = r.Revised; r.Revised {
		return false, nil
	}
	if !r.Allowed {
		return true, o.ended(ctx, r.Status, r.Reason, r.Notify)
	}
	o.hold, o.revision, o.routed = r.Hold, r.Revision, r.Route
	return false, nil
}

// route lists the vendors to ask, best first.
func (o *outbound) route(ctx workflow.Context) (bool, error) {
	o.enter(ctx, "route", "", time.Time{})
	var r route.Result
	if o.routed != nil {
		r, o.routed = *o.routed, nil
	} else { // the step that admitted it could not, or was one of a time when it did not
		o.rerouted = false
		var err error
		if r, err = o.choose(ctx, route.Input{Trail: o.trail, Hold: o.hold}, "choose the route"); err != nil {
			return false, err
		}
	}
	if o.revised = r.Revised; r.Revised {
		return false, nil
	}
	if len(r.Candidates) == 0 {
		return true, o.ended(ctx, r.Status, r.Reason, r.Notify)
	}
	o.candidates, o.unrecorded, o.why = r.Candidates, r.Unrecorded, r.Why
	o.resend.after = r.ResendAfter
	o.shows(message.StatusQueued, "")
	return false, nil
}

func (o *outbound) choose(ctx workflow.Context, in route.Input, summary string) (route.Result, error) {
	in.MessageID, in.Revision = o.in.MessageID, o.revision
	var r route.Result
	err := workflow.ExecuteLocalActivity(recordOptions(ctx, summary), routing.ChooseRoute, in).Get(ctx, &r)
	return r, err
}

// ended notes that the record shows an end that a step has written.
func (o *outbound) ended(ctx workflow.Context, status message.Status, reason message.Reason, tell []message.ID) error {
	o.shows(status, reason)
	return o.notify(ctx, tell, false)
}

// record writes a status and tells the customer.
func (o *outbound) record(ctx workflow.Context, in record.Input, summary string) (record.Result, error) {
	r, err := o.write(ctx, in, summary)
	if err != nil {
		return r, err
	}
	return r, o.notify(ctx, r.Notify, r.Tried)
}

func (o *outbound) write(ctx workflow.Context, in record.Input, summary string) (record.Result, error) {
	in.MessageID, in.Tell = o.in.MessageID, true
	var r record.Result
	err := workflow.ExecuteLocalActivity(tellOptions(ctx, summary), recording.RecordOutcome, in).Get(ctx, &r)
	if err == nil {
		o.heed(r)
	}
	return r, err
}

// heed notes what a look at the record has found. What receipts leave open may have
// come to another end.
func (o *outbound) heed(r record.Result) {
	if !r.Open || r.Status.Final() {
		o.shows(r.Status, r.Reason)
	}
}

// cancel handles UpdateCancel. The record decides the race with a submit: only
// one of the two can move the status.
func (o *outbound) cancel(ctx workflow.Context) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	r, err := o.write(ctx, record.Input{To: message.StatusCanceled, Reason: message.ReasonCanceled}, "withdraw")
	if err != nil {
		return err
	}
	if r.Status != message.StatusCanceled {
		return temporal.NewNonRetryableApplicationError("the message is "+string(r.Status), string(message.ReasonConflict), nil)
	}
	o.canceled = true
	if o.giveUp != nil {
		o.giveUp()
	}
	return o.notify(ctx, r.Notify, r.Tried)
}

// await waits until receipts have decided every part, or the validity and the
// vendor's grace are over.
func (o *outbound) await(ctx workflow.Context) (bool, error) {
	if o.here && !o.decided {
		// What comes at once is settled in this task, for half of what it costs to
		// be told later.
		r, err := o.record(ctx, record.Input{Wait: true}, "record the outcome if it comes at once")
		if err != nil || r.Status.Final() {
			return true, err
		}
	}
	until := o.in.ExpiresAt.Add(o.grace)
	o.enter(ctx, string(o.state.Status), "the delivery receipt", until)
	look := firstReceiptLook
	for {
		wake, again := until, false
		if at, ok := o.resend.due(o.in.ExpiresAt); ok {
			wake, again = at, true
		}
		left := wake.Sub(workflow.Now(ctx))
		if !o.decided && left > 0 {
			if left > look {
				left, look = look, min(look*receiptLookFactor, longestReceiptLook)
			}
			_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: left,
				TimerOptions: workflow.TimerOptions{Summary: "wait for the receipt until " + wake.UTC().Format("15:04:05")}}, func() bool { return o.decided })
			if err != nil {
				return false, err
			}
		}
		// Who was to tell may have died once the record was written, and nobody else is
		// reminded of a message that is final there: what woke before its time looks.
		o.decided = o.decided || workflow.Now(ctx).Before(wake)
		if !o.decided {
			if !again {
				break
			}
			if ended, err := o.sendAgain(ctx); ended || err != nil {
				return ended, err
			}
			until = o.in.ExpiresAt.Add(o.grace)
			o.enter(ctx, string(o.state.Status), "the delivery receipt", until)
			continue
		}
		o.decided = false
		r, err := o.record(ctx, record.Input{Told: true}, "record the outcome")
		if err != nil || r.Status.Final() {
			return true, err
		}
		if r.Open && r.Status == message.StatusSent { // staff say that it is not in doubt any more
			o.shows(r.Status, "")
		}
		if r.Open && r.Status == message.StatusQueued {
			if ended, err := o.queuedAgain(ctx, nil); ended || err != nil {
				return true, err
			}
			until, look = o.in.ExpiresAt.Add(o.grace), firstReceiptLook
			o.enter(ctx, string(o.state.Status), "the delivery receipt", until)
		}
	}
	reason := message.ReasonNoReceipt
	if o.state.Status == message.StatusInDoubt {
		reason = message.ReasonSubmitInDoubt
	}
	r, err := o.record(ctx, record.Input{To: message.StatusUnconfirmed, Reason: reason}, "no receipt came")
	if err == nil && r.Status == message.StatusQueued {
		// It had not left after all, as queuedAgain has it, and now may not any more.
		return true, o.giveUpOn(ctx, submit.Result{Reason: message.ReasonExpired, Detail: "no vendor took it within its validity"})
	}
	return true, err
}

// queuedAgain offers a message again that was taken for one that a vendor has, or may
// have. A process that was taken for dead lived on, and found that what it was about to
// submit had not left: its record says so, and nobody waits for its answer any more.
//
// hold is what it must wait for first; nil: nothing.
func (o *outbound) queuedAgain(ctx workflow.Context, hold *message.Hold) (bool, error) {
	o.shows(message.StatusQueued, "")
	r, err := o.choose(ctx, route.Input{Trail: o.trail, Record: true, Again: true}, "list the vendors anew")
	if err != nil {
		return false, err
	}
	if r.Status.Final() {
		return true, o.ended(ctx, r.Status, r.Reason, r.Notify)
	}
	o.candidates, o.unrecorded, o.resend.after = r.Candidates, false, r.ResendAfter
	if hold != nil {
		o.hold = hold
	}
	ended, err := o.depart(ctx)
	return ended || o.canceled, err
}

// The pauses between looks at the record of a message whose receipt does not come:
// most come within seconds, and each look costs a task.
const (
	firstReceiptLook   = 2 * time.Minute
	receiptLookFactor  = 4
	longestReceiptLook = 6 * time.Hour
)

// notify sends what the customer is to be told: the first try of each at once,
// in order, unless the step has made it, the rest in the background until finish. The
// record names what is pending more than once; a run takes each on once.
func (o *outbound) notify(ctx workflow.Context, deliveries []message.ID, tried bool) error {
	// The step may be one that the withdrawal has just cut off.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	for _, id := range deliveries {
		if o.told[id] {
			continue
		}
		o.told[id] = true
		if !tried {
			var done bool
			err := workflow.ExecuteLocalActivity(firstTryOptions(ctx), notifying.TryWebhook, notify.Input{DeliveryID: id}).Get(ctx, &done)
			if err == nil && done {
				continue
			}
		}
		o.webhooks++
		o.state.Webhooks = o.webhooks
		workflow.Go(ctx, func(ctx workflow.Context) {
			// What a retry ends with is in the record of the delivery; a failed
			// one is listed there and can be replayed.
			err := workflow.ExecuteActivity(retryOptions(ctx, o.in.AccountID), notifying.PostWebhook, notify.Input{DeliveryID: id}).Get(ctx, nil)
			if err != nil {
				workflow.GetLogger(ctx).Info("webhook given up", "delivery", id.String(), "error", err)
			}
			o.webhooks--
			o.state.Webhooks = o.webhooks
		})
	}
	return nil
}

// finish waits for the webhooks under way, records what receipts say meanwhile,
// tells the search index the outcome, and lets no handler be cut off.
func (o *outbound) finish(ctx workflow.Context) error {
	signals := workflow.GetSignalChannel(ctx, SignalDecided)
	for {
		if o.webhooks > 0 {
			o.enter(ctx, string(o.state.Status), "the customer's webhook", time.Time{})
		}
		if err := workflow.Await(ctx, func() bool { return o.decided || o.quiet(ctx) }); err != nil {
			return err
		}
		for signals.ReceiveAsync(nil) {
			o.decided = true
		}
		if !o.decided {
			break
		}
		o.decided = false
		if _, err := o.record(ctx, record.Input{Late: true}, "record the late outcome"); err != nil {
			return err
		}
	}
	// Nothing may block from here on: what came in between would be lost.
	o.enter(ctx, string(o.state.Status), "", time.Time{})
	return workflow.UpsertTypedSearchAttributes(ctx, AttrOutcome.ValueSet(string(o.state.Status)))
}

// quiet reports whether nothing is under way any more.
func (o *outbound) quiet(ctx workflow.Context) bool {
	return o.webhooks == 0 && !o.withdrawing && workflow.AllHandlersFinished(ctx)
}

// timedOutWaiting reports whether an activity was never taken from its queue.
func timedOutWaiting(err error) bool {
	var t *temporal.TimeoutError
	return errors.As(err, &t) && t.TimeoutType() == enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START
}
