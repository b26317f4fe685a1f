package notification

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestOfBatch(t *testing.T) {
	t.Parallel()
	s := endpoints(
		snapshot.Endpoint{URL: "https://shop.example/all", FailoverURL: "https://shop.example/spare"},
		snapshot.Endpoint{URL: "https://shop.example/flat", Format: "flat", EventTypes: []string{BatchCompleted}},
		snapshot.Endpoint{URL: "https://shop.example/messages", EventTypes: []string{"message.delivered"}},
	)
	b := message.BatchProgress{Batch: message.Batch{AccountID: account, Name: "spring", Status: message.BatchCompleted, Total: 9, Worked: 9, Refused: 2,
		CreatedAt: at, StartedAt: at, CompletedAt: at.Add(time.Second), WebhookURL: "https://shop.example/own"},
		Statuses: map[message.Status]int{message.StatusAccepted: 1, message.StatusInDoubt: 1, message.StatusDelivered: 2, message.StatusRejected: 3},
		Price:    message.Price{Amount: 18000, Currency: "USD", Estimated: true}}
	whole, err := OfBatch(s, b, at)
	list := whole.Deliveries
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	data := `{"batch_id":"00000000-0000-0000-0000-000000000000","name":"spring","status":"completed","counts":{"total":9,"pending":0,"accepted":2,"rejected":5,"sent":0,"delivered":2,"undelivered":0,"failed":0,"expired":0,"canceled":0,"unconfirmed":0},` +
		`"price":{"amount":"0.018","currency":"USD","estimated":true},"created_at":"2026-11-21T20:15:09.412Z","started_at":"2026-11-21T20:15:09.412Z","completed_at":"2026-11-21T20:15:10.412Z"}`
	event := `{"type":"batch.completed","timestamp":"2026-11-21T20:15:09.412Z","data":` + data + `}`
	want := map[string]string{"https://shop.example/all": event, "https://shop.example/flat": data, "https://shop.example/own": event}
	for _, n := range list {
		if n.Payload != want[n.URL] || n.EventID != whole.ID || (n.EndpointID == message.ID{}) != (n.URL == b.WebhookURL) || n.MessageID != (message.ID{}) {
			t.Errorf("%+v\nwant %s", n, want[n.URL])
		}
	}
	b.WebhookURL = ""
	if whole, err = OfBatch(&snapshot.Snapshot{}, b, at); err != nil || len(whole.Deliveries) != 0 || whole.Payload != event || whole.AccountID != account {
		t.Errorf("%+v, %v", whole, err)
	}
}
