package postgres

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func TestWaiting(t *testing.T) {
	t.Parallel()
	b := setup(t)
	counts := func() map[int]int {
		t.Helper()
		rows, err := b.Waiting(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		got := map[int]int{}
		for _, r := range rows {
			got[r.Priority] = r.Messages
			if r.Oldest < 0 || r.Oldest > time.Hour {
				t.Errorf("the oldest of priority %d has waited %s", r.Priority, r.Oldest)
			}
		}
		return got
	}
	if got := counts(); len(got) != 0 {
		t.Fatalf("at first %v", got)
	}
	first, _ := b.enter(b.ordered("+13105550117"))
	if _, waits := b.enter(b.ordered("+13105550117")); !waits { // for its turn, not for us
		t.Fatal("the second of a conversation does not wait")
	}
	m := b.draft()
	m.Class = message.ClassBulk
	b.enter(message.Acceptance{Message: m})
	if got := counts(); got[3] != 1 || got[5] != 1 || len(got) != 2 {
		t.Errorf("%v", got)
	}
	b.begin(first)
	if got := counts(); got[3] != 0 || got[5] != 1 {
		t.Errorf("after one has begun %v", got)
	}
	b.exec("update starts set created_at = now() - interval '90 s'")
	rows, err := b.Waiting(b.ctx)
	if err != nil || len(rows) != 1 || rows[0].Oldest < 90*time.Second {
		t.Errorf("%v %v", rows, err)
	}
}
