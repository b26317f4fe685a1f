package workers

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// round is a round of upkeep of which each step takes as long as the list says and
// removes a row.
type round struct {
	takes  []time.Duration
	fails  map[int]error
	stuck  bool // steps last until they are canceled
	at     int
	stamps []time.Time // when each step began
	ends   []bool      // what End was told
}

func (r *round) Table() string { return []string{"receipts", "texts"}[r.at%2] }

func (r *round) Step(ctx context.Context) (message.Cared, error) {
	n := r.at
	r.at++
	r.stamps = append(r.stamps, time.Now())
	done := message.Cared{Rows: 1, More: r.at < len(r.takes)}
	if r.stuck {
		<-ctx.Done()
		return message.Cared{}, ctx.Err()
	}
	select {
	case <-ctx.Done():
		return message.Cared{}, ctx.Err()
	case <-time.After(r.takes[n]):
	}
	return done, r.fails[n]
}

func (r *round) End(_ context.Context, whole bool) error {
	r.ends = append(r.ends, whole)
	return nil
}

// house hands out rounds, one at a time.
type house struct {
	mu     sync.Mutex
	rounds []*round
	asked  int
	every  time.Duration
	err    error
}

func (h *house) begin(_ context.Context, every time.Duration) (Upkeep, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	h.every = every
	if h.err != nil {
		return nil, h.err
	}
	if len(h.rounds) == 0 {
		return nil, nil
	}
	r := h.rounds[0]
	h.rounds = h.rounds[1:]
	return r, nil
}

func caretakerOf(h *house) (*Caretaker, *strings.Builder, map[string]int) {
	log, rows := &strings.Builder{}, map[string]int{}
	return &Caretaker{Begin: h.begin, Log: slog.New(slog.NewTextHandler(log, nil)), Cared: func(table string, done message.Cared) { rows[table] += done.Rows }}, log, rows
}

// It pauses after each step for several times as long as that took.
func TestCaretakerPacesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &round{takes: []time.Duration{10 * time.Millisecond, time.Second, 0, time.Hour, time.Millisecond}}
		c, log, rows := caretakerOf(&house{rounds: []*round{r}})
		whole := 0
		c.Whole = func(context.Context) { whole++ }
		began := time.Now()
		did, err := c.Round(t.Context(), 0)
		if err != nil || !did || whole != 1 || len(r.ends) != 1 || !r.ends[0] {
			t.Fatalf("%t, %v, whole %d, ended %v", did, err, whole, r.ends)
		}
		var at []time.Duration
		for _, s := range r.stamps {
			at = append(at, s.Sub(began))
		}
		want := []time.Duration{0, 50 * time.Millisecond, 5050 * time.Millisecond, 5050 * time.Millisecond, 5050*time.Millisecond + time.Hour + maxPause}
		for i := range want {
			if at[i] != want[i] {
				t.Errorf("step %d began after %s, want %s", i, at[i], want[i])
			}
		}
		if rows["receipts"] != 3 || rows["texts"] != 2 {
			t.Errorf("told of %v", rows)
		}
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "rows.receipts=3 rows.texts=2") {
			t.Errorf("it logs %q", got)
		}
	})
}

// What fails holds up nothing else; the round was no whole one then.
func TestCaretakerGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &round{takes: make([]time.Duration, 4), fails: map[int]error{1: errors.New("no such luck"), 3: errors.New("nor here")}}
		c, log, _ := caretakerOf(&house{rounds: []*round{r}})
		c.Whole = func(context.Context) { t.Error("it was not whole") }
		if did, err := c.Round(t.Context(), 0); err != nil || !did || len(r.stamps) != 4 || r.ends[0] {
			t.Errorf("%t, %v, %d steps, ended %v", did, err, len(r.stamps), r.ends)
		}
		if got := log.String(); strings.Count(got, "upkeep interrupted") != 2 || !strings.Contains(got, "no such luck") {
			t.Errorf("it logs %q", got)
		}
	})
}

// It stops at once, in a step or in a pause, and gives the right to the round back.
func TestCaretakerStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, r := range map[string]*round{
			"step":  {takes: make([]time.Duration, 2), stuck: true},
			"pause": {takes: []time.Duration{time.Hour, 0}},
		} {
			h := &house{rounds: []*round{r}}
			c, log, _ := caretakerOf(h)
			c.Stop() // not started: nothing to stop
			c.Start(t.Context())
			if name == "pause" {
				<-time.After(time.Hour + time.Second)
			}
			synctest.Wait()
			at := time.Now()
			c.Stop()
			c.Stop()
			if took := time.Since(at); took != 0 || len(r.stamps) != 1 || len(r.ends) != 1 || r.ends[0] {
				t.Errorf("%s: stopped after %s and %d steps, ended %v", name, took, len(r.stamps), r.ends)
			}
			if strings.Contains(log.String(), "WARN") {
				t.Errorf("%s: it logs %q", name, log)
			}
		}
	})
}

// It looks again every minute, whatever there was.
func TestCaretakerLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{err: errors.New("database away")}
		c, log, _ := caretakerOf(h)
		c.Start(t.Context())
		<-time.After(2*careLook + time.Second)
		h.mu.Lock()
		if h.asked != 3 || h.every != CareEvery {
			t.Errorf("asked %d times for a round every %s", h.asked, h.every)
		}
		r := &round{takes: make([]time.Duration, 1)}
		h.err, h.rounds = nil, []*round{r}
		h.mu.Unlock()
		<-time.After(2 * careLook)
		c.Stop()
		if len(r.ends) != 1 || !r.ends[0] || h.asked != 5 {
			t.Errorf("ended %v, asked %d times", r.ends, h.asked)
		}
		if strings.Count(log.String(), "upkeep not begun") != 3 {
			t.Errorf("it logs %q", log)
		}
	})
}
