package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/deliver"
	"github.com/postrider/postrider/activities/notify"
	"github.com/postrider/postrider/activities/prepare"
	"github.com/postrider/postrider/internal/message"
)

// Only for references to its methods.
var delivering *deliver.Activities

// InboundInput starts the way of an inbound message to its owner. The text is not in
// it: steps read the record.
type InboundInput struct {
	MessageID message.ID `json:"message_id"`
	AccountID message.ID `json:"account_id"`
}

// InboundResult is how it ended. A message that waits for nothing but its owner's ESME
// is still accepted: the SMPP edge writes the rest of its story.
type InboundResult struct {
	Status message.Status `json:"status"`
}

// Inbound takes one message of a handset to each of its destinations, and to the
// fall-back of those that do not take it.
//
// What is owed is in the record before the first try, so a destination that has rows of
// its own there goes on without the workflow: the SMPP edge works on its deliver_sm
// whether anybody waits for them or not. The workflow waits for them only where
// something hangs on it: a fall-back, or what other destinations come to.
func Inbound(ctx workflow.Context, in InboundInput) (InboundResult, error) {
	i := &inbound{in: in, state: State{Step: "plan", Status: message.StatusAccepted}}
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryState, func() (State, error) { return i.state, nil },
		workflow.QueryHandlerOptions{Description: "Where the message is and what it waits for."}); err != nil {
		return InboundResult{}, err
	}
	// Nobody withdraws what a handset has sent: a cancellation from outside ends nothing.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := i.plan(ctx); err != nil {
		return InboundResult{}, err
	}
	if err := workflow.Await(ctx, func() bool { return i.open == 0 }); err != nil {
		return InboundResult{}, err
	}
	return i.settle(ctx)
}

type inbound struct {
	in    InboundInput
	state State
	alone bool // there is one destination
	open  int  // destinations that are being worked on
}

func (i *inbound) input(position int) deliver.Input {
	return deliver.Input{MessageID: i.in.MessageID, Position: position}
}

// plan decides where the message goes and makes the first tries, in order.
func (i *inbound) plan(ctx workflow.Context) error {
	var plan deliver.Plan
	if err := workflow.ExecuteLocalActivity(recordOptions(ctx, "decide where it goes"), delivering.PlanInbound, i.input(0)).Get(ctx, &plan); err != nil {
		return err
	}
	if plan.Fetch {
		i.fetch(ctx)
		in := i.input(0)
		in.Fetched = true
		if err := workflow.ExecuteLocalActivity(recordOptions(ctx, "decide where it goes"), delivering.PlanInbound, in).Get(ctx, &plan); err != nil {
			return err
		}
	}
	i.state.Step, i.alone = "deliver", len(plan.Destinations) == 1
	for _, p := range plan.Destinations {
		i.deliver(ctx, p)
	}
	return nil
}

// fetch stores the files of an MMS. What cannot be had in fetchFor is not waited for any
// more: the owner gets the rest.
func (i *inbound) fetch(ctx workflow.Context) {
	i.state.Step, i.state.Waiting = "fetch", "its files"
	options := prepareOptions(ctx, message.ClassConversation, i.in.AccountID, fetchFor)
	if err := workflow.ExecuteActivity(options, preparing.FetchInbound, prepare.Inbound{MessageID: i.in.MessageID}).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Error("the files of an inbound message were not fetched", "error", err)
	}
	i.state.Waiting = ""
}

// deliver makes the first try at a destination; what is not done by then goes on in the
// background.
func (i *inbound) deliver(ctx workflow.Context, p deliver.Planned) {
	var works []func(workflow.Context)
	for _, id := range p.Webhooks {
		if !i.tryWebhook(ctx, id) {
			works = append(works, func(ctx workflow.Context) { i.postWebhook(ctx, id) })
		}
	}
	switch {
	case !p.Pending:
	case p.Method == message.InboundEmail:
		works = append(works, func(ctx workflow.Context) { i.mail(ctx, p.Position) })
	case p.Method == message.InboundMM4:
		works = append(works, func(ctx workflow.Context) { i.mm4(ctx, p.Position) })
	case p.Method == message.InboundSMPP && (p.Fallback || !i.alone || p.Position > message.FallbackPosition):
		works = append(works, func(ctx workflow.Context) { i.watch(ctx, p) })
	}
	if len(works) == 0 && !p.Fallback {
		return
	}
	i.count(1)
	workflow.Go(ctx, func(ctx workflow.Context) {
		i.see(ctx, p, works)
		i.count(-1)
	})
}

func (i *inbound) count(n int) {
	i.open += n
	i.state.Webhooks = i.open
	if i.state.Waiting = ""; i.open > 0 {
		i.state.Waiting = "its destinations"
	}
}

// see works on a destination to its end, and on its fall-back if that is needed.
func (i *inbound) see(ctx workflow.Context, p deliver.Planned, works []func(workflow.Context)) {
	working, stop := workflow.WithCancel(ctx)
	defer stop()
	open := len(works)
	for _, work := range works {
		workflow.Go(working, func(ctx workflow.Context) {
			work(ctx)
			open--
		})
	}
	done := func() bool { return open == 0 }
	if !p.After.IsZero() {
		_, _ = workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: p.After.Sub(workflow.Now(ctx)),
			TimerOptions: workflow.TimerOptions{Summary: "the fall-back's turn"}}, done)
	} else {
		_ = workflow.Await(ctx, done) // only a cancellation ends it early, and there is none
	}
	if p.Fallback {
		if to := i.fallBack(ctx, p.Position); to != nil {
			stop() // the record has given it up
			i.deliver(ctx, *to)
		}
	}
	_ = workflow.Await(ctx, done)
}

// fallBack gives a destination up for its fall-back, unless the message has arrived.
func (i *inbound) fallBack(ctx workflow.Context, position int) *deliver.Planned {
	var to *deliver.Planned
	if err := workflow.ExecuteLocalActivity(recordOptions(ctx, "take the fall-back if it has not arrived"), delivering.FallBack, i.input(position)).Get(ctx, &to); err != nil {
		workflow.GetLogger(ctx).Error("the fall-back cannot be taken", "error", err)
		return nil
	}
	return to
}

// tryWebhook makes the first try, and reports whether it was the last.
func (i *inbound) tryWebhook(ctx workflow.Context, id message.ID) bool {
	var done bool
	err := workflow.ExecuteLocalActivity(firstTryOptions(ctx), notifying.TryWebhook, notify.Input{DeliveryID: id}).Get(ctx, &done)
	return err == nil && done
}

// postWebhook makes the other tries. What they end with is in the record of the
// delivery; a failed one is listed there and can be replayed.
func (i *inbound) postWebhook(ctx workflow.Context, id message.ID) {
	if err := workflow.ExecuteActivity(retryOptions(ctx, i.in.AccountID), notifying.PostWebhook, notify.Input{DeliveryID: id}).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Info("webhook given up", "delivery", id.String(), "error", err)
	}
}

func (i *inbound) mail(ctx workflow.Context, position int) {
	err := workflow.ExecuteActivity(mailOptions(ctx, i.in.AccountID), delivering.SendMail, i.input(position)).Get(ctx, nil)
	if err == nil || ctx.Err() != nil { // canceled: the fall-back has it
		return
	}
	if err = workflow.ExecuteLocalActivity(recordOptions(ctx, "give the e-mail up"), delivering.GiveUpMail, i.input(position)).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Error("the e-mail's end cannot be recorded", "error", err)
	}
}

func (i *inbound) mm4(ctx workflow.Context, position int) {
	err := workflow.ExecuteActivity(mm4Options(ctx, i.in.AccountID), delivering.SendMM4, i.input(position)).Get(ctx, nil)
	if err == nil || ctx.Err() != nil { // canceled: the fall-back has it
		return
	}
	if err = workflow.ExecuteLocalActivity(recordOptions(ctx, "give the message up"), delivering.GiveUpMM4, i.input(position)).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Error("the end of a message over MM4 cannot be recorded", "error", err)
	}
}

// The pauses between looks at what an ESME has done: an ESME that is bound takes a
// message within a second, and one that is not may come back after days.
const (
	firstLook   = 2 * time.Second
	longestLook = time.Hour
	lookFactor  = 4
	// expiryLag is how much longer than its time a deliver_sm may stay pending: the
	// edge ends it when it next looks for work.
	expiryLag = 15 * time.Minute
)

// watch waits until an ESME has the message, or it is too late for it.
func (i *inbound) watch(ctx workflow.Context, p deliver.Planned) {
	end := p.Until.Add(expiryLag)
	for gap := firstLook; workflow.Now(ctx).Before(end); gap = min(gap*lookFactor, longestLook) {
		if err := workflow.NewTimerWithOptions(ctx, gap, workflow.TimerOptions{Summary: "look what the ESME has done"}).Get(ctx, nil); err != nil {
			return // the fall-back has it
		}
		var state message.InboundState
		err := workflow.ExecuteLocalActivity(recordOptions(ctx, "look what the ESME has done"), delivering.Progress, i.input(p.Position)).Get(ctx, &state)
		if err != nil || state != message.InboundPending {
			return
		}
	}
}

// settle writes what has become of the message, and tells the search index.
func (i *inbound) settle(ctx workflow.Context) (InboundResult, error) {
	i.state.Step = "settle"
	var status message.Status
	if err := workflow.ExecuteLocalActivity(recordOptions(ctx, "record the outcome"), delivering.SettleInbound, i.input(0)).Get(ctx, &status); err != nil {
		return InboundResult{}, err
	}
	i.state.Step, i.state.Status = string(status), status
	return InboundResult{Status: status}, workflow.UpsertTypedSearchAttributes(ctx, AttrOutcome.ValueSet(string(status)))
}
