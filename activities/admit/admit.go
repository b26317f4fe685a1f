// Package admit decides with authority whether a message may go: the edge has
// asked the same policy, but the configuration may have changed while the
// message waited.
package admit

import (
	"context"
	"time"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
)

// Journal is what admission needs of the record.
type Journal interface {
	activities.Recorder
	activities.Reader
}

// Activities admits messages.
type Activities struct {
	Journal  Journal
	Snapshot func() *snapshot.Snapshot
	OptOuts  policy.OptOuts // nil: nobody has stopped anything
	Now      func() time.Time
}

// Input names the message.
type Input struct {
	MessageID message.ID `json:"message_id"`
	// Times are what the workflow goes by; zero: nothing.
	Times message.Times `json:"times,omitzero"`
	// Fresh: the message was revised. What is remembered of it will not do.
	Fresh bool `json:"fresh,omitempty"`
}

// Result says whether the message may go.
type Result struct {
	Allowed bool                 `json:"allowed"`
	Status  message.Status       `json:"status,omitempty"` // of the record, when not allowed
	Reason  message.Reason       `json:"reason,omitempty"`
	Trail   []message.TrailEntry `json:"trail,omitempty"`
	Notify  []message.ID         `json:"notify,omitempty"` // what the customer is to be told of a refusal
	// Revision is the one that the decision is about.
	Revision int `json:"revision,omitempty"`
	// Times are the record's, when they are not those of the input.
	Times *message.Times `json:"times,omitempty"`
	// Revised: nothing was decided. The message was revised while this step looked
	// at it, or its send time has been put off.
	Revised bool `json:"revised,omitempty"`
}

// Admit evaluates the policy. A refusal is recorded with its trail; an
// admission is recorded by the routing that follows, in the same write. Running
// it twice repeats a pure decision; a refusal that is already recorded is not
// recorded again. A message that is final already (withdrawn, expired) is not
// allowed and keeps its status.
//
// A refusal is written only of the revision that was read, and an admission says
// which one it is for, so that the steps behind it write nothing of another.
func (a *Activities) Admit(ctx context.Context, in Input) (Result, error) {
	read := a.Journal.Envelope
	if in.Fresh {
		read = a.Journal.Message
	}
	m, err := read(ctx, in.MessageID)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	if m.Status.Final() {
		pending, err := a.Journal.PendingNotifications(ctx, m.ID)
		return Result{Status: m.Status, Reason: reasonOf(m), Notify: pending}, activities.Fail(err)
	}
	now := a.Now()
	r := Result{Revision: m.Revision}
	if t := m.Times(); !in.Times.ExpiresAt.IsZero() && !t.Equal(in.Times) {
		r.Times = &t
		// The workflow has waited for the time that it knew. By that time alone: this
		// process's clock may be a little behind the one that the workflow goes by.
		if r.Revised = t.SendAt.After(in.Times.SendAt) && t.SendAt.After(now); r.Revised {
			return r, nil
		}
	}
	if !now.Before(m.ExpiresAt) {
		why := message.Refuse(message.ReasonExpired, "the validity ended before the message could be routed")
		return a.refuse(ctx, m, message.StatusExpired, why, nil, now)
	}
	d := policy.Evaluate(a.Snapshot(), policy.Question{Message: m, Now: now, OptOuts: a.OptOuts})
	if !d.Allowed() {
		return a.refuse(ctx, m, message.StatusRejected, d.Error, map[string]any{"trail": d.Trail}, now)
	}
	r.Allowed, r.Trail = true, d.Trail
	return r, nil
}

func reasonOf(m *message.Message) message.Reason {
	if m.Error == nil {
		return ""
	}
	return m.Error.Reason
}

func (a *Activities) refuse(ctx context.Context, m *message.Message, to message.Status, why *message.Error, detail map[string]any, now time.Time) (Result, error) {
	told, err := activities.Tell(ctx, a.Journal, a.Snapshot(), *m, message.Change{To: to, Error: why, Started: true, Revision: &m.Revision}, detail, now, false)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	if told.Revised {
		return Result{Revised: true}, nil
	}
	r := Result{Status: told.Status, Notify: told.Notify}
	if told.Status == to {
		r.Reason = why.Reason
	}
	return r, nil
}
