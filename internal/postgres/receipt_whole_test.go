package postgres

import (
	"fmt"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// wholly is a message that a vendor took under one id for all parts.
func (b *bundle) wholly(segments int, id string) *message.Message {
	ids := make([]string, segments)
	for i := range ids {
		ids[i] = id
	}
	return b.sent(ids...)
}

// One receipt settles all parts that have its id, once.
func TestReceiptOfAllParts(t *testing.T) {
	t.Parallel()
	for state, failed := range map[message.ReceiptState]int{message.ReceiptDelivered: 0, message.ReceiptUndeliverable: 3} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			m := b.wholly(3, "SM1")
			got := b.received(b.receipt("SM1", state))
			want := message.Matched{Known: true, Applied: true, MessageID: m.ID, Part: 1, Progress: message.Progress{Status: message.StatusSent, Segments: 3, Settled: 3, Failed: failed}}
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			if again := b.received(b.receipt("SM1", state)); !again.Known || again.Applied {
				t.Errorf("once more: %+v", again)
			}
			events := b.timeline(m)
			if last := events[len(events)-1]; last.Type != message.EventReceipt || fmt.Sprint(last.Detail["parts"]) != "[1 2 3]" {
				t.Errorf("timeline: %+v", last)
			}
			if p := b.progress(m); p.Settled != 3 || p.Failed != failed {
				t.Errorf("progress: %+v", p)
			}
			if due := b.settlements(); len(due) != 1 {
				t.Errorf("due: %v", due)
			}
		})
	}
}

// A receipt that names the try finds it before the vendor's answer is stored, or
// although it never was.
func TestReceiptNamesTheTry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sending(2)
	r := b.receipt("SM7", message.ReceiptDelivered)
	stranger := r
	stranger.ID, stranger.VendorMessageID, stranger.Attempt = message.NewID(), "sm8", message.AttemptRef{MessageID: message.NewID(), Part: 1, Attempt: 1}
	if got := b.received(stranger); got.Known {
		t.Errorf("a try that is not there: %+v", got)
	}
	r.Attempt = message.AttemptRef{MessageID: m.ID, Part: 1, Attempt: 1}
	other := r
	other.ID, other.VendorID, other.VendorMessageID = message.NewID(), message.NewID(), "sm9"
	if got := b.received(other); got.Known {
		t.Errorf("another vendor's: %+v", got)
	}
	if got := b.received(r); !got.Applied || got.MessageID != m.ID || got.Progress.Settled != 2 {
		t.Errorf("%+v", got)
	}
	// The answer, when it comes, changes nothing of it.
	b.must(message.Change{MessageID: m.ID, To: message.StatusDelivered, Answers: b.answered(m, "SM7", "SM7").Answers})
	for _, p := range b.parts(m) {
		if p.State != message.PartDelivered || p.VendorMessageID == "" {
			t.Errorf("part: %+v", p)
		}
	}
}

// So does one whose submit is in doubt.
func TestReceiptNamesTheTryInDoubt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sending(1)
	b.must(message.Change{MessageID: m.ID, To: message.StatusInDoubt, Answers: []message.Answer{{Part: 1, Attempt: 1, State: message.PartInDoubt, Reason: message.ReasonSubmitInDoubt}}})
	r := b.receipt("SM7", message.ReceiptEnroute)
	r.Attempt = message.AttemptRef{MessageID: m.ID, Part: 1, Attempt: 1}
	if got := b.received(r); !got.Known {
		t.Errorf("%+v", got)
	}
	r = b.receipt("SM7", message.ReceiptDelivered)
	if got := b.received(r); !got.Applied || got.Progress.Settled != 1 {
		t.Errorf("%+v", got)
	}
}
