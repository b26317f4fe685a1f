package workflows_test

import (
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

const scheduled = message.StatusScheduled

// later makes the message one for the next day.
func (b *bundle) later() *bundle {
	b.in.SendAt, b.in.ExpiresAt = start.Add(24*time.Hour), start.Add(24*time.Hour+validity)
	b.put(message.Times{SendAt: b.in.SendAt, ExpiresAt: b.in.ExpiresAt})
	b.revision = 0
	return b
}

// revise changes the record so long after the start and tells the workflow with
// tell; nil: nobody tells it.
func (b *bundle) revise(d, sendAt time.Duration, tell func(b *bundle)) {
	b.at(d, func() {
		b.put(message.Times{SendAt: start.Add(sendAt), ExpiresAt: start.Add(sendAt + validity)})
		if tell != nil {
			tell(b)
		}
	})
}

func byUpdate(b *bundle) {
	b.env.UpdateWorkflow(workflows.UpdateRevise, "", &testsuite.TestUpdateCallback{
		OnReject:   func(err error) { b.t.Errorf("the update was refused: %v", err) },
		OnAccept:   func() {},
		OnComplete: func(_ any, err error) { b.noError(err) },
	})
}

func bySignal(b *bundle) { b.env.SignalWorkflow(workflows.SignalRevise, nil) }

func (b *bundle) noError(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Error(err)
	}
}

// leaves fails the test unless the message was offered once, at this time.
func (b *bundle) leaves(at time.Duration) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.offeredAt) != 1 || b.offeredAt[0].Sub(start) != at {
		b.t.Errorf("offered at %v, want %s", b.offeredAt, at)
	}
}

// The send time changes while it is waited for.
func TestRevisedSchedule(t *testing.T) {
	for name, c := range map[string]struct {
		revise func(b *bundle)
		at     time.Duration
		asked  int // admissions
	}{
		"earlier, by update":        {func(b *bundle) { b.revise(time.Hour, 2*time.Hour, byUpdate) }, 2 * time.Hour, 1},
		"earlier, by signal":        {func(b *bundle) { b.revise(time.Hour, 2*time.Hour, bySignal) }, 2 * time.Hour, 1},
		"at once":                   {func(b *bundle) { b.revise(time.Hour, time.Hour, byUpdate) }, time.Hour, 1},
		"earlier, and not told":     {func(b *bundle) { b.revise(time.Hour, 22*time.Hour, nil) }, 24 * time.Hour, 1},
		"earlier, and told later":   {func(b *bundle) { b.revise(time.Hour, 2*time.Hour, nil); b.at(3*time.Hour, func() { bySignal(b) }) }, 3 * time.Hour, 1},
		"later, by update":          {func(b *bundle) { b.revise(time.Hour, 48*time.Hour, byUpdate) }, 48 * time.Hour, 1},
		"later, and not told":       {func(b *bundle) { b.revise(time.Hour, 48*time.Hour, nil) }, 48 * time.Hour, 2},
		"later, in the last moment": {func(b *bundle) { b.revise(24*time.Hour, 48*time.Hour, byUpdate) }, 48 * time.Hour, 0},
		"later and later, not told": {func(b *bundle) { b.revise(time.Hour, 48*time.Hour, nil); b.revise(30*time.Hour, 72*time.Hour, nil) }, 72 * time.Hour, 3},
		"later and earlier, by both": {func(b *bundle) {
			b.revise(time.Hour, 48*time.Hour, byUpdate)
			b.revise(30*time.Hour, 31*time.Hour, bySignal)
		}, 31 * time.Hour, 1},
		"told of nothing": {func(b *bundle) { b.at(time.Hour, func() { bySignal(b) }) }, 24 * time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t).later()
			c.revise(b)
			// The validity that holds is that of the newest revision, too.
			if took := b.run(unconfirmed, message.ReasonNoReceipt); took != b.times.ExpiresAt.Add(grace).Sub(start) {
				t.Errorf("took %s", took)
			}
			b.leaves(c.at)
			if c.asked > 0 && len(b.admits) != c.asked {
				t.Errorf("admitted %d times", len(b.admits))
			}
			if b.history[0] != scheduled || slices.Contains(b.history[1:], scheduled) {
				t.Errorf("%v", b.history)
			}
		})
	}
}

// The message was revised before its workflow began, whose input is older.
func TestRevisedBeforeItsStart(t *testing.T) {
	for name, c := range map[string]struct {
		was, sendAt time.Duration // 0: at once
		at          time.Duration
	}{
		"later":                         {24 * time.Hour, 48 * time.Hour, 48 * time.Hour},
		"earlier":                       {24 * time.Hour, time.Hour, time.Hour},
		"at once":                       {24 * time.Hour, -time.Second, 0},
		"put off, was to leave at once": {0, time.Hour, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			if c.was != 0 {
				b.in.SendAt, b.in.ExpiresAt = start.Add(c.was), start.Add(c.was+validity)
			}
			b.put(message.Times{SendAt: start.Add(c.sendAt), ExpiresAt: start.Add(c.sendAt + validity)})
			b.receipt(c.at+time.Minute, delivered)
			if took := b.run(delivered, ""); took != c.at+time.Minute {
				t.Errorf("took %s", took)
			}
			b.leaves(c.at)
		})
	}
}

// The message is revised between two steps, or the process that works on it
// remembers it as it was: the steps begin anew, and it is sent once, as it is.
func TestRevisedBetweenSteps(t *testing.T) {
	for name, arrange := range map[string]func(b *bundle, revise func()){
		"before the admission, which remembers": func(b *bundle, revise func()) { b.stale = true; revise() },
		"before the route":                      func(b *bundle, revise func()) { b.admitted = once(revise) },
		"before the submit here":                func(b *bundle, revise func()) { b.here().chosen = once(revise) },
		"while the link here goes away": func(b *bundle, revise func()) {
			b.here().vendor = answers(unreachable, submit.Result{Outcome: submit.Sent})
			b.inSubmit = func(int) { revise() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			revised := false
			arrange(b, once(func() {
				revised = true
				b.put(message.Times{ExpiresAt: start.Add(2 * validity)})
			}))
			// The receipt comes after the first validity, within the new one.
			b.receipt(2*validity, delivered)
			b.run(delivered, "")
			last := b.submits[len(b.submits)-1]
			if !revised || last.Revision != 1 || len(b.admits) != 2 || b.admits[0].Fresh || !b.admits[1].Fresh {
				t.Errorf("revised %v, submits %+v, admissions %+v", revised, b.submits, b.admits)
			}
			if want := []message.Status{message.StatusQueued, message.StatusSending, sent, delivered}; !slices.Equal(b.history, want) {
				t.Errorf("%v", b.history)
			}
			b.toldOf(sent, delivered)
		})
	}
}

// The validity of the message ends before its first submit, and is made longer in
// that moment: it does not end.
func TestRevisedAtTheEndOfItsValidity(t *testing.T) {
	b := setup(t).here()
	b.in.ExpiresAt = start
	b.chosen = once(func() { b.put(message.Times{ExpiresAt: start.Add(validity)}) })
	b.receipt(time.Minute, delivered)
	b.run(delivered, "")
	b.toldOf(sent, delivered)
	if len(b.admits) != 2 {
		t.Errorf("%d admissions", len(b.admits))
	}
}

// A message that waits for a revised time can be withdrawn, and is final then.
func TestRevisedAndWithdrawn(t *testing.T) {
	b := setup(t).later()
	b.revise(time.Hour, 48*time.Hour, byUpdate)
	b.cancel(30*time.Hour, b.noError)
	if took := b.run(canceled, message.ReasonCanceled); took != 30*time.Hour {
		t.Errorf("took %s", took)
	}
	b.offered()
}

// A revision that comes too late was refused by the record; being told changes
// nothing.
func TestToldOfARevisionTooLate(t *testing.T) {
	b := setup(t)
	b.at(time.Minute, func() { byUpdate(b); bySignal(b) })
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
	b.offered("acme")
	b.toldOf(sent, delivered)
}

// Every step of an ordinary message is asked once, and for revision 0.
func TestOrdinaryMessageIsAskedOnce(t *testing.T) {
	b := setup(t).here()
	b.receipt(time.Minute, delivered)
	b.run(delivered, "")
	if len(b.admits) != 1 || b.admits[0].Fresh || !b.admits[0].Times.Equal(message.Times{ExpiresAt: b.in.ExpiresAt}) || b.submits[0].Revision != 0 {
		t.Errorf("%+v %+v", b.admits, b.submits)
	}
}
