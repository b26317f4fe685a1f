package ingress

import (
	"context"
	"fmt"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/internal/message"
)

// Receipt commits a receipt and, when it decides its message, tells the
// workflow: the one that waits for it in this process at once, any other in the
// background. A nil error means that the vendor may be answered. It is what
// vendor links call.
func (in *Ingress) Receipt(ctx context.Context, r message.Receipt) error {
	_, err := in.Match(ctx, r)
	return err
}

// Match is Receipt for who has to answer whether the message is known.
func (in *Ingress) Match(ctx context.Context, r message.Receipt) (message.Matched, error) {
	in.ready()
	matched, err := in.Journal.Receipt(ctx, r)
	if err != nil {
		return message.Matched{}, err
	}
	if in.Metrics.Receipt != nil {
		in.Metrics.Receipt(r.VendorID, r.State)
	}
	if matched.Applied && matched.Progress.Decided() && !in.expected.decide(matched.MessageID) {
		in.sweeper.settle(matched.MessageID)
	}
	return matched, nil
}

// settle tells the workflow of a message that receipts have decided it; when the
// workflow has ended, the record is updated here and the customer told by a
// delivery of its own. The settlement is due until the workflow has answered: if it
// dies with what it was told, and this process with it, the sweep tells it again.
func (in *Ingress) settle(ctx context.Context, id message.ID) error {
	err := in.Temporal.Decided(ctx, id)
	if err == nil {
		return in.Journal.SettlementTold(ctx, id)
	}
	if message.ReasonOf(err) != message.ReasonNotFound {
		return err
	}
	r, err := in.Outcome(ctx, record.Input{MessageID: id, Late: true})
	if err != nil {
		return fmt.Errorf("late outcome of %s: %w", id, err)
	}
	return in.post(ctx, "late", r.Notify)
}

// post starts the deliveries that no workflow works on. After an error the rows are
// due, and the sweeper comes back to them.
func (in *Ingress) post(ctx context.Context, label string, deliveries []message.ID) error {
	for _, d := range deliveries {
		if err := in.Temporal.PostWebhook(ctx, label, d); err != nil {
			return err
		}
	}
	return nil
}
