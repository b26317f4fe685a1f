package snapshot

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Source reads the configuration from where it is kept.
type Source interface {
	// LoadSnapshot reads everything in one transaction.
	LoadSnapshot(ctx context.Context) (*Snapshot, error)
	// ConfigVersion reads the version alone: cheap.
	ConfigVersion(ctx context.Context) (int64, error)
	// ListenConfig calls changed after each notification of a change, until ctx
	// ends or the connection is lost, and returns why.
	ListenConfig(ctx context.Context, changed func()) error
}

// Times of the refresh.
const (
	// pollEvery is how often the version is looked at in case a notification
	// was lost with its connection.
	pollEvery = 2 * time.Second
	// relistenAfter is the pause before a lost listening connection is made
	// anew; the poll covers the gap.
	relistenAfter = time.Second
)

// Holder keeps the current snapshot and refreshes it. Current is safe for
// concurrent use and never nil after Start has returned without error.
type Holder struct {
	source  Source
	log     *slog.Logger
	current atomic.Pointer[Snapshot]

	mu      sync.Mutex // one reload at a time; guards the watchers
	watch   []func(*Snapshot)
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// NewHolder makes a holder that reads from source.
func NewHolder(source Source, log *slog.Logger) *Holder {
	return &Holder{source: source, log: log}
}

// Current is the newest snapshot.
func (h *Holder) Current() *Snapshot { return h.current.Load() }

// OnChange calls f with the current snapshot and then with every newer one, one
// call at a time. Call it before Start.
func (h *Holder) OnChange(f func(*Snapshot)) { h.watch = append(h.watch, f) }

// Start loads the first snapshot and keeps it fresh until Stop. A second Start
// does nothing.
func (h *Holder) Start(ctx context.Context) error {
	if h.cancel != nil {
		return nil
	}
	if err := h.Reload(ctx); err != nil {
		return fmt.Errorf("load the configuration: %w", err)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	h.cancel = cancel
	stir := make(chan struct{}, 1) // never closed; a lost stir is one that is already waiting
	h.running.Go(func() { h.listen(run, stir) })
	h.running.Go(func() { h.refresh(run, stir) })
	return nil
}

// Stop ends the refreshing. The last snapshot stays readable.
func (h *Holder) Stop() {
	if h.cancel != nil {
		h.cancel()
	}
	h.running.Wait()
}

// Reload reads the configuration now and publishes it if its version is another
// one: greater after a change, smaller after the database was restored.
func (h *Holder) Reload(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, err := h.source.LoadSnapshot(ctx)
	if err != nil {
		return err
	}
	if old := h.current.Load(); old != nil && old.Version == s.Version {
		return nil
	}
	h.current.Store(s)
	for _, f := range h.watch {
		f(s)
	}
	return nil
}

func (h *Holder) listen(ctx context.Context, stir chan<- struct{}) {
	for ctx.Err() == nil {
		err := h.source.ListenConfig(ctx, func() {
			select {
			case stir <- struct{}{}:
			default:
			}
		})
		if ctx.Err() != nil {
			return
		}
		h.log.Warn("configuration notifications interrupted; polling goes on", "error", err)
		select {
		case <-time.After(relistenAfter):
		case <-ctx.Done():
		}
	}
}

func (h *Holder) refresh(ctx context.Context, stir <-chan struct{}) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-stir:
		case <-tick.C:
			v, err := h.source.ConfigVersion(ctx)
			if err != nil || v == h.Current().Version {
				continue
			}
		}
		if err := h.Reload(ctx); err != nil && ctx.Err() == nil {
			h.log.Warn("configuration could not be read; the last one stays in force", "error", err)
		}
	}
}
