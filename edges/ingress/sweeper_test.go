package ingress_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/internal/message"
)

func decidedBy(id message.ID) message.Matched {
	return message.Matched{Known: true, Applied: true, MessageID: id, Part: 1, Progress: message.Progress{Status: message.StatusSent, Segments: 1, Settled: 1}}
}

func TestReceiptTellsTheWorkflow(t *testing.T) {
	id := message.NewID()
	open := decidedBy(id)
	open.Progress.Segments = 2
	again := decidedBy(id)
	again.Applied = false
	for name, c := range map[string]struct {
		matched message.Matched
		told    int
	}{"decided": {decidedBy(id), 1}, "one part of two": {open, 0}, "a repetition": {again, 0}, "of nobody": {message.Matched{}, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := setup(t)
				b.journal.matched = c.matched
				var seen []message.ReceiptState
				b.Metrics.Receipt = func(_ message.ID, s message.ReceiptState) { seen = append(seen, s) }
				b.Start(t.Context())
				if err := b.Receipt(t.Context(), message.Receipt{ID: message.NewID(), State: message.ReceiptDelivered}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				b.Stop()
				if b.server.told[id] != c.told || len(b.journal.receipts) != 1 || len(seen) != 1 {
					t.Errorf("told %d times, stored %d", b.server.told[id], len(b.journal.receipts))
				}
			})
		})
	}
}

// The vendor is answered only after the commit.
func TestReceiptThatCannotBeStored(t *testing.T) {
	b := setup(t)
	b.journal.down = errAway
	if err := b.Receipt(t.Context(), message.Receipt{ID: message.NewID()}); err == nil {
		t.Error("the vendor would be answered")
	}
}

// Temporal is away while the receipt comes: the row stays due, and the sweeper
// tells the workflow soon after Temporal is back, however long that took.
func TestReceiptWhileTemporalIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		id := message.NewID()
		b.journal.matched = decidedBy(id)
		b.journal.due = []message.ID{id}
		b.server.cancel = errAway
		b.Start(t.Context())
		if err := b.Receipt(t.Context(), message.Receipt{ID: message.NewID(), State: message.ReceiptDelivered}); err != nil {
			t.Fatal(err)
		}
		pass(3 * time.Hour)
		b.server.setDown(nil)
		began := time.Now()
		b.server.until(func() bool { return b.server.told[id] > 0 })
		// A settlement that was taken on is nobody else's for 10 s.
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("told after %s", took)
		}
		b.Stop()
	})
}

// A workflow that was told and cannot settle yet is told again less and less
// often: its history is not endless.
func TestWorkflowThatCannotSettleYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		id := message.NewID()
		b.journal.due = []message.ID{id}
		b.Start(t.Context())
		pass(72 * time.Hour)
		b.Stop()
		if n := b.server.told[id]; n < 10 || n > 100 {
			t.Errorf("told %d times in 72 h", n)
		}
	})
}

// Who has told a workflow of its receipt lets go of the settlement once the record shows
// the end, and not before: until then the sweep comes back to it.
func TestSettlementIsDueUntilTheWorkflowHasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		id := message.NewID()
		b.journal.matched = decidedBy(id)
		b.journal.due = []message.ID{id}
		b.Start(t.Context())
		if err := b.Receipt(t.Context(), message.Receipt{ID: message.NewID(), State: message.ReceiptDelivered}); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if len(b.journal.due) != 1 || b.server.told[id] == 0 {
			t.Errorf("told %d times, due %v", b.server.told[id], b.journal.due)
		}
		b.journal.mu.Lock()
		b.journal.ended = map[message.ID]bool{id: true}
		b.journal.mu.Unlock()
		pass(time.Hour)
		if len(b.journal.due) != 0 {
			t.Error("the settlement is still due")
		}
		b.Stop()
	})
}

// A slow workflow holds up nobody else's.
func TestManyDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		for range 1000 {
			b.journal.due = append(b.journal.due, message.NewID())
		}
		b.Start(t.Context())
		b.server.until(func() bool { return len(b.server.told) == 1000 })
		b.Stop()
	})
}

// The workflow has ended: the record is updated here, and the customer told by
// a delivery of its own.
func TestReceiptForAWorkflowThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		id, delivery := message.NewID(), message.NewID()
		b.journal.matched = decidedBy(id)
		b.server.closed[id] = true
		b.outcome = record.Result{Status: message.StatusDelivered, Changed: true, Notify: []message.ID{delivery}}
		b.Start(t.Context())
		if err := b.Receipt(t.Context(), message.Receipt{ID: message.NewID(), State: message.ReceiptDelivered}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.Stop()
		if !slices.Equal(b.outcomes, []record.Input{{MessageID: id, Late: true}}) {
			t.Errorf("outcomes %+v", b.outcomes)
		}
		if !slices.Equal(b.server.posted, []string{"late " + delivery.String()}) {
			t.Errorf("posted %v", b.server.posted)
		}
	})
}

func TestDoubtIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		id := message.NewID()
		mine, foreign := message.Receipt{ID: message.NewID()}, message.Receipt{ID: message.NewID()}
		b.journal.waiting = []message.Receipt{foreign, mine}
		b.journal.settled[mine.ID] = decidedBy(id)
		b.Start(t.Context())
		b.server.until(func() bool { return b.server.told[id] == 1 })
		b.Stop()
	})
}

// Receipts of nobody's neither keep those behind them from being looked at nor
// cost a look every two seconds for three days.
func TestReceiptsOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		for range 1000 {
			b.journal.waiting = append(b.journal.waiting, message.Receipt{ID: message.NewID()})
		}
		id, mine := message.NewID(), message.Receipt{ID: message.NewID()}
		b.journal.waiting = append(b.journal.waiting, mine)
		b.journal.settled[mine.ID] = decidedBy(id)
		b.Start(t.Context())
		b.server.until(func() bool { return b.server.told[id] == 1 })
		pass(time.Hour)
		b.Stop()
		if n := b.journal.doubts; n > 1000*10 {
			t.Errorf("%d looks at receipts in an hour", n)
		}
	})
}

func TestOverdueWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		for range 600 {
			b.journal.overdue = append(b.journal.overdue, message.NewID())
		}
		b.server.down = errAway
		b.Start(t.Context())
		pass(time.Minute)
		if len(b.journal.overdue) != 600 {
			t.Error("deferred without a start")
		}
		b.server.setDown(nil)
		b.journal.until(func() bool { return len(b.journal.overdue) == 0 })
		b.Stop()
		if len(b.server.posted) != 600 || len(b.journal.deferred) != 600 || !strings.HasPrefix(b.server.posted[0], "swept ") {
			t.Errorf("%d started, %d deferred", len(b.server.posted), len(b.journal.deferred))
		}
	})
}

// One sweep that fails keeps the others going.
func TestSweepsAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		id := message.NewID()
		b.journal.due = []message.ID{id}
		b.journal.overdue = []message.ID{message.NewID()}
		b.server.closed[id] = true
		b.Outcome = func(_ context.Context, in record.Input) (record.Result, error) { return record.Result{}, errAway }
		b.Start(t.Context())
		b.journal.until(func() bool { return len(b.journal.overdue) == 0 })
		b.Stop()
	})
}

func TestCancel(t *testing.T) {
	b := setup(t)
	id := message.NewID()
	if err := b.Cancel(t.Context(), id); err != nil || !slices.Equal(b.server.cancels, []message.ID{id}) {
		t.Errorf("%v, %v", b.server.cancels, err)
	}
	b.server.cancel = message.Refuse(message.ReasonConflict, "too late")
	if err := b.Cancel(t.Context(), id); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("%v", err)
	}
}
