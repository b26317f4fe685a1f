package ingress_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// line is the way from those who accept to those who start.
type line struct {
	mu      sync.Mutex
	calls   []call
	refused int // tries to listen
	down    error
	began   func()
	called  func([]message.Start, bool)
	cut     chan error // ends a listening
}

type call struct {
	at    time.Time
	ids   []message.ID
	turns bool
}

func newLine() *line { return &line{cut: make(chan error)} }

func (l *line) CallStarts(_ context.Context, ids []message.ID, turns bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, call{time.Now(), ids, turns})
	return l.down
}

func (l *line) ListenStarts(ctx context.Context, began func(), called func([]message.Start, bool)) error {
	l.mu.Lock()
	down := l.down
	if down != nil {
		l.refused++
	}
	l.began, l.called = began, called
	l.mu.Unlock()
	if down != nil {
		return down
	}
	began()
	select {
	case err := <-l.cut:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *line) setDown(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = err
}

// split is an ingress that starts nothing itself, with what it says.
func split(t *testing.T) (*bundle, *line) {
	t.Helper()
	b, l := setup(t), newLine()
	b.NoStarts, b.Calls = true, l
	return b, l
}

func (b *bundle) accept(t *testing.T, c message.Class) message.ID {
	t.Helper()
	r := b.request()
	r.Class = c
	out, err := b.Accept(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return out.Message.ID
}

// One message is told of at once, and those that come after it at most ten times a
// second, each once.
func TestCallsForStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := split(t)
		told := 0
		b.Metrics.Called = func(n, left int) { told += n - 1000*left }
		b.Start(t.Context())
		began := time.Now()
		first := b.accept(t, message.ClassConversation)
		synctest.Wait()
		if len(l.calls) != 1 || fmt.Sprint(l.calls[0]) != fmt.Sprint(call{began, []message.ID{first}, false}) {
			t.Fatalf("said %+v at %s", l.calls, began)
		}
		want := []message.ID{first}
		for range 1000 {
			pass(time.Millisecond)
			want = append(want, b.accept(t, message.ClassConversation))
		}
		b.Stop() // which tells of the last
		var got []message.ID
		for _, c := range l.calls {
			got = append(got, c.ids...)
		}
		if len(l.calls) > 13 || fmt.Sprint(got) != fmt.Sprint(want) || told != len(want) {
			t.Errorf("%d calls about %d messages, %d counted, want %d", len(l.calls), len(got), told, len(want))
		}
		if b.server.asked != 0 || b.Hears() {
			t.Error("it starts workflows itself, or listens")
		}
	})
}

// Who starts what it accepts tells nobody, and a message that was refused is no news.
func TestCallsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := split(t)
		b.NoStarts = false
		b.Start(t.Context())
		b.accept(t, message.ClassOTP)
		pass(time.Minute)
		b.Stop()
		if len(l.calls) != 0 {
			t.Errorf("told %v", l.calls)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b, l := split(t)
		b.Start(t.Context())
		r := b.request()
		r.From = "+12025550199"
		_, _ = b.Accept(t.Context(), r)
		pass(time.Minute)
		b.Stop()
		if len(l.calls) != 0 {
			t.Errorf("told %v", l.calls)
		}
	})
}

// A flood is not told of message by message, and campaigns leave room in a call for
// what is urgent.
func TestCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := split(t)
		left := 0
		b.Metrics.Called = func(_, n int) { left += n }
		for range 1000 {
			b.accept(t, message.ClassBulk)
		}
		urgent := b.accept(t, message.ClassOTP)
		for range 500 {
			b.accept(t, message.ClassConversation)
		}
		b.Start(t.Context())
		synctest.Wait()
		b.Stop()
		if len(l.calls) != 1 || len(l.calls[0].ids) != 256 || l.calls[0].ids[128] != urgent || left != 1501-256 {
			t.Errorf("%d calls, %d left", len(l.calls), left)
		}
	})
}

// Nobody can be told: acceptance goes on, and it is said once.
func TestCallThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := split(t)
		var lines bytes.Buffer
		b.Log = slog.New(slog.NewTextHandler(&lines, nil))
		left := 0
		b.Metrics.Called = func(told, n int) { left += n - 1000*told }
		l.down = errAway
		b.Start(t.Context())
		for range 10 {
			b.accept(t, message.ClassConversation)
			pass(time.Second)
		}
		b.Stop()
		if len(l.calls) != 10 || left != 10 || len(b.journal.outbox) != 10 {
			t.Errorf("%d calls, %d left, %d in the outbox", len(l.calls), left, len(b.journal.outbox))
		}
		if n := strings.Count(lines.String(), "nobody could be told"); n != 1 {
			t.Errorf("said %d times", n)
		}
	})
}

// What others accept is started when they say so, and turns are looked for; the sweeps
// have no part in it.
func TestHearsOfStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := setup(t), newLine()
		b.Calls, b.SweepEvery = l, time.Hour
		heard := 0
		b.Metrics.Heard = func(n int) { heard += n }
		b.Start(t.Context())
		synctest.Wait()
		if !b.Hears() {
			t.Fatal("does not listen")
		}
		pass(time.Minute)
		began, turns := time.Now(), b.journal.count(func() int { return b.journal.turns })
		var starts []message.Start
		for range 3 {
			s := message.Start{MessageID: message.NewID(), AccountID: b.account.ID, Class: message.ClassOTP}
			_ = b.journal.do(func() { b.journal.put(s) })
			starts = append(starts, s)
		}
		l.called(starts[:2], false)
		l.called(starts[1:], true)
		synctest.Wait()
		for _, s := range starts {
			if b.server.begun[s.MessageID] == 0 {
				t.Error("not started")
			}
		}
		if !time.Now().Equal(began) || heard != 4 {
			t.Errorf("%d heard of", heard)
		}
		pass(100 * time.Millisecond) // looks for turns keep their pace
		synctest.Wait()
		if n := b.journal.count(func() int { return b.journal.turns }); n == turns {
			t.Error("no turn was looked for")
		}
		b.Stop()
		if b.Hears() {
			t.Error("listens after the end")
		}
	})
}

// More is heard of than there is room for: the rest stays in the outbox, and is found
// there soon.
func TestHearsOfTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := setup(t), newLine()
		b.Calls, b.SweepEvery = l, time.Hour
		b.server.takes = 10 * time.Millisecond
		b.Start(t.Context())
		synctest.Wait()
		pass(time.Minute)
		var starts []message.Start
		for range 1000 {
			s := message.Start{MessageID: message.NewID(), AccountID: b.account.ID, Class: message.ClassConversation}
			_ = b.journal.do(func() { b.journal.put(s) })
			starts = append(starts, s)
		}
		began := time.Now()
		l.called(starts, false)
		b.server.until(func() bool { return len(b.server.begun) == 1000 })
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("started after %s", took)
		}
		b.Stop()
	})
}

// A lost connection is made anew, soon at first and then less often, and is told of once.
// What was accepted meanwhile is found as soon as it is back.
func TestListensAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := setup(t), newLine()
		var lines bytes.Buffer
		b.Log = slog.New(slog.NewTextHandler(&lines, nil))
		b.Calls, b.SweepEvery = l, time.Hour
		b.Start(t.Context())
		synctest.Wait()
		l.setDown(errAway)
		l.cut <- errAway
		pass(time.Minute)
		synctest.Wait()
		if b.Hears() || l.refused < 10 || l.refused > 20 {
			t.Errorf("%d tries in a minute", l.refused)
		}
		s := message.Start{MessageID: message.NewID(), AccountID: b.account.ID, Class: message.ClassConversation}
		_ = b.journal.do(func() { b.journal.put(s) })
		l.setDown(nil)
		began := time.Now()
		b.server.until(func() bool { return b.server.begun[s.MessageID] > 0 })
		if took := time.Since(began); took > 7*time.Second || !b.Hears() {
			t.Errorf("started after %s", took)
		}
		b.Stop()
		if said := lines.String(); strings.Count(said, "interrupted") != 1 || strings.Count(said, "listening for accepted messages again") != 1 {
			t.Error(said)
		}
	})
}

var _ ingress.Calls = (*line)(nil)
