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
	// Envelope is the message as it was accepted; its status may be out of date.
	Envelope(ctx context.Context, id message.ID) (*message.Message, error)
}

// Activities admits messages.
type Activities struct {
	Journal  Journal
	Snapshot func() *snapshot.Snapshot
	Now      func() time.Time
}

// Input names the message.
type Input struct {
	MessageID message.ID `json:"message_id"`
}

// Result says whether the message may go.
type Result struct {
	Allowed bool                 `json:"allowed"`
	Status  message.Status       `json:"status,omitempty"` // of the record, when not allowed
	Reason  message.Reason       `json:"reason,omitempty"`
	Trail   []message.TrailEntry `json:"trail,omitempty"`
	Notify  []message.ID         `json:"notify,omitempty"` // what the customer is to be told of a refusal
}

// Admit evaluates the policy. A refusal is recorded with its trail; an
// admission is recorded by the routing that follows, in the same write. Running
// it twice repeats a pure decision; a refusal that is already recorded is not
// recorded again. A message that is final already (withdrawn, expired) is not
// allowed and keeps its status.
func (a *Activities) Admit(ctx context.Context, in Input) (Result, error) {
	m, err := a.Journal.Envelope(ctx, in.MessageID)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	if m.Status.Final() {
		pending, err := a.Journal.PendingNotifications(ctx, m.ID)
		return Result{Status: m.Status, Reason: reasonOf(m), Notify: pending}, activities.Fail(err)
	}
	now := a.Now()
	if !now.Before(m.ExpiresAt) {
		why := message.Refuse(message.ReasonExpired, "the validity ended before the message could be routed")
		return a.refuse(ctx, m, message.StatusExpired, why, nil, now)
	}
	d := policy.Evaluate(a.Snapshot(), m, nil)
	if !d.Allowed() {
		return a.refuse(ctx, m, message.StatusRejected, d.Error, map[string]any{"trail": d.Trail}, now)
	}
	return Result{Allowed: true, Trail: d.Trail}, nil
}

func reasonOf(m *message.Message) message.Reason {
	if m.Error == nil {
		return ""
	}
	return m.Error.Reason
}

func (a *Activities) refuse(ctx context.Context, m *message.Message, to message.Status, why *message.Error, detail map[string]any, now time.Time) (Result, error) {
	told, err := activities.Tell(ctx, a.Journal, a.Snapshot(), *m, message.Change{To: to, Error: why, Started: true}, detail, now, false)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	r := Result{Status: told.Status, Notify: told.Notify}
	if told.Status == to {
		r.Reason = why.Reason
	}
	return r, nil
}
