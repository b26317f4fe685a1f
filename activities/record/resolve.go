package record

import (
	"context"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
)

// Finding is what staff say of a message in doubt.
type Finding struct {
	As    message.Resolution `json:"as"`
	Actor string             `json:"actor"`
	Note  string             `json:"note"` // for the timeline as staff see it
}

// resolve moves a message out of doubt as staff say. ReasonConflict when it is not in
// doubt, receipts have decided it, or the finding cannot be true of it. The workflow is
// due to be told: it looks at the record, and goes on from what it finds.
func (a *Activities) resolve(ctx context.Context, in Input) (Result, error) {
	m, err := a.Journal.Message(ctx, in.MessageID)
	if err != nil {
		return Result{}, err
	}
	if m.Status != message.StatusInDoubt {
		return Result{}, message.Refuse(message.ReasonConflict, "the message is %s, and not in doubt", m.Status)
	}
	if m.Progress().Decided() {
		return Result{}, message.Refuse(message.ReasonConflict, "receipts have decided the message")
	}
	parts, err := a.Journal.Parts(ctx, m.ID, m.Segments)
	if err != nil {
		return Result{}, err
	}
	c, err := a.found(m, parts, in.Staff.As)
	if err != nil {
		return Result{}, err
	}
	c.While, c.Resettle = message.StatusInDoubt, true
	c.Events = []message.Event{{Type: message.EventStaffAction, Detail: map[string]any{
		"action": "resolve", "as": in.Staff.As, "actor": in.Staff.Actor, "note": in.Staff.Note}}}
	settlePrice(m, &c)
	told, err := activities.Tell(ctx, a.Journal, a.Snapshot(), *m, c, map[string]any{"resolved": in.Staff.As}, false)
	if err != nil {
		return Result{}, err
	}
	if !told.Changed {
		return Result{}, message.Refuse(message.ReasonConflict, "the message is %s by now", told.Status)
	}
	if a.Recorded != nil && c.To.Final() {
		a.Recorded(m, c.To, c.Error.Reason)
	}
	return Result{Status: c.To, Reason: reasonOf(c.Error), Changed: true, Notify: told.Notify}, nil
}

// found is what a finding makes of a message and of its parts in doubt.
func (a *Activities) found(m *message.Message, parts []message.Part, as message.Resolution) (message.Change, error) {
	c := message.Change{MessageID: m.ID}
	state, reason := message.PartRefused, message.ReasonVendorUnreachable
	taken := 0
	for _, p := range parts {
		switch p.State {
		case message.PartSending:
			return c, message.Refuse(message.ReasonConflict, "part %d is on its way to a vendor now; wait until that has answered", p.Number)
		case message.PartSubmitted, message.PartDelivered, message.PartUndelivered, message.PartExpired:
			taken++
		case message.PartInDoubt:
			c.Answers = append(c.Answers, message.Answer{Part: p.Number, Attempt: p.Attempt})
		default:
			if as == message.ResolvedSent {
				return c, message.Refuse(message.ReasonConflict, "no vendor has part %d: the message is not sent", p.Number)
			}
		}
	}
	switch as {
	case message.ResolvedSent:
		c.To, c.Submitted = message.StatusSent, true
		state, reason = message.PartSubmitted, ""
	case message.ResolvedNotSent:
		detail := "the vendor did not take the message, as was found out later"
		if taken > 0 {
			detail = "the vendor took some parts and not the others, as was found out later"
		}
		c.To, c.Error = message.StatusFailed, message.Refuse(reason, "%s", detail)
	case message.ResolvedSendAgain:
		if !m.ExpiresAt.After(a.Now()) {
			return c, message.Refuse(message.ReasonConflict, "the validity of the message has ended: it cannot be sent again")
		}
		c.To, c.MaybeDoubled = message.StatusQueued, true
	default:
		return c, message.Refuse(message.ReasonInvalidRequest, "a message in doubt is sent, not_sent or to send_again")
	}
	for i := range c.Answers {
		c.Answers[i].State, c.Answers[i].Reason = state, reason
	}
	return c, nil
}
