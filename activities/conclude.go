package activities

import (
	"context"
	"maps"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/snapshot"
)

// Recorder writes what became of a message.
type Recorder interface {
	Advance(ctx context.Context, c message.Change) (message.Advanced, error)
	PendingNotifications(ctx context.Context, about message.ID) ([]message.ID, error)
}

// Teller makes the first try of each delivery and gives those that need more, in
// their order. It does not fail: what it could not try needs more.
type Teller func(ctx context.Context, deliveries []message.ID) []message.ID

// Tell makes the first tries, if there is somebody to make them, and reports whether
// that was so.
func (t Teller) Tell(ctx context.Context, deliveries []message.ID) (left []message.ID, tried bool) {
	if t == nil || len(deliveries) == 0 {
		return deliveries, t != nil
	}
	return t(ctx, deliveries), true
}

// Queued adds to a change that the message was admitted, with the rules that
// decided it, and queued for one of so many candidates; hold is what it must wait
// for first, nil for nothing.
func Queued(c message.Change, trail []message.TrailEntry, candidates int, hold *message.Hold) message.Change {
	c.Started, c.Hold = true, hold
	queued := map[string]any{"candidates": candidates}
	if hold != nil {
		queued["hold"] = hold
	}
	c.Events = append(c.Events,
		message.Event{Type: message.EventAdmitted, Detail: map[string]any{"trail": trail}},
		message.Event{Type: message.StatusEvent(message.StatusQueued), Detail: queued})
	return c
}

// Chosen adds to the line of the queueing, which is the last of a change, the vendor
// that was chosen, and why when the routes alone would have put another one first.
// Only staff see it.
func Chosen(c message.Change, vendor, why string) {
	line := c.Events[len(c.Events)-1].Detail
	line["vendor"] = vendor
	if why != "" {
		line["why"] = why
	}
}

// Held is the change that makes a queued message wait for something else.
func Held(id message.ID, hold message.Hold) message.Change {
	return message.Change{MessageID: id, Hold: &hold,
		Events: []message.Event{{Type: message.StatusEvent(message.StatusQueued), Detail: map[string]any{"hold": hold}}}}
}

// Told is the status that the record shows after a step, and the notifications
// that are still to be sent for it.
type Told struct {
	Status  message.Status
	Changed bool // this call made the change
	Revised bool // it did not, because the message was revised since it was read
	Notify  []message.ID
}

// Tell moves m to the status of c and writes, in the same transaction, the
// timeline's line for it and the notifications that the customer wants. detail
// is added to that line. When the status does not allow the change (it was made
// before, or the message ended otherwise) nothing is written, and the status
// and the notifications of the record come back. late marks the events of a message
// whose process had ended.
func Tell(ctx context.Context, j Recorder, s *snapshot.Snapshot, m message.Message, c message.Change, detail map[string]any, late bool) (Told, error) {
	c.MessageID = m.ID
	c.Owed = m.Edge == message.EdgeSMPP && (c.To.Final() || c.To == message.StatusSent)
	c.OwedMM4 = m.Edge == message.EdgeMM4 && c.To.Final()
	m.Status = c.To
	m.DuplicatePoss = m.DuplicatePoss || c.MaybeDoubled
	line := map[string]any{}
	if c.Error != nil {
		m.Error = c.Error
		line["code"], line["detail"] = c.Error.Reason, c.Error.Detail
	}
	if c.Receipt != nil {
		m.Receipt = c.Receipt
	}
	if c.Price != nil {
		m.Price = *c.Price
	}
	maps.Copy(line, detail)
	notes, err := notification.Of(s, &m, late)
	if err != nil {
		return Told{}, err
	}
	c.Notifications = notes
	if m.Status.Told() {
		c.Said = message.Said(&m, late)
	}
	c.Events = append(c.Events, message.Event{Type: message.StatusEvent(c.To), Detail: line})
	adv, err := j.Advance(ctx, c)
	if err != nil {
		return Told{}, err
	}
	told := Told{Status: c.To, Changed: adv.Changed}
	if adv.Changed {
		for _, n := range notes {
			told.Notify = append(told.Notify, n.ID)
		}
		return told, nil
	}
	told.Status, told.Revised = adv.Was, adv.Revised
	told.Notify, err = j.PendingNotifications(ctx, m.ID)
	return told, err
}
