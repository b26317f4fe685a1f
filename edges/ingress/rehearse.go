package ingress

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
)

// Estimator finds the moment at which a message could leave if it came now, without
// taking it.
type Estimator interface {
	Estimate(ctx context.Context, d pace.Demand) (pace.Slot, error)
}

// rehearse says what would become of a message: whether it would be sent, by which
// route, for how much, and when. It reads, and takes nothing.
func (in *Ingress) rehearse(ctx context.Context, s *snapshot.Snapshot, m *message.Message, d policy.Decision) (Outcome, error) {
	out := Outcome{Message: m, Trail: d.Trail, Hold: d.Hold(), Candidates: len(d.Candidates)}
	if d.Error != nil {
		return out, d.Error
	}
	out.Route = d.Candidates[0].Route
	if err := in.rehearseUsage(ctx, s, m, &out); err != nil {
		return out, err
	}
	err := in.rehearsePace(ctx, s, m, &out)
	return out, err
}

// rehearsePace asks when the message could leave, after whatever else it waits for.
func (in *Ingress) rehearsePace(ctx context.Context, s *snapshot.Snapshot, m *message.Message, out *Outcome) error {
	limits := policy.PaceLimits(s, m)
	if in.Pacer == nil || len(limits) == 0 || out.Hold != nil && out.Hold.Until.IsZero() {
		return nil
	}
	from := later(in.Now(), m.SendAt)
	if out.Hold != nil {
		from = later(from, out.Hold.Until)
	}
	slot, err := in.Pacer.Estimate(ctx, pace.Demand{Limits: limits, Parts: m.Segments, NotBefore: from, NotAfter: m.ExpiresAt})
	if message.ReasonOf(err) == message.ReasonDailyCapReached {
		why := message.AsError(err)
		out.Trail = policy.WithEntries(out.Trail, []message.TrailEntry{{Rule: policy.RuleDailyCap, Result: message.Refused, Detail: why.Detail}})
		return why
	}
	if err != nil {
		return err
	}
	out.Trail = policy.WithEntries(out.Trail, slot.Trail)
	if slot.At.After(from) {
		hold := slot.Hold
		out.Hold = &hold
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
