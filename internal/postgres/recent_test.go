package postgres

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

func TestRecentIsBounded(t *testing.T) {
	t.Parallel()
	r := newRecent[int](4)
	var ids []message.ID
	for i := range 10 {
		ids = append(ids, message.NewID())
		r.put(ids[i], i)
		r.put(ids[i], i) // again takes no second place
	}
	for i, id := range ids {
		if v, ok := r.get(id); ok != (i >= 6) || ok && v != i {
			t.Errorf("%d: %d, %v", i, v, ok)
		}
	}
	if len(r.byID) != 4 {
		t.Errorf("%d are remembered", len(r.byID))
	}
	if v, ok := r.take(ids[9]); !ok || v != 9 {
		t.Errorf("take: %d, %v", v, ok)
	}
	if _, ok := r.take(ids[9]); ok {
		t.Error("it could be taken twice")
	}
}

// TestRecentAgreesWithRows compares what is remembered with what is stored.
func TestRecentAgreesWithRows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.accepted(2)
	remembered, err := b.Envelope(b.ctx, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := b.Message(b.ctx, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if remembered.From != stored.From || remembered.To != stored.To || remembered.Body != stored.Body || remembered.Segments != stored.Segments ||
		remembered.Encoding != stored.Encoding || remembered.Class != stored.Class || remembered.Delivery != stored.Delivery ||
		!remembered.ExpiresAt.Equal(stored.ExpiresAt) || remembered.WebhookURL != stored.WebhookURL || remembered.AccountID != stored.AccountID {
		t.Errorf("remembered %+v\nstored %+v", remembered, stored)
	}
	remembered.Status = message.StatusFailed
	if again, _ := b.Envelope(b.ctx, m.ID); again.Status == message.StatusFailed {
		t.Error("a caller changed what is remembered")
	}

	note := b.notification(m, "message.queued")
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Notifications: []message.Notification{note},
		Events: []message.Event{{Type: message.StatusEvent(message.StatusQueued)}}})
	first, state, err := b.Notification(b.ctx, note.ID) // from memory
	if err != nil || state != message.NotificationPending {
		t.Fatalf("%v, %s", err, state)
	}
	second, _, err := b.Notification(b.ctx, note.ID) // from the row
	if err != nil {
		t.Fatal(err)
	}
	if first != second || strings.Contains(first.Payload, message.SequencePlaceholder) {
		t.Errorf("remembered %+v\nstored %+v", first, second)
	}
}
