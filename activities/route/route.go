// Package route chooses the vendors that a message is offered to, in order.
package route

import (
	"context"
	"slices"
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
	// LastVendor is the vendor that has sent the newest message of a conversation; zero
	// when none is known.
	LastVendor(ctx context.Context, account message.ID, from, to message.Address) (message.ID, error)
	// RouteOverride is the vendor that staff have named for a message; zero when they
	// have not.
	RouteOverride(ctx context.Context, id message.ID) (message.ID, error)
}

// Links tells what this process's own links could take now.
type Links interface {
	// Room is how many parts of the class the vendor's links in this process would
	// take without waiting; 0 without a live bind.
	Room(vendor message.ID, class message.Class) int
}

// Activities routes messages.
type Activities struct {
	Journal  Journal
	Links    Links
	Snapshot func() *snapshot.Snapshot
	// Health judges a vendor; nil: all are healthy.
	Health func(vendor message.ID) message.VendorHealth
	Now    func() time.Time
	// Reviser and MediaURL let an MMS go as a text with links; nil: none does.
	Reviser  Reviser
	MediaURL func(f message.MediaFile) string
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
	// Waited: it was routed before, and has waited since for what held it.
	Waited bool `json:"waited,omitempty"`
	// Again: it was routed before, and what came of that is no good any more: all
	// candidates were asked in vain, or staff have named another vendor.
	Again bool `json:"again,omitempty"`
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
	// SubmitTime is how long one submit may take; 0: as long as most.
	SubmitTime time.Duration `json:"submit_time,omitempty"`
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
	// Why the first candidate is the first when the routes alone would have put another
	// one there; else empty.
	Why string `json:"why,omitempty"`
	// ResendAfter is how long after it was sent the message may be without a final
	// receipt before it goes to the next candidate as well; 0: for ever.
	ResendAfter time.Duration `json:"resend_after,omitempty"`
}

// ChooseRoute lists the candidates and records the admission and the queueing
// in one write, unless the submit that follows at once can do so. Running it
// twice finds the record written and repeats a pure choice.
//
// Asked again, of a message that is queued, it lists the candidates as they are now,
// and notes in the timeline when the first of them is not the vendor that the record
// shows. No candidates and no status then say that nobody can take it as things are:
// it waits, for a route that was taken away may come back.
func (a *Activities) ChooseRoute(ctx context.Context, in Input) (Result, error) {
	m, current, err := a.read(ctx, in)
	if err != nil {
		return Result{}, activities.Fail(err)
	}
	if !current {
		return Result{Revised: true}, nil
	}
	again := in.Again && !m.Status.Revisable()
	if again && m.Status.Final() {
		pending, err := a.Journal.PendingNotifications(ctx, m.ID)
		return Result{Status: m.Status, Notify: pending}, activities.Fail(err)
	}
	s := a.Snapshot()
	ways, candidates, err := a.candidates(ctx, s, m, in)
	switch {
	case err != nil:
		return Result{}, activities.Fail(err)
	case len(candidates) == 0 && again:
		return Result{}, nil
	case len(candidates) == 0:
		return a.noRoute(ctx, s, m, ways)
	}
	r := a.result(s, m, candidates)
	if again {
		return r, activities.Fail(a.noteChange(ctx, m, r))
	}
	if r.Candidates[0].Here && !in.Record && !in.Again && in.Hold == nil {
		r.Unrecorded = true
		return r, nil
	}
	return a.note(ctx, m, in, r)
}

// read reads the message as it was admitted. One that is routed again is read from the
// record: memory does not know how far it has come.
func (a *Activities) read(ctx context.Context, in Input) (m *message.Message, current bool, err error) {
	if !in.Again {
		return activities.Revision(ctx, a.Journal, in.MessageID, in.Revision)
	}
	if m, err = a.Journal.Message(ctx, in.MessageID); err != nil {
		return nil, false, err
	}
	return m, m.Revision == in.Revision || !m.Status.Revisable(), nil
}

// candidates asks the policy, and the record for what the policy needs of it. The
// vendor that staff have named is not looked for where there can be none, which is
// nearly always: who names one before the message was routed raises its revision.
func (a *Activities) candidates(ctx context.Context, s *snapshot.Snapshot, m *message.Message, in Input) (policy.Ways, []policy.Candidate, error) {
	w := policy.Ways{Now: a.Now(), Health: a.Health}
	var err error
	if in.Again || in.Waited || m.Revision > 0 {
		if w.Override, err = a.Journal.RouteOverride(ctx, m.ID); err != nil {
			return w, nil, err
		}
	}
	if in.Hold != nil && in.Hold.Until.After(w.Now) {
		w.Now = in.Hold.Until
	}
	list := policy.Candidates(s, m, w)
	if len(list) < 2 || !slices.ContainsFunc(list, func(c policy.Candidate) bool { return c.Sticky }) {
		return w, list, nil
	}
	if w.Last, err = a.Journal.LastVendor(ctx, m.AccountID, m.From, m.To); err != nil || w.Last == (message.ID{}) {
		return w, list, err
	}
	return w, policy.Candidates(s, m, w), nil
}

// result says what the workflow needs to know of the candidates.
func (a *Activities) result(s *snapshot.Snapshot, m *message.Message, candidates []policy.Candidate) Result {
	r := Result{Why: string(candidates[0].Why)}
	for _, c := range candidates {
		submitTime := policy.SubmitTime(c.Vendor)
		r.Candidates = append(r.Candidates, Candidate{VendorID: c.Vendor.ID, Name: c.Vendor.Name,
			// The files of an MMS are made ready first, which takes its time, and a task does
			// not wait for an answer that takes minutes.
			Here: m.Kind != message.MMS && a.Links.Room(c.Vendor.ID, m.Class) >= m.Segments && submitTime == 0, Grace: graceOf(c.Vendor), SubmitTime: submitTime})
	}
	if account := s.Accounts[m.AccountID]; account != nil && m.Class == message.ClassOTP && m.Delivery == message.AtLeastOnce {
		r.ResendAfter = account.ResendAfter
	}
	return r
}

// note records the admission and the queueing.
func (a *Activities) note(ctx context.Context, m *message.Message, in Input, r Result) (Result, error) {
	// Via: on the way forward only. A submit that has begun is not called back.
	c := activities.Queued(message.Change{MessageID: m.ID, Via: message.StatusQueued, To: message.StatusQueued, Revision: &in.Revision}, in.Trail, len(r.Candidates), in.Hold)
	c.Vendor = message.VendorRef{ID: r.Candidates[0].VendorID, Name: r.Candidates[0].Name}
	activities.Chosen(c, c.Vendor.Name, r.Why)
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

// noteChange notes that a queued message goes to another vendor than the record shows.
func (a *Activities) noteChange(ctx context.Context, m *message.Message, r Result) error {
	first := message.VendorRef{ID: r.Candidates[0].VendorID, Name: r.Candidates[0].Name}
	if first.ID == m.VendorID {
		return nil
	}
	line := message.Event{Type: message.StatusEvent(message.StatusQueued), Detail: map[string]any{"candidates": len(r.Candidates), "rerouted": true, "was": m.Vendor}}
	c := message.Change{MessageID: m.ID, While: message.StatusQueued, Vendor: first, Events: []message.Event{line}}
	activities.Chosen(c, first.Name, r.Why)
	_, err := a.Journal.Advance(ctx, c)
	return err
}

func graceOf(v *snapshot.Vendor) time.Duration {
	if v.ReceiptGrace > 0 {
		return v.ReceiptGrace
	}
	return message.ReceiptGrace
}

func (a *Activities) noRoute(ctx context.Context, s *snapshot.Snapshot, m *message.Message, w policy.Ways) (Result, error) {
	why := policy.NoCandidate(s, m, w)
	told, err := activities.Tell(ctx, a.Journal, s, *m,
		message.Change{To: message.StatusRejected, Error: why, Started: true, Revision: &m.Revision}, nil, false)
	if told.Revised {
		return Result{Revised: true}, nil
	}
	return Result{Status: told.Status, Reason: why.Reason, Notify: told.Notify}, activities.Fail(err)
}
