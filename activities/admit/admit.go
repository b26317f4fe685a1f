// Package admit decides with authority whether a message may go: the edge has
// asked the same policy, but the configuration may have changed while the
// message waited.
package admit

import (
	"context"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
)

// Journal is what admission needs of the record.
type Journal interface {
	activities.Recorder
	activities.Reader
	activities.Reviews
}

// Activities admits messages.
type Activities struct {
	Journal Journal
	Gate    activities.Gate
	// Route chooses the route of a message that was admitted, for who asks for both;
	// nil: it is left to the caller.
	Route func(ctx context.Context, in route.Input) (route.Result, error)
}

// Input names the message.
type Input struct {
	MessageID message.ID `json:"message_id"`
	// Times are what the workflow goes by; zero: nothing.
	Times message.Times `json:"times,omitzero"`
	// Fresh: the message was revised. What is remembered of it will not do.
	Fresh bool `json:"fresh,omitempty"`
	// Held is what an admitted message has waited for; nil: it has not.
	Held *message.Hold `json:"held,omitempty"`
	// Slot is the moment that it was given to leave in; nil: none.
	Slot *pace.Slot `json:"slot,omitempty"`
	// CapReached: a vendor has just said that the day's cap is reached.
	CapReached bool `json:"cap_reached,omitempty"`
	// Departed: some of it has left, or may have. The rest is not refused any more
	// here; the submit asks once more if nothing has left after all.
	Departed bool `json:"departed,omitempty"`
	// Route: choose the route as well, of a message that may go.
	Route bool `json:"route,omitempty"`
}

// Result says whether the message may go.
type Result struct {
	Allowed bool                 `json:"allowed"`
	Status  message.Status       `json:"status,omitempty"` // of the record, when not allowed
	Reason  message.Reason       `json:"reason,omitempty"`
	Trail   []message.TrailEntry `json:"trail,omitempty"`
	Notify  []message.ID         `json:"notify,omitempty"` // what the customer is to be told of a refusal
	// Hold is what an allowed message must wait for before it leaves; Slot the moment
	// that it has to leave in, allowed or not, which is to be released unless it is
	// used.
	Hold *message.Hold `json:"hold,omitempty"`
	Slot *pace.Slot    `json:"slot,omitempty"`
	// Revision is the one that the decision is about.
	Revision int `json:"revision,omitempty"`
	// Times are the record's, when they are not those of the input.
	Times *message.Times `json:"times,omitempty"`
	// Revised: nothing was decided. The message was revised while this step looked
	// at it, or its send time has been put off.
	Revised bool `json:"revised,omitempty"`
	// Route is the route of a message that may go, if it was asked for and could be
	// chosen; nil: the caller chooses it.
	Route *route.Result `json:"route,omitempty"`
}

// Admit decides and, if it is asked to, chooses the route: two steps that each message
// takes, at the price of one in its history. The route's failure is no failure of the
// admission; who finds no route chosen chooses it.
func (a *Activities) Admit(ctx context.Context, in Input) (Result, error) {
	r, err := a.decide(ctx, in)
	if err != nil || !in.Route || a.Route == nil || !r.Allowed || r.Revised {
		return r, err
	}
	chosen, err := a.Route(ctx, route.Input{MessageID: in.MessageID, Revision: r.Revision, Trail: r.Trail, Hold: r.Hold})
	if err == nil {
		r.Route = &chosen
	}
	return r, nil
}

// decide evaluates the policy. A refusal is recorded with its trail; an
// admission is recorded by the routing that follows, in the same write. Running
// it twice repeats a pure decision; a refusal that is already recorded is not
// recorded again. A message that is final already (withdrawn, expired) is not
// allowed and keeps its status.
//
// A refusal is written only of the revision that was read, and an admission says
// which one it is for, so that the steps behind it write nothing of another.
//
// A message that has waited (Held) is admitted anew, by the rules of now. Should it
// have to wait for something else, that is recorded here. A try of this step whose
// result was lost has wasted the moment that the pacer gave it.
func (a *Activities) decide(ctx context.Context, in Input) (Result, error) {
	read := a.Journal.Envelope
	if in.Fresh || in.Held != nil {
		read = a.Journal.Message
	}
	m, err := read(ctx, in.MessageID)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	if m.Status.Final() {
		pending, err := a.Journal.PendingNotifications(ctx, m.ID)
		return Result{Status: m.Status, Reason: reasonOf(m), Notify: pending, Slot: in.Slot}, activities.Fail(err)
	}
	now := a.Gate.Now()
	r := Result{Revision: m.Revision, Slot: in.Slot}
	if t := m.Times(); !in.Times.ExpiresAt.IsZero() && !t.Equal(in.Times) {
		r.Times = &t
		// The workflow has waited for the time that it knew. By that time alone: this
		// process's clock may be a little behind the one that the workflow goes by.
		if r.Revised = t.SendAt.After(in.Times.SendAt) && t.SendAt.After(now); r.Revised {
			return r, nil
		}
	}
	if !now.Before(m.ExpiresAt) {
		return a.refuse(ctx, m, message.StatusExpired, tooLate(in.Held), nil, in.Slot)
	}
	p, err := a.Gate.Pass(ctx, m, activities.Asked{Reviewed: in.Held != nil, Slot: in.Slot, CapReached: in.CapReached, Departed: in.Departed})
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	r.Slot = p.Slot
	if p.Error != nil {
		to := message.StatusRejected
		if p.Error.Reason == message.ReasonDailyCapReached { // it would have waited too long
			to = message.StatusExpired
		}
		return a.refuse(ctx, m, to, p.Error, map[string]any{"trail": p.Trail}, p.Slot)
	}
	r.Allowed, r.Trail, r.Hold = true, p.Trail, p.Hold
	return a.hold(ctx, m, in, r)
}

// hold records what a queued message waits for now, if that is something else, or
// that it waits no more: between here and its vendor may lie hours, in which nobody
// is to review it or to wake it.
func (a *Activities) hold(ctx context.Context, m *message.Message, in Input, r Result) (Result, error) {
	if in.Held == nil || r.Hold != nil && *in.Held == *r.Hold {
		return r, nil
	}
	c := message.Change{MessageID: m.ID, Unheld: true}
	if r.Hold != nil {
		c = activities.Held(m.ID, *r.Hold)
	}
	_, err := a.Journal.Advance(ctx, c)
	return r, activities.Fail(err)
}

// Release gives back the moment of a message that did not leave.
func (a *Activities) Release(ctx context.Context, slot pace.Slot) error {
	if a.Gate.Pacer == nil {
		return nil
	}
	return activities.Fail(a.Gate.Pacer.Release(ctx, slot))
}

func tooLate(held *message.Hold) *message.Error {
	if held == nil {
		return message.Refuse(message.ReasonExpired, "the validity ended before the message could be routed")
	}
	return message.Refuse(message.ReasonExpired, "the validity ended while the message waited (%s): %s", held.Rule, held.Detail)
}

func reasonOf(m *message.Message) message.Reason {
	if m.Error == nil {
		return ""
	}
	return m.Error.Reason
}

func (a *Activities) refuse(ctx context.Context, m *message.Message, to message.Status, why *message.Error, detail map[string]any, slot *pace.Slot) (Result, error) {
	told, err := activities.Tell(ctx, a.Journal, a.Gate.Snapshot(), *m, message.Change{To: to, Error: why, Started: true, Revision: &m.Revision}, detail, false)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	if told.Revised {
		return Result{Revised: true, Slot: slot}, nil
	}
	r := Result{Status: told.Status, Notify: told.Notify, Slot: slot}
	if told.Status == to {
		r.Reason = why.Reason
	}
	if told.Changed {
		a.Gate.TellRefused(m, to, why.Reason)
	}
	return r, nil
}
