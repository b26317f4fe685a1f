package activities

import (
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/snapshot"
)

// VendorBlock adds to a change what a refusal with ReasonOptedOut tells: the recipient
// has stopped the sender on the vendor's or carrier's side. It is recorded in the same
// transaction, so that the next message does not leave in vain. What is in force already
// is not recorded again; the timeline says all the same why this message was refused.
func VendorBlock(c message.Change, s *snapshot.Snapshot, m *message.Message, vendor string, now time.Time) (message.Change, error) {
	o := message.VendorBlock(m.AccountID, m.From, m.To, vendor, m.ID)
	event, err := notification.OfOptOut(s, o, now)
	if err != nil {
		return c, err
	}
	c.OptOut, c.OptOutEvent = &o, &event
	c.Events = append(c.Events, message.Event{Type: message.EventOptOutRecorded, Detail: map[string]any{"scope": o.Scope, "source": o.Source,
		"detail": "the recipient has stopped this sender, says the carrier's side"}})
	return c, nil
}
