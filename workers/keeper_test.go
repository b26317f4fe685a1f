package workers_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/worker"

	"github.com/postrider/postrider/workers"
)

// fakeWorker starts when the nth one is made.
type fakeWorker struct {
	worker.Worker
	err     error
	stopped *atomic.Int32
}

func (w *fakeWorker) Start() error { return w.err }
func (w *fakeWorker) Stop()        { w.stopped.Add(1) }

func keeper(startsAt int32) (k *workers.Keeper, made, stopped, told *atomic.Int32) {
	made, stopped, told = new(atomic.Int32), new(atomic.Int32), new(atomic.Int32)
	k = &workers.Keeper{Name: "messages", Log: slog.New(slog.DiscardHandler),
		New: func() worker.Worker {
			w := &fakeWorker{stopped: stopped}
			if made.Add(1) < startsAt {
				w.err = errors.New("no Temporal")
			}
			return w
		},
		Started: func(context.Context) { told.Add(1) }}
	return k, made, stopped, told
}

// A worker whose start failed cannot be started again: each try makes a new one,
// one a second, until Temporal answers.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, made, stopped, told := keeper(5)
		k.Start(t.Context())
		synctest.Wait()
		if k.Running() || made.Load() != 1 {
			t.Errorf("running %v, made %d", k.Running(), made.Load())
		}
		<-time.After(10 * time.Second)
		if !k.Running() || made.Load() != 5 || told.Load() != 1 {
			t.Errorf("running %v, made %d, told %d", k.Running(), made.Load(), told.Load())
		}
		k.Stop()
		k.Stop()
		if k.Running() || stopped.Load() != 1 {
			t.Errorf("running %v, stopped %d", k.Running(), stopped.Load())
		}
	})
}

func TestKeeperStoppedWhileItTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, made, stopped, _ := keeper(1 << 30)
		k.Stop() // not started: nothing to stop
		k.Start(t.Context())
		<-time.After(3500 * time.Millisecond)
		k.Stop()
		if n := made.Load(); k.Running() || n != 4 || stopped.Load() != 0 {
			t.Errorf("made %d, stopped %d", n, stopped.Load())
		}
	})
}
