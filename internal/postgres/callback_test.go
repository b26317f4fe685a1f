package postgres

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// The form in which a message's own URL is told is kept with it, and with what it is told:
// of its acceptance, and of what comes after.
func TestCallbacksAreStored(t *testing.T) {
	b := setup(t)
	other := b.replica()
	m := b.draft()
	m.WebhookURL, m.Callback = "https://shop.example/dlr", message.CallbackJasmin(3, true)
	first := b.notification(m, "message.accepted")
	first.Format, first.Payload = message.FormatTwilio, "MessageStatus=queued"
	b.entered(b.DB, message.Acceptance{Message: m, Notifications: []message.Notification{first}})
	got, err := other.Message(b.ctx, m.ID)
	if err != nil || got.Callback != m.Callback || got.WebhookURL != m.WebhookURL {
		t.Fatalf("%+v, %v", got, err)
	}
	next := b.notification(m, "message.sent")
	next.Format, next.Method, next.Payload = message.FormatJasmin, "GET", "level=1&message_status=ESME_ROK"
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Vendor: b.vendor, Notifications: []message.Notification{next},
		Events: []message.Event{{Type: message.StatusEvent(message.StatusQueued)}}})
	for _, want := range []message.Notification{first, next} {
		n, _, err := other.Notification(b.ctx, want.ID)
		if err != nil || n.Format != want.Format || n.Method != want.Method || n.Payload != want.Payload {
			t.Errorf("%+v, %v; want %+v", n, err, want)
		}
	}
	if plain, err := b.Message(b.ctx, b.accepted(1).ID); err != nil || plain.Callback != "" {
		t.Errorf("%+v, %v", plain, err)
	}
}
