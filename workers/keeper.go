package workers

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/worker"
)

// startEvery is the pause between tries to start a worker while Temporal is
// away: processes may come up in any order.
const startEvery = time.Second

// Keeper starts a worker as soon as Temporal answers, and stops it. Safe for
// concurrent use.
type Keeper struct {
	Name string
	New  func() worker.Worker
	Log  *slog.Logger
	// Started is called once the worker polls; nil: nothing is.
	Started func(ctx context.Context)

	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	worker worker.Worker // nil until started
}

// Start begins to try, and returns at once.
func (k *Keeper) Start(ctx context.Context) {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k.cancel = cancel
	k.wg.Go(func() { k.keepTrying(run) })
}

// Stop ends the trying, or stops the worker: it takes no more tasks and lets
// those under way finish for its stop timeout. Calling it again is harmless.
func (k *Keeper) Stop() {
	if k.cancel == nil {
		return
	}
	k.cancel()
	k.wg.Wait()
	k.mu.Lock()
	w := k.worker
	k.worker = nil
	k.mu.Unlock()
	if w != nil {
		w.Stop()
	}
}

// Running reports whether the worker polls.
func (k *Keeper) Running() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.worker != nil
}

func (k *Keeper) keepTrying(ctx context.Context) {
	said := false
	for {
		// A worker whose start failed cannot be started again.
		w := k.New()
		err := w.Start()
		if err == nil {
			k.mu.Lock()
			k.worker = w
			k.mu.Unlock()
			k.Log.Info("worker polls", "queue", k.Name)
			if k.Started != nil {
				k.Started(ctx)
			}
			return
		}
		if !said {
			said = true
			k.Log.Warn("worker waits for Temporal", "queue", k.Name, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(startEvery):
		}
	}
}
