package journaltest

import (
	"context"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// What tests look at and set up.

// Status is the message's status, empty when there is no such message.
func (j *Journal) Status(id message.ID) message.Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r := j.rows[id]; r != nil {
		return r.m.Status
	}
	return ""
}

// SetStatus moves a message without asking whether that is legal.
func (j *Journal) SetStatus(id message.ID, s message.Status) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rows[id].m.Status = s
}

// Revise changes a message as its customer may, and reports false when it has
// left. What Envelope remembers stays as it was.
func (j *Journal) Revise(id message.ID, change func(m *message.Message)) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.rows[id]
	if !r.m.Status.Revisable() {
		return false
	}
	change(&r.m)
	r.m.Revision++
	return true
}

// Illegal lists the changes that were asked for and not allowed, as "a to b".
// Repetitions are not among them.
func (j *Journal) Illegal() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.illegal...)
}

// OptOuts lists what was recorded with changes.
func (j *Journal) OptOuts() []message.OptOut {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.optOuts)
}

// Timeline lists the types of a message's events, without the first.
func (j *Journal) Timeline(id message.ID) []message.EventType {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []message.EventType
	for _, e := range j.rows[id].events {
		out = append(out, e.Type)
	}
	return out
}

// Details lists what a message's events of a type say, oldest first.
func (j *Journal) Details(id message.ID, kind message.EventType) []map[string]any {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []map[string]any
	for _, e := range j.rows[id].events {
		if e.Type == kind {
			out = append(out, e.Detail)
		}
	}
	return out
}

// Started reports whether the outbox row of a message was cleared by a step.
func (j *Journal) Started(id message.ID) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rows[id].started
}

// Owed lists the statuses of which a sender over SMPP or MM4 was to be told, as far as it
// has asked: what it has asked for is not kept here.
func (j *Journal) Owed(id message.ID) []message.Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.rows[id].owed)
}

// Due reports whether a settlement of the message is due.
func (j *Journal) Due(id message.ID) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.due[id]
}

// States lists the states of all attempts of a part, oldest first.
func (j *Journal) States(id message.ID, part int) []message.PartState {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []message.PartState
	for _, a := range j.rows[id].attempts {
		if a.Answer.Part == part {
			out = append(out, a.State)
		}
	}
	return out
}

// Code is the vendor's code that the record shows.
func (j *Journal) Code(id message.ID) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rows[id].code
}

// PutNotification stores a pending delivery.
func (j *Journal) PutNotification(n message.Notification) {
	_ = j.do("put", func() error {
		j.notes[n.ID] = &note{Notification: n, state: message.NotificationPending}
		j.order = append(j.order, n.ID)
		return nil
	})
}

// SetFirstTry says when the first try at a delivery was made.
func (j *Journal) SetFirstTry(id message.ID, at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.notes[id].FirstTry = at
}

// Notifications lists the deliveries of a message in the order they were made.
func (j *Journal) Notifications(about message.ID) []message.Notification {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []message.Notification
	for _, id := range j.order {
		if n := j.notes[id]; n.MessageID == about {
			out = append(out, n.Notification)
		}
	}
	return out
}

// Tries lists the recorded tries at a delivery.
func (j *Journal) Tries(id message.ID) []message.NotificationAttempt {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]message.NotificationAttempt(nil), j.notes[id].tries...)
}

// SetReview says what somebody said of a message that waits for it.
func (j *Journal) SetReview(id message.ID, r message.Review) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rows[id].review = r
}

// ReviewOf is what somebody said of the message.
func (j *Journal) ReviewOf(_ context.Context, id message.ID) (message.Review, error) {
	var out message.Review
	err := j.do("review", func() error {
		r, err := j.find(id)
		if err == nil {
			out = r.review
		}
		return err
	})
	return out, err
}
