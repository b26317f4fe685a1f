// Package route chooses the vendors that a message is offered to, in order.
package route

import (
	"context"
	"time"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
)

// Journal is what routing needs of the record.
type Journal interface {
	activities.Recorder
	activities.Reader
}

// Links tells what this process's own links could take now.
type Links interface {
	// Room is how many parts the vendor's links in this process would take
	// without waiting; 0 without a live bind.
	Room(vendor message.ID) int
}

// Activities routes messages.
type Activities struct {
	Journal  Journal
	Links    Links
	Snapshot func() *snapshot.Snapshot
	Now      func() time.Time
}

// Input names the message and what admission said of it.
type Input struct {
	MessageID message.ID           `json:"message_id"`
	Trail     []message.TrailEntry `json:"trail,omitempty"`
	// Record: write the queueing whatever comes next. Else it is left to the
	// submit when that runs here.
	Record bool `json:"record,omitempty"`
	// Hold is what it must wait for before it is submitted; nil: nothing.
	Hold *message.Hold `json:"hold,omitempty"`
	// Revision is the one that was admitted.
	Revision int `json:"revision,omitempty"`
}

// Candidate is one vendor to offer the message to.
type Candidate struct {
	VendorID message.ID `json:"vendor_id"`
	Name     string     `json:"name"`
	// Here: this process holds a live bind with room, so that the submit may
	// run inside the workflow task instead of travelling over the vendor's
	// queue.
	Here  bool          `json:"here,omitempty"`
	Grace time.Duration `json:"grace"` // how long after the validity its receipts are waited for
}

// Result is the candidates in order, or the status the message ended with.
type Result struct {
	Candidates []Candidate `json:"candidates,omitempty"`
	// Unrecorded: the record does not show the queueing yet; the submit writes it
	// with its own first step.
	Unrecorded bool           `json:"unrecorded,omitempty"`
	Status     message.Status `json:"status,omitempty"`
	Reason     message.Reason `json:"reason,omitempty"`
	Notify     []message.ID   `json:"notify,omitempty"`
	// Revised: the message is no longer the one that was admitted. Nothing was
	// written.
	Revised bool `json:"revised,omitempty"`
}

// ChooseRoute lists the candidates and records the admission and the queueing
// in one write, unless the submit that follows at once can do so. Running it
// twice finds the record written and repeats a pure choice.
func (a *Activities) ChooseRoute(ctx context.Context, in Input) (Result, error) {
	m, current, err := activities.Revision(ctx, a.Journal, in.MessageID, in.Revision)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	if !current {
		return Result{Revised: true}, nil
	}
	candidates := policy.Candidates(a.Snapshot(), m)
	if len(candidates) == 0 {
		return a.noRoute(ctx, m)
	}
	var r Result
	for _, c := range candidates {
		r.Candidates = append(r.Candidates, Candidate{VendorID: c.Vendor.ID, Name: c.Vendor.Name,
			Here: a.Links.Room(c.Vendor.ID) >= m.Segments, Grace: graceOf(c.Vendor)})
	}
	if r.Candidates[0].Here && !in.Record && in.Hold == nil {
		r.Unrecorded = true
		return r, nil
	}
	// Via: on the way forward only. A submit that has begun is not called back.
	c := activities.Queued(message.Change{MessageID: m.ID, Via: message.StatusQueued, To: message.StatusQueued, Revision: &in.Revision}, in.Trail, len(candidates), in.Hold)
	c.Vendor = message.VendorRef{ID: candidates[0].Vendor.ID, Name: candidates[0].Vendor.Name}
	adv, err := a.Journal.Advance(ctx, c)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	if adv.Revised {
		return Result{Revised: true}, nil
	}
	if !adv.Changed && adv.Was.Final() {
		pending, err := a.Journal.PendingNotifications(ctx, m.ID)
		return Result{Status: adv.Was, Notify: pending}, activities.Fail(err)
	}
	return r, nil
}

func graceOf(v *snapshot.Vendor) time.Duration {
	if v.ReceiptGrace > 0 {
		return v.ReceiptGrace
	}
	return message.ReceiptGrace
}

func (a *Activities) noRoute(ctx context.Context, m *message.Message) (Result, error) {
	why := policy.NoCandidate(a.Snapshot(), m)
	told, err := activities.Tell(ctx, a.Journal, a.Snapshot(), *m,
		message.Change{To: message.StatusRejected, Error: why, Started: true, Revision: &m.Revision}, nil, a.Now(), false)
	if told.Revised {
		return Result{Revised: true}, nil
	}
	return Result{Status: told.Status, Reason: why.Reason, Notify: told.Notify}, activities.Fail(err)
}
