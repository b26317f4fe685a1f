package record_test

import (
	"context"

	"testing"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/internal/message"
)

// A receipt that says that the recipient has stopped the sender tells of an opt-out, once.
func TestReceiptsBlockIsRecorded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state  message.ReceiptState
		reason message.Reason
		want   int
	}{
		{message.ReceiptUndeliverable, message.ReasonOptedOut, 1},
		{message.ReceiptRejected, message.ReasonOptedOut, 1},
		{message.ReceiptUndeliverable, message.ReasonFiltered, 0},
		{message.ReceiptDelivered, "", 0},
	} {
		b := setup(t, 1, message.StatusSent)
		b.receipt(t, 1, c.state, c.reason)
		for range 2 {
			if _, err := b.steps.RecordOutcome(context.Background(), record.Input{MessageID: b.m.ID}); err != nil {
				t.Fatal(err)
			}
		}
		list := b.journal.OptOuts()
		if len(list) != c.want {
			t.Errorf("%s %s: %+v", c.state, c.reason, list)
			continue
		}
		if c.want == 1 && (list[0].MessageID != b.m.ID || list[0].Source != message.OptOutByVendor) {
			t.Errorf("%+v", list[0])
		}
		lines := 0
		for _, e := range b.journal.Timeline(b.m.ID) {
			if e == message.EventOptOutRecorded {
				lines++
			}
		}
		if lines != c.want {
			t.Errorf("%s %s: %v", c.state, c.reason, b.journal.Timeline(b.m.ID))
		}
	}
}
