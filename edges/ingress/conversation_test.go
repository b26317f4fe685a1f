package ingress_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// waiting is a running ingress that has accepted messages which wait for their
// turn.
func waiting(t *testing.T, n int) (b *bundle, ids []message.ID) {
	t.Helper()
	b = setup(t)
	b.journal.waits = true
	b.Start(t.Context())
	for range n {
		r := b.request()
		r.Edge = message.EdgeSMPP
		out, err := b.Accept(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, out.Message.ID)
	}
	synctest.Wait()
	return b, ids
}

// turn lets the journal say that so many have their turn.
func (b *bundle) turn(n int) { _ = b.journal.do(func() { b.journal.free += n }) }

func (b *bundle) started() (ids []message.ID) {
	b.server.mu.Lock()
	defer b.server.mu.Unlock()
	for _, in := range b.server.inputs {
		ids = append(ids, in.MessageID)
	}
	return ids
}

// What waits is started when its turn has come: at once when this process hears
// what has left, else within the time between two looks.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, ids := waiting(t, 3)
		pass(time.Minute)
		synctest.Wait()
		if got := b.started(); got != nil {
			t.Errorf("started %v before their turn", got)
		}
		b.turn(1)
		before := time.Now()
		b.Left(b.account.ID, message.ClassConversation.Priority())
		for len(b.started()) == 0 {
			pass(time.Millisecond)
			synctest.Wait()
		}
		if took := time.Since(before); took > 10*time.Millisecond {
			t.Errorf("heard of after %s", took)
		}
		for range 2 { // by another process, of which this one does not hear
			b.turn(1)
			pass(300 * time.Millisecond)
			synctest.Wait()
		}
		if got := b.started(); !slices.Equal(got, ids) {
			t.Errorf("started %v, want %v", got, ids)
		}
		b.Stop()
	})
}

// What waited when another process died is found by whoever looks next; and
// while nothing waits the journal is left in peace.
func TestTurnsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.Start(t.Context())
		pass(time.Minute)
		synctest.Wait()
		looks := b.journal.count(func() int { return b.journal.turns })
		if looks > 40 {
			t.Errorf("%d looks in a minute in which nothing waited", looks)
		}
		id := message.NewID()
		_ = b.journal.do(func() { b.journal.line = []message.Start{{MessageID: id}}; b.journal.free = 1 })
		pass(3 * time.Second)
		synctest.Wait()
		if got := b.started(); !slices.Equal(got, []message.ID{id}) {
			t.Errorf("started %v", got)
		}
		b.Stop()
	})
}

// A journal that is away is asked again, without hurry.
func TestTurnsWhileTheJournalIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, ids := waiting(t, 1)
		b.turn(1)
		_ = b.journal.do(func() { b.journal.down = errAway })
		pass(time.Minute)
		b.journal.mu.Lock()
		b.journal.down = nil
		b.journal.mu.Unlock()
		pass(3 * time.Second)
		synctest.Wait()
		if got := b.started(); !slices.Equal(got, ids) {
			t.Errorf("started %v, want %v", got, ids)
		}
		b.Stop()
	})
}

// Who is in order: submits over SMPP unless the account says otherwise, others if
// it does, and nothing that is for later.
func TestWhoIsInOrder(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		ordered *bool
		edge    string
		later   time.Duration
		want    time.Duration
	}{
		{nil, "smpp", 0, 7 * time.Second}, {nil, "rest", 0, 0}, {&yes, "rest", 0, 7 * time.Second}, {&no, "smpp", 0, 0},
		{nil, "smpp", time.Hour, 0}, {nil, "smpp", -time.Second, 7 * time.Second},
	} {
		b := setup(t)
		b.account.OrderedConversations, b.account.ConversationHold = c.ordered, 7*time.Second
		r := b.request()
		r.Edge = c.edge
		if c.later != 0 {
			r.SendAt = time.Now().Add(c.later)
		}
		if _, err := b.Accept(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if got := b.journal.all()[0].Hold; got != c.want {
			t.Errorf("%+v: hold %s", c, got)
		}
	}
}

// Messages have their place when Enter returns, whoever waits first.
func TestEnterIsInOrder(t *testing.T) {
	b := setup(t)
	var ids []message.ID
	var waits []func() (ingress.Outcome, error)
	for range 20 {
		wait := b.Enter(b.request())
		waits = append(waits, func() (ingress.Outcome, error) { return wait(t.Context()) })
	}
	slices.Reverse(waits)
	for _, w := range waits {
		out, err := w()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, out.Message.ID)
	}
	slices.Reverse(ids)
	if !slices.Equal(b.journal.entered, ids) {
		t.Errorf("entered %v, answered %v", b.journal.entered, ids)
	}
}

func TestBacklogIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.account.MaxBacklog = 3
		accept := func() message.Reason {
			t.Helper()
			out, err := b.Accept(t.Context(), b.request())
			if err != nil && out.Message != nil {
				t.Error("a message that found no room was stored")
			}
			return message.ReasonOf(err)
		}
		for range 3 {
			if r := accept(); r != "" {
				t.Fatalf("refused with %s", r)
			}
		}
		if r := accept(); r != message.ReasonQueueFull {
			t.Fatalf("the fourth: %q", r)
		}
		part := ingress.Part{Request: b.request(), Total: 2, Number: 1, Octets: []byte("x")}
		part.Request.SMPP = &message.SMPPOrigin{}
		if _, err := b.Part(t.Context(), part); message.ReasonOf(err) != message.ReasonQueueFull {
			t.Errorf("a part: %v", err)
		}
		b.Left(b.account.ID, message.ClassConversation.Priority())
		if r := accept(); r != "" {
			t.Errorf("after one left: %s", r)
		}
		// What is refused, is a repetition or cannot be stored takes no room.
		b.Left(b.account.ID, message.ClassConversation.Priority())
		r := b.request()
		r.From = "+12025550199"
		_, _ = b.Accept(t.Context(), r)
		_ = b.journal.do(func() { b.journal.down = errAway })
		accept()
		b.journal.mu.Lock()
		b.journal.down = nil
		b.journal.mu.Unlock()
		if r := accept(); r != "" {
			t.Errorf("room was lost: %s", r)
		}
		// Another process has sent them all, and brought in others.
		_ = b.journal.do(func() {
			b.journal.backlog = []message.Backlog{{AccountID: b.account.ID, Priority: 1, Messages: 1}, {AccountID: b.account.ID, Priority: 3, Messages: 1}}
		})
		var told []message.Backlog
		b.Metrics.Backlog = func(now []message.Backlog) { told = now }
		b.Start(t.Context())
		pass(1500 * time.Millisecond)
		synctest.Wait()
		if r := accept(); r != "" {
			t.Errorf("after the count: %s", r)
		}
		if r := accept(); r != message.ReasonQueueFull {
			t.Errorf("over the count: %q", r)
		}
		b.Stop()
		if len(told) != 2 {
			t.Errorf("told %v", told)
		}
	})
}

// What waits in bulk, for the morning or for its campaign's turn, does not keep out
// what is more urgent.
func TestBacklogOfOneClassLeavesRoomForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.account.MaxBacklog = 3
		fill := func(c message.Class) int {
			t.Helper()
			for n := 0; ; n++ {
				r := b.request()
				r.Class = c
				if _, err := b.Accept(t.Context(), r); message.ReasonOf(err) == message.ReasonQueueFull {
					return n
				} else if err != nil {
					t.Fatal(err)
				}
			}
		}
		bulk, conversation, otp := fill(message.ClassBulk), fill(message.ClassConversation), fill(message.ClassOTP)
		if bulk != 3 || conversation != 3 || otp != 3 {
			t.Errorf("room for %d in bulk, %d in conversation, %d passwords", bulk, conversation, otp)
		}
		b.Left(b.account.ID, message.ClassOTP.Priority())
		if n := fill(message.ClassBulk) + fill(message.ClassConversation); n != 0 {
			t.Errorf("%d less urgent ones took the room of a password", n)
		}
		if n := fill(message.ClassOTP); n != 1 {
			t.Errorf("room for %d passwords after one left", n)
		}
	})
}
