package notify_test

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/webhook"
)

// inbound makes the delivery one of an inbound message to a destination of its own.
func inbound(t *testing.T, secret string, retries *int) *bundle {
	t.Helper()
	b := setup(t)
	d := &message.Destination{ID: message.NewID(), AccountID: b.n.AccountID, WebhookSecret: secret, Active: true}
	b.config.Destinations.Add(d)
	b.n.EndpointID, b.n.InboundRoute, b.n.Method, b.n.Retries = message.ID{}, d.ID, "PUT", retries
	b.journal.PutNotification(b.n)
	return b
}

// The destination's secret signs, or the account's if it has none.
func TestInboundSecret(t *testing.T) {
	for given, want := range map[string]string{"its own": "its own", "": "account's"} {
		b := inbound(t, given, nil)
		if !b.first(t) || b.sender.calls[0].Secret != want || b.sender.calls[0].Method != "PUT" {
			t.Errorf("%+v", b.sender.calls)
		}
	}
	// A destination that is gone, or another account's, signs nothing.
	for _, change := range []func(*bundle){
		func(b *bundle) { b.config.Destinations = snapshot.Destinations{} },
		func(b *bundle) { b.config.Destinations.ByID(b.n.InboundRoute).AccountID = message.NewID() },
	} {
		b := inbound(t, "its own", nil)
		change(b)
		if !b.first(t) || len(b.sender.calls) != 0 || b.state(t) != message.NotificationFailed {
			t.Errorf("%s, %+v", b.state(t), b.sender.calls)
		}
	}
}

// As many tries are made as are asked for, the first among them.
func TestInboundRetries(t *testing.T) {
	for _, retries := range []int{0, 1, 3} {
		b := inbound(t, "s", &retries)
		b.sender.script[mainURL] = []webhook.Result{{HTTPStatus: 500}}
		done := b.first(t)
		for range retries {
			if done {
				t.Fatalf("%d retries: done after %d tries", retries, len(b.sender.calls))
			}
			b.clock = b.clock.Add(time.Hour)
			done = b.post(t) == 0
		}
		if !done || b.state(t) != message.NotificationFailed || len(b.sender.calls) != retries+1 {
			t.Errorf("%d retries: %d tries, %s", retries, len(b.sender.calls), b.state(t))
		}
	}
}
