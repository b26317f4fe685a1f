package postgres

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

const hold = 10 * time.Second

// ordered is a draft of the conversation with that recipient.
func (b *bundle) ordered(to message.Address) message.Acceptance {
	m := b.draft()
	m.To = to
	return message.Acceptance{Message: m, Hold: hold}
}

// enter accepts a message and reports whether it waits.
func (b *bundle) enter(a message.Acceptance) (message.ID, bool) {
	b.tb.Helper()
	got, err := b.Accept(b.ctx, a)
	if err != nil {
		b.tb.Fatal(err)
	}
	return a.Message.ID, got.Waits
}

// taken is what TakeTurns lets go.
func (b *bundle) freed() []message.ID {
	b.tb.Helper()
	free, _, err := b.TakeTurns(b.ctx, 100)
	if err != nil {
		b.tb.Fatal(err)
	}
	return pick(free, func(s message.Start) message.ID { return s.MessageID })
}

// begin is the first step of a workflow, sent the vendor's answer.
func (b *bundle) begin(id message.ID) {
	b.tb.Helper()
	b.must(message.Change{MessageID: id, To: message.StatusQueued, Events: line(message.StatusQueued), Vendor: b.vendor, Started: true})
}

func (b *bundle) leave(id message.ID) {
	b.tb.Helper()
	b.must(message.Change{MessageID: id, To: message.StatusSending, Events: line(message.StatusSending)})
	b.must(message.Change{MessageID: id, To: message.StatusSent, Events: line(message.StatusSent), Submitted: true})
}

func TestConversationOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, waits := b.enter(b.ordered("+13105550117"))
	if waits {
		t.Error("the first waits")
	}
	two, waits := b.enter(b.ordered("+13105550117"))
	three, more := b.enter(b.ordered("+13105550117"))
	if !waits || !more {
		t.Error("the second or third does not wait")
	}
	if _, waits := b.enter(b.ordered("+13105550118")); waits {
		t.Error("another conversation waits")
	}
	loose := b.ordered("+13105550117")
	loose.Hold = 0
	if _, waits := b.enter(loose); waits {
		t.Error("a message in no order waits")
	}
	if got := b.freed(); len(got) > 0 {
		t.Errorf("before anything moved: %v", got)
	}
	b.begin(one)
	if got := b.freed(); len(got) > 0 {
		t.Errorf("while the first is on its way: %v", got)
	}
	b.leave(one)
	free, waiting, err := b.TakeTurns(b.ctx, 100)
	if err != nil || !waiting || len(free) != 1 || free[0].MessageID != two || free[0].To != "+13105550117" || free[0].AccountID != b.owner || free[0].Class != message.ClassConversation ||
		free[0].Segments != 1 || free[0].Kind != message.SMS || free[0].Edge != "rest" || free[0].CampaignID != "C8X2KQ1" || free[0].ExpiresAt.IsZero() || free[0].CreatedAt.IsZero() || !free[0].SendAt.IsZero() {
		t.Fatalf("after the first: %+v, %v, %v", free, waiting, err)
	}
	if got := b.freed(); len(got) > 0 {
		t.Errorf("twice: %v", got)
	}
	// Withdrawn before it began: its followers go.
	b.must(message.Change{MessageID: two, To: message.StatusCanceled, Events: line(message.StatusCanceled), Started: true})
	if got := b.freed(); !slices.Equal(got, []message.ID{three}) {
		t.Errorf("after the second: %v", got)
	}
	b.begin(three)
	b.leave(three)
	if _, waiting, err := b.TakeTurns(b.ctx, 100); waiting || err != nil {
		t.Errorf("nothing is left: %v, %v", waiting, err)
	}
}

// What waits is not in the outbox's listing; what had its turn and was not
// started, because its process died, is.
func TestWaitingIsNotStarted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, _ := b.enter(b.ordered("+13105550117"))
	two, _ := b.enter(b.ordered("+13105550117"))
	listed := func() []message.ID {
		rows, err := b.Unstarted(b.ctx, "one", 0, 10, nil)
		if err != nil {
			t.Fatal(err)
		}
		return pick(rows, func(s message.Start) message.ID { return s.MessageID })
	}
	if got := listed(); !slices.Equal(got, []message.ID{one}) {
		t.Errorf("listed %v, want %v", got, one)
	}
	b.begin(one)
	b.leave(one)
	if got := b.freed(); !slices.Equal(got, []message.ID{two}) {
		t.Fatalf("taken %v", got)
	}
	if got := listed(); !slices.Equal(got, []message.ID{two}) {
		t.Errorf("listed %v, want %v", got, two)
	}
}

// A head that has begun and does not get through holds up its conversation for
// so long and no longer; one that has not begun holds it up.
func TestStuckHead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, _ := b.enter(b.ordered("+13105550117"))
	two, _ := b.enter(b.ordered("+13105550117"))
	three, _ := b.enter(b.ordered("+13105550117"))
	later := func() { b.exec("update backlog set began_at = began_at - interval '10 seconds'") }
	later()
	if got := b.freed(); len(got) > 0 {
		t.Errorf("behind one that has not begun: %v", got)
	}
	b.begin(one)
	later()
	if got := b.freed(); !slices.Equal(got, []message.ID{two}) {
		t.Fatalf("after the hold: %v, want %v", got, two)
	}
	b.begin(two)
	if got := b.freed(); len(got) > 0 {
		t.Errorf("behind the second: %v", got)
	}
	later()
	if _, waits := b.enter(b.ordered("+13105550117")); !waits {
		t.Error("overtakes the third, which still waits")
	}
	if got := b.freed(); !slices.Equal(got, []message.ID{three}) {
		t.Errorf("after the second's hold: %v, want %v", got, three)
	}
	b.leave(one) // late
	b.begin(three)
	later()
	b.freed()
	b.exec("update backlog set began_at = now() - interval '10 seconds'")
	if _, waits := b.enter(b.ordered("+13105550117")); waits {
		t.Error("waits behind those whose time is over")
	}
}

// One that is given back to be sent again keeps its place.
func TestRetryKeepsTheTurn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, _ := b.enter(b.ordered("+13105550117"))
	two, _ := b.enter(b.ordered("+13105550117"))
	b.begin(one)
	b.must(message.Change{MessageID: one, To: message.StatusSending, Events: line(message.StatusSending)})
	b.must(message.Change{MessageID: one, To: message.StatusQueued, Events: line(message.StatusQueued)})
	if got := b.freed(); len(got) > 0 {
		t.Errorf("overtaken during a retry by %v", got)
	}
	b.must(message.Change{MessageID: one, To: message.StatusSending, Events: line(message.StatusSending)})
	b.must(message.Change{MessageID: one, To: message.StatusInDoubt, Events: line(message.StatusInDoubt)})
	if got := b.freed(); !slices.Equal(got, []message.ID{two}) {
		t.Errorf("after the doubt: %v", got)
	}
}

// Messages of one commit are in order among themselves.
func TestOrderWithinGroup(t *testing.T) {
	t.Parallel()
	b := setup(t)
	release := b.hold("messages")
	first := b.accepting(b.ctx, b.ordered("+13105550119"))
	b.blocked()
	var ids []message.ID
	var waits []func() bool
	for i := range 6 {
		a := b.ordered(message.Address(fmt.Sprintf("+1310555011%d", i%2)))
		ids = append(ids, a.Message.ID)
		wait := b.Enter(a)
		waits = append(waits, func() bool {
			got, err := wait(b.ctx)
			if err != nil {
				t.Error(err)
			}
			return got.Waits
		})
	}
	release()
	<-first
	for i, w := range waits {
		if got := w(); got != (i >= 2) {
			t.Errorf("message %d waits: %v", i, got)
		}
	}
	var order []message.ID
	for _, id := range ids[:2] {
		b.begin(id)
		b.leave(id)
	}
	for len(order) < 4 {
		got := b.freed()
		if len(got) == 0 {
			t.Fatalf("nobody's turn after %v", order)
		}
		for _, id := range got {
			b.begin(id)
			b.leave(id)
		}
		order = append(order, got...)
	}
	if !slices.Equal(order, ids[2:]) {
		t.Errorf("order %v, want %v", order, ids[2:])
	}
	b.exec("delete from backlog")
}

// The property of order: whatever comes, goes, gets stuck and is withdrawn, in
// whatever process, of each conversation nothing is let go while an earlier one
// is before it that has not had its time.
func TestOrderProperty(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.replica()
	rapid.Check(t, func(rt *rapid.T) {
		b.exec("delete from backlog")
		type row struct {
			id            message.ID
			conv          int
			waits, begun  bool
			stuck, leaves bool
		}
		var rows []*row
		blocked := func(r *row) bool {
			for _, e := range rows {
				if e == r {
					return false
				}
				if e.conv == r.conv && !e.leaves && !e.stuck {
					return true
				}
			}
			return false
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"enter", "enter", "begin", "leave", "stick", "take", "take"}).Draw(rt, "step") {
			case "enter":
				r := &row{conv: rapid.IntRange(0, 1).Draw(rt, "conversation")}
				rows = append(rows, r)
				want := blocked(r)
				r.id, r.waits = b.enter(b.ordered(message.Address(fmt.Sprintf("+1310555011%d", r.conv))))
				if r.waits != want {
					rt.Fatalf("waits %v, want %v", r.waits, want)
				}
			case "begin":
				for _, r := range rows {
					if !r.waits && !r.begun {
						b.begin(r.id)
						r.begun = true
						break
					}
				}
			case "leave":
				for _, r := range rows {
					if r.begun && !r.leaves {
						b.leave(r.id)
						r.leaves = true
						break
					}
				}
			case "stick":
				for _, r := range rows {
					if r.begun && !r.leaves && !r.stuck {
						b.exec("update backlog set began_at = began_at - interval '11 seconds' where message_id = $1", r.id)
						r.stuck = true
						break
					}
				}
			case "take":
				db := rapid.SampledFrom([]*DB{b.DB, other}).Draw(rt, "process")
				free, _, err := db.TakeTurns(b.ctx, 100)
				if err != nil {
					rt.Fatal(err)
				}
				got := map[message.ID]bool{}
				for _, s := range free {
					got[s.MessageID] = true
				}
				want := map[message.ID]bool{}
				for _, r := range rows {
					if r.waits && !blocked(r) {
						want[r.id], r.waits = true, false
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					rt.Fatalf("let go %v, want %v", got, want)
				}
			}
		}
	})
}

// Two processes that look at once let each message go once.
func TestTurnsAreTakenOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dbs := []*DB{b.DB, b.replica(), b.replica()}
	const conversations = 20
	for i := range conversations {
		to := message.Address(fmt.Sprintf("+131055501%02d", i))
		first, _ := b.enter(b.ordered(to))
		b.enter(b.ordered(to))
		b.begin(first)
		b.leave(first)
	}
	var mu sync.Mutex
	seen := map[message.ID]int{}
	var all sync.WaitGroup
	for _, db := range dbs {
		all.Go(func() {
			for range 3 {
				free, _, err := db.TakeTurns(b.ctx, 100)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, s := range free {
					seen[s.MessageID]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was let go %d times", id, n)
		}
	}
	if len(seen) != conversations {
		t.Errorf("%d were let go, want %d", len(seen), conversations)
	}
}

func TestBacklogIsCounted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var left []message.ID
	var mu sync.Mutex
	b.OnLeft(func(account message.ID, _ int) {
		mu.Lock()
		defer mu.Unlock()
		left = append(left, account)
	})
	one, _ := b.enter(message.Acceptance{Message: b.draft()})
	otp := b.ordered("+13105550117")
	otp.Message.Class = message.ClassOTP
	two, _ := b.enter(otp)
	refused := b.ordered("+13105550117")
	refused.Message.Status, refused.Message.Error = message.StatusRejected, message.Refuse(message.ReasonOptedOut, "no")
	b.enter(refused)
	counts := func() string {
		rows, err := b.Backlog(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(rows, func(a, c message.Backlog) int { return a.Priority - c.Priority })
		return fmt.Sprint(rows)
	}
	if got, want := counts(), fmt.Sprintf("[{%s 1 1} {%s 3 1}]", b.owner, b.owner); got != want {
		t.Errorf("backlog %s, want %s", got, want)
	}
	for _, id := range []message.ID{one, two} {
		b.begin(id)
		b.leave(id)
		b.must(message.Change{MessageID: id, To: message.StatusDelivered, Events: line(message.StatusDelivered)})
	}
	if got := counts(); got != "[]" {
		t.Errorf("backlog %s", got)
	}
	if len(left) != 2 || left[0] != b.owner {
		t.Errorf("left: %v", left)
	}
}

// However many wait in however few conversations, the look at the turns reads
// what waits from its index and goes to each conversation by another.
func TestTurnPlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`insert into backlog (message_id, account_id, priority, from_addr, to_addr, hold_seconds, waits, began_at)
		select gen_random_uuid(), $1, 3, '+12025550143', '+1310555' || n % 1000, 10, n > 1000, case when n <= 1000 then now() end from generate_series(1, 100000) n`, b.owner)
	b.exec("vacuum analyze backlog")
	for _, seqscan := range []string{"on", "off"} {
		plan := b.explain(takeTurns, 1, seqscan)
		for _, want := range []string{"Index Only Scan using backlog_waiting", "using backlog_conversation"} {
			if !strings.Contains(plan, want) {
				t.Errorf("enable_seqscan %s: not %s:\n%s", seqscan, want, plan)
			}
		}
		for _, table := range endToEnd(plan) {
			if table != "backlog" { // which backlog_waiting is a part of
				t.Errorf("reads %s from end to end:\n%s", table, plan)
			}
		}
	}
}
