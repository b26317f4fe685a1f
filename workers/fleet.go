package workers

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/workflows"
)

// Fleet keeps one link and one worker for each active vendor of this process's
// kinds, following the configuration: a vendor that is added binds within
// seconds, one that changes is unbound and bound anew, one that goes is
// unbound. Safe for concurrent use.
type Fleet struct {
	Client    client.Client
	Namespace string
	Submit    *submit.Activities
	// Kinds are the kinds of vendor by provider type. A type that is missing, or has
	// no New, is not served by this process.
	Kinds map[string]vendors.Kind
	Log   *slog.Logger

	mu      sync.RWMutex
	ships   map[message.ID]*ship
	wanted  *snapshot.Snapshot // the newest configuration; nil when none is waiting
	wake    chan struct{}
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// ship is a vendor's link with its worker.
type ship struct {
	vendor *snapshot.Vendor
	link   vendors.Link
	worker *Keeper
}

// Start begins to follow what Apply is told.
func (f *Fleet) Start(ctx context.Context) {
	f.ships = make(map[message.ID]*ship)
	f.wake = make(chan struct{}, 1)
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f.cancel = cancel
	f.running.Go(func() { f.follow(run) })
}

// Apply hands the fleet a configuration. It does not wait for binds.
func (f *Fleet) Apply(s *snapshot.Snapshot) {
	f.mu.Lock()
	f.wanted = s
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// StopWorkers takes no more work for any vendor and lets what is under way
// finish.
func (f *Fleet) StopWorkers() {
	f.cancel()
	f.running.Wait()
	f.mu.RLock()
	defer f.mu.RUnlock()
	var wg sync.WaitGroup
	for _, s := range f.ships {
		wg.Go(s.worker.Stop)
	}
	wg.Wait()
}

// Unbind ends all links. Call it after StopWorkers and after the worker of
// local submits has stopped.
func (f *Fleet) Unbind(ctx context.Context) {
	f.mu.Lock()
	ships := f.ships
	f.ships = nil
	f.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range ships {
		wg.Go(func() { s.link.Stop(ctx) })
	}
	wg.Wait()
}

// Room is how many parts a vendor's link here would take now.
func (f *Fleet) Room(vendor message.ID) int {
	if s := f.ship(vendor); s != nil {
		return s.link.Room()
	}
	return 0
}

// Connector is a vendor's link here, nil without one.
func (f *Fleet) Connector(vendor message.ID) submit.Connector {
	if s := f.ship(vendor); s != nil {
		return s.link
	}
	return nil
}

// Status lists the links of this process by vendor.
func (f *Fleet) Status() map[*snapshot.Vendor]vendors.LinkStatus {
	f.mu.RLock()
	defer f.mu.RUnlock()
	out := make(map[*snapshot.Vendor]vendors.LinkStatus, len(f.ships))
	for _, s := range f.ships {
		out[s.vendor] = s.link.Status()
	}
	return out
}

func (f *Fleet) ship(vendor message.ID) *ship {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.ships[vendor]
}

func (f *Fleet) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
			f.mu.Lock()
			want := f.wanted
			f.wanted = nil
			f.mu.Unlock()
			if want != nil {
				f.reconcile(ctx, want)
			}
		}
	}
}

// replaceTimeout bounds the unbinding of a vendor that changed or went.
const replaceTimeout = 30 * time.Second

func (f *Fleet) reconcile(ctx context.Context, want *snapshot.Snapshot) {
	for id, s := range f.snapshotShips() {
		v := want.Vendors[id]
		if v != nil && v.Active && v.Version == s.vendor.Version {
			continue
		}
		f.mu.Lock()
		delete(f.ships, id)
		f.mu.Unlock()
		s.worker.Stop()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), replaceTimeout)
		s.link.Stop(stop)
		cancel()
		f.Log.Info("vendor link ended", "vendor", s.vendor.Name)
	}
	for id, v := range want.Vendors {
		if !v.Active || f.ship(id) != nil || f.Kinds[v.ProviderType].New == nil {
			continue
		}
		if err := f.launch(ctx, v); err != nil {
			f.Log.Error("vendor link cannot start", "vendor", v.Name, "error", err)
		}
	}
}

func (f *Fleet) snapshotShips() map[message.ID]*ship {
	f.mu.RLock()
	defer f.mu.RUnlock()
	out := make(map[message.ID]*ship, len(f.ships))
	for id, s := range f.ships {
		out[id] = s
	}
	return out
}

// slotsPerWindow lets more parts wait at the link than its window takes, so
// that a slot's round trip to Temporal does not leave the window idle.
const slotsPerWindow = 2

func (f *Fleet) launch(ctx context.Context, v *snapshot.Vendor) error {
	link, err := f.Kinds[v.ProviderType].New(v)
	if err != nil {
		return err
	}
	link.SetShare(vendors.Share{Binds: max(1, v.MaxBinds), Rate: float64(v.Throughput)})
	link.Start(ctx)
	k := &Keeper{Name: workflows.VendorQueue(v.Name), Log: f.Log, New: func() worker.Worker { return f.vendorWorker(v, link) }}
	k.Started = func(ctx context.Context) {
		if err := SetVendorRate(ctx, f.Client, f.Namespace, v.Name, v.Throughput); err != nil && ctx.Err() == nil {
			// The link's own bucket is the guarantee; the server's only shapes.
			f.Log.Warn("dispatch rate not set at the server", "vendor", v.Name, "error", err)
		}
	}
	k.Start(ctx)
	f.mu.Lock()
	f.ships[v.ID] = &ship{vendor: v, link: link, worker: k}
	f.mu.Unlock()
	f.Log.Info("vendor link started", "vendor", v.Name)
	return nil
}

// vendorWorker polls a vendor's queue while its link has room.
func (f *Fleet) vendorWorker(v *snapshot.Vendor, link vendors.Link) worker.Worker {
	w := worker.New(f.Client, workflows.VendorQueue(v.Name), worker.Options{
		DisableWorkflowWorker: true,
		Tuner:                 linkTuner{newLinkSlots(link, slotsPerWindow*max(1, v.Window)*max(1, v.MaxBinds))},
		WorkerStopTimeout:     stopTimeout,
	})
	w.RegisterActivityWithOptions(f.Submit.Submit, activity.RegisterOptions{Name: "Submit"})
	return w
}
