package notification

import (
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// BatchCompleted is the type of the event that every row of a batch has its message or
// its refusal. The messages go on.
const BatchCompleted = "batch.completed"

// batchData is what the event says.
type batchData struct {
	BatchID     string              `json:"batch_id"`
	Name        *string             `json:"name"`
	Status      message.BatchStatus `json:"status"`
	Counts      batchCounts         `json:"counts"`
	Price       *price              `json:"price"`
	CreatedAt   string              `json:"created_at"`
	StartedAt   *string             `json:"started_at"`
	CompletedAt string              `json:"completed_at"`
}

type batchCounts struct {
	Total       int `json:"total"`
	Pending     int `json:"pending"`
	Accepted    int `json:"accepted"`
	Rejected    int `json:"rejected"`
	Sent        int `json:"sent"`
	Delivered   int `json:"delivered"`
	Undelivered int `json:"undelivered"`
	Failed      int `json:"failed"`
	Expired     int `json:"expired"`
	Canceled    int `json:"canceled"`
	Unconfirmed int `json:"unconfirmed"`
}

// OfBatch is the event of a batch that has completed: with a delivery to each endpoint of
// its account that wants it, and one to the batch's own URL.
func OfBatch(s *snapshot.Snapshot, b message.BatchProgress, at time.Time) (message.AccountEvent, error) {
	stamp := func(t time.Time) string { return t.UTC().Format(message.StampLayout) }
	d := batchData{BatchID: b.ID.String(), Name: orNull(b.Name), Status: message.BatchCompleted, Counts: batchCounts(b.Counts()),
		CreatedAt: stamp(b.CreatedAt), CompletedAt: stamp(at)}
	if !b.CompletedAt.IsZero() {
		d.CompletedAt = stamp(b.CompletedAt)
	}
	if !b.StartedAt.IsZero() {
		d.StartedAt = orNull(stamp(b.StartedAt))
	}
	if b.Price.Currency != "" {
		d.Price = &price{b.Price.Amount.String(), b.Price.Currency, b.Price.Estimated}
	}
	e, err := OfAccount(s, b.AccountID, BatchCompleted, d, at)
	if err == nil && b.WebhookURL != "" {
		e.Deliveries = append(e.Deliveries, message.Notification{ID: message.NewID(), EventID: e.ID, AccountID: b.AccountID, Type: BatchCompleted,
			URL: b.WebhookURL, FailoverURL: b.WebhookFailover, Payload: e.Payload})
	}
	return e, err
}
