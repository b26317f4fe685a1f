package snapshot

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Source reads the configuration from where it is kept.
type Source interface {
	// RefreshSnapshot gives the configuration as it is now, all of one moment. It reads
	// what has changed since old was read and takes over the rest of old, or gives old
	// itself back when nothing has. A nil old makes it read everything.
	RefreshSnapshot(ctx context.Context, old *Snapshot) (*Snapshot, error)
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
	// A refresh is followed by a pause of restFactor times what it took, from restMin
	// to restMax: what changes in the pause is read together after it. A thousand
	// changes a second then cost four refreshes a second at most and a quarter of one
	// core, and no change waits longer than a refresh and the pause.
	restFactor = 3
	restMin    = 250 * time.Millisecond
	restMax    = time.Second
)

// Holder keeps the current snapshot and refreshes it. Current is safe for
// concurrent use and never nil after Start has returned without error.
type Holder struct {
	source  Source
	log     *slog.Logger
	current atomic.Pointer[Snapshot]
	failure atomic.Pointer[Failure]

	mu      sync.Mutex // one refresh at a time; guards the watchers
	watch   []func(*Snapshot)
	observe func(took time.Duration, err error)
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

// Failure says that the configuration cannot be read as it is now, and an older one
// stays in force.
type Failure struct {
	Err   error     // names the row, if it is one; holds no secret
	Since time.Time // of the first try that failed
	Tries int
}

func (f *Failure) Error() string {
	return fmt.Sprintf("the configuration could not be read since %s, %d tries; an older one stays in force: %v", f.Since.UTC().Format(time.RFC3339), f.Tries, f.Err)
}

// Unwrap gives the error of the last try.
func (f *Failure) Unwrap() error { return f.Err }

// Failing is why the snapshot in force is an old one, nil when it is not.
func (h *Holder) Failing() error {
	if f := h.failure.Load(); f != nil {
		return f
	}
	return nil
}

// OnRefresh calls f after each try to read the configuration anew, also when nothing
// had changed, with how long it took and how it ended; one call at a time. Call it
// before Start.
func (h *Holder) OnRefresh(f func(took time.Duration, err error)) { h.observe = f }

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
	h.running.Go(func() { h.follow(run, stir) })
	return nil
}

// Stop ends the refreshing. The last snapshot stays readable.
func (h *Holder) Stop() {
	if h.cancel != nil {
		h.cancel()
	}
	h.running.Wait()
}

// Reload reads the whole configuration now and publishes it, whatever its version.
func (h *Holder) Reload(ctx context.Context) error { return h.read(ctx, nil) }

// refresh publishes the configuration as it is now if it is another one: of a
// greater version after a change, of a smaller one after the database was restored.
func (h *Holder) refresh(ctx context.Context) error { return h.read(ctx, h.current.Load()) }

// tellProblems logs what is newly left out.
func (h *Holder) tellProblems(s *Snapshot) {
	known := map[string][]string{}
	if old := h.current.Load(); old != nil {
		known = old.Problems
	}
	for table, list := range s.Problems {
		for _, p := range list {
			if !slices.Contains(known[table], p) {
				h.log.Error("a part of the configuration is left out", "problem", p)
			}
		}
	}
}

func (h *Holder) read(ctx context.Context, old *Snapshot) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	began := time.Now()
	s, err := h.source.RefreshSnapshot(ctx, old)
	h.note(began, err, ctx.Err() != nil)
	if err != nil || s == old {
		return err
	}
	h.tellProblems(s)
	h.current.Store(s)
	for _, f := range h.watch {
		f(s)
	}
	return nil
}

// note keeps account of a try. One that was broken off says nothing.
func (h *Holder) note(began time.Time, err error, brokenOff bool) {
	switch {
	case err == nil:
		h.failure.Store(nil)
	case brokenOff:
		return
	default:
		f := &Failure{Err: err, Since: began, Tries: 1}
		if last := h.failure.Load(); last != nil {
			f.Since, f.Tries = last.Since, last.Tries+1
		}
		h.failure.Store(f)
	}
	if h.observe != nil {
		h.observe(time.Since(began), err)
	}
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

// follow refreshes when it is stirred or the poll sees another version, and rests
// after each time.
func (h *Holder) follow(ctx context.Context, stir <-chan struct{}) {
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
		began := time.Now()
		if err := h.refresh(ctx); err != nil && ctx.Err() == nil {
			h.log.Warn("configuration could not be read; the last one stays in force", "error", err)
		}
		select {
		case <-time.After(min(max(restFactor*time.Since(began), restMin), restMax)):
		case <-ctx.Done():
			return
		}
	}
}
