package activities

import (
	"context"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
)

// Pacer gives out the moments at which messages of a campaign may leave.
type Pacer interface {
	// Reserve finds the earliest one; ReasonDailyCapReached when there is none.
	Reserve(ctx context.Context, d pace.Demand) (pace.Slot, error)
	// Release gives back what was not used.
	Release(ctx context.Context, s pace.Slot) error
	// CloseDay notes that a vendor has said that the day's cap is reached.
	CloseDay(ctx context.Context, limits []pace.Limit) error
}

// Reviews reads what people said of messages that waited for them.
type Reviews interface {
	ReviewOf(ctx context.Context, id message.ID) (message.Review, error)
}

// Gate asks the policy and the pacer whether a message may go, and when: at its
// admission, and again right before it leaves.
type Gate struct {
	Snapshot func() *snapshot.Snapshot
	OptOuts  policy.OptOuts // nil: nobody has stopped anything
	Pacer    Pacer          // nil: nothing is paced
	Reviews  Reviews
	Now      func() time.Time
	// Refused is told of each message that was refused, or has expired, at the gate;
	// nil: nobody is.
	Refused func(m *message.Message, status message.Status, reason message.Reason)
}

// TellRefused tells of a refusal that was written.
func (g Gate) TellRefused(m *message.Message, status message.Status, reason message.Reason) {
	if g.Refused != nil {
		g.Refused(m, status, reason)
	}
}

// Passage is what the gate says of a message: it is refused, must wait, or may go.
type Passage struct {
	Error *message.Error // nil: it may go, if not now
	Trail []message.TrailEntry
	Hold  *message.Hold // nil: it may go now
	Slot  *pace.Slot    // that it has now; nil: none
}

// Asked says how the gate is asked.
type Asked struct {
	// Again: the message was admitted before, and only what may have changed since
	// is looked at.
	Again bool
	// Reviewed: somebody may have looked at it meanwhile.
	Reviewed bool
	// Slot is the one that the message has; nil: none. It is kept while it is good,
	// and another taken in its stead when it is not.
	Slot *pace.Slot
	// Departed: some of it has left, and the rest goes on whatever the policy says by
	// now. Only the pacer is asked.
	Departed bool
	// CapReached: a vendor has just said that the day's cap is reached.
	CapReached bool
}

// Pass decides. What the pacer gives is taken at once: asking again without the
// slot of the first time wastes it, which is never too much sent. A slot that is
// not used in the end is to be released by whoever has it then.
func (g Gate) Pass(ctx context.Context, m *message.Message, asked Asked) (Passage, error) {
	s, p := g.Snapshot(), Passage{Slot: asked.Slot}
	if !asked.Departed {
		if err := g.ask(ctx, s, m, asked, &p); err != nil {
			return Passage{}, err
		}
	}
	if p.Error != nil || p.Hold != nil || g.Pacer == nil {
		return p, nil
	}
	err := g.pace(ctx, policy.PaceLimits(s, m), m, asked, &p)
	return p, err
}

// CapReached notes that a vendor has said of a message, after it had taken it, that
// the day's cap is reached: others of the brand need not go the same way. What is
// said of a message of yesterday says nothing of today.
func (g Gate) CapReached(ctx context.Context, m *message.Message) error {
	limits := policy.PaceLimits(g.Snapshot(), m)
	if g.Pacer == nil || len(limits) == 0 || pace.DayOf(m.SubmittedAt) != pace.DayOf(g.Now()) {
		return nil
	}
	return g.Pacer.CloseDay(ctx, limits)
}

// ask notes what the policy says.
func (g Gate) ask(ctx context.Context, s *snapshot.Snapshot, m *message.Message, asked Asked, p *Passage) error {
	q := policy.Question{Message: m, Now: g.Now(), OptOuts: g.OptOuts}
	if asked.Reviewed && g.Reviews != nil {
		var err error
		if q.Review, err = g.Reviews.ReviewOf(ctx, m.ID); err != nil {
			return err
		}
	}
	ask := policy.Evaluate
	if asked.Again {
		ask = policy.Gate
	}
	d := ask(s, q)
	p.Error, p.Trail, p.Hold = d.Error, d.Trail, d.Hold()
	return nil
}

// pace finds the moment at which an admitted message may leave.
func (g Gate) pace(ctx context.Context, limits []pace.Limit, m *message.Message, asked Asked, p *Passage) error {
	now, old := g.Now(), asked.Slot
	switch {
	case asked.CapReached && !slices.ContainsFunc(limits, func(l pace.Limit) bool { return l.Window == pace.PacificDay }):
		p.tomorrow(now, m)
		return nil
	case len(limits) == 0:
		return nil
	case asked.CapReached:
		if err := g.Pacer.CloseDay(ctx, limits); err != nil {
			return err
		}
	case old != nil && old.Parts == m.Segments && covers(old.Limits, limits) && now.Before(old.At.Add(pace.Grace)):
		p.take(*old, now)
		return nil
	}
	slot, err := g.Pacer.Reserve(ctx, pace.Demand{Limits: limits, Parts: m.Segments, NotBefore: now, NotAfter: m.ExpiresAt, Instead: old})
	if message.ReasonOf(err) == message.ReasonDailyCapReached {
		p.refuse(policy.RuleDailyCap, message.AsError(err), slot.Trail...)
		return nil
	}
	if err != nil {
		return err
	}
	p.take(slot, now)
	return nil
}

// covers reports whether a moment that was found under some limits is good under
// those of now: each of them was among the old ones, and was no higher. By what name
// it goes does not matter: who lost his place for that would go behind all others.
func covers(old, now []pace.Limit) bool {
	return !slices.ContainsFunc(now, func(l pace.Limit) bool {
		return !slices.ContainsFunc(old, func(o pace.Limit) bool {
			return o.Key == l.Key && o.Window == l.Window && (l.Parts <= 0 || o.Parts > 0 && o.Parts <= l.Parts)
		})
	})
}

// tomorrow lets a message whose brand has no cap that we know of wait for the day
// after that on which the vendor has one.
func (p *Passage) tomorrow(now time.Time, m *message.Message) {
	at := pace.NextDay(now)
	if !at.Before(m.ExpiresAt) {
		p.refuse(policy.RuleDailyCap, message.Refuse(message.ReasonDailyCapReached, "the vendor says that the day's cap is reached, and the validity ends before the next day"))
		return
	}
	p.Hold = &message.Hold{Rule: policy.RuleDailyCap, Until: at, Detail: "the vendor says that the day's cap is reached; it begins anew at midnight in US Pacific time"}
	p.Trail = policy.WithEntries(p.Trail, []message.TrailEntry{{Rule: policy.RuleDailyCap, Result: message.Holding, Detail: p.Hold.Detail}})
}

// refuse notes why the message may not go. trail is what the pacer says of it; it
// knows which of its rules it was. None: it was the named one.
func (p *Passage) refuse(rule string, why *message.Error, trail ...message.TrailEntry) {
	p.Error = why
	if len(trail) == 0 {
		trail = []message.TrailEntry{{Rule: rule, Result: message.Refused, Detail: why.Detail}}
	}
	p.Trail = policy.WithEntries(p.Trail, trail)
}

// take notes the slot, and that the message must wait for it if it is not yet
// there.
func (p *Passage) take(slot pace.Slot, now time.Time) {
	p.Slot = &slot
	p.Trail = policy.WithEntries(p.Trail, slot.Trail)
	if slot.At.After(now) {
		hold := slot.Hold
		if hold.Until.IsZero() { // it need not wait by the clock of who asked, who was ahead of this one
			hold = message.Hold{Rule: policy.RuleRate, Until: slot.At, Detail: "its moment has not come by the clock of this process"}
		}
		p.Hold = &hold
	}
}
