package route

import (
	"context"
	"errors"
	"slices"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
)

// Reviser writes a message that has become another. *postgres.DB is one.
type Reviser interface {
	// Revise writes it; false: it has moved on. A *message.Error says that it does not
	// fit into the account's limits or balance.
	Revise(ctx context.Context, r message.Revision) (bool, error)
	// MessageMedia lists the files of a message.
	MessageMedia(ctx context.Context, id message.ID, profile string) ([]message.Media, error)
}

// FallBackInput names an MMS that no vendor has, and why.
type FallBackInput struct {
	MessageID message.ID     `json:"message_id"`
	Revision  int            `json:"revision,omitempty"`
	Reason    message.Reason `json:"reason"`
}

// FallBackToText makes an MMS that all vendors have refused the SMS that its account wants sent
// instead, and reports whether it is one now. What may keep it from that is an answer:
// false, and nothing was written. Running it twice finds it done.
func (a *Activities) FallBackToText(ctx context.Context, in FallBackInput) (bool, error) {
	m, err := a.Journal.Message(ctx, in.MessageID)
	switch {
	case err != nil:
		return false, activities.Fail(err)
	case m.Requested == message.MMS:
		return !m.Status.Final(), nil
	case a.Reviser == nil, m.Revision != in.Revision, m.Status != message.StatusQueued:
		return false, nil
	}
	if m.Media, err = a.Reviser.MessageMedia(ctx, m.ID, ""); err != nil {
		return false, activities.Fail(err)
	}
	s := a.Snapshot()
	t := policy.AsText(s, m, a.MediaURL)
	if t == nil {
		return false, nil
	}
	list := policy.Candidates(s, t, policy.Ways{Now: a.Now(), Health: a.Health})
	if len(list) == 0 {
		return false, nil
	}
	t.Price.Amount = list[0].Rate * message.Micros(t.Segments)
	detail := map[string]any{"requested_type": message.MMS, "segments": t.Segments, "code": in.Reason, "files": len(m.Media)}
	done, err := a.Reviser.Revise(ctx, message.Revision{Message: t, FellBack: true, Detail: detail})
	var unfit *message.Error
	if errors.As(err, &unfit) && slices.Contains([]message.Reason{message.ReasonQuotaExceeded, message.ReasonInsufficientBalance}, unfit.Reason) {
		return false, nil
	}
	return done, activities.Fail(err)
}
