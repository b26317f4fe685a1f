package workers

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Fleet keeps one link and one worker for each active vendor of this process's
// kinds, following the configuration: a vendor that is added binds within
// seconds, one that changes is unbound and bound anew, one that goes is
// unbound, and what a link can be told while it runs it is told. No vendor waits
// for another. What of a vendor's binds and rate this process may use it agrees with
// the other processes by leases. Safe for concurrent use.
type Fleet struct {
	Client    client.Client
	Namespace string
	Submit    *submit.Activities
	// Kinds are the kinds of vendor by provider type. A type that is missing, or has
	// no New, is not served by this process.
	Kinds map[string]vendors.Kind
	Log   *slog.Logger

	// Leases share the vendors out among processes; nil: this one is alone and has
	// all of every vendor.
	Leases   Leases
	Instance string // names this process in the leases; unique per start
	// Lease is how long a lease holds without a word of its holder; 0: DefaultLease.
	Lease time.Duration

	mu       sync.RWMutex
	ships    map[message.ID]*ship
	wanted   *snapshot.Snapshot // the newest configuration
	stopped  bool
	run      context.Context // of the ships
	cancel   context.CancelFunc
	running  sync.WaitGroup
	register register
}

// Start begins to follow what Apply is told.
func (f *Fleet) Start(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ships = make(map[message.ID]*ship)
	f.run, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if f.Leases != nil {
		f.register.start(f)
	}
}

// Apply hands the fleet a configuration. It does not wait for binds.
func (f *Fleet) Apply(s *snapshot.Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = s
	if f.stopped || f.ships == nil {
		return
	}
	for id, ship := range f.ships {
		if f.serves(s.Vendors[id]) {
			ship.steer(s.Vendors[id])
		} else {
			ship.steer(nil)
		}
	}
	for id, v := range s.Vendors {
		if f.ships[id] == nil && f.serves(v) {
			ship := newShip(f, v)
			f.ships[id] = ship
			f.running.Go(func() { ship.sail(f.run) })
		}
	}
	f.register.stir()
}

// serves reports whether this process has a link to the vendor, or should.
func (f *Fleet) serves(v *snapshot.Vendor) bool {
	return v != nil && v.Active && f.Kinds[v.ProviderType].New != nil
}

// gone takes out a ship whose vendor has gone; false if it is wanted again.
func (f *Fleet) gone(s *ship) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.wanted() != nil {
		return false
	}
	delete(f.ships, s.id)
	return true
}

// StopWorkers takes no more work for any vendor and lets what is under way
// finish.
func (f *Fleet) StopWorkers() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	if f.cancel == nil {
		return // it was never started
	}
	f.cancel()
	f.running.Wait()
	var wg sync.WaitGroup
	for _, s := range f.list() {
		wg.Go(s.stopWorker)
	}
	wg.Wait()
}

// Unbind ends all links. Call it after StopWorkers and after the worker of
// local submits has stopped. Only then are the leases given back.
func (f *Fleet) Unbind(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range f.list() {
		wg.Go(func() { s.unbind(ctx) })
	}
	wg.Wait()
	if f.Leases != nil {
		f.register.stop(ctx)
	}
	f.mu.Lock()
	f.ships = nil
	f.mu.Unlock()
}

// atOnce is how long a part may wait at a link for its turn in the rate without passing
// others by. Beyond it, it waits in the vendor's queue, where the most urgent is first and
// accounts share.
const atOnce = 100 * time.Millisecond

// Room is how many parts of a class a vendor's link here would take now: none for a
// vendor that is paused or drained, or whose rate is used up by who came before.
func (f *Fleet) Room(vendor message.ID, class message.Class) int {
	if link, v := f.link(vendor); link != nil && !v.Paused && !v.Draining && link.Wait(class) <= atOnce {
		return link.Room()
	}
	return 0
}

// Connector is a vendor's link here, nil without one, or while the vendor is paused.
func (f *Fleet) Connector(vendor message.ID) submit.Connector {
	if link, v := f.link(vendor); link != nil && !v.Paused {
		return link
	}
	return nil
}

// Link is a vendor's link here, whether or not it may be used now; nil without one.
func (f *Fleet) Link(vendor message.ID) vendors.Link {
	link, _ := f.link(vendor)
	return link
}

// Draining reports whether what waits for the vendor is to go elsewhere: it is being
// drained, or was taken out of use.
func (f *Fleet) Draining(vendor message.ID) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.wanted == nil {
		return false
	}
	v := f.wanted.Vendors[vendor]
	return v != nil && (v.Draining || !v.Active)
}

// Status lists the links of this process by vendor.
func (f *Fleet) Status() map[*snapshot.Vendor]vendors.LinkStatus {
	out := make(map[*snapshot.Vendor]vendors.LinkStatus)
	for _, s := range f.list() {
		if link, v := s.now(); link != nil {
			out[v] = link.Status()
		}
	}
	return out
}

// link is the vendor's link with the row as it is now; nil without one.
func (f *Fleet) link(vendor message.ID) (vendors.Link, *snapshot.Vendor) {
	f.mu.RLock()
	s := f.ships[vendor]
	f.mu.RUnlock()
	if s == nil {
		return nil, nil
	}
	return s.now()
}

func (f *Fleet) list() []*ship {
	f.mu.RLock()
	defer f.mu.RUnlock()
	out := make([]*ship, 0, len(f.ships))
	for _, s := range f.ships {
		out = append(out, s)
	}
	return out
}
