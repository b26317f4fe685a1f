package workers_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/postrider/postrider/activities/deliver"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

// hanging is the record of mails that take until the test is over.
type hanging struct {
	deliver.Journal
	over chan struct{}
}

func (h hanging) InboundOutcomes(context.Context, message.ID) ([]message.InboundDelivery, error) {
	<-h.over
	return nil, errors.New("the test is over")
}

// TestHangingRelayHoldsNoWebhookUp: more e-mails than webhooks are told at once wait for
// a relay that does not answer, and a customer is told all the same.
func TestHangingRelayHoldsNoWebhookUp(t *testing.T) {
	journal := hanging{over: make(chan struct{})}
	b := setup(t, true, func(b *bundle) { b.deliver = &deliver.Activities{Journal: journal, Now: time.Now} })
	var mails []client.ActivityHandle
	t.Cleanup(func() {
		for _, m := range mails {
			_ = m.Terminate(context.Background(), client.TerminateActivityOptions{Reason: "the test is over"})
		}
		close(journal.over)
	})
	for range 300 {
		m, err := b.client.ExecuteActivity(t.Context(), client.StartActivityOptions{ID: "mail-" + message.NewID().String(), TaskQueue: workflows.QueueMail,
			StartToCloseTimeout: time.Minute, ScheduleToCloseTimeout: time.Hour}, "SendMail", deliver.Input{MessageID: message.NewID(), Position: 1})
		if err != nil {
			t.Fatal(err)
		}
		mails = append(mails, m)
	}
	n := message.Notification{ID: message.NewID(), EventID: message.NewID(), AccountID: b.account.ID, MessageID: message.NewID(), URL: "https://shop.example/hook", Payload: "{}"}
	b.journal.PutNotification(n)
	if err := b.starter.PostWebhook(t.Context(), "late", n.ID); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := b.client.GetActivityHandle(client.GetActivityHandleOptions{ActivityID: "webhook-" + n.ID.String()}).Get(ctx, nil); err != nil {
		t.Fatalf("the customer waits for the relay of others: %v", err)
	}
}
