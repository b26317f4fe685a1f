package ingress_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// rushing offers several messages of a class at one moment, and again before the rush
// that they make is over, for a while.
func (b *bundle) rushing(t *testing.T, account message.ID, c message.Class, d time.Duration) {
	t.Helper()
	const each = 40
	for end := time.Now().Add(d); time.Now().Before(end); pass(50 * time.Millisecond) {
		if n, err := b.offer(account, c, each); n != each {
			t.Fatalf("%d of %d: %v", n, each, err)
		}
	}
}

// begun is how many workflows have been started.
func (b *bundle) begun() (n int) {
	synctest.Wait()
	b.server.until(func() bool { n = len(b.server.begun); return true })
	return n
}

// While messages come in a rush, starts make room for a second, though each of the
// messages was answered at once; then they pass one after another. When it is over
// they go on.
func TestStartsMakeRoomInARush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.account.MaxBacklog = 1_000_000
		b.Start(t.Context())
		b.rushing(t, b.account.ID, message.ClassConversation, 50*time.Millisecond)
		first := b.begun() // before it was a rush
		if first > 2*ingress.DefaultStarters {
			t.Errorf("%d started at once", first)
		}
		b.rushing(t, b.account.ID, message.ClassConversation, 900*time.Millisecond)
		if n := b.begun(); n != first {
			t.Errorf("%d started in the first second, want none", n-first)
		}
		b.rushing(t, b.account.ID, message.ClassConversation, 150*time.Millisecond)
		if n := b.begun() - first; n < 1 || n > 3 {
			t.Errorf("%d passed in the first 100 ms after it, want one after another", n)
		}
		b.rushing(t, b.account.ID, message.ClassConversation, 850*time.Millisecond)
		if n := b.begun() - first; n < ingress.DefaultStarters/2 || n > ingress.DefaultStarters {
			t.Errorf("%d started in the second after it", n)
		}
		pass(40 * time.Millisecond)
		held := b.begun()
		if held > first+ingress.DefaultStarters+2 {
			t.Errorf("%d started before the rush was over", held)
		}
		pass(100 * time.Millisecond)
		if n := b.begun(); n < held+ingress.DefaultStarters {
			t.Errorf("%d started after it", n-held)
		}
		b.Stop()
	})
}

// A one-time password does not wait for a rush of others, and a rush in which one has
// waited for long is none any more.
func TestRushIsInNoPasswordsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.account.MaxBacklog = 1_000_000
		b.Start(t.Context())
		b.rushing(t, b.account.ID, message.ClassConversation, 100*time.Millisecond)
		r := b.request()
		r.Class = message.ClassOTP
		began := time.Now()
		out, err := b.Accept(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		b.server.until(func() bool { return b.server.begun[out.Message.ID] == 1 })
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Errorf("the password was started after %s", took)
		}
		held := b.begun()
		_ = b.journal.do(func() {
			b.journal.queue = []message.Waiting{{Priority: conversation, Messages: 1, Oldest: 5 * time.Second}}
		})
		b.rushing(t, b.account.ID, message.ClassConversation, 1500*time.Millisecond)
		if n := b.begun(); n < held+10*ingress.DefaultStarters {
			t.Errorf("%d started although one has waited for long", n-held)
		}
		b.Stop()
	})
}

// What comes steadily is no rush: each message is started at once.
func TestNoRush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.Start(t.Context())
		for range 200 {
			out, err := b.Accept(t.Context(), b.request())
			if err != nil {
				t.Fatal(err)
			}
			if b.begun(); b.server.begun[out.Message.ID] != 1 {
				t.Fatal("not started at once")
			}
			pass(5 * time.Millisecond)
		}
		b.Stop()
	})
}
