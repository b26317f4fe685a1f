package workers_test

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

// offers waits until the message has been put on its vendor's queue so many times, and
// counts how often it was taken from it before.
func (b *bundle) offers(id message.ID, times int) (takenBack int) {
	b.t.Helper()
	it := b.client.GetWorkflowHistory(b.t.Context(), workflows.OutboundID(id), "", true, 0)
	for n := 0; it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			b.t.Fatal(err)
		}
		switch {
		case e.GetActivityTaskCanceledEventAttributes() != nil:
			takenBack++
		case e.GetActivityTaskScheduledEventAttributes() != nil:
			if n++; n == times {
				return takenBack
			}
		}
	}
	b.t.Fatal("the workflow ended before it was offered again")
	return 0
}

// What waits on a vendor's queue is taken from it when staff want it routed anew.
func TestReroute(t *testing.T) {
	b := setup(t, false, func(b *bundle) { b.vendor.Name, b.vendor.ProviderType = "nobody", "none" })
	if err := b.starter.Reroute(t.Context(), message.NewID()); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("a workflow that never was: %v", err)
	}
	id := b.accept()
	b.offers(id, 1)
	if err := b.starter.Reroute(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if n := b.offers(id, 2); n != 1 {
		t.Errorf("taken back %d times", n)
	}
	if err := b.starter.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if r := b.result(id); r.Status != message.StatusCanceled {
		t.Errorf("ended as %+v", r)
	}
}
