package limit

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/stack/stacktest"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

// sharedWorld is a Redis and limiters on it.
type sharedWorld struct {
	*stacktest.Redis
	tb testing.TB
	// timeout of a question. By default it is long: the machine may be slow.
	timeout time.Duration

	alone atomic.Int64
	log   lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) lines() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.buf.String(), "\n")
}

func sharedSetup(tb testing.TB) *sharedWorld {
	return &sharedWorld{Redis: stacktest.StartRedis(tb), tb: tb, timeout: time.Minute}
}

// replica is one process's limiter.
func (w *sharedWorld) replica() *Shared {
	s := NewShared(SharedConfig{Host: "127.0.0.1", Port: w.Port, Timeout: w.timeout, Log: slog.New(slog.NewTextHandler(&w.log, nil)), Alone: func() { w.alone.Add(1) }})
	w.tb.Cleanup(s.Close)
	return s
}

// answering is a replica that Redis has answered: its connections stand.
func (w *sharedWorld) answering() *Shared {
	s := w.replica()
	w.answers(s)
	w.alone.Store(0)
	return s
}

// answers waits until Redis answers the replica.
func (w *sharedWorld) answers(s *Shared) {
	for {
		if _, err := s.TakeTokens("warm", 1, 1); err == nil {
			return
		}
	}
}

func TestSharedWindow(t *testing.T) {
	t.Parallel()
	w := sharedSetup(t)
	a, b := w.answering(), w.answering()
	if r := a.Peek("k", 3, time.Hour, epoch); !r.OK || r.Remaining != 3 || r.Limit != 3 || r.Reset != 0 {
		t.Errorf("before the first %+v", r)
	}
	for i, s := range []*Shared{a, b, a} {
		if r := s.Take("k", 3, time.Hour, epoch); !r.OK || r.Remaining != 2-i || r.Reset < time.Hour-time.Minute || r.Reset > time.Hour+time.Hour/maxMarks {
			t.Errorf("event %d: %+v", i, r)
		}
	}
	for _, s := range []*Shared{a, b} {
		if r := s.Take("k", 3, time.Hour, epoch); r.OK || r.Remaining != 0 || r.Reset <= 0 {
			t.Errorf("beyond the limit %+v", r)
		}
	}
	if r := b.Peek("k", 5, time.Hour, epoch); !r.OK || r.Remaining != 2 {
		t.Errorf("with another limit %+v", r)
	}
	if r := b.Take("other", 1, time.Hour, epoch); !r.OK {
		t.Errorf("another key %+v", r)
	}
	for _, limit := range []int{0, -1} {
		if r := b.Take("k", limit, time.Hour, epoch); r.OK || r.Limit != 0 {
			t.Errorf("no limit %+v", r)
		}
	}
	if n := w.alone.Load(); n != 0 {
		t.Errorf("%d counted alone", n)
	}
}

// An event leaves its window, and not before.
func TestSharedWindowSlides(t *testing.T) {
	t.Parallel()
	w := sharedSetup(t)
	s := w.answering()
	const span = 300 * time.Millisecond
	began := time.Now()
	var allowed []time.Time // not later than they were
	for len(allowed) < 12 {
		if before := time.Now(); s.Take("k", 4, span, epoch).OK {
			allowed = append(allowed, before)
		}
	}
	// The fifth and each later one waits for the fourth before it to leave.
	if took := time.Since(began); took < 2*span {
		t.Errorf("12 events at 4 in %s took %s", span, took)
	}
	if n := w.alone.Load(); n != 0 {
		t.Errorf("%d counted alone", n)
	}
}

func TestSharedTokens(t *testing.T) {
	t.Parallel()
	w := sharedSetup(t)
	a, b := w.answering(), w.answering()
	take := func(s *Shared, key string, rate, n int, want bool) {
		t.Helper()
		if got, err := s.TakeTokens(key, rate, n); got != want || err != nil {
			t.Errorf("%d of %d a second: %v, %v", n, rate, got, err)
		}
	}
	take(a, "none", 0, 1, false)
	// A message of many parts goes from a full bucket only, and leaves a debt.
	take(a, "debt", 1, 3600, true)
	take(b, "debt", 1, 1, false)
	take(b, "debt", 1, 2, false)
	// A second's worth at once, whoever asks.
	const rate = 100_000
	take(a, "k", rate, rate/2, true)
	take(b, "k", rate, rate/2, true)
	take(a, "k", rate, rate, false)
	// It fills again.
	for {
		ok, err := b.TakeTokens("k", rate, 100)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			break
		}
	}
}

// Two replicas together let through what one may.
func TestSharedTokensOfTwo(t *testing.T) {
	t.Parallel()
	w := sharedSetup(t)
	a, b := w.answering(), w.answering()
	const rate = 200
	var got atomic.Int64
	began := time.Now()
	var all sync.WaitGroup
	for _, s := range []*Shared{a, b} {
		for range 4 {
			all.Go(func() {
				for range 1000 {
					if ok, err := s.TakeTokens("k", rate, 1); err != nil {
						t.Error(err)
					} else if ok {
						got.Add(1)
					}
				}
			})
		}
	}
	all.Wait()
	most := rate + int64(time.Since(began).Seconds()*rate) + 1
	if n := got.Load(); n < rate || n > most {
		t.Errorf("%d of 8000 in %v, want %d to %d", n, time.Since(began), rate, most)
	}
}

// Without Redis each replica counts for itself and nobody waits; with it back they
// count together again.
func TestSharedRedisAway(t *testing.T) {
	t.Parallel()
	w := sharedSetup(t)
	s := w.answering()
	w.Kill()
	for i := range 100 {
		if r := s.Take("k", 3, time.Hour, epoch); r.OK != (i < 3) {
			t.Errorf("event %d alone: %+v", i, r)
		}
		if _, err := s.TakeTokens("k", 3, 1); err == nil {
			t.Error("tokens out of nothing")
		}
	}
	if n := w.alone.Load(); n != 200 {
		t.Errorf("%d counted alone, want 200", n)
	}
	if n := w.log.lines(); n != 1 {
		t.Errorf("%d lines logged, want 1", n)
	}
	w.Start()
	w.answers(s)
	if r := s.Take("k", 3, time.Hour, epoch); !r.OK || r.Remaining != 2 {
		t.Errorf("back again: %+v", r)
	}
}

// A Redis that takes the connection and says nothing holds up one question only.
func TestSharedRedisSilent(t *testing.T) {
	t.Parallel()
	w := sharedSetup(t)
	s := w.answering()
	s.cfg.Timeout = DefaultTimeout // nobody asks at this moment
	w.Signal(syscall.SIGSTOP)
	for i := range 1000 {
		_, err := s.TakeTokens("k", 3, 1)
		if asked := !errors.Is(err, errAway); err == nil || asked != (i == 0) {
			t.Fatalf("question %d: %v", i, err)
		}
	}
	w.Signal(syscall.SIGCONT)
	w.answers(s)
}

// Redis need not be there when the process starts.
func TestSharedBeforeRedis(t *testing.T) {
	t.Parallel()
	w := sharedSetup(t)
	w.Kill()
	s := w.replica()
	if r := s.Take("k", 1, time.Hour, epoch); !r.OK {
		t.Errorf("%+v", r)
	}
	w.Start()
	w.answers(s)
	s.Close()
	if r := s.Take("late", 1, time.Hour, epoch); !r.OK {
		t.Errorf("after Close %+v", r)
	}
	s.Close()
}

func BenchmarkSharedTokens(b *testing.B) {
	w := sharedSetup(b)
	s := w.answering()
	b.ReportAllocs()
	for i := range b.N {
		if _, err := s.TakeTokens(fmt.Sprint("k", i%10), 1_000_000, 1); err != nil {
			b.Fatal(err)
		}
	}
}
